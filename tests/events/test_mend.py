"""`mend`: what of a frame that deviates is kept, and what its other fields read as."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
import samples
from frames import (
    EVENTS,
    FIELDS,
    Decode,
    Place,
    any_json,
    any_sample,
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
from msgspec import Struct

from realtime_sync import events
from realtime_sync.events import UnknownObject
from realtime_sync.events.codec import decode, decode_client, encode
from realtime_sync.events.mend import mend

# --- What is in a frame -------------------------------------------------------------------------


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


def zero(place: Place, sent: Any) -> Any:
    """What a field reads as when ``sent`` stood in its place and didn't fit."""
    field, value = place.field, place.value
    if field.name in ("arguments", "output") and isinstance(value, str) and sent is not None:
        return json.dumps(sent)  # as the text that was due
    if not field.required:
        made = field.default_factory is not msgspec.NODEFAULT
        return field.default_factory() if made else field.default
    if not isinstance(value, Struct):
        return type(value)()
    if value.__struct_config__.tag is not None:
        return UnknownObject({} if sent is None else sent)
    empty = {inner.name: "" for inner in msgspec.structs.fields(value) if inner.required}
    return type(value)(**empty)


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


CALLS_AND_OUTPUTS = [
    ("arguments", {"type": "function_call", "name": "f"}),
    ("arguments", {"type": "mcp_call", "server_label": "s", "name": "f"}),
    ("arguments", {"type": "mcp_approval_request", "server_label": "s", "name": "f"}),
    ("output", {"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}"}),
    ("output", {"type": "function_call_output", "call_id": "c"}),
]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('{"a": {"b": [1]}}', '{"a":{"b":[1]}}'),
        ("{}", "{}"),
        ("[1, NaN]", "[1,null]"),
        ("[]", "[]"),
        ("9" * 30, "9" * 30),
        ("1.5", "1.5"),
        ("false", "false"),
    ],
)
def test_json_that_was_to_be_text(sent: str, read: str) -> None:
    """Arguments and outputs that come as JSON, not as its text, read as their text, and are reported."""
    for name, part in CALLS_AND_OUTPUTS:
        item = {**part, name: "HERE"}
        frame = {"type": "conversation.item.added", "event_id": "e", "item": item}
        event, found = decoded(decode, json.dumps(frame).replace('"HERE"', sent))
        assert getattr(event.item, name) == read
        assert [note.path for note in found if note.path] == [f".item.{name}"]
    for tag in ("response.function_call_arguments.done", "response.mcp_call_arguments.done"):
        event, found = decoded(decode, samples.frame(samples.SERVER[tag]) | {"arguments": {"a": 1}})
        assert event.arguments == '{"a":1}'
        assert [note.path for note in found] == [".arguments"]


def test_arguments_that_are_null() -> None:
    """Null is no text: arguments read as empty, and the output of a call that runs as absent."""
    for name, part in CALLS_AND_OUTPUTS:
        event, _ = decoded(decode, {"type": "conversation.item.added", "item": {**part, name: None}})
        assert getattr(event.item, name) == (None if name == "output" and part["type"] == "mcp_call" else "")


def test_arguments_that_can_not_be_written() -> None:
    """Arguments nested too deeply to be written again are no JSON, so no function runs without them."""
    nested: Any = None
    for _ in range(100_000):
        nested = [nested]
    frame = {
        "type": "conversation.item.added",
        "event_id": "e",
        "item": {"type": "function_call", "name": "f"},
    }
    frame["item"]["arguments"] = nested  # type: ignore[index]
    found: list[str] = []
    event = mend(events.ConversationItemAdded, frame, lambda path, problem: found.append(path))
    assert isinstance(event.item, events.FunctionCall)
    assert event.item.arguments
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(event.item.arguments)


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


def test_a_number_beyond_all_floats_is_zero() -> None:
    """A whole number that no float can hold reads as zero where a float belongs."""
    frame = SEGMENT.replace("0.4", "9" * 400).replace('"hello"', "null")  # off the fast path
    event, found = decoded(decode, frame)
    assert event.end == 0.0
    assert [note.path for note in found] == [".text", ".end"]


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


# --- Audio --------------------------------------------------------------------------------------


AUDIO = samples.SERVER["response.output_audio.delta"]


@pytest.mark.parametrize(
    "spelling", [r"AA\nEC\nAw\n==", r"AAEC\r\nAw==", "AAECAw", " AAECAw== ", r"AAECAw==\n", r"AAECA\u0077"]
)
def test_loose_base64_is_accepted(spelling: str) -> None:
    """Base64 with line breaks, without padding, or with escapes is still the audio."""
    assert server_event(AUDIO.replace("AAECAwQFBgc=", spelling)).delta == bytes([0, 1, 2, 3])


@pytest.mark.parametrize("spelling", ["?", "A", "AAA=A", "=", "é", r"\u0000", "AAE-"])
def test_what_is_not_base64_is_no_audio(spelling: str) -> None:
    """A delta that is not base64 reads as no audio, and is reported."""
    event, found = decoded(decode, AUDIO.replace("AAECAwQFBgc=", spelling))
    assert event.delta == b""
    assert [note.path for note in found] == [".delta"]


# --- Anything at all ----------------------------------------------------------------------------


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


def nodes(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to all values inside a JSON value."""
    if isinstance(value, list | dict):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield (*keys, key)
            yield from nodes(item, (*keys, key))


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
