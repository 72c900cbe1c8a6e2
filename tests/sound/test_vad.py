"""Voice activity detection on real audio."""

import array
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import silence, tone

from realtime_sync.sound.formats import loudness, sample_rate, samples_of
from realtime_sync.sound.vad import Detector, Started, Stopped


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
@pytest.mark.parametrize("lead", [0, 7, 400, 1013])
def test_positions_are_those_of_the_sound(audio_format: str, lead: int) -> None:
    """Speech begins and stops at the very sample where the audio does, wherever that is."""
    audio = silence(lead, audio_format) + tone(300, audio_format=audio_format) + silence(700, audio_format)
    per_ms = sample_rate(audio_format) // 1000
    started, stopped = Detector(audio_format, 0.5, 500).feed(audio)
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert started.sample == lead * per_ms
    assert stopped.sample == pytest.approx((lead + 300 + 500) * per_ms, abs=per_ms)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 5000), max_size=30), st.integers(0, 3))
def test_pieces_do_not_matter(sizes: list[int], seed: int) -> None:
    """However the audio is cut into chunks, odd ones too, the same is found in it."""
    rng = random.Random(seed)
    audio = b"".join(
        tone(rng.randrange(20, 300), rng.uniform(-60, -10)) + silence(rng.randrange(0, 800)) for _ in range(4)
    )
    whole = list(Detector("audio/pcm", 0.5, 300).feed(audio))
    detector, rest = Detector("audio/pcm", 0.5, 300), audio
    found: list[Started | Stopped] = []
    for size in sizes:
        found += detector.feed(rest[:size])
        rest = rest[size:]
    assert found + list(detector.feed(rest)) == whole


@pytest.mark.parametrize(
    ("threshold", "level", "heard"),
    [(0.5, -35, True), (0.5, -45, False), (0.9, -30, False), (0.9, -22, True), (0.0, -55, True)],
)
def test_threshold(threshold: float, level: float, heard: bool) -> None:
    """What is louder than the threshold is speech; what is quieter is not."""
    assert bool(list(Detector("audio/pcm", threshold, 500).feed(tone(500, level)))) == heard


def test_a_click_is_no_speech() -> None:
    """A knock of 30 ms does not begin a turn, a syllable of 100 ms does."""
    assert not list(Detector("audio/pcm", 0.5, 500).feed(silence(90) + tone(30, -6) + silence(900)))
    assert len(list(Detector("audio/pcm", 0.5, 500).feed(silence(90) + tone(100, -6) + silence(900)))) == 2


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_loudness(audio_format: str) -> None:
    """The level of a tone is measured in each format, silence is silent, and full scale is 0 dBFS."""
    heard = samples_of(tone(1000, -30, audio_format), audio_format)
    assert loudness(heard) == pytest.approx(-30, abs=0.2)
    assert loudness(samples_of(silence(20, audio_format), audio_format)) < -60
    assert loudness(array.array("h", [-32_768, 32_767])) == pytest.approx(0, abs=0.01)
    assert loudness(array.array("h")) == -math.inf
