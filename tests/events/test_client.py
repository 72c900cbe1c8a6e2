"""`client`: every event a client sends."""

import pytest
import samples
from tags import CLIENT_TAGS

from realtime_sync import events
from realtime_sync.events.codec import decode_client


def test_all_client_events_are_there() -> None:
    """The vocabulary has exactly the client events that `tags` lists, and each has a sample."""
    assert sorted(events.CLIENT_EVENTS) == sorted(CLIENT_TAGS) == sorted(samples.CLIENT)


@pytest.mark.parametrize("tag", CLIENT_TAGS)
def test_a_client_event_knows_its_type(tag: str) -> None:
    """`event.type` is the tag on the way out too."""
    assert decode_client(samples.CLIENT[tag]).type == tag
