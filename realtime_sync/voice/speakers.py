"""What plays sound: `AudioOutput`, and two that need no device: one plays by the clock, one into a file."""

import math
import threading
import time
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ..sound import PCM, bytes_per_sample, sample_rate, silence
from .audio import WavWriter

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AudioOutput", "ClockedSpeaker", "FileSpeaker"]

_EARLY = 0.001  # of a sample; what a sum of times may be wrong by


class AudioOutput(Protocol):
    """A speaker: whatever has these three.  They may be called from any thread, and none of them waits.

    `Playback` writes to it; what else is written to it meanwhile would be taken for the response's sound.
    """

    def write(self, audio: bytes) -> None:
        """Play this after what is there already: raw bytes in the session's output format.

        What it raises is in `Playback.failure`; the session goes on without sound.
        """
        ...

    @property
    def played_ms(self) -> float:
        """How much of all that was ever written has been heard, in milliseconds.

        Never decreases.  The silence when there is nothing to play doesn't count, and what `clear`
        dropped never does.
        """
        ...

    def clear(self) -> None:
        """Be silent at once and drop the rest.

        After it has returned, `played_ms` stands still until the next `write`.
        """
        ...


class ClockedSpeaker:
    """Plays by the clock, without a device: for tests, and where nobody listens.

    What is written is heard from that moment on, in real time; ``played_ms`` is exact to the sample.

    Args:
        format: Of what is written; ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.
        clock: Gives seconds, and never goes back.

    Raises:
        KeyError: ``format`` is none of the three.
    """

    def __init__(self, format: str = PCM, *, clock: Callable[[], float] = time.monotonic) -> None:  # noqa: A002
        self.format = format
        self._rate = sample_rate(format)
        self._width = bytes_per_sample(format)
        self._clock = clock
        # Makes one step of each method: one thread writes while others look or clear.
        self._lock = threading.Lock()
        self._since = clock()  # when the sound that plays now began, or the silence
        self._before = 0  # samples that were heard before that
        self._written = 0  # bytes, without those that were cleared

    def write(self, audio: bytes) -> None:
        """Play this after what is there already."""
        with self._lock:
            self._write(audio, self._clock())

    @property
    def played_ms(self) -> float:
        """How much has been heard, in milliseconds; see `AudioOutput`."""
        with self._lock:
            return self._heard(self._clock()) * 1000 / self._rate

    def clear(self) -> None:
        """Be silent at once and drop the rest."""
        with self._lock:
            self._clear(self._clock())

    def close(self) -> None:
        """Nothing needs closing here."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, audio: bytes, now: float) -> None:
        heard = self._heard(now)
        if heard == self._samples:
            self._since, self._before = now, heard
        self._written += len(audio)

    def _clear(self, now: float) -> None:
        heard = self._heard(now)
        self._since, self._before, self._written = now, heard, heard * self._width

    @property
    def _samples(self) -> int:
        """Whole samples that were written."""
        return self._written // self._width

    def _heard(self, now: float) -> int:
        """Samples that were heard by now."""
        return min(self._samples, self._before + math.floor((now - self._since) * self._rate + _EARLY))


class FileSpeaker(ClockedSpeaker):
    """Plays by the clock, and writes what was heard into a WAV file: not what `clear` dropped.

    Args:
        path: The file; one that is there is overwritten.
        format: Of what is written, and of the file; see `ClockedSpeaker`.
        gaps: Whether the silence when there was nothing to play is in the file as well, so that it takes as
            long as it took, from the moment the speaker was made.
        clock: As in `ClockedSpeaker`.

    Raises:
        KeyError: ``format`` is none of the three.
        OSError: The file can't be written; by `write` and `close` too.
    """

    def __init__(
        self,
        path: "str | PathLike[str]",
        format: str = PCM,  # noqa: A002
        *,
        gaps: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(format, clock=clock)
        self._file = WavWriter(path, format)
        self._gaps = gaps
        self._unheard = bytearray()
        self._closed = False

    def close(self) -> None:
        """Put what is not heard yet into the file, at once, and close it.  `clear` first to leave it out."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._before = self._samples
            try:
                self._keep(self._clock())
            finally:
                self._file.close()

    def _write(self, audio: bytes, now: float) -> None:
        """Play.

        Raises:
            ValueError: It was closed.
        """
        if self._closed:
            raise ValueError("the speaker was closed")
        self._keep(now)
        if self._gaps:
            ended = self._since + (self._samples - self._before) / self._rate
            self._file.write(silence(max(now - ended, 0.0), self.format))
        super()._write(audio, now)
        self._unheard += audio

    def _clear(self, now: float) -> None:
        self._keep(now)
        super()._clear(now)
        self._unheard.clear()

    def _keep(self, now: float) -> None:
        """Put what was heard meanwhile into the file."""
        first = self._written - len(self._unheard)
        size = self._heard(now) * self._width - first
        if size > 0:
            self._file.write(bytes(self._unheard[:size]))
            del self._unheard[:size]
