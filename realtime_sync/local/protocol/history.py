"""The conversation: its items, in order."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from ... import events as ev
from ...chain import Chain
from ...events import UnknownObject
from ...events.objects import NULL
from .alignment import Alignment
from .refusal import Refused

__all__ = ["MOST_BYTES", "History", "Kept", "audio_length", "completed", "id_of", "part_of", "without_audio"]

MOST_BYTES = 256 * 1024 * 1024  # of one conversation, most of it audio: 90 minutes of PCM
_ITEM_BYTES = 1000  # of an item, besides what it carries


@dataclass(frozen=True)
class Kept:
    """An item of the conversation.

    Attributes:
        rate: Bytes per second of its audio; any number if it has none.
        size: About how many bytes it keeps in memory.
        words: What is said in its audio, if the item itself has no transcript: of a user's message, because
            the client wants none; of the model's, because it was truncated.
        alignment: Which words of the model's belong to which part of the audio.
    """

    id: str
    item: ev.Item
    rate: int = 1
    size: int = 0
    words: str | None = None
    alignment: Alignment | None = None

    def heard(self, size: int) -> str:
        """Return the words in so many bytes of its audio, the only one of the item."""
        text = "".join(part.transcript or "" for part in _spoken(self.item)) or self.words or ""
        alignment = self.alignment
        if alignment is None:  # the item is the client's own
            alignment = Alignment(self.rate)
            alignment.mark(sum(len(part.audio or b"") for part in _spoken(self.item)), len(text))
        return alignment.heard(text, size)

    def with_words(self) -> ev.Item:
        """Return the item, with a transcript for its audio where that is known."""
        if self.words is None or not isinstance(self.item, ev.Message):
            return self.item
        content = [
            structs.replace(part, transcript=self.words)
            if isinstance(part, ev.InputAudio | ev.OutputAudio) and not part.transcript
            else part
            for part in self.item.content
        ]
        return structs.replace(self.item, content=content)


def _spoken(item: ev.Item) -> list[ev.InputAudio | ev.OutputAudio]:
    content = item.content if isinstance(item, ev.Message) else []
    return [part for part in content if isinstance(part, ev.InputAudio | ev.OutputAudio)]


class HeardAudio(ev.InputAudio, tag="input_audio", kw_only=True):
    """A user's audio as the server announces it: without a transcript, that is ``null`` and not absent."""

    transcript: str | None = NULL


class History:
    """The conversation's items, in order."""

    def __init__(self) -> None:
        self._order: Chain[str] = Chain()
        self._kept: dict[str, Kept] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """About how many bytes it keeps in memory."""
        return self._size

    @property
    def last_id(self) -> str | None:
        return self._order.last

    def all(self) -> list[Kept]:
        return [self._kept[item_id] for item_id in self._order]

    def find(self, item_id: str) -> Kept | None:
        return self._kept.get(item_id)

    def item(self, item_id: str, verb: str) -> ev.Item:
        """Return the item that the client wants to ``verb``.

        Raises:
            Refused: There is no such item.
        """
        return self._known(item_id, verb).item

    def known(self, item_id: str) -> Kept:
        """Return what is kept of an item that exists."""
        return self._kept[item_id]

    def previous(self, item_id: str) -> str | None:
        return self._order.before(item_id)

    @property
    def full(self) -> bool:
        """Whether it is too large for the client to add to it."""
        return self._size > MOST_BYTES

    def check_room(self) -> None:
        """Make sure that the client may add to it.

        Raises:
            Refused: It is full.
        """
        if self.full:
            raise Refused(
                "conversation_full",
                f"the conversation holds {self._size} bytes, the limit is {MOST_BYTES}: delete items",
            )

    def add(self, kept: Kept, after: str | None = None) -> str | None:
        """Put an item at the end, at the ``"root"``, or after another; return the id of the one before it.

        Raises:
            Refused: Its id is taken, or there is no item ``after``.
        """
        if kept.id in self._kept:
            raise Refused("item_create_duplicate_item_id", f"item {kept.id!r} exists already", "item.id")
        before = self._order.last
        if after == "root":
            before = None
        elif after is not None:
            before = self._known(after, "create", "previous_item_id").id
        self._order.put(kept.id, before)
        self._kept[kept.id] = kept
        self._size += kept.size + _ITEM_BYTES
        return before

    def replace(self, item_id: str, **changes: Any) -> None:
        """Change some attributes of what is kept."""
        old = self._kept[item_id]
        new = replace(old, **changes)
        self._size += new.size - old.size
        self._kept[item_id] = new

    def delete(self, item_id: str) -> None:
        self._size -= self._known(item_id, "delete").size + _ITEM_BYTES
        del self._kept[item_id]
        self._order.remove(item_id)

    def _known(self, item_id: str, verb: str, param: str = "item_id") -> Kept:
        try:
            return self._kept[item_id]
        except KeyError:
            raise Refused(f"item_{verb}_invalid_{param}", f"unknown item {item_id!r}", param) from None


def id_of(item: ev.Item) -> str | None:
    return None if isinstance(item, UnknownObject) else item.id


def completed(item: ev.Item, item_id: str) -> ev.Item:
    """Return an item as the server keeps it: with id, object and status."""
    assert not isinstance(item, UnknownObject | ev.ItemReference)
    made = copy.copy(item)
    made.id, made.object = item_id, "realtime.item"
    if isinstance(made, ev.Message):
        made.content = [
            HeardAudio(audio=part.audio, transcript=part.transcript)
            if isinstance(part, ev.InputAudio)
            else part
            for part in made.content
        ]
    if isinstance(made, ev.Message | ev.FunctionCall | ev.FunctionCallOutput):
        made.status = made.status or "completed"
    return made


def without_audio(item: ev.Item) -> ev.Item:
    """Return an item without its audio, as all events but ``conversation.item.retrieved`` carry it."""
    if not isinstance(item, ev.Message):
        return item
    content = [
        structs.replace(part, audio=None) if isinstance(part, ev.InputAudio | ev.OutputAudio) else part
        for part in item.content
    ]
    return structs.replace(item, content=content)


def part_of(item: ev.Item, index: int) -> ev.ContentPart | None:
    if isinstance(item, ev.Message) and 0 <= index < len(item.content):
        return item.content[index]
    return None


def audio_length(item: ev.Message) -> int:
    """Return the number of bytes of audio in a message."""
    return sum(len(part.audio or b"") for part in _spoken(item))
