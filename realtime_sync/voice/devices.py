"""Microphone and speaker: PortAudio, by way of sounddevice; and a file in place of a microphone.

Install ``realtime-sync[audio]``.  The sound cards of a machine are `list_devices`.
"""

import array
import atexit
import contextlib
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from ..exceptions import ConnectionClosed, RealtimeError
from ..session import Session
from ..sound import (
    PCM,
    bytes_of,
    bytes_per_sample,
    bytes_per_second,
    input_format,
    loudness,
    sample_rate,
    samples_of,
    silence,
)
from .audio import append_to, chunks, decode
from .resample import Resampler

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Device", "DeviceError", "FileMicrophone", "Microphone", "Speaker", "list_devices"]

_log = logging.getLogger("realtime_sync")

Kind = Literal["input", "output"]
Clock = Callable[[], float]

_SAME_SPEECH = 0.5  # seconds within which sound that goes on was meant to go on without a gap
_LONGEST_DELAY = 5.0  # seconds that a device may say it takes; more is nonsense
_NO_SUCH_RATE = -9997  # PortAudio's paInvalidSampleRate
_EARLY = 0.001  # of a sample; what a sum of times may be wrong by
_WIDTH = 2  # bytes of a sample: devices get and give 16 bits, mono


class DeviceError(RealtimeError):
    """A sound device, or what is needed to use any, is not there, is in use, or has stopped."""


# --- Devices -----------------------------------------------------------------------------------------


class Device(Struct, frozen=True):
    """A sound device of this machine.

    Attributes:
        index: Its number; may change when devices come and go.
        name: As the system calls it.
        host_api: The part of the system that has it, for example ``"ALSA"`` or ``"Core Audio"``.
        inputs, outputs: How many channels it has each way.
        rate: The sample rate that suits it best, in Hz.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    rate: int

    def __str__(self) -> str:
        return f"[{self.index}] {self.name} ({self.host_api}; {self.inputs} in, {self.outputs} out)"


def list_devices() -> list[Device]:
    """The sound devices of this machine, those that only listen and those that only play as well.

    Raises:
        ImportError: sounddevice is not installed; it names the extra.
        DeviceError: The PortAudio library is missing; it names the system's package.
    """
    sounddevice = _sounddevice()
    return [_device(sounddevice, found) for found in sounddevice.query_devices()]


def _sounddevice() -> Any:
    try:
        import sounddevice  # type: ignore[import-untyped]
    except ImportError as error:
        text = f'microphones and speakers need sounddevice: pip install "realtime-sync[audio]" ({error})'
        raise ImportError(text, name=error.name) from error
    except OSError as error:
        raise DeviceError(
            f"the PortAudio library is missing ({error}): "
            "apt install libportaudio2, dnf install portaudio, or brew install portaudio"
        ) from error
    return sounddevice


def _device(sounddevice: Any, found: Any) -> Device:
    return Device(
        index=found["index"],
        name=found["name"],
        host_api=sounddevice.query_hostapis(found["hostapi"])["name"],
        inputs=found["max_input_channels"],
        outputs=found["max_output_channels"],
        rate=int(found["default_samplerate"]),
    )


def _chosen(wanted: int | str | None, kind: Kind) -> Device:
    """The device that is meant: by its number, by a part of its name, or the system's default.

    Raises:
        TypeError: It is neither.
        ValueError: There is none of this name or number, or several.
        DeviceError: There is no default.
    """
    if not isinstance(wanted, int | str | None):
        raise TypeError(f"device is an index or a part of a name, not {wanted!r:.80}")
    sounddevice = _sounddevice()
    if wanted is None:
        try:
            return _device(sounddevice, sounddevice.query_devices(kind=kind))
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(f"this machine has no default {kind} device; {_those(kind)}") from error
    fitting = [device for device in _able(kind) if _fits(device, wanted)]
    if isinstance(wanted, str) and len(fitting) > 1:
        fitting = (
            # Some systems list each device once for each of their sound interfaces.
            [device for device in fitting if device.name.lower() == wanted.lower()] or fitting
        )
        usual = sounddevice.query_hostapis(sounddevice.default.hostapi)["name"]
        fitting = [device for device in fitting if device.host_api == usual] or fitting
    if len(fitting) != 1:
        count = "several" if fitting else "no"
        raise ValueError(f"{count} {kind} devices are called {wanted!r}; {_those(kind)}")
    return fitting[0]


def _fits(device: Device, wanted: int | str) -> bool:
    if isinstance(wanted, int):
        return device.index == wanted
    return wanted.lower() in f"{device.name}, {device.host_api}".lower()


def _able(kind: Kind) -> list[Device]:
    return [device for device in list_devices() if (device.inputs if kind == "input" else device.outputs)]


def _those(kind: Kind) -> str:
    """What there is, for an error."""
    names = "".join(f"\n  {device}" for device in _able(kind))
    return f"there are:{names}" if names else "there is none at all"


def _check_above_0(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is a number above 0, not {value!r:.80}")


def _check_not_below_0(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is 0 or a number above it, not {value!r:.80}")


class _Line:
    """A stream from or to a device.

    Args:
        rate: Samples per second, if the device can; `rate` is what it does.
        block: Samples of a block; 0 leaves it to the system.
        latency: Seconds that the device should hold.
        callback: Called by a thread of PortAudio's that must not wait, for each block.

    Attributes:
        failure: Why it has ended by itself.
    """

    def __init__(
        self, kind: Kind, device: Device, rate: int, block: int, latency: float, callback: Callable[..., None]
    ) -> None:
        self._sounddevice = _sounddevice()
        self._name = f"{kind} device {device.name!r}"
        self._running = False
        self.failure: DeviceError | None = None
        self.rate = self._possible(kind, device, rate)
        open_stream = getattr(self._sounddevice, f"Raw{kind.capitalize()}Stream")
        with self._explained():
            self._stream = open_stream(
                samplerate=self.rate,
                blocksize=block * self.rate // rate,
                device=device.index,
                channels=1,
                dtype="int16",
                latency=latency,
                callback=callback,
                finished_callback=self._finished,
            )
        self.latency = float(self._stream.latency)
        # PortAudio calls back until the stream is closed, and by then nothing of it may have been forgotten.
        atexit.register(self.close)

    def _possible(self, kind: Kind, device: Device, rate: int) -> int:
        """The rate wanted, or the device's own if it can't do that."""
        check = getattr(self._sounddevice, f"check_{kind}_settings")
        try:
            check(device=device.index, channels=1, dtype="int16", samplerate=rate)
        except self._sounddevice.PortAudioError as error:
            if _NO_SUCH_RATE in error.args:
                return device.rate
        return rate  # whatever else is wrong is said when it is opened

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._sounddevice.PortAudioError as error:
            raise DeviceError(
                f"can't use the {self._name}: {error}; another program may be using it, and "
                "voice.list_devices() lists what there is"
            ) from error

    def _finished(self) -> None:
        """The stream has ended: by `stop`, or because the device is gone.  By a thread of PortAudio's."""
        if self._running:
            self._running = False
            self.failure = DeviceError(f"the {self._name} has stopped by itself; it may have been unplugged")
            _log.error("%s", self.failure)

    def start(self) -> None:
        if self._running:
            return
        self._running = True
        try:
            with self._explained():
                self._stream.start()
        except BaseException:
            self._running = False
            raise

    def stop(self) -> None:
        """Let the device finish what it has."""
        self._running = False
        self._stream.stop()

    def close(self) -> None:
        self._running = False
        self._stream.close()
        atexit.unregister(self.close)


# --- Speaker -----------------------------------------------------------------------------------------


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
        ValueError: No device has this name, or several have; a time is below 0, or ``max_seconds`` is 0.
        TypeError: ``device`` is none of these.
        KeyError: ``format`` is none of the three.
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
        _check_not_below_0(latency=latency, jitter_ms=jitter_ms)
        _check_above_0(max_seconds=max_seconds)
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
        self._line = _Line("output", _chosen(device, "output"), sample_rate(format), 0, latency, self._play)
        self._rate = self._line.rate
        self._most = int(max_seconds * self._rate) * _WIDTH
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
                raise BufferError(f"{self._most // _WIDTH / self._rate:g} s of sound wait to be played")
            samples = self._converted(audio)
            with self._lock:
                self._go_on(self._clock())
                self._buffer += samples
                self._written += len(audio)
                self._kept = self._converts

    def _converted(self, audio: bytes) -> bytes:
        """Samples as the device takes them."""
        data = self._rest + audio
        whole = len(data) - len(data) % bytes_per_sample(self.format)
        self._rest = data[whole:]
        pcm = bytes_of(samples_of(data[:whole], self.format))
        return samples_of(self._resampler.feed(pcm)).tobytes()

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
            sound = self._next(count * _WIDTH, now)
            if sound:
                self.underruns += bool(status.output_underflow)
                self._land(now)
                self._flying.append((now + self._delay(times), len(sound) // _WIDTH))
                self._given += len(sound) // _WIDTH
        out[:] = sound + bytes(count * _WIDTH - len(sound))

    def _next(self, size: int, now: float) -> bytes:
        """So many bytes of sound; fewer if there are not more, none while it waits for more."""
        if self._waits:
            enough = len(self._buffer) >= self._jitter * self._rate * _WIDTH
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


# --- Microphone --------------------------------------------------------------------------------------


class Microphone:
    """Sends what a sound device hears, from `start` to `stop`, to a session's input.

    In the session's own format, as the server has announced it by `start`.  The end of the session ends it
    quietly.

    Args:
        session: An open one.  A translation session is fed with ``session.translation.append``.
        device: A part of its name, its index (see `list_devices`), or ``None`` for the system's default.
        block_ms: Milliseconds that are sent at once.
        max_seconds: How much may wait to be sent while the network is slow; then the oldest is dropped.
        latency: Seconds of sound that the device should hold itself.

    Attributes:
        muted: True sends silence, so that the server still hears that the user has stopped speaking.
        level: How loud the last block was, in dBFS, muted or not.
        dropped: How many blocks were lost: because the network, or this machine, was too slow.

    Raises:
        ImportError, DeviceError, ValueError, TypeError: As by `Speaker`; by `start` too.
    """

    def __init__(
        self,
        session: Session,
        device: int | str | None = None,
        *,
        block_ms: int = 20,
        max_seconds: float = 5.0,
        latency: float = 0.05,
    ) -> None:
        _check_above_0(block_ms=block_ms, max_seconds=max_seconds)
        _check_not_below_0(latency=latency)
        self.muted = False
        self.level = -math.inf
        self.dropped = 0
        self._session = session
        self._device = _chosen(device, "input")
        self._block_ms = block_ms
        self._latency = latency
        self._line: _Line | None = None
        self._sender: threading.Thread | None = None
        self._failure: Exception | None = None
        # Hands blocks from PortAudio's thread to the sender; held for a moment only.
        self._changed = threading.Condition()
        self._blocks: deque[bytes] = deque(maxlen=max(1, int(max_seconds * 1000 / block_ms)))
        self._stopped = True
        # Lets one thread at a time start, stop or end it.
        self._control = threading.Lock()

    @property
    def failure(self) -> Exception | None:
        """Why it sends no more, if it has stopped by itself and the session has not ended."""
        return self._failure or (self._line.failure if self._line else None)

    def start(self) -> None:
        """Begin to listen and to send."""
        if self._line is not None and self.failure is None:
            return
        self.stop()  # what has failed
        with self._control:
            if self._line is None:
                self._open()

    def _open(self) -> None:
        audio_format = input_format(self._session.config)
        rate = sample_rate(audio_format)
        block = rate * self._block_ms // 1000
        line = _Line("input", self._device, rate, block, self._latency, self._hear)
        self._line, self._failure, self._stopped = line, None, False
        try:
            resampler = Resampler(line.rate, rate)
            line.start()
        except BaseException:
            self._close_line()
            raise
        # Converts and sends, since PortAudio's thread must not wait for the network.
        self._sender = threading.Thread(
            target=self._run,
            args=(line, audio_format, resampler),
            name="realtime_sync-microphone",
            daemon=True,
        )
        self._sender.start()

    def stop(self) -> None:
        """Listen no more, and send what was heard until now."""
        with self._control:
            self._close_line()
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def mute(self) -> None:
        """Send silence from now on."""
        self.muted = True

    def unmute(self) -> None:
        """Send what is heard again."""
        self.muted = False

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _hear(self, heard: Any, count: int, times: Any, status: Any) -> None:
        """Take a block, in PortAudio's thread."""
        with self._changed:
            full = len(self._blocks) == self._blocks.maxlen
            self.dropped += full + bool(status.input_overflow)
            self._blocks.append(bytes(heard))
            self._changed.notify_all()

    # --- The sender thread -----------------------------------------------------------------------------

    def _run(self, line: _Line, audio_format: str, resampler: Resampler) -> None:
        append = append_to(self._session)
        try:
            more = True
            while more:
                block = self._next()
                more = block is not None
                pcm = resampler.finish() if block is None else resampler.feed(self._heard(block))
                if pcm:
                    append(pcm if audio_format == PCM else bytes_of(samples_of(pcm), audio_format))
        except ConnectionClosed:
            pass
        except Exception as error:
            self._failure = error
            _log.error("the microphone has stopped: %s", error)
        finally:
            with self._control:
                if self._line is line:
                    self._close_line()
            self._blocks.clear()

    def _next(self) -> bytes | None:
        """The next block; ``None`` when it was stopped and all is sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._stopped)
            return self._blocks.popleft() if self._blocks else None

    def _heard(self, block: bytes) -> bytes:
        """A block of the device's as PCM; silence if it is muted."""
        samples = array.array("h", block)
        self.level = loudness(samples)
        return bytes(len(block)) if self.muted else bytes_of(samples)


# --- Without a device --------------------------------------------------------------------------------


class FileMicrophone:
    """Sends a sound file to a session's input, on a thread of its own, in place of a `Microphone`.

    After it comes silence, so that the server's turn detection hears that the user has stopped speaking.

    Args:
        session: An open one.
        path: A file of any kind that `realtime_sync.voice.audio.decode` reads.
        pace: ``"realtime"``: as if it were spoken now; ``"fast"``: as fast as the server takes it.
        trailing_silence: Seconds of silence.
        block_ms: Milliseconds that are sent at once.

    Attributes:
        finished: Set when all was sent, it was stopped, or the session has ended.
        failure: Why it has stopped in the middle, if that was none of these.

    Raises:
        ValueError: ``pace`` is neither, ``trailing_silence`` is below 0, or ``block_ms`` is not above it.
    """

    def __init__(
        self,
        session: Session,
        path: "str | PathLike[str]",
        *,
        pace: Literal["realtime", "fast"] = "realtime",
        trailing_silence: float = 1.0,
        block_ms: float = 100,
    ) -> None:
        if pace not in ("realtime", "fast"):
            raise ValueError(f"the pace is 'fast' or 'realtime', not {pace!r:.80}")
        _check_not_below_0(trailing_silence=trailing_silence)
        _check_above_0(block_ms=block_ms)
        self.finished = threading.Event()
        self.failure: Exception | None = None
        self._session = session
        self._path = path
        self._fast = pace == "fast"
        self._silence = trailing_silence
        self._block_ms = block_ms
        self._stop = threading.Event()
        self._sender: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send the file; again only after `stop`, and then from its beginning.

        Raises:
            OSError, ValueError, TypeError, ImportError: The file can't be read; see
                `realtime_sync.voice.audio.decode`.
        """
        if self._sender is not None:
            return
        audio_format = input_format(self._session.config)
        sound = decode(self._path, self._block_ms, audio_format)
        first = next(sound, b"")  # here, so that what is wrong with the file is raised here
        rest = chunks(silence(self._silence, audio_format), self._block_ms, audio_format)
        self.finished.clear()
        self._stop.clear()
        self.failure = None
        # Waits until it is time for the next piece, while the program goes on.
        self._sender = threading.Thread(
            target=self._run,
            args=(first, sound, rest, audio_format),
            name="realtime_sync-file",
            daemon=True,
        )
        self._sender.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(
        self,
        first: bytes,
        sound: Generator[bytes, None, None],
        rest: Iterable[bytes],
        audio_format: str,
    ) -> None:
        try:
            with contextlib.closing(sound):  # which ends what decodes it
                self._send(itertools.chain([first], sound, rest), audio_format)
        except ConnectionClosed:
            pass
        except Exception as error:
            self.failure = error
            _log.error("the file %s was not sent to its end: %s", self._path, error)
        finally:
            self.finished.set()

    def _send(self, pieces: Iterable[bytes], audio_format: str) -> None:
        append = append_to(self._session)
        due = time.monotonic()
        for piece in pieces:
            if self._stop.wait(0 if self._fast else max(0.0, due - time.monotonic())):
                return
            append(piece)
            due += len(piece) / bytes_per_second(audio_format)
