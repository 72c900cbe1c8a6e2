"""Text cut inside a surrogate pair: a server that slices UTF-16 sends ``"\\ud83d"``, then ``"\\ude00"``.

Pure.  Half a pair can be neither printed nor sent: U+FFFD takes its place where the other half is lost.
"""

from typing import Any

from . import ResponseCancelled, ResponseDone, ServerEvent

__all__ = ["Joiner", "whole"]

_MOST_HELD = 64  # parts; a response has a few at a time
_LONGEST_ID = 1000  # characters
_ENDS = {"done", "completed", "failed"}  # the last word of the event that ends a part


def whole(text: str) -> str:
    """Return the text with its surrogate pairs joined, and U+FFFD for each half that is alone."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_IDS = ("response_id", "item_id", "output_index", "content_index", "call_id")
_Part = tuple[str | int | None, ...]
"""What the deltas of one text have in common: the kind, and `_IDS`; ``None``: the event has no such field."""


def _part_of(event: ServerEvent, kind: str) -> _Part:
    return (kind, *(getattr(event, name, None) for name in _IDS))


class Joiner:
    """Joins the halves of surrogate pairs from one delta of a part to the next.

    A high half at the end of a delta is held back until the next delta of the same part.  It is dropped
    when the part or its response ends without one: the event that says so carries the whole text.

    Attributes:
        held: The high halves that are held back, by their parts; while it is empty, events that were
            decoded as specified need not be joined.
    """

    def __init__(self) -> None:
        self.held: dict[_Part, str] = {}
        self._last: tuple[str, _Part, str] = ("", (), "")  # the last delta as it came, with its event_id
        self._joined_last = ""  # what it became

    def join(self, event: Any) -> None:
        """Make an event's ``delta`` whole, if it is text; note what the event ends."""
        delta: Any = getattr(event, "delta", None)
        is_text = isinstance(delta, str)
        if not self.held and (not is_text or delta.isascii()):
            return  # with nothing to join or to end
        kind, _, last = event.type.rpartition(".")
        if is_text:
            this = event.event_id, _part_of(event, kind), delta
            if not event.event_id or this != self._last:  # else it came twice, and is to stay the same
                self._last, self._joined_last = this, self._joined(this[1], delta)
            event.delta = self._joined_last
        elif last in _ENDS:
            self.held.pop(_part_of(event, kind), None)
        if isinstance(event, ResponseDone | ResponseCancelled):
            self._end_response(event)

    def _joined(self, part: _Part, text: str) -> str:
        text = self.held.pop(part, "") + text
        is_named = all(len(name) <= _LONGEST_ID for name in part if isinstance(name, str))
        if not ("\ud800" <= text[-1:] <= "\udbff" and is_named):
            return whole(text)
        if len(self.held) >= _MOST_HELD:
            del self.held[next(iter(self.held))]  # the oldest, whose other half will hardly come
        self.held[part] = text[-1]
        return whole(text[:-1])

    def _end_response(self, event: ResponseDone | ResponseCancelled) -> None:
        ended = event.response.id if event.response else getattr(event, "response_id", None)
        self.held = {part: half for part, half in self.held.items() if part[1] not in (ended or "", "")}
