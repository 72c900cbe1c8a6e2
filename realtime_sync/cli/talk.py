"""``talk``: a conversation by voice, with devices or with sound files."""

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    ErrorEvent,
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStarted,
    ResponseCreated,
    ResponseDone,
    ResponseOutputAudioTranscriptDelta,
    ResponseOutputTextDelta,
    ServerEvent,
    SessionUpdated,
)
from ..session import Session
from ..sound.formats import PCM
from ..visitor import Visitor, Visitors
from ..voice.assistant import Assistant
from ..voice.devices import list_devices
from ..voice.microphones import FileMicrophone, Microphone
from ..voice.playback import Interruption, Playback
from ..voice.speakers import FileSpeaker, Speaker
from .opening import opener
from .screen import complain, one_line, plain, problem_of
from .sound_files import check_sound

__all__ = ["talk"]

_TAIL = 2.0  # seconds of silence behind a file, by which the server finds the end of the last turn
_LOOK = 0.1  # seconds between two looks at whether the talk is over
_CALM = 0.5  # seconds without an event after which it is, when all is answered
_PATIENCE = 10.0  # the same, when something is missing that the server owes us
_THINKING = 60.0  # the same, when a response has begun
_HOLD = 1.5  # seconds that the model's words wait for the user's to be transcribed


def talk(options: argparse.Namespace) -> int:
    """Talk until the file is answered, the session ends, or Ctrl-C."""
    if options.list_devices:
        return _list_devices()
    if options.input is not None:
        check_sound(options.input)
    if options.output is not None:
        _check_output(options.output, options.input)
    with (
        _speaker(options) as speaker,
        opener(options, realtime_pace=True) as open_session,
        open_session(options.model) as session,
    ):
        return _talk(session, _microphone(session, options), speaker, options)


def _talk(
    session: Session,
    microphone: FileMicrophone | Microphone,
    speaker: "_FileOutput | Speaker",
    options: argparse.Namespace,
) -> int:
    screen = _Screen(transcribes=bool(options.transcription))
    assistant = Assistant(
        session,
        microphone=microphone,
        speaker=speaker,
        instructions=options.instructions,
        transcription=options.transcription or None,
        visitors=[screen],
        **_settings(options),
    )
    screen.playback = assistant.playback
    assistant.visitor = whole = _WholeEvents(assistant.visitor)

    def failure() -> Exception | None:
        """What is the matter with the devices, or the files."""
        played = assistant.playback.failure if assistant.playback else None
        return microphone.failure or getattr(speaker, "failure", None) or played

    ending = _Ending(session, microphone, screen, failure)
    try:
        with ending, whole.ctrl_c():
            assistant.run()
    except KeyboardInterrupt:
        screen.stop(assistant.interrupt())
        speaker.clear()  # what was not heard is not to be in the file
        raise
    finally:
        screen.close()
    problem = failure() or ending.problem
    if problem is not None:
        complain(problem)
    return 1 if problem is not None or screen.failed else 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"audio": {"output": {"voice": options.voice}}} if options.voice else {}


def _list_devices() -> int:
    devices = list_devices()
    for device in devices:
        print(device)
    if not devices:
        complain("this machine has no sound devices")
    return 0 if devices else 1


def _speaker(options: argparse.Namespace) -> "_FileOutput | Speaker":
    return _FileOutput(options.output) if options.output is not None else Speaker(options.output_device)


def _microphone(session: Session, options: argparse.Namespace) -> FileMicrophone | Microphone:
    if options.input is not None:
        return FileMicrophone(session, options.input, pace=options.pace, trailing_silence=_TAIL)
    microphone = Microphone(session, options.input_device)
    print("Speak.  Ctrl-C ends it.  (Without headphones it may hear, and interrupt, itself.)", flush=True)
    return microphone


# --- The output --------------------------------------------------------------------------------------


def _check_output(path: str, source: str | None) -> None:
    """Find out before anything is sent whether a file can be written, and leave it as it is.

    Raises:
        OSError: It can't be.
        ValueError: It is no WAV file, or the input.
    """
    if not path.lower().endswith(".wav"):
        raise ValueError(f"--output writes WAV: {path} has to end in .wav")
    if not os.path.exists(path):
        open(path, "xb").close()
        os.unlink(path)
    elif source is not None and os.path.samefile(path, source):
        raise ValueError(f"--output is the same file as --input: {path}")
    elif os.path.isdir(path) or not os.access(path, os.W_OK):
        open(path, "ab").close()  # which says why not


class _FileOutput:
    """A `FileSpeaker` that leaves the file as it is until there is something to play."""

    format = PCM

    def __init__(self, path: str) -> None:
        self._path = path
        self._speaker: FileSpeaker | None = None

    def write(self, audio: bytes) -> None:
        if self._speaker is None:
            self._speaker = FileSpeaker(self._path, self.format)
        self._speaker.write(audio)

    @property
    def played_ms(self) -> float:
        return self._speaker.played_ms if self._speaker is not None else 0.0

    def clear(self) -> None:
        if self._speaker is not None:
            self._speaker.clear()

    def __enter__(self) -> "_FileOutput":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._speaker is not None:
            self._speaker.close()


# --- The end -----------------------------------------------------------------------------------------


class _Ending:
    """Closes the session when the talk is over: the file is answered, or a device is gone.

    Args:
        failure: Gives what is the matter with a device, or ``None``.

    Attributes:
        problem: What was missing then; ``None`` = nothing.
    """

    def __init__(
        self,
        session: Session,
        microphone: FileMicrophone | Microphone,
        screen: "_Screen",
        failure: Callable[[], Exception | None],
    ) -> None:
        self.problem: str | None = "the server ended the session"
        self._session = session
        self._microphone = microphone
        self._screen = screen
        self._failure = failure
        # Set when the session is not run any more.
        self._over = threading.Event()
        # Looks, from time to time, at what brings no event: the end of the file, and the calm after it.
        self._thread = threading.Thread(target=self._watch, name="realtime_sync-ending", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        ended_at: float | None = None
        while not self._over.wait(_LOOK):
            if isinstance(self._microphone, FileMicrophone) and self._microphone.finished.is_set():
                ended_at = ended_at or time.monotonic()
            if failure := self._failure():
                self.problem = str(failure)
            if failure or (ended_at and self._is_over(max(ended_at, self._screen.moved))):
                self._session.close()
                return

    def _is_over(self, since: float) -> bool:
        """Whether nothing more is to be expected, when nothing has happened since then."""
        answering = self._session.active_response is not None
        if not self._screen.heard:
            problem, patience = "the server has heard nobody speak", _PATIENCE
        elif answering or self._screen.unanswered:
            problem, patience = "the server has not answered", _THINKING if answering else _PATIENCE
        else:
            problem, patience = None, _PATIENCE if self._screen.untranscribed else _CALM
        if time.monotonic() - since < patience:
            return False
        self.problem = problem
        return True


class _WholeEvents(Visitors):
    """Lets a Ctrl-C wait for the end of the event that it falls into, so that none is dealt with by halves.

    A second one doesn't wait.
    """

    _visiting = False
    _pressed = False

    def visit(self, event: ServerEvent) -> None:
        self._visiting = True
        try:
            super().visit(event)
        finally:
            self._visiting = False
        if self._pressed:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def ctrl_c(self) -> Iterator[None]:
        """While this lasts, in the main thread; other handlers than Python's own are left alone."""
        own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not own or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, *_: object) -> None:
        if self._pressed or not self._visiting:
            raise KeyboardInterrupt
        self._pressed = True


# --- The screen --------------------------------------------------------------------------------------


class _Screen(Visitor[None]):
    """Shows what is said, in the order in which it was.

    Args:
        transcribes: Whether what the user says is written down.

    Attributes:
        playback: What plays the answers, and knows when they were interrupted.
        moved: When the last event came.
        heard: Whether the user has said anything.
        unanswered: Whether the user has, since the last response began.
        untranscribed: Messages of the user's without a transcript, and when they came.
        failed: Whether the server could not do something.
    """

    def __init__(self, *, transcribes: bool) -> None:
        self._transcribes = transcribes
        self.playback: Playback | None = None
        self.moved = time.monotonic()
        self.heard = False
        self.failed = False
        self.unanswered = False
        self.untranscribed: dict[str, float] = {}
        self._transcribed: set[str] = set()
        self._held: list[tuple[str, str, str]] = []  # words of the model that wait for those of the user
        self._line: tuple[str, str] | None = None  # the response and the item that the last line is of
        self._marked = 0  # interruptions that were shown
        self._cut_off: set[str] = set()  # responses of which nothing more is shown
        self._early: list[str] | None = []  # errors before the settings were taken
        self._last: ServerEvent | None = None

    def visit(self, event: ServerEvent) -> None:
        """Note that something has come, and look at it."""
        self.moved = time.monotonic()
        repeated, self._last = event.event_id and event == self._last, event
        if not repeated:  # a proxy may deliver one twice
            super().visit(event)

    # --- The user ------------------------------------------------------------------------------------

    def visit_input_audio_buffer_speech_started(self, event: InputAudioBufferSpeechStarted) -> None:
        self.heard = self.unanswered = True
        assert self.playback is not None
        for interruption in self.playback.interruptions[self._marked :]:
            self._marked += 1
            self._mark(interruption)

    def visit_input_audio_buffer_committed(self, event: InputAudioBufferCommitted) -> None:
        self.unanswered = True
        if self._transcribes and event.item_id not in self._transcribed:
            self.untranscribed[event.item_id] = self.moved

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: ConversationItemInputAudioTranscriptionCompleted
    ) -> None:
        self._user(event.item_id, one_line(event.transcript))

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        error = event.error
        self._user(event.item_id, one_line(f"[not transcribed: {error.message or error.code or error.type}]"))

    def _user(self, item_id: str, text: str) -> None:
        self.untranscribed.pop(item_id, None)
        self._transcribed.add(item_id)
        if text:
            self._end_line()
            print(f"you: {text}", flush=True)
        self._release()

    # --- The model -----------------------------------------------------------------------------------

    def visit_response_created(self, event: ResponseCreated) -> None:
        self.unanswered = False

    def visit_response_output_audio_transcript_delta(self, event: ResponseOutputAudioTranscriptDelta) -> None:
        self._words(event.response_id, event.item_id, plain(event.delta))

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        self._words(event.response_id, event.item_id, plain(event.delta))

    def visit_response_done(self, event: ResponseDone) -> None:
        self._release()
        problem = problem_of(event.response)
        if problem is not None and event.response.status != "cancelled":
            self._complain(problem)

    def _words(self, response_id: str, item_id: str, text: str) -> None:
        if response_id in self._cut_off:
            return
        self._held.append((response_id, item_id, text))
        if all(self.moved - since >= _HOLD for since in self.untranscribed.values()):
            self._release()

    def _release(self) -> None:
        """Show the words that were held back."""
        for response_id, item_id, text in self._held:
            if self._line != (response_id, item_id):
                self._end_line()
                self._line = (response_id, item_id)
                text = f"model: {text.lstrip()}"
            print(text, end="", flush=True)
        self._held.clear()

    def _mark(self, interruption: Interruption, how: str = "interrupted") -> None:
        """Show that the model was interrupted."""
        self._release()
        response_id = interruption.response_id or ""
        self._cut_off.add(response_id)
        seconds = interruption.played_ms / 1000
        mark = f"— [{how} {f'after {seconds:.1f} s' if seconds >= 0.05 else 'before it was heard'}]"
        if self._line is not None and self._line[0] == response_id:
            print(f" {mark}", flush=True)
            self._line = None
        elif interruption.received_ms:
            self._end_line()
            print(mark, flush=True)
        self._end_line()

    # --- The rest ------------------------------------------------------------------------------------

    def visit_session_updated(self, event: SessionUpdated) -> None:
        early, self._early = self._early or [], None
        for problem in early:
            self._complain(problem)

    def visit_error(self, event: ErrorEvent) -> None:
        problem = str(problem_of(event.error))
        if self._early is not None:
            self._early.append(problem)  # if it refuses the settings, the assistant says so
        else:
            self._complain(problem)

    def _complain(self, problem: str) -> None:
        self.failed = True
        self._end_line()
        complain(problem)

    def _end_line(self) -> None:
        """End the line of the model, which is left open so that an interruption can be marked there."""
        if self._line is not None:
            print(flush=True)
        self._line = None

    def stop(self, interruption: Interruption | None) -> None:
        """Show what Ctrl-C has cut off."""
        if interruption is not None:
            self._mark(interruption, "stopped")

    def close(self) -> None:
        """Show what is left."""
        self._release()
        self._end_line()
