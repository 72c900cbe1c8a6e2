"""How faults strike: a session's events go in, and what the server's loop is to do comes out.

There are no sockets and no clock here.  A fault is a subclass of `Fault`, and says by the methods that it
overrides where it strikes; `faults` has all that come with the package.
"""

import math
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import ClassVar

import msgspec

from ..events import ServerEvent
from ..events.codec import encode
from .reordering import Swap

__all__ = [
    "Abort",
    "Action",
    "Close",
    "Cut",
    "End",
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


class Abort(msgspec.Struct, frozen=True):
    """End the TCP connection with a reset."""


class Silence(msgspec.Struct, frozen=True):
    """Stop reading and writing, and keep the TCP connection open.

    Attributes:
        lasting: Seconds until everything goes on; infinite: never.
    """

    lasting: float = math.inf


Action = Send | SendHalf | Abort | Close | Cut | Silence
Strike = Callable[[Send], Iterable[Action]]
"""One fault at work on one connection: what becomes of each message."""


class End(msgspec.Struct, frozen=True):
    """What happens to a connection besides the events that it sends, and when: at what comes first.

    Attributes:
        actions: What happens.
        received: With so many messages of the client received; infinite: never.
        seconds: So many seconds after the connection was opened; infinite: never.
    """

    actions: Sequence[Action]
    received: float = math.inf
    seconds: float = math.inf


class Refusal(msgspec.Struct, frozen=True):
    """The HTTP answer to an upgrade that is rejected; its body is JSON, or meant to look like it."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


# --- Faults ------------------------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all faults.  A subclass with a ``name`` is known to `faults.parse`.

    Args:
        connection: Only the connection with this number is struck; ``None``: all.  Every WebSocket handshake
            counts, from 1, as long as the server object lives.
        chance: How likely it is that a connection is struck, 0 to 1; 1: always.
        times: Only the first ``times`` of these connections are struck; ``None``: all.
        seed: Of all that is random: the same seed strikes the same connections at the same places.

    Raises:
        ValueError: A number is out of its range.
    """

    name: ClassVar[str] = ""
    """What `faults.parse` calls it."""

    connection: int | None = None
    chance: float = 1.0
    times: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.times is None or self.times >= 0, f"times must be 0 or more, got {self.times}")
        fine = self.connection is None or self.connection >= 1
        check(fine, f"connection must be 1 or more, got {self.connection}")
        check(0 <= self.chance <= 1, f"chance must be a number from 0 to 1, got {self.chance}")
        self._check()

    def _check(self) -> None:
        """Raise ValueError if a number is out of its range."""

    def strikes(self, connection: int) -> bool:
        """Return whether the connection with this number is to be struck."""
        fits = self.connection is None or self.connection == connection
        return fits and self.dice(connection, "chance").random() < self.chance

    def dice(self, connection: int, what: str) -> random.Random:
        """Return what decides something about this connection, always in the same way."""
        return random.Random(f"{self.seed} {self.name} {connection} {what}")

    def drawn(self, connection: int) -> "Fault":
        """Return the fault as it strikes the connection with this number, with nothing left to chance."""
        return self

    def strike(self) -> Strike | None:
        """Begin with a connection: return what becomes of its messages; ``None``: nothing happens."""
        return None

    def end(self) -> End | None:
        """Return what happens at a time, or by what the client sends; ``None``: nothing."""
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
        self._connections = count(1)
        # Counts one connection at a time.
        self._lock = threading.Lock()

    def number(self) -> int:
        """Return the number of the next connection."""
        with self._lock:
            return next(self._connections)

    def refusal(self, connection: int) -> Refusal | None:
        """Return how the handshake of this connection is rejected."""
        with self._lock:
            for fault, used in self._faults:
                refusal = fault.refusal()
                if refusal is not None and _strikes(fault, connection, used):
                    return refusal
        return None

    def faults(self, connection: int) -> list[Fault]:
        """Return what strikes this connection once it is open."""
        with self._lock:
            return [
                fault.drawn(connection)
                for fault, used in self._faults
                if fault.refusal() is None and _strikes(fault, connection, used)
            ]


def _strikes(fault: Fault, connection: int, used: "count[int]") -> bool:
    return fault.strikes(connection) and (fault.times is None or next(used) < fault.times)


class Stage:
    """The faults of one connection, between what the protocol says and what is sent."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._strikes = [strike for fault in faults if (strike := fault.strike()) is not None]
        swaps = [every for fault in faults if (every := fault.swap_every()) is not None]
        self._swap = Swap(min(swaps)) if swaps else None
        self._ends = [end for fault in faults if (end := fault.end()) is not None]
        self._received = 0
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
                self._ended = _is_last(action)
        return actions

    @property
    def due(self) -> float:
        """When `elapse` is to be called, in seconds since the connection was opened; infinite: never."""
        return math.inf if self._ended else min((end.seconds for end in self._ends), default=math.inf)

    def receive(self) -> list[Action]:
        """Note a message of the client.  Return what to do at once, before anything else is sent."""
        self._received += 1
        return self._struck_by(lambda end: end.received <= self._received)

    def elapse(self, seconds: float) -> list[Action]:
        """Return what to do at once, so many seconds after the connection was opened."""
        return self._struck_by(lambda end: end.seconds <= seconds)

    def _struck_by(self, has_come: Callable[[End], bool]) -> list[Action]:
        actions: list[Action] = []
        for end in [end for end in self._ends if has_come(end)]:
            self._ends.remove(end)
            if not self._ended:
                actions += end.actions
                self._ended = _is_last(end.actions[-1])
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


def _is_last(action: Action) -> bool:
    """Return whether nothing can be sent after this."""
    return isinstance(action, Abort | Close | Cut) or action == Silence()
