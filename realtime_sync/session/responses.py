"""Which response is active, which request it answers, and which requests are pending until none is active.

A server makes one response at a time in its conversation and rejects requests meanwhile.  It may also begin
one by itself, when the user has stopped speaking.  So the reader thread notes here what the server announces,
and users' threads note their requests.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from ..events import (
    ErrorEvent,
    Response,
    ResponseCancelled,
    ResponseCreate,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
)
from .latest import Latest

__all__ = ["BUSY", "NOTED", "Request", "Responses"]

NOTED = {ErrorEvent, ResponseCreated, ResponseDone, ResponseCancelled}
"""The types of events that must be given to `Responses.note`."""
BUSY = "conversation_already_has_active_response"
"""The code of the error that rejects a request because a response is active."""

_REMEMBERED = 256  # requests, responses and cancellations, of each
_NOTHING_TO_CANCEL = "response_cancel_not_active"


class Request(Struct, frozen=True):
    """The ``response.create`` that a response answers.

    Attributes:
        event_id: What ``session.response.create`` returned.
        out_of_band: The response is not part of the conversation (``conversation="none"``).
    """

    event_id: str
    out_of_band: bool = False


class _Pending(NamedTuple):
    """A ``response.create`` that is not sent yet, and its payload."""

    event: ResponseCreate
    payload: bytes


class _Asked(Struct):
    """A ``response.create`` that was sent.

    Attributes:
        again: What to send again if it is rejected because a response is active; ``None`` = nothing.
        doubted: It may have been rejected by an error that did not name it.
    """

    request: Request
    again: _Pending | None = None
    doubted: bool = False


class _Begun(Struct):
    """A response that the server has begun; ``asked`` is ``None`` if it did so without a request."""

    asked: _Asked | None = None
    over: bool = False


class Responses:
    """The responses of one session.

    ``post`` sends an event, given with its payload, without waiting.  The reader calls it.
    """

    def __init__(self, post: Callable[[ResponseCreate, bytes], None]) -> None:
        self._post = post
        # Guards all that follows, between the reader and users' threads; never held while sending.
        self._lock = threading.Lock()
        # By event_id, in the order sent: the requests in flight, not answered yet.
        self._asked: Latest[_Asked] = Latest(_REMEMBERED)
        self._begun: Latest[_Begun] = Latest(_REMEMBERED)  # by response id
        self._active: str | None = None  # the response that is active in the conversation
        self._unannounced = False  # one is active there that was not announced: it made a request fail
        self._names_conversations = False  # this server says which conversation a response belongs to
        self._names_events = False  # and which event an error is about
        self._pending: deque[_Pending] = deque()
        self._cancels: Latest[None] = Latest(_REMEMBERED)  # event ids of cancellations that may be too late

    # --- Requests of users ---------------------------------------------------------------------------

    def ask(self, event_id: str, out_of_band: bool) -> None:
        """Note a ``response.create`` before it is sent."""
        with self._lock:
            self._asked[event_id] = _Asked(Request(event_id, out_of_band))

    def ask_when_idle(self, event: ResponseCreate, payload: bytes) -> bool:
        """Note a ``response.create``.  Return True if it must be sent now, False if it is pending."""
        pending = _Pending(event, payload)
        with self._lock:
            if not self._is_idle or self._pending:
                self._pending.append(pending)
                return False
            self._note_asked(pending)
            return True

    def _note_asked(self, pending: _Pending) -> None:
        event_id = pending.event.event_id or ""
        self._asked[event_id] = _Asked(Request(event_id), pending)

    @property
    def _is_idle(self) -> bool:
        return (
            self._active is None
            and not self._unannounced
            and all(asked.request.out_of_band or asked.doubted for asked in self._asked.values())
        )

    def may_cancel(self, event_id: str, response_id: str | None) -> bool:
        """Return whether a response may be active.  If so, a rejection of ``event_id`` is not an error."""
        with self._lock:
            if response_id is None:
                possible = not self._is_idle
            else:
                begun = self._begun.get(response_id)
                possible = begun is None or not begun.over
            if possible:
                self._cancels[event_id] = None
            return possible

    @property
    def active(self) -> str | None:
        """The id of the response that is active in the conversation; ``None`` if none was announced."""
        return self._active

    def request_of(self, response_id: str) -> Request | None:
        """Return the request that a response answers; ``None`` if it has none, or was made long ago."""
        begun = self._begun.get(response_id)
        return begun.asked.request if begun and begun.asked else None

    def pending(self) -> list[ResponseCreate]:
        """Return the requests that were not sent yet, in order."""
        with self._lock:
            return [pending.event for pending in self._pending]

    # --- Events of the server: the reader only -------------------------------------------------------

    def note(self, event: ServerEvent) -> bool:
        """Update the state from an event.  Return False if it is handled here and must not reach the user."""
        with self._lock:
            wanted = self._learn(event)
            follows = self._next()
        if follows is not None:
            self._post(*follows)
        return wanted

    def _next(self) -> _Pending | None:
        """Return the next pending request if no response is active."""
        if not self._pending or not self._is_idle:
            return None
        pending = self._pending.popleft()
        self._note_asked(pending)
        return pending

    def _learn(self, event: ServerEvent) -> bool:
        if isinstance(event, ResponseCreated):
            known = self._begun.get(event.response.id or "")
            if known is None or known.over or not event.response.id:  # some servers use an id again
                self._begin(event.response)
        elif isinstance(event, ResponseDone):
            self._end(event.response)
        elif isinstance(event, ResponseCancelled):
            self._end(event.response or Response(id=event.response_id))
        elif isinstance(event, ErrorEvent):
            return self._judge(event)
        return True

    def _begin(self, response: Response) -> _Begun:
        response_id = response.id or ""
        begun = _Begun(self._answered(response))
        self._begun[response_id] = begun
        if not (begun.asked and begun.asked.request.out_of_band):
            self._active, self._unannounced = response_id, False
        return begun

    def _answered(self, response: Response) -> _Asked | None:
        """Take the oldest request that this response can be the answer to.

        Servers don't say which request they answer, but they answer in order.  The server may also have begun
        this response by itself: then it rejects the request, and `_judge` corrects the match.
        """
        self._names_conversations = self._names_conversations or response.conversation_id is not None
        oldest = None
        if response.conversation_id is None:
            oldest = self._oldest(out_of_band=True if self._names_conversations else None)
        if oldest is None:
            oldest = self._oldest(out_of_band=False)
        return None if oldest is None else self._asked.pop(oldest)

    def _oldest(self, *, out_of_band: bool | None) -> str | None:
        """Return the event_id of the oldest request in flight; a doubted one only if there is no other.

        Args:
            out_of_band: Only among out-of-band requests, or only among the others; ``None`` = among all.
        """
        names = [
            name for name, asked in self._asked.items() if out_of_band in (None, asked.request.out_of_band)
        ]
        return min(names, key=lambda name: self._asked[name].doubted, default=None)

    def _end(self, response: Response) -> None:
        if not response.id and self._active is None:
            self._unannounced = False
            # It may end any response.  No request is abandoned for it, but pending ones wait no longer.
            for asked in self._asked.values():
                asked.doubted = not asked.request.out_of_band
            return
        begun = self._begun.get(response.id or self._active or "")
        if begun is None:  # it came without ``response.created``
            begun = self._begin(response)
        begun.over = True
        if self._begun.get(self._active or "") is begun:
            self._active = None
        if not (begun.asked and begun.asked.request.out_of_band):
            self._unannounced = False

    def _judge(self, event: ErrorEvent) -> bool:
        """Handle an error.  Return False if it must not reach the user, because it is dealt with here."""
        error = event.error
        if error.event_id is not None and error.event_id in self._cancels:
            del self._cancels[error.event_id]
            return error.code != _NOTHING_TO_CANCEL
        asked = self._rejected(error.event_id, error.code)
        if asked is None or asked.again is None or error.code != BUSY:
            return True
        self._pending.appendleft(asked.again)
        self._unannounced = self._active is None
        return False

    def _rejected(self, event_id: str | None, code: str | None) -> _Asked | None:
        """Take the request that an error rejects."""
        if event_id is None:
            return None if self._names_events else self._perhaps_rejected(code)
        self._names_events = True
        if event_id in self._asked:
            return self._asked.pop(event_id)
        for begun in self._begun.values():
            if begun.asked and begun.asked.request.event_id == event_id:
                # That response was matched with this request.  It answers a doubted one, or none.
                names = [name for name, asked in self._asked.items() if asked.doubted]
                asked, begun.asked = begun.asked, self._asked.pop(names[0]) if names else None
                return asked
        return None

    def _perhaps_rejected(self, code: str | None) -> _Asked | None:
        """Handle an error without an ``event_id``, of a server that never sends one.

        It may reject the oldest request in flight, so pending requests stop waiting for that one.  A response
        that comes nevertheless is its answer, unless it can be another request's.
        """
        oldest = self._oldest(out_of_band=False)
        if oldest is None:
            return None
        if code == BUSY:
            return self._asked.pop(oldest)
        self._asked[oldest].doubted = True
        return None
