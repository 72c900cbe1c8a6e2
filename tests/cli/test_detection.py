"""Whether a server finds the ends of turns by itself."""

import json

import pytest

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.cli.detection import detects_turns


@pytest.mark.parametrize(
    ("settings", "detects"),
    [
        ({}, None),
        ({"audio": {}}, None),
        ({"audio": {"input": {}}}, None),
        ({"audio": {"input": {"turn_detection": None}}}, False),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, True),
        ({"turn_detection": None}, False),
        ({"turn_detection": {"type": "server_vad"}}, True),
        ({"turn_detection": None, "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}, True),
    ],
)
def test_what_a_server_says(settings: dict[str, object], detects: bool | None) -> None:
    """Null is a no, settings are a yes, in either dialect; where neither is there, it isn't known."""
    session = {"type": "realtime", **settings}
    event = rt.decode(json.dumps({"type": "session.updated", "event_id": "e", "session": session}))
    assert isinstance(event, ev.SessionUpdated)
    assert detects_turns(event.session) is detects
    assert detects_turns(None) is None
