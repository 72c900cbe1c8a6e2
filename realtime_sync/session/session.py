"""`Session`: a conversation with a Realtime server, for code that blocks.

A facade: `reader` is the thread that reads the connection, `inbox` the queue of events, `pump` runs visitors,
`sending` is the way out, `namespaces` the methods by the names of client events.
"""

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from ..events import ClientEvent, ServerEvent, SessionConfig, SessionUpdate
from ..events.fields import SessionFields, session_config
from ..exceptions import ConnectionClosed
from ..redaction import Redact
from ..visitor import Visitor
from ..wire.transport import Transport
from . import namespaces
from .facts import Request
from .ledger import Ledger
from .log import SessionLog
from .outbox import Unconfirmed
from .pump import Pump
from .reader import Reader
from .redial import Redial
from .sending import Sender
from .watch import Watch

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["HASTE", "Session", "Stats"]

HASTE = 0.3
"""Seconds that closing may take after Ctrl-C: enough for a server to answer, and soon enough for a person."""

_E = TypeVar("_E", bound=ServerEvent)


class Stats(Struct, frozen=True):
    """What a session has done so far.

    Attributes:
        seconds: Seconds since the connection was opened, or from then to its end.
        events_in, events_out: Number of events received, and given to `Session.send`.
        bytes_in, bytes_out: Bytes of WebSocket frames received, and of those of the events given to `send`.
        buffered: About how many bytes of memory the events take that were received and not taken yet: the
            bytes of their messages, 500 for each event, and 100 for each value in an event that holds others.
        buffered_most: The maximum of ``buffered`` so far.
        deviations: How often the server deviated from the specification.
        reconnects: How often the connection was replaced; the other numbers are of all connections.
        round_trip: Seconds from our last ping to its answer; ``None`` before the first answer.
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
    reconnects: int = 0


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
        redial: Redial | None = None,
    ) -> None:
        self._dialect = dialect
        self._close_timeout = close_timeout
        self._log = SessionLog(name, redact, log_payloads)
        self._reader = Reader(
            transport,
            self._log,
            dialect=dialect,
            max_buffered=max_buffered,
            overflow=overflow,
            redact=redact,
            redial=redial,
        )
        self._inbox = self._reader.inbox
        self._pump = Pump(self._reader, self._log)
        self._sender = Sender(self._reader, self._log)
        self._reader.start()
        if redial is not None and (redial.policy.rollover or redial.policy.idle_timeout):
            try:
                Watch(self._reader, redial, redial.policy.idle_timeout)
            except RuntimeError:  # the system's limit of threads: the caller gets no session to close
                self.close(timeout=0)
                raise

    # --- Receiving ---------------------------------------------------------------------------------

    def wait_for_first_event(self, timeout: float) -> ServerEvent | None:
        """Wait for the server's first event, without taking it.  Return ``None`` if none came in time.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            ConnectionClosed: The session ended without an event.
        """
        return self._reader.wait_for_first_event(timeout)

    def next_event(self, timeout: float | None = None) -> ServerEvent:
        """Wait for the next event, in the order the server sent them.

        Args:
            timeout: Seconds to wait at most; ``None`` = as long as it takes, ``0`` = not at all.

        Raises:
            TimeoutError: No event came in time.  Nothing is lost; call again.
            ConnectionClosed: The session is over and all its events were taken.
        """
        try:
            event = self._inbox.get(timeout)
        except queue.Empty:
            raise TimeoutError(f"no event within {timeout:g} s") from None
        if event is None:
            raise self._reader.closed_error()
        return event

    def __iter__(self) -> Iterator[ServerEvent]:
        """Iterate over the events until the session is over.

        Raises:
            ConnectionClosed: It did not end normally, that is by `close`, or with code 1000 or 1001 and
                not right after an error.
        """
        while True:
            try:
                event = self.next_event()
            except ConnectionClosed:
                if self._reader.ended_normally:
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
            visitor: Its ``visit_*`` methods are called.  An exception of theirs is raised from here; the
                session stays usable and the events that follow are kept.
            until: Stop after an event of this type, or of one of these types; ``None`` = run to the end.
            timeout: Seconds after which no further event is taken; ``None`` = no limit, ``0`` = take only
                what is queued already.

        Returns:
            The event that ``until`` waited for, after it was dispatched; ``None`` if the session ended
            normally before it, or the timeout passed.  Then `closed` is true if the session ended, and
            `active_response` is not ``None`` if a response had not ended by then.

        An `ErrorEvent` that the visitor does not handle is logged as a warning, because it may reject the
        request that you wait for (see `Visitor.handles_errors`).

        Raises:
            ConnectionClosed: The session did not end normally.
            TypeError: ``visitor`` is not a visitor, or ``until`` is not a type of server event.
        """
        return self._pump.run(visitor, until, timeout)

    def wait_until(
        self, condition: Callable[[], bool], visitor: Visitor[Any], timeout: float | None = None
    ) -> None:
        """Run the session until a condition is true.

        Events go to the visitor, in this thread.  Inside a ``visit_*`` method they go to the visitor with
        which `run` was called.  While another thread runs the session, even if it begins to during the wait,
        this thread takes no events: it waits for those that the other thread dispatches.

        Args:
            condition: Called before the first event and after each.
            visitor: As in `run`.
            timeout: Seconds to wait at most; ``None`` = as long as it takes.

        Raises:
            TimeoutError: The condition did not become true in time.
            ConnectionClosed: The session is over, all events were dispatched, and the condition is not true.
        """
        self._pump.wait_until(condition, visitor, timeout)

    def wake_up(self) -> None:
        """Let threads in `wait_until` ask for their conditions again: one may be true without an event."""
        self._pump.wake_up()

    # --- Sending -----------------------------------------------------------------------------------

    def send(self, event: ClientEvent | Mapping[str, Any]) -> str:
        """Send a client event, given as a struct or as a plain dict with a ``type``.

        Returns when the operating system has taken it.  Events of several threads are never interleaved.

        Returns:
            The ``event_id`` that was sent, made here if the event has none.  A later `ErrorEvent`
            about it has the same in ``error.event_id``.

        Raises:
            TypeError: It is not a client event.
            ValueError: It appends more than 15 MiB of audio.
            ConnectionClosed: The session is over, or ended because nothing left or arrived for the send
                timeout.
        """
        return self._sender.send(event)

    def update(self, *, event_id: str | None = None, **fields: "Unpack[SessionFields]") -> str:
        """Change the session's settings (``session.update``).

        Only the fields given are sent; ``None`` clears one.  ``type`` is filled in.  The server answers
        with ``session.updated``, or with an error.

        Args:
            event_id: Your own name for this event; one is made if missing.
            fields: See `events.SessionConfig`.  Objects may be structs or dicts.

        Returns:
            The ``event_id`` that was sent.

        Raises:
            TypeError: There is no such field; the message names the nearest right one.
            ConnectionClosed: As in `send`.
        """
        config = session_config(fields)
        if "type" not in fields and (kind := self._kind()):
            config.type = kind
        return self.send(SessionUpdate(session=config, event_id=event_id))

    def _kind(self) -> str | None:
        """Return the ``type`` that an update must have; ``None`` if it must have none."""
        if self._dialect != "ga":
            return None
        kind = "realtime" if self.config is None else self.config.type
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
        """``response.create``, ``response.cancel``, and `withdraw` for requests that are pending"""
        return namespaces.ResponseCalls(self._sender, self.wake_up)

    @property
    def transcription_session(self) -> namespaces.TranscriptionSessionCalls:
        """``transcription_session.update`` (Beta)"""
        return namespaces.TranscriptionSessionCalls(self.send)

    @property
    def translation(self) -> namespaces.TranslationCalls:
        """``session.input_audio_buffer.append`` and ``session.close`` of translation sessions"""
        return namespaces.TranslationCalls(self.send)

    def unconfirmed(self) -> Unconfirmed:
        """Return what was sent and not yet confirmed by the server; also after the session has ended.

        A lost connection may have lost all of it.  An event is confirmed by the server's answer to it, be it
        an error, or to a later event, since servers take events in order; a ``response.create`` by the
        beginning of its response.  Audio is confirmed by the answer to an event sent after it, and by the
        times of the speech that the server detects.  `ConnectionClosed.unsent` lists those events that surely
        never left.
        """
        return self._reader.gate.unconfirmed()

    # --- State -------------------------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """The dialect of the session, ``"ga"`` or ``"beta"``."""
        return self._dialect

    @property
    def config(self) -> SessionConfig | None:
        """The settings that the server announced last; ``None`` before ``session.created``."""
        return self._reader.config

    @property
    def id(self) -> str | None:
        """The server's id of the session; ``None`` before ``session.created``."""
        return self._reader.session_id

    @property
    def active_response(self) -> str | None:
        """The id of the response that is active in the conversation, ``""`` if the server sent no id.

        ``None`` if none is active.  It may be ahead of the events that you have taken.  It stays set if the
        session ends before the response does.
        """
        active = self.ledger.responses.active
        return None if active is None else active.id

    def request_of(self, response_id: str) -> Request | None:
        """Return the request that a response answers: its ``event_id`` is what ``response.create`` returned.

        ``None`` if the server began the response by itself, as after the user has spoken, or long ago.
        Servers don't say which request a response answers; it follows from the order of both.
        """
        response = self.ledger.responses.get(response_id)
        return None if response is None else response.request

    @property
    def ledger(self) -> Ledger:
        """What is known of responses, items and requests, for those who write a `Listener` of their own."""
        return self._reader.gate.ledger

    @property
    def deviations(self) -> dict[str, int]:
        """How often the server deviated from the specification and from the protocol, by kind.

        For example a field of the wrong type (``"response.done.response: missing"``), or an event about what
        was never announced (``"response.output_audio.delta: unknown item"``).
        """
        return {**dict(self._reader.deviations), **dict(self.ledger.deviations)}

    @property
    def stats(self) -> Stats:
        """Numbers of what the session has done so far; see `Stats`."""
        reader, counted = self._reader, self._reader.counted
        return Stats(
            seconds=reader.seconds,
            events_in=reader.events_in,
            events_out=counted.messages_out,
            bytes_in=counted.bytes_in,
            bytes_out=counted.bytes_out,
            buffered=self._inbox.held,
            buffered_most=self._inbox.most_held,
            deviations=sum(self.deviations.values()),
            round_trip=reader.gate.line.transport.round_trip,
            reconnects=reader.reconnects,
        )

    @property
    def closed(self) -> bool:
        """Whether the connection has ended.  Queued events can still be taken."""
        return self._reader.ended.is_set()

    def __repr__(self) -> str:
        name = self._log.clean(self.id or "without id")
        return f"<Session {name}, {'closed' if self.closed else 'open'}>"

    # --- Closing -----------------------------------------------------------------------------------

    def close(self, code: int = 1000, reason: str = "", *, timeout: float | None = None) -> None:
        """Send a close frame, wait for the server's up to the close timeout, and end the connection.

        At the end of ``with`` this happens by itself, with a timeout of 0.3 s after Ctrl-C.

        May be called any number of times, from any thread.  Events already queued can still be taken.

        Args:
            code: WebSocket close code, 1000 or 3000 to 4999.
            reason: A short text for the server, 123 bytes at most.
            timeout: Seconds to wait at most; ``None`` = the ``close_timeout`` of `connect`.

        Raises:
            ValueError: The code may not be sent, the reason is too long, or the timeout is below 0.
        """
        if code != 1000 and not 3000 <= code < 5000:
            raise ValueError(f"close code {code} may not be sent; use 1000, or 3000 to 4999")
        if len(reason.encode()) > 123:
            raise ValueError("the reason is longer than 123 bytes")
        seconds = self._close_timeout if timeout is None else timeout
        if not seconds >= 0:
            raise ValueError(f"timeout must be 0 seconds or more, or None, got {timeout!r:.80}")
        self._reader.close(code, reason, time.monotonic() + seconds)

    def close_when_idle(self, seconds: float, *, is_busy: Callable[[], bool] = lambda: False) -> None:
        """Close the session once nothing has happened in it for some time, so that it costs nothing more.

        What counts is speech, text, responses and tools; silence that is appended doesn't.  The session is
        closed normally, with code 1000 and a reason that says so, which is logged as a warning.

        Args:
            seconds: The time.
            is_busy: Returns whether something happens that the session doesn't see, such as playback.

        Raises:
            ValueError: ``seconds`` is not more than 0.
        """
        if not seconds > 0:
            raise ValueError(f"seconds must be more than 0, got {seconds!r:.80}")
        Watch(self._reader, None, seconds, is_busy)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(timeout=min(HASTE, self._close_timeout) if isinstance(error, KeyboardInterrupt) else None)
