"""The HTTP and WebSocket server around `Protocol` and `Api`: Werkzeug accepts and reads the requests.

Every connection has a thread of its own, which is the only one that uses its socket and its `Protocol`.
"""

import contextlib
import http
import io
import logging
import math
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ..wire.proxy import is_loopback
from .faults import Expire, Fault, Plan, RefuseHandshake, Stage, parse
from .http.answers import Declined, HttpAnswer, declined, random_id
from .http.api import MOST_BODY_BYTES, Admission, Api
from .http.phone_calls import Call
from .observer import Observer
from .protocol.machine import Protocol
from .protocol.refusal import Refused
from .protocol.responders import Responder
from .protocol.transcribers import Transcriber

try:
    from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

    from .loop import Bell, Loop, Sunset
    from .websocket import BadHandshake, WebSocket, accepting, shut
except ImportError as error:
    raise ImportError(
        f'the local server needs Werkzeug and wsproto: pip install "realtime-sync[local]" ({error})',
        name=error.name,
    ) from error

__all__ = ["LocalServer"]

_log = logging.getLogger("realtime_sync.local")

REQUEST_SECONDS = 20.0
"""How long a client may take over its request, TLS handshake and body included."""
_SESSION_SECONDS = 60 * 60
_LONGEST_LIFETIME = 366 * 24 * 60 * 60
_LOOK_SECONDS = 0.1
"""How often the server looks whether one takes too long."""
_FAREWELL_SECONDS = 1.0
"""How long `LocalServer.stop` waits for sessions to say goodbye."""
_GOING_AWAY = 1001
_NORMAL = 1000
_BACKLOG = 1024
"""Connections that may wait to be accepted, so that hundreds can come at once."""

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
        transcriber: Hears in place of a model; see `realtime_sync.local.Transcriber`.
        delay: Seconds between two pieces of a response, so that streaming can be seen.
        realtime_pace: Whether responses take as long as a live server's would.
        api_key: The one key that is let in; ``None`` lets everyone in, and is for this machine only.
        ssl_context: Makes it ``https`` and ``wss``.
        faults: What goes wrong; see `realtime_sync.local.faults`, also for the words of ``serve --fault``.
        sunset_beta: Whether a client that speaks Beta is sent away, as OpenAI does.
        lifetime: Seconds after which a session is ended.
        observer: Is told what sessions hear and say; see `realtime_sync.local.Observer`.

    Raises:
        ValueError: Other machines could connect, and there is no key; or a time makes no sense.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        responder: Responder | None = None,
        transcriber: Transcriber | None = None,
        delay: float = 0.0,
        realtime_pace: bool = False,
        api_key: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        faults: Sequence[Fault | str] = (),
        sunset_beta: bool = False,
        lifetime: float = _SESSION_SECONDS,
        observer: Observer | None = None,
    ) -> None:
        if not api_key and not is_loopback(host.lower()):
            raise ValueError(f"other machines can connect to {host!r}: an API key is needed")
        if not (0 <= delay < math.inf and 0 < lifetime < _LONGEST_LIFETIME):
            raise ValueError("delay must not be negative, and lifetime must be between 0 and a year")
        self._host = host
        self._wanted_port = port
        self._api = Api(api_key, sunset_beta=sunset_beta)
        sessions = {
            "responder": responder,
            "transcriber": transcriber,
            "delay": delay,
            "realtime_pace": realtime_pace,
        }
        self._app = _App(self._api, sessions, lifetime, Plan(_parsed(faults)), observer)
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

    def create_call(self, call_id: str | None = None) -> str:
        """Let a phone call ring; its id (by default a new one) is for ``/v1/realtime/calls/{id}/accept``.

        Raises:
            ValueError: There is a call with this id.
        """
        return self._api.create_call(call_id)

    def call(self, call_id: str) -> Call:
        """A call that `create_call` made: its state, and `Call.hang_up` as the caller does.

        Raises:
            KeyError: There is none.
        """
        return self._api.call(call_id)

    def start(self) -> "LocalServer":
        """Listen, in the background.  Does nothing if it does already.

        Raises:
            OSError: The address can't be had, for example because the port is taken.
            RuntimeError: The system has no thread left.
        """
        with self._lock:
            if self._http is None:
                http_server = _HttpServer(self._host, self._wanted_port, self._app, self._ssl_context)
                http_server.begin()
                self._http, self._port = http_server, http_server.port
                self._stopped.clear()
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


def _parsed(faults: Sequence[Fault | str]) -> list[Fault]:
    """The faults, those in words too.

    Raises:
        TypeError: It is no list of faults.
        ValueError: There is no such fault.
    """
    if isinstance(faults, str) or not isinstance(faults, Sequence):
        raise TypeError(f"faults is a list of them, not {faults!r:.80}")
    return [parse(fault) if isinstance(fault, str) else fault for fault in faults]


# --- Requests -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    """What Werkzeug has read of a request, without its body."""

    environ: Environ
    headers: Mapping[str, str]
    method: str
    path: str

    @classmethod
    def of(cls, environ: Environ) -> "_Request":
        headers: dict[str, str] = {}
        for name, value in environ["realtime_sync.handler"].headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # WSGI's way with UTF-8
        return cls(environ, headers, environ["REQUEST_METHOD"], path)

    @property
    def is_upgrade(self) -> bool:
        return self.method == "GET" and self.headers.get("upgrade", "").lower() == "websocket"

    def query(self) -> dict[str, str]:
        query = self.environ["QUERY_STRING"].encode("latin-1").decode(errors="replace")
        return {name: values[0] for name, values in parse_qs(query).items()}

    def body(self) -> bytes:
        """The body, or a little more of it than is accepted."""
        source, body = self.environ["wsgi.input"], b""
        wanted = MOST_BODY_BYTES + 1
        if not self.environ.get("wsgi.input_terminated"):  # not in chunks
            length = self.headers.get("content-length", "")
            wanted = min(wanted, int(length[:18]) if length.isdecimal() else 0)
        while len(body) < wanted and (more := source.read(wanted - len(body))):
            body += more
        return body


class _App:
    """The WSGI application: what each request gets.

    Args:
        sessions: Arguments of every session's `Protocol`.
    """

    def __init__(
        self, api: Api, sessions: dict[str, Any], lifetime: float, plan: Plan, observer: Observer | None
    ) -> None:
        self._api = api
        self._sessions = sessions
        self._lifetime = lifetime
        self._plan = plan
        self._observer = observer

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = _Request.of(environ)
        if request.is_upgrade:
            answer = self._upgrade(request)
        else:
            answer = self._api.answer(
                request.method, request.path, request.headers, request.body(), time.time()
            )
        length = ("content-length", str(len(answer.body)))
        start_response(_status_line(answer.status), [*answer.headers, length])
        return [] if request.method == "HEAD" else [answer.body]

    def _upgrade(self, request: _Request) -> HttpAnswer:
        """Serve a session; or say why not."""
        refusal = self._plan.refusal()
        if refusal is not None:
            return _refused(refusal)
        admission = self._api.admit(request.path, request.query(), request.headers, time.time())
        if isinstance(admission, HttpAnswer):
            return admission
        try:
            answer = _switching(request, admission)
            faults = self._plan.next()
            protocol = self._protocol(admission, faults)
        except BadHandshake as error:
            return declined(Declined(400, "bad_handshake", f"Bad WebSocket handshake: {error}."))
        except Refused as error:
            return declined(error)
        self._serve(request, answer, protocol, faults, admission.call)
        raise ConnectionError("the WebSocket is over")  # so Werkzeug writes no HTTP response into it

    def _protocol(self, admission: Admission, faults: list[Fault]) -> Protocol | Sunset:
        if admission.sunset:
            return Sunset(random_id("sess"), random_id("event"))
        lifetime = min([self._lifetime, *(fault.seconds for fault in faults if isinstance(fault, Expire))])
        return Protocol(
            **self._sessions,
            model=admission.model,
            session_type=admission.session_type,
            dialect=admission.dialect,
            settings=admission.settings,
            expires_at=int(time.time() + lifetime),
            lifetime=lifetime,
            ids=random_id,
        )

    def _serve(
        self,
        request: _Request,
        answer: bytes,
        protocol: Protocol | Sunset,
        faults: list[Fault],
        call: Call | None,
    ) -> None:
        handler: _Handler = request.environ["realtime_sync.handler"]
        http_server: Any = handler.server  # an _HttpServer
        http_server.let_stay()
        websocket = WebSocket(handler.connection, answer, handler.early())
        with _bell_of(call) as bells:
            Loop(
                websocket,
                protocol,
                faults=Stage(faults),
                observer=self._observer,
                bells=[http_server.bell, *bells],
            ).run()


def _switching(request: _Request, admission: Admission) -> bytes:
    """The answer that makes the connection a WebSocket."""
    extra = [("x-request-id", random_id("req"))]
    if admission.subprotocol is not None:
        extra.append(("Sec-WebSocket-Protocol", admission.subprotocol))
    return accepting(request.environ["SERVER_PROTOCOL"], request.headers, extra)


@contextlib.contextmanager
def _bell_of(call: Call | None) -> Iterator[list[Bell]]:
    """What ends the session of a call together with it."""
    if call is None:
        yield []
        return
    bell = Bell(_NORMAL, "the call has ended")
    forget = call.on_hangup(bell.ring)
    try:
        yield [bell]
    finally:
        forget()
        bell.close()


def _refused(fault: RefuseHandshake) -> HttpAnswer:
    kind = "server_error" if fault.status >= 500 else "invalid_request_error"
    error = {"message": fault.message, "type": kind, "param": None, "code": None}
    body = msgspec.json.encode({"error": error}) if fault.body is None else fault.body.encode()
    headers = [("content-type", "application/json"), ("x-request-id", random_id("req"))]
    return HttpAnswer(fault.status, headers, body)


def _status_line(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


# --- Connections --------------------------------------------------------------------------------------


class _Reader(io.BufferedReader):
    """Reads a request's body.  A client that is gone has no more to say, which is no error here: Werkzeug,
    which reads to the end after its answer, would leave a descriptor behind for the garbage collector."""

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except OSError:
            return b""


class _Handler(WSGIRequestHandler):
    """One HTTP request.  The connection is over when its WebSocket is."""

    disable_nagle_algorithm = True  # a delta goes out when it is made

    def setup(self) -> None:
        super().setup()
        reader: Any = self.rfile
        self.rfile = _Reader(reader.detach())

    def make_environ(self) -> Environ:
        return super().make_environ() | {"realtime_sync.handler": self}

    def early(self) -> bytes:
        """What came with the request and is no part of it.  Makes the socket non-blocking."""
        self.connection.setblocking(False)
        reader: Any = self.rfile
        with contextlib.suppress(OSError):
            return bytes(reader.peek())
        return b""

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.debug(message, *args)


@dataclass
class _Connection:
    """A connection that is served.

    Attributes:
        stays: It is a WebSocket, so it may take as long as it likes.
    """

    socket: socket.socket
    since: float = field(default_factory=time.monotonic)
    stays: bool = False


class _HttpServer(ThreadedWSGIServer):
    """Werkzeug's threaded server, which knows its threads and their sockets, so that it can end them."""

    timeout = 0  # of `handle_request`: it is called when there is one

    def __init__(self, host: str, port: int, app: _App, ssl_context: ssl.SSLContext | None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Left to itself, Werkzeug ends the program when the port is taken.
        with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
            super().__init__(host, port, app, _Handler, fd=listener.fileno())
        # Set afterwards, or Werkzeug would do handshakes in the thread that accepts.
        self.ssl_context = ssl_context
        self.bell = Bell(_GOING_AWAY, "server stopped")
        # Guards the table below, which every connection's thread, the acceptor and `end` use.
        self._lock = threading.Lock()
        self._serving: dict[threading.Thread, _Connection] = {}
        # Accepts connections, begins a thread for each and ends those that take too long over their request;
        # a daemon, so that a forgotten server doesn't keep the program alive.
        self._acceptor = threading.Thread(target=self._accept, name="realtime-sync-server", daemon=True)

    def begin(self) -> None:
        """Accept connections, in the background."""
        try:
            self._acceptor.start()
        except RuntimeError:  # the system has no thread left
            self.socket.close()
            self.bell.close()
            raise

    def end(self) -> None:
        """Accept no more, let the sessions say goodbye, and wait until all threads are gone."""
        self.bell.ring()
        self._acceptor.join()
        self._shut(socket.SHUT_RD, lambda connection: not connection.stays)
        self._join(time.monotonic() + _FAREWELL_SECONDS)
        self._shut(socket.SHUT_RDWR, lambda connection: True)
        self._join(time.monotonic() + _FAREWELL_SECONDS)
        with self._lock:
            stuck = len(self._serving)
        if stuck:
            _log.error("%d sessions go on: their responder or transcriber doesn't return", stuck)
        self.bell.close()

    def let_stay(self) -> None:
        """This thread's connection has become a WebSocket."""
        with self._lock:
            self._serving[threading.current_thread()].stays = True

    def _accept(self) -> None:
        # Not by `serve_forever`, which sees only from time to time that it is to end.
        with self.socket, selectors.DefaultSelector() as selector:
            for readable in (self.socket, self.bell.waker):
                selector.register(readable, selectors.EVENT_READ)
            while not self.bell.rung:
                if selector.select(_LOOK_SECONDS):
                    self.handle_request()
                self._shut_late()

    def _shut_late(self) -> None:
        """End the connections that take too long over their request."""
        before = time.monotonic() - REQUEST_SECONDS
        self._shut(socket.SHUT_RDWR, lambda connection: not connection.stays and connection.since < before)

    def _shut(self, how: int, which: Callable[[_Connection], bool]) -> None:
        with self._lock:
            for connection in self._serving.values():
                if which(connection):
                    shut(connection.socket, how)

    def _join(self, deadline: float) -> None:
        with self._lock:
            threads = list(self._serving)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def process_request(self, request: Any, client_address: Any) -> None:
        # Serves one connection; a daemon like the acceptor.
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._serving[thread] = _Connection(request)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left: Werkzeug's base closes the connection
            with self._lock:
                del self._serving[thread]
            raise

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
            self._serving[threading.current_thread()].socket = tls
        with tls:
            tls.do_handshake()
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a connection failed", exc_info=True)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # the name is Werkzeug's
        _log.error(message, *args)
