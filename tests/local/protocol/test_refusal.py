"""How a rejected event is answered."""

from talk import Talk


def test_an_error_names_the_unknown_events_id() -> None:
    """The event_id comes back even for an event that nobody knows."""
    assert Talk().error("response.destroy").code == "invalid_value"
