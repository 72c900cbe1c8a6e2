"""A Python SDK for the OpenAI Realtime API, for plain scripts, with no asyncio."""

from . import events, webhooks
from ._version import __version__
from .client import Client, connect
from .codec import Deviation, decode, decode_client, encode
from .events import ClientEvent, ServerEvent, UnknownEvent, UnknownObject
from .exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ConnectionClosed,
    ConnectionFailed,
    InvalidWebhookSignature,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RealtimeError,
    ServerError,
)
from .session import Session, Stats
from .visitor import Visitor, Visitors

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Client",
    "ClientEvent",
    "ConflictError",
    "ConnectionClosed",
    "ConnectionFailed",
    "Deviation",
    "InvalidWebhookSignature",
    "NotFoundError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RealtimeError",
    "ServerError",
    "ServerEvent",
    "Session",
    "Stats",
    "UnknownEvent",
    "UnknownObject",
    "Visitor",
    "Visitors",
    "__version__",
    "connect",
    "decode",
    "decode_client",
    "encode",
    "events",
    "webhooks",
]
