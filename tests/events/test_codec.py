"""Frames to events and back: whatever a peer sends, nothing breaks and nothing is lost."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from realtime_sync import events
from realtime_sync.events import (
    ClientEvent,
    ServerEvent,
    UnknownEvent,
    UnknownObject,
)
from realtime_sync.events.codec import Deviation, decode, decode_client, encode

Event = ServerEvent | ClientEvent
Decode = Callable[..., Any]

SAMPLES: list[Any] = [
    pytest.param(way, text, id=f"{side} {name}")
    for side, way, table in (
        ("server", decode, samples.ALL_SERVER),
        ("client", decode_client, samples.ALL_CLIENT),
    )
    for name, text in table.items()
]
each_sample = pytest.mark.parametrize(("way", "text"), SAMPLES)

EVENTS: dict[str, type[Any]] = {**events.SERVER_EVENTS, **events.CLIENT_EVENTS}


def decoded(way: Decode, frame: Any) -> tuple[Any, list[Deviation]]:
    """The event that a frame (as objects, or as text) becomes, and what was reported."""
    found: list[Deviation] = []
    data = frame if isinstance(frame, str | bytes) else json.dumps(frame)
    return way(data, report=found.append), found


def server_event(frame: Any) -> Any:
    """The event of a server's frame that has nothing to report."""
    event, found = decoded(decode, frame)
    assert found == []
    return event


# --- What is in a frame -------------------------------------------------------------------------


@dataclass
class Place:
    """A field of a struct inside an event, with its way down the frame."""

    owner: Any
    field: msgspec.structs.FieldInfo
    keys: list[str | int]
    path: str

    @property
    def value(self) -> Any:
        return getattr(self.owner, self.field.name)

    def in_frame(self, frame: Any) -> Any:
        """The JSON object that holds this field."""
        for key in self.keys[:-1]:
            frame = frame[key]
        return frame


def places(value: Any, keys: list[str | int] | None = None, path: str = "") -> Iterator[Place]:
    """Every field of every struct in an event, outermost first."""
    keys = keys or []
    if isinstance(value, Struct):
        for field in msgspec.structs.fields(value):
            place = Place(value, field, [*keys, field.encode_name], f"{path}.{field.name}")
            yield place
            yield from places(place.value, place.keys, place.path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, [*keys, index], path + "[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, [*keys, key], path + "{}")


def tagged_parts(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where an event holds items, content parts, tools and other things that have a kind."""
    if isinstance(value, Struct):
        if keys and value.__struct_config__.tag is not None:
            yield keys
        for field in msgspec.structs.fields(value):
            yield from tagged_parts(getattr(value, field.name), (*keys, field.encode_name))
    elif isinstance(value, list | dict):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield from tagged_parts(item, (*keys, key))


def down(value: Any, keys: tuple[str | int, ...]) -> Any:
    """What stands at a place, in a frame or in an event."""
    for key in keys:
        inside = isinstance(value, list | dict)
        value = value[key] if inside else getattr(value, str(key))
    return value


def zero(place: Place, sent: Any) -> Any:
    """What a field reads as when ``sent`` stood in its place and didn't fit."""
    field, value = place.field, place.value
    if not field.required:
        made = field.default_factory is not msgspec.NODEFAULT
        return field.default_factory() if made else field.default
    if not isinstance(value, Struct):
        return type(value)()
    if value.__struct_config__.tag is not None:
        return UnknownObject({} if sent is None else sent)
    empty = {inner.name: "" for inner in msgspec.structs.fields(value) if inner.required}
    return type(value)(**empty)


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


def broken(place: Place, frame: Any, how: str) -> Any:
    """Break one field of a frame; gives what now stands there."""
    holder, key = place.in_frame(frame), place.field.encode_name
    if how == "missing":
        del holder[key]
        return None
    holder[key] = None if how == "null" else 7 if isinstance(holder[key], list | dict) else []
    return holder[key]


def check_broken(way: Decode, text: str, index: int, how: str) -> None:
    """One broken field reads as zero and is reported; all others are as they were."""
    expected = way(text)
    place = [*places(expected)][index]
    frame = samples.frame(text)
    sent = broken(place, frame, how)
    setattr(place.owner, place.field.name, zero(place, sent))

    event, found = decoded(way, frame)

    assert event == expected
    assert [(note.event, note.path) for note in found] == [(frame["type"], place.path)]
    assert found[0].frame == json.dumps(frame).encode()
    assert (found[0].problem == "missing") == (how == "missing")


@each_sample
@pytest.mark.parametrize("how", ["missing", "null", "of another type"])
def test_a_required_field_can_be_broken(way: Decode, text: str, how: str) -> None:
    """Whichever required field is broken: the right struct, the others kept, that one at zero, reported."""
    for index, place in enumerate(places(way(text))):
        if place.field.required:
            check_broken(way, text, index, how)


@each_sample
def test_an_optional_field_can_be_of_another_type(way: Decode, text: str) -> None:
    """Whichever optional field is of another type: it reads as absent, and is reported."""
    frame = samples.frame(text)
    for index, place in enumerate(places(way(text))):
        sent = place.field.encode_name in place.in_frame(frame)
        if not place.field.required and sent and place.value is not None:
            check_broken(way, text, index, "of another type")


@pytest.mark.parametrize("tag", EVENTS)
def test_the_tag_alone_is_enough(tag: str) -> None:
    """An event of which only the type is left is still its struct, with everything at zero."""
    way: Decode = decode if tag in events.SERVER_EVENTS else decode_client
    event, found = decoded(way, {"type": tag})
    required = [field.name for field in msgspec.structs.fields(EVENTS[tag]) if field.required]
    assert type(event) is EVENTS[tag]
    assert [(note.path, note.problem) for note in found] == [(f".{name}", "missing") for name in required]
    assert way(encode(event)) == event


def test_every_deviation_is_reported() -> None:
    """Several broken fields make several reports, each with its own path."""
    frame = samples.frame(samples.SERVER["conversation.item.added"])
    frame["event_id"] = 5
    del frame["item"]["role"]
    frame["item"]["content"] = [{"type": "input_text", "text": None}, {"type": "input_text", "text": "b"}]
    event, found = decoded(decode, frame)
    assert {note.path: note.problem for note in found} == {
        ".event_id": "expected str, got number",
        ".item.role": "missing",
        ".item.content[].text": "expected str, got null",
    }
    assert event.item.content == [events.InputText(text=""), events.InputText(text="b")]


def test_nobody_has_to_listen() -> None:
    """Without `report` the event is the same."""
    assert decode('{"type": "session.closed"}') == events.SessionClosed(event_id="")


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("error", ("error",), "no credit"),
        ("conversation.item.input_audio_transcription.failed", ("error",), "no credit"),
        ("response failed", ("response", "status_details", "error"), "no credit"),
    ],
)
def test_an_error_that_is_just_text(name: str, keys: tuple[str, ...], value: str) -> None:
    """Where a server says what went wrong in a plain string, it is the error's `message`."""
    frame = samples.frame(samples.ALL_SERVER[name])
    down(frame, keys[:-1])[keys[-1]] = value
    event, found = decoded(decode, frame)
    assert down(event, keys).message == "no credit"
    assert [note.path for note in found] == ["." + ".".join(keys)]


def test_one_bad_element_does_not_spoil_a_list() -> None:
    """Elements that fit are kept in their place; one that doesn't is zero or unknown."""
    event, found = decoded(
        decode,
        {
            "type": "session.updated",
            "event_id": "e",
            "session": {"include": ["a", 5], "tools": [None, 5, {}]},
        },
    )
    assert event.session.include == ["a", ""]
    assert event.session.tools == [UnknownObject({}), UnknownObject(5), UnknownObject({})]
    assert [note.path for note in found] == [".session.include[]", *[".session.tools[]"] * 3]


def test_one_bad_value_does_not_spoil_a_map() -> None:
    """Metadata whose values are of another type keeps its keys and the fitting values."""
    frame = {"type": "response.done", "event_id": "e", "response": {"metadata": {"a": "x", "b": 1}}}
    event, found = decoded(decode, frame)
    assert event.response.metadata == {"a": "x", "b": ""}
    assert [note.path for note in found] == [".response.metadata{}"]


SPEECH = samples.SERVER["input_audio_buffer.speech_started"]
SEGMENT = samples.SERVER["conversation.item.input_audio_transcription.segment"]


@pytest.mark.parametrize(
    ("sent", "read", "reports"),
    [("1000.0", 1000, 0), ("1e3", 1000, 0), ("1000.5", 1000, 1), ("true", 0, 1), ('"1000"', 0, 1)],
)
def test_whole_numbers(sent: str, read: int, reports: int) -> None:
    """A number with a fraction of zero is a whole one; a fraction is cut off and reported."""
    event, found = decoded(decode, SPEECH.replace("1000", sent))
    assert event.audio_start_ms == read
    assert type(event.audio_start_ms) is int
    assert len(found) == reports


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


def test_a_number_beyond_all_floats_is_zero() -> None:
    """A whole number that no float can hold reads as zero where a float belongs."""
    frame = SEGMENT.replace("0.4", "9" * 400).replace('"hello"', "null")  # off the fast path
    event, found = decoded(decode, frame)
    assert event.end == 0.0
    assert [note.path for note in found] == [".text", ".end"]


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


# --- Parts of a new kind ------------------------------------------------------------------------


@each_sample
def test_any_part_can_be_of_a_new_kind(way: Decode, text: str) -> None:
    """An item, content part, tool ... of a new type is an `UnknownObject`, and is written back whole."""
    for keys in tagged_parts(way(text)):
        frame = samples.frame(text)
        part = {**down(frame, keys), "type": "brand_new", "more": [1, None, {"type": "x"}]}
        down(frame, keys[:-1])[keys[-1]] = part
        event, found = decoded(way, frame)
        assert down(event, keys) == UnknownObject(part)
        assert down(event, keys).type == "brand_new"
        assert type(event) is EVENTS[frame["type"]]
        assert found == []
        assert down(json.loads(encode(event)), keys) == part
        assert way(encode(event)) == event


NEW = {"type": "brand_new", "n": 1}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("conversation.item.added", ("item",)),
        ("conversation.item.added", ("item", "content", 0)),
        ("response.output_item.done", ("item",)),
        ("response.done", ("response", "output", 0)),
        ("response.content_part.done", ("part",)),
        ("session.updated", ("session", "tools", 0)),
        ("session.updated", ("session", "tool_choice")),
        ("session.updated", ("session", "truncation")),
        ("session.updated", ("session", "audio", "input", "turn_detection")),
        ("session.updated", ("session", "prompt", "variables", "city")),
        ("session, beta", ("session", "turn_detection")),
        ("item, MCP call, tool error", ("item", "error")),
        ("transcription, billed by time", ("usage",)),
    ],
)
def test_parts_that_grow(name: str, keys: tuple[str | int, ...]) -> None:
    """The places where OpenAI has added kinds before take the next one, typed neighbours untouched."""
    frame = samples.frame(samples.ALL_SERVER[name])
    down(frame, keys[:-1])[keys[-1]] = NEW
    event = server_event(frame)
    assert down(event, keys) == UnknownObject(NEW)
    assert down(json.loads(encode(event)), keys) == NEW


def test_neighbours_of_a_new_part_stay_typed() -> None:
    """One unknown content part leaves the others what they are."""
    frame = samples.frame(samples.SERVER["conversation.item.done"])
    frame["item"]["content"].insert(1, NEW)
    kinds = [type(part) for part in server_event(frame).item.content]
    assert kinds == [events.OutputAudio, UnknownObject, events.OutputText]


def test_a_part_without_a_type_is_kept() -> None:
    """An object that doesn't say what it is stays readable, and is reported."""
    event, found = decoded(
        decode, {"type": "session.updated", "event_id": "e", "session": {"tools": [{"name": "f"}]}}
    )
    assert event.session.tools == [UnknownObject({"name": "f"})]
    assert [note.path for note in found] == [".session.tools[]"]


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


@pytest.mark.parametrize(
    "spelling", [r"AA\nEC\nAw\n==", r"AAEC\r\nAw==", "AAECAw", " AAECAw== ", r"AAECAw==\n", r"AAECA\u0077"]
)
def test_loose_base64_is_accepted(spelling: str) -> None:
    """Base64 with line breaks, without padding, or with escapes is still the audio."""
    assert server_event(AUDIO.replace("AAECAwQFBgc=", spelling)).delta == bytes([0, 1, 2, 3])


@pytest.mark.parametrize("spelling", ["?", "A", "AAA=A", "=", "é", r"\u0000", "AAE-"])
def test_what_is_not_base64_is_no_audio(spelling: str) -> None:
    """A delta that is not base64 reads as no sound, and is reported."""
    event, found = decoded(decode, AUDIO.replace("AAECAwQFBgc=", spelling))
    assert event.delta == b""
    assert [note.path for note in found] == [".delta"]


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

bounded = settings(max_examples=200, deadline=None)

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
FIELDS = st.sampled_from(
    ["type", "event_id", "error", "session", "item", "response", "message", "id", "part"]
)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.sampled_from(["type", "error", "message", "audio", "AAA=", "inf"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text | FIELDS, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "message",
        "function_call",
        "mcp_call",
        "output_audio",
        "text",
        "server_vad",
        "mcp",
        "tokens",
        "http_error",
    ]
)
any_sample = st.sampled_from([param.values for param in SAMPLES])


def holds(way: Decode, data: bytes | str) -> None:
    """What must be true of any frame: it is an event, and a known event can be sent on and read again."""
    event = way(data)
    assert isinstance(event, ServerEvent if way is decode else ClientEvent | UnknownEvent)
    assert isinstance(event.type, str)
    again = way(encode(event))
    if isinstance(event, UnknownEvent):
        assert event.frame == (data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
        assert (again.type, again.frame) == (event.type, event.frame)
        assert bool(event.type) == (event.problem is None)
        assert not event.type or event.data is not None
    else:
        assert again == event


def nodes(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to all values inside a JSON value."""
    if isinstance(value, list | dict):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield (*keys, key)
            yield from nodes(item, (*keys, key))


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


@given(st.sampled_from(list(EVENTS)), st.dictionaries(FIELDS, any_json, max_size=5))
@bounded
def test_any_body_of_a_known_event(tag: str, body: Mapping[str, Any]) -> None:
    """Whatever a known event holds, it is its struct."""
    way: Decode = decode if tag in events.SERVER_EVENTS else decode_client
    frame = json.dumps({**body, "type": tag})
    assert type(way(frame)) is EVENTS[tag]
    holds(way, frame)


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
def test_a_frame_with_anything_in_any_place(sample: tuple[Decode, str], data: st.DataObject) -> None:
    """Replace or delete any values of a frame: it is still its struct while its type is left."""
    way, text = sample
    frame = samples.frame(text)
    tag = frame["type"]
    for _ in range(data.draw(st.integers(1, 3))):
        ways = [keys for keys in nodes(frame) if keys != ("type",)]
        if ways:
            replace(frame, data.draw(st.sampled_from(ways)), data)
    assert type(way(json.dumps(frame))) is EVENTS[tag]
    holds(way, json.dumps(frame))


def replace(frame: Any, keys: tuple[str | int, ...], data: st.DataObject) -> None:
    """Put something else in a place of a frame, or nothing."""
    holder = down(frame, keys[:-1])
    if data.draw(st.integers(0, 3)) == 0:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = data.draw(any_json | KINDS)


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
