"""The HTTP half of the API: secrets and calls.  The only file that imports requests.

A request is tried again, with growing pauses, as long as that can do no harm:

* if nothing of it can have arrived (the server could not be reached), or the server has turned it away
  undone (429);
* if it may have been done (no answer came, or 408, 409 or 5xx), only where doing it twice is harmless:
  making a secret, hanging up; or where you give an ``idempotency_key``, by which the server knows the
  second for the first.

What the next try would meet again (a used up quota, a certificate that is not trusted, a proxy that
refuses) is not tried again, and a server that asks for more than a minute of patience is not waited for.

All methods raise:

* `exceptions.APIError`, and its subclass for the status: the server refused, or its answer can't be used;
* `exceptions.APIConnectionError`, `exceptions.APITimeoutError`: there was no answer;
* `ValueError`, `TypeError`: an argument can't be sent; nothing was.

Their common arguments:

* ``idempotency_key``: Your name for this request (see above); one is made if missing.
* ``timeout``: Seconds to connect, and between two pieces of the answer; default: that of the client.
"""

import html
import http.cookiejar
import logging
import math
import os
import random
import re
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
import requests
import urllib3
from msgspec import UNSET, Struct, structs
from requests.adapters import HTTPAdapter
from urllib3.filepost import encode_multipart_formdata
from urllib3.util import Retry

from .calls import SessionFields, session_config
from .codec import parse, plain
from .dial import parse_proxy
from .endpoint import Endpoint, check_text
from .events import AudioConfig, AudioOutputConfig, SessionConfig
from .exceptions import APIConnectionError, APIError, APITimeoutError, error_of_status
from .mend import mend
from .transport import Redact, default_context

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Call",
    "Calls",
    "ClientSecretCreated",
    "ClientSecrets",
    "Rest",
    "Sessions",
    "TranscriptionSessions",
    "TranslationClientSecrets",
    "Translations",
]

_log = logging.getLogger("realtime_sync")

_MOST_ANSWER = 16 * 1024 * 1024  # bytes of an answer that are read
_MOST_KEPT = 65536  # bytes of an answer that an error keeps
_MOST_SHOWN = 200  # characters of an answer that an error shows
_PIECE = 65536  # bytes
_FIRST_PAUSE = 0.5  # seconds; doubled with each try
_LONGEST_PAUSE = 8.0  # seconds, between two tries
_PATIENCE = 60.0  # seconds that a server may ask to wait

_JSON = "application/json"
_SDP = "application/sdp"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_TAGS = re.compile(r"<(?:script|style)\b[^<]*|<[^<>]*>", re.IGNORECASE)
_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: 4\d\d")
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-ms-request-id")  # the latter two are Azure's
_CANT_BE_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)

_encoder = msgspec.json.Encoder(enc_hook=plain)
_retry = Retry()

_Json = Mapping[str, Any]
_S = TypeVar("_S", bound=Struct)


# --- What the calls return --------------------------------------------------------------------------


class ClientSecretCreated(Struct, kw_only=True):
    """A new ephemeral secret.

    Attributes:
        value: The secret (``ek_...``); it is not in the repr.
        expires_at: When it stops to open sessions, in Unix seconds.
        session: The settings of the sessions that it opens.
    """

    value: str
    expires_at: int
    session: SessionConfig

    def __repr__(self) -> str:
        return f"ClientSecretCreated(value='***', expires_at={self.expires_at}, session={self.session!r})"


class Call(Struct, kw_only=True, frozen=True):
    """A WebRTC call that the server has taken.

    Attributes:
        id: For `Calls.hangup`, and for `Client.connect`; ``""`` if the server named none.
        sdp: The server's answer, to set as the remote description.
    """

    id: str
    sdp: str


# --- One request ------------------------------------------------------------------------------------


class _Request(Struct, frozen=True):
    path: str
    body: bytes
    headers: dict[str, str]
    timeout: float
    repeatable: bool


class _Answer(Struct, frozen=True):
    """What came back, read to its end; secrets are still in it."""

    status: int
    headers: dict[str, str]
    body: bytes
    redact: Redact

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def request_id(self) -> str | None:
        found = (self.headers.get(name) for name in _REQUEST_IDS)
        return next((self.redact(name) for name in found if name), None)

    def error(self, kind: type[APIError], message: str, **details: Any) -> APIError:
        """An error with this answer in it."""
        return kind(
            self.redact(message),
            status=self.status,
            request_id=self.request_id,
            headers={name: self.redact(value) for name, value in self.headers.items()},
            body=self.redact(self.text()).encode()[:_MOST_KEPT],
            **details,
        )


class _Failure(Struct, frozen=True):
    """A try that came to nothing.

    ``again`` is ``"always"`` if nothing was done, ``"maybe"`` if that is not known, and ``"never"`` if
    trying again is of no use.
    """

    error: APIError
    again: Literal["always", "maybe", "never"]
    cause: BaseException | None = None


class Rest:
    """The HTTP half of one client.  Any thread may use it.

    Nothing in it changes from one request to the next, for headers and proxies are given with each and
    cookies are not kept; except the pool of connections, which urllib3 guards.

    Args:
        endpoint: Where the server is.
        headers: Makes the headers of a request, from further ones; called for each try.
        prefix: What the paths begin with.
        timeout: Seconds to connect, and between two pieces of an answer.
        max_retries: How often a request is tried again.
        sleep, random: For tests.  ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        headers: Callable[..., list[tuple[str, str]]],
        *,
        prefix: str = "/realtime",
        timeout: float = 60.0,
        max_retries: int = 2,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._prefix = prefix
        self._timeout = timeout
        self._max_retries = max_retries
        self._sleep = sleep
        self._random = random
        self._host = urlsplit(endpoint.base_url).hostname or ""
        self._place = urlsplit(endpoint.base_url).netloc
        self._http, self._process = self._open(), os.getpid()
        self.client_secrets = ClientSecrets(self)
        self.calls = Calls(self)
        self.sessions = Sessions(self)
        self.transcription_sessions = TranscriptionSessions(self)
        self.translations = Translations(self)

    def _open(self) -> requests.Session:
        http_session = _Session()
        http_session.trust_env = False  # no .netrc, no other proxies or certificates than the WebSocket's
        http_session.headers.clear()
        http_session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        http_session.mount("http://", _Adapter(None))
        if self._endpoint.http_url("").startswith("https://"):
            http_session.mount("https://", _Adapter(self._endpoint.ssl_context or default_context()))
        return http_session

    def _session(self) -> requests.Session:
        """The pool of this process: a child must not write on its parent's connections."""
        if self._process != os.getpid():
            self._http, self._process = self._open(), os.getpid()
        return self._http

    def close(self) -> None:
        """Give the connections back.  The next request opens new ones."""
        self._session().close()

    def post(
        self,
        path: str,
        body: bytes = b"",
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
        harmless: bool = False,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> _Answer:
        """Post until there is an answer, and return it if it is a success.

        Args:
            path: What follows the prefix.
            body, content_type: What to send; neither if ``body`` is empty.
            accept: What the answer should be.
            harmless: Whether doing it twice is.
            idempotency_key, timeout: See the module.

        Raises:
            APIError: It was refused, or there is no answer.
            ValueError: It can't be sent.
        """
        if timeout is not None and not timeout > 0:
            raise ValueError("timeout must be more than 0")
        if idempotency_key is not None and not idempotency_key.strip():
            raise ValueError("idempotency_key is empty")
        headers = {"Accept": accept, "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if body:
            headers["Content-Type"] = content_type
        request = _Request(
            path=self._prefix + path,
            body=body,
            headers=headers,
            timeout=timeout or self._timeout,
            repeatable=harmless or idempotency_key is not None,
        )
        tries = 0
        while True:
            outcome = self._try(request)
            if isinstance(outcome, _Answer):
                return outcome
            if tries == self._max_retries or not _may_repeat(request, outcome):
                raise outcome.error from outcome.cause
            pause = self._pause(tries, outcome.error.retry_after)
            tries += 1
            _log.info("POST %s: %s; trying again in %.1f s", request.path, outcome.error, pause)
            self._sleep(pause)

    def _pause(self, tries: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, or more and more, never in step."""
        if asked is not None:
            return asked
        most = min(_FIRST_PAUSE * 2.0 ** min(tries, 10), _LONGEST_PAUSE)
        return most * (1 - 0.25 * self._random())

    def _try(self, request: _Request) -> _Answer | _Failure:
        headers = self._headers(request.headers)
        proxy = self._endpoint.proxy()
        redact = _redactor(self._endpoint.redactor(headers), proxy)
        problem: BaseException
        try:
            answer = self._exchange(request, headers, proxy, redact)
        except (OSError, urllib3.exceptions.HTTPError) as error:  # all of requests' errors are OSErrors
            problem = error
        else:
            return self._judge(answer, request)
        # Outside of the except clause, so that what requests raised is not the context of any error.
        if isinstance(problem, requests.exceptions.InvalidSchema):  # PySocks is missing
            raise ValueError('a SOCKS proxy needs another package: pip install "realtime-sync[socks]"')
        if isinstance(problem, _CANT_BE_SENT):
            raise ValueError(f"{self._host} can't be asked: {redact(str(problem))}")
        return self._lost(problem, request, proxy, redact)

    def _judge(self, answer: _Answer, request: _Request) -> _Answer | _Failure:
        _log.debug("POST %s: HTTP %d, request %s", request.path, answer.status, answer.request_id)
        if len(answer.body) > _MOST_ANSWER:
            message = f"the answer has more than {_MOST_ANSWER} bytes"
            return _Failure(answer.error(error_of_status(answer.status), message), "never")
        return answer if 200 <= answer.status < 300 else _refusal(answer)

    def _exchange(
        self, request: _Request, headers: list[tuple[str, str]], proxy: str | None, redact: Redact
    ) -> _Answer:
        with self._session().post(
            self._endpoint.http_url(request.path),
            data=request.body,
            headers={name: value.strip() for name, value in headers},
            timeout=request.timeout,
            proxies={"http": proxy, "https": proxy} if proxy else {},
            allow_redirects=False,  # the key is for this server only
            stream=True,
        ) as response:
            return _Answer(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                _read(response),
                redact,
            )

    def _lost(self, error: BaseException, request: _Request, proxy: str | None, redact: Redact) -> _Failure:
        """What to make of an error of requests, whose own text may hold anything."""
        errors = _behind(error)
        cause = _clean(_root(errors), redact)
        place = self._place + (f" through the proxy {parse_proxy(proxy, 'proxy')}" if proxy else "")
        refused = next((one for one in errors if isinstance(one, ssl.SSLCertVerificationError)), None)
        if refused is not None:
            text = f"the certificate of {self._host} was refused: {redact(refused.verify_message)}"
            return _Failure(APIConnectionError(text), "never", cause)
        late = _is_any(errors, requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
        kind = APITimeoutError if late else APIConnectionError
        reason = str(cause) or type(cause).__name__
        if _is_any(
            errors,
            requests.ConnectTimeout,
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ProxyError,
        ):
            reason = f"no answer in {request.timeout:g} s" if late else reason
            refused_by_proxy = any(_REFUSED_BY_PROXY.search(str(one)) for one in errors)
            again: Literal["always", "never"] = "never" if refused_by_proxy else "always"
            return _Failure(kind(f"could not connect to {place}: {reason}"), again, cause)
        text = (
            f"no answer in {request.timeout:g} s from {place}"
            if late
            else f"no answer from {place}: {reason}"
        )
        return _Failure(kind(f"{text}; the request may have been carried out"), "maybe", cause)


def _may_repeat(request: _Request, failure: _Failure) -> bool:
    if (failure.error.retry_after or 0) > _PATIENCE:
        return False
    return failure.again == "always" or (failure.again == "maybe" and request.repeatable)


def _read(response: requests.Response) -> bytes:
    """The body, or a little more than the most of it that is accepted."""
    body = bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > _MOST_ANSWER:
            break
    return bytes(body)


# --- Redirects, TLS and proxies ---------------------------------------------------------------------


class _Session(requests.Session):
    """A session that doesn't look at redirects: it would read all of their body, and parse their target."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


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
        """Leave it as it is."""

    def _ignore(self, *args: object, **options: object) -> None:
        """Leave it as it is."""

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

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._tls)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, dict(self._tls)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context does it, and it has its certificates."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        token = parse_proxy(proxy, "proxy").token()
        return {"Proxy-Authorization": f"Basic {token}"} if token else {}


def _redactor(redact: Redact, proxy: str | None) -> Redact:
    """Takes out the secrets of a request, and those of its proxy."""
    login = urlsplit(proxy).netloc.rpartition("@")[0] if proxy else ""
    written = [part for part in (login, login.partition(":")[2]) if part]
    clean = parse_proxy(proxy, "proxy").redact if proxy else str

    def redact_all(text: str) -> str:
        text = clean(redact(text))
        for secret in written:
            text = text.replace(secret, "***")
        return text

    return redact_all


# --- What went wrong --------------------------------------------------------------------------------


def _behind(error: BaseException) -> list[BaseException]:
    """The error and all that are behind it, nearest first: libraries keep them in various places."""
    found: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        one = pending.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            pending += [one.__cause__, getattr(one, "reason", None), *one.args, one.__context__]
    return found


def _is_any(errors: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(error, kinds) for error in errors)


def _root(errors: list[BaseException]) -> BaseException:
    """The system's own error, if there is one: what is told about it on the way up is long-winded."""
    libraries = ("requests", "urllib3")
    own = (error for error in errors if type(error).__module__.partition(".")[0] not in libraries)
    return next(own, errors[0])


def _clean(cause: BaseException, redact: Redact) -> BaseException:
    """The error, or one that says the same without the secrets that it holds."""
    chain = _behind(cause)
    for one in chain:
        if isinstance(one, requests.RequestException):
            one.request = one.response = None  # these hold the key
    texts = [text for one in chain for text in (str(one), repr(one))]
    if all(redact(text) == text for text in texts):
        return cause
    return OSError(redact(str(cause)))


def _refusal(answer: _Answer) -> _Failure:
    """What to make of an answer that is no success."""
    status = answer.status
    message, details = _described(answer)
    error = answer.error(
        error_of_status(status), message, retry_after=_retry_after(answer.headers), **details
    )
    if error.fatal:
        return _Failure(error, "never")
    if status == 429:
        return _Failure(error, "always")
    return _Failure(error, "maybe" if status in (408, 409) or status >= 500 else "never")


def _described(answer: _Answer) -> tuple[str, dict[str, str | None]]:
    """The server's own words, and what it names beside them."""
    if 300 <= answer.status < 400:
        target = _host_of(answer.redact(answer.headers.get("location", "")))
        return f"the server redirects to {target}, which is not followed", {}
    try:
        body = parse(answer.body)[0]
    except (ValueError, RecursionError):
        return _excerpt(answer) or "no explanation", {}
    outer = body if isinstance(body, dict) else {}
    error = outer.get("error", outer)
    if isinstance(error, str):
        error = {**outer, "message": error}
    fields = error if isinstance(error, dict) else {}
    said = fields.get("message") or fields.get("detail")
    details = {name: _text(fields.get(name), answer.redact) for name in ("code", "type", "param")}
    message = said if isinstance(said, str) else None
    return message or details["code"] or details["type"] or _excerpt(answer) or "no explanation", details


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or "another path"
    except ValueError:
        return "an address that is none"


def _text(value: Any, redact: Redact) -> str | None:
    """A name that should be text, and is a number with some servers."""
    return redact(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _excerpt(answer: _Answer) -> str:
    """The beginning of an answer that is something else than expected, readable also if it is HTML."""
    text = answer.redact(answer.text())
    if "html" in answer.headers.get("content-type", "") or text.lstrip()[:1] == "<":
        text = html.unescape(_TAGS.sub(" ", text[: 20 * _MOST_SHOWN]))
    return " ".join(answer.redact(text)[: 20 * _MOST_SHOWN].split())[:_MOST_SHOWN]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; ``None`` if it doesn't, or not understandably."""
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        seconds = _number(headers.get("retry-after"))
    if seconds is None and (date := headers.get("retry-after")):
        try:
            seconds = _retry.parse_retry_after(date)
        except (urllib3.exceptions.HTTPError, ValueError, OverflowError):
            return None
    return seconds


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        number = float(text or "") * unit
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


# --- Answers to structs -----------------------------------------------------------------------------

_reported: set[tuple[str, str, str]] = set()
"""The deviations that were logged: each is worth one line."""


def _decode(cls: type[_S], answer: _Answer) -> _S:
    """The answer as a struct, as far as it fits: as tolerant as `codec.decode`.

    Raises:
        APIError: It is no JSON object.
    """
    try:
        return msgspec.json.decode(answer.body, type=cls)
    except (ValueError, RecursionError):
        pass
    try:
        value, flaw = parse(answer.body)
    except (ValueError, RecursionError):
        value = flaw = None
    if not isinstance(value, dict):
        shown = _excerpt(answer)
        raise answer.error(APIError, f"the answer is not a JSON object: {shown!r}")

    def note(path: str, problem: str) -> None:
        kind = (cls.__name__, path, problem)
        if kind not in _reported:
            _reported.add(kind)
            _log.warning("an answer deviates from the specification: %s%s: %s", *kind)

    if flaw is not None:
        note("", flaw)
    return mend(cls, value, note)


def _write(value: Any) -> bytes:
    return _encoder.encode(value)


# --- Arguments --------------------------------------------------------------------------------------


def _settings(session: SessionConfig | _Json, kind: str | None) -> SessionConfig | _Json:
    """A session's settings, of this kind if they don't say."""
    if isinstance(session, SessionConfig):
        return structs.replace(session, type=kind) if kind and session.type is UNSET else session
    if isinstance(session, Mapping):
        return {"type": kind, **session} if kind else dict(session)
    raise TypeError(f"expected a SessionConfig or a dict, got {type(session).__name__}")


def _given(session: SessionConfig | _Json | None, fields: Any, kind: str | None) -> SessionConfig | _Json:
    """A session's settings, given in one of two ways.

    Raises:
        TypeError: In both, or there is no such setting.
    """
    if session is not None and fields:
        raise TypeError("give session or single settings, not both")
    return _settings(session_config(fields) if session is None else session, kind)


def _expiry(seconds: int) -> dict[str, Any]:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError(f"expires_after: expected whole seconds, got {type(seconds).__name__}")
    if not 10 <= seconds <= 7200:
        raise ValueError("expires_after must be 10 to 7200 seconds")
    return {"anchor": "created_at", "seconds": seconds}


def _call_path(call_id: str, verb: str) -> str:
    if not isinstance(call_id, str):
        raise TypeError(f"call_id: expected a string, got {type(call_id).__name__}")
    check_text(call_id, "call_id")
    if call_id.strip() in ("", ".", ".."):
        raise ValueError(f"{call_id!r} is not the id of a call")
    return f"/calls/{quote(call_id, safe='')}/{verb}"


# --- The calls --------------------------------------------------------------------------------------


class _Names:
    """A name space of calls."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def _secret(
        self,
        path: str,
        session: SessionConfig | _Json | None,
        expires_after: int | None,
        idempotency_key: str | None,
        timeout: float | None,
    ) -> ClientSecretCreated:
        body: dict[str, Any] = {}
        if expires_after is not None:
            body["expires_after"] = _expiry(expires_after)
        if session is not None:
            body["session"] = session
        answer = self._rest.post(
            path, _write(body), harmless=True, idempotency_key=idempotency_key, timeout=timeout
        )
        created = _decode(ClientSecretCreated, answer)
        if not created.value:
            raise answer.error(APIError, "the answer holds no secret")
        return created

    def _beta_session(
        self,
        path: str,
        session: SessionConfig | _Json,
        idempotency_key: str | None,
        timeout: float | None,
    ) -> SessionConfig:
        answer = self._rest.post(
            path, _write(session), harmless=True, idempotency_key=idempotency_key, timeout=timeout
        )
        created = _decode(SessionConfig, answer)
        if not created.client_secret or not created.client_secret.value:
            raise answer.error(APIError, "the answer holds no secret")
        return created


class ClientSecrets(_Names):
    """``client.client_secrets``"""

    def create(
        self,
        *,
        session: SessionConfig | _Json | None = None,
        expires_after: int | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> ClientSecretCreated:
        """Make an ephemeral secret, to give to a browser or a phone in place of your key.

        Args:
            session: Settings of the sessions that it opens; they are ``"realtime"`` ones if it names no
                ``type``.
            expires_after: Seconds that it opens sessions, 10 to 7200; the server's default is 600.
            idempotency_key, timeout: See `rest`.
        """
        settings = None if session is None else _settings(session, "realtime")
        return self._secret("/client_secrets", settings, expires_after, idempotency_key, timeout)


class TranslationClientSecrets(_Names):
    """``client.translations.client_secrets``"""

    def create(
        self,
        model: str | None = None,
        *,
        language: str | None = None,
        session: SessionConfig | _Json | None = None,
        expires_after: int | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> ClientSecretCreated:
        """Make an ephemeral secret that opens translation sessions.

        Args:
            model: For example ``"gpt-realtime-translate"``.
            language: To translate into, for example ``"de"``.
            session: All settings, in place of these two.
            expires_after: Seconds that it opens sessions, 10 to 7200; the server's default is 600.
            idempotency_key, timeout: See `rest`.
        """
        if session is None:
            if not model:
                raise ValueError("translation needs a model")
            session = SessionConfig(model=model)
            if language is not None:
                session.audio = AudioConfig(output=AudioOutputConfig(language=language))
        elif model is not None or language is not None:
            raise TypeError("give session or model and language, not both")
        settings = _settings(session, None)
        return self._secret("/translations/client_secrets", settings, expires_after, idempotency_key, timeout)


class Translations:
    """``client.translations``"""

    def __init__(self, rest: Rest) -> None:
        self.client_secrets = TranslationClientSecrets(rest)


class Sessions(_Names):
    """``client.sessions`` (Beta)"""

    def create(
        self,
        session: SessionConfig | _Json | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **fields: "Unpack[SessionFields]",
    ) -> SessionConfig:
        """Make a session's settings and an ephemeral secret for it, in the older dialect.

        Args:
            session: All settings; or single ones as ``fields``, see `events.SessionConfig`.
            idempotency_key, timeout: See `rest`.

        Returns:
            The settings; ``client_secret`` is in them.
        """
        return self._beta_session("/sessions", _given(session, fields, None), idempotency_key, timeout)


class TranscriptionSessions(_Names):
    """``client.transcription_sessions`` (Beta)"""

    def create(
        self,
        session: SessionConfig | _Json | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **fields: "Unpack[SessionFields]",
    ) -> SessionConfig:
        """The same as `Sessions.create`, for a session that only transcribes."""
        settings = _given(session, fields, None)
        return self._beta_session("/transcription_sessions", settings, idempotency_key, timeout)


class Calls(_Names):
    """``client.calls``: WebRTC calls that you make, and phone calls that a webhook tells you about."""

    def create(
        self,
        sdp: str,
        *,
        session: SessionConfig | _Json | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Call:
        """Make a WebRTC call.

        Args:
            sdp: The offer of the peer connection, which begins with ``v=``.
            session: Settings; leave them out if you call with an ephemeral secret, which has them.
            idempotency_key, timeout: See `rest`.
        """
        if not isinstance(sdp, str):
            raise TypeError(f"sdp: expected a string, got {type(sdp).__name__}")
        if not sdp.startswith("v="):
            raise ValueError("sdp is empty" if not sdp.strip() else "sdp must begin with v=")
        body, content_type = sdp.encode(), _SDP
        if session is not None:
            settings = _write(_settings(session, "realtime"))
            parts = {"sdp": (None, sdp, _SDP), "session": (None, settings, _JSON)}
            body, content_type = encode_multipart_formdata(parts)  # type: ignore[arg-type]  # None = no file
        answer = self._rest.post(
            "/calls", body, content_type, accept=_SDP, idempotency_key=idempotency_key, timeout=timeout
        )
        if not answer.text().lstrip().startswith("v="):
            raise answer.error(APIError, f"the answer is not SDP: {_excerpt(answer)!r}")
        path = answer.headers.get("location", "").partition("?")[0]
        return Call(id=unquote(path.rstrip("/").rpartition("/")[2]), sdp=answer.text())

    def accept(
        self,
        call_id: str,
        *,
        session: SessionConfig | _Json | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **fields: "Unpack[SessionFields]",
    ) -> None:
        """Take a phone call that is ringing; then ``client.connect(call_id=call_id)`` joins its session.

        Args:
            call_id: From the webhook.
            session: All settings; or single ones as ``fields``, see `events.SessionConfig`.  ``type`` is
                filled in.
            idempotency_key, timeout: See `rest`.
        """
        body = _write(_given(session, fields, "realtime"))
        self._rest.post(_call_path(call_id, "accept"), body, idempotency_key=idempotency_key, timeout=timeout)

    def reject(
        self,
        call_id: str,
        status_code: int | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Turn a phone call away that is ringing.

        Args:
            call_id: From the webhook.
            status_code: What the caller is told, 300 to 699, for example 486 (busy); the server's default
                is 603 (decline).
            idempotency_key, timeout: See `rest`.
        """
        if status_code is not None and not 300 <= status_code <= 699:
            raise ValueError("status_code must be a SIP status from 300 to 699")
        body = b"" if status_code is None else _write({"status_code": int(status_code)})
        self._rest.post(_call_path(call_id, "reject"), body, idempotency_key=idempotency_key, timeout=timeout)

    def hangup(
        self, call_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> None:
        """End a call.  One that is over already is a `exceptions.NotFoundError`."""
        self._rest.post(
            _call_path(call_id, "hangup"), harmless=True, idempotency_key=idempotency_key, timeout=timeout
        )

    def refer(
        self,
        call_id: str,
        target_uri: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Transfer a phone call.

        Args:
            call_id: From the webhook.
            target_uri: Where to, for example ``"tel:+14155550123"`` or ``"sip:agent@example.com"``.
            idempotency_key, timeout: See `rest`.
        """
        check_text(target_uri, "target_uri")
        if not _URI.fullmatch(target_uri):
            raise ValueError("target_uri must be like tel:+14155550123 or sip:agent@example.com")
        body = _write({"target_uri": target_uri})
        self._rest.post(_call_path(call_id, "refer"), body, idempotency_key=idempotency_key, timeout=timeout)
