"""The way out of a session: client events get their ids, are encoded, and sent or left pending."""

import itertools
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from ..events import ClientEvent, ResponseCancel, ResponseCreate
from ..events.client import MOST_AUDIO, audio_size
from ..events.codec import encode
from ..wire.transport import Transport
from .log import SessionLog
from .reader import AFTERMATH, Reader

__all__ = ["Sender"]


class Sender:
    """Sends the client events of one session; any thread may use it."""

    def __init__(self, transport: Transport, reader: Reader, log: SessionLog) -> None:
        self._transport = transport
        self._reader = reader
        self._gate = reader.gate
        self._log = log
        self._id_prefix = f"event_{secrets.token_hex(4)}_"
        self._ids = itertools.count(1)

    def send(self, event: ClientEvent | Mapping[str, Any]) -> str:
        """Send an event, and return the id it was sent with; see `Session.send`."""
        event, event_id = self._named(event)
        payload = encode(event)  # first: an event that can't be encoded must not count as a request
        if len(payload) > MOST_AUDIO:  # else its audio can't be too long
            _check_audio(event)
        letter = self._gate.sent(event, event_id)
        try:
            return self._send(event, event_id, payload)
        finally:
            self._gate.posted(event, letter)

    def send_when_idle(self, event: ResponseCreate) -> str:
        """Send a request now if no response is active, else leave it pending; return its id."""
        event_id = event.event_id or self._new_id()
        event = structs.replace(event, event_id=event_id)
        if self._reader.ended.is_set():
            raise self._reader.closed_error()
        payload = encode(event)  # here, where an error reaches the caller
        if self._gate.ask_when_idle(event, payload):
            return self._send(event, event_id, payload)
        return event_id

    def cancel_if_active(self, event: ResponseCancel) -> str:
        """Send a cancellation if a response may be active, and return its id."""
        event_id = event.event_id or self._new_id()
        if not self._gate.may_cancel(event, event_id):
            return event_id
        return self.send(structs.replace(event, event_id=event_id))

    def withdraw(self, event_id: str) -> bool:
        """Take back a pending request; return False if it isn't pending."""
        return self._gate.withdraw(event_id)

    def _send(self, event: ClientEvent | dict[str, Any], event_id: str, payload: bytes) -> str:
        if self._log.shows_events:
            kind = event.type if isinstance(event, ClientEvent) else event["type"]
            self._log.event("sent", kind, event_id, payload)
        try:
            self._transport.send(payload, event)
        except OSError as error:
            self._reader.ended.wait(AFTERMATH)  # the reader finds out how the connection ended
            closed = self._reader.closed_error()
            raise closed from closed.__cause__ or error
        return event_id

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
