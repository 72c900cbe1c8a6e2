"""Audio as the wire carries it: the three formats, their sizes, their samples, and how loud they are.

All formats are mono: `PCM` (16-bit little-endian at 24000 Hz), and G.711's `PCMU` (mu-law) and `PCMA` (A-law)
with one byte a sample at 8000 Hz.  What else needs to know such a fact takes it from here.
"""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import array
import functools
import math
import operator
import sys
from collections.abc import Iterable, Iterator

from ..events import AudioConfig, AudioFormat, AudioInputConfig, AudioOutputConfig, SessionConfig

__all__ = [
    "BETA_FORMATS",
    "FULL_SCALE",
    "G711_RATE",
    "GA_FORMATS",
    "PCM",
    "PCMA",
    "PCMU",
    "PCM_RATE",
    "Audio",
    "bytes_of",
    "bytes_per_sample",
    "bytes_per_second",
    "duration",
    "format_name",
    "input_format",
    "input_settings",
    "known_format",
    "loudness",
    "output_format",
    "sample_rate",
    "samples_of",
    "silence",
    "silent",
    "size_of",
    "whole_samples",
]

Audio = bytes | bytearray | memoryview

PCM, PCMU, PCMA = "audio/pcm", "audio/pcmu", "audio/pcma"
PCM_RATE = 24_000
"""Samples per second of `PCM`."""
G711_RATE = 8_000
"""Samples per second of `PCMU` and `PCMA`."""
FULL_SCALE = 32_768
"""The size of the loudest 16-bit sample, which is negative."""
BETA_FORMATS = {PCM: "pcm16", PCMU: "g711_ulaw", PCMA: "g711_alaw"}
"""The names of the three formats in Beta, by those of GA."""
GA_FORMATS = {beta: ga for ga, beta in BETA_FORMATS.items()}
"""The names of the three formats in GA, by those of Beta."""

_RATES = {PCM: PCM_RATE, PCMU: G711_RATE, PCMA: G711_RATE}
_WIDTHS = {PCM: 2, PCMU: 1, PCMA: 1}  # bytes of a sample


def known_format(format: str) -> str:
    """Return the format unchanged if it is one of the three.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(format, str) or format not in _RATES:
        raise ValueError(f"unknown audio format {format!r:.80}; expected one of {', '.join(_RATES)}")
    return format


def sample_rate(format: str) -> int:
    """Return the samples per second of a format: 24000 of PCM, 8000 of G.711.

    Raises:
        ValueError: It is not one of the three formats; so do all functions here that take one.
    """
    return _RATES[known_format(format)]


def bytes_per_sample(format: str) -> int:
    """Return the bytes of one sample: 2 of PCM, 1 of G.711."""
    return _WIDTHS[known_format(format)]


def bytes_per_second(format: str) -> int:
    """Return how many bytes one second of audio takes."""
    return sample_rate(format) * bytes_per_sample(format)


def duration(audio: Audio | int, format: str = PCM) -> float:
    """Return the seconds that audio lasts, given as a buffer or as its number of bytes."""
    size = audio if isinstance(audio, int) else memoryview(audio).nbytes
    return size / bytes_per_second(format)


def size_of(seconds: float, format: str = PCM) -> int:
    """Return the bytes that this many seconds take, rounded to whole samples."""
    return round(seconds * sample_rate(format)) * bytes_per_sample(format)


def samples_of(audio: Audio, format: str = PCM) -> "array.array[int]":
    """Return the samples of audio, 16 bits each.

    Raises:
        ValueError: It is PCM of an odd number of bytes.
    """
    data = memoryview(audio).tobytes()  # its items may be larger than a byte
    if format != PCM:
        return array.array("h", map(_decoded(format).__getitem__, data))
    samples = array.array("h")
    samples.frombytes(data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def bytes_of(samples: Iterable[int], format: str = PCM) -> bytes:
    """Encode 16-bit samples in a format of the wire; the inverse of `samples_of`."""
    if format != PCM:
        # A negative index counts from the end, where the table has the negative samples.
        return bytes(map(_encoded(format).__getitem__, samples))
    packed = array.array("h", samples)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def whole_samples(data: bytes, format: str) -> tuple[bytes, bytes]:
    """Return the whole samples in the data, and the rest, which belongs before the data that follows."""
    whole = len(data) - len(data) % bytes_per_sample(format)
    return data[:whole], data[whole:]


def silence(seconds: float, format: str = PCM) -> bytes:
    """Return this many seconds of silence, rounded to whole samples."""
    return bytes_of([0], format) * round(seconds * sample_rate(format))


def silent(seconds: float, format: str = PCM) -> Iterator[bytes]:
    """Yield as much silence as `silence` returns, in blocks of a second, made as they are asked for."""
    left = round(seconds * sample_rate(format))
    while left > 0:
        block = min(left, sample_rate(format))
        yield bytes_of([0], format) * block
        left -= block


def loudness(samples: "array.array[int]") -> float:
    """Return the mean level in dBFS: 0 for a square wave of full scale, minus infinity for silence."""
    power = sum(map(operator.mul, samples, samples)) / len(samples) if samples else 0
    return 10 * math.log10(power / FULL_SCALE**2) if power else -math.inf


# --- What a session uses -----------------------------------------------------------------------------


def input_settings(config: SessionConfig | None) -> AudioInputConfig | None:
    """Return the input part of a session's settings as GA nests it; ``None`` in Beta, which has none."""
    audio = config.audio if config else None
    side = audio.input if isinstance(audio, AudioConfig) else None
    return side if isinstance(side, AudioInputConfig) else None


def input_format(config: SessionConfig | None) -> str:
    """Return the format of audio that a session with these settings takes, in either dialect."""
    ga = input_settings(config)
    return format_name((ga and ga.format) or (config and config.input_audio_format))


def output_format(config: SessionConfig | None) -> str:
    """Return the format of audio that a session with these settings sends, in either dialect."""
    audio = config.audio if config else None
    side = audio.output if isinstance(audio, AudioConfig) else None
    ga = side.format if isinstance(side, AudioOutputConfig) else None
    return format_name(ga or (config.output_audio_format if config else None))


def format_name(named: object) -> str:
    """Return which of the three formats a server means by a name or an `AudioFormat`; PCM if unknown."""
    name = named.type if isinstance(named, AudioFormat) else named
    name = GA_FORMATS.get(name, name) if isinstance(name, str) else name
    return name if isinstance(name, str) and name in _RATES else PCM


# --- G.711 -------------------------------------------------------------------------------------------


@functools.cache
def _encoded(format: str) -> bytes:
    """Return the table of the byte for each sample: of 0 to 32767, then of -32768 to -1."""
    encode = {PCMU: _to_mu_law, PCMA: _to_a_law}[known_format(format)]
    return bytes(map(encode, [*range(FULL_SCALE), *range(-FULL_SCALE, 0)]))


def _to_mu_law(sample: int) -> int:
    """Encode a 16-bit sample as G.711 mu-law: sign, 3 bits of exponent, 4 of mantissa, all inverted."""
    magnitude = min(abs(sample), 32_635) + 132  # the bias makes every exponent's range start at a power of 2
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def _to_a_law(sample: int) -> int:
    """Encode a 16-bit sample as G.711 A-law: like mu-law without the bias, every second bit inverted."""
    magnitude = ~sample if sample < 0 else sample
    exponent = max(magnitude.bit_length() - 8, 0)
    mantissa = (magnitude >> max(exponent + 3, 4)) & 0x0F
    return ((0 if sample < 0 else 0x80) | exponent << 4 | mantissa) ^ 0x55


@functools.cache
def _decoded(format: str) -> list[int]:
    """Return the sample that each byte of G.711 stands for: the middle of those encoded as that byte."""
    decode = {PCMU: _from_mu_law, PCMA: _from_a_law}[known_format(format)]
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
