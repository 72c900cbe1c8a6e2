"""The TCP connection to a server: name resolution, several addresses, proxies.

One deadline bounds all of it.  A proxy's password is sent to the proxy and shown to nobody: no text of
an error quotes a proxy's URL, and what a proxy says is cleaned of the credentials it was given.
"""

import contextlib
import ipaddress
import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..exceptions import ConnectionFailed
from .proxy import SOCKS, ProxyUrl, find_proxy, host_and_port, parse_proxy, socks_package

__all__ = ["dial"]

_MAX_HEAD = 65536  # bytes of a proxy's answer up to its blank line
_SHOWN = 80  # bytes of an answer that is not HTTP, in an error's text

# Seconds that sent data may stay without a sign from the peer before the system gives the connection up;
# by default a sender finds out after a quarter of an hour.
_PATIENCE = 30.0


_PLAIN_HOST = re.compile(r"[!-~]+")
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(r"HTTP/\d\.\d (\d{3})(|\s.*)$")

_T = TypeVar("_T")


def dial(
    host: str,
    port: int,
    *,
    secure: bool,
    deadline: float,
    proxy: str | None,
    send_timeout: float = _PATIENCE,
) -> socket.socket:
    """Connect to a server, through a proxy if there is one.  TLS is not its business.

    Args:
        host, port: The server.
        secure: Whether TLS will follow; decides which proxy of the environment is the right one.
        deadline: Of `time.monotonic`, for name resolution, connecting and the proxy together.
        proxy: ``"env"``: what the environment says; ``None``: no proxy; or the URL of one.
        send_timeout: Seconds that the peer may keep its window shut, if that is more than the system is
            told to wait for it anyway (30 s, on Linux).

    Returns:
        The connection; whether its calls block is not defined.

    Raises:
        ConnectionFailed: There is no such host, nobody answers, or the proxy refuses.
        ValueError: The proxy's URL can't be used, or needs a package that is not installed.
    """
    url = find_proxy(secure, host, port, proxy)
    if url is None:
        sock = _connect(host, port, deadline)
    else:
        via = parse_proxy(url, "proxy")
        if not _PLAIN_HOST.fullmatch(host := _ascii(host)):
            raise ConnectionFailed(f"no address is known for the host {host!r}: it is no host name")
        through = _through_socks if via.scheme in SOCKS else _through_http
        sock = through(via, host, port, deadline)
    _tune(sock, max(_PATIENCE, send_timeout))
    return sock


def _ascii(host: str) -> str:
    """A host name as it travels.

    Raises:
        ConnectionFailed: It can't be a host name.
    """
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConnectionFailed(f"no address is known for the host {host!r}: {error}") from error


def _tune(sock: socket.socket, patience: float) -> None:
    """Send small messages at once, and notice a peer that is gone."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(min(patience, 1e6) * 1000)))
    for option in options:
        with contextlib.suppress(OSError):  # the connection works without
            sock.setsockopt(*option)


# --- Connecting -------------------------------------------------------------------------------------

_Address = tuple[int, int, int, str, Any]  # as `socket.getaddrinfo` gives it


def _connect(host: str, port: int, deadline: float, role: str = "") -> socket.socket:
    """Connect to a host; ``role`` says in an error what it is, if not the server.

    Raises:
        ConnectionFailed: It has no address, or can't be reached in time.
    """
    try:
        addresses = _resolve(host, port, deadline)
    except TimeoutError as error:
        raise _unreachable(role + host_and_port(host, port), error) from error
    except (OSError, UnicodeError) as error:
        raise ConnectionFailed(f"no address is known for {role or 'the host '}{host!r}: {error}") from error
    try:
        return _connect_first(addresses, deadline)
    except OSError as error:
        raise _unreachable(role + host_and_port(host, port), error) from error


def _unreachable(target: str, error: Exception) -> ConnectionFailed:
    reason = "no answer in time" if isinstance(error, TimeoutError) else error
    return ConnectionFailed(f"could not connect to {target}: {reason}")


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    def ask() -> list[_Address]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _in_time(ask, deadline)
    return ask()  # an address needs no name server


def _in_time(call: Callable[[], _T], deadline: float) -> _T:
    """Make a call that knows no deadline.  At ours it is left alone, and its late result thrown away.

    Raises:
        TimeoutError: The deadline passed.
        Exception: Whatever the call raises.
    """
    results: queue.SimpleQueue[_T | Exception] = queue.SimpleQueue()
    abandoned = threading.Event()

    def run() -> None:
        try:
            results.put(call())
        except Exception as error:
            results.put(error)
        if abandoned.is_set():
            throw_away()

    # Both sides try it after the deadline: whichever comes second finds the result.
    def throw_away() -> None:
        with contextlib.suppress(queue.Empty):
            result = results.get_nowait()
            if isinstance(result, socket.socket):
                result.close()

    # Waits where only the system knows for how long; ends with the call, or with the process.
    thread = threading.Thread(target=run, name="realtime_sync dial", daemon=True)
    try:
        thread.start()
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except BaseException as error:  # Ctrl-C too
        abandoned.set()
        throw_away()
        if isinstance(error, queue.Empty):
            raise TimeoutError("no answer in time") from None
        raise
    if isinstance(result, Exception):
        raise result
    return result


def _connect_first(addresses: list[_Address], deadline: float) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time left.

    Raises:
        OSError: None did; the last one's error.
    """
    problem = OSError("no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        share = _left(deadline) / (len(addresses) - index)
        try:
            return _connect_one(socket.socket(family, kind, protocol), address, share)
        except OSError as error:
            problem = error
    raise problem


def _connect_one(sock: socket.socket, address: Any, timeout: float) -> socket.socket:
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _left(deadline: float) -> float:
    """Seconds left, more than none.

    Raises:
        TimeoutError: There are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


# --- Through a proxy --------------------------------------------------------------------------------


def _no_way(target: str, proxy: ProxyUrl, error: Exception) -> ConnectionFailed:
    """The error for a proxy that was there, and then was no use."""
    if isinstance(error, TimeoutError):
        return ConnectionFailed(f"could not connect to {target}: no answer in time from the proxy {proxy}")
    reason = proxy.redact(str(error)) or type(error).__name__
    return ConnectionFailed(f"could not connect to {target} through the proxy {proxy}: {reason}")


def _through_http(proxy: ProxyUrl, host: str, port: int, deadline: float) -> socket.socket:
    """Have an HTTP proxy make the connection.

    Raises:
        ConnectionFailed: It can't be reached, or refuses.
    """
    target = host_and_port(host, port)
    sock = _connect(proxy.host, proxy.port, deadline, "the proxy ")
    try:
        sock.settimeout(_left(deadline))
        sock.sendall(_connect_request(target, proxy))
        _check_answer(_read_head(sock, proxy, deadline), proxy)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise _no_way(target, proxy, error) from error
        raise
    return sock


def _connect_request(target: str, proxy: ProxyUrl) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if token := proxy.token():
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _read_head(sock: socket.socket, proxy: ProxyUrl, deadline: float) -> bytes:
    """The proxy's answer up to its blank line, and not a byte more: the server may already be speaking.

    Raises:
        ConnectionFailed: The answer is not HTTP, or does not end.
        OSError: The proxy hung up, or was silent for too long.
    """
    head = b""
    while not head.endswith((b"\n\r\n", b"\n\n")):
        if len(head) >= _MAX_HEAD:
            raise ConnectionFailed(
                f"the answer of the proxy {proxy} has more than {_MAX_HEAD} bytes of headers"
            )
        sock.settimeout(_left(deadline))
        ahead = sock.recv(_MAX_HEAD - len(head), socket.MSG_PEEK)
        if not ahead:
            raise ConnectionResetError("it hung up")
        before = head[-2:]  # the blank line may have begun in what was read before
        end = _END_OF_HEAD.search(before + ahead)
        head += sock.recv(end.end() - len(before) if end else len(ahead))
        if not b"HTTP/".startswith(head[:5]):  # known at once, while waiting for its end may take long
            raise _not_a_proxy(head, proxy)
    return head


def _check_answer(head: bytes, proxy: ProxyUrl) -> None:
    """Go on if the proxy agreed.

    Raises:
        ConnectionFailed: It did not.
    """
    status_line, *lines = head.decode("latin-1").split("\n")
    found = _STATUS_LINE.match(status_line)
    if found is None:
        raise _not_a_proxy(head, proxy)
    status = int(found[1])
    if 200 <= status < 300:
        return
    pairs = (line.partition(":") for line in lines if ":" in line)
    raise ConnectionFailed(
        f"the proxy {proxy} refused: HTTP {status}{proxy.redact(found[2].rstrip())}",
        status=status,
        headers={name.strip().lower(): proxy.redact(value.strip()) for name, _, value in pairs},
    )


def _not_a_proxy(head: bytes, proxy: ProxyUrl) -> ConnectionFailed:
    start = proxy.redact(head.decode("latin-1"))[:_SHOWN]
    return ConnectionFailed(f"{proxy} is not an HTTP proxy: it answered {start!r}")


def _through_socks(proxy: ProxyUrl, host: str, port: int, deadline: float) -> socket.socket:
    """Have a SOCKS proxy make the connection.

    Raises:
        ConnectionFailed: It can't be reached, or refuses.
        ValueError: python-socks is not installed.
    """
    library, kinds = socks_package()
    kind, proxy_resolves = SOCKS[proxy.scheme]
    client = library(kinds[kind], proxy.host, proxy.port, proxy.user, proxy.password, proxy_resolves)

    def connect() -> socket.socket:
        sock: socket.socket = client.connect(host, port, timeout=_left(deadline))
        return sock

    # Its timeout is one for each step, and there is none on looking up names.
    outcome: socket.socket | Exception
    try:
        outcome = _in_time(connect, deadline)
    except Exception as error:  # its own errors, and whatever it did not foresee
        outcome = error
    if isinstance(outcome, socket.socket):
        return outcome
    if time.monotonic() >= deadline:  # not each of its timeouts is a TimeoutError
        outcome = TimeoutError()
    # Without a cause: what the package puts into its errors is not ours to vouch for.
    raise _no_way(host_and_port(host, port), proxy, outcome)
