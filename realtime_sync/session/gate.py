"""The ledger of a session between its threads: the reader gives it events, users' threads send."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ..events import (
    ClientEvent,
    InputAudioBufferAppend,
    ResponseCancel,
    ResponseCreate,
    ServerEvent,
    SessionConfig,
)
from ..events.client import APPENDING, audio_of, audio_size
from ..events.codec import encode
from ..events.reconnected import Reconnected
from ..sound.formats import bytes_per_second, input_format
from .facts import Request, Sent
from .ledger import Ledger
from .line import Line
from .mirror import Mirror
from .outbox import Event, Letter, Unconfirmed
from .plan import Plan, Restored, is_meant, lost_audio, make_plan
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
    """

    line: Line | None
    letter: Letter | None = None

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
        mirror: What the items hold, if the session outlives its connection.
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
        self.mirror = None if audio_kept is None else Mirror("drop", self.ledger)
        self.line = line
        self.active_at = time.monotonic()
        self._dialect = dialect
        self._changes = 0  # number of times that something came that has facts
        self._audio_kept = audio_kept or 0.0
        self._holds = False  # whether events are held until there is another connection
        self._rated: SessionConfig | None = None  # the settings by which that is so many bytes
        self._kept = int(self._audio_kept * bytes_per_second(input_format(None)))
        self._held_after = 0  # the number of the last event that was not held
        self._held_from = 0  # where the audio begins that was appended since then
        self._appends: type[ClientEvent] = InputAudioBufferAppend  # how this session appends audio
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
        note, handled = ledger.note, 0
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
                event.facts = facts  # type: ignore[misc]  # shadows the default of the class
            if self.mirror is not None:
                self._mirror(self.mirror, events)
            if any(event.facts for event in events):
                self._changes += 1
                self.active_at = time.monotonic()
            if ledger.moved:
                ledger.moved, self._moved_at = False, time.monotonic()
            if (ledger.responses.cancels or ledger.requests.pending) and not self._holds:
                due = self._due()
        self._send(due)
        return [event for event in events if event.facts is not None] if handled else events

    def _mirror(self, mirror: Mirror, events: list[ServerEvent]) -> None:
        for event in events:
            if event.facts:
                try:
                    mirror.visit(event)
                except Exception:  # a bug of ours must not cost the session
                    _log.exception("an event of type %r was not mirrored", event.type)

    def _due(self) -> list[tuple[ClientEvent, bytes]]:
        """Take what is to be sent now."""
        responses = self.ledger.responses
        due: list[tuple[ClientEvent, bytes]] = [(cancel, encode(cancel)) for cancel in responses.cancels]
        responses.cancels.clear()
        if self.ledger.requests.pending:
            pending = responses.next_request()
            if pending is not None:
                due.append(pending)
            self._set_timer()
        return due

    def _send(self, due: Iterable[tuple[ClientEvent, bytes]]) -> None:
        for event, payload in due:
            self._post(event, payload)

    def close(self) -> None:
        """Look no longer at what is pending: the session has ended."""
        with self._lock:
            self._closed = True
            self._has_room.set()
            self._set_timer()

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
        kind = str(_get(event, "type"))
        if kind in APPENDING:
            return self._appended(event)
        with self._lock:
            line = None if self._holds else self.line
            if self._closed:
                return Passage(line)  # it will not be sent
            self.active_at = time.monotonic()
            if kind == CREATE_RESPONSE:
                out_of_band = _get(_get(event, "response"), "conversation") == "none"
                asked = Request(event_id, out_of_band)
                return Passage(line, self.ledger.requests.note_asked(asked, event=event))
            if kind == "conversation.item.create" and _get(_get(event, "item"), "role") == "user":
                self.ledger.responses.user_wrote()
            if kind == "conversation.item.create":
                self.ledger.call_answered(str(_get(_get(event, "item"), "call_id")))
            if kind in UPDATES:
                self.ledger.settings.sent(event_id, event)
            audio = self.ledger.audio.appended
            return Passage(line, self.ledger.sent(_sent(event, kind, event_id, audio), event))

    def _appended(self, event: Event) -> Passage:
        """Note audio before it is sent; while it is held, wait until no more is held than is kept."""
        size = audio_size(event)
        chunk = audio_of(event) if self._audio_kept else None
        self._has_room.wait()
        with self._lock:
            line, audio = None if self._holds else self.line, self.ledger.audio
            if self._closed:
                return Passage(line)
            if chunk:
                self._appends = APPENDING[str(_get(event, "type"))]
                audio.kept = self._most_kept()
            audio.append(size, chunk)
            if self._holds and self._audio_kept and audio.appended - self._held_from >= audio.kept:
                self._has_room.clear()
            return Passage(line)

    def _most_kept(self) -> int:
        """Return how many bytes of audio are kept, in the session's present format."""
        if self.ledger.config is not self._rated:
            self._rated = self.ledger.config
            self._kept = int(self._audio_kept * bytes_per_second(input_format(self._rated)))
        return self._kept

    def ask_when_idle(self, payload: bytes, event: ResponseCreate, event_id: str) -> Passage:
        """Note a request that is to be sent now, or is pending."""
        with self._lock:
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

    def hold(self, version: tuple[int, int] | None = None) -> bool:
        """Hold what is sent, and take no event any more, until there is another connection.

        Args:
            version: That of a `Plan`: do it only in a quiet moment, and if nothing happened since the plan.

        Returns:
            Whether it is done.
        """
        with self._lock:
            if version is not None and (version != self._version or not self._quiet()):
                return False
            if not self._holds:
                self._holds = True
                self._held_after, self._held_from = self.ledger.requests.count, self.ledger.audio.appended
            return True

    @property
    def _version(self) -> tuple[int, int]:
        return self.ledger.requests.count, self._changes

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes on: no response, no speech, no tool, and nothing that waits for an answer."""
        with self._lock:
            return self._quiet()

    def _quiet(self) -> bool:
        ledger = self.ledger
        runs = ledger.responses.is_running or ledger.responses.owed or not ledger.responses.is_idle
        waits = bool(ledger.requests.pending or ledger.requests.in_flight or ledger.calls_open)
        speaks = ledger.audio.speaks or (
            not ledger.requests.server_asks and ledger.audio.missing(ledger.audio.emptied) > 0
        )
        return not (runs or waits or speaks or self._holds or self._closed)

    def held(self) -> list[Event]:
        """Return what is held, in order, the audio as one event behind the others."""
        with self._lock:
            if not self._holds:
                return []
            letters = self.ledger.requests.outbox.letters().items()
            audio = b"".join(self.ledger.audio.copy(self._held_from, self.ledger.audio.appended))
            events: list[Event] = [letter.event for number, letter in letters if number > self._held_after]
            return [*events, self._append(audio)] if audio else events

    def plan(self, repeat: bool | None) -> Plan:
        """Return what is to be restored in another session; see `make_plan`."""
        assert self.mirror is not None
        with self._lock:
            return make_plan(self.ledger, self.mirror, self._dialect, repeat, self._version)

    def resume(self, line: Line, restored: Restored, event: Reconnected, heard_at: float) -> None:
        """Go on with another connection: send what waited, and let events pass.

        Args:
            line: The connection.
            restored: What its session has.
            event: It gets its facts here, and learns what was lost.
            heard_at: When something last came by the old connection.
        """
        assert self.mirror is not None
        with self._lock:
            event.lost += [*restored.lost, *lost_audio(self.ledger, heard_at)]
            event.facts = self.ledger.reconnected(restored.change)  # type: ignore[misc]  # as in `note`
            self._mirror(self.mirror, [event])
            for again in self._again(restored):
                with contextlib.suppress(OSError):  # this connection has ended, too: the reader sees it next
                    line.transport.offer(encode(again), again)
            self.line, self._holds = line, False
            self._has_room.set()
            self.active_at = self._moved_at = time.monotonic()
        self.note([])  # what is pending may be due

    def _again(self, restored: Restored) -> Iterator[Event]:
        """Return what is to be sent again, in the order in which it was sent."""
        audio, requests = self.ledger.audio, self.ledger.requests
        place = audio.restart()
        for number, letter in requests.outbox.letters().items():
            for chunk in audio.copy(place, letter.audio):
                yield self._append(chunk)
            place = max(place, letter.audio)
            if is_meant(letter.event, restored.change.gone):
                yield letter.event
            else:
                requests.drop(number)
        for chunk in audio.copy(place, audio.appended):
            yield self._append(chunk)

    def _append(self, audio: bytes) -> ClientEvent:
        return self._appends(audio=audio)  # type: ignore[call-arg]  # both have it

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


def _get(holder: Any, name: str) -> Any:
    """Return a field of an event or object, as a struct or as a dict; ``None`` if there is none."""
    data = getattr(holder, "data", holder) if not isinstance(holder, Mapping) else holder
    return data.get(name) if isinstance(data, Mapping) else getattr(holder, name, None)


def _sent(event: ClientEvent | Mapping[str, Any], kind: str, event_id: str, audio: int) -> Sent:
    item = _get(event, "item")
    item_id, item_type = _get(event, "item_id") or _get(item, "id"), _get(item, "type")
    previous, index, end_ms = (
        _get(event, name) for name in ("previous_item_id", "content_index", "audio_end_ms")
    )
    return Sent(
        kind,
        event_id,
        item_id=item_id if isinstance(item_id, str) else "",
        item_type=item_type if isinstance(item_type, str) else "",
        previous_item_id=previous if isinstance(previous, str) else "",
        content_index=index if isinstance(index, int) else 0,
        audio_end_ms=int(end_ms) if isinstance(end_ms, int | float) and math.isfinite(end_ms) else 0,
        audio=audio,
    )
