"""`Outbox`: what was sent and not confirmed, so that a lost connection loses nothing in silence."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from ..events import ClientEvent
from .facts import Sent
from .input_audio import InputAudio

__all__ = ["Event", "Letter", "Outbox", "Unconfirmed", "sent_of", "value_of"]

_MOST = 10_000  # events that are kept, of each kind; more wait only for a server that answers none
Event = ClientEvent | Mapping[str, Any]
"""A client event as `Session.send` takes it."""


class Unconfirmed(Struct, frozen=True):
    """What was sent and not confirmed by the server.

    Attributes:
        events: The client events that the server is yet to answer, in the order sent: structs and dicts as
            they were given to `Session.send`, with their ``event_id``.  Requests with ``when_idle=True`` that
            are still pending are the last.
        audio_bytes: Bytes of audio appended of which the server has not shown that it has them.
        forgotten: Number of older events that are not listed, since 10,000 are kept.
    """

    events: tuple[Event, ...] = ()
    audio_bytes: int = 0
    forgotten: int = 0


class Letter(Struct):
    """A client event on its way.

    Attributes:
        event: The event.
        audio: Bytes of audio that were sent before it.
        posted: It has been sent.  One that waits to be sent is not confirmed by the answer to a later one.
    """

    event: Event
    audio: int
    posted: bool = False


class Outbox:
    """The client events of one session that the server is yet to answer, by their numbers.

    The server takes events in the order in which they were sent, so its answer to one confirms those before
    it, and all audio before that.  Only a request for a response waits for that response.

    Attributes:
        audio: The user's audio.
    """

    def __init__(self) -> None:
        self.audio = InputAudio()
        self._letters: OrderedDict[int, Letter] = OrderedDict()
        self._requests: OrderedDict[int, Letter] = OrderedDict()
        self._forgotten = 0

    def put(self, number: int, event: Event, *, is_request: bool = False) -> Letter:
        """Note an event before it is sent."""
        letters = self._requests if is_request else self._letters
        letter = letters[number] = Letter(event, self.audio.appended)
        if len(letters) > _MOST:
            letters.popitem(last=False)
            self._forgotten += 1
        return letter

    def answered(self, number: int) -> None:
        """Note that the server has answered this event, or rejected it."""
        letter = self._letters.pop(number, None) or self._requests.pop(number, None)
        if letter is not None:
            self.audio.confirm(letter.audio)

    def drop(self, number: int) -> None:
        """Forget an event that will not be sent again, though the server has not answered it."""
        self._letters.pop(number, None)
        self._requests.pop(number, None)

    def taken(self, number: int) -> None:
        """Note that the server has taken all events up to this one."""
        passed = []
        for each in self._letters:
            if each > number:
                break
            passed.append(each)
        for each in passed:
            if self._letters[each].posted or each == number:
                self.answered(each)

    def unconfirmed(self, pending: Iterable[Event]) -> Unconfirmed:
        """Return what is not confirmed, with these requests that are not sent yet."""
        events = (*(letter.event for letter in self.letters().values()), *pending)
        return Unconfirmed(events, self.audio.appended - self.audio.confirmed, self._forgotten)

    def letters(self) -> dict[int, Letter]:
        """Return what is not confirmed, by its number, in the order sent."""
        return dict(sorted({**self._letters, **self._requests}.items()))


def value_of(holder: Any, name: str) -> Any:
    """Return a field of an event or object, as a struct or as a dict; ``None`` if there is none."""
    data = getattr(holder, "data", holder) if not isinstance(holder, Mapping) else holder
    return data.get(name) if isinstance(data, Mapping) else getattr(holder, name, None)


def sent_of(event: Event, event_id: str, audio: int) -> Sent:
    """Return what is to be known of an event; ``audio`` is the bytes that were appended before it."""
    item = value_of(event, "item")
    item_id, item_type = value_of(event, "item_id") or value_of(item, "id"), value_of(item, "type")
    previous, index, end_ms = (
        value_of(event, name) for name in ("previous_item_id", "content_index", "audio_end_ms")
    )
    return Sent(
        str(value_of(event, "type")),
        event_id,
        item_id=item_id if isinstance(item_id, str) else "",
        item_type=item_type if isinstance(item_type, str) else "",
        previous_item_id=previous if isinstance(previous, str) else "",
        content_index=index if isinstance(index, int) else 0,
        audio_end_ms=int(end_ms) if isinstance(end_ms, int | float) and math.isfinite(end_ms) else 0,
        audio=audio,
    )
