"""`Client`: where the server is and who is calling; opens sessions."""

import os
import re
import ssl
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ._version import __version__
from .dial import check_proxy, is_loopback
from .session import Session
from .transport import Redact, default_context, open_transport

__all__ = ["Client", "connect"]

_DEFAULT_URL = "https://api.openai.com/v1"
_MIB = 1024 * 1024
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADERS = {"authorization", "api-key", "x-api-key", "cookie"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Client:
    """Where a Realtime server is and who is calling.  Opens any number of sessions.

    Args:
        api_key: The key; default: the environment's ``OPENAI_API_KEY``.  Servers other than OpenAI's
            may do without.
        base_url: ``https://``, ``http://``, ``wss://`` or ``ws://``, ending like OpenAI's
            ``https://api.openai.com/v1`` (the default, after the environment's ``OPENAI_BASE_URL``).
        organization: Default: the environment's ``OPENAI_ORG_ID``.
        project: Default: the environment's ``OPENAI_PROJECT_ID``.
        headers: Further headers for every connection.
        query: Further query parameters for every connection.
        ssl_context: For ``wss``; default: the system's certificates, TLS 1.2 or newer.
        ca_file: A file of certificates to trust in place of the system's.
        proxy: ``"env"`` = as the environment says (``HTTPS_PROXY`` for ``wss``, ``HTTP_PROXY`` for ``ws``,
            ``ALL_PROXY``, ``NO_PROXY``; this machine is always reached directly), ``None`` = none, or the
            URL of one: ``http://``, ``socks5://``, ``socks5h://`` or ``socks4://`` (SOCKS needs the extra
            ``socks``).
        allow_insecure: Send the key over plain ``ws://`` to another machine.

    Raises:
        ValueError: A setting can't be used: a URL with another scheme, a line break in a key, or a key
            for plain ``ws://`` to another machine without ``allow_insecure``.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        proxy: str | None = "env",
        allow_insecure: bool = False,
    ) -> None:
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY") or None
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL
        self._url = _websocket_url(self._base_url)
        self._ssl_context = ssl_context
        if ca_file is not None:
            if ssl_context is not None:
                raise ValueError("give ssl_context or ca_file, not both")
            self._ssl_context = default_context(os.fspath(ca_file))
        self._proxy = proxy
        check_proxy(proxy)
        self._query = dict(query or {})
        _check_value(self._api_key or "", "the API key")
        host = urlsplit(self._url).hostname or ""
        if self._api_key and self._url.startswith("ws:") and not (allow_insecure or is_loopback(host)):
            raise ValueError(
                f"the API key would travel in clear to {host}: use wss://, or allow_insecure=True"
            )
        own = {
            "OpenAI-Organization": organization or os.environ.get("OPENAI_ORG_ID"),
            "OpenAI-Project": project or os.environ.get("OPENAI_PROJECT_ID"),
        }
        given = {name: value for name, value in own.items() if value}
        self._headers = _check_headers({**given, **(headers or {})})

    def __repr__(self) -> str:
        return f"<Client for {self._base_url.partition('?')[0]}>"  # a query may hold a key

    def connect(
        self,
        model: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        dialect: Literal["ga", "beta"] = "ga",
        connect_timeout: float = 10.0,
        send_timeout: float = 30.0,
        close_timeout: float = 5.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        max_message_size: int = 64 * _MIB,
        max_buffered: int = 64 * _MIB,
        overflow: Literal["pause", "fail"] = "pause",
    ) -> Session:
        """Open a session.

        The server may still refuse it once it is open, for example for a wrong key: then the first
        event is an `events.ErrorEvent`.

        Args:
            model: The model's name, for example ``"gpt-realtime-2.1"``.
            headers: Further headers for this connection.
            query: Further query parameters for this connection.
            dialect: ``"beta"`` for servers that speak the API's older form; both forms are read alike.
            connect_timeout: Seconds for connecting, TLS and the server's answer together.
            send_timeout: Seconds an event may take to be sent before the session is given up.
            close_timeout: Seconds `Session.close` waits at most for the server's goodbye.
            ping_interval: Seconds of silence after which the server is pinged; ``None`` = never.
            ping_timeout: Seconds of silence after a ping that mean it is gone; ``None`` = never.
            max_message_size: Largest message accepted, in bytes; a larger one ends the session (1009).
            max_buffered: Bytes of events you have not taken yet at which ``overflow`` happens.
            overflow: ``"pause"`` = stop reading until you catch up, which makes the server wait and loses
                nothing; ``"fail"`` = end the session.

        Raises:
            ConnectionFailed: The server can't be reached, or refuses.
            ValueError: A setting can't be used, or OpenAI's server was asked without a key.
        """
        if dialect not in ("ga", "beta"):
            raise ValueError(f"dialect {dialect!r}: use 'ga' or 'beta'")
        if overflow not in ("pause", "fail"):
            raise ValueError(f"overflow {overflow!r}: use 'pause' or 'fail'")
        _check_numbers(
            connect_timeout=connect_timeout,
            send_timeout=send_timeout,
            close_timeout=close_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_message_size=max_message_size,
            max_buffered=max_buffered,
        )
        url = self._connect_url({**self._query, **({"model": model} if model else {}), **(query or {})})
        request_headers = self._request_headers(_check_headers(headers or {}), dialect)
        redact = _redactor(request_headers)
        transport = open_transport(
            url,
            headers=request_headers,
            ssl_context=self._ssl_context,
            proxy=self._proxy,
            connect_timeout=connect_timeout,
            redact=redact,
            max_message_size=max_message_size,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            send_timeout=send_timeout,
        )
        return Session(
            transport,
            dialect=dialect,
            max_buffered=max_buffered,
            overflow=overflow,
            close_timeout=close_timeout,
            redact=redact,
        )

    def _connect_url(self, query: Mapping[str, str]) -> str:
        for name, value in query.items():
            _check_text(f"{name}{value}", f"the query parameter {name!r}")
        parts = urlsplit(self._url)
        pairs = [*parse_qsl(parts.query, keep_blank_values=True), *query.items()]
        return urlunsplit(parts._replace(query=urlencode(pairs, quote_via=quote)))

    def _request_headers(self, headers: Mapping[str, str], dialect: str) -> list[tuple[str, str]]:
        own = {"User-Agent": f"realtime_sync/{__version__}"}
        if self._api_key:
            own["Authorization"] = f"Bearer {self._api_key}"
        if dialect == "beta":
            own["OpenAI-Beta"] = "realtime=v1"
        merged: dict[str, tuple[str, str]] = {}  # by lower-case name: the last to set one wins
        for name, value in [*own.items(), *self._headers.items(), *headers.items()]:
            merged[name.lower()] = (name, value)
        if self._base_url == _DEFAULT_URL and "authorization" not in merged:
            raise ValueError("no API key: set OPENAI_API_KEY, or pass api_key=...")
        return list(merged.values())


def connect(
    model: str | None = None,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    organization: str | None = None,
    project: str | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    proxy: str | None = "env",
    allow_insecure: bool = False,
    dialect: Literal["ga", "beta"] = "ga",
    connect_timeout: float = 10.0,
    send_timeout: float = 30.0,
    close_timeout: float = 5.0,
    ping_interval: float | None = 20.0,
    ping_timeout: float | None = 20.0,
    max_message_size: int = 64 * _MIB,
    max_buffered: int = 64 * _MIB,
    overflow: Literal["pause", "fail"] = "pause",
) -> Session:
    """Open a session: `Client` and `Client.connect` in one call, with the arguments of both."""
    client = Client(
        api_key=api_key,
        base_url=base_url,
        organization=organization,
        project=project,
        headers=headers,
        query=query,
        ssl_context=ssl_context,
        ca_file=ca_file,
        proxy=proxy,
        allow_insecure=allow_insecure,
    )
    return client.connect(
        model,
        dialect=dialect,
        connect_timeout=connect_timeout,
        send_timeout=send_timeout,
        close_timeout=close_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_message_size=max_message_size,
        max_buffered=max_buffered,
        overflow=overflow,
    )


def _websocket_url(base_url: str) -> str:
    """The address of the WebSocket below a base URL, query kept.

    Raises:
        ValueError: It is no such URL, or has a user name or password in it.
    """
    _check_text(base_url, "base_url")
    parts = urlsplit(base_url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError("base_url must be like https://host/v1 or ws://host:port/v1")
    if "@" in parts.netloc:
        raise ValueError("base_url holds a user name or password; pass the key as api_key")
    parts.port  # noqa: B018  # raises ValueError for a port that is no number
    path = quote(parts.path.rstrip("/") + "/realtime", safe="/%:@!$&'()*+,;=~-._")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _check_text(text: str, what: str) -> None:
    """Refuse what could end a header or a request line early and begin another; never quotes it."""
    if _CONTROL.search(text):
        raise ValueError(f"{what} holds a line break or another control character")


def _check_value(text: str, what: str) -> None:
    _check_text(text, what)
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds characters that HTTP can't carry") from None


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        _check_value(value, f"the header {name}")
    return dict(headers)


def _redactor(headers: list[tuple[str, str]]) -> Redact:
    """A function that takes the secrets of these headers out of a text, should a server repeat them."""
    secrets = [value.removeprefix("Bearer ") for name, value in headers if name.lower() in _SECRET_HEADERS]

    def redact(text: str) -> str:
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text

    return redact


def _check_numbers(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be more than 0")
