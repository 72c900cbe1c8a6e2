"""`codec`: frames to events and back; whatever a peer sends, nothing breaks and nothing is lost."""

import base64
import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
import samples
from frames import (
    EVENTS,
    Decode,
    any_json,
    any_sample,
    any_text,
    bounded,
    decoded,
    down,
    each_sample,
    holds,
    places,
    server_event,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from realtime_sync import events
from realtime_sync.events import (
    ClientEvent,
    ServerEvent,
    UnknownEvent,
    UnknownObject,
)
from realtime_sync.events.codec import decode, decode_client, encode

Event = ServerEvent | ClientEvent


# --- What is in a frame -------------------------------------------------------------------------


def lost(original: Any, written: Any, path: str = "frame") -> list[str]:
    """What of a frame is missing or changed in another; the other may add empty values."""
    if isinstance(original, dict) and isinstance(written, dict):
        added = [f"{path}.{key} was added" for key in written if key not in original and written[key]]
        gone = [f"{path}.{key} is gone" for key in original if key not in written]
        both = original.keys() & written.keys()
        return (
            added
            + gone
            + [flaw for key in both for flaw in lost(original[key], written[key], f"{path}.{key}")]
        )
    if isinstance(original, list) and isinstance(written, list) and len(original) == len(written):
        return [flaw for pair in zip(original, written, strict=True) for flaw in lost(*pair, path + "[]")]
    same = original == written and isinstance(original, bool) == isinstance(written, bool)
    return [] if same else [f"{path} was {original!r} and is {written!r}"]


@pytest.mark.parametrize(
    ("original", "written", "flaws"),
    [
        ({"a": [1, {"b": "x"}]}, {"a": [1.0, {"b": "x", "c": None, "d": 0, "e": ""}]}, 0),
        ({"a": None}, {}, 1),
        ({}, {"a": 1}, 1),
        ({"a": [1]}, {"a": []}, 1),
        ({"a": 1}, {"a": True}, 1),
        ({"a": {}}, {"a": None}, 1),
    ],
)
def test_losses_are_seen(original: Any, written: Any, flaws: int) -> None:
    """The helper that looks for losses finds them, so the tests below mean something."""
    assert len(lost(original, written)) == flaws


# --- A known event, as specified ----------------------------------------------------------------


@each_sample
def test_a_frame_as_specified_is_its_struct(way: Decode, text: str) -> None:
    """A frame that follows the specification becomes exactly its struct, with nothing to report."""
    event, found = decoded(way, text)
    assert type(event) is EVENTS[samples.frame(text)["type"]]
    assert found == []
    assert not any(isinstance(place.value, UnknownObject) for place in places(event))


@each_sample
def test_what_came_can_be_written_back(way: Decode, text: str) -> None:
    """Encoding a decoded frame loses nothing of it and adds only empty values."""
    frame = samples.frame(text)
    assert lost(frame, json.loads(encode(way(text)))) == []


@each_sample
def test_an_event_survives_the_wire(way: Decode, text: str) -> None:
    """An encoded event decodes to an equal event."""
    event = way(text)
    assert way(encode(event)) == event


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, bytes.decode])
def test_any_kind_of_buffer_is_accepted(make: Callable[[bytes], Any]) -> None:
    """Bytes, byte arrays, memory views and strings decode alike, well-formed or not."""
    for frame in (samples.SERVER["response.done"].encode(), b'{"type": "news"}', b'{"type": "error"}', b"{"):
        assert decode(make(frame)) == decode(frame)
    assert isinstance(decode_client(make(samples.CLIENT["session.update"].encode())), events.SessionUpdate)


@pytest.mark.parametrize("wrong", [None, 5, 1.5, {}, [], object()], ids=lambda wrong: type(wrong).__name__)
def test_only_frames_are_decoded(wrong: Any) -> None:
    """What is neither bytes nor a string is the caller's mistake."""
    with pytest.raises(TypeError):
        decode(wrong)
    with pytest.raises(TypeError):
        decode_client(wrong)


@each_sample
def test_fields_of_tomorrow_are_ignored(way: Decode, text: str) -> None:
    """A field that the specification adds later changes nothing."""
    frame = samples.frame(text)
    event = way(text)
    for place in places(event):
        place.in_frame(frame)["added_later"] = {"type": "news"}
    assert decoded(way, frame) == (event, [])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("response.done", ("response", "status")),
        ("response incomplete", ("response", "status_details", "reason")),
        ("session.updated", ("session", "audio", "output", "voice")),
        ("session.updated", ("session", "audio", "input", "format", "type")),
        ("session, beta", ("session", "input_audio_format")),
        ("item, function call", ("item", "status")),
        ("item, system message", ("item", "role")),
        ("rate_limits.updated", ("rate_limits", 0, "name")),
        ("error", ("error", "type")),
    ],
)
def test_a_new_word_in_an_enumeration_is_a_string(name: str, keys: tuple[str | int, ...]) -> None:
    """A value that the specification doesn't list is kept, and is no deviation."""
    frame = samples.frame(samples.ALL_SERVER[name])
    down(frame, keys[:-1])[keys[-1]] = "invented"
    assert down(server_event(frame), keys) == "invented"


# --- Fields missing, null, or of another type ---------------------------------------------------


def test_nobody_has_to_listen() -> None:
    """Without `report` the event is the same."""
    assert decode('{"type": "session.closed"}') == events.SessionClosed(event_id="")


SPEECH = samples.SERVER["input_audio_buffer.speech_started"]
SEGMENT = samples.SERVER["conversation.item.input_audio_transcription.segment"]


@pytest.mark.parametrize("digits", [25, 400, 5000])
def test_huge_whole_numbers(digits: int) -> None:
    """A number of absurd length is read exactly, or as zero and reported; the event stays."""
    event, found = decoded(decode, SPEECH.replace("1000", "9" * digits))
    assert isinstance(event, events.InputAudioBufferSpeechStarted)
    assert event.item_id == "msg_003"
    assert event.audio_start_ms == (10**digits - 1 if not found else 0)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
def test_numbers_that_json_has_not(number: str) -> None:
    """What is no finite number reads as zero and is reported; the event stays and can be sent on."""
    event, found = decoded(decode, SEGMENT.replace("0.4", number))
    assert (event.text, event.start, event.end) == ("hello", 0.0, 0.0)
    assert ".end" in [note.path for note in found]
    assert decode(encode(event)) == event


def test_half_an_emoji() -> None:
    """Text cut inside a surrogate pair keeps the rest, reads as a replacement sign, and can be sent on."""
    whole = samples.SERVER["response.output_text.delta"]
    event, found = decoded(decode, whole.replace("Sure, I can h", r"ok \ud83d!"))
    assert event.delta == "ok \N{REPLACEMENT CHARACTER}!"
    assert [note.path for note in found] == [""]
    assert decode(encode(event)) == event


def test_half_an_emoji_anywhere() -> None:
    """Keys, lists and unknown parts are cleaned as well."""
    event, _ = decoded(
        decode,
        r'{"type": "response.output_item.added", "response_id": "r", "output_index": 0, "event_id": "e",'
        r' "item": {"type": "new", "\ud83d": ["\ude00", 1, null]}}',
    )
    assert event.item.data == {
        "type": "new",
        "\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}", 1, None],
    }
    assert decode(encode(event)) == event


NEW = {"type": "brand_new", "n": 1}


# --- Messages that are no known event -----------------------------------------------------------


@pytest.mark.parametrize("way", [decode, decode_client])
def test_an_event_of_a_new_type(way: Decode) -> None:
    """A type that is not in the vocabulary is an `UnknownEvent` with everything it brought."""
    frame = b'{"type": "response.video.delta", "event_id": "e1", "delta": "AAA=", "n": [1, null]}'
    event, found = decoded(way, frame)
    assert event == UnknownEvent("response.video.delta", frame, event_id="e1")
    assert event.data == json.loads(frame)
    assert event.problem is None
    assert found == []


def test_the_directions_are_apart() -> None:
    """A client's event is unknown when a server sends it, and the other way round."""
    assert isinstance(decode(samples.CLIENT["response.create"]), UnknownEvent)
    assert isinstance(decode_client(samples.SERVER["response.done"]), UnknownEvent)


def test_an_event_id_of_another_type_is_left_in_the_data() -> None:
    """The `event_id` of an unknown event is a string in any case."""
    event = decode('{"type": "news", "event_id": 5}')
    assert (event.event_id, event.type) == ("", "news")


@pytest.mark.parametrize("frame", ['{"type":"ping"}', '{"type":"ping","event_id":"p","timestamp":1.5}'])
def test_application_pings_are_unknown_events(frame: str) -> None:
    """`ping` messages of some servers are delivered like any other unknown event."""
    event = server_event(frame)
    assert (type(event), event.type, event.problem) == (UnknownEvent, "ping", None)


DEEP = "[" * 200_000


@pytest.mark.parametrize("way", [decode, decode_client])
@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b'{"event_id": "e"}', "no type"),
        (b'{"type": 5}', "no type"),
        (b'{"type": null}', "no type"),
        (b'{"type": ""}', "no type"),
        (b'{"type": ["error"]}', "no type"),
        (b'[{"type": "error"}]', "not a JSON object"),
        (b'"error"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"NaN", "not a JSON object"),
        (b"1e999", "not a JSON object"),
        (b"9" * 5000, "not a JSON object"),
        (rb'"\ud83d"', "not a JSON object"),
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"type": "error"', "not JSON"),
        (b'{"type": "error"} x', "not JSON"),
        (b"{'type': 'error'}", "not JSON"),
        (b"\x00\x01\x02", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff\xfe\x00", "invalid UTF-8"),
        (b'{"type": "\xe9"}', "invalid UTF-8"),
        (b'{"type": "error", "event_id": "\xed\xa0\xbd"}', "invalid UTF-8"),
        ('{"type": "error"}'.encode("utf-16"), "invalid UTF-8"),
        (DEEP.encode(), "JSON nested too deeply"),
        (('{"type": "error", "error": ' + DEEP).encode(), "JSON nested too deeply"),
        (('{"type": "error", "later": ' + '{"a":' * 200_000).encode(), "JSON nested too deeply"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else value[:20].decode("latin-1").encode("unicode_escape").decode()
    ),
)
def test_what_is_no_event_is_kept(way: Decode, frame: bytes, problem: str) -> None:
    """A message that is no event is an `UnknownEvent` that says why and holds every byte."""
    event, found = decoded(way, frame)
    assert type(event) is UnknownEvent
    assert (event.type, event.frame) == ("", frame)
    assert event.problem is not None
    assert event.problem.startswith(problem)
    assert found == []


def test_half_a_surrogate_pair_in_a_string_is_invalid() -> None:
    """A Python string that UTF-8 can't carry is no frame, and doesn't raise."""
    event = decode('{"type": "error", "event_id": "\ud83d"}')
    assert isinstance(event, UnknownEvent)
    assert event.problem == "invalid UTF-8"


# --- Audio --------------------------------------------------------------------------------------


SOUND = bytes(range(256))
AUDIO = samples.SERVER["response.output_audio.delta"]


def test_audio_is_bytes_both_ways() -> None:
    """Users see raw audio where the wire has base64."""
    text = base64.b64encode(SOUND).decode()
    event = server_event(AUDIO.replace("AAECAwQFBgc=", text))
    assert event.delta == SOUND
    assert json.loads(encode(event))["delta"] == text
    append = events.InputAudioBufferAppend(audio=SOUND)
    assert json.loads(encode(append)) == {"type": "input_audio_buffer.append", "audio": text}
    assert decode_client(encode(append)) == append


# --- Out ----------------------------------------------------------------------------------------


def test_absent_and_null_differ_in_settings() -> None:
    """`session.update` leaves out what is not given and writes `null` for what is cleared."""
    session = events.SessionConfig(type="realtime", tracing=None)
    update = events.SessionUpdate(session=session)
    assert json.loads(encode(update)) == {
        "type": "session.update",
        "session": {"type": "realtime", "tracing": None},
    }
    again = decode_client(encode(update))
    assert isinstance(again, events.SessionUpdate)
    assert again.session.tracing is None
    assert again.session.tools is UNSET


def test_an_unknown_event_is_written_as_it_came() -> None:
    """Relaying an unknown message changes no byte of it."""
    for frame in (b'{"type":  "news"}', b"\xff", b""):
        assert encode(decode(frame)) == frame


def test_a_dict_is_written_as_json() -> None:
    """A plain dict goes out as it is, with bytes as base64 and typed parts in it."""
    event = {"type": "x.y", "audio": b"\x00\x01", "view": memoryview(b"\xff"), "ö": [None, True, 1.5]}
    assert json.loads(encode(event)) == {
        "type": "x.y", "audio": "AAE=", "view": "/w==", "ö": [None, True, 1.5],
    }  # fmt: skip
    part = {"type": "x", "part": events.InputText(text="hi"), "new": UnknownObject(NEW)}
    assert json.loads(encode(part)) == {"type": "x", "part": {"type": "input_text", "text": "hi"}, "new": NEW}


def test_an_unknown_part_can_be_sent() -> None:
    """A part that this version has no struct for is sent as an `UnknownObject`."""
    create = events.ConversationItemCreate(item=UnknownObject({"type": "video", "data": b"\x00"}))
    assert json.loads(encode(create))["item"] == {"type": "video", "data": "AA=="}


def test_any_mapping_is_encoded() -> None:
    """Not only a dict: what reads like one is sent as one."""
    assert encode(MappingProxyType({"type": "x"})) == b'{"type":"x"}'


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "{}", b"{}", [], {}, {"type": 5}, {"type": None}, {"event": "x"},
     events.InputText(text="x"), UnknownObject({"type": "x"}), MappingProxyType({"event": "x"})],
    ids=lambda wrong: f"{type(wrong).__name__}",
)  # fmt: skip
def test_only_events_are_encoded(wrong: Any) -> None:
    """What is neither an event nor a dict with a type is the caller's mistake."""
    with pytest.raises(TypeError, match="not an event"):
        encode(wrong)


def test_a_mistake_does_not_show_what_was_sent() -> None:
    """The message of the error holds no content, which may be secret."""
    with pytest.raises(TypeError) as caught:
        encode({"authorization": "secret"})
    assert "secret" not in str(caught.value)


def test_what_json_cannot_hold_is_refused() -> None:
    """A value that has no JSON is a `TypeError` that names its class."""
    with pytest.raises(TypeError, match="object"):
        encode({"type": "x", "value": object()})
    with pytest.raises(TypeError, match="complex"):
        encode(events.ConversationItemCreate(item=UnknownObject({"type": "x", "value": 1j})))


def test_half_a_surrogate_pair_is_refused() -> None:
    """Text that UTF-8 can't carry is a `ValueError` before anything is sent."""
    with pytest.raises(ValueError, match="surrogate"):
        encode({"type": "x", "text": "\ud83d"})


# --- Anything at all ----------------------------------------------------------------------------


@given(st.sampled_from([decode, decode_client]), any_json)
@bounded
def test_any_json_is_an_event(way: Decode, value: Any) -> None:
    """Whatever JSON comes, there is an event for it."""
    holds(way, json.dumps(value))


@given(st.sampled_from([decode, decode_client]), st.binary(max_size=200))
@bounded
def test_any_bytes_are_an_event(way: Decode, data: bytes) -> None:
    """Whatever bytes come, there is an event for them."""
    holds(way, data)


@given(st.sampled_from([decode, decode_client]), any_text)
@bounded
def test_any_text_is_an_event(way: Decode, text: str) -> None:
    """Whatever text comes, there is an event for it."""
    holds(way, text)


@given(any_sample, st.data())
@bounded
def test_a_frame_cut_anywhere(sample: tuple[Decode, str], data: st.DataObject) -> None:
    """A frame that broke off is an event that says so."""
    way, text = sample
    whole = text.strip()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert isinstance(way(cut), UnknownEvent)
    holds(way, cut)


@given(any_sample, st.data())
@bounded
def test_a_frame_with_wrong_bytes(sample: tuple[Decode, str], data: st.DataObject) -> None:
    """Flip or insert any bytes of a frame: there is an event for it."""
    way, text = sample
    frame = bytearray(text.strip().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame) - 1))
        if data.draw(st.booleans()):
            frame[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            frame[place:place] = data.draw(st.binary(min_size=1, max_size=4))
    holds(way, bytes(frame))
