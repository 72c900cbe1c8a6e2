"""Which settings are rejected."""

from typing import Any

import pytest
from talk import WEATHER, Talk


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": None}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"model": "other"}, "cannot_update_model", "session.model"),
        ({"foo": 1}, "unknown_parameter", "session.foo"),
        ({"voice": "cedar"}, "unknown_parameter", "session.voice"),
        ({"id": "sess_mine"}, "unknown_parameter", "session.id"),
        ({"audio": {"input": {"bar": 1}}}, "unknown_parameter", "session.audio.input.bar"),
        ({"tools": [WEATHER, {**WEATHER, "x": 1}]}, "unknown_parameter", "session.tools[1].x"),
        ({"tools": [{"type": "banana"}]}, "invalid_value", "session.tools[0].type"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[].name"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
        ({"audio": "loud"}, "invalid_type", "session.audio"),
        ({"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
        ({"tool_choice": {"type": "x"}}, "invalid_value", "session.tool_choice.type"),
        ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
        (
            {"audio": {"input": {"format": {"type": "pcm16"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        ({"audio": {"output": {"speed": 2}}}, "invalid_value", "session.audio.output.speed"),
        (
            {"audio": {"input": {"turn_detection": {"type": "psychic_vad"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
    ],
)
def test_updates_that_are_refused(session: dict[str, Any], code: str, param: str) -> None:
    """A wrong update names the field, and changes nothing."""
    talk = Talk.to(model="gpt-realtime")
    before = talk.update()
    if session and "type" not in session:
        session = {"type": "realtime", "instructions": "changed", **session}
    error = talk.error("session.update", session=session)
    assert (error.code, error.param) == (code, param)
    assert talk.update() == before


def test_a_model_is_named_once() -> None:
    """A client that opened the session without a model may name one, which then is the session's."""
    talk = Talk.to()
    assert talk.update()["model"] == "gpt-realtime"
    assert talk.error("session.update", session={"type": "realtime", "model": "m", "foo": 1}).param
    assert talk.update(model="mine")["model"] == "mine"
    assert talk.update(model="mine", instructions="x")["model"] == "mine"
    error = talk.error("session.update", session={"type": "realtime", "model": "other"})
    assert error.message.startswith("the model of a session can't be changed: expected 'mine', got 'other'")
