"""Which client events the server is yet to answer, what it answers, and what it rejects.

Servers don't say which request a response answers, and some don't say which event an error is about.  But a
server takes events in the order in which they were sent, and an error's code, type and ``param`` tell what
kind of event it can be about.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from ..events import ErrorDetails, ResponseCreate
from ..events.codec import encode
from .facts import Request, ResponseEntry, Sent
from .latest import Latest
from .outbox import Event, Letter, Outbox

__all__ = ["BUSY", "CREATE_RESPONSE", "Pending", "Requests", "Verdict"]

BUSY = "conversation_already_has_active_response"
"""The code of the error that rejects a request because a response is active."""
CREATE_RESPONSE = "response.create"

_REMEMBERED = 256  # requests for responses, and what became of them
_MOST_SENT = 10_000  # other events: as many as a client sends before the first is answered
_LOOKED_AT = 1000  # of these, the oldest, since a server answers in order
# Events sent after one that a response shows to be taken, and then no answer to it comes any more.
_LATE = 256
_REPEATED = "event_repeated_"
_NOTHING_TO_CANCEL = "response_cancel_not_active"
_ABOUT = (  # what an error's code, type or param says it is about: the beginnings of the types of such events
    (re.compile("session_expired"), ()),
    (re.compile(BUSY), CREATE_RESPONSE),
    (re.compile(r"response_cancel|cancel_"), "response.cancel"),
    (re.compile(r"(input|output)_audio_buffer"), ("input_audio_buffer.", "output_audio_buffer.")),
    (re.compile(r"item_truncate"), "conversation.item.truncate"),
    (re.compile(r"item_delete"), "conversation.item.delete"),
    (re.compile(r"item_retrieve"), "conversation.item.retrieve"),
    (
        re.compile(r"(conversation_)?item\b|item_|previous_item|invalid_audio|audio_end_ms"),
        "conversation.item.",
    ),
    (re.compile(r"session|transcription_session"), ("session.", "transcription_session.")),
    (re.compile(r"response\b"), CREATE_RESPONSE),
)


class Pending(NamedTuple):
    """A ``response.create`` that is not sent yet, its payload, and the response that it is to repeat."""

    event: ResponseCreate
    payload: bytes
    repeats: ResponseEntry | None = None


class Asked(Struct):
    """A ``response.create`` that was sent.

    Attributes:
        number: The events are numbered in the order in which they were sent.
        again: What to send again if it is rejected because a response is active; ``None`` = nothing.
        doubted: It may have been rejected by an error that did not name it.
        unwanted: The id of the cancellation that was sent before its response began.
        event: The event.
        repeats: The response that it is to repeat, since that was lost with its connection.
    """

    request: Request
    number: int
    again: Pending | None = None
    event: Event | None = None
    repeats: ResponseEntry | None = None

    @property
    def own_request(self) -> Request | None:
        """The request, if it is the user's: ``None`` if it stands for what the server did by itself."""
        return None if self.request.event_id.startswith(_REPEATED) else self.request

    doubted: bool = False
    unwanted: str | None = None


class Verdict(NamedTuple):
    """What an error means.

    Attributes:
        rejects: The event that it rejects; ``None`` = none that is known.
        handled: It is dealt with, and must not reach the user.
        requeued: It rejects a request that is pending again.
        lost: The response that was to be repeated and will not be.
        unmatched: The response that seemed to answer the request that it rejects.
        unclear: It may as well be about a response that runs.
        is_ours: It can be about an event of ours, or about none.
    """

    rejects: Sent | None = None
    handled: bool = False
    requeued: bool = False
    lost: ResponseEntry | None = None
    unmatched: ResponseEntry | None = None
    unclear: bool = False
    is_ours: bool = True


class Requests:
    """The client events of one session that are not answered yet.

    Attributes:
        pending: Requests for responses that are not sent yet.
        withdrawn: The ids of those that were taken back.
        outbox: The events themselves, until they are confirmed.
        server_asks: Whether this server detects turns, and so may begin responses by itself.
        names_conversations: Whether this server says which conversation a response belongs to.
    """

    def __init__(self) -> None:
        # By event_id, in the order sent: the requests for responses in flight, and the other events.
        self._asked: Latest[str, Asked] = Latest(_REMEMBERED)
        self._sent: Latest[str, tuple[int, Sent]] = Latest(_MOST_SENT)
        self._answers: Latest[str, tuple[Asked, ResponseEntry]] = Latest(_REMEMBERED)  # by their request
        self._count = 0
        # The number of the last request that seems to be answered: the server has taken what came before.
        self._taken = 0
        self.names_conversations = False
        self._names_events = False  # whether this server says which event an error is about
        self._cancels: Latest[str, None] = Latest(_REMEMBERED)  # ids of cancellations that may be too late
        self.pending: deque[Pending] = deque()
        self.withdrawn: Latest[str, None] = Latest(_REMEMBERED)
        self.outbox = Outbox()
        self.server_asks = False
        self._repeated = 0  # number of responses that were asked for again without a request of the user's

    # --- What is sent --------------------------------------------------------------------------------

    def note_asked(
        self, request: Request, again: Pending | None = None, event: Event | None = None
    ) -> Letter | None:
        """Note a ``response.create`` before it is sent, with the event itself if there is one."""
        self._count += 1
        event = again.event if again is not None else event
        repeats = again.repeats if again is not None else None
        self._asked[request.event_id] = Asked(request, self._count, again, event, repeats)
        return None if event is None else self.outbox.put(self._count, event, is_request=True)

    def note_sent(self, sent: Sent, event: Event | None = None) -> Letter | None:
        """Note another event before it is sent, with the event itself if there is one."""
        self._count += 1
        self._sent.pop(sent.event_id, None)  # an id that is used again: the order is that of sending
        self._sent[sent.event_id] = self._count, sent
        return None if event is None else self.outbox.put(self._count, event)

    def note_cancel(self, event_id: str, response_id: str | None) -> None:
        """Note a cancellation whose rejection is no error.

        It holds as well for requests in flight; and for those that seem to be answered by a response that
        runs, since that may be the server's own.
        """
        self._cancels[event_id] = None
        for asked, response in self._answers.values():
            if not response.done and (response_id or response.id) == response.id:
                asked.unwanted = event_id
        for asked in self._in_conversation():
            if response_id is None or (asked.repeats is not None and asked.repeats.id == response_id):
                asked.unwanted = event_id

    @property
    def count(self) -> int:
        """The number of the event that was noted last."""
        return self._count

    @property
    def waits(self) -> bool:
        """Whether a response in the conversation was requested and has not begun."""
        return any(not asked.doubted for asked in self._in_conversation())

    @property
    def in_flight(self) -> bool:
        """Whether any response was requested and has not begun."""
        return bool(self._asked)

    def _in_conversation(self) -> Iterator[Asked]:
        return (asked for asked in tuple(self._asked.values()) if not asked.request.out_of_band)

    def has_sent(self, kind: str) -> bool:
        """Return whether an event of this type, no request for a response, is not answered yet."""
        return any(sent.type == kind for _, sent in self._oldest_sent())

    def _oldest_sent(self) -> Iterable[tuple[int, Sent]]:
        return islice(self._sent.values(), _LOOKED_AT)

    def withdraw(self, event_id: str) -> bool:
        """Take back a pending request; return False if it isn't pending."""
        for pending in self.pending:
            if pending.event.event_id == event_id:
                self.pending.remove(pending)
                self.withdrawn[event_id] = None
                return True
        return False

    # --- What is answered ----------------------------------------------------------------------------

    def take_answered(self, conversation_id: str | None, *, announced: bool) -> Asked | None:
        """Take the oldest request that a response can be the answer to, which begins now.

        Args:
            conversation_id: What the server says of it.
            announced: Whether it says anything.

        The server may also have begun this response by itself: then it rejects the request, and `judge`
        corrects the match.
        """
        name = None
        if conversation_id is None:
            name = self._oldest(out_of_band=True if self.names_conversations and announced else None)
        if name is None:
            name = self._oldest(out_of_band=False)
        if name is None:
            return None
        asked = self._asked.pop(name)
        self._taken = max(self._taken, asked.number)
        if not self.server_asks:  # else this may be the server's own response, and the request on its way
            self.outbox.taken(asked.number)
            self._forget(asked.number - _LATE)
        self.outbox.answered(asked.number)
        return asked

    def is_out_of_band(self, conversation_id: str | None) -> bool:
        """Return whether a response that nobody here requested is out-of-band."""
        return self.names_conversations and conversation_id is None

    def note_answer(self, asked: Asked, response: ResponseEntry) -> None:
        """Note which response answers a request."""
        self._answers[asked.request.event_id] = asked, response

    def note_done(self, kind: str, item_id: str = "", item_type: str = "") -> Sent | None:
        """Return the event that the server has answered now, having taken all that were sent before it.

        Args:
            kind: The event's type.
            item_id: The item that the answer is about; the client may have left its id to the server.
            item_type: The item's type; ``""`` = any.
        """
        for number, sent in self._oldest_sent():
            is_item = not sent.item_id or not item_id or sent.item_id == item_id
            is_type = not sent.item_type or not item_type or sent.item_type == item_type
            if sent.type == kind and is_item and is_type:
                self._forget(number)
                self.outbox.taken(number)
                return sent
        return None

    def _forget(self, number: int) -> None:
        """Forget the other events up to one that is answered."""
        while self._sent:
            event_id = next(iter(self._sent))
            if self._sent[event_id][0] > number:
                return
            del self._sent[event_id]

    def _oldest(self, *, out_of_band: bool | None) -> str | None:
        """Return the event_id of the oldest request in flight; a doubted one only if there is no other.

        Args:
            out_of_band: Only among out-of-band requests, or only among the others; ``None`` = among all.
        """
        names = [
            name for name, asked in self._asked.items() if out_of_band in (None, asked.request.out_of_band)
        ]
        return min(names, key=lambda name: self._asked[name].doubted, default=None)

    def doubt(self) -> None:
        """Note that a response ended of which nothing is known: it may answer any request."""
        for asked in self._in_conversation():
            asked.doubted = True

    # --- Another connection --------------------------------------------------------------------------

    def repeat(self, response: ResponseEntry | None) -> None:
        """Ask again for a response that was lost with its connection, before all that is to be sent again.

        Args:
            response: The response; ``None`` = the one that the server owes the user, which had not begun.
        """
        name = response.request.event_id if response is not None and response.request is not None else ""
        before, _ = self._answers.pop(name, (None, None))
        if before is None or before.event is None:
            self._repeated += 1
            name = f"{_REPEATED}{self._repeated}"
            before = Asked(Request(name), -self._repeated, event=ResponseCreate(event_id=name))
        event = before.event
        assert event is not None
        again = before.again
        if again is None and isinstance(event, ResponseCreate):
            again = Pending(event, encode(event))  # for a server that is answering by itself just then
        again = again and Pending(again.event, again.payload, response)
        asked = Asked(before.request, before.number, again, event, response)
        self._asked[asked.request.event_id] = asked
        self._asked.move_to_end(asked.request.event_id, last=False)
        letter = self.outbox.put(asked.number, event, is_request=True)
        letter.posted, letter.audio = True, 0

    def drop(self, number: int) -> None:
        """Forget an event that will not be sent again, though the server has not answered it."""
        self.outbox.drop(number)
        for event_id, (other, _) in tuple(self._sent.items()):
            if other == number:
                del self._sent[event_id]

    def reconnected(self) -> None:
        """Forget the cancellations: what they were about went with the old connection."""
        self._cancels.clear()
        for number, sent in tuple(self._sent.values()):
            if sent.type == "response.cancel":
                self.drop(number)

    # --- What is rejected ----------------------------------------------------------------------------

    def judge(self, error: ErrorDetails, *, runs: bool) -> Verdict:
        """Find out what an error is about.

        Args:
            error: The error.
            runs: Whether a response runs in the conversation, so that an error may be about that.
        """
        kind = _kind_of(error)
        if not error.event_id:
            return self._judge_nameless(error, kind, runs)
        self._names_events = True
        if error.event_id in self._cancels:
            del self._cancels[error.event_id]
            self._take_sent(error.event_id)
            return Verdict(handled=_says(error, _NOTHING_TO_CANCEL))
        if kind == ():
            return Verdict()  # the event is only the occasion
        asked, response = self._asked.pop(error.event_id, None), None
        if asked is None:
            asked, response = self._unmatch(error.event_id)
        if asked is not None:
            return self._reject(asked, error, response)
        sent = self._take_sent(error.event_id)
        is_ours = sent is not None or kind != CREATE_RESPONSE
        return Verdict(sent or Sent("", error.event_id), is_ours=is_ours)

    def _take_sent(self, event_id: str) -> Sent | None:
        """Take an event that is rejected from those that are not answered; ``None`` if it isn't one."""
        number, sent = self._sent.pop(event_id, (0, None))
        self.outbox.answered(number)
        return sent

    def _unmatch(self, event_id: str) -> tuple[Asked | None, ResponseEntry | None]:
        """Take a request from the response that seemed to answer it, which answers a doubted one or none."""
        asked, response = self._answers.pop(event_id, (None, None))
        if asked is not None and response is not None:
            names = [name for name, other in self._asked.items() if other.doubted]
            other = self._asked.pop(names[0]) if names else None
            response.request = other.request if other else None
            if other is not None:
                self.note_answer(other, response)
        return asked, response

    def _reject(self, asked: Asked, error: ErrorDetails, unmatched: ResponseEntry | None = None) -> Verdict:
        self.outbox.answered(asked.number)
        if asked.again is not None and _says(error, BUSY) and asked.unwanted is None:
            self.pending.appendleft(asked.again)
            return Verdict(handled=True, requeued=True, unmatched=unmatched)
        rejected = Sent(CREATE_RESPONSE, asked.request.event_id)
        return Verdict(rejected, lost=asked.repeats, unmatched=unmatched)

    def _judge_nameless(self, error: ErrorDetails, kind: str | tuple[str, ...] | None, runs: bool) -> Verdict:
        """Judge an error without an ``event_id``: it is about the oldest event that it can be about.

        A server that names events in other errors has no event in mind.
        """
        if self._names_events:
            return Verdict(unclear=kind is None, is_ours=not kind)
        if _says(error, _NOTHING_TO_CANCEL) and self._cancels:
            oldest = next(iter(self._cancels))
            del self._cancels[oldest]
            self._take_sent(oldest)
            return Verdict(handled=True)
        name = self._oldest(out_of_band=False)
        asked = self._asked[name] if name is not None else None
        first = next(
            (
                (number, sent)
                for number, sent in self._oldest_sent()
                if number > self._taken and (kind is None or sent.type.startswith(kind))
            ),
            None,
        )
        is_response = kind is None or CREATE_RESPONSE.startswith(kind)
        if asked is not None and is_response and (first is None or asked.number < first[0]):
            return self._perhaps_reject(asked, error, plain=kind is not None, runs=runs)
        if first is not None:
            self._take_sent(first[1].event_id)
        return Verdict(
            first[1] if first else None, unclear=kind is None, is_ours=first is not None or not kind
        )

    def _perhaps_reject(self, asked: Asked, error: ErrorDetails, *, plain: bool, runs: bool) -> Verdict:
        """Handle a nameless error that may reject a request.

        Pending requests stop waiting for that one.  A response that comes nevertheless is its answer, unless
        it can be another request's.
        """
        if plain:
            del self._asked[asked.request.event_id]
            return self._reject(asked, error)
        asked.doubted = True
        return Verdict(None if runs else Sent(CREATE_RESPONSE, asked.request.event_id), unclear=True)


def _says(error: ErrorDetails, code: str) -> bool:
    """Return whether an error has a code; some servers put it into the type."""
    return code in (error.code, error.type)


def _kind_of(error: ErrorDetails) -> str | tuple[str, ...] | None:
    """Return the beginnings of the types of those events that an error can be about; ``None`` = any."""
    for text in (error.code, error.type, error.param):
        for pattern, kind in _ABOUT if text else ():
            if pattern.match(text or ""):
                return kind
    return None
