"""`server`: every event a server sends."""

import pytest
import samples
from tags import BETA_NAMES, SERVER_TAGS

from realtime_sync import events
from realtime_sync.events import server
from realtime_sync.events.codec import decode


def test_all_server_events_are_there() -> None:
    """The vocabulary has exactly the server events that `tags` lists, and each has a sample."""
    assert sorted(events.SERVER_EVENTS) == sorted(SERVER_TAGS) == sorted(samples.SERVER)


# --- The name rule ------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", SERVER_TAGS)
def test_the_tag_names_the_handler(tag: str) -> None:
    """`a.b_c` on the wire is handled by `visit_a_b_c`; a Beta event by its GA event's handler."""
    ga_tag = BETA_NAMES.get(tag, tag)
    assert events.SERVER_EVENTS[tag].handler == "visit_" + ga_tag.replace(".", "_")
    assert server.handler_name(tag) == "visit_" + tag.replace(".", "_")


def test_an_unknown_event_has_its_own_handler() -> None:
    """What no struct describes goes to `unknown`."""
    assert events.UnknownEvent.handler == "unknown"


@pytest.mark.parametrize(("beta", "ga"), BETA_NAMES.items())
def test_a_beta_event_is_its_ga_event_under_an_older_tag(beta: str, ga: str) -> None:
    """A Beta struct is a subclass of the GA struct with the same fields, so `isinstance` serves both."""
    old, new = events.SERVER_EVENTS[beta], events.SERVER_EVENTS[ga]
    assert issubclass(old, new)
    assert old.__struct_fields__ == new.__struct_fields__
    assert old.handler == new.handler


@pytest.mark.parametrize("tag", SERVER_TAGS)
def test_a_server_event_knows_its_type(tag: str) -> None:
    """`event.type` is the tag, so logs and tables need no class names."""
    assert decode(samples.SERVER[tag]).type == tag


# --- What users see -----------------------------------------------------------------------------


def test_a_phone_key_has_no_event_id() -> None:
    """`input_audio_buffer.dtmf_event_received` has no id by specification, and reads as `""`."""
    event = decode(samples.SERVER["input_audio_buffer.dtmf_event_received"])
    assert isinstance(event, events.InputAudioBufferDtmfEventReceived)
    assert (event.event_id, event.event) == ("", "9")


class Recorder:
    """The smallest visitor."""

    def visit(self, event: events.ServerEvent) -> str:
        return "saw " + event.type


def test_accept_calls_the_visitor() -> None:
    """`event.accept(visitor)` returns what the visitor makes of the event."""
    assert decode(samples.SERVER["response.done"]).accept(Recorder()) == "saw response.done"
    assert decode('{"type": "news"}').accept(Recorder()) == "saw news"


# --- Messages of a new kind ---------------------------------------------------------------------


def test_an_unknown_event_parses_its_frame() -> None:
    """`data` is the JSON of the frame."""
    event = events.UnknownEvent("news", b'{"type": "news", "n": [1, null]}')
    assert event.data == {"type": "news", "n": [1, None]}
    assert event.problem is None


@pytest.mark.parametrize("frame", [b"", b"\xff", b"{", b"[" * 100_000])
def test_the_data_of_no_json_is_none(frame: bytes) -> None:
    """`data` never raises: where the frame is not JSON, it is `None`."""
    assert events.UnknownEvent("", frame).data is None


def test_the_data_of_sloppy_json_is_kept() -> None:
    """`data` is there although a number is infinite or an emoji was cut in half."""
    event = events.UnknownEvent("news", rb'{"type": "news", "n": Infinity, "s": "\ud83d"}')
    assert event.data == {"type": "news", "n": float("inf"), "s": "\ud83d"}
