"""The local server's ears: voice detection on real audio, turns, interruption, the idle timeout."""

import array
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talk import Talk, kinds
from tones import append, one, silence, tone

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.local import Request, Say, ScriptedResponder
from realtime_sync.local.protocol.vad import Detector, Started, Stopped
from realtime_sync.sound.formats import loudness, sample_rate, samples_of

TURN = [
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
]


def vad(**fields: Any) -> dict[str, Any]:
    return {"input": {"turn_detection": {"type": "server_vad", **fields}}}


def times(events: list[ServerEvent]) -> list[tuple[str, int]]:
    """Where speech began and stopped, in ms."""
    found = []
    for event in events:
        if isinstance(event, ev.InputAudioBufferSpeechStarted):
            found.append(("started", event.audio_start_ms))
        elif isinstance(event, ev.InputAudioBufferSpeechStopped):
            found.append(("stopped", event.audio_end_ms))
    return found


# --- The detector -------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_loudness(audio_format: str) -> None:
    """The level of a tone is measured in each format, silence is silent, and full scale is 0 dBFS."""
    heard = samples_of(tone(1000, -30, audio_format), audio_format)
    assert loudness(heard) == pytest.approx(-30, abs=0.2)
    assert loudness(samples_of(silence(20, audio_format), audio_format)) < -60
    assert loudness(array.array("h", [-32_768, 32_767])) == pytest.approx(0, abs=0.01)
    assert loudness(array.array("h")) == -math.inf


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
@pytest.mark.parametrize("lead", [0, 7, 400, 1013])
def test_positions_are_those_of_the_sound(audio_format: str, lead: int) -> None:
    """Speech begins and stops at the very sample where the sound does, wherever that is."""
    audio = silence(lead, audio_format) + tone(300, audio_format=audio_format) + silence(700, audio_format)
    per_ms = sample_rate(audio_format) // 1000
    started, stopped = Detector(audio_format, 0.5, 500).feed(audio)
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert started.sample == lead * per_ms
    assert stopped.sample == pytest.approx((lead + 300 + 500) * per_ms, abs=per_ms)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 5000), max_size=30), st.integers(0, 3))
def test_pieces_do_not_matter(sizes: list[int], seed: int) -> None:
    """However the sound is cut into pieces, odd ones too, the same is found in it."""
    rng = random.Random(seed)
    audio = b"".join(
        tone(rng.randrange(20, 300), rng.uniform(-60, -10)) + silence(rng.randrange(0, 800)) for _ in range(4)
    )
    whole = list(Detector("audio/pcm", 0.5, 300).feed(audio))
    detector, rest = Detector("audio/pcm", 0.5, 300), audio
    found: list[Started | Stopped] = []
    for size in sizes:
        found += detector.feed(rest[:size])
        rest = rest[size:]
    assert found + list(detector.feed(rest)) == whole


@pytest.mark.parametrize(
    ("threshold", "level", "heard"),
    [(0.5, -35, True), (0.5, -45, False), (0.9, -30, False), (0.9, -22, True), (0.0, -55, True)],
)
def test_threshold(threshold: float, level: float, heard: bool) -> None:
    """What is louder than the threshold is speech; what is quieter is not."""
    assert bool(list(Detector("audio/pcm", threshold, 500).feed(tone(500, level)))) == heard


def test_a_click_is_no_speech() -> None:
    """A knock of 30 ms does not begin a turn, a syllable of 100 ms does."""
    assert not list(Detector("audio/pcm", 0.5, 500).feed(silence(90) + tone(30, -6) + silence(900)))
    assert len(list(Detector("audio/pcm", 0.5, 500).feed(silence(90) + tone(100, -6) + silence(900)))) == 2


# --- Turns ----------------------------------------------------------------------------------------------


def test_a_turn_by_voice() -> None:
    """Speech and silence make a turn: its events in order, its audio whole, and an answer to it."""
    talk = Talk(output_modalities=["text"])
    audio = silence(1000) + tone(600) + silence(400)
    events = talk.hear(audio)
    assert kinds(events) == ["input_audio_buffer.speech_started"]
    events += talk.hear(silence(200))
    assert kinds(events)[1:6] == TURN
    assert kinds(events)[-1] == "response.done"
    assert times(events) == [("started", 700), ("stopped", 2100)]
    ids = {event.item_id for event in events[:3]}  # type: ignore[attr-defined]
    assert ids == {one(events, ev.InputAudioBufferCommitted).item_id}
    item = talk.retrieve(ids.pop())
    assert item.content[0].audio == (audio + silence(200))[700 * 48 : 2100 * 48]
    assert one(events, ev.ResponseDone).response.output[0].content[0].text == "I heard 1.4 seconds of audio."


def test_two_turns_in_one_append() -> None:
    """Several turns in one piece of audio are found one after the other, and don't overlap."""
    talk = Talk(ScriptedResponder(["one", "two"]), output_modalities=["text"])
    talk.update(audio=vad(silence_duration_ms=200, prefix_padding_ms=500, interrupt_response=False))
    frame_events = talk.hear(tone(300) + silence(400) + tone(300) + silence(300))
    assert times(frame_events) == [("started", 0), ("stopped", 500), ("started", 500), ("stopped", 1200)]
    committed = [event.item_id for event in frame_events if isinstance(event, ev.InputAudioBufferCommitted)]
    assert sum(len(talk.retrieve(item_id).content[0].audio) for item_id in committed) == 1200 * 48


@pytest.mark.parametrize(
    ("eagerness", "wait"), [("high", 500), ("auto", 1000), ("medium", 1000), ("low", 2000)]
)
def test_semantic_vad(eagerness: str, wait: int) -> None:
    """Semantic turn detection waits for as long a silence as its eagerness says."""
    talk = Talk(output_modalities=["text"])
    talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}})
    events = talk.hear(silence(500) + tone(500) + silence(wait - 50))
    assert kinds(events) == ["input_audio_buffer.speech_started"]
    events += talk.hear(silence(100))
    assert times(events) == [("started", 200), ("stopped", 1000 + wait)]
    assert kinds(events)[-1] == "response.done"


def test_without_create_response() -> None:
    """With create_response off, the turn is committed and nothing is said."""
    talk = Talk(audio=vad(create_response=False))
    events = talk.hear(tone(300) + silence(600))
    assert kinds(events)[1:] == TURN[:-1]
    assert kinds(talk.turn(output_modalities=["text"]))[-1] == "response.done"


def test_push_to_talk() -> None:
    """With turn detection off, nothing is heard until the client commits."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    audio = tone(300) + silence(900)
    assert talk.hear(audio) == []
    committed = talk.send("input_audio_buffer.commit")
    assert kinds(committed) == TURN[1:4]
    assert talk.retrieve(one(committed, ev.InputAudioBufferCommitted).item_id).content[0].audio == audio


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


def test_settings_in_mid_speech() -> None:
    """An update in the middle of speech takes effect in it; the turn goes on, also when it is the last."""
    talk = Talk(output_modalities=["text"])
    [started] = talk.hear(tone(300))
    assert isinstance(started, ev.InputAudioBufferSpeechStarted)
    talk.update(audio=vad(silence_duration_ms=200, create_response=False))
    events = talk.hear(silence(300))
    assert times(events) == [("stopped", 500)]
    assert kinds(events) == TURN[:-1]
    [started] = talk.hear(tone(300))
    assert isinstance(started, ev.InputAudioBufferSpeechStarted)
    talk.update(audio={"input": {"turn_detection": None}})
    assert talk.hear(silence(900)) == []
    committed = one(talk.send("input_audio_buffer.commit"), ev.InputAudioBufferCommitted)
    assert committed.item_id == started.item_id


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
    """An hour of silence is not kept, and speech is found after it."""
    talk = Talk(output_modalities=["text"])
    minute = silence(60_000)
    for _ in range(10):
        assert talk.hear(minute) == []
    buffer: Any = talk.protocol._session
    assert len(buffer._buffer._bytes) <= len(minute)
    assert times(talk.hear(tone(300) + silence(600))) == [("started", 599_700), ("stopped", 600_800)]


# --- Interruption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("modality", ["text", "audio"])
def test_speech_interrupts_a_response(steps: int, modality: str) -> None:
    """Who begins to speak cuts the running response off, wherever it is; the next turn is answered."""
    talk = Talk(ScriptedResponder(["A long answer. " * 10, "Short."]), output_modalities=[modality])
    talk.say("Hello")
    talk.send("response.create")
    for _ in range(steps):
        talk.protocol.step()
    events = talk.protocol.receive(append(tone(300)))
    assert kinds(events)[0] == "input_audio_buffer.speech_started"
    done = one(events, ev.ResponseDone)
    assert done == events[-1]
    assert done.response.status == "cancelled"
    assert done.response.status_details == ev.ResponseStatusDetails(type="cancelled", reason="turn_detected")
    assert not talk.protocol.active
    assert one(talk.hear(silence(600)), ev.ResponseDone).response.status == "completed"


def test_speech_leaves_other_responses_alone() -> None:
    """A response beside the conversation is not interrupted."""
    talk = Talk(ScriptedResponder(["beside", "answer"]), output_modalities=["text"])
    talk.send("response.create", response={"conversation": "none"})
    events = talk.protocol.receive(append(tone(300)))
    assert kinds(events) == ["input_audio_buffer.speech_started"]
    assert one(talk.steps(), ev.ResponseDone).response.status == "completed"


def test_without_interrupt_response() -> None:
    """With interrupt_response off the response goes on, and the turn that ends meanwhile gets an error."""
    talk = Talk(ScriptedResponder(["A long answer"]), output_modalities=["text"])
    talk.update(audio=vad(interrupt_response=False))
    talk.say("Hello")
    talk.send("response.create")
    events = talk.protocol.receive(append(tone(300) + silence(600)))
    assert kinds(events) == ["input_audio_buffer.speech_started", *TURN[:-1], "error"]
    error = one(events, ev.ErrorEvent).error
    assert (error.code, error.event_id) == ("conversation_already_has_active_response", None)
    assert one(talk.steps(), ev.ResponseDone).response.status == "completed"


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


# --- The idle timeout -----------------------------------------------------------------------------------


class Prompting:
    """Says something one second long."""

    def respond(self, request: Request) -> list[Say]:
        return [Say("Are you still there?", audio=bytes(48_000))]


def test_idle_timeout() -> None:
    """When nobody speaks after a response was played, the server says so, and goes on by itself."""
    talk = Talk(Prompting(), audio=vad(idle_timeout_ms=5000))
    talk.say("Hello")
    talk.turn()
    assert talk.protocol.due == pytest.approx(talk.now + 6.0)
    talk.hear(silence(7000))
    assert talk.protocol.due is not None
    assert talk.protocol.step(talk.protocol.due - 0.001) == []
    talk.now = talk.protocol.due
    events = talk.protocol.step(talk.now)
    assert kinds(events) == ["input_audio_buffer.timeout_triggered", *TURN[1:]]
    triggered = one(events, ev.InputAudioBufferTimeoutTriggered)
    assert (triggered.audio_start_ms, triggered.audio_end_ms) == (2000, 7000)
    assert talk.retrieve(triggered.item_id).content[0].audio == silence(5000)
    assert one(talk.steps(), ev.ResponseDone).response.status == "completed"


def test_the_idle_timeout_without_audio() -> None:
    """The timeout works for a client that sends nothing, too: the item is empty."""
    talk = Talk(Prompting(), audio=vad(idle_timeout_ms=5000))
    talk.turn()
    assert talk.protocol.due is not None
    talk.now = talk.protocol.due
    events = talk.protocol.step(talk.now)
    triggered = one(events, ev.InputAudioBufferTimeoutTriggered)
    assert (triggered.audio_start_ms, triggered.audio_end_ms) == (0, 0)
    assert talk.retrieve(triggered.item_id).content[0].audio == b""


def test_speech_stops_the_idle_timeout() -> None:
    """Who speaks in time, or turns the timeout off, is not prompted."""
    talk = Talk(Prompting(), audio=vad(idle_timeout_ms=5000))
    talk.turn()
    talk.protocol.receive(append(tone(300)), talk.now)
    assert talk.protocol.due is None
    talk.hear(silence(600))
    assert talk.protocol.due is not None
    talk.update(audio=vad(idle_timeout_ms=None))
    assert talk.protocol.due is None
