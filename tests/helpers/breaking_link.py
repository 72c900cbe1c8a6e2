"""A link between a client and a server of this machine that breaks after so many bytes, in several ways.

It carries bytes and knows nothing of them, so TLS breaks as well, and within a frame as well as between two.
"""

import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from scripted import DEADLINE
from threads import in_thread, wait_until

__all__ = ["BreakingLink", "Strike", "strikes"]

_UP, _DOWN = 0, 1  # from the client to the server, and back
_ENDS = ("reset", "close")
_SILENT = {"silence": (_UP, _DOWN), "deaf": (_UP,), "mute": (_DOWN,)}
_AT_ONCE = struct.pack("ii", 1, 0)  # a closed socket sends RST


class Strike(NamedTuple):
    """How a connection breaks.

    Attributes:
        kind: ``"reset"`` and ``"close"`` end it (RST, FIN); ``"silence"`` carries nothing any more, with the
            connection open; ``"deaf"`` nothing to the server, ``"mute"`` nothing to the client.
        direction: The bytes of which direction are counted: 0 = to the server, 1 = to the client.
        after: How many are carried before.
    """

    kind: str
    direction: int
    after: int


def strikes(rng: random.Random, most: int, *, silent: bool) -> Iterator[Strike]:
    """Return how so many connections break: some in their handshake, some while a session is restored."""
    for _ in range(most):
        kind = rng.choice((*_ENDS, *_SILENT) if silent else _ENDS)
        yield Strike(kind, rng.choice((_UP, _DOWN)), int(60 * 1000 ** rng.random()))


class BreakingLink:
    """A port that leads to another one, while ``with`` lasts.

    The first connection breaks from `begin` on; the others from their first byte.

    Args:
        port: Where it leads.
        breaks: How the first connection breaks, the second, and so on; those after them do not.

    Attributes:
        port: Its own.
        struck: How many connections have broken.
    """

    def __init__(self, port: int, breaks: Iterable[Strike]) -> None:
        self._to = port
        self._breaks = iter(breaks)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.struck = 0
        self._calm = False
        self._cables: list[_Cable] = []
        self._thread = in_thread(self._accept)

    def __enter__(self) -> "BreakingLink":
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._listener.close()
        for cable in self._cables:
            cable.end()

    def begin(self) -> None:
        """Let the first connection break when its time has come."""
        wait_until(lambda: bool(self._cables))  # it may carry bytes before it is listed
        self._cables[0].strike = next(self._breaks, None)

    def calm(self) -> None:
        """Break nothing any more; what is silent stays so."""
        self._calm = True
        for cable in tuple(self._cables):
            cable.strike = None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to), DEADLINE)
                strike = None if self._calm or not self._cables else next(self._breaks, None)
                self._cables.append(_Cable(near, far, strike, self._note))

    def _note(self) -> None:
        self.struck += 1


class _Cable:
    """One connection, carried by two threads.

    Attributes:
        strike: How it is going to break; ``None`` = not, or it has.
    """

    def __init__(
        self, near: socket.socket, far: socket.socket, strike: Strike | None, note: Callable[[], None]
    ) -> None:
        self._ends = near, far
        for end in self._ends:
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.strike = strike
        self._note = note
        self._carried = [0, 0]
        self._dropped: tuple[int, ...] = ()  # the directions in which nothing is carried any more
        # Each carries one direction.
        self._threads = [in_thread(self._carry, direction) for direction in (_UP, _DOWN)]
        # Closes both sockets once nothing is carried: so late that no thread uses their numbers.
        self._closer = in_thread(self._close)

    def end(self) -> None:
        """Close both ends, and wait for that."""
        self._stop(socket.SHUT_RDWR)
        self._closer.join(DEADLINE)

    def _close(self) -> None:
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _stop(self, how: int) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):  # it is closed
                end.shutdown(how)

    def _carry(self, direction: int) -> None:
        source, sink = self._ends[direction], self._ends[1 - direction]
        with contextlib.suppress(OSError):  # the other end is gone
            while data := source.recv(65536):
                strike = self.strike  # which may be taken back meanwhile
                left = self._left(strike, direction)
                if direction not in self._dropped:
                    goes_on = strike is not None and direction not in _SILENT.get(strike.kind, (_UP, _DOWN))
                    sink.sendall(data if goes_on else data[:left])
                self._carried[direction] += len(data)
                if strike is not None and left is not None and left <= len(data) and self._break(strike):
                    break
        self._stop(socket.SHUT_RD)  # wakes the other thread

    def _left(self, strike: Strike | None, direction: int) -> int | None:
        """Return how many bytes more are carried before a strike; ``None`` = any number."""
        if strike is None or strike.direction != direction:
            return None
        return max(0, strike.after - self._carried[direction])

    def _break(self, strike: Strike) -> bool:
        """Strike, and return whether the connection ends by that."""
        self.strike = None
        self._note()
        self._dropped = _SILENT.get(strike.kind, ())
        for end in self._ends if strike.kind == "reset" else ():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        return not self._dropped
