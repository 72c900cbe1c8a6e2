"""Turn the items of a conversation into lines for people, and into items for another session."""

import re
from collections.abc import Callable, Iterable

from msgspec import structs

from .. import events as ev
from .mirror import ConversationItem, ConversationPart

__all__ = ["Creator", "in_dialect", "items_to_create", "line_of"]

_AudioOf = Callable[[ConversationPart], bytes | None]
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


def items_to_create(items: Iterable[ConversationItem], dialect: str, *, audio: bool = False) -> list[ev.Item]:
    """Return the items to create in another session of this dialect; see `Conversation.to_items`."""
    creator = Creator(dialect)
    made = (creator.item(item, _own_audio if audio else None) for item in items)
    return [wire for wire in made if wire is not None]


class Creator:
    """Makes the items of a conversation anew, in their order, for another session.

    Args:
        dialect: The dialect of that session.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._calls: set[str] = set()

    def item(self, item: ConversationItem, audio_of: _AudioOf | None = None) -> ev.Item | None:
        """Return what a client can create of an item; ``None`` if it can't.

        Args:
            item: The item, the next one of the conversation.
            audio_of: Returns the audio of a part, if it is kept: for the user's speech without a transcript.
        """
        call_id = item.call_id or ""
        if item.type == "message":
            content = _content(item, self._dialect, audio_of)
            return ev.Message(role=item.role or "", content=content) if content else None
        if item.type == "function_call" and _is_complete(item) and call_id:
            self._calls.add(call_id)
            return ev.FunctionCall(call_id=call_id, name=item.name or "", arguments=item.arguments)
        if item.type == "function_call_output" and call_id in self._calls:
            return ev.FunctionCallOutput(call_id=call_id, output=item.output or "")
        return None


def _is_complete(call: ConversationItem) -> bool:
    """Return whether a call is complete: some servers send no status for one that a client created."""
    return call.status == "completed" or (call.output is not None and call.status != "incomplete")


def _content(item: ConversationItem, dialect: str, audio_of: _AudioOf | None) -> list[ev.ContentPart]:
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
        elif part.kind == "audio" and item.role == "user" and audio_of and (audio := audio_of(part)):
            content.append(ev.InputAudio(audio=audio))
    return content


def in_dialect(item: ev.Item, dialect: str) -> ev.Item:
    """Return an item for a session of a dialect, which may be saved in another one."""
    if not isinstance(item, ev.Message) or item.role != "assistant":
        return item
    text = ev.Text if dialect == "beta" else ev.OutputText
    said = [text(text=part.text) if isinstance(part, ev.OutputText) else part for part in item.content]
    return structs.replace(item, content=said)


def _own_audio(part: ConversationPart) -> bytes:
    return part.audio


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
