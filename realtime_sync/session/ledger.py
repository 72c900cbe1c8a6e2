"""`Ledger`: what a server does is understood here, once, and told to everybody else as facts.

The reader thread gives it the events of a session in the order in which they came, and the session what was
sent; nothing else decides which response an event belongs to, which request that answers, which item and part
it fills, or whom an error concerns.  It keeps three things apart, because servers report them apart:

* Which items are *in the conversation*: ``conversation.item.added``, ``.created`` (Beta) and ``.done`` put
  an item into it, ``.deleted`` removes it.  If a server sends none of these for its own items,
  ``response.output_item.*`` counts instead, provided the response is known to run in the conversation.
* Which items a *response* made: ``response.output_item.*`` adds one, and ``response.done`` lists them all.
* What an item *contains*: deltas arrive under the item's id, whether or not it is in the conversation.  The
  event that completes a text carries all of it, which replaces the deltas.

Events that break the protocol are used on a best-effort basis and counted in `Ledger.deviations`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct, structs

from .. import events as ev
from ..events import SERVER_EVENTS, ServerEvent, UnknownEvent
from ..sound.formats import bytes_per_second, input_format, input_settings
from ..visitor import Visitor
from . import facts
from .calls import Calls
from .facts import Audio, Fact, Facts, ItemEntry, PartEntry, ResponseEntry, Sent, Text, Transcript
from .input_audio import InputAudio
from .items import Entering, Items, OfCall, OfItem, OfTranscript, as_id, call_id_of, is_id, is_index
from .outbox import Event, Letter, sent_of
from .requests import Requests
from .responses import Responses
from .settings import AskedSettings

__all__ = ["RESTARTED", "Change", "Ledger", "creates_responses"]

RESTARTED = "restarted"
"""The fate of a response that is asked for again."""

_NO_TRANSCRIPT = "the connection was lost before the transcript came"
_LONGEST_MS = 10**10  # of audio: some months
_MOST_ARGUMENTS = 16 * 1024 * 1024  # characters of those of one call, in deltas
_HOT = 64  # parts that deltas find without a search

_Announcement = (
    ev.SessionCreated | ev.SessionUpdated | ev.TranscriptionSessionCreated | ev.TranscriptionSessionUpdated
)
_McpState = (
    ev.ResponseMcpCallInProgress
    | ev.ResponseMcpCallCompleted
    | ev.ResponseMcpCallFailed
    | ev.McpListToolsInProgress
    | ev.McpListToolsCompleted
    | ev.McpListToolsFailed
)
_Delta = TypeVar(
    "_Delta",
    ev.ResponseOutputTextDelta,
    ev.ResponseOutputAudioDelta,
    ev.ResponseOutputAudioTranscriptDelta,
)


_STREAMS: dict[type[ServerEvent], Callable[[PartEntry, Any], Fact]] = {
    event: fact
    for event in SERVER_EVENTS.values()
    for kind, fact in (
        (ev.ResponseOutputTextDelta, Text),
        (ev.ResponseOutputAudioDelta, Audio),
        (ev.ResponseOutputAudioTranscriptDelta, Transcript),
    )
    if issubclass(event, kind)
}
"""The deltas of parts, by GA and Beta names, and what they mean."""


class Change(Struct, frozen=True):
    """What is different in the session of another connection.

    Attributes:
        config: The settings that its server announced; ``None`` = none.
        gone: The items that it lacks.
        names: The ids of the items that it has under another id.
        fates: What becomes of the responses that ran: their status, or `RESTARTED`.
        untranscribed: The user's speech whose transcript will not come.
    """

    config: ev.SessionConfig | None
    gone: tuple[ItemEntry, ...]
    names: dict[ItemEntry, str]
    fates: dict[ResponseEntry, str]
    untranscribed: tuple[ItemEntry, ...] = ()


class Ledger(Visitor[Facts]):
    """What is known of one session, by its events and requests.  Pure: no socket, no thread, no clock.

    Args:
        has_requests: Whether it is told what was sent.  If not, nothing shows which responses are out-of-band
            but the server's ``conversation_id`` and ``conversation.item.*`` events.

    Attributes:
        requests: The client events that are not answered yet.
        responses: The responses, which of them is active, and the requests that wait for it to end.
        deviations: How often the server deviated from the protocol, by kind, such as
            ``"response.output_audio.delta: unknown item"``.
        config: The settings that the server announced last; ``None`` before that.
        moved: Set by each event of a response.
        settings: The settings that were asked for.
        progress: Grows whenever the conversation has: it has another turn, item or response.
    """

    def __init__(self, *, has_requests: bool = True) -> None:
        self.requests = Requests()
        self.deviations: Counter[str] = Counter()
        self.config: ev.SessionConfig | None = None
        self.moved = False
        self.settings = AskedSettings()
        self.progress = 0
        self._items = Items(self._tell, self._count)
        self._calls = Calls(self._tell)
        self.responses = Responses(
            self._tell, self._count, self.requests, self._items, self._calls, has_requests=has_requests
        )
        # Parts by (response_id, item_id, output_index, content_index): where most deltas find theirs.
        self._hot: dict[tuple[str, str, int, int], PartEntry] = {}
        self._previous: ServerEvent = UnknownEvent(type="", frame=b"")
        self._has_own_ids = True  # whether this server gives each event an event_id of its own
        self._handled = False  # whether the event must not reach the user
        self._facts: list[Fact] = []

    # --- Events in, facts out ----------------------------------------------------------------------------

    def note(self, event: ServerEvent) -> Facts | None:
        """Understand an event, the next in the order of the wire.

        Returns:
            What it means; nothing if it repeats the one before.  ``None`` if the event is dealt with and must
            not reach the user.
        """
        previous, self._previous = self._previous, event
        is_same = event.event_id == previous.event_id and bool(event.event_id)
        stream = _STREAMS.get(type(event))
        if stream is not None and not is_same:  # as most events of a session, so this is short
            delta: Any = event
            part = self._hot.get((delta.response_id, delta.item_id, delta.output_index, delta.content_index))
            if part is not None:
                self.moved = True
                return (stream(part, delta.delta),)
        if is_same and self._is_repeated(event, previous):
            return ()
        return getattr(self, event.handler)(event) or self._taken()

    def default(self, event: ServerEvent) -> Facts:
        """Take no fact from an event that needs no understanding."""
        return ()

    def forget_half_told(self) -> None:
        """Forget the facts of an event that could not be understood to its end."""
        self._facts, self._handled = [], False
        self._hot.clear()

    def _tell(self, fact: Fact) -> None:
        self._facts.append(fact)

    def _taken(self) -> Facts | None:
        """Return the facts that were told, or ``None`` for an event that is dealt with."""
        self._hot.clear()  # what has changed may have changed where deltas belong
        told, self._facts = tuple(self._facts), []
        handled, self._handled = self._handled, False
        return None if handled else told

    def _is_repeated(self, event: ServerEvent, previous: ServerEvent) -> bool:
        if self._has_own_ids and event == previous:
            self._count(event, "repeated")
            return True
        self._has_own_ids = False  # this server gives the same id to different events
        return False

    def _count(self, event: ServerEvent, problem: str) -> None:
        kind = "unknown event" if isinstance(event, UnknownEvent) else event.type  # no text of the server's
        self.deviations[f"{kind}: {problem}"] += 1

    def sent(self, sent: Sent, event: Event | None = None) -> Letter | None:
        """Note a client event, before it is sent, that is no request for a response.

        With the event itself, if there is one, it is kept until it is confirmed.
        """
        part = self._truncated(sent)
        if part is not None:
            part.asked_ms[sent.event_id] = sent.audio_end_ms
        return self.requests.note_sent(sent, event)

    def sent_event(self, event: Event, event_id: str, audio: int) -> Letter:
        """Do the same with an event that is sent after so many bytes of audio."""
        letter = self.sent(sent_of(event, event_id, audio), event)
        assert letter is not None
        letter.audio = audio
        return letter

    def _truncated(self, sent: Sent) -> PartEntry | None:
        """Return the part that a client event truncates, if it does."""
        item = self._items.get(sent.item_id) if sent.type == "conversation.item.truncate" else None
        return None if item is None else item.parts.get(sent.content_index)

    # --- The session -------------------------------------------------------------------------------------

    def _configure(self, event: _Announcement) -> None:
        self.config = event.session
        self._tell(facts.Settings(event.session))

    visit_session_created = _configure
    visit_transcription_session_created = _configure

    def visit_session_updated(self, event: ev.SessionUpdated) -> None:
        """The settings have changed, on request."""
        self._settings_done("session.update")
        self._configure(event)

    def visit_transcription_session_updated(self, event: ev.TranscriptionSessionUpdated) -> None:
        """The settings have changed, on request (Beta)."""
        self._settings_done("transcription_session.update")
        self._configure(event)

    def _settings_done(self, kind: str) -> None:
        sent = self.requests.note_done(kind)
        if sent is not None:
            self.settings.confirmed(sent.event_id)

    def visit_error(self, event: ev.ErrorEvent) -> None:
        """Find out whom an error concerns."""
        error = event.error
        active = self.responses.active
        verdict = self.requests.judge(error, runs=active is not None)
        if verdict.unmatched is not None:
            self.responses.unmatched(verdict.unmatched)
        if verdict.handled:
            self._handled = True
            if verdict.requeued:
                self.responses.requeued()
            return
        self._tell(facts.Error(error, is_ours=verdict.is_ours))
        if verdict.rejects is not None:
            self._tell(facts.Rejected(verdict.rejects, error))
            self.settings.rejected(verdict.rejects.event_id)
            part = self._truncated(verdict.rejects)
            if part is not None:
                part.asked_ms.pop(verdict.rejects.event_id, None)
        if verdict.lost is not None:
            self.responses.lost(verdict.lost, "lost")
        if verdict.unclear and active is not None:
            active.error = error

    # --- The user ----------------------------------------------------------------------------------------

    def visit_input_audio_buffer_speech_started(self, event: ev.InputAudioBufferSpeechStarted) -> None:
        """The user began to speak."""
        self.responses.user_wrote()
        audio_ms, place = self._heard_to(event.audio_start_ms, event)
        self.audio.speech_began(place)
        self._tell(facts.SpeechStarted(event.item_id, audio_ms))

    def visit_input_audio_buffer_speech_stopped(self, event: ev.InputAudioBufferSpeechStopped) -> None:
        """The user ceased to speak."""
        audio_ms, place = self._heard_to(event.audio_end_ms, event)
        self.audio.speech_ended(place)
        self._tell(facts.SpeechStopped(event.item_id, audio_ms))

    @property
    def audio(self) -> InputAudio:
        """The user's audio."""
        return self.requests.outbox.audio

    def _heard_to(self, audio_ms: int, event: ServerEvent) -> tuple[int, int]:
        """Return the place in all audio sent at which this server has detected something: in ms, in bytes.

        A server counts from the beginning of its connection.
        """
        audio_ms = self._ms(audio_ms, event)
        self.requests.server_asks = True
        try:
            rate = bytes_per_second(input_format(self.config))
        except ValueError:  # a format that is none of the three
            return audio_ms, 0
        base = self.audio.base
        return audio_ms + base * 1000 // rate, base + audio_ms * rate // 1000

    def visit_input_audio_buffer_committed(self, event: ev.InputAudioBufferCommitted) -> None:
        """The user's speech becomes a message; some servers send no other event for it."""
        sent = self.requests.note_done("input_audio_buffer.commit")
        if sent is None:
            self.requests.server_asks = True
            self.responses.owed = creates_responses(self.config)
        self.responses.user_wrote()
        item = self._items.spoken(event, begins=True)
        item.appended = True
        self.progress += 1
        self.audio.committed(item, None if sent is None else sent.audio)
        self._items.append(item)
        self._tell(facts.Committed(item))

    def visit_input_audio_buffer_cleared(self, event: ev.InputAudioBufferCleared) -> None:
        """The buffered audio was discarded, on request."""
        sent = self.requests.note_done("input_audio_buffer.clear")
        if sent is not None:
            self.audio.cleared(sent.audio)

    # --- Another connection --------------------------------------------------------------------------------

    def reconnected(self, change: Change) -> Facts:
        """Note that another session goes on with the conversation, and return what that means."""
        self._previous = UnknownEvent(type="", frame=b"")
        self._has_own_ids = True
        self.config = change.config or self.config
        if self.config is not None:
            self._tell(facts.Settings(self.config))
        self.requests.reconnected()
        self._calls.abandon_mcp()
        for response, status in change.fates.items():
            if not response.done:
                if status == RESTARTED:
                    self.responses.restart(response)
                else:
                    self.responses.lost(response, status)
        self._items.restored(change.gone, change.names)
        for item in change.untranscribed:
            for part in item.parts.values():
                self._tell(facts.Transcribed(part, ev.TranscriptionError(message=_NO_TRANSCRIPT)))
        self.responses.reconnected()
        return self._taken() or ()

    @property
    def calls_open(self) -> int:
        """The number of calls of functions that have no output yet."""
        return len(self._calls.open)

    def call_answered(self, call_id: str) -> None:
        """Note that the output of a call is sent."""
        self._calls.open.pop(call_id, None)

    def item(self, item_id: str) -> ItemEntry | None:
        """Return the item with this id, the latest if a server has reused it; ``None`` = unknown."""
        return self._items.get(item_id)

    def visit_output_audio_buffer_cleared(self, event: ev.OutputAudioBufferCleared) -> None:
        """The server's own playback was stopped, on request."""
        self.requests.note_done("output_audio_buffer.clear")

    def visit_session_closed(self, event: ev.SessionClosed) -> None:
        """A translation session has ended, on request."""
        self.requests.note_done("session.close")

    def visit_conversation_item_input_audio_transcription_delta(
        self, event: ev.ConversationItemInputAudioTranscriptionDelta
    ) -> None:
        """Words of the user came."""
        if part := self._heard(event):
            self._tell(facts.Transcript(part, event.delta))

    def visit_conversation_item_input_audio_transcription_segment(
        self, event: ev.ConversationItemInputAudioTranscriptionSegment
    ) -> None:
        """A segment of the user's words came."""
        if part := self._heard(event):
            self._tell(facts.Segment(part, event))

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: ev.ConversationItemInputAudioTranscriptionCompleted
    ) -> None:
        """All words of the user are known."""
        if part := self._heard(event):
            self._tell(facts.Transcript(part, event.transcript, whole=True))
            self._tell(facts.Transcribed(part, None))

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ev.ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        """The words of the user will not be known."""
        if part := self._heard(event):
            self._tell(facts.Transcribed(part, event.error))

    def _heard(self, event: OfTranscript) -> PartEntry | None:
        """Return the part that a transcript belongs to.  It may arrive before its item does."""
        return self._items.part(self._items.spoken(event), event.content_index, event, "audio")

    # --- The conversation --------------------------------------------------------------------------------

    def _enter(self, event: Entering) -> ItemEntry | None:
        return self._items.enter(
            event, running=self.responses.is_running, created=self._created, joined=self.responses.joined
        )

    def _created(self, item: ItemEntry) -> Sent | None:
        """Return the event of ours that has created an item, unless a response has made it."""
        is_first = not item.in_conversation and not item.deleted  # of the events that tell of it
        is_ours = is_first and item.response is None and not item.appended
        sent = self.requests.note_done("conversation.item.create", item.id, item.type) if is_ours else None
        self.progress += sent is not None
        return sent

    def visit_conversation_item_added(self, event: ev.ConversationItemAdded) -> None:
        """An item is in the conversation; it may still be empty."""
        self._enter(event)

    def visit_conversation_item_created(self, event: ev.ConversationItemCreated) -> None:
        """An item is in the conversation (Beta)."""
        self._enter(event)

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        """An item of the conversation is complete; those of MCP may arrive after their response."""
        item, wire, latest = self._enter(event), event.item, self.responses.latest
        if item is None or latest is None:
            return
        # An MCP call that the user created, such as one of an earlier conversation, is history.
        response = item.response or latest
        if isinstance(wire, ev.McpCall) and self._calls.has_told("mcp", item):
            self._calls.take(wire, response, item)
        elif isinstance(wire, ev.McpApprovalRequest) and not self._calls.has_told("approval", item):
            goes_on = self.responses.goes_on_after_all(response)
            self._calls.take(wire, response, item, goes_on=goes_on)

    def visit_conversation_item_retrieved(self, event: ev.ConversationItemRetrieved) -> None:
        """An item came on request, with its audio."""
        self.requests.note_done("conversation.item.retrieve", getattr(event.item, "id", None) or "")
        item = self._items.known(event.item, event)
        if item is None:
            return
        if not item.in_conversation:
            self._count(event, "unknown item")
            self._items.append(item)
        self._items.absorb(item, event.item, event)

    def visit_conversation_item_deleted(self, event: ev.ConversationItemDeleted) -> None:
        """An item is not in the conversation any more."""
        self.requests.note_done("conversation.item.delete", event.item_id)
        self._items.delete(event)

    def visit_conversation_item_truncated(self, event: ev.ConversationItemTruncated) -> None:
        """The audio of a part ends earlier."""
        self.requests.note_done("conversation.item.truncate", event.item_id)
        item = self._items.get(event.item_id)
        part = item.parts.get(event.content_index) if item is not None else None
        if part is None:
            self._count(event, "unknown item" if item is None else "unknown part")
            return
        self._tell(facts.ItemTruncated(part, self._ms(event.audio_end_ms, event)))

    def _ms(self, ms: int, event: ServerEvent) -> int:
        """Return milliseconds that a server names, within what can be."""
        if not 0 <= ms <= _LONGEST_MS:
            self._count(event, "milliseconds out of range")
        return min(max(0, ms), _LONGEST_MS)

    # --- Responses -----------------------------------------------------------------------------------------

    def visit_response_created(self, event: ev.ResponseCreated) -> None:
        """A response begins."""
        self.moved = True
        self.responses.created(event)

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        """A response ends."""
        self.moved = True
        self.progress += 1
        self.responses.end(event.response, event)

    def visit_response_cancelled(self, event: ev.ResponseCancelled) -> None:
        """A response was cancelled; some servers send this in place of ``response.done``, some beside it."""
        self.moved = True
        wire = event.response or ev.Response(id=event.response_id)
        self.responses.end(wire if wire.status else structs.replace(wire, status="cancelled"), event)

    # --- Items of responses ------------------------------------------------------------------------------

    def visit_response_output_item_added(self, event: ev.ResponseOutputItemAdded) -> None:
        """A response begins an item."""
        if (found := self._of_response(event)) and isinstance(event.item, ev.McpCall):
            self._calls.begin_mcp(*found)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        """An item of a response is complete."""
        if found := self._of_response(event):
            self._items.finish(found[1])
            self._calls.take(event.item, *found)

    def _of_response(
        self, event: ev.ResponseOutputItemAdded | ev.ResponseOutputItemDone
    ) -> tuple[ResponseEntry, ItemEntry] | None:
        self.moved = True
        self._check_output_index(event)
        response = self.responses.meant(event.response_id, event, getattr(event.item, "id", None))
        is_done = isinstance(event, ev.ResponseOutputItemDone)
        if is_done:
            self._items.at_place(event.item, event.output_index, response, event)
        item = self._items.known(event.item, event, response)
        if item is None:
            return None
        if item.response is None and is_done:
            self._count(event, "not added")
        self._items.attach(item, response, event)
        self._items.absorb(item, event.item, event)
        return item.response or response, item

    def _check_output_index(
        self, event: OfItem | OfCall | ev.ResponseOutputItemAdded | ev.ResponseOutputItemDone
    ) -> None:
        if not is_index(event.output_index):
            self._count(event, "index out of range")

    def visit_response_content_part_added(self, event: ev.ResponseContentPartAdded) -> None:
        """A part of an item begins."""
        if part := self._part(event):
            self._tell(facts.Part(part, event.part, whole=False))

    def visit_response_content_part_done(self, event: ev.ResponseContentPartDone) -> None:
        """A part of an item is complete."""
        if part := self._part(event):
            self._tell(facts.Part(part, event.part, whole=True))

    def visit_response_output_text_delta(self, event: ev.ResponseOutputTextDelta) -> Facts | None:
        """Text came."""
        return self._first(event, "text", Text)

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> Facts | None:
        """Audio came."""
        return self._first(event, "audio", Audio)

    def visit_response_output_audio_transcript_delta(
        self, event: ev.ResponseOutputAudioTranscriptDelta
    ) -> Facts | None:
        """Words of audio came."""
        return self._first(event, "audio", Transcript)

    def _first(self, event: _Delta, kind: str, fact: Callable[[PartEntry, Any], Fact]) -> Facts | None:
        """Understand a delta of a part that is not hot, and make it hot: `note` finds it from then on."""
        part = self._part(event, kind)
        if part is not None:
            self._tell(fact(part, event.delta))
        told, hot = self._facts, self._hot
        if len(told) > 1 or len(hot) > _HOT:
            hot.clear()
        self._facts = []
        if (
            part is not None
            and is_index(event.output_index)
            and is_id(event.item_id)
            and is_id(event.response_id)
        ):
            hot[event.response_id, event.item_id, event.output_index, event.content_index] = part
        return tuple(told)

    def visit_response_output_text_done(self, event: ev.ResponseOutputTextDone) -> None:
        """All text of a part came."""
        if part := self._part(event, "text"):
            self._tell(facts.Text(part, event.text, whole=True))

    def visit_response_output_audio_done(self, event: ev.ResponseOutputAudioDone) -> None:
        """All audio of a part came."""
        if part := self._part(event, "audio"):
            self._tell(facts.AudioDone(part))

    def visit_response_output_audio_transcript_done(
        self, event: ev.ResponseOutputAudioTranscriptDone
    ) -> None:
        """All words of a part came."""
        if part := self._part(event, "audio"):
            self._tell(facts.Transcript(part, event.transcript, whole=True))

    def visit_session_output_audio_delta(self, event: ev.SessionOutputAudioDelta) -> Facts:
        """Audio of a translation came."""
        return (facts.Translation(event.delta),)

    def _part(self, event: OfItem, kind: str = "") -> PartEntry | None:
        """Return the part that an event is about, made if it was not announced."""
        self._check_output_index(event)
        item = self._item(event, "message")
        known = event.content_index in item.parts
        part = self._items.part(item, event.content_index, event, kind)
        if part is not None and not known and not isinstance(event, ev.ResponseContentPartAdded):
            self._count(event, "unknown part")
        return part

    def _item(self, event: OfItem | OfCall, kind: str) -> ItemEntry:
        """Return the item that an event is about, made if it was not announced."""
        self.moved = True
        response = self.responses.named(event.response_id, event)
        item = self._items.find(event, response, kind)
        if item is not None and item.response is not None:
            return item
        response = self.responses.meant(event.response_id, event, event.item_id)
        item = item or self._items.make(event, response, kind)
        if item.response is None:
            self._items.attach(item, response, event)
        return item

    # --- Calls -------------------------------------------------------------------------------------------

    def visit_response_function_call_arguments_delta(
        self, event: ev.ResponseFunctionCallArgumentsDelta
    ) -> None:
        """Arguments of a call came."""
        item = self._called(event, "function_call")
        if item.arguments is None:
            item.written += len(event.delta)
            if item.written <= _MOST_ARGUMENTS:
                item.deltas.append(event.delta)
            else:  # they are no JSON then, so that the call fails
                self._count(event, "arguments too long")
        self._tell(facts.Arguments(item, event.delta))

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        """All arguments of a call came; some servers send no other event for a call."""
        item = self._called(event, "function_call")
        item.name = as_id(event.name) or item.name  # Beta sends it with the item only
        item.arguments = event.arguments
        item.deltas.clear()
        self._tell(facts.Arguments(item, event.arguments, whole=True))

    def visit_response_mcp_call_arguments_delta(self, event: ev.ResponseMcpCallArgumentsDelta) -> None:
        """Arguments of an MCP call came."""
        self._tell(facts.Arguments(self._called(event, "mcp_call"), event.delta))

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        """All arguments of an MCP call came: the server begins it."""
        item = self._called(event, "mcp_call")
        self._tell(facts.Arguments(item, event.arguments, whole=True))
        if item.response is not None:
            self._calls.begin_mcp(item.response, item)

    def _called(self, event: OfCall, kind: str) -> ItemEntry:
        self._check_output_index(event)
        item = self._item(event, kind)
        item.call_id = item.call_id or call_id_of(event)
        return item

    def _progress(self, event: _McpState) -> None:
        """An MCP call or a list of tools went on: the last word of the event's type says how."""
        self.moved = True
        status = event.type.rpartition(".")[2]
        item = self._items.get(event.item_id)
        if item is None:
            self._count(event, "unknown item")
        else:
            self._tell(facts.ItemStatus(item, status))
            if status != "in_progress":
                self._calls.end_mcp(item)

    visit_response_mcp_call_in_progress = _progress
    visit_response_mcp_call_completed = _progress
    visit_response_mcp_call_failed = _progress
    visit_mcp_list_tools_in_progress = _progress
    visit_mcp_list_tools_completed = _progress

    def visit_mcp_list_tools_failed(self, event: ev.McpListToolsFailed) -> None:
        """The model lacks the tools of an MCP server."""
        self._progress(event)
        self._tell(facts.McpToolsFailed(event.item_id))


def creates_responses(config: ev.SessionConfig | None) -> bool:
    """Return whether the server begins a response by itself after each turn of the user."""
    if config is not None and config.type not in (None, "realtime"):
        return False
    side = input_settings(config)
    detection = side.turn_detection if side is not None else config and config.turn_detection
    return detection is not None and getattr(detection, "create_response", True) is not False
