"""The ledger of a session between its threads: the reader gives it events, users' threads send."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..events import ClientEvent, InputAudioBufferAppend, ResponseCancel, ResponseCreate, ServerEvent
from ..events.client import APPENDING, audio_size
from ..events.codec import encode
from .facts import Request, Sent
from .ledger import Ledger
from .outbox import Event, Letter, Unconfirmed
from .requests import CREATE_RESPONSE, Pending

__all__ = ["STALLED", "Gate"]

_log = logging.getLogger("realtime_sync")

STALLED = 30.0
"""Seconds without an event of any response after which one that runs no longer delays pending requests."""


class Gate:
    """Guards the ledger of one session, and lets pending requests out when no response is active.

    Args:
        post: Sends an event, given with its payload, without waiting.

    Attributes:
        ledger: The ledger.  Entries, and which response is active, may be read without the lock.
    """

    def __init__(self, post: Callable[[ClientEvent, bytes], None]) -> None:
        self._post = post
        self.ledger = Ledger()
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
            for event in events:
                try:
                    facts = note(event)
                except Exception:  # a bug of ours must not cost the session
                    _log.exception("an event of type %r was not understood", event.type)
                    facts = ()
                    ledger.forget_half_told()
                handled += facts is None
                event.facts = facts  # type: ignore[misc]  # shadows the default of the class
            if ledger.moved:
                ledger.moved, self._moved_at = False, time.monotonic()
            if ledger.responses.cancels or ledger.requests.pending:
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
            self._set_timer()

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: replace the lock, which the parent's threads may hold."""
        self._lock, self._timer, self._closed = threading.Lock(), None, True

    # --- Any thread --------------------------------------------------------------------------------------

    def sent(self, event: Event, event_id: str) -> Letter | None:
        """Note an event before it is sent; `posted` is to be called with the result once that is done."""
        if isinstance(event, InputAudioBufferAppend):
            return None  # the most frequent by far, and the server does not answer
        kind = str(_get(event, "type"))
        if kind in APPENDING:
            return None
        with self._lock:
            if self._closed:
                return None  # it will not be sent
            if kind == CREATE_RESPONSE:
                out_of_band = _get(_get(event, "response"), "conversation") == "none"
                return self.ledger.requests.note_asked(Request(event_id, out_of_band), event=event)
            if kind == "conversation.item.create" and _get(_get(event, "item"), "role") == "user":
                self.ledger.responses.user_wrote()
            return self.ledger.sent(_sent(event, kind, event_id), event)

    def posted(self, event: Event, letter: Letter | None) -> None:
        """Note that an event was given to the connection, whether or not that took it."""
        if letter is not None:
            letter.posted = True
            return
        size = audio_size(event)
        if size:
            with self._lock:
                self.ledger.requests.outbox.append(0 if self._closed else size)

    def ask_when_idle(self, event: ResponseCreate, payload: bytes) -> bool:
        """Note a request; return True if it must be sent now, False if it is pending."""
        with self._lock:
            now = self.ledger.responses.ask_when_idle(Pending(event, payload))
            self._set_timer()
        return now

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
            if self._closed or not self.ledger.requests.pending:
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


def _sent(event: ClientEvent | Mapping[str, Any], kind: str, event_id: str) -> Sent:
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
    )
