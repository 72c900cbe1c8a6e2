"""Microphones: what a device records, or a file holds, is sent to the session."""

import array
import logging
import math
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from fake_devices import Fake
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, idle
from stuck import fill
from threads import in_thread, wait_until
from tones import silence, tone

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.sound.formats import PCMA, PCMU, samples_of
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback
from realtime_sync.voice.audio import level, write_wav
from realtime_sync.voice.devices import DeviceError
from realtime_sync.voice.microphones import FileMicrophone, Microphone
from realtime_sync.voice.speakers import Speaker


@pytest.mark.parametrize(
    ("name", "value"),
    [("block_ms", 0), ("block_ms", -20), ("max_seconds", 0), ("max_seconds", math.inf), ("latency", -0.1)],
)
def test_microphone_s_numbers(fake: Fake, name: str, value: float) -> None:
    """A microphone rejects invalid lengths when it is made."""
    session: Any = None
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        Microphone(session, **options)


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
    """Audio is sent in the session's format, also from a device of another rate."""
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


def test_half_duplex(fake: Fake, server: RealtimeServer, session: rt.Session, clock: Clock) -> None:
    """While the speaker plays silence is sent, judged by when a block came, not by when it is sent."""
    speaker = ClockedSpeaker(clock=clock)
    with Microphone(session, echo="half-duplex", speaker=speaker) as microphone:
        fake.stream.hear(tone(20))
        speaker.write(tone(100))
        with microphone._changed:  # nothing is taken out meanwhile
            clock.pass_by(50)
            fake.stream.hear(tone(20))
            speaker.clear()
    assert received(server, 1920) == tone(20) + silence(20)


def test_echo_ends(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """A microphone listens to its speaker from start to stop, and not if it can't be started."""
    pytest.importorskip("pywebrtc_audio")
    with Speaker() as speaker:
        microphone = Microphone(session, echo="cancel", speaker=speaker)
        assert not speaker._taps
        with microphone:
            fake.stream.hear(tone(20))
            assert len(speaker._taps) == 1
            microphone.mute()
        assert received(server, 960)
        assert not speaker._taps
        for when in ("open", "start"):
            fake.busy = when
            with pytest.raises(DeviceError):
                microphone.start()
            assert not speaker._taps


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
    """An invalid length is rejected with the argument's name."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
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


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    """What there is of a file that was cut short is sent, and the caller is told before it is finished."""
    path = tmp_path / "cut.wav"
    write_wav(path, tone(200))
    path.write_bytes(path.read_bytes()[:-4800])
    problems: list[str] = []
    with RealtimeServer() as server:
        with rt.connect(base_url=server.url) as session:
            microphone = FileMicrophone(
                session, path, pace="fast", trailing_silence=0, on_problem=problems.append
            )
            with microphone:
                assert microphone.finished.wait(DEADLINE)
        server.wait_closed()
    assert problems == [f"{path} is cut short: its header promises 0.20 s, got 0.10 s"]
    assert microphone.failure is None
    assert server.audio_received == tone(200)[:4800]


# --- A link that takes nothing --------------------------------------------------------------------------


class Paused:
    """A server that reads nothing until it is told to go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        assert self.goes_on.wait(DEADLINE)
        caller.serve_until_closed()


def sender(name: str) -> threading.Thread:
    [thread] = [thread for thread in threading.enumerate() if thread.name == name]
    return thread


def test_abandon(fake: Fake, open_session: Open) -> None:
    """An abandoned microphone doesn't wait, discards what is recorded, and can be started anew."""
    paused = Paused()
    with ScriptedServer(paused) as server:
        session = open_session(server, wait=True)
        fill(session)
        microphone = Microphone(session)
        microphone.start()
        old = sender("realtime_sync-microphone")
        fake.stream.hear(bytes(960))
        wait_until(lambda: session.stats.events_out == 2)  # what fills the link, and the first block
        fake.stream.hear(bytes(960))
        fake.stream.hear(bytes(960))
        microphone.abandon()
        assert fake.stream.closed.is_set()
        assert old.is_alive()
        microphone.stop()  # waits for nothing any more
        microphone.start()
        paused.goes_on.set()
        old.join(DEADLINE)
        assert not old.is_alive()
        assert session.stats.events_out == 2
        fake.stream.hear(bytes(960))
        microphone.stop()
        assert session.stats.events_out == 3
        session.close()


def test_abandon_a_stuck_device(fake: Fake, session: rt.Session, caplog: pytest.LogCaptureFixture) -> None:
    """A microphone that another thread is stopping, and whose device is stuck, is not waited for."""
    microphone = Microphone(session)
    microphone.start()
    fake.stuck = "close"
    thread = in_thread(microphone.stop)
    wait_until(microphone._control.locked)
    microphone.abandon()
    assert not fake.stream.closed.is_set()
    fake.released.set()
    thread.join(DEADLINE)
    assert fake.stream.closed.wait(DEADLINE)


def test_abandon_a_file(open_session: Open, file: Path) -> None:
    """A file that is sent anew after `abandon` is told to be finished by its own end only."""
    paused = Paused()
    with ScriptedServer(paused) as server:
        session = open_session(server, wait=True)
        fill(session)
        microphone = FileMicrophone(session, file, trailing_silence=600)
        microphone.start()
        old = sender("realtime_sync-file")
        wait_until(lambda: session.stats.events_out == 2)  # what fills the link, and the first block
        microphone.abandon()
        assert old.is_alive()
        microphone.start()
        paused.goes_on.set()
        old.join(DEADLINE)
        assert not old.is_alive()
        assert not microphone.finished.is_set()
        session.close()
        assert microphone.finished.wait(DEADLINE)
        microphone.stop()


def test_memory(open_session: Open, file: Path) -> None:
    """A session with a microphone that sends an hour of silence takes less than a megabyte."""
    with ScriptedServer(idle) as server:
        open_session(server).close()  # what is made once for all sessions
        tracemalloc.start()
        try:
            session = open_session(server)
            microphone = FileMicrophone(session, file, trailing_silence=3600)
            visitor = rt.Visitors(Playback(session, ClockedSpeaker()), Conversation(session))
            microphone.start()
            wait_until(lambda: session.stats.events_out > 0)
            session.run(visitor, timeout=0)
            microphone.stop()
            session.close()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 1_000_000
