"""`Order`: items stand where the server has them, whether or not it names their predecessors."""

from typing import Any

import pytest
from conversation_events import added, at, created, done, ids, message, told, wire
from scripted import DEADLINE
from talkers import Talkers

from realtime_sync.voice import Conversation

DIALECTS = ["ga", "beta"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_order(talk: Talkers, dialect: str) -> None:
    """Items are where the client put them: first, in between, last; and gone when deleted."""
    session = talk("An answer.", dialect=dialect)
    conversation = Conversation(session)
    create = session.conversation.item.create

    def item(text: str) -> dict[str, Any]:
        content = [{"type": "input_text", "text": text}]
        return {"id": f"item_{text}", "type": "message", "role": "user", "content": content}

    create(item("b"))
    create(item("a"), previous_item_id="root")
    create(item("d"))
    create(item("c"), previous_item_id="item_b")
    for name in "badc":
        assert conversation.wait_for_item(timeout=DEADLINE).text == name
    assert ids(conversation) == ["item_a", "item_b", "item_c", "item_d"]
    session.response.create()
    conversation.wait_for_response(timeout=DEADLINE)
    session.conversation.item.delete("item_b")
    create(item("0"), previous_item_id="root")
    conversation.wait_for_item("item_0", timeout=DEADLINE)
    assert [item.text for item in conversation.items] == ["0", "a", "c", "d", "An answer."]
    deleted = conversation.item("item_b")
    assert deleted is not None
    assert not deleted.in_conversation
    create(item("b"))
    assert [conversation.wait_for_item(timeout=DEADLINE).text for _ in range(2)] == ["An answer.", "b"]
    assert [item.text for item in conversation.items] == ["0", "a", "c", "d", "An answer.", "b"]
    assert not conversation.deviations


def test_first_without_predecessor() -> None:
    """An item without a predecessor is the first, on a server that names them."""
    conversation = told(added(message("b")), added(message("a")))
    assert ids(conversation) == ["a", "b"]
    answer = message("c", role="assistant", status="in_progress")
    for event in (
        created(),
        wire("response.output_item.added", **at("c"), item=answer),
        added(answer, "b"),
        added(message("0"), "root"),
    ):
        conversation.visit(event)
    assert ids(conversation) == ["0", "a", "b", "c"]


@pytest.mark.parametrize("names", [True, False])
def test_predecessors_that_are_not_named(names: bool) -> None:
    """A server that doesn't name them, or only those of its own items, is found out."""
    answer = message("c", role="assistant", status="in_progress")
    conversation = told(
        added(message("a")),
        added(message("b")),
        created(),
        wire("response.output_item.added", **at("c"), item=answer),
        added(answer, "b" if names else None),
        added(message("d")),
    )
    assert ids(conversation) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("first", ["response.output_item.added", "conversation.item.added"])
def test_predecessors_that_nothing_names(first: str) -> None:
    """Nor does it matter which of an item's two events comes first, or whether there is but one."""
    answer = message("c", role="assistant", status="in_progress")
    events = [
        wire("response.output_item.added", **at("c"), item=answer),
        *([] if first.startswith("response") else [added(answer)]),
    ]
    conversation = told(added(message("a")), created(), *reversed(events), done(), added(message("d")))
    assert ids(conversation) == ["a", "c", "d"]


def test_predecessors_that_are_unknown() -> None:
    """What should follow an unknown item is put at the end, counted, and moved when its place is known."""
    conversation = told(added(message("a")), added(message("b"), "zz"), added(message("c"), "a"))
    assert ids(conversation) == ["a", "c", "b"]
    conversation.visit(wire("conversation.item.done", item=message("b"), previous_item_id="a"))
    assert ids(conversation) == ["a", "b", "c"]
    conversation.visit(added(message("d"), "d"))
    assert conversation.deviations == {"conversation.item.added: unknown previous_item_id": 2}
