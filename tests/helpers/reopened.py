"""A server each of whose connections goes as a test says, and what a session does when it has lost one."""

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from scripted import CREATED, DEADLINE, Caller, Script
from threads import in_thread

import realtime_sync as rt

__all__ = [
    "Connections",
    "Delayed",
    "Peer",
    "lose",
    "opened",
    "reconnected",
    "refuses",
    "rejection",
    "rejects",
    "talks",
]

_numbers = itertools.count(1)

Answer = Callable[[Any], list[str] | None]


def frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": f"event_of_server_{next(_numbers)}", **fields})


def rejection(event_id: str | None, message: str = "no", code: str | None = None) -> str:
    """A frame of ``error`` about an event of the client's."""
    details = {"type": "invalid_request_error", "code": code, "message": message, "event_id": event_id}
    return frame("error", error=details)


class Peer:
    """One connection: begins a session, takes settings and items, and keeps what it is sent.

    Args:
        answer: What it says to an event; ``None`` = what a good server does.
        begins: Its first frame; ``None`` = nothing.
    """

    def __init__(self, answer: Answer = lambda event: None, begins: str | None = CREATED) -> None:
        self.received: list[Any] = []
        self.goodbye: bytes | None = None
        self._answer = answer
        self._begins = begins

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        if self._begins is not None:
            caller.text(self._begins)
        while True:
            opcode, payload = caller.read_message()
            if opcode == 8:
                self.goodbye = payload
                caller.frame(8, payload)
            if opcode != 1:
                return
            event = json.loads(payload)
            said = self._answer(event)
            self.received.append(event)
            caller.text(*(_taken(event) if said is None else said))

    @property
    def items(self) -> list[tuple[str | None, str, str | None]]:
        """The items that it was told to create: their ids, texts, and the ids of those before them."""
        return [
            (event["item"].get("id"), event["item"]["content"][0]["text"], event.get("previous_item_id"))
            for event in self.received
            if event["type"] == "conversation.item.create"
        ]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.received]


def _taken(event: Any) -> list[str]:
    """What a good server says."""
    if event["type"] == "session.update":
        return [frame("session.updated", session={**json.loads(CREATED)["session"], **event["session"]})]
    if event["type"] == "conversation.item.create":
        item = {"id": f"item_of_server_{next(_numbers)}", **event["item"]}
        return [frame(kind, item=item) for kind in ("conversation.item.added", "conversation.item.done")]
    return []


class Connections:
    """Gives each connection the next script, and all further ones the last."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self.count = 0

    def __call__(self, caller: Caller) -> None:
        self.count += 1
        self._scripts[min(self.count, len(self._scripts)) - 1](caller)


def refuses(status: int, *headers: str) -> Script:
    """A script that answers the handshake with an HTTP error."""

    def script(caller: Caller) -> None:
        caller.read_request()
        lines = [f"HTTP/1.1 {status} No", *headers, "Content-Length: 7", "", "no way."]
        caller.raw("\r\n".join(lines).encode())
        caller.serve_until_closed()

    return script


def rejects(code: str) -> Script:
    """A script that sends an error in place of ``session.created``."""
    return Peer(begins=rejection(None, "no session", code))


def talks(frame: bytes, *begins: str) -> Script:
    """A script that takes nothing: it sends these texts, and then one frame again and again."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*begins)
        reader = in_thread(caller.serve_until_closed)
        while reader.is_alive():
            caller.raw(frame)
            reader.join(0.005)

    return script


class Delayed:
    """A script that says nothing until it is released, and then goes on as another one."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, caller: Caller) -> None:
        self.begun.set()
        assert self.released.wait(DEADLINE)
        self._script(caller)


def opened(url: str, *texts: str, **options: Any) -> rt.Session:
    """A session that reconnects, whose conversation has messages of these texts, all taken by the server."""
    session = rt.connect("m", base_url=url, **{"api_key": "k", "reconnect": True, **options})
    for text in texts:
        session.conversation.item.create(text)
        session.run(rt.Visitor[None](), until=rt.events.ConversationItemDone, timeout=DEADLINE)
    return session


def lose(session: rt.Session) -> None:
    """Lose the connection of a session, as a network does."""
    session._reader.gate.line.transport.kill()


def reconnected(session: rt.Session, visitor: rt.Visitor[Any] | None = None) -> rt.Reconnected:
    """Take events up to the one that tells of the new connection."""
    event = session.run(visitor or rt.Visitor[None](), until=rt.Reconnected, timeout=DEADLINE)
    assert event is not None
    return event
