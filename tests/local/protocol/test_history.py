"""The conversation's items: their order, deletion, truncation, audio and limit."""

import pytest
from response_order import audio_of, check_turn
from talk import Talk, item_id, kinds, wire
from tones import append, one

from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.local.protocol import history


def test_truncation_of_what_is_being_said() -> None:
    """A client that stops playing in the middle of a response may cut it, and look at it."""
    talk = Talk(ScriptedResponder([Say("A long answer.", audio=bytes(48_000))]))
    events = talk.send("response.create")
    while sum(isinstance(event, ev.ResponseOutputAudioDelta) for event in events) < 3:
        events += talk.protocol.step()
    item = one(events, ev.ResponseOutputItemAdded).item.id
    assert talk.retrieve(item).status == "in_progress"
    assert len(talk.retrieve(item).content[0].audio) == 3 * 4800
    where = {"item_id": item, "content_index": 0}
    assert talk.error("conversation.item.truncate", audio_end_ms=301, **where).param == "audio_end_ms"
    assert talk.error("conversation.item.truncate", audio_end_ms=0, **where).param == "audio_end_ms"
    [truncated] = talk.send("conversation.item.truncate", audio_end_ms=250, **where)
    assert isinstance(truncated, ev.ConversationItemTruncated)
    assert talk.error("conversation.item.truncate", audio_end_ms=251, **where).param == "audio_end_ms"
    assert len(talk.retrieve(item).content[0].audio) == 250 * 48
    assert one(talk.steps(), ev.ResponseDone).response.status == "completed"
    [kept] = talk.retrieve(item).content
    assert (len(kept.audio), kept.transcript) == (250 * 48, None)


def test_a_conversation_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation has a limit: no item may be added beyond it; deleting one makes room."""
    monkeypatch.setattr(history, "MOST_BYTES", 1_000_000)
    talk = Talk(audio={"input": {"turn_detection": None}})
    ids = []
    while True:
        talk.protocol.receive(append(bytes(300_000)))
        events = talk.send("input_audio_buffer.commit")
        if isinstance(events[0], ev.ErrorEvent):
            break
        ids.append(one(events, ev.InputAudioBufferCommitted).item_id)
    assert events[0].error.code == "conversation_full"
    assert len(ids) in (3, 4)
    talk.send("conversation.item.delete", item_id=ids[0])
    assert kinds(talk.send("input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"


def test_the_audio_is_kept() -> None:
    """The audio of an answer comes in deltas, and whole from retrieve, and nowhere else."""
    talk = Talk()
    talk.say("Hello")
    events = talk.turn()
    assert len(audio_of(events)) > 48_000
    [item] = check_turn(events).output or []
    kept = talk.retrieve(item_id(item))
    assert kept.content[0].audio == audio_of(events)
    assert kept.content[0].transcript == item.content[0].transcript  # type: ignore[union-attr]


def test_items_go_where_they_are_sent() -> None:
    """An item goes to the end, to the root or after another; the events name the one before."""
    talk = Talk()
    b = talk.say("b")
    d = talk.say("d")
    a = talk.say("a", previous_item_id="root")
    c = talk.say("c", previous_item_id=b)
    assert talk.order() == [a, b, c, d]
    item = {"type": "message", "role": "system", "content": []}
    for previous, expected in ((None, d), ("root", None), (b, b)):
        added = talk.send("conversation.item.create", item=item, previous_item_id=previous)[0]
        assert isinstance(added, ev.ConversationItemAdded)
        assert added.previous_item_id == expected


def test_created_items_are_completed() -> None:
    """The server gives id, object and status where the client gave none, and keeps what it gave."""
    talk = Talk()
    kept = talk.retrieve(talk.add({"type": "function_call_output", "call_id": "c", "output": "5"}))
    assert (kept.object, kept.status, kept.output) == ("realtime.item", "completed", "5")
    own = {
        "id": "mine",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "t"}],
    }
    assert talk.add(own) == "mine"
    assert talk.retrieve("mine").content == [ev.OutputText(text="t")]


def test_audio_only_on_request() -> None:
    """Events leave a message's audio out; retrieve gives it."""
    talk = Talk()
    part = {"type": "input_audio", "audio": "AAEC", "transcript": "um"}
    item = {"type": "message", "role": "user", "content": [part]}
    for event in talk.send("conversation.item.create", item=item):
        assert wire(event)["item"]["content"] == [{"type": "input_audio", "transcript": "um"}]
    [kept] = talk.order()
    [whole] = talk.retrieve(kept).content
    assert (whole.audio, whole.transcript) == (b"\0\1\2", "um")


def test_ids_that_nobody_has() -> None:
    """An unknown item id is rejected by every event that takes one."""
    talk = Talk()
    for verb in ("retrieve", "delete"):
        error = talk.error(f"conversation.item.{verb}", item_id="x")
        assert (error.code, error.param) == (f"item_{verb}_invalid_item_id", "item_id")
    error = talk.error("conversation.item.truncate", item_id="x", content_index=0, audio_end_ms=1)
    assert (error.code, error.param) == ("item_truncate_invalid_item_id", "item_id")
    item = {"type": "message", "role": "user", "content": []}
    error = talk.error("conversation.item.create", item=item, previous_item_id="x")
    assert error.param == "previous_item_id"
    error = talk.error("response.create", response={"input": [{"type": "item_reference", "id": "x"}]})
    assert error.param == "response.input[0].id"


def test_delete() -> None:
    """A deleted item is gone, and the model no longer reads it."""
    script = ScriptedResponder(["x"])
    talk = Talk(script)
    a, b = talk.say("a"), talk.say("b")
    [event] = talk.send("conversation.item.delete", item_id=b)
    assert isinstance(event, ev.ConversationItemDeleted)
    assert event.item_id == b
    assert talk.order() == [a]
    talk.turn()
    assert script.requests[0].last_user_text == "a"


def test_delete_what_is_being_written() -> None:
    """An item deleted while it is written is still closed for the response, not for the conversation."""
    talk = Talk(output_modalities=["text"])
    events = talk.send("response.create") + talk.protocol.step()
    added = next(e for e in events if isinstance(e, ev.ResponseOutputItemAdded))
    talk.send("conversation.item.delete", item_id=item_id(added.item))
    events += talk.steps()
    assert "response.output_item.done" in kinds(events)
    assert "conversation.item.done" not in kinds(events)
    assert talk.order() == []


def test_truncate() -> None:
    """Truncating cuts the audio, takes the transcript away, and says so."""
    talk = Talk(ScriptedResponder(["x" * 50]))
    [item] = check_turn(talk.turn()).output or []
    ids = {"item_id": item_id(item), "content_index": 0}
    [event] = talk.send("conversation.item.truncate", **ids, audio_end_ms=1500)
    assert isinstance(event, ev.ConversationItemTruncated)
    assert (event.item_id, event.content_index, event.audio_end_ms) == (item_id(item), 0, 1500)
    [part] = talk.retrieve(item_id(item)).content
    assert (len(part.audio), part.transcript) == (72_000, None)
    for wrong in (0, -1, 1501, 10**30):
        assert talk.error("conversation.item.truncate", **ids, audio_end_ms=wrong).param == "audio_end_ms"
    assert talk.retrieve(item_id(item)).content == [part]


def test_truncate_only_the_assistants_audio() -> None:
    """Text, other parts and other people's messages can't be truncated."""
    talk = Talk(output_modalities=["text"])
    [item] = check_turn(talk.turn()).output or []
    for target, index in ((item_id(item), 0), (item_id(item), 1), (item_id(item), -1), (talk.say("x"), 0)):
        talk.error("conversation.item.truncate", item_id=target, content_index=index, audio_end_ms=1)
