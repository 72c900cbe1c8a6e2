"""``transcribe``: what is said in sound files."""

import argparse
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ..events import ErrorDetails, ErrorEvent, SessionConfig, SessionUpdated, TranscriptionSessionUpdated
from ..exceptions import ConnectionClosed, RealtimeError
from ..session import Session
from ..sound.formats import input_format, input_settings, silence
from ..visitor import Visitor
from ..voice.audio import stream_file
from .cues import FORMATS, Writer, clock
from .opening import MODEL, opener
from .screen import complain, problem_of
from .sound_files import check_sound
from .turns import Turns

__all__ = ["transcribe"]

_SETTING_UP = 10.0  # seconds for the server to take our settings; some never say that they have
_PAUSE_MS = 500  # of silence that ends a turn
_TAIL = 1.0  # seconds of silence behind the file, by which the server finds the end of the last turn
_JOIN = 5.0  # seconds for the sending to end
_LOOK = 0.1  # seconds between two looks at how far we are, while nothing comes
GRACE = 1.0
"""Seconds of calm at the end, in which a server that looks for speech beside its other work may find more."""
PATIENCE = 30.0
"""Seconds without any event, after the file was sent, at which we stop waiting for transcripts."""
OPEN_END = 5.0
"""The same, at which we end a turn ourselves that the server does not."""


def transcribe(options: argparse.Namespace) -> int:
    """Write the transcripts of files to stdout: 0 if all of them are whole."""
    for path in options.files:
        check_sound(path)
    writer = FORMATS[options.format](len(options.files) > 1)
    status = 0
    with opener(options) as open_session:
        try:
            for path in options.files:
                status = max(status, _one(path, options, open_session, writer))
        finally:  # also when Ctrl-C comes: what there is then is worth having
            writer.end()
    return status


def _one(path: str, options: argparse.Namespace, open_session: Callable[..., Session], writer: Writer) -> int:
    """Transcribe a file in a session of its own."""
    problem: Exception | None = None
    with _opened(options, open_session) as session:
        turns = Turns()
        sending = _Sending(session, path, options.pace, detects=_set_up(session, options))
        try:
            sending.start()
            _listen(session, turns, sending)
        except (ConnectionClosed, TimeoutError) as error:
            problem = error
        finally:
            session.close()  # which ends the sending too
            _drain(session, turns)
            sending.join()
            seconds = turns.known if sending.seconds is None else sending.seconds
            writer.add(path, turns.cues(seconds), seconds)
    problems = list(_problems(turns, seconds, sending, problem))
    for text in problems or turns.remarks:
        complain(f"{path}: {text}")
    return 1 if problems else 0


def _problems(turns: Turns, seconds: float, sending: "_Sending", problem: Exception | None) -> Iterator[str]:
    """What is missing, and why."""
    last = problem.last_error.error if isinstance(problem, ConnectionClosed) and problem.last_error else None
    errors = [error for error in turns.errors if error != last and not sending.is_answer(error)]
    yield from dict.fromkeys(str(problem_of(error)) for error in errors)  # one may be about each append
    for turn in turns.in_order(seconds):
        if turn.failure is not None:
            when = f"{clock(turn.start or 0.0)} to {clock(turn.end or 0.0)}"
            yield f"{when} could not be transcribed: {turn.failure}"
    for cause in (sending.failure, problem):
        if cause is not None:
            yield str(cause) if sending.is_whole(turns) else f"{cause}; {_extent(turns, seconds)}"


def _extent(turns: Turns, seconds: float) -> str:
    """How far the transcript goes."""
    end = turns.transcribed(seconds)
    if end is not None:
        return f"the transcript ends at {clock(end)}"
    begun = any(cue.text for cue in turns.cues(seconds))
    return "no turn was transcribed to its end" if begun else "nothing was transcribed"


# --- The session -------------------------------------------------------------------------------------


def _opened(options: argparse.Namespace, open_session: Callable[..., Session]) -> Session:
    model = options.session_model
    if options.intent == "transcription":
        return open_session(model, intent="transcription")  # OpenAI wants no model here
    return open_session(model or MODEL)


def _set_up(session: Session, options: argparse.Namespace) -> bool:
    """Ask for transcripts and for nothing else; whether the server finds the turns by itself.

    Raises:
        RealtimeError: The server refuses.
    """
    refusal = _refusal(session, _settings(options, detects=True))
    if refusal is None:
        return _says_it_detects(session.config)
    error = refusal.error
    if "turn_detection" in f"{error.param} {error.message}":  # not every model can be used with it
        refusal = _refusal(session, _settings(options, detects=False))
        if refusal is None:
            return False
    raise RealtimeError(f"the server refused the settings: {problem_of(refusal.error)}")


def _settings(options: argparse.Namespace, *, detects: bool) -> dict[str, Any]:
    transcription = {"model": options.model, **({"language": options.language} if options.language else {})}
    detection: dict[str, Any] = {"type": "server_vad", "silence_duration_ms": _PAUSE_MS}
    if options.intent == "conversation":
        detection |= {"create_response": False, "interrupt_response": False}
    return {"input": {"transcription": transcription, "turn_detection": detection if detects else None}}


def _refusal(session: Session, audio: dict[str, Any]) -> ErrorEvent | None:
    """Send settings, and wait for the answer."""
    session.update(audio=audio)
    answers = (SessionUpdated, TranscriptionSessionUpdated, ErrorEvent)
    answer = session.run(_Deaf(), until=answers, timeout=_SETTING_UP)
    return answer if isinstance(answer, ErrorEvent) else None


class _Deaf(Visitor[None]):
    """For the settings, whose refusal is seen to elsewhere."""

    def visit_error(self, event: ErrorEvent) -> None:
        pass


def _says_it_detects(config: SessionConfig | None) -> bool:
    """Whether a server finds turns; true unless it says that it doesn't."""
    ga = input_settings(config)
    return ga is None or ga.turn_detection is not None


# --- Sending and listening ---------------------------------------------------------------------------


class _Sending:
    """Sends a file, and asks the server in the end whether it has heard it all.

    Attributes:
        seconds: Of the file; ``None`` until all of it is sent.
        failure: Why it could not be read to its end.
        question: The id of the event that the server answers when it has taken all before it.
        ended_at: When nothing more was to be sent; ``None`` before.
    """

    def __init__(self, session: Session, path: str, pace: Literal["fast", "realtime"], detects: bool) -> None:
        self.seconds: float | None = None
        self.failure: Exception | None = None
        self.question: str | None = None
        self.ended_at: float | None = None
        self.detects = detects
        self._session = session
        self._path = path
        self._pace = pace
        # Sends while the main thread takes what the server says: that need not fit into memory, and an end
        # of the session is seen at once.  A daemon, as it may be stuck in reading a pipe.
        self._thread = threading.Thread(target=self._send, name="realtime_sync-file", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, which that of the session brings about."""
        if self._thread.ident is not None:
            self._thread.join(_JOIN)

    def _send(self) -> None:
        try:
            with contextlib.suppress(ConnectionClosed):  # which the other thread sees
                self._send_file()
                self.question = self._ask()
        finally:
            self.ended_at = time.monotonic()

    def _send_file(self) -> None:
        try:
            self.seconds = stream_file(self._session, self._path, self._pace)
        except (OSError, ValueError, ImportError) as error:
            self.failure = error  # what was sent of it counts

    def _ask(self) -> str:
        if not self.detects:
            return self._session.input_audio_buffer.commit()
        # Not by a commit: the silence would be a turn, in which some models hear words.
        self._session.input_audio_buffer.append(silence(_TAIL, input_format(self._session.config)))
        return self._session.update()

    def answered(self, turns: Turns) -> bool:
        """Whether the server has taken all that was sent."""
        refused = any(error.event_id == self.question for error in turns.errors)
        return refused or (turns.updates if self.detects else turns.commits) > 0

    def is_whole(self, turns: Turns) -> bool:
        """Whether the server has taken the whole file, and owes nothing of its transcript."""
        return self.seconds is not None and self.answered(turns) and not turns.pending

    def is_answer(self, error: ErrorDetails) -> bool:
        """Whether an error only says that the question can't be answered."""
        return self.detects and error.event_id is not None and error.event_id == self.question


def _listen(session: Session, turns: Turns, sending: _Sending) -> None:
    """Collect what the server hears, until there is no more.

    Raises:
        ConnectionClosed: The session has ended.
        TimeoutError: There are transcripts that don't come.
    """
    moved, helped = time.monotonic(), False
    while True:
        with contextlib.suppress(TimeoutError):
            turns.visit(session.next_event(_LOOK))
            moved = time.monotonic()
        if sending.ended_at is None:
            continue
        calm = time.monotonic() - max(moved, sending.ended_at)
        waits = bool(turns.pending) or not sending.answered(turns)
        if not waits and calm >= (GRACE if sending.detects else 0):
            return
        if turns.speaking and calm >= OPEN_END and not helped:
            session.input_audio_buffer.commit()
            helped = True
        elif waits and calm >= PATIENCE:
            missing = len(turns.pending)
            raise TimeoutError(
                f"the server has been silent for {PATIENCE:g} s (transcripts missing: {missing})"
            )


def _drain(session: Session, turns: Turns) -> None:
    """Take what has come by the end of the session."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            turns.visit(session.next_event())
