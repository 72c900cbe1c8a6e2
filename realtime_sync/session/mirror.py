"""The items, their content and the responses of a `Conversation`, and what fills them in for you to read."""

from collections.abc import Callable
from typing import Literal, TypeVar

from msgspec import Struct, structs

from .. import events as ev
from ..chain import Chain
from ..events import UnknownObject
from ..redaction import one_line
from ..sound.formats import PCM, bytes_per_second, format_name, input_format, output_format
from . import facts
from .facts import ItemEntry, PartEntry, ResponseEntry
from .latest import Latest
from .ledger import Ledger
from .listener import Listener
from .requests import CREATE_RESPONSE

__all__ = ["ConversationItem", "ConversationPart", "ConversationResponse", "Mirror"]

_S = TypeVar("_S", bound=Struct)

_MOST = 20_000  # items, parts and responses, of each, that are kept
_REMEMBERED = 256  # rejections


class ConversationPart:
    """Hold one content part of an item.

    It stores audio as the chunks that arrived, the same objects that the decoder made: nothing is copied
    while audio streams, and `audio` joins the chunks on each access.  It stores text in the same way.

    Attributes:
        kind: ``"text"``, ``"audio"`` or ``"image"``; for any other part its type on the wire.
        wire: The part as the server sent it last, without its audio; ``None`` if the server sent only
            deltas.
        transcribed: Whether the transcript of the user's speech is complete or has failed.
        error: Why the transcription of the user's speech failed; ``None`` if it has not.
        segments: The segments of a transcript with speaker labels, in order of arrival.
    """

    __slots__ = (
        "_bytes_per_second",
        "_chunks",
        "_cut_ms",
        "_end",
        "_entry",
        "_keep",
        "_received",
        "_text",
        "_transcript",
        "error",
        "kind",
        "segments",
        "transcribed",
        "wire",
    )

    def __init__(self, entry: PartEntry, bytes_per_second: int, keep: bool) -> None:
        self.kind = entry.kind
        self.wire: ev.ContentPart | None = None
        self.transcribed = False
        self.error: ev.TranscriptionError | None = None
        self.segments: list[ev.ConversationItemInputAudioTranscriptionSegment] = []
        self._entry = entry
        self._bytes_per_second = bytes_per_second
        self._keep = keep  # whether to store audio
        self._cut_ms: int | None = None  # where the server has truncated it
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
    def truncated_ms(self) -> int | None:
        """Return where the audio was truncated, in milliseconds from its start; ``None`` if it wasn't.

        Until the server confirms a truncation, as some never do, it is where it was asked to truncate.
        """
        return self._entry.heard_ms if self._cut_ms is None else self._cut_ms

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
        end_ms = self.truncated_ms
        if whole is None or end_ms is None:
            return whole
        heard = end_ms * self._bytes_per_second / 1000
        return _beginning(whole, heard / self._received if self._received else 0.0)

    @property
    def audio(self) -> bytes:
        """Return the audio up to where it was truncated, as bytes; ``b""`` if audio is not kept.

        User audio has the session's input format, other audio its output format (by default 24 kHz mono
        16-bit PCM).
        """
        audio, asked_ms = b"".join(tuple(self._chunks)), self._entry.heard_ms
        if self._cut_ms is None and asked_ms is not None:
            return audio[: asked_ms * self._bytes_per_second // 1000]
        return audio

    @property
    def received_ms(self) -> int:
        """Return the length of all audio received, in milliseconds, whether kept or not, truncated or not."""
        return self._received * 1000 // self._bytes_per_second

    @property
    def said(self) -> str:
        """Return the text, or the transcript if there is no text; ``""`` if there is neither."""
        return self.text or self.transcript or ""

    def __repr__(self) -> str:
        return one_line(f"<ConversationPart {self.kind}, {self.said!r:.60}, {self.received_ms} ms>")

    # --- Filled in by `Mirror` -----------------------------------------------------------------

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
        self.kind, self.wire = kind or self.kind, _without_sound(content)
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
        if self._cut_ms is None or end_ms < self._cut_ms:
            self._cut_ms, self._end = end_ms, end_ms * self._bytes_per_second // 1000
            if self._chunks:
                self._chunks = [self.audio[: self._end]]


class ConversationItem:
    """Hold an item: a message, a call of a tool, or a call's output.

    Attributes:
        type: ``"message"``, ``"function_call"``, ``"function_call_output"``, ...
        role: The role of a message: ``"user"``, ``"assistant"`` or ``"system"``; ``None`` for other items.
        status: ``"in_progress"``, ``"completed"`` or ``"incomplete"`` (MCP items also ``"failed"``);
            ``None`` while only its transcript is known.
        done: Whether the item is complete; the transcript of user speech may still follow.
        in_conversation: Whether it is in the conversation now: neither deleted nor out-of-band.
        call_id: The id that a ``function_call`` and its ``function_call_output`` share; otherwise ``None``.
        name: The name of the tool that is called; ``None`` for items that are no calls.
        output: For a call, its output: the text of the ``function_call_output``, or the result of an MCP
            call (``"error: ..."`` if it failed).  For a ``function_call_output``, its own text.  ``None``
            until there is one.
        wire: The item as the server sent it last, without its audio; ``None`` if the server sent only
            deltas.
    """

    def __init__(self, entry: ItemEntry) -> None:
        self.type = entry.type
        self.role = entry.role or None
        self.status: str | None = None
        self.done = False
        self.in_conversation = False
        self.call_id: str | None = None
        self.name: str | None = None
        self.output: str | None = None
        self.wire: ev.Item | None = None
        self._entry = entry
        self._arguments: list[str] = []
        self._parts: dict[int, ConversationPart] = {}  # by content_index, which may have gaps
        self._deleted = False

    @property
    def id(self) -> str:
        """Return the item's id, assigned by the server or by the client that created it; ``""`` if none."""
        return self._entry.id

    @property
    def response_id(self) -> str | None:
        """Return the id of the response that made it; ``None`` if none did."""
        return None if self._entry.response is None else self._entry.response.id

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

    def __repr__(self) -> str:
        what = self.role or self.name or ""
        return one_line(f"<ConversationItem {self.id} {self.type} {what} {self.status}, {self.text!r:.60}>")

    # --- Filled in by `Mirror` -----------------------------------------------------------------------

    @property
    def _is_outside(self) -> bool:
        return self._entry.response is not None and self._entry.response.is_outside

    def _write_arguments(self, text: str, *, whole: bool) -> None:
        """Append to the arguments, or replace them by the complete arguments."""
        _add(self._arguments, text, whole)

    def _take(self, wire: ev.Item) -> None:
        """Update the item from its form on the wire."""
        self.type = wire.type
        status = getattr(wire, "status", None)
        if status and not (self.done and status == "in_progress"):  # a late event
            self.status = status
        self.wire = wire
        if isinstance(wire, ev.Message):
            self.role = wire.role or self.role
            self.wire = structs.replace(wire, content=[_without_sound(content) for content in wire.content])
        elif isinstance(wire, ev.FunctionCall | ev.McpCall | ev.McpApprovalRequest):
            self.name = wire.name or self.name
            self._write_arguments(wire.arguments, whole=True)
            if isinstance(wire, ev.McpCall):
                self.output = _result(wire)
        elif isinstance(wire, ev.FunctionCallOutput):
            self.output = wire.output


class ConversationResponse:
    """Hold a response of the model, or a rejected request for one.

    Attributes:
        status: ``"in_progress"``, ``"completed"``, ``"cancelled"``, ``"failed"`` or ``"incomplete"``; a
            rejected request is ``"failed"``.
        done: Whether it has ended.
        reason: Why it was not completed, such as ``"turn_detected"`` or the error's message; or why the model
            doesn't go on after it (``"max_rounds: ..."``).  ``None`` if unknown.
        error: The error that ended or rejected it; ``None`` if there was none.
        usage: Its token usage, once it has ended; ``None`` until then.
        items: The items it made, in order, in the conversation or not.
        metadata: The metadata passed to ``response.create``; ``None`` if there is none.
    """

    def __init__(self, entry: ResponseEntry | None, rejected: str | None = None) -> None:
        self.status = "in_progress"
        self.done = False
        self.reason: str | None = None
        self.error: ev.ResponseError | ev.ErrorDetails | None = None
        self.usage: ev.Usage | None = None
        self.items: list[ConversationItem] = []
        self.metadata: dict[str, str] | None = None
        self._entry = entry
        self._goes_on = False
        self._rejected = rejected  # the event_id of a rejected request
        self._format = PCM

    @property
    def id(self) -> str | None:
        """Return the server's id for it; ``None`` for a rejected request, ``""`` if the server sent no id."""
        return None if self._entry is None else self._entry.id

    @property
    def goes_on(self) -> bool:
        """Return whether the model goes on after it, in another response, once its calls are answered.

        It doesn't if the follow-up was withdrawn, as by `Assistant.interrupt`.
        """
        return self._goes_on and not (self._entry is not None and self._entry.withdrawn)

    @property
    def event_id(self) -> str | None:
        """Return the value that ``session.response.create`` returned for it.

        ``None`` if the server began it by itself, or if its events come from no session.
        """
        request = self._entry.request if self._entry is not None else None
        return self._rejected if request is None else request.event_id

    @property
    def out_of_band(self) -> bool:
        """Return whether it is out-of-band (``conversation="none"``), with its items not in the conversation.

        If its events come from no session, it is true until an event shows the opposite.
        """
        return self._entry is not None and self._entry.out_of_band

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
        return one_line(f"<ConversationResponse {self.id} {self.status}{why}, {self.text!r:.60}>")

    # --- Filled in by `Mirror` -----------------------------------------------------------------------

    def _take(self, wire: ev.Response) -> None:
        """Update the response from its form on the wire."""
        self.metadata = wire.metadata if wire.metadata is not None else self.metadata
        output = wire.audio.output if wire.audio else None
        if named := (output.format if output else None) or wire.output_audio_format:
            self._format = format_name(named)

    def _conclude(self, fact: facts.ResponseEnded) -> None:
        """Take over how it ended."""
        self._take(fact.wire)
        if not fact.repeated:
            self.status, self._goes_on = fact.status, fact.goes_on
        self.reason = fact.reason or self.reason
        self.error = fact.error or self.error
        self.usage = fact.wire.usage or self.usage


class Mirror(Listener):
    """Fills in items and responses by what their session understands of the events.

    Args:
        audio: As in `Conversation`.
        ledger: That of the session whose events it sees, if there is one.
    """

    def __init__(
        self,
        audio: Literal["keep", "drop"] | Callable[[ConversationItem, bytes], object],
        ledger: Ledger | None,
    ) -> None:
        super().__init__(has_session=ledger is not None)
        self._keep = audio == "keep"
        self._sink = audio if callable(audio) else None
        self._config = ledger.config if ledger is not None else None
        self._withdrawn = ledger.requests.withdrawn if ledger is not None else None
        self._order: Chain[ItemEntry] = Chain()  # of the conversation
        self._placed: dict[ItemEntry, ConversationItem] = {}  # its items
        # All items and parts, including deleted and out-of-band ones, and the items by their last id.
        self._of_entry: Latest[ItemEntry, ConversationItem] = Latest(_MOST)
        self._parts: Latest[PartEntry, ConversationPart] = Latest(_MOST)
        self._items: Latest[str, ConversationItem] = Latest(_MOST)
        # All responses, in the order in which they began; and the usage of those that are forgotten.
        self._responses: Latest[ResponseEntry, ConversationResponse] = Latest(_MOST)
        self._responses_by_id: Latest[str, ConversationResponse] = Latest(_MOST)
        self._usage = ev.Usage()
        self._calls: Latest[str, ConversationItem] = Latest(_MOST)  # function calls by call_id
        self._outputs: Latest[str, ConversationItem] = Latest(_MOST)  # their outputs by call_id
        # What waits have yet to return, in order.
        self._finished: Latest[ConversationItem, None] = Latest(_MOST)
        self._transcribed: Latest[ConversationItem, None] = Latest(_MOST)
        self._over: Latest[ConversationResponse, None] = Latest(_MOST)
        self._answers: Latest[str, ConversationResponse] = Latest(_REMEMBERED)  # ended ones, by event_id
        self._rejections: Latest[str, ev.ErrorDetails] = Latest(_REMEMBERED)  # of items, by their id

    def on_settings(self, fact: facts.Settings) -> None:
        """Remember the session's settings, which name the audio formats."""
        self._config = fact.config

    def in_order(self) -> list[tuple[ItemEntry, ConversationItem]]:
        """Return the items in the conversation, in order, with their entries."""
        placed = ((entry, self._placed.get(entry)) for entry in self._order)
        return [(entry, item) for entry, item in placed if item is not None]  # a thread may take one out

    # --- Items ---------------------------------------------------------------------------------------

    def _item(self, entry: ItemEntry) -> ConversationItem:
        item = self._of_entry.get(entry)
        if item is None:
            item = self._of_entry[entry] = ConversationItem(entry)
            self._name(item)
        return item

    def _name(self, item: ConversationItem) -> None:
        """Let an item be found by its id, unless that is the id of one in the conversation and it is not."""
        known = self._items.get(item.id)
        if item.id and known is not item and not (known is not None and item._is_outside):
            self._items.pop(item.id, None)
            self._items[item.id] = item

    def on_item_made(self, fact: facts.ItemMade) -> None:
        """Add an item, to its response if one made it."""
        item = self._item(fact.item)
        if fact.response is not None:
            item.status = item.status or "in_progress"
            response = self._response(fact.response)
            response.items.append(item)
            del response.items[:-_MOST]

    def on_item_named(self, fact: facts.ItemNamed) -> None:
        """Let an item be found by the id that it has now."""
        self._name(self._item(fact.item))

    def on_item_told(self, fact: facts.ItemTold) -> None:
        """Update an item from its form on the wire."""
        item, wire = self._item(fact.item), fact.wire
        item._take(wire)
        self._name(item)
        if isinstance(wire, ev.FunctionCall | ev.FunctionCallOutput) and wire.call_id:
            self._link(item, wire.call_id)

    def on_call_made(self, fact: facts.CallMade) -> None:
        """Complete a call."""
        item, call = self._item(fact.item), fact.call
        item.name = call.name or item.name
        if item.status == "in_progress":
            item.status = "completed"
        item._write_arguments(call.arguments, whole=True)
        if call.call_id:
            self._link(item, call.call_id)

    def _link(self, item: ConversationItem, call_id: str) -> None:
        """Connect a call with its output, whichever arrives first."""
        item.call_id = call_id
        (self._outputs if item.type == "function_call_output" else self._calls)[call_id] = item
        call, output = self._calls.get(call_id), self._outputs.get(call_id)
        if call is not None and output is not None and not output._deleted:
            call.output = output.output

    def on_item_status(self, fact: facts.ItemStatus) -> None:
        """Update the status of an MCP item."""
        self._item(fact.item).status = fact.status

    def on_item_done(self, fact: facts.ItemDone) -> None:
        """Complete an item."""
        self._finish(self._item(fact.item))

    def _finish(self, item: ConversationItem) -> None:
        """Mark an item as complete."""
        if item.status in (None, "in_progress"):
            item.status = "completed"
        if not item.done:
            item.done = True
            self._finished[item] = None

    def on_item_placed(self, fact: facts.ItemPlaced) -> None:
        """Put an item into the conversation, or elsewhere in it."""
        item = self._item(fact.item)
        self._remove(fact.item)
        self._rejections.pop(item.id, None)  # it was sent again
        item.in_conversation = True
        self._placed[fact.item] = item
        known = fact.after is None or fact.after in self._order  # else it was placed before we listened
        self._order.put(fact.item, fact.after if known else self._order.last)

    def on_item_deleted(self, fact: facts.ItemDeleted) -> None:
        """Take an item out of the conversation."""
        item = self._item(fact.item)
        self._remove(fact.item)
        item._deleted = not fact.forgotten
        call = self._calls.get(item.call_id or "")
        if item.type == "function_call_output" and call is not None:
            call.output = None

    def _remove(self, entry: ItemEntry) -> None:
        if entry in self._order:
            self._order.remove(entry)
            self._placed.pop(entry).in_conversation = False

    # --- Content -------------------------------------------------------------------------------------

    def _part(self, entry: PartEntry) -> ConversationPart:
        part = self._parts.get(entry)
        if part is None:
            item = self._item(entry.item)
            response = entry.item.response
            if item.role in ("user", "system"):
                audio_format = input_format(self._config)
            else:
                audio_format = self._response(response)._format if response else output_format(self._config)
            part = ConversationPart(entry, bytes_per_second(audio_format), self._keep)
            item._parts[entry.index] = self._parts[entry] = part
            if len(item._parts) > len(entry.item.parts) > 0:  # the ledger has forgotten some
                item._parts = {
                    index: each for index, each in item._parts.items() if index in entry.item.parts
                }
        return part

    def on_part(self, fact: facts.Part) -> None:
        """Update a part from its form on the wire, and pass its new audio to the ``audio=`` function."""
        heard = self._part(fact.part)._take(fact.content, whole=fact.whole)
        if heard and self._sink is not None:
            self._sink(self._item(fact.part.item), heard)

    def on_text(self, fact: facts.Text) -> None:
        """Add text."""
        self._part(fact.part)._write(fact.text, whole=fact.whole)

    def on_transcript(self, fact: facts.Transcript) -> None:
        """Add words of audio."""
        self._part(fact.part)._say(fact.text, whole=fact.whole)

    def on_audio(self, fact: facts.Audio) -> None:
        """Add audio, or pass it to the ``audio=`` function."""
        try:  # most of what is said comes here
            part = self._parts[fact.part]
        except KeyError:
            part = self._part(fact.part)
        heard = part._hear(fact.audio)
        if self._sink is not None and heard:
            self._sink(self._item(fact.part.item), heard)

    def on_audio_done(self, fact: facts.AudioDone) -> None:
        """Make a part that was not announced: its audio is empty."""
        self._part(fact.part)

    def on_arguments(self, fact: facts.Arguments) -> None:
        """Add arguments of a call."""
        item = self._item(fact.item)
        item._write_arguments(fact.text, whole=fact.whole)
        item.name = fact.item.name or item.name
        if fact.item.call_id and not item.call_id:
            self._link(item, fact.item.call_id)

    def on_segment(self, fact: facts.Segment) -> None:
        """Add a segment of a transcript."""
        self._part(fact.part).segments.append(fact.event)

    def on_transcribed(self, fact: facts.Transcribed) -> None:
        """Complete a transcript of the user's speech."""
        part = self._part(fact.part)
        part.error = fact.error
        if not part.transcribed:
            part.transcribed = True
            self._transcribed[self._item(fact.part.item)] = None

    def on_item_truncated(self, fact: facts.ItemTruncated) -> None:
        """Cut off the audio of a part."""
        self._part(fact.part)._cut(fact.audio_end_ms)

    # --- Responses -----------------------------------------------------------------------------------

    def _response(self, entry: ResponseEntry) -> ConversationResponse:
        response = self._responses.get(entry)
        if response is None:
            if len(self._responses) == _MOST:
                forgotten = next(iter(self._responses.values()))
                self._usage = _sum(self._usage, forgotten.usage or ev.Usage())
            response = self._responses[entry] = ConversationResponse(entry)
            response._format = output_format(self._config)
            self._responses_by_id.pop(entry.id, None)  # an earlier one of the same id
            self._responses_by_id[entry.id] = response
        elif entry.id not in self._responses_by_id:  # it came late
            self._responses_by_id[entry.id] = response
        return response

    def _total(self) -> ev.Usage:
        """Return the usage of all responses, added up."""
        total = self._usage
        for response in tuple(self._responses.values()):
            total = _sum(total, response.usage) if response.usage is not None else total
        return total

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        """Add a response."""
        self._response(fact.response)._take(fact.wire)

    def on_response_restarted(self, fact: facts.ResponseRestarted) -> None:
        """Forget what a response had made: it is made again."""
        self._response(fact.response).items.clear()

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        """Complete a response and its items."""
        response = self._response(fact.response)
        response._conclude(fact)
        response.items = [self._item(entry) for entry in fact.items]
        for item in response.items:
            if item.status in (None, "in_progress") and response.status != "completed":
                item.status = "incomplete"
            self._finish(item)
        if not response.done:
            response.done = True
            self._over[response] = None
        if response.event_id is not None:
            self._answers[response.event_id] = response

    def on_rejected(self, fact: facts.Rejected) -> None:
        """Keep a rejection for those who wait for what was rejected."""
        sent, error = fact.sent, fact.error
        if sent.type == "conversation.item.create":
            self._rejections[sent.item_id] = error
        rejected = _failed(sent.event_id, error.message, error)
        self._answers[sent.event_id] = rejected  # whatever it is: nobody waits for the response to another
        if sent.type == CREATE_RESPONSE:
            self._over[rejected] = None

    # --- What waits look for -------------------------------------------------------------------------

    def _complete(self, item_id: str) -> ConversationItem | None:
        """Return an item that is complete, or deleted, and let no other wait return it."""
        item = self._items.get(item_id)
        if item is None or not (item.done or item._deleted):
            return None
        self._finished.pop(item, None)
        return item

    def _answer(self, event_id: str) -> ConversationResponse | None:
        """Return the response to a request once it has ended, and let no other wait return it."""
        response = self._answers.get(event_id)
        if response is None and self._withdrawn is not None and event_id in self._withdrawn:
            return _failed(event_id, "the request was withdrawn")
        if response is not None:
            self._over.pop(response, None)
        return response


# --- Helpers -----------------------------------------------------------------------------------------


def _failed(event_id: str, reason: str, error: ev.ErrorDetails | None = None) -> ConversationResponse:
    """Return what is there in place of a response that will never begin."""
    response = ConversationResponse(None, event_id)
    response.status, response.done = "failed", True
    response.reason, response.error = reason, error
    return response


def _without_sound(content: ev.ContentPart) -> ev.ContentPart:
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


def _result(call: ev.McpCall) -> str | None:
    if call.error is None:
        return call.output
    message = getattr(call.error, "message", None) or getattr(call.error, "type", "")
    return f"error: {message}"


def _sum(one: _S, other: _S) -> _S:
    """Add two usage structs, field by field."""
    made = {}
    for name in one.__struct_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, Struct) and isinstance(b, Struct):
            made[name] = _sum(a, b)
        elif a is None or b is None:
            made[name] = b if a is None else a
        else:
            made[name] = a + b
    return type(one)(**made)
