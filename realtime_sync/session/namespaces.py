"""The client-event methods of a session, such as ``session.response.create(...)``.

The wire name is the name: ``conversation.item.create`` is ``session.conversation.item.create``.
All return the ``event_id`` that was sent, and raise what `Session.send` raises.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import events
from ..events import ClientEvent, Item, UnknownObject
from ..events.fields import ResponseFields, SessionFields, response_params, session_config
from .sending import Sender

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "ConversationCalls",
    "InputAudioBufferCalls",
    "OutputAudioBufferCalls",
    "ResponseCalls",
    "TranscriptionSessionCalls",
    "TranslationCalls",
]

_Send = Callable[[ClientEvent], str]
_Json = Mapping[str, Any]


class _Calls:
    """A namespace of methods that send client events."""

    __slots__ = ("_send",)

    def __init__(self, send: _Send) -> None:
        self._send = send


class ConversationCalls(_Calls):
    """``session.conversation``"""

    __slots__ = ()

    @property
    def item(self) -> "ItemCalls":
        """``session.conversation.item``"""
        return ItemCalls(self._send)


class ItemCalls(_Calls):
    """``session.conversation.item``"""

    __slots__ = ()

    def create(
        self,
        item: "str | Item | _Json",
        *,
        previous_item_id: str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Add an item to the conversation.

        Args:
            item: A text, which becomes a user message; or an item as a struct or a dict.
            previous_item_id: The item to put it after; ``None`` = at the end, ``"root"`` = at the start.
            event_id: Your own name for this event; one is made if missing.

        Raises:
            TypeError: ``item`` is something else.
        """
        if isinstance(item, str):
            item = events.Message(role="user", content=[events.InputText(text=item)])
        elif isinstance(item, Mapping):
            item = UnknownObject(dict(item))  # written as it is
        elif not isinstance(item, _ITEMS):
            raise TypeError(f"expected a text, an item or a dict, got {type(item).__name__}")
        event = events.ConversationItemCreate(item=item, previous_item_id=previous_item_id, event_id=event_id)
        return self._send(event)

    def retrieve(self, item_id: str, *, event_id: str | None = None) -> str:
        """Ask for a whole item, audio included; it comes in ``conversation.item.retrieved``."""
        return self._send(events.ConversationItemRetrieve(item_id=item_id, event_id=event_id))

    def truncate(
        self, item_id: str, *, audio_end_ms: int, content_index: int = 0, event_id: str | None = None
    ) -> str:
        """Cut the assistant's audio after the milliseconds that were played.

        Args:
            item_id: The assistant's message.
            audio_end_ms: Milliseconds of the part's audio that were played.
            content_index: The part's place in the item's ``content``.
            event_id: Your own name for this event; one is made if missing.
        """
        event = events.ConversationItemTruncate(
            item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms, event_id=event_id
        )
        return self._send(event)

    def delete(self, item_id: str, *, event_id: str | None = None) -> str:
        """Remove an item from the conversation."""
        return self._send(events.ConversationItemDelete(item_id=item_id, event_id=event_id))


_ITEMS = (
    events.Message,
    events.FunctionCall,
    events.FunctionCallOutput,
    events.McpApprovalRequest,
    events.McpApprovalResponse,
    events.McpListTools,
    events.McpCall,
    events.ItemReference,
    UnknownObject,
)


class InputAudioBufferCalls(_Calls):
    """``session.input_audio_buffer``"""

    __slots__ = ()

    def append(self, audio: "bytes | bytearray | memoryview", *, event_id: str | None = None) -> str:
        """Send audio, 15 MiB at most.  The server does not answer.

        Args:
            audio: Raw bytes in the session's input format (default: 24 kHz mono 16-bit PCM), or
                anything with a buffer, such as a NumPy array of ``int16``.  Never base64.
            event_id: Your own name for this event; one is made if missing.

        Raises:
            TypeError: ``audio`` is not bytes, for example text.
            ValueError: There is more than 15 MiB of it; nothing was sent.
        """
        return self._send(events.InputAudioBufferAppend(audio=_raw(audio), event_id=event_id))

    def commit(self, *, event_id: str | None = None) -> str:
        """Make the buffered audio, at least 100 ms of it, a user message."""
        return self._send(events.InputAudioBufferCommit(event_id=event_id))

    def clear(self, *, event_id: str | None = None) -> str:
        """Discard the buffered audio."""
        return self._send(events.InputAudioBufferClear(event_id=event_id))


def _raw(audio: "bytes | bytearray | memoryview") -> bytes:
    return audio if isinstance(audio, bytes) else memoryview(audio).tobytes()


class OutputAudioBufferCalls(_Calls):
    """``session.output_audio_buffer`` (WebRTC and SIP calls)"""

    __slots__ = ()

    def clear(self, *, event_id: str | None = None) -> str:
        """Stop the server's own playback; send ``response.cancel`` before it."""
        return self._send(events.OutputAudioBufferClear(event_id=event_id))


class ResponseCalls:
    """``session.response``"""

    __slots__ = ("_sender", "_wake_up")

    def __init__(self, sender: Sender, wake_up: Callable[[], None]) -> None:
        self._sender = sender
        self._wake_up = wake_up

    def create(
        self, *, when_idle: bool = False, event_id: str | None = None, **fields: "Unpack[ResponseFields]"
    ) -> str:
        """Ask for a response.

        Args:
            when_idle: Send the request when no response is active in the conversation.  The call returns at
                once; a pending request is sent in the background, in order, and sent again if the server
                rejects it because it has begun a response by itself.  Not for out-of-band responses, which
                need not wait.
            event_id: Your own name for this event; one is made if missing.
            fields: What is different for this response only; see `events.ResponseCreateParams`.

        Raises:
            TypeError: There is no such field; the message names the nearest right one.
            ValueError: ``when_idle`` with ``conversation="none"``.
        """
        params = response_params(fields)
        event = events.ResponseCreate(response=params if fields else None, event_id=event_id)
        if not when_idle:
            return self._sender.send(event)
        if params.conversation == "none":
            raise ValueError(
                'an out-of-band response (conversation="none") need not wait: leave out when_idle'
            )
        return self._sender.send_when_idle(event)

    def cancel(
        self, response_id: str | None = None, *, if_active: bool = False, event_id: str | None = None
    ) -> str:
        """Cancel a response; without an id, the one that is active in the conversation.

        Args:
            response_id: The response; ``None`` = the active one of the conversation.
            if_active: Send nothing if no response is active or requested.  If it ends in the meantime, the
                server's rejection (``response_cancel_not_active``) is not delivered as an error event; one
                that was requested, and begins only after this cancellation, is cancelled when it begins.
            event_id: Your own name for this event; one is made if missing.
        """
        event = events.ResponseCancel(response_id=response_id, event_id=event_id)
        return self._sender.cancel_if_active(event) if if_active else self._sender.send(event)

    def withdraw(self, event_id: str) -> bool:
        """Take back a request that is pending (``create(when_idle=True)``), so that it is never sent.

        Args:
            event_id: What `create` returned.

        Returns:
            False if it was sent already, or never pending; then only `cancel` ends its response.
        """
        withdrawn = self._sender.withdraw(event_id)
        self._wake_up()  # another thread may wait for its response
        return withdrawn


class TranscriptionSessionCalls(_Calls):
    """``session.transcription_session`` (Beta)"""

    __slots__ = ()

    def update(self, *, event_id: str | None = None, **fields: "Unpack[SessionFields]") -> str:
        """Change the settings of a Beta transcription session; ``None`` clears one."""
        return self._send(
            events.TranscriptionSessionUpdate(session=session_config(fields), event_id=event_id)
        )


class TranslationCalls(_Calls):
    """``session.translation``: the events whose own names begin with ``session.``"""

    __slots__ = ()

    def append(self, audio: "bytes | bytearray | memoryview", *, event_id: str | None = None) -> str:
        """Send audio to be translated (``session.input_audio_buffer.append``): 24 kHz mono 16-bit PCM.

        Raises:
            TypeError, ValueError: As `InputAudioBufferCalls.append`.
        """
        return self._send(events.SessionInputAudioBufferAppend(audio=_raw(audio), event_id=event_id))

    def close(self, *, event_id: str | None = None) -> str:
        """Let the server translate what it has received, and end (``session.close``, ``session.closed``)."""
        return self._send(events.SessionClose(event_id=event_id))
