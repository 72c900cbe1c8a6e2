"""Every event that a server sends, one struct each, in the order of a session's life.

To add an event, add one struct here: its tag is the wire's ``type``, and everything else (the
decoder, the handler's name) is made from the tag.  The tests then name what else is missing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec
from msgspec import Struct

from .objects import (
    COUNT,
    NULL,
    TEXT,
    ContentPart,
    Conversation,
    ErrorDetails,
    Item,
    LogProb,
    RateLimit,
    Response,
    SessionConfig,
    TranscriptionError,
    TranscriptionLanguage,
    TranscriptionUsage,
)

T_co = TypeVar("T_co", covariant=True)


class _Visitor(Protocol[T_co]):
    def visit(self, event: Any, /) -> T_co: ...


class ServerEvent(Struct, kw_only=True, dict=True):
    """Base of everything that a server sends.

    ``event_id`` is the server's own name for the event; it is ``""`` if the server sent none.
    """

    event_id: str

    facts: ClassVar[tuple[Any, ...] | None] = None
    """What its session understands by it; ``None`` if it comes from no session.  Not part of the event: it is
    neither compared nor shown."""

    handler: ClassVar[str]
    """Name of the `Visitor` method for this event, for example ``"visit_response_done"``."""

    @property
    def type(self) -> str:
        """The wire's ``type``, for example ``"response.done"``."""
        return str(self.__struct_config__.tag)

    def accept(self, visitor: _Visitor[T_co]) -> T_co:
        """Call the visitor's method for this event and return what it returns."""
        return visitor.visit(self)


class _MaybeNamed(ServerEvent, kw_only=True):
    event_id: str = ""


class UnknownEvent(_MaybeNamed):
    """A message that is not an event of this version.  Nothing of it is lost.

    Attributes:
        type: The event's ``type``, or ``""`` if the message is not an event.
        frame: The message as it came, in bytes.
        problem: What is wrong with a message that is not an event; ``None`` for a new event.
        event_id: The message's own; ``""`` if it has none.
    """

    type: str  # pyright: ignore[reportIncompatibleMethodOverride]  # here it is what came, not the tag
    frame: bytes
    problem: str | None = None

    handler: ClassVar[str] = "unknown"

    @property
    def data(self) -> Any:
        """The parsed JSON, or ``None`` if the message is not JSON.  Parsed at each call."""
        try:
            return msgspec.json.decode(self.frame)
        except (ValueError, RecursionError):
            return self._data_by_python()

    def _data_by_python(self) -> Any:
        """Parse with Python's parser, which accepts NaN, huge numbers and half a surrogate pair."""
        import json  # only here: most programs never need it

        try:
            return json.loads(self.frame.decode())
        except (ValueError, RecursionError):
            return None


# --- Session ------------------------------------------------------------------------------------


class ErrorEvent(ServerEvent, tag="error", kw_only=True):
    """Something went wrong.  Most errors leave the session usable.

    ``error.event_id`` is what `Session.send` returned for the event that caused it.
    """

    error: ErrorDetails


class SessionCreated(ServerEvent, tag="session.created", kw_only=True):
    """The session is ready; always the first event.  Carries the settings in force."""

    session: SessionConfig


class SessionUpdated(ServerEvent, tag="session.updated", kw_only=True):
    """Answers ``session.update`` with all settings now in force."""

    session: SessionConfig


class SessionClosed(ServerEvent, tag="session.closed", kw_only=True):
    """A translation session has delivered everything and ends; answers ``session.close``."""


class TranscriptionSessionCreated(ServerEvent, tag="transcription_session.created", kw_only=True):
    """A Beta transcription session is ready."""

    session: SessionConfig


class TranscriptionSessionUpdated(ServerEvent, tag="transcription_session.updated", kw_only=True):
    """Answers ``transcription_session.update`` (Beta) with all settings now in force."""

    session: SessionConfig


# --- Conversation -------------------------------------------------------------------------------


class ConversationCreated(ServerEvent, tag="conversation.created", kw_only=True):
    """The default conversation exists; sent by some servers right after ``session.created``."""

    conversation: Conversation


class ConversationItemCreated(ServerEvent, tag="conversation.item.created", kw_only=True):
    """An item is in the conversation (Beta; GA sends ``.added`` and ``.done``).

    ``previous_item_id`` is ``None`` for the first item.
    """

    previous_item_id: str | None = NULL
    item: Item


class ConversationItemAdded(ServerEvent, tag="conversation.item.added", kw_only=True):
    """An item entered the conversation: sent, committed, or begun by the model (then still empty).

    ``previous_item_id`` is ``None`` for the first item.
    """

    previous_item_id: str | None = NULL
    item: Item


class ConversationItemDone(ServerEvent, tag="conversation.item.done", kw_only=True):
    """An item is final.  It has all its content but the audio bytes."""

    previous_item_id: str | None = NULL
    item: Item


class ConversationItemRetrieved(ServerEvent, tag="conversation.item.retrieved", kw_only=True):
    """Answers ``conversation.item.retrieve``: the whole item, audio bytes included."""

    item: Item


class ConversationItemDeleted(ServerEvent, tag="conversation.item.deleted", kw_only=True):
    """Answers ``conversation.item.delete``."""

    item_id: str


class ConversationItemTruncated(ServerEvent, tag="conversation.item.truncated", kw_only=True):
    """Answers ``conversation.item.truncate``: the audio now ends at ``audio_end_ms``.

    The server deletes the part's transcript too, since it can't know which words were played.
    """

    item_id: str
    content_index: int
    audio_end_ms: int


class ConversationItemInputAudioTranscriptionDelta(
    ServerEvent, tag="conversation.item.input_audio_transcription.delta", kw_only=True
):
    """A delta of the transcript of what the user said.  May come before its item does."""

    item_id: str
    content_index: int = COUNT
    delta: str = TEXT
    logprobs: list[LogProb] | None = NULL


class ConversationItemInputAudioTranscriptionSegment(
    ServerEvent, tag="conversation.item.input_audio_transcription.segment", kw_only=True
):
    """A segment of the transcript with its speaker.  ``start`` and ``end`` are in seconds."""

    item_id: str
    content_index: int
    text: str
    id: str
    speaker: str
    start: float
    end: float


class ConversationItemInputAudioTranscriptionCompleted(
    ServerEvent,
    tag="conversation.item.input_audio_transcription.completed",
    kw_only=True,
    omit_defaults=True,
):
    """The whole transcript of what the user said.  May come before or after the response."""

    item_id: str
    content_index: int
    transcript: str
    languages: list[TranscriptionLanguage] | None = None
    logprobs: list[LogProb] | None = NULL
    usage: TranscriptionUsage


class ConversationItemInputAudioTranscriptionFailed(
    ServerEvent, tag="conversation.item.input_audio_transcription.failed", kw_only=True
):
    """The user's audio could not be transcribed.  The conversation goes on without."""

    item_id: str
    content_index: int
    error: TranscriptionError


# --- The user's audio ---------------------------------------------------------------------------


class InputAudioBufferCommitted(ServerEvent, tag="input_audio_buffer.committed", kw_only=True):
    """The buffered audio becomes the user message ``item_id``, whose own event follows."""

    previous_item_id: str | None = NULL
    item_id: str


class InputAudioBufferCleared(ServerEvent, tag="input_audio_buffer.cleared", kw_only=True):
    """Answers ``input_audio_buffer.clear``."""


class InputAudioBufferSpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started", kw_only=True):
    """The user began to speak: the moment to stop playback (barge-in).

    ``audio_start_ms`` counts all audio sent in the session and includes the prefix padding;
    ``item_id`` is the message that will hold the speech.
    """

    audio_start_ms: int
    item_id: str


class InputAudioBufferSpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped", kw_only=True):
    """The user stopped speaking.  ``audio_end_ms`` counts all audio sent in the session."""

    audio_end_ms: int
    item_id: str


class InputAudioBufferTimeoutTriggered(ServerEvent, tag="input_audio_buffer.timeout_triggered", kw_only=True):
    """The user said nothing for ``idle_timeout_ms``.  Both times count the audio sent, in ms."""

    audio_start_ms: int
    audio_end_ms: int
    item_id: str


class InputAudioBufferDtmfEventReceived(
    _MaybeNamed, tag="input_audio_buffer.dtmf_event_received", kw_only=True, omit_defaults=True
):
    """A key was pressed on the phone (SIP only): ``event`` is ``0``-``9``, ``*``, ``#``, ``A``-``D``.

    ``received_at`` is in Unix seconds.  This event has no ``event_id``.
    """

    event: str
    received_at: int


# --- Responses ----------------------------------------------------------------------------------


class ResponseCreated(ServerEvent, tag="response.created", kw_only=True):
    """A response begins.  ``response.output`` is still empty."""

    response: Response


class ResponseDone(ServerEvent, tag="response.done", kw_only=True):
    """A response is over, however it ended: read ``response.status``."""

    response: Response


class ResponseCancelled(ServerEvent, tag="response.cancelled", kw_only=True, omit_defaults=True):
    """A response was cancelled.  Some servers send this; OpenAI sends ``response.done``."""

    response: Response | None = None
    response_id: str | None = None


class _OfResponse(ServerEvent, kw_only=True):
    """``output_index`` is the item's place in ``response.output``."""

    response_id: str
    output_index: int


class ResponseOutputItemAdded(_OfResponse, tag="response.output_item.added", kw_only=True):
    """The model begins an item, which is still empty."""

    item: Item


class ResponseOutputItemDone(_OfResponse, tag="response.output_item.done", kw_only=True):
    """An item is complete, or broken off when the response was."""

    item: Item


class _OfItem(_OfResponse, kw_only=True):
    item_id: str


class _OfPart(_OfItem, kw_only=True):
    """``content_index`` is the part's place in ``item.content``."""

    content_index: int


class ResponseContentPartAdded(_OfPart, tag="response.content_part.added", kw_only=True):
    """The model begins a content part, which is still empty."""

    part: ContentPart


class ResponseContentPartDone(_OfPart, tag="response.content_part.done", kw_only=True):
    """A content part is complete, or broken off.  Without audio bytes."""

    part: ContentPart


class ResponseOutputTextDelta(_OfPart, tag="response.output_text.delta", kw_only=True):
    """A delta of the model's text."""

    delta: str


class ResponseOutputTextDone(_OfPart, tag="response.output_text.done", kw_only=True):
    """The whole text of a part."""

    text: str


class ResponseOutputAudioDelta(_OfPart, tag="response.output_audio.delta", kw_only=True):
    """A chunk of the model's audio: raw bytes in the session's output format, already decoded."""

    delta: bytes


class ResponseOutputAudioDone(_OfPart, tag="response.output_audio.done", kw_only=True):
    """The audio of a part is complete, or broken off."""


class ResponseOutputAudioTranscriptDelta(_OfPart, tag="response.output_audio_transcript.delta", kw_only=True):
    """A delta of the transcript of the model's audio; comes earlier than the audio is played."""

    delta: str


class ResponseOutputAudioTranscriptDone(_OfPart, tag="response.output_audio_transcript.done", kw_only=True):
    """The whole transcript of the model's audio in a part."""

    transcript: str


class ResponseFunctionCallArgumentsDelta(_OfItem, tag="response.function_call_arguments.delta", kw_only=True):
    """A delta of a function call's arguments (JSON text)."""

    call_id: str
    delta: str


class ResponseFunctionCallArgumentsDone(_OfItem, tag="response.function_call_arguments.done", kw_only=True):
    """The whole arguments (JSON text) of the call ``call_id`` of function ``name``."""

    call_id: str
    name: str
    arguments: str


class ResponseMcpCallArgumentsDelta(_OfItem, tag="response.mcp_call_arguments.delta", kw_only=True):
    """A delta of an MCP call's arguments (JSON text).  ``obfuscation`` is padding, to ignore."""

    delta: str
    obfuscation: str | None = NULL


class ResponseMcpCallArgumentsDone(_OfItem, tag="response.mcp_call_arguments.done", kw_only=True):
    """The whole arguments (JSON text) of an MCP call."""

    arguments: str


class _McpCallState(ServerEvent, kw_only=True):
    output_index: int
    item_id: str


class ResponseMcpCallInProgress(_McpCallState, tag="response.mcp_call.in_progress", kw_only=True):
    """The server runs a tool of an MCP server."""


class ResponseMcpCallCompleted(_McpCallState, tag="response.mcp_call.completed", kw_only=True):
    """An MCP tool has answered."""


class ResponseMcpCallFailed(_McpCallState, tag="response.mcp_call.failed", kw_only=True):
    """An MCP tool has failed; its item says why."""


class McpListToolsInProgress(ServerEvent, tag="mcp_list_tools.in_progress", kw_only=True):
    """The server asks an MCP server which tools it has."""

    item_id: str


class McpListToolsCompleted(ServerEvent, tag="mcp_list_tools.completed", kw_only=True):
    """The tools of an MCP server are known; the item lists them."""

    item_id: str


class McpListToolsFailed(ServerEvent, tag="mcp_list_tools.failed", kw_only=True):
    """An MCP server could not say which tools it has."""

    item_id: str


class RateLimitsUpdated(ServerEvent, tag="rate_limits.updated", kw_only=True):
    """What is left of the account's limits; tokens are reserved while a response runs."""

    rate_limits: list[RateLimit]


# --- The server's own playback: WebRTC and SIP only ----------------------------------------------


class OutputAudioBufferStarted(ServerEvent, tag="output_audio_buffer.started", kw_only=True):
    """The server began to play a response to the caller (WebRTC and SIP)."""

    response_id: str


class OutputAudioBufferStopped(ServerEvent, tag="output_audio_buffer.stopped", kw_only=True):
    """The server has played a response to its end (WebRTC and SIP); comes after ``response.done``."""

    response_id: str


class OutputAudioBufferCleared(ServerEvent, tag="output_audio_buffer.cleared", kw_only=True):
    """The server stopped playing: the user spoke, or the client cleared it (WebRTC and SIP)."""

    response_id: str


# --- Translation sessions -------------------------------------------------------------------------


class SessionInputTranscriptDelta(ServerEvent, tag="session.input_transcript.delta", kw_only=True):
    """A delta of what was said, in the source language.  Deltas join without added spaces.

    ``elapsed_ms`` is the position in the session's audio.
    """

    delta: str
    elapsed_ms: int | None = NULL


class SessionOutputTranscriptDelta(ServerEvent, tag="session.output_transcript.delta", kw_only=True):
    """A delta of the translation, as text.  Deltas join without added spaces.

    ``elapsed_ms`` is the position in the session's audio.
    """

    delta: str
    elapsed_ms: int | None = NULL


class SessionOutputAudioDelta(
    ServerEvent, tag="session.output_audio.delta", kw_only=True, omit_defaults=True
):
    """A chunk of the translation, as audio: raw bytes in ``format``, of any length.

    ``sample_rate`` is in Hz (24000 if absent), ``channels`` is 1 if absent, ``format`` is ``"pcm16"``;
    ``elapsed_ms`` is the position in the session's audio.
    """

    delta: bytes
    sample_rate: int | None = None
    channels: int | None = None
    format: str | None = None
    elapsed_ms: int | None = NULL


# --- Beta names: the same structs, and the same handlers, under an older tag ------------------------


class ResponseTextDelta(ResponseOutputTextDelta, tag="response.text.delta", kw_only=True):
    """Beta's name of ``response.output_text.delta``."""


class ResponseTextDone(ResponseOutputTextDone, tag="response.text.done", kw_only=True):
    """Beta's name of ``response.output_text.done``."""


class ResponseAudioDelta(ResponseOutputAudioDelta, tag="response.audio.delta", kw_only=True):
    """Beta's name of ``response.output_audio.delta``."""


class ResponseAudioDone(ResponseOutputAudioDone, tag="response.audio.done", kw_only=True):
    """Beta's name of ``response.output_audio.done``."""


class ResponseAudioTranscriptDelta(
    ResponseOutputAudioTranscriptDelta, tag="response.audio_transcript.delta", kw_only=True
):
    """Beta's name of ``response.output_audio_transcript.delta``."""


class ResponseAudioTranscriptDone(
    ResponseOutputAudioTranscriptDone, tag="response.audio_transcript.done", kw_only=True
):
    """Beta's name of ``response.output_audio_transcript.done``."""


# --- Made from the structs above --------------------------------------------------------------------


def handler_name(tag: str) -> str:
    """Return the name of the handler: ``response.done`` is handled by ``visit_response_done``."""
    return "visit_" + tag.replace(".", "_")


def _tagged(base: type[ServerEvent]) -> Iterator[tuple[str, type[ServerEvent]]]:
    """Yield all tagged structs below ``base``, each before its own subclasses; set their handlers."""
    for cls in base.__subclasses__():
        tag = cls.__struct_config__.tag
        if isinstance(tag, str):
            if base.__struct_config__.tag is None:  # else a Beta name: it keeps its parent's handler
                cls.handler = handler_name(tag)
            yield tag, cls
        yield from _tagged(cls)


SERVER_EVENTS: dict[str, type[ServerEvent]] = dict(_tagged(ServerEvent))
"""Every server event by its tag."""

if not TYPE_CHECKING:  # type checkers can't follow a computed list, and need none
    __all__ = ["SERVER_EVENTS", "ServerEvent", "UnknownEvent"]
    __all__ += [cls.__name__ for cls in SERVER_EVENTS.values()]
