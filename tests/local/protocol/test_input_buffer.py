"""The input audio buffer: what it holds, where it counts from, and what a commit makes of it."""

import pytest
from response_order import check_turn
from talk import Talk, item_id, kinds, wire
from tones import RATES, append, one, silence, tone
from turn_taking import times, vad

from realtime_sync import events as ev
from realtime_sync.local import ScriptedResponder
from realtime_sync.local.protocol import input_buffer


def test_two_turns_in_one_append() -> None:
    """Several turns in one piece of audio are found one after the other, and don't overlap."""
    talk = Talk(ScriptedResponder(["one", "two"]), output_modalities=["text"])
    talk.update(audio=vad(silence_duration_ms=200, prefix_padding_ms=500, interrupt_response=False))
    frame_events = talk.hear(tone(300) + silence(400) + tone(300) + silence(300))
    assert times(frame_events) == [("started", 0), ("stopped", 500), ("started", 500), ("stopped", 1200)]
    committed = [event.item_id for event in frame_events if isinstance(event, ev.InputAudioBufferCommitted)]
    assert sum(len(talk.retrieve(item_id).content[0].audio) for item_id in committed) == 1200 * 48


def test_commit_and_clear_in_mid_speech() -> None:
    """A client may end a turn itself: committed, it keeps its item id; cleared, it is gone."""
    talk = Talk(output_modalities=["text"])
    [started] = talk.hear(tone(300))
    assert isinstance(started, ev.InputAudioBufferSpeechStarted)
    committed = talk.send("input_audio_buffer.commit")
    assert one(committed, ev.InputAudioBufferCommitted).item_id == started.item_id
    assert talk.hear(silence(900)) == []
    assert kinds(talk.hear(tone(300))) == ["input_audio_buffer.speech_started"]
    talk.send("input_audio_buffer.clear")
    assert talk.hear(silence(900)) == []
    assert times(talk.hear(tone(300))) == [("started", 2100)]


def test_positions_count_all_audio() -> None:
    """Positions count from the session's first audio, over commits, and over a change of format."""
    talk = Talk(output_modalities=["text"])
    talk.hear(silence(1000))
    talk.send("input_audio_buffer.clear")
    talk.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    events = talk.hear(
        silence(1000, "audio/pcmu") + tone(300, audio_format="audio/pcmu") + silence(600, "audio/pcmu")
    )
    assert times(events) == [("started", 1700), ("stopped", 2800)]


def test_long_silence_is_forgotten() -> None:
    """Where turns are detected, long silence is not kept, and speech is found after it."""
    talk = Talk(output_modalities=["text"])
    minute = silence(60_000)
    for _ in range(3):
        assert talk.hear(minute) == []
    committed = one(talk.send("input_audio_buffer.commit"), ev.InputAudioBufferCommitted)
    assert len(talk.retrieve(committed.item_id).content[0].audio) <= len(minute)
    assert times(talk.hear(tone(300) + silence(600))) == [("started", 180_000), ("stopped", 180_800)]


@pytest.mark.parametrize("verb", ["commit", "clear"])
def test_a_buffer_that_is_full(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The input buffer has a limit: an append beyond it is rejected, and a commit or a clear makes room."""
    monkeypatch.setattr(input_buffer, "MOST_BYTES", 1_000_000)
    talk = Talk(audio={"input": {"turn_detection": None}})
    much = append(bytes(300_000))
    for _ in range(3):
        assert talk.protocol.receive(much) == []
    [error] = talk.protocol.receive(much)
    assert isinstance(error, ev.ErrorEvent)
    assert error.error.code == "input_audio_buffer_full"
    assert talk.send(f"input_audio_buffer.{verb}")[0].type != "error"
    assert talk.protocol.receive(much) == []


def test_an_append_that_is_too_large() -> None:
    """More than 15 MiB of audio in one event is rejected."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    [error] = talk.protocol.receive(append(bytes(15 * 1024 * 1024 + 1)))
    assert isinstance(error, ev.ErrorEvent)
    assert error.error.param == "audio"


@pytest.mark.parametrize(("kind", "rate"), RATES)
def test_commit(kind: str, rate: int) -> None:
    """100 ms of audio become a user message, in chunks or in one; the answer says how long it was."""
    talk = Talk(
        audio={"input": {"format": {"type": kind}, "turn_detection": None}}, output_modalities=["text"]
    )
    before = talk.say("Listen")
    assert talk.protocol.receive(append(bytes(rate // 10 - 1))) == []
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"
    assert talk.protocol.receive(append(bytes(1))) == []
    committed, added, done = talk.send("input_audio_buffer.commit")
    assert isinstance(committed, ev.InputAudioBufferCommitted)
    assert isinstance(added, ev.ConversationItemAdded)
    assert isinstance(done, ev.ConversationItemDone)
    assert committed.previous_item_id == added.previous_item_id == before
    assert committed.item_id == item_id(added.item)
    assert isinstance(added.item, ev.Message)
    assert wire(added)["item"]["role"] == "user"
    assert wire(added)["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert talk.retrieve(committed.item_id).content[0].audio == bytes(rate // 10)
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"
    [item] = check_turn(talk.turn()).output or []
    assert item.content[0].text == "I heard 0.1 seconds of audio."  # type: ignore[union-attr]


def test_clear() -> None:
    """Clearing throws the buffer away."""
    talk = Talk()
    assert talk.protocol.receive(append(bytes(48_000))) == []
    assert kinds(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"
