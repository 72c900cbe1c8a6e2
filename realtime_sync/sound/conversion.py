"""Audio in another format of the wire, at another rate, in chunks of another length."""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import array
from collections.abc import Generator, Iterable, Iterator

from .formats import PCM, Audio, bytes_of, bytes_per_sample, loudness, sample_rate, samples_of, size_of
from .resampler import Resampler

__all__ = [
    "Chunks",
    "Samples",
    "chunks",
    "converted",
    "decoded",
    "encoded",
    "level",
    "resample",
    "to_format",
]

Samples = array.array  # of "h": 16 bits each
Chunks = Generator[bytes, None, None]

_ENDLESS = 1e300  # milliseconds; times a sample rate, it has to be a number still


def level(audio: Audio, format: str = PCM) -> float:
    """Return how loud audio is in dBFS: 0 for a square wave of full scale, minus infinity for silence.

    Raises:
        ValueError: It is PCM of an odd number of bytes, or the format is not one of the three.
    """
    return loudness(samples_of(audio, format))


def to_format(audio: Audio, from_format: str, to_format: str) -> bytes:
    """Convert audio to another format of the wire: `PCM`, `PCMU` or `PCMA`.

    Raises:
        ImportError: One is PCM and the other is not, which needs the extra ``audio``.
        ValueError: It is PCM of an odd number of bytes, to be converted, or a format is not one of the three.
    """
    if from_format == to_format:
        return bytes(audio)
    return b"".join(converted([samples_of(audio, from_format)], sample_rate(from_format), to_format))


def resample(audio: Audio, from_rate: int, to_rate: int) -> bytes:
    """Convert 16-bit mono audio to another sample rate, for example 48000 Hz to a session's 24000.

    Convert audio that comes in chunks all at once: otherwise each boundary is audible.

    Raises:
        ImportError: The rates differ, which needs the extra ``audio``.
        ValueError: It is an odd number of bytes, or a rate is not above 0.
    """
    if min(from_rate, to_rate) <= 0:
        raise ValueError(f"sample rates must be above 0 Hz, got {from_rate} Hz and {to_rate} Hz")
    resampler = Resampler(from_rate, to_rate)
    pcm = bytes_of(samples_of(audio))
    return resampler.feed(pcm) + resampler.finish()


def chunks(audio: Audio | Iterable[bytes], ms: float = 100, format: str = PCM) -> Chunks:
    """Cut audio into chunks of equal length, of whole samples; the last one may be shorter.

    Args:
        audio: All of it, or parts of any length.
        ms: Milliseconds of a chunk.
        format: Of the audio.

    Raises:
        ValueError: ``ms`` is not a positive number, or too large to count with, or the format is not one of
            the three.
    """
    if not 0 < ms < _ENDLESS:
        raise ValueError(f"chunk length must be a positive number of milliseconds, got {ms!r:.80}")
    size = max(size_of(ms / 1000, format), bytes_per_sample(format))
    held = bytearray()
    for part in [audio] if isinstance(audio, bytes | bytearray | memoryview) else audio:
        held += part
        whole = len(held) - len(held) % size
        for start in range(0, whole, size):
            yield bytes(held[start : start + size])
        del held[:whole]
    if held:
        yield bytes(held)


def converted(parts: Iterable["Samples[int]"], rate: int, format: str) -> Iterator[bytes]:
    """Convert mono samples of any rate to a format of the wire, part by part as they come."""
    resampler = Resampler(rate, sample_rate(format))
    for samples in parts:
        yield encoded(resampler.feed(bytes_of(samples)), format)
    yield encoded(resampler.finish(), format)


def encoded(pcm: bytes, format: str) -> bytes:
    """Encode 16-bit samples in a format, without resampling."""
    return pcm if format == PCM else bytes_of(samples_of(pcm), format)


def decoded(audio: bytes, format: str) -> bytes:
    """Decode audio of a format to 16-bit samples, without resampling."""
    return audio if format == PCM else bytes_of(samples_of(audio, format))
