"""The options of `LocalServer` and of `realtime_sync.testing.RealtimeServer`: each is declared here, once.

`server.LocalServer` says what they mean; the default of each is where it is used.
"""

import ssl
from collections.abc import Iterable, Sequence
from typing import TypedDict

from ..sound.vad import DetectorFactory
from ..speech.transcribers import Transcriber
from ..speech.voices import Voice
from .observer import Observer
from .protocol.responders import Responder
from .stage import Fault

__all__ = ["LocalServerOptions", "ServerOptions"]


class ServerOptions(TypedDict, total=False):
    """What every local server takes besides its address."""

    responder: Responder | None
    transcriber: Transcriber | None
    voice: Voice | None
    detector: DetectorFactory | None
    delay: float
    realtime_pace: bool
    api_key: str | None
    allowed_hosts: Iterable[str]
    ssl_context: ssl.SSLContext | None
    faults: Sequence[Fault | str]
    sunset_beta: bool
    lifetime: float
    ping_interval: float | None
    ping_timeout: float | None
    max_memory: int


class LocalServerOptions(ServerOptions, total=False):
    """What `LocalServer` takes besides its address."""

    observer: Observer | None
