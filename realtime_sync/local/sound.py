"""Sound as the wire carries it: the three formats, how loud it is, and speech made up from text."""

import array
import functools
import math
import operator
import sys
from collections.abc import Callable

__all__ = ["bytes_per_second", "loudness", "sample_rate", "samples_of", "speech"]

_SECONDS_PER_CHARACTER = 0.06
"""About as fast as people talk."""

_RATES = {"audio/pcm": 48_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}
_FULL_SCALE = 32_768


def bytes_per_second(audio_format: str) -> int:
    """How many bytes one second of sound takes.

    Raises:
        KeyError: It is not one of the three formats.
    """
    return _RATES[audio_format]


def sample_rate(audio_format: str) -> int:
    """Samples per second."""
    return 24_000 if audio_format == "audio/pcm" else bytes_per_second(audio_format)


def samples_of(audio: bytes, audio_format: str) -> "array.array[int]":
    """The samples, 16 bits each.  Of PCM, an even number of bytes."""
    if audio_format != "audio/pcm":
        return array.array("h", map(_decoded(audio_format).__getitem__, audio))
    samples = array.array("h", audio)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def loudness(samples: "array.array[int]") -> float:
    """The mean level in dBFS: 0 is the loudest square wave there can be, silence is minus infinity."""
    power = sum(map(operator.mul, samples, samples)) / len(samples) if samples else 0
    return 10 * math.log10(power / _FULL_SCALE**2) if power else -math.inf


def speech(text: str, audio_format: str) -> bytes:
    """Sound as long as it would take to say ``text``: a soft tone in syllables, always the same."""
    second = _second(audio_format)
    samples = round(len(text) * _SECONDS_PER_CHARACTER * sample_rate(audio_format))
    length = samples * len(second) // sample_rate(audio_format)
    return (second * (length // len(second) + 1))[:length]


@functools.cache
def _second(audio_format: str) -> bytes:
    """One second of the tone; it starts and ends in silence, so that seconds can be joined."""
    samples = _tone(sample_rate(audio_format))
    encode = _ENCODERS.get(audio_format)
    if encode is not None:
        return bytes(encode(sample) for sample in samples)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _tone(rate: int) -> "array.array[int]":
    """One second of 220 Hz, swelling and fading five times."""
    turn = 2 * math.pi / rate
    return array.array(
        "h",
        (
            round(3000 * math.sin(220 * turn * n) * math.sin(2.5 * turn * n) ** 2)  # 5 swells a second
            for n in range(rate)
        ),
    )


def _mu_law(sample: int) -> int:
    """A 16-bit sample as G.711 mu-law: sign, three bits of exponent, four of mantissa, all inverted."""
    magnitude = min(abs(sample), 32_635) + 132  # the bias makes every exponent's range start at a power of 2
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def _a_law(sample: int) -> int:
    """A 16-bit sample as G.711 A-law: like mu-law without the bias, every second bit inverted."""
    magnitude = ~sample if sample < 0 else sample
    exponent = max(magnitude.bit_length() - 8, 0)
    mantissa = (magnitude >> max(exponent + 3, 4)) & 0x0F
    return ((0 if sample < 0 else 0x80) | exponent << 4 | mantissa) ^ 0x55


_ENCODERS: dict[str, Callable[[int], int]] = {"audio/pcmu": _mu_law, "audio/pcma": _a_law}


@functools.cache
def _decoded(audio_format: str) -> list[int]:
    """The sample that each byte of G.711 stands for: the middle of those that are encoded so."""
    decode = _from_mu_law if audio_format == "audio/pcmu" else _from_a_law
    return [decode(byte) for byte in range(256)]


def _from_mu_law(byte: int) -> int:
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 132 << (byte >> 4 & 7)) - 132
    return -magnitude if byte & 0x80 else magnitude


def _from_a_law(byte: int) -> int:
    byte ^= 0x55
    exponent, magnitude = byte >> 4 & 7, ((byte & 0x0F) << 4) + 8
    if exponent:
        magnitude = magnitude + 256 << exponent - 1
    return magnitude if byte & 0x80 else -magnitude
