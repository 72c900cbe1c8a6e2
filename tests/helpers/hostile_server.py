"""A server that gives each connection the answer that a test has prepared, and hangs up."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable

from scripted import DEADLINE, Caller, accepted

__all__ = ["HostileServer"]

Answer = Callable[[Caller], None]
_POLITE = 0.2  # seconds that a client may go on sending after the answer


class HostileServer:
    """Serves one connection after the other, each with the next of the answers that `prepare` was given.

    The connection ends with the answer: with a FIN, and with a reset if the client is not done soon.  An
    answer may fail with an `OSError`, since the client may hang up in the middle of it.
    """

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        # Gives the answers, while the test is the client.
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def prepare(self, answer: Answer) -> None:
        self._answers.put(answer)

    def _serve(self) -> None:
        for sock in accepted(self._listener):
            with contextlib.suppress(OSError, AssertionError), sock:
                self._answer(Caller(sock))

    def _answer(self, caller: Caller) -> None:
        try:
            self._answers.get(timeout=DEADLINE)(caller)
            caller.sock.shutdown(socket.SHUT_WR)
            caller.sock.settimeout(_POLITE)
            while caller.sock.recv(65_536):
                pass
        finally:
            caller.hang_up()

    def __enter__(self) -> "HostileServer":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE)
