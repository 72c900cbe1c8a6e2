"""An open session: the thread that reads it, the queue of its events, and the methods that users call."""

from .outbox import Unconfirmed
from .session import HASTE, Session, Stats

__all__ = ["HASTE", "Session", "Stats", "Unconfirmed"]
