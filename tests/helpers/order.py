"""The order of a session's events, written once: `Order` reads both directions and stops at what is wrong.

Feed it every client event that was sent (`Order.sent`) and every server event that came
(`Order.received`), in the order in which they happened; the two directions need not be in step.  What
is checked is in `RULES`, one sentence each.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from msgspec import UNSET

from realtime_sync import Visitor
from realtime_sync import events as ev
from realtime_sync.events import SERVER_EVENTS, ClientEvent, ServerEvent, SessionConfig, UnknownEvent, codec

__all__ = ["RULES", "Order", "OutOfOrder"]

RULES = {
    # Every event
    "known": "A server sends only events that the vocabulary has, and none that only other servers send.",
    "event id": "Every event has an id of its own.",
    "first": "Only the first event is session.created (Beta transcription: transcription_session.created).",
    "conversation created": "conversation.created is the second event of a Beta conversation, or never.",
    "dialect": "A session speaks one dialect: GA has none of Beta's names, and Beta none of GA's.",
    "playback": "output_audio_buffer.* and DTMF are for WebRTC and SIP: a WebSocket server never sends them.",
    "no responses": "A transcription session sends nothing about responses, limits or MCP.",
    "translation": "A translation session sends only session.* and error, and no other session those.",
    "last": "Nothing comes after session.closed, or after the error session_expired.",
    # Questions and answers
    "error names": "error.event_id names a client event that was sent.",
    "asked": "An answer, or an error, answers a client event that still waits for one.",
    "in turn": "Client events are answered in the order in which they were sent, each by its own kind.",
    "same": "An answer is about what was asked: the same item, place, metadata.",
    "answered": "Every client event but append is answered.",
    "refused": "A refusal is true: what it says isn't there, is there already or is running, is so.",
    "settings": "session.updated keeps the session's id, type, object and model.",
    # The conversation
    "item id": "The server names an item, a call or a response once in a session.",
    "previous": "previous_item_id names the item that really is before it, null for the first.",
    "in conversation": "What is not in the conversation, or not any more, isn't mentioned as if it were.",
    "item added": "An item enters the conversation once, because it was created, committed, begun or listed.",
    "item done": "conversation.item.done comes once for an item, with what it finally is.",
    "next": "Some events are one: the second comes directly after the first.",
    # Responses
    "response created": "A response begins in progress, with no output, no usage and no details.",
    "response asked": "A response comes because the client asked for it or a turn of the user ended.",
    "one at a time": "One response at a time runs in the conversation.",
    "conversation id": "All responses in the conversation name the same one; those beside it name none.",
    "response open": "What belongs to a response comes between its response.created and its response.done.",
    "output index": "The items of a response are numbered from 0, and begin when the one before is done.",
    "item begins": "An item of a response begins in progress and empty.",
    "item open": "What belongs to an item of a response comes while it is open, and fits its kind.",
    "part": "The parts of an item are numbered from 0, and begin, empty, when the one before is done.",
    "part open": "A delta comes while its part is open, and fits its kind.",
    "closes": "Everything that was begun is closed once, from the inside out.",
    "joined": "What closes a part, a call or an item holds exactly the joined deltas.",
    "sound": "A retrieved item holds exactly the sound that was streamed.",
    "no audio": "Only deltas and conversation.item.retrieved carry sound.",
    "incomplete": "Only the last item of a response that was broken off is incomplete.",
    "output": "response.done lists the items that were done, and says again what response.created said.",
    "status": "A response's status and its details agree.",
    "cancelled": "A response is cancelled by response.cancel or because the user began to speak.",
    "usage": "Usage adds up, and what was streamed costs something.",
    "limits": "Limits come with a response, name each limit once, and what remains falls.",
    # The user's audio
    "turn detection": "Speech comes only while turn detection is on, timeouts only with idle_timeout_ms.",
    "speech": "Speech starts, stops and is committed under one item id, one speech after the other.",
    "position": "Positions in the audio ascend, and lie within what was appended.",
    "enough audio": "A commit takes at least 100 ms that nobody has taken or cleared.",
    "interrupt": "Speech ends the response in the conversation (interrupt_response), as turn_detected.",
    "idle": "The idle timeout comes when nobody speaks and no response runs in the conversation.",
    "transcript": "Committed audio is transcribed, if configured, and that ends once: completed or failed.",
    "owed": "A turn that ended is answered, if create_response is on and no response runs already.",
    # MCP and translation
    "listing": "mcp_list_tools is in progress, then completed or failed, once, and then its item is done.",
    "mcp call": "An MCP call has its arguments, is in progress, then completed or failed, within its item.",
    "elapsed": "Translation goes forward in time, and not beyond the audio that was appended.",
    "source": "The source is written down only where input transcription is configured.",
    # The end
    "idle end": "When nothing is due any more, nothing is left open.",
}

_RENAMED = {
    tag: ga_tag
    for tag, cls in SERVER_EVENTS.items()
    for ga_tag, parent in SERVER_EVENTS.items()
    if parent in cls.__bases__
}
_BETA_ONLY = {
    *_RENAMED,
    "conversation.created",
    "conversation.item.created",
    "transcription_session.created",
    "transcription_session.updated",
}
_GA_ONLY = {
    *_RENAMED.values(),
    "conversation.item.added",
    "conversation.item.done",
    "input_audio_buffer.timeout_triggered",
}
_PLAYBACK = ("output_audio_buffer.", "input_audio_buffer.dtmf")
_OF_RESPONSES = ("response.", "rate_limits.", "mcp_list_tools.")
_OF_TRANSLATION = ("session.closed", "session.input_transcript.", "session.output_")
_ANY_SESSION = ("error", "session.created", "session.updated")
_TOP_RATE = 8000
"""The format with the fewest bytes per second: a byte can't last longer than in this one."""

_RATES = {"audio/pcm": 48_000, "pcm16": 48_000}
_APPENDS = ev.InputAudioBufferAppend | ev.SessionInputAudioBufferAppend
_REFUSALS: dict[str, type[ClientEvent]] = {
    "conversation_already_has_active_response": ev.ResponseCreate,
    "response_cancel_not_active": ev.ResponseCancel,
    "item_create_duplicate_item_id": ev.ConversationItemCreate,
    "item_create_invalid_previous_item_id": ev.ConversationItemCreate,
    "item_retrieve_invalid_item_id": ev.ConversationItemRetrieve,
    "item_delete_invalid_item_id": ev.ConversationItemDelete,
    "item_truncate_invalid_item_id": ev.ConversationItemTruncate,
}
"""Codes of errors that say something about the session, and what they answer."""

_CLOSING = (
    ev.ResponseOutputTextDone
    | ev.ResponseOutputAudioDone
    | ev.ResponseOutputAudioTranscriptDone
    | ev.ResponseFunctionCallArgumentsDone
    | ev.ResponseMcpCallArgumentsDone
    | ev.ResponseMcpCallFailed
    | ev.ResponseMcpCallCompleted
    | ev.ResponseContentPartDone
    | ev.ResponseOutputItemDone
    | ev.ResponseDone
)


class OutOfOrder(AssertionError):
    """A rule is broken.  ``rule`` is its name in `RULES`."""

    def __init__(self, rule: str, detail: str, log: Iterable[str]) -> None:
        *before, last = [*log] or ["(nothing yet)"]
        story = "".join(f"\n      {line}" for line in before)
        super().__init__(f"{RULES[rule]}\n  {detail}\n  at  {last}\n  after{story or ' nothing'}")
        self.rule = rule


@dataclass
class _Asked:
    """A client event that waits.  ``ms`` is the most an append can last; ``maybe``: it may be answered."""

    event: ClientEvent | UnknownEvent
    ms: float = 0.0
    maybe: bool = False

    @property
    def silent(self) -> bool:
        return isinstance(self.event, _APPENDS)

    @property
    def skippable(self) -> bool:
        """Whether later events may be answered first: ``session.close`` waits for what is under way."""
        return self.silent or self.maybe or isinstance(self.event, ev.SessionClose)

    @property
    def name(self) -> str | None:
        return self.event.event_id or None


@dataclass
class _Part:
    """A content part that is being streamed."""

    written: bool
    words: str = ""
    sound: int = 0
    closed: set[str] = field(default_factory=set)
    done: ev.ContentPart | None = None


@dataclass
class _Output:
    """An item of a response.  ``tool`` is how far an MCP call is: nothing, in progress, over."""

    begun: Any
    index: int
    parts: list[_Part] = field(default_factory=list)
    arguments: str = ""
    arguments_done: bool = False
    tool: str = ""
    done: Any = None


@dataclass
class _Running:
    """A response between ``response.created`` and ``response.done``."""

    created: ev.Response
    outputs: list[_Output] = field(default_factory=list)
    interrupted: bool = False
    streamed: bool = False

    @property
    def beside(self) -> bool:
        return self.created.conversation_id is None


@dataclass
class _Entered:
    """An item in the conversation that is not done yet, and where it came from."""

    origin: str
    item: Any


@dataclass
class _Expected:
    """What must come directly next."""

    kinds: tuple[type[ServerEvent], ...]
    item_id: str | None


class Order(Visitor[None]):
    """The rules over one connection.

    Args:
        session_type: ``"realtime"``, ``"transcription"`` or ``"translation"``.
        dialect: ``"ga"`` or ``"beta"``.

    `sent` and `received` raise `OutOfOrder`, an `AssertionError`, at the first event that breaks a
    rule.  Call `answered` where everything sent must have been answered, and `finish` where nothing
    is due any more.
    """

    def __init__(self, session_type: str = "realtime", dialect: str = "ga") -> None:
        self._kind, self._beta = session_type, dialect == "beta"
        self._log: deque[str] = deque(maxlen=11)
        self._event_ids: set[str] = set()
        self._received = 0
        self._over = False
        self._expected: _Expected | None = None
        # Questions
        self._sent_ids: set[str] = set()
        self._asked: deque[_Asked] = deque()
        self._session = SessionConfig()
        # The conversation
        self._names: set[str] = set()
        self._items: list[str] = []
        self._entered: dict[str, _Entered] = {}
        self._entering: tuple[str, str] | None = None
        self._sounds: dict[str, int] = {}  # bytes, by item
        self._truncated: set[str] = set()
        self._conversation_id: str | None = None
        # Responses
        self._running: dict[str, _Running] = {}
        self._limits: dict[str, int] = {}
        self._created = self._metered = 0
        # The user's audio
        self._appended_ms = 0.0
        self._settled_ms = self._taken_ms = 0.0
        self._position = 0
        self._speech: str | None = None
        self._left: str | None = None
        self._turn: str | None = None
        self._owed = self._unanswered = False
        self._transcripts: dict[tuple[str, int], str] = {}
        # MCP, translation
        self._listings: dict[str, str] = {}
        self._elapsed = 0

    # --- What happens ------------------------------------------------------------------------------

    def sent(self, event: ClientEvent | UnknownEvent) -> None:
        """The client sent this; an `UnknownEvent` is a frame that was none (see `decode_client`)."""
        self._log.append("> " + _shown(event))
        if event.event_id:
            self._sent_ids.add(event.event_id)
        asked = _Asked(event)
        if isinstance(event, _APPENDS):
            updating = any(isinstance(other.event, ev.SessionUpdate) for other in self._asked)
            asked.ms = len(event.audio) * 1000 / (_TOP_RATE if updating else self._rate)
            self._appended_ms += asked.ms
        self._asked.append(asked)

    def default(self, event: ServerEvent) -> None:
        """Every event that this server may send has its rules below."""
        self._fail("known")

    def received(self, event: ServerEvent) -> None:
        """The server sent this."""
        self._log.append("< " + _shown(event))
        self._require(not isinstance(event, UnknownEvent), "known")
        self._require(bool(event.event_id) and event.event_id not in self._event_ids, "event id")
        self._event_ids.add(event.event_id)
        self._check_kind(event.type)
        self._require(not self._over, "last")
        self._check_opening(event)
        self._check_expected(event)
        self._check_interrupted(event)
        self.visit(event)

    def answered(self) -> None:
        """Everything sent so far must have been answered, except ``session.close``, which takes its time."""
        self._require(self._expected is None, "next", f"still to come: {self._expected}")
        for asked in self._asked:
            waits = not (asked.skippable or self._over)
            self._require(not waits, "answered", f"nothing came for {_shown(asked.event)}")
            self._settle(asked)
        self._asked = deque(a for a in self._asked if isinstance(a.event, ev.SessionClose))

    def finish(self) -> None:
        """Nothing is due any more."""
        self.answered()
        if self._over:
            return
        self._require(not self._asked, "answered")
        self._require(not self._owed, "owed")
        self._require(not self._transcripts, "transcript", f"never ended: {list(self._transcripts)}")
        self._require("in_progress" not in self._listings.values(), "listing", "it never ended")
        self._require(not self._running, "idle end", f"still running: {list(self._running)}")
        self._require(not self._entered, "idle end", f"not done: {list(self._entered)}")

    # --- Rules of every event ----------------------------------------------------------------------

    def _require(self, holds: bool, rule: str, detail: str = "") -> None:
        if not holds:
            self._fail(rule, detail)

    def _fail(self, rule: str, detail: str = "") -> NoReturn:
        raise OutOfOrder(rule, detail or f"(rule {rule!r})", self._log)

    def _check_kind(self, tag: str) -> None:
        self._require(not tag.startswith(_PLAYBACK), "playback")
        self._require(
            tag not in (_GA_ONLY if self._beta else _BETA_ONLY - {"conversation.created"}), "dialect"
        )
        if self._kind == "transcription":
            self._require(not tag.startswith(_OF_RESPONSES), "no responses")
        of_translation = tag.startswith(_OF_TRANSLATION)
        if self._kind == "translation":
            self._require(of_translation or tag in _ANY_SESSION, "translation")
        else:
            self._require(not of_translation, "translation")

    def _check_opening(self, event: ServerEvent) -> None:
        self._received += 1
        of_beta = self._beta and self._kind == "transcription"
        opening = ev.TranscriptionSessionCreated if of_beta else ev.SessionCreated
        self._require((self._received == 1) == isinstance(event, opening), "first")
        second = self._beta and self._received == 2 and self._kind == "realtime"
        self._require(second == isinstance(event, ev.ConversationCreated), "conversation created")

    def _check_expected(self, event: ServerEvent) -> None:
        expected, self._expected = self._expected, None
        if expected is not None:
            fits = isinstance(event, expected.kinds)
            fits = fits and expected.item_id in (None, _item_id(event))
            self._require(fits, "next", f"directly next comes {expected}")

    def _expect(self, *kinds: type[ServerEvent], item_id: str | None = None) -> None:
        self._expected = _Expected(kinds, item_id)

    # --- Questions and answers ---------------------------------------------------------------------

    def _take(self, kind: type[ClientEvent]) -> Any:
        """The client event that is answered: the oldest that waits."""
        for index, asked in enumerate(self._asked):
            if isinstance(asked.event, kind):
                self._pass(index)
                return asked.event
            self._require(asked.skippable, "in turn", f"waiting: {_shown(asked.event)}")
        return self._fail("asked")

    def _pass(self, index: int) -> None:
        """What was sent at ``index`` is answered: what was sent before and waits for nothing is settled."""
        asked = [*self._asked]
        for earlier in asked[:index]:
            if not isinstance(earlier.event, ev.SessionClose):
                self._settle(earlier)
        kept = [earlier for earlier in asked[:index] if isinstance(earlier.event, ev.SessionClose)]
        self._asked = deque([*kept, *asked[index + 1 :]])

    def _waits(self, kind: type[ClientEvent]) -> bool:
        """Whether the oldest client event that waits is of this kind."""
        waiting = (asked for asked in self._asked if not asked.silent)
        return any(isinstance(asked.event, kind) for asked in list(waiting)[:1])

    def _settle(self, asked: _Asked) -> None:
        """Nothing came for this, so it was obeyed."""
        self._settled_ms += asked.ms

    def visit_error(self, event: ev.ErrorEvent) -> None:
        name = event.error.event_id or None
        if event.error.code == "session_expired":
            self._over = True
            return
        if event.error.type == "server_error" and name is None and self._kind == "translation":
            return  # an utterance that could not be translated
        if (
            event.error.code == "conversation_already_has_active_response"
            and name is None
            and self._unanswered
        ):
            self._unanswered = False
            return
        self._require(name is None or name in self._sent_ids, "error names")
        for index, asked in enumerate(self._asked):
            if asked.name == name:
                self._check_refusal(event.error.code or "", asked.event)
                self._refuse(index, name)
                return
            self._require(asked.skippable, "in turn", f"waiting: {_shown(asked.event)}")
        self._fail("asked")

    def _check_refusal(self, code: str, event: Any) -> None:
        """Whether an error says what is so, to whom it may concern."""
        about = _REFUSALS.get(code)
        if about is None:
            return
        self._require(isinstance(event, about), "refused", "it is about another kind of event")
        if code == "conversation_already_has_active_response":
            self._require(self._in_conversation() is not None, "refused", "none is running")
        elif code == "response_cancel_not_active":
            running = self._running.get(event.response_id) if event.response_id else self._in_conversation()
            self._require(running is None, "refused", "it is running")
        elif code == "item_create_duplicate_item_id":
            self._require(event.item.id in self._names, "refused", "there is none")
        elif code == "item_create_invalid_previous_item_id":
            self._require(event.previous_item_id not in self._items, "refused", "it is there")
        else:
            self._require(event.item_id not in self._items, "refused", "it is there")

    def _refuse(self, index: int, name: str | None) -> None:
        """An error answers the client event at ``index``, or, if that is silent, perhaps a later one."""
        asked = self._asked[index]
        later = next((other for other in list(self._asked)[index:] if not other.silent), None)
        if asked.silent and later is not None and later.name == name:
            later.maybe = True
            return
        self._pass(index)
        self._appended_ms -= asked.ms

    # --- Session -----------------------------------------------------------------------------------

    def visit_session_created(self, event: ev.SessionCreated) -> None:
        self._session = event.session

    def visit_transcription_session_created(self, event: ev.TranscriptionSessionCreated) -> None:
        self._session = event.session

    def visit_session_updated(self, event: ev.SessionUpdated) -> None:
        self._take(ev.SessionUpdate)
        self._update(event.session)

    def visit_transcription_session_updated(self, event: ev.TranscriptionSessionUpdated) -> None:
        self._take(ev.TranscriptionSessionUpdate)
        self._update(event.session)

    def _update(self, session: SessionConfig) -> None:
        for name in ("id", "type", "object", "model"):
            self._require(getattr(session, name) == getattr(self._session, name), "settings", name)
        old, self._session = self._session, session
        if _input_format(session) != _input_format(old):  # what was in another format is gone
            self._forget_audio()
        if self._speech and not _turn_detection(session):  # nobody will hear the end of it
            self._left, self._speech = self._speech, None

    def visit_session_closed(self, event: ev.SessionClosed) -> None:
        self._take(ev.SessionClose)
        self._over = True

    def visit_conversation_created(self, event: ev.ConversationCreated) -> None:
        self._conversation_id = event.conversation.id

    @property
    def _rate(self) -> int:
        """Bytes per second of what the client appends."""
        kind = "audio/pcm" if self._kind == "translation" else _input_format(self._session)
        return _RATES.get(kind, _TOP_RATE)

    # --- The conversation --------------------------------------------------------------------------

    def visit_conversation_item_created(self, event: ev.ConversationItemCreated) -> None:
        self._enter(event.item, event.previous_item_id)

    def visit_conversation_item_added(self, event: ev.ConversationItemAdded) -> None:
        self._enter(event.item, event.previous_item_id)

    def _enter(self, item: Any, previous: str | None) -> None:
        origin, place = self._origin_of(item)
        self._require(bool(item.id) and item.id not in self._items, "item added")
        self._check_silence(item)
        self._items.insert(place, item.id)
        self._check_previous(item.id, previous)
        self._entering = None
        if self._beta:
            return
        self._entered[item.id] = _Entered(origin, item)
        if origin in ("created", "committed"):
            self._expect(ev.ConversationItemDone, item_id=item.id)

    def _origin_of(self, item: Any) -> tuple[str, int]:
        """Why an item comes, and its place in the conversation."""
        end = len(self._items)
        if self._entering is not None:
            item_id, origin = self._entering
            self._require(item.id == item_id, "item added", f"{item_id!r} was to come")
            return origin, end
        if isinstance(item, ev.McpListTools) and not self._creating(item):
            if item.id not in self._listings:
                self._name(item.id)
            return "listed", end
        asked_for = any(isinstance(asked.event, ev.ConversationItemCreate) for asked in self._asked)
        self._require(asked_for, "item added", "nobody created it")
        asked = self._take(ev.ConversationItemCreate)
        self._require(type(asked.item) is type(item), "same")
        self._require(not asked.item.id or asked.item.id == item.id, "same")
        if asked.item.id:
            self._names.add(item.id)
        else:
            self._name(item.id)
        if asked.previous_item_id is None:
            return "created", end
        if asked.previous_item_id == "root":
            return "created", 0
        self._require(asked.previous_item_id in self._items, "in conversation", "what it was to come after")
        return "created", self._items.index(asked.previous_item_id) + 1

    def _creating(self, item: Any) -> bool:
        """Whether the client waits for an item of this kind to be created."""
        waiting = [asked.event for asked in self._asked if not asked.silent][:1]
        return any(isinstance(e, ev.ConversationItemCreate) and type(e.item) is type(item) for e in waiting)

    def _check_previous(self, item_id: str, previous: str | None) -> None:
        place = self._items.index(item_id)
        real = self._items[place - 1] if place else None
        self._require(previous == real, "previous", f"before {item_id!r} is {real!r}, not {previous!r}")

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        item: Any = event.item
        self._require(item.id in self._items, "in conversation")
        self._check_previous(item.id, event.previous_item_id)
        entered = self._entered.pop(item.id, None)
        self._require(entered is not None, "item done", "it was done already")
        assert entered
        self._check_silence(item)
        if entered.origin == "listed":
            self._require(self._listings.get(item.id) == "over", "listing")
        elif entered.origin == "begun":
            self._fail("item done", "the response has not finished it")
        else:
            self._require(item == entered.item, "item done", "it differs from what went before")

    def visit_conversation_item_retrieved(self, event: ev.ConversationItemRetrieved) -> None:
        asked, item = self._take(ev.ConversationItemRetrieve), event.item
        self._require(_id(item) == asked.item_id, "same")
        self._require(_id(item) in self._items, "in conversation")
        streamed = self._sounds.get(asked.item_id)
        self._require(streamed in (None, _sound_of(item)), "sound", f"{streamed} bytes were streamed")

    def visit_conversation_item_deleted(self, event: ev.ConversationItemDeleted) -> None:
        self._require(self._take(ev.ConversationItemDelete).item_id == event.item_id, "same")
        self._require(event.item_id in self._items, "in conversation")
        self._items.remove(event.item_id)
        self._entered.pop(event.item_id, None)
        self._sounds.pop(event.item_id, None)
        self._truncated.discard(event.item_id)
        for item_id, index in list(self._transcripts):
            if item_id == event.item_id:
                del self._transcripts[item_id, index]

    def visit_conversation_item_truncated(self, event: ev.ConversationItemTruncated) -> None:
        asked = self._take(ev.ConversationItemTruncate)
        for name in ("item_id", "content_index", "audio_end_ms"):
            self._require(getattr(asked, name) == getattr(event, name), "same", name)
        self._require(event.item_id in self._items, "in conversation")
        self._truncated.add(event.item_id)
        self._sounds.pop(event.item_id, None)

    def _name(self, name: str | None) -> None:
        """The server made this id."""
        self._require(bool(name) and name not in self._names, "item id", f"{name!r}")
        self._names.add(str(name))

    def _check_silence(self, *items: Any) -> None:
        for item in items:
            for part in item.content if isinstance(item, ev.Message) else ():
                heard = isinstance(part, ev.InputAudio | ev.OutputAudio) and part.audio is not None
                self._require(not heard, "no audio")

    # --- Responses ---------------------------------------------------------------------------------

    def visit_response_created(self, event: ev.ResponseCreated) -> None:
        response = event.response
        empty = (response.status, response.output, response.usage, response.status_details)
        self._require(empty == ("in_progress", [], None, None), "response created")
        self._name(response.id)
        running = _Running(response)
        self._check_asked(running)
        if not running.beside:
            self._require(self._in_conversation() is None, "one at a time")
            self._conversation_id = self._conversation_id or response.conversation_id
            self._require(response.conversation_id == self._conversation_id, "conversation id")
        self._created += 1
        self._running[str(response.id)] = running

    def _check_asked(self, running: _Running) -> None:
        """Why a response comes.  A turn that ended is answered first, whatever the client asks meanwhile."""
        if self._owed and not running.beside:
            self._owed = False
            return
        asked_for = any(isinstance(asked.event, ev.ResponseCreate) for asked in self._asked)
        self._require(asked_for, "response asked")
        params = self._take(ev.ResponseCreate).response or ev.ResponseCreateParams()
        self._require(running.beside == (params.conversation == "none"), "same", "conversation")
        metadata = running.created.metadata
        self._require((params.metadata or None) == (metadata or None), "same", "metadata")

    def _in_conversation(self) -> _Running | None:
        return next((running for running in self._running.values() if not running.beside), None)

    def _open(self, response_id: str | None) -> _Running:
        running = self._running.get(str(response_id))
        self._require(running is not None, "response open", f"{response_id!r} is not open")
        assert running
        return running

    def visit_response_output_item_added(self, event: ev.ResponseOutputItemAdded) -> None:
        running, item = self._open(event.response_id), event.item
        self._require(event.output_index == len(running.outputs), "output index")
        self._require(all(output.done for output in running.outputs), "output index", "one is still open")
        self._require(_begins(item), "item begins")
        self._name(_id(item))
        if isinstance(item, ev.FunctionCall):
            self._name(item.call_id)
        running.outputs.append(_Output(item, event.output_index))
        if not running.beside:
            self._entering = str(_id(item)), "begun"
            self._expect(ev.ConversationItemAdded, ev.ConversationItemCreated, item_id=_id(item))

    def _output(self, event: Any, *kinds: type) -> tuple[_Running, _Output]:
        """The open item that an event of a response is about."""
        running = self._open(event.response_id)
        output = running.outputs[-1] if running.outputs else None
        fits = output is not None and output.done is None and output.index == event.output_index
        self._require(fits, "item open", "no such item is open")
        assert output
        item_id = event.item_id if hasattr(event, "item_id") else _id(event.item)
        self._require(item_id == output.begun.id, "item open", f"the open item is {output.begun.id!r}")
        self._require(not kinds or isinstance(output.begun, kinds), "item open", "not for this kind of item")
        return running, output

    def visit_response_content_part_added(self, event: ev.ResponseContentPartAdded) -> None:
        _, output = self._output(event, ev.Message)
        part = event.part
        self._require(event.content_index == len(output.parts), "part", "a number is left out")
        self._require(all(other.done for other in output.parts), "part", "one is still open")
        written = isinstance(part, ev.OutputText)
        empty = part.text == "" if isinstance(part, ev.OutputText) else _is_silent(part)
        self._require(empty, "part", "it is not empty")
        output.parts.append(_Part(written))

    def _part(self, event: Any, *, written: bool) -> _Part:
        """The open part that an event is about."""
        running, output = self._output(event, ev.Message)
        part = output.parts[-1] if output.parts else None
        fits = part is not None and part.done is None and event.content_index == len(output.parts) - 1
        self._require(fits and part is not None and part.written == written, "part open")
        assert part
        running.streamed |= bool(getattr(event, "delta", None))
        return part

    def _streams(self, event: Any, stream: str, *, written: bool) -> _Part:
        part = self._part(event, written=written)
        self._require(stream not in part.closed, "closes", f"the {stream} is closed")
        return part

    def visit_response_output_text_delta(self, event: ev.ResponseOutputTextDelta) -> None:
        self._streams(event, "text", written=True).words += event.delta

    def visit_response_output_audio_transcript_delta(
        self, event: ev.ResponseOutputAudioTranscriptDelta
    ) -> None:
        self._streams(event, "transcript", written=False).words += event.delta

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
        self._streams(event, "audio", written=False).sound += len(event.delta)

    def visit_response_output_text_done(self, event: ev.ResponseOutputTextDone) -> None:
        part = self._streams(event, "text", written=True)
        self._require(event.text == part.words, "joined", f"the deltas are {part.words!r}")
        part.closed.add("text")

    def visit_response_output_audio_done(self, event: ev.ResponseOutputAudioDone) -> None:
        self._streams(event, "audio", written=False).closed.add("audio")

    def visit_response_output_audio_transcript_done(
        self, event: ev.ResponseOutputAudioTranscriptDone
    ) -> None:
        part = self._streams(event, "transcript", written=False)
        self._require(event.transcript == part.words, "joined", f"the deltas are {part.words!r}")
        part.closed.add("transcript")

    def visit_response_content_part_done(self, event: ev.ResponseContentPartDone) -> None:
        part = self._part(event, written=isinstance(event.part, ev.OutputText))
        closed = {"text"} if part.written else {"audio", "transcript"}
        self._require(part.closed == closed, "closes", f"only {part.closed} is closed")
        self._require(_holds(event.part, part), "joined", f"the deltas are {part.words!r}")
        self._require(not isinstance(event.part, ev.OutputAudio) or event.part.audio is None, "no audio")
        part.done = event.part

    def visit_response_function_call_arguments_delta(
        self, event: ev.ResponseFunctionCallArgumentsDelta
    ) -> None:
        self._argue(event, ev.FunctionCall)

    def visit_response_mcp_call_arguments_delta(self, event: ev.ResponseMcpCallArgumentsDelta) -> None:
        self._argue(event, ev.McpCall)

    def _argue(self, event: Any, kind: type) -> None:
        running, output = self._output(event, kind)
        self._require(not output.arguments_done, "closes", "the arguments are closed")
        self._check_call(event, output)
        output.arguments += event.delta
        running.streamed |= bool(event.delta)

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        self._argued(event, ev.FunctionCall)

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        self._argued(event, ev.McpCall)

    def _argued(self, event: Any, kind: type) -> None:
        _, output = self._output(event, kind)
        self._require(not output.arguments_done, "closes", "the arguments are closed")
        self._check_call(event, output)
        self._require(event.arguments == output.arguments, "joined", f"the deltas are {output.arguments!r}")
        output.arguments_done = True

    def _check_call(self, event: Any, output: _Output) -> None:
        for name in ("call_id", "name"):
            given = getattr(event, name, None)
            self._require(given in (None, getattr(output.begun, name, None)), "item open", name)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        running, output = self._output(event)
        item: Any = event.item
        self._require(type(item) is type(output.begun), "closes", "it was another kind of item")
        self._check_silence(item)
        self._check_closed(output, item)
        status = getattr(item, "status", None) or "completed"
        self._require(status in ("completed", "incomplete"), "incomplete", f"{status!r} is no end")
        output.done = item
        if not running.beside and item.id not in self._truncated:
            self._sounds[item.id] = sum(part.sound for part in output.parts)
        entered = self._entered.get(item.id)
        if not running.beside and entered is not None and entered.origin == "begun":
            self._entered[item.id] = _Entered("finished", item)
            self._expect(ev.ConversationItemDone, item_id=item.id)

    def _check_closed(self, output: _Output, item: Any) -> None:
        """An item has ended: all in it is closed, and it holds what was streamed."""
        if isinstance(item, ev.Message):
            self._require(all(part.done for part in output.parts), "closes", "a part is open")
            self._require(item.role == "assistant", "closes", "the role has changed")
            fits = len(item.content) == len(output.parts)
            self._require(fits and all(map(_holds, item.content, output.parts)), "joined")
        elif isinstance(item, ev.FunctionCall | ev.McpCall):
            self._require(output.arguments_done, "closes", "the arguments are open")
            self._require(item.arguments == output.arguments, "joined", "the arguments differ")
            self._require(item.name == output.begun.name, "closes", "the name has changed")
        if isinstance(item, ev.FunctionCall):
            self._require(item.call_id == output.begun.call_id, "closes", "the call_id has changed")
        elif isinstance(item, ev.McpCall):
            self._require(output.tool != "in_progress", "mcp call", "it is still in progress")
            self._require(not (item.output and item.error), "mcp call", "both an output and an error")

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        response = event.response
        running = self._open(response.id)
        del self._running[str(response.id)]
        self._require(all(output.done for output in running.outputs), "closes", "an item is open")
        self._require(response.output == [output.done for output in running.outputs], "output")
        for name in ("conversation_id", "metadata", "object", "output_modalities", "modalities"):
            self._require(getattr(response, name) == getattr(running.created, name), "output", name)
        self._check_status(response)
        self._check_incomplete(response)
        self._check_cancelled(running, response)
        self._check_usage(running, response.usage)

    def _check_status(self, response: ev.Response) -> None:
        details = response.status_details or ev.ResponseStatusDetails(type=response.status)
        self._require(details.type == response.status, "status", "the details name another")
        reasons: dict[str | None, tuple[str | None, ...]] = {
            "completed": (None,),
            "failed": (None,),
            "cancelled": ("client_cancelled", "turn_detected"),
            "incomplete": ("max_output_tokens", "content_filter"),
        }
        self._require(response.status in reasons, "status", "that is no end")
        self._require(details.reason in reasons[response.status], "status", f"not {details.reason!r}")
        self._require((details.error is not None) == (response.status == "failed"), "status", "error")

    def _check_incomplete(self, response: ev.Response) -> None:
        states = [getattr(item, "status", None) or "completed" for item in response.output or ()]
        earlier = states if response.status == "completed" else states[:-1]
        self._require("incomplete" not in earlier, "incomplete")

    def _check_cancelled(self, running: _Running, response: ev.Response) -> None:
        reason = response.status_details.reason if response.status_details else None
        detected = reason == "turn_detected"
        self._require(detected or not running.interrupted, "interrupt", f"it ended as {reason!r}")
        self._require(running.interrupted or not detected, "cancelled", "nobody spoke")
        if reason == "client_cancelled":
            self._require(self._waits(ev.ResponseCancel), "cancelled", "the client did not")
            wanted = self._take(ev.ResponseCancel).response_id
            self._require(wanted in (None, response.id), "same")
            self._require(wanted is not None or not running.beside, "same", "it ran beside the conversation")

    def _check_usage(self, running: _Running, usage: ev.Usage | None) -> None:
        given = usage.input_token_details if usage else None
        made = usage.output_token_details if usage else None
        self._require(bool(usage and given and made), "usage", "there is none")
        assert usage
        assert given
        assert made
        cached = given.cached_tokens_details or ev.CachedTokenDetails()
        sums = [
            (usage.total_tokens, usage.input_tokens + usage.output_tokens),
            (usage.input_tokens, given.text_tokens + given.audio_tokens + given.image_tokens),
            (usage.output_tokens, made.text_tokens + made.audio_tokens),
            (given.cached_tokens, cached.text_tokens + cached.audio_tokens + cached.image_tokens),
        ]
        self._require(all(total == parts for total, parts in sums), "usage", f"{sums}")
        self._require(given.cached_tokens <= usage.input_tokens, "usage", "more cached than given")
        self._require(usage.output_tokens > 0 or not running.streamed, "usage", "the output cost nothing")

    def visit_rate_limits_updated(self, event: ev.RateLimitsUpdated) -> None:
        self._metered += 1
        self._require(self._metered <= self._created and bool(self._running), "limits", "no response")
        names = [limit.name for limit in event.rate_limits]
        self._require(len({*names}) == len(names) > 0, "limits", "a limit is named twice, or none is")
        fallen = not any(self._limits.values()) and bool(self._limits)
        for limit in event.rate_limits:
            self._require(
                0 <= limit.remaining <= limit.limit, "limits", f"{limit.remaining} of {limit.limit}"
            )
            before = self._limits.get(limit.name, limit.limit)
            self._require(limit.remaining <= before, "limits", f"{limit.name} has risen from {before}")
            fallen |= limit.remaining < before
            self._limits[limit.name] = limit.remaining
        self._require(fallen, "limits", "nothing was spent")
        self._expect(ev.ResponseDone)

    # --- The user's audio --------------------------------------------------------------------------

    def _check_interrupted(self, event: ServerEvent) -> None:
        """Whether a response that speech has interrupted does anything but close."""
        for response_id, running in self._running.items():
            if running.interrupted and response_id == self._response_of(event):
                self._require(isinstance(event, _CLOSING), "interrupt")

    def _response_of(self, event: Any) -> str | None:
        if hasattr(event, "response"):
            return _id(event.response)
        return getattr(event, "response_id", None)

    def _detection(self) -> Any:
        detection = _turn_detection(self._session)
        self._require(bool(detection), "turn detection")
        return detection

    def _check_position(self, *positions: int) -> None:
        """Positions in the order in which they are in the audio, after all that went before."""
        for position in positions:
            self._require(position >= self._position, "position", f"{position} is before {self._position}")
            within = position <= self._appended_ms + 1
            self._require(within, "position", f"{position} is beyond {self._appended_ms}")
            self._position = position

    def visit_input_audio_buffer_speech_started(self, event: ev.InputAudioBufferSpeechStarted) -> None:
        detection = self._detection()
        self._require(self._speech is None, "speech", "one is going on")
        self._require(not self._owed, "owed", "the turn before has no answer")
        self._name(event.item_id)
        self._check_position(event.audio_start_ms)
        self._speech = event.item_id
        running = self._in_conversation()
        if running is not None and detection.interrupt_response in (UNSET, None, True):
            running.interrupted = True

    def visit_input_audio_buffer_speech_stopped(self, event: ev.InputAudioBufferSpeechStopped) -> None:
        self._require(self._speech is not None, "speech", "nobody speaks")
        self._require(event.item_id == self._speech, "speech", f"{self._speech!r} is speaking")
        detection = self._detection()
        self._check_position(event.audio_end_ms)
        self._end_turn(event.item_id, detection.create_response in (UNSET, None, True))

    def visit_input_audio_buffer_timeout_triggered(self, event: ev.InputAudioBufferTimeoutTriggered) -> None:
        detection = self._detection()
        self._require(bool(getattr(detection, "idle_timeout_ms", None)), "turn detection")
        self._require(self._speech is None, "idle", "somebody speaks")
        self._require(self._in_conversation() is None, "idle", "a response runs")
        self._name(event.item_id)
        self._check_position(event.audio_start_ms, event.audio_end_ms)
        self._end_turn(event.item_id, True)

    def _end_turn(self, item_id: str, wants_answer: bool) -> None:
        """The user's turn is over: its audio becomes an item, which may be answered."""
        self._speech = None
        self._turn = item_id
        self._expect(ev.InputAudioBufferCommitted, item_id=item_id)
        if self._kind == "realtime" and wants_answer:
            self._unanswered = self._in_conversation() is not None  # the server may say so in an error
            self._owed = not self._unanswered

    def visit_input_audio_buffer_committed(self, event: ev.InputAudioBufferCommitted) -> None:
        if self._turn is not None:
            self._turn, self._taken_ms = None, self._position
        elif not self._waits(ev.InputAudioBufferCommit) and self._beta and self._idle_timeout():
            self._end_turn(event.item_id, True)
            self._turn = self._expected = None
            self._name(event.item_id)
        else:
            self._take(ev.InputAudioBufferCommit)
            left = self._settled_ms - self._taken_ms
            self._require(left > 99.999, "enough audio", f"there are {left} ms")
            if event.item_id not in (self._speech, self._left):
                self._name(event.item_id)
            self._forget_audio()
        self._require(event.previous_item_id == (self._items[-1] if self._items else None), "previous")
        self._entering = event.item_id, "committed"
        self._expect(ev.ConversationItemAdded, ev.ConversationItemCreated, item_id=event.item_id)
        if _transcription(self._session):
            self._transcripts[event.item_id, 0] = ""

    def _idle_timeout(self) -> bool:
        return bool(getattr(_turn_detection(self._session), "idle_timeout_ms", None))

    def visit_input_audio_buffer_cleared(self, event: ev.InputAudioBufferCleared) -> None:
        self._take(ev.InputAudioBufferClear)
        self._forget_audio()

    def _forget_audio(self) -> None:
        """All that was appended is taken, or thrown away, with the speech that goes on."""
        self._taken_ms = self._settled_ms
        self._speech = self._left = None

    def visit_conversation_item_input_audio_transcription_delta(
        self, event: ev.ConversationItemInputAudioTranscriptionDelta
    ) -> None:
        self._transcribed(event)
        self._transcripts[event.item_id, event.content_index] += event.delta

    def visit_conversation_item_input_audio_transcription_segment(
        self, event: ev.ConversationItemInputAudioTranscriptionSegment
    ) -> None:
        self._transcribed(event)
        self._transcripts[event.item_id, event.content_index] += event.text

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: ev.ConversationItemInputAudioTranscriptionCompleted
    ) -> None:
        words = self._transcribed(event)
        self._require(words in ("", event.transcript), "joined", f"the deltas are {words!r}")
        del self._transcripts[event.item_id, event.content_index]

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ev.ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        self._transcribed(event)
        del self._transcripts[event.item_id, event.content_index]

    def _transcribed(self, event: Any) -> str:
        """What was transcribed so far of the audio that an event is about."""
        self._require(event.item_id in self._items, "in conversation")
        words = self._transcripts.get((event.item_id, event.content_index))
        self._require(words is not None, "transcript", "it has ended, or was never to be")
        return words or ""

    # --- MCP ---------------------------------------------------------------------------------------

    def visit_mcp_list_tools_in_progress(self, event: ev.McpListToolsInProgress) -> None:
        self._require(event.item_id not in self._listings, "listing", "it was begun already")
        if event.item_id not in self._items:
            self._name(event.item_id)
        self._listings[event.item_id] = "in_progress"

    def visit_mcp_list_tools_completed(self, event: ev.McpListToolsCompleted) -> None:
        self._listed(event.item_id)

    def visit_mcp_list_tools_failed(self, event: ev.McpListToolsFailed) -> None:
        self._listed(event.item_id)

    def _listed(self, item_id: str) -> None:
        self._require(self._listings.get(item_id) == "in_progress", "listing", "it is not in progress")
        self._listings[item_id] = "over"

    def visit_response_mcp_call_in_progress(self, event: ev.ResponseMcpCallInProgress) -> None:
        running, output = self._mcp_call(event)
        self._require(not running.interrupted, "interrupt")
        self._require(output.arguments_done and not output.tool, "mcp call")
        output.tool = "in_progress"

    def visit_response_mcp_call_completed(self, event: ev.ResponseMcpCallCompleted) -> None:
        self._called(event)

    def visit_response_mcp_call_failed(self, event: ev.ResponseMcpCallFailed) -> None:
        self._called(event)

    def _called(self, event: Any) -> None:
        _, output = self._mcp_call(event)
        self._require(output.tool == "in_progress", "mcp call", "it is not in progress")
        output.tool = "over"

    def _mcp_call(self, event: Any) -> tuple[_Running, _Output]:
        """The open item that an event is about, which doesn't name its response."""
        for running in self._running.values():
            for output in running.outputs:
                if output.begun.id == event.item_id and output.done is None:
                    fits = isinstance(output.begun, ev.McpCall) and output.index == event.output_index
                    self._require(fits, "mcp call", "it is another item")
                    return running, output
        return self._fail("mcp call", "no such item is open")

    # --- Translation -------------------------------------------------------------------------------

    def visit_session_input_transcript_delta(self, event: ev.SessionInputTranscriptDelta) -> None:
        self._require(_transcription(self._session), "source")
        self._check_elapsed(event.elapsed_ms)

    def visit_session_output_transcript_delta(self, event: ev.SessionOutputTranscriptDelta) -> None:
        self._check_elapsed(event.elapsed_ms)

    def visit_session_output_audio_delta(self, event: ev.SessionOutputAudioDelta) -> None:
        self._check_elapsed(event.elapsed_ms)

    def _check_elapsed(self, elapsed_ms: int | None) -> None:
        if elapsed_ms is not None:
            self._require(elapsed_ms >= self._elapsed, "elapsed", f"{self._elapsed} went before")
            self._require(elapsed_ms < self._appended_ms + 200, "elapsed", "that was not appended")
            self._elapsed = elapsed_ms


# --- Reading events ----------------------------------------------------------------------------------


def _shown(event: ServerEvent | ClientEvent) -> str:
    text = codec.encode(event).decode(errors="replace")
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def _id(thing: Any) -> str | None:
    return getattr(thing, "id", None)


def _item_id(event: Any) -> str | None:
    return _id(event.item) if hasattr(event, "item") else getattr(event, "item_id", None)


def _input_format(session: SessionConfig) -> str:
    hearing = session.audio.input if session.audio else None
    return str(hearing.format.type if hearing and hearing.format else session.input_audio_format)


def _turn_detection(session: SessionConfig) -> Any:
    hearing = session.audio.input if session.audio else None
    return (hearing.turn_detection if hearing else None) or session.turn_detection or None


def _transcription(session: SessionConfig) -> bool:
    hearing = session.audio.input if session.audio else None
    return bool((hearing.transcription if hearing else None) or session.input_audio_transcription)


def _begins(item: Any) -> bool:
    """Whether an item of a response is as one that begins."""
    if isinstance(item, ev.Message):
        return (item.status, item.role, item.content) == ("in_progress", "assistant", [])
    if isinstance(item, ev.FunctionCall):
        return (item.status, item.arguments) == ("in_progress", "") and bool(item.call_id)
    if isinstance(item, ev.McpCall):
        return (item.arguments, item.output, item.error) == ("", None, None)
    return isinstance(item, ev.McpApprovalRequest)  # it comes whole


def _sound_of(item: Any) -> int:
    """Bytes of sound in an item."""
    parts = item.content if isinstance(item, ev.Message) else []
    return sum(len(part.audio or b"") for part in parts if isinstance(part, ev.OutputAudio))


def _is_silent(part: Any) -> bool:
    return isinstance(part, ev.OutputAudio) and not part.transcript and part.audio is None


def _holds(part: Any, streamed: _Part) -> bool:
    """Whether a part has the words that were streamed."""
    if streamed.written:
        return isinstance(part, ev.OutputText) and part.text == streamed.words
    return isinstance(part, ev.OutputAudio) and (part.transcript or "") == streamed.words
