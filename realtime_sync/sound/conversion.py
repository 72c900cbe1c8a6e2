"""Sound in another format of the wire, at another rate, in pieces of another length."""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import array
from collections.abc import Generator, Iterable, Iterator

from .formats import PCM, Audio, bytes_of, bytes_per_sample, loudness, sample_rate, samples_of, size_of
from .resampler import Resampler

__all__ = [
    "Pieces",
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
Pieces = Generator[bytes, None, None]

_ENDLESS = 1e300  # milliseconds; times a sample rate, it has to be a number still


def level(audio: Audio, format: str = PCM) -> float:
    """How loud it is, in dBFS: 0 is the loudest square wave there can be, silence is minus infinity.

    Raises:
        ValueError: It is PCM of an odd number of bytes, or the format is none of the three.
    """
    return loudness(samples_of(audio, format))


def to_format(audio: Audio, from_format: str, to_format: str) -> bytes:
    """The same sound in another format of the wire: `PCM`, `PCMU` or `PCMA`.

    Raises:
        ImportError: One is PCM and the other is not, which needs the extra ``audio``.
        ValueError: It is PCM of an odd number of bytes, to be converted, or a format is none of the three.
    """
    if from_format == to_format:
        return bytes(audio)
    return b"".join(converted([samples_of(audio, from_format)], sample_rate(from_format), to_format))


def resample(audio: Audio, from_rate: int, to_rate: int) -> bytes:
    """16-bit mono sound at another sample rate, for example 48000 Hz to a session's 24000.

    Of sound that comes in pieces, convert all of it at once: the ends of pieces would be heard.

    Raises:
        ImportError: The rates differ, which needs the extra ``audio``.
        ValueError: It is an odd number of bytes, or a rate is not above 0.
    """
    if min(from_rate, to_rate) <= 0:
        raise ValueError(f"sound of {from_rate} Hz can't be made sound of {to_rate} Hz")
    resampler = Resampler(from_rate, to_rate)
    pcm = bytes_of(samples_of(audio))
    return resampler.feed(pcm) + resampler.finish()


def chunks(audio: Audio | Iterable[bytes], ms: float = 100, format: str = PCM) -> Pieces:
    """Cut audio into pieces of equal length, of whole samples; the last one may be shorter.

    Args:
        audio: All of it, or pieces of any length.
        ms: Milliseconds of a piece.
        format: Of the audio.

    Raises:
        ValueError: ``ms`` is not above 0, or infinite, or too large to count with, or the format is none of
            the three.
    """
    if not 0 < ms < _ENDLESS:
        raise ValueError(f"a chunk of {ms!r:.80} ms can't be")
    size = max(size_of(ms / 1000, format), bytes_per_sample(format))
    held = bytearray()
    for piece in [audio] if isinstance(audio, bytes | bytearray | memoryview) else audio:
        held += piece
        whole = len(held) - len(held) % size
        for start in range(0, whole, size):
            yield bytes(held[start : start + size])
        del held[:whole]
    if held:
        yield bytes(held)


def converted(pieces: Iterable["Samples[int]"], rate: int, format: str) -> Iterator[bytes]:
    """Mono samples of any rate in a format of the wire, in pieces as they come."""
    resampler = Resampler(rate, sample_rate(format))
    for samples in pieces:
        yield encoded(resampler.feed(bytes_of(samples)), format)
    yield encoded(resampler.finish(), format)


def encoded(pcm: bytes, format: str) -> bytes:
    """PCM in another format of the same rate."""
    return pcm if format == PCM else bytes_of(samples_of(pcm), format)


def decoded(audio: bytes, format: str) -> bytes:
    """The way back."""
    return audio if format == PCM else bytes_of(samples_of(audio, format))
