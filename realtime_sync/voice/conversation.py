"""`Conversation` mirrors the server's conversation by observing the events.

It keeps three things apart, because servers report them apart:

* Which items are *in the conversation*: ``conversation.item.added``, ``.created`` (Beta) and ``.done`` put
  an item into it, ``.deleted`` removes it.  If a server sends none of these for its own items,
  ``response.output_item.*`` counts instead, provided the response is known to run in the conversation.
* Which items a *response* made: ``response.output_item.*`` adds one, and ``response.done`` lists them all.
* What an item *contains*: deltas arrive under the item's id, whether or not it is in the conversation.  The
  event that completes a text carries all of it, which replaces the deltas.

Events that break the protocol are used on a best-effort basis and counted in `Conversation.deviations`.
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

_MOST_INDEX = 1000  # for parts of an item and items of a response; anything beyond is an invalid index
_REMEMBERED = 256  # errors
_ENDED = ("completed", "incomplete")
_ASKING = ("function_call", "mcp_approval_request")  # the model continues once these are answered

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
    """Mirror the server's conversation: its items, in order, and its responses.

    Pass it the session's events, alone or among `Visitors`::

        conversation = Conversation(session)
        session.conversation.item.create("Why is the sky blue?")
        session.response.create()
        print(conversation.wait_for_response(timeout=30).text)
        print(conversation.transcript())

    The thread that runs the session updates it; any thread may read it.

    Args:
        session: The session whose events it receives.  ``wait_for_*`` needs it, and so does the match of
            responses to requests; it also tells out-of-band responses from those of servers that send no
            ``conversation_id``.  ``None`` (the default): an item of a response without a
            ``conversation_id`` is in the conversation once a ``conversation.item.*`` event says so.
        audio: ``"keep"`` (the default) stores all audio; ``"drop"`` stores none, so that a long call needs
            little memory; a function ``f(item, chunk)`` is called with each chunk of bytes on arrival
            instead.  The user's own audio arrives only on request:
            ``session.conversation.item.retrieve(item.id)``.

    Attributes:
        deviations: How often the server deviated from the protocol, by kind, such as
            ``"response.output_audio.delta: unknown item"``.

    Raises:
        ValueError: ``audio`` is neither ``"keep"`` nor ``"drop"`` nor callable.
        TypeError: ``session`` is neither a `Session` nor ``None``.
    """

    handles_errors = False

    def __init__(
        self,
        session: Session | None = None,
        *,
        audio: Literal["keep", "drop"] | Callable[[ConversationItem, bytes], object] = "keep",
    ) -> None:
        if session is not None and not isinstance(session, Session):
            raise TypeError(f"session must be a Session or None, got {session!r:.80}")
        if audio not in ("keep", "drop") and not callable(audio):
            raise ValueError(f"audio must be 'keep', 'drop' or a function, got {audio!r:.80}")
        self.deviations: Counter[str] = Counter()
        self._session = session
        self._keep = audio == "keep"
        self._sink = audio if callable(audio) else None
        self._config: SessionConfig | None = session.config if session is not None else None
        self._items: dict[str, ConversationItem] = {}  # all, including deleted and out-of-band ones
        self._order = Order()  # the items in the conversation
        self._responses: dict[str, ConversationResponse] = {}
        self._began: list[ConversationResponse] = []  # all, in the order in which they began
        self._running: dict[str, ConversationResponse] = {}
        self._calls: dict[str, ConversationItem] = {}  # function calls by call_id
        self._outputs: dict[str, ConversationItem] = {}  # their outputs by call_id
        self._previous: ServerEvent = UnknownEvent(type="", frame=b"")
        self._has_own_ids = True  # whether this server gives each event an event_id of its own
        # What `wait_for_*` has yet to return, in order.
        self._finished: deque[ConversationItem] = deque()
        self._transcribed: deque[ConversationItem] = deque()
        self._over: deque[ConversationResponse] = deque()
        self._answers: dict[str, ConversationResponse] = {}  # ended ones, by their request's event_id
        # Rejected requests, by their event_id.
        self._rejections: Latest[ConversationResponse] = Latest(_REMEMBERED)
        self._nameless: ConversationResponse | None = None  # the latest error without an event_id

    # --- State -------------------------------------------------------------------------------------

    @property
    def items(self) -> list[ConversationItem]:
        """Return the items in the conversation, in order, as a new list."""
        return list(self._order.items)

    def item(self, item_id: str) -> ConversationItem | None:
        """Return an item by its id, or ``None`` if the id is unknown.

        It may be out-of-band or deleted: see `ConversationItem.in_conversation`.  If a server has reused
        the id, return the latest item; `response` does the same.
        """
        return self._items.get(item_id)

    @property
    def responses(self) -> list[ConversationResponse]:
        """Return all responses in the order in which they began, as a new list."""
        return list(self._began)

    def response(self, response_id: str) -> ConversationResponse | None:
        """Return a response by its id, or ``None`` if the id is unknown."""
        return self._responses.get(response_id)

    @property
    def usage(self) -> ev.Usage:
        """Return the token usage of all responses, added up."""
        total = ev.Usage()
        for response in self.responses:
            total = _sum(total, response.usage) if response.usage is not None else total
        return total

    def transcript(self) -> str:
        """Return the conversation as text for people to read, one line per turn.

        ::

            User: What is the weather in Oslo?
            Tool: get_weather({"city": "Oslo"}) -> {"degrees": 7}
            Assistant: It is seven degrees and [cut off after 1.2 s]

        The words of a turn that was cut off are an estimate: see `ConversationPart.transcript`.
        """
        lines = (line_of(item, self._calls.get(item.call_id or "")) for item in self.items)
        return "\n".join(line for line in lines if line)

    def to_items(self, *, dialect: str | None = None) -> list[ev.Item]:
        """Return the items to create, in order, to rebuild this conversation in another session.

        Speech becomes text, by its transcript; an answer that was cut off becomes the words that were
        played, which are an estimate (see `ConversationPart.transcript`).  The list leaves out speech
        without a transcript, calls that the model didn't finish, outputs without their call, and items that
        only a server can create, such as MCP calls.

        Args:
            dialect: The dialect of the other session, ``"ga"`` or ``"beta"``; ``None`` (the default) is the
                dialect of this conversation's session, or ``"ga"`` if it has none.

        Raises:
            ValueError: ``dialect`` is neither.
        """
        if dialect not in (None, "ga", "beta"):
            raise ValueError(f"dialect must be 'ga', 'beta' or None, got {dialect!r:.80}")
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
        """Run the session until an item is complete.

        The user's speech is complete once its item is in the conversation; its transcript may arrive later.
        If the server rejects an item, the item never arrives, so pass a timeout with ids of your own.

        Args:
            item_id: The item to wait for; ``None`` (the default) is the next one that no earlier call
                returned, in the order of completion.  It may be complete already.
            timeout: Seconds to wait at most; ``None`` (the default) waits without a limit.
            visitor: Receives the events along with this conversation; may be a `Visitors` that contains it.
                If the session is being run already, in this thread or another, the visitor of that run
                receives them instead (`Session.wait_until`) and must pass them on to this conversation.

        Returns:
            The item.  It may be a deleted one if ``item_id`` names it.

        Raises:
            TimeoutError: The item was not complete in time.
            ConnectionClosed: The session ended before the item was complete.
            RuntimeError: This conversation was made without a session.
        """

        def find() -> ConversationItem | None:
            if item_id is None:
                return _next(self._finished)
            item = self._items.get(item_id)
            return item if item is not None and (item.done or item._deleted) else None

        what = "no item was complete" if item_id is None else f"item {item_id!r} was not complete"
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
        """Run the session until the transcript of the user's speech is complete, or has failed.

        Input transcription must be enabled in the session.  If it failed, the part's ``error`` says why.

        Args:
            item_id: The item whose transcript to wait for; ``None`` (the default) is the next one that no
                earlier call returned, in the order of completion.
            timeout, visitor: See `wait_for_item`.

        Returns:
            The item with the transcript.

        Raises:
            TimeoutError: The transcript was not complete in time.
            ConnectionClosed: The session ended before the transcript was complete.
            RuntimeError: This conversation was made without a session.
        """

        def find() -> ConversationItem | None:
            for item in tuple(self._transcribed):
                if item_id in (None, item.id):
                    with suppress(ValueError):  # another thread has just taken it
                        self._transcribed.remove(item)
                        return item
            return None

        what = "no item was" if item_id is None else f"item {item_id!r} was not"
        return self._wait(f"{what} transcribed", find, visitor, timeout)

    def wait_for_answer(
        self, *, timeout: float | None = None, visitor: Visitor[None] | None = None
    ) -> ConversationResponse:
        """Run the session until the model has finished its turn: with tools, that takes several responses.

        Args:
            timeout: Seconds to wait at most, for all responses together; ``None`` (the default) waits
                without a limit.
            visitor: See `wait_for_item`; with tools, it must include a `ToolRunner`.

        Returns:
            The next response in the conversation that needs no follow-up: it calls no function, requests
            no approval and doesn't end with an MCP call; or the next one that was not completed.

        Raises:
            TimeoutError, ConnectionClosed, RuntimeError: See `wait_for_response`.
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
        """Run the session until a response has ended, in whatever way: its ``status`` says how.

        A rejected request counts as a failed response: its ``id`` is ``None``, and its ``error`` says why.
        The ``event_id`` of the server's error names the request.  Some servers omit it: then an error that
        arrives during this call, while no response runs, is taken to reject the request.  If you pass no
        ``event_id``, only an error that is clearly about a response counts: another one is active, or the
        error's ``param`` begins with ``response``.

        Args:
            event_id: The request to wait for, as returned by ``session.response.create``; ``None`` (the
                default) is the next response that no earlier call returned, in the order in which they
                end.  It may have ended already.
            timeout, visitor: See `wait_for_item`.

        Returns:
            The response.

        Raises:
            TimeoutError: The response did not end in time.
            ConnectionClosed: The session ended before the response did.
            RuntimeError: This conversation was made without a session.
        """
        nameless = self._nameless

        def find() -> ConversationResponse | None:
            found = _next(self._over) if event_id is None else self._answer_to(event_id)
            if found is None and self._nameless is not nameless and not self._runs(event_id):
                found = self._nameless
            return found

        what = "no response" if event_id is None else f"the response requested by {event_id!r} has not"
        response = self._wait(f"{what} ended", find, visitor, timeout)
        response._returned = True
        return response

    def _answer_to(self, event_id: str) -> ConversationResponse | None:
        return self._answers.get(event_id) or self._rejections.get(event_id)

    def _runs(self, event_id: str | None) -> bool:
        """Return whether the requested response is running, so that an error must be about something else."""
        running = tuple(self._running.values())  # a copy: another thread may be changing it
        return event_id is not None and any(each.event_id == event_id for each in running)

    def _wait(
        self, what: str, find: Callable[[], _Q | None], visitor: Visitor[None] | None, timeout: float | None
    ) -> _Q:
        if self._session is None:
            raise RuntimeError(
                "waiting needs a session; this conversation has none: use Conversation(session)"
            )
        found: _Q | None = None

        def is_there() -> bool:
            nonlocal found
            found = found or find()  # `find` takes it out of its queue, so it must not be called again
            return found is not None

        try:
            self._session.wait_until(is_there, self._with(visitor), timeout)
        except TimeoutError:
            raise TimeoutError(f"{what} within {timeout:g} s") from None
        assert found is not None
        return found

    def _with(self, visitor: Visitor[Any] | None) -> Visitor[Any]:
        """Return a visitor that passes events to this conversation and to the given visitor."""
        if visitor is None:
            return self
        check_visitor(visitor)
        return visitor if _is_among(self, visitor) else Visitors(self, visitor)

    # --- Events ------------------------------------------------------------------------------------

    def visit(self, event: ServerEvent) -> None:
        """Update the conversation from an event; skip one that repeats the previous one's ``event_id``."""
        previous = self._previous
        if event is previous:
            return  # received directly, and again from a visitor that forwards its events to this one
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
        """Remember the session's configuration: it names the audio formats."""
        self._config = event.session

    visit_session_created = _configure
    visit_session_updated = _configure
    visit_transcription_session_created = _configure
    visit_transcription_session_updated = _configure

    def visit_error(self, event: ev.ErrorEvent) -> None:
        """Handle ``error``: it may reject a requested response."""
        error = event.error
        rejection = ConversationResponse(None)
        rejection.status, rejection.done = "failed", True
        rejection.reason, rejection.error, rejection.event_id = error.message, error, error.event_id
        plainly = error.code == BUSY or (error.param or "").split(".")[0] == "response"
        if error.event_id:
            self._rejections[error.event_id] = rejection
        elif plainly or not self._running:
            self._nameless = rejection
        if plainly:
            self._over.append(rejection)

    # --- Items of the conversation -----------------------------------------------------------------

    def _enter(self, event: ev.ConversationItemAdded | ev.ConversationItemCreated) -> None:
        """Put an item into the conversation."""
        item = self._known(event.item, event)
        if item is None:
            return
        if item._deleted:  # the id is reused for another item
            item = self._items[item.id] = ConversationItem(item.id)
        self._absorb(item, event.item)
        self._join(item, event)
        if item.status in _ENDED or _is_given(item):
            self._finish(item)

    visit_conversation_item_added = _enter
    visit_conversation_item_created = _enter

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        """Handle ``conversation.item.done``."""
        item = self._known(event.item, event)
        if item is None:
            return
        self._absorb(item, event.item)
        if item._deleted:  # meanwhile; a late event doesn't bring it back
            self._deviation(event, "deleted item")
        else:
            if not item.in_conversation:
                self._deviation(event, "not added")
            self._join(item, event)
        self._finish(item)

    def visit_conversation_item_retrieved(self, event: ev.ConversationItemRetrieved) -> None:
        """Handle ``conversation.item.retrieved``, which carries the audio, including the user's."""
        item = self._known(event.item, event)
        if item is None:
            return
        if not item.in_conversation:
            self._deviation(event, "unknown item")
            self._append(item)
        self._absorb(item, event.item)

    def visit_conversation_item_deleted(self, event: ev.ConversationItemDeleted) -> None:
        """Handle ``conversation.item.deleted``."""
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
        """Handle ``conversation.item.truncated``."""
        item = self._items.get(event.item_id)
        part = item._parts.get(event.content_index) if item is not None else None
        if part is None:
            self._deviation(event, "unknown item" if item is None else "unknown part")
            return
        if event.audio_end_ms < 0 or 0 < part.received_ms < event.audio_end_ms:
            self._deviation(event, "audio_end_ms out of range")
        part._cut(max(0, event.audio_end_ms))

    def visit_input_audio_buffer_committed(self, event: ev.InputAudioBufferCommitted) -> None:
        """Handle ``input_audio_buffer.committed``, the only event that some servers send for user speech."""
        if not event.item_id:
            self._deviation(event, "item without id")
            return
        item = self._spoken(event.item_id)
        item._appended = True
        self._append(item)

    # --- Finding and placing items -----------------------------------------------------------------

    def _known(self, wire: ev.Item, event: ServerEvent, response_id: str = "") -> ConversationItem | None:
        """Return the item with a wire item's id, making it if needed; ``None`` if that has no id."""
        data = wire.data if isinstance(wire, UnknownObject) else None
        item_id = data.get("id") if isinstance(data, dict) else getattr(wire, "id", None)
        if not isinstance(item_id, str) or not item_id:
            self._deviation(event, "item without id")
            return None
        return self._meant(item_id, response_id, event) or self._new_item(item_id)

    def _meant(self, item_id: str, response_id: str, event: ServerEvent) -> ConversationItem | None:
        """Return the item that an id refers to within a response, or ``None`` if it is new.

        Some servers restart the numbering of items with each response, so an id of a response that has ended
        is a new item in the next one.
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
        """Return the user message with this id, making it if its own event has not arrived yet."""
        item = self._items.get(item_id)
        if item is None:
            item = self._new_item(item_id)
            item.type, item.role = "message", "user"
        return item

    def _append(self, item: ConversationItem) -> None:
        """Put an item at the end of the conversation until its own event says where it belongs."""
        if not item.in_conversation and not item._deleted:
            self._order.guess(item)

    def _join(self, item: ConversationItem, event: _Entering) -> None:
        """Put an item where its own event says it belongs."""
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

    # --- Content -----------------------------------------------------------------------------------

    def _absorb(self, item: ConversationItem, wire: ev.Item) -> None:
        """Update an item from its form on the wire."""
        item.type = wire.type
        status = getattr(wire, "status", None)
        if status and not (item.done and status == "in_progress"):  # a late event
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
        """Connect a call with its output, whichever arrives first."""
        item.call_id = call_id
        (self._outputs if item.type == "function_call_output" else self._calls)[call_id] = item
        call, output = self._calls.get(call_id), self._outputs.get(call_id)
        if call is not None and output is not None and not output._deleted:
            call.output = output.output

    def _take(
        self, item: ConversationItem, part: ConversationPart, content: ev.ContentPart, *, whole: bool
    ) -> None:
        """Update a part from its form on the wire, and pass its new audio to the ``audio=`` function."""
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
        """Mark an item as complete."""
        if item.status in (None, "in_progress"):
            item.status = "completed"
        if not item.done:
            item.done = True
            self._finished.append(item)

    # --- Transcripts of the user's speech ----------------------------------------------------------

    def visit_conversation_item_input_audio_transcription_delta(
        self, event: ev.ConversationItemInputAudioTranscriptionDelta
    ) -> None:
        """Handle ``conversation.item.input_audio_transcription.delta``."""
        if part := self._heard_part(event):
            part._say(event.delta)

    def visit_conversation_item_input_audio_transcription_segment(
        self, event: ev.ConversationItemInputAudioTranscriptionSegment
    ) -> None:
        """Handle ``conversation.item.input_audio_transcription.segment``."""
        if part := self._heard_part(event):
            part.segments.append(event)

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: ev.ConversationItemInputAudioTranscriptionCompleted
    ) -> None:
        """Handle ``conversation.item.input_audio_transcription.completed``."""
        if part := self._heard_part(event):
            part._say(event.transcript, whole=True)
            self._end_transcript(event.item_id, part)

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ev.ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        """Handle ``conversation.item.input_audio_transcription.failed``."""
        if part := self._heard_part(event):
            part.error = event.error
            self._end_transcript(event.item_id, part)

    def _end_transcript(self, item_id: str, part: ConversationPart) -> None:
        """Mark the transcript of the user's speech as complete."""
        if not part.transcribed:
            part.transcribed = True
            self._transcribed.append(self._items[item_id])

    def _heard_part(self, event: _OfInput) -> ConversationPart | None:
        """Return the part that a transcript belongs to.  It may arrive before its item does."""
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
        """Handle ``response.created``."""
        response = self._responses.get(event.response.id or "")
        if response is None or response.done:  # some servers give all responses the same id, or none
            response = self._begin(event.response.id or "")
        else:
            self._deviation(event, "repeated")
        self._note(response, event.response)

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        """Handle ``response.done``."""
        self._end(event.response, event)

    def visit_response_cancelled(self, event: ev.ResponseCancelled) -> None:
        """Handle ``response.cancelled``."""
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
        else:  # a server starts responses only in the conversation; without a session the items will tell
            response.out_of_band = self._session is None
        return response

    def _note(self, response: ConversationResponse, wire: ev.Response) -> None:
        """Update a response from its form on the wire."""
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
        if self._session is not None:  # the session may by now match it to another request, or to none
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
        """Return the response that has ended, making it if needed; without an id, the one that began last."""
        if wire.id:
            return self._responses.get(wire.id) or self._begin(wire.id)
        self._deviation(event, "response without id")
        if not wire.status:  # an empty response says nothing
            return None
        return next(reversed(self._running.values()), None) or self._begin("")

    def _list(self, response: ConversationResponse, output: list[ev.Item], event: ServerEvent) -> None:
        """Take over the items that a finished response lists, in their order."""
        listed = {}
        for wire in output:
            item = self._known(wire, event, response.id or "")
            if item is not None and self._attach(item, response, event):
                self._absorb(item, wire)
                listed[item.id] = item
        response.items = [*listed.values(), *(each for each in response.items if each.id not in listed)]

    def _attach(self, item: ConversationItem, response: ConversationResponse, event: ServerEvent) -> bool:
        """Make an item part of a response, and of the conversation unless the response is out-of-band."""
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
        """Handle ``response.output_item.added``."""
        self._of_response(event)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        """Handle ``response.output_item.done``."""
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
        """Return the response that an event belongs to, making it if needed; ``None`` without an id."""
        response = self._responses.get(response_id)
        if response is None:
            self._deviation(event, "unknown response")
            response = self._begin(response_id) if response_id else None
        return response

    def visit_response_content_part_added(self, event: ev.ResponseContentPartAdded) -> None:
        """Handle ``response.content_part.added``."""
        if found := self._find(event):
            self._take(*found, event.part, whole=False)

    def visit_response_content_part_done(self, event: ev.ResponseContentPartDone) -> None:
        """Handle ``response.content_part.done``."""
        if found := self._find(event):
            self._take(*found, event.part, whole=True)

    def visit_response_output_text_delta(self, event: ev.ResponseOutputTextDelta) -> None:
        """Handle ``response.output_text.delta``."""
        if found := self._find(event, "text"):
            found[1]._write(event.delta)

    def visit_response_output_text_done(self, event: ev.ResponseOutputTextDone) -> None:
        """Handle ``response.output_text.done``."""
        if found := self._find(event, "text"):
            found[1]._write(event.text, whole=True)

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
        """Handle ``response.output_audio.delta``."""
        if found := self._find(event, "audio"):
            heard = found[1]._hear(event.delta)
            if heard and self._sink is not None:
                self._sink(found[0], heard)

    def visit_response_output_audio_done(self, event: ev.ResponseOutputAudioDone) -> None:
        """Handle ``response.output_audio.done``: make a part that was not announced."""
        self._find(event, "audio")

    def visit_response_output_audio_transcript_delta(
        self, event: ev.ResponseOutputAudioTranscriptDelta
    ) -> None:
        """Handle ``response.output_audio_transcript.delta``."""
        if found := self._find(event, "audio"):
            found[1]._say(event.delta)

    def visit_response_output_audio_transcript_done(
        self, event: ev.ResponseOutputAudioTranscriptDone
    ) -> None:
        """Handle ``response.output_audio_transcript.done``."""
        if found := self._find(event, "audio"):
            found[1]._say(event.transcript, whole=True)

    def _find(self, event: _OfItem, kind: str = "") -> tuple[ConversationItem, ConversationPart] | None:
        """Return the part that an event is about, and its item.  Every delta passes here, so it is short."""
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
        """Make the part and its item if they were not announced; ``None`` if the event names no item."""
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
        """Return the item that an event is about, making it if it was not announced.

        Without an item id, return the response's last item.
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
        """Handle ``response.function_call_arguments.delta``."""
        if item := self._called(event, "function_call"):
            item._write_arguments(event.delta)

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        """Handle ``response.function_call_arguments.done``."""
        if item := self._called(event, "function_call"):
            item.name = event.name or item.name
            item._write_arguments(event.arguments, whole=True)

    def visit_response_mcp_call_arguments_delta(self, event: ev.ResponseMcpCallArgumentsDelta) -> None:
        """Handle ``response.mcp_call_arguments.delta``."""
        if item := self._called(event, "mcp_call"):
            item._write_arguments(event.delta)

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        """Handle ``response.mcp_call_arguments.done``."""
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
        """Update the status of an MCP call or of a list of tools: it is the last word of the event's type."""
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
    """Return whether an item is of a kind that clients create, which is complete from the start."""
    return item.role in ("user", "system") or item.type in ("function_call_output", "mcp_approval_response")


def _is_among(one: Visitor[Any], visitor: Visitor[Any]) -> bool:
    if isinstance(visitor, Visitors):
        return any(_is_among(one, member) for member in visitor.visitors)
    return visitor is one


def _goes_on(response: ConversationResponse) -> bool:
    """Return whether a response needs a follow-up; `ToolRunner` requests one after the same responses."""
    kinds = [item.type for item in response.items]
    return any(kind in _ASKING for kind in kinds) or ("mcp_call" in kinds and kinds[-1] != "message")


def _result(call: ev.McpCall) -> str | None:
    if call.error is None:
        return call.output
    message = getattr(call.error, "message", None) or getattr(call.error, "type", "")
    return f"error: {message}"


def _conclude(response: ConversationResponse, wire: ev.Response) -> None:
    """Copy status, usage and error of a response that has ended."""
    response.status = wire.status if wire.status and wire.status != "in_progress" else "completed"
    response.usage = wire.usage or response.usage
    if (details := wire.status_details) is not None:
        response.error = details.error
        error = (details.error.message or details.error.code) if details.error else None
        response.reason = details.reason or error


def _next(queue: deque[_Q]) -> _Q | None:
    """Return the next one that was not returned yet, or ``None``.  Several threads may be waiting."""
    while queue:  # called after each event: usually empty, and an exception costs as much as an event
        with suppress(IndexError):  # another thread has just taken it
            first = queue.popleft()
            if not first._returned:
                return first
    return None


def _sum(one: _S, other: _S) -> _S:
    """Add two usage structs, field by field."""
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
