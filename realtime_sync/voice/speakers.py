"""`AudioOutput` and what implements it: `Speaker` (a device), `ClockedSpeaker` (none), `FileSpeaker`."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ..sound.conversion import decoded
from ..sound.formats import (
    BETA_FORMATS,
    PCM,
    bytes_per_sample,
    bytes_per_second,
    sample_rate,
    samples_of,
    silent,
    whole_samples,
)
from ..sound.resampler import Resampler
from .audio import WavWriter
from .devices import (
    CLOSING,
    HASTE,
    SAMPLE_WIDTH,
    DeviceError,
    Line,
    check_above_0,
    check_not_below_0,
    chosen,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AudioOutput", "ClockedSpeaker", "FileSpeaker", "Speaker"]

Clock = Callable[[], float]

_EARLY = 0.001  # samples; the rounding error that a sum of times may have
_SAME_SPEECH = 0.5  # seconds; a shorter gap in the audio is an underrun, a longer one is a pause
_LONGEST_DELAY = 5.0  # seconds; a device that reports a longer delay is wrong


class AudioOutput(Protocol):
    """Define a speaker: any object with these three.  Calls may come from any thread, and must not block.

    `Playback` writes to it.  Other audio written to it meanwhile would be counted as the response's.
    """

    def write(self, audio: bytes) -> None:
        """Queue audio after what is pending: raw bytes in the session's output format.

        If it raises an exception, that becomes `Playback.failure`, and the session goes on without audio.
        """
        ...

    @property
    def played_ms(self) -> float:
        """Return how much of the audio written since the beginning was played, in milliseconds.

        It never decreases.  Silence while nothing is pending doesn't count, nor does audio that `clear`
        discarded.
        """
        ...

    def clear(self) -> None:
        """Fall silent at once and discard the pending audio.

        After it has returned, `played_ms` doesn't change until the next `write`.
        """
        ...


def format_of(speaker: object) -> str | None:
    """Return the format in a speaker's ``format`` attribute; ``None`` if it has none or an unknown one."""
    named = getattr(speaker, "format", None)
    return named if isinstance(named, str) and named in BETA_FORMATS else None


# --- Without a device --------------------------------------------------------------------------------


class ClockedSpeaker:
    """Simulate a speaker by the clock, without a device: for tests, and where no one listens.

    Audio counts as played in real time from the moment it is written; ``played_ms`` is exact to the
    sample.

    Args:
        format: The format of the audio: ``"audio/pcm"`` (the default), ``"audio/pcmu"`` or
            ``"audio/pcma"``.
        clock: Returns the time in seconds, and never goes back.

    Attributes:
        format: The format passed as ``format``.

    Raises:
        ValueError: ``format`` is unknown.
    """

    def __init__(self, format: str = PCM, *, clock: Clock = time.monotonic) -> None:  # noqa: A002
        self.format = format
        self._rate = sample_rate(format)
        self._width = bytes_per_sample(format)
        self._clock = clock
        # Makes each method atomic: one thread writes while others read or clear.
        self._lock = threading.Lock()
        self._since = clock()  # when the present audio, or the present silence, began
        self._before = 0  # samples that were played before that
        self._written = 0  # bytes, without those that were cleared

    def write(self, audio: bytes) -> None:
        """Queue audio after what is pending; see `AudioOutput.write`."""
        with self._lock:
            self._write(audio, self._clock())

    @property
    def played_ms(self) -> float:
        """Return how much was played, in milliseconds; see `AudioOutput.played_ms`."""
        with self._lock:
            return self._heard(self._clock()) * 1000 / self._rate

    def clear(self) -> None:
        """Fall silent at once and discard the pending audio."""
        with self._lock:
            self._clear(self._clock())

    def close(self) -> None:
        """Do nothing; other speakers need to be closed."""

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
        """Return how many whole samples were written."""
        return self._written // self._width

    def _heard(self, now: float) -> int:
        """Return how many samples were played by now."""
        return min(self._samples, self._before + math.floor((now - self._since) * self._rate + _EARLY))


class FileSpeaker(ClockedSpeaker):
    """Simulate a speaker by the clock, and write the played audio to a WAV file.

    Audio that `clear` discarded is not in the file.

    Args:
        path: The file; an existing file is overwritten.
        format: The format of the audio and of the file; see `ClockedSpeaker`.
        gaps: Whether to write the silence between responses to the file as well, so that it lasts as long
            as the conversation did, from the making of the speaker.  The default leaves the silence out.
        clock: See `ClockedSpeaker`.

    Raises:
        ValueError: ``format`` is unknown; or, from `write`, the speaker is closed.
        OSError: The file can't be written; `write`, `clear` and `close` raise it too.
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
        """Write the pending audio to the file at once, and close it.  To leave it out, call `clear` first."""
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
        """Queue audio, after bringing the file up to date."""
        if self._closed:
            raise ValueError("write() on a closed speaker")
        self._keep(now)
        if self._gaps:
            ended = self._since + (self._samples - self._before) / self._rate
            for gap in silent(max(now - ended, 0.0), self.format):
                self._file.write(gap)
        super()._write(audio, now)
        self._unheard += audio

    def _clear(self, now: float) -> None:
        self._keep(now)
        super()._clear(now)
        self._unheard.clear()

    def _keep(self, now: float) -> None:
        """Write what was played meanwhile to the file."""
        first = self._written - len(self._unheard)
        size = self._heard(now) * self._width - first
        if size > 0:
            self._file.write(bytes(self._unheard[:size]))
            del self._unheard[:size]


# --- On a device -------------------------------------------------------------------------------------


class Speaker:
    """Play on an audio device; an `AudioOutput`.  It runs once made: close it, or use it in ``with``.

    Audio arrives over the network in bursts.  Therefore playing begins once ``jitter_ms`` of audio are
    pending, or that time has passed, and does so again after the buffer has run empty.

    Args:
        device: The device: a part of its name, its index (see `list_devices`), or ``None`` (the default)
            for the system's default.
        format: The format of the audio: ``"audio/pcm"`` (the default), ``"audio/pcmu"`` or
            ``"audio/pcma"``.  The audio is converted for a device without that sample rate.
        latency: Seconds of audio that the device should buffer itself.  They can't be taken back: `clear`
            counts them as played, since they will be.  A lower value may crackle on a busy machine.
        jitter_ms: Milliseconds of audio to collect before playing.
        max_seconds: Seconds of audio that may be pending.  Beyond that, `write` raises `BufferError`.
        clock: Returns the time in seconds, and never goes back.

    Attributes:
        format: The format passed as ``format``.
        clock: The clock passed as ``clock``.
        underruns: How often the audio stopped and continued within half a second, or the device ran dry.

    Raises:
        ImportError: sounddevice is not installed, or soxr isn't and the audio has to be converted; the
            message names the extra to install.
        DeviceError: The device is in use, there is no default device, or PortAudio is missing; `start`
            raises it too.
        ValueError: ``device`` names no device, or several; ``format`` is unknown; ``latency`` or
            ``jitter_ms`` is negative or not finite; or ``max_seconds`` is not a finite number above 0.
        TypeError: ``device`` is neither an index nor a name nor ``None``.
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
        self.clock = clock
        self._taps: tuple[Callable[[bytes, float], object], ...] = ()
        self._jitter = jitter_ms / 1000
        # Lets one thread at a time convert audio and put it into the buffer, or empty the buffer.
        self._writing = threading.Lock()
        # Guards all that follows, between these threads and PortAudio's; held for a moment only.
        self._lock = threading.Lock()
        self._rest = b""  # an incomplete sample
        self._buffer = bytearray()  # samples in the device's format
        self._kept = False  # whether the resampler holds some samples as well
        self._waits = True  # whether audio is still being collected before playing
        self._since = 0.0  # when that began
        self._dry: float | None = None  # when the buffer ran empty while playing
        self._heard = 0.0  # the last value of `played_ms`
        self._base = 0.0  # ms that were played before the last `clear`; the counters below start there
        self._written = 0  # bytes
        self._given = 0  # samples passed to the device
        self._flying: deque[tuple[float, int]] = deque()  # of these, what is not played yet: start, count
        self._closed = False
        self._line = Line("output", chosen(device, "output"), sample_rate(format), 0, latency, self._play)
        self._rate = self._line.rate
        self._most = int(max_seconds * self._rate) * SAMPLE_WIDTH
        try:
            self._resampler = Resampler(sample_rate(format), self._rate)
            self._converts = self._rate != sample_rate(format)
            self._line.start()
        except BaseException:
            self._line.close(HASTE)
            raise

    @property
    def failure(self) -> DeviceError | None:
        """Return why the device has stopped by itself, which `write` raises, or stands still; or ``None``."""
        return self._line.failure

    @property
    def rate(self) -> int:
        """Return the sample rate of the device in Hz."""
        return self._rate

    @property
    def latency(self) -> float:
        """Return the seconds of audio that the device buffers itself."""
        return self._line.latency

    def tap(self, listener: Callable[[bytes, float], object]) -> Callable[[], None]:
        """Pass on all that goes to the device, silence included: an echo canceller needs to know it.

        Args:
            listener: Called with samples (16 bits, mono, at `rate`) and the time by `clock` at which the
                device took them; by a thread of PortAudio's, which must not block.

        Returns:
            A function that ends it.
        """

        def untap() -> None:
            with self._lock:
                self._taps = tuple(tap for tap in self._taps if tap is not listener)

        with self._lock:
            self._taps = (*self._taps, listener)
        return untap

    def start(self) -> None:
        """Resume after `stop`.

        Raises:
            DeviceError: The device can't be started.
        """
        self._line.start()

    def stop(self) -> None:
        """Fall silent; the pending audio is played after the next `start`."""
        self._line.stop()

    def close(self) -> None:
        """Fall silent and release the device.  To play pending audio first, call `Playback.wait_played`."""
        self._close(CLOSING)

    def _close(self, timeout: float) -> None:
        if not self._closed:
            self._closed = True
            self._line.close(timeout)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(HASTE if isinstance(error, KeyboardInterrupt) else CLOSING)

    # --- Called by the program -------------------------------------------------------------------------

    def write(self, audio: bytes) -> None:
        """Queue audio after what is pending, without blocking.

        Args:
            audio: Raw bytes in the speaker's format; it may end within a sample.

        Raises:
            BufferError: ``max_seconds`` of audio are pending; this audio was not queued.
            DeviceError: The device has stopped by itself; see `failure`.
            ValueError: The speaker is closed.
        """
        with self._writing:
            if self._closed:
                raise ValueError("write() on a closed speaker")
            if self._line.ended is not None:
                raise DeviceError(str(self._line.ended))
            if len(self._buffer) >= self._most:
                most = self._most // SAMPLE_WIDTH / self._rate
                raise BufferError(
                    f"the speaker's buffer is full: {most:g} s of audio are pending (max_seconds)"
                )
            samples = self._converted(audio)
            with self._lock:
                self._go_on(self.clock())
                self._buffer += samples
                self._written += len(audio)
                self._kept = self._converts

    def _converted(self, audio: bytes) -> bytes:
        """Return audio as samples in the device's format."""
        data, self._rest = whole_samples(self._rest + audio, self.format)
        return samples_of(self._resampler.feed(decoded(data, self.format))).tobytes()

    def _go_on(self, now: float) -> None:
        """Prepare for more audio: count an underrun, and reset the counters if all was played."""
        if self._dry is not None and now - self._dry < _SAME_SPEECH:
            self.underruns += 1
        self._dry = None
        if not self._buffer and not self._kept:
            self._since = now
            if not self._flying:
                self._begin(self._position(now))

    def _begin(self, position: float) -> None:
        """Let the counters start at this position."""
        self._base = position
        self._written = self._given = 0

    @property
    def played_ms(self) -> float:
        """Return how much was played by the device's clock, in milliseconds; see `AudioOutput.played_ms`."""
        with self._lock:
            return self._position(self.clock())

    def clear(self) -> None:
        """Discard the pending audio; fall silent once the device has played what it buffers itself."""
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
        if not (self._buffer or self._kept or self._flying):  # conversion may add or lose a sample
            heard = written
        self._heard = max(self._heard, self._base + min(heard, written))
        return self._heard

    def _land(self, now: float) -> None:
        """Forget samples that were played."""
        while self._flying and self._flying[0][0] + self._flying[0][1] / self._rate <= now:
            self._flying.popleft()

    # --- Called by PortAudio's thread ------------------------------------------------------------------

    def _play(self, out: Any, count: int, times: Any, status: Any) -> None:
        """Pass the next samples to the device."""
        with self._lock:
            now = self.clock()
            sound = self._next(count * SAMPLE_WIDTH, now)
            if sound:
                self.underruns += bool(status.output_underflow)
                self._land(now)
                self._flying.append((now + self._delay(times), len(sound) // SAMPLE_WIDTH))
                self._given += len(sound) // SAMPLE_WIDTH
            taps = self._taps
        out[:] = sound = sound + bytes(count * SAMPLE_WIDTH - len(sound))
        for tap in taps:
            tap(sound, now)

    def _next(self, size: int, now: float) -> bytes:
        """Return the next bytes of audio, at most ``size``; none while audio is being collected."""
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
        """Flush the resampler, unless a thread is about to write more."""
        if self._writing.acquire(blocking=False):
            try:
                self._buffer += samples_of(self._resampler.finish()).tobytes()
                self._kept = False
            finally:
                self._writing.release()

    def _delay(self, times: Any) -> float:
        """Return the seconds until samples passed now are played.  Not every system reports them."""
        delay = float(times.outputBufferDacTime - times.currentTime)
        return delay if 0 < delay < _LONGEST_DELAY else self._line.latency
