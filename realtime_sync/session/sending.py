"""The way out of a session: client events get their ids, are encoded, and sent or left pending."""

import functools
import itertools
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import structs

from ..events import ClientEvent, ResponseCancel, ResponseCreate
from ..events.client import MOST_AUDIO, audio_size
from ..events.codec import encode
from ..exceptions import ConnectionClosed
from ..wire.link import Outgoing
from .gate import Passage
from .line import Line
from .log import SessionLog
from .processes import abandon_in_child
from .reader import AFTERMATH, Reader

__all__ = ["Sender"]

_E = TypeVar("_E", bound=ClientEvent | dict[str, Any])


class Sender:
    """Sends the client events of one session; any thread may use it."""

    def __init__(self, reader: Reader, log: SessionLog) -> None:
        self._reader = reader
        self._gate = reader.gate
        self._log = log
        self._id_prefix = f"event_{secrets.token_hex(4)}_"
        self._ids = itertools.count(1)
        # Keeps events on the wire in the order in which they were noted, which is that in which they are sent
        # again by another connection.  A thread that a signal interrupts while it sends may send again.
        self._order = threading.RLock()
        abandon_in_child(self)

    def send(self, event: ClientEvent | Mapping[str, Any]) -> str:
        """Send an event, and return the id it was sent with; see `Session.send`."""
        event, event_id = self._named(event)
        payload = encode(event)  # first: an event that can't be encoded must not count as a request
        if len(payload) > MOST_AUDIO:  # else its audio can't be too long
            _check_audio(event)
        return self._send(event, event_id, payload, self._gate.sent)

    def send_when_idle(self, event: ResponseCreate) -> str:
        """Send a request now if no response is active, else leave it pending; return its id."""
        event_id = event.event_id or self._new_id()
        event = structs.replace(event, event_id=event_id)
        payload = encode(event)  # here, where an error reaches the caller
        return self._send(event, event_id, payload, functools.partial(self._gate.ask_when_idle, payload))

    def cancel_if_active(self, event: ResponseCancel) -> str:
        """Send a cancellation if a response may be active, and return its id."""
        event_id = event.event_id or self._new_id()
        if not self._gate.may_cancel(event, event_id):
            return event_id
        return self.send(structs.replace(event, event_id=event_id))

    def withdraw(self, event_id: str) -> bool:
        """Take back a pending request; return False if it isn't pending."""
        return self._gate.withdraw(event_id)

    def _send(self, event: _E, event_id: str, payload: bytes, note: Callable[[_E, str], Passage]) -> str:
        """Send an event, unless it is held or pending, and return its id.

        Args:
            event, event_id, payload: The event.
            note: Notes it, before it is sent.

        Raises:
            ConnectionClosed: The session has ended.
        """
        line, passage = None, None
        self._gate.wait_for_room(event)  # not under the lock: what else is sent need not wait
        try:
            with self._order:
                passage = note(event, event_id)
                line = passage.line
                messages = [] if line is None else self._enqueue(line, passage, event, event_id, payload)
            if passage.barred:
                raise self._closed_error()
            for message in messages:
                assert line is not None
                line.transport.complete(message)
        except OSError as error:
            assert line is not None
            line.over.wait(AFTERMATH)  # the reader finds out how the connection ended
            if self._gate.is_closed or not line.over.is_set():
                closed = self._closed_error()
                raise closed from closed.__cause__ or error
        finally:
            if passage is not None:
                passage.posted()
        return event_id

    def _closed_error(self) -> ConnectionClosed:
        """Wait until it is known what is unsent, and return how the session has ended."""
        self._reader.ended.wait(AFTERMATH)
        return self._reader.closed_error()

    def _enqueue(
        self, line: Line, passage: Passage, event: ClientEvent | dict[str, Any], event_id: str, payload: bytes
    ) -> list[Outgoing]:
        """Give an event, or what is to be sent in its place, to a connection."""
        if passage.instead:
            return [self._give(line, each, str(each.event_id), encode(each)) for each in passage.instead]
        return [self._give(line, event, event_id, payload)]

    def _give(
        self, line: Line, event: ClientEvent | dict[str, Any], event_id: str, payload: bytes
    ) -> Outgoing:
        if self._log.shows_events:
            kind = event.type if isinstance(event, ClientEvent) else event["type"]
            self._log.event("sent", kind, event_id, payload)
        return line.transport.enqueue(payload, event)

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: replace the lock, which another thread of the parent may hold."""
        self._order = threading.RLock()

    def _named(self, event: ClientEvent | Mapping[str, Any]) -> tuple[ClientEvent | dict[str, Any], str]:
        """Return the event with an id, and the id.  The caller's own object is left as it is."""
        if isinstance(event, ClientEvent):
            if event.event_id is None:
                event = structs.replace(event, event_id=self._new_id())
            return event, str(event.event_id)
        if isinstance(event, Mapping) and isinstance(event.get("type"), str):
            event = dict(event)
            event["event_id"] = event.get("event_id") or self._new_id()
            return event, str(event["event_id"])
        raise TypeError(f"expected a client event or a dict with a type, got {type(event).__name__}")

    def _new_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids)}"


def _check_audio(event: ClientEvent | dict[str, Any]) -> None:
    """Check that an event doesn't append more audio than a server takes.

    Raises:
        ValueError: It does.
    """
    size = audio_size(event)
    if size > MOST_AUDIO:
        raise ValueError(f"expected at most {MOST_AUDIO} bytes of audio (15 MiB) in one event, got {size}")
