"""For which hosts a server without a key is there: this machine, and no web page from elsewhere.

A browser sends what a page asks for to any address, this machine's too, and names the page's host in
``Origin``.  The address may be hidden behind a name that the page's owner lets point to this machine (DNS
rebinding), which is then in ``Host``.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping

from ...wire.proxy import is_loopback
from .answers import Declined

__all__ = ["check_hosts", "host_names"]

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:@/\\\[\]?#,]+))(?::[0-9]*)?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(.*)")


def check_hosts(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Make sure that a request is for this machine or an allowed host, and so is the page it comes from.

    Args:
        headers: With names in lower case.
        allowed: As `host_names` returns them.

    Raises:
        Declined: 403.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    _check("Host", host, _host(host), allowed)
    if origin is not None:
        found = _ORIGIN.fullmatch(origin.lower())
        _check("Origin", origin, _host(found[1]) if found else None, allowed)


def host_names(allowed: Iterable[str]) -> frozenset[str]:
    """Return host names as they are compared.

    Raises:
        TypeError: It is one string, and not several.
        ValueError: One is no host name, or has more than the name, such as a port.
    """
    if isinstance(allowed, str):
        raise TypeError(f"allowed_hosts must be several strings, got {allowed!r}")
    return frozenset(map(_host_name, allowed))


def _host_name(text: str) -> str:
    name = text.lower()
    if name not in (_host(name), _host(f"[{name}]")):
        raise ValueError(f"allowed_hosts: expected names such as 'studio.example', got {text!r}")
    return name


def _host(text: str) -> str | None:
    """Return the host in ``HOST:PORT``, an IPv6 address without its brackets; ``None`` if there is none."""
    found = _HOST.fullmatch(text.lower())
    if found is None or (found[1] and not _is_address(found[1])):
        return None
    return found[1] or found[2]


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _check(header: str, value: str, host: str | None, allowed: Collection[str]) -> None:
    if host is None or not (is_loopback(host) or host.endswith(".localhost") or host in allowed):
        message = (
            f"Without a key this server is for this machine only, got {header}: {value!r:.200}.  "
            "Start it with a key, or allow the host."
        )
        raise Declined(403, f"{header.lower()}_not_allowed", message)
