"""`LocalServer`: a Realtime server on a port of this machine, HTTP and WebSocket."""

import logging
import math
import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ..spelling import check_options
from ..wire.proxy import is_loopback
from .faults import parse_all
from .http.api import Api
from .http.phone_calls import Call
from .memory import Memory
from .options import LocalServerOptions
from .stage import Plan

try:
    from .application import App
    from .connections import HttpServer
except ImportError as error:
    raise ImportError(
        f'the local server needs Werkzeug and wsproto: pip install "realtime-sync[local]" ({error})',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LocalServer"]

_log = logging.getLogger("realtime_sync.local")

_SESSION_SECONDS = 60 * 60
_PING_SECONDS = 20.0  # as for our client
_MOST_MEMORY = 1024 * 1024 * 1024
_LOADING_SECONDS = 10.0  # for which `stop` waits for a model that is being loaded
_LONGEST_LIFETIME = 366 * 24 * 60 * 60


class LocalServer:
    """A Realtime server on a port of this machine::

        with LocalServer() as server:
            with rt.connect(base_url=server.url, api_key="any") as session:
                ...

    Args:
        host, port: Where to listen; port 0 is any free one.
        responder: Answers in place of a model; see `realtime_sync.local.Responder`.
        transcriber: Transcribes in place of a model; see `realtime_sync.local.Transcriber`.
        voice: Speaks in place of a model; see `realtime_sync.local.Voice`.
        detector: Makes what finds the turns in a session's audio, given its format, a threshold from 0 to 1
            and the silence in ms that ends a turn; see `realtime_sync.sound.vad.Detector`.
        delay: Seconds between two deltas of a response, so that streaming can be seen; default 0.
        realtime_pace: Whether responses take as long as a live server's would; default ``False``.
        api_key: The only key that is accepted; ``None`` (the default) accepts every client of this machine,
            which is allowed on a loopback address only.  Requests that are meant for another host, and those
            of web pages of other hosts, are then rejected with 403 (headers ``Host`` and ``Origin``).
        allowed_hosts: Names of hosts that count as this machine there, without scheme and port; default none.
        ssl_context: The server's certificate and key: makes the server speak TLS, and nothing else
            (``https`` and ``wss``).  Default ``None``: plain ``http`` and ``ws``.
        faults: What goes wrong; see `realtime_sync.local.faults`, also for the words of ``serve --fault``.
        sunset_beta: Whether clients that speak Beta are rejected, as OpenAI does; default ``False``.
        lifetime: Seconds after which a session expires; default an hour.
        ping_interval: Seconds without data of a client after which it is pinged (default 20); ``None``:
            never.
        ping_timeout: Seconds without data after a ping, after which the client counts as gone (default 20);
            ``None``: never.
        max_memory: Bytes that all sessions together may hold: conversations, audio, messages (default 1 GiB).
            Beyond that, a session that needs more is closed with 1013, and a new one is rejected with 503.
        observer: Is called at what sessions receive and send; see `realtime_sync.local.Observer`.

    Raises:
        TypeError: An option is unknown; the text has the nearest right name.  Or ``allowed_hosts`` is one
            string.
        ValueError: Other machines could connect, and there is no key; a number is out of its range, or one of
            ``allowed_hosts`` is not the name of a host.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, **options: "Unpack[LocalServerOptions]"
    ) -> None:
        check_options("LocalServer", options, LocalServerOptions, "host", "port")
        api_key, lifetime = options.get("api_key"), options.get("lifetime", _SESSION_SECONDS)
        delay = options.get("delay", 0.0)
        if not api_key and not is_loopback(host.lower()):
            raise ValueError(f"other machines can connect to {host!r}, so api_key is needed")
        if not 0 <= delay < math.inf:
            raise ValueError(f"delay must be 0 or more, got {delay}")
        if not 0 < lifetime < _LONGEST_LIFETIME:
            raise ValueError(f"lifetime must be more than 0 and less than a year, got {lifetime}")
        pings = {
            "ping_interval": options.get("ping_interval", _PING_SECONDS),
            "ping_timeout": options.get("ping_timeout", _PING_SECONDS),
        }
        max_memory = options.get("max_memory", _MOST_MEMORY)
        for name, number in (*pings.items(), ("max_memory", max_memory)):
            if number is not None and not number > 0:
                raise ValueError(f"{name} must be more than 0, got {number!r}")
        self._host = host
        self._wanted_port = port
        self._api = Api(
            api_key,
            allowed_hosts=options.get("allowed_hosts", ()),
            sunset_beta=options.get("sunset_beta", False),
        )
        sessions = {
            "responder": options.get("responder"),
            "transcriber": options.get("transcriber"),
            "voice": options.get("voice"),
            "detector": options.get("detector"),
            "delay": delay,
            "realtime_pace": options.get("realtime_pace", False),
        }
        self._models = [options.get("transcriber"), options.get("voice"), options.get("detector")]
        plan = Plan(parse_all(options.get("faults", ())))
        memory = Memory(max_memory)
        self._app = App(self._api, sessions, lifetime, plan, options.get("observer"), memory, pings)
        self._ssl_context: ssl.SSLContext | None = options.get("ssl_context")
        self._http: HttpServer | None = None
        self._port = 0
        self._warming: threading.Thread | None = None
        # Lets only one thread at a time start or stop the server.
        self._lock = threading.Lock()
        # Set when the server has been stopped: what `serve_forever` waits for.
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """The port on which the server listens, or listened last.

        Raises:
            RuntimeError: The server was never started.
        """
        if not self._port:
            raise RuntimeError("the server has no port yet: call start(), or use it in a with statement")
        return self._port

    @property
    def url(self) -> str:
        """The base URL for a client: ``ws://127.0.0.1:PORT/v1``, with TLS ``wss://``."""
        return f"{'wss' if self._ssl_context else 'ws'}://{self._address()}/v1"

    @property
    def http_url(self) -> str:
        """The same as ``http://127.0.0.1:PORT/v1``, with TLS ``https://``, for clients that want it so."""
        return f"{'https' if self._ssl_context else 'http'}://{self._address()}/v1"

    def _address(self) -> str:
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    def create_call(self, call_id: str | None = None) -> str:
        """Let a phone call ring.  Return its id, for ``/v1/realtime/calls/{id}/accept``; default: a new one.

        Raises:
            ValueError: There is a call with this id.
        """
        return self._api.create_call(call_id)

    def call(self, call_id: str) -> Call:
        """Return a call that `create_call` made: its state, and `Call.hang_up` as the caller does.

        Raises:
            KeyError: There is no call with this id.
        """
        return self._api.call(call_id)

    def start(self) -> "LocalServer":
        """Listen in the background.  Return the server.  Does nothing if it listens already.

        Raises:
            OSError: It can't listen on the address, for example because the port is taken.
            RuntimeError: The system has no thread left.
        """
        with self._lock:
            if self._http is None:
                http_server = HttpServer(self._host, self._wanted_port, self._app, self._ssl_context)
                http_server.begin()
                self._http, self._port = http_server, http_server.port
                self._stopped.clear()
                self._warm_up()
        return self

    def _warm_up(self) -> None:
        """Let models load, so that the first turn doesn't wait for them."""
        loads = [load for model in self._models if (load := getattr(model, "warm_up", None)) is not None]
        if loads:
            # Loads models while the server answers already; a daemon, as loading can't be ended.
            self._warming = threading.Thread(
                target=self._call_all, args=(loads,), name="realtime-sync-warm-up", daemon=True
            )
            self._warming.start()

    def _call_all(self, functions: Iterable[Callable[[], object]]) -> None:
        for function in functions:
            if not self._stopped.is_set():
                try:
                    function()
                except Exception:
                    _log.exception("a model could not be loaded")

    def stop(self) -> None:
        """End all sessions (close code 1001), stop listening, and leave nothing behind."""
        with self._lock:
            if self._http is not None:
                self._http.end()
                self._http = None
                self._stopped.set()
                if self._warming is not None:
                    # A library that is loading while the interpreter ends may crash it.
                    self._warming.join(_LOADING_SECONDS)
                    self._warming = None

    def restart(self, down: float = 0.0) -> None:
        """Lose all connections, as in a crash, and after ``down`` seconds listen on the same port again.

        Meanwhile clients are refused.  Returns when the server listens again.  Its phone calls, its ephemeral
        secrets and the numbers of its connections go on.  Any thread may call it.  `stop` works at once, and
        ends the waiting; another `restart` begins the time anew.

        Raises:
            ValueError: ``down`` is less than 0, or infinite.
            RuntimeError: The server isn't running.
        """
        if not 0 <= down < math.inf:
            raise ValueError(f"down must be 0 or more seconds, got {down}")
        http_server = self._http  # without the lock, which `stop` holds while it waits for this thread to end
        if http_server is None:
            raise RuntimeError("the server isn't running: call start(), or use it in a with statement")
        http_server.restart(down)

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
