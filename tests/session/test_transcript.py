"""A conversation as lines for people, and as items for another session."""

import pytest
from conversation_events import added, at, created, message, spoken, told, wire
from scripted import DEADLINE
from talkers import Talkers

from realtime_sync import events as ev
from realtime_sync.local import CallFunction, CallMcpTool, Say
from realtime_sync.voice import Conversation

SKY = "The sky is blue because air scatters blue light more than red light."
SOUND = bytes(range(250)) * 96  # half a second
DIALECTS = ["ga", "beta"]


# --- Another session ---------------------------------------------------------------------------------


@pytest.mark.parametrize("there", DIALECTS)
@pytest.mark.parametrize("here", DIALECTS)
def test_made_again(talk: Talkers, here: str, there: str) -> None:
    """The items of one session can all be created in another, in either dialect, and read the same."""
    answers = [[Say(SKY), CallFunction("look", {"far": True}), CallMcpTool("docs", "find", "{}", output="x")]]
    session = talk(*answers, Say("As I said.", SOUND), "Beside.", dialect=here)
    conversation = Conversation(session)
    session.conversation.item.create({"type": "message", "role": "system", "content": [
        {"type": "input_text", "text": "Be\nbrief."}]})  # fmt: skip
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    session.conversation.item.create({"type": "message", "role": "user", "content": [
        {"type": "input_text", "text": "What is this?"}, image]})  # fmt: skip
    session.response.create()
    [call] = conversation.wait_for_response(timeout=DEADLINE).function_calls
    session.conversation.item.create(ev.FunctionCallOutput(call_id=call.call_id or "", output="nothing"))
    conversation.wait_for_response(session.response.create(), timeout=DEADLINE)
    session.conversation.item.truncate(conversation.items[-1].id, audio_end_ms=250)
    session.run(conversation, until=ev.ConversationItemTruncated, timeout=DEADLINE)
    session.conversation.item.create(ev.FunctionCallOutput(call_id="call_of_nobody", output="?"))
    session.conversation.item.create({"type": "message", "role": "user", "content": [
        {"type": "input_audio", "audio": "AAAA"}]})  # fmt: skip
    conversation.wait_for_response(session.response.create(conversation="none"), timeout=DEADLINE)

    items = conversation.to_items(dialect=there)
    if here == there:
        assert conversation.to_items() == items
    assert all(getattr(item, "id", None) is None for item in items)
    other = talk(dialect=there)
    again = Conversation(other)
    for item in items:
        other.conversation.item.create(item)
    for _ in items:
        again.wait_for_item(timeout=DEADLINE)
    assert again.to_items() == items
    assert again.transcript().splitlines() == [
        "System: Be brief.",
        "User: What is this? [image]",
        f"Assistant: {SKY}",
        'Tool: look({"far": true}) -> nothing',
        "Assistant: As I",
    ]
    assert conversation.transcript().splitlines() == [
        *again.transcript().splitlines()[:4],
        "Tool: find({}) -> x",
        "Assistant: As I [cut off after 0.2 s]",
        "Tool: -> ?",
        "User: [audio]",
    ]


def test_made_again_without_a_session() -> None:
    """A conversation read from a log gives items for GA; calls that broke off are left out."""
    call = {"id": "c", "type": "function_call", "status": "incomplete", "call_id": "1", "name": "f"}
    conversation = told(
        added(message("a", "Hi")),
        added(message("b", "Hello", role="assistant"), "a"),
        added({**call, "arguments": '{"x'}, "b"),
        added(message("d", "?", role="stranger"), "c"),
    )
    assert conversation.to_items() == [
        ev.Message(role="user", content=[ev.InputText(text="Hi")]),
        ev.Message(role="assistant", content=[ev.OutputText(text="Hello")]),
    ]


@pytest.mark.parametrize("kind", ["conversation.item.added", "conversation.item.created"])
def test_made_again_though_nothing_is_complete(kind: str) -> None:
    """A call that was answered is complete, also where the server never says so."""
    call = {"id": "c", "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    output = {"id": "o", "type": "function_call_output", "call_id": "1", "output": "7"}
    items = [
        ev.FunctionCall(call_id="1", name="f", arguments="{}"),
        ev.FunctionCallOutput(call_id="1", output="7"),
    ]
    told_of = [wire(kind, item=call), wire(kind, item=output, previous_item_id="c")]
    assert told(*told_of).to_items() == items
    assert told(wire(kind, item={**call, "status": "incomplete"}), *told_of[1:]).to_items() == []


def test_other_parts() -> None:
    """Parts of kinds that are not known are shown by their kind; nothing in a transcript moves the cursor."""
    item = message("i", "a\x1b[2Jb\nc\u2028d")
    item["content"].append({"type": "smell", "of": "roses"})
    item["content"].append({})
    item["content"].append({"type": "input_image", "image_url": "data:,"})
    conversation = told(added(item))
    assert conversation.transcript() == "User: a [2Jb c d [smell] [unknown] [image]"
    assert [part.kind for part in conversation.items[0].content] == ["text", "smell", "", "image"]
    audio = wire("response.content_part.done", **at(), part={})
    assert told(created(), spoken("Hi"), audio).responses[0].items[0].content[0].kind == "audio"


def test_a_long_output_is_shortened() -> None:
    """A tool's arguments and output take no more than a line in the transcript."""
    call = {"id": "c", "type": "function_call", "call_id": "1", "name": "f", "arguments": "x" * 1000}
    output = {"id": "o", "type": "function_call_output", "call_id": "1", "output": "y" * 1000}
    assert len(told(added(call), added(output, "c")).transcript()) < 250
