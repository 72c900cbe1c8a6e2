"""Translation sessions."""

from typing import Any

import pytest
from hearing import WHISPER, Hearing
from talk import Talk, kinds, wire
from tones import one, silence, tone

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent, codec
from realtime_sync.local import ScriptedResponder


def translate(talk: Talk, audio: bytes) -> list[ServerEvent]:
    frame = codec.encode(ev.SessionInputAudioBufferAppend(audio=audio))
    return talk.protocol.receive(frame, talk.now) + talk.steps()


def test_a_translation_session() -> None:
    """An utterance comes back in another language, written and spoken, and the end is announced."""
    talk = Talk.to(
        session_type="translation", model="gpt-realtime-translate", transcriber=Hearing("Good", " day")
    )
    session = wire(talk.opening[0])["session"]
    assert (session["type"], session["model"]) == ("translation", "gpt-realtime-translate")
    [updated] = talk.send(
        "session.update",
        session={"audio": {"input": {"transcription": WHISPER}, "output": {"language": "is"}}},
    )
    assert wire(updated)["session"]["audio"]["output"] == {"language": "is"}
    assert translate(talk, silence(1000) + tone(500) + silence(200)) == []
    events = translate(talk, silence(400))
    source = "".join(e.delta for e in events if isinstance(e, ev.SessionInputTranscriptDelta))
    target = "".join(e.delta for e in events if isinstance(e, ev.SessionOutputTranscriptDelta))
    sound = b"".join(e.delta for e in events if isinstance(e, ev.SessionOutputAudioDelta))
    assert (source, target) == ("Good day", "(is) Good day")
    assert len(sound) > 10_000
    assert {wire(event)["elapsed_ms"] for event in events} == {2200}
    assert talk.send("session.close")[-1].type == "session.closed"
    assert talk.protocol.closing == (1000, "")


def test_closing_a_translation_flushes_it() -> None:
    """What was said up to the end is translated before the session is closed."""
    talk = Talk.to(session_type="translation")
    assert translate(talk, tone(500)) == []
    events = talk.send("session.close")
    assert talk.protocol.closing is None
    assert talk.error("session.close").code == "invalid_value"
    events += talk.steps()
    assert events[-1].type == "session.closed"
    assert "session.output_transcript.delta" in kinds(events)
    assert "session.input_transcript.delta" not in kinds(events)
    assert talk.protocol.closing == (1000, "")
    assert talk.send("session.close") == talk.steps() == []


def test_translations_keep_their_order() -> None:
    """Utterances that end at once are translated one after the other."""
    talk = Talk.to(session_type="translation", responder=ScriptedResponder(["one", "two", "three"]))
    events = translate(talk, (tone(300) + silence(600)) * 3)
    text = [e.delta for e in events if isinstance(e, ev.SessionOutputTranscriptDelta)]
    assert text == ["one", "two", "three"]


def test_a_translator_that_fails() -> None:
    """A failure is one error event; the next utterance is translated."""
    script = ScriptedResponder([ValueError("tired"), "again"])
    talk = Talk.to(session_type="translation", responder=script)
    events = translate(talk, (tone(300) + silence(600)) * 2)
    assert "tired" in one(events, ev.ErrorEvent).error.message
    assert one(events, ev.SessionOutputTranscriptDelta).delta == "again"


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": ""}, "type"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"model": "other"}}, "session.model"),
        ({"type": "session.update", "session": {"instructions": ""}}, "session.instructions"),
        (
            {"type": "session.update", "session": {"audio": {"output": {"voice": "marin"}}}},
            "session.audio.output.voice",
        ),
    ],
)
def test_what_a_translation_session_refuses(event: dict[str, Any], param: str) -> None:
    """What belongs to a conversation is an error there."""
    talk = Talk.to(session_type="translation", model="gpt-realtime-translate")
    assert talk.error(**event).param == param
