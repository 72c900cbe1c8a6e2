"""One HTTP request and its answer, on a connection of its own, which another thread may close at any moment.

Neither `requests` nor a pool: closing has to reach the socket also while it connects or shakes hands, an
answer is to be read as it comes, and a connection that a cancelled answer leaves behind is of no more use.
"""

import contextlib
import http.client
import io
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ...endpoint import Endpoint
from ...wire.dial import dial
from ...wire.tls import default_context

__all__ = ["Closed", "Exchange"]

_CHUNK = 65536  # bytes that are read at once
_CONNECT_SECONDS = 10.0  # to connect, TLS included


class Closed(Exception):
    """The exchange was closed by another thread."""


class Exchange:
    """Posts a request and reads its answer.  `close` may be called by any thread, the rest by one.

    Each method but `close` raises `Closed` once it is closed, at once also if it is waiting; else what
    the system, `dial` and `http.client` raise, and `TimeoutError` when `allow` has run out.

    Attributes:
        redact: Redacts the secrets of the request in a text.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.redact = endpoint.redactor([])
        self._deadline = 0.0
        self._sock: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._dialled: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._working = False
        self._closed = False
        # Guards the socket: what works with it lets go of it itself, and nobody may meanwhile.
        self._lock = threading.Lock()

    def allow(self, seconds: float) -> None:
        """Let all that follows take so many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def post(self, path: str, body: bytes) -> http.client.HTTPResponse:
        """Send a request and return its answer, of which status and headers have been read.

        Raises:
            ValueError: It can't be sent.
        """
        url = urlsplit(self._endpoint.http_url(path))
        lines = [f"POST {url.path}{'?' if url.query else ''}{url.query} HTTP/1.1", f"Host: {url.netloc}"]
        own = {"Accept": "text/event-stream, application/json", "Content-Type": "application/json"}
        own |= {"Accept-Encoding": "identity", "Connection": "close", "Content-Length": str(len(body))}
        headers = self._endpoint.headers(own)
        self.redact = self._endpoint.redactor(headers)
        lines += [f"{name}: {value}" for name, value in headers]
        with self._work():
            self._connect(url.hostname or "", url.port, url.scheme == "https")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before
                self._socket().sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            answering: Any = self
            self._answer = http.client.HTTPResponse(answering, method="POST")
            self._answer.begin()
            return self._answer

    def read(self) -> bytes:
        """Return what has come of the body, as soon as there is something; ``b""`` at its end."""
        with self._work():
            try:
                return b"" if self._answer is None else self._answer.read1(_CHUNK)
            except ValueError as error:  # for a chunk of a negative size
                raise http.client.HTTPException(str(error)) from error

    def close(self) -> None:
        """End the exchange, whatever another thread is doing with it."""
        with self._lock:
            self._closed, self._answer = True, None
            self._dialled.put(None)
            if self._sock is not None:
                with contextlib.suppress(OSError):  # the other side was quicker
                    # Not its own method: that of TLS takes away what the other thread is using.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            if not self._working:
                self._release()

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that `http.client` reads an answer from."""
        return io.BufferedReader(_Received(self))

    def receive_into(self, buffer: Any) -> int:
        """Receive what there is before the deadline."""
        return self._socket().recv_into(buffer)

    @contextlib.contextmanager
    def _work(self) -> Iterator[None]:
        """While this lasts, the socket stays open; then it is closed if `close` was called meanwhile."""
        with self._lock:
            if self._closed:
                raise Closed
            self._working = True
        try:
            yield
        except Exception:
            if self._closed:
                raise Closed from None
            raise
        finally:
            with self._lock:
                self._working = False
                if self._closed:
                    self._release()
        if self._closed:
            raise Closed

    def _release(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _socket(self) -> socket.socket:
        """Return the socket, which has the time that is left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if self._sock is None:
            raise Closed
        self._sock.settimeout(left)
        return self._sock

    def _connect(self, host: str, port: int | None, secure: bool) -> None:
        with self._lock:
            self._release()  # that of the request before
        # Connects, which can't be interrupted; when the exchange is closed it is left alone to end in time.
        threading.Thread(
            target=self._dial,
            args=(host, port or (443 if secure else 80), secure),
            name="realtime_sync chat dial",
            daemon=True,
        ).start()
        if problem := self._dialled.get():
            raise problem
        if secure:
            self._shake_hands(host)

    def _dial(self, host: str, port: int, secure: bool) -> None:
        deadline = min(self._deadline, time.monotonic() + _CONNECT_SECONDS)
        sock, problem = None, None
        try:
            sock = dial(host, port, secure=secure, deadline=deadline, proxy=self._endpoint.proxy_setting)
        except Exception as error:
            problem = error
        with self._lock:
            if not self._closed:
                self._sock, sock = sock, None
        if sock is not None:
            sock.close()
        self._dialled.put(problem)

    def _shake_hands(self, host: str) -> None:
        context = self._endpoint.ssl_context or default_context()
        with self._lock:
            if self._closed or self._sock is None:
                raise Closed
            tls = context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
            self._sock = tls
        self._socket()
        tls.do_handshake()


class _Received(io.RawIOBase):
    """What the socket of an exchange receives, as a file."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._exchange.receive_into(buffer)
