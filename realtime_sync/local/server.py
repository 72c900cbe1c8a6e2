"""The HTTP and WebSocket server around `Protocol`: Werkzeug accepts, simple-websocket frames.

Every connection has a thread of its own, which is the only one that uses its `Protocol`; the answers
are sent by that thread in the order in which the protocol gave them.
"""

import contextlib
import hmac
import logging
import secrets
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ..codec import encode
from ..events import ServerEvent
from .protocol import Protocol
from .responders import Responder

try:
    import simple_websocket
    from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
    from wsproto.events import CloseConnection
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError
except ImportError as error:
    raise ImportError(
        f'the local server needs Werkzeug and simple-websocket: pip install "realtime-sync[local]" ({error})',
        name=error.name,
    ) from error

__all__ = ["LocalServer"]

_log = logging.getLogger("realtime_sync.local")

_PATH = "/v1/realtime"
_MOST_BYTES = 32 * 1024 * 1024
"""Of one message: the 15 MiB that an event may carry, as base64, and room to spare."""
_SESSION_SECONDS = 60 * 60
_FAREWELL_SECONDS = 1.0
"""How long `LocalServer.stop` waits for sessions to say goodbye."""
_GOING_AWAY = 1001

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class LocalServer:
    """A Realtime server on a port of this machine::

        with LocalServer() as server:
            with rt.connect(base_url=server.url, api_key="any") as session:
                ...

    Args:
        host, port: Where to listen; port 0 is any free one.
        responder: Answers in place of a model; see `realtime_sync.local.Responder`.
        delay: Seconds between two pieces of a response, so that streaming can be seen.
        api_key: The one key that is let in; ``None`` lets everyone in.
        ssl_context: Makes it ``https`` and ``wss``.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        responder: Responder | None = None,
        delay: float = 0.0,
        api_key: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._wanted_port = port
        self._app = _App(responder, delay, api_key)
        self._ssl_context = ssl_context
        self._http: _HttpServer | None = None
        self._port = 0
        # Lets only one thread at a time start or stop the server.
        self._lock = threading.Lock()
        # Set when the server has been stopped: what `serve_forever` waits for.
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on, or did last.

        Raises:
            RuntimeError: It was never started.
        """
        if not self._port:
            raise RuntimeError("the server has no port yet: call start(), or use it in a with statement")
        return self._port

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT/v1``: what a client takes as its base URL."""
        return f"{'wss' if self._ssl_context else 'ws'}://{self._address()}/v1"

    @property
    def http_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``."""
        return f"{'https' if self._ssl_context else 'http'}://{self._address()}/v1"

    def _address(self) -> str:
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    def start(self) -> "LocalServer":
        """Listen, in the background.  Does nothing if it does already.

        Raises:
            OSError: The address can't be had, for example because the port is taken.
        """
        with self._lock:
            if self._http is None:
                self._http = _HttpServer(self._host, self._wanted_port, self._app, self._ssl_context)
                self._port = self._http.port
                self._stopped.clear()
                self._http.begin()
        return self

    def stop(self) -> None:
        """End all sessions (close code 1001), stop listening, and leave nothing behind."""
        with self._lock:
            if self._http is not None:
                self._http.end()
                self._http = None
                self._stopped.set()

    def serve_forever(self) -> None:
        """Serve until Ctrl-C, or until another thread calls `stop`."""
        self.start()
        try:
            while not self._stopped.wait(3600):  # with a timeout, Ctrl-C gets through on every system
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


# --- Requests -----------------------------------------------------------------------------------------


class _App:
    """The WSGI application: what each request gets."""

    def __init__(self, responder: Responder | None, delay: float, api_key: str | None) -> None:
        self._responder = responder
        self._delay = delay
        self._api_key = api_key

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.rstrip("/") != _PATH:
            message = f"Invalid URL ({environ['REQUEST_METHOD']} {path})"
            return _refuse(start_response, "404 Not Found", message, "unknown_url")
        if not self._admits(environ):
            message = "Missing or incorrect API key."
            return _refuse(start_response, "401 Unauthorized", message, "invalid_api_key")
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            message = "This address speaks WebSocket only."
            return _refuse(start_response, "426 Upgrade Required", message, "upgrade_required")
        try:
            self._serve_session(environ)
        except (RemoteProtocolError, simple_websocket.ConnectionError) as error:  # nothing was answered yet
            message = f"Bad WebSocket handshake: {error}"
            return _refuse(start_response, "400 Bad Request", message, "bad_handshake")
        raise ConnectionError("the WebSocket is over")  # so Werkzeug writes no HTTP response into it

    def _admits(self, environ: Environ) -> bool:
        if self._api_key is None:
            return True
        bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        return hmac.compare_digest(bearer.encode(), self._api_key.encode())

    def _serve_session(self, environ: Environ) -> None:
        query = parse_qs(environ["QUERY_STRING"])
        protocol = Protocol(
            responder=self._responder,
            model=query.get("model", ["gpt-realtime"])[0],
            expires_at=int(time.time()) + _SESSION_SECONDS,
            ids=_random_id,
        )
        with _websocket(environ) as websocket:
            _Session(websocket, protocol, self._delay).run()


def _refuse(start_response: StartResponse, status: str, message: str, code: str) -> Iterable[bytes]:
    """An HTTP error as OpenAI words it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = msgspec.json.encode({"error": error})
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Request-Id", _random_id("req")),
    ]
    if status.startswith("426"):
        headers.append(("Upgrade", "websocket"))
    start_response(status, headers)
    return [body]


def _random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


# --- Sessions -----------------------------------------------------------------------------------------


class _Session:
    """Runs one protocol over one WebSocket, in the connection's thread."""

    def __init__(self, websocket: "simple_websocket.Server", protocol: Protocol, delay: float) -> None:
        self._websocket = websocket
        self._protocol = protocol
        self._delay = delay

    def run(self) -> None:
        """Serve until the connection ends, from whichever side."""
        # A closed connection shows as ConnectionClosed, or in `send`, a moment earlier, as the others.
        with contextlib.suppress(simple_websocket.ConnectionClosed, LocalProtocolError, OSError):
            self._send(self._protocol.start())
            self._converse()

    def _converse(self) -> None:
        """Answer frames as they come, and between them give the running response piece by piece."""
        due = 0.0
        while True:
            wait = max(due - time.monotonic(), 0.0) if self._protocol.active else None
            frame = self._websocket.receive(timeout=wait)
            if frame is not None:
                self._send(self._protocol.receive(frame))
            if self._protocol.active and time.monotonic() >= due:
                self._send(self._protocol.step())
                due = time.monotonic() + self._delay

    def _send(self, events: list[ServerEvent]) -> None:
        for event in events:
            self._websocket.send(encode(event).decode())


@contextlib.contextmanager
def _websocket(environ: Environ) -> Iterator["simple_websocket.Server"]:
    """Upgrade the request's connection; afterwards, end what simple-websocket began for it."""
    sock = environ["werkzeug.socket"]
    connection = _TlsConnection(sock) if isinstance(sock, ssl.SSLSocket) else _Connection(sock)
    websocket = simple_websocket.Server.accept(
        environ | {"werkzeug.socket": connection},
        subprotocols=["realtime"],  # what browsers ask for, which can't set headers
        receive_bytes=65_536,
        max_message_size=_MOST_BYTES,
        thread_class=_ReaderThread,
    )
    try:
        yield websocket
    finally:
        _shut(sock, socket.SHUT_RD)  # ends the reader, but not before it has answered a close frame
        websocket.thread.join()
        if environ["realtime_sync.server"].ending:
            with contextlib.suppress(LocalProtocolError, OSError):
                connection.send(websocket.ws.send(CloseConnection(code=_GOING_AWAY, reason="server stopped")))
        _shut(sock, socket.SHUT_RDWR)


class _ReaderThread(threading.Thread):
    """simple-websocket's thread that reads one connection, with an end that is always seen.

    Its loop ends without waking `receive` when the client breaks the protocol or sends too much.
    """

    def __init__(self, target: Callable[[], None]) -> None:
        super().__init__(target=target, daemon=True)
        self._websocket: Any = target.__self__  # type: ignore[attr-defined]  # a bound method

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._websocket.connected = False
            self._websocket.event.set()


# --- Connections --------------------------------------------------------------------------------------


class _Connection:
    """A socket that one thread reads and two write: the session's, and simple-websocket's reader,
    which answers pings and close frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Keeps the bytes of one frame together, whichever thread sends it.
        self._lock = threading.Lock()

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def send(self, data: bytes) -> int:
        """All of it: simple-websocket doesn't look at how much went out."""
        with self._lock:
            self._sock.sendall(data)
        return len(data)

    def close(self) -> None:
        """simple-websocket's reader is done.  The socket is Werkzeug's to close, and may still send."""


class _TlsConnection(_Connection):
    """The same over TLS.  OpenSSL's objects can't take two threads at once, and can't take a read
    between the two halves of a write: so the socket doesn't block, all calls are made under the lock,
    a frame is written whole under it, and only the reader waits outside.

    A client that reads nothing while it sends without end can stall this.  It is made for tests.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        sock.setblocking(False)

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self._sock.recv(size)
                except ssl.SSLWantReadError:
                    wanted = selectors.EVENT_READ
                except ssl.SSLWantWriteError:
                    wanted = selectors.EVENT_WRITE
            self._wait(wanted)

    def send(self, data: bytes) -> int:
        rest = memoryview(data)
        with self._lock:
            while rest:
                try:
                    rest = rest[self._sock.send(rest) :]
                except ssl.SSLWantWriteError:
                    self._wait(selectors.EVENT_WRITE)
                except ssl.SSLWantReadError:
                    self._wait(selectors.EVENT_READ)
        return len(data)

    def _wait(self, wanted: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, wanted)
            selector.select()


def _shut(sock: socket.socket, how: int) -> None:
    """End a direction of a connection, from any thread: who waits in it wakes up."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)  # SSLSocket's own drops TLS under the feet of other threads


class _Handler(WSGIRequestHandler):
    """One HTTP request.  The connection is over when its WebSocket is."""

    disable_nagle_algorithm = True  # a delta goes out when it is made

    def make_environ(self) -> Environ:
        return super().make_environ() | {"realtime_sync.server": self.server}

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.debug(message, *args)


class _HttpServer(ThreadedWSGIServer):
    """Werkzeug's threaded server, which knows its threads and their sockets, so that it can end them."""

    def __init__(self, host: str, port: int, app: _App, ssl_context: ssl.SSLContext | None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Left to itself, Werkzeug ends the program when the port is taken.
        with socket.create_server((host, port), family=family) as listener:
            super().__init__(host, port, app, _Handler, fd=listener.fileno())
        # Set afterwards, or Werkzeug would do handshakes in the thread that accepts.
        self.ssl_context = ssl_context
        self.ending = False
        # Guards the table below, which every connection's thread and `end` use.
        self._lock = threading.Lock()
        self._serving: dict[threading.Thread, socket.socket] = {}
        # Accepts connections and begins a thread for each; a daemon, so that a forgotten server
        # doesn't keep the program alive.
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="realtime-sync-server", daemon=True
        )

    def begin(self) -> None:
        """Accept connections, in the background."""
        self._acceptor.start()

    def end(self) -> None:
        """Accept no more, let the sessions say goodbye, and wait until all threads are gone."""
        self.shutdown()
        self._acceptor.join()
        self.ending = True
        self._shut_all(socket.SHUT_RD)
        deadline = time.monotonic() + _FAREWELL_SECONDS
        self._join_all(deadline)
        self._shut_all(socket.SHUT_RDWR)
        self._join_all(None)

    def _shut_all(self, how: int) -> None:
        with self._lock:
            for sock in self._serving.values():
                _shut(sock, how)

    def _join_all(self, deadline: float | None) -> None:
        with self._lock:
            threads = list(self._serving)
        for thread in threads:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))

    def process_request(self, request: Any, client_address: Any) -> None:
        # Serves one connection; a daemon like the acceptor.
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._serving[thread] = request
        thread.start()

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
        with self._lock:  # so that `end` finds the socket, which changes hands here
            tls = self.ssl_context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._serving[threading.current_thread()] = tls
        with tls:
            tls.do_handshake()
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a connection failed", exc_info=True)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.error(message, *args)
