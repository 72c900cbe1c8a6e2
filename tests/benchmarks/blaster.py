"""A server that sends ``n`` frames of one kind at full speed: ``/v1/realtime?kind=text&n=1000``."""

import argparse
import socket
from urllib.parse import parse_qs, urlsplit

from common import CREATED, KINDS, frame, listen, pin, upgrade

parser = argparse.ArgumentParser()
parser.add_argument("--tls")
folder = parser.parse_args().tls


def serve(sock: socket.socket) -> None:
    query = parse_qs(urlsplit(upgrade(sock)).query)
    one = frame(KINDS[query["kind"][0]])
    left = int(query["n"][0])
    batch = max(1, 262_144 // len(one))
    sock.sendall(frame(CREATED.encode()))
    whole = one * batch
    while left:
        now = min(batch, left)
        sock.sendall(whole if now == batch else one * now)
        left -= now
    sock.recv(1)  # until the client leaves, or says that it will


pin(1)
listen(serve, folder)
