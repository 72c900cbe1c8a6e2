"""From a conversation to what a chat-completions endpoint is given: messages and tools.

Endpoints hand the messages to templates of which many are strict, so what they are given is always regular:
one system message at the top, then a user's, each call followed by its output, no two messages of one speaker
in a row, and at the end something to answer.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ...events import (
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    InputAudio,
    InputImage,
    InputText,
    Item,
    Message,
    OutputAudio,
    OutputText,
    ToolChoiceFunction,
)
from ...events.codec import parse
from ..protocol.responders import Request

__all__ = ["NOT_SEEN", "NOT_TRANSCRIBED", "NO_OUTPUT", "SILENCE", "has_images", "messages_of", "tools_of"]

NOT_TRANSCRIBED = "[audio that was not transcribed]"
"""What a model reads in place of audio whose words are not known."""
NOT_SEEN = "[an image that you cannot see]"
"""What a model that takes no images reads in place of one."""
NO_OUTPUT = "[the function has not returned yet]"
"""What a model reads where a call has no output."""
SILENCE = "[The user says nothing. Go on as you were instructed.]"
"""What a model reads where it is to speak and no user has."""
_TRANSLATE = "Translate what the user says into the language {!r}. Answer with the translation only."

_Message = dict[str, Any]


def messages_of(request: Request, *, hint: str = "", images: bool = True) -> list[_Message]:
    """Return the messages that stand for a request.

    Args:
        request: What is to be answered.
        hint: Put below the instructions.
        images: Whether the model takes images; others get `NOT_SEEN`.
    """
    instructions = _TRANSLATE.format(request.language) if request.language else request.instructions
    history = _History(request.items, images)
    history.put("system", "\n\n".join(filter(None, [instructions.strip(), hint.strip()])))
    for item in request.items:
        history.add(item)
    return history.whole()


class _History:
    """Messages, made of one item after the other."""

    def __init__(self, items: Iterable[Item], images: bool) -> None:
        self._messages: list[_Message] = []
        self._images = images
        self._calls = 0
        self._pending: list[_Message] = []  # outputs of the calls in the last message
        self._outputs: dict[str, deque[str]] = {}
        for item in items:
            if isinstance(item, FunctionCallOutput):
                self._outputs.setdefault(item.call_id, deque()).append(item.output)

    def add(self, item: Item) -> None:
        """Add an item; what chat completions have no words for is left out."""
        if isinstance(item, FunctionCall):
            self._call(item)
        elif isinstance(item, FunctionCallOutput):
            self._flush()  # a call after it was made in the knowledge of it
        elif isinstance(item, Message) and item.role == "user":
            self.put("user", self._content(item))
        elif isinstance(item, Message):
            self.put(item.role, "\n".join(filter(None, map(_text, item.content))))

    def put(self, role: str, content: str | list[Any]) -> None:
        """Add a message, or add to the last one if that has the same role; nothing if it is empty."""
        if not content:
            return
        self._flush()
        last = self._messages[-1] if self._messages else None
        if last and last["role"] == role and "tool_calls" not in last:
            last["content"] = _joined(last["content"], content)
        else:
            self._messages.append({"role": role, "content": content})

    def whole(self) -> list[_Message]:
        """Return the messages, which begin with a user's and end with one to answer."""
        self._flush()
        start = 1 if self._messages and self._messages[0]["role"] == "system" else 0
        spoken = self._messages[start:]
        if not spoken or spoken[0]["role"] != "user":
            self._messages.insert(start, {"role": "user", "content": SILENCE})
        if self._messages[-1]["role"] == "assistant":
            self._messages.append({"role": "user", "content": SILENCE})
        return self._messages

    def _flush(self) -> None:
        self._messages += self._pending
        self._pending = []

    def _call(self, item: FunctionCall) -> None:
        """Add a call to the assistant's message, and its output to what follows that."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant", "content": ""})
        self._calls += 1
        call_id = f"call{self._calls:05}"  # nine letters and digits: there are models that take no other
        function = {"name": item.name, "arguments": _arguments(item.arguments)}
        call = {"id": call_id, "type": "function", "function": function}
        self._messages[-1].setdefault("tool_calls", []).append(call)
        outputs = self._outputs.get(item.call_id or "")
        output = outputs.popleft() if outputs else NO_OUTPUT
        self._pending.append({"role": "tool", "tool_call_id": call_id, "content": output})

    def _content(self, message: Message) -> str | list[Any]:
        """Return what a user said: text, or a list of parts if an image is among them."""
        content: str | list[Any] = ""
        for part in message.content:
            if isinstance(part, InputImage) and self._images and part.image_url:
                content = _joined(content, [_image(part)])
            elif text := _text(part):
                content = _joined(content, text)
        return content


def _text(part: object) -> str:
    """Return the words of a part; ``""`` if it has none."""
    if isinstance(part, InputText | OutputText):
        return part.text
    if isinstance(part, OutputAudio):
        return part.transcript or ""
    if isinstance(part, InputAudio):
        unknown = part.transcript is None and part.audio != b""
        return NOT_TRANSCRIBED if unknown else part.transcript or ""
    return NOT_SEEN if isinstance(part, InputImage) else ""


def _image(part: InputImage) -> dict[str, Any]:
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}


def _joined(first: str | list[Any], second: str | list[Any]) -> str | list[Any]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}" if first else second
    return [*_parts(first), *_parts(second)]


def _parts(content: str | list[Any]) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _arguments(text: str) -> str:
    """Return a call's arguments if they are a JSON object, else an empty one: templates parse them."""
    try:
        value, flaw = parse(text.encode(errors="replace"))
    except (ValueError, RecursionError):
        return "{}"
    return text if isinstance(value, dict) and flaw is None else "{}"


def has_images(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether there is an image in the messages: then a content is a list."""
    return any(isinstance(message["content"], list) for message in messages)


def tools_of(request: Request) -> dict[str, Any]:
    """Return the fields of an endpoint's request that are about tools; none if no function may be called."""
    tools = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    if not tools or request.tool_choice == "none":  # which some endpoints ignore
        return {}
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": _function(tool)} for tool in tools]}
    choice = request.tool_choice
    if isinstance(choice, ToolChoiceFunction):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice == "required":
        fields["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


def _function(tool: FunctionTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return function
