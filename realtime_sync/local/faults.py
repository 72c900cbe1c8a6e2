"""Faults on demand: what can go wrong between a server and its client, described in small types.

``LocalServer(faults=[CloseAfter(3, code=4000), Delay(0.1)])`` applies each to every connection, in the order
given; ``times=2`` only to the first two.  The same faults strike at the same events in every run.

A new fault is a subclass of `Fault` with a ``name``: `parse` and ``serve --fault`` know it from then on, and
the methods that it overrides say where it strikes.
"""

import math
import random
from collections.abc import Sequence
from itertools import count, cycle
from typing import Any, Literal

import msgspec

from .reordering import is_response_delta
from .stage import Action, Close, Cut, Fault, Refusal, Send, SendHalf, Silence, Strike, check

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
    "parse_all",
]


# --- The end -------------------------------------------------------------------------------------------


class CloseAfter(Fault, frozen=True):
    """Close the connection after a number of events; with 0, before the first.

    Args:
        events: Events of the session that are sent before, not counting what other faults insert.
        code, reason: Of the close frame.
    """

    name = "close"
    events: int
    code: int = 1011
    reason: str = ""

    def _check(self) -> None:
        _check_events(self.events)
        check(1000 <= self.code <= 4999, f"code must be between 1000 and 4999, got {self.code}")
        check(self.code not in (1005, 1006, 1015), f"code {self.code} can't be sent in a close frame")
        size = len(self.reason.encode())
        check(size <= 123, f"reason must have at most 123 bytes, got {size}")

    def strike(self) -> Strike:
        return _behind(self.events, Close(self.code, self.reason))


class Drop(Fault, frozen=True):
    """End the TCP connection without a close frame, after a number of events.

    Args:
        events: Events of the session that are sent whole before.
        inside: ``"frame"``: after half of the next event's frame.  ``"response"``: behind the next delta of a
            response, between two frames.
    """

    name = "drop"
    events: int
    inside: Literal["frame", "response"] = "frame"

    def _check(self) -> None:
        _check_events(self.events)
        places = ("frame", "response")
        check(self.inside in places, f"inside must be 'frame' or 'response', got {self.inside!r}")

    def strike(self) -> Strike:
        if self.inside == "frame":
            return _after(self.events, lambda send: [SendHalf(send.text), Cut()])
        return _after(self.events, lambda send: [send, Cut()] if _is_delta(send) else [send])


class GoSilent(Fault, frozen=True):
    """Neither read nor write after a number of events, with the TCP connection open: a half-open connection.

    Args:
        events: Events of the session that are sent before.
    """

    name = "silent"
    events: int

    def _check(self) -> None:
        _check_events(self.events)

    def strike(self) -> Strike:
        return _behind(self.events, Silence())


class Expire(Fault, frozen=True):
    """Expire the session after some seconds, as at its time limit: ``session_expired``, close code 1001."""

    name = "expire"
    seconds: float

    def _check(self) -> None:
        check(self.seconds >= 0, f"seconds must be 0 or more, got {self.seconds}")

    def lifetime(self) -> float:
        return self.seconds


# --- The handshake -------------------------------------------------------------------------------------


class RefuseHandshake(Fault, frozen=True):
    """Answer the upgrade with an HTTP error.

    Args:
        status: The HTTP status, 300 to 599.
        message: For the body, which is an error as OpenAI writes it.
        body: The body itself, in place of that.
        times: Only the first ``times`` attempts are rejected; ``None``: all.
    """

    name = "refuse"
    status: int = 503
    message: str = "The server is overloaded or not ready yet."
    body: str | None = None

    def _check(self) -> None:
        check(300 <= self.status <= 599, f"status must be between 300 and 599, got {self.status}")

    def refusal(self) -> Refusal:
        if self.body is not None:
            return Refusal(self.status, self.body.encode())
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": None, "code": None}
        return Refusal(self.status, msgspec.json.encode({"error": error}))


# --- Time and order ------------------------------------------------------------------------------------


class Delay(Fault, frozen=True):
    """Send every event late, as a slow network does: the order stays, and so does the rate.

    Args:
        seconds: How late.
        jitter: The most that is added at random, in seconds, evenly distributed.
        seed: Of the jitter; each connection has the same.
    """

    name = "delay"
    seconds: float
    jitter: float = 0.0
    seed: int = 0

    def _check(self) -> None:
        fine = 0 <= self.seconds < math.inf and 0 <= self.jitter < math.inf
        check(fine, f"seconds and jitter must be 0 or more, got {self.seconds} and {self.jitter}")

    def strike(self) -> Strike:
        chance = random.Random(self.seed)

        def late(send: Send) -> list[Action]:
            after = send.after + self.seconds + self.jitter * chance.random()
            return [msgspec.structs.replace(send, after=after)]

        return late


class Reorder(Fault, frozen=True):
    """Swap every n-th pair of neighbours of which the protocol leaves open which comes first.

    These are: events of different responses; a transcription of input and an event of a response;
    transcriptions of different items; ``rate_limits.updated`` and any event of a response.  All others keep
    their places.
    """

    name = "reorder"
    every: int = 1

    def _check(self) -> None:
        _check_every(self.every)

    def swap_every(self) -> int:
        return self.every


# --- Additional messages ---------------------------------------------------------------------------------


class SendUnknown(Fault, frozen=True):
    """Insert an event of an unknown type behind every n-th event."""

    name = "unknown"
    every: int

    def _check(self) -> None:
        _check_every(self.every)

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
    """Insert a message that is no proper event behind every n-th event; `MALFORMED` in turn."""

    name = "malformed"
    every: int

    def _check(self) -> None:
        _check_every(self.every)

    def strike(self) -> Strike:
        texts = cycle(MALFORMED)
        return _each(self.every, lambda send: [send, Send(next(texts))])


class Duplicate(Fault, frozen=True):
    """Send every n-th event twice, with the same ``event_id``."""

    name = "duplicate"
    every: int

    def _check(self) -> None:
        _check_every(self.every)

    def strike(self) -> Strike:
        return _each(self.every, lambda send: [send, Send(send.text)])


MALFORMED: Sequence[str] = (
    '{"type":"response.output_text.delta","event_id":"event_malf',  # not JSON
    "",  # empty
    "null",  # not an object
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


# --- What the faults share -----------------------------------------------------------------------------


def _behind(events: int, end: Action) -> Strike:
    """Let ``events`` events pass, and end right behind the last."""
    numbers = count(1)

    def strike(send: Send) -> list[Action]:
        number = next(numbers)
        return [end] if number > events else [send, end] if number == events else [send]

    return strike


def _after(events: int, strike: Strike) -> Strike:
    """Let ``events`` events pass before the strike."""
    numbers = count(1)
    return lambda send: strike(send) if next(numbers) > events else [send]


def _each(every: int, strike: Strike) -> Strike:
    """Strike at every n-th event."""
    numbers = count(1)
    return lambda send: strike(send) if next(numbers) % every == 0 else [send]


def _is_delta(send: Send) -> bool:
    return send.event is not None and is_response_delta(send.event)


def _check_events(events: int) -> None:
    check(events >= 0, f"events must be 0 or more, got {events}")


def _check_every(every: int) -> None:
    check(every >= 1, f"every must be 1 or more, got {every}")


def _json(fields: dict[str, Any]) -> str:
    return msgspec.json.encode(fields).decode()


# --- The command line's words --------------------------------------------------------------------------


def parse(text: str) -> Fault:
    """Return the fault that is described in words: ``"close:events=3,code=4000"``, ``"unknown:every=5"``,
    ``"refuse"``.

    Raises:
        ValueError: The fault is unknown, or takes other fields; the message lists them.
    """
    name, _, rest = text.partition(":")
    kinds = {kind.name: kind for kind in Fault.__subclasses__() if kind.name}
    kind = kinds.get(name.strip())
    if kind is None:
        raise ValueError(f"unknown fault {name.strip()!r}; expected one of {', '.join(kinds)}")
    fields = {}
    for part in rest.split(",") if rest.strip() else []:
        field, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"expected FIELD=VALUE, got {part.strip()!r}; {_takes(kind)}")
        fields[field.strip()] = value.strip()
    try:
        return msgspec.convert(fields, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"{text!r}: {error}; {_takes(kind)}") from None


def parse_all(faults: Sequence[Fault | str]) -> list[Fault]:
    """Return the faults, those in words parsed.

    Raises:
        TypeError: It is not a list of faults.
        ValueError: A fault is unknown.
    """
    if isinstance(faults, str) or not isinstance(faults, Sequence):
        raise TypeError(f"faults must be a list of faults, got {faults!r:.80}")
    return [parse(fault) if isinstance(fault, str) else fault for fault in faults]


def _takes(kind: type[Fault]) -> str:
    fields = [
        f"{field.name}=" if field.required else f"[{field.name}=]" for field in msgspec.structs.fields(kind)
    ]
    return f"the fault {kind.name!r} takes {', '.join(fields)}"
