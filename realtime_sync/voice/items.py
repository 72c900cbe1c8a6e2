"""What a `Conversation` holds: items, their content, and responses.  It fills them in; you read them."""

from msgspec import structs

from .. import events as ev
from ..events import UnknownObject
from ..sound.formats import PCM

__all__ = ["ConversationItem", "ConversationPart", "ConversationResponse", "without_sound"]


class ConversationPart:
    """One part of what an item says.

    Sound is kept as the chunks that came, the very objects that the decoder made: nothing is copied while it
    streams, and `audio` joins them each time you ask.  Text is kept likewise.

    Attributes:
        kind: ``"text"``, ``"audio"`` or ``"image"``; for anything else the wire's type.
        wire: The part as the server showed it last, without its sound; ``None`` if it never did.
        truncated_ms: Where the sound was cut off, in ms from its start; ``None`` if it wasn't.
        transcribed: The transcript of what the user said is whole, or there won't be one.
        error: Why the user's speech could not be transcribed; ``None`` if it could, or may yet be.
        segments: The stretches of a transcript that tells speakers apart.
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
        self._keep = keep  # its sound
        self._end: int | None = None  # how many bytes of its sound come before the cut
        self._received = 0  # bytes, whether kept or not
        self._chunks: list[bytes] = []
        self._text: list[str] = []
        self._transcript: list[str] = []  # empty: there is none

    @property
    def text(self) -> str:
        """What is written in it."""
        return "".join(tuple(self._text))  # a copy: another thread may be adding to it

    @property
    def generated(self) -> str | None:
        """The transcript of all that came, also of what was cut off; ``None`` if there is none."""
        pieces = tuple(self._transcript)
        return "".join(pieces) if pieces else None

    @property
    def transcript(self) -> str | None:
        """What is said in it; ``None`` if there is no transcript (yet).

        Of sound that was cut off this is an estimate: as much of the words as was heard of the sound, to
        the end of a word.  The server has no transcript of it any more.
        """
        whole = self.generated
        if whole is None or self.truncated_ms is None:
            return whole
        heard = self.truncated_ms * self._bytes_per_second / 1000
        return _beginning(whole, heard / self._received if self._received else 0.0)

    @property
    def audio(self) -> bytes:
        """The sound, up to where it was cut off; empty if it is not kept."""
        return b"".join(tuple(self._chunks))

    @property
    def received_ms(self) -> int:
        """How much sound came, in ms, whether it is kept or not, and cut off or not."""
        return self._received * 1000 // self._bytes_per_second

    @property
    def said(self) -> str:
        """What is written or said in it."""
        return self.text or self.transcript or ""

    def __repr__(self) -> str:
        return f"<ConversationPart {self.kind}, {self.said!r:.60}, {self.received_ms} ms>"

    # --- What the `Conversation` fills in ------------------------------------------------------------

    def _take(self, content: ev.ContentPart, *, whole: bool) -> bytes:
        """Take over what the server shows of it.  What it leaves out is kept as it was.

        Args:
            whole: The server shows all the words, so these count and not what came in pieces.

        Returns:
            The sound, if none has come before, up to where it was cut off.
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
        """Add to what is written in it, or say what that is as a whole."""
        _add(self._text, text, whole)

    def _say(self, text: str, *, whole: bool = False) -> None:
        """Add to the transcript, or say what that is as a whole."""
        _add(self._transcript, text, whole)

    def _hear(self, chunk: bytes) -> bytes:
        """Add to the sound; returns what of the chunk comes before the place where that was cut off."""
        heard = chunk if self._end is None else chunk[: max(0, self._end - self._received)]
        self._received += len(chunk)
        if self._keep:
            self._chunks.append(heard)
        return heard

    def _hear_whole(self, audio: bytes) -> bytes:
        """The same with sound that comes in one piece, of which we may have had some already."""
        if not self._received:
            return self._hear(audio)
        self._received = len(audio) if self._end is None else max(self._received, len(audio))
        if self._keep:
            self._chunks = [audio[: self._end]]
        return b""

    def _cut(self, end_ms: int) -> None:
        """Drop the sound from here on."""
        if self.truncated_ms is None or end_ms < self.truncated_ms:
            self.truncated_ms, self._end = end_ms, end_ms * self._bytes_per_second // 1000
            if self._chunks:
                self._chunks = [self.audio[: self._end]]


class ConversationItem:
    """Something said, or a call of a tool, or its output.

    Attributes:
        id: The server's name for it, or the client's who created it.
        type: ``"message"``, ``"function_call"``, ``"function_call_output"``, ...
        role: Of a message: ``"user"``, ``"assistant"`` or ``"system"``.
        status: ``"in_progress"``, ``"completed"`` or ``"incomplete"`` (of MCP also ``"failed"``); ``None``
            while only its transcript is known.
        done: Nothing more comes, but perhaps a transcript of what the user said.
        in_conversation: It is in the conversation now: not deleted, not beside it.
        response_id: The response that made it, if one did.
        call_id: Joins a ``function_call`` and its ``function_call_output``.
        name: Of the tool that is called.
        output: Of a call, what answered it: the text of the ``function_call_output``, or what a tool of an
            MCP server gave (``"error: ..."`` if it failed).  Of a ``function_call_output`` its own text.
        wire: The item as the server showed it last, without its sound; ``None`` if it never did.
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
        self._parts: dict[int, ConversationPart] = {}  # by content_index, which may have holes
        self._appended = False  # the server put it at the end by itself
        self._deleted = False
        self._returned = False  # by `wait_for_item`

    @property
    def content(self) -> list[ConversationPart]:
        """What a message consists of, in order."""
        return [self._parts[index] for index in sorted(self._parts)]

    @property
    def arguments(self) -> str:
        """Of a call: JSON text, as the model wrote it, so far."""
        return "".join(tuple(self._arguments))

    @property
    def text(self) -> str:
        """Everything written or said in it, a part a line.  See `ConversationPart.transcript`."""
        return "\n".join(said for part in self.content if (said := part.said))

    @property
    def audio(self) -> bytes:
        """The sound of all its parts; empty if it is not kept."""
        return b"".join(part.audio for part in self.content)

    def _write_arguments(self, text: str, *, whole: bool = False) -> None:
        """Add to the arguments, or say what they are as a whole."""
        _add(self._arguments, text, whole)

    def __repr__(self) -> str:
        what = self.role or self.name or ""
        return f"<ConversationItem {self.id} {self.type} {what} {self.status}, {self.text!r:.60}>"


class ConversationResponse:
    """An answer of the model, or that there is none.

    Attributes:
        id: The server's name for it; ``None`` if it was refused.
        status: ``"in_progress"``, ``"completed"``, ``"cancelled"``, ``"failed"`` or ``"incomplete"``; a
            request that was refused is ``"failed"``.
        done: It has ended.
        reason: Why it ended as it did, such as ``"turn_detected"``, or an error's text.
        error: What went wrong, if something did.
        usage: What it cost, once it has ended.
        items: What it made, in order, in the conversation or not.
        event_id: What ``session.response.create`` returned for it; ``None`` if the server began it by itself,
            or if there is no session to know it from.
        metadata: As ``response.create`` gave it.
        out_of_band: It runs beside the conversation (``conversation="none"``), and its items are not part
            of that.  Without a session: nothing has said yet that it runs in it.
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
        """Everything written or said in it, a part a line."""
        return "\n".join(text for item in tuple(self.items) if (text := item.text))

    @property
    def audio(self) -> bytes:
        """All its sound; empty if it is not kept."""
        return b"".join(item.audio for item in tuple(self.items))

    @property
    def function_calls(self) -> list[ConversationItem]:
        """The functions that it asks for."""
        return [item for item in tuple(self.items) if item.type == "function_call"]

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<ConversationResponse {self.id} {self.status}{why}, {self.text!r:.60}>"


def without_sound(content: ev.ContentPart) -> ev.ContentPart:
    """A part as the server shows it, but for its sound."""
    if isinstance(content, ev.InputAudio | ev.OutputAudio) and content.audio is not None:
        return structs.replace(content, audio=None)
    return content


def _add(pieces: list[str], text: str, whole: bool) -> None:
    """Add a piece, or put the whole in place of the pieces; an empty one says nothing against these."""
    if not whole:
        pieces.append(text)
    elif text or not pieces:
        pieces[:] = [text]


def _beginning(text: str, share: float) -> str:
    """This share of a text, to the end of a word; of one without spaces, as in Chinese, of a character."""
    end = int(len(text) * min(share, 1.0))
    if end in (0, len(text)) or text[end].isspace() or text[end - 1].isspace():
        return text[:end].rstrip()
    words = text[:end].rsplit(None, 1)
    if len(words) == 2 or text.isascii():
        return words[0] if len(words) == 2 else ""
    return text[:end]
