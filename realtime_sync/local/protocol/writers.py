"""How one item of a response is streamed: as text, as audio, or as a call."""

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from ... import events as ev
from ...events import ServerEvent
from .alignment import Alignment
from .ids import NEW
from .pieces import Piece, Sound, Words
from .responders import CallFunction, CallMcpTool, RequestMcpApproval, Say

__all__ = [
    "AudioWriter",
    "CallWriter",
    "McpApprovalWriter",
    "McpCallWriter",
    "TextWriter",
    "Writer",
]


class Writer:
    """Streams one item: `opening`, each of `deltas` or what `write` returns, and `closing` at any moment.

    Attributes:
        size: About how many bytes the item keeps in memory.
    """

    def __init__(self, response_id: str, item_id: str, output_index: int) -> None:
        self.item_id = item_id
        self.output_index = output_index
        self.size = 0
        self._at: dict[str, Any] = {
            "event_id": NEW,
            "response_id": response_id,
            "item_id": item_id,
            "output_index": output_index,
        }

    def item(self, status: str) -> ev.Item:
        """Return the item; empty while it is in progress."""
        raise NotImplementedError

    def so_far(self) -> ev.Item:
        """Return the item with what was sent of it, for a client that asks while it is in progress."""
        return self.item("in_progress")

    def kept(self, item: ev.Item) -> ev.Item:
        """Return what the conversation keeps of the item."""
        return item

    @property
    def words(self) -> str | None:
        """The words of it that are not in the item; ``None``: there are none."""
        return None

    def opening(self) -> list[ServerEvent]:
        return []

    def deltas(self) -> Iterator[ServerEvent]:
        """Return what there is to be sent of an output that comes whole."""
        return iter(())

    def write(self, piece: Piece) -> ServerEvent | None:
        """Return what sends a piece of an output that comes piece by piece, if there is anything to send."""
        raise NotImplementedError

    def closing(self, status: str) -> list[ServerEvent]:
        raise NotImplementedError


class TextWriter(Writer):
    """A text message, word by word, or as the responder writes it."""

    def __init__(self, response_id: str, item_id: str, output_index: int, say: Say) -> None:
        super().__init__(response_id, item_id, output_index)
        self._at["content_index"] = 0
        if isinstance(say.text, str):
            _sendable(say.text)
        self._parts: list[str] = []  # that were sent

    def item(self, status: str) -> ev.Item:
        return self._message(status, [] if status == "in_progress" else self._content())

    def so_far(self) -> ev.Item:
        return self._message("in_progress", self._content())

    @property
    def _text(self) -> str:
        return "".join(self._parts)

    def _message(self, status: str, content: list[ev.ContentPart]) -> ev.Message:
        return ev.Message(
            id=self.item_id, object="realtime.item", status=status, role="assistant", content=content
        )

    def _content(self) -> list[ev.ContentPart]:
        return [ev.OutputText(text=self._text)]

    def opening(self) -> list[ServerEvent]:
        return [ev.ResponseContentPartAdded(**self._at, part=ev.Text())]

    def write(self, piece: Piece) -> ServerEvent | None:
        if not isinstance(piece, Words) or not piece.text:
            return None
        self._parts.append(_sendable(piece.text))
        return ev.ResponseOutputTextDelta(**self._at, delta=piece.text)

    def closing(self, status: str) -> list[ServerEvent]:
        return [
            ev.ResponseOutputTextDone(**self._at, text=self._text),
            ev.ResponseContentPartDone(**self._at, part=ev.Text(text=self._text)),
        ]


class AudioWriter(TextWriter):
    """A spoken message, with its words a little ahead.

    Attributes:
        alignment: Which of its words are said in which part of its audio.
    """

    def __init__(self, response_id: str, item_id: str, output_index: int, say: Say, rate: int) -> None:
        super().__init__(response_id, item_id, output_index, say)
        self._audio = bytearray()
        self._characters = 0  # that were sent
        self.alignment = Alignment(rate)
        self._cut: int | None = None  # bytes of it that the conversation keeps

    def truncate(self, size: int) -> None:
        """Keep no more than these bytes in the conversation, whatever is sent after."""
        self._cut = size if self._cut is None else min(size, self._cut)

    @property
    def said(self) -> int:
        """Bytes of audio that were sent and not truncated by the client."""
        return len(self._audio) if self._cut is None else self._cut

    def so_far(self) -> ev.Item:
        return self.kept(super().so_far())

    def kept(self, item: ev.Item) -> ev.Item:
        if self._cut is None or not isinstance(item, ev.Message):
            return item
        return structs.replace(item, content=[ev.OutputAudio(audio=bytes(self._audio[: self._cut]))])

    def _content(self) -> list[ev.ContentPart]:
        return [ev.OutputAudio(audio=bytes(self._audio), transcript=self._text)]

    def opening(self) -> list[ServerEvent]:
        return [ev.ResponseContentPartAdded(**self._at, part=ev.Audio(transcript=""))]

    def write(self, piece: Piece) -> ServerEvent | None:
        if isinstance(piece, Words):
            self._parts.append(_sendable(piece.text))
            self._characters += len(piece.text)
            return ev.ResponseOutputAudioTranscriptDelta(**self._at, delta=piece.text)
        if isinstance(piece, Sound):
            self._audio += piece.audio
            self.size += len(piece.audio)
            return ev.ResponseOutputAudioDelta(**self._at, delta=piece.audio)
        self.alignment.mark(len(self._audio), self._characters)
        return None

    @property
    def words(self) -> str | None:
        """The words that were heard, if the client has truncated the item; else ``None``."""
        return None if self._cut is None else self.alignment.heard(self._text, self._cut)

    def closing(self, status: str) -> list[ServerEvent]:
        return [
            ev.ResponseOutputAudioDone(**self._at),
            ev.ResponseOutputAudioTranscriptDone(**self._at, transcript=self._text),
            ev.ResponseContentPartDone(**self._at, part=ev.Audio(transcript=self._text)),
        ]


class CallWriter(Writer):
    """A function call; its arguments come in deltas, as text."""

    def __init__(
        self, response_id: str, item_id: str, output_index: int, call: CallFunction, call_id: str
    ) -> None:
        super().__init__(response_id, item_id, output_index)
        self._name = _sendable(call.name)
        self._json = _sendable(call.json)
        self._call_id = call_id
        self._written = 0  # characters of the arguments that were sent

    @property
    def _arguments(self) -> str:
        return self._json[: self._written]

    def item(self, status: str) -> ev.Item:
        return ev.FunctionCall(
            id=self.item_id,
            object="realtime.item",
            status=status,
            call_id=self._call_id,
            name=self._name,
            arguments=self._arguments,
        )

    def deltas(self) -> Iterator[ServerEvent]:
        for delta in _slices(self._json, 8):
            self._written += len(delta)
            yield ev.ResponseFunctionCallArgumentsDelta(**self._at, call_id=self._call_id, delta=delta)

    def closing(self, status: str) -> list[ServerEvent]:
        return [
            ev.ResponseFunctionCallArgumentsDone(
                **self._at, call_id=self._call_id, name=self._name, arguments=self._arguments
            )
        ]


class McpCallWriter(Writer):
    """A call of an MCP server's tool, whose result is known beforehand."""

    def __init__(self, response_id: str, item_id: str, output_index: int, call: CallMcpTool) -> None:
        super().__init__(response_id, item_id, output_index)
        self._label, self._name = _sendable(call.server_label), _sendable(call.name)
        self._json = _sendable(call.json)
        self._output = None if call.output is None else _sendable(call.output)
        self._error = None if call.error is None else _sendable(call.error)
        self._written = 0  # characters of the arguments that were sent
        self._asked = False  # the arguments are whole
        self._called = False

    @property
    def _arguments(self) -> str:
        return self._json[: self._written]

    def item(self, status: str) -> ev.Item:
        error = self._error if status == "completed" else "the response was broken off"
        return ev.McpCall(
            id=self.item_id,
            object="realtime.item",
            server_label=self._label,
            name=self._name,
            arguments=self._arguments,
            output=self._output if status == "completed" and error is None else None,
            error=ev.McpToolExecutionError(message=error) if error and status != "in_progress" else None,
        )

    def deltas(self) -> Iterator[ServerEvent]:
        for delta in _slices(self._json, 8):
            self._written += len(delta)
            yield ev.ResponseMcpCallArgumentsDelta(**self._at, delta=delta)
        self._asked = True
        yield self._arguments_done()
        self._called = True
        yield ev.ResponseMcpCallInProgress(**self._state())

    def closing(self, status: str) -> list[ServerEvent]:
        if not self._asked:
            return [self._arguments_done()]
        if not self._called:
            return []
        if self._error is not None or status != "completed":
            return [ev.ResponseMcpCallFailed(**self._state())]
        return [ev.ResponseMcpCallCompleted(**self._state())]

    def _arguments_done(self) -> ServerEvent:
        return ev.ResponseMcpCallArgumentsDone(**self._at, arguments=self._arguments)

    def _state(self) -> dict[str, Any]:
        return {"event_id": NEW, "item_id": self.item_id, "output_index": self.output_index}


class McpApprovalWriter(Writer):
    """A question whether a tool of an MCP server may be called; it comes whole."""

    def __init__(
        self, response_id: str, item_id: str, output_index: int, request: RequestMcpApproval
    ) -> None:
        super().__init__(response_id, item_id, output_index)
        self._label, self._name = _sendable(request.server_label), _sendable(request.name)
        self._json = _sendable(request.json)

    def item(self, status: str) -> ev.Item:
        return ev.McpApprovalRequest(
            id=self.item_id,
            object="realtime.item",
            server_label=self._label,
            name=self._name,
            arguments=self._json,
        )

    def closing(self, status: str) -> list[ServerEvent]:
        return []


def _sendable(text: str) -> str:
    """Return the text, checked before any of it is sent: half a surrogate pair can't be.

    Raises:
        UnicodeEncodeError: There is one in it.
    """
    text.encode()
    return text


def _slices(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
