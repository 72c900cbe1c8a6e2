"""A session's settings: what it starts with, what an update makes of it, and how to read it."""

from typing import Any, TypeVar

from msgspec import UNSET, structs

from .. import events as ev
from ..events import SessionConfig
from .responders import bytes_per_second

__all__ = ["format_of", "fresh_session", "input_of", "merged", "output_of", "rate_of"]


def fresh_session(session_id: str, model: str, expires_at: int | None) -> SessionConfig:
    """What a session starts with.  A ``null`` in ``session.update`` brings a field back to this.

    The real server begins with turn detection; this one doesn't detect turns, so it doesn't say so.
    """
    pcm = ev.AudioFormat(type="audio/pcm", rate=24_000)
    return SessionConfig(
        type="realtime",
        id=session_id,
        object="realtime.session",
        expires_at=expires_at,
        model=model,
        output_modalities=["audio"],
        instructions="You are a helpful assistant.",
        audio=ev.AudioConfig(
            input=ev.AudioInputConfig(
                format=pcm, transcription=None, noise_reduction=None, turn_detection=None
            ),
            output=ev.AudioOutputConfig(format=pcm, voice="marin", speed=1.0),
        ),
        include=None,
        tracing=None,
        tools=[],
        tool_choice="auto",
        max_output_tokens="inf",
        truncation="auto",
        prompt=None,
    )


_Config = TypeVar("_Config", SessionConfig, ev.AudioConfig, ev.AudioInputConfig, ev.AudioOutputConfig)


def merged(old: _Config, new: Any, cleared: _Config) -> _Config:
    """``old`` with what ``new`` sets; only the audio settings are merged in depth."""
    changes = {}
    for name in old.__struct_fields__:
        value = getattr(new, name, UNSET)
        if value is UNSET:
            continue
        if value is None:
            value = getattr(cleared, name)
        elif isinstance(value, ev.AudioConfig | ev.AudioInputConfig | ev.AudioOutputConfig):
            value = merged(getattr(old, name), value, getattr(cleared, name))
        elif isinstance(value, ev.AudioFormat) and value.type == "audio/pcm":
            value = ev.AudioFormat(type="audio/pcm", rate=24_000)
        changes[name] = value
    return structs.replace(old, **changes)


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
    """Bytes per second."""
    return bytes_per_second(format_of(side))
