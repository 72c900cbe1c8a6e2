"""The options of `Client` and `connect`: each is declared here, once, and has its default where it is used.

`client.Client` and `client.Client.connect` say what they mean.
"""

import os
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from .endpoint import ApiKey
from .events import Item
from .providers import Provider
from .reconnect import Reconnect

__all__ = ["AzureOptions", "ClientOptions", "ConnectOptions", "Options", "check_positive"]


class _SharedOptions(TypedDict, total=False):
    """Options of every `Client`, however it is made."""

    safety_identifier: str | None
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, str] | None
    timeout: float
    max_retries: int
    ssl_context: ssl.SSLContext | None
    ca_file: str | os.PathLike[str] | None
    client_cert: str | tuple[str, str] | None
    proxy: str | None
    allow_insecure: bool
    log_payloads: bool


class AzureOptions(_SharedOptions, total=False):
    """What `Client.azure` takes besides its own arguments."""


class ClientOptions(_SharedOptions, total=False):
    """What `Client` takes."""

    api_key: ApiKey | None
    base_url: str | None
    organization: str | None
    project: str | None
    provider: Provider | None


class ConnectOptions(TypedDict, total=False):
    """What `Client.connect` takes besides the model."""

    call_id: str | None
    intent: Literal["transcription"] | None
    translation: bool
    client_secret: str | None
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    dialect: Literal["ga", "beta"] | None
    wait: bool
    connect_timeout: float
    send_timeout: float
    close_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    max_message_size: int
    max_buffered: int
    overflow: Literal["pause", "fail"]
    reconnect: bool | Reconnect
    conversation: Iterable[Item] | None


class Options(ClientOptions, ConnectOptions, total=False):
    """What `connect` takes besides the model: the options of both."""


def check_positive(options: Mapping[str, Any], *names: str) -> None:
    """Reject numbers that are not more than 0; ``None`` and absent options pass.

    Raises:
        ValueError: A number is 0, negative or NaN.
    """
    for name in names:
        value = options.get(name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be more than 0, got {value!r}")
