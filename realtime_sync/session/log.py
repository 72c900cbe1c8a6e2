"""The log of a session, in the logger ``realtime_sync``: one line for each record, without secrets."""

import logging
from collections.abc import Collection

from ..events import ErrorEvent
from ..events.reconnected import Reconnected
from ..exceptions import ConnectionClosed, ConnectionFailed
from ..redaction import LONGEST, Redact, one_line, without_credentials
from ..wire.transport import Closure

__all__ = ["SessionLog"]

_log = logging.getLogger("realtime_sync")

_MAX_EXCERPT = 200  # characters of a frame that deviates from the specification, and of names and ids
_LOOKED_AT = 131072  # bytes of a frame in which credentials are looked for, so that much can be hidden of it


class SessionLog:
    """The log of one session.

    Args:
        server: The server's and the model's name.
        redact: Removes the secrets of the session's request from a text.
        payloads: Whether the payloads of events are logged too (at level DEBUG).
    """

    def __init__(self, server: str, redact: Redact, payloads: bool) -> None:
        self._server = server
        self._redact = redact
        self._payloads = payloads
        self._deviating: set[str] = set()  # the types of events of which a deviation was logged

    @property
    def shows_events(self) -> bool:
        """Whether `event` writes anything."""
        return _log.isEnabledFor(logging.DEBUG)

    def clean(self, text: str, longest: int = LONGEST) -> str:
        """Return a text from the server as one line, without secrets, and cut."""
        return one_line(text, longest, redact=self._redact)

    def event(self, verb: str, kind: str, event_id: str | None, frame: bytes) -> None:
        """Log an event that was received or sent, with its payload if payloads are logged."""
        payload = ""
        if self._payloads:
            payload = f": {self._frame(frame)}"
        name = self.clean(f"{kind} {event_id}", _MAX_EXCERPT)
        _log.debug("%s %s, %d bytes%s", verb, name, len(frame), payload)

    def _frame(self, frame: bytes, longest: int = LONGEST) -> str:
        text = without_credentials(frame[:_LOOKED_AT].decode("utf-8", "replace"))
        return one_line(text, longest, redact=self._redact, more=len(frame) > _LOOKED_AT)

    def opened(self, session_id: str | None) -> None:
        """Log that the server has begun the session."""
        _log.info("session %s with %s opened", self.clean(session_id or "without id"), self._server)

    def closed(
        self, session_id: str | None, closure: Closure, seconds: float, events_in: int, events_out: int
    ) -> None:
        """Log how the session ended."""
        _log.info(
            "session %s with %s closed by the %s: code %s%s, %.1f s, %d events in, %d out",
            self.clean(session_id or "without id"),
            self._server,
            closure.by,
            closure.code,
            self.clean(f" ({closure.reason})") if closure.reason else "",
            seconds,
            events_in,
            events_out,
        )

    def lost(self, cause: ConnectionClosed) -> None:
        """Log that the connection was lost and another one is tried."""
        _log.warning("reconnecting: %s", self.clean(str(cause)))

    def not_reconnected(self, number: int, error: ConnectionFailed) -> None:
        """Log that an attempt to reconnect failed."""
        _log.info("attempt %d to reconnect failed: %s", number, self.clean(str(error)))

    def not_reopened(self) -> None:
        """Log that the session can't be opened again."""
        _log.warning("not reconnecting: the session of a phone call can't be opened again")

    def reconnected(self, event: Reconnected) -> None:
        """Log that the session goes on with another connection."""
        lost = self.clean("; ".join(event.lost)) if event.lost else "nothing"
        _log.warning(
            "reconnected after %.1f s and %d attempts, as session %s; lost: %s",
            event.seconds,
            event.attempts,
            self.clean(event.session_id or "without id"),
            lost,
        )

    def deviations(self, event: str, places: Collection[str], frame: bytes) -> None:
        """Log where a frame deviates from the specification, unless one of the same type was logged."""
        key = event or "".join(places)
        if key not in self._deviating:
            self._deviating.add(key)
            excerpt = self._frame(frame, _MAX_EXCERPT)
            where = event + "; ".join(places)
            _log.warning("the server deviates from the specification: %s, in %s", where, excerpt)

    def unhandled_error(self, event: ErrorEvent) -> None:
        """Log an error that no visitor handles."""
        error = event.error
        text = self.clean(f"{error.message} (code {error.code}, of event {error.event_id})")
        _log.warning("the server reports an error: %s", text)

    def reader_failed(self) -> None:
        """Log the exception that is being handled, which ended the reader thread."""
        _log.exception("the reader thread failed")
