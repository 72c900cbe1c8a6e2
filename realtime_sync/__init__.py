"""A Python SDK for the OpenAI Realtime API, for plain scripts, with no asyncio."""

from . import events
from ._version import __version__
from .client import Client, connect
from .codec import Deviation, decode, decode_client, encode
from .events import ClientEvent, ServerEvent, UnknownEvent, UnknownObject
from .exceptions import ConnectionClosed, ConnectionFailed, ProtocolError, RealtimeError
from .session import Session, Stats
from .visitor import Visitor

__all__ = [
    "Client",
    "ClientEvent",
    "ConnectionClosed",
    "ConnectionFailed",
    "Deviation",
    "ProtocolError",
    "RealtimeError",
    "ServerEvent",
    "Session",
    "Stats",
    "UnknownEvent",
    "UnknownObject",
    "Visitor",
    "__version__",
    "connect",
    "decode",
    "decode_client",
    "encode",
    "events",
]
