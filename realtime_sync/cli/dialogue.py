"""A talk on the screen: what is said, in the order in which it was said."""

import time

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
from ..visitor import Visitor
from ..voice.playback import Interruption, Playback
from .screen import complain, one_line, plain, problem_of

__all__ = ["Dialogue"]

_HOLD = 1.5  # seconds that the model's words wait for the user's to be transcribed


class Dialogue(Visitor[None]):
    """Shows what is said, in the order in which it was.

    Args:
        transcribes: Whether what the user says is transcribed.

    Attributes:
        playback: What plays the answers, and knows when they were interrupted.  To be set before the first
            event.
        moved: When the last event came (``time.monotonic()``).
        heard: Whether the server has heard the user speak.
        unanswered: Whether it has, since the last response began.
        untranscribed: Messages of the user's without a transcript, by their id, and when they came.
        failed: Whether the server said that it could not do something.
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
        self._early: list[str] | None = []  # errors before the settings were accepted
        self._last: ServerEvent | None = None

    def visit(self, event: ServerEvent) -> None:
        """Note when an event came, and show it unless it is the same as the last one."""
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
        self.heard = self.unanswered = True
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
        self.settled()

    def settled(self) -> None:
        """Show the errors that came until now: none of them rejected the settings."""
        early, self._early = self._early or [], None
        for problem in early:
            self._complain(problem)

    def visit_error(self, event: ErrorEvent) -> None:
        problem = str(problem_of(event.error))
        if self._early is not None:
            self._early.append(problem)  # if it rejects the settings, the assistant says so
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
        """Show what Ctrl-C has cut off, if it has."""
        if interruption is not None:
            self._mark(interruption, "stopped")

    def close(self) -> None:
        """Show the words that were held back, and end the line."""
        self._release()
        self._end_line()
