"""`Order`: items stand where the server has them, whether or not it names their predecessors."""

import itertools

import pytest
from conversation_events import added, answer, committed, created, done, item_added, message, removed, wire
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readable_facts import Step, place, play

from realtime_sync.session.facts import Fact, ItemDeleted, ItemEntry, ItemPlaced
from realtime_sync.session.ledger import Ledger
from realtime_sync.session.order import MOST_ITEMS, Order


class Replica:
    """What a listener has of the order: it does with its list what each fact says, and nothing else."""

    def __init__(self) -> None:
        self.items: list[ItemEntry] = []

    def tell(self, fact: Fact) -> None:
        if isinstance(fact, ItemPlaced):
            place(self.items, fact)
        elif isinstance(fact, ItemDeleted):
            self.items.remove(fact.item)


def ordered(*steps: Step) -> list[str]:
    """Return the ids of a conversation's items, as somebody knows them who listens."""
    replica = Replica()
    for fact in play(Ledger(), *steps):
        replica.tell(fact)
    return [item.id for item in replica.items]


# --- Which servers name predecessors -------------------------------------------------------------------


def test_first_without_predecessor() -> None:
    """An item without a predecessor is the first, on a server that names them."""
    users = [added(message("b")), added(message("a"))]
    assert ordered(*users) == ["a", "b"]
    model = [created(), item_added(answer("c")), added(answer("c"), "b"), added(message("0"), "root")]
    assert ordered(*users, *model) == ["0", "a", "b", "c"]


@pytest.mark.parametrize("names", [True, False])
def test_predecessors_that_are_not_named(names: bool) -> None:
    """A server that doesn't name them, or only those of its own items, is found out."""
    steps = [
        added(message("a")),
        added(message("b")),
        created(),
        item_added(answer("c")),
        added(answer("c"), "b" if names else None),
        added(message("d")),
    ]
    assert ordered(*steps) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("first", ["response.output_item.added", "conversation.item.added"])
def test_predecessors_that_nothing_names(first: str) -> None:
    """Nor does it matter which of an item's two events comes first, or whether there is but one."""
    events = [item_added(answer("c")), *([] if first.startswith("response") else [added(answer("c"))])]
    steps = [added(message("a")), created(), *reversed(events), done(), added(message("d"))]
    assert ordered(*steps) == ["a", "c", "d"]


def test_predecessors_that_are_unknown() -> None:
    """What should follow an unknown item is put at the end, counted, and moved when its place is known."""
    steps = [added(message("a")), added(message("b"), "zz"), added(message("c"), "a")]
    assert ordered(*steps) == ["a", "c", "b"]
    steps.append(wire("conversation.item.done", item=message("b"), previous_item_id="a"))
    assert ordered(*steps) == ["a", "b", "c"]
    ledger = Ledger()
    play(ledger, *steps, added(message("d"), "d"))
    assert ledger.deviations == {"conversation.item.added: unknown previous_item_id": 2}


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_any_order_of_arrival(order: tuple[str, ...]) -> None:
    """Where predecessors are named, items may be announced in any order, and their own events come later."""
    before = {"a": "root", "b": "a", "c": "b"}
    early = [item_added(answer(name), output="abc".index(name)) for name in order]
    assert ordered(created(), *early, *(added(answer(name), before[name]) for name in "abc")) == [
        "a",
        "b",
        "c",
    ]


def test_speech_goes_to_the_end() -> None:
    """The user's speech is the last until its own event says otherwise."""
    start = [added(message("a")), committed("b")]
    assert ordered(*start) == ["a", "b"]
    assert ordered(*start, added(message("c"), "a"), added(message("b"), "a")) == ["a", "b", "c"]
    assert ordered(*start, added(message("b"))) == ["a", "b"]


# --- What listeners can replay -------------------------------------------------------------------------


def test_many_move_at_once() -> None:
    """Once it is found out that a server names no predecessors, what was put first moves to its place."""
    steps = [added(message("a")), added(message("b")), created(), item_added(answer("c")), committed("d")]
    assert ordered(*steps, added(answer("c")), added(message("d"))) == ["a", "b", "c", "d"]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["guess", "put", "after", "delete"]),
        st.integers(0, 7),
        st.integers(0, 7),
        st.booleans(),
    ),
    max_size=30,
)


MOVED = [("put", 0, 0, False), ("put", 1, 0, False), ("guess", 2, 0, True), ("guess", 3, 0, True)]


@given(acts=ACTS)
@example(acts=[*MOVED, ("put", 2, 0, True)])
@example(acts=[*MOVED, ("after", 2, 0, True)])
@settings(max_examples=500)
def test_replay(acts: list[tuple[str, int, int, bool]]) -> None:
    """Whatever is put, moved and deleted: a list that does what it is told is the same, after each act."""
    replica = Replica()
    order = Order(replica.tell)
    entries = [ItemEntry(name) for name in "abcdefgh"]
    for act, one, other, by_server in acts:
        item, before = entries[one], entries[other]
        if act == "delete" and item.in_conversation:
            order.delete(item)
        elif act == "guess":
            order.guess(item)
        elif act == "put":
            order.put(item, by_server=by_server)
        elif act == "after" and before.in_conversation and before is not item:
            order.put_after(before, item, by_server=by_server)
        assert [item.id for item in replica.items] == [item.id for item in order.items]
        assert {item for item in entries if item.in_conversation} == set(order.items)
        assert len(set(order.items)) == len(order.items)


# --- What there can be too much of ---------------------------------------------------------------------


def test_the_first_are_forgotten() -> None:
    """A conversation longer than what is kept loses its first items, and is told so."""
    told: list[Fact] = []
    order = Order(told.append)
    entries = [ItemEntry(str(number)) for number in range(MOST_ITEMS + 2)]
    for item in entries:
        order.guess(item)
    assert list(order.items) == entries[2:]
    forgotten = [fact for fact in told if isinstance(fact, ItemDeleted)]
    assert [fact.item for fact in forgotten] == entries[:2]
    assert all(fact.forgotten and not fact.item.in_conversation for fact in forgotten)


def test_settled() -> None:
    """An item is settled once an event has said where it belongs, until it is taken out."""
    order = Order(lambda fact: None)
    one, other = ItemEntry("one"), ItemEntry("other")
    order.guess(one)
    assert not order.is_settled(one)
    order.put(one, by_server=False)
    assert order.is_settled(one)
    order.put_after(one, other, by_server=False)
    assert order.is_settled(other)
    order.delete(one)
    assert not order.is_settled(one)
    assert not one.deleted  # that is for the conversation to say: an item may be moved, too


def test_what_is_deleted_moves_no_more() -> None:
    """Finding out that a server names no predecessors moves only what is still there."""
    steps = [added(message("a")), added(message("b")), added(message("c")), removed("b")]
    assert ordered(*steps, created(), item_added(answer("d")), added(answer("d"))) == ["a", "c", "d"]
