"""A server that sends text deltas at an even pace: ``/v1/realtime?rate=50``, in events a second.

With ``of=200`` it begins when there are that many connections.  The text of a delta is the moment it was
given to the operating system, in nanoseconds of the monotonic clock, which all processes share.
"""

import argparse
import heapq
import itertools
import socket
import threading
import time
from collections import deque
from urllib.parse import parse_qs, urlsplit

from common import CREATED, TEXT, frame, listen, pin, upgrade

_LONGEST_SLEEP = 1_000_000  # ns: how soon a connection that joins is seen
_SPREAD = 0.6180339887  # multiples of it fall evenly into an interval, however many there are

parser = argparse.ArgumentParser()
parser.add_argument("--tls")
folder = parser.parse_args().tls

# All frames are alike but for their last bytes, so only those are made while the clock runs.
_STAMP = b"%019d"
_HEAD, _, _TAIL = frame(TEXT.replace(b" hello", b"0" * 19)).partition(b"0" * 19)

_Due = tuple[int, int, int, socket.socket]
"""The moment of a connection's next event, its number (no two compare equal), its interval, and itself."""


class Pacer:
    """One thread that sends to all connections, each at its own moment of the interval."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards those that have joined: each comes in a thread of its own
        self._joined: list[tuple[socket.socket, int]] = []
        self._complete: deque[list[tuple[socket.socket, int]]] = deque()
        self._numbers = itertools.count()
        threading.Thread(target=self._run, daemon=True).start()

    def join(self, sock: socket.socket, rate: float, of: int) -> None:
        """Send to a connection, once ``of`` of them have joined that were made for the same measurement."""
        with self._lock:
            self._joined.append((sock, int(1e9 / rate)))
            if len(self._joined) == of:
                self._complete.append(self._joined)
                self._joined = []

    def _plan(self, connections: list[tuple[socket.socket, int]]) -> list[_Due]:
        """When each connection is sent its first event."""
        now = time.monotonic_ns()
        plan = []
        for sock, interval in connections:
            number = next(self._numbers)
            phase = int(interval * (number * _SPREAD % 1))
            plan.append((now + interval - (now - phase) % interval, number, interval, sock))
        return plan

    def _run(self) -> None:
        waiting: list[_Due] = []
        while True:
            while self._complete:
                for due in self._plan(self._complete.popleft()):
                    heapq.heappush(waiting, due)
            now = time.monotonic_ns()
            left = waiting[0][0] - now if waiting else _LONGEST_SLEEP
            if left > 0:
                time.sleep(min(left, _LONGEST_SLEEP) / 1e9)
                continue
            moment, number, interval, sock = waiting[0]
            try:
                sock.send(_HEAD + _STAMP % time.monotonic_ns() + _TAIL)
            except OSError:  # the client has left
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, (moment + interval, number, interval, sock))


def serve(sock: socket.socket) -> None:
    query = parse_qs(urlsplit(upgrade(sock)).query)
    sock.sendall(frame(CREATED.encode()))
    pacer.join(sock, float(query["rate"][0]), int(query.get("of", "1")[0]))
    while sock.recv(65536):  # until the client leaves
        pass


pin(1)
pacer = Pacer()
listen(serve, folder)
