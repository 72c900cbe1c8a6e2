"""The pool of HTTP connections: deadlines, unchanged TLS contexts, proxies, no cookies, no redirects."""

import contextlib
import http.client
import http.cookiejar
import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError

from ..endpoint import Endpoint
from ..exceptions import ConnectionFailed
from ..wire.dial import dial
from ..wire.proxy import SOCKS, parse_proxy
from ..wire.tls import default_context

__all__ = ["deadline", "open_pool"]


def open_pool(endpoint: Endpoint) -> requests.Session:
    """Return a new pool of connections to a server, which keeps no cookies and reads no other settings."""
    pool = _Session()
    pool.trust_env = False  # no .netrc, no other proxies or certificates than the WebSocket's
    pool.headers.clear()
    pool.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    pool.mount("http://", _Adapter(None))
    if endpoint.http_url("").startswith("https://"):
        pool.mount("https://", _Adapter(endpoint.ssl_context or default_context()))
    return pool


class _Session(requests.Session):
    """A session that ignores redirects: requests would read their whole body, and parse their target."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


# --- Deadlines ---------------------------------------------------------------------------------------

# A timeout of requests is that of one operation of the socket, so an answer that drips would never end.

_deadline: ContextVar[float] = ContextVar("deadline")  # on the clock of `time.monotonic`


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """While this lasts, all that this thread does with connections of a pool ends within so many seconds.

    Whatever is not done by then raises `TimeoutError`, as the libraries wrap it.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left() -> float:
    """Return the seconds that are left.

    Raises:
        TimeoutError: None are.
    """
    seconds = _deadline.get() - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class _Reading(io.RawIOBase):
    """What a socket receives until the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # which keeps the socket open as long as it is used

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Answering:
    """A socket as `http.client.HTTPResponse` uses it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self._sock))


class _Response(http.client.HTTPResponse):
    """An answer, that of a proxy included, which is read until the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        answering: Any = _Answering(sock)
        super().__init__(answering, *args, **options)


class _ThroughSocks:
    """Makes a class of connections keep the deadline, but for the words with a SOCKS proxy."""

    response_class = _Response
    sock: socket.socket | None

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_left())
        super().send(data)  # type: ignore[misc]  # of the class that it is mixed into


class _Direct(_ThroughSocks):
    """Makes a class of connections keep the deadline, also while it looks up names and connects."""

    host: str
    port: int

    def _new_conn(self) -> socket.socket:
        this: Any = self
        try:
            sock = dial(self.host, self.port, secure=False, deadline=_deadline.get(), proxy=None)
        except ConnectionFailed as error:
            cause = error.__cause__
            if isinstance(cause, UnicodeError):
                raise LocationParseError(f"{self.host!r}: not a valid host name") from None
            kind = ConnectTimeoutError if isinstance(cause, TimeoutError) else NewConnectionError
            raise kind(this, str(error)) from cause
        # Not 0, and no error if there is no time left: nobody would close the socket.
        sock.settimeout(max(_deadline.get() - time.monotonic(), 0.001))
        return sock


def _keep_deadlines(manager: Any, how: type[_ThroughSocks]) -> Any:
    """Make the connections of a manager of pools keep the deadline."""
    classes = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        connection = type(pool.ConnectionCls.__name__, (how, pool.ConnectionCls), {})
        classes[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = classes
    return manager


# --- Connections -------------------------------------------------------------------------------------


class _Untouchable:
    """A TLS context that can be used, but not changed.

    requests and urllib3 load certificates into the context that they are given and set its ALPN and
    its strictness; but this one is the user's, or shared with the WebSockets.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        vars(self)["_context"] = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Do nothing: the context stays as it is."""

    def _ignore(self, *args: object, **options: object) -> None:
        """Do nothing: the context stays as it is."""

    load_verify_locations = load_default_certs = load_cert_chain = set_alpn_protocols = _ignore


class _Adapter(HTTPAdapter):
    """Connections that use a TLS context as it is, and proxies as the WebSockets do."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls = {"ssl_context": _Untouchable(context), "cert_reqs": context.verify_mode}
            if not context.check_hostname:
                self._tls["assert_hostname"] = False  # else urllib3 checks it by itself
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._tls)
        _keep_deadlines(self.poolmanager, _Direct)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        manager = super().proxy_manager_for(proxy, **options, **self._tls)
        through_socks = parse_proxy(proxy, "proxy").scheme in SOCKS
        return _keep_deadlines(manager, _ThroughSocks if through_socks else _Direct)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, dict(self._tls)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the context verifies certificates, and has loaded those that it trusts."""

    def close(self) -> None:
        """Close the connections now: after a broken answer urllib3 leaves them to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                manager.pools[key].close()
        super().close()

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        token = parse_proxy(proxy, "proxy").token()
        return {"Proxy-Authorization": f"Basic {token}"} if token else {}
