"""What detectors of speech find, and sound that they are tried with."""

import functools
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realtime_sync.sound.formats import (
    FULL_SCALE,
    PCM,
    PCM_RATE,
    bytes_of,
    bytes_per_sample,
    sample_rate,
    samples_of,
)
from realtime_sync.sound.vad import Detector, Started, Stopped
from realtime_sync.voice import audio

DATA = Path(__file__).parent.parent / "data"
SPOKEN_MS = 1430
"""Where the speech ends in `spoken`, which begins with it."""


def spoken(name: str = "question.wav", audio_format: str = PCM) -> bytes:
    """A spoken sentence of less than two seconds, by default that of `SPOKEN_MS`."""
    return audio.read_wav(DATA / name, audio_format)


def hiss(seconds: float, level: float) -> bytes:
    """White noise in PCM, ``level`` dBFS loud."""
    count = round(seconds * PCM_RATE)
    return (_hiss(level) * (count // PCM_RATE + 1))[: 2 * count]


@functools.cache
def _hiss(level: float) -> bytes:
    """A second of it."""
    rng, size = random.Random(1), FULL_SCALE * 10 ** (level / 20)
    return bytes_of([clipped(rng.gauss(0, size)) for _ in range(PCM_RATE)])


def knock(level: float = -6.0, seconds: float = 0.15) -> bytes:
    """A knock on wood in PCM: it is loudest at once, and gone in some 100 ms."""
    size, times = FULL_SCALE * 10 ** (level / 20), [n / PCM_RATE for n in range(int(seconds * PCM_RATE))]
    return bytes_of([clipped(size * math.cos(800 * math.pi * t) * math.exp(-t / 0.012)) for t in times])


def mixed(*sounds: bytes, offset: int = 0) -> bytes:
    """PCM added up, as long as the longest, with a DC offset."""
    longest = max(map(len, sounds))
    samples = (samples_of(sound.ljust(longest, b"\0")) for sound in sounds)
    return bytes_of([clipped(sum(parts) + offset) for parts in zip(*samples, strict=True)])


def clipped(value: float) -> int:
    return max(-FULL_SCALE, min(FULL_SCALE - 1, round(value)))


def fed(detector: Detector, sound: bytes, sizes: Iterable[int] = ()) -> list[Started | Stopped]:
    """All that is found in a sound that comes in chunks of these sizes, and the rest in one."""
    found: list[Started | Stopped] = []
    for size in sizes:
        found += detector.feed(sound[:size])
        sound = sound[size:]
    return found + list(detector.feed(sound))


def check(found: list[Started | Stopped], sound: bytes, audio_format: str = PCM) -> None:
    """Speech starts and stops in turns, which don't overlap, and nothing is found behind the end."""
    kinds = [Started, Stopped] * len(found)
    assert [type(event) for event in found] == kinds[: len(found)]
    positions = [event.sample for event in found]
    assert positions == sorted(positions)
    assert all(0 <= position <= len(sound) // bytes_per_sample(audio_format) for position in positions)


def milliseconds(found: list[Started | Stopped], audio_format: str = PCM) -> list[tuple[str, Any]]:
    """What was found, and where: a number, which may be compared with `pytest.approx`."""
    per_ms = sample_rate(audio_format) // 1000
    return [(type(event).__name__, event.sample // per_ms) for event in found]
