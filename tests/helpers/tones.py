"""Made-up sound, and one event of a kind."""

import array
import math
from typing import Any

from realtime_sync import encode
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.sound.formats import bytes_of, sample_rate

RATES = [("audio/pcm", 48_000), ("audio/pcmu", 8000), ("audio/pcma", 8000)]
"""Each format, and its bytes per second."""


def tone(ms: int, level: float = -20.0, audio_format: str = "audio/pcm") -> bytes:
    """A tone of 200 Hz, ``level`` dBFS loud; it begins and ends with a sample that is heard."""
    rate = sample_rate(audio_format)
    peak = 32_768 * 10 ** (level / 20) * math.sqrt(2)
    samples = array.array(
        "h", (round(peak * math.cos(2 * math.pi * 200 * n / rate)) for n in range(rate * ms // 1000))
    )
    return bytes_of(samples, audio_format)


def silence(ms: int, audio_format: str = "audio/pcm") -> bytes:
    return bytes_of([0] * (sample_rate(audio_format) * ms // 1000), audio_format)


def one(events: list[ServerEvent], kind: type[Any]) -> Any:
    [event] = [event for event in events if isinstance(event, kind)]
    return event


def append(audio: bytes) -> bytes:
    return encode(ev.InputAudioBufferAppend(audio=audio))
