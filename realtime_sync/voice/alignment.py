"""Line up what a speaker has played with what a microphone hears, though their clocks differ."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..sound.resampler import Resampler
from .devices import SAMPLE_WIDTH

__all__ = ["Pace", "Reference", "Tapped"]

_GAP = 0.25  # seconds of difference at once: the device has paused, or audio was lost
_JUMP = 0.06  # seconds of difference in the mean that are made up for at once
_SLACK = 0.005  # seconds of difference in the mean that are left alone
_MEAN = 1.0  # seconds that the mean is taken over: devices deliver in bursts
_SLIP = 10_000  # samples for each that is added or left out: an echo canceller follows 100 ppm unharmed
_MOST_LAG = 0.02  # seconds that reading stays behind, since devices deliver in bursts
_KEPT = 2.0  # seconds of the past that are kept, for a microphone that is read late
_MOST_WAITING = 4000  # blocks of a speaker that wait for the microphone; the oldest are lost


class Tapped(Protocol):
    """Define a speaker that tells what it plays, such as `Speaker`."""

    clock: Callable[[], float]

    @property
    def rate(self) -> int:
        """Return the sample rate of the device in Hz."""
        ...

    @property
    def latency(self) -> float:
        """Return the seconds of audio that the device buffers."""
        ...

    def tap(self, listener: Callable[[bytes, float], object]) -> Callable[[], None]:
        """Pass on all samples that go to the device; see `Speaker.tap`."""
        ...


class Pace:
    """Compare a stream of samples with the clock, and tell how many to insert or to leave out.

    Args:
        rate: Samples per second, as the stream is said to have.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._origin: float | None = None
        self._position = 0
        self._error = 0.0  # mean of the samples that are missing by the clock
        self._unslipped = 0

    @property
    def origin(self) -> float:
        """Return the time of the first sample."""
        assert self._origin is not None
        return self._origin

    def count(self, samples: int, at: float) -> int:
        """Count samples of which the first one belongs to a time.

        Returns:
            How many are missing before them; negative if they are so many too many.
        """
        if self._origin is None:
            self._origin = at
        missing = (at - self._origin) * self._rate - self._position
        correction = self._corrected(missing, samples)
        self._position += correction + samples
        return correction

    def _corrected(self, missing: float, samples: int) -> int:
        weight = min(1.0, samples / (self._rate * _MEAN))
        self._error += (missing - self._error) * weight
        if abs(missing) > _GAP * self._rate:
            self._error = missing
        if abs(self._error) > _JUMP * self._rate:
            jump, self._error = round(self._error), 0.0
            return jump
        self._unslipped += samples
        if self._unslipped < _SLIP or abs(self._error) < _SLACK * self._rate:
            return 0
        self._unslipped = 0
        return 1 if self._error > 0 else -1


class Reference:
    """Keep what a speaker plays, to be read in step with a microphone.

    Both streams are laid along the clock: the speaker's by the times at which its samples went to the device,
    the microphone's by those at which its samples came.  So the echo is behind the reference by what both
    devices buffer, whatever they say about it, and drift and pauses of either device don't change that.

    Args:
        speaker: The speaker.
        rate: The sample rate to read with, in Hz.
        latency: Seconds of audio that the microphone's device buffers.

    Raises:
        ImportError: The speaker's device has another rate, and soxr is not installed.
    """

    def __init__(self, speaker: Tapped, rate: int, latency: float) -> None:
        self._rate = rate
        self._lag = min(_MOST_LAG, (speaker.latency + latency) / 4)  # less than the echo's delay
        self._resampler = Resampler(speaker.rate, rate)
        # From PortAudio's thread to the one that reads; a deque needs no lock for that.
        self._waiting: deque[tuple[bytes, float]] = deque(maxlen=_MOST_WAITING)
        self._played = Pace(rate)
        self._heard = Pace(rate)
        self._buffer = bytearray()
        self._first = 0  # the position of the first sample in it
        self._next: int | None = None  # the position to read from
        self.close = speaker.tap(lambda samples, at: self._waiting.append((samples, at)))

    def read(self, count: int, at: float) -> bytes:
        """Return what was played along with samples that were heard; silence where nothing was.

        Args:
            count: The number of samples.
            at: When the first of them came, by the speaker's clock.
        """
        self._take()
        skipped = self._heard.count(count, at)
        if not self._buffer:
            return bytes(count * SAMPLE_WIDTH)
        if self._next is None:
            self._next = round((at - self._lag - self._played.origin) * self._rate)
        else:
            self._next += skipped
        start, self._next = self._next, self._next + count
        self._forget(start - int(_KEPT * self._rate))
        return self._slice(start, start + count)

    def _take(self) -> None:
        """Add what was played meanwhile."""
        while self._waiting:
            samples, at = self._waiting.popleft()
            pcm = self._resampler.feed(samples)
            missing = self._played.count(len(pcm) // SAMPLE_WIDTH, at)
            if missing > self._rate:  # a long pause: only its last second is needed
                self._first += len(self._buffer) // SAMPLE_WIDTH + missing - self._rate
                self._buffer.clear()
            self._buffer += bytes(min(max(missing, 0), self._rate) * SAMPLE_WIDTH) + pcm
            if missing < 0:
                del self._buffer[missing * SAMPLE_WIDTH :]

    def _forget(self, before: int) -> None:
        """Drop samples that are not needed any more, but never all."""
        old = min(before - self._first, len(self._buffer) // SAMPLE_WIDTH - 1)
        if old > 0:
            del self._buffer[: old * SAMPLE_WIDTH]
            self._first += old

    def _slice(self, start: int, end: int) -> bytes:
        """Return the samples between two positions, with silence where there are none."""
        count = len(self._buffer) // SAMPLE_WIDTH
        low, high = (min(max(position - self._first, 0), count) for position in (start, end))
        before = min(max(self._first - start, 0), end - start)
        found = bytes(before * SAMPLE_WIDTH) + bytes(self._buffer[low * SAMPLE_WIDTH : high * SAMPLE_WIDTH])
        return found + bytes((end - start) * SAMPLE_WIDTH - len(found))
