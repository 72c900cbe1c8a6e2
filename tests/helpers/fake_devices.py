"""A stand-in for sounddevice, with devices that run by the test's clock."""

import threading
import types
from typing import Any


class PortAudioError(Exception):
    """As sounddevice's: a text and a code."""


class Stream:
    """A stream that does nothing by itself."""

    def __init__(self, module: "Fake", **options: Any) -> None:
        module.block("open")
        if module.busy == "open":
            raise PortAudioError("Error opening stream: Device unavailable", -9985)
        self.options = options
        self.latency = options["latency"]
        self.running = False
        self.closed = threading.Event()
        self._module = module
        module.streams.append(self)

    def start(self) -> None:
        self._module.block("start")
        if self._module.busy == "start":
            raise PortAudioError("Error starting stream: Host error", -9999)
        self.running = True

    def stop(self) -> None:
        self._module.block("stop")
        was, self.running = self.running, False
        if was:
            self.options["finished_callback"]()

    def close(self) -> None:
        self._module.block("close")
        self.stop()
        self.closed.set()

    def unplug(self) -> None:
        self.running = False
        self.options["finished_callback"]()

    def play(self, count: int, delay: float = 0.0, underflow: bool = False) -> bytes:
        """What the device is given for its next samples, to be heard after a delay."""
        assert self.running
        out = bytearray(count * 2 * self.options["channels"])
        self.options["callback"](memoryview(out), count, Times(delay), Status(underflow=underflow))
        return bytes(out)

    def hear(self, audio: bytes, overflow: bool = False) -> None:
        assert self.running
        count = len(audio) // 2 // self.options["channels"]
        self.options["callback"](memoryview(audio), count, Times(0), Status(overflow=overflow))


class Fake(types.ModuleType):
    """The module: its devices, which sample rates and channels they can, and whether they are in use."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.apis = ["ALSA", "JACK"]
        self.default = types.SimpleNamespace(hostapi=0)
        self.devices: list[dict[str, Any]] = []
        self.rates = {8000, 24_000}
        self.channels = {1, 2}
        self.busy = ""
        self.stuck = ""  # the call that does not return until `released` is set
        self.released = threading.Event()
        self.streams: list[Stream] = []
        for name, api, inputs, outputs in [
            ("Built-in Audio", 0, 2, 2),
            ("USB Headset", 0, 1, 2),
            ("USB Headset Pro", 0, 1, 2),
            ("Webcam", 0, 1, 0),
            ("Webcam", 1, 1, 0),
        ]:
            self.add(name, api, inputs, outputs)

    def add(self, name: str, api: int, inputs: int, outputs: int) -> None:
        self.devices.append(
            {
                "index": len(self.devices),
                "name": name,
                "hostapi": api,
                "max_input_channels": inputs,
                "max_output_channels": outputs,
                "default_samplerate": 48_000.0,
            }
        )

    def block(self, call: str) -> None:
        if self.stuck == call:
            self.released.wait()

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        self.block("query")
        if kind is None:
            return tuple(self.devices)
        if not self.devices:
            raise PortAudioError("Error querying device -1")
        return self.devices[0]

    def query_hostapis(self, index: int) -> dict[str, Any]:
        return {"name": self.apis[index]}

    def check_output_settings(self, samplerate: int, channels: int, **others: Any) -> None:
        if self.busy:
            raise PortAudioError("Device unavailable", -9985)
        if channels not in self.channels:
            raise PortAudioError("Invalid number of channels", -9998)
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)

    check_input_settings = check_output_settings

    def RawOutputStream(self, **options: Any) -> Stream:  # noqa: N802  # its name there
        return Stream(self, **options)

    RawInputStream = RawOutputStream

    @property
    def stream(self) -> Stream:
        return self.streams[-1]


class Status:
    def __init__(self, underflow: bool = False, overflow: bool = False) -> None:
        self.output_underflow, self.input_overflow = underflow, overflow


class Times:
    def __init__(self, delay: float) -> None:
        self.currentTime, self.outputBufferDacTime = 50.0, 50.0 + delay
