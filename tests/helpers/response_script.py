"""A server whose responses go as a test tells it."""

import itertools
import json
import threading
from typing import Any

from scripted import CREATED, DEADLINE, Caller

_ids = (f"event_{number}" for number in itertools.count(2))
BUSY = "conversation_already_has_active_response"


def created(response_id: str | None, conversation: str | None = "conv_1") -> str:
    response: Any = {"id": response_id, "status": "in_progress", "conversation_id": conversation}
    return json.dumps({"type": "response.created", "event_id": next(_ids), "response": response})


def done(response_id: str | None, conversation: str | None = "conv_1", status: str = "completed") -> str:
    response: Any = {"id": response_id, "status": status, "output": [], "conversation_id": conversation}
    return json.dumps({"type": "response.done", "event_id": next(_ids), "response": response})


def refusal(event_id: str | None, code: str = BUSY) -> str:
    details = {"type": "invalid_request_error", "code": code, "message": "no", "event_id": event_id}
    return json.dumps({"type": "error", "event_id": next(_ids), "error": details})


class ResponseScript:
    """Frames sent one batch at a time, when the test says so; what the client sends is kept."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self._caller: Caller | None = None
        self._changed = threading.Condition()  # something was received, or the client is here

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        with self._changed:
            self._caller = caller
            self._changed.notify_all()
        while True:
            opcode, payload = caller.read_message()
            if opcode != 1:
                caller.frame(8, payload)
                return
            with self._changed:
                self.received.append(json.loads(payload))
                self._changed.notify_all()

    def send(self, *frames: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._caller, DEADLINE)
        assert self._caller
        self._caller.text(*frames)

    def wait_for(self, count: int) -> list[Any]:
        """What was received, once it is this much."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, DEADLINE), self.received
        return self.received
