"""Noise for `turns.py`: made from a fixed seed, so that every run hears the same.  Floats, 1.0 is full scale.

Each function returns ``count`` samples at ``RATE``; how loud they are is up to the caller.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RATE = 24_000
Samples = Any  # numpy.ndarray of float64, which mypy knows no shape of

CHORDS = [(261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7)]
VOICES = 6  # that babble at once


def white(count: int, rng: Any) -> Samples:
    """Make noise with the same power at all frequencies."""
    return rng.standard_normal(count)


def pink(count: int, rng: Any) -> Samples:
    """Make noise whose power falls by 3 dB an octave, from 20 Hz up."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum /= np.sqrt(np.maximum(frequencies, 20))
    spectrum[frequencies < 20] = 0
    return np.fft.irfft(spectrum, count)


def fan(count: int, rng: Any) -> Samples:
    """Make a hum of 100 Hz with its harmonics, and as much rushing air, slowly swelling by 1 dB."""
    at = np.arange(count) / RATE
    hum = sum(np.sin(2 * np.pi * 100 * n * at + n) / n for n in range(1, 9))
    air = pink(count, rng)
    swell = 10 ** (0.5 / 20 * np.sin(2 * np.pi * 0.3 * at))
    return (hum / np.std(hum) + air / np.std(air)) * swell


def knocks(count: int, rng: Any) -> Samples:
    """Make knocks on wood, one to three a second: 200-900 Hz, gone within 100 ms."""
    out = np.zeros(count)
    at = np.arange(int(0.15 * RATE)) / RATE
    start = 0.0
    while (begin := int(start * RATE)) + len(at) < count:
        tone = np.sin(2 * np.pi * rng.uniform(200, 900) * at) + 0.5 * rng.standard_normal(len(at))
        out[begin : begin + len(at)] += rng.uniform(0.5, 1) * tone * np.exp(-at / rng.uniform(0.006, 0.015))
        start += rng.uniform(0.33, 1.0)
    return out


def music(count: int, rng: Any) -> Samples:
    """Make chords of three plucked notes, two a second."""
    out = np.zeros(count)
    length = RATE
    at = np.arange(length) / RATE
    for number, begin in enumerate(range(0, count, RATE // 2)):
        chord = CHORDS[number // 4 % len(CHORDS)]
        notes = sum(
            np.sin(2 * np.pi * note * harmonic * at + rng.uniform(0, 6)) / harmonic
            for note in chord
            for harmonic in range(1, 6)
        )
        sound = (notes * np.exp(-at / 0.5))[: count - begin]
        out[begin : begin + len(sound)] += sound
    return out


def babble(speech: Sequence[Samples]) -> Callable[[int, Any], Samples]:
    """Return what makes the babble of `VOICES` voices, which speak without pause."""

    def make(count: int, rng: Any) -> Samples:
        out = np.zeros(count)
        for _ in range(VOICES):
            order = [speech[n] for n in rng.permutation(len(speech))]
            voice = np.concatenate(order * (count // sum(map(len, order)) + 2))
            begin = int(rng.integers(len(voice) - count))
            out += voice[begin : begin + count]
        return out

    return make
