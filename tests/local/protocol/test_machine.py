"""The protocol as a whole: how a session opens, that nothing raises, and how it ends."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talk import Talk, wire
from tones import one, tone

from realtime_sync import events as ev
from realtime_sync.events import CLIENT_EVENTS, SessionConfig, codec
from realtime_sync.local import Protocol
from realtime_sync.local.protocol.refusal import Refused


def test_the_end_of_a_session() -> None:
    """After its lifetime a session says that it has expired, and nothing else any more."""
    talk = Talk.to(lifetime=60.0)
    assert talk.protocol.due == 60.0
    talk.send("response.create")
    assert talk.protocol.step(59.0)
    error = one(talk.protocol.step(60.0), ev.ErrorEvent).error
    assert (error.code, error.event_id) == ("session_expired", None)
    assert "60 seconds" in error.message
    assert talk.protocol.closing == (1001, "session expired")
    assert talk.protocol.due is None
    assert talk.protocol.step(61.0) == talk.send("response.create") == []


def test_settings_from_the_start() -> None:
    """Settings of an ephemeral secret hold from the first event on."""
    config = SessionConfig(type="realtime", instructions="Be brief.", tools=[])
    talk = Talk.to(settings=config)
    session = wire(talk.opening[0])["session"]
    assert session["instructions"] == "Be brief."
    assert session["id"].startswith("sess_")
    assert session["audio"]["output"]["voice"] == "marin"
    with pytest.raises(Refused):
        Protocol(settings=SessionConfig(output_modalities=["smell"]))


def test_the_session_opens_with_one_event() -> None:
    """session.created carries the whole default session, and is alone."""
    [event] = Talk().opening
    assert isinstance(event, ev.SessionCreated)
    session = wire(event)["session"]
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert session["id"].startswith("sess_")
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
            "idle_timeout_ms": None,
        },
    }
    assert session["audio"]["output"]["voice"] == "marin"


def test_other_kinds_of_sessions() -> None:
    """A kind of session that isn't there is the programmer's mistake, not the client's."""
    with pytest.raises(ValueError, match="banana"):
        Protocol(session_type="banana")
    with pytest.raises(ValueError, match="banana"):
        Protocol(dialect="banana")


def test_the_same_frames_give_the_same_events() -> None:
    """The protocol has no clock and no chance in it."""

    def run() -> list[bytes]:
        talk = Talk()
        talk.say("Hello")
        return [codec.encode(event) for event in talk.opening + talk.turn()]

    assert run() == run()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


NAMES = "session item item_id audio response type content role input output tools metadata format id"


MORE_NAMES = "audio_end_ms content_index previous_item_id conversation tool_choice voice"


WORDS = "realtime message user input_text none audio/pcm function root a"


fields = st.sampled_from([*NAMES.split(), *MORE_NAMES.split()])


words = st.sampled_from(WORDS.split())


likely = st.recursive(
    words | json_values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)


frames_of_any_kind = st.lists(
    st.tuples(st.sampled_from(sorted(CLIENT_EVENTS)), st.dictionaries(fields, likely, max_size=3))
)


@given(frames_of_any_kind)
@settings(deadline=None, max_examples=30)
def test_nothing_a_client_sends_raises(frames: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever comes, the answers are events that the codec takes back without a complaint."""
    talk = Talk()
    complaints: list[codec.Deviation] = []
    for tag, body in frames:
        for event in talk.protocol.receive(json.dumps({**body, "type": tag})) + talk.protocol.step():
            assert type(codec.decode(codec.encode(event), report=complaints.append)) is type(event)
    assert complaints == []


TEXT = "x" * 100_000
AUDIO = base64.b64encode(tone(3000)).decode()
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}


@pytest.mark.parametrize(
    ("kind", "more", "less"),
    [
        (
            "realtime",
            {"type": "conversation.item.create", "item": {"id": "item_1", **ITEM}},
            {"type": "conversation.item.delete", "item_id": "item_1"},
        ),
        (
            "realtime",
            {"type": "input_audio_buffer.append", "audio": AUDIO},
            {"type": "input_audio_buffer.clear"},
        ),
        (
            "realtime",
            {"type": "session.update", "session": {"type": "realtime", "instructions": TEXT}},
            {"type": "session.update", "session": {"type": "realtime", "instructions": ""}},
        ),
        (
            "realtime",
            {"type": "response.create", "response": {"conversation": "none", "input": [ITEM]}},
            None,
        ),
        (
            "translation",
            {"type": "session.input_audio_buffer.append", "audio": AUDIO},
            {"type": "session.close"},
        ),
    ],
    ids=["item", "audio", "settings", "question", "translation"],
)
def test_what_is_held(kind: str, more: dict[str, Any], less: dict[str, Any] | None) -> None:
    """`held` grows by what a session keeps of its client's events, until it keeps them no longer."""
    protocol = Protocol(session_type=kind)
    protocol.start()
    before = protocol.held
    assert 0 < before < 10_000
    protocol.receive(json.dumps(more))
    assert before + 99_000 < protocol.held < before + 200_000
    protocol.receive(json.dumps(less or {}))
    while protocol.active:
        protocol.step()
    assert before - 1000 < protocol.held < before + 5000
