"""Sockets and threads: Werkzeug accepts connections and reads requests; each connection has its own thread.

That thread is the only one that uses the connection's socket, TLS included; others may only shut it down.
"""

import contextlib
import logging
import math
import os
import selectors
import socket
import ssl
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ..clock import monotonic
from ..redaction import one_line, without_secret_parameters
from .loop import Bell
from .websocket import WebSocket, shut

__all__ = ["REQUEST_SECONDS", "Application", "Handler", "HttpServer"]

_log = logging.getLogger("realtime_sync.local")

REQUEST_SECONDS = 20.0
"""How long a client may take to send its request, including the TLS handshake and the body."""
_LINGER_SECONDS = 1.0
"""How long a client is read from that still sends when it has its answer."""
_MOST_LINGERING = 16 * 1024 * 1024
"""Bytes that are then read and thrown away."""
_READ_SIZE = 65_536
_CHECK_SECONDS = 0.1
"""How often the server looks for requests past their deadline."""
_PAUSE_SECONDS = 0.5
"""How long no connection is accepted when the system has nothing left for one."""
_QUIET_SECONDS = 60.0
"""How long connections must have been accepted before the log says again that they can't be."""
_FAREWELL_SECONDS = 1.0
"""How long `HttpServer.end` waits for sessions to close, and then for their threads to end."""
_GOING_AWAY = 1001
_BACKLOG = 1024
"""Connections that may wait to be accepted, so that hundreds can come at once."""

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Any]
"""A WSGI application; the environment's ``realtime_sync.handler`` is the request's `Handler`."""


class Handler(WSGIRequestHandler):
    """One HTTP request.  The connection ends with it, or with the WebSocket that it becomes."""

    disable_nagle_algorithm = True  # a delta is sent as soon as it is made

    def setup(self) -> None:
        super().setup()
        self._upgraded = False

    @property
    def _http_server(self) -> "HttpServer":
        http_server: Any = self.server
        assert isinstance(http_server, HttpServer)
        return http_server

    @property
    def bell(self) -> Bell:
        """What ends the sessions when the server stops."""
        return self._http_server.bell

    # --- The request -------------------------------------------------------------------------------

    def make_environ(self) -> Environ:
        return super().make_environ() | {"realtime_sync.handler": self}

    def handle_expect_100(self) -> bool:
        return True  # `ask_for_body` does it

    def ask_for_body(self) -> BufferedIOBase:
        """Return what the body is to be read from.  A client that waits to be asked for it is asked."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile

    # --- The answer --------------------------------------------------------------------------------

    def run_wsgi(self) -> None:
        """Answer the request, and no other one.

        Werkzeug's own asks for each body before anything is checked, and afterwards reads on for 10 GB.
        """
        self.close_connection = True
        try:
            environ = self.make_environ()
        except ValueError:  # no address that can be parsed
            self.send_error(400)
            return
        application: Application = self._http_server.app
        try:
            for data in application(environ, self._begin):
                self.wfile.write(data)
        except OSError as error:  # the client has gone, or the session is over
            _log.debug("a connection has ended: %s", error)
        except Exception:
            _log.exception("a request failed")
            self.send_error(500)

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        for name, value in (*headers, ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()

    def finish(self) -> None:
        if not self._upgraded:
            self._linger()
        super().finish()

    def _linger(self) -> None:
        """Read for a moment what the client still sends: TCP would throw away the answer of a server that
        has closed without having read all of it."""
        shut(self.connection, socket.SHUT_WR)
        until, most = monotonic() + _LINGER_SECONDS, _MOST_LINGERING
        with contextlib.suppress(OSError):
            while most > 0 and (left := until - monotonic()) > 0:
                self.connection.settimeout(left)
                data = self.connection.recv(_READ_SIZE)
                most = most - len(data) if data else 0

    # --- The WebSocket -----------------------------------------------------------------------------

    def upgrade(self, answer: bytes, pings: dict[str, float | None]) -> WebSocket:
        """Make the connection a WebSocket, which may stay open as long as its client is there.

        Args:
            answer: The HTTP response that says so.
            pings: Arguments of `Liveness`.
        """
        self._upgraded = True
        self._http_server.keep_open()
        self.connection.setblocking(False)
        reader: Any = self.rfile
        early = b""  # what came right behind the request
        with contextlib.suppress(OSError):
            early = bytes(reader.peek())
        return WebSocket(self.connection, answer, early, **pings)

    # --- The log -----------------------------------------------------------------------------------

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        status = code.value if isinstance(code, HTTPStatus) else code
        self.log("info", '"%s" %s %s', self.requestline, status, size)  # Werkzeug's own colours it

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.debug("%s", one_line(without_secret_parameters(message % args)))


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
        # Left to itself, Werkzeug ends the program when the port is taken.
        with _bound(host, port) as listener:
            listener.listen(_BACKLOG)
            super().__init__(host, port, application, Handler, fd=listener.fileno())
        self.socket.setblocking(False)  # a client that has gone again must not hold up the acceptor
        # Set afterwards, or Werkzeug would do handshakes in the thread that accepts.
        self.ssl_context = ssl_context
        self.bell = Bell(_GOING_AWAY, "server stopped")
        # Guards the table below, which every connection's thread, the acceptor and `end` use, and `_up_at`.
        self._lock = threading.Lock()
        self._serving: dict[threading.Thread, _Connection] = {}
        self._up_at: float | None = None  # when the port is to be open again, if a restart was asked for
        # Set unless a restart is under way: what `restart` waits for.
        self._up = threading.Event()
        self._up.set()
        self._complained = -math.inf  # when it was last noticed that no connection can be accepted
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

    def restart(self, down: float) -> None:
        """Drop all connections, close the port for ``down`` seconds, and wait until it is open again.

        `end` ends the waiting, too.  One more restart meanwhile begins the time anew.
        """
        with self._lock:
            if not self.bell.rung:
                self._up_at = monotonic() + down
                self._up.clear()
        self._up.wait()

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
        with selectors.DefaultSelector() as selector:
            for readable in (self.socket, self.bell.waker):
                selector.register(readable, selectors.EVENT_READ)
            while not self.bell.rung:
                if selector.select(_CHECK_SECONDS) and not self._accept_one():
                    selector.unregister(self.socket)
                    selector.select(_PAUSE_SECONDS)
                    selector.register(self.socket, selectors.EVENT_READ)
                if self._up_at is not None:
                    self._reopen(selector)
                self._shut_late()
        self.socket.close()
        with self._lock:
            self._up.set()

    def _accept_one(self) -> bool:
        """Serve the next client.  Return False if the system has nothing left to do so with."""
        # Not `handle_request`, whose own clock a test may have frozen.
        try:
            connection, address = self.socket.accept()
        except (BlockingIOError, ConnectionError):  # the client has gone again, or the bell has rung
            return True
        except OSError as error:  # no descriptor left, or no memory: the client waits
            self._complain(error)
            return False
        connection.setblocking(True)
        try:
            self.process_request(connection, address)
        except RuntimeError as error:  # no thread left
            self._complain(error)
            self.shutdown_request(connection)
            return False
        return True

    def _complain(self, error: Exception) -> None:
        """Log why a client is not served; not again while it goes on."""
        now, before = monotonic(), self._complained
        self._complained = now
        if now - before > _QUIET_SECONDS:
            _log.error("can't accept a connection, trying again: %s", error)

    def _reopen(self, selector: selectors.BaseSelector) -> None:
        """Drop all connections, and open the port again when it is time."""
        selector.unregister(self.socket)
        self.socket.close()
        self._shut(socket.SHUT_RDWR, lambda connection: True)
        while not self.bell.rung:
            try:
                # Taken at once, so that nobody else is given the port; without a listener, clients are
                # refused.
                self.socket = _bound(self.host, self.port)
                while not self.bell.rung and (left := self._down_for()) > 0:
                    selector.select(min(left, _CHECK_SECONDS))
                self.socket.listen(_BACKLOG)
            except OSError as error:
                self._complain(error)
                self.socket.close()
                selector.select(_PAUSE_SECONDS)
            else:
                self.socket.setblocking(False)
                selector.register(self.socket, selectors.EVENT_READ)
                self._come_up()
                return

    def _down_for(self) -> float:
        """Return for how many seconds the port is to stay closed."""
        return (self._up_at or 0.0) - monotonic()

    def _come_up(self) -> None:
        """End the restart, unless another one was asked for meanwhile."""
        with self._lock:
            if self._down_for() <= 0:
                self._up_at = None
                self._up.set()

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


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that has taken the address, and doesn't listen yet.

    Raises:
        OSError: The address is taken, or can't be had; it is the error's ``filename``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of before, which the system still remembers, don't count.  On Windows they never do.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        error.filename = f"{host}:{port}"  # the system doesn't say which
        raise
    return sock


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
