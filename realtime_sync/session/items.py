"""Which item and part an event fills, and which items are in the conversation."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeGuard

from .. import events as ev
from ..events import ServerEvent, UnknownObject
from . import facts
from .facts import Fact, ItemEntry, PartEntry, ResponseEntry, Sent
from .latest import Latest
from .order import MOST_ITEMS, Order

__all__ = [
    "MOST_INDEX",
    "Entering",
    "Items",
    "OfCall",
    "OfItem",
    "OfTranscript",
    "as_id",
    "call_id_of",
    "is_id",
    "is_index",
]

MOST_INDEX = 1000
"""Indexes of parts and of items from here on are invalid."""
_MOST_KNOWN = 2 * MOST_ITEMS  # items, in the conversation or not; the oldest are forgotten
_MOST_PARTS = 20_000  # of all items together; the oldest are forgotten
_LONGEST_ID = 1000  # characters of an id, and of a name, a role and a type: an item is kept for long
_ENDED = ("completed", "incomplete")

OfItem = (
    ev.ResponseContentPartAdded
    | ev.ResponseContentPartDone
    | ev.ResponseOutputTextDelta
    | ev.ResponseOutputTextDone
    | ev.ResponseOutputAudioDelta
    | ev.ResponseOutputAudioDone
    | ev.ResponseOutputAudioTranscriptDelta
    | ev.ResponseOutputAudioTranscriptDone
)
OfCall = (
    ev.ResponseFunctionCallArgumentsDelta
    | ev.ResponseFunctionCallArgumentsDone
    | ev.ResponseMcpCallArgumentsDelta
    | ev.ResponseMcpCallArgumentsDone
)
OfTranscript = (
    ev.ConversationItemInputAudioTranscriptionDelta
    | ev.ConversationItemInputAudioTranscriptionSegment
    | ev.ConversationItemInputAudioTranscriptionCompleted
    | ev.ConversationItemInputAudioTranscriptionFailed
)
Entering = ev.ConversationItemAdded | ev.ConversationItemCreated | ev.ConversationItemDone


class Items:
    """The items of one session.

    Args:
        tell: Called with each fact.
        count: Called with an event and what is wrong with it.
    """

    def __init__(self, tell: Callable[[Fact], object], count: Callable[[ServerEvent, str], object]) -> None:
        self._tell = tell
        self._count = count
        self._items: Latest[str, ItemEntry] = Latest(_MOST_KNOWN)  # by id
        self._parts: OrderedDict[PartEntry, None] = OrderedDict()  # in the order in which they were made
        self._order = Order(tell)
        self._nameless: ItemEntry | None = None  # the user's last message without an id

    def get(self, item_id: str) -> ItemEntry | None:
        """Return the item with this id, the latest if a server has reused it; ``None`` = unknown."""
        return self._items.get(item_id)

    # --- Finding -----------------------------------------------------------------------------------------

    def known(
        self, wire: ev.Item, event: ServerEvent, response: ResponseEntry | None = None
    ) -> ItemEntry | None:
        """Return the item that a wire item is, made if needed; ``None`` if nothing names it."""
        data = wire.data if isinstance(wire, UnknownObject) else None
        item_id = data.get("id") if isinstance(data, dict) else getattr(wire, "id", None)
        call_id = call_id_of(wire) if isinstance(wire, ev.FunctionCall) else ""
        name = as_id(item_id)
        if not name and not call_id:
            self._count(event, "item without id")
            return None
        return self._meant(name, call_id, response, event) or self._new(name, response)

    def _meant(
        self, item_id: str, call_id: str, response: ResponseEntry | None, event: ServerEvent
    ) -> ItemEntry | None:
        """Return the item that an id refers to within a response, or ``None`` if it is new.

        Some servers restart the numbering of items with each response, so the same id is a new item in the
        next one.  Calls are told apart by their ``call_id``.
        """
        item = self._items.get(item_id) if item_id else None
        if item is None:
            return self._renamed(item_id, call_id, response, event)
        if call_id and item.call_id and item.call_id != call_id:
            same = _call_of(response or item.response, call_id)
            if same is None:
                self._count(event, "item id used again")
            return same
        if response is None or item.response in (None, response):
            return item
        if not is_id(getattr(event, "response_id", item_id)) and not item.response.done:
            return item  # the event names no response, so that of the item is meant
        own = next((each for each in response.items if each.id == item_id), None)
        if own is not None or response.done:
            return own or item
        self._count(event, "item id used again")
        return None

    def _renamed(
        self, item_id: str, call_id: str, response: ResponseEntry | None, event: ServerEvent
    ) -> ItemEntry | None:
        """Return an item of a response that is meant, although it has had another id, or none."""
        item = _call_of(response, call_id) if call_id else _nameless(response, event)
        if item is None:
            return None
        if item_id:
            self._rename(item, item_id, event)
        return item

    def _rename(self, item: ItemEntry, item_id: str, event: ServerEvent) -> None:
        """Give an item the id that an event has for it, its first or another."""
        if item.id:
            self._count(event, "another item id")
        item.id = item_id
        self._name(item)
        self._tell(facts.ItemNamed(item))

    def at_place(
        self,
        wire: ev.Item,
        index: int,
        response: ResponseEntry,
        event: ServerEvent,
        listed: Collection[str | None] = (),
    ) -> None:
        """Let a complete item be the one that a response has at its place, if its own id is unknown.

        Some servers make a new id for the same item in each kind of event.

        Args:
            wire: The item.
            index: Its place in the response.
            response: The response.
            event: What tells of it.
            listed: The ids of all items that the response is said to have.
        """
        item_id = getattr(wire, "id", None)
        if not is_id(item_id) or not is_index(index):
            return
        there = [item for item in response.items if item.output_index == index and item.id not in listed]
        same = self._items.get(item_id)
        if len(there) != 1 or (same is not None and same.response in (None, response)):
            return
        [item] = there
        is_open = isinstance(event, ev.ResponseDone) or not item.done
        if item.type == wire.type and is_open and item.call_id in ("", getattr(wire, "call_id", None)):
            self._rename(item, item_id, event)

    def _new(self, item_id: str, response: ResponseEntry | None = None) -> ItemEntry:
        item = ItemEntry(item_id)
        is_outside = response is not None and response.out_of_band
        if item_id and not (is_outside and item_id in self._items):  # else it is the conversation's item's
            self._name(item)
        return item

    def _name(self, item: ItemEntry) -> None:
        """Let an item's id stand for it, as the newest of all."""
        self._items.pop(item.id, None)
        self._items[item.id] = item

    def spoken(
        self, event: OfTranscript | ev.InputAudioBufferCommitted, *, begins: bool = False
    ) -> ItemEntry:
        """Return the user message that an event is about, made if its own event has not arrived yet.

        Args:
            event: The event.
            begins: Whether it is another one, if it has no id; else that is the last one without an id.
        """
        item_id = as_id(event.item_id)
        if item_id:
            item = self._items.get(item_id)
        else:
            self._count(event, "item without id")
            item = None if begins else self._nameless
        if item is None:
            item = self._new(item_id)
            item.type, item.role = "message", "user"
            self._tell(facts.ItemMade(item, None))
            if not item.id:
                self._nameless = item
        return item

    def find(self, event: OfItem | OfCall, response: ResponseEntry | None, kind: str) -> ItemEntry | None:
        """Return the item that an event of a response is about; ``None`` if it was not announced.

        Args:
            event: The event.
            response: The response.
            kind: The item's type.
        """
        item_id = as_id(event.item_id)
        item = self._meant(item_id, call_id_of(event), response, event)
        if item is None or not item.type or (item.type == "message") == (kind == "message"):
            return item
        same = (each for each in item.response.items if each.id == item_id) if item.response else iter(())
        return next((each for each in same if each.type == kind), None)

    def make(self, event: OfItem | OfCall, response: ResponseEntry | None, kind: str) -> ItemEntry:
        """Make the item that an event is about, which was not announced.

        Without an id it is the response's last item, unless the event's ``call_id`` says that it is another
        call; if there is none, it is an item without an id.
        """
        self._count(event, "unknown item")
        item_id, call_id = as_id(event.item_id), call_id_of(event)
        if not item_id:
            last = response.items[-1] if response is not None and response.items else None
            if last is not None and last.type == kind and _fits(last, call_id, event.output_index):
                return last
        item = self._new(item_id, response)
        item.type, item.role = kind, "assistant" if kind == "message" else ""
        return item

    def part(self, item: ItemEntry, index: int, event: ServerEvent, kind: str = "") -> PartEntry | None:
        """Return a part of an item, made if needed; ``None`` if its index is invalid."""
        part = item.parts.get(index)
        if part is None:
            if not is_index(index):
                self._count(event, "index out of range")
                return None
            part = item.parts[index] = PartEntry(item, index, kind)
            self._parts[part] = None
            if len(self._parts) > _MOST_PARTS:
                oldest, _ = self._parts.popitem(last=False)
                del oldest.item.parts[oldest.index]
        return part

    # --- In responses, and in the conversation -----------------------------------------------------------

    def attach(self, item: ItemEntry, response: ResponseEntry, event: ServerEvent) -> bool:
        """Make an item part of a response, and of the conversation unless the response is out-of-band."""
        if item.response is None:
            item.response, item.appended = response, True
            item.output_index = getattr(event, "output_index", -1)
            if len(response.items) < MOST_INDEX:
                response.items.append(item)
            self._tell(facts.ItemMade(item, response))
        elif item.response is not response:
            self._count(event, "item of another response")
            return False
        if not response.out_of_band:
            self.append(item)
        return True

    def append(self, item: ItemEntry) -> None:
        """Put an item at the end of the conversation until its own event says where it belongs."""
        if not item.in_conversation and not item.deleted:
            self._order.guess(item)

    def enter(
        self,
        event: Entering,
        *,
        running: bool,
        created: Callable[[ItemEntry], Sent | None],
        joined: Callable[[ResponseEntry], object],
    ) -> ItemEntry | None:
        """Put an item where its own event says it belongs.

        Args:
            event: The event.
            running: Whether a response runs.
            created: Returns the client's event that has created an item, if one has.
            joined: Called with the item's response, which is in the conversation, then.
        """
        item = self.known(event.item, event)
        if item is None:
            return None
        is_done = isinstance(event, ev.ConversationItemDone)
        if not is_done and (item.deleted or self._is_another(item, event)):
            item = self._new(getattr(event.item, "id", None) or item.id)
        self.absorb(item, event.item, event)
        status = getattr(event.item, "status", None)
        sent = created(item) if status != "in_progress" else None  # what a client creates is complete
        if sent is not None and not sent.previous_item_id:
            item.appended = True
        if item.response is not None:
            joined(item.response)
        if item.deleted:  # meanwhile; a late event doesn't bring it back
            self._count(event, "deleted item")
        else:
            if is_done and not item.in_conversation:
                self._count(event, "not added")
            self._place(item, event, running)
        if is_done or status in _ENDED or _is_given(item):
            self.finish(item)
        return item

    def _is_another(self, item: ItemEntry, event: Entering) -> bool:
        """Return whether an item that begins is another one than that of a response with the same id."""
        made_by = item.response
        if made_by is None or getattr(event.item, "status", None) != "in_progress":
            return False
        is_another_type = item.type != event.item.type
        another = made_by.is_outside or (item.done and (made_by.done or is_another_type))
        if another:
            self._count(event, "item id used again")
        return another

    def _place(self, item: ItemEntry, event: Entering, running: bool) -> None:
        if self._order.is_settled(item):
            return
        is_open = getattr(event.item, "status", None) == "in_progress"  # then no client has created it
        by_server = item.appended or ((running or is_open) and not _is_given(item))
        previous = event.previous_item_id
        if not previous or previous == "root":
            self._order.put(item, by_server=by_server)
            return
        before = self._items.get(previous)
        if before is None or not before.in_conversation or before is item:
            self._count(event, "unknown previous_item_id")
            self._order.guess(item)
        else:
            self._order.put_after(before, item, by_server=by_server)

    def delete(self, event: ev.ConversationItemDeleted) -> None:
        """Take an item out of the conversation."""
        item = self._items.get(event.item_id)
        if item is None or not item.in_conversation:
            self._count(event, "unknown item")
            return
        item.deleted = True
        self._order.delete(item)

    def restored(self, gone: Iterable[ItemEntry], names: Mapping[ItemEntry, str]) -> None:
        """Note that another session has the conversation now.

        Args:
            gone: The items that it lacks.
            names: The ids of those that it has under another id.
        """
        for item in gone:
            item.deleted = True
            if item.in_conversation:
                self._order.delete(item)
        self._order.settle()
        for item, name in names.items():
            item.id = name
            self._name(item)
            self._tell(facts.ItemNamed(item))

    # --- Content -----------------------------------------------------------------------------------------

    def absorb(self, item: ItemEntry, wire: ev.Item, event: ServerEvent) -> None:
        """Take over an item's form on the wire."""
        item.type = as_id(wire.type)
        if isinstance(wire, ev.Message):
            item.role = as_id(wire.role) or item.role
        elif isinstance(wire, ev.FunctionCall | ev.McpCall | ev.McpApprovalRequest):
            item.name = as_id(wire.name) or item.name
            if isinstance(wire, ev.FunctionCall):
                item.call_id = call_id_of(wire) or item.call_id
                if wire.arguments and wire.status not in ("in_progress", "incomplete"):
                    item.arguments = wire.arguments
        self._tell(facts.ItemTold(item, wire))
        if isinstance(wire, ev.Message):
            whole = wire.status != "in_progress"
            for index, content in enumerate(wire.content):
                if (part := self.part(item, index, event)) is not None:
                    self._tell(facts.Part(part, content, whole))

    def finish(self, item: ItemEntry) -> None:
        """Mark an item as complete."""
        if not item.done:
            item.done = True
            self._tell(facts.ItemDone(item))


def is_id(text: object) -> TypeGuard[str]:
    """Return whether a text can be an id: it isn't empty, nor absurdly long."""
    return isinstance(text, str) and 0 < len(text) <= _LONGEST_ID


def as_id(text: object) -> str:
    """Return an id, or ``""`` in place of what can't be one."""
    return text if is_id(text) else ""


def call_id_of(told: object) -> str:
    """Return the ``call_id`` of an event or a wire item; ``""`` if it has none."""
    return as_id(getattr(told, "call_id", None))


def is_index(index: int) -> bool:
    """Return whether a number can be the index of an item or a part."""
    return 0 <= index < MOST_INDEX


def _is_given(item: ItemEntry) -> bool:
    """Return whether an item is of a kind that clients create, which is complete from the start."""
    return item.role in ("user", "system") or item.type in ("function_call_output", "mcp_approval_response")


def _fits(item: ItemEntry, call_id: str, index: int) -> bool:
    """Return whether an event without an item's id can be about an item, by its ``call_id`` and place."""
    if item.type == "message":
        return True
    if item.call_id and call_id:
        return item.call_id == call_id
    return not item.called and item.arguments is None and item.output_index in (-1, index)


def _nameless(response: ResponseEntry | None, event: ServerEvent) -> ItemEntry | None:
    """Return the item of a response that is at an event's place and has no id yet, if there is one."""
    last = response.items[-1] if response is not None and response.items else None
    if last is None or last.id or last.call_id or last.output_index != getattr(event, "output_index", None):
        return None
    return last


def _call_of(response: ResponseEntry | None, call_id: str) -> ItemEntry | None:
    """Return the call of a response with this ``call_id``, if there is one."""
    for item in response.items if response is not None else ():
        if item.call_id == call_id:
            return item
    return None
