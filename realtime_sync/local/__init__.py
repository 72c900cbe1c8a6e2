"""A Realtime server on this machine: no key, no network, and no model, or one of yours.

`LocalServer` speaks HTTP and WebSocket; `Protocol` is what it says, without sockets; a `Responder`
decides what is answered, such as `ChatResponder` by a model of yours; `faults` describe what may go wrong.
"""

from typing import TYPE_CHECKING, Any

from ..speech.transcribers import DefaultTranscriber, Heard, Segment, Transcriber
from ..speech.voices import Sentence, Voice
from . import faults
from .http.phone_calls import Call
from .observer import HistoryObserver, Observer
from .protocol.machine import Protocol
from .protocol.responders import (
    CallFunction,
    CallMcpTool,
    DefaultResponder,
    Incomplete,
    Output,
    Request,
    RequestMcpApproval,
    Responder,
    Say,
    ScriptedResponder,
)

if TYPE_CHECKING:
    from .chat.responder import ChatResponder
    from .server import LocalServer

__all__ = [
    "Call",
    "CallFunction",
    "CallMcpTool",
    "ChatResponder",
    "DefaultResponder",
    "DefaultTranscriber",
    "Heard",
    "HistoryObserver",
    "Incomplete",
    "LocalServer",
    "Observer",
    "Output",
    "Protocol",
    "Request",
    "RequestMcpApproval",
    "Responder",
    "Say",
    "ScriptedResponder",
    "Segment",
    "Sentence",
    "Transcriber",
    "Voice",
    "faults",
]


if not TYPE_CHECKING:  # a type checker would take any name for a right one

    def __getattr__(name: str) -> Any:
        """Import what is used: the rest works without what only the server needs, or only a model."""
        if name == "ChatResponder":
            from .chat.responder import ChatResponder

            return ChatResponder
        if name == "LocalServer":
            from .server import LocalServer

            return LocalServer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
