"""Server events about a conversation, made in a line each, and conversations that received them."""

import json
from typing import Any

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.voice import Conversation


def wire(kind: str, /, **fields: Any) -> ServerEvent:
    """An event as it comes out of the decoder."""
    return rt.decode(json.dumps({"type": kind, "event_id": "", **fields}))


def message(item_id: str, *texts: str, role: str = "user", status: str = "completed") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text} for text in texts]
    return {"id": item_id, "type": "message", "role": role, "status": status, "content": content}


def at(item: str = "i", index: int = 0, response: str = "r", output: int = 0) -> dict[str, Any]:
    return {"response_id": response, "item_id": item, "output_index": output, "content_index": index}


def added(item: dict[str, Any], previous: str | None = None) -> ServerEvent:
    return wire("conversation.item.added", item=item, previous_item_id=previous)


def created(response: str = "r", conversation: str | None = "conv", **fields: Any) -> ServerEvent:
    details = {"id": response, "status": "in_progress", "conversation_id": conversation, **fields}
    return wire("response.created", response=details)


def done(response: str | None = "r", status: str = "completed", **fields: Any) -> ServerEvent:
    return wire("response.done", response={"id": response, "status": status, **fields})


def spoken(text: str, item: str = "i", **fields: Any) -> ServerEvent:
    return wire("response.output_audio_transcript.delta", **{**at(item), **fields}, delta=text)


def sound(chunk: bytes, item: str = "i", **fields: Any) -> ServerEvent:
    return ev.ResponseOutputAudioDelta(event_id="", **{**at(item), **fields}, delta=chunk)


def truncated(ms: int, item: str = "i", index: int = 0) -> ServerEvent:
    return wire("conversation.item.truncated", item_id=item, content_index=index, audio_end_ms=ms)


def told(*events: ServerEvent, **options: Any) -> Conversation:
    """A conversation that was told of these."""
    conversation = Conversation(**options)
    for event in events:
        conversation.visit(event)
    return conversation


def ids(conversation: Conversation) -> list[str]:
    return [item.id for item in conversation.items]


def texts(conversation: Conversation) -> list[tuple[str | None, str]]:
    return [(item.role, item.text) for item in conversation.items]
