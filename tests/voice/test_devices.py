"""Microphone and speaker, with a made-up sounddevice whose streams do what the test says; and files."""

import array
import atexit
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_devices import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DEADLINE
from tones import silence, tone

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.sound.formats import PCMA, PCMU, bytes_of, samples_of
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import level, write_wav
from realtime_sync.voice.devices import Device, DeviceError, list_devices
from realtime_sync.voice.microphones import FileMicrophone, Microphone
from realtime_sync.voice.playback import Playback
from realtime_sync.voice.speakers import Speaker

# --- A made-up sounddevice -----------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


class Clock:
    def __init__(self) -> None:
        self.now = 1000.1

    def __call__(self) -> float:
        return self.now

    def pass_by(self, ms: float) -> None:
        self.now += ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
    """A device that the system lists once for each sound interface is taken from the usual one."""
    session: Any = None
    assert Microphone(session, "webcam")._device.index == 3
    assert Microphone(session, "webcam, jack")._device.index == 4


@pytest.mark.parametrize(("wanted", "count"), [("usb", "several"), ("nothing", "no"), (3, "no"), (99, "no")])
def test_no_choice(fake: Fake, wanted: int | str, count: str) -> None:
    """A name that is none's or several's is refused, with what there is: only those that can play."""
    with pytest.raises(ValueError, match=f"{count} output devices are called {wanted!r}") as caught:
        Speaker(wanted)
    assert "[1] USB Headset" in str(caught.value)
    assert "Webcam" not in str(caught.value)


def test_no_device(fake: Fake) -> None:
    """Without any device, that is said."""
    fake.devices.clear()
    session: Any = None
    with pytest.raises(DeviceError, match="no default output device; there is none at all"):
        Speaker()
    with pytest.raises(DeviceError, match="no default input device"):
        Microphone(session)
    with pytest.raises(ValueError, match="none at all"):
        Speaker(0)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["latency", "jitter_ms", "max_seconds"])
def test_speaker_s_numbers(fake: Fake, name: str, value: float) -> None:
    """A length that can't be is refused by its name, before any device is opened."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is .*, not {value}"):
        Speaker(**options)
    assert not fake.streams


@pytest.mark.parametrize(
    ("name", "value"),
    [("block_ms", 0), ("block_ms", -20), ("max_seconds", 0), ("max_seconds", math.inf), ("latency", -0.1)],
)
def test_microphone_s_numbers(fake: Fake, name: str, value: float) -> None:
    """A microphone refuses them when it is made."""
    session: Any = None
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is .*, not {value}"):
        Microphone(session, **options)


def test_no_device_at_all(fake: Fake) -> None:
    """What is neither an index nor a name is refused."""
    device: Any = 1.5
    session: Any = None
    with pytest.raises(TypeError, match=r"device is an index or a part of a name, not 1\.5"):
        Speaker(device)
    with pytest.raises(TypeError, match="device is an index"):
        Microphone(session, device)
    with pytest.raises(ValueError, match="max_seconds is a number above 0, not 0"):
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


# --- Speaker -------------------------------------------------------------------------------------------


def test_plays(fake: Fake, clock: Clock) -> None:
    """What is written is played, in order and nothing between, once the jitter buffer is full."""
    sound = tone(200)
    with Speaker(jitter_ms=60, latency=0.02, clock=clock) as speaker:
        options = fake.stream.options
        wanted = {"samplerate": 24_000, "channels": 1, "dtype": "int16", "latency": 0.02, "blocksize": 0}
        assert {name: options[name] for name in wanted} == wanted
        speaker.write(sound[: 59 * 48])
        assert fake.stream.play(480) == silence(20)
        speaker.write(sound[59 * 48 :])
        assert b"".join(fake.stream.play(480) for _ in range(11)) == sound + silence(20)
        assert speaker.underruns == 0
    assert fake.stream.closed.is_set()
    speaker.close()
    with pytest.raises(ValueError, match="closed"):
        speaker.write(sound)


def test_little_sound(fake: Fake, clock: Clock) -> None:
    """What is shorter than the jitter buffer is played after as long a wait."""
    with Speaker(jitter_ms=60, clock=clock) as speaker:
        clock.pass_by(500)
        speaker.write(tone(10))
        clock.pass_by(59)
        assert fake.stream.play(240) == silence(10)
        clock.pass_by(1.1)
        assert fake.stream.play(240) == tone(10)


def test_what_was_heard(fake: Fake, clock: Clock) -> None:
    """Sound counts when the device says that it is heard; silence never does."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        assert speaker.played_ms == 0
        fake.stream.play(480)
        speaker.write(tone(30))
        fake.stream.play(480, delay=0.1)
        assert speaker.played_ms == 0
        clock.pass_by(100)
        assert speaker.played_ms == 0
        clock.pass_by(15)
        assert speaker.played_ms == 15
        fake.stream.play(480, delay=0.1)
        clock.pass_by(5)
        assert speaker.played_ms == 20
        clock.pass_by(99)
        assert speaker.played_ms == 24
        clock.pass_by(100)
        assert speaker.played_ms == 30


@pytest.mark.parametrize("delay", [0.0, -1.0, 1e6])
def test_devices_that_know_no_time(fake: Fake, clock: Clock, delay: float) -> None:
    """Where the system doesn't say when sound is heard, the stream's latency is taken."""
    with Speaker(jitter_ms=0, latency=0.2, clock=clock) as speaker:
        speaker.write(tone(10))
        fake.stream.play(240, delay=delay)
        clock.pass_by(200)
        assert speaker.played_ms == 0
        clock.pass_by(4)
        assert speaker.played_ms == 4


def test_an_hour(fake: Fake, clock: Clock) -> None:
    """What was heard is forgotten, though nobody asks."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        for _ in range(1000):
            speaker.write(tone(10))
            fake.stream.play(240, delay=0.05)
            clock.pass_by(10)
        assert len(speaker._flying) < 10
        assert len(speaker._buffer) == 0


def test_forgotten(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A speaker that nobody closes is closed when the program ends, before PortAudio is."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", at_exit.remove)
    with Speaker():
        assert len(at_exit) == 1
    assert not at_exit
    Speaker()
    at_exit[0]()
    assert fake.stream.closed.is_set()


def test_clear(fake: Fake, clock: Clock) -> None:
    """What waits is dropped; what the device has counts as heard, and then the count stands still."""
    with Speaker(jitter_ms=60, clock=clock) as speaker:
        speaker.write(tone(500) + b"\0")
        fake.stream.play(480, delay=0.1)
        speaker.clear()
        assert speaker.played_ms == 20
        clock.pass_by(1000)
        assert fake.stream.play(480) == silence(20)
        assert speaker.played_ms == 20
        speaker.write(tone(100))
        assert fake.stream.play(480, delay=0.1) == tone(100)[:960]
        assert speaker.played_ms == 20
        clock.pass_by(200)
        assert speaker.played_ms == 40
        assert speaker.underruns == 0


def test_underruns(fake: Fake, clock: Clock) -> None:
    """Sound that stops and soon goes on was an underrun; the next sentence is none."""
    with Speaker(jitter_ms=20, clock=clock) as speaker:
        speaker.write(tone(30))
        fake.stream.play(480)
        fake.stream.play(480)
        clock.pass_by(600)
        speaker.write(tone(40))
        assert speaker.underruns == 0
        for _ in range(3):
            fake.stream.play(480)
        clock.pass_by(300)
        speaker.write(tone(10))
        assert speaker.underruns == 1
        assert fake.stream.play(480) == bytes(960), "it waits for more again"
        speaker.write(tone(30))
        fake.stream.play(480, underflow=True)
        assert speaker.underruns == 2


def test_bound(fake: Fake, clock: Clock) -> None:
    """There is a bound to what waits; beyond it nothing is taken."""
    with Speaker(max_seconds=1, jitter_ms=0, clock=clock) as speaker:
        speaker.write(tone(1000))
        with pytest.raises(BufferError, match="1 s of sound"):
            speaker.write(tone(10))
        fake.stream.play(24_000)
        speaker.write(tone(10))


@pytest.mark.parametrize("audio_format", [PCMU, PCMA])
def test_other_formats(fake: Fake, clock: Clock, audio_format: str) -> None:
    """G.711 is decoded, and played at its own rate."""
    sound = tone(100, audio_format=audio_format)
    with Speaker(format=audio_format, jitter_ms=0, clock=clock) as speaker:
        assert fake.stream.options["samplerate"] == 8000
        speaker.write(sound)
        assert fake.stream.play(800) == samples_of(sound, audio_format).tobytes()
        clock.pass_by(1000)
        assert speaker.played_ms == 100
    with pytest.raises(ValueError, match="is none of"):
        Speaker(format="audio/mp3")


def test_other_rates(fake: Fake, clock: Clock) -> None:
    """For a device that can't play at 24 kHz the sound is converted, and the count is right all the same."""
    fake.rates = {48_000}
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        assert fake.stream.options["samplerate"] == 48_000
        for heard in (0, 200):
            speaker.write(tone(200))
            sound = fake.stream.play(4800, delay=0.01)
            clock.pass_by(60)
            assert speaker.played_ms == heard + 50
            clock.pass_by(40)
            sound += fake.stream.play(9600, delay=0.01)
            assert len(sound.rstrip(b"\0")) > 199 * 96, "to its end"
            assert level(sound[:19_000]) == pytest.approx(-20, abs=0.5)
            clock.pass_by(99)
            assert heard + 180 < speaker.played_ms < heard + 200
            clock.pass_by(1000)
            assert speaker.played_ms == heard + 200
        speaker.write(tone(10))  # which is all in the resampler
        with speaker._writing:  # another thread writes more: the device doesn't wait for it
            assert fake.stream.play(480, delay=0.01) == bytes(960)
        assert fake.stream.play(480, delay=0.01) != bytes(960)
        assert speaker.played_ms == 400
        clock.pass_by(20)
        speaker.write(tone(500))
        fake.stream.play(4800)
        speaker.clear()
        assert speaker.played_ms == 510
        fake.stream.play(4800)


def test_soxr_missing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sound would have to be converted and can't be, the error names the extra."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    fake.rates = {48_000}
    with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
        Speaker()
    assert fake.stream.closed.is_set()


def test_unplugged(fake: Fake, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A device that goes away is a failure that is logged once; one that is stopped is none."""
    with Speaker("pro", clock=clock) as speaker:
        speaker.stop()
        assert speaker.failure is None
        speaker.start()
        speaker.start()
        fake.stream.unplug()
        with pytest.raises(DeviceError, match="'USB Headset Pro' has stopped by itself"):
            speaker.write(tone(10))
        assert isinstance(speaker.failure, DeviceError)
    assert len(caplog.records) == 1


def test_stopped_for_a_while(fake: Fake, clock: Clock) -> None:
    """What is not played when it is stopped is played when it goes on."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        speaker.write(tone(100))
        first = fake.stream.play(480)
        speaker.stop()
        speaker.write(tone(100))
        speaker.start()
        assert first + fake.stream.play(4320) == tone(100) * 2


_DOINGS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1000)),
        st.tuples(st.just("play"), st.integers(1, 600)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 100)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(_DOINGS, st.integers(0, 30), st.sampled_from([24_000, 48_000]))
def test_whatever_happens(doings: list[tuple[str, int]], jitter_ms: int, rate: int) -> None:
    """It plays what was written and no more; the count never falls; in the end all was heard or dropped."""
    with pytest.MonkeyPatch.context() as patch:
        fake, clock = Fake(), Clock()
        fake.rates = {rate}
        patch.setitem(sys.modules, "sounddevice", fake)
        speaker = Speaker(jitter_ms=jitter_ms, clock=clock)
        last = written = 0.0
        sample = 0
        given_out: list[int] = []
        for kind, amount in doings:
            if kind == "write":
                speaker.write(bytes_of(range(sample + 1, sample + amount + 1)))
                sample += amount
                written += amount / 24
            elif kind == "play":
                given_out += array.array("h", fake.stream.play(amount, delay=0.03))
            elif kind == "time":
                clock.pass_by(amount)
            else:
                speaker.clear()
                written = speaker.played_ms
            assert last <= speaker.played_ms <= written + 1e-6
            last = speaker.played_ms
        if rate == 24_000:
            heard = [value for value in given_out if value]
            assert heard == sorted(set(heard))
        clock.pass_by(1000)
        for _ in range(3):
            fake.stream.play(len(doings) * 3000)
            clock.pass_by(1000_000)
        assert speaker.played_ms == pytest.approx(written)
        speaker.close()


def test_interruption(fake: Fake, clock: Clock) -> None:
    """Cut off on a device, the server accepts what was heard."""
    server = RealtimeServer(responder=ScriptedResponder([Say("", tone(2000))]))
    with server, rt.connect(base_url=server.url) as session, Speaker(clock=clock) as speaker:
        playback = Playback(session, speaker)
        session.response.create()
        session.run(playback, until=ev.ResponseDone, timeout=DEADLINE)
        for _ in range(20):
            fake.stream.play(480, delay=0.02)
            clock.pass_by(20)
        interruption = playback.interrupt()
        assert interruption is not None
        assert interruption.audio_end_ms == 400
        truncated = session.run(playback, until=ev.ConversationItemTruncated, timeout=DEADLINE)
        assert truncated is not None
        assert truncated.audio_end_ms == 400


# --- Microphone ----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def session(server: RealtimeServer) -> Iterator[rt.Session]:
    with rt.connect(base_url=server.url) as session:
        yield session


def until(session: rt.Session, kind: type[Any]) -> Any:
    event = session.run(rt.Visitor(), until=kind, timeout=DEADLINE)
    assert event is not None
    return event


def received(server: RealtimeServer, size: int) -> bytes:
    server.wait_until(lambda: len(server.audio_received) >= size)
    return server.audio_received


def test_microphone(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """What is heard is sent, block by block, from start to stop, and all of it."""
    sound = tone(300)
    microphone = Microphone(session, "headset pro", block_ms=20, latency=0.03)
    assert not fake.streams
    assert microphone.level == -math.inf
    with microphone:
        microphone.start()
        [stream] = fake.streams
        wanted = {"samplerate": 24_000, "channels": 1, "dtype": "int16", "latency": 0.03, "blocksize": 480}
        assert {name: stream.options[name] for name in wanted} == wanted
        assert stream.options["device"] == 2
        for start in range(0, len(sound), 960):
            stream.hear(sound[start : start + 960])
    assert stream.closed.is_set()
    assert received(server, len(sound)) == sound
    assert microphone.level == pytest.approx(-20, abs=0.5)
    assert microphone.dropped == 0
    assert microphone.failure is None
    microphone.start()
    fake.stream.hear(sound)
    microphone.close()
    microphone.stop()
    assert received(server, 2 * len(sound)) == 2 * sound


def test_muted(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """Muted, silence is sent; the level is that of what is heard."""
    with Microphone(session) as microphone:
        microphone.mute()
        fake.stream.hear(tone(100))
        assert received(server, 4800) == silence(100)
        microphone.stop()
        assert microphone.level == pytest.approx(-20, abs=0.5)
        microphone.unmute()
        microphone.start()
        fake.stream.hear(tone(100))
        assert received(server, 9600) == silence(100) + tone(100)


@pytest.mark.parametrize("audio_format", [PCMU, PCMA])
@pytest.mark.parametrize("rates", [{8000}, {48_000}])
def test_microphone_formats(
    fake: Fake, server: RealtimeServer, session: rt.Session, audio_format: str, rates: set[int]
) -> None:
    """Sound is sent in the session's format, also from a device of another rate."""
    fake.rates = rates
    session.update(audio={"input": {"format": {"type": audio_format}}})
    until(session, ev.SessionUpdated)
    with Microphone(session):
        rate = fake.stream.options["samplerate"]
        assert {rate} == rates
        assert fake.stream.options["blocksize"] == rate // 50
        factor = rate // 8000
        plain = samples_of(tone(500, audio_format=audio_format), audio_format)
        fake.stream.hear(array.array("h", [plain[n // factor] for n in range(4000 * factor)]).tobytes())
    sent = received(server, 4000)
    assert level(sent, audio_format) == pytest.approx(-20, abs=1)
    if factor == 1:
        assert sent == tone(500, audio_format=audio_format)


def test_microphone_translation(fake: Fake, server: RealtimeServer) -> None:
    """A translation session is fed by its own event."""
    with rt.connect(base_url=server.url, translation=True) as session, Microphone(session):
        fake.stream.hear(tone(100))
        assert server.wait_for(ev.SessionInputAudioBufferAppend).audio == tone(100)


def test_microphone_drops(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """When sending is too slow the oldest is dropped, and all that is lost is counted."""
    with Microphone(session, block_ms=20, max_seconds=0.1) as microphone:
        with microphone._changed:  # nothing is taken out meanwhile
            for n in range(12):
                fake.stream.hear(bytes([n]) * 960, overflow=n == 3)
        assert microphone.dropped == 7 + 1
    assert received(server, 5 * 960) == b"".join(bytes([n]) * 960 for n in range(7, 12))


def test_session_ends(
    fake: Fake, server: RealtimeServer, session: rt.Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of the session ends it, without noise, and gives the device back."""
    microphone = Microphone(session)
    microphone.start()
    session.close()
    fake.stream.hear(tone(20))
    assert fake.stream.closed.wait(DEADLINE)
    microphone.stop()
    assert microphone.failure is None
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_microphone_fails(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """What goes wrong on the way is kept, and it can be started again."""
    microphone = Microphone(session)
    microphone.start()
    fake.stream.hear(b"odd")
    assert fake.stream.closed.wait(DEADLINE)
    microphone.stop()
    assert isinstance(microphone.failure, ValueError)
    with microphone:
        assert microphone.failure is None
        fake.stream.unplug()
        assert isinstance(microphone.failure, DeviceError)
        microphone.start()
        assert microphone.failure is None
        fake.stream.hear(tone(20))
    assert len(fake.streams) == 3
    assert received(server, 960) == tone(20)


@pytest.mark.parametrize("when", ["open", "start"])
def test_microphone_busy(fake: Fake, session: rt.Session, when: str) -> None:
    """A microphone that can't be used is named; there is nothing to stop then."""
    microphone = Microphone(session)
    fake.busy = when
    with pytest.raises(DeviceError, match="input device 'Built-in Audio'"):
        microphone.start()
    assert all(stream.closed.is_set() for stream in fake.streams)
    microphone.stop()
    fake.busy = ""
    with microphone:
        fake.stream.hear(tone(20))


# --- A file in place of a microphone -------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spoken.wav"
    write_wav(path, tone(600))
    return path


@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_file_is_spoken(server: RealtimeServer, session: rt.Session, file: Path, pace: Any) -> None:
    """A file is sent, then silence, so that the server hears the end of it and answers."""
    microphone = FileMicrophone(session, file, pace=pace, trailing_silence=0.6, block_ms=50)
    with microphone:
        microphone.start()
        until(session, ev.InputAudioBufferSpeechStarted)
        until(session, ev.ResponseDone)
        assert microphone.finished.wait(DEADLINE)
    assert received(server, 2 * 28_800) == tone(600) + silence(600)
    assert microphone.failure is None


def test_file_in_the_session_s_format(server: RealtimeServer, session: rt.Session, file: Path) -> None:
    """The file is sent in the format that the session takes."""
    session.update(audio={"input": {"format": {"type": PCMU}}})
    until(session, ev.SessionUpdated)
    microphone = FileMicrophone(session, file, pace="fast")
    microphone.start()
    sent = received(server, 1600 * 8)
    assert level(sent[: 600 * 8], PCMU) == pytest.approx(-20, abs=0.5)
    assert sent[600 * 8 :] == silence(1000, PCMU)
    microphone.close()


def test_file_is_stopped(server: RealtimeServer, session: rt.Session, file: Path) -> None:
    """Stopped, it sends no more, and can begin anew."""
    microphone = FileMicrophone(session, file, trailing_silence=1000)
    microphone.stop()
    microphone.start()
    server.wait_for(ev.InputAudioBufferAppend)
    microphone.stop()
    assert microphone.finished.is_set()
    assert microphone.failure is None
    session.input_audio_buffer.clear()  # its answer says that all before has arrived
    until(session, ev.InputAudioBufferCleared)
    count = len(server.audio_received)
    microphone.start()
    assert received(server, count + 4800)[count : count + 4800] == tone(600)[:4800]
    microphone.stop()


def test_file_and_session_end(server: RealtimeServer, session: rt.Session, file: Path) -> None:
    """The end of the session is the end of it, and no failure."""
    microphone = FileMicrophone(session, file, trailing_silence=1000)
    microphone.start()
    session.close()
    assert microphone.finished.wait(DEADLINE)
    assert microphone.failure is None
    microphone.stop()


@pytest.mark.skipif(os.name != "posix", reason="the fake ffmpeg is a script")
@pytest.mark.parametrize("end", ["session", "stop"])
def test_file_leaves_nothing_running(
    server: RealtimeServer,
    session: rt.Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    """What decodes the file is ended with it, also if the session ends in the middle."""
    ffmpeg, pid, file = tmp_path / "ffmpeg", tmp_path / "pid", tmp_path / "endless.mp3"
    ffmpeg.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec cat /dev/zero\n")
    ffmpeg.chmod(0o755)
    file.write_bytes(b"ID3")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    microphone = FileMicrophone(session, file)
    microphone.start()
    server.wait_for(ev.InputAudioBufferAppend)
    os.kill(int(pid.read_text()), 0)
    if end == "session":
        session.close()
    else:
        microphone.stop()
    assert microphone.finished.wait(DEADLINE)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    microphone.stop()


@pytest.mark.parametrize(
    ("name", "value"), [("trailing_silence", -1), ("trailing_silence", math.inf), ("block_ms", 0)]
)
def test_file_s_numbers(session: rt.Session, file: Path, name: str, value: float) -> None:
    """A length that can't be is refused by its name."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is .*, not {value}"):
        FileMicrophone(session, file, **options)


def test_file_can_t_be_read(
    session: rt.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that can't be read is an error at once; one that breaks off, a failure that is logged."""
    with pytest.raises(OSError, match="none"):
        FileMicrophone(session, tmp_path / "none.wav").start()
    with pytest.raises(ValueError, match="pace"):
        FileMicrophone(session, tmp_path / "none.wav", pace="slow")  # type: ignore[arg-type]
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text("#!/bin/sh\nhead -c 9600 /dev/zero\necho broken >&2\nexit 1\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    odd = tmp_path / "odd.mp3"
    odd.write_bytes(b"ID3")
    microphone = FileMicrophone(session, odd, pace="fast")
    microphone.start()
    assert microphone.finished.wait(DEADLINE)
    assert isinstance(microphone.failure, ValueError)
    assert "broken" in caplog.text
