"""How faults strike: a session's events go in, and what the server's loop is to do comes out.

There are no sockets and no clock here.  A fault is a subclass of `Fault`, and says by the methods that it
overrides where it strikes; `faults` has all that come with the package.
"""

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import ClassVar

import msgspec

from ..events import ServerEvent
from ..events.codec import encode
from .reordering import Swap

__all__ = [
    "Action",
    "Close",
    "Cut",
    "Fault",
    "Plan",
    "Refusal",
    "Send",
    "SendHalf",
    "Silence",
    "Stage",
    "Strike",
]


# --- What the server's loop does -----------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """Send a text message.

    Attributes:
        event: The event in the message; ``None`` if a fault inserted it, so that other faults ignore it.
        after: Seconds by which it is delayed.
    """

    text: str
    event: ServerEvent | None = None
    after: float = 0.0


class SendHalf(msgspec.Struct, frozen=True):
    """Send the first half of a message's frame."""

    text: str


class Close(msgspec.Struct, frozen=True):
    """Close the connection with a close frame."""

    code: int
    reason: str = ""


class Cut(msgspec.Struct, frozen=True):
    """End the TCP connection without a close frame."""


class Silence(msgspec.Struct, frozen=True):
    """Stop reading and writing, and keep the TCP connection open."""


Action = Send | SendHalf | Close | Cut | Silence
Strike = Callable[[Send], Iterable[Action]]
"""One fault at work on one connection: what becomes of each message."""


class Refusal(msgspec.Struct, frozen=True):
    """The HTTP answer to an upgrade that is rejected; its body is JSON, or meant to look like it."""

    status: int
    body: bytes


# --- Faults ------------------------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all faults.  A subclass with a ``name`` is known to `faults.parse`.

    Args:
        times: Only the first ``times`` connections are struck; ``None``: all.

    Raises:
        ValueError: A number is out of its range.
    """

    name: ClassVar[str] = ""
    """What `faults.parse` calls it."""

    times: int | None = None

    def __post_init__(self) -> None:
        check(self.times is None or self.times >= 0, f"times must be 0 or more, got {self.times}")
        self._check()

    def _check(self) -> None:
        """Raise ValueError if a number is out of its range."""

    def strike(self) -> Strike | None:
        """Begin with a connection: return what becomes of its messages; ``None``: nothing happens."""
        return None

    def refusal(self) -> Refusal | None:
        """Return the answer to a handshake, if it is rejected."""
        return None

    def swap_every(self) -> int | None:
        """Return n if every n-th pair of neighbours that may change places does."""
        return None

    def lifetime(self) -> float:
        """Return the seconds after which a session expires."""
        return math.inf


def check(fine: bool, message: str) -> None:
    """Raise ValueError with this message unless ``fine``."""
    if not fine:
        raise ValueError(message)


# --- The machinery ------------------------------------------------------------------------------------


class Plan:
    """The faults of a server: which of them strike the next connection."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = [(fault, count()) for fault in faults]
        # Counts one connection at a time.
        self._lock = threading.Lock()

    def refusal(self) -> Refusal | None:
        """Return how the next handshake is rejected."""
        with self._lock:
            for fault, used in self._faults:
                refusal = fault.refusal()
                if refusal is not None and _is_left(fault, used):
                    return refusal
        return None

    def next(self) -> list[Fault]:
        """Return what strikes the next connection."""
        with self._lock:
            return [
                fault for fault, used in self._faults if fault.refusal() is None and _is_left(fault, used)
            ]


def _is_left(fault: Fault, used: "count[int]") -> bool:
    return fault.times is None or next(used) < fault.times


class Stage:
    """The faults of one connection, between what the protocol says and what is sent."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._strikes = [strike for fault in faults if (strike := fault.strike()) is not None]
        swaps = [every for fault in faults if (every := fault.swap_every()) is not None]
        self._swap = Swap(min(swaps)) if swaps else None
        self._ended = False

    def take(self, events: Sequence[ServerEvent], *, more: bool = False) -> list[Action]:
        """Return what to do about these events, in this order.

        With ``more``, further events are sure to come by themselves, so that one may be held back for a swap.
        """
        if self._swap is not None:
            events = self._swap.take(events, more)
        actions: list[Action] = []
        for event in events:
            for action in self._struck(event):
                if self._ended:
                    return actions
                actions.append(action)
                self._ended = isinstance(action, Close | Cut | Silence)
        return actions

    def _struck(self, event: ServerEvent) -> Sequence[Action]:
        actions: list[Action] = [Send(encode(event).decode(), event)]
        for strike in self._strikes:
            actions = [
                result
                for action in actions
                for result in (
                    strike(action) if isinstance(action, Send) and action.event is not None else [action]
                )
            ]
        return actions
