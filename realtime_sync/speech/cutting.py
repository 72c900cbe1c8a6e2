"""Where in audio there is speech, and pieces of it that a recogniser takes."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..sound.conversion import decoded
from ..sound.formats import (
    bytes_per_second,
    duration,
    sample_rate,
    silence,
    size_of,
    whole_samples,
)
from ..sound.resampler import Resampler
from ..sound.vad import DetectorFactory, Started
from .detectors import best_detector

__all__ = ["RATE", "Span", "pieces", "spans"]

RATE = 16_000
"""Samples per second that recognisers take."""

_THRESHOLD = 0.5
_PAUSE_MS = 100  # a break in speech: where it may be cut, and what is not counted as speech
_LEAST = 0.2  # seconds of speech in a piece; for less, recognisers write words that nobody said
_MOST = 12.0  # seconds of a piece; the time that a recogniser takes grows faster than its length
_PADDING = 0.3  # seconds around speech that are kept, since it begins and ends softly
_BLOCK = 1.0  # seconds that are looked at in one go, so that the first piece doesn't wait for the whole


@dataclass(frozen=True)
class Span:
    """Speech without a pause.  ``start`` and ``end`` are in seconds."""

    start: float
    end: float


def spans(audio: bytes, audio_format: str, detector_for: DetectorFactory = best_detector) -> Iterator[Span]:
    """Yield where there is speech, in order.

    Silero finds it where it is installed.  Otherwise what is loud is speech.
    """
    detector = detector_for(audio_format, _THRESHOLD, _PAUSE_MS)
    rate, end = sample_rate(audio_format), duration(audio, audio_format)
    start = 0.0
    for block in _blocks(audio, audio_format):
        for found in detector.feed(block):
            if isinstance(found, Started):
                start = found.sample / rate
            else:
                yield Span(start, min(found.sample / rate - _PAUSE_MS / 1000, end))


def pieces(audio: bytes, audio_format: str, detector_for: DetectorFactory = best_detector) -> Iterator[bytes]:
    """Yield what is to be transcribed, cut at pauses: 16-bit samples at `RATE`, some seconds each.

    Without enough speech in it, audio has no piece.

    Raises:
        ImportError: NumPy or soxr is missing.
    """
    audio, _ = whole_samples(audio, audio_format)
    for span in _padded(_groups(spans(audio, audio_format, detector_for)), duration(audio, audio_format)):
        start, end = size_of(span.start, audio_format), size_of(span.end, audio_format)
        resampler = Resampler(sample_rate(audio_format), RATE)
        yield resampler.feed(decoded(audio[start:end], audio_format)) + resampler.finish()


def _blocks(audio: bytes, audio_format: str) -> Iterator[bytes]:
    """Yield the audio in blocks, and silence in which speech ends that goes on to the end."""
    size = int(_BLOCK * bytes_per_second(audio_format))
    for start in range(0, len(audio), size):
        yield audio[start : start + size]
    yield silence(_BLOCK, audio_format)


def _groups(found: Iterator[Span]) -> Iterator[list[Span]]:
    """Yield spans that make a piece together."""
    group: list[Span] = []
    for span in found:
        for part in _parts(span):
            group.append(part)
            while part.end - group[0].start > _MOST:
                cut = _longest_pause(group)
                yield group[:cut]
                group = group[cut:]
    if group:
        yield group


def _parts(span: Span) -> Iterator[Span]:
    """Yield a span, or parts of it if it is too long for one piece."""
    start = span.start
    while span.end - start > _MOST:
        yield Span(start, start + _MOST / 2)
        start += _MOST / 2
    yield Span(start, span.end)


def _longest_pause(group: list[Span]) -> int:
    """Return the index of the span before which to cut: after the longest pause that isn't too early."""
    late = [n for n in range(1, len(group)) if group[n - 1].end - group[0].start >= _MOST / 3]
    return max(late or range(1, len(group)), key=lambda n: (group[n].start - group[n - 1].end, n))


def _padded(groups: Iterator[list[Span]], length: float) -> Iterator[Span]:
    """Yield from where to where each group is cut out, if there is enough speech in it."""
    before = 0.0
    for group in groups:
        start, end = max(group[0].start - _PADDING, before), min(group[-1].end + _PADDING, length)
        before = group[-1].end
        if sum(span.end - span.start for span in group) >= _LEAST:
            yield Span(start, end)
