"""Whose turn it is: which response is running, what it was asked for by, and which wait until none runs.

A server makes one response at a time in its conversation and refuses what is asked for meanwhile.  It may
also begin one by itself, when the user has stopped speaking.  So the reader thread keeps book here of what
the server says, and users' threads of what they ask for.
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
"""The events that `Responses.note` wants to see."""
BUSY = "conversation_already_has_active_response"
"""The code of an error that refuses a response because another one runs."""

_REMEMBERED = 256  # of requests, of responses and of cancellations
_NOTHING_TO_CANCEL = "response_cancel_not_active"


class Request(Struct, frozen=True):
    """The ``response.create`` that a response answers.

    Attributes:
        event_id: What the call returned that asked for it.
        out_of_band: The response runs beside the conversation (``conversation="none"``).
    """

    event_id: str
    out_of_band: bool = False


class _Waiting(NamedTuple):
    """A ``response.create`` that waits for its turn, and what is sent then."""

    event: ResponseCreate
    payload: bytes


class _Asked(Struct):
    """A ``response.create`` that was sent.

    Attributes:
        again: It, if it is to be sent again when it is refused.
        doubted: It may have been refused without our being told.
    """

    request: Request
    again: _Waiting | None = None
    doubted: bool = False


class _Begun(Struct):
    """A response that the server has begun; ``asked`` is ``None`` if it did so by itself."""

    asked: _Asked | None = None
    over: bool = False


class Responses:
    """The responses of one session.

    ``post`` sends an event, given with its payload, without waiting.  It is called by the reader.
    """

    def __init__(self, post: Callable[[ResponseCreate, bytes], None]) -> None:
        self._post = post
        # Guards all that follows, between the reader and users' threads; never held while sending.
        self._lock = threading.Lock()
        # By event_id, in the order sent: those not answered yet.
        self._asked: Latest[_Asked] = Latest(_REMEMBERED)
        self._begun: Latest[_Begun] = Latest(_REMEMBERED)  # by response id
        self._active: str | None = None  # the response that runs in the conversation
        self._refused = False  # one runs there that we were not told of
        self._names_conversations = False  # this server says which conversation a response belongs to
        self._names_events = False  # and which event an error is about
        self._waiting: deque[_Waiting] = deque()
        self._cancels: Latest[None] = Latest(_REMEMBERED)  # event ids of those that may come too late

    # --- What users ask for --------------------------------------------------------------------------

    def ask(self, event_id: str, out_of_band: bool) -> None:
        """Note a ``response.create`` before it is sent."""
        with self._lock:
            self._asked[event_id] = _Asked(Request(event_id, out_of_band))

    def ask_when_idle(self, event: ResponseCreate, payload: bytes) -> bool:
        """Note a ``response.create``; true if it is to be sent now, false if it will be sent later."""
        waiting = _Waiting(event, payload)
        with self._lock:
            if not self._is_idle or self._waiting:
                self._waiting.append(waiting)
                return False
            self._note_asked(waiting)
            return True

    def _note_asked(self, waiting: _Waiting) -> None:
        event_id = waiting.event.event_id or ""
        self._asked[event_id] = _Asked(Request(event_id), waiting)

    @property
    def _is_idle(self) -> bool:
        return (
            self._active is None
            and not self._refused
            and all(asked.request.out_of_band or asked.doubted for asked in self._asked.values())
        )

    def may_cancel(self, event_id: str, response_id: str | None) -> bool:
        """Whether there may be something to cancel; then a refusal of ``event_id`` is no error."""
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
        """The id of the response that runs in the conversation."""
        return self._active

    def request_of(self, response_id: str) -> Request | None:
        """What asked for a response; ``None`` if the server began it by itself, or long ago."""
        begun = self._begun.get(response_id)
        return begun.asked.request if begun and begun.asked else None

    def waiting(self) -> list[ResponseCreate]:
        """What has not been sent yet."""
        with self._lock:
            return [waiting.event for waiting in self._waiting]

    # --- What the server says: the reader only -------------------------------------------------------

    def note(self, event: ServerEvent) -> bool:
        """Learn from an event.  False: it answers what is seen to here, and is nothing for the user."""
        with self._lock:
            wanted = self._learn(event)
            follows = self._next()
        if follows is not None:
            self._post(*follows)
        return wanted

    def _next(self) -> _Waiting | None:
        """What is to be sent now, if its turn has come."""
        if not self._waiting or not self._is_idle:
            return None
        waiting = self._waiting.popleft()
        self._note_asked(waiting)
        return waiting

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
            self._active, self._refused = response_id, False
        return begun

    def _answered(self, response: Response) -> _Asked | None:
        """The oldest request that this response can be the answer to.

        Servers don't say which it is, but they obey in order.  It may also be one that the server began
        by itself: then the request that we take it for is refused, and `_judge` puts that right.
        """
        self._names_conversations = self._names_conversations or response.conversation_id is not None
        oldest = None
        if response.conversation_id is None:
            oldest = self._oldest(out_of_band=True if self._names_conversations else None)
        if oldest is None:
            oldest = self._oldest(out_of_band=False)
        return None if oldest is None else self._asked.pop(oldest)

    def _oldest(self, *, out_of_band: bool | None) -> str | None:
        """The request that was not answered for the longest time; one that is in doubt only if need be.

        Beside the conversation, or not; ``None`` = either.
        """
        names = [
            name for name, asked in self._asked.items() if out_of_band in (None, asked.request.out_of_band)
        ]
        return min(names, key=lambda name: self._asked[name].doubted, default=None)

    def _end(self, response: Response) -> None:
        if not response.id and self._active is None:
            self._refused = False
            # It may be anything's end.  No request is given up for it, but what waits need not wait for that.
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
            self._refused = False

    def _judge(self, event: ErrorEvent) -> bool:
        """An error: whom does it concern?  False if it is seen to here, and nothing for the user."""
        error = event.error
        if error.event_id is not None and error.event_id in self._cancels:
            del self._cancels[error.event_id]
            return error.code != _NOTHING_TO_CANCEL
        asked = self._refusal(error.event_id, error.code)
        if asked is None or asked.again is None or error.code != BUSY:
            return True
        self._waiting.appendleft(asked.again)
        self._refused = self._active is None
        return False

    def _refusal(self, event_id: str | None, code: str | None) -> _Asked | None:
        """The request that an error refuses."""
        if event_id is None:
            return None if self._names_events else self._perhaps(code)
        self._names_events = True
        if event_id in self._asked:
            return self._asked.pop(event_id)
        for begun in self._begun.values():
            if begun.asked and begun.asked.request.event_id == event_id:
                # We took that response for its answer.  It answers one then that was in doubt, or none.
                names = [name for name, asked in self._asked.items() if asked.doubted]
                asked, begun.asked = begun.asked, self._asked.pop(names[0]) if names else None
                return asked
        return None

    def _perhaps(self, code: str | None) -> _Asked | None:
        """An error of a server that doesn't say which event it is about.

        It may refuse the oldest request.  What waits for its turn need not wait for that one any more; but
        a response that comes all the same is its answer, unless it can be another's.
        """
        oldest = self._oldest(out_of_band=False)
        if oldest is None:
            return None
        if code == BUSY:
            return self._asked.pop(oldest)
        self._asked[oldest].doubted = True
        return None
