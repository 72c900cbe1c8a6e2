"""`Conversation`: what was said, as the server has it, kept by looking at the events.

Three things are told apart, because servers tell them apart:

* Which items are *in the conversation* is said by ``conversation.item.added``, ``.created`` (Beta) and
  ``.done``, and ended by ``.deleted``.  Servers that send none of these for their own items are believed on
  ``response.output_item.*`` if the response is known to run in the conversation.
* Which items a *response* made is said by ``response.output_item.*``, and at its end by ``response.done``.
* What an item *holds* comes in pieces by its id, wherever it belongs.  What ends a piece of text carries the
  whole of it, which takes the place of the pieces.

What a server gets wrong is kept as far as it can be understood, and counted in `Conversation.deviations`.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar

from msgspec import Struct, structs

from .. import events as ev
from ..events import ServerEvent, SessionConfig, UnknownEvent, UnknownObject
from ..session import Session
from ..session.latest import Latest
from ..session.responses import BUSY
from ..sound.formats import bytes_per_second, format_name, input_format, output_format
from ..visitor import Visitor, Visitors, check_visitor
from .items import ConversationItem, ConversationPart, ConversationResponse, without_sound
from .order import Order
from .transcript import items_to_create, line_of

__all__ = ["Conversation"]

_S = TypeVar("_S", bound=Struct)
_Q = TypeVar("_Q", "ConversationItem", "ConversationResponse")

_MOST_INDEX = 1000  # of parts in an item, and of items in a response: what is beyond is no index
_REMEMBERED = 256  # of errors
_ENDED = ("completed", "incomplete")
_ASKING = ("function_call", "mcp_approval_request")  # items after which the model goes on when it's answered

_Entering = ev.ConversationItemAdded | ev.ConversationItemCreated | ev.ConversationItemDone
_OfItem = (
    ev.ResponseContentPartAdded
    | ev.ResponseContentPartDone
    | ev.ResponseOutputTextDelta
    | ev.ResponseOutputTextDone
    | ev.ResponseOutputAudioDelta
    | ev.ResponseOutputAudioDone
    | ev.ResponseOutputAudioTranscriptDelta
    | ev.ResponseOutputAudioTranscriptDone
)
_OfCall = (
    ev.ResponseFunctionCallArgumentsDelta
    | ev.ResponseFunctionCallArgumentsDone
    | ev.ResponseMcpCallArgumentsDelta
    | ev.ResponseMcpCallArgumentsDone
)
_OfInput = (
    ev.ConversationItemInputAudioTranscriptionDelta
    | ev.ConversationItemInputAudioTranscriptionSegment
    | ev.ConversationItemInputAudioTranscriptionCompleted
    | ev.ConversationItemInputAudioTranscriptionFailed
)
_McpState = (
    ev.ResponseMcpCallInProgress
    | ev.ResponseMcpCallCompleted
    | ev.ResponseMcpCallFailed
    | ev.McpListToolsInProgress
    | ev.McpListToolsCompleted
    | ev.McpListToolsFailed
)


class Conversation(Visitor[None]):
    """Holds the conversation as the server has it.

    Hand it the events, by itself or among `Visitors`::

        conversation = Conversation(session)
        session.conversation.item.create("Why is the sky blue?")
        session.response.create()
        print(conversation.wait_for_response(timeout=30).text)
        print(conversation.transcript())

    It changes in the thread that runs the session, and may be read from any.

    Args:
        session: Needed by ``wait_for_*``, to know which response answers which request, and to tell
            responses beside the conversation from servers that name no conversation.  Without one, an item
            of a response with no ``conversation_id`` is in the conversation once a ``conversation.item.*``
            event says so.
        audio: What to do with sound: ``"keep"`` it, ``"drop"`` it, so that a long call stays small, or a
            function that takes each chunk as it comes: ``f(item, chunk)``.  The user's own sound comes only
            when you ask for it: ``session.conversation.item.retrieve(item.id)``.

    Attributes:
        deviations: How often the server did what it should not, by kind, such as
            ``"response.output_audio.delta: unknown item"``.

    Raises:
        ValueError: ``audio`` is none of these.
        TypeError: ``session`` is none.
    """

    handles_errors = False

    def __init__(
        self,
        session: Session | None = None,
        *,
        audio: Literal["keep", "drop"] | Callable[[ConversationItem, bytes], object] = "keep",
    ) -> None:
        if session is not None and not isinstance(session, Session):
            raise TypeError(f"expected a session, got {session!r:.80}")
        if audio not in ("keep", "drop") and not callable(audio):
            raise ValueError(f"audio is 'keep', 'drop' or a function, not {audio!r:.80}")
        self.deviations: Counter[str] = Counter()
        self._session = session
        self._keep = audio == "keep"
        self._sink = audio if callable(audio) else None
        self._config: SessionConfig | None = session.config if session is not None else None
        self._items: dict[str, ConversationItem] = {}  # all, also deleted ones and those beside
        self._order = Order()  # those in the conversation
        self._responses: dict[str, ConversationResponse] = {}
        self._began: list[ConversationResponse] = []  # all, in order
        self._running: dict[str, ConversationResponse] = {}
        self._calls: dict[str, ConversationItem] = {}  # function calls by call_id
        self._outputs: dict[str, ConversationItem] = {}  # what answers them
        self._previous: ServerEvent = UnknownEvent(type="", frame=b"")
        self._has_own_ids = True  # events of this server have ids that tell them apart
        # What the waits take from, in order.
        self._finished: deque[ConversationItem] = deque()
        self._transcribed: deque[ConversationItem] = deque()
        self._over: deque[ConversationResponse] = deque()
        self._answers: dict[str, ConversationResponse] = {}  # what has ended, by the event_id that asked
        # By the event_id that was refused.
        self._refusals: Latest[ConversationResponse] = Latest(_REMEMBERED)
        self._nameless: ConversationResponse | None = None  # the latest error that names no event

    # --- What is known -----------------------------------------------------------------------------

    @property
    def items(self) -> list[ConversationItem]:
        """What is in the conversation, in order."""
        return list(self._order.items)

    def item(self, item_id: str) -> ConversationItem | None:
        """An item by its id; also one beside the conversation, or deleted (see ``in_conversation``).

        Where a server has used an id again, it is the latest; so is `response`.
        """
        return self._items.get(item_id)

    @property
    def responses(self) -> list[ConversationResponse]:
        """All responses, in the order in which they began."""
        return list(self._began)

    def response(self, response_id: str) -> ConversationResponse | None:
        """A response by its id."""
        return self._responses.get(response_id)

    @property
    def usage(self) -> ev.Usage:
        """What all responses cost together."""
        total = ev.Usage()
        for response in self.responses:
            total = _sum(total, response.usage) if response.usage is not None else total
        return total

    def transcript(self) -> str:
        """The conversation for people, a line a turn.

        ::

            User: What is the weather in Oslo?
            Tool: get_weather({"city": "Oslo"}) -> {"degrees": 7}
            Assistant: It is seven degrees and [cut off after 1.2 s]

        What was heard of a turn that was cut off is an estimate (`ConversationPart.transcript`).
        """
        lines = (line_of(item, self._calls.get(item.call_id or "")) for item in self.items)
        return "\n".join(line for line in lines if line)

    def to_items(self, *, dialect: str | None = None) -> list[ev.Item]:
        """The items to create, in order, so that another session has the same conversation.

        Speech becomes text: what was transcribed, of answers that were cut off what was heard (an estimate,
        see `ConversationPart.transcript`).  Left out are speech without a transcript, calls that the model
        didn't finish, outputs without their call, and what only a server can make, such as calls of MCP
        servers' tools.

        Args:
            dialect: Of the other session, ``"ga"`` or ``"beta"``; ``None`` = that of this one.

        Raises:
            ValueError: It is neither.
        """
        if dialect not in (None, "ga", "beta"):
            raise ValueError(f"a dialect is 'ga' or 'beta', not {dialect!r:.80}")
        if dialect is None:
            dialect = "ga" if self._session is None else self._session.dialect
        return items_to_create(self.items, dialect)

    # --- Waiting -----------------------------------------------------------------------------------

    def wait_for_item(
        self,
        item_id: str | None = None,
        *,
        timeout: float | None = None,
        visitor: Visitor[None] | None = None,
    ) -> ConversationItem:
        """Run the session until an item is finished.

        What the user said is finished when it is in the conversation; its transcript may come later.  An item
        that the server refused never comes, so give a timeout with ids of your own.

        Args:
            item_id: Which; ``None`` = the next that no earlier call returned, in the order in which they
                finished.  It may have done so before.
            timeout: Seconds to wait at most; ``None`` = as long as it takes.
            visitor: Who gets the events besides this conversation, or a `Visitors` with both of them.
                Where the session runs already, in this thread or another, its visitor gets them
                (`Session.wait_until`), and has to tell this conversation of them.

        Returns:
            The item; a deleted one, too, when it was asked for by its id.

        Raises:
            TimeoutError: It isn't finished in time.
            ConnectionClosed: The session is over, and it isn't.
            RuntimeError: The conversation has no session.
        """

        def find() -> ConversationItem | None:
            if item_id is None:
                return _next(self._finished)
            item = self._items.get(item_id)
            return item if item is not None and (item.done or item._deleted) else None

        what = "no item was finished" if item_id is None else f"the item {item_id!r} was not finished"
        item = self._wait(what, find, visitor, timeout)
        item._returned = True
        return item

    def wait_for_transcript(
        self,
        item_id: str | None = None,
        *,
        timeout: float | None = None,
        visitor: Visitor[None] | None = None,
    ) -> ConversationItem:
        """Run the session until something that the user said is written down, or can't be.

        The session must have input transcription on.  If it failed, the part's ``error`` says why.

        Args:
            item_id: Which; ``None`` = the next that was transcribed and that no earlier call returned.
            timeout, visitor: As in `wait_for_item`.

        Raises:
            TimeoutError: There was none in time.
            ConnectionClosed: The session is over, and there was none.
            RuntimeError: The conversation has no session.
        """

        def find() -> ConversationItem | None:
            for item in tuple(self._transcribed):
                if item_id in (None, item.id):
                    with suppress(ValueError):  # another thread was faster
                        self._transcribed.remove(item)
                        return item
            return None

        what = "nothing" if item_id is None else f"the item {item_id!r} was not"
        return self._wait(f"{what} transcribed", find, visitor, timeout)

    def wait_for_answer(
        self, *, timeout: float | None = None, visitor: Visitor[None] | None = None
    ) -> ConversationResponse:
        """Run the session until the model has no more to say: with tools, that takes several responses.

        Args:
            timeout: Seconds to wait at most, for all of them; ``None`` = as long as it takes.
            visitor: As in `wait_for_item`; with tools, a `ToolRunner` has to be among them.

        Returns:
            The next response in the conversation that asks for no function and no approval and does not end
            in a call of an MCP server's tool, or that did not end well.

        Raises:
            TimeoutError, ConnectionClosed, RuntimeError: As `wait_for_response`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                response = self.wait_for_response(timeout=left, visitor=visitor)
            except TimeoutError:
                raise TimeoutError(f"no answer within {timeout:g} s") from None
            if not response.out_of_band and (response.status != "completed" or not _goes_on(response)):
                return response

    def wait_for_response(
        self,
        event_id: str | None = None,
        *,
        timeout: float | None = None,
        visitor: Visitor[None] | None = None,
    ) -> ConversationResponse:
        """Run the session until a response has ended, however it did: read its ``status``.

        A request that was refused counts as a response that failed: its ``id`` is ``None``, and ``error``
        says why.  The error's ``event_id`` tells which request that is.  Some servers' errors have none: one
        that comes during the call, while no response runs, is taken to be the answer.  Without ``event_id``
        only an error that is plainly about a response counts: that another one is running, or one about
        a ``response.*`` parameter.

        Args:
            event_id: What ``session.response.create`` returned; ``None`` = the next that no earlier call
                returned, in the order in which they ended.  It may have done so before.
            timeout, visitor: As in `wait_for_item`.

        Raises:
            TimeoutError: It hasn't ended in time.
            ConnectionClosed: The session is over, and it hasn't.
            RuntimeError: The conversation has no session.
        """
        nameless = self._nameless

        def find() -> ConversationResponse | None:
            found = _next(self._over) if event_id is None else self._answer_to(event_id)
            if found is None and self._nameless is not nameless and not self._runs(event_id):
                found = self._nameless
            return found

        what = "no response" if event_id is None else f"the response asked for by {event_id!r} has not"
        response = self._wait(f"{what} ended", find, visitor, timeout)
        response._returned = True
        return response

    def _answer_to(self, event_id: str) -> ConversationResponse | None:
        return self._answers.get(event_id) or self._refusals.get(event_id)

    def _runs(self, event_id: str | None) -> bool:
        """Whether the response that was asked for is under way, so that an error is about something else."""
        running = tuple(self._running.values())  # a copy: another thread may be at it
        return event_id is not None and any(each.event_id == event_id for each in running)

    def _wait(
        self, what: str, find: Callable[[], _Q | None], visitor: Visitor[None] | None, timeout: float | None
    ) -> _Q:
        if self._session is None:
            raise RuntimeError("this conversation has no session to wait in; make it Conversation(session)")
        found: _Q | None = None

        def is_there() -> bool:
            nonlocal found
            found = found or find()  # what was found is taken out of its queue: not to be asked for again
            return found is not None

        try:
            self._session.wait_until(is_there, self._with(visitor), timeout)
        except TimeoutError:
            raise TimeoutError(f"{what} within {timeout:g} s") from None
        assert found is not None
        return found

    def _with(self, visitor: Visitor[Any] | None) -> Visitor[Any]:
        """This conversation and a visitor."""
        if visitor is None:
            return self
        check_visitor(visitor)
        return visitor if _is_among(self, visitor) else Visitors(self, visitor)

    # --- Events ------------------------------------------------------------------------------------

    def visit(self, event: ServerEvent) -> None:
        """Take an event in.  One that comes twice in a row, by its ``event_id``, is skipped."""
        previous = self._previous
        if event is previous:
            return  # given twice by a visitor that hands its events on to this one
        if event.event_id == previous.event_id and event.event_id and self._is_repeated(event):
            return
        self._previous = event
        getattr(self, event.handler)(event)

    def _is_repeated(self, event: ServerEvent) -> bool:
        if self._has_own_ids and event == self._previous:
            self._deviation(event, "repeated")
            return True
        self._has_own_ids = False  # this server gives the same id to different events
        return False

    def _deviation(self, event: ServerEvent, problem: str) -> None:
        self.deviations[f"{event.type}: {problem}"] += 1

    def _configure(
        self,
        event: ev.SessionCreated
        | ev.SessionUpdated
        | ev.TranscriptionSessionCreated
        | ev.TranscriptionSessionUpdated,
    ) -> None:
        """Learn which formats the sound has."""
        self._config = event.session

    visit_session_created = _configure
    visit_session_updated = _configure
    visit_transcription_session_created = _configure
    visit_transcription_session_updated = _configure

    def visit_error(self, event: ev.ErrorEvent) -> None:
        """``error``: a response that was asked for may never come."""
        error = event.error
        refusal = ConversationResponse(None)
        refusal.status, refusal.done = "failed", True
        refusal.reason, refusal.error, refusal.event_id = error.message, error, error.event_id
        plainly = error.code == BUSY or (error.param or "").split(".")[0] == "response"
        if error.event_id:
            self._refusals[error.event_id] = refusal
        elif plainly or not self._running:
            self._nameless = refusal
        if plainly:
            self._over.append(refusal)

    # --- Items of the conversation -----------------------------------------------------------------

    def _enter(self, event: ev.ConversationItemAdded | ev.ConversationItemCreated) -> None:
        """An item is in the conversation."""
        item = self._known(event.item, event)
        if item is None:
            return
        if item._deleted:  # the id is used again, for something else
            item = self._items[item.id] = ConversationItem(item.id)
        self._absorb(item, event.item)
        self._join(item, event)
        if item.status in _ENDED or _is_given(item):
            self._finish(item)

    visit_conversation_item_added = _enter
    visit_conversation_item_created = _enter

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        """``conversation.item.done``"""
        item = self._known(event.item, event)
        if item is None:
            return
        self._absorb(item, event.item)
        if item._deleted:  # meanwhile: it doesn't come back
            self._deviation(event, "deleted item")
        else:
            if not item.in_conversation:
                self._deviation(event, "not added")
            self._join(item, event)
        self._finish(item)

    def visit_conversation_item_retrieved(self, event: ev.ConversationItemRetrieved) -> None:
        """``conversation.item.retrieved``: brings the sound, the user's too."""
        item = self._known(event.item, event)
        if item is None:
            return
        if not item.in_conversation:
            self._deviation(event, "unknown item")
            self._append(item)
        self._absorb(item, event.item)

    def visit_conversation_item_deleted(self, event: ev.ConversationItemDeleted) -> None:
        """``conversation.item.deleted``"""
        item = self._items.get(event.item_id)
        if item is None or not item.in_conversation:
            self._deviation(event, "unknown item")
            return
        self._order.remove(item)
        item._deleted = True
        call = self._calls.get(item.call_id or "")
        if item.type == "function_call_output" and call is not None:
            call.output = None

    def visit_conversation_item_truncated(self, event: ev.ConversationItemTruncated) -> None:
        """``conversation.item.truncated``"""
        item = self._items.get(event.item_id)
        part = item._parts.get(event.content_index) if item is not None else None
        if part is None:
            self._deviation(event, "unknown item" if item is None else "unknown part")
            return
        if event.audio_end_ms < 0 or 0 < part.received_ms < event.audio_end_ms:
            self._deviation(event, "audio_end_ms out of range")
        part._cut(max(0, event.audio_end_ms))

    def visit_input_audio_buffer_committed(self, event: ev.InputAudioBufferCommitted) -> None:
        """``input_audio_buffer.committed``: what the user said, of which some servers say no more."""
        if not event.item_id:
            self._deviation(event, "item without id")
            return
        item = self._spoken(event.item_id)
        item._appended = True
        self._append(item)

    # --- Where they are ----------------------------------------------------------------------------

    def _known(self, wire: ev.Item, event: ServerEvent, response_id: str = "") -> ConversationItem | None:
        """The item with this one's id, perhaps new; `None` if it has no id.  See `_meant`."""
        data = wire.data if isinstance(wire, UnknownObject) else None
        item_id = data.get("id") if isinstance(data, dict) else getattr(wire, "id", None)
        if not isinstance(item_id, str) or not item_id:
            self._deviation(event, "item without id")
            return None
        return self._meant(item_id, response_id, event) or self._new_item(item_id)

    def _meant(self, item_id: str, response_id: str, event: ServerEvent) -> ConversationItem | None:
        """The item that an id means in a response, if there is one yet.

        What a response that is over has made is none of the next one's, but some servers number the items
        of each response anew.
        """
        item = self._items.get(item_id)
        if item is None or not response_id or item.response_id in (None, response_id):
            return item
        response = self._responses.get(response_id)
        if not self._responses[item.response_id].done or (response is not None and response.done):
            return item
        self._deviation(event, "item id used again")
        return None

    def _new_item(self, item_id: str) -> ConversationItem:
        item = self._items[item_id] = ConversationItem(item_id)
        return item

    def _spoken(self, item_id: str) -> ConversationItem:
        """A message of the user's, of which its own event may not have come yet."""
        item = self._items.get(item_id)
        if item is None:
            item = self._new_item(item_id)
            item.type, item.role = "message", "user"
        return item

    def _append(self, item: ConversationItem) -> None:
        """An item is in the conversation, of which its own event has not come yet."""
        if not item.in_conversation and not item._deleted:
            self._order.guess(item)

    def _join(self, item: ConversationItem, event: _Entering) -> None:
        """Put an item where its own event says."""
        response = self._responses.get(item.response_id) if item.response_id is not None else None
        if response is not None and self._session is None:
            response.out_of_band = False
        if self._order.is_settled(item):
            return
        by_server = item._appended or (bool(self._running) and not _is_given(item))
        previous = event.previous_item_id
        if not previous or previous == "root":
            self._order.put(item, by_server=by_server)
            return
        before = self._items.get(previous)
        if before is None or not before.in_conversation or before is item:
            self._deviation(event, "unknown previous_item_id")
            self._order.guess(item)
        else:
            self._order.put_after(before, item, by_server=by_server)

    # --- What they hold ----------------------------------------------------------------------------

    def _absorb(self, item: ConversationItem, wire: ev.Item) -> None:
        """Take over what the server shows of an item."""
        item.type = wire.type
        status = getattr(wire, "status", None)
        if status and not (item.done and status == "in_progress"):  # that one is late
            item.status = status
        item.wire = wire
        if isinstance(wire, ev.Message):
            item.role = wire.role or item.role
            for index, content in enumerate(wire.content):
                part = item._parts.get(index) or self._new_part(item, index)
                self._take(item, part, content, whole=status != "in_progress")
            item.wire = structs.replace(wire, content=[without_sound(content) for content in wire.content])
        elif isinstance(wire, ev.FunctionCall | ev.McpCall | ev.McpApprovalRequest):
            item.name = wire.name or item.name
            item._write_arguments(wire.arguments, whole=True)
            if isinstance(wire, ev.McpCall):
                item.output = _result(wire)
            elif isinstance(wire, ev.FunctionCall) and wire.call_id:
                self._link(item, wire.call_id)
        elif isinstance(wire, ev.FunctionCallOutput):
            item.output = wire.output
            self._link(item, wire.call_id)

    def _link(self, item: ConversationItem, call_id: str) -> None:
        """Bring a call and its output together, whichever comes first."""
        item.call_id = call_id
        (self._outputs if item.type == "function_call_output" else self._calls)[call_id] = item
        call, output = self._calls.get(call_id), self._outputs.get(call_id)
        if call is not None and output is not None and not output._deleted:
            call.output = output.output

    def _take(
        self, item: ConversationItem, part: ConversationPart, content: ev.ContentPart, *, whole: bool
    ) -> None:
        """Take over what the server shows of a part."""
        heard = part._take(content, whole=whole)
        if heard and self._sink is not None:
            self._sink(item, heard)

    def _new_part(self, item: ConversationItem, index: int, kind: str = "") -> ConversationPart:
        response = self._responses.get(item.response_id) if item.response_id is not None else None
        if item.role in ("user", "system"):
            audio_format = input_format(self._config)
        else:
            audio_format = response._format if response is not None else output_format(self._config)
        part = item._parts[index] = ConversationPart(kind, bytes_per_second(audio_format), self._keep)
        return part

    def _finish(self, item: ConversationItem) -> None:
        """Nothing more comes of an item."""
        if item.status in (None, "in_progress"):
            item.status = "completed"
        if not item.done:
            item.done = True
            self._finished.append(item)

    # --- What the user said ------------------------------------------------------------------------

    def visit_conversation_item_input_audio_transcription_delta(
        self, event: ev.ConversationItemInputAudioTranscriptionDelta
    ) -> None:
        """``conversation.item.input_audio_transcription.delta``"""
        if part := self._heard_part(event):
            part._say(event.delta)

    def visit_conversation_item_input_audio_transcription_segment(
        self, event: ev.ConversationItemInputAudioTranscriptionSegment
    ) -> None:
        """``conversation.item.input_audio_transcription.segment``"""
        if part := self._heard_part(event):
            part.segments.append(event)

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: ev.ConversationItemInputAudioTranscriptionCompleted
    ) -> None:
        """``conversation.item.input_audio_transcription.completed``"""
        if part := self._heard_part(event):
            part._say(event.transcript, whole=True)
            self._end_transcript(event.item_id, part)

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ev.ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        """``conversation.item.input_audio_transcription.failed``"""
        if part := self._heard_part(event):
            part.error = event.error
            self._end_transcript(event.item_id, part)

    def _end_transcript(self, item_id: str, part: ConversationPart) -> None:
        """Nothing more comes of what the user said."""
        if not part.transcribed:
            part.transcribed = True
            self._transcribed.append(self._items[item_id])

    def _heard_part(self, event: _OfInput) -> ConversationPart | None:
        """The part that a transcript is of.  It may come before its item does."""
        if not event.item_id:
            self._deviation(event, "item without id")
            return None
        item = self._spoken(event.item_id)
        part = item._parts.get(event.content_index)
        if part is None and self._is_index(event.content_index, event):
            part = self._new_part(item, event.content_index, "audio")
        return part

    def _is_index(self, index: int, event: ServerEvent) -> bool:
        if 0 <= index < _MOST_INDEX:
            return True
        self._deviation(event, "index out of range")
        return False

    # --- Responses ---------------------------------------------------------------------------------

    def visit_response_created(self, event: ev.ResponseCreated) -> None:
        """``response.created``"""
        response = self._responses.get(event.response.id or "")
        if response is None or response.done:  # some servers give all the same id, or none
            response = self._begin(event.response.id or "")
        else:
            self._deviation(event, "repeated")
        self._note(response, event.response)

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        """``response.done``"""
        self._end(event.response, event)

    def visit_response_cancelled(self, event: ev.ResponseCancelled) -> None:
        """``response.cancelled``"""
        wire = event.response or ev.Response(id=event.response_id)
        self._end(wire if wire.status else structs.replace(wire, status="cancelled"), event)

    def _begin(self, response_id: str) -> ConversationResponse:
        response = ConversationResponse(response_id)
        self._responses[response_id] = self._running[response_id] = response
        self._began.append(response)
        response._format = output_format(self._config)
        request = self._session.request_of(response_id) if self._session is not None else None
        if request is not None:
            response.event_id, response.out_of_band = request.event_id, request.out_of_band
        else:  # a server begins by itself only in the conversation; without a session its items will tell
            response.out_of_band = self._session is None
        return response

    def _note(self, response: ConversationResponse, wire: ev.Response) -> None:
        """Take over what the server shows of a response."""
        response.metadata = wire.metadata if wire.metadata is not None else response.metadata
        if wire.conversation_id and response.event_id is None:
            response.out_of_band = False
        output = wire.audio.output if wire.audio else None
        if named := (output.format if output else None) or wire.output_audio_format:
            response._format = format_name(named)

    def _end(self, wire: ev.Response, event: ev.ResponseDone | ev.ResponseCancelled) -> None:
        response = self._ended(wire, event)
        if response is None:
            return
        self._note(response, wire)
        if self._session is not None:  # it may have turned out to be another's answer, or nobody's
            request = self._session.request_of(response.id or "")
            response.event_id = request.event_id if request is not None else None
        if not (response.done and isinstance(event, ev.ResponseCancelled)):
            _conclude(response, wire)
        self._list(response, wire.output or [], event)
        for item in response.items:
            if item.status in (None, "in_progress") and response.status != "completed":
                item.status = "incomplete"
            self._finish(item)
        if not response.done:
            response.done = True
            self._running.pop(response.id or "", None)
            self._over.append(response)
        if response.event_id is not None:
            self._answers[response.event_id] = response

    def _ended(
        self, wire: ev.Response, event: ev.ResponseDone | ev.ResponseCancelled
    ) -> ConversationResponse | None:
        """The response that is over, perhaps new; where none is named, the one that began last."""
        if wire.id:
            return self._responses.get(wire.id) or self._begin(wire.id)
        self._deviation(event, "response without id")
        if not wire.status:  # nor anything else
            return None
        return next(reversed(self._running.values()), None) or self._begin("")

    def _list(self, response: ConversationResponse, output: list[ev.Item], event: ServerEvent) -> None:
        """Take over the items that a response finally lists, in their order."""
        listed = {}
        for wire in output:
            item = self._known(wire, event, response.id or "")
            if item is not None and self._attach(item, response, event):
                self._absorb(item, wire)
                listed[item.id] = item
        response.items = [*listed.values(), *(each for each in response.items if each.id not in listed)]

    def _attach(self, item: ConversationItem, response: ConversationResponse, event: ServerEvent) -> bool:
        """Make an item part of a response, and so of the conversation if that is where it runs."""
        if item.response_id is None:
            item.response_id, item._appended = response.id, True
            response.items.append(item)
        elif item.response_id != response.id:
            self._deviation(event, "item of another response")
            return False
        if not response.out_of_band:
            self._append(item)
        return True

    # --- Items of responses ------------------------------------------------------------------------

    def visit_response_output_item_added(self, event: ev.ResponseOutputItemAdded) -> None:
        """``response.output_item.added``"""
        self._of_response(event)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        """``response.output_item.done``"""
        if item := self._of_response(event):
            self._finish(item)

    def _of_response(
        self, event: ev.ResponseOutputItemAdded | ev.ResponseOutputItemDone
    ) -> ConversationItem | None:
        self._is_index(event.output_index, event)
        item = self._known(event.item, event, event.response_id)
        if item is None:
            return None
        if item.response_id is None and isinstance(event, ev.ResponseOutputItemDone):
            self._deviation(event, "not added")
        response = self._named_response(event.response_id, event)
        if response is not None:
            self._attach(item, response, event)
        self._absorb(item, event.item)
        return item

    def _named_response(self, response_id: str, event: ServerEvent) -> ConversationResponse | None:
        """The response that an event belongs to, perhaps new; `None` if it names none."""
        response = self._responses.get(response_id)
        if response is None:
            self._deviation(event, "unknown response")
            response = self._begin(response_id) if response_id else None
        return response

    def visit_response_content_part_added(self, event: ev.ResponseContentPartAdded) -> None:
        """``response.content_part.added``"""
        if found := self._find(event):
            self._take(*found, event.part, whole=False)

    def visit_response_content_part_done(self, event: ev.ResponseContentPartDone) -> None:
        """``response.content_part.done``"""
        if found := self._find(event):
            self._take(*found, event.part, whole=True)

    def visit_response_output_text_delta(self, event: ev.ResponseOutputTextDelta) -> None:
        """``response.output_text.delta``"""
        if found := self._find(event, "text"):
            found[1]._write(event.delta)

    def visit_response_output_text_done(self, event: ev.ResponseOutputTextDone) -> None:
        """``response.output_text.done``"""
        if found := self._find(event, "text"):
            found[1]._write(event.text, whole=True)

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
        """``response.output_audio.delta``"""
        if found := self._find(event, "audio"):
            heard = found[1]._hear(event.delta)
            if heard and self._sink is not None:
                self._sink(found[0], heard)

    def visit_response_output_audio_done(self, event: ev.ResponseOutputAudioDone) -> None:
        """``response.output_audio.done``: only makes what was not announced."""
        self._find(event, "audio")

    def visit_response_output_audio_transcript_delta(
        self, event: ev.ResponseOutputAudioTranscriptDelta
    ) -> None:
        """``response.output_audio_transcript.delta``"""
        if found := self._find(event, "audio"):
            found[1]._say(event.delta)

    def visit_response_output_audio_transcript_done(
        self, event: ev.ResponseOutputAudioTranscriptDone
    ) -> None:
        """``response.output_audio_transcript.done``"""
        if found := self._find(event, "audio"):
            found[1]._say(event.transcript, whole=True)

    def _find(self, event: _OfItem, kind: str = "") -> tuple[ConversationItem, ConversationPart] | None:
        """The part that an event is about, and its item.  Each delta goes through here, so it is short."""
        item = self._items.get(event.item_id)
        if (
            item is not None
            and item.response_id == event.response_id
            and 0 <= event.output_index < _MOST_INDEX
        ):
            part = item._parts.get(event.content_index)
            if part is not None:
                return item, part
        return self._make(event, kind)

    def _make(self, event: _OfItem, kind: str) -> tuple[ConversationItem, ConversationPart] | None:
        """The same for what was not announced; `None` if there is no telling where it belongs."""
        self._is_index(event.output_index, event)
        item = self._announced(event, "message")
        if item is None:
            return None
        part = item._parts.get(event.content_index)
        if part is None:
            if not self._is_index(event.content_index, event):
                return None
            if not isinstance(event, ev.ResponseContentPartAdded):
                self._deviation(event, "unknown part")
            part = self._new_part(item, event.content_index, kind)
        return item, part

    def _announced(self, event: _OfItem | _OfCall, kind: str) -> ConversationItem | None:
        """The item that an event is about.  One that was not announced is made here.

        Without any id it is the response's last.
        """
        item = self._meant(event.item_id, event.response_id, event)
        if item is not None and item.response_id is not None:
            return item
        response = self._named_response(event.response_id, event)
        if item is None:
            self._deviation(event, "unknown item")
            if not event.item_id:
                return response.items[-1] if response is not None and response.items else None
            item = self._new_item(event.item_id)
            item.type, item.status = kind, "in_progress"
            item.role = "assistant" if kind == "message" else None
        if response is not None:
            self._attach(item, response, event)
        return item

    def visit_response_function_call_arguments_delta(
        self, event: ev.ResponseFunctionCallArgumentsDelta
    ) -> None:
        """``response.function_call_arguments.delta``"""
        if item := self._called(event, "function_call"):
            item._write_arguments(event.delta)

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        """``response.function_call_arguments.done``"""
        if item := self._called(event, "function_call"):
            item.name = event.name or item.name
            item._write_arguments(event.arguments, whole=True)

    def visit_response_mcp_call_arguments_delta(self, event: ev.ResponseMcpCallArgumentsDelta) -> None:
        """``response.mcp_call_arguments.delta``"""
        if item := self._called(event, "mcp_call"):
            item._write_arguments(event.delta)

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        """``response.mcp_call_arguments.done``"""
        if item := self._called(event, "mcp_call"):
            item._write_arguments(event.arguments, whole=True)

    def _called(self, event: _OfCall, kind: str) -> ConversationItem | None:
        self._is_index(event.output_index, event)
        item = self._announced(event, kind)
        call_id = getattr(event, "call_id", "")
        if item is not None and item.call_id is None and call_id:
            self._link(item, call_id)
        return item

    def _progress(self, event: _McpState) -> None:
        """What a tool of an MCP server, or the list of tools, has come to: the last word of the type."""
        item = self._items.get(event.item_id)
        if item is None:
            self._deviation(event, "unknown item")
        else:
            item.status = event.type.rpartition(".")[2]

    visit_response_mcp_call_in_progress = _progress
    visit_response_mcp_call_completed = _progress
    visit_response_mcp_call_failed = _progress
    visit_mcp_list_tools_in_progress = _progress
    visit_mcp_list_tools_completed = _progress
    visit_mcp_list_tools_failed = _progress


# --- Helpers -----------------------------------------------------------------------------------------


def _is_given(item: ConversationItem) -> bool:
    """Whether it is one of those that clients make, which are whole from the beginning."""
    return item.role in ("user", "system") or item.type in ("function_call_output", "mcp_approval_response")


def _is_among(one: Visitor[Any], visitor: Visitor[Any]) -> bool:
    if isinstance(visitor, Visitors):
        return any(_is_among(one, member) for member in visitor.visitors)
    return visitor is one


def _goes_on(response: ConversationResponse) -> bool:
    """Whether the model has more to say; `ToolRunner` asks it to after the same responses."""
    kinds = [item.type for item in response.items]
    return any(kind in _ASKING for kind in kinds) or ("mcp_call" in kinds and kinds[-1] != "message")


def _result(call: ev.McpCall) -> str | None:
    if call.error is None:
        return call.output
    message = getattr(call.error, "message", None) or getattr(call.error, "type", "")
    return f"error: {message}"


def _conclude(response: ConversationResponse, wire: ev.Response) -> None:
    """Take over how a response ended."""
    response.status = wire.status if wire.status and wire.status != "in_progress" else "completed"
    response.usage = wire.usage or response.usage
    if (details := wire.status_details) is not None:
        response.error = details.error
        error = (details.error.message or details.error.code) if details.error else None
        response.reason = details.reason or error


def _next(queue: deque[_Q]) -> _Q | None:
    """The next that was not returned yet.  Several threads may wait for one."""
    while queue:  # asked after each event: as a rule it is empty, and an exception takes as long as an event
        with suppress(IndexError):  # another thread was faster
            first = queue.popleft()
            if not first._returned:
                return first
    return None


def _sum(one: _S, other: _S) -> _S:
    """Both counts together, number by number."""
    made = {}
    for name in one.__struct_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, Struct) and isinstance(b, Struct):
            made[name] = _sum(a, b)
        elif a is None or b is None:
            made[name] = b if a is None else a
        else:
            made[name] = a + b
    return type(one)(**made)
