"""A Python SDK for the OpenAI Realtime API, for plain scripts, with no asyncio."""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:  # for editors and type checkers; `__getattr__` does the same when a name is used
    from . import events, webhooks
    from .client import Client, connect
    from .events import ClientEvent, ServerEvent, UnknownEvent, UnknownObject
    from .events.codec import Deviation, decode, decode_client, encode
    from .events.reconnected import Reconnected
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
    from .reconnect import Reconnect
    from .session import Session, Stats, Unconfirmed
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
    "Reconnect",
    "Reconnected",
    "ServerError",
    "ServerEvent",
    "Session",
    "Stats",
    "Unconfirmed",
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

# Where public names are defined.  Each of these imports those before it, so looking through them in this
# order loads nothing in vain.
_HOMES = (
    ".exceptions",
    ".reconnect",
    ".events",
    ".events.reconnected",
    ".events.codec",
    ".visitor",
    ".session",
    ".client",
)


if not TYPE_CHECKING:  # a type checker would take any name for a right one

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used, so that a start of pytest, with `testing`, is cheap."""
        if name in ("events", "webhooks"):
            return importlib.import_module(f".{name}", __name__)
        if name in __all__:
            modules = (importlib.import_module(home, __name__) for home in _HOMES)
            value = globals()[name] = next(
                getattr(module, name) for module in modules if hasattr(module, name)
            )
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
