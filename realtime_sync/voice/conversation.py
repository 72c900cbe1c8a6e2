"""`Conversation` mirrors the server's conversation by observing the events."""

import os
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar

from .. import events as ev
from ..exceptions import RealtimeError
from ..redaction import one_line
from ..session import Session, facts
from ..session.latest import Latest
from ..session.mirror import ConversationItem, ConversationResponse, Mirror
from ..session.transcript import items_to_create, line_of
from ..sound.formats import input_format
from ..visitor import Visitor, Visitors, check_visitor
from .saved import Saved, load_items, save_items

__all__ = ["Conversation"]

_Q = TypeVar("_Q", "ConversationItem", "ConversationResponse")

_ERRORS = 8  # that a wait which ends without a result tells of
_LONGEST = 200  # characters shown of each


class Conversation(Mirror):
    """Mirror the server's conversation: its items, in order, and its responses.

    Pass it the session's events, alone or among `Visitors`::

        conversation = Conversation(session)
        session.conversation.item.create("Why is the sky blue?")
        session.response.create()
        print(conversation.wait_for_response(timeout=30).text)
        print(conversation.transcript())

    The thread that runs the session updates it; any thread may read it.  It keeps the last 10,000 items of
    the conversation, and the last 20,000 items, parts and responses of all; older ones are forgotten.

    Args:
        session: The session whose events it receives.  ``wait_for_*`` needs it, and so does the match of
            responses to requests; it also tells out-of-band responses from those of servers that send no
            ``conversation_id``.  ``None`` (the default): an item of a response without a
            ``conversation_id`` is in the conversation once a ``conversation.item.*`` event says so.
        audio: ``"keep"`` (the default) stores all audio; ``"drop"`` stores none, so that a long call needs
            little memory; a function ``f(item, chunk)`` is called with each chunk of bytes on arrival
            instead.  The user's own audio arrives only on request:
            ``session.conversation.item.retrieve(item.id)``.

    Raises:
        ValueError: ``audio`` is neither ``"keep"`` nor ``"drop"`` nor callable.
        TypeError: ``session`` is neither a `Session` nor ``None``.
    """

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
        super().__init__(audio, None if session is None else session.ledger)
        self._session = session
        self._errors: deque[tuple[int, str]] = deque(maxlen=_ERRORS)  # numbered, and what they say
        self._error_count = 0

    def on_error(self, fact: facts.Error) -> None:
        """Keep what the server reports, for the text of waits that end without a result."""
        self._error_count += 1
        text = one_line(fact.error.message or fact.error.code or fact.error.type)
        self._errors.append((self._error_count, text[:_LONGEST]))

    # --- State -------------------------------------------------------------------------------------

    @property
    def items(self) -> list[ConversationItem]:
        """Return the items in the conversation, in order, as a new list."""
        return [item for _, item in self.in_order()]

    def item(self, item_id: str) -> ConversationItem | None:
        """Return an item by its id, or ``None`` if the id is unknown.

        It may be out-of-band or deleted: see `ConversationItem.in_conversation`.  If a server has reused
        the id, return the latest item; `response` does the same.
        """
        return self._items.get(item_id)

    @property
    def responses(self) -> list[ConversationResponse]:
        """Return all responses that are kept, in the order in which they began, as a new list."""
        return list(self._responses.values())

    def response(self, response_id: str) -> ConversationResponse | None:
        """Return a response by its id, or ``None`` if the id is unknown."""
        found = self._responses_by_id.get(response_id)
        return found if found is not None and found.id == response_id else None

    @property
    def deviations(self) -> Counter[str]:
        """Return how often the server deviated from the protocol, by kind, as a new `Counter`.

        A kind is, for example, ``"response.output_audio.delta: unknown item"``.
        """
        ledgers = [self._ledger, None if self._session is None else self._session.ledger]
        counts: Counter[str] = Counter()
        for ledger in ledgers:
            counts.update({} if ledger is None else dict(ledger.deviations))
        return counts

    @property
    def usage(self) -> ev.Usage:
        """Return the token usage of all responses, added up, also of those that are not kept any more."""
        return self._total()

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

    def to_items(self, *, dialect: str | None = None, audio: bool = False) -> list[ev.Item]:
        """Return the items to create, in order, to rebuild this conversation in another session.

        Speech becomes text, by its transcript; an answer that was cut off becomes the words that were
        played, which are an estimate (see `ConversationPart.transcript`).  The list leaves out speech
        without a transcript, calls that the model didn't finish, outputs without their call, and items that
        only a server can create, such as MCP calls.

        Args:
            dialect: The dialect of the other session, ``"ga"`` or ``"beta"``; ``None`` (the default) is the
                dialect of this conversation's session, or ``"ga"`` if it has none.
            audio: Whether the user's speech without a transcript becomes an `InputAudio`, if its audio is
                here: it arrives only on request (``session.conversation.item.retrieve``).  The other
                session must have the same input format.

        Raises:
            ValueError: ``dialect`` is neither.
        """
        if dialect not in (None, "ga", "beta"):
            raise ValueError(f"dialect must be 'ga', 'beta' or None, got {dialect!r:.80}")
        return items_to_create(self.items, dialect or self._dialect, audio=audio)

    @property
    def _dialect(self) -> str:
        return "ga" if self._session is None else self._session.dialect

    def save(self, path: str | os.PathLike[str], *, audio: bool = False) -> None:
        """Save the conversation in a file, so that another program can go on with it: see `load`.

        The file holds what `to_items` returns, as JSON, with images; it holds no key.  Whatever happens
        meanwhile, it is either the old file or the new one, never a part: a new file takes the place of the
        old, and has its permissions; if there was none, only its owner may read it.  A program that is
        killed meanwhile may leave a file ``.saving-*`` behind.  Any thread may save.

        Args:
            path: The file.
            audio: Whether to save the user's speech without a transcript too, as in `to_items`.

        Raises:
            OSError: The file can't be written; the old one is still there.
            ValueError: ``path`` is a folder or a device.
        """
        audio_format = input_format(self._config) if audio else None
        items = self.to_items(audio=audio)
        save_items(path, Saved(dialect=self._dialect, input_audio_format=audio_format, items=items))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> list[ev.Item]:
        """Return the items of a saved conversation, in order, as `to_items` returned them.

        Unknown fields are ignored; an item or a part of an unknown type is kept as an `UnknownObject`,
        which the server may take or reject.

        Raises:
            OSError: The file can't be read.
            ValueError: It is no saved conversation, it is damaged or cut short, or a newer version has
                saved it in another format.  The text has its path, what was expected, and what came.
        """
        return load_items(path)

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
            TimeoutError: The item was not complete in time.  Its text says which errors the server reported
                meanwhile.
            RealtimeError: The server rejected the item that was sent with the id ``item_id``.
            ConnectionClosed: The session ended before the item was complete.
            RuntimeError: This conversation was made without a session.
        """

        def find() -> ConversationItem | None:
            if item_id is None:
                return _next(self._finished)
            if error := self._rejections.get(item_id):
                raise RealtimeError(f"the server rejected item {item_id!r}: {one_line(error.message)}")
            return self._complete(item_id)

        what = "no item was complete" if item_id is None else f"item {item_id!r} was not complete"
        return self._wait(what, find, visitor, timeout)

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
            TimeoutError: The transcript was not complete in time; see `wait_for_item`.
            ConnectionClosed: The session ended before the transcript was complete.
            RuntimeError: This conversation was made without a session.
        """

        def find() -> ConversationItem | None:
            if item_id is None:
                return _next(self._transcribed)
            item = self._items.get(item_id)
            is_there = item is not None and self._transcribed.pop(item, False) is None
            return item if is_there else None

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
            The next response in the conversation after which the model does not go on
            (`ConversationResponse.goes_on`): it calls no function, requests no approval and doesn't end with
            an MCP call; or it was not completed; or it is the last of the rounds of tool calls that a
            `ToolRunner` allows, and its ``reason`` says so; or its follow-up was withdrawn.

        Raises:
            TimeoutError, ConnectionClosed, RuntimeError: See `wait_for_response`.
        """
        last: ConversationResponse | None = None

        def find() -> ConversationResponse | None:
            nonlocal last
            while last is None or last.goes_on:
                response = _next(self._over)
                if response is None:
                    return None
                last = last if response.out_of_band else response
            return last

        return self._wait("no answer", find, visitor, timeout)

    def wait_for_response(
        self,
        event_id: str | None = None,
        *,
        timeout: float | None = None,
        visitor: Visitor[None] | None = None,
    ) -> ConversationResponse:
        """Run the session until a response has ended, in whatever way: its ``status`` says how.

        A rejected request counts as a failed response: its ``id`` is ``None``, and its ``error`` says why.
        The ``event_id`` of the server's error names the request.  Some servers omit it: then the error
        rejects the oldest event that it can be about, by its code, type and ``param``.  One that may be about
        anything and arrives while a response runs rejects no request.  A request that is withdrawn
        (``session.response.withdraw``) counts as failed, too.

        Args:
            event_id: The request to wait for, as returned by ``session.response.create``; ``None`` (the
                default) is the next response that no earlier call returned, in the order in which they
                end.  It may have ended already.
            timeout, visitor: See `wait_for_item`.

        Returns:
            The response.

        Raises:
            TimeoutError: The response did not end in time; see `wait_for_item`.
            ConnectionClosed: The session ended before the response did.
            RuntimeError: This conversation was made without a session.
        """

        def find() -> ConversationResponse | None:
            return _next(self._over) if event_id is None else self._answer(event_id)

        what = "no response" if event_id is None else f"the response requested by {event_id!r} has not"
        return self._wait(f"{what} ended", find, visitor, timeout)

    def _wait(
        self, what: str, find: Callable[[], _Q | None], visitor: Visitor[None] | None, timeout: float | None
    ) -> _Q:
        if self._session is None:
            raise RuntimeError(
                "waiting needs a session; this conversation has none: use Conversation(session)"
            )
        found: _Q | None = None
        before = self._error_count

        def is_there() -> bool:
            nonlocal found
            found = found or find()  # `find` takes it out of its queue, so it must not be called again
            return found is not None

        try:
            self._session.wait_until(is_there, self._with(visitor), timeout)
        except TimeoutError:
            raise TimeoutError(f"{what} within {timeout:g} s{self._said_since(before)}") from None
        assert found is not None
        return found

    def _said_since(self, before: int) -> str:
        """Return what the server reported since a wait began, for the text of its error."""
        said = [text for number, text in tuple(self._errors) if number > before]
        return f"; meanwhile the server reported: {'; '.join(said)}" if said else ""

    def _with(self, visitor: Visitor[Any] | None) -> Visitor[Any]:
        """Return a visitor that passes events to this conversation and to the given visitor."""
        if visitor is None:
            return self
        check_visitor(visitor)
        return visitor if _is_among(self, visitor) else Visitors(self, visitor)


def _is_among(one: Visitor[Any], visitor: Visitor[Any]) -> bool:
    if isinstance(visitor, Visitors):
        return any(_is_among(one, member) for member in visitor.visitors)
    return visitor is one


def _next(queue: Latest[_Q, None]) -> _Q | None:
    """Return the next one that was not returned yet, or ``None``.  Several threads may be waiting."""
    if queue:  # called after each event: usually empty, and an exception costs as much as an event
        with suppress(KeyError):  # another thread has just taken it
            return queue.popitem(last=False)[0]
    return None
