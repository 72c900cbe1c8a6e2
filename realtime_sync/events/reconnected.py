"""`Reconnected`: the one event that no server sends."""

from typing import Any, ClassVar

from .server import ServerEvent

__all__ = ["Reconnected"]


class Reconnected(ServerEvent, kw_only=True):
    """The connection was lost and replaced, and the session goes on.  Stands between the events of both.

    No server sends it: a session that was opened with ``reconnect=`` makes it.

    Attributes:
        cause: The `ConnectionClosed` that ended the old connection.
        seconds: Seconds without a connection.
        attempts: Number of attempts that the new connection took.
        session_id: The server's id of the new session; ``None`` if it sent none.
        restored: Whether the server has taken all that was to be restored.
        lost: What could not be carried over, one description each; empty if nothing was lost.
        event_id: Always ``""``.
    """

    cause: Any
    seconds: float
    attempts: int
    session_id: str | None
    restored: bool
    lost: list[str]
    event_id: str = ""

    handler: ClassVar[str] = "visit_reconnected"

    @property
    def type(self) -> str:
        """Always ``"reconnected"``."""
        return "reconnected"
