"""What a client may send: events, settings and items made as the specification says."""

import functools
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, inspect

from .. import events as ev
from ..codec import Deviation
from ..events import ClientEvent, SessionConfig, UnknownEvent, UnknownObject
from .refusal import Refused, missing, unknown, unknown_kind
from .responders import bytes_per_second

__all__ = ["check_item", "check_settings", "checked"]

# --- Events ------------------------------------------------------------------------------------------


def checked(
    event: ClientEvent | UnknownEvent, deviations: list[Deviation], frame: bytes | str
) -> ClientEvent:
    """The event, if it is one and is made as the specification says."""
    if isinstance(event, UnknownEvent):
        if event.problem == "no type":
            raise missing("type")
        if event.problem is not None:
            raise Refused("invalid_json", event.problem)
        raise Refused("invalid_value", f"there is no client event {event.type!r}", "type")
    if deviations:
        raise _deviation(deviations[0])
    if not isinstance(event, ev.InputAudioBufferAppend):  # the busiest event; a stray field harms nobody
        for stray in _strays(_node(type(event)), _parsed(frame), ""):
            raise unknown(stray)
    return event


def _parsed(frame: bytes | str) -> Any:
    """The frame as plain objects.  What the typed decoder skipped may still be wrong."""
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
        return Refused("invalid_value", "this is not base64", param)
    return Refused("invalid_type", problem, param)


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
_NOT_ACCEPTED = {SessionConfig: _BETA_NAMES | _SERVERS_OWN, ev.ResponseCreateParams: _BETA_NAMES}
"""Fields of our structs that a GA client must not send."""


@functools.cache
def _node(cls: type) -> inspect.Type:
    return inspect.type_info(cls)


def _strays(node: inspect.Type, value: Any, path: str) -> Iterator[str]:
    """The paths of all fields that the vocabulary doesn't have."""
    if isinstance(node, inspect.UnionType):
        yield from _strays(_member(node, value), value, path)
    elif isinstance(node, inspect.ListType) and isinstance(value, list):
        for index, part in enumerate(value):
            yield from _strays(node.item_type, part, f"{path}[{index}]")
    elif isinstance(node, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in node.fields}
        if node.tag_field:
            fields[node.tag_field] = inspect.StrType()
        for name in _NOT_ACCEPTED.get(node.cls, ()):
            fields.pop(name, None)
        for name, part in value.items():
            at = f"{path}.{name}" if path else name
            if name in fields:
                yield from _strays(fields[name], part, at)
            else:
                yield at


def _member(union: inspect.UnionType, value: Any) -> inspect.Type:
    """The member of a union that a value is."""
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


# --- Settings ----------------------------------------------------------------------------------------


def check_settings(new: SessionConfig | ev.ResponseCreateParams, at: str) -> None:
    """Refuse values that the types let through."""
    if new.output_modalities not in (UNSET, None, ["text"], ["audio"]):
        message = "one of ['text'] and ['audio'] is expected"
        raise Refused("invalid_value", message, f"{at}.output_modalities")
    limit = new.max_output_tokens
    if limit not in (UNSET, None, "inf") and not (isinstance(limit, int) and 1 <= limit <= 4096):
        message = "a number from 1 to 4096 or 'inf' is expected"
        raise Refused("invalid_value", message, f"{at}.max_output_tokens")
    for index, tool in enumerate(new.tools or ()):
        if isinstance(tool, UnknownObject):
            raise unknown_kind(tool, f"{at}.tools[{index}]")
    choice = new.tool_choice
    if isinstance(choice, UnknownObject):
        raise unknown_kind(choice, f"{at}.tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        message = "one of 'auto', 'none', 'required' and a tool is expected"
        raise Refused("invalid_value", message, f"{at}.tool_choice")
    if new.audio:
        _check_audio(new.audio, f"{at}.audio")


def _check_audio(audio: ev.AudioConfig, at: str) -> None:
    if audio.input:
        if at.startswith("response"):
            raise unknown(f"{at}.input")
        _check_format(audio.input.format or None, f"{at}.input.format")
        if isinstance(audio.input.turn_detection, UnknownObject):
            raise unknown_kind(audio.input.turn_detection, f"{at}.input.turn_detection")
    if audio.output:
        _check_format(audio.output.format or None, f"{at}.output.format")
        speed = audio.output.speed
        if isinstance(speed, int | float) and not 0.25 <= speed <= 1.5:
            raise Refused("invalid_value", "a number from 0.25 to 1.5 is expected", f"{at}.output.speed")


def _check_format(audio_format: ev.AudioFormat | None, at: str) -> None:
    if audio_format is None:
        return
    try:
        bytes_per_second(audio_format.type)
    except KeyError:
        message = "one of 'audio/pcm', 'audio/pcmu' and 'audio/pcma' is expected"
        raise Refused("invalid_value", message, f"{at}.type") from None
    if audio_format.type == "audio/pcm" and audio_format.rate not in (UNSET, 24_000):
        raise Refused("invalid_value", "PCM is 24000 Hz", f"{at}.rate")


# --- Items -------------------------------------------------------------------------------------------


_PARTS: dict[str, tuple[type, ...]] = {
    "user": (ev.InputText, ev.InputAudio, ev.InputImage),
    "system": (ev.InputText,),
    "assistant": (ev.OutputText, ev.OutputAudio),
}
"""What each role may say.  Exactly these classes: their subclasses are Beta's."""


def check_item(item: ev.Item, at: str) -> None:
    """Refuse an item that no conversation can hold."""
    if isinstance(item, UnknownObject | ev.ItemReference):
        raise unknown_kind(item, at)
    if not isinstance(item, ev.Message):
        return
    if item.role not in _PARTS:
        raise Refused("invalid_value", f"there is no role {item.role!r}", f"{at}.role")
    for index, part in enumerate(item.content):
        if type(part) not in _PARTS[item.role]:
            raise unknown_kind(part, f"{at}.content[{index}]")
