"""The conversation: its items, in order."""

import copy
from dataclasses import dataclass

from msgspec import structs

from .. import events as ev
from ..events import UnknownObject
from .refusal import Refused

__all__ = ["History", "Kept", "audio_length", "completed", "id_of", "part_of", "without_audio"]


@dataclass(frozen=True)
class Kept:
    """An item of the conversation.  ``rate`` is what its audio takes, in bytes per second."""

    id: str
    item: ev.Item
    rate: int


class History:
    """The conversation's items, in order."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []

    @property
    def last_id(self) -> str | None:
        return self._kept[-1].id if self._kept else None

    def all(self) -> list[Kept]:
        return list(self._kept)

    def find(self, item_id: str) -> Kept | None:
        return next((kept for kept in self._kept if kept.id == item_id), None)

    def item(self, item_id: str, verb: str) -> ev.Item:
        """The item that the client wants to ``verb``."""
        return self._kept[self._index(item_id, verb)].item

    def rate(self, item_id: str) -> int:
        return self._kept[self._index(item_id, "truncate")].rate

    def previous(self, item_id: str) -> str | None:
        index = self._index(item_id, "retrieve")
        return self._kept[index - 1].id if index else None

    def add(self, kept: Kept, after: str | None = None) -> str | None:
        """Put an item at the end, at the ``"root"``, or after another; return that other's id."""
        if self.find(kept.id):
            raise Refused("item_create_duplicate_item_id", f"there is an item {kept.id!r} already", "item.id")
        place = len(self._kept)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._index(after, "create", "previous_item_id") + 1
        self._kept.insert(place, kept)
        return self._kept[place - 1].id if place else None

    def replace(self, item_id: str, item: ev.Item) -> None:
        index = self._index(item_id, "retrieve")
        self._kept[index] = Kept(item_id, item, self._kept[index].rate)

    def delete(self, item_id: str) -> None:
        del self._kept[self._index(item_id, "delete")]

    def _index(self, item_id: str, verb: str, param: str = "item_id") -> int:
        for index, kept in enumerate(self._kept):
            if kept.id == item_id:
                return index
        raise Refused(f"item_{verb}_invalid_{param}", f"there is no item {item_id!r}", param)


def id_of(item: ev.Item) -> str | None:
    return None if isinstance(item, UnknownObject) else item.id


def completed(item: ev.Item, item_id: str) -> ev.Item:
    """An item as the server keeps it."""
    assert not isinstance(item, UnknownObject | ev.ItemReference)
    made = copy.copy(item)
    made.id, made.object = item_id, "realtime.item"
    if isinstance(made, ev.Message | ev.FunctionCall | ev.FunctionCallOutput):
        made.status = made.status or "completed"
    return made


def without_audio(item: ev.Item) -> ev.Item:
    """An item as events carry it, all but one."""
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
    """The bytes of audio in a message."""
    return sum(
        len(part.audio or b"") for part in item.content if isinstance(part, ev.InputAudio | ev.OutputAudio)
    )
