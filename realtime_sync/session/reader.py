"""The reader thread of a session: takes messages from the connection, and queues their events.

It never runs the user's code, and waits for the user only when the queue is full.
"""

import contextlib
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from ..events import (
    ClientEvent,
    ErrorEvent,
    ServerEvent,
    SessionConfig,
)
from ..events.codec import Binary, Message, decode_messages
from ..events.reconnected import Reconnected
from ..events.surrogates import Joiner
from ..exceptions import ConnectionClosed, RealtimeError
from ..redaction import Redact, without_secrets
from ..wire.transport import Closure, Transport
from .gate import Gate
from .inbox import Inbox, memory_of
from .last_error import LastError
from .line import Line
from .log import SessionLog
from .processes import abandon_in_child, close_at_exit, forget
from .redial import GOODBYE, Attempt, Redial

__all__ = ["AFTERMATH", "Reader"]

AFTERMATH = 5.0
"""Seconds that the reader may take to end once the connection is dead; it takes milliseconds."""
_LOST = Closure(1006, "", by="network")
_LOOKS = 0.05  # seconds between two looks whether the user closes, while another connection is made
_SIZE = 1000  # bytes of memory that `Reconnected` takes, about


class Counts(NamedTuple):
    """What is counted of a connection; see `Stats`."""

    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


def _counts(transport: Transport) -> Counts:
    return Counts(transport.messages_out, transport.bytes_in, transport.bytes_out)


class Reader:
    """Reads one connection in a thread of its own, and keeps the session's state as the server announces it.

    Attributes:
        inbox: The events that the user has not taken yet.
        gate: The ledger, and the requests that are pending.
        deviations: How often the server deviated from the specification, by kind.
        events_in: Number of events received.
        reconnects: Number of times that the connection was replaced by another one.
        connected_at: When the connection was opened, on the clock of `time.monotonic`.
        over: Set when the session is over, or the user closes it.
        ended: Set once the connection has ended and `closed_error` tells how.
    """

    def __init__(
        self,
        transport: Transport,
        log: SessionLog,
        *,
        dialect: str,
        max_buffered: int,
        overflow: str,
        redact: Redact,
        redial: Redial | None = None,
    ) -> None:
        self._transport = transport
        self._redial = redial
        self._log = log
        self._overflow = overflow
        self._redact = redact
        self.inbox = Inbox(max_buffered)
        kept = None if redial is None else redial.policy.audio_buffer
        self.gate = Gate(self._post, Line(transport), dialect=dialect, audio_kept=kept)
        self.reconnects = 0
        self._past = Counts()  # what was counted of earlier connections
        # Losses without progress between them: why, when the first one was, and how far we had got then.
        self._tried: list[RealtimeError] = []
        self._has_given_up = False
        self._lost_at = 0.0
        self._progress = -1
        self._held: list[Any] = []  # what was held for one
        self.deviations: Counter[str] = Counter()
        self._joiner = Joiner()
        self.events_in = 0
        self._opened_at = self.connected_at = time.monotonic()
        self._ended_at: float | None = None
        self._last_error = LastError()
        self._first_event: ServerEvent | None = None
        self._closure: Closure | None = None
        # Held until the first event or the end.  A lock, because a Ctrl-C can break the `wait` of an Event.
        self._beginning = threading.Lock()
        self._beginning.acquire()
        self._has_begun = False
        self.ended = threading.Event()
        # Lets only the first of several threads that call `close` send the close frame.
        self._close_lock = threading.Lock()
        self._close_begun = False
        self._closing = (1000, "")  # the code and reason that the user gave
        self.over = threading.Event()
        # Reads the connection, so that pings are answered and events queued whatever the user's threads
        # do.  A daemon, so that a script that forgets to close still exits.
        self._thread = threading.Thread(target=self._read, name="realtime_sync-reader", daemon=True)

    def start(self) -> None:
        """Begin to read.

        Raises:
            RuntimeError: The system can't start another thread.
        """
        abandon_in_child(self)
        close_at_exit(self)
        try:
            self._thread.start()
        except RuntimeError:
            self._transport.free()
            raise

    # --- In the thread -------------------------------------------------------------------------------

    def _read(self) -> None:
        """Turn messages into events until the session ends."""
        closure = None
        try:
            closure = self._read_connection()
            while self._goes_on_after(closure):
                closure = self._read_connection()
            closure = self._closure
        except BaseException as error:  # a bug of ours must not leave the user waiting for ever
            self._log.reader_failed()
            closure = Closure(1006, "internal error", by="client", cause=error)
        finally:
            self._transport.free()
            self._closure = closure
            self._ended_at = time.monotonic()
            self._held = self.gate.close()
            if (attempt := self.gate.successor()) is not None:  # the user has closed in this very moment
                attempt.cancel()
            self.inbox.finish()
            self.ended.set()
            self.over.set()
            self.gate.line.over.set()
            self._begin()
            forget(self)
            self._log.closed(
                self.session_id, closure or _LOST, self.seconds, self.events_in, self.counted.messages_out
            )

    def _read_connection(self) -> Closure | None:
        """Turn messages into events until the connection ends; return how it has ended."""
        while messages := self._transport.receive():
            self._accept(messages)
            if self.inbox.full:
                self._wait_for_room()
        return self._transport.closure

    # --- Another connection, in the thread -----------------------------------------------------------

    def _goes_on_after(self, closure: Closure | None) -> bool:
        """Get another connection in place of one that has ended; return False if the session is over."""
        self._closure = closure
        redial, cause = self._redial, self.closed_error()
        if redial is None or self.over.is_set() or (redial.waits and self.config is None):
            return False  # without reconnecting, or closed by the user, or no session that could be restored
        if (attempt := self.gate.successor()) is not None:
            return self._switch(attempt, cause, 1, time.monotonic())
        if not cause.retryable:
            return False
        if not redial.possible:
            self._log.not_reopened()
            return False
        return self._reopen(redial, cause)

    def _reopen(self, redial: Redial, cause: ConnectionClosed) -> bool:
        """Try to get another connection, as often and as long as the policy says."""
        self._log.lost(cause)
        self.gate.hold()
        self.gate.line.over.set()  # what is sent now is held
        self._transport.free()
        policy, lost_at, asked = redial.policy, time.monotonic(), None
        if self.gate.ledger.progress != self._progress:
            self._tried, self._lost_at, self._progress = [], lost_at, self.gate.ledger.progress
        else:  # such as a server that ends each session at once
            self._tried.append(cause)
        for number in range(len(self._tried) + 1, policy.attempts + 1):
            wait = policy.wait_before(number, asked)
            if time.monotonic() + wait > self._lost_at + policy.within or self.over.wait(wait):
                break
            attempt = Attempt(redial, self.gate.plan(policy.repeat_responses), self.config)
            while not attempt.done.wait(_LOOKS) and not self.over.is_set():
                pass
            if not attempt.done.is_set():
                attempt.cancel()
                break
            if attempt.error is None:
                return self._switch(attempt, cause, number, lost_at)
            self._log.not_reconnected(number, attempt.error)
            self._tried.append(attempt.error)
            asked = attempt.error.retry_after
            if not attempt.error.retryable:
                break
        self._has_given_up = True
        if self.over.is_set():
            self._closure = self._closed_by_user()
        return False

    def _switch(self, attempt: Attempt, cause: ConnectionClosed, attempts: int, lost_at: float) -> bool:
        """Go on with another connection; return False if the user has closed the session meanwhile."""
        transport, restored = attempt.transport, attempt.restored
        assert transport is not None
        assert restored is not None
        before, past = self._transport, self.counted
        self._transport = transport
        if self.over.is_set():  # looked at behind that: `close` ends the one connection or the other
            self._transport, self._closure = before, self._closed_by_user()
            attempt.cancel()
            return False
        self._past = past
        before.free()
        self._joiner, self._last_error = Joiner(), LastError()
        self.connected_at = time.monotonic()
        self.reconnects += 1
        config = restored.change.config
        event = Reconnected(
            cause=cause,
            seconds=self.connected_at - lost_at,
            attempts=attempts,
            session_id=(config.id or None) if config is not None else None,
            restored=restored.complete,
            lost=[],
        )
        self.gate.resume(Line(transport), restored, event, before.heard_at)
        self._log.reconnected(event)
        self.inbox.put([event], _SIZE)
        return True

    def _closed_by_user(self) -> Closure:
        code, reason = self._closing
        return Closure(code, reason, by="client", asked=True)

    def go_on_with(self, attempt: Attempt) -> bool:
        """Replace the connection by one that is restored.  In any thread but the reader's.

        Return False if something has happened since its plan was made, such as the end: it is of no use.
        """
        line = self.gate.line
        if not self.gate.hand_over(attempt):
            return False
        line.over.set()
        line.transport.send_close(1000, "", time.monotonic() + GOODBYE)
        line.transport.kill()
        return True

    def _wait_for_room(self) -> None:
        """Apply backpressure or end the session, because the user has not taken the events."""
        if self._overflow == "fail":
            self._transport.give_up(1001, f"{self.inbox.held} bytes of events were not taken")
        else:
            self.inbox.wait_for_room()
            self._transport.heard()

    def _accept(self, messages: list[Message]) -> None:
        """Decode the messages of one read of the connection, and queue their events."""
        events = decode_messages(messages, self._note_deviations, self._joiner)
        self.events_in += len(events)
        wanted = self.gate.note(events)
        if self._last_error.event is not None or ErrorEvent in map(type, wanted):
            self._last_error.note(wanted)
        if wanted:
            self.inbox.put(wanted, memory_of(events, messages))
            if not self._has_begun:
                self._first_event = wanted[0]
                self._begin()
        if self._log.shows_events:
            for event, message in zip(events, messages, strict=True):
                frame = message.payload if isinstance(message, Binary) else message
                self._log.event("received", event.type, event.event_id, frame)

    def _post(self, event: ClientEvent, payload: bytes) -> None:
        """Send what the gate lets out."""
        if self._log.shows_events:
            self._log.event("sent", event.type, event.event_id, payload)
        with contextlib.suppress(OSError):  # the connection has ended, which the reader sees next
            self._transport.offer(payload, event)

    def _note_deviations(self, event: str, places: dict[str, int], frame: bytes) -> None:
        """Count how a frame deviates from the specification, and log it if it is the first of its kind."""
        for place, times in places.items():
            self.deviations[event + place] += times
        self._log.deviations(event, places, frame)

    def _begin(self) -> None:
        """Wake, once, the threads that wait for the session's first event or its end."""
        if self._has_begun:
            return
        self._has_begun = True
        try:
            # Here, where the session's id is known, and in this thread, so that it comes before `closed`.
            self._log.opened(self.session_id)
        finally:
            self._beginning.release()

    # --- In any thread -------------------------------------------------------------------------------

    @property
    def config(self) -> SessionConfig | None:
        """The settings that the server announced last; ``None`` before that."""
        return self.gate.ledger.config

    @property
    def session_id(self) -> str | None:
        """The id that the server announced; ``None`` before that."""
        return (self.config.id or None) if self.config is not None else None

    @property
    def seconds(self) -> float:
        """Seconds since the connection was opened, or from then to its end."""
        return (self._ended_at or time.monotonic()) - self._opened_at

    def wait_for_first_event(self, timeout: float) -> ServerEvent | None:
        """Wait for the server's first event, without taking it.  Return ``None`` if none came in time.

        Raises:
            ConnectionClosed: The session ended without an event.
        """
        if not self._beginning.acquire(timeout=timeout):
            return None
        self._beginning.release()
        if self._first_event is None:
            raise self.closed_error()
        return self._first_event

    @property
    def counted(self) -> Counts:
        """What was counted of all connections."""
        past, now = self._past, _counts(self._transport)
        return Counts(*(a + b for a, b in zip(past, now, strict=True)))

    @property
    def ended_normally(self) -> bool:
        """Whether the user closed the connection, or the server with 1000 or 1001 and not by an error."""
        closure = self._closure
        if closure is None or closure.asked:
            return closure is not None
        return closure.clean and closure.code in (1000, 1001) and self._last_error.event is None

    def closed_error(self) -> ConnectionClosed:
        """Return a new error for the end of the session: each thread raises one of its own."""
        closure = self._closure or _LOST
        last_error = self._last_error.event
        error = ConnectionClosed(
            closure.code,
            self._redact(closure.reason),
            clean=closure.clean,
            by=closure.by,
            last_error=last_error and without_secrets(last_error, self._redact),
            unsent=[*self._transport.unsent(), *self._held, *self.gate.pending()],
            attempts=self._tried if self._has_given_up else (),
        )
        error.__cause__ = closure.cause
        return error

    def close(self, code: int, reason: str, deadline: float) -> None:
        """Send a close frame, wait for the answer until the deadline, and end the connection."""
        is_reader = threading.current_thread() is self._thread
        try:
            with self._close_lock:
                first, self._close_begun = not self._close_begun, True
            if first and not self.ended.is_set():
                self._closing = code, reason
                self.over.set()
                self.inbox.stop_waiting()
                self._transport.send_close(code, reason, deadline)
            if not is_reader:
                self.ended.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also when Ctrl-C cuts the wait short
            if not is_reader:
                self._transport.kill()
                self._thread.join(AFTERMATH)

    def say_goodbye(self, deadline: float) -> None:
        """Send a close frame because the process ends."""
        self._transport.send_close(1001, "", deadline)

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: end the session here; it goes on in the parent."""
        self._transport.abandon()
        cause = ConnectionError("this session belongs to the process that was forked")
        self._closure = Closure(1006, "", by="client", cause=cause)
        self.inbox.abandon()
        self.gate.abandon()
        self._beginning = threading.Lock()
        self._close_lock, self._close_begun = threading.Lock(), True
        self.ended, self.over = threading.Event(), threading.Event()
        self.ended.set()
        self.over.set()
