"""Open audio devices through sounddevice and PortAudio; `list_devices` lists those of this machine.

Needs ``pip install realtime-sync[audio]``.
"""

import atexit
import contextlib
import logging
import math
import queue
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from msgspec import Struct

from ..exceptions import RealtimeError

__all__ = [
    "CLOSING",
    "HASTE",
    "SAMPLE_WIDTH",
    "Device",
    "DeviceError",
    "Line",
    "check_above_0",
    "check_not_below_0",
    "chosen",
    "list_devices",
]

_log = logging.getLogger("realtime_sync")

Kind = Literal["input", "output"]

SAMPLE_WIDTH = 2
"""Bytes per sample: devices are opened with 16 bits."""
CLOSING = 2.0
"""Seconds that the closing of a device is waited for; it goes on without being waited for."""
HASTE = 0.2
"""The same after Ctrl-C, and at the end of the program."""
_ANSWER = 10.0  # seconds for everything else that a device is asked for; Bluetooth takes its time
_STALLED = 10.0  # seconds without a block, after which a device counts as stalled
_NO_SUCH_RATE = -9997  # PortAudio's paInvalidSampleRate
_NO_SUCH_CHANNELS = -9998  # PortAudio's paInvalidChannelCount

_T = TypeVar("_T")


class DeviceError(RealtimeError):
    """Raised if an audio device is missing, in use, stuck or has stopped, or if PortAudio is missing."""


class _Calls:
    """Calls PortAudio on a thread of its own: it blocks as long as the sound system does, also for Ctrl-C."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        # Makes the calls, one after another.  A daemon, so that a device that is stuck can't keep the program
        # alive; one for each device, since no thread can be started at the end of the program.
        self._thread = threading.Thread(target=self._run, name="realtime_sync-device", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def make(self, call: Callable[[], _T], timeout: float) -> _T:
        """Make a call, and return its result.

        Raises:
            TimeoutError: It has not returned in time; it goes on, and further calls wait for it.
            Exception: Whatever the call raises.
        """
        if sys.platform == "win32":  # pragma: no cover  # some sound systems there know one thread only
            return call()
        answers: queue.SimpleQueue[tuple[_T | None, Exception | None]] = queue.SimpleQueue()
        self._calls.put(lambda: answers.put(_attempt(call)))
        try:
            result, error = answers.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # the result, since there was no error

    def end(self) -> None:
        """Let the thread end after the calls that were made."""
        self._calls.put(None)


def _attempt(call: Callable[[], _T]) -> tuple[_T | None, Exception | None]:
    try:
        return call(), None
    except Exception as error:
        return None, error


def _asked(question: Callable[[], _T]) -> _T:
    """Return what the sound system answers to a question.

    Raises:
        DeviceError: It doesn't answer.
        Exception: Whatever the question raises.
    """
    calls = _Calls()
    try:
        return calls.make(question, _ANSWER)
    except TimeoutError as error:
        raise DeviceError(f"the sound system has not answered within {_ANSWER:g} s") from error
    finally:
        calls.end()


class Device(Struct, frozen=True):
    """Describe an audio device of this machine.

    Attributes:
        index: Its number, which may change when devices are plugged in or out.
        name: Its name in the system.
        host_api: The audio system that provides it, for example ``"ALSA"`` or ``"Core Audio"``.
        inputs, outputs: The number of its input channels, and of its output channels.
        rate: Its default sample rate in Hz.
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
    """Return the audio devices of this machine, for input, for output or for both.

    Raises:
        ImportError: sounddevice is not installed; the message names the extra to install.
        DeviceError: The PortAudio library is missing, and the message names the system's package; or the
            sound system doesn't answer.
    """
    return _asked(_listed)


def _listed() -> list[Device]:
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
            f"microphones and speakers need the PortAudio library, which is missing ({error}): "
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


def chosen(wanted: int | str | None, kind: Kind) -> Device:
    """Return the device with this index, or with this text in its name; for ``None`` the system's default.

    Raises:
        TypeError: ``wanted`` is neither an index nor a name nor ``None``.
        ValueError: No device has this index or name, or several have this name.
        DeviceError: The system has no default device, or doesn't answer.
    """
    if not isinstance(wanted, int | str | None):
        raise TypeError(f"device must be an index, a part of a name or None, got {wanted!r:.80}")
    return _asked(lambda: _chosen(wanted, kind))


def _chosen(wanted: int | str | None, kind: Kind) -> Device:
    sounddevice = _sounddevice()
    if wanted is None:
        try:
            return _device(sounddevice, sounddevice.query_devices(kind=kind))
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(f"this machine has no default {kind} device; {_those(kind)}") from error
    fitting = [device for device in _able(kind) if _fits(device, wanted)]
    if isinstance(wanted, str) and len(fitting) > 1:
        fitting = (
            # Some systems list each device once per audio API.
            [device for device in fitting if device.name.lower() == wanted.lower()] or fitting
        )
        usual = sounddevice.query_hostapis(sounddevice.default.hostapi)["name"]
        fitting = [device for device in fitting if device.host_api == usual] or fitting
    if len(fitting) != 1:
        problem = "matches several" if fitting else "matches none of the"
        raise ValueError(f"device={wanted!r} {problem} {kind} devices; {_those(kind)}")
    return fitting[0]


def _fits(device: Device, wanted: int | str) -> bool:
    if isinstance(wanted, int):
        return device.index == wanted
    return wanted.lower() in f"{device.name}, {device.host_api}".lower()


def _able(kind: Kind) -> list[Device]:
    return [device for device in _listed() if (device.inputs if kind == "input" else device.outputs)]


def _those(kind: Kind) -> str:
    """Return a list of the devices, for an error's message."""
    names = "".join(f"\n  {device}" for device in _able(kind))
    return f"available {kind} devices:{names}" if names else f"this machine has no {kind} devices"


def check_above_0(**values: float) -> None:
    """Check arguments by their names.

    Raises:
        ValueError: One is not a finite number above 0.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a finite number above 0, got {value!r:.80}")


def check_not_below_0(**values: float) -> None:
    """Check arguments by their names.

    Raises:
        ValueError: One is negative or not finite.
    """
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number, at least 0, got {value!r:.80}")


class Line:
    """Stream samples (16 bits, mono) from or to a device.

    A device that can't do mono is opened in stereo: what comes is mixed, what goes is the same on both sides.

    Args:
        kind: ``"input"`` or ``"output"``.
        device: The device to open.
        rate: The wanted sample rate in Hz.
        block: Samples per block, at that rate; 0 lets the system choose.
        latency: Seconds of audio that the device should buffer.
        callback: Called for each block by a thread of PortAudio's, which must not block.

    Attributes:
        rate: The sample rate in use, in Hz: the wanted one, or the device's default if it can't do that.
        latency: Seconds of audio that the device does buffer.
        ended: Why the stream has ended by itself, or ``None``.

    Raises:
        DeviceError: The device can't be opened, or does not answer.
    """

    def __init__(
        self, kind: Kind, device: Device, rate: int, block: int, latency: float, callback: Callable[..., None]
    ) -> None:
        self._sounddevice = _sounddevice()  # loaded already, by what has chosen the device
        self._name = f"{kind} device {device.name!r}"
        self._running = False
        self._stream: Any = None
        self.ended: DeviceError | None = None
        self._moved = math.inf  # when the last block came or went
        self.rate = rate
        self.latency = latency
        self._calls = _Calls()
        try:
            self._make(lambda: self._open(kind, device, block, callback))
        except BaseException:
            with contextlib.suppress(TimeoutError):
                self._calls.make(self._release, 0)  # also what may still be opened
            self._calls.end()
            raise
        # PortAudio calls back until the stream is closed, which must happen before the interpreter ends.
        atexit.register(self._close_at_exit)

    def _open(self, kind: Kind, device: Device, block: int, callback: Callable[..., None]) -> None:
        wanted = self.rate
        channels, self.rate = self._possible(kind, device, wanted)
        if channels == 2:
            callback = (_mixing if kind == "input" else _doubling)(callback)

        def call_back(*block: Any) -> None:
            self._moved = time.monotonic()
            callback(*block)

        open_stream = getattr(self._sounddevice, f"Raw{kind.capitalize()}Stream")
        with self._explained():
            self._stream = open_stream(
                samplerate=self.rate,
                blocksize=block * self.rate // wanted,
                device=device.index,
                channels=channels,
                dtype="int16",
                latency=self.latency,
                callback=call_back,
                finished_callback=self._finished,
            )
        self.latency = float(self._stream.latency)

    def _make(self, call: Callable[[], object]) -> None:
        try:
            self._calls.make(call, _ANSWER)
        except TimeoutError as error:
            raise DeviceError(f"the {self._name} has not answered within {_ANSWER:g} s") from error

    def _possible(self, kind: Kind, device: Device, rate: int) -> tuple[int, int]:
        """Return the channels and the sample rate that come nearest to mono and the wanted rate."""
        check = getattr(self._sounddevice, f"check_{kind}_settings")
        channels = 1
        for _ in range(2):
            try:
                check(device=device.index, channels=channels, dtype="int16", samplerate=rate)
            except self._sounddevice.PortAudioError as error:
                if _NO_SUCH_RATE in error.args:
                    rate = device.rate
                elif _NO_SUCH_CHANNELS in error.args:
                    channels = 2
        return channels, rate  # any other problem is reported when the stream is opened

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._sounddevice.PortAudioError as error:
            raise DeviceError(
                f"can't open the {self._name}: {error}; another program may be using it "
                "(voice.list_devices() lists the devices)"
            ) from error

    @property
    def failure(self) -> DeviceError | None:
        """Return why the stream has ended by itself, or that it stands still, or ``None``."""
        if self.ended is None and self._running and time.monotonic() - self._moved > _STALLED:
            return DeviceError(f"the {self._name} has stood still for {_STALLED:g} s; it may be suspended")
        return self.ended

    def _finished(self) -> None:
        """Note the end of the stream, by `stop` or by an unplugged device; called by PortAudio's thread."""
        if self._running:
            self._running = False
            self.ended = DeviceError(f"the {self._name} has stopped by itself; it may have been unplugged")
            _log.error("%s", self.ended)

    def start(self) -> None:
        """Start the stream, unless it runs.

        Raises:
            DeviceError: The device can't be started.
        """
        if self._running:
            return
        self._moved = time.monotonic()
        self._running = True
        try:
            self._make(self._start)
        except BaseException:
            self._running = False
            raise

    def _start(self) -> None:
        with self._explained():
            self._stream.start()

    def stop(self) -> None:
        """Stop the stream once the device has played what it buffers.

        Raises:
            DeviceError: The device does not answer.
        """
        self._running = False
        self._make(self._stream.stop)

    def close(self, timeout: float = CLOSING) -> None:
        """Stop the stream at once, and release the device; for the last use of it.

        Args:
            timeout: Seconds to wait at most; a device that takes longer is released later, if ever.
        """
        self._running = False
        try:
            self._calls.make(self._release, timeout)
        except TimeoutError:
            _log.warning("the %s has not closed within %g s; it is left alone", self._name, timeout)
        finally:
            self._calls.end()
            atexit.unregister(self._close_at_exit)

    def _release(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _close_at_exit(self) -> None:
        self.close(HASTE)


def _mixing(callback: Callable[..., None]) -> Callable[..., None]:
    """Return a callback that passes on the mean of two channels."""

    def mix(heard: Any, *rest: Any) -> None:
        samples = array("h", bytes(heard))
        mixed = ((left + right) // 2 for left, right in zip(samples[::2], samples[1::2], strict=True))
        callback(array("h", mixed).tobytes(), *rest)

    return mix


def _doubling(callback: Callable[..., None]) -> Callable[..., None]:
    """Return a callback that gets one channel, and passes it on as two."""

    def double(out: Any, count: int, *rest: Any) -> None:
        mono = bytearray(count * SAMPLE_WIDTH)
        callback(mono, count, *rest)
        stereo = array("h", bytes(2 * len(mono)))
        stereo[::2] = stereo[1::2] = array("h", bytes(mono))
        out[:] = stereo.tobytes()

    return double
