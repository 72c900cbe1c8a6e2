"""A session's settings: what it starts with, what an update makes of it, and how to read it."""

from typing import Any, TypeVar

from msgspec import UNSET, structs

from ... import events as ev
from ...events import SessionConfig
from ...sound.formats import PCM_RATE, bytes_per_second

__all__ = ["cleared", "configured", "format_of", "fresh_session", "input_of", "output_of", "rate_of"]

_DEFAULT_MODELS = {
    "realtime": "gpt-realtime",
    "transcription": "gpt-realtime",
    "translation": "gpt-realtime-translate",
}
_PCM = ev.AudioFormat(type="audio/pcm", rate=PCM_RATE)
_SERVER_VAD = ev.ServerVad(
    threshold=0.5,
    prefix_padding_ms=300,
    silence_duration_ms=500,
    create_response=True,
    interrupt_response=True,
    idle_timeout_ms=None,
)
_TRANSCRIBED_VAD = ev.ServerVad(threshold=0.5, prefix_padding_ms=300, silence_duration_ms=500)
_SEMANTIC_VAD = ev.SemanticVad(eagerness="auto", create_response=True, interrupt_response=True)


def fresh_session(kind: str, session_id: str, model: str | None, expires_at: int | None) -> SessionConfig:
    """Return the settings that a session of a kind starts with; without a model they name a default."""
    model = model or _DEFAULT_MODELS[kind]
    common: dict[str, Any] = {"type": kind, "id": session_id, "expires_at": expires_at}
    if kind == "transcription":
        return SessionConfig(
            **common,
            object="realtime.transcription_session",
            audio=ev.AudioConfig(input=_input(_TRANSCRIBED_VAD)),
            include=None,
        )
    if kind == "translation":
        return SessionConfig(
            **common,
            model=model,
            audio=ev.AudioConfig(
                input=ev.AudioInputConfig(transcription=None, noise_reduction=None),
                output=ev.AudioOutputConfig(language="en"),
            ),
        )
    return SessionConfig(
        **common,
        object="realtime.session",
        model=model,
        output_modalities=["audio"],
        instructions="You are a helpful assistant.",
        audio=ev.AudioConfig(
            input=_input(_SERVER_VAD),
            output=ev.AudioOutputConfig(format=_PCM, voice="marin", speed=1.0),
        ),
        include=None,
        tracing=None,
        tools=[],
        tool_choice="auto",
        max_output_tokens="inf",
        truncation="auto",
        prompt=None,
    )


def _input(detection: ev.ServerVad) -> ev.AudioInputConfig:
    return ev.AudioInputConfig(
        format=_PCM, transcription=None, noise_reduction=None, turn_detection=detection
    )


def cleared(fresh: SessionConfig) -> SessionConfig:
    """Return what a ``null`` in ``session.update`` sets each field to: its start value, except turn
    detection, which starts on and which ``null`` turns off."""
    if fresh.type == "translation":
        return fresh
    assert fresh.audio
    audio = structs.replace(fresh.audio, input=structs.replace(input_of(fresh), turn_detection=None))
    return structs.replace(fresh, audio=audio)


_Config = TypeVar("_Config", SessionConfig, ev.AudioConfig, ev.AudioInputConfig, ev.AudioOutputConfig)


def configured(old: SessionConfig, new: Any, empty: SessionConfig) -> SessionConfig:
    """Return ``old`` with what ``new`` sets, where ``None`` stands for the value in ``empty``."""
    made = _merged(old, new, empty)
    if made.type == "translation":
        return made
    assert made.audio
    side = input_of(made)
    detection = side.turn_detection
    if isinstance(detection, ev.ServerVad):
        detection = _filled(detection, _SERVER_VAD if made.type == "realtime" else _TRANSCRIBED_VAD)
    elif isinstance(detection, ev.SemanticVad):
        detection = _filled(detection, _SEMANTIC_VAD)
    side = structs.replace(side, turn_detection=detection)
    return structs.replace(made, audio=structs.replace(made.audio, input=side))


def _merged(old: _Config, new: Any, empty: _Config) -> _Config:
    """Return the merged settings: audio settings in depth, any other object in place of the old one."""
    changes = {}
    for name in old.__struct_fields__:
        value = getattr(new, name, UNSET)
        if value is UNSET:
            continue
        if value is None:
            value = getattr(empty, name)
        elif isinstance(value, ev.AudioConfig | ev.AudioInputConfig | ev.AudioOutputConfig):
            value = _merged(getattr(old, name), value, getattr(empty, name))
        elif isinstance(value, ev.AudioFormat) and value.type == "audio/pcm":
            value = _PCM
        changes[name] = value
    return structs.replace(old, **changes)


def _filled(value: Any, defaults: Any) -> Any:
    """Return a struct with what it leaves out taken from another of its kind."""
    given = {name: getattr(value, name) for name in value.__struct_fields__}
    return structs.replace(defaults, **{k: part for k, part in given.items() if part not in (UNSET, None)})


def input_of(settings: SessionConfig) -> ev.AudioInputConfig:
    assert settings.audio
    assert settings.audio.input
    return settings.audio.input


def output_of(settings: SessionConfig) -> ev.AudioOutputConfig:
    assert settings.audio
    assert settings.audio.output
    return settings.audio.output


def format_of(side: ev.AudioInputConfig | ev.AudioOutputConfig) -> str:
    assert side.format
    return side.format.type


def rate_of(side: ev.AudioInputConfig | ev.AudioOutputConfig) -> int:
    """Return the bytes per second of a side's format."""
    return bytes_per_second(format_of(side))
