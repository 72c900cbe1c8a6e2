"""Voice activity detection by loudness: where in a stream of audio speech begins and stops."""

import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .formats import loudness, sample_rate, samples_of

__all__ = ["Detector", "DetectorFactory", "Started", "Stopped"]

_WINDOW_MS = 20  # what loudness is measured over: a few periods of the lowest voice
_ONSET_WINDOWS = 3  # loud ones in a row that are speech; fewer are a click or a knock
_QUIETEST_DB, _LOUDEST_DB = -60.0, -20.0  # what the thresholds 0.0 and 1.0 stand for, in dBFS


@dataclass(frozen=True)
class Started:
    """Speech begins with this sample."""

    sample: int


@dataclass(frozen=True)
class Stopped:
    """Silence has lasted long enough, up to this sample."""

    sample: int


class Detector:
    """Finds speech in a stream of audio, whatever chunks it comes in.

    Args:
        audio_format: ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.
        threshold: How loud speech is, from 0.0 (-60 dBFS) to 1.0 (-20 dBFS).
        silence_ms: How long it has to be quiet for speech to be over.

    Attributes:
        speaking: Whether speech has begun and not stopped.
    """

    def __init__(self, audio_format: str, threshold: float, silence_ms: int) -> None:
        self._format = audio_format
        self._width = 2 if audio_format == "audio/pcm" else 1  # bytes of a sample
        self._rate = sample_rate(audio_format)
        self._window = self._rate * _WINDOW_MS // 1000
        self.adjust(threshold, silence_ms)
        self._rest = b""  # bytes that don't fill a window yet
        self._position = 0  # samples taken
        self._loud = 0  # loud windows in a row
        self._first: int | None = None  # where the present run of loud audio began
        self._last = 0  # end of the last loud audio
        self.speaking = False

    def adjust(self, threshold: float, silence_ms: int) -> None:
        """Use other values from here on."""
        self._cut = _QUIETEST_DB + threshold * (_LOUDEST_DB - _QUIETEST_DB)
        self._peak = 32_768 * 10 ** (self._cut / 20)  # a loud window has a sample that reaches this
        self._silence = self._rate * silence_ms // 1000

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        """Take more audio, and yield what is found in it, in order."""
        data = self._rest + audio
        size = self._window * self._width
        whole = len(data) - len(data) % size
        samples = samples_of(data[:whole], self._format)
        self._rest = data[whole:]
        for start in range(0, len(samples), self._window):
            yield from self._take(samples[start : start + self._window])

    def _take(self, window: "array.array[int]") -> Iterator[Started | Stopped]:
        """Examine one window."""
        heard: list[int] = []
        if max(window) >= self._peak or min(window) <= -self._peak:  # most windows have no loud sample
            heard = [self._position + n for n, sample in enumerate(window) if abs(sample) >= self._peak]
        self._position += len(window)
        if loudness(window) >= self._cut:
            self._loud += 1
            self._last = heard[-1] + 1 if heard else self._position
            if self._first is None:
                self._first = heard[0] if heard else self._position - len(window)
            if self._loud == _ONSET_WINDOWS and not self.speaking:
                self.speaking = True
                yield Started(self._first)
        else:
            self._loud = 0
            # Audio that begins near the end of a window does not make it loud yet.
            self._first = heard[0] if heard else None
            if self.speaking and self._position - self._last >= self._silence:
                self.speaking = False
                yield Stopped(self._last + self._silence)


DetectorFactory = Callable[[str, float, int], Detector]
