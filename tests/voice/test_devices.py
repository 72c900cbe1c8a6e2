"""Audio devices: how they are listed, chosen and opened, with a sounddevice that the test controls."""

import sys
from array import array
from pathlib import Path
from typing import Any, Literal

import pytest
from fake_devices import Fake
from scripted import DEADLINE
from threads import wait_until

import realtime_sync as rt
from realtime_sync.voice import devices
from realtime_sync.voice.devices import Device, DeviceError, Line, chosen, list_devices
from realtime_sync.voice.microphones import Microphone
from realtime_sync.voice.speakers import Speaker

# --- Devices -------------------------------------------------------------------------------------------


def test_list(fake: Fake) -> None:
    """All devices are listed, and look well in a list."""
    devices = list_devices()
    assert devices[1] == Device(1, "USB Headset", "ALSA", 1, 2, 48_000)
    assert [device.index for device in devices] == [0, 1, 2, 3, 4]
    assert str(devices[3]) == "[3] Webcam (ALSA; 1 in, 0 out)"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(None, 0), (2, 2), ("built", 0), ("headset pro", 2), ("USB HEADSET", 1), ("Built-in Audio, ALSA", 0)],
)
def test_choice(fake: Fake, wanted: int | str | None, index: int) -> None:
    """A device is chosen by index, by a part of its name in any case, or by its whole name before others."""
    with Speaker(wanted):
        assert fake.stream.options["device"] == index


def test_choice_between_interfaces(fake: Fake) -> None:
    """A device that the system lists once for each audio interface is taken from the usual one."""
    session: Any = None
    assert Microphone(session, "webcam")._device.index == 3
    assert Microphone(session, "webcam, jack")._device.index == 4


@pytest.mark.parametrize(
    ("wanted", "problem"), [("usb", "several"), ("nothing", "none"), (3, "none"), (99, "none")]
)
def test_no_choice(fake: Fake, wanted: int | str, problem: str) -> None:
    """A name that matches no device or several is rejected with a list of the devices that can play."""
    with pytest.raises(ValueError, match=f"device={wanted!r} matches {problem} .*output devices") as caught:
        Speaker(wanted)
    assert "[1] USB Headset" in str(caught.value)
    assert "Webcam" not in str(caught.value)


def test_no_device(fake: Fake) -> None:
    """Without any device, that is said."""
    fake.devices.clear()
    session: Any = None
    with pytest.raises(DeviceError, match="no default output device; this machine has no output devices"):
        Speaker()
    with pytest.raises(DeviceError, match="no default input device"):
        Microphone(session)
    with pytest.raises(ValueError, match="this machine has no output devices"):
        Speaker(0)


def test_no_device_at_all(fake: Fake) -> None:
    """A device that is neither an index nor a name is rejected."""
    device: Any = 1.5
    session: Any = None
    with pytest.raises(TypeError, match=r"device must be an index, a part of a name or None, got 1\.5"):
        Speaker(device)
    with pytest.raises(TypeError, match="device must be an index"):
        Microphone(session, device)
    with pytest.raises(ValueError, match="max_seconds must be a finite number above 0, got 0"):
        Speaker(max_seconds=0)


@pytest.mark.parametrize("when", ["open", "start"])
def test_busy(fake: Fake, when: str) -> None:
    """A device that can't be used is named, with PortAudio's reason."""
    fake.busy = when
    with pytest.raises(DeviceError, match=r"output device 'USB Headset Pro': .*another program") as caught:
        Speaker("pro")
    assert isinstance(caught.value, rt.RealtimeError)
    assert all(stream.closed.is_set() for stream in fake.streams)


def test_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sounddevice, the error names the extra."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
        list_devices()


def test_library_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without PortAudio, the error names the system's package."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match="apt install libportaudio2"):
        Speaker()


# --- What devices can ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [{24_000}, {48_000}])
def test_stereo_input(fake: Fake, rates: set[int]) -> None:
    """A microphone that is always stereo is mixed, at whatever rate it has."""
    fake.channels, fake.rates = {2}, rates
    got: list[bytes] = []
    line = Line("input", chosen(None, "input"), 24_000, 480, 0.05, lambda heard, *_: got.append(heard))
    line.start()
    options = fake.stream.options
    assert (options["channels"], {options["samplerate"]}) == (2, rates)
    fake.stream.hear(array("h", [100, 200, -5, -5, 32_767, 32_767, -32_768, -32_768]).tobytes())
    assert got == [array("h", [150, -5, 32_767, -32_768]).tobytes()]
    line.close()


def test_stereo_output(fake: Fake) -> None:
    """A speaker that is always stereo plays the same on both sides, and what is told of it is mono."""
    fake.channels = {2}
    told: list[bytes] = []
    with Speaker(jitter_ms=0) as speaker:
        speaker.tap(lambda samples, at: told.append(samples))
        speaker.write(array("h", [1, -2, 3]).tobytes())
        assert fake.stream.play(4) == array("h", [1, 1, -2, -2, 3, 3, 0, 0]).tobytes()
        assert told == [array("h", [1, -2, 3, 0]).tobytes()]


@pytest.mark.parametrize("kind", ["input", "output"])
def test_stands_still(fake: Fake, kind: Literal["input", "output"], monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that takes or gives nothing any more, as when it is suspended, is a failure until it does."""
    monkeypatch.setattr(devices, "_STALLED", 0.05)
    line = Line(kind, chosen(None, kind), 24_000, 0, 0.05, lambda *_: None)
    assert line.failure is None
    line.start()
    wait_until(lambda: line.failure is not None)
    assert "device 'Built-in Audio' has stood still for 0.05 s; it may be suspended" in str(line.failure)
    monkeypatch.setattr(devices, "_STALLED", DEADLINE)
    fake.stream.play(480)
    assert line.failure is None
    line.close()
    assert line.failure is None


# --- Devices that are stuck ------------------------------------------------------------------------------


def get_stuck(fake: Fake, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this call doesn't return, and devices are waited for only briefly."""
    fake.stuck = call
    monkeypatch.setattr(devices, "_ANSWER", 0.05)


@pytest.mark.parametrize("call", ["open", "start", "stop"])
def test_stuck(call: str, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that doesn't answer is an error that names it; what is opened later is closed again."""
    device, play = chosen(None, "output"), Fake.block
    if call == "open":
        get_stuck(fake, call, monkeypatch)
        with pytest.raises(DeviceError, match=NO_ANSWER):
            Line("output", device, 24_000, 0, 0.05, play)
    else:
        line = Line("output", device, 24_000, 0, 0.05, play)
        get_stuck(fake, call, monkeypatch)
        with pytest.raises(DeviceError, match=NO_ANSWER):
            line.start() if call == "start" else line.stop()
        line.close(0)
    fake.released.set()
    wait_until(lambda: bool(fake.streams))
    assert fake.stream.closed.wait(DEADLINE)


NO_ANSWER = "^the output device 'Built-in Audio' has not answered within 0.05 s"


def test_stuck_sound_system(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a system that does not even say which devices it has."""
    get_stuck(fake, "query", monkeypatch)
    with pytest.raises(DeviceError, match="the sound system has not answered within"):
        list_devices()
    fake.released.set()


def test_stuck_in_closing(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    """A device that can't be closed is left alone, with a word in the log, and closed when it can be."""
    speaker = Speaker()
    fake.stuck = "close"
    with pytest.raises(KeyboardInterrupt), speaker:
        raise KeyboardInterrupt
    assert "the output device 'Built-in Audio' has not closed within 0.2 s; it is left alone" in caplog.text
    assert not fake.stream.closed.is_set()
    fake.released.set()
    assert fake.stream.closed.wait(DEADLINE)
