"""What answers in place of a model: a `Responder` reads a `Request` and returns `Say` and `CallFunction`.

A responder decides *what* is answered; the protocol decides whether it is written or spoken, and in which
deltas it is streamed.  Write one by giving any class a ``respond`` method::

    class Shout:
        def respond(self, request: Request) -> Iterable[Output]:
            yield Say(request.last_user_text.upper())
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...events import (
    FunctionCallOutput,
    FunctionTool,
    InputText,
    Item,
    Message,
    Tool,
    ToolChoice,
    ToolChoiceFunction,
)
from .small_talk import function_meant, small_talk

__all__ = [
    "CallFunction",
    "CallMcpTool",
    "DefaultResponder",
    "Incomplete",
    "Output",
    "Request",
    "RequestMcpApproval",
    "Responder",
    "Say",
    "ScriptedResponder",
]


@dataclass(frozen=True)
class Say:
    """An assistant message: written, or spoken with ``text`` as its transcript.

    Args:
        text: What is said; or an iterable of it, part by part as it is written, which is spoken sentence by
            sentence meanwhile.
        audio: Takes the place of what the voice says: raw bytes in the response's output format.
    """

    text: str | Iterable[str]
    audio: bytes | None = None


class _Call:
    """A call with arguments, a mapping or JSON text."""

    arguments: Mapping[str, Any] | str

    @property
    def json(self) -> str:
        """Return the arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))


@dataclass(frozen=True)
class CallFunction(_Call):
    """A function call.  ``arguments`` is a mapping, or JSON text sent as it is (even if it is wrong)."""

    name: str
    arguments: Mapping[str, Any] | str = "{}"


@dataclass(frozen=True)
class CallMcpTool(_Call):
    """A call of a tool on an MCP server, which the Realtime server makes itself.

    ``output`` is what the tool returned; ``error`` is why it failed, and then there is no output.
    """

    server_label: str
    name: str
    arguments: Mapping[str, Any] | str = "{}"
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class RequestMcpApproval(_Call):
    """A question to the client: may this tool of an MCP server be called?

    The client answers with an item ``mcp_approval_response``, and asks for the next response.
    """

    server_label: str
    name: str
    arguments: Mapping[str, Any] | str = "{}"


Output = Say | CallFunction | CallMcpTool | RequestMcpApproval


class Incomplete(Exception):
    """Raised by a responder whose model did not come to an end: the response ends ``incomplete``.

    Args:
        reason: ``"max_output_tokens"`` or ``"content_filter"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """What a model would be given to answer.

    Attributes:
        items: The conversation, oldest first, or the ``input`` of ``response.create``.
        instructions, tools, tool_choice: In force for this response.
        output_modalities: ``["audio"]`` or ``["text"]``.
        heard_seconds: The length of the audio in the last user message, 0.0 if it has none.
        heard_text: What was said in it, if the server's transcriber really hears (`Transcriber.hears`).
        language: What to translate into, in a translation session; there the only item holds what was
            said, as text.
        max_output_tokens: The most tokens of the answer; ``None`` = as many as it takes.
        temperature: How freely the model chooses its words; ``None`` = as it does by itself.
        parallel_tool_calls: Whether there may be several calls at once; ``None`` = as the model does.
    """

    items: Sequence[Item] = ()
    instructions: str = ""
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = "auto"
    output_modalities: Sequence[str] = ("audio",)
    heard_seconds: float = 0.0
    heard_text: str = ""
    language: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None
    parallel_tool_calls: bool | None = None

    @property
    def last_user_text(self) -> str:
        """Return the text of the last user message; ``""`` if there is none, or it has only audio."""
        for item in reversed(self.items):
            if isinstance(item, Message) and item.role == "user":
                return " ".join(part.text for part in item.content if isinstance(part, InputText))
        return ""

    @property
    def forced_function(self) -> str | None:
        """Return the function that ``tool_choice`` asks for; of several, the first."""
        choice = self.tool_choice
        if isinstance(choice, ToolChoiceFunction):
            return choice.name
        names = [tool.name for tool in self.tools if isinstance(tool, FunctionTool)]
        return names[0] if choice == "required" and names else None

    def declares(self, name: str) -> bool:
        """Return whether a function of this name is among the tools."""
        return any(isinstance(tool, FunctionTool) and tool.name == name for tool in self.tools)


_LONGEST_QUOTE = 2000  # characters, which take two minutes to say


class Responder(Protocol):
    """Answers in place of a model."""

    def respond(self, request: Request) -> Iterable[Output]:
        """Return the items of one response, in order; a generator is asked for each when it is due.

        One responder serves all sessions of a server, each response from a thread of its own: it may wait.
        If what it returns has a method ``close``, another thread calls that when the response is cancelled:
        it should end the waiting.  (A generator is closed in its own thread.)  A responder that never waits
        may have an attribute ``instant = True``: it gets no thread.

        An exception makes the response fail (``response.done`` with status ``"failed"``) and nothing else;
        `Incomplete` makes it ``"incomplete"``.
        """
        ...


class DefaultResponder:
    """Answers every question about itself, the same way each time.

    * It tells the time and the day, counts as far as it is told, and says what it is.
    * Asked for what a function is about (``get_weather``: "what is the weather in Oslo?"), it calls the
      function, if the question has all the arguments that it needs.
    * Other text gets two sentences that quote it.  What it has heard it repeats; of audio whose words it does
      not know, it tells the length.
    * The result of a function gets a sentence that quotes it.
    * ``call NAME {"some": "arguments"}`` makes it call the function, if that is among the tools.
    * If it has to call a function (``tool_choice``), it does, without arguments.
    * In a translation session it repeats what was said, with the name of the language.
    """

    instant = True

    def respond(self, request: Request) -> Iterable[Output]:
        if request.items and isinstance(request.items[-1], FunctionCallOutput):
            return [Say(f"The function answered: {_quoted(request.items[-1].output)}")]
        if request.language:
            return [Say(f"({request.language}) {request.last_user_text}")]
        text = request.last_user_text.strip() or request.heard_text.strip()
        call = re.fullmatch(r"call\s+(\S+)\s*(.*)", text, re.DOTALL)
        if call and request.declares(call[1]) and request.tool_choice != "none":
            return [CallFunction(call[1], call[2] or "{}")]
        if forced := request.forced_function:
            return [CallFunction(forced)]
        return [self._output(text, request)]

    def _output(self, text: str, request: Request) -> Output:
        if answer := small_talk(text):
            return Say(answer)
        meant = function_meant(text, request.tools) if request.tool_choice != "none" else None
        if meant is None:
            return Say(self._answer(request.last_user_text.strip(), request))
        name, arguments, missing = meant
        if missing:
            return Say(f"To call {name}, I need to know its {' and its '.join(missing)}.")
        return CallFunction(name, arguments)

    def _answer(self, text: str, request: Request) -> str:
        if text:
            quote = _quoted(text)
            return (
                f'You said "{quote}" to a local server. It knows nothing, but it can count: {_count(text)}.'
            )
        if request.heard_text.strip():
            return f"You said: {_quoted(request.heard_text.strip())}"
        if request.heard_seconds:
            return f"I heard {request.heard_seconds:.1f} seconds of audio."
        return "Hello! You have not said anything yet."


def _quoted(text: str) -> str:
    """Return the text, or the beginning of a long one: a word takes half a second to say."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def _count(text: str) -> str:
    words = len(text.split())
    return f"{words} word" if words == 1 else f"{words} words"


Scripted = Output | str | Exception | Sequence[Output]


class ScriptedResponder:
    """Returns answers prepared beforehand, one per response, in order.

    Each answer is an output, a list of outputs, a string (short for ``Say``), or an exception to raise.

    Attributes:
        requests: Every `Request` so far, for a test to look at.
    """

    instant = True

    def __init__(self, answers: Iterable[Scripted]) -> None:
        self._answers = deque(answers)
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Iterable[Output]:
        self.requests.append(request)
        try:
            answer = self._answers.popleft()
        except IndexError:
            raise RuntimeError("the script has no answer left for this response") from None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return [Say(answer)]
        return [answer] if isinstance(answer, Output) else answer
