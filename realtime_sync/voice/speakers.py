"""What plays sound: `AudioOutput`, a device's `Speaker`, and two without: by the clock, into a file."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

from ..sound.conversion import decoded
from ..sound.formats import (
    BETA_FORMATS,
    PCM,
    bytes_per_sample,
    bytes_per_second,
    sample_rate,
    samples_of,
    silence,
    whole_samples,
)
from ..sound.resampler import Resampler
from .audio import WavWriter
from .devices import SAMPLE_WIDTH, DeviceError, Line, check_above_0, check_not_below_0, chosen

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AudioOutput", "ClockedSpeaker", "FileSpeaker", "Speaker"]

Clock = Callable[[], float]

_EARLY = 0.001  # of a sample; what a sum of times may be wrong by
_SAME_SPEECH = 0.5  # seconds within which sound that goes on was meant to go on without a gap
_LONGEST_DELAY = 5.0  # seconds that a device may say it takes; more is nonsense


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


def format_of(speaker: object) -> str | None:
    """The format that a speaker takes, if it says so; that of somebody else's may be anything."""
    named = getattr(speaker, "format", None)
    return named if isinstance(named, str) and named in BETA_FORMATS else None


# --- Without a device --------------------------------------------------------------------------------


class ClockedSpeaker:
    """Plays by the clock, without a device: for tests, and where nobody listens.

    What is written is heard from that moment on, in real time; ``played_ms`` is exact to the sample.

    Args:
        format: Of what is written; ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.
        clock: Gives seconds, and never goes back.

    Raises:
        ValueError: ``format`` is none of the three.
    """

    def __init__(self, format: str = PCM, *, clock: Clock = time.monotonic) -> None:  # noqa: A002
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

    def __exit__(self, *exception: object) -> None:
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
        ValueError: ``format`` is none of the three; by `write`: it was closed.
        OSError: The file can't be written; by `write`, `clear` and `close` too.
    """

    def __init__(
        self,
        path: "str | PathLike[str]",
        format: str = PCM,  # noqa: A002
        *,
        gaps: bool = False,
        clock: Clock = time.monotonic,
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
        """Play."""
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


# --- On a device -------------------------------------------------------------------------------------


class Speaker:
    """Plays on a sound device; an `AudioOutput`.  It runs once it is made.  Close it, or use it in ``with``.

    Sound comes over the network in bursts.  So it begins to play when ``jitter_ms`` of it are there, or have
    been waited for, and again so after it has run dry.

    Args:
        device: A part of its name, its index (see `list_devices`), or ``None`` for the system's default.
        format: Of what is written: ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.  It is
            converted for a device that can't play at its sample rate.
        latency: Seconds of sound that the device should hold itself.  They can't be taken back: `clear`
            counts them as heard, which they will be.  Less may crackle on a busy machine.
        jitter_ms: See above.
        max_seconds: How much may wait to be played.  Beyond that `write` raises `BufferError`.
        clock: Gives seconds, and never goes back.

    Attributes:
        format: As given.
        underruns: How often the sound stopped and went on within half a second, or the device ran dry.

    Raises:
        ImportError: sounddevice is missing, or the sound has to be converted and soxr is; it names the extra.
        DeviceError: There is no such device, it is in use, or PortAudio is missing; by `start` too.
        ValueError: No device has this name, or several have; ``format`` is none of the three; a time is
            below 0 or not finite, or ``max_seconds`` not above 0.
        TypeError: ``device`` is none of these.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        format: str = PCM,  # noqa: A002
        latency: float = 0.05,
        jitter_ms: float = 60,
        max_seconds: float = 600,
        clock: Clock = time.monotonic,
    ) -> None:
        check_not_below_0(latency=latency, jitter_ms=jitter_ms)
        check_above_0(max_seconds=max_seconds)
        self.format = format
        self.underruns = 0
        self._clock = clock
        self._jitter = jitter_ms / 1000
        # Lets one thread at a time convert sound and put it into the buffer, or empty it.
        self._writing = threading.Lock()
        # Guards all that follows, between these threads and PortAudio's; held for a moment only.
        self._lock = threading.Lock()
        self._rest = b""  # half a sample
        self._buffer = bytearray()  # samples as the device takes them
        self._kept = False  # the resampler has some as well
        self._waits = True  # what is there is not played yet
        self._since = 0.0  # when it began to wait
        self._dry: float | None = None  # since when there is none though it played
        self._heard = 0.0  # ms of all, when somebody asked last
        self._base = 0.0  # ms that were heard before the last `clear`; what follows counts from there
        self._written = 0  # bytes
        self._given = 0  # samples that the device has got
        self._flying: deque[tuple[float, int]] = deque()  # those not heard yet: from when on, how many
        self._closed = False
        self._line = Line("output", chosen(device, "output"), sample_rate(format), 0, latency, self._play)
        self._rate = self._line.rate
        self._most = int(max_seconds * self._rate) * SAMPLE_WIDTH
        try:
            self._resampler = Resampler(sample_rate(format), self._rate)
            self._converts = self._rate != sample_rate(format)
            self._line.start()
        except BaseException:
            self._line.close()
            raise

    @property
    def failure(self) -> DeviceError | None:
        """Why the device plays no more, if it has stopped by itself; `write` raises it."""
        return self._line.failure

    def start(self) -> None:
        """Go on after `stop`."""
        self._line.start()

    def stop(self) -> None:
        """Be silent; what is not played yet is played after the next `start`."""
        self._line.stop()

    def close(self) -> None:
        """Be silent, and give the device back.  To hear the rest first, call `Playback.wait_played`."""
        if not self._closed:
            self._closed = True
            self._line.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- From the program ------------------------------------------------------------------------------

    def write(self, audio: bytes) -> None:
        """Play this after what is there already; doesn't wait.

        Raises:
            BufferError: As much as ``max_seconds`` waits already.  Nothing was taken.
            DeviceError: The device has stopped by itself; see `failure`.
            ValueError: It was closed.
        """
        with self._writing:
            if self._closed:
                raise ValueError("the speaker was closed")
            if self.failure is not None:
                raise DeviceError(str(self.failure))
            if len(self._buffer) >= self._most:
                raise BufferError(f"{self._most // SAMPLE_WIDTH / self._rate:g} s of sound wait to be played")
            samples = self._converted(audio)
            with self._lock:
                self._go_on(self._clock())
                self._buffer += samples
                self._written += len(audio)
                self._kept = self._converts

    def _converted(self, audio: bytes) -> bytes:
        """Samples as the device takes them."""
        data, self._rest = whole_samples(self._rest + audio, self.format)
        return samples_of(self._resampler.feed(decoded(data, self.format))).tobytes()

    def _go_on(self, now: float) -> None:
        """More sound comes: note whether there was a gap, and count anew if all was heard."""
        if self._dry is not None and now - self._dry < _SAME_SPEECH:
            self.underruns += 1
        self._dry = None
        if not self._buffer and not self._kept:
            self._since = now
            if not self._flying:
                self._begin(self._position(now))

    def _begin(self, position: float) -> None:
        """Count from here on."""
        self._base = position
        self._written = self._given = 0

    @property
    def played_ms(self) -> float:
        """How much has been heard, in milliseconds, by what the device says; see `AudioOutput`."""
        with self._lock:
            return self._position(self._clock())

    def clear(self) -> None:
        """Be silent as soon as the device has played what it holds itself, and drop the rest."""
        with self._writing, self._lock:
            self._begin(self._position(math.inf))
            self._buffer.clear()
            self._resampler.finish()
            self._waits, self._kept, self._dry, self._rest = True, False, None, b""

    def _position(self, now: float) -> float:
        self._land(now)
        flying = sum(
            min(count, count - math.floor((now - start) * self._rate + _EARLY))
            for start, count in self._flying
        )
        heard = (self._given - flying) * 1000 / self._rate
        written = self._written * 1000 / bytes_per_second(self.format)
        if not (self._buffer or self._kept or self._flying):  # converted, it may be a sample more or less
            heard = written
        self._heard = max(self._heard, self._base + min(heard, written))
        return self._heard

    def _land(self, now: float) -> None:
        """Forget what was heard."""
        while self._flying and self._flying[0][0] + self._flying[0][1] / self._rate <= now:
            self._flying.popleft()

    # --- From PortAudio's thread -----------------------------------------------------------------------

    def _play(self, out: Any, count: int, times: Any, status: Any) -> None:
        """Give the device the next samples."""
        with self._lock:
            now = self._clock()
            sound = self._next(count * SAMPLE_WIDTH, now)
            if sound:
                self.underruns += bool(status.output_underflow)
                self._land(now)
                self._flying.append((now + self._delay(times), len(sound) // SAMPLE_WIDTH))
                self._given += len(sound) // SAMPLE_WIDTH
        out[:] = sound + bytes(count * SAMPLE_WIDTH - len(sound))

    def _next(self, size: int, now: float) -> bytes:
        """So many bytes of sound; fewer if there are not more, none while it waits for more."""
        if self._waits:
            enough = len(self._buffer) >= self._jitter * self._rate * SAMPLE_WIDTH
            if not (self._buffer or self._kept) or not (enough or now - self._since >= self._jitter):
                return b""
            self._waits = False
        if len(self._buffer) < size and self._kept:
            self._take_kept()
        sound = bytes(self._buffer[:size])
        del self._buffer[:size]
        if len(sound) < size:
            self._waits, self._dry = True, now
        return sound

    def _take_kept(self) -> None:
        """Get what the resampler has kept, unless a thread is just about to write more."""
        if self._writing.acquire(blocking=False):
            try:
                self._buffer += samples_of(self._resampler.finish()).tobytes()
                self._kept = False
            finally:
                self._writing.release()

    def _delay(self, times: Any) -> float:
        """Seconds until what is given now is heard.  Not every system knows."""
        delay = float(times.outputBufferDacTime - times.currentTime)
        return delay if 0 < delay < _LONGEST_DELAY else self._line.latency
