"""Every event that a client sends, one struct each.

`Session` has a method for each by the same name, so most programs never build these.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .objects import Item, ResponseCreateParams, SessionConfig

MOST_AUDIO = 15 * 1024 * 1024
"""Bytes of audio that one event may append."""


class ClientEvent(Struct, kw_only=True, omit_defaults=True):
    """Base of everything that a client sends.

    ``event_id`` (512 characters at most) comes back as ``error.event_id`` if the event fails;
    `Session.send` makes one if it is ``None``.
    """

    event_id: str | None = None

    @property
    def type(self) -> str:
        """The wire's ``type``, for example ``"response.create"``."""
        return str(self.__struct_config__.tag)


class SessionUpdate(ClientEvent, tag="session.update", kw_only=True):
    """Changes the session's settings; fields left ``UNSET`` stay, ``None`` clears.

    Answered by ``session.updated``.
    """

    session: SessionConfig


class TranscriptionSessionUpdate(ClientEvent, tag="transcription_session.update", kw_only=True):
    """Changes a Beta transcription session.  Answered by ``transcription_session.updated``."""

    session: SessionConfig


class ConversationItemCreate(ClientEvent, tag="conversation.item.create", kw_only=True):
    """Adds an item after ``previous_item_id`` (``None``: at the end, ``"root"``: at the start).

    Answered by ``conversation.item.added`` and ``.done`` (Beta: ``.created``).
    """

    previous_item_id: str | None = None
    item: Item


class ConversationItemRetrieve(ClientEvent, tag="conversation.item.retrieve", kw_only=True):
    """Asks for a whole item, audio included.  Answered by ``conversation.item.retrieved``."""

    item_id: str


class ConversationItemTruncate(ClientEvent, tag="conversation.item.truncate", kw_only=True):
    """Tells the server how much of the assistant's audio was played, in ms from the part's start.

    Answered by ``conversation.item.truncated``, or an error when it is past the audio's end.
    """

    item_id: str
    content_index: int
    audio_end_ms: int


class ConversationItemDelete(ClientEvent, tag="conversation.item.delete", kw_only=True):
    """Removes an item.  Answered by ``conversation.item.deleted``."""

    item_id: str


class InputAudioBufferAppend(ClientEvent, tag="input_audio_buffer.append", kw_only=True):
    """Sends audio: raw bytes in the session's input format, 15 MiB at most.  Not answered."""

    audio: bytes


class InputAudioBufferCommit(ClientEvent, tag="input_audio_buffer.commit", kw_only=True):
    """Makes the buffered audio (at least 100 ms) a user message.

    Answered by ``input_audio_buffer.committed``.  With turn detection the server does it itself.
    """


class InputAudioBufferClear(ClientEvent, tag="input_audio_buffer.clear", kw_only=True):
    """Discards the buffered audio.  Answered by ``input_audio_buffer.cleared``."""


class OutputAudioBufferClear(ClientEvent, tag="output_audio_buffer.clear", kw_only=True):
    """Stops the server's own playback (WebRTC and SIP); send ``response.cancel`` before it."""


class ResponseCreate(ClientEvent, tag="response.create", kw_only=True):
    """Asks for a response.  Answered by ``response.created`` ... ``response.done``."""

    response: ResponseCreateParams | None = None


class ResponseCancel(ClientEvent, tag="response.cancel", kw_only=True):
    """Cancels a response (``None``: the one that is active in the conversation).

    Answered by ``response.done`` with status ``"cancelled"``, or an error if no response is active.
    """

    response_id: str | None = None


class SessionInputAudioBufferAppend(ClientEvent, tag="session.input_audio_buffer.append", kw_only=True):
    """Sends audio to a translation session: 24 kHz mono 16-bit PCM, 15 MiB at most.  Not answered."""

    audio: bytes


class SessionClose(ClientEvent, tag="session.close", kw_only=True):
    """Ends a translation session once all its audio was translated.  Answered by ``session.closed``."""


CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    str(cls.__struct_config__.tag): cls for cls in ClientEvent.__subclasses__()
}
"""Every client event by its tag."""


APPENDING: dict[str, type[ClientEvent]] = {
    str(event.__struct_config__.tag): event
    for event in (InputAudioBufferAppend, SessionInputAudioBufferAppend)
}
"""The events that append audio, which a server doesn't answer, by their types."""


def audio_of(event: ClientEvent | Mapping[str, Any]) -> bytes:
    """Return the audio that an appending event holds, as bytes of its own; ``b""`` if it is no audio."""
    audio = event.get("audio") if isinstance(event, Mapping) else getattr(event, "audio", None)
    if isinstance(audio, str):
        try:
            return base64.b64decode(audio)
        except ValueError:
            return b""
    return bytes(audio) if isinstance(audio, bytes | bytearray | memoryview) else b""


def audio_size(event: ClientEvent | Mapping[str, Any]) -> int:
    """Return the bytes of audio that a client event appends; 0 if it appends none, or it is no audio."""
    if isinstance(event, ClientEvent):
        kind, audio = event.type, getattr(event, "audio", None)
    else:
        kind, audio = str(event.get("type")), event.get("audio")
    if kind not in APPENDING:
        return 0
    if isinstance(audio, str):
        return len("".join(audio.split()).rstrip("=")) * 3 // 4  # base64
    return memoryview(audio).nbytes if isinstance(audio, bytes | bytearray | memoryview) else 0


if not TYPE_CHECKING:  # type checkers can't follow a computed list, and need none
    __all__ = ["CLIENT_EVENTS", "ClientEvent"]
    __all__ += [cls.__name__ for cls in CLIENT_EVENTS.values()]
