"""A talk on the screen: what is said, in the order in which it was said."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..events import ServerEvent, SessionUpdated
from ..events.reconnected import Reconnected
from ..redaction import one_line
from ..session import facts
from ..session.facts import PartEntry
from ..session.listener import Listener
from ..voice.playback import Interruption, Playback
from .screen import complain, delta, problem_of, sentence

__all__ = ["Dialogue"]

_HOLD = 1.5  # seconds that the model's words wait for the user's to be transcribed


class Dialogue(Listener):
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
        alone: Returns a context in which nothing else is on the screen, such as `Meter.hidden`.
    """

    handles_errors = True

    def __init__(self, *, transcribes: bool) -> None:
        self._transcribes = transcribes
        self.playback: Playback | None = None
        self.moved = time.monotonic()
        self.heard = False
        self.failed = False
        self.unanswered = False
        self.alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self._user_speaks = False
        self.untranscribed: dict[str, float] = {}
        self._transcribed: set[str] = set()
        self._held: list[tuple[str, str, str]] = []  # words of the model that wait for those of the user
        self._line: tuple[str, str] | None = None  # the response and the item that the last line is of
        self._marked = 0  # interruptions that were shown
        self._cut_off: set[str] = set()  # responses of which nothing more is shown
        self._early: list[str] | None = []  # errors before the settings were accepted

    def visit(self, event: ServerEvent) -> None:
        """Note when an event came, and show it."""
        self.moved = time.monotonic()
        self._mark_interruptions()
        super().visit(event)

    def speaker(self) -> str:
        """Return who speaks: ``"you"``, ``"model"``, or ``""`` if nobody does."""
        if self._user_speaks:
            return "you"
        return "model" if self.playback is not None and self.playback.pending_ms > 0 else ""

    # --- The user ------------------------------------------------------------------------------------

    def on_speech_started(self, fact: facts.SpeechStarted) -> None:
        self.heard = self.unanswered = self._user_speaks = True

    def on_speech_stopped(self, fact: facts.SpeechStopped) -> None:
        self._user_speaks = False

    def on_committed(self, fact: facts.Committed) -> None:
        self.heard = self.unanswered = True
        if self._transcribes and fact.item.id not in self._transcribed:
            self.untranscribed.pop(fact.item.id, None)  # so that the last one is the latest
            self.untranscribed[fact.item.id] = self.moved

    def on_transcript(self, fact: facts.Transcript) -> None:
        item = fact.part.item
        if item.role == "user" and fact.whole:
            self._user(item.id, sentence(fact.text))
        elif item.role != "user" and not fact.whole:
            self._words(fact.part, delta(fact.text))

    def on_transcribed(self, fact: facts.Transcribed) -> None:
        error = fact.error
        if error is not None:
            reason = error.message or error.code or error.type or "no reason given"
            self._user(fact.part.item.id, f"[not transcribed: {one_line(reason)}]")

    def _user(self, item_id: str, text: str) -> None:
        self.untranscribed.pop(item_id, None)
        self._transcribed.add(item_id)
        if text:
            self._end_line()
            self._print(f"you: {text}\n")
        self._release()

    # --- The model -----------------------------------------------------------------------------------

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.unanswered = False
        self._cut_off.discard(fact.response.id)  # some servers give all responses the same id

    def visit_reconnected(self, event: Reconnected) -> None:
        self._release()
        self._end_line()
        for lost in event.lost:
            self._complain(f"lost with the connection: {lost}")

    def on_text(self, fact: facts.Text) -> None:
        if not fact.whole:
            self._words(fact.part, delta(fact.text))

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        self._release()
        problem = problem_of(fact)
        if problem is not None and fact.wire.status and fact.status != "cancelled":
            self._complain(problem)

    def _words(self, part: PartEntry, text: str) -> None:
        response_id = part.item.response.id if part.item.response is not None else ""
        if response_id in self._cut_off:
            return
        self._held.append((response_id, part.item.id, text))
        if self.moved - next(reversed(self.untranscribed.values()), -_HOLD) >= _HOLD:
            self._release()

    def _release(self) -> None:
        """Show the words that were held back."""
        for response_id, item_id, text in self._held:
            if self._line != (response_id, item_id):
                self._end_line()
                self._line = (response_id, item_id)
                text = f"model: {text.lstrip()}"
            self._print(text)
        self._held.clear()

    def _mark_interruptions(self) -> None:
        """Show what was interrupted since, by the user's voice or by a key."""
        interruptions = self.playback.interruptions if self.playback is not None else []
        for interruption in interruptions[self._marked :]:
            self._marked += 1
            self._mark(interruption)

    def _mark(self, interruption: Interruption, how: str = "interrupted") -> None:
        """Show that the model was interrupted."""
        self._release()
        response_id = interruption.response_id or ""
        self._cut_off.add(response_id)
        seconds = interruption.played_ms / 1000
        mark = f"— [{how} {f'after {seconds:.1f} s' if seconds >= 0.05 else 'before it was heard'}]"
        if self._line is not None and self._line[0] == response_id:
            self._print(f" {mark}\n")
            self._line = None
        elif interruption.received_ms:
            self._end_line()
            self._print(f"{mark}\n")
        self._end_line()

    # --- The rest ------------------------------------------------------------------------------------

    def visit_session_updated(self, event: SessionUpdated) -> None:
        self.settled()

    def settled(self) -> None:
        """Show the errors that came until now: none of them rejected the settings."""
        early, self._early = self._early or [], None
        for problem in early:
            self._complain(problem)

    def on_error(self, fact: facts.Error) -> None:
        if not fact.is_ours:
            return  # such as that of a proxy: what is said goes on
        problem = str(problem_of(fact.error))
        if self._early is not None:
            self._early.append(problem)  # if it rejects the settings, the assistant says so
        else:
            self._complain(problem)

    def _complain(self, problem: str) -> None:
        self.failed = True
        self._end_line()
        with self.alone():
            complain(problem)

    def _end_line(self) -> None:
        """End the line of the model, which is left open so that an interruption can be marked there."""
        if self._line is not None:
            self._print("\n")
        self._line = None

    def _print(self, text: str) -> None:
        with self.alone():
            print(text, end="", flush=True)

    def stop(self, interruption: Interruption | None) -> None:
        """Show what Ctrl-C has cut off, if it has."""
        if interruption is not None:
            self._mark(interruption, "stopped")

    def close(self) -> None:
        """Show the words that were held back, and end the line."""
        self._release()
        self._end_line()
