"""A server that sends ``n`` frames of one kind at full speed: ``/v1/realtime?kind=text&n=1000``.

The events differ in their ids, as a server's do: an event that comes twice is known by its id.
"""

import argparse
import socket
from urllib.parse import parse_qs, urlsplit

from common import CREATED, EVENT_ID, KINDS, frame, listen, pin, upgrade

parser = argparse.ArgumentParser()
parser.add_argument("--tls")
folder = parser.parse_args().tls


def serve(sock: socket.socket) -> None:
    query = parse_qs(urlsplit(upgrade(sock)).query)
    one = KINDS[query["kind"][0]]
    left = int(query["n"][0])
    batch = max(2, 262_144 // len(one))
    sock.sendall(frame(CREATED.encode()))
    frames = [frame(one.replace(EVENT_ID, b"event_%021d" % number)) for number in range(batch)]
    whole = b"".join(frames)
    while left:
        now = min(batch, left)
        sock.sendall(whole if now == batch else b"".join(frames[:now]))
        left -= now
    sock.recv(1)  # until the client leaves, or says that it will


pin(1)
listen(serve, folder)
