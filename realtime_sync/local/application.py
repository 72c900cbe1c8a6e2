"""What each request gets: an answer of the HTTP API, or a session over the WebSocket that it becomes."""

import contextlib
import http
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from ..clock import now
from .background import Background
from .connections import Handler
from .http.answers import Declined, HttpAnswer, declined, random_id
from .http.api import MOST_BODY_BYTES, Admission, Api
from .http.phone_calls import Call
from .http.reading import read_body
from .loop import Bell, Loop, Sunset
from .memory import Memory
from .observer import Observer
from .protocol.machine import Protocol
from .protocol.refusal import Refused
from .stage import Fault, Plan, Refusal, Stage
from .websocket import BadHandshake, accepting

__all__ = ["App"]

_NORMAL = 1000

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True)
class HttpRequest:
    """What Werkzeug has read of a request, without its body.

    Attributes:
        environ: WSGI's environment.
        headers: By their names in lower case; those of a name that comes twice are joined by commas.
        method: ``"GET"``, ``"POST"`` and so on.
        path: The URL's path, decoded.
    """

    environ: Environ
    headers: Mapping[str, str]
    method: str
    path: str

    @classmethod
    def of(cls, environ: Environ) -> "HttpRequest":
        """Return the request that is in WSGI's environment."""
        headers: dict[str, str] = {}
        for name, value in environ["realtime_sync.handler"].headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # WSGI's way with UTF-8
        return cls(environ, headers, environ["REQUEST_METHOD"], path)

    @property
    def is_upgrade(self) -> bool:
        """Whether the client asks for a WebSocket."""
        return self.method == "GET" and self.headers.get("upgrade", "").lower() == "websocket"

    def query(self) -> dict[str, str]:
        """Return the URL's parameters, the first value of each."""
        query = self.environ["QUERY_STRING"].encode("latin-1").decode(errors="replace")
        return {name: values[0] for name, values in parse_qs(query).items()}

    def body(self) -> bytes:
        """Read the body, or a little more of it than is accepted.

        Raises:
            Declined: It is not as HTTP demands.
            OSError: The connection is lost.
        """
        handler: Handler = self.environ["realtime_sync.handler"]
        return read_body(handler.ask_for_body(), self.headers, MOST_BODY_BYTES)


class App:
    """The WSGI application: what each request gets.

    Args:
        api: Answers what is not a WebSocket, and decides which clients are let in.
        sessions: Arguments of every session's `Protocol`.
        lifetime: Seconds after which a session expires.
        plan: Which faults strike which connection.
        observer: Watches the sessions.
        memory: Bounds what all sessions hold together.
        pings: Arguments of every session's `Liveness`.
    """

    def __init__(
        self,
        api: Api,
        sessions: dict[str, Any],
        lifetime: float,
        plan: Plan,
        observer: Observer | None,
        memory: Memory,
        pings: dict[str, float | None],
    ) -> None:
        self._api = api
        self._sessions = sessions
        self._lifetime = lifetime
        self._plan = plan
        self._observer = observer
        self._memory = memory
        self._pings = pings

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = HttpRequest.of(environ)
        answer = self._api.refuse_stranger(request.headers) or self._answer(request)
        length = ("content-length", str(len(answer.body)))
        start_response(_status_line(answer.status), [*answer.headers, length])
        return [] if request.method == "HEAD" else [answer.body]

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        if request.is_upgrade:
            return self._upgrade(request)
        return self._api.answer(request.method, request.path, request.headers, request.body, now())

    def _upgrade(self, request: HttpRequest) -> HttpAnswer:
        """Serve a session, or return why not.

        Raises:
            ConnectionError: The session is over.
        """
        connection = self._plan.number()
        refusal = self._plan.refusal(connection)
        if refusal is not None:
            return _refused(refusal)
        admission = self._api.admit(request.path, request.query(), request.headers, now())
        if isinstance(admission, HttpAnswer):
            return admission
        if self._memory.full:
            return declined(Declined(503, "server_full", "There is no memory left for this session."))
        try:
            answer = _switching(request, admission)
            faults = self._plan.faults(connection)
            background = Background()
            protocol = self._protocol(admission, faults, background)
        except BadHandshake as error:
            return declined(Declined(400, "bad_handshake", f"Bad WebSocket handshake: {error}."))
        except Refused as error:
            return declined(error)
        self._serve(request, answer, protocol, background, faults, admission.call)
        raise ConnectionError("the WebSocket is closed")  # so Werkzeug writes no HTTP response into it

    def _protocol(
        self, admission: Admission, faults: list[Fault], background: Background
    ) -> Protocol | Sunset:
        if admission.sunset:
            return Sunset(random_id("sess"), random_id("event"))
        lifetime = min([self._lifetime, *(fault.lifetime() for fault in faults)])
        return Protocol(
            **self._sessions,
            background=background.run,
            model=admission.model,
            session_type=admission.session_type,
            dialect=admission.dialect,
            settings=admission.settings,
            expires_at=int(now() + lifetime),
            lifetime=lifetime,
            ids=random_id,
        )

    def _serve(
        self,
        request: HttpRequest,
        answer: bytes,
        protocol: Protocol | Sunset,
        background: Background,
        faults: list[Fault],
        call: Call | None,
    ) -> None:
        handler: Handler = request.environ["realtime_sync.handler"]
        websocket = handler.upgrade(answer, self._pings)
        with _bell_of(call) as bells:
            Loop(
                websocket,
                protocol,
                faults=Stage(faults),
                observer=self._observer,
                bells=[handler.bell, *bells],
                memory=self._memory,
                background=background,
            ).run()


def _switching(request: HttpRequest, admission: Admission) -> bytes:
    """Return the HTTP response that makes the connection a WebSocket."""
    extra = [("x-request-id", random_id("req"))]
    if admission.subprotocol is not None:
        extra.append(("Sec-WebSocket-Protocol", admission.subprotocol))
    return accepting(request.environ["SERVER_PROTOCOL"], request.headers, extra)


@contextlib.contextmanager
def _bell_of(call: Call | None) -> Iterator[list[Bell]]:
    """Yield what ends the session of a call together with it."""
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


def _refused(refusal: Refusal) -> HttpAnswer:
    headers = [("content-type", "application/json"), ("x-request-id", random_id("req")), *refusal.headers]
    return HttpAnswer(refusal.status, headers, refusal.body)


def _status_line(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"
