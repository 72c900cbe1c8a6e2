"""Turn the items of a conversation into lines for people, and into items for another session."""

import re
from collections.abc import Iterable

from .. import events as ev
from .mirror import ConversationItem, ConversationPart

__all__ = ["items_to_create", "line_of"]

_BRIEF = 100  # characters shown of a tool's arguments, and of its output
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def line_of(item: ConversationItem, call: ConversationItem | None) -> str:
    """Return an item as one line; ``""`` if it has nothing to show.

    Args:
        item: The item.
        call: The call that a ``function_call_output`` belongs to, if known: its line shows the output too.
    """
    if item.type == "message":
        words = [shown for part in item.content for shown in _shown(part)]
        if item.status == "incomplete" and all(part.truncated_ms is None for part in item.content):
            words.append("[incomplete]")
        return " ".join([f"{(item.role or 'unknown').capitalize()}:", *words]) if words else ""
    output = "" if item.output is None else f" -> {_brief(item.output)}"
    if item.type in ("function_call", "mcp_call"):
        return f"Tool: {_plain(item.name or '')}({_brief(item.arguments)}){output}"
    if item.type == "function_call_output" and not (call and call.in_conversation):
        return f"Tool:{output}"
    return ""


def items_to_create(items: Iterable[ConversationItem], dialect: str) -> list[ev.Item]:
    """Return the items to create in another session of this dialect; see `Conversation.to_items`."""
    made: list[ev.Item] = []
    calls = set()
    for item in items:
        call_id = item.call_id or ""
        if item.type == "message" and (content := _content(item, dialect)):
            made.append(ev.Message(role=item.role or "", content=content))
        elif item.type == "function_call" and _is_complete(item) and call_id:
            calls.add(call_id)
            made.append(ev.FunctionCall(call_id=call_id, name=item.name or "", arguments=item.arguments))
        elif item.type == "function_call_output" and call_id in calls:
            made.append(ev.FunctionCallOutput(call_id=call_id, output=item.output or ""))
    return made


def _is_complete(call: ConversationItem) -> bool:
    """Return whether a call is complete: some servers send no status for one that a client created."""
    return call.status == "completed" or (call.output is not None and call.status != "incomplete")


def _content(item: ConversationItem, dialect: str) -> list[ev.ContentPart]:
    """Return those parts of a message that a client can create."""
    if item.role == "assistant":
        text = ev.Text if dialect == "beta" else ev.OutputText
        return [text(text=part.said) for part in item.content if part.said]
    content: list[ev.ContentPart] = []
    for part in item.content if item.role in ("user", "system") else ():
        if part.said:
            content.append(ev.InputText(text=part.said))
        elif isinstance(part.wire, ev.InputImage) and part.wire.image_url and item.role == "user":
            content.append(part.wire)
    return content


def _plain(text: str) -> str:
    """Return a text as one line, without characters that move the cursor."""
    return _UNPRINTABLE.sub(" ", text).strip()


def _brief(text: str) -> str:
    text = _plain(text)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."


def _shown(part: ConversationPart) -> list[str]:
    """Return how the transcript shows a part: its words, and where it was cut off."""
    words = _plain(part.said)
    if not words and part.kind not in ("text", "audio"):
        words = f"[{_plain(part.kind) or 'unknown'}]"
    if not words and part.kind == "audio" and part.transcript is None:
        words = "[audio]"
    cut = part.truncated_ms
    return [words] * bool(words) + ([] if cut is None else [f"[cut off after {cut / 1000:.1f} s]"])
