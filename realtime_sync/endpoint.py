"""Where a server is and who connects to it: addresses, headers and keys, for both halves of the API."""

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ._version import __version__
from .providers import KEY_HEADERS, Provider
from .redaction import Redact, is_secret_name, redactor
from .wire.proxy import check_proxy, find_proxy, is_loopback

__all__ = ["ApiKey", "Endpoint", "check_headers", "check_text"]

ApiKey = str | Callable[[], str]
"""A key, or a function that returns a fresh one."""

_WEBSOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Endpoint:
    """One server and one caller.  Sockets and HTTP take their addresses and headers from here.

    Args:
        base_url: As in `client.Client`.
        provider: The provider that runs it.
        api_key: A key, or a function that returns a fresh one for each connection and request.
        headers, query: Sent with every connection and request.
        ssl_context: For TLS; ``None`` = the system's certificates.
        proxy: As in `client.Client`.
        allow_insecure: Send the key unencrypted to another machine.

    Raises:
        ValueError: An argument can't be used; the message says which, and quotes no secret.
    """

    def __init__(
        self,
        base_url: str,
        *,
        provider: Provider,
        api_key: ApiKey | None,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        ssl_context: ssl.SSLContext | None,
        proxy: str | None,
        allow_insecure: bool,
    ) -> None:
        _check_url(base_url)
        check_proxy(proxy)
        self.base_url = base_url
        self._provider = provider
        self._api_key = api_key
        self._headers = check_headers(headers)
        self._query = dict(query)
        self._proxy = proxy
        self.ssl_context = ssl_context
        self._scheme = _WEBSOCKET[urlsplit(base_url).scheme]
        self._in_clear = self._scheme == "ws" and not allow_insecure
        if isinstance(api_key, str):
            _check_value(api_key, "the API key")
        names = [*headers, *query, *(name for name, _ in parse_qsl(urlsplit(base_url).query))]
        if api_key or any(map(is_secret_name, names)):
            self._check_clear()

    # --- The key -----------------------------------------------------------------------------------

    def _key(self, secret: str | None) -> str | None:
        """Return the key for one connection or request: ``secret`` if there is one, else the usual key.

        Raises:
            ValueError: It can't be sent.
        """
        key = secret or self._api_key
        if callable(key):
            key = key()
            if not isinstance(key, str) or not key:
                raise ValueError("the function given as api_key returned no key")
        if key:
            _check_value(key, "the API key")
            self._check_clear()
        return key

    def _check_clear(self) -> None:
        """Reject a key for another machine without TLS."""
        host = urlsplit(self.base_url).hostname or ""
        if self._in_clear and not is_loopback(host):
            raise ValueError(
                f"refusing to send the API key unencrypted to {host}: use https:// or wss://, "
                "or pass allow_insecure=True"
            )

    # --- Requests ----------------------------------------------------------------------------------

    def headers(self, *more: Mapping[str, str], secret: str | None = None) -> list[tuple[str, str]]:
        """Return the headers of one connection or request.  Where two set the same one, the last wins.

        Raises:
            ValueError: A header can't be sent, or the provider requires a key and there is none.
        """
        own = {"User-Agent": f"realtime_sync/{__version__}"}
        key = self._key(secret)
        if key:
            own["Authorization"] = f"Bearer {key}"
        merged: dict[str, tuple[str, str]] = {}
        usual = self._headers if secret is None else _without_keys(self._headers)
        for headers in (own, usual, *map(check_headers, more)):
            for name, value in headers.items():
                merged[name.lower()] = (name, value)
        if self._provider.requires_key and self._provider.key_header.lower() not in merged:
            raise ValueError(
                f"no API key: set {self._provider.key_variable}, or pass api_key=...; "
                "to try things out without one there is a local server: Client.local(), or --local"
            )
        return list(merged.values())

    def websocket_url(self, path: str, query: Mapping[str, str]) -> str:
        """Return the ``ws://`` or ``wss://`` address of a path below the base URL."""
        return self._url(self._scheme, path, query)

    def http_url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the ``http://`` or ``https://`` address of a path below the base URL."""
        return self._url("https" if self._scheme == "wss" else "http", path, query or {})

    def _url(self, scheme: str, path: str, query: Mapping[str, str]) -> str:
        merged = {**self._query, **query}
        for name, value in merged.items():
            check_text(f"{name}{value}", f"the query parameter {name!r}")
        parts = urlsplit(self.base_url)
        pairs = [*parse_qsl(parts.query, keep_blank_values=True), *merged.items()]
        base = parts.path.rstrip("/").removesuffix("/realtime")  # as documentation often has it
        whole = quote(base + path, safe="/%:@!$&'()*+,;=~-._")
        return urlunsplit((scheme, parts.netloc, whole, urlencode(pairs, quote_via=quote), ""))

    def proxy(self) -> str | None:
        """Return the URL of the proxy to the server, credentials included; ``None`` = connect directly."""
        parts = urlsplit(self.base_url)
        secure = self._scheme == "wss"
        return find_proxy(secure, parts.hostname or "", parts.port or (443 if secure else 80), self._proxy)

    @property
    def proxy_setting(self) -> str | None:
        """``proxy`` as it was given."""
        return self._proxy

    def redactor(self, headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]] = ()) -> Redact:
        """Return a function that redacts the secrets of a request in a text, in case a server repeats them.

        Secrets are the values of the headers and query parameters whose names say that they carry
        credentials, and every ephemeral secret.
        """
        in_url = parse_qsl(urlsplit(self.base_url).query)
        return redactor([*headers, *in_url, *self._query.items(), *query])


def _without_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without those that carry a key: an ephemeral secret takes its place."""
    return {name: text for name, text in headers.items() if name.lower() not in KEY_HEADERS}


# --- Checks ------------------------------------------------------------------------------------------


def _check_url(base_url: str) -> None:
    """Reject an invalid base URL, and one with a user name or password in it.  Never quote it."""
    check_text(base_url, "base_url")
    parts = urlsplit(base_url)
    if parts.scheme not in _WEBSOCKET or not parts.hostname:
        raise ValueError("base_url must be like https://host/v1 or ws://host:port/v1")
    if "@" in parts.netloc:
        raise ValueError("base_url holds a user name or password; pass the key as api_key")
    parts.port  # noqa: B018  # raises ValueError for a port that is no number


def check_text(text: str, what: str) -> None:
    """Reject a text that could end a header or a request line early and begin another.  Never quote it."""
    if _CONTROL.search(text):
        raise ValueError(f"{what} holds a line break or another control character")


def _check_value(text: str, what: str) -> None:
    check_text(text, what)
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds characters that HTTP can't carry") from None


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers if all of them can be sent.

    Raises:
        ValueError: One can't be sent.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        _check_value(value, f"the header {name}")
    return dict(headers)
