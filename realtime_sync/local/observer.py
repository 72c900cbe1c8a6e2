"""Watching a server's sessions from the inside."""

from typing import Protocol as Interface

__all__ = ["Observer"]


class Observer(Interface):
    """Is told what a server's sessions hear and say, in the thread of each; ``session`` is its id.

    What it raises is logged and goes no further.
    """

    def opened(self, session: str) -> None:
        """A session begins."""

    def received(self, session: str, frame: str | bytes) -> None:
        """The client has sent a message, which is obeyed next."""

    def sent(self, session: str, frame: str) -> None:
        """A message goes out; it may not arrive."""

    def closed(self, session: str, code: int, reason: str) -> None:
        """The session is over; code 1006 if the connection broke."""
