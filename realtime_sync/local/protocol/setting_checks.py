"""What a client may set: values that the types allow and the specification doesn't."""

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from ... import events as ev
from ...events import SessionConfig, UnknownObject
from ...sound.formats import PCM_RATE, bytes_per_second
from .refusal import Refused, unknown, unknown_kind

__all__ = ["check_settings"]

_OF_KIND = {
    "transcription": {"type", "audio", "include"},
    "translation": {"type", "model", "audio"},
}
"""The fields of the kinds of session that don't have them all."""
_AUDIO_OF_KIND = {
    "realtime": {
        "input": {"format", "transcription", "noise_reduction", "turn_detection"},
        "output": {"format", "voice", "speed"},
    },
    "transcription": {"input": {"format", "transcription", "noise_reduction", "turn_detection"}},
    "translation": {"input": {"transcription", "noise_reduction"}, "output": {"language"}},
    "response": {"output": {"format", "voice", "speed"}},
}
_VOICES = ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"]
_INCLUDABLE = ["item.input_audio_transcription.logprobs"]
_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512


def check_settings(new: SessionConfig | ev.ResponseCreateParams, at: str, kind: str) -> None:
    """Check that these settings fit a kind of session; ``at`` begins the path of a ``param``.

    Raises:
        Refused: The first thing that is wrong.
    """
    if kind in _OF_KIND:
        _check_names(new, _OF_KIND[kind], at)
    if new.output_modalities not in (UNSET, None, ["text"], ["audio"]):
        message = "expected ['text'] or ['audio']"
        raise Refused("invalid_value", message, f"{at}.output_modalities")
    limit = new.max_output_tokens
    if limit not in (UNSET, None, "inf") and not (isinstance(limit, int) and 1 <= limit <= 4096):
        message = "expected a number from 1 to 4096 or 'inf'"
        raise Refused("invalid_value", message, f"{at}.max_output_tokens")
    _check_tools(new, at)
    if isinstance(new, ev.ResponseCreateParams):
        _check_metadata(new.metadata or {}, f"{at}.metadata")
    else:
        for wanted in new.include or ():
            _one_of(wanted, _INCLUDABLE, f"{at}.include")
        if isinstance(new.truncation, str):
            _one_of(new.truncation, ["auto", "disabled"], f"{at}.truncation")
        elif isinstance(new.truncation, UnknownObject):
            raise unknown_kind(new.truncation, f"{at}.truncation")
    if new.audio:
        _check_audio(new.audio, at, "response" if isinstance(new, ev.ResponseCreateParams) else kind)


def _check_names(given: Any, allowed: Iterable[str], at: str) -> None:
    for name in given.__struct_fields__:
        if getattr(given, name) is not UNSET and name not in allowed:
            raise unknown(f"{at}.{name}")


def _one_of(value: Any, allowed: list[str], at: str) -> None:
    """Reject a value that is set and is not one of these."""
    if value not in (UNSET, None, *allowed):
        raise Refused(
            "invalid_value", f"expected one of {', '.join(map(repr, allowed))}, got {value!r:.100}", at
        )


def _within(value: Any, least: float, most: float, at: str) -> None:
    """Reject a number that is set and is not in this range."""
    if value not in (UNSET, None) and not least <= value <= most:
        raise Refused(
            "invalid_value", f"expected a number from {least:g} to {most:g}, got {value!r:.100}", at
        )


def _check_tools(new: SessionConfig | ev.ResponseCreateParams, at: str) -> None:
    for index, tool in enumerate(new.tools or ()):
        if isinstance(tool, UnknownObject):
            raise unknown_kind(tool, f"{at}.tools[{index}]")
    if isinstance(new.tool_choice, UnknownObject):
        raise unknown_kind(new.tool_choice, f"{at}.tool_choice")
    if isinstance(new.tool_choice, str):
        _one_of(new.tool_choice, ["auto", "none", "required"], f"{at}.tool_choice")


def _check_metadata(metadata: dict[str, str], at: str) -> None:
    if len(metadata) > _MOST_METADATA:
        raise Refused("invalid_value", f"expected at most {_MOST_METADATA} pairs, got {len(metadata)}", at)
    for key, value in metadata.items():
        if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            message = (
                f"expected keys of at most {_LONGEST_KEY} characters, and values of at most {_LONGEST_VALUE}"
            )
            raise Refused("invalid_value", message, at)


# --- Audio -------------------------------------------------------------------------------------------


def _check_audio(audio: ev.AudioConfig, at: str, kind: str) -> None:
    allowed = _AUDIO_OF_KIND[kind]
    _check_names(audio, allowed, f"{at}.audio")
    if audio.input:
        _check_names(audio.input, allowed["input"], f"{at}.audio.input")
        _check_input(audio.input, f"{at}.audio.input")
    if audio.output:
        _check_names(audio.output, allowed["output"], f"{at}.audio.output")
        _check_format(audio.output.format, f"{at}.audio.output.format")
        _within(audio.output.speed, 0.25, 1.5, f"{at}.audio.output.speed")
        if isinstance(audio.output.voice, str):
            _one_of(audio.output.voice, _VOICES, f"{at}.audio.output.voice")


def _check_input(side: ev.AudioInputConfig, at: str) -> None:
    _check_format(side.format, f"{at}.format")
    if side.noise_reduction:
        _one_of(side.noise_reduction.type, ["near_field", "far_field"], f"{at}.noise_reduction.type")
    detection, at = side.turn_detection, f"{at}.turn_detection"
    if isinstance(detection, UnknownObject):
        raise unknown_kind(detection, at)
    if isinstance(detection, ev.SemanticVad):
        _one_of(detection.eagerness, ["low", "medium", "high", "auto"], f"{at}.eagerness")
    elif isinstance(detection, ev.ServerVad):
        _within(detection.threshold, 0, 1, f"{at}.threshold")
        _within(detection.prefix_padding_ms, 0, 10_000, f"{at}.prefix_padding_ms")
        _within(detection.silence_duration_ms, 0, 10_000, f"{at}.silence_duration_ms")
        _within(detection.idle_timeout_ms, 5000, 30_000, f"{at}.idle_timeout_ms")


def _check_format(audio_format: Any, at: str) -> None:
    if not isinstance(audio_format, ev.AudioFormat):
        return
    try:
        bytes_per_second(audio_format.type)
    except ValueError:
        message = "expected one of 'audio/pcm', 'audio/pcmu', 'audio/pcma'"
        raise Refused("invalid_value", message, f"{at}.type") from None
    if audio_format.type == "audio/pcm" and audio_format.rate not in (UNSET, PCM_RATE):
        raise Refused("invalid_value", f"expected {PCM_RATE} for PCM", f"{at}.rate")
