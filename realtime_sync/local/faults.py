"""Faults on demand: what can go wrong between a server and its client, described in small types.

``LocalServer(faults=[CloseAfter(3, code=4000), Delay(0.1)])`` applies each to every connection, in the order
given; ``times=2`` only to the first two, ``connection=2`` only to the second, ``chance=0.5`` to half of them.
The same faults strike the same connections at the same places in every run.

What ends a connection (`CloseAfter`, `Drop`, `Reset`, `GoSilent`) takes one of these, which says when:

* ``events``: that many events of the session are sent, not counting what other faults insert; with 0, none.
* ``received``: that many messages of the client are received.  The last is handled, but not answered.
* ``seconds``: that many seconds have passed since the connection was opened.

In place of the number there may be a pair, as in ``Drop(events=(5, 50), seed=1)``: each connection draws its
own number between the two.  In words it is ``drop:events=5..50,seed=1``.

A new fault is a subclass of `Fault` with a ``name``: `parse` and ``serve --fault`` know it from then on, and
the methods that it overrides say where it strikes.
"""

import math
import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from typing import Any, Literal, TypeVar

import msgspec

from .reordering import is_response_delta
from .stage import Abort, Action, Close, Cut, End, Fault, Refusal, Send, SendHalf, Silence, Strike, check

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
    "Reset",
    "SendMalformed",
    "SendUnknown",
    "parse",
    "parse_all",
]


# --- The end -------------------------------------------------------------------------------------------


_T = TypeVar("_T")
_Count = int | tuple[int, int]
_Seconds = float | tuple[float, float]
_WHEN = ("events", "received", "seconds")


class _When(Fault, frozen=True, kw_only=True):
    received: _Count | None = None
    seconds: _Seconds | None = None


class _Ending(_When, frozen=True):
    """A fault that ends a connection or holds it up, at a place that the first field names."""

    events: _Count | None = None

    def _check(self) -> None:
        given = [name for name in _WHEN if getattr(self, name) is not None]
        came = " and ".join(given) or "none"
        check(len(given) == 1, f"expected one of events, received and seconds, got {came}")
        _check_range(given[0], getattr(self, given[0]), least=int(given[0] == "received"))

    def drawn(self, connection: int) -> Fault:
        return msgspec.structs.replace(self, **{name: _drawn(self, name, connection) for name in _WHEN})

    def strike(self) -> Strike | None:
        return None if self.events is None else self._strike(_number(self.events))

    def end(self) -> End | None:
        if self.received is not None:
            return End(self._actions(), received=_number(self.received))
        return None if self.seconds is None else End(self._actions(), seconds=_number(self.seconds))

    def _strike(self, events: int) -> Strike:
        return _behind(events, self._actions())

    @abstractmethod
    def _actions(self) -> list[Action]:
        """Return what happens."""


class CloseAfter(_Ending, frozen=True):
    """Close the connection with a close frame.

    Args:
        events, received, seconds: When; see above.
        code, reason: Of the close frame.
    """

    name = "close"
    code: int = 1011
    reason: str = ""

    def _check(self) -> None:
        super()._check()
        check(1000 <= self.code <= 4999, f"code must be between 1000 and 4999, got {self.code}")
        check(self.code not in (1005, 1006, 1015), f"code {self.code} can't be sent in a close frame")
        size = len(self.reason.encode())
        check(size <= 123, f"reason must have at most 123 bytes, got {size}")

    def _actions(self) -> list[Action]:
        return [Close(self.code, self.reason)]


class Drop(_Ending, frozen=True):
    """End the TCP connection without a close frame.

    Args:
        events, received, seconds: When; see above.
        inside: ``"frame"``: after half of a frame, with ``events`` the next event's.  ``"session"``: between
            two frames.  ``"response"``: behind the next delta of a response, between two frames; only with
            ``events``.
    """

    name = "drop"
    inside: Literal["frame", "session", "response"] = "frame"

    def _check(self) -> None:
        super()._check()
        places = ("frame", "session", "response")
        check(self.inside in places, f"inside must be 'frame', 'session' or 'response', got {self.inside!r}")
        fine = self.inside != "response" or self.events is not None
        check(fine, "inside='response' goes with events, got received or seconds")

    def _strike(self, events: int) -> Strike:
        match self.inside:
            case "frame":
                return _after(events, lambda send: [SendHalf(send.text), Cut()])
            case "session":
                return super()._strike(events)
        return _after(events, lambda send: [send, Cut()] if _is_delta(send) else [send])

    def _actions(self) -> list[Action]:
        return [Cut()] if self.inside == "session" else [SendHalf(_json(_UNKNOWN)), Cut()]


class Reset(_Ending, frozen=True):
    """Reset the TCP connection, between two frames.  What the client has not read yet may be lost.

    Args:
        events, received, seconds: When; see above.
    """

    name = "reset"

    def _actions(self) -> list[Action]:
        return [Abort()]


class GoSilent(_Ending, frozen=True):
    """Neither read nor write, with the TCP connection open: a half-open connection, or one that stalls.

    Args:
        events, received, seconds: When; see above.
        lasting: _Seconds until everything goes on, with what was held up; ``None``: it never does.
    """

    name = "silent"
    lasting: float | None = None

    def _check(self) -> None:
        super()._check()
        fine = self.lasting is None or 0 < self.lasting < math.inf
        check(fine, f"lasting must be more than 0, got {self.lasting}")

    def _actions(self) -> list[Action]:
        return [Silence() if self.lasting is None else Silence(self.lasting)]


class Expire(Fault, frozen=True):
    """Expire the session after some seconds, as at its time limit: ``session_expired``, close code 1001.

    Args:
        seconds: Of the session's life, or a pair; see above.
    """

    name = "expire"
    seconds: _Seconds

    def _check(self) -> None:
        _check_range("seconds", self.seconds)

    def drawn(self, connection: int) -> Fault:
        return msgspec.structs.replace(self, seconds=_drawn(self, "seconds", connection))

    def lifetime(self) -> float:
        return _number(self.seconds)


# --- The handshake -------------------------------------------------------------------------------------


class RefuseHandshake(Fault, frozen=True):
    """Answer the upgrade with an HTTP error.

    Args:
        status: The HTTP status, 300 to 599.
        message: For the body, which is an error as OpenAI writes it.
        body: The body itself, in place of that.
        retry_after: _Seconds after which the client may try again: the headers ``Retry-After``, in whole
            seconds, and OpenAI's ``retry-after-ms``.  ``None``: without.
        times: Only the first ``times`` attempts are rejected; ``None``: all.
    """

    name = "refuse"
    status: int = 503
    message: str = "The server is overloaded or not ready yet."
    body: str | None = None
    retry_after: float | None = None

    def _check(self) -> None:
        check(300 <= self.status <= 599, f"status must be between 300 and 599, got {self.status}")
        fine = self.retry_after is None or 0 <= self.retry_after < math.inf
        check(fine, f"retry_after must be 0 or more, got {self.retry_after}")

    def refusal(self) -> Refusal:
        return Refusal(self.status, self._body(), self._headers())

    def _headers(self) -> list[tuple[str, str]]:
        if self.retry_after is None:
            return []
        whole, exact = math.ceil(self.retry_after), round(self.retry_after * 1000)
        return [("Retry-After", str(whole)), ("retry-after-ms", str(exact))]

    def _body(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": None, "code": None}
        return msgspec.json.encode({"error": error})


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
            fields = {**_UNKNOWN, "event_id": f"event_unknown_{number}", "number": number}
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


_UNKNOWN: dict[str, Any] = {"type": "realtime_sync.unknown"}


def _behind(events: int, end: list[Action]) -> Strike:
    """Let ``events`` events pass, and strike right behind the last; with 0, before the first."""
    numbers = count(1)

    def strike(send: Send) -> list[Action]:
        number = next(numbers)
        if number == max(events, 1):
            return [send, *end] if events else [*end, send]
        return [send]

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


def _drawn(fault: Fault, name: str, connection: int) -> Any:
    """Return the number in a field; of a pair, the one that the dice give between the two."""
    at = getattr(fault, name)
    if not isinstance(at, tuple):
        return at
    dice = fault.dice(connection, name)
    return dice.uniform(*at) if name == "seconds" else dice.randint(*at)


def _number(at: _T | tuple[_T, _T]) -> _T:
    assert not isinstance(at, tuple), "drawn() makes it a number"
    return at


def _check_range(name: str, at: Any, least: int = 0) -> None:
    low, high = at if isinstance(at, tuple) and len(at) == 2 else (at, at)
    kind = int | float if name == "seconds" else int
    fine = isinstance(low, kind) and isinstance(high, kind) and least <= low <= high < math.inf
    word = "numbers" if name == "seconds" else "integers"
    expected = f"{least} or more, or a tuple of two such {word}, the smaller first"
    check(fine, f"{name} must be {expected}; got {at!r}")


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
    kinds = {kind.name: kind for kind in _kinds(Fault) if kind.name}
    kind = kinds.get(name.strip())
    if kind is None:
        raise ValueError(f"unknown fault {name.strip()!r}; expected one of {', '.join(kinds)}")
    fields: dict[str, str | list[str]] = {}
    for part in rest.split(",") if rest.strip() else []:
        field, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"expected FIELD=VALUE, got {part.strip()!r}; {_takes(kind)}")
        low, dots, high = value.strip().partition("..")
        is_pair = dots and field.strip() in _WHEN
        fields[field.strip()] = [low, high] if is_pair else value.strip()
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


def _kinds(base: type[Fault]) -> Iterator[type[Fault]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _takes(kind: type[Fault]) -> str:
    fields = [
        f"{field.name}=" if field.required else f"[{field.name}=]" for field in msgspec.structs.fields(kind)
    ]
    return f"the fault {kind.name!r} takes {', '.join(fields)}"
