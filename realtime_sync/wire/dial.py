"""The TCP connection to a server: name resolution, several addresses, proxies.

One deadline bounds all of it.  A proxy's password is sent to the proxy and never shown: no error message
quotes a proxy's URL, and the credentials are redacted in what a proxy answers.
"""

import contextlib
import ipaddress
import queue
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..exceptions import ConnectionFailed
from .opening import Opening
from .proxy import SOCKS, ProxyUrl, find_proxy, host_and_port, parse_proxy, socks_package

__all__ = ["dial"]

_MAX_HEAD = 65536  # bytes of a proxy's answer up to its blank line
_SHOWN = 80  # bytes of an answer that is not HTTP, in an error's text

# Bytes that the system may hold without sending them, where it lets us say so.  Its own choice is megabytes:
# seconds of audio, which would be lost with the connection, and behind which a ping would wait.
_NOT_SENT = 16384
# Linux from 6.15 on, without a name in Python: the milliseconds after which it tries again at the latest.  By
# itself it waits twice as long each time, so that an outage of 30 s lasts for 51.
_TCP_RTO_MAX_MS = 44
_RETRY = 5000

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
    opening: Opening | None = None,
) -> socket.socket:
    """Connect to a server, through a proxy if one is set.  TLS comes later.

    Args:
        host, port: The server.
        secure: Whether TLS will follow; decides which proxy of the environment applies.
        deadline: On the clock of `time.monotonic`, for name resolution, connecting and the proxy together.
        proxy: ``"env"`` = as the environment says; ``None`` = no proxy; or the URL of one.
        opening: What can cancel it.

    Returns:
        The connected socket.  Its timeout is undefined: set it before use.

    Raises:
        ConnectionFailed: The host is unknown or does not answer, or the proxy rejects the connection.
        ValueError: The proxy's URL can't be used, or needs a package that is not installed.
    """
    url, opening = find_proxy(secure, host, port, proxy), opening or Opening()
    if url is None:
        sock = _connect(host, port, deadline, opening)
    else:
        via = parse_proxy(url, "proxy")
        if not _PLAIN_HOST.fullmatch(host := _ascii(host)):
            raise ConnectionFailed(f"no address found for the host {host!r}: not a valid host name")
        through = _through_socks if via.scheme in SOCKS else _through_http
        sock = through(via, host, port, deadline, opening)
    _tune(sock)
    return sock


def _ascii(host: str) -> str:
    """Return a host name in ASCII, as it is sent.

    Raises:
        ConnectionFailed: It is not a valid host name.
    """
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConnectionFailed(f"no address found for the host {host!r}: {error}") from error


def _tune(sock: socket.socket) -> None:
    """Send small messages without delay, hold little back, and recover soon from an outage.

    Not `TCP_USER_TIMEOUT`: it ends connections that lose packets and still move.
    """
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux, macOS
        options.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT))
    if sys.platform == "linux":
        options.append((socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _RETRY))
    for option in options:
        with contextlib.suppress(OSError):  # best effort: the connection works without
            sock.setsockopt(*option)


# --- Connecting -------------------------------------------------------------------------------------

_Address = tuple[int, int, int, str, Any]  # as `socket.getaddrinfo` gives it


def _connect(host: str, port: int, deadline: float, opening: Opening, role: str = "") -> socket.socket:
    """Connect to a host; ``role`` names it in error messages, if it is not the server.

    Raises:
        ConnectionFailed: It has no address, or can't be reached before the deadline.
    """
    try:
        addresses = _resolve(host, port, deadline, opening)
    except TimeoutError as error:
        raise _unreachable(role + host_and_port(host, port), error) from error
    except (OSError, UnicodeError) as error:
        raise ConnectionFailed(f"no address found for {role or 'the host '}{host!r}: {error}") from error
    try:
        return _connect_first(addresses, deadline, opening)
    except OSError as error:
        raise _unreachable(role + host_and_port(host, port), error) from error


def _unreachable(target: str, error: Exception) -> ConnectionFailed:
    reason = "timed out" if isinstance(error, TimeoutError) else error
    return ConnectionFailed(f"could not connect to {target}: {reason}")


def _resolve(host: str, port: int, deadline: float, opening: Opening) -> list[_Address]:
    def ask() -> list[_Address]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _in_time(ask, deadline, opening)
    return ask()  # an address needs no name server


def _in_time(call: Callable[[], _T], deadline: float, opening: Opening) -> _T:
    """Make a call that takes no deadline.  At ours it is abandoned, and its late result discarded.

    Raises:
        ConnectionAbortedError: The opening was cancelled.
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
            discard()

    # Both threads call it after the deadline: the later one finds the result.
    def discard() -> None:
        with contextlib.suppress(queue.Empty):
            result = results.get_nowait()
            if isinstance(result, socket.socket):
                result.close()

    # Runs the call, which may block for longer than the deadline; ends with the call, or with the process.
    thread = threading.Thread(target=run, name="realtime_sync dial", daemon=True)
    try:
        opening.waits(lambda: results.put(ConnectionAbortedError("it was cancelled")))
        thread.start()
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(result, ConnectionAbortedError):
            raise result  # from here, because the call may go on
    except BaseException as error:  # Ctrl-C too
        abandoned.set()
        discard()
        if isinstance(error, queue.Empty):
            raise TimeoutError("timed out") from None
        raise
    if isinstance(result, Exception):
        raise result
    return result


def _connect_first(addresses: list[_Address], deadline: float, opening: Opening) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time left.

    Raises:
        OSError: No address answered; the last one's error.
    """
    problem = OSError("no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        share = _left(deadline) / (len(addresses) - index)
        try:
            return _connect_one(socket.socket(family, kind, protocol), address, share, opening)
        except OSError as error:
            problem = error
    raise problem


def _connect_one(sock: socket.socket, address: Any, timeout: float, opening: Opening) -> socket.socket:
    try:
        opening.uses(sock)
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _left(deadline: float) -> float:
    """Return the seconds until the deadline, more than 0.

    Raises:
        TimeoutError: The deadline has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


# --- Through a proxy --------------------------------------------------------------------------------


def _proxy_failed(target: str, proxy: ProxyUrl, error: Exception) -> ConnectionFailed:
    """Return the error for a proxy that was reached and then did not connect us."""
    if isinstance(error, TimeoutError):
        return ConnectionFailed(f"could not connect to {target}: timed out waiting for the proxy {proxy}")
    reason = proxy.redact(str(error)) or type(error).__name__
    return ConnectionFailed(f"could not connect to {target} through the proxy {proxy}: {reason}")


def _through_http(proxy: ProxyUrl, host: str, port: int, deadline: float, opening: Opening) -> socket.socket:
    """Connect through an HTTP proxy.

    Raises:
        ConnectionFailed: It can't be reached, or rejects the connection.
    """
    target = host_and_port(host, port)
    sock = _connect(proxy.host, proxy.port, deadline, opening, "the proxy ")
    try:
        sock.settimeout(_left(deadline))
        sock.sendall(_connect_request(target, proxy))
        _check_answer(_read_head(sock, proxy, deadline), proxy)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise _proxy_failed(target, proxy, error) from error
        raise
    return sock


def _connect_request(target: str, proxy: ProxyUrl) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if token := proxy.token():
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _read_head(sock: socket.socket, proxy: ProxyUrl, deadline: float) -> bytes:
    """Read the proxy's answer up to its blank line, and not a byte more: what follows is the server's.

    Raises:
        ConnectionFailed: The answer is not HTTP, or does not end.
        OSError: The proxy closed the connection, or did not answer before the deadline.
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
            raise ConnectionResetError("the proxy closed the connection")
        before = head[-2:]  # the blank line may have begun in what was read before
        end = _END_OF_HEAD.search(before + ahead)
        head += sock.recv(end.end() - len(before) if end else len(ahead))
        if not b"HTTP/".startswith(head[:5]):  # known from the first bytes; its end may never come
            raise _not_a_proxy(head, proxy)
    return head


def _check_answer(head: bytes, proxy: ProxyUrl) -> None:
    """Check that the proxy accepted the connection.

    Raises:
        ConnectionFailed: It rejected it.
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
        f"the proxy {proxy} rejected the connection: HTTP {status}{proxy.redact(found[2].rstrip())}",
        status=status,
        headers={name.strip().lower(): proxy.redact(value.strip()) for name, _, value in pairs},
    )


def _not_a_proxy(head: bytes, proxy: ProxyUrl) -> ConnectionFailed:
    start = proxy.redact(head.decode("latin-1"))[:_SHOWN]
    return ConnectionFailed(f"{proxy} is not an HTTP proxy: it answered {start!r}")


def _through_socks(proxy: ProxyUrl, host: str, port: int, deadline: float, opening: Opening) -> socket.socket:
    """Connect through a SOCKS proxy.

    Raises:
        ConnectionFailed: It can't be reached, or rejects the connection.
        ValueError: python-socks is not installed.
    """
    library, kinds = socks_package()
    kind, proxy_resolves = SOCKS[proxy.scheme]
    client = library(kinds[kind], proxy.host, proxy.port, proxy.user, proxy.password, proxy_resolves)

    def connect() -> socket.socket:
        sock: socket.socket = client.connect(host, port, timeout=_left(deadline))
        return sock

    # Its timeout applies to each step, and not to looking up names.
    outcome: socket.socket | Exception
    try:
        outcome = _in_time(connect, deadline, opening)
    except Exception as error:  # its own errors, and any that it did not expect
        outcome = error
    if isinstance(outcome, socket.socket):
        try:
            opening.uses(outcome)
        except OSError as error:
            outcome.close()
            outcome = error
        else:
            return outcome
    if time.monotonic() >= deadline:  # not each of its timeouts is a TimeoutError
        outcome = TimeoutError()
    # Without a cause: the package's errors may hold credentials.
    raise _proxy_failed(host_and_port(host, port), proxy, outcome)
