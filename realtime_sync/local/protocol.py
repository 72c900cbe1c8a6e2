"""One Realtime session from the server's side, as a pure state machine.

No socket, no thread, no clock, no chance: the same frames give the same events.  Three verbs:

* `Protocol.start` once, first: the events that open the session.
* `Protocol.receive` for every frame of the client: the events that answer it at once.
* `Protocol.step` at the time `Protocol.due`: the next piece of what is running.  What is received between
  two steps takes effect between them, a cancel too.

Time is passed in as ``now``: seconds of any clock that doesn't go back.  Once `Protocol.closing` is set, the
session has ended and the caller closes the connection with that code and reason.

Whatever a client sends, nothing is raised: a frame that can't be obeyed gives one ``error`` event,
changes nothing, and the session goes on.  Send events in the order in which they are returned.

Structs are never changed once they were put in an event or in the history, only replaced, so events
can share them.
"""

from collections import deque
from itertools import count

from msgspec import UNSET, structs

from .. import events as ev
from ..codec import Deviation, decode_client
from ..events import ClientEvent, ServerEvent, SessionConfig
from .answer import Answer
from .checks import check_item, check_settings, checked
from .history import History, Kept, completed, id_of, part_of, without_audio
from .ids import NEW, Ids
from .refusal import Refused, missing
from .responders import DefaultResponder, Responder
from .settings import fresh_session, input_of, merged, output_of, rate_of

__all__ = ["Protocol", "numbered"]


def numbered() -> Ids:
    """Ids that count: ``item_000001``, ``event_000002``, ...  Unique within one session."""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers):06}"


class Protocol:
    """One session.

    Args:
        responder: Answers in place of a model.
        transcriber: Hears in place of a model.
        model: The model the client asked for; only announced.
        session_type: ``"realtime"``, ``"transcription"`` or ``"translation"``.
        dialect: ``"ga"`` or ``"beta"``.
        settings: Laid over what a session begins with, for example those an ephemeral secret was made for.
        expires_at: Announced, in Unix seconds.
        lifetime: Seconds after which the session is ended.
        delay: Seconds between two pieces of a response.
        realtime_pace: Whether sound comes no faster than it plays, and words as fast as they are read.
        ids: Makes ids; counts by default.

    Raises:
        Refused: The settings are not what the specification says.

    Attributes:
        closing: Close code and reason, once the session has ended.
    """

    def __init__(
        self,
        *,
        responder: Responder | None = None,
        transcriber: object = None,
        model: str = "gpt-realtime",
        session_type: str = "realtime",
        dialect: str = "ga",
        settings: SessionConfig | None = None,
        expires_at: int | None = None,
        lifetime: float | None = None,
        delay: float = 0.0,
        realtime_pace: bool = False,
        ids: Ids | None = None,
    ) -> None:
        self.closing: tuple[int, str] | None = None
        self._delay, self._due = delay, 0.0
        if session_type != "realtime":
            raise ValueError(f"no such kind of session: {session_type!r}")
        self._responder = responder or DefaultResponder()
        self._ids = ids or numbered()
        self._fresh = fresh_session(self._ids("sess"), model, expires_at)
        self._session = self._fresh
        self._conversation_id = self._ids("conv")
        self._history = History()
        self._buffer = bytearray()
        self._running: deque[Answer] = deque()
        self._spoken = False

    @property
    def active(self) -> bool:
        """Whether a response is running: `step` has something to give."""
        return bool(self._running)

    @property
    def due(self) -> float | None:
        """When `step` is to be called next; ``None``: not before the client has sent something."""
        return self._due if self._running else None

    @property
    def session(self) -> SessionConfig:
        """The session's settings, as announced."""
        return self._session

    def start(self, now: float = 0.0) -> list[ServerEvent]:
        """Open the session."""
        return self._stamped([ev.SessionCreated(event_id=NEW, session=self._session)])

    def receive(self, frame: bytes | str, now: float = 0.0) -> list[ServerEvent]:
        """Take one frame of the client and give what answers it now."""
        event_id = None
        try:
            deviations: list[Deviation] = []
            event = decode_client(frame, report=deviations.append)
            event_id = event.event_id or None
            return self._stamped(self._obey(checked(event, deviations, frame)))
        except Refused as refusal:
            return self._stamped([refusal.event(event_id)])

    def step(self, now: float = 0.0) -> list[ServerEvent]:
        """Take a running response one piece further; ``[]`` when there is none.

        Several responses (all but one beside the conversation) take turns.
        """
        if not self._running:
            return []
        if now < self._due:
            return []
        self._due = now + self._delay
        answer = self._running.popleft()
        events = answer.step()
        if not answer.over:
            self._running.append(answer)
        self._spoken = self._spoken or any(isinstance(e, ev.ResponseOutputAudioDelta) for e in events)
        return self._stamped(events)

    def _stamped(self, events: list[ServerEvent]) -> list[ServerEvent]:
        for event in events:
            event.event_id = self._ids("event")
        return events

    def _obey(self, event: ClientEvent) -> list[ServerEvent]:
        match event:
            case ev.SessionUpdate():
                return self._update(event.session)
            case ev.ConversationItemCreate():
                return self._create_item(event.item, event.previous_item_id)
            case ev.ConversationItemRetrieve():
                item = self._history.item(event.item_id, "retrieve")
                return [ev.ConversationItemRetrieved(event_id=NEW, item=item)]
            case ev.ConversationItemDelete():
                self._history.delete(event.item_id)
                return [ev.ConversationItemDeleted(event_id=NEW, item_id=event.item_id)]
            case ev.ConversationItemTruncate():
                return self._truncate(event)
            case ev.InputAudioBufferAppend():
                self._buffer += event.audio
                return []
            case ev.InputAudioBufferCommit():
                return self._commit()
            case ev.InputAudioBufferClear():
                self._buffer.clear()
                return [ev.InputAudioBufferCleared(event_id=NEW)]
            case ev.ResponseCreate():
                return self._respond(event.response or ev.ResponseCreateParams())
            case ev.ResponseCancel():
                return self._cancel(event.response_id)
        # Playback on the server's side (WebRTC, SIP), translation, Beta
        raise Refused("invalid_value", f"{event.type!r} has no meaning in this kind of session", "type")

    # --- Session -----------------------------------------------------------------------------------

    def _update(self, new: SessionConfig) -> list[ServerEvent]:
        if not new.type:
            raise missing("session.type")
        if new.type != self._session.type:
            raise Refused("invalid_value", f"this is a {self._session.type} session", "session.type")
        if new.model and new.model != self._session.model:
            raise Refused("cannot_update_model", "a session keeps its model", "session.model")
        self._session = self._configured(new, self._fresh, "session")
        return [ev.SessionUpdated(event_id=NEW, session=self._session)]

    def _configured(
        self, new: SessionConfig | ev.ResponseCreateParams, cleared: SessionConfig, at: str
    ) -> SessionConfig:
        """The session's settings with ``new`` over them, where null stands for the value in ``cleared``."""
        check_settings(new, at)
        made = merged(self._session, new, cleared)
        if self._spoken and output_of(made).voice != output_of(self._session).voice:
            message = "the voice can't change any more: the model has spoken"
            raise Refused("cannot_update_voice", message, f"{at}.audio.output.voice")
        return made

    # --- Conversation ------------------------------------------------------------------------------

    def _create_item(self, item: ev.Item, after: str | None) -> list[ServerEvent]:
        check_item(item, "item")
        rate = rate_of(input_of(self._session))
        if isinstance(item, ev.Message) and item.role == "assistant":
            rate = rate_of(output_of(self._session))
        item_id = id_of(item) or self._ids("item")
        return self._add(Kept(item_id, completed(item, item_id), rate), after)

    def _add(self, kept: Kept, after: str | None = None) -> list[ServerEvent]:
        """Put a finished item into the conversation."""
        previous = self._history.add(kept, after)
        item = without_audio(kept.item)
        return [
            ev.ConversationItemAdded(event_id=NEW, previous_item_id=previous, item=item),
            ev.ConversationItemDone(event_id=NEW, previous_item_id=previous, item=item),
        ]

    def _truncate(self, event: ev.ConversationItemTruncate) -> list[ServerEvent]:
        item = self._history.item(event.item_id, "truncate")
        part = part_of(item, event.content_index)
        if not (
            isinstance(item, ev.Message) and item.role == "assistant" and isinstance(part, ev.OutputAudio)
        ):
            raise Refused("invalid_value", "only audio of an assistant message can be truncated", "item_id")
        rate = self._history.rate(event.item_id)
        audio = part.audio or b""
        length = len(audio) * 1000 // rate
        if not 0 < event.audio_end_ms <= length:
            message = f"this is not within the audio, which is {length} ms long"
            raise Refused("invalid_value", message, "audio_end_ms")
        content = list(item.content)
        content[event.content_index] = ev.OutputAudio(audio=audio[: event.audio_end_ms * rate // 1000])
        self._history.replace(event.item_id, structs.replace(item, content=content))
        return [
            ev.ConversationItemTruncated(
                event_id=NEW,
                item_id=event.item_id,
                content_index=event.content_index,
                audio_end_ms=event.audio_end_ms,
            )
        ]

    def _commit(self) -> list[ServerEvent]:
        rate = rate_of(input_of(self._session))
        length = len(self._buffer) * 1000 / rate
        if length < 100:
            message = f"at least 100 ms of audio are needed, the buffer holds {length:.2f} ms"
            raise Refused("input_audio_buffer_commit_empty", message)
        part = ev.InputAudio(audio=bytes(self._buffer))
        self._buffer.clear()
        item_id = self._ids("item")
        item = completed(ev.Message(role="user", content=[part]), item_id)
        committed = ev.InputAudioBufferCommitted(
            event_id=NEW, previous_item_id=self._history.last_id, item_id=item_id
        )
        return [committed, *self._add(Kept(item_id, item, rate))]

    # --- Responses ---------------------------------------------------------------------------------

    def _respond(self, params: ev.ResponseCreateParams) -> list[ServerEvent]:
        beside = params.conversation == "none"
        if not beside and params.conversation not in (UNSET, None, "auto"):
            raise Refused("invalid_value", "one of 'auto' and 'none' is expected", "response.conversation")
        running = next((answer for answer in self._running if answer.history is not None), None)
        if running and not beside:
            message = f"response {running.id!r} is still running in the conversation"
            raise Refused("conversation_already_has_active_response", message)
        settings = self._configured(params, self._session, "response")
        answer = Answer(
            self._ids,
            self._responder,
            settings,
            self._given(params),
            history=None if beside else self._history,
            conversation_id=None if beside else self._conversation_id,
            metadata=params.metadata or None,
        )
        self._running.append(answer)
        return [ev.ResponseCreated(event_id=NEW, response=answer.response("in_progress"))]

    def _given(self, params: ev.ResponseCreateParams) -> list[Kept]:
        """What there is to answer: the conversation, or what the client gives in its place."""
        if params.input is UNSET or params.input is None:
            return self._history.all()
        rate = rate_of(input_of(self._session))
        given = []
        for index, item in enumerate(params.input):
            at = f"response.input[{index}]"
            if isinstance(item, ev.ItemReference):
                found = self._history.find(item.id)
                if found is None:
                    raise Refused("invalid_value", f"there is no item {item.id!r}", f"{at}.id")
                given.append(found)
            else:
                check_item(item, at)
                given.append(Kept(id_of(item) or "", item, rate))
        return given

    def _cancel(self, response_id: str | None) -> list[ServerEvent]:
        for answer in self._running:
            if answer.id == response_id or (response_id is None and answer.history is not None):
                self._running.remove(answer)
                return answer.cancel()
        raise Refused("response_cancel_not_active", "there is no such response running", "response_id")
