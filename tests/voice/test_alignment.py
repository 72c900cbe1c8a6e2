"""Alignment: a speaker's samples and a microphone's, along one clock."""

import array
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from clock import Clock

from realtime_sync.voice.alignment import Pace, Reference

RATE = 1000  # samples per second, so that a sample is a millisecond
BLOCK = 20


class Loudspeaker:
    """Plays numbers, one after another: what is read says when it was played."""

    rate = RATE
    latency = 0.1

    def __init__(self) -> None:
        self.now = Clock()
        self.clock: Callable[[], float] = self.now
        self.taps: list[Callable[[bytes, float], object]] = []
        self.played = 0

    def tap(self, listener: Callable[[bytes, float], object]) -> Callable[[], None]:
        self.taps.append(listener)
        return lambda: self.taps.remove(listener)

    def play(self, count: int = BLOCK) -> None:
        samples = array.array("h", range(self.played + 1, self.played + 1 + count))
        self.played += count
        for tap in self.taps:
            tap(samples.tobytes(), self.now.now)


def numbers(pcm: bytes) -> list[int]:
    return list(array.array("h", pcm))


def talk(speaker: Loudspeaker, reference: Reference, blocks: int, jitter: Callable[[], float]) -> list[int]:
    """Play and hear blocks for a while; returns how far behind each block was that was read."""
    behind, start = [], speaker.now.now
    for n in range(blocks):
        speaker.now.now = start + n * 0.02 + jitter()
        speaker.play()
        heard_at = start + n * 0.02 + jitter()
        read = numbers(reference.read(BLOCK, heard_at))
        assert all(b - a in (0, 1, 2) for a, b in itertools.pairwise(read) if a), read
        behind.append(speaker.played - read[-1] if read[-1] else -1)
    speaker.now.now = start + blocks * 0.02
    return behind


def test_in_step() -> None:
    """What is read is what was played 20 ms before, sample by sample, after silence."""
    speaker = Loudspeaker()
    reference = Reference(speaker, RATE, 0.05)
    behind = talk(speaker, reference, 50, lambda: 0.0)
    assert behind[0] == -1
    assert set(behind[1:]) == {20}


@pytest.mark.parametrize("seed", range(5))
def test_bursts(seed: int) -> None:
    """Devices that deliver in bursts are read without a gap, and evenly."""
    speaker, chance = Loudspeaker(), random.Random(seed)
    reference = Reference(speaker, RATE, 0.05)
    behind = talk(speaker, reference, 500, lambda: chance.uniform(0, 0.008))
    assert -1 not in behind[3:]
    assert max(behind[3:]) - min(behind[3:]) <= 2


def test_pause() -> None:
    """After a pause of the speaker, silence is read for as long as it lasted; then what was played again."""
    speaker = Loudspeaker()
    reference = Reference(speaker, RATE, 0.05)
    [usual] = set(talk(speaker, reference, 20, lambda: 0.0)[2:])
    rest = numbers(reference.read(BLOCK, speaker.now.now))
    assert rest == list(range(speaker.played - 19, speaker.played + 1))
    for _ in range(150):
        speaker.now.now += 0.02
        assert not any(numbers(reference.read(BLOCK, speaker.now.now)))
    speaker.now.now += 0.02
    assert set(talk(speaker, reference, 20, lambda: 0.0)[2:]) == {usual}


def test_lost_audio() -> None:
    """When the microphone has lost audio, what was played meanwhile is left out."""
    speaker = Loudspeaker()
    reference = Reference(speaker, RATE, 0.05)
    [usual] = set(talk(speaker, reference, 20, lambda: 0.0)[2:])
    for _ in range(50):
        speaker.play()
        speaker.now.now += 0.02
    assert set(talk(speaker, reference, 20, lambda: 0.0)) == {usual}


def test_ends() -> None:
    """A reference that is closed listens no more."""
    speaker = Loudspeaker()
    reference = Reference(speaker, RATE, 0.05)
    assert numbers(reference.read(3, speaker.now.now)) == [0, 0, 0]
    reference.close()
    assert not speaker.taps


def corrections(rate: float, seconds: int, at: Callable[[float], float] = lambda t: t) -> list[int]:
    """What a pace of 24 kHz corrects of a device that makes other samples per second."""
    pace: Any = Pace(24_000)
    return [pace.count(480, at(n * 480 / rate)) for n in range(seconds * 50)]


@pytest.mark.parametrize("ppm", [-80, -20, 20, 80])
def test_drift(ppm: int) -> None:
    """A clock that is a little off is followed sample by sample, and no further than to 10 ms."""
    made = corrections(24_000 * (1 + ppm / 1e6), 600)
    assert set(made) <= {0, 1 if ppm < 0 else -1}
    assert abs(600 * 24_000 * -ppm / 1e6 - sum(made)) < 240


def test_steps() -> None:
    """What changes for good by more than 60 ms is made up for at once; what is less is left to the slips."""
    sudden = corrections(24_000, 60, lambda t: t + (0.5 if t > 10 else 0))
    assert [step for step in sudden if abs(step) > 1] == [12_000]
    late = corrections(24_000, 60, lambda t: t + (0.1 if t > 10 else 0))
    assert sum(step for step in late if abs(step) > 1) == pytest.approx(2000, abs=700)
    slight = corrections(24_000, 60, lambda t: t + (0.03 if t > 10 else 0))
    assert set(slight) <= {0, 1}
