"""HTTP next to the WebSocket: ephemeral secrets, calls, and which client may open which session.

Pure: no socket and no clock, requests come as plain values and the time (Unix seconds) is passed in.
Thread-safe: what is kept between requests is in `Credentials` and `Calls`, which have locks.

Where the specification leaves it open:

* The order of the checks: address (404), key (401), method (405), call (404), body (400).
* A secret opens the session it was made for.  A path, an ``intent`` or a ``model`` that says something
  else is a 400; a ``model`` counts where the secret names none.
* A call rings until it is accepted or rejected, which happens once (400 after that).  Only an accepted
  call can be hung up or transferred (400 before that); a transfer ends it here.  What is over is a 404.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from ... import events as ev
from ...events import SessionConfig
from ..protocol.refusal import Refused, missing
from .answers import Declined, HttpAnswer, accepted, declined
from .bodies import (
    announced,
    beta_seconds_of,
    fields_of,
    integer_of,
    kind_of,
    seconds_of,
    session_is_the_body,
    settings_of,
    value_of,
)
from .credentials import BETA_SUBPROTOCOL, Credentials, Secret, offered_subprotocols
from .hosts import check_hosts, host_names
from .phone_calls import Call, Calls

__all__ = ["MOST_BODY_BYTES", "Admission", "Api"]

MOST_BODY_BYTES = 1024 * 1024
"""The longest body that is read; a longer one is a 413."""

_REALTIME = "/v1/realtime"
_TRANSLATIONS = "/v1/realtime/translations"
_CALLS = "/v1/realtime/calls"
_SECRET_SECONDS = 600
_BETA_SESSION_SECONDS = 60
_DECLINE = 603
"""The SIP status of a call rejected without one."""
_PHONE_URI = re.compile(r"(tel|sips?):\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Admission:
    """A WebSocket that may be opened.

    Attributes:
        session_type: ``"realtime"``, ``"transcription"`` or ``"translation"``.
        model: What the client asks for, or its secret or call does; ``None``: nothing.
        dialect: ``"ga"`` or ``"beta"``.
        settings: What the session begins with (GA): those of its secret or its call.
        call: The call that it listens to; the session ends when that does.
        subprotocol: Which of those offered is chosen.
        sunset: It asked for Beta, which is switched off: open, say so, close.
    """

    session_type: str
    model: str | None = None
    dialect: str = "ga"
    settings: SessionConfig | None = None
    call: Call | None = None
    subprotocol: str | None = None
    sunset: bool = False


@dataclass(frozen=True)
class _Post:
    """A POST that is authorized."""

    headers: Mapping[str, str]
    body: bytes
    now: float


_Handler = Callable[[_Post], Any]


class Api:
    """What the server answers over HTTP, and which WebSockets it accepts.

    Args:
        api_key: The only key that is accepted; ``None`` accepts every client of this machine.
        allowed_hosts: Names of hosts that count as this machine, where there is no key.
        sunset_beta: Whether Beta is answered as OpenAI does now that it is switched off.

    Raises:
        TypeError, ValueError: ``allowed_hosts`` are not names of hosts.
    """

    def __init__(
        self, api_key: str | None, *, allowed_hosts: Iterable[str] = (), sunset_beta: bool = False
    ) -> None:
        self._sunset_beta = sunset_beta
        hosts = host_names(allowed_hosts)
        self._allowed_hosts = None if api_key else hosts
        self._credentials = Credentials(api_key)
        self._calls = Calls()
        self._handlers: dict[str, _Handler] = {
            f"{_REALTIME}/client_secrets": self._create_secret,
            f"{_REALTIME}/sessions": self._create_beta_session,
            f"{_REALTIME}/transcription_sessions": self._create_beta_transcription,
            f"{_TRANSLATIONS}/client_secrets": self._create_translation_secret,
            _CALLS: _refuse_webrtc,
        }

    # --- Calls -------------------------------------------------------------------------------------

    def create_call(self, call_id: str | None = None) -> str:
        """Let a call ring, as if it came by SIP, and return its id (by default ``rtc_...``).

        Raises:
            ValueError: There is a call with this id.
        """
        return self._calls.create(call_id).id

    def call(self, call_id: str) -> Call:
        """Return a call that `create_call` made.

        Raises:
            KeyError: The call is unknown, or was dropped for newer ones.
        """
        try:
            return self._calls.find(call_id)
        except Declined:
            raise KeyError(call_id) from None

    # --- Plain HTTP --------------------------------------------------------------------------------

    def refuse_stranger(self, headers: Mapping[str, str]) -> HttpAnswer | None:
        """Return the answer to a request that a page of another host makes, or that is for another host.

        With a key there are no strangers: it says who may come in.
        """
        try:
            if self._allowed_hosts is not None:
                check_hosts(headers, self._allowed_hosts)
        except Declined as error:
            return declined(error)
        return None

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], read_body: Callable[[], bytes], now: float
    ) -> HttpAnswer:
        """Answer a request.  Never raises for what is in it.

        Args:
            method: In capitals.
            path: Unquoted, without the query.
            headers: With names in lower case.
            read_body: Returns all of the body, or the beginning with more than `MOST_BODY_BYTES`, and may
                raise `Declined`; is called once the client is known to have the key.
            now: Unix seconds.
        """
        try:
            return accepted(self._answer(method, path.rstrip("/"), headers, read_body, now))
        except (Declined, Refused) as error:
            return declined(error)

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], read_body: Callable[[], bytes], now: float
    ) -> Any:
        if path in (_REALTIME, _TRANSLATIONS):
            self._credentials.check_upgrade(headers, now)
            _check_method(method, "GET")
            message = "This address speaks WebSocket only."
            raise Declined(426, "upgrade_required", message, upgrade="websocket")
        handler = self._handler(method, path)
        if path == _CALLS:  # where the real server takes secrets as well
            self._credentials.check_upgrade(headers, now)
        else:
            self._credentials.check_key(headers)
        _check_method(method, "POST")
        body = read_body()
        if len(body) > MOST_BODY_BYTES:
            raise Declined(413, "request_too_large", f"At most {MOST_BODY_BYTES} bytes are accepted.")
        return handler(_Post(headers, body, now))

    def _handler(self, method: str, path: str) -> _Handler:
        if path in self._handlers:
            return self._handlers[path]
        call_id, _, verb = path.removeprefix(f"{_CALLS}/").partition("/")
        if path.startswith(f"{_CALLS}/") and verb in _CALL_HANDLERS:
            return lambda post: _CALL_HANDLERS[verb](self._calls.find(call_id), post)
        raise Declined(404, "unknown_url", f"Invalid URL ({method} {path[:200]})")

    def _create_secret(self, post: _Post) -> Any:
        fields = fields_of(post.headers, post.body, {"expires_after", "session"})
        settings = SessionConfig(type="realtime")
        if "session" in fields:
            settings = settings_of(fields["session"])
        kind = kind_of(settings, "session.type", "realtime", "transcription")
        return self._issued(kind, settings, fields, post)

    def _create_translation_secret(self, post: _Post) -> Any:
        fields = fields_of(post.headers, post.body, {"expires_after", "session"})
        if "session" not in fields:
            raise missing("session")
        settings = settings_of(fields["session"])
        if settings.type is msgspec.UNSET:  # the specification has it in the answer only
            settings.type = "translation"
        kind = kind_of(settings, "session.type", "translation")
        if not settings.model:
            raise missing("session.model")
        return self._issued(kind, settings, fields, post)

    def _issued(self, kind: str, settings: SessionConfig, fields: dict[str, msgspec.Raw], post: _Post) -> Any:
        seconds = seconds_of(fields.get("expires_after"), _SECRET_SECONDS)
        session = announced(kind, settings)
        secret = self._issue(kind, settings, seconds, post)
        return {"value": secret.value, "expires_at": secret.expires_at, "session": session}

    def _issue(self, kind: str, settings: SessionConfig, seconds: int, post: _Post) -> Secret:
        return self._credentials.issue(
            kind, settings, int(post.now) + seconds, now=post.now, size=len(post.body)
        )

    def _create_beta_session(self, post: _Post) -> Any:
        return self._beta_session("realtime", "session.update", _BETA_SESSION_SECONDS, post)

    def _create_beta_transcription(self, post: _Post) -> Any:
        return self._beta_session("transcription", "transcription_session.update", _SECRET_SECONDS, post)

    def _beta_session(self, kind: str, event: str, seconds: int, post: _Post) -> Any:
        """A flat session with its secret in it."""
        if self._sunset_beta:
            raise Refused("beta_api_shape_disabled", "Beta is switched off: use /v1/realtime/client_secrets")
        with session_is_the_body():
            fields = fields_of(post.headers, post.body)
            seconds = beta_seconds_of(fields.pop("client_secret", None), seconds)
            settings = settings_of(msgspec.json.encode(fields), event, "beta")
            session = announced(kind, settings, "beta")
        secret = self._issue(kind, settings, seconds, post)
        shown = ev.ClientSecret(value=secret.value, expires_at=secret.expires_at)
        return structs.replace(session, client_secret=shown)

    # --- WebSocket ---------------------------------------------------------------------------------

    def admit(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
    ) -> Admission | HttpAnswer:
        """Accept a WebSocket, or return why not.  Never raises for what is in the request.

        Args:
            path: Unquoted, without the query.
            query: One value for each name.
            headers: With names in lower case.
            now: Unix seconds.
        """
        try:
            return self._admit(path.rstrip("/"), query, headers, now)
        except (Declined, Refused) as error:
            return declined(error)

    def _admit(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
    ) -> Admission:
        if path not in (_REALTIME, _TRANSLATIONS):
            self._handler("GET", path)
            self._credentials.check_key(headers)
            _check_method("GET", "POST")
        translating = path == _TRANSLATIONS
        secret = self._credentials.check_upgrade(headers, now)
        call = self._call_of(query, secret) if query.get("call_id") and not translating else None
        kind = "translation" if translating else _intended(query)
        settings = None
        if secret is not None:
            kind, settings = _agreed(kind, secret.session_type), secret.settings
        elif call is not None:
            kind, settings = _agreed(kind, "realtime"), call.settings
        beta = _wants_beta(headers)
        return Admission(
            kind,
            _model(settings, query),
            dialect="beta" if beta and not translating else "ga",
            settings=settings,
            call=call,
            subprotocol=_chosen_subprotocol(headers),
            sunset=beta and self._sunset_beta,
        )

    def _call_of(self, query: Mapping[str, str], secret: Secret | None) -> Call:
        if secret is not None:
            raise Refused("invalid_value", "a secret opens its own session; a call takes the key", "call_id")
        return self._calls.accepted(query["call_id"])


def _check_method(method: str, allowed: str) -> None:
    if method != allowed:
        raise Declined(405, "method_not_supported", f"Use {allowed} at this address.", allow=allowed)


# --- Sessions asked for -------------------------------------------------------------------------------


def _intended(query: Mapping[str, str]) -> str:
    return "transcription" if query.get("intent") == "transcription" else "realtime"


def _agreed(asked: str, given: str) -> str:
    """The kind of session that a secret or a call gives, unless the address asks for another."""
    if asked == given or (asked == "realtime" and given == "transcription"):
        return given
    param = "intent" if asked == "transcription" else None
    raise Refused("invalid_value", f"this opens a {given} session, not a {asked} session", param)


def _model(settings: SessionConfig | None, query: Mapping[str, str]) -> str | None:
    asked, given = query.get("model"), _model_of(settings) if settings else None
    if asked and given and asked != given:
        raise Refused("invalid_value", "the session was made for another model", "model")
    return given or asked or None


def _model_of(settings: SessionConfig) -> str | None:
    """The model that settings name; a transcription session has only one that transcribes."""
    if settings.type != "transcription":
        return settings.model or None
    hearing = settings.audio.input if settings.audio else None
    transcription = hearing.transcription if hearing else None
    return (transcription.model if transcription else None) or None


def _wants_beta(headers: Mapping[str, str]) -> bool:
    wanted = [name.strip() for name in headers.get("openai-beta", "").split(",")]
    return "realtime=v1" in wanted or BETA_SUBPROTOCOL in offered_subprotocols(headers)


def _chosen_subprotocol(headers: Mapping[str, str]) -> str | None:
    """Return the subprotocol to choose, which a browser insists on; never the one with the key."""
    offered = offered_subprotocols(headers)
    return next((name for name in ("realtime", BETA_SUBPROTOCOL) if name in offered), None)


# --- Calls --------------------------------------------------------------------------------------------


def _refuse_webrtc(post: _Post) -> Any:
    message = "WebRTC is unsupported: connect by WebSocket, or let a test create calls"
    raise Refused("webrtc_not_supported", message)


def _accept(call: Call, post: _Post) -> Any:
    with session_is_the_body():
        fields_of(post.headers, post.body)
        settings = settings_of(post.body)
        session = announced(kind_of(settings, "type", "realtime"), settings)
    call.accept(settings, session)
    return {}


def _reject(call: Call, post: _Post) -> Any:
    fields = fields_of(post.headers, post.body, {"status_code"}) if post.body else {}
    status = _DECLINE
    if "status_code" in fields:
        status = integer_of(value_of(fields["status_code"]), "status_code", 300, 699)
    call.reject(status)
    return {}


def _hang_up(call: Call, post: _Post) -> Any:
    call.hang_up_accepted()
    return {}


def _refer(call: Call, post: _Post) -> Any:
    fields = fields_of(post.headers, post.body, {"target_uri"})
    if "target_uri" not in fields:
        raise missing("target_uri")
    target = value_of(fields["target_uri"])
    if not isinstance(target, str):
        raise Refused("invalid_type", "expected a string", "target_uri")
    if not _PHONE_URI.fullmatch(target):
        raise Refused("invalid_value", "expected a URI like 'tel:+14155550123'", "target_uri")
    call.refer(target)
    return {}


_CALL_HANDLERS: dict[str, Callable[[Call, _Post], Any]] = {
    "accept": _accept,
    "reject": _reject,
    "hangup": _hang_up,
    "refer": _refer,
}
