"""`Line`: one connection of a session."""

import threading

from ..wire.transport import Transport

__all__ = ["Line"]


class Line:
    """One connection of a session, which may have several in turn.

    Attributes:
        transport: The connection.
        over: Set once the connection has ended and it is decided what follows: another one, or the end.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.over = threading.Event()
