"""Frames to events and back.  Pure and total: what a peer sends can't make `decode` raise.

`decode` tries one typed decode of the whole frame, which is all that happens to a frame that follows
the specification.  Only when that fails is the frame parsed into plain objects, and each value put
where it fits by `mend`, so that one wrong field costs that field and not the event.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, Union

import msgspec
from msgspec import Struct

from . import CLIENT_EVENTS, SERVER_EVENTS, ClientEvent, ServerEvent, UnknownEvent, UnknownObject
from .mend import mend
from .surrogates import Joiner, whole

__all__ = ["Binary", "Deviation", "Message", "decode", "decode_client", "encode", "parse", "plain"]

E = TypeVar("E", bound=ServerEvent | ClientEvent)


class Binary:
    """A binary message.  A class of its own, so that it is not taken for text, which is ``bytes``."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __len__(self) -> int:
        return len(self.payload)


Message = bytes | Binary
"""One whole message: bytes for text, `Binary` for binary."""


class Deviation(Struct, frozen=True):
    """One place where a known event differed from the specification.

    Attributes:
        event: The event's ``type``.
        path: The place, for example ``".error.message"`` or ``".item.content[].text"``; ``""`` is the frame.
        problem: What is wrong there, for example ``"missing"`` or ``"expected str, got null"``.
        frame: The whole frame.
    """

    event: str
    path: str
    problem: str
    frame: bytes


Report = Callable[[Deviation], None]

FrameReport = Callable[[str, dict[str, int], bytes], None]
"""A function that takes an event's ``type``, how often it deviates at each place, such as
``".item.id: missing"``, and the frame.  None of the places holds text of the server's."""


def decode(data: bytes | str, *, report: Report | None = None) -> ServerEvent:
    """Decode one frame from a server.

    Never raises for what the frame holds: a message that is no event becomes an `UnknownEvent` whose
    ``problem`` says why, a new event an `UnknownEvent`, a part of a new kind an `UnknownObject`.  A
    known event with wrong or missing fields keeps the fields that fit; the others read as their
    default or zero, and ``report`` is called once for each.

    Raises:
        TypeError: ``data`` is neither bytes nor a string.
    """
    return _SERVER.decode(data, report)


def decode_messages(messages: list[Message], report: FrameReport, joiner: Joiner) -> list[ServerEvent]:
    """Decode the messages that came together, each as `decode` does, and join text that was cut.

    ``report`` is called once for each message that is no event or deviates from the specification.
    """
    typed: Callable[[Any], ServerEvent] = _SERVER.typed
    if not joiner.held:
        try:
            return [typed(message) for message in messages]
        except (ValueError, RecursionError, TypeError):  # one of them is not as specified, or is binary
            pass
    return [_decode_message(message, report, joiner) for message in messages]


def _decode_message(message: Message, report: FrameReport, joiner: Joiner) -> ServerEvent:
    places: dict[str, int] = {}

    def note(deviation: Deviation) -> None:
        place = f"{deviation.path}: {deviation.problem}"
        places[place] = places.get(place, 0) + 1

    event: ServerEvent
    if isinstance(message, Binary):
        event = UnknownEvent("", message.payload, "binary message")
    else:
        event = _SERVER.decode(message, note, keep_halves=True)
        joiner.join(event)
    if isinstance(event, UnknownEvent) and event.problem:
        # Without the parser's words, whose offsets would make each such message a kind of its own.
        places[f"not an event: {event.problem.partition(':')[0]}"] = 1
    if places:
        report(event.type, places, message.payload if isinstance(message, Binary) else message)
    return event


def decode_client(data: bytes | str, *, report: Report | None = None) -> ClientEvent | UnknownEvent:
    """Decode one frame from a client, as a server does.  Otherwise like `decode`."""
    return _CLIENT.decode(data, report)


def encode(event: ServerEvent | ClientEvent | Mapping[str, Any]) -> bytes:
    """Encode an event, or a plain dict with a ``type``, as JSON.

    Bytes are written as base64.  An `UnknownEvent` is written as it came.

    Raises:
        TypeError: It is not an event, or holds something that JSON can't.
        ValueError: It holds text with half a surrogate pair, which UTF-8 can't carry.
        RecursionError: It holds itself, or is nested too deeply.
    """
    if isinstance(event, UnknownEvent):
        return event.frame
    if isinstance(event, ServerEvent | ClientEvent):
        return _encoder.encode(event)
    if isinstance(event, Mapping) and isinstance(event.get("type"), str):
        return _encoder.encode(dict(event))
    raise TypeError(f"not an event: expected an event or a dict with a 'type', got {_shown(event)}")


def _shown(value: object) -> str:
    """Return what a wrong argument was, without its content, which may be long or secret."""
    return "a dict without one" if isinstance(value, Mapping) else type(value).__name__


def plain(value: object) -> Any:
    """Convert an object of a class that msgspec doesn't know, as its ``enc_hook``."""
    if isinstance(value, UnknownObject):
        return value.data
    raise TypeError(f"can't send a {type(value).__name__} as JSON")


_encoder = msgspec.json.Encoder(enc_hook=plain)


class _Family(Generic[E]):
    """The events of one direction: the typed decoder, and what to do when it fails."""

    def __init__(self, events: dict[str, type[E]]) -> None:
        self._events = events
        self.typed = msgspec.json.Decoder(Union[tuple(events.values())]).decode

    def decode(
        self, data: bytes | str, report: Report | None, *, keep_halves: bool = False
    ) -> E | UnknownEvent:
        """Decode a frame.  With ``keep_halves``, text cut inside a surrogate pair stays so in its delta."""
        try:
            event: E = self.typed(data)
            return event
        except (ValueError, RecursionError, BufferError):  # all that msgspec raises for content
            return self._decode_tolerantly(data, report, keep_halves)

    def _decode_tolerantly(
        self, data: bytes | str, report: Report | None, keep_halves: bool
    ) -> E | UnknownEvent:
        frame = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        try:
            value, flaw = parse(frame, keep_halves=keep_halves)
        except UnicodeDecodeError:
            return UnknownEvent("", frame, "invalid UTF-8")
        except RecursionError:
            return UnknownEvent("", frame, "JSON nested too deeply")
        except ValueError as error:
            return UnknownEvent("", frame, f"not JSON: {error}")
        if not isinstance(value, dict):
            return UnknownEvent("", frame, "not a JSON object")
        tag = value.get("type")
        if not isinstance(tag, str) or not tag:
            return UnknownEvent("", frame, "no type")
        event_class: Any = self._events.get(tag)
        if event_class is None:
            event_id = value.get("event_id")
            return UnknownEvent(tag, frame, event_id=event_id if isinstance(event_id, str) else "")

        def note(path: str, problem: str) -> None:
            if report is not None:
                report(Deviation(tag, path, problem, frame))

        if flaw is not None:
            note("", flaw)
        event: E = mend(event_class, value, note)
        return event


def parse(frame: bytes, *, keep_halves: bool = False) -> tuple[Any, str | None]:
    """Return the frame as plain objects, and how it deviates from JSON (``None`` = it doesn't).

    Python's own parser is the second try, because it accepts what some servers send and msgspec
    rejects: NaN, numbers beyond the range, and half a surrogate pair (text cut inside an emoji), which
    is replaced by U+FFFD; with ``keep_halves`` not in ``delta``, where the next frame may bring the other.

    Raises:
        ValueError: It is not JSON, or not UTF-8 (`UnicodeDecodeError`).
        RecursionError: It is nested too deeply.
    """
    text = frame.decode()
    try:
        return msgspec.json.decode(frame), None
    except ValueError:
        import json  # only here: most programs never need it

        value = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
        clean = _without_surrogates(value)
        flaw = "not strict JSON" if clean == value else "text cut inside a surrogate pair"
        if keep_halves and isinstance(value, dict) and isinstance(value.get("delta"), str):
            clean["delta"] = value["delta"]
        return clean, flaw


def _finite(text: str) -> float | None:
    """Return a number for Python's parser; ``None`` for NaN and infinities, which JSON can't hold."""
    number = float(text)
    return number if math.isfinite(number) else None


def _integer(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return _finite(text)


def _without_surrogates(value: Any) -> Any:
    """Replace halves of surrogate pairs, which can be neither printed nor sent."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


_SERVER = _Family(SERVER_EVENTS)
_CLIENT = _Family(CLIENT_EVENTS)
