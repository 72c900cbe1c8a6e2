"""`voice.audio`: files into a session."""

import contextlib
import inspect
import io
import logging
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_ffmpeg import posix, replace_ffmpeg
from wav_files import (
    DATA,
    FORMATS,
    QUESTION,
    sine,
    tone,
    wav_of,
)

import realtime_sync as rt
from realtime_sync.local import LocalServer
from realtime_sync.sound.formats import (
    PCM,
    PCMA,
    PCMU,
)
from realtime_sync.sound.vad import EnergyDetector, Started, Stopped
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import audio


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_ffmpeg(tmp_path, monkeypatch)


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


def test_stream_file_of_a_damaged_file(tmp_path: Path) -> None:
    """What there is of a file that was cut short is sent, and then the caller is told."""
    path = tmp_path / "cut.wav"
    path.write_bytes(QUESTION.read_bytes()[:-1000])
    problems: list[str] = []
    with connected() as (server, session):
        seconds = audio.stream_file(session, path, on_problem=problems.append)
    assert server.audio_received == audio.read_wav(QUESTION)[:-1000]
    assert seconds == pytest.approx(audio.duration(server.audio_received))
    assert problems == [f"{path} is cut short: its header promises 1.78 s, got 1.76 s"]


# --- The end of the turn -----------------------------------------------------------------------------


@contextlib.contextmanager
def hearing(turn_detection: dict[str, Any] | None, **options: Any) -> Iterator[rt.Session]:
    """A session of the local server, which detects turns so."""
    with LocalServer() as server, rt.connect(base_url=server.url, api_key="any", **options) as session:
        if options.get("dialect") == "beta":
            configure(session, turn_detection=turn_detection)
        else:
            configure(session, audio={"input": {"turn_detection": turn_detection}})
        yield session


def server_vad(silence_ms: int) -> dict[str, Any]:
    return {"type": "server_vad", "silence_duration_ms": silence_ms, "create_response": False}


def until(session: rt.Session, kind: Any) -> Any:
    """The next event of a kind; an error before it is one of the test's."""
    return session.run(NoErrors(), until=kind, timeout=10)


class NoErrors(rt.Visitor[None]):
    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        raise AssertionError(event.error.message)


@pytest.mark.parametrize("dialect", ["ga", "beta"])
@pytest.mark.parametrize("silence_ms", [200, 500, 1500])
def test_silence_ends_the_turn(silence_ms: int, dialect: str) -> None:
    """With silence behind the file, a server that detects turns ends this one, whatever pause it wants."""
    with hearing(server_vad(silence_ms), dialect=dialect) as session:
        seconds = audio.stream_file(session, QUESTION, end_with_silence=True, commit=True)
        assert until(session, rt.events.InputAudioBufferSpeechStopped)
        assert until(session, rt.events.ConversationItemDone if dialect == "ga" else ITEM_CREATED)
    assert seconds == pytest.approx(audio.wav_duration(QUESTION), abs=0.001)


ITEM_CREATED = rt.events.ConversationItemCreated


@pytest.mark.parametrize("eagerness", ["low", "medium", "high", "auto"])
def test_silence_for_semantic_detection(eagerness: str) -> None:
    """Semantic detection, which may wait for seconds, is given them."""
    with hearing({"type": "semantic_vad", "eagerness": eagerness, "create_response": False}) as session:
        audio.stream_file(session, QUESTION, end_with_silence=True)
        assert until(session, rt.events.InputAudioBufferSpeechStopped)


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_commit_ends_the_turn(dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where turn detection is off, the file is committed, without silence, and the log says so."""
    with hearing(None, dialect=dialect) as session, caplog.at_level(logging.INFO, "realtime_sync"):
        audio.stream_file(session, QUESTION, end_with_silence=True, commit=True)
        committed = until(session, rt.events.InputAudioBufferCommitted)
        assert until(session, rt.events.ConversationItemDone if dialect == "ga" else ITEM_CREATED)
        session.conversation.item.retrieve(item_id=committed.item_id)
        retrieved = until(session, rt.events.ConversationItemRetrieved)
    [part] = retrieved.item.content
    assert part.audio == audio.read_wav(QUESTION)
    assert "committed 1.78 s of input: the session does not detect turns" in caplog.messages


def test_end_of_the_turn_by_default() -> None:
    """Unless it is asked for, no silence is sent, and nothing is committed."""
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": None}})
        audio.stream_file(session, QUESTION)
    assert server.audio_received == audio.read_wav(QUESTION)
    assert not server.received_of(rt.events.InputAudioBufferCommit)


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize(("wanted", "seconds"), [(True, 0.0), (False, 0.0), (0.25, 0.25), (1, 1.0), (0, 0.0)])
def test_seconds_of_silence(wanted: bool | float, seconds: float, audio_format: str) -> None:
    """A number is seconds, also where detection is off; True is then none: silence would be committed."""
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": None, "format": {"type": audio_format}}})
        sent = audio.stream_file(session, QUESTION, end_with_silence=wanted, commit=True)
    question = audio.read_wav(QUESTION, audio_format)
    assert server.audio_received == question + audio.silence(seconds, audio_format)
    assert sent == pytest.approx(audio.duration(question, audio_format))
    assert len(server.received_of(rt.events.InputAudioBufferCommit)) == 1


@pytest.mark.parametrize(
    ("detection", "seconds"),
    [
        ({"type": "server_vad"}, 1.0),
        ({"type": "server_vad", "silence_duration_ms": 900}, 1.4),
        ({"type": "semantic_vad"}, 4.5),
        ({"type": "semantic_vad", "eagerness": "low"}, 8.5),
        ({"type": "semantic_vad", "eagerness": "high"}, 2.5),
    ],
)
def test_how_much_silence(detection: dict[str, Any], seconds: float) -> None:
    """True is half a second more than the pause that was announced, or that semantic detection takes."""
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": detection}})
        audio.stream_file(session, QUESTION, end_with_silence=True, commit=True)
    assert server.audio_received == audio.read_wav(QUESTION) + audio.silence(seconds)
    assert not server.received_of(rt.events.InputAudioBufferCommit)


def test_end_of_a_translation() -> None:
    """A translation session gets a second of silence; it has no commit, which is an error at once."""
    with connected(translation=True) as (server, session):
        with pytest.raises(ValueError, match="commit=True is not supported by a translation session"):
            audio.stream_file(session, QUESTION, commit=True)
        assert not server.received
        audio.stream_file(session, QUESTION, end_with_silence=True)
    assert server.audio_received == audio.read_wav(QUESTION) + bytes(48_000)


def test_nothing_to_commit(tmp_path: Path) -> None:
    """A file without audio is not committed, which a server would reject."""
    audio.write_wav(tmp_path / "a.wav", b"")
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": None}})
        assert audio.stream_file(session, tmp_path / "a.wav", commit=True) == 0
    assert not server.received_of(rt.events.InputAudioBufferCommit)


@pytest.mark.parametrize("seconds", [-1, -0.1, float("nan"), float("inf")])
def test_no_such_silence(seconds: float) -> None:
    """Silence that can't be is refused before anything is sent."""
    refused = pytest.raises(ValueError, match="end_with_silence must be True, False or seconds of 0 or more")
    with connected() as (server, session), refused:
        audio.stream_file(session, QUESTION, end_with_silence=seconds)
    assert not server.received


# --- At its time -------------------------------------------------------------------------------------


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
    before = threading.enumerate()  # other libraries may use tqdm, too
    with connected() as (_, session):
        audio.stream_file(session, QUESTION, progress=True)
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert not [thread for thread in left if "tqdm" in type(thread).__module__]


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
    refused = pytest.raises(ImportError, match=r"realtime-sync\[audio\]")
    with connected() as (server, session), refused:
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
    detector = EnergyDetector(PCM, threshold=0.5, silence_ms=500)
    found = list(detector.feed(audio.read_wav(path) + bytes(48_000)))
    assert [type(event) for event in found] == [Started, Stopped]
