"""`Visitor`: one method per server event, to be overridden."""

from typing import Any, ClassVar, Generic, TypeVar

from . import events
from .events import SERVER_EVENTS, ServerEvent, UnknownEvent
from .events.reconnected import Reconnected
from .events.server import handler_name
from .spelling import nearest

__all__ = ["Visitor", "Visitors"]

T = TypeVar("T")

_BETA_NAMES = {handler_name(tag): cls.handler for tag, cls in SERVER_EVENTS.items()}
_BETA_NAMES = {name: handler for name, handler in _BETA_NAMES.items() if name != handler}
_HANDLERS = {cls.handler for cls in SERVER_EVENTS.values()} | {Reconnected.handler}
_COROUTINE = 0x80 | 0x200  # inspect's flags for "async def" functions and generators


class Visitor(Generic[T]):
    """Override the methods for the events you care about.

    Each ``visit_*`` method gets one kind of event; what you don't override goes to `default`, which
    does nothing, and events that this version does not know go to `unknown`.  `Session.run` calls
    them; to dispatch one event yourself use `visit`.  `visit` returns what the method returns.

    A method that handles no event is an error when the class is defined, so a misspelt name is found
    at once.  The Beta spellings (``visit_response_text_delta``) are other names of the GA methods.

    Raises:
        TypeError: At class definition: a ``visit_*`` that fits no event, is a coroutine, or is
            defined under both its Beta and its GA name.
    """

    handles_errors: ClassVar[bool] = True
    """Set to False for a visitor that only observes; errors it sees are still logged as unhandled."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if name.startswith("visit_"):
                _check_handler(cls, name)
        for beta, handler in _BETA_NAMES.items():
            _adopt_beta(cls, beta, handler)

    def visit(self, event: ServerEvent) -> T | None:
        """Call the method for this event and return what it returns."""
        return getattr(self, event.handler)(event)  # type: ignore[no-any-return]

    def default(self, event: ServerEvent) -> T | None:
        """Handle an event whose method is not overridden.  Does nothing and returns ``None``."""
        return None

    def unknown(self, event: UnknownEvent) -> T | None:
        """Handle a message that is not an event of this version; see `UnknownEvent`."""
        return self.default(event)

    def visit_reconnected(self, event: Reconnected) -> T | None:
        """`Reconnected`, which no server sends: the connection was replaced, and the session goes on."""
        return self.default(event)

    def visit_error(self, event: events.ErrorEvent) -> T | None:
        """``error``"""
        return self.default(event)

    def visit_session_created(self, event: events.SessionCreated) -> T | None:
        """``session.created``"""
        return self.default(event)

    def visit_session_updated(self, event: events.SessionUpdated) -> T | None:
        """``session.updated``"""
        return self.default(event)

    def visit_session_closed(self, event: events.SessionClosed) -> T | None:
        """``session.closed``"""
        return self.default(event)

    def visit_transcription_session_created(self, event: events.TranscriptionSessionCreated) -> T | None:
        """``transcription_session.created``"""
        return self.default(event)

    def visit_transcription_session_updated(self, event: events.TranscriptionSessionUpdated) -> T | None:
        """``transcription_session.updated``"""
        return self.default(event)

    def visit_conversation_created(self, event: events.ConversationCreated) -> T | None:
        """``conversation.created``"""
        return self.default(event)

    def visit_conversation_item_created(self, event: events.ConversationItemCreated) -> T | None:
        """``conversation.item.created``"""
        return self.default(event)

    def visit_conversation_item_added(self, event: events.ConversationItemAdded) -> T | None:
        """``conversation.item.added``"""
        return self.default(event)

    def visit_conversation_item_done(self, event: events.ConversationItemDone) -> T | None:
        """``conversation.item.done``"""
        return self.default(event)

    def visit_conversation_item_retrieved(self, event: events.ConversationItemRetrieved) -> T | None:
        """``conversation.item.retrieved``"""
        return self.default(event)

    def visit_conversation_item_deleted(self, event: events.ConversationItemDeleted) -> T | None:
        """``conversation.item.deleted``"""
        return self.default(event)

    def visit_conversation_item_truncated(self, event: events.ConversationItemTruncated) -> T | None:
        """``conversation.item.truncated``"""
        return self.default(event)

    def visit_conversation_item_input_audio_transcription_delta(
        self, event: events.ConversationItemInputAudioTranscriptionDelta
    ) -> T | None:
        """``conversation.item.input_audio_transcription.delta``"""
        return self.default(event)

    def visit_conversation_item_input_audio_transcription_segment(
        self, event: events.ConversationItemInputAudioTranscriptionSegment
    ) -> T | None:
        """``conversation.item.input_audio_transcription.segment``"""
        return self.default(event)

    def visit_conversation_item_input_audio_transcription_completed(
        self, event: events.ConversationItemInputAudioTranscriptionCompleted
    ) -> T | None:
        """``conversation.item.input_audio_transcription.completed``"""
        return self.default(event)

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: events.ConversationItemInputAudioTranscriptionFailed
    ) -> T | None:
        """``conversation.item.input_audio_transcription.failed``"""
        return self.default(event)

    def visit_input_audio_buffer_committed(self, event: events.InputAudioBufferCommitted) -> T | None:
        """``input_audio_buffer.committed``"""
        return self.default(event)

    def visit_input_audio_buffer_cleared(self, event: events.InputAudioBufferCleared) -> T | None:
        """``input_audio_buffer.cleared``"""
        return self.default(event)

    def visit_input_audio_buffer_speech_started(
        self, event: events.InputAudioBufferSpeechStarted
    ) -> T | None:
        """``input_audio_buffer.speech_started``"""
        return self.default(event)

    def visit_input_audio_buffer_speech_stopped(
        self, event: events.InputAudioBufferSpeechStopped
    ) -> T | None:
        """``input_audio_buffer.speech_stopped``"""
        return self.default(event)

    def visit_input_audio_buffer_timeout_triggered(
        self, event: events.InputAudioBufferTimeoutTriggered
    ) -> T | None:
        """``input_audio_buffer.timeout_triggered``"""
        return self.default(event)

    def visit_input_audio_buffer_dtmf_event_received(
        self, event: events.InputAudioBufferDtmfEventReceived
    ) -> T | None:
        """``input_audio_buffer.dtmf_event_received``"""
        return self.default(event)

    def visit_response_created(self, event: events.ResponseCreated) -> T | None:
        """``response.created``"""
        return self.default(event)

    def visit_response_done(self, event: events.ResponseDone) -> T | None:
        """``response.done``"""
        return self.default(event)

    def visit_response_cancelled(self, event: events.ResponseCancelled) -> T | None:
        """``response.cancelled``"""
        return self.default(event)

    def visit_response_output_item_added(self, event: events.ResponseOutputItemAdded) -> T | None:
        """``response.output_item.added``"""
        return self.default(event)

    def visit_response_output_item_done(self, event: events.ResponseOutputItemDone) -> T | None:
        """``response.output_item.done``"""
        return self.default(event)

    def visit_response_content_part_added(self, event: events.ResponseContentPartAdded) -> T | None:
        """``response.content_part.added``"""
        return self.default(event)

    def visit_response_content_part_done(self, event: events.ResponseContentPartDone) -> T | None:
        """``response.content_part.done``"""
        return self.default(event)

    def visit_response_output_text_delta(self, event: events.ResponseOutputTextDelta) -> T | None:
        """``response.output_text.delta``"""
        return self.default(event)

    def visit_response_output_text_done(self, event: events.ResponseOutputTextDone) -> T | None:
        """``response.output_text.done``"""
        return self.default(event)

    def visit_response_output_audio_delta(self, event: events.ResponseOutputAudioDelta) -> T | None:
        """``response.output_audio.delta``"""
        return self.default(event)

    def visit_response_output_audio_done(self, event: events.ResponseOutputAudioDone) -> T | None:
        """``response.output_audio.done``"""
        return self.default(event)

    def visit_response_output_audio_transcript_delta(
        self, event: events.ResponseOutputAudioTranscriptDelta
    ) -> T | None:
        """``response.output_audio_transcript.delta``"""
        return self.default(event)

    def visit_response_output_audio_transcript_done(
        self, event: events.ResponseOutputAudioTranscriptDone
    ) -> T | None:
        """``response.output_audio_transcript.done``"""
        return self.default(event)

    def visit_response_function_call_arguments_delta(
        self, event: events.ResponseFunctionCallArgumentsDelta
    ) -> T | None:
        """``response.function_call_arguments.delta``"""
        return self.default(event)

    def visit_response_function_call_arguments_done(
        self, event: events.ResponseFunctionCallArgumentsDone
    ) -> T | None:
        """``response.function_call_arguments.done``"""
        return self.default(event)

    def visit_response_mcp_call_arguments_delta(
        self, event: events.ResponseMcpCallArgumentsDelta
    ) -> T | None:
        """``response.mcp_call_arguments.delta``"""
        return self.default(event)

    def visit_response_mcp_call_arguments_done(self, event: events.ResponseMcpCallArgumentsDone) -> T | None:
        """``response.mcp_call_arguments.done``"""
        return self.default(event)

    def visit_response_mcp_call_in_progress(self, event: events.ResponseMcpCallInProgress) -> T | None:
        """``response.mcp_call.in_progress``"""
        return self.default(event)

    def visit_response_mcp_call_completed(self, event: events.ResponseMcpCallCompleted) -> T | None:
        """``response.mcp_call.completed``"""
        return self.default(event)

    def visit_response_mcp_call_failed(self, event: events.ResponseMcpCallFailed) -> T | None:
        """``response.mcp_call.failed``"""
        return self.default(event)

    def visit_mcp_list_tools_in_progress(self, event: events.McpListToolsInProgress) -> T | None:
        """``mcp_list_tools.in_progress``"""
        return self.default(event)

    def visit_mcp_list_tools_completed(self, event: events.McpListToolsCompleted) -> T | None:
        """``mcp_list_tools.completed``"""
        return self.default(event)

    def visit_mcp_list_tools_failed(self, event: events.McpListToolsFailed) -> T | None:
        """``mcp_list_tools.failed``"""
        return self.default(event)

    def visit_rate_limits_updated(self, event: events.RateLimitsUpdated) -> T | None:
        """``rate_limits.updated``"""
        return self.default(event)

    def visit_output_audio_buffer_started(self, event: events.OutputAudioBufferStarted) -> T | None:
        """``output_audio_buffer.started``"""
        return self.default(event)

    def visit_output_audio_buffer_stopped(self, event: events.OutputAudioBufferStopped) -> T | None:
        """``output_audio_buffer.stopped``"""
        return self.default(event)

    def visit_output_audio_buffer_cleared(self, event: events.OutputAudioBufferCleared) -> T | None:
        """``output_audio_buffer.cleared``"""
        return self.default(event)

    def visit_session_input_transcript_delta(self, event: events.SessionInputTranscriptDelta) -> T | None:
        """``session.input_transcript.delta``"""
        return self.default(event)

    def visit_session_output_transcript_delta(self, event: events.SessionOutputTranscriptDelta) -> T | None:
        """``session.output_transcript.delta``"""
        return self.default(event)

    def visit_session_output_audio_delta(self, event: events.SessionOutputAudioDelta) -> T | None:
        """``session.output_audio.delta``"""
        return self.default(event)


def _check_handler(cls: type, name: str) -> None:
    if name not in _HANDLERS and name not in _BETA_NAMES:
        right = "unknown" if name == "visit_unknown" else nearest(name, [*_HANDLERS, *_BETA_NAMES])
        raise TypeError(f"{cls.__name__}.{name} handles no event; did you mean {right}?")
    code = getattr(getattr(cls, name), "__code__", None)
    if code is not None and code.co_flags & _COROUTINE:
        raise TypeError(f"{cls.__name__}.{name} is 'async', but handlers are plain functions")


def _adopt_beta(cls: type, beta: str, handler: str) -> None:
    """Let a method under its Beta name serve the GA name, as the nearest definition of the two."""
    for base in cls.__mro__:
        defined = vars(base)
        if beta in defined and handler in defined and defined[beta] is not defined[handler]:
            raise TypeError(f"{base.__name__} defines both {beta} and {handler}, which are one event")
        if beta in defined:
            setattr(cls, handler, defined[beta])
        if beta in defined or handler in defined:
            return


class Visitors(Visitor[None]):
    """Hands each event to several visitors, one after another.

    All of them see it, even if one raises; then the first error is raised.

    Attributes:
        visitors: In the order in which they are called.

    Raises:
        TypeError: An argument is not a visitor.
    """

    def __init__(self, *visitors: Visitor[Any]) -> None:
        for visitor in visitors:
            check_visitor(visitor)
        self.visitors = visitors

    def visit(self, event: ServerEvent) -> None:
        """Call each visitor's method for this event."""
        failure = None
        for visitor in self.visitors:
            try:
                visitor.visit(event)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure


def check_visitor(visitor: Any) -> None:
    """Check that an object is a visitor.

    Raises:
        TypeError: It has no method ``visit``, or is a class in place of an object.
    """
    if isinstance(visitor, type) or not callable(getattr(visitor, "visit", None)):
        raise TypeError(f"expected a visitor, an object such as YourVisitor(), got {visitor!r:.80}")
