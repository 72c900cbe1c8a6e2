"""A session's settings: what it starts with, and what an update makes of them."""

from talk import WEATHER, Talk


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
