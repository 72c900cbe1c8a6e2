"""Server events about a conversation, made in a line each, and conversations that received them."""

import json
from typing import Any

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.voice import Conversation

BUSY = "conversation_already_has_active_response"
NO_CANCEL = "response_cancel_not_active"


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


def finished(item: dict[str, Any]) -> ServerEvent:
    return wire("conversation.item.done", item=item)


def created(response: str = "r", conversation: str | None = "conv", **fields: Any) -> ServerEvent:
    details = {"id": response, "status": "in_progress", "conversation_id": conversation, **fields}
    return wire("response.created", response=details)


def done(response: str | None = "r", status: str = "completed", **fields: Any) -> ServerEvent:
    return wire("response.done", response={"id": response, "status": status, **fields})


def done_with(response: dict[str, Any]) -> ServerEvent:
    """The end of a response, of which nothing is said but this."""
    return wire("response.done", response=response)


def cancelled(response: str | None = None, **fields: Any) -> ServerEvent:
    return wire("response.cancelled", response_id=response, **fields)


def spoken(text: str, item: str = "i", **fields: Any) -> ServerEvent:
    return wire("response.output_audio_transcript.delta", **{**at(item), **fields}, delta=text)


def sound(chunk: bytes, item: str = "i", **fields: Any) -> ServerEvent:
    return ev.ResponseOutputAudioDelta(event_id="", **{**at(item), **fields}, delta=chunk)


def truncated(ms: int, item: str = "i", index: int = 0) -> ServerEvent:
    return wire("conversation.item.truncated", item_id=item, content_index=index, audio_end_ms=ms)


def item_added(item: dict[str, Any], response: str = "r", output: int = 0) -> ServerEvent:
    return wire("response.output_item.added", response_id=response, output_index=output, item=item)


def item_done(item: dict[str, Any], response: str = "r", output: int = 0) -> ServerEvent:
    return wire("response.output_item.done", response_id=response, output_index=output, item=item)


def part_added(index: int = 0, **fields: Any) -> ServerEvent:
    return wire("response.content_part.added", **at(index=index), part={"type": "text", "text": ""}, **fields)


def answer(item_id: str = "i", *texts: str, status: str = "in_progress") -> dict[str, Any]:
    """A message of the model's."""
    return message(item_id, *texts, role="assistant", status=status)


def complete(item: str, text: str) -> dict[str, Any]:
    """A message of the model's that is complete."""
    return answer(item, text, status="completed")


def call(call_id: str = "c", item: str = "i", arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    """A function call as an item."""
    kind = {"type": "function_call", "name": "f", "status": "completed"}
    return {**kind, "id": item, "call_id": call_id, "arguments": arguments, **fields}


def begun(call_id: str = "c", item: str = "i") -> dict[str, Any]:
    """A function call whose arguments are still to come."""
    return call(call_id, item, "", status="in_progress")


def argument(delta: str, call_id: str = "c", item: str = "i", **fields: Any) -> ServerEvent:
    place = {**at(item), "call_id": call_id, **fields}
    return wire("response.function_call_arguments.delta", **place, delta=delta)


def called(call_id: str = "c", item: str = "i", arguments: str = "{}", **fields: Any) -> ServerEvent:
    """What ends a call's arguments."""
    place = {"response_id": "r", "item_id": item, "output_index": 0, "name": "f", **fields}
    return wire("response.function_call_arguments.done", **place, call_id=call_id, arguments=arguments)


def mcp(item: str = "m", **fields: Any) -> dict[str, Any]:
    """An MCP call as an item."""
    return {"type": "mcp_call", "id": item, "server_label": "s", "name": "f", "arguments": "{}", **fields}


def mcp_arguments(item: str = "m") -> ServerEvent:
    """What ends an MCP call's arguments."""
    place = {"response_id": "r", "item_id": item, "output_index": 0}
    return wire("response.mcp_call_arguments.done", **place, arguments="{}")


def progress(status: str, item: str = "m") -> ServerEvent:
    """An MCP call goes on."""
    return wire(f"response.mcp_call.{status}", output_index=0, item_id=item)


def approval(item: str = "a") -> dict[str, Any]:
    """A request for the approval of an MCP call, as an item."""
    return {"type": "mcp_approval_request", "id": item, "server_label": "s", "name": "f", "arguments": "{}"}


def written(text: str, item: str = "i", **fields: Any) -> ServerEvent:
    return wire("response.output_text.delta", **{**at(item), **fields}, delta=text)


def whole(text: str, item: str = "i", **fields: Any) -> ServerEvent:
    return wire("response.output_text.done", **{**at(item), **fields}, text=text)


def speaks(item: str = "u") -> ServerEvent:
    """The user begins to speak."""
    return wire("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)


def heard(kind: str, item: str = "u", index: int = 0, **fields: Any) -> ServerEvent:
    """Something of a transcript of the user's speech."""
    place = {"item_id": item, "content_index": index}
    return wire(f"conversation.item.input_audio_transcription.{kind}", **place, **fields)


def committed(item: str = "u") -> ev.InputAudioBufferCommitted:
    """The user's speech becomes a message."""
    return ev.InputAudioBufferCommitted(event_id="", item_id=item)


def removed(item: str = "i") -> ServerEvent:
    return wire("conversation.item.deleted", item_id=item)


def error(event_id: str | None = None, **fields: Any) -> ServerEvent:
    details = {"type": "invalid_request_error", "message": "No.", "event_id": event_id, **fields}
    return wire("error", error=details)


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
