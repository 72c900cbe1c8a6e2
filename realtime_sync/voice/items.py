"""The items, their content and the responses of a `Conversation`, which fills them in for you to read."""

from msgspec import structs

from .. import events as ev
from ..events import UnknownObject
from ..sound.formats import PCM

__all__ = ["ConversationItem", "ConversationPart", "ConversationResponse", "without_sound"]


class ConversationPart:
    """Hold one content part of an item.

    It stores audio as the chunks that arrived, the same objects that the decoder made: nothing is copied
    while audio streams, and `audio` joins the chunks on each access.  It stores text in the same way.

    Attributes:
        kind: ``"text"``, ``"audio"`` or ``"image"``; for any other part its type on the wire.
        wire: The part as the server sent it last, without its audio; ``None`` if the server sent only
            deltas.
        truncated_ms: Where the audio was truncated, in milliseconds from its start; ``None`` if it wasn't.
        transcribed: Whether the transcript of the user's speech is complete or has failed.
        error: Why the transcription of the user's speech failed; ``None`` if it has not.
        segments: The segments of a transcript with speaker labels, in order of arrival.
    """

    __slots__ = (
        "_bytes_per_second",
        "_chunks",
        "_end",
        "_keep",
        "_received",
        "_text",
        "_transcript",
        "error",
        "kind",
        "segments",
        "transcribed",
        "truncated_ms",
        "wire",
    )

    def __init__(self, kind: str, bytes_per_second: int, keep: bool) -> None:
        self.kind = kind
        self.wire: ev.ContentPart | None = None
        self.truncated_ms: int | None = None
        self.transcribed = False
        self.error: ev.TranscriptionError | None = None
        self.segments: list[ev.ConversationItemInputAudioTranscriptionSegment] = []
        self._bytes_per_second = bytes_per_second
        self._keep = keep  # whether to store audio
        self._end: int | None = None  # bytes of audio before the place where it was truncated
        self._received = 0  # bytes of audio, stored or not
        self._chunks: list[bytes] = []
        self._text: list[str] = []
        self._transcript: list[str] = []  # empty if there is no transcript

    @property
    def text(self) -> str:
        """Return the written text so far; ``""`` if there is none."""
        return "".join(tuple(self._text))  # a copy: another thread may be adding to it

    @property
    def generated(self) -> str | None:
        """Return the transcript of all audio received, truncated or not; ``None`` if there is none."""
        deltas = tuple(self._transcript)
        return "".join(deltas) if deltas else None

    @property
    def transcript(self) -> str | None:
        """Return the transcript of the audio; ``None`` if there is none (yet).

        For truncated audio it is an estimate, since the server discards the transcript: the same share of
        the words as of the audio, to the end of a word.
        """
        whole = self.generated
        if whole is None or self.truncated_ms is None:
            return whole
        heard = self.truncated_ms * self._bytes_per_second / 1000
        return _beginning(whole, heard / self._received if self._received else 0.0)

    @property
    def audio(self) -> bytes:
        """Return the audio up to where it was truncated, as bytes; ``b""`` if audio is not kept.

        User audio has the session's input format, other audio its output format (by default 24 kHz mono
        16-bit PCM).
        """
        return b"".join(tuple(self._chunks))

    @property
    def received_ms(self) -> int:
        """Return the length of all audio received, in milliseconds, whether kept or not, truncated or not."""
        return self._received * 1000 // self._bytes_per_second

    @property
    def said(self) -> str:
        """Return the text, or the transcript if there is no text; ``""`` if there is neither."""
        return self.text or self.transcript or ""

    def __repr__(self) -> str:
        return f"<ConversationPart {self.kind}, {self.said!r:.60}, {self.received_ms} ms>"

    # --- Filled in by `Conversation` -----------------------------------------------------------------

    def _take(self, content: ev.ContentPart, *, whole: bool) -> bytes:
        """Update the part from its form on the wire.  Fields that are missing there stay as they are.

        Args:
            content: The part as the server sent it.
            whole: Whether its text and transcript are complete, so that they replace the deltas.

        Returns:
            Its audio up to the place of a truncation, if no audio had arrived before; otherwise ``b""``.
        """
        kind = content.type
        if not isinstance(content, UnknownObject):
            kind = kind.removeprefix("input_").removeprefix("output_")
        self.kind, self.wire = kind or self.kind, without_sound(content)
        if isinstance(content, ev.InputText | ev.OutputText):
            if whole or not self._text:
                self._write(content.text, whole=True)
        elif isinstance(content, ev.InputAudio | ev.OutputAudio):
            if content.transcript is not None and (whole or not self._transcript):
                self._say(content.transcript, whole=True)
            if content.audio:
                return self._hear_whole(content.audio)
        return b""

    def _write(self, text: str, *, whole: bool = False) -> None:
        """Append to the text, or replace it by the complete text."""
        _add(self._text, text, whole)

    def _say(self, text: str, *, whole: bool = False) -> None:
        """Append to the transcript, or replace it by the complete transcript."""
        _add(self._transcript, text, whole)

    def _hear(self, chunk: bytes) -> bytes:
        """Append to the audio, and return as much of the chunk as comes before the place of a truncation."""
        heard = chunk if self._end is None else chunk[: max(0, self._end - self._received)]
        self._received += len(chunk)
        if self._keep:
            self._chunks.append(heard)
        return heard

    def _hear_whole(self, audio: bytes) -> bytes:
        """Do the same with the complete audio, of which some chunks may have arrived already."""
        if not self._received:
            return self._hear(audio)
        self._received = len(audio) if self._end is None else max(self._received, len(audio))
        if self._keep:
            self._chunks = [audio[: self._end]]
        return b""

    def _cut(self, end_ms: int) -> None:
        """Discard the audio from this place on."""
        if self.truncated_ms is None or end_ms < self.truncated_ms:
            self.truncated_ms, self._end = end_ms, end_ms * self._bytes_per_second // 1000
            if self._chunks:
                self._chunks = [self.audio[: self._end]]


class ConversationItem:
    """Hold an item: a message, a call of a tool, or a call's output.

    Attributes:
        id: The item's id, assigned by the server or by the client that created it.
        type: ``"message"``, ``"function_call"``, ``"function_call_output"``, ...
        role: The role of a message: ``"user"``, ``"assistant"`` or ``"system"``; ``None`` for other items.
        status: ``"in_progress"``, ``"completed"`` or ``"incomplete"`` (MCP items also ``"failed"``);
            ``None`` while only its transcript is known.
        done: Whether the item is complete; the transcript of user speech may still follow.
        in_conversation: Whether it is in the conversation now: neither deleted nor out-of-band.
        response_id: The id of the response that made it; ``None`` if none did.
        call_id: The id that a ``function_call`` and its ``function_call_output`` share; otherwise ``None``.
        name: The name of the tool that is called; ``None`` for items that are no calls.
        output: For a call, its output: the text of the ``function_call_output``, or the result of an MCP
            call (``"error: ..."`` if it failed).  For a ``function_call_output``, its own text.  ``None``
            until there is one.
        wire: The item as the server sent it last, without its audio; ``None`` if the server sent only
            deltas.
    """

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self.type = ""
        self.role: str | None = None
        self.status: str | None = None
        self.done = False
        self.in_conversation = False
        self.response_id: str | None = None
        self.call_id: str | None = None
        self.name: str | None = None
        self.output: str | None = None
        self.wire: ev.Item | None = None
        self._arguments: list[str] = []
        self._parts: dict[int, ConversationPart] = {}  # by content_index, which may have gaps
        self._appended = False  # whether the server appended it by itself
        self._deleted = False
        self._returned = False  # by `wait_for_item`

    @property
    def content(self) -> list[ConversationPart]:
        """Return the content parts of a message, in order, as a new list; empty for other items."""
        return [self._parts[index] for index in sorted(self._parts)]

    @property
    def arguments(self) -> str:
        """Return the arguments of a call so far, as the JSON text that the model wrote; ``""`` if none."""
        return "".join(tuple(self._arguments))

    @property
    def text(self) -> str:
        """Return all text and transcripts, one line per part.  See `ConversationPart.transcript`."""
        return "\n".join(said for part in self.content if (said := part.said))

    @property
    def audio(self) -> bytes:
        """Return the audio of all parts, as bytes; ``b""`` if audio is not kept."""
        return b"".join(part.audio for part in self.content)

    def _write_arguments(self, text: str, *, whole: bool = False) -> None:
        """Append to the arguments, or replace them by the complete arguments."""
        _add(self._arguments, text, whole)

    def __repr__(self) -> str:
        what = self.role or self.name or ""
        return f"<ConversationItem {self.id} {self.type} {what} {self.status}, {self.text!r:.60}>"


class ConversationResponse:
    """Hold a response of the model, or a rejected request for one.

    Attributes:
        id: The server's id for it; ``None`` for a rejected request, ``""`` if the server sent no id.
        status: ``"in_progress"``, ``"completed"``, ``"cancelled"``, ``"failed"`` or ``"incomplete"``; a
            rejected request is ``"failed"``.
        done: Whether it has ended.
        reason: Why it was not completed, such as ``"turn_detected"`` or the error's message; ``None`` if
            unknown.
        error: The error that ended or rejected it; ``None`` if there was none.
        usage: Its token usage, once it has ended; ``None`` until then.
        items: The items it made, in order, in the conversation or not.
        event_id: The value that ``session.response.create`` returned for it; ``None`` if the server began
            it by itself, or if the `Conversation` has no session.
        metadata: The metadata passed to ``response.create``; ``None`` if there is none.
        out_of_band: Whether it is out-of-band (``conversation="none"``), so that its items are not in the
            conversation.  Without a session it is true until an event shows the opposite.
    """

    def __init__(self, response_id: str | None) -> None:
        self.id = response_id
        self.status = "in_progress"
        self.done = False
        self.reason: str | None = None
        self.error: ev.ResponseError | ev.ErrorDetails | None = None
        self.usage: ev.Usage | None = None
        self.items: list[ConversationItem] = []
        self.event_id: str | None = None
        self.metadata: dict[str, str] | None = None
        self.out_of_band = False
        self._format = PCM
        self._returned = False  # by `wait_for_response`

    @property
    def text(self) -> str:
        """Return all text and transcripts of its items, one line per part."""
        return "\n".join(text for item in tuple(self.items) if (text := item.text))

    @property
    def audio(self) -> bytes:
        """Return the audio of all its items, as bytes; ``b""`` if audio is not kept."""
        return b"".join(item.audio for item in tuple(self.items))

    @property
    def function_calls(self) -> list[ConversationItem]:
        """Return its items that are function calls, in order."""
        return [item for item in tuple(self.items) if item.type == "function_call"]

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<ConversationResponse {self.id} {self.status}{why}, {self.text!r:.60}>"


def without_sound(content: ev.ContentPart) -> ev.ContentPart:
    """Return a content part without its audio."""
    if isinstance(content, ev.InputAudio | ev.OutputAudio) and content.audio is not None:
        return structs.replace(content, audio=None)
    return content


def _add(deltas: list[str], text: str, whole: bool) -> None:
    """Append a delta, or replace the deltas by the complete text; an empty one doesn't erase them."""
    if not whole:
        deltas.append(text)
    elif text or not deltas:
        deltas[:] = [text]


def _beginning(text: str, share: float) -> str:
    """Return a share of a text, to the end of a word; of a character in a text without spaces (Chinese)."""
    end = int(len(text) * min(share, 1.0))
    if end in (0, len(text)) or text[end].isspace() or text[end - 1].isspace():
        return text[:end].rstrip()
    words = text[:end].rsplit(None, 1)
    if len(words) == 2 or text.isascii():
        return words[0] if len(words) == 2 else ""
    return text[:end]
