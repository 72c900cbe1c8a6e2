"""`voice.audio`: files into a session."""

import contextlib
import inspect
import io
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_ffmpeg import posix, remove_ffmpeg, replace_ffmpeg
from wav_files import (
    DATA,
    FORMATS,
    QUESTION,
    sine,
    tone,
    wav_of,
)

import realtime_sync as rt
from realtime_sync.local.protocol.vad import Detector, Started, Stopped
from realtime_sync.sound.formats import (
    PCM,
    PCMA,
    PCMU,
)
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import audio


@pytest.fixture
def no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_ffmpeg(tmp_path, monkeypatch)


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_ffmpeg(tmp_path, monkeypatch)


GA: dict[str, Any] = {"turn_detection": None}


@contextlib.contextmanager
def connected(**options: Any) -> Iterator[tuple[RealtimeServer, rt.Session]]:
    """A session, and the server that has received all of it when the block is over."""
    with RealtimeServer() as server:
        with rt.connect(base_url=server.url, **options) as session:
            yield server, session
        server.wait_closed()


def configure(session: rt.Session, **settings: Any) -> None:
    session.update(**settings)
    assert session.run(rt.Visitor[None](), until=rt.events.SessionUpdated, timeout=10)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_stream_file(audio_format: str) -> None:
    """A file goes into the input of a session, whole, in the session's own format, and is not committed."""
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": None, "format": {"type": audio_format}}})
        seconds = audio.stream_file(session, QUESTION)
    assert server.audio_received == audio.read_wav(QUESTION, audio_format)
    assert seconds == pytest.approx(audio.wav_duration(QUESTION), abs=0.001)
    assert not server.received_of(rt.events.InputAudioBufferCommit)
    appended = server.received_of(rt.events.InputAudioBufferAppend)
    assert {len(event.audio) for event in appended[:-1]} == {audio.size_of(0.1, audio_format)}


def test_stream_file_beta() -> None:
    """A Beta session names its format otherwise."""
    with connected(dialect="beta") as (server, session):
        configure(session, input_audio_format="g711_ulaw", turn_detection=None)
        audio.stream_file(session, QUESTION, chunk_ms=250)
    assert server.audio_received == audio.read_wav(QUESTION, PCMU)
    assert len(server.received_of(rt.events.InputAudioBufferAppend)) == 8


def test_stream_file_into_a_translation() -> None:
    """A translation session has an event of its own for audio."""
    with connected(translation=True) as (server, session):
        audio.stream_file(session, QUESTION)
    assert len(server.received_of(rt.events.SessionInputAudioBufferAppend)) == 18
    assert server.audio_received == audio.read_wav(QUESTION)


def test_stream_file_in_a_format_asked_for() -> None:
    """The format can be said, for a session whose update was not confirmed yet."""
    with connected() as (server, session):
        audio.stream_file(session, QUESTION, format=PCMA)
    assert server.audio_received == audio.read_wav(QUESTION, PCMA)


class Clock:
    """Time that passes only where it is waited for, and a little more, as it does."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds + 0.013


@pytest.mark.parametrize(("audio_format", "chunk_ms"), [(PCM, 100), (PCMU, 100), (PCM, 33.3)])
def test_realtime(audio_format: str, chunk_ms: float) -> None:
    """At real-time pace each chunk has its time; being late once does not make the next one late."""
    clock = Clock()
    with connected() as (_, session):
        pieces = audio.decode(QUESTION, chunk_ms, audio_format)
        seconds = audio._send(session, pieces, audio_format, False, float, clock, clock.wait)
    begun = audio.duration(audio.size_of(chunk_ms / 1000, audio_format), audio_format) * len(clock.waits)
    assert begun < seconds <= begun + chunk_ms / 1000
    assert clock.now == pytest.approx(1000 + begun + 0.013)
    assert clock.waits[0] == pytest.approx(chunk_ms / 1000, abs=0.0001)
    assert clock.waits[1:] == [pytest.approx(chunk_ms / 1000 - 0.013, abs=0.0001)] * (len(clock.waits) - 1)


def test_fast_waits_for_nothing() -> None:
    """At the fast pace nobody looks at the time."""
    clock = Clock()
    with connected() as (_, session):
        audio._send(session, audio.decode(QUESTION), PCM, True, float, clock, clock.wait)
    assert not clock.waits


def test_session_ends_during_a_file() -> None:
    """When the session ends, so does the file, within a moment even if chunks are long."""
    clock = Clock()
    with connected() as (server, session):

        def wait(seconds: float) -> None:
            clock.wait(seconds)
            if len(clock.waits) == 5:  # of nine or ten, before the second chunk
                session.close()

        with pytest.raises(rt.ConnectionClosed):
            audio._send(session, audio.decode(QUESTION, 1000), PCM, False, float, clock, wait)
        assert len(clock.waits) == 5
        with pytest.raises(rt.ConnectionClosed):
            audio.stream_file(session, QUESTION)
    assert len(server.received) == 1


def test_interrupted() -> None:
    """A Ctrl-C comes out of a wait; the session goes on."""
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.wait(seconds)
        if len(clock.waits) == 3:
            raise KeyboardInterrupt

    with connected() as (server, session):
        with pytest.raises(KeyboardInterrupt):
            audio._send(session, audio.decode(QUESTION), PCM, False, float, clock, wait)
        session.input_audio_buffer.clear()
    assert len(server.received_of(rt.events.InputAudioBufferAppend)) == 3
    assert server.received_of(rt.events.InputAudioBufferClear)


def test_what_is_not_streamed(tmp_path: Path) -> None:
    """A wrong pace or a file that is none is an error, and nothing was sent."""
    (tmp_path / "a.wav").write_bytes(b"")
    with connected() as (server, session):
        with pytest.raises(ValueError, match="unknown pace 'slow'; expected 'fast' or 'realtime'"):
            audio.stream_file(session, QUESTION, "slow")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="is empty"):
            audio.stream_file(session, tmp_path / "a.wav", progress=True)
        number: Any = 3
        with pytest.raises(TypeError, match="path must be the name of a file, got 3"):
            audio.stream_file(session, number)
    assert not server.received


def test_realtime_takes_its_time(tmp_path: Path) -> None:
    """`stream_file` sends no chunk before its time, if that is wanted."""
    audio.write_wav(tmp_path / "a.wav", sine(seconds=0.15))
    with connected() as (_, session):
        begun = time.monotonic()
        audio.stream_file(session, tmp_path / "a.wav", "realtime")
        assert time.monotonic() - begun >= 0.1


def test_nothing_private_is_shown() -> None:
    """What a user may say to `stream_file` is all that it takes."""
    assert not [name for name in inspect.signature(audio.stream_file).parameters if name.startswith("_")]


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that is asked for runs to the end of the file."""
    with connected() as (_, session):
        audio.stream_file(session, QUESTION, progress=True)
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert last.startswith("question.wav: 100%|")
    assert "1.8/1.8 s" in last


def test_bar_leaves_no_thread() -> None:
    """A bar needs no thread, and leaves none."""
    with connected() as (_, session):
        audio.stream_file(session, QUESTION, progress=True)
    assert not [thread for thread in threading.enumerate() if "tqdm" in type(thread).__module__]


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_bar_without_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file that only ffmpeg knows the length isn't known; the bar counts."""
    (tmp_path / "sound.mp3").write_text("out.write(bytes(48000))")
    with connected() as (_, session):
        audio.stream_file(session, tmp_path / "sound.mp3", progress=True)
    assert capsys.readouterr().err.rstrip().rpartition("\r")[2].startswith("sound.mp3: 1.0 s [")


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar shows by itself on a terminal and nowhere else, and not where it is unwanted."""
    with connected() as (_, session):
        shown = []
        for stderr, progress in ((Terminal(), None), (Terminal(), False), (io.StringIO(), None)):
            monkeypatch.setattr(sys, "stderr", stderr)
            audio.stream_file(session, QUESTION, progress=progress)
            shown.append(bool(stderr.getvalue()))
        monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console
        audio.stream_file(session, QUESTION)
    assert shown == [True, False, False]


def test_tqdm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tqdm there is no bar; a bar that was asked for names the extra, and nothing is sent."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with connected() as (server, session):
        with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
            audio.stream_file(session, QUESTION, progress=True)
        assert not server.received
        monkeypatch.setattr(sys, "stderr", Terminal())
        audio.stream_file(session, QUESTION)
    assert server.audio_received == audio.read_wav(QUESTION)


# --- What is asked for and missing -------------------------------------------------------------------


def test_soxr_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soxr, a file that needs resampling names the extra before anything is sent."""
    monkeypatch.setitem(sys.modules, "soxr", None)  # its import fails, as if it were not installed
    (tmp_path / "b.wav").write_bytes(wav_of(tone(44_100), rate=44_100))
    with connected() as (server, session):
        with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
            audio.stream_file(session, tmp_path / "b.wav")
    assert not server.received


# --- The test data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["question.wav", "interrupt.wav"])
def test_data(name: str) -> None:
    """The speech that is checked in is small, fits a session as it is, and is heard as speech."""
    path = DATA / name
    assert path.stat().st_size < 100_000
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, 24_000)
    detector = Detector(PCM, threshold=0.5, silence_ms=500)
    found = list(detector.feed(audio.read_wav(path) + bytes(48_000)))
    assert [type(event) for event in found] == [Started, Stopped]
