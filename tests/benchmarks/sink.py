"""A server that only takes frames: ``/v1/realtime?at=100&at=1100``.

After each of the given numbers of messages it sends a text delta, so that the client knows that all of them
arrived.  Its text is the processor time in seconds that the server has used so far, which shows whether
the server was what the client waited for.
"""

import argparse
import socket
import time
from urllib.parse import parse_qs, urlsplit

from common import CREATED, TEXT, frame, listen, pin, upgrade

_READ_SIZE = 1 << 20

parser = argparse.ArgumentParser()
parser.add_argument("--tls")
folder = parser.parse_args().tls


class Counter:
    """Counts the messages in a client's byte stream without looking into them."""

    def __init__(self) -> None:
        self.messages = 0
        self._skip = 0  # bytes of a payload that are still to come
        self._part = b""  # the beginning of a header
        self._final = False

    def feed(self, data: memoryview) -> None:
        if self._part:
            data, self._part = memoryview(self._part + bytes(data)), b""
        position, end = 0, len(data)
        while True:
            if self._skip > end - position:
                self._skip -= end - position
                return
            position += self._skip
            self._skip = 0
            self.messages += self._final
            self._final = False
            if end - position < 2:
                break
            length = data[position + 1] & 0x7F
            start = position + 6 + {126: 2, 127: 8}.get(length, 0)  # after the length come 4 bytes of mask
            if start > end:
                break
            if length >= 126:
                length = int.from_bytes(data[position + 2 : start - 4], "big")
            # A message ends with the last of its fragments; a control frame (opcode 8 and up) is none.
            self._final = data[position] >= 0x80 and not data[position] & 0x08
            self._skip = length
            position = start
        self._part = bytes(data[position:])


def serve(sock: socket.socket) -> None:
    query = parse_qs(urlsplit(upgrade(sock)).query)
    milestones = [int(number) for number in query["at"]]
    sock.sendall(frame(CREATED.encode()))
    counter = Counter()
    buffer = memoryview(bytearray(_READ_SIZE))
    while size := sock.recv_into(buffer):
        counter.feed(buffer[:size])
        while milestones and counter.messages >= milestones[0]:
            del milestones[0]
            sock.sendall(frame(TEXT.replace(b" hello", b"%.6f" % time.process_time())))


pin(1)
listen(serve, folder)
