"""Every sample frame, the places in it, and frames made at random."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import samples
from hypothesis import settings
from hypothesis import strategies as st
from msgspec import Struct

from realtime_sync import events
from realtime_sync.events import (
    ClientEvent,
    ServerEvent,
    UnknownEvent,
)
from realtime_sync.events.codec import Deviation, decode, decode_client, encode

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


def down(value: Any, keys: tuple[str | int, ...]) -> Any:
    """What stands at a place, in a frame or in an event."""
    for key in keys:
        inside = isinstance(value, list | dict)
        value = value[key] if inside else getattr(value, str(key))
    return value


# --- Anything at all ----------------------------------------------------------------------------


bounded = settings(max_examples=80, deadline=None)
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
