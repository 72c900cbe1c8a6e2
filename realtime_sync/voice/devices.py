"""Sound devices: PortAudio, by way of sounddevice.  `list_devices` lists those of a machine.

Install ``realtime-sync[audio]``.
"""

import atexit
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import Struct

from ..exceptions import RealtimeError

__all__ = [
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
"""Bytes of a sample: devices get and give 16 bits, mono."""
_NO_SUCH_RATE = -9997  # PortAudio's paInvalidSampleRate


class DeviceError(RealtimeError):
    """A sound device, or what is needed to use any, is not there, is in use, or has stopped."""


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


def chosen(wanted: int | str | None, kind: Kind) -> Device:
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


def check_above_0(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is a number above 0, not {value!r:.80}")


def check_not_below_0(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is 0 or a number above it, not {value!r:.80}")


class Line:
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
