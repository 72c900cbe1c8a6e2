"""Situations that users of this protocol met, on whatever client: answers cut off, items rejected."""

from typing import Any

import pytest
from clock import Clock
from scripted import DEADLINE
from situations import Met, audio, began, ended, error, frame, message, said

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback

# --- Cut off, without a word of the server -----------------------------------------------------------


def cut_off(met: Met) -> tuple[Conversation, str]:
    """A conversation in which an answer of two seconds was interrupted after one; and the truncation's id."""
    clock = Clock()
    conversation = Conversation(met.session)
    playback = Playback(met.session, ClockedSpeaker(clock=clock))
    met.watched_by(playback, conversation)
    met.session.response.create()
    met.hear(
        began("r1"),
        frame("response.output_item.added", response_id="r1", output_index=0, item=message("i")),
        frame("conversation.item.added", item=message("i"), previous_item_id=None),
        said("r1", "one two three four five six", "i"),
        audio("r1", 2000, "i"),
    )
    clock.pass_by(1000)
    interruption = playback.interrupt()
    assert interruption is not None
    assert interruption.truncated
    whole = {
        **message("i"),
        "content": [{"type": "output_audio", "transcript": "one two three four five six"}],
    }
    done = frame("conversation.item.done", item=whole, previous_item_id=None)
    met.hear(ended("r1", whole, status="cancelled"), done)
    [truncate] = met.of("conversation.item.truncate")
    assert (truncate["audio_end_ms"], truncate["event_id"] in interruption.event_ids) == (1000, True)
    return conversation, truncate["event_id"]


def test_a_truncation_that_is_never_confirmed(met: Met) -> None:
    """An answer that was cut off reads as what was heard, even if the server never confirms it."""
    conversation, _ = cut_off(met)
    assert conversation.transcript() == "Assistant: one two three [cut off after 1.0 s]"
    [part] = conversation.items[0].content
    assert (part.truncated_ms, part.generated) == (1000, "one two three four five six")
    assert len(part.audio) == 48_000
    [item] = conversation.to_items()
    assert isinstance(item, ev.Message)
    assert item.content == [ev.OutputText(text="one two three")]


def test_a_truncation_that_is_confirmed_differently(met: Met) -> None:
    """What the server confirms is what counts, later as well as earlier."""
    conversation, _ = cut_off(met)
    truncated = frame("conversation.item.truncated", item_id="i", content_index=0, audio_end_ms=1500)
    met.hear(truncated)
    assert conversation.transcript() == "Assistant: one two three four [cut off after 1.5 s]"
    [part] = conversation.items[0].content
    assert (part.truncated_ms, len(part.audio)) == (1500, 72_000)


@pytest.mark.parametrize("named", [True, False])
def test_a_truncation_that_is_rejected(met: Met, named: bool) -> None:
    """If the server rejects the truncation, the answer stays whole."""
    conversation, event_id = cut_off(met)
    code = "item_truncate_invalid_audio_end"
    met.hear(error(code=code, event_id=event_id if named else None))
    assert "one two three four five six" in conversation.transcript()
    assert "cut off" not in conversation.transcript()
    [part] = conversation.items[0].content
    assert (part.truncated_ms, len(part.audio)) == (None, 96_000)
    [item] = conversation.to_items()
    assert isinstance(item, ev.Message)
    assert item.content == [ev.OutputText(text="one two three four five six")]


def test_an_error_about_another_thing_leaves_the_mark(met: Met) -> None:
    """The mark stays if the server rejects something else meanwhile."""
    conversation, _ = cut_off(met)
    met.hear(error(event_id=met.session.input_audio_buffer.commit()), error(event_id="another"))
    assert conversation.transcript() == "Assistant: one two three [cut off after 1.0 s]"


# --- Items that are rejected -------------------------------------------------------------------------


def user(item_id: str, text: str = "Hi") -> dict[str, Any]:
    return {k: v for k, v in message(item_id, text, role="user").items() if k != "status"}


def kept(item_id: str, text: str = "Hi") -> str:
    return frame("conversation.item.done", item=message(item_id, text, role="user"), previous_item_id=None)


@pytest.mark.parametrize("details", [{}, {"code": "item_create_invalid_item_id"}, {"param": "item.content"}])
@pytest.mark.parametrize("named", [True, False])
def test_the_item_is_rejected(met: Met, details: dict[str, Any], named: bool) -> None:
    """The wait for an item ends with the rejection of that very item, and with what the server said."""
    conversation = Conversation(met.session)
    event_id = met.session.conversation.item.create(user("mine"))
    met.script.wait_for(1)
    met.script.send(error("too long", event_id=event_id if named else None, **details))
    with pytest.raises(rt.RealtimeError, match=r"rejected item 'mine': too long"):
        conversation.wait_for_item("mine", timeout=DEADLINE)


def test_another_item_is_rejected(met: Met) -> None:
    """The rejection of another item doesn't end the wait for this one."""
    conversation = Conversation(met.session)
    other = met.session.conversation.item.create(user("other"))
    met.session.conversation.item.create(user("mine"))
    met.script.wait_for(2)
    met.script.send(error("too long", event_id=other), kept("mine"))
    assert conversation.wait_for_item("mine", timeout=DEADLINE).text == "Hi"


def test_an_item_is_sent_again_after_its_rejection(met: Met) -> None:
    """A rejected item that is sent again, now as the server likes it, is an item like any other."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    rejected = met.session.conversation.item.create(user("mine", "too long"))
    met.hear(error("too long", event_id=rejected))
    met.session.conversation.item.create(user("mine"))
    met.hear(kept("mine"))
    assert conversation.wait_for_item("mine", timeout=DEADLINE).text == "Hi"


def test_every_wait_for_a_rejected_item_ends(met: Met) -> None:
    """The rejection ends each wait for the item, not only the first."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    met.hear(error("too long", event_id=met.session.conversation.item.create(user("mine"))))
    for _ in range(2):
        with pytest.raises(rt.RealtimeError, match="too long"):
            conversation.wait_for_item("mine", timeout=0)
