"""Which proxy leads to a server, and what its URL says.

A proxy's password is sent to the proxy and never shown: no error message quotes a proxy's URL.
"""

import base64
import ipaddress
import os
import re
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from ..redaction import without

__all__ = [
    "SOCKS",
    "ProxyUrl",
    "check_proxy",
    "find_proxy",
    "host_and_port",
    "is_loopback",
    "parse_proxy",
    "socks_package",
]

# How a SOCKS proxy is spoken to, and whether it looks up the server's name itself.
SOCKS = {
    "socks4": ("SOCKS4", False),
    "socks4a": ("SOCKS4", True),
    "socks5": ("SOCKS5", False),
    "socks5h": ("SOCKS5", True),
}
_DEFAULT_PORTS = {"http": 80, **dict.fromkeys(SOCKS, 1080)}
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f]")


class ProxyUrl(Struct, frozen=True):
    """A proxy's URL, parsed.  Its ``str`` and ``repr`` hold no credentials."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)

    __repr__ = __str__

    def token(self) -> str | None:
        """Return user and password as HTTP's Basic scheme sends them; ``None`` without any."""
        if self.user is None and self.password is None:
            return None
        # Bytes of the URL that are not UTF-8 are sent as they are.
        pair = f"{self.user or ''}:{self.password or ''}".encode("utf-8", "surrogateescape")
        return base64.b64encode(pair).decode("ascii")

    def redact(self, text: str) -> str:
        """Return a text without the credentials, in case the proxy repeats them."""
        secret = self.password or self.user or ""
        in_urls = [quote(secret, safe=safe, errors="surrogateescape") for safe in ("", ":", "/:")]
        return without(text, (self.token(), secret, *in_urls))


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_and_port(host: str, port: int) -> str:
    """Return host and port as URLs and requests have them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_proxy(setting: str | None) -> None:
    """Reject a ``proxy=`` that can't work.  The environment is read later, when connecting.

    Raises:
        ValueError: It is not the URL of a proxy, or needs a package that is not installed.
    """
    if setting is not None and setting != "env" and parse_proxy(setting, "proxy").scheme in SOCKS:
        socks_package()


def find_proxy(secure: bool, host: str, port: int, setting: str | None) -> str | None:
    """Return the URL of the proxy for a server, credentials included; ``None`` = connect directly.

    With ``"env"`` that is ``https_proxy`` (if ``secure``) or ``http_proxy``, else ``all_proxy``, unless
    ``no_proxy`` lists the server or the server is this machine.  The names may be in capitals.

    Raises:
        ValueError: The URL can't be used.
    """
    if setting is None:
        return None
    if setting == "env":
        return None if is_loopback(host) else _environment_proxy(secure, host, port)
    parse_proxy(setting, "proxy")
    return setting


def _environment_proxy(secure: bool, host: str, port: int) -> str | None:
    kind = "https" if secure else "http"
    if {f"{kind}_proxy", "all_proxy"}.isdisjoint(name.lower() for name in os.environ):
        return None
    # Here, because it takes longer to import than all of this package.
    from urllib.request import (  # type: ignore[attr-defined]  # the second is public, but has no stub
        getproxies_environment,
        proxy_bypass_environment,  # pyright: ignore[reportAttributeAccessIssue]
    )

    proxies = getproxies_environment()
    if kind not in proxies:
        kind = "all"
    # An entry of no_proxy may have a port, and an IPv6 address may have brackets.
    names = [host_and_port(host, port), host] if ":" in host else [host_and_port(host, port)]
    if kind not in proxies or any(proxy_bypass_environment(name, proxies) for name in names):
        return None
    url = proxies[kind] if "://" in proxies[kind] else f"http://{proxies[kind]}"
    parse_proxy(url, f"the environment's {kind}_proxy")
    return url


def parse_proxy(url: str, source: str) -> ProxyUrl:
    """Parse a proxy's URL.  ``source`` says in error messages where the URL is from.

    Raises:
        ValueError: It can't be used.  The message quotes nothing of the URL, which may hold a password.
    """
    if _NOT_IN_A_URL.search(url):
        raise ValueError(f"{source}: the URL holds a blank, a line break or another control character")
    parts, port = _split(url)
    if parts.scheme == "https":
        raise ValueError(f"{source}: TLS to the proxy (https://) is not supported; is it http:// perhaps?")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{source}: the URL must begin with one of {', '.join(_DEFAULT_PORTS)} and ://")
    # A path, query or fragment may be the rest of a password that has one of these characters.
    if not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            f"{source}: the URL must be like {parts.scheme}://user:password@host:port, with / ? # @ in "
            "user and password written as %2F %3F %23 %40"
        )
    user, password = (
        text and unquote(text, errors="surrogateescape") for text in (parts.username, parts.password)
    )
    if parts.scheme in SOCKS and not all(_fits_socks(text) for text in (user, password)):
        raise ValueError(f"{source}: SOCKS takes only user and password of at most 255 ASCII characters")
    return ProxyUrl(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], user, password)


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return a URL's parts and port; port 0 if the URL is malformed.

    The library's error quotes the URL, so it must not even be the context of ours.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return SplitResult(url.partition(":")[0].lower(), "", "", "", ""), 0
    try:
        return parts, parts.port
    except ValueError:
        return parts, 0


def _fits_socks(text: str | None) -> bool:
    return not text or (text.isascii() and len(text) < 256)


def socks_package() -> tuple[Any, Any]:
    """Return the SOCKS client, and the kinds of proxy that it supports.

    Raises:
        ValueError: The package is not installed.
    """
    try:
        # An extra: it may be missing where types are checked, and then there is something to ignore.
        from python_socks import ProxyType  # type: ignore[import-not-found,unused-ignore]
        from python_socks.sync import Proxy  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ValueError('a SOCKS proxy needs another package: pip install "realtime-sync[socks]"') from None
    return Proxy, ProxyType
