"""A session's settings: what it starts with, and what an update makes of them."""

from msgspec import UNSET
from talk import WEATHER, Talk

from realtime_sync import events as ev
from realtime_sync.events import SessionConfig
from realtime_sync.local.protocol.settings import (
    cleared,
    configured,
    format_of,
    fresh_session,
    input_of,
    output_of,
    rate_of,
)


def test_update_merges_by_presence() -> None:
    """What an update leaves out stays, also within audio; the answer is the whole session."""
    talk = Talk(instructions="Be brief.")
    vad = {"type": "server_vad", "threshold": 0.25}
    session = talk.update(audio={"input": {"turn_detection": vad}, "output": {"speed": 1.5}})
    assert session["instructions"] == "Be brief."
    assert session["audio"]["input"]["turn_detection"] == {
        **vad,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
    }
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.5,
    }
    assert talk.update() == session


def test_null_clears() -> None:
    """A null brings a field back to what a session starts with, and turns turn detection off."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    fresh = talk.update()
    assert fresh["audio"]["input"]["turn_detection"] is None
    talk.update(
        tools=[WEATHER], tracing="auto", audio={"input": {"turn_detection": {"type": "semantic_vad"}}}
    )
    assert talk.update(tools=None, tracing=None, audio={"input": {"turn_detection": None}}) == fresh


def test_detection_is_completed() -> None:
    """What a client leaves out of its turn detection gets its default."""
    session = Talk().update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    detection = {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    assert session["audio"]["input"]["turn_detection"] == detection


def test_a_fresh_session_of_each_kind() -> None:
    """A session starts with the settings of its kind, and with no others."""
    realtime, transcription, translation = (
        fresh_session(kind, "sess_1", "m", 7) for kind in ("realtime", "transcription", "translation")
    )
    assert {session.id for session in (realtime, transcription, translation)} == {"sess_1"}
    assert (realtime.model, translation.model, transcription.model) == ("m", "m", UNSET)
    assert format_of(input_of(realtime)) == format_of(output_of(realtime)) == "audio/pcm"
    assert rate_of(input_of(transcription)) == 48_000
    assert transcription.audio
    assert transcription.audio.output is UNSET


def test_null_in_a_translation() -> None:
    """Where a session has no turn detection, null brings each field back to its start."""
    fresh = fresh_session("translation", "sess_1", "m", None)
    new = SessionConfig(audio=ev.AudioConfig(output=ev.AudioOutputConfig(language="is")))
    changed = configured(fresh, new, cleared(fresh))
    assert output_of(changed).language == "is"
    assert configured(changed, SessionConfig(audio=None), cleared(fresh)) == fresh
