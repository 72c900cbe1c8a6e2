"""Events as short text, for people who read why a test failed: audio by its length, no empty fields."""

import difflib
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile
from typing import TypeVar

from msgspec import UNSET, Struct, structs

from ..events import ClientEvent, InputAudioBufferAppend, ServerEvent, UnknownEvent
from ..redaction import one_line

__all__ = ["compared", "difference", "event_lines", "name_of", "readable"]

Event = ClientEvent | ServerEvent
_S = TypeVar("_S", str, list[str])

_LONGEST = 160
"""Characters of one string."""
_MOST_LINES = 60
"""Of a list of events; the last ones are shown."""
_WIDTH = 90
_NARROWEST = 20
"""Of a value within others; a narrower one stays on one line, however long."""
_MOST_COMPARED = {"character": 400, "line": 40}
"""Of what differs: to compare more of it takes time that grows with its square and worse."""


def readable(value: object) -> str:
    """Return a value on one line."""
    parts = _parts(value)
    if parts is None:
        return _leaf(value)
    begin, fields, end = parts
    return begin + ", ".join(label + readable(part) for label, part in fields) + end


def _pretty(value: object, width: int = _WIDTH) -> str:
    """Return a value on as many lines as it needs."""
    line, parts = readable(value), _parts(value)
    if parts is None or len(line) <= width or width < _NARROWEST:
        return line
    begin, fields, end = parts
    body = "".join(f"{label}{_pretty(part, width - 4)},\n" for label, part in fields)
    return f"{begin}\n" + "".join(f"    {row}\n" for row in body.splitlines()) + end


def _parts(value: object) -> tuple[str, list[tuple[str, object]], str] | None:
    """Return what comes before, the labelled fields, what comes after; ``None`` for what has no fields."""
    if isinstance(value, dict):
        return "{", [(f"{_leaf(key)}: ", part) for key, part in value.items()], "}"
    if isinstance(value, list | tuple):
        return "[", [("", part) for part in value], "]"
    # Structs with a repr of their own redact a secret.
    if isinstance(value, UnknownEvent) or not isinstance(value, Struct) or _has_own_repr(value):
        return None
    name = value.type if isinstance(value, Event) else type(value).__name__
    fields = [
        (f"{field}=", part)
        for field, absent in _absences(type(value)).items()
        if (part := getattr(value, field)) is not absent and part is not UNSET
    ]
    return f"{name}(", fields, ")"


@functools.cache
def _absences(cls: type[Struct]) -> dict[str, object]:
    """Return the fields to show, each with the value that stands for its absence."""
    # Where a field is UNSET by default, None says something: it clears a setting.
    return {
        field.name: UNSET if field.default is UNSET else None
        for field in structs.fields(cls)
        if field.name != "event_id"
    }


def _has_own_repr(value: Struct) -> bool:
    return type(value).__repr__ is not Struct.__repr__


def _leaf(value: object) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes of audio>"
    if isinstance(value, UnknownEvent):
        frame = value.frame.decode(errors="replace")
        return f"{value.problem or 'unknown event'}: {_leaf(frame)}"
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]!r}... ({len(value)} characters)"
    return one_line(repr(value))


def name_of(function: object) -> str:
    """Return the name of a function, or where it was written if it has none."""
    name, code = getattr(function, "__name__", None), getattr(function, "__code__", None)
    if name == "<lambda>" and code is not None:
        return f"the lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    return name or repr(function)


def difference(expected: object, received: object) -> list[str]:
    """Return lines: ``-`` what was expected, ``+`` what was received, ``?`` where they differ.

    Where both are long, that is the place of the first difference.
    """
    if isinstance(expected, str) and isinstance(received, str):
        remark, texts = _around_difference(expected, received, "character")
        left, right = ([repr(text)] for text in texts)
    else:
        lines = _pretty(expected).splitlines(), _pretty(received).splitlines()
        remark, (left, right) = _around_difference(*lines, "line")
    return [*remark, *(line.rstrip() for line in difflib.ndiff(left, right))]


def _around_difference(left: _S, right: _S, unit: str) -> tuple[list[str], tuple[_S, _S]]:
    """Return what is said of a cut, and both: around the first difference, if they are long."""
    most = _MOST_COMPARED[unit]
    if max(len(left), len(right)) <= most:
        return [], (left, right)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
    start = max(alike - most // 4, 0)
    lengths = f"of {len(left)} and {len(right)} {unit}s, at most {most} from the {start + 1}. on"
    return [f"({lengths})"], (left[start : start + most], right[start : start + most])


def event_lines(events: Iterable[Event]) -> list[str]:
    """Return a line for each event, and one for all audio that was appended in a row."""
    lines = list(_lines(events))
    left_out = len(lines) - _MOST_LINES
    return [f"... {left_out} earlier ones", *lines[left_out:]] if left_out > 0 else lines


def _lines(events: Iterable[Event]) -> Iterator[str]:
    for is_audio, group in groupby(events, lambda event: isinstance(event, InputAudioBufferAppend)):
        run = list(group)
        if is_audio and len(run) > 1:
            size = sum(len(event.audio) for event in run if isinstance(event, InputAudioBufferAppend))
            yield f"{run[0].type}(audio=<{size} bytes of audio in {len(run)} events>)"
        else:
            yield from (one_line(readable(event)) for event in run)


def compared(left: object, right: object) -> list[str] | None:
    """Return why ``left == right`` is false, if one of them is an event or a list with one; for pytest."""
    if not (_holds_event(left) or _holds_event(right)):
        return None
    lines = [f"{_shortened(left)} == {_shortened(right)}", "", *difference(right, left)]
    if readable(left) == readable(right):
        lines.append("(what differs is not shown: event_id, or the bytes of the audio)")
    return lines


def _holds_event(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return any(isinstance(part, Event) for part in value)
    return isinstance(value, Event)


def _shortened(value: object) -> str:
    line = readable(value)
    return line if len(line) <= _WIDTH else f"{line[:_WIDTH]}..."
