"""``transcribe``: what is said in audio files."""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..events import ErrorEvent, SessionUpdated, TranscriptionSessionUpdated
from ..exceptions import ConnectionClosed, RealtimeError
from ..reconnect import Reconnect
from ..session import HASTE, Session
from ..visitor import Visitor
from . import opening, speech, status, streams
from .cues import FORMATS, Writer, clock
from .detection import detects_turns
from .screen import complain, problem_of
from .sending import Sending
from .sound_files import check_input
from .turns import Turns

__all__ = ["add_arguments", "run"]

# A file may be sent much faster than it is heard: what the server has not transcribed is sent again.
_RECONNECT = Reconnect(audio_buffer=900)
_TRANSCRIBER = "gpt-4o-transcribe"
_SETTING_UP = 10.0  # seconds for the server to accept the settings; some never say that they have
_PAUSE_MS = 500  # of silence that ends a turn
_LOOK = 0.1  # seconds between two looks at the progress, while no event comes
_GRACE = 1.0  # seconds of calm at the end: a server that looks for speech beside its other work may find more
_PATIENCE = 30.0  # seconds without any event, after the file was sent, at which no transcript is waited for
_OPEN_END = 5.0  # the same, at which we commit the audio of a turn that the server doesn't end or find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``transcribe``."""
    parser.description = (
        "Write down what is said in audio files: WAV, or whatever ffmpeg reads if that is installed. "
        "The transcripts go to stdout in UTF-8, everything else to stderr.  Several files in srt or vtt are "
        "one film, in which each begins where the last one ended; in json, times are those in each file."
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--format", choices=list(FORMATS), default="text", help="default: %(default)s")
    parser.add_argument("--language", metavar="CODE", help="the language spoken, such as en or de")
    parser.add_argument(
        "--model",
        default=_TRANSCRIBER,
        help="the model that transcribes (default: %(default)s; ...-diarize names the speakers)",
    )
    parser.add_argument(
        "--intent",
        choices=["conversation", "transcription"],
        default="conversation",
        help="the kind of session: an ordinary one that is told not to answer, which every server has "
        "(the default), or one only for transcription",
    )
    parser.add_argument(
        "--session-model",
        metavar="MODEL",
        help=f"the model of the session (default: {opening.MODEL}, or none with --intent transcription)",
    )
    parser.add_argument(
        "--pace",
        choices=["fast", "realtime"],
        default="fast",
        help="how fast the files are sent (default: %(default)s)",
    )
    opening.add_arguments(parser)
    speech.add_arguments(parser, language=False)


def run(options: argparse.Namespace) -> int:
    """Write the transcripts of files to stdout: 0 if all of them are whole."""
    for path in options.files:
        check_input(path)
    writer = FORMATS[options.format](len(options.files) > 1)
    worst = status.DONE
    with opening.opener(options, _RECONNECT) as open_session:
        try:
            for path in options.files:
                worst = max(worst, _one(path, options, open_session, writer))
        finally:  # also when Ctrl-C comes: what there is then is worth having
            writer.end()
    return worst


def _one(path: str, options: argparse.Namespace, open_session: Callable[..., Session], writer: Writer) -> int:
    """Transcribe a file in a session of its own."""
    problem: Exception | None = None
    haste: float | None = None
    with _opened(options, open_session) as session:
        turns = Turns()
        sending = Sending(session, path, options.pace, detects=_set_up(session, options))
        try:
            sending.start()
            _listen(session, turns, sending)
        except (ConnectionClosed, TimeoutError) as error:
            problem = error
        except KeyboardInterrupt:
            streams.discard_if_stuck()
            haste = HASTE
            raise
        finally:
            session.close(timeout=haste)  # which ends the sending too
            _drain(session, turns)
            if haste is None:
                sending.join()
            seconds = turns.known if sending.seconds is None else sending.seconds
            writer.add(path, turns.cues(seconds), seconds)
    problems = [*turns.lost, *_problems(turns, seconds, sending, problem)]
    for text in problems or turns.remarks:
        complain(f"{path}: {text.removeprefix(f'{path} ')}")
    return status.INCOMPLETE if problems else status.DONE


def _problems(turns: Turns, seconds: float, sending: Sending, problem: Exception | None) -> Iterator[str]:
    """Yield what is missing, and why."""
    yield from sending.damage
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
    """Return how far the transcript goes, in words."""
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
    return open_session(model or opening.MODEL)


def _set_up(session: Session, options: argparse.Namespace) -> bool | None:
    """Ask for transcripts and for nothing else; return what the server says of detecting turns.

    Raises:
        RealtimeError: The server rejects the settings.
    """
    rejection = _rejection(session, _settings(options, detects=True))
    if rejection is None:
        return detects_turns(session.config)
    error = rejection.error
    if "turn_detection" in f"{error.param} {error.message}":  # not every model can be used with it
        rejection = _rejection(session, _settings(options, detects=False))
        if rejection is None:
            return False
    raise RealtimeError(f"the server rejected the settings: {problem_of(rejection.error)}")


def _settings(options: argparse.Namespace, *, detects: bool) -> dict[str, Any]:
    transcription = {"model": options.model, **({"language": options.language} if options.language else {})}
    detection: dict[str, Any] = {"type": "server_vad", "silence_duration_ms": _PAUSE_MS}
    if options.intent == "conversation":
        detection |= {"create_response": False, "interrupt_response": False}
    return {"input": {"transcription": transcription, "turn_detection": detection if detects else None}}


def _rejection(session: Session, audio: dict[str, Any]) -> ErrorEvent | None:
    """Send settings and wait for the answer; return it if it is an error."""
    session.update(audio=audio)
    answers = (SessionUpdated, TranscriptionSessionUpdated, ErrorEvent)
    answer = session.run(_Quiet(), until=answers, timeout=_SETTING_UP)
    return answer if isinstance(answer, ErrorEvent) else None


class _Quiet(Visitor[None]):
    """Keeps a rejection of the settings, which is dealt with elsewhere, from being logged as unhandled."""

    def visit_error(self, event: ErrorEvent) -> None:
        pass


# --- Listening ---------------------------------------------------------------------------------------


def _listen(session: Session, turns: Turns, sending: Sending) -> None:
    """Collect what the server hears, until there is no more.

    Raises:
        ConnectionClosed: The session has ended.
        TimeoutError: A transcript is missing, and the server says nothing any more.
    """
    moved, helped = time.monotonic(), False
    while True:
        with contextlib.suppress(TimeoutError):
            turns.visit(session.next_event(_LOOK))
            moved = time.monotonic()
        if sending.ended_at is None:
            continue
        calm = time.monotonic() - max(moved, sending.ended_at)
        waits = not (turns.complete and sending.answered(turns))
        unheard = not turns.found and sending.detects is None and not waits
        if not waits and not unheard and calm >= (0 if sending.detects is False else _GRACE):
            return
        if calm >= _OPEN_END and (unheard or (turns.speaking and not helped)):
            helped = True
            sending.commit()
        elif waits and calm >= _PATIENCE:
            missing = len(turns.pending)
            raise TimeoutError(
                f"the server has been silent for {_PATIENCE:g} s (transcripts missing: {missing})"
            )


def _drain(session: Session, turns: Turns) -> None:
    """Take the events that are left when the session has ended."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            turns.visit(session.next_event())
