"""The fields of sessions and responses as keyword arguments, for calls that take them by name."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from msgspec import Struct

from ..spelling import nearest
from . import (
    AudioConfig,
    AudioTranscription,
    CustomVoice,
    Item,
    NoiseReduction,
    Prompt,
    Reasoning,
    ResponseCreateParams,
    SessionConfig,
    Tool,
    ToolChoice,
    Tracing,
    Truncation,
    TurnDetection,
)

__all__ = ["ResponseFields", "SessionFields", "response_params", "session_config"]

_Json = Mapping[str, Any]
_S = TypeVar("_S", bound=Struct)


class SessionFields(TypedDict, total=False):
    """The keyword arguments of ``session.update``; see `SessionConfig`.

    Objects may be given as structs or as plain dicts.  ``None`` clears a setting.
    """

    type: str | None
    model: str | None
    output_modalities: list[str] | None
    instructions: str | None
    audio: AudioConfig | _Json | None
    include: list[str] | None
    tracing: str | Tracing | _Json | None
    tools: Sequence[Tool | _Json] | None
    tool_choice: ToolChoice | _Json | None
    parallel_tool_calls: bool | None
    reasoning: Reasoning | _Json | None
    max_output_tokens: int | str | None
    truncation: Truncation | _Json | None
    prompt: Prompt | _Json | None
    # Beta
    modalities: list[str] | None
    voice: str | CustomVoice | _Json | None
    input_audio_format: str | None
    output_audio_format: str | None
    input_audio_transcription: AudioTranscription | _Json | None
    turn_detection: TurnDetection | _Json | None
    input_audio_noise_reduction: NoiseReduction | _Json | None
    speed: float | None
    temperature: float | None
    max_response_output_tokens: int | str | None


class ResponseFields(TypedDict, total=False):
    """The keyword arguments of ``session.response.create``; see `ResponseCreateParams`."""

    output_modalities: list[str] | None
    instructions: str | None
    audio: AudioConfig | _Json | None
    tools: Sequence[Tool | _Json] | None
    tool_choice: ToolChoice | _Json | None
    parallel_tool_calls: bool | None
    reasoning: Reasoning | _Json | None
    max_output_tokens: int | str | None
    conversation: str | None
    metadata: Mapping[str, str] | None
    prompt: Prompt | _Json | None
    input: Sequence[Item | _Json] | None
    # Beta
    modalities: list[str] | None
    voice: str | CustomVoice | _Json | None
    output_audio_format: str | None
    temperature: float | None


def session_config(fields: Mapping[str, Any]) -> SessionConfig:
    """Return the settings of a session that these keyword arguments name.

    Raises:
        TypeError: There is no such field.
    """
    return _struct(SessionConfig, fields, SessionFields.__annotations__)


def response_params(fields: Mapping[str, Any]) -> ResponseCreateParams:
    """Return the settings of one response that these keyword arguments name.

    Raises:
        TypeError: There is no such field.
    """
    return _struct(ResponseCreateParams, fields, ResponseFields.__annotations__)


def _struct(struct: type[_S], fields: Mapping[str, Any], known: Mapping[str, Any]) -> _S:
    for name in fields:
        if name not in known:
            raise TypeError(f"unexpected keyword argument {name!r}; did you mean {nearest(name, known)!r}?")
    return struct(**fields)
