"""What a server received and sent, for tests to look at and to wait for."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..events import (
    ClientEvent,
    ConversationItemRetrieved,
    InputAudioBufferAppend,
    Item,
    ServerEvent,
    SessionInputAudioBufferAppend,
    UnknownEvent,
)
from ..events.codec import decode, decode_client, encode

__all__ = ["Received", "Record", "Recorder", "audio_of"]

Received = ClientEvent | UnknownEvent
"""What a client sent: an event, or a message that is not an event."""


@dataclass
class Record:
    """One session as the server saw it.  Grows while the session lives; nothing is ever discarded.

    Attributes:
        session: The session's id.
        received: What the client sent, in order.
        sent: What the server sent, in order.
        items: The conversation as the server knew it in the end: its items, oldest first, as a client of GA
            would have retrieved them, so with their audio.  Empty while the session lives.
        code: The close code; ``None`` while the session lives.
        reason: The reason given with the code.
    """

    session: str
    received: list[Received] = field(default_factory=list)
    sent: list[ServerEvent] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    code: int | None = None
    reason: str = ""

    @property
    def audio_received(self) -> bytes:
        """All audio that was appended, committed or not."""
        return audio_of(self.received)


def audio_of(events: list[Received]) -> bytes:
    """Return the audio that these events append."""
    return b"".join(
        event.audio
        for event in events
        if isinstance(event, InputAudioBufferAppend | SessionInputAudioBufferAppend)
    )


class Recorder:
    """The observer of a server.  Its methods are called in the threads of the sessions.

    Attributes:
        records: By the session's id, in the order in which the sessions were opened.
        received_by_all: What all clients sent, in order.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.received_by_all: list[Received] = []
        # Guards the records, and wakes the threads that wait for the next event.
        self.changed = threading.Condition()
        # The session of the current thread: a responder doesn't get to know which one it answers.
        self._here = threading.local()

    @property
    def session(self) -> str:
        """The session in whose thread this is asked; ``""`` in other threads."""
        return getattr(self._here, "session", "")

    def opened(self, session: str) -> None:
        self._here.session = session
        with self.changed:
            self.records[session] = Record(session)
            self.changed.notify_all()

    def received(self, session: str, frame: str | bytes) -> None:
        self._here.session = session
        event = decode_client(frame)
        with self.changed:
            self.records[session].received.append(event)
            self.received_by_all.append(event)
            self.changed.notify_all()

    def sent(self, session: str, frame: str) -> None:
        event = decode(frame)
        with self.changed:
            self.records[session].sent.append(event)
            self.changed.notify_all()

    def remembered(self, session: str, items: Sequence[Item]) -> None:
        retrieved = [decode(encode(ConversationItemRetrieved(event_id="", item=item))) for item in items]
        with self.changed:
            self.records[session].items += [
                event.item for event in retrieved if isinstance(event, ConversationItemRetrieved)
            ]

    def closed(self, session: str, code: int, reason: str) -> None:
        with self.changed:
            record = self.records[session]
            record.code, record.reason = code, reason
            self.changed.notify_all()

    def wait(self, condition: Callable[[], object], timeout: float) -> bool:
        """Wait until something happens that makes the condition true.  Return whether it did in time."""
        with self.changed:
            return bool(self.changed.wait_for(condition, timeout))
