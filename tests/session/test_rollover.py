"""A session that moves to another connection while a microphone appends without pause: it loses nothing."""

import random
import threading
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import DEADLINE
from threads import in_thread, wait_until

import realtime_sync as rt
from realtime_sync.local import Heard, LocalServer, Say, ScriptedResponder
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback

MOVE = rt.Reconnect(rollover=0.05, audio_buffer=600.0)  # at each look: there are ten a second
GROUP = 4  # samples that hold one number between them
SHORTEST = 5  # chunks that a server takes as a turn
CHUNK = 120  # numbers, 20 ms
PACE = 0.001  # seconds between two chunks, so that the server can follow: some 15 times real time
UTTERANCE = 20  # chunks, 0.4 s
LOUD = 0x20  # the high byte of a sample, which makes speech of it
DETECTION = {"type": "server_vad", "create_response": False, "silence_duration_ms": 200}
SLOW = pytest.mark.slow
FORMS = pytest.mark.parametrize(
    ("rollovers", "longest_pause"),
    [
        (5, 0.0),
        pytest.param(200, 0.0, marks=SLOW),
        pytest.param(20, 0.15, marks=SLOW),  # turns meet moves, which are then tried again five seconds later
    ],
)


def numbered(first: int, last: int, high: int = 0) -> bytes:
    """Audio of which each group of samples is unique: its number, a byte in each sample.

    The other byte of each swings, from plus to minus: a constant would be a DC offset, which is no speech.
    """
    numbers = array("I", range(first, last)).tobytes()
    audio = bytearray(2 * len(numbers))
    audio[::2] = numbers
    audio[1::4], audio[3::4] = (bytes([byte]) * (len(numbers) // 2) for byte in (high, -high & 0xFF))
    return bytes(audio)


class Numbers:
    """A transcriber whose transcript is the first number that it hears, and the one behind the last."""

    def transcribe(self, heard: Heard) -> Iterator[str]:
        numbers = array("I", heard.audio[::2])
        first, last = numbers[0], numbers[-1] + 1
        whole = numbers == array("I", range(first, last))
        yield f"{first} {last}" if whole else f"something is missing, or doubled, from {first} to {last}"


class Microphone:
    """Appends numbered audio without pause, quiet unless it is told to speak."""

    def __init__(self, session: rt.Session) -> None:
        self._session = session
        self._ends = threading.Event()
        self._speaks = threading.Event()
        self.count = 0  # numbers appended
        self.spoken: list[tuple[int, int]] = []  # the first number of each utterance, and the one behind it
        self._thread = in_thread(self._run)

    def _run(self) -> None:
        while not self._ends.wait(PACE):
            if self._speaks.is_set():
                self._speaks.clear()
                self._append(UTTERANCE, LOUD)
                self.spoken.append((self.count - UTTERANCE * CHUNK, self.count))
            self._append(1, 0)

    def _append(self, chunks: int, high: int) -> None:
        for _ in range(chunks):
            self._session.input_audio_buffer.append(numbered(self.count, self.count + CHUNK, high))
            self.count += CHUNK

    def speak(self) -> None:
        self._speaks.set()

    def commit(self) -> None:
        """Commit what was appended, with at least as much more as a server takes."""
        enough = self.count + SHORTEST * CHUNK
        wait_until(lambda: self.count >= enough)
        self._session.input_audio_buffer.commit()

    def end(self) -> None:
        self._ends.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class Talk(rt.Visitors):
    """A user's talk with a session that moves again and again."""

    def __init__(self, session: rt.Session, detection: dict[str, Any] | None) -> None:
        self.session = session
        self.detection = detection
        self.conversation = Conversation(session)
        self.moves: list[rt.Reconnected] = []
        super().__init__(self.conversation, _Moves(self.moves))
        audio: Any = {"input": {"turn_detection": detection, "transcription": {"model": "m"}}}
        session.update(audio=audio)
        session.run(self, until=rt.events.SessionUpdated, timeout=DEADLINE)
        self.microphone = Microphone(session)

    def go_on(self, rollovers: int, longest_pause: float = 0.0) -> None:
        """Take a turn after each rollover: when it is seen, or up to so many seconds later."""
        draw, pause = random.Random(1), threading.Event()
        for _ in range(rollovers):
            self.session.run(self, until=rt.Reconnected, timeout=DEADLINE)
            pause.wait(draw.uniform(0, longest_pause))
            self.take_turn()
        self.microphone.end()

    def take_turn(self) -> None:
        self.microphone.speak() if self.detection else self.microphone.commit()
        self.conversation.wait_for_transcript(timeout=DEADLINE, visitor=self)

    @property
    def turns(self) -> list[tuple[int, int]]:
        """What was heard of the turns: their first numbers, and those behind their last ones."""
        texts = [item.text.split() for item in self.conversation.items]
        return [(int(first), int(last)) for first, last in texts]


class _Moves(rt.Visitor[None]):
    def __init__(self, moves: list[rt.Reconnected]) -> None:
        self.moves = moves

    def visit_reconnected(self, event: rt.Reconnected) -> None:
        self.moves.append(event)


@pytest.fixture
def session() -> Iterator[rt.Session]:
    with (
        LocalServer(transcriber=Numbers()) as server,
        rt.connect("m", base_url=server.url, api_key="k", reconnect=MOVE) as session,
    ):
        yield session


@FORMS
def test_committed_audio(session: rt.Session, rollovers: int, longest_pause: float) -> None:
    """The turns that are committed are what was appended: no sample is missing, and none comes twice."""
    talk = Talk(session, None)
    talk.go_on(rollovers, longest_pause)
    firsts, lasts = zip(*talk.turns, strict=True)
    assert firsts == (0, *lasts[:-1])
    assert len(talk.turns) == rollovers
    assert len(talk.moves) >= rollovers
    assert all(move.restored and not move.lost for move in talk.moves), talk.moves


@FORMS
def test_detected_speech(session: rt.Session, rollovers: int, longest_pause: float) -> None:
    """Each utterance is heard whole, in one turn of its own, and no sample comes in two of them."""
    talk = Talk(session, DETECTION)
    talk.go_on(rollovers, longest_pause)
    assert len(talk.turns) == len(talk.microphone.spoken) == rollovers
    end = 0
    for (first, last), (begin, behind) in zip(talk.turns, talk.microphone.spoken, strict=True):
        assert end <= first <= begin
        assert behind <= last
        end = last
    assert all(move.restored and not move.lost for move in talk.moves), talk.moves


# --- Playback ------------------------------------------------------------------------------------------


class Ear(ClockedSpeaker):
    """A speaker that keeps what it is given, and counts how often it fell silent before more came."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = b""
        self.gaps = self.cleared = 0

    def write(self, audio: bytes) -> None:
        self.gaps += bool(self.audio) and self.played_ms >= len(self.audio) / 48
        self.audio += audio
        super().write(audio)

    def clear(self) -> None:
        self.cleared += 1
        super().clear()


def test_playback() -> None:
    """Audio that plays when the session moves is played whole, and the next response follows at once."""
    answers = [numbered(number * 60_000, (number + 1) * 60_000) for number in range(4)]  # ten seconds each
    responder = ScriptedResponder([Say("words", audio) for audio in answers])
    with (
        LocalServer(responder=responder) as server,
        rt.connect("m", base_url=server.url, api_key="k", reconnect=MOVE) as session,
    ):
        conversation, ear = Conversation(session), Ear()
        playback = Playback(session, ear)
        both = rt.Visitors(playback, conversation)
        for _ in answers:
            request = session.response.create()
            answer = conversation.wait_for_response(request, timeout=DEADLINE, visitor=both)
            assert answer.status == "completed"
            session.run(both, until=rt.Reconnected, timeout=DEADLINE)
            assert playback.playing is not None
        assert ear.audio == b"".join(answers)
        assert (ear.gaps, ear.cleared) == (0, 0)
