"""What a server hears in a session's input: turns and their transcripts."""

from msgspec import Struct, field
from msgspec.structs import replace

from ..events import ErrorDetails, SessionUpdated, TranscriptionSessionUpdated
from ..events.reconnected import Reconnected
from ..redaction import one_line
from ..session import facts
from ..session.listener import Listener
from .cues import Cue

__all__ = ["Turn", "Turns"]

_SLACK = 0.5  # seconds by which a segment may be longer than its turn


class Turn(Struct):
    """A stretch of the input that is one user message.

    Attributes:
        start, end: In seconds of all audio of the session; ``None`` = not known, or not yet.
        committed: The server has made it a message.
        deltas: Of the transcript, in the order in which they came.
        transcript: All of it; ``None`` = it is still to come, or failed.
        failure: Why it failed.
        segments: Parts of it with speakers; only some models give them.
    """

    start: float | None = None
    end: float | None = None
    committed: bool = False
    deltas: list[str] = field(default_factory=list)
    transcript: str | None = None
    failure: str | None = None
    segments: list[Cue] = field(default_factory=list)

    @property
    def pending(self) -> bool:
        """Whether its transcript is still to come, for all we know."""
        return self.transcript is None and self.failure is None

    @property
    def speaking(self) -> bool:
        """Whether the server waits for its end."""
        return self.pending and self.end is None and not self.committed


class Turns(Listener):
    """Collects the turns of a session.

    Attributes:
        updates: How often the server has accepted settings.
        commits: How often it has made audio a message.
        errors: The details of the errors that it has sent.
        lost: What was lost with a connection.
    """

    handles_errors = True

    def __init__(self) -> None:
        self.updates = 0
        self.commits = 0
        self.errors: list[ErrorDetails] = []
        self.lost: list[str] = []
        self._turns: dict[str, Turn] = {}
        self._pending: dict[str, Turn] = {}  # those whose transcript is still to come
        self._ended = 0.0  # where the latest turn ends

    def _turn(self, item_id: str) -> Turn:
        if item_id not in self._turns:
            self._turns[item_id] = self._pending[item_id] = Turn()
        return self._turns[item_id]

    # --- What the server says --------------------------------------------------------------------------

    def on_speech_started(self, fact: facts.SpeechStarted) -> None:
        self._turn(fact.item_id).start = fact.audio_ms / 1000

    def on_speech_stopped(self, fact: facts.SpeechStopped) -> None:
        end = self._turn(fact.item_id).end = fact.audio_ms / 1000
        self._ended = max(self._ended, end)

    def on_committed(self, fact: facts.Committed) -> None:
        self.commits += 1
        turn = self._turn(fact.item.id)
        turn.committed = True
        if turn.start is None:  # by ourselves: it is all that came after the turn before
            turn.start = self._ended

    def on_transcript(self, fact: facts.Transcript) -> None:
        turn = self._turn(fact.part.item.id)
        if fact.whole:
            turn.transcript = fact.text
            self._pending.pop(fact.part.item.id, None)
        else:
            turn.deltas.append(fact.text)

    def on_segment(self, fact: facts.Segment) -> None:
        event = fact.event
        cue = Cue(event.start, event.end, event.text, event.speaker)
        self._turn(fact.part.item.id).segments.append(cue)

    def on_transcribed(self, fact: facts.Transcribed) -> None:
        error = fact.error
        if error is not None:
            reason = error.message or error.code or error.type or "no reason given"
            self._turn(fact.part.item.id).failure = one_line(reason)
            self._pending.pop(fact.part.item.id, None)

    def on_item_deleted(self, fact: facts.ItemDeleted) -> None:
        """Forget a turn that is lost with its connection, or is sent again."""
        if not fact.forgotten:
            self._turns.pop(fact.item.id, None)
            self._pending.pop(fact.item.id, None)

    def visit_reconnected(self, event: Reconnected) -> None:
        self.lost += event.lost

    def on_error(self, fact: facts.Error) -> None:
        self.errors.append(fact.error)

    def visit_session_updated(self, event: SessionUpdated | TranscriptionSessionUpdated) -> None:
        self.updates += 1

    visit_transcription_session_updated = visit_session_updated

    # --- What has come of it ---------------------------------------------------------------------------

    @property
    def pending(self) -> list[Turn]:
        """The turns whose transcript is still to come."""
        return list(self._pending.values())

    @property
    def complete(self) -> bool:
        """Whether there is no such turn."""
        return not self._pending

    @property
    def speaking(self) -> bool:
        """Whether the server waits for the end of a turn."""
        return any(turn.speaking for turn in self._pending.values())

    @property
    def found(self) -> bool:
        """Whether the server has heard any speech."""
        return bool(self._turns)

    @property
    def remarks(self) -> list[str]:
        """What is no problem, and yet may surprise."""
        return [] if self.found else ["the server has heard no speech"]

    @property
    def known(self) -> float:
        """Seconds of the audio up to the last time that the server has named."""
        return max(
            (time for turn in self._turns.values() for time in (turn.start, turn.end) if time), default=0.0
        )

    def transcribed(self, seconds: float) -> float | None:
        """Return where the last transcribed turn ends, in seconds; ``None`` if there is no such turn.

        Args:
            seconds: Length of the audio.
        """
        turns = self.in_order(seconds)
        return max((turn.end or 0.0 for turn in turns if turn.transcript is not None), default=None)

    def in_order(self, seconds: float) -> list[Turn]:
        """Return all turns in the order of the audio, with times that lie within it.

        Args:
            seconds: Length of the audio.
        """
        found = sorted(self._turns.values(), key=lambda turn: turn.start or 0.0)
        for turn in found:
            turn.end = min(seconds if turn.end is None else turn.end, seconds)
            turn.start = min(turn.start or 0.0, turn.end)
        return found

    def cues(self, seconds: float) -> list[Cue]:
        """Return what was said, in the same order, with times that lie within the audio.

        Args:
            seconds: Length of the audio.
        """
        return [_within(cue, seconds) for turn in self.in_order(seconds) for cue in _cues(turn)]


def _within(cue: Cue, seconds: float) -> Cue:
    """Return a cue that ends by the end of the audio: some models' times go beyond it."""
    return replace(cue, start=min(cue.start, seconds), end=min(cue.end, seconds))


def _cues(turn: Turn) -> list[Cue]:
    start, end = turn.start or 0.0, turn.end or 0.0
    segments = [segment for segment in turn.segments if segment.text.strip()]
    if not segments:
        text = "".join(turn.deltas) if turn.transcript is None else turn.transcript
        return [Cue(start, end, text, complete=turn.transcript is not None)]
    # Whether their times count from the beginning of the turn or of the audio isn't laid down.
    last = max(segment.end for segment in segments)
    offset = start if last <= end - start + _SLACK else 0.0
    shifted = (replace(cue, start=cue.start + offset, end=cue.end + offset) for cue in segments)
    *cues, final = sorted(shifted, key=lambda cue: cue.start)
    return [*cues, replace(final, complete=turn.transcript is not None)]
