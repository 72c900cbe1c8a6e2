"""A conversation: turns by voice and by hand, interruption, one response at a time, the idle timeout."""

from typing import Any

import pytest
from hearing import TRANSCRIPTION, WHISPER
from response_order import check_turn
from talk import WEATHER, Talk, kinds, wire
from tones import append, one, silence, tone
from turn_taking import TURN, times, vad

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.local import Request, Say, ScriptedResponder


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
    """An out-of-band response is not interrupted."""
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


class Prompting:
    """Says something one second long."""

    def respond(self, request: Request) -> list[Say]:
        return [Say("Are you still there?", audio=bytes(48_000))]


def test_idle_timeout() -> None:
    """When no one speaks after a response was played, the server says so, and goes on by itself."""
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


def test_a_transcription_session() -> None:
    """It hears and transcribes, and never answers."""
    talk = Talk.to(session_type="transcription")
    session = wire(talk.opening[0])["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert set(session) == {"type", "id", "object", "expires_at", "audio", "include"}
    assert set(session["audio"]) == {"input"}
    [updated] = talk.send(
        "session.update",
        session={"type": "transcription", "audio": {"input": {"transcription": WHISPER}}},
    )
    assert isinstance(updated, ev.SessionUpdated)
    assert updated.session.audio
    events = talk.hear(tone(300) + silence(600))
    assert [*dict.fromkeys(kinds(events))] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.delta",
        f"{TRANSCRIPTION}.completed",
    ]


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "response.cancel"}, "type"),
        ({"type": "session.close"}, "type"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": []},
            },
            "type",
        ),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {}}, "session.type"),
        ({"type": "session.update", "session": {"type": "transcription", "tools": []}}, "session.tools"),
        (
            {"type": "session.update", "session": {"type": "transcription", "audio": {"output": {}}}},
            "session.audio.output",
        ),
    ],
)
def test_what_a_transcription_session_refuses(event: dict[str, Any], param: str) -> None:
    """What belongs to a conversation is an error there."""
    talk = Talk.to(session_type="transcription")
    assert talk.error(**event).param == param


def test_one_response_at_a_time() -> None:
    """A second response in the conversation is rejected, an out-of-band one is not."""
    talk = Talk(output_modalities=["text"])
    first = talk.send("response.create")
    assert talk.error("response.create").code == "conversation_already_has_active_response"
    second = talk.send("response.create", response={"conversation": "none", "metadata": {"which": "2"}})
    events = first + second + talk.steps()
    ids = [e.response.id for e in (*first, *second) if isinstance(e, ev.ResponseCreated)]
    assert ids[0] != ids[1]
    for response_id in ids:
        own = [e for e in events if response_id in (getattr(e, "response_id", None), wire_response(e))]
        assert own[-1].type == "response.done"


def wire_response(event: ServerEvent) -> str | None:
    return event.response.id if isinstance(event, ev.ResponseCreated | ev.ResponseDone) else None


def test_cancel_without_id() -> None:
    """A cancel without an id means the response in the conversation; without one it is rejected."""
    talk = Talk()
    assert talk.error("response.cancel").code == "response_cancel_not_active"
    talk.send("response.create", response={"conversation": "none"})
    assert talk.error("response.cancel").code == "response_cancel_not_active"
    assert talk.error("response.cancel", response_id="resp_none").code == "response_cancel_not_active"
    assert talk.protocol.active
    talk.steps()
    assert talk.protocol.step() == []


def test_overrides_for_one_response() -> None:
    """A response may have its own settings and input; the session keeps its own."""
    script = ScriptedResponder(["one", "two"])
    talk = Talk(script, instructions="Be kind.", tools=[])
    old = talk.say("old")
    response = check_turn(
        talk.turn(
            instructions="Be quick.",
            tools=[WEATHER],
            output_modalities=["text"],
            metadata={"a": "b"},
            audio={"output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"}},
            input=[
                {"type": "item_reference", "id": old},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "new"}]},
            ],
        )
    )
    assert response.metadata == {"a": "b"}
    assert response.output_modalities == ["text"]
    assert response.audio == ev.AudioConfig(
        output=ev.AudioOutputConfig(format=ev.AudioFormat(type="audio/pcmu"), voice="cedar")
    )
    asked = script.requests[0]
    assert (asked.instructions, asked.last_user_text, len(asked.items)) == ("Be quick.", "new", 2)
    assert asked.declares("weather")
    talk.turn()
    asked = script.requests[1]
    assert (asked.instructions, asked.output_modalities, asked.declares("weather")) == (
        "Be kind.",
        ["audio"],
        False,
    )


def test_empty_input_clears_the_context() -> None:
    """`input: []` gives the model nothing of the conversation."""
    script = ScriptedResponder(["x"])
    talk = Talk(script)
    talk.say("secret")
    talk.turn(input=[])
    assert (script.requests[0].items, script.requests[0].last_user_text) == ([], "")


def test_voice_is_settled_once_heard() -> None:
    """The voice can change until audio was spoken, then never, not even for one response."""
    talk = Talk()
    talk.update(audio={"output": {"voice": "cedar"}})
    talk.turn(output_modalities=["text"])
    talk.update(audio={"output": {"voice": "marin"}})
    talk.turn()
    other = {"audio": {"output": {"voice": "cedar"}}}
    error = talk.error("session.update", session={"type": "realtime", **other})
    assert (error.code, error.param) == ("cannot_update_voice", "session.audio.output.voice")
    error = talk.error("response.create", response=other)
    assert (error.code, error.param) == ("cannot_update_voice", "response.audio.output.voice")
    talk.update(audio={"output": {"voice": "marin"}})
