"""`Opening`: a connection that is being opened, and may be given up meanwhile."""

import contextlib
import socket
import threading
from collections.abc import Callable

__all__ = ["Opening"]


class Opening:
    """Lets other threads give up a connection while one thread opens it.

    That thread tells, before each step that may take long, how the step is ended.
    """

    def __init__(self) -> None:
        # Guards all below, between the thread that opens the connection and those that give it up.
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._end: Callable[[], object] | None = None
        self._sock: socket.socket | None = None

    def waits(self, end: Callable[[], object]) -> None:
        """Note what ends the wait that follows: `cancel` calls it.

        Raises:
            ConnectionAbortedError: It was cancelled before.
        """
        with self._lock:
            if self._is_cancelled:
                raise ConnectionAbortedError("it was cancelled")
            self._end = end

    def uses(self, sock: socket.socket) -> None:
        """Note the socket on which all is waited for from now on.

        Raises:
            ConnectionAbortedError: It was cancelled before.
        """
        self.waits(lambda: _shut_down(sock))
        self._sock = sock

    def cancel(self) -> None:
        """End what is waited for, and each further step."""
        with self._lock:
            self._is_cancelled, end = True, self._end
        if end is not None:
            end()

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: close the copy of the socket; the connection is the parent's."""
        if self._sock is not None:
            self._sock.close()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already, or (not on Linux) not connected yet
        sock.shutdown(socket.SHUT_RDWR)
