"""Voice activity detection: where in a stream of audio speech begins and stops, by loudness."""

import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import add, mul
from typing import Protocol, TypeAlias

from .formats import FULL_SCALE, G711_RATE, bytes_per_sample, sample_rate, samples_of

__all__ = ["Detector", "DetectorFactory", "EnergyDetector", "Started", "Stopped"]

_WINDOW_MS = 20  # what loudness is measured over: a few periods of the lowest voice
_ONSET_WINDOWS = 3  # sustained ones in a run that are speech; fewer are a click or a knock
_QUIETEST_DB, _LOUDEST_DB = -60.0, -20.0  # what the thresholds 0.0 and 1.0 stand for, in dBFS
_LEAST_MARGIN_DB, _MOST_MARGIN_DB = 3.0, 9.0  # and above the noise
_SUSTAINED = 10 ** (-9 / 10)  # of the loudest window of its run; a knock has decayed by more 20 ms later
_FORGOTTEN = 10 ** (-1.5 / 10)  # a window: speech that follows a loud knock is heard all the same
_BLOCK_WINDOWS = 5  # averaged, so that the floor is that of the noise and not its quietest moment
_FLOOR_BLOCKS = 30  # 3 s, in which who speaks takes breath at least once
_OFFSET_WINDOWS = 16  # that a DC offset is averaged over


@dataclass(frozen=True)
class Started:
    """Speech begins with this sample."""

    sample: int


@dataclass(frozen=True)
class Stopped:
    """Silence has lasted long enough, up to this sample."""

    sample: int


class Detector(Protocol):
    """Finds speech in a stream of audio, whatever chunks it comes in.  For one thread at a time."""

    @property
    def speaking(self) -> bool:
        """Whether speech has begun and not stopped."""
        ...

    @property
    def quiet_ms(self) -> int:
        """Milliseconds of silence at the end of what was fed, while `speaking`; 0 while speech is heard."""
        ...

    def adjust(self, threshold: float, silence_ms: int) -> None:
        """Use other values for the audio that is fed from here on.

        If the silence at the end of what was fed is long enough by the new value, the speech stops with
        the next `feed`.
        """
        ...

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        """Take more audio, and yield what is found in it, in order.

        Positions are in samples of all audio fed.  They never go back, and are never behind the end.
        The audio is examined while the iterator is consumed.
        """
        ...


DetectorFactory: TypeAlias = Callable[[str, float, int], Detector]
"""Makes a `Detector` of an audio format (``"audio/pcm"``, ``"audio/pcmu"``, ``"audio/pcma"``), a threshold
from 0.0 to 1.0, and the silence in ms that ends speech: each of the classes is one."""


class EnergyDetector:
    """Finds speech by loudness: a `Detector` that needs no model.

    What is steady is noise: a DC offset, hiss, hum, a tone of more than three seconds.  Speech has to stand
    out from it.  A stream that begins in loud noise is taken for speech until these are over.

    Args:
        audio_format: ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.
        threshold: How loud speech is, from 0.0 (-60 dBFS, and 3 dB above the noise) to 1.0 (-20 dBFS, and
            9 dB above).
        silence_ms: How long it has to be quiet for speech to be over.

    Attributes:
        speaking: Whether speech has begun and not stopped.
    """

    def __init__(self, audio_format: str, threshold: float, silence_ms: int) -> None:
        self._format = audio_format
        self._rate = sample_rate(audio_format)
        self._window = self._rate * _WINDOW_MS // 1000
        self._size = self._window * bytes_per_sample(audio_format)
        self._rest = b""  # bytes that don't fill a window yet
        self._position = 0  # samples examined
        self._noise = _Noise()
        self._offset = _Offset()
        self._run = _Run()
        self._first: int | None = None  # where the present run of loud audio began
        self._last = 0  # end of the last speech
        self._stopped = 0  # end of the last turn
        self.speaking = False
        self.adjust(threshold, silence_ms)

    def adjust(self, threshold: float, silence_ms: int) -> None:
        """Use other values for the audio that is fed from here on; see `Detector.adjust`."""
        level = _QUIETEST_DB + threshold * (_LOUDEST_DB - _QUIETEST_DB)
        margin = _LEAST_MARGIN_DB + threshold * (_MOST_MARGIN_DB - _LEAST_MARGIN_DB)
        self._least = FULL_SCALE**2 * 10 ** (level / 10)  # the power of a loud window
        self._margin = 10 ** (margin / 10)
        self._silence = self._rate * silence_ms // 1000

    @property
    def quiet_ms(self) -> int:
        """Milliseconds of silence at the end of what was fed, while `speaking`; 0 while speech is heard."""
        quiet = self._position - self._last
        return quiet * 1000 // self._rate if self.speaking and quiet >= self._window else 0

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        """Take more audio, and yield what is found in it, in order."""
        yield from self._ended()  # by a shorter silence than before
        data = self._rest + audio
        whole = len(data) - len(data) % self._size
        samples = samples_of(data[:whole], self._format)
        self._rest = data[whole:]
        for start in range(0, len(samples), self._window):
            yield from self._take(samples[start : start + self._window])

    def _take(self, window: "array.array[int]") -> Iterator[Started | Stopped]:
        """Examine one window."""
        mean, power = _mean_and_power(window)
        self._noise.take(power)
        least = max(self._least, self._noise.floor * self._margin)
        edges = self._edges(window, least**0.5)
        self._position += len(window)
        if power >= least:
            yield from self._loud(power, *(edges or (self._position - len(window), self._position)))
        else:
            self._run.end()
            self._offset.take(mean)
            # Audio that begins near the end of a window does not make it loud yet.
            self._first = edges[0] if edges else None
            yield from self._ended()

    def _loud(self, power: float, first: int, end: int) -> Iterator[Started]:
        """Take a loud window, whose loud samples are from ``first`` up to ``end``."""
        self._run.take(power)
        if self._first is None:
            self._first = first
        if self._run.sustained >= _ONSET_WINDOWS:
            self._last = end
            if not self.speaking:
                self.speaking = True
                yield Started(max(self._first, self._stopped))

    def _ended(self) -> Iterator[Stopped]:
        """Stop if it has been quiet for long enough; not within a run that may turn out to be speech."""
        if self.speaking and not self._run.windows and self._position - self._last >= self._silence:
            self.speaking = False
            self._stopped = self._last + self._silence
            yield Stopped(self._stopped)

    def _edges(self, window: "array.array[int]", peak: float) -> tuple[int, int] | None:
        """Return where the first sample of the window is that reaches the peak, and the end of the last."""
        low, high = self._offset.mean - peak, self._offset.mean + peak
        if low < min(window) and max(window) < high:  # as in most windows
            return None
        first = next(n for n, sample in enumerate(window) if not low < sample < high)
        after = next(n for n, sample in enumerate(reversed(window)) if not low < sample < high)
        return self._position + first, self._position + len(window) - after


def _mean_and_power(window: "array.array[int]") -> tuple[float, float]:
    """Return the mean of a window, and the power of the rest below 4 kHz, where that of speech is.

    PCM is brought to the rate of G.711 for that, by adding up three samples each: that is quicker, too.
    """
    if len(window) == G711_RATE * _WINDOW_MS // 1000:
        count, scale, samples = len(window), 1, window
    else:
        count, scale = len(window) // 3, 3
        samples = array.array("i", map(add, map(add, window[::3], window[1::3]), window[2::3]))
    mean = sum(samples) / count
    power = max(sum(map(mul, samples, samples)) / count - mean**2, 0.0)
    return mean / scale, power / scale**2


class _Noise:
    """The power of steady noise: the least that a stream had in the last three seconds.

    Attributes:
        floor: The power; 0.0 until three seconds were heard.
    """

    def __init__(self) -> None:
        self.floor = 0.0
        self._blocks: deque[float] = deque(maxlen=_FLOOR_BLOCKS)
        self._sum = 0.0
        self._windows = 0

    def take(self, power: float) -> None:
        """Take the power of the next window."""
        self._sum += power
        self._windows += 1
        if self._windows == _BLOCK_WINDOWS:
            self._blocks.append(self._sum / _BLOCK_WINDOWS)
            self._sum, self._windows = 0.0, 0
            if len(self._blocks) == _FLOOR_BLOCKS:
                self.floor = min(self._blocks)


class _Offset:
    """The DC offset: the mean of quiet audio.

    Attributes:
        mean: The offset, in steps of a 16-bit sample; 0.0 until quiet audio was heard.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self._windows = 0

    def take(self, mean: float) -> None:
        """Take the mean of a quiet window."""
        self._windows = min(self._windows + 1, _OFFSET_WINDOWS)
        self.mean += (mean - self.mean) / self._windows


class _Run:
    """Loud windows in a row, which are speech if they are sustained: a knock only decays.

    Attributes:
        windows: How many.
        sustained: How many of them were nearly as loud as the loudest before.
    """

    def __init__(self) -> None:
        self.end()

    def end(self) -> None:
        """Begin anew with the next loud window."""
        self.windows = self.sustained = 0
        self._loudest = 0.0

    def take(self, power: float) -> None:
        """Take the power of the next loud window."""
        self.windows += 1
        self._loudest = max(self._loudest * _FORGOTTEN, power)
        self.sustained += power >= self._loudest * _SUSTAINED
