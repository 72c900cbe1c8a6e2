"""`Ledger`: events that make no sense, without end, without bounds, and at random."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from conversation_events import (
    added,
    answer,
    approval,
    call,
    called,
    cancelled,
    committed,
    complete,
    created,
    done,
    error,
    finished,
    heard,
    item_added,
    item_done,
    mcp,
    mcp_arguments,
    message,
    progress,
    removed,
    sound,
    speaks,
    spoken,
    truncated,
    wire,
    written,
)
from hostile_events import ENDLESS, KINDS, at_random, held, plain_turn
from hypothesis import given, settings
from hypothesis import strategies as st
from readable_facts import Step, place, play

from realtime_sync.events import ServerEvent
from realtime_sync.session import facts
from realtime_sync.session.facts import ItemEntry, PartEntry, ResponseEntry
from realtime_sync.session.items import MOST_INDEX
from realtime_sync.session.ledger import Ledger
from realtime_sync.session.order import MOST_ITEMS
from realtime_sync.voice import Conversation

# --- Events without end, and without bounds -----------------------------------------------------------

MOST_PARTS = 20_000
ITEMS_KEPT = 4 * MOST_ITEMS + 1000  # the conversation's, those that an id stands for, and a few more


def flood(kind: str, count: int) -> Ledger:
    """A ledger after so many steps of a kind."""
    ledger = Ledger()
    for number in range(count):
        for step in ENDLESS[kind](number):
            play(ledger, step)
    ledger.responses.cancels.clear()  # the session sends them
    return ledger


@pytest.mark.parametrize("kind", ENDLESS)
def test_bounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server or a client has too much of, a ledger keeps only the latest of it."""
    session = "realtime_sync.session"
    monkeypatch.setattr(f"{session}.order.MOST_ITEMS", 50)
    monkeypatch.setattr(f"{session}.items._MOST_KNOWN", 100)
    monkeypatch.setattr(f"{session}.items._MOST_PARTS", 100)
    monkeypatch.setattr(f"{session}.responses._REMEMBERED", 10)
    monkeypatch.setattr(f"{session}.requests._MOST_SENT", 100)
    ledger, longer = flood(kind, 2500), flood(kind, 5000)
    assert len(held(longer)) < len(held(ledger)) + 500
    assert len(longer.deviations) < 10


def test_bounded_where_an_id_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of responses that all have one id, the items without an id are kept only of the latest."""
    monkeypatch.setattr("realtime_sync.session.responses._REMEMBERED", 10)
    ledger = Ledger()
    play(ledger, created("first"), done("first"))
    for number in range(100):
        nameless = [item_added({"type": "function_call", "call_id": f"c{k}"}, output=k) for k in range(20)]
        play(ledger, created(conversation=None), item_added(answer(f"i{number}")), *nameless, done())
    assert sum(isinstance(thing, ItemEntry) for thing in held(ledger)) < 100 + 12 * 20


def test_long_texts_are_not_kept() -> None:
    """What is no id, name or type, being absurdly long, is not kept for as long as its item is."""
    long = "x" * 100_000
    call = {"type": "function_call", "id": "i", "call_id": long, "name": long, "arguments": "{}"}
    ledger = Ledger()
    play(
        ledger,
        created(),
        item_added(call),
        added({**message("u"), "role": long}),
        added({"id": "n", "type": long}),
    )
    kept = [thing for thing in held(ledger) if isinstance(thing, ItemEntry)]
    assert len(kept) == 3
    texts = [text for item in kept for text in (item.name, item.call_id, item.role, item.type)]
    assert max(map(len, texts)) < 1000


def test_arguments_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of arguments that never end only the beginning is kept, which is no JSON, so that the call fails."""
    monkeypatch.setattr("realtime_sync.session.ledger._MOST_ARGUMENTS", 10)
    at = {"response_id": "r", "item_id": "i", "output_index": 0, "call_id": "c"}
    deltas = [wire("response.function_call_arguments.delta", **at, delta='{"a"') for _ in range(5)]
    ledger = Ledger()
    told = play(ledger, created(), *deltas, done())
    [call] = [fact.call for fact in told if isinstance(fact, facts.CallMade)]
    assert call.arguments == '{"a"{"a"'
    assert ledger.deviations["response.function_call_arguments.delta: arguments too long"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_bounded_at_length(kind: str) -> None:
    """After a million steps of any kind a ledger keeps no more than its bounds."""
    ledger = flood(kind, 1_000_000)
    kept = held(ledger)
    items, parts, responses = (
        sum(isinstance(thing, kind) for thing in kept) for kind in (ItemEntry, PartEntry, ResponseEntry)
    )
    assert parts <= MOST_PARTS
    assert items <= ITEMS_KEPT + parts  # a part keeps its item
    assert responses <= items + 1000  # and an item its response
    assert all(len(thing.items) <= MOST_INDEX for thing in kept if isinstance(thing, ResponseEntry))
    assert len(ledger.deviations) < 10


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        ("cycles", "conversation.item.added: unknown previous_item_id"),
        ("unknown predecessors", "conversation.item.added: unknown previous_item_id"),
        ("deletions", "conversation.item.deleted: unknown item"),
        ("deltas", "response.output_text.delta: unknown response"),
        ("deltas of one response", "response.output_text.delta: unknown item"),
        ("negative indexes", "response.output_text.delta: index out of range"),
        ("huge indexes", "response.output_text.delta: index out of range"),
        ("calls", "response.function_call_arguments.done: unknown item"),
        ("speech", "input_audio_buffer.committed: item without id"),
    ],
)
def test_counted(kind: str, counted: str) -> None:
    """What makes no sense is counted, each time."""
    assert flood(kind, 100).deviations[counted] >= 98


def test_too_many_items_in_one_response() -> None:
    """An end that lists more items than a response can have is taken with as many as that."""
    ledger = Ledger()
    output = [complete(f"i{number}", "a") for number in range(2 * MOST_INDEX)]
    play(ledger, created(), done(output=output))
    response = ledger.responses.get("r")
    assert response is not None
    count = len(response.items)
    assert count <= MOST_INDEX


MEGABYTE = "x" * 2**20


NAMED_HUGELY: dict[str, Callable[[str], list[Step]]] = {
    "item": lambda name: [added(message(name))],
    "predecessor": lambda name: [added(message("i"), name)],
    "deleted": lambda name: [removed(name)],
    "truncated": lambda name: [truncated(1, name)],
    "response": lambda name: [created(name), done(name)],
    "cancelled": lambda name: [cancelled(name)],
    "item of a delta": lambda name: [written("a", name)],
    "response of a delta": lambda name: [written("a", response_id=name)],
    "response of other deltas": lambda name: [spoken("a", response_id=name), sound(b"a", response_id=name)],
    "speech": lambda name: [committed(name), heard("delta", name, delta="a")],
    "speaker": lambda name: [speaks(name)],
    "approval": lambda name: [created(), item_done(approval(name))],
    "late approval": lambda name: [created(), finished(approval(name))],
    "MCP call": lambda name: [
        created(),
        item_added(mcp(name)),
        mcp_arguments(name),
        progress("completed", name),
    ],
    "call": lambda name: [created(), item_done(call("c", name)), done(output=[call("c", name)])],
    "arguments": lambda name: [called("c", name)],
    "error": lambda name: [error(name)],
    "code": lambda name: [error(code=name, param=name)],
}


@pytest.mark.parametrize("what", NAMED_HUGELY)
def test_ids_of_a_megabyte(what: str) -> None:
    """Absurdly long ids are no ids, and none is kept but in the last event or two."""
    ledger = Ledger()
    for number in range(30):
        play(ledger, *NAMED_HUGELY[what](f"{number}{MEGABYTE}"))
    size = sum(sys.getsizeof(thing) for thing in held(ledger) if isinstance(thing, str))
    assert size < 8 * 2**20


@pytest.mark.slow
def test_a_very_long_session() -> None:
    """What was forgotten makes room: the last of 60,000 messages has its text, in both parts."""
    ledger = Ledger()
    for number in range(60_000):
        told = play(ledger, *plain_turn(number))
        assert sum(isinstance(fact, facts.Text) for fact in told) == 2, number


# --- Events at random ---------------------------------------------------------------------------------

TALKS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**16)), max_size=60)


class Watcher:
    """Takes facts, and checks what must be true of all of them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.order: list[ItemEntry] = []
        self.began: list[ResponseEntry] = []
        self.ends: dict[ResponseEntry, list[str]] = {}
        self.once: set[Any] = set()
        self.running: set[ItemEntry] = set()  # MCP calls

    def take(self, fact: facts.Fact) -> None:
        for name in fact.__struct_fields__:
            thing = getattr(fact, name)
            assert not isinstance(thing, ResponseEntry) or thing in self.began or name == "response"
            assert not isinstance(thing, PartEntry) or thing.item.parts[thing.index] is thing
        getattr(self, fact.handler, lambda fact: None)(fact)

    def is_first(self, *key: Any) -> None:
        assert key not in self.once
        self.once.add(key)

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.is_first(fact.response)
        self.began.append(fact.response)

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        assert fact.response in self.began
        assert isinstance(fact.items, tuple)
        assert fact.status in ("completed", "cancelled", "failed", "incomplete")
        before = self.ends.setdefault(fact.response, [])
        assert fact.repeated == ("said" in before)
        assert fact.repeated or not before or before == ["unsaid"]
        assert not (fact.repeated and fact.goes_on)
        before.append("said" if fact.response.status else "unsaid")

    def on_item_placed(self, fact: facts.ItemPlaced) -> None:
        place(self.order, fact)

    def on_item_deleted(self, fact: facts.ItemDeleted) -> None:
        self.order.remove(fact.item)

    def on_item_made(self, fact: facts.ItemMade) -> None:
        self.is_first("made", fact.item, fact.response)
        assert fact.response is None or fact.response in self.began

    def on_item_done(self, fact: facts.ItemDone) -> None:
        self.is_first("done", fact.item)

    def on_call_made(self, fact: facts.CallMade) -> None:
        self.is_first("called", fact.item)
        if fact.call.call_id:
            self.is_first("called", fact.item.response, fact.call.call_id, fact.call.id)

    def on_approval_asked(self, fact: facts.ApprovalAsked) -> None:
        self.is_first("approval", fact.response, fact.request.id)

    def on_mcp_call(self, fact: facts.McpCall) -> None:
        if fact.ended:
            self.running.remove(fact.item)
        else:
            self.is_first("mcp", fact.item)
            self.running.add(fact.item)

    def on_mcp_result(self, fact: facts.McpResult) -> None:
        self.is_first("result", fact.response, fact.call.id)

    def settled(self) -> None:
        """Check what must be true after each event."""
        assert self.order == list(self.ledger._items._order.items)
        assert all(item.in_conversation and not item.deleted for item in self.order)
        active = self.ledger.responses.active
        assert active is None or (not active.done and not active.out_of_band and active in self.began)
        answered = [response.request for response in self.began if response.request is not None]
        assert all(request.event_id.startswith("e") for request in answered)


def watch(talk: list[tuple[str, int]]) -> None:
    """Let a ledger, and a conversation that listens, take a talk; check all that is told."""
    ledger, conversation = Ledger(), Conversation()
    watcher = Watcher(ledger)
    for kind, seed in talk:
        step = at_random(kind, seed)
        if not isinstance(step, ServerEvent):
            step(ledger)
            continue
        noted = ledger.note(step)
        assert noted is not None or step.type == "error"
        for fact in noted or ():
            watcher.take(fact)
        step.__dict__["facts"] = noted or ()
        conversation.visit(step)
        watcher.settled()
        assert len(conversation.items) == len(watcher.order)
    assert conversation.transcript() is not None


@given(talk=TALKS)
@settings(max_examples=150)
def test_events_at_random(talk: list[tuple[str, int]]) -> None:
    """Whatever comes after whatever: what is told fits together, and listeners have what the ledger has."""
    watch(talk)


@pytest.mark.slow
@given(talk=TALKS)
@settings(max_examples=20_000, derandomize=False)
def test_events_at_random_at_length(talk: list[tuple[str, int]]) -> None:
    """What is told fits together in many more talks."""
    watch(talk)
