"""A chat-completions endpoint that answers what a test tells it, byte by byte, and what is made of that."""

import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from http_api import read_http
from scripted import Caller, ScriptedServer

from realtime_sync.events import FunctionTool, InputText, Message
from realtime_sync.local import ChatResponder, Output, Request, Say

__all__ = [
    "HELLO",
    "Asked",
    "ChatEndpoint",
    "asking",
    "chunk",
    "events",
    "http",
    "outputs_of",
    "streamed",
    "tool",
]

Answer = bytes | Callable[[Caller], None]
"""A whole HTTP answer, after which the connection ends; or what writes one."""


@dataclass
class Asked:
    """A request that came: its head and its JSON."""

    head: str
    body: dict[str, Any]


class ChatEndpoint:
    """Gives each request the next of its answers, and all further ones the last.

    Attributes:
        asked: The requests so far.
    """

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._server = ScriptedServer(self._answer, tls)
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self._server.port}/v1"

    def _answer(self, caller: Caller) -> None:
        body = read_http(caller)
        self.asked.append(Asked(caller.request.decode(), json.loads(body)))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, bytes):
            caller.raw(answer)
        else:
            answer(caller)

    def responder(self, **options: Any) -> ChatResponder:
        """Return a responder that asks this endpoint."""
        return ChatResponder(self.url, **{"model": "a-model", **options})

    def __enter__(self) -> "ChatEndpoint":
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)


def http(body: bytes, status: str = "200 OK", kind: str = "text/event-stream", head: str = "") -> bytes:
    """An answer whose end is that of the connection, as of most endpoints that stream."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{head}\r\n".encode() + body


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of a stream, with other fields of its ``delta``."""
    if content is not None:
        delta["content"] = content
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def events(*chunks: Any) -> bytes:
    """Chunks as server-sent events."""
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks).encode()


def streamed(*chunks: Any) -> bytes:
    """An answer of these chunks, which ends as it should."""
    return http(events(*chunks) + b"data: [DONE]\n\n")


HELLO = streamed(chunk("Hello"), chunk(" there."), chunk(finish="stop"))
"""The answer "Hello there."."""


def asking(text: str = "Hi", **fields: Any) -> Request:
    """A request that asks in writing."""
    item = Message(role="user", content=[InputText(text=text)])
    return Request(**{"items": [item], "output_modalities": ["text"], **fields})


def tool(name: str = "get_weather") -> FunctionTool:
    return FunctionTool(name=name, description="What it says.", parameters={"type": "object"})


def outputs_of(outputs: Iterable[Output]) -> list[Any]:
    """What a responder gives: texts as lists of what they come in, calls as they are."""
    return [list(each.text) if isinstance(each, Say) else each for each in outputs]
