"""What the ledger understands of a session: entries for what there is, and facts about what happens to it.

An *entry* stands for one response, item or content part, whatever ids the server gives it: compare entries
with ``is``.  A *fact* says what one event did to an entry, in words that mean the same on every server.  Each
event of a session carries its facts, in ``event.facts``; a `Listener` is called with them.
"""

import re
from typing import ClassVar

from msgspec import Struct, field

from .. import events as ev

__all__ = ["Fact", "Facts", "ItemEntry", "PartEntry", "Request", "ResponseEntry", "Sent"]


class Request(Struct, frozen=True):
    """The ``response.create`` that a response answers.

    Attributes:
        event_id: What ``session.response.create`` returned.
        out_of_band: The response is not part of the conversation (``conversation="none"``).
    """

    event_id: str
    out_of_band: bool = False


class Sent(Struct, frozen=True):
    """A client event that the server is yet to answer, or has rejected.

    Attributes:
        type: Its type, such as ``"response.create"``.
        event_id: What `Session.send` returned for it.
        item_id: The item that it creates, deletes, truncates or retrieves; ``""`` = none, or none named.
        item_type: The type of the item that it creates.
        previous_item_id: The item after which it creates one; ``""`` = at the end.
        content_index, audio_end_ms: The part that it truncates, and where.
        audio: Bytes of audio that were appended before it.
    """

    type: str
    event_id: str
    item_id: str = ""
    item_type: str = ""
    previous_item_id: str = ""
    content_index: int = 0
    audio_end_ms: int = 0
    audio: int = 0


# --- Entries ---------------------------------------------------------------------------------------------


class ResponseEntry(Struct, eq=False):
    """A response.  The reader thread fills it in, so it may be ahead of the events that you have taken.

    Attributes:
        id: The server's id; ``""`` if it has sent none yet.
        request: The request that it answers; ``None`` if the server began it by itself.
        out_of_band: Its items are not in the conversation.
        announced: The server has said that it begins.
        unwanted: Its cancellation was asked for before it began.
        done: It has ended.
        status: How it ended: ``"completed"``, ``"cancelled"``, ``"failed"``, ``"incomplete"``, or ``"lost"``
            with its connection; ``""`` while it runs, and if the server left out its end.
        items: Its items, in order.
        error: An error that came while it ran and named nothing; it may be why the response fails.
        withdrawn: Its follow-up was withdrawn, so the model doesn't go on after it.
        played: A `Playback` has played some of it.
    """

    id: str
    request: Request | None = None
    out_of_band: bool = False
    announced: bool = False
    unwanted: bool = False
    done: bool = False
    status: str = ""
    items: "list[ItemEntry]" = field(default_factory=list)
    error: ev.ErrorDetails | None = None
    withdrawn: bool = False
    played: bool = False

    @property
    def is_outside(self) -> bool:
        """Whether it is out-of-band for certain, since that was requested."""
        return self.request is not None and self.out_of_band


class ItemEntry(Struct, eq=False):
    """An item of the conversation or of a response.  As with `ResponseEntry`, the reader fills it in.

    Attributes:
        id: The server's id for it; ``""`` if it has sent none.
        response: The response that made it; ``None`` if none did.
        type, role, name, call_id: As on the wire; ``""`` = not known.
        arguments: Those of a call, as the model wrote them, once they are complete; until then ``None``.
        deltas: The deltas of the arguments until then, up to 16 Mi characters.
        written: The number of characters of all deltas.
        parts: Its content parts, by their index.
        done: It is complete.
        called: There was a `CallMade` for it.
        deleted, in_conversation: Whether it was deleted, and whether it is in the conversation.
        appended: The server has put it at the end by itself.
        output_index: Its place in its response, by the first event about it; -1 = unknown.
    """

    id: str
    response: ResponseEntry | None = None
    type: str = ""
    role: str = ""
    name: str = ""
    call_id: str = ""
    arguments: str | None = None
    deltas: list[str] = field(default_factory=list)
    written: int = 0
    parts: "dict[int, PartEntry]" = field(default_factory=dict)
    done: bool = False
    called: bool = False
    deleted: bool = False
    in_conversation: bool = False
    appended: bool = False
    output_index: int = -1


class PartEntry(Struct, eq=False):
    """A content part of an item.

    Attributes:
        item, index: Where it is.
        kind: ``"text"``, ``"audio"``, or ``""`` while that is not known.
        asked_ms: Where the server was asked to truncate it, in milliseconds, by the ids of those events that
            it has not rejected.
    """

    item: ItemEntry
    index: int
    kind: str = ""
    asked_ms: dict[str, int] = field(default_factory=dict)

    @property
    def heard_ms(self) -> int | None:
        """The earliest place at which the server was asked to truncate it, in ms; ``None`` if it was not."""
        return min(tuple(self.asked_ms.values()), default=None)


# --- Facts -----------------------------------------------------------------------------------------------


class Fact(Struct, frozen=True):
    """Base of the facts.  ``handler`` is the name of the `Listener` method for it, such as ``"on_text"``."""

    handler: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.handler = "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


Facts = tuple[Fact, ...]


class Settings(Fact, frozen=True):
    """The server announced the session's settings."""

    config: ev.SessionConfig


class ResponseBegan(Fact, frozen=True):
    """A response began; ``wire`` is what the server said of it, empty if the beginning was not announced."""

    response: ResponseEntry
    wire: ev.Response


class ResponseEnded(Fact, frozen=True):
    """A response ended.

    Attributes:
        response: The response.
        wire: What the server said of it.
        status: ``"completed"``, ``"cancelled"``, ``"failed"``, ``"incomplete"``, or ``"lost"`` with its
            connection.
        reason: Why it was not completed, or why the turn ends here all the same; ``None`` = no reason known.
        error: The error that ended it; ``None`` = none.
        items: Its items, in order.
        goes_on: The model goes on after this, in another response, once its calls are answered.
        repeated: The server has reported this end before; only the usage may be new.
    """

    response: ResponseEntry
    wire: ev.Response
    status: str
    reason: str | None
    error: ev.ResponseError | ev.ErrorDetails | None
    items: tuple[ItemEntry, ...]
    goes_on: bool
    repeated: bool = False


class ResponseRestarted(Fact, frozen=True):
    """The connection was lost while a response ran, and it is requested again: its items are discarded.

    The same entry stands for what comes in its place; a `ResponseBegan` follows.
    """

    response: ResponseEntry


class Rejected(Fact, frozen=True):
    """The server rejected a client event."""

    sent: Sent
    error: ev.ErrorDetails


class Error(Fact, frozen=True):
    """The server reported an error.  A `Rejected` follows if it is known what it rejects.

    Attributes:
        error: What the server said.
        is_ours: False if it is about a kind of event of which none was sent here, but for example by a proxy.
    """

    error: ev.ErrorDetails
    is_ours: bool = True


class ItemMade(Fact, frozen=True):
    """An item was mentioned for the first time; ``response`` is the one that made it, or ``None``."""

    item: ItemEntry
    response: ResponseEntry | None


class ItemNamed(Fact, frozen=True):
    """An item that was without an id has got one, or one has got another id."""

    item: ItemEntry


class ItemTold(Fact, frozen=True):
    """The server sent an item, ``wire``.  Its parts and calls have facts of their own."""

    item: ItemEntry
    wire: ev.Item


class ItemStatus(Fact, frozen=True):
    """The status of an MCP item changed to ``"in_progress"``, ``"completed"`` or ``"failed"``."""

    item: ItemEntry
    status: str


class ItemDone(Fact, frozen=True):
    """An item is complete."""

    item: ItemEntry


class ItemPlaced(Fact, frozen=True):
    """An item is in the conversation now, after another one; if it was elsewhere before, it has moved.

    Attributes:
        item: The item.
        after: The one before it; ``None`` if it is the first.
    """

    item: ItemEntry
    after: ItemEntry | None


class ItemDeleted(Fact, frozen=True):
    """An item is not in the conversation any more.

    Attributes:
        item: The item.
        forgotten: The server has not deleted it, but the conversation is longer than what is kept.
    """

    item: ItemEntry
    forgotten: bool = False


class ItemTruncated(Fact, frozen=True):
    """The server confirmed that a part's audio ends at ``audio_end_ms``, in milliseconds from its start."""

    part: PartEntry
    audio_end_ms: int


class Part(Fact, frozen=True):
    """The server sent a part, ``content``; if ``whole``, its texts are complete and replace the deltas."""

    part: PartEntry
    content: ev.ContentPart
    whole: bool


class Text(Fact, frozen=True, gc=False):
    """Written text arrived; if ``whole``, it is the complete text and replaces the deltas."""

    part: PartEntry
    text: str
    whole: bool = False


class Transcript(Fact, frozen=True, gc=False):
    """A transcript of the model's or the user's audio arrived; ``whole`` as in `Text`."""

    part: PartEntry
    text: str
    whole: bool = False


class Segment(Fact, frozen=True):
    """A segment of the transcript of the user's speech arrived."""

    part: PartEntry
    event: ev.ConversationItemInputAudioTranscriptionSegment


class Transcribed(Fact, frozen=True):
    """The transcript of the user's speech is complete, or it failed and ``error`` says why."""

    part: PartEntry
    error: ev.TranscriptionError | None


class Audio(Fact, frozen=True, gc=False):
    """A chunk of audio arrived, as bytes in the session's output format."""

    part: PartEntry
    audio: bytes


class AudioDone(Fact, frozen=True):
    """A part's audio is complete."""

    part: PartEntry


class Translation(Fact, frozen=True):
    """A chunk of a translation's audio arrived, which belongs to no item."""

    audio: bytes


class Arguments(Fact, frozen=True):
    """Arguments of a call arrived, as JSON text; ``whole`` as in `Text`."""

    item: ItemEntry
    text: str
    whole: bool = False


class CallMade(Fact, frozen=True):
    """A call of a function is complete and waits for its output.  There is one for each call."""

    item: ItemEntry
    call: ev.FunctionCall


class ApprovalAsked(Fact, frozen=True):
    """The server waits for the approval of an MCP call.  There is one for each request.

    Attributes:
        response: The response that requests it.
        request: The request.
        goes_on: The response has ended already, and the model goes on after the answer.
    """

    response: ResponseEntry
    request: ev.McpApprovalRequest
    goes_on: bool


class McpCall(Fact, frozen=True):
    """The server began to run an MCP call of a response or, with ``ended``, has ended it; once each."""

    response: ResponseEntry
    item: ItemEntry
    ended: bool = False


class McpResult(Fact, frozen=True):
    """An MCP call has its output, or failed.  There is one for each call."""

    response: ResponseEntry
    call: ev.McpCall


class McpToolsFailed(Fact, frozen=True):
    """The server could not list the tools of an MCP server, so the model lacks them."""

    item_id: str


class SpeechStarted(Fact, frozen=True):
    """The user began to speak, at ``audio_ms`` milliseconds of all audio sent: the moment to fall silent."""

    item_id: str
    audio_ms: int


class SpeechStopped(Fact, frozen=True):
    """The user stopped speaking, at ``audio_ms`` milliseconds of all audio sent."""

    item_id: str
    audio_ms: int


class Committed(Fact, frozen=True):
    """The user's speech became a message."""

    item: ItemEntry
