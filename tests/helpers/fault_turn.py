"""A turn of the protocol, and what faults make of it."""

import json
from collections.abc import Sequence

from realtime_sync.events import ServerEvent
from realtime_sync.local import Protocol, ScriptedResponder
from realtime_sync.local.faults import Fault
from realtime_sync.local.stage import Action, Send, Stage

CREATE = '{"type":"response.create","response":{"output_modalities":["text"]}}'


BESIDE = '{"type":"response.create","response":{"output_modalities":["text"],"conversation":"none"}}'


def turn() -> list[list[ServerEvent]]:
    """What a protocol says in one turn, in the batches in which it says it."""
    protocol = Protocol(responder=ScriptedResponder(["one two three"]))
    batches = [protocol.start(), protocol.receive(CREATE)]
    while protocol.active:
        batches.append(protocol.step())
    return batches


def struck(faults: Sequence[Fault], batches: list[list[ServerEvent]] | None = None) -> list[Action]:
    """What is done about a turn."""
    stage = Stage(faults)
    return [action for batch in batches or turn() for action in stage.take(batch)]


def texts(actions: Sequence[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Send)]


def types(actions: Sequence[Action]) -> list[str]:
    return [json.loads(text)["type"] for text in texts(actions)]


def parallel() -> list[list[ServerEvent]]:
    """What a protocol says while it gives two responses beside the conversation."""
    protocol = Protocol(responder=ScriptedResponder(["one two three", "four five six"]))
    batches = [protocol.start(), protocol.receive(BESIDE), protocol.receive(BESIDE)]
    while protocol.active:
        batches.append(protocol.step())
    return batches


def response_of(event: ServerEvent) -> str:
    """The id of the response whose event this is."""
    return getattr(event, "response_id", "") or getattr(getattr(event, "response", None), "id", "")
