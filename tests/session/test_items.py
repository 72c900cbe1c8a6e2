"""`Items`: which item and part an event fills.  The tables of `test_ledger` have the rest."""

from typing import Any

import pytest
from conversation_events import (
    added,
    answer,
    call,
    committed,
    item_added,
    item_done,
    message,
    wire,
    written,
)

from realtime_sync import events as ev
from realtime_sync.session import facts
from realtime_sync.session.facts import Fact, ItemEntry, ResponseEntry
from realtime_sync.session.items import MOST_INDEX, Items, is_id, is_index


class Known:
    """Items, what they tell, and what they count."""

    def __init__(self) -> None:
        self.told: list[Fact] = []
        self.counted: list[str] = []
        self.joined: list[ResponseEntry] = []
        self.items = Items(self.told.append, lambda event, problem: self.counted.append(problem))

    def enters(self, event: Any, *, running: bool = False, sent: facts.Sent | None = None) -> ItemEntry:
        item = self.items.enter(event, running=running, created=lambda item: sent, joined=self.joined.append)
        assert item is not None
        return item


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("i", True),
        ("", False),
        (None, False),
        (7, False),
        ("x" * 1000, True),
        ("x" * 1001, False),
        (["i"], False),
    ],
)
def test_ids(text: object, valid: bool) -> None:
    """An id is a text, not empty, and not absurdly long."""
    assert is_id(text) is valid


@pytest.mark.parametrize(
    ("index", "valid"), [(0, True), (MOST_INDEX - 1, True), (MOST_INDEX, False), (-1, False), (10**30, False)]
)
def test_indexes(index: int, valid: bool) -> None:
    """An index is neither negative nor absurdly large."""
    assert is_index(index) is valid


def test_the_form_on_the_wire() -> None:
    """What an item says of itself is taken over; what it leaves out stays."""
    known = Known()
    item = known.enters(added(call("c", "i", "", status="in_progress")), running=True)
    assert (item.type, item.name, item.call_id, item.arguments) == ("function_call", "f", "c", None)
    known.enters(added(call("", "i", '{"a":1}', name="")))
    assert (item.name, item.call_id, item.arguments) == ("f", "c", '{"a":1}')


@pytest.mark.parametrize("status", ["in_progress", "incomplete"])
def test_arguments_that_are_not_whole(status: str) -> None:
    """The arguments of a call that isn't complete are none yet."""
    assert Known().enters(added(call("c", "i", '{"a', status=status))).arguments is None


@pytest.mark.parametrize(
    ("item", "whole"),
    [
        (message("i", "a"), True),
        (message("i", "a", role="system", status="in_progress"), True),
        (answer("i"), False),
        (answer("i", "a", status="completed"), True),
        (answer("i", "a", status="incomplete"), True),
        ({"type": "function_call_output", "id": "i", "call_id": "c", "output": "1"}, True),
        ({"type": "mcp_approval_response", "id": "i", "approval_request_id": "a", "approve": True}, True),
        (call("c", "i", "", status="in_progress"), False),
        ({"type": "news", "id": "i"}, False),
    ],
)
def test_complete(item: dict[str, Any], whole: bool) -> None:
    """What clients create is complete from the start; what a model makes is, once it says so."""
    known = Known()
    entry = known.enters(added(item))
    assert entry.done is whole
    done = [fact for fact in known.told if isinstance(fact, facts.ItemDone)]
    assert len(done) == whole
    finished = known.enters(wire("conversation.item.done", item=item))
    assert finished is entry
    assert len([fact for fact in known.told if isinstance(fact, facts.ItemDone)]) == 1


def test_an_item_of_a_new_kind_has_its_id() -> None:
    """What this version doesn't know is an item all the same, if it has an id."""
    known = Known()
    assert known.enters(added({"type": "news", "id": "n"})).id == "n"
    assert known.items.get("n") is not None
    assert known.items.known(ev.UnknownObject(data={"type": "news", "id": 5}), added(message("x"))) is None
    assert known.counted == ["item without id"]


def test_two_items_with_one_id() -> None:
    """An id that a response uses again stands for its own item there, and for the latest elsewhere."""
    known = Known()
    old, new = ResponseEntry("r"), ResponseEntry("s")
    event = item_added(answer("i"))
    assert isinstance(event, ev.ResponseOutputItemAdded)
    first = known.items.known(event.item, event, old)
    assert first is not None
    known.items.attach(first, old, event)
    second = known.items.known(event.item, event, new)
    assert second is not None
    known.items.attach(second, new, event)
    assert first is not second
    assert known.items.known(event.item, event, old) is first
    assert known.items.get("i") is second
    assert known.counted == ["item id used again"]


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many ids the oldest is forgotten; one that stands for a new item is the newest."""
    monkeypatch.setattr("realtime_sync.session.items._MOST_KNOWN", 2)
    known = Known()
    for name in ("i", "j"):
        known.enters(added(message(name)))
    known.items.delete(ev.ConversationItemDeleted(event_id="", item_id="i"))
    again = known.enters(added(message("i")))
    known.enters(added(message("k")))
    assert known.items.get("i") is again
    assert known.items.get("j") is None


def test_an_outside_item_does_not_hide_the_conversation_s() -> None:
    """An id that an out-of-band response uses again still stands for the conversation's item."""
    known = Known()
    inside = known.enters(added(message("i")))
    outside = ResponseEntry("s", out_of_band=True)
    inside.response = ResponseEntry("r")
    event = item_added(answer("i"), "s")
    assert isinstance(event, ev.ResponseOutputItemAdded)
    other = known.items.known(event.item, event, outside)
    assert other is not inside
    assert known.items.get("i") is inside


def test_an_item_of_another_response() -> None:
    """An item stays with the response that made it."""
    known = Known()
    event = item_done(answer("i"))
    item = ItemEntry("i")
    assert known.items.attach(item, ResponseEntry("r"), event)
    assert not known.items.attach(item, ResponseEntry("s"), event)
    assert known.counted == ["item of another response"]


def test_parts() -> None:
    """A part is made once, with what its first event says of its kind."""
    known = Known()
    item = ItemEntry("i")
    part = known.items.part(item, 3, written("a"), "text")
    assert part is not None
    assert known.items.part(item, 3, written("b"), "audio") is part
    assert (part.kind, part.index, list(item.parts)) == ("text", 3, [3])
    assert known.items.part(item, -3, written("c")) is None
    assert known.counted == ["index out of range"]


def test_speech_without_ids() -> None:
    """Without ids a transcript belongs to what was committed last."""
    known = Known()
    first = known.items.spoken(committed(""), begins=True)
    assert known.items.spoken(committed("")) is first
    assert known.items.spoken(committed(""), begins=True) is not first
    named = known.items.spoken(committed("u"), begins=True)
    assert known.items.spoken(committed("u"), begins=True) is named
    assert (named.type, named.role) == ("message", "user")


def test_deleted() -> None:
    """A late event doesn't bring a deleted item back; its id may be used again."""
    known = Known()
    item = known.enters(added(message("i")))
    gone = wire("conversation.item.deleted", item_id="i")
    assert isinstance(gone, ev.ConversationItemDeleted)
    known.items.delete(gone)
    assert item.deleted
    assert not item.in_conversation
    assert known.enters(wire("conversation.item.done", item=message("i"))) is item
    assert not item.in_conversation
    assert known.enters(added(message("i"))) is not item
    assert known.counted == ["deleted item"]


def test_what_a_client_created_goes_where_it_said() -> None:
    """An item that was created for the end is at the end; that tells whether a server names predecessors."""
    places = []
    for sent in (facts.Sent("conversation.item.create", "e"), None):
        known = Known()
        known.enters(added(message("a")))
        known.enters(added(message("b")), sent=sent)
        places.append([fact.after for fact in known.told if isinstance(fact, facts.ItemPlaced)])
    assert [[after and after.id for after in each] for each in places] == [[None, "a"], [None, None]]
