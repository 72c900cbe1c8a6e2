"""Watch a server's sessions from the inside."""

from collections.abc import Sequence
from typing import Protocol as Interface
from typing import runtime_checkable

from ..events import Item

__all__ = ["HistoryObserver", "Observer"]


class Observer(Interface):
    """Is called at what a server's sessions receive and send, in the thread of each; ``session`` is its id.

    An exception that it raises is logged, and the session goes on.
    """

    def opened(self, session: str) -> None:
        """Note that a session begins."""

    def received(self, session: str, frame: str | bytes) -> None:
        """Note a message of the client, before the server handles it."""

    def sent(self, session: str, frame: str) -> None:
        """Note a message that is sent; it may not arrive."""

    def closed(self, session: str, code: int, reason: str) -> None:
        """Note that the session has ended; code 1006 if the connection was lost."""


@runtime_checkable
class HistoryObserver(Observer, Interface):
    """An observer that is also told what a session's conversation was in the end."""

    def remembered(self, session: str, items: Sequence[Item]) -> None:
        """Note the items, oldest first, with their audio; comes right before `closed`.

        They are in the terms of GA.  A session that isn't a conversation, such as a translation, has none.
        """
