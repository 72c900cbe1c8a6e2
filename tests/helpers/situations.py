"""What servers say of responses, calls and errors, a frame a line, and a peer that says it when told to."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from response_script import ResponseScript
from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync import events as ev

CANCEL = "response.cancel"
CREATE = "response.create"
NOT_ACTIVE = "response_cancel_not_active"

_ids = (f"event_s{number}" for number in itertools.count())


def frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": next(_ids), **fields})


def error(message: str = "no", **details: Any) -> str:
    """An ``invalid_request_error`` without a code and without an event's id, unless told otherwise."""
    details = {"type": "invalid_request_error", "code": None, "param": None, "event_id": None, **details}
    return frame("error", error={"message": message, **details})


def named_by(code: str, field: str) -> dict[str, Any]:
    """The two ways in which servers name an error: by its code, or by its type and no code."""
    return {"code": code} if field == "code" else {"type": code, "code": None}


def message(item_id: str, text: str = "", role: str = "assistant") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}] if text else []
    return {"id": item_id, "type": "message", "role": role, "status": "completed", "content": content}


def call(item_id: str | None, call_id: str, arguments: str = "{}", name: str = "look") -> dict[str, Any]:
    kind = {"type": "function_call", "status": "completed"}
    return {"id": item_id, "name": name, "call_id": call_id, "arguments": arguments, **kind}


def item_done(response: str, item: dict[str, Any], index: int = 0) -> str:
    return frame("response.output_item.done", response_id=response, output_index=index, item=item)


def began(response: str | None, conversation: str | None = "conv_1") -> str:
    details = {"id": response, "status": "in_progress", "conversation_id": conversation}
    return frame("response.created", response=details)


def ended(response: str | None, *items: dict[str, Any], status: str = "completed", **fields: Any) -> str:
    details = {"id": response, "status": status, "output": items, "conversation_id": "conv_1", **fields}
    return frame("response.done", response=details)


def answer(response: str, text: str) -> list[str]:
    """A whole response of a few words."""
    return [began(response), words(response, text), ended(response, message(f"item_{response}", text))]


def asks(response: str, *calls: dict[str, Any]) -> list[str]:
    """A whole response that calls functions, one unless told otherwise."""
    listed = calls or (call(f"item_{response}", f"call_{response}"),)
    return [began(response), *(item_done(response, item) for item in listed), ended(response, *listed)]


def look(city: str = "Oslo") -> str:
    """Look at the weather."""
    return f"rain in {city}"


def _at(response: str, item: str | None) -> dict[str, Any]:
    item = f"item_{response}" if item is None else item
    return {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}


def words(response: str, text: str, item: str | None = None) -> str:
    return frame("response.output_text.delta", delta=text, **_at(response, item))


def said(response: str, text: str, item: str | None = None) -> str:
    return frame("response.output_audio_transcript.delta", delta=text, **_at(response, item))


def audio(response: str, ms: int, item: str | None = None) -> str:
    delta = ev.ResponseOutputAudioDelta(
        event_id=next(_ids), delta=b"\x01\x02" * 24 * ms, **_at(response, item)
    )
    return rt.encode(delta).decode()


class Seen(rt.Visitor[None]):
    """Remembers the events that reached the user."""

    def __init__(self) -> None:
        self.events: list[rt.ServerEvent] = []

    def default(self, event: rt.ServerEvent) -> None:
        self.events.append(event)

    @property
    def errors(self) -> list[str]:
        return [event.error.message for event in self.events if isinstance(event, ev.ErrorEvent)]


class Met:
    """A session, its scripted peer, and the visitors that the events go to."""

    def __init__(self, script: ResponseScript, session: rt.Session) -> None:
        self.script, self.session = script, session
        self.seen = Seen()
        self.visitor: rt.Visitor[Any] = self.seen
        self._said = 0
        self.until(lambda: self.seen.events)  # else `session.created` may come behind what is sent first

    def watched_by(self, *visitors: rt.Visitor[Any]) -> None:
        """Let these have the events from now on."""
        self.visitor = rt.Visitors(*visitors, self.seen)

    def hear(self, *frames: str) -> None:
        """Let the server say this, and dispatch it: what reaches the user ends with a mark."""
        self._said += 1
        mark = f"mark_{self._said}"
        self.script.send(*frames, frame("a.mark", mark=mark))
        self.until(lambda: any(mark in str(event) for event in self.seen.events[-1:]))

    def until(self, condition: Callable[[], object]) -> None:
        self.session.wait_until(lambda: bool(condition()), self.visitor, DEADLINE)

    def sent(self) -> list[Any]:
        """All that was sent until now, without audio."""
        mark, count = self.session.input_audio_buffer.append(b"\0\0"), 1
        while mark not in [event["event_id"] for event in self.script.wait_for(count)]:
            count = len(self.script.received) + 1
        return [each for each in self.script.received if each["type"] != "input_audio_buffer.append"]

    def types(self) -> list[str]:
        return [event["type"] for event in self.sent()]

    def of(self, kind: str) -> list[Any]:
        """What was sent until now of a type."""
        return [event for event in self.sent() if event["type"] == kind]


def timed_out(wait: Callable[[], object], says: str) -> bool:
    """Whether one of several waits that time out says this: the one in which it was heard."""
    for _ in range(100):
        with pytest.raises(TimeoutError) as caught:
            wait()
        if says in str(caught.value):
            return True
    return False
