"""The resources of the HTTP half: ephemeral secrets and calls.

`requester` says when a request is retried.  All methods raise:

* `exceptions.APIError`, and its subclass for the status: the server rejected the request, or its answer
  can't be used;
* `exceptions.APIConnectionError`, `exceptions.APITimeoutError`: there was no answer;
* `ValueError`, `TypeError`: an argument can't be sent; nothing was sent.

Their common arguments:

* ``idempotency_key``: Your name for this request (see `requester`); one is made if missing.
* ``timeout``: Seconds that one try may take, from looking up the server's name to the end of its answer;
  default: that of the client.
"""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

import msgspec
from msgspec import UNSET, Struct, structs
from urllib3.filepost import encode_multipart_formdata

from ..endpoint import check_text
from ..events import AudioConfig, AudioOutputConfig, SessionConfig
from ..events.codec import parse, plain
from ..events.fields import SessionFields, session_config
from ..events.mend import mend
from ..exceptions import APIError
from .failures import Answer, excerpt
from .requester import Requester

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

_JSON = "application/json"
_SDP = "application/sdp"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")

_encoder = msgspec.json.Encoder(enc_hook=plain)

_Json = Mapping[str, Any]
_S = TypeVar("_S", bound=Struct)


# --- What the calls return --------------------------------------------------------------------------


class ClientSecretCreated(Struct, kw_only=True):
    """A new ephemeral secret.

    Attributes:
        value: The secret (``ek_...``); it is not in the repr.
        expires_at: When it stops opening sessions, in Unix seconds.
        session: The settings of the sessions that it opens.
    """

    value: str
    expires_at: int
    session: SessionConfig

    def __repr__(self) -> str:
        return f"ClientSecretCreated(value='***', expires_at={self.expires_at}, session={self.session!r})"


class Call(Struct, kw_only=True, frozen=True):
    """A WebRTC call that the server has accepted.

    Attributes:
        id: For `Calls.hangup` and ``connect(call_id=...)``; ``""`` if the server sent none.
        sdp: The server's answer, to set as the remote description.
    """

    id: str
    sdp: str


# --- Answers to structs -----------------------------------------------------------------------------

_reported: set[tuple[str, str, str]] = set()
"""The deviations that were logged: each is logged once."""


def _decode(cls: type[_S], answer: Answer) -> _S:
    """Return the answer as a struct, keeping the fields that fit, as `codec.decode` does.

    Raises:
        APIError: It is not a JSON object.
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
        shown = excerpt(answer)
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
    """Return a session's settings, with this ``type`` if they have none."""
    if isinstance(session, SessionConfig):
        return structs.replace(session, type=kind) if kind and session.type is UNSET else session
    if isinstance(session, Mapping):
        return {"type": kind, **session} if kind else dict(session)
    raise TypeError(f"expected a SessionConfig or a dict, got {type(session).__name__}")


def _given(session: SessionConfig | _Json | None, fields: Any, kind: str | None) -> SessionConfig | _Json:
    """Return a session's settings, given as one object or as single fields.

    Raises:
        TypeError: They are given in both ways, or there is no such setting.
    """
    if session is not None and fields:
        raise TypeError("give session or single settings, not both")
    return _settings(session_config(fields) if session is None else session, kind)


def _expiry(seconds: int) -> dict[str, Any]:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError(f"expires_after: expected whole seconds, got {type(seconds).__name__}")
    if not 10 <= seconds <= 7200:
        raise ValueError(f"expires_after must be 10 to 7200 seconds, got {seconds}")
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
    """A namespace of methods that send requests."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

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
        answer = self._requester.post(
            path, _write(body), harmless=True, idempotency_key=idempotency_key, timeout=timeout
        )
        created = _decode(ClientSecretCreated, answer)
        if not created.value:
            raise answer.error(APIError, "the answer has no client secret")
        return created

    def _beta_session(
        self,
        path: str,
        session: SessionConfig | _Json,
        idempotency_key: str | None,
        timeout: float | None,
    ) -> SessionConfig:
        answer = self._requester.post(
            path, _write(session), harmless=True, idempotency_key=idempotency_key, timeout=timeout
        )
        created = _decode(SessionConfig, answer)
        if not created.client_secret or not created.client_secret.value:
            raise answer.error(APIError, "the answer has no client secret")
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
        """Create an ephemeral secret, to give to a browser or a phone in place of your key.

        Args:
            session: Settings of the sessions that it opens; their ``type`` is ``"realtime"`` by default.
            expires_after: Seconds during which it opens sessions, 10 to 7200; the server's default is 600.
            idempotency_key, timeout: As of all requests: see `resources`.
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
        """Create an ephemeral secret that opens translation sessions.

        Args:
            model: For example ``"gpt-realtime-translate"``.
            language: The language to translate into, for example ``"de"``.
            session: All settings, in place of ``model`` and ``language``.
            expires_after: Seconds during which it opens sessions, 10 to 7200; the server's default is 600.
            idempotency_key, timeout: As of all requests: see `resources`.
        """
        if session is None:
            if not model:
                raise ValueError("a translation session needs a model")
            session = SessionConfig(model=model)
            if language is not None:
                session.audio = AudioConfig(output=AudioOutputConfig(language=language))
        elif model is not None or language is not None:
            raise TypeError("give session, or model and language, not both")
        settings = _settings(session, None)
        return self._secret("/translations/client_secrets", settings, expires_after, idempotency_key, timeout)


class Translations:
    """``client.translations``"""

    def __init__(self, requester: Requester) -> None:
        self.client_secrets = TranslationClientSecrets(requester)


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
        """Create an ephemeral secret for a session with these settings, in the Beta dialect.

        Args:
            session: All settings; or single ones as ``fields``, see `events.SessionConfig`.
            idempotency_key, timeout: As of all requests: see `resources`.

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
    """``client.calls``: WebRTC calls that you make, and phone calls that a webhook announces."""

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
            session: Settings; leave them out with an ephemeral secret, which has settings of its own.
            idempotency_key, timeout: As of all requests: see `resources`.
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
        answer = self._requester.post(
            "/calls", body, content_type, accept=_SDP, idempotency_key=idempotency_key, timeout=timeout
        )
        if not answer.text().lstrip().startswith("v="):
            raise answer.error(APIError, f"the answer is not SDP: {excerpt(answer)!r}")
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
        """Accept a ringing phone call; then ``client.connect(call_id=call_id)`` joins its session.

        Args:
            call_id: From the webhook.
            session: All settings; or single ones as ``fields``, see `events.SessionConfig`.  ``type`` is
                filled in.
            idempotency_key, timeout: As of all requests: see `resources`.
        """
        body = _write(_given(session, fields, "realtime"))
        self._requester.post(
            _call_path(call_id, "accept"), body, idempotency_key=idempotency_key, timeout=timeout
        )

    def reject(
        self,
        call_id: str,
        status_code: int | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Reject a ringing phone call.

        Args:
            call_id: From the webhook.
            status_code: The SIP status that the caller gets, 300 to 699, for example 486 (busy); the
                server's default is 603 (decline).
            idempotency_key, timeout: As of all requests: see `resources`.
        """
        if status_code is not None and not 300 <= status_code <= 699:
            raise ValueError(f"status_code must be a SIP status from 300 to 699, got {status_code}")
        body = b"" if status_code is None else _write({"status_code": int(status_code)})
        self._requester.post(
            _call_path(call_id, "reject"), body, idempotency_key=idempotency_key, timeout=timeout
        )

    def hangup(
        self, call_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> None:
        """End a call.

        Args:
            call_id: From the webhook, or of the `Call`.
            idempotency_key, timeout: As of all requests: see `resources`.

        Raises:
            exceptions.NotFoundError: The call is over already.
        """
        self._requester.post(
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
            target_uri: The target, for example ``"tel:+14155550123"`` or ``"sip:agent@example.com"``.
            idempotency_key, timeout: As of all requests: see `resources`.
        """
        check_text(target_uri, "target_uri")
        if not _URI.fullmatch(target_uri):
            raise ValueError("target_uri must be like tel:+14155550123 or sip:agent@example.com")
        body = _write({"target_uri": target_uri})
        self._requester.post(
            _call_path(call_id, "refer"), body, idempotency_key=idempotency_key, timeout=timeout
        )


class Rest:
    """The resources of one client, by the names of their paths."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self.client_secrets = ClientSecrets(requester)
        self.calls = Calls(requester)
        self.sessions = Sessions(requester)
        self.transcription_sessions = TranscriptionSessions(requester)
        self.translations = Translations(requester)

    def close(self) -> None:
        """Close the connections.  The next request opens new ones."""
        self._requester.close()
