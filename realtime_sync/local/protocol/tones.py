"""Synthetic speech: what the local server says where no voice is installed."""

import functools
import math

from ...sound.formats import bytes_of, sample_rate
from ...speech.voices import Sentence

__all__ = ["ToneVoice", "speech"]

_SECONDS_PER_CHARACTER = 0.06
"""About as fast as people talk."""


class ToneVoice:
    """A voice that takes its time over a text and says no word."""

    instant = True

    def speak(self, sentence: Sentence) -> list[bytes]:
        return [speech(sentence.text, sentence.audio_format)]


def speech(text: str, audio_format: str) -> bytes:
    """Return audio as long as it would take to say ``text``: a soft tone in syllables, always the same."""
    second = _second(audio_format)
    samples = round(len(text) * _SECONDS_PER_CHARACTER * sample_rate(audio_format))
    length = samples * len(second) // sample_rate(audio_format)
    return (second * (length // len(second) + 1))[:length]


@functools.cache
def _second(audio_format: str) -> bytes:
    """Return one second of 220 Hz, swelling and fading five times.

    It starts and ends in silence, so that seconds can be joined.
    """
    rate = sample_rate(audio_format)
    turn = 2 * math.pi / rate
    swell = (math.sin(2.5 * turn * n) ** 2 for n in range(rate))  # 5 a second
    return bytes_of(
        (round(3000 * level * math.sin(220 * turn * n)) for n, level in enumerate(swell)), audio_format
    )
