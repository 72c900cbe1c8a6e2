"""A client of the local server's protocol, with nothing in between."""

import json
from collections.abc import Iterable
from typing import Any

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent, codec
from realtime_sync.local import Protocol, Responder

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
"""A function that a model may call."""


class Talk:
    """A client of one protocol, with nothing in between."""

    def __init__(self, responder: Responder | None = None, **config: Any) -> None:
        self._open(Protocol(responder=responder))
        if config:
            self.update(**config)

    def _open(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.now = 0.0
        self.opening = protocol.start(self.now)

    @classmethod
    def to(cls, **options: Any) -> "Talk":
        """A talk with a protocol that is made so."""
        talk = cls.__new__(cls)
        talk._open(Protocol(**options))
        return talk

    def send(self, type: str, **fields: Any) -> list[ServerEvent]:  # noqa: A002  # the wire's name
        return self.protocol.receive(json.dumps({"type": type, **fields}), self.now)

    def hear(self, audio: bytes) -> list[ServerEvent]:
        """Append audio, and whatever comes of it until nothing is under way."""
        frame = codec.encode(ev.InputAudioBufferAppend(audio=audio))
        return self.protocol.receive(frame, self.now) + self.steps()

    def error(self, type: str, **fields: Any) -> ev.ErrorDetails:  # noqa: A002
        """Send what must be refused."""
        [event] = self.send(type, event_id="mine", **fields)
        assert isinstance(event, ev.ErrorEvent), event
        assert event.error.type == "invalid_request_error"
        assert event.error.event_id == "mine"
        assert event.error.message
        return event.error

    def update(self, **config: Any) -> dict[str, Any]:
        """Update the session; the whole session as the wire carries it."""
        [event] = self.send("session.update", session={"type": "realtime", **config})
        assert isinstance(event, ev.SessionUpdated), event
        return wire(event)["session"]  # type: ignore[no-any-return]

    def say(self, text: str, **fields: Any) -> str:
        """Add a user message; its id."""
        content = [{"type": "input_text", "text": text}]
        return self.add({"type": "message", "role": "user", "content": content}, **fields)

    def add(self, item: dict[str, Any], **fields: Any) -> str:
        added, done = self.send("conversation.item.create", item=item, **fields)
        assert isinstance(added, ev.ConversationItemAdded)
        assert isinstance(done, ev.ConversationItemDone)
        assert (added.item, added.previous_item_id) == (done.item, done.previous_item_id)
        return item_id(added.item)

    def steps(self) -> list[ServerEvent]:
        """Run what is running to its end."""
        events = []
        while self.protocol.active:
            assert self.protocol.due is not None
            self.now = max(self.now, self.protocol.due)
            events += self.protocol.step(self.now)
        return events

    def turn(self, **params: Any) -> list[ServerEvent]:
        """One response, from ``response.created`` to ``response.done``."""
        return self.send("response.create", response=params) + self.steps()

    def retrieve(self, item: str) -> Any:
        [event] = self.send("conversation.item.retrieve", item_id=item)
        assert isinstance(event, ev.ConversationItemRetrieved), event
        return event.item

    def order(self) -> list[str]:
        """The ids of the conversation."""
        return [item_id(item) for item in self.protocol.items]


def wire(event: ServerEvent) -> dict[str, Any]:
    return json.loads(codec.encode(event))  # type: ignore[no-any-return]


def item_id(item: Any) -> str:
    assert item.id
    return str(item.id)


def kinds(events: Iterable[ServerEvent]) -> list[str]:
    return [event.type for event in events]
