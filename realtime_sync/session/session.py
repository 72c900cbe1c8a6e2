"""`Session`: a conversation with a Realtime server, for code that blocks."""

import atexit
import contextlib
import itertools
import logging
import os
import queue
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, structs

from ..events import (
    ClientEvent,
    ErrorEvent,
    ResponseCancel,
    ResponseCreate,
    ServerEvent,
    SessionConfig,
    SessionCreated,
    SessionUpdate,
    SessionUpdated,
    TranscriptionSessionCreated,
    TranscriptionSessionUpdated,
)
from ..events.codec import Binary, Deviation, Message, decode_messages, encode
from ..exceptions import ConnectionClosed
from ..redaction import Redact, one_line, without_credentials, without_secrets
from ..visitor import Visitor, Visitors, check_visitor
from ..wire.transport import Closure, Transport
from . import namespaces
from .inbox import Inbox
from .responses import NOTED as _OF_RESPONSES
from .responses import Request, Responses

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["Session", "Stats"]

_log = logging.getLogger("realtime_sync")
_E = TypeVar("_E", bound=ServerEvent)
_ANNOUNCEMENTS = (
    SessionCreated,
    SessionUpdated,
    TranscriptionSessionCreated,
    TranscriptionSessionUpdated,
)
_NOTED = {*_OF_RESPONSES, *_ANNOUNCEMENTS}
_AFTERMATH = 5.0  # seconds that the reader may take to end once the connection is dead; it takes milliseconds
_LONGEST_PAYLOAD = 2000  # characters of an event in the log
_AT_EXIT = 0.5  # seconds that goodbyes may take, together, when a program ends without closing


class Stats(Struct, frozen=True):
    """What a session has done so far.

    Attributes:
        seconds: Since the connection was opened; stands still once it has ended.
        events_in, events_out: Events received, and given to `Session.send`.
        bytes_in, bytes_out: Bytes of WebSocket frames received, and given out.
        buffered: Bytes of events received and not taken yet.
        buffered_most: The most these have been.
        deviations: Times that the server deviated from the specification.
        round_trip: Seconds from our last ping to its answer; ``None`` before the first.
    """

    seconds: float
    events_in: int
    events_out: int
    bytes_in: int
    bytes_out: int
    buffered: int
    buffered_most: int
    deviations: int
    round_trip: float | None


class Session:
    """An open connection to a Realtime server.  Made by `connect`; close it, or use it in ``with``.

    A thread in the background reads the connection, answers its pings and queues its events, however
    busy your own code is.  Take the events with `next_event`, by iterating, or with `run`.  All methods
    may be called from any thread.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        dialect: str,
        max_buffered: int,
        overflow: str,
        close_timeout: float,
        redact: Redact,
        name: str = "",
        log_payloads: bool = False,
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._overflow = overflow
        self._opened_at = time.monotonic()
        self._ended_at: float | None = None
        self._events_in = 0
        self._close_timeout = close_timeout
        self._redact = redact
        self._name = name  # of the server and model, for the log
        self._log_payloads = log_payloads
        self._inbox = Inbox(max_buffered)
        self._config: SessionConfig | None = None
        self._last_error: ErrorEvent | None = None
        self._first_event: ServerEvent | None = None
        self._last_event: ServerEvent | None = None
        self._deviations: Counter[str] = Counter()
        self._responses = Responses(self._post)
        # The threads that run the session, and for whom; and what those in `wait_until` wait on meanwhile.
        self._dispatched = threading.Condition()
        self._runners: dict[int, Visitor[Any]] = {}
        self._concerned = 0  # all of these threads, which have to learn of what another one dispatches
        self._id_prefix = f"event_{secrets.token_hex(4)}_"
        self._ids = itertools.count(1)
        self._closure: Closure | None = None
        # Held until the reader has the first event, or the end; a Ctrl-C can break the `wait` of an Event.
        self._beginning = threading.Lock()
        self._beginning.acquire()
        self._has_begun = False
        self._ended = threading.Event()  # set by the reader when it is done and `_closure` is known
        # Lets one of several threads that call `close` be the one that says goodbye.
        self._close_lock = threading.Lock()
        self._close_begun = False
        # Reads the connection so that pings are answered and events queued whatever the user's threads
        # do.  A daemon, so that a script that forgets to close still exits.
        self._reader = threading.Thread(target=self._read, name="realtime_sync-reader", daemon=True)
        _open_sessions.add(self)
        try:
            self._reader.start()
        except RuntimeError:  # the system has no thread left for us
            transport.free()
            raise

    # --- The reader thread -------------------------------------------------------------------------

    def _read(self) -> None:
        """The life of the reader thread: messages in, events out, until the connection ends."""
        closure = None
        try:
            while messages := self._transport.receive():
                self._accept(messages)
                if self._inbox.full:
                    self._wait_for_room()
            closure = self._transport.closure
        except BaseException as error:  # a fault of ours must not leave the user waiting for ever
            _log.exception("the reader thread failed")
            closure = Closure(1006, "internal error", by="client", cause=error)
        finally:
            self._transport.free()
            self._closure = closure
            self._ended_at = time.monotonic()
            self._inbox.finish()
            self._ended.set()
            self._begin()
            _open_sessions.discard(self)
            self._log_end()

    def _wait_for_room(self) -> None:
        """The user has not taken what came: make the server wait, or end the session."""
        if self._overflow == "fail":
            stats = self.stats
            self._transport.give_up(1001, f"{stats.buffered} bytes of events were not taken")
        else:
            self._inbox.wait_for_room()
            self._transport.heard()

    def _accept(self, messages: list[Message]) -> None:
        """Decode what one read of the connection gave, and queue it."""
        events = wanted = decode_messages(messages, self._note_deviation)
        self._events_in += len(events)
        if not _NOTED.isdisjoint(map(type, events)):
            wanted = [event for event in events if self._note(event)]
        if wanted:
            self._last_event = wanted[-1]
            self._inbox.put(wanted, sum(map(len, messages)))
            if not self._has_begun:
                self._first_event = wanted[0]
                self._begin()
        if _log.isEnabledFor(logging.DEBUG):
            for event, message in zip(events, messages, strict=True):
                frame = message.payload if isinstance(message, Binary) else message
                self._log_event("received", event.type, event.event_id, frame)

    def _note(self, event: ServerEvent) -> bool:
        """Keep what the session itself wants to know; false if the event is nothing for the user."""
        if isinstance(event, _ANNOUNCEMENTS):
            self._config = event.session
        if type(event) not in _OF_RESPONSES:
            return True
        wanted = self._responses.note(event)
        if wanted and isinstance(event, ErrorEvent):
            self._last_error = event
        return wanted

    def _post(self, event: ResponseCreate, payload: bytes) -> None:
        """Send, from the reader thread, what had to wait for its turn."""
        if _log.isEnabledFor(logging.DEBUG):
            self._log_event("sent", event.type, event.event_id, payload)
        with contextlib.suppress(OSError):  # the connection has ended, which the reader sees next
            self._transport.offer(payload, event)

    def _note_deviation(self, deviation: Deviation) -> None:
        """Count a deviation from the specification, and log the first of its kind."""
        kind = f"{deviation.event}{deviation.path}: {deviation.problem}"
        self._deviations[kind] += 1
        if self._deviations[kind] == 1:
            frame = self._payload(deviation.frame)[:200]
            _log.warning("the server deviates from the specification: %s, in %s", kind, frame)

    def _begin(self) -> None:
        """Say that the session has begun, once, and let those go on who wait for it."""
        if self._has_begun:
            return
        self._has_begun = True
        try:
            self._log_begin()
        finally:
            self._beginning.release()

    def _log_event(self, verb: str, kind: str, event_id: str | None, frame: bytes) -> None:
        """Write one line about an event, with the event itself if that is wanted."""
        payload = ""
        if self._log_payloads:
            text = self._payload(frame)
            payload = f": {text[:_LONGEST_PAYLOAD]}{'...' if len(text) > _LONGEST_PAYLOAD else ''}"
        name = self._line(f"{kind} {event_id}")
        _log.debug("%s %s, %d bytes%s", verb, name, len(frame), payload)

    def _line(self, text: str) -> str:
        """A text of the server's for one line of the log: without secrets, and without line breaks."""
        return one_line(self._redact(text))

    def _payload(self, frame: bytes) -> str:
        """An event for the log."""
        return self._line(without_credentials(frame.decode("utf-8", "replace")))

    def _log_begin(self) -> None:
        # By the reader, once it is known which session it is, so that it comes before the line of the end.
        _log.info("session %s with %s opened", self._line(self.id or "without id"), self._name)

    def _log_end(self) -> None:
        closure, stats = self._closure, self.stats
        _log.info(
            "session %s with %s closed by the %s: code %s%s, %.1f s, %d events in, %d out",
            self._line(self.id or "without id"),
            self._name,
            closure.by if closure else "network",
            closure.code if closure else 1006,
            self._line(f" ({closure.reason})") if closure and closure.reason else "",
            stats.seconds,
            stats.events_in,
            stats.events_out,
        )

    # --- Receiving ---------------------------------------------------------------------------------

    def wait_for_first_event(self, timeout: float) -> ServerEvent | None:
        """Wait for the server's first event, without taking it; ``None`` if there was none in time.

        Raises:
            ConnectionClosed: The session ended without any.
        """
        if not self._beginning.acquire(timeout=timeout):
            return None
        self._beginning.release()
        if self._first_event is None:
            raise self._closed_error()
        return self._first_event

    def next_event(self, timeout: float | None = None) -> ServerEvent:
        """Wait for the next event, in the order the server sent them.

        Args:
            timeout: Seconds to wait at most; ``None`` = as long as it takes, ``0`` = not at all.

        Raises:
            TimeoutError: Nothing came in time.  Nothing is lost; call again.
            ConnectionClosed: The session is over and all its events were taken.
        """
        try:
            event = self._inbox.get(timeout)
        except queue.Empty:
            raise TimeoutError(f"no event within {timeout:g} s") from None
        if event is None:
            raise self._closed_error()
        return event

    def __iter__(self) -> Iterator[ServerEvent]:
        """Iterate over the events until the session is over.

        Raises:
            ConnectionClosed: It did not end normally, that is with code 1000 or 1001 not following an
                error, or by `close`.
        """
        while True:
            try:
                event = self.next_event()
            except ConnectionClosed:
                if self._ended_normally():
                    return
                raise
            yield event

    def run(
        self,
        visitor: Visitor[Any],
        until: type[_E] | tuple[type[_E], ...] | None = None,
        timeout: float | None = None,
    ) -> _E | None:
        """Hand the events to a visitor, one after another, in this thread.

        Args:
            visitor: Its ``visit_*`` methods are called.  What one raises comes out of here; the session
                stays usable and the events that follow are kept.
            until: Stop after an event of this type, or of one of these types.
            timeout: Seconds after which no further event is taken; ``0`` takes what is there already.

        Returns:
            The event that ``until`` waited for, after it was dispatched; ``None`` when the session
            ended normally before it, or the time was up.

        An `ErrorEvent` that nothing looks for is logged as a warning, since what it refused may be what you
        wait for (see `Visitor.bystander`).

        Raises:
            ConnectionClosed: The session did not end normally.
            TypeError: ``visitor`` is no visitor, or ``until`` no type of server event.
        """
        _check_until(until)
        check_visitor(visitor)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._running(visitor):
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if timeout and left == 0:
                    return None
                try:
                    event = self.next_event(left)
                except TimeoutError:
                    return None
                except ConnectionClosed:
                    if self._ended_normally():
                        return None
                    raise
                self._dispatch(event, visitor)
                if until is not None and isinstance(event, until):
                    return event
                if isinstance(event, ErrorEvent):
                    self._report(event, visitor)

    def wait_until(
        self, condition: Callable[[], bool], visitor: Visitor[Any], timeout: float | None = None
    ) -> None:
        """Run the session until something is true.

        Events go to the visitor, in this thread.  Inside a ``visit_*`` method they go to the visitor that
        the session is run with, which is at the moment waiting for you.  While another thread runs the
        session, also if it begins to meanwhile, this one takes nothing and only waits for what that one
        dispatches.

        Args:
            condition: Asked before the first event and after each.
            visitor: As in `run`.
            timeout: Seconds to wait at most; ``None`` = as long as it takes.

        Raises:
            TimeoutError: It did not become true in time.
            ConnectionClosed: The session is over, all events were dispatched, and it is not true.
        """
        check_visitor(visitor)
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                raise TimeoutError(f"it did not happen within {timeout:g} s")
            return seconds

        inside = threading.get_ident() in self._runners
        visitor = self._runners.get(threading.get_ident(), visitor)
        while not condition():
            with self._running(visitor, alone=not inside) as runs:
                while runs:
                    nudged = self._inbox.nudged
                    if condition():  # asked again: another thread may have dispatched what makes it true
                        return
                    runs = inside or len(self._runners) == 1
                    if runs:
                        self._take(visitor, left(), nudged)
            if not runs and not condition():
                self._watch(condition, left())

    def _take(self, visitor: Visitor[Any], timeout: float | None, nudged: object) -> None:
        """Dispatch the next event, if one comes in time, and before another thread dispatches one."""
        try:
            event = self._inbox.get(timeout, nudged)
        except queue.Empty:
            return
        if event is None:
            raise self._closed_error()
        self._dispatch(event, visitor)
        if isinstance(event, ErrorEvent):
            self._report(event, visitor)

    @contextlib.contextmanager
    def _running(self, visitor: Visitor[Any], *, alone: bool = False) -> Iterator[bool]:
        """While this thread runs the session.

        Args:
            alone: Only if no other thread does; it yields whether that is so.
        """
        thread = threading.get_ident()
        with self._dispatched:
            runs = not alone or self._runners.keys() <= {thread}
            outer = self._runners.get(thread)
            if runs:
                self._runners[thread] = visitor
                self._concerned += outer is None
        try:
            self._inbox.nudge()  # one that only waits leaves it to us
            yield runs
        finally:
            if runs:
                with self._dispatched:
                    if outer is None:
                        del self._runners[thread]
                        self._concerned -= 1
                    else:
                        self._runners[thread] = outer
                    self._dispatched.notify_all()  # somebody may have to take over

    def _dispatch(self, event: ServerEvent, visitor: Visitor[Any]) -> None:
        visitor.visit(event)
        if self._concerned > 1:
            with self._dispatched:
                self._dispatched.notify_all()
            self._inbox.nudge()

    def _report(self, event: ErrorEvent, visitor: Visitor[Any]) -> None:
        """Log an error that nothing looks at."""
        if not _sees_errors(visitor):
            error = event.error
            text = self._line(f"{error.message} (code {error.code}, of event {error.event_id})")
            _log.warning("the server reports an error: %s", text)

    def _watch(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Wait while another thread runs the session, until something was dispatched there."""
        with self._dispatched:
            self._concerned += 1
            try:
                # Looked at again after it is known that we wait, so that nothing is missed.
                if self._runners and not condition():
                    self._dispatched.wait(timeout)
            finally:
                self._concerned -= 1

    # --- Sending -----------------------------------------------------------------------------------

    def send(self, event: ClientEvent | Mapping[str, Any]) -> str:
        """Send a client event, given as a struct or as a plain dict with a ``type``.

        Returns when the operating system has taken it.  Events of several threads never mix.

        Returns:
            The ``event_id`` that was sent, made here if the event has none.  A later `ErrorEvent`
            about it has the same in ``error.event_id``.

        Raises:
            TypeError: It is not a client event.
            ConnectionClosed: The session is over, or ended because this could not be sent in time.
        """
        event, event_id = self._named(event)
        payload = encode(event)  # first: what can't be encoded asks for nothing
        if isinstance(event, ResponseCreate):
            self._responses.ask(event_id, bool(event.response and event.response.conversation == "none"))
        elif isinstance(event, dict) and event["type"] == "response.create":
            params = event.get("response")
            out_of_band = isinstance(params, Mapping) and params.get("conversation") == "none"
            self._responses.ask(event_id, out_of_band)
        return self._send(event, event_id, payload)

    def _send(self, event: ClientEvent | dict[str, Any], event_id: str, payload: bytes) -> str:
        if _log.isEnabledFor(logging.DEBUG):
            kind = event.type if isinstance(event, ClientEvent) else event["type"]
            self._log_event("sent", kind, event_id, payload)
        try:
            self._transport.send(payload, event)
        except OSError as error:
            self._ended.wait(_AFTERMATH)  # the reader may yet find out why
            closed = self._closed_error()
            raise closed from closed.__cause__ or error
        return event_id

    def _send_when_idle(self, event: ResponseCreate) -> str:
        """Send now what may be sent now; the rest is sent by the reader when its turn has come."""
        event_id = event.event_id or self._new_id()
        event = structs.replace(event, event_id=event_id)
        if self.closed:
            raise self._closed_error()
        payload = encode(event)  # here, where the caller sees what is wrong with it
        return (
            self._send(event, event_id, payload)
            if self._responses.ask_when_idle(event, payload)
            else event_id
        )

    def _cancel_if_active(self, event: ResponseCancel) -> str:
        event_id = event.event_id or self._new_id()
        if not self._responses.may_cancel(event_id, event.response_id):
            return event_id
        return self.send(structs.replace(event, event_id=event_id))

    def _named(self, event: ClientEvent | Mapping[str, Any]) -> tuple[ClientEvent | dict[str, Any], str]:
        """The event with an id, and the id.  The caller's own object is left as it is."""
        if isinstance(event, ClientEvent):
            if event.event_id is None:
                event = structs.replace(event, event_id=self._new_id())
            return event, str(event.event_id)
        if isinstance(event, Mapping) and isinstance(event.get("type"), str):
            event = dict(event)
            event["event_id"] = event.get("event_id") or self._new_id()
            return event, str(event["event_id"])
        raise TypeError(f"not a client event: {type(event).__name__}")

    def _new_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids)}"

    def update(self, *, event_id: str | None = None, **fields: "Unpack[namespaces.SessionFields]") -> str:
        """Change the session's settings (``session.update``).

        Only the fields given are sent; ``None`` clears one.  ``type`` is filled in.  The server answers
        with ``session.updated``, or with an error.

        Args:
            event_id: Your own name for this event; one is made if missing.
            fields: See `events.SessionConfig`.  Objects may be structs or dicts.

        Returns:
            The ``event_id`` that was sent.

        Raises:
            TypeError: There is no such field.
        """
        config = namespaces.session_config(fields)
        if "type" not in fields and (kind := self._kind()):
            config.type = kind
        return self.send(SessionUpdate(session=config, event_id=event_id))

    def _kind(self) -> str | None:
        """The ``type`` that an update must name; ``None`` where it must not name one."""
        if self._dialect != "ga":
            return None
        kind = "realtime" if self._config is None else self._config.type
        return kind if kind and kind != "translation" else None

    @property
    def conversation(self) -> namespaces.ConversationCalls:
        """``conversation.item.create``, ``.retrieve``, ``.truncate`` and ``.delete``"""
        return namespaces.ConversationCalls(self.send)

    @property
    def input_audio_buffer(self) -> namespaces.InputAudioBufferCalls:
        """``input_audio_buffer.append``, ``.commit`` and ``.clear``"""
        return namespaces.InputAudioBufferCalls(self.send)

    @property
    def output_audio_buffer(self) -> namespaces.OutputAudioBufferCalls:
        """``output_audio_buffer.clear``"""
        return namespaces.OutputAudioBufferCalls(self.send)

    @property
    def response(self) -> namespaces.ResponseCalls:
        """``response.create`` and ``response.cancel``"""
        return namespaces.ResponseCalls(self.send, self._send_when_idle, self._cancel_if_active)

    @property
    def transcription_session(self) -> namespaces.TranscriptionSessionCalls:
        """``transcription_session.update`` (Beta)"""
        return namespaces.TranscriptionSessionCalls(self.send)

    @property
    def translation(self) -> namespaces.TranslationCalls:
        """``session.input_audio_buffer.append`` and ``session.close`` of translation sessions"""
        return namespaces.TranslationCalls(self.send)

    # --- State -------------------------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """``"ga"`` or ``"beta"``, as it was opened."""
        return self._dialect

    @property
    def config(self) -> SessionConfig | None:
        """The settings the server announced last; ``None`` before ``session.created`` came."""
        return self._config

    @property
    def id(self) -> str | None:
        """The server's name for the session; ``None`` before ``session.created`` came."""
        return (self._config.id or None) if self._config is not None else None

    @property
    def active_response(self) -> str | None:
        """The id of the response that runs in the conversation, as far as the server has said."""
        return self._responses.active

    def request_of(self, response_id: str) -> Request | None:
        """What a response was asked for by: the ``event_id`` that ``response.create`` returned.

        ``None`` if the server began it by itself, as after the user has spoken, or if it was long ago.
        Servers don't say which request a response answers; it is known by the order of both.
        """
        return self._responses.request_of(response_id)

    @property
    def deviations(self) -> dict[str, int]:
        """How often the server deviated from the specification, by kind."""
        return dict(self._deviations)

    @property
    def stats(self) -> Stats:
        """What the session has done so far: events, bytes, and how far behind you are."""
        transport, inbox = self._transport, self._inbox
        return Stats(
            seconds=(self._ended_at or time.monotonic()) - self._opened_at,
            events_in=self._events_in,
            events_out=transport.messages_out,
            bytes_in=transport.bytes_in,
            bytes_out=transport.bytes_out,
            buffered=inbox.held,
            buffered_most=inbox.most_held,
            deviations=sum(self._deviations.values()),
            round_trip=transport.round_trip,
        )

    @property
    def closed(self) -> bool:
        """Whether the connection has ended.  Queued events can still be taken."""
        return self._ended.is_set()

    def __repr__(self) -> str:
        name = self._line(self.id or "without id")
        return f"<Session {name}, {'closed' if self.closed else 'open'}>"

    # --- Closing -----------------------------------------------------------------------------------

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait for the answer up to the close timeout, and end the connection.

        May be called any number of times, from any thread.  Events already queued can still be taken.

        Args:
            code: WebSocket close code, 1000 or 3000 to 4999.
            reason: A short text for the server, 123 bytes at most.

        Raises:
            ValueError: The code may not be sent, or the reason is too long.
        """
        if code != 1000 and not 3000 <= code < 5000:
            raise ValueError(f"close code {code} may not be sent; use 1000, or 3000 to 4999")
        if len(reason.encode()) > 123:
            raise ValueError("the reason is longer than 123 bytes")
        deadline = time.monotonic() + self._close_timeout
        try:
            self._say_goodbye(code, reason, deadline)
            if threading.current_thread() is not self._reader:
                self._ended.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also when Ctrl-C cuts the wait short
            if threading.current_thread() is not self._reader:
                self._transport.kill()
                self._reader.join(_AFTERMATH)

    def _say_goodbye(self, code: int, reason: str, deadline: float) -> None:
        with self._close_lock:
            first, self._close_begun = not self._close_begun, True
        if first and not self.closed:
            self._inbox.stop_waiting()
            self._transport.send_close(code, reason, deadline)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ended_normally(self) -> bool:
        closure = self._closure
        if closure is None or closure.asked:
            return closure is not None
        return closure.clean and closure.code in (1000, 1001) and not isinstance(self._last_event, ErrorEvent)

    def _closed_error(self) -> ConnectionClosed:
        """A new error for the end of the session: each thread raises its own."""
        closure = self._closure or Closure(1006, "", by="network")
        last_error = self._last_error
        error = ConnectionClosed(
            closure.code,
            self._redact(closure.reason),
            clean=closure.clean,
            by=closure.by,
            last_error=last_error and without_secrets(last_error, self._redact),
            unsent=[*self._transport.unsent(), *self._responses.waiting()],
        )
        error.__cause__ = closure.cause
        return error

    def _abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: the session is over here, and goes on in the parent."""
        self._transport.abandon()
        cause = ConnectionError("this session belongs to the process that was forked")
        self._closure = Closure(1006, "", by="client", cause=cause)
        self._inbox = Inbox(1)
        self._inbox.finish()
        self._dispatched, self._runners, self._concerned = threading.Condition(), {}, 0
        self._close_lock, self._close_begun = threading.Lock(), True
        self._ended = threading.Event()
        self._ended.set()
        self._beginning = threading.Lock()


def _check_until(until: Any) -> None:
    """Refuse to wait for what can't come."""
    for kind in until if isinstance(until, tuple) else (until,):
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, ServerEvent)):
            raise TypeError(f"until needs a type of server event, for example ResponseDone, not {kind!r:.80}")


def _sees_errors(visitor: Any) -> bool:
    """Whether a visitor does anything with an `ErrorEvent`."""
    if isinstance(visitor, Visitors):
        return any(map(_sees_errors, visitor.visitors))
    return not getattr(visitor, "bystander", False) and any(
        getattr(type(visitor), name, None) is not getattr(Visitor, name)
        for name in ("visit", "visit_error", "default")
    )


# --- The end of the process, and its children -----------------------------------------------------------

_open_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()


def say_goodbye_at_exit() -> None:
    """Tell the servers of sessions that were not closed; waits for nobody."""
    deadline = time.monotonic() + _AT_EXIT
    for session in list(_open_sessions):
        session._transport.send_close(1001, "", deadline)


def _abandon_in_child() -> None:  # pragma: no cover  # runs in a child process, where nothing measures
    for session in list(_open_sessions):
        session._abandon()
    _open_sessions.clear()


atexit.register(say_goodbye_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)
