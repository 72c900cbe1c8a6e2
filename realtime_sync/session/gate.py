"""The ledger of a session between its threads: the reader gives it events, users' threads send."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from ..events import (
    ClientEvent,
    InputAudioBufferAppend,
    ResponseCancel,
    ResponseCreate,
    ServerEvent,
)
from ..events.client import APPENDING, audio_of, audio_size
from ..events.codec import encode
from ..events.reconnected import Reconnected
from .facts import Request
from .keeper import Keeper
from .ledger import Ledger
from .line import Line
from .outbox import Event, Letter, Unconfirmed, value_of
from .plan import Plan, Restored, lost_audio
from .redial import Attempt
from .requests import CREATE_RESPONSE, Pending

__all__ = ["STALLED", "UPDATES", "Gate", "Passage"]

_log = logging.getLogger("realtime_sync")

STALLED = 30.0
"""Seconds without an event of any response after which one that runs no longer delays pending requests."""


UPDATES = frozenset({"session.update", "transcription_session.update"})
"""The types of the events that change settings."""


class Passage(Struct):
    """How a client event leaves.

    Attributes:
        line: The connection to send it with; ``None`` = not now: it is pending, or held until there is
            another connection.
        letter: What the outbox keeps of it; ``None`` = nothing.
        instead: What is to be sent in its place.
        barred: The session has ended: the event was not noted, and can't leave any more.
    """

    line: Line | None
    letter: Letter | None = None
    instead: Sequence[ClientEvent] = ()
    barred: bool = False

    def posted(self) -> None:
        """Note that the event was given to the connection, whether or not that took it."""
        if self.letter is not None:
            self.letter.posted = True


class Gate:
    """Guards the ledger of one session, and lets pending requests out when no response is active.

    Args:
        post: Sends an event, given with its payload, without waiting.
        line: The connection.
        dialect: That of the session.
        audio_kept: Seconds of the user's audio of which a copy is kept; ``None`` = the session ends with its
            connection, so that nothing need be kept.

    Attributes:
        ledger: The ledger.  Entries, and which response is active, may be read without the lock.
        line: The connection.
        active_at: When something last happened in the session, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        post: Callable[[ClientEvent, bytes], None],
        line: Line,
        *,
        dialect: str = "ga",
        audio_kept: float | None = None,
    ) -> None:
        self._post = post
        self.ledger = Ledger()
        self._keeper = None if audio_kept is None else Keeper(self.ledger, dialect, audio_kept)
        self.line = line
        self.active_at = time.monotonic()
        self._changes = 0  # number of times that something came that has facts
        self._successor: Attempt | None = None  # the next connection, between the threads
        self._holds = False  # whether events are held until there is another connection
        self._held_after = 0  # the number of the last event that was not held
        self._held_from = 0  # where the audio begins that was appended since then
        # Set while audio may be appended: else more of it is held than is kept.
        self._has_room = threading.Event()
        self._has_room.set()
        # Guards the ledger, between the reader and users' threads; never held while sending.
        self._lock = threading.Lock()
        self._moved_at = time.monotonic()  # when the last event of a response came
        # Looks, once, whether what delays pending requests has stalled: then no event comes to show it.
        self._timer: threading.Timer | None = None
        self._closed = False

    # --- The reader --------------------------------------------------------------------------------------

    def note(self, events: list[ServerEvent]) -> list[ServerEvent]:
        """Understand events, put their facts on them, and return those that the user is to see."""
        ledger = self.ledger
        note, handled, told = ledger.note, 0, False
        due: Iterable[tuple[ClientEvent, bytes]] = ()
        with self._lock:
            if self._holds:
                return []  # what a connection says that is being replaced, comes again by the next one
            for event in events:
                try:
                    facts = note(event)
                except Exception:  # a bug of ours must not cost the session
                    _log.exception("an event of type %r was not understood", event.type)
                    facts = ()
                    ledger.forget_half_told()
                handled += facts is None
                told = told or bool(facts)
                event.facts = facts  # type: ignore[misc]  # shadows the default of the class
            if self._keeper is not None:
                for event in events:
                    self._keeper.note(event)
            if told:
                self._changes += 1
                self.active_at = time.monotonic()
            if ledger.moved:
                ledger.moved, self._moved_at = False, time.monotonic()
            if (ledger.responses.cancels or ledger.requests.pending) and not self._holds:
                due = self._due()
        self._send(due)
        return [event for event in events if event.facts is not None] if handled else events

    def _due(self) -> list[tuple[ClientEvent, bytes]]:
        """Take what is to be sent now."""
        responses = self.ledger.responses
        due: list[tuple[ClientEvent, bytes]] = [(cancel, encode(cancel)) for cancel in responses.cancels]
        responses.cancels.clear()
        if self.ledger.requests.pending:
            pending = responses.next_request()
            if pending is not None:
                due.append((pending.event, pending.payload))
            self._set_timer()
        return due

    def _send(self, due: Iterable[tuple[ClientEvent, bytes]]) -> None:
        for event, payload in due:
            self._post(event, payload)

    def close(self) -> list[Event]:
        """Let nothing pass any more, because the session has ended; return what was held until now.

        It is one step: what is noted before it is returned, and what comes after it is barred.

        Returns:
            The events, in order, the audio as one event behind the others.
        """
        with self._lock:
            self._closed = True
            self._has_room.set()
            self._set_timer()
            return self._held() if self._holds else []

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended, so that nothing passes any more."""
        return self._closed

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: replace the lock, which the parent's threads may hold."""
        self._lock, self._timer, self._closed = threading.Lock(), None, True
        self._has_room = threading.Event()
        self._has_room.set()

    # --- Any thread --------------------------------------------------------------------------------------

    def sent(self, event: Event, event_id: str) -> Passage:
        """Note an event before it is sent; `Passage.posted` is to be called once that is done."""
        if isinstance(event, InputAudioBufferAppend):  # the most frequent by far, and not answered
            return self._appended(event)
        kind = str(value_of(event, "type"))
        if kind in APPENDING:
            return self._appended(event)
        with self._lock:
            line = None if self._holds else self.line
            if self._closed:
                return Passage(None, barred=True)
            self.active_at = time.monotonic()
            if kind == CREATE_RESPONSE:
                out_of_band = value_of(value_of(event, "response"), "conversation") == "none"
                asked = Request(event_id, out_of_band)
                return Passage(line, self.ledger.requests.note_asked(asked, event=event))
            if kind == "conversation.item.create" and value_of(value_of(event, "item"), "role") == "user":
                self.ledger.responses.user_wrote()
            if kind == "conversation.item.create":
                self.ledger.call_answered(str(value_of(value_of(event, "item"), "call_id")))
            if kind in UPDATES:
                self.ledger.settings.sent(event_id, event)
            if kind == "conversation.item.truncate" and (instead := self._instead(event, event_id)):
                for each in instead:
                    self._note(each, str(each.event_id)).posted = True
                return Passage(line, instead=instead)
            return Passage(line, self._note(event, event_id))

    def wait_for_room(self, event: Event) -> None:
        """Wait, before audio is sent, while as much of it is held as is kept."""
        if not self._has_room.is_set() and audio_size(event):
            self._has_room.wait()

    def _note(self, event: Event, event_id: str) -> Letter:
        return self.ledger.sent_event(event, event_id, self.ledger.audio.appended)

    def _instead(self, event: Event, event_id: str) -> list[ClientEvent]:
        """Return what is to be sent in place of a truncation; nothing if it is to be sent itself."""
        item_id, end_ms = value_of(event, "item_id"), value_of(event, "audio_end_ms")
        if self._keeper is None or not isinstance(item_id, str) or not isinstance(end_ms, int):
            return []
        return self._keeper.truncate(item_id, event_id, end_ms)

    def _appended(self, event: Event) -> Passage:
        """Note audio before it is sent."""
        size, keeper = audio_size(event), self._keeper
        keeps = keeper is not None and keeper.keeps_audio
        chunk = audio_of(event) if keeps else None
        with self._lock:
            line, audio = None if self._holds else self.line, self.ledger.audio
            if self._closed:
                return Passage(None, barred=True)
            if keeper is not None and chunk:
                keeper.appends = APPENDING[str(value_of(event, "type"))]
                audio.kept = keeper.most_audio
            audio.append(size, chunk)
            if self._holds and keeps and audio.appended - self._held_from >= audio.kept:
                self._has_room.clear()
            return Passage(line)

    def ask_when_idle(self, payload: bytes, event: ResponseCreate, event_id: str) -> Passage:
        """Note a request that is to be sent now, or is pending."""
        with self._lock:
            if self._closed:
                return Passage(None, barred=True)
            now = self.ledger.responses.ask_when_idle(Pending(event, payload))
            self._set_timer()
            return Passage(self.line if now and not self._holds else None)

    def may_cancel(self, event: ResponseCancel, event_id: str) -> bool:
        """Return whether a response may be active, or was requested; see `Responses.may_cancel`."""
        with self._lock:
            return self.ledger.responses.may_cancel(event_id, event.response_id)

    def withdraw(self, event_id: str) -> bool:
        """Take back a pending request; return False if it isn't pending."""
        with self._lock:
            withdrawn = self.ledger.requests.withdraw(event_id)
            self._set_timer()
        return withdrawn

    def unconfirmed(self) -> Unconfirmed:
        """Return what was sent, or is pending, and not confirmed by the server."""
        with self._lock:
            requests = self.ledger.requests
            return requests.outbox.unconfirmed(pending.event for pending in requests.pending)

    def pending(self) -> list[ResponseCreate]:
        """Return the requests that were not sent yet, in order."""
        with self._lock:
            return [pending.event for pending in self.ledger.requests.pending]

    # --- Another connection ------------------------------------------------------------------------------

    def hold(self) -> None:
        """Hold what is sent, and take no event any more, until there is another connection."""
        with self._lock:
            self._hold()

    def _hold(self) -> None:
        if not self._holds:
            self._holds = True
            self._held_after, self._held_from = self.ledger.requests.count, self.ledger.audio.appended

    def hand_over(self, attempt: Attempt) -> bool:
        """Hold what is sent, and keep another connection, restored while this one lasts, for `successor`.

        It is one step: either the reader gets it, or nothing is done and False is returned.  That is so
        outside of a quiet moment, if anything has happened since its plan was made, if the reader has lost
        this connection, and if the session has ended.
        """
        with self._lock:
            if attempt.plan.version != self._version or not self._movable():
                return False
            self._hold()
            self._successor = attempt
            return True

    def successor(self) -> Attempt | None:
        """Take the connection that was handed over; ``None`` if there is none, or it was taken."""
        with self._lock:
            attempt, self._successor = self._successor, None
            return attempt

    @property
    def _version(self) -> tuple[int, int]:
        return self.ledger.requests.count, self._changes

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes on: no response, no speech, no tool, and nothing that waits for an answer."""
        with self._lock:
            return self._quiet()

    @property
    def is_movable(self) -> bool:
        """Whether it is quiet, and nothing is lost if another connection takes over now."""
        with self._lock:
            return self._movable()

    def _quiet(self) -> bool:
        ledger = self.ledger
        runs = ledger.responses.is_running or ledger.responses.owed or not ledger.responses.is_idle
        waits = bool(ledger.requests.pending or ledger.requests.in_flight or ledger.calls_open)
        return not (runs or waits or ledger.audio.speaks or self._holds or self._closed)

    def _movable(self) -> bool:
        return self._quiet() and not lost_audio(self.ledger, time.monotonic())

    def _held(self) -> list[Event]:
        letters = self.ledger.requests.outbox.letters().items()
        audio = b"".join(self.ledger.audio.copy(self._held_from, self.ledger.audio.appended))
        events: list[Event] = [letter.event for number, letter in letters if number > self._held_after]
        return [*events, self._keeper.append(audio)] if audio and self._keeper is not None else events

    def plan(self, repeat: bool | None) -> Plan:
        """Return what is to be restored in another session; see `Keeper.plan`."""
        assert self._keeper is not None
        with self._lock:
            return self._keeper.plan(repeat, self._version)

    def resume(self, line: Line, restored: Restored, event: Reconnected, heard_at: float) -> None:
        """Go on with another connection: send what waited, and let events pass.

        Args:
            line: The connection.
            restored: What its session has.
            event: It gets its facts here, and learns what was lost.
            heard_at: When something last came by the old connection.
        """
        assert self._keeper is not None
        with self._lock:
            event.lost += [*restored.lost, *lost_audio(self.ledger, heard_at)]
            event.facts = self.ledger.reconnected(self._keeper.settled(restored.change))  # type: ignore[misc]  # as in `note`
            self._keeper.note(event)
            for again in self._keeper.again(restored):
                with contextlib.suppress(OSError):  # this connection has ended, too: the reader sees it next
                    line.transport.offer(encode(again), again)
            self.line, self._holds = line, False
            self._changes += 1
            self._has_room.set()
            self.active_at = self._moved_at = time.monotonic()
        self.note([])  # what is pending may be due

    # --- A response that stalls --------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """Set the timer while requests are pending.  Call it under the lock."""
        wanted = bool(self.ledger.requests.pending) and not self._closed
        if wanted and self._timer is None:
            self._timer = threading.Timer(STALLED, self._look)
            self._timer.name, self._timer.daemon = "realtime_sync-stalled", True
            try:
                self._timer.start()
            except RuntimeError:  # the system's limit of threads: what is pending waits for an event
                self._timer = None
        elif not wanted and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            if self._closed or self._holds or not self.ledger.requests.pending:
                return
            if time.monotonic() - self._moved_at >= STALLED:
                self.ledger.responses.stall()
            due = self._due()
            self._set_timer()
        self._send(due)
