"""What a client may send: events and items made as the specification says."""

import functools
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from ... import events as ev
from ...events import ClientEvent, SessionConfig, UnknownEvent, UnknownObject
from ...events.codec import Deviation
from .refusal import Refused, missing, unknown, unknown_kind

__all__ = ["check_item", "checked"]

# --- Events ------------------------------------------------------------------------------------------


def checked(
    event: ClientEvent | UnknownEvent, deviations: list[Deviation], frame: bytes | str, dialect: str = "ga"
) -> ClientEvent:
    """Return the event, if it is made as the specification says.

    Of Beta's events `from_beta` rejects the fields that only GA has.

    Raises:
        Refused: It is not; the first thing that is wrong.
    """
    if isinstance(event, UnknownEvent):
        if event.problem == "no type":
            raise missing("type")
        if event.problem is not None:
            raise Refused("invalid_json", event.problem)
        raise Refused("invalid_value", f"unknown client event {event.type!r}", "type")
    if deviations:
        raise _deviation(deviations[0])
    if not isinstance(event, _APPENDS):  # the most frequent event; a stray field does no harm
        barred = _NOT_ACCEPTED if dialect == "ga" else {}
        for stray in _strays(_node(type(event)), _parsed(frame), "", barred):
            raise unknown(stray)
    return event


def _parsed(frame: bytes | str) -> Any:
    """Return the frame as plain objects.  What the typed decoder skipped may still be wrong."""
    try:
        return msgspec.json.decode(frame)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_json", str(error)) from None


def _deviation(deviation: Deviation) -> Refused:
    param, problem = deviation.path.lstrip("."), deviation.problem
    if not param:
        return Refused("invalid_json", problem)
    if problem == "missing":
        return missing(param)
    if problem == "an object without a type":
        return missing(f"{param}.type")
    if problem == "expected bytes, got string":
        return Refused("invalid_value", "expected base64", param)
    return Refused("invalid_type", problem, param)


_APPENDS = (ev.InputAudioBufferAppend, ev.SessionInputAudioBufferAppend)
_BETA_NAMES = {
    "modalities",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "turn_detection",
    "input_audio_noise_reduction",
    "speed",
    "temperature",
    "max_response_output_tokens",
}
_SERVERS_OWN = {"id", "object", "expires_at", "client_secret"}
_Barred = dict[type, set[str]]
_NOT_ACCEPTED: _Barred = {SessionConfig: _BETA_NAMES | _SERVERS_OWN, ev.ResponseCreateParams: _BETA_NAMES}
"""Fields of our structs that a GA client must not send."""


@functools.cache
def _node(cls: type) -> inspect.Type:
    return inspect.type_info(cls)


def _strays(node: inspect.Type, value: Any, path: str, barred: _Barred) -> Iterator[str]:
    """Yield the paths of all unknown fields."""
    if isinstance(node, inspect.UnionType):
        yield from _strays(_member(node, value), value, path, barred)
    elif isinstance(node, inspect.ListType) and isinstance(value, list):
        for index, part in enumerate(value):
            yield from _strays(node.item_type, part, f"{path}[{index}]", barred)
    elif isinstance(node, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in node.fields}
        if node.tag_field:
            fields[node.tag_field] = inspect.StrType()
        for name in barred.get(node.cls, ()):
            fields.pop(name, None)
        for name, part in value.items():
            at = f"{path}.{name}" if path else name
            if name in fields:
                yield from _strays(fields[name], part, at, barred)
            else:
                yield at


def _member(union: inspect.UnionType, value: Any) -> inspect.Type:
    """Return the member of a union that a value is."""
    for node in union.types:
        if isinstance(node, inspect.ListType) and isinstance(value, list):
            return node
        if (
            isinstance(node, inspect.StructType)
            and isinstance(value, dict)
            and node.tag in (None, value.get("type"))
        ):
            return node
    return inspect.AnyType()


# --- Items -------------------------------------------------------------------------------------------


_LONGEST_ID = 64

_PARTS: dict[str, tuple[type, ...]] = {
    "user": (ev.InputText, ev.InputAudio, ev.InputImage),
    "system": (ev.InputText,),
    "assistant": (ev.OutputText, ev.OutputAudio),
}
"""What each role may say.  Exactly these classes: their subclasses are Beta's."""


def check_item(item: ev.Item, at: str) -> None:
    """Make sure that a conversation can hold an item.

    Raises:
        Refused: It can't.
    """
    if isinstance(item, UnknownObject | ev.ItemReference):
        raise unknown_kind(item, at)
    if item.id is not None and not 0 < len(item.id) <= _LONGEST_ID:
        raise Refused(
            "invalid_value",
            f"expected an id of 1 to {_LONGEST_ID} characters, got {len(item.id)}",
            f"{at}.id",
        )
    if not isinstance(item, ev.Message):
        return
    if item.role not in _PARTS:
        raise Refused(
            "invalid_value", f"unknown role {item.role!r}; expected one of {', '.join(_PARTS)}", f"{at}.role"
        )
    for index, part in enumerate(item.content):
        if type(part) not in _PARTS[item.role]:
            raise unknown_kind(part, f"{at}.content[{index}]")
