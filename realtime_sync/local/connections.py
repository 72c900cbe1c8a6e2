"""Sockets and threads: Werkzeug accepts connections and reads requests; each connection has its own thread.

That thread is the only one that uses the connection's socket, TLS included; others may only shut it down.
"""

import contextlib
import io
import logging
import selectors
import socket
import ssl
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ..clock import monotonic
from .loop import Bell
from .websocket import WebSocket, shut

__all__ = ["REQUEST_SECONDS", "Application", "Handler", "HttpServer"]

_log = logging.getLogger("realtime_sync.local")

REQUEST_SECONDS = 20.0
"""How long a client may take to send its request, including the TLS handshake and the body."""
_CHECK_SECONDS = 0.1
"""How often the server looks for requests past their deadline."""
_FAREWELL_SECONDS = 1.0
"""How long `HttpServer.end` waits for sessions to close, and then for their threads to end."""
_GOING_AWAY = 1001
_BACKLOG = 1024
"""Connections that may wait to be accepted, so that hundreds can come at once."""

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Any]
"""A WSGI application; the environment's ``realtime_sync.handler`` is the request's `Handler`."""


class _Reader(io.BufferedReader):
    """Reads a request's body.  A client that has gone has sent all of it: Werkzeug reads to the end after its
    answer, and an error there would leave a descriptor behind for the garbage collector."""

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except OSError:
            return b""


class Handler(WSGIRequestHandler):
    """One HTTP request.  The connection ends with it, or with the WebSocket that it becomes."""

    disable_nagle_algorithm = True  # a delta is sent as soon as it is made

    def setup(self) -> None:
        super().setup()
        reader: Any = self.rfile
        self.rfile = _Reader(reader.detach())

    def make_environ(self) -> Environ:
        return super().make_environ() | {"realtime_sync.handler": self}

    @property
    def bell(self) -> Bell:
        """What ends the sessions when the server stops."""
        http_server: Any = self.server
        assert isinstance(http_server, HttpServer)
        return http_server.bell

    def upgrade(self, answer: bytes) -> WebSocket:
        """Make the connection a WebSocket, which may stay open as long as it likes.

        Args:
            answer: The HTTP response that says so.
        """
        http_server: Any = self.server
        http_server.keep_open()
        self.connection.setblocking(False)
        reader: Any = self.rfile
        early = b""  # what came right behind the request
        with contextlib.suppress(OSError):
            early = bytes(reader.peek())
        return WebSocket(self.connection, answer, early)

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.debug(message, *args)


@dataclass
class _Connection:
    """A connection that is served.

    Attributes:
        upgraded: It is a WebSocket, so it has no deadline.
    """

    socket: socket.socket
    since: float = field(default_factory=monotonic)
    upgraded: bool = False


class HttpServer(ThreadedWSGIServer):
    """Werkzeug's threaded server, which knows its threads and their sockets, so that it can end them."""

    def __init__(
        self, host: str, port: int, application: Application, ssl_context: ssl.SSLContext | None
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Left to itself, Werkzeug ends the program when the port is taken.
        with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
            super().__init__(host, port, application, Handler, fd=listener.fileno())
        self.socket.setblocking(False)  # a client that has gone again must not hold up the acceptor
        # Set afterwards, or Werkzeug would do handshakes in the thread that accepts.
        self.ssl_context = ssl_context
        self.bell = Bell(_GOING_AWAY, "server stopped")
        # Guards the table below, which every connection's thread, the acceptor and `end` use.
        self._lock = threading.Lock()
        self._serving: dict[threading.Thread, _Connection] = {}
        # Accepts connections, starts a thread for each and ends those whose request takes too long; a daemon,
        # so that a forgotten server doesn't keep the program alive.
        self._acceptor = threading.Thread(target=self._accept, name="realtime-sync-server", daemon=True)

    def begin(self) -> None:
        """Accept connections in the background.

        Raises:
            RuntimeError: The system has no thread left.
        """
        try:
            self._acceptor.start()
        except RuntimeError:
            self.socket.close()
            self.bell.close()
            raise

    def end(self) -> None:
        """Accept no more connections, close the sessions, and wait until all threads are gone."""
        self.bell.ring()
        self._acceptor.join()
        self._shut(socket.SHUT_RD, lambda connection: not connection.upgraded)
        self._join(monotonic() + _FAREWELL_SECONDS)
        self._shut(socket.SHUT_RDWR, lambda connection: True)
        self._join(monotonic() + _FAREWELL_SECONDS)
        with self._lock:
            stuck = len(self._serving)
        if stuck:
            _log.error("%d sessions are still running: their responder or transcriber does not return", stuck)
        self.bell.close()

    def keep_open(self) -> None:
        """Lift the deadline of the calling thread's connection."""
        with self._lock:
            self._serving[threading.current_thread()].upgraded = True

    # --- The acceptor's thread -----------------------------------------------------------------------

    def _accept(self) -> None:
        # Not `serve_forever`, which checks only now and then whether it is to end.
        with self.socket, selectors.DefaultSelector() as selector:
            for readable in (self.socket, self.bell.waker):
                selector.register(readable, selectors.EVENT_READ)
            while not self.bell.rung:
                if selector.select(_CHECK_SECONDS):
                    self._accept_one()
                self._shut_late()

    def _accept_one(self) -> None:
        # Not `handle_request`, whose own clock a test may have frozen.
        try:
            connection, address = self.socket.accept()
        except OSError:  # the client has gone again, or the bell has rung
            return
        connection.setblocking(True)
        try:
            self.process_request(connection, address)
        except RuntimeError:  # the system has no thread left
            self.handle_error(connection, address)
            self.shutdown_request(connection)

    def _shut_late(self) -> None:
        """End the connections whose request takes too long."""
        before = monotonic() - REQUEST_SECONDS
        self._shut(socket.SHUT_RDWR, lambda connection: not connection.upgraded and connection.since < before)

    def _shut(self, how: int, which: Callable[[_Connection], bool]) -> None:
        with self._lock:
            for connection in self._serving.values():
                if which(connection):
                    shut(connection.socket, how)

    def _join(self, deadline: float) -> None:
        with self._lock:
            threads = list(self._serving)
        for thread in threads:
            thread.join(max(deadline - monotonic(), 0.0))

    def process_request(self, request: Any, client_address: Any) -> None:
        # Serves one connection; a daemon like the acceptor.
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._serving[thread] = _Connection(request)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            with self._lock:
                del self._serving[thread]
            raise

    # --- The connections' threads --------------------------------------------------------------------

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._serving[threading.current_thread()]

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.ssl_context is None:
            super().finish_request(request, client_address)
            return
        with self._lock:  # so that `_shut` finds the socket, which changes hands here
            tls = _wrapped(request, self.ssl_context)
            self._serving[threading.current_thread()].socket = tls
        with tls:
            tls.do_handshake()  # `_shut_late` ends one that stalls
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a connection failed", exc_info=True)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.error(message, *args)


def _wrapped(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return the socket as a TLS one, before its handshake.

    Raises:
        OSError: The client has gone.
    """
    try:
        return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    except OSError as error:
        # Older Pythons leave the new socket open, for the garbage collector to find and to warn about.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            left = frame.f_locals.get("self")
            if isinstance(left, ssl.SSLSocket):
                left.close()
        raise
