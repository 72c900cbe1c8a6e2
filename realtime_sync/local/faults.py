"""Faults on demand: what can go wrong between a server and its client, described in small types.

``LocalServer(faults=[CloseAfter(3, code=4000), Delay(0.1)])`` applies each to every connection, in the order
given; ``times=2`` only to the first two.  The same faults strike at the same events in every run.

`Stage` is the machinery, without sockets or a clock: a session's events go in, `Action`s come out, and the
server's loop carries them out.
"""

import math
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import count, cycle
from typing import Any, ClassVar, Literal

import msgspec

from .. import events as ev
from ..events import ServerEvent
from ..events.codec import encode

__all__ = [
    "CloseAfter",
    "Delay",
    "Drop",
    "Duplicate",
    "Expire",
    "Fault",
    "GoSilent",
    "RefuseHandshake",
    "Reorder",
    "SendMalformed",
    "SendUnknown",
    "parse",
]


# --- What the server's loop does -----------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """A text message.

    Attributes:
        event: What it says; ``None`` if a fault put it in, so that other faults leave it alone.
        after: Seconds that it is late.
    """

    text: str
    event: ServerEvent | None = None
    after: float = 0.0


class SendHalf(msgspec.Struct, frozen=True):
    """The first half of a message's frame."""

    text: str


class Close(msgspec.Struct, frozen=True):
    """The end, with a close frame."""

    code: int
    reason: str = ""


class Cut(msgspec.Struct, frozen=True):
    """The end of the TCP connection, without a close frame."""


class Silence(msgspec.Struct, frozen=True):
    """No more reading and writing, while TCP stays."""


Action = Send | SendHalf | Close | Cut | Silence
Strike = Callable[[Send], Iterable[Action]]
"""One fault at work on one connection: what becomes of each message."""


# --- What users write ----------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all faults.

    Args:
        times: Only the first so many connections are struck; ``None``: all.

    Raises:
        ValueError: A number is out of its range.
    """

    name: ClassVar[str] = ""
    """What `parse` calls it."""

    times: int | None = None

    def __post_init__(self) -> None:
        _check(self.times is None or self.times >= 0, "times must not be negative")
        self._check()

    def _check(self) -> None:
        """Raise ValueError for a number out of its range."""

    def strike(self) -> Strike | None:
        """Begin with a connection; ``None``: this fault is not about messages."""
        return None


class CloseAfter(Fault, frozen=True):
    """Close the connection after so many events; with 0, before the first.

    Args:
        events: Events of the session that are sent before, not counting what other faults put in.
        code, reason: Of the close frame.
    """

    name = "close"
    events: int
    code: int = 1011
    reason: str = ""

    def _check(self) -> None:
        _check(self.events >= 0, "events must not be negative")
        _check(1000 <= self.code <= 4999, "code must be between 1000 and 4999")
        _check(self.code not in (1005, 1006, 1015), "1005, 1006 and 1015 can't be sent as a code")
        _check(len(self.reason.encode()) <= 123, "reason is longer than 123 bytes")

    def strike(self) -> Strike:
        return _behind(self.events, Close(self.code, self.reason))


class Drop(Fault, frozen=True):
    """End the TCP connection without a close frame, after so many events.

    Args:
        events: Events of the session that are sent whole before.
        inside: ``"frame"``: half of the next event's frame goes out.  ``"response"``: it happens behind the
            next delta of a response, between two frames.
    """

    name = "drop"
    events: int
    inside: Literal["frame", "response"] = "frame"

    def _check(self) -> None:
        _check(self.events >= 0, "events must not be negative")
        _check(self.inside in ("frame", "response"), "inside must be 'frame' or 'response'")

    def strike(self) -> Strike:
        if self.inside == "frame":
            return _after(self.events, lambda send: [SendHalf(send.text), Cut()])
        return _after(self.events, lambda send: [send, Cut()] if _is_delta(send.event) else [send])


class GoSilent(Fault, frozen=True):
    """Neither read nor write after so many events, with the TCP connection open: a half-open connection.

    Args:
        events: Events of the session that are sent before.
    """

    name = "silent"
    events: int

    def _check(self) -> None:
        _check(self.events >= 0, "events must not be negative")

    def strike(self) -> Strike:
        return _behind(self.events, Silence())


class Delay(Fault, frozen=True):
    """Send every event late, as a slow network does: the order stays, and so does the rate.

    Args:
        seconds: How late.
        jitter: Up to so many seconds more, evenly spread.
        seed: Of the jitter; each connection has the same.
    """

    name = "delay"
    seconds: float
    jitter: float = 0.0
    seed: int = 0

    def _check(self) -> None:
        fine = 0 <= self.seconds < math.inf and 0 <= self.jitter < math.inf
        _check(fine, "seconds and jitter must not be negative")

    def strike(self) -> Strike:
        chance = random.Random(self.seed)

        def late(send: Send) -> list[Action]:
            after = send.after + self.seconds + self.jitter * chance.random()
            return [msgspec.structs.replace(send, after=after)]

        return late


class RefuseHandshake(Fault, frozen=True):
    """Answer the upgrade with an HTTP error.

    Args:
        status: The HTTP status, 300 to 599.
        message: For the body, which is an error as OpenAI writes it.
        body: The body itself, in place of that.
        times: Only the first so many attempts are refused; ``None``: all.
    """

    name = "refuse"
    status: int = 503
    message: str = "The server is overloaded or not ready yet."
    body: str | None = None

    def _check(self) -> None:
        _check(300 <= self.status <= 599, "status must be between 300 and 599")


class SendUnknown(Fault, frozen=True):
    """Put in an event of a type that no client knows, behind every so many events."""

    name = "unknown"
    every: int

    def _check(self) -> None:
        _check(self.every >= 1, "every must be at least 1")

    def strike(self) -> Strike:
        numbers = count(1)

        def unknown(send: Send) -> list[Action]:
            number = next(numbers)
            fields = {
                "type": "realtime_sync.unknown",
                "event_id": f"event_unknown_{number}",
                "number": number,
            }
            return [send, Send(_json(fields))]

        return _each(self.every, unknown)


class SendMalformed(Fault, frozen=True):
    """Put in a message that is no proper event, behind every so many events; `MALFORMED` in turn."""

    name = "malformed"
    every: int

    def _check(self) -> None:
        _check(self.every >= 1, "every must be at least 1")

    def strike(self) -> Strike:
        texts = cycle(MALFORMED)
        return _each(self.every, lambda send: [send, Send(next(texts))])


class Duplicate(Fault, frozen=True):
    """Send every n-th event twice, with the same ``event_id``."""

    name = "duplicate"
    every: int

    def _check(self) -> None:
        _check(self.every >= 1, "every must be at least 1")

    def strike(self) -> Strike:
        return _each(self.every, lambda send: [send, Send(send.text)])


class Reorder(Fault, frozen=True):
    """Swap every n-th pair of neighbours of which the protocol leaves open which comes first.

    These are: events of different responses; a transcription of input and an event of a response;
    transcriptions of different items; ``rate_limits.updated`` and any event of a response.  All others keep
    their places.
    """

    name = "reorder"
    every: int = 1

    def _check(self) -> None:
        _check(self.every >= 1, "every must be at least 1")


class Expire(Fault, frozen=True):
    """End the session after so many seconds, as at its time limit: ``session_expired``, close 1001."""

    name = "expire"
    seconds: float

    def _check(self) -> None:
        _check(self.seconds >= 0, "seconds must not be negative")


MALFORMED: Sequence[str] = (
    '{"type":"response.output_text.delta","event_id":"event_malf',  # not JSON
    "",  # nothing
    "null",  # no object
    '[{"type":"error"}]',
    '"response.done"',
    '{"event_id":"event_malformed"}',  # no type
    '{"type":null,"event_id":"event_malformed"}',
    '{"type":7,"event_id":"event_malformed"}',
    '{"type":"response.done"}',  # fields missing
    '{"type":"conversation.item.added","event_id":"event_malformed"}',
    # wrong types
    '{"type":"response.output_text.delta","event_id":7,"delta":{"text":"x"},"output_index":"0"}',
    '{"type":"response.output_audio.delta","event_id":"event_malformed","delta":"no base64!"}',
    '{"type":"error","event_id":"event_malformed","error":"a string"}',
    '{"type":"response.done","event_id":"event_malformed","response":null}',
    '{"type":"conversation.item.done","event_id":"event_malformed","item":{"type":"hologram","content":3}}',
)
"""What `SendMalformed` sends, in this order, and then from the beginning."""


# --- The machinery -------------------------------------------------------------------------------------


class Plan:
    """The faults of a server: which of them strike the next connection."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = [(fault, count()) for fault in faults]
        # Lets one connection at a time be counted.
        self._lock = threading.Lock()

    def refusal(self) -> RefuseHandshake | None:
        """How the next handshake is refused."""
        with self._lock:
            for fault, used in self._faults:
                if isinstance(fault, RefuseHandshake) and _is_left(fault, used):
                    return fault
        return None

    def next(self) -> list[Fault]:
        """What strikes the next connection."""
        with self._lock:
            return [
                fault
                for fault, used in self._faults
                if not isinstance(fault, RefuseHandshake) and _is_left(fault, used)
            ]


def _is_left(fault: Fault, used: "count[int]") -> bool:
    return fault.times is None or next(used) < fault.times


class Stage:
    """The faults of one connection, between what the protocol says and what is sent."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._strikes = [strike for fault in faults if (strike := fault.strike()) is not None]
        reorders = [fault.every for fault in faults if isinstance(fault, Reorder)]
        self._swap = _Swap(min(reorders)) if reorders else None
        self._ended = False

    def take(self, events: Sequence[ServerEvent], *, more: bool = False) -> list[Action]:
        """What to do about these events, in this order.

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


class _Swap:
    """Swaps neighbours, holding one event back to see the next."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._pairs = 0
        self._held: list[ServerEvent] = []

    def take(self, events: Sequence[ServerEvent], more: bool) -> list[ServerEvent]:
        waiting = [*self._held, *events]
        done: list[ServerEvent] = []
        while len(waiting) > 1:
            if self._swaps(waiting[0], waiting[1]):
                done += [waiting[1], waiting[0]]
                del waiting[:2]
            else:
                done.append(waiting.pop(0))
        if waiting and not (more and _may_move(waiting[0])):
            done += waiting
            waiting = []
        self._held = waiting
        return done

    def _swaps(self, first: ServerEvent, second: ServerEvent) -> bool:
        if not _order_is_open(first, second):
            return False
        self._pairs += 1
        return self._pairs % self._every == 0


def _order_is_open(first: ServerEvent, second: ServerEvent) -> bool:
    """Whether the protocol leaves open which of two neighbours comes first."""
    one, two = _response_of(first), _response_of(second)
    if one and two:
        return one != two
    for event, other in ((first, two), (second, one)):
        if other and (isinstance(event, ev.RateLimitsUpdated) or _is_transcription(event)):
            return True
    if _is_transcription(first) and _is_transcription(second):
        return bool(_field(first, "item_id") != _field(second, "item_id"))
    return False


def _may_move(event: ServerEvent) -> bool:
    return bool(_response_of(event)) or isinstance(event, ev.RateLimitsUpdated) or _is_transcription(event)


def _response_of(event: ServerEvent) -> str | None:
    """The id of the response whose event this is."""
    if not event.type.startswith("response."):
        return None
    found = _field(event, "response_id") or _field(_field(event, "response"), "id")
    return found if isinstance(found, str) else None


def _is_transcription(event: ServerEvent) -> bool:
    return event.type.startswith("conversation.item.input_audio_transcription.")


def _is_delta(event: ServerEvent | None) -> bool:
    return event is not None and event.type.startswith("response.") and event.type.endswith(".delta")


def _field(thing: object, name: str) -> Any:
    return getattr(thing, name, None)


def _behind(events: int, end: Action) -> Strike:
    """Let so many events pass, and end right behind the last."""
    numbers = count(1)

    def strike(send: Send) -> list[Action]:
        number = next(numbers)
        return [end] if number > events else [send, end] if number == events else [send]

    return strike


def _after(events: int, strike: Strike) -> Strike:
    """Let so many events pass before the strike."""
    numbers = count(1)
    return lambda send: strike(send) if next(numbers) > events else [send]


def _each(every: int, strike: Strike) -> Strike:
    """Strike at every n-th event."""
    numbers = count(1)
    return lambda send: strike(send) if next(numbers) % every == 0 else [send]


def _check(fine: bool, message: str) -> None:
    if not fine:
        raise ValueError(message)


def _json(fields: dict[str, Any]) -> str:
    return msgspec.json.encode(fields).decode()


# --- The command line's words --------------------------------------------------------------------------

_FAULTS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        CloseAfter,
        Drop,
        GoSilent,
        Delay,
        RefuseHandshake,
        SendUnknown,
        SendMalformed,
        Duplicate,
        Reorder,
        Expire,
    )
}


def parse(text: str) -> Fault:
    """A fault from words: ``"close:events=3,code=4000"``, ``"unknown:every=5"``, ``"refuse"``.

    Raises:
        ValueError: There is no such fault, or it takes other fields; the message says which there are.
    """
    name, _, rest = text.partition(":")
    kind = _FAULTS.get(name.strip())
    if kind is None:
        raise ValueError(f"there is no fault {name.strip()!r}; there are: {', '.join(_FAULTS)}")
    fields = {}
    for part in rest.split(",") if rest.strip() else []:
        field, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part.strip()!r} is not of the form FIELD=VALUE; {_takes(kind)}")
        fields[field.strip()] = value.strip()
    try:
        return msgspec.convert(fields, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"{text!r}: {error}; {_takes(kind)}") from None


def _takes(kind: type[Fault]) -> str:
    fields = [
        f"{field.name}=" if field.required else f"[{field.name}=]" for field in msgspec.structs.fields(kind)
    ]
    return f"the fault {kind.name!r} takes {', '.join(fields)}"
