"""How a rejected event is answered."""

import pytest
from talk import Talk

from realtime_sync import events as ev
from realtime_sync.events import UnknownObject, codec
from realtime_sync.local.protocol.refusal import Refused, described, missing, unknown, unknown_kind


def test_an_error_names_the_unknown_events_id() -> None:
    """The event_id comes back even for an event of an unknown type."""
    assert Talk().error("response.destroy").code == "invalid_value"


def test_the_error_event() -> None:
    """A rejection is an `error` event with code, param and the client's event id; the text names it."""
    event = Refused("invalid_value", "too loud", "session.volume").event("event_mine")
    assert isinstance(event, ev.ErrorEvent)
    error = event.error
    assert (error.type, error.code, error.param) == (
        "invalid_request_error",
        "invalid_value",
        "session.volume",
    )
    assert error.message == "too loud (session.volume)"
    assert error.event_id == "event_mine"
    bare = Refused("conversation_full", "no room").event(None)
    assert isinstance(bare, ev.ErrorEvent)
    assert (bare.error.message, bare.error.param, bare.error.event_id) == ("no room", None, None)


@pytest.mark.parametrize(
    ("refused", "code", "param"),
    [
        (missing("item.type"), "missing_required_parameter", "item.type"),
        (unknown("session.foo"), "unknown_parameter", "session.foo"),
        (unknown_kind(UnknownObject({"type": "hologram"}), "item"), "invalid_value", "item.type"),
    ],
)
def test_the_usual_reasons(refused: Refused, code: str, param: str) -> None:
    """What is missing, unknown or of an unknown kind has its code, and the path to it."""
    assert (refused.code, refused.param) == (code, param)
    assert str(refused)


def test_what_an_exception_says() -> None:
    """The text of any exception can be sent, also with half a surrogate pair in it."""
    text = described(ValueError("a\ud83d"))
    assert text == r"ValueError: a\ud83d"
    codec.encode(Refused("x", text).event(None))
