"""Who is authorized: the API key, and the ephemeral secrets (``ek_...``) made with it."""

import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ...events import SessionConfig
from .answers import Declined

__all__ = ["BETA_SUBPROTOCOL", "Credentials", "Secret", "offered_subprotocols"]

BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
"""How browsers, which can't set headers, ask for the Beta dialect."""
_KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""What stands before a browser's key in the list of subprotocols."""
_PREFIX = "ek_"
_MOST_SECRETS = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_REMEMBERED_SECONDS = 3600
"""How long an expired secret is still known, so that its bearer learns why it is rejected."""


@dataclass(frozen=True)
class Secret:
    """An ephemeral secret and the session that it opens.

    Attributes:
        expires_at: Unix seconds; from then on it opens no session.
        session_type: ``"realtime"``, ``"transcription"`` or ``"translation"``.
        settings: The session's settings (GA), those that were given.
        size: Bytes of the request that made it.
    """

    value: str
    expires_at: int
    session_type: str
    settings: SessionConfig
    size: int = 0

    def __repr__(self) -> str:
        return f"Secret(expires_at={self.expires_at}, session_type={self.session_type!r})"


class Credentials:
    """The API key (``None``: every client is accepted) and the secrets in use."""

    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key
        # Guards the secrets, which the threads of all connections use.
        self._lock = threading.Lock()
        self._secrets: dict[str, Secret] = {}
        self._bytes = 0

    def issue(
        self, session_type: str, settings: SessionConfig, expires_at: int, now: float, size: int = 0
    ) -> Secret:
        """Make a secret.  The oldest are dropped when there are too many."""
        secret = Secret(_PREFIX + secrets.token_hex(16), expires_at, session_type, settings, size)
        with self._lock:
            self._secrets[secret.value] = secret
            self._bytes += size
            self._tidy(now)
        return secret

    def _tidy(self, now: float) -> None:
        """Drop the oldest while it is long expired, or there are too many."""
        while self._secrets:
            oldest = next(iter(self._secrets.values()))
            past = oldest.expires_at + _REMEMBERED_SECONDS <= now
            if not past and len(self._secrets) <= _MOST_SECRETS and self._bytes <= _MOST_BYTES:
                return
            del self._secrets[oldest.value]
            self._bytes -= oldest.size

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Authorize a request with the key.  Secrets open sessions and nothing else.

        Raises:
            Declined: 401.
        """
        given = _bearer(headers)
        if self._is_key(given):
            return
        if given.startswith(_PREFIX):
            raise _unauthorized("An ephemeral secret opens sessions; this request needs the API key.")
        self._check_open(given)

    def check_upgrade(self, headers: Mapping[str, str], now: float) -> Secret | None:
        """Authorize a WebSocket with the key (returns ``None``), or with a secret, which is returned.

        A secret that has expired or was never issued is rejected also where no key is required.

        Raises:
            Declined: 401.
        """
        given = _bearer(headers) if "authorization" in headers else _offered_key(headers)
        if self._is_key(given):
            return None
        if given.startswith(_PREFIX):
            return self._valid(given, now)
        self._check_open(given)
        return None

    def _is_key(self, given: str) -> bool:
        if self._api_key is None:
            return False
        return hmac.compare_digest(_bytes(given), _bytes(self._api_key))

    def _valid(self, value: str, now: float) -> Secret:
        with self._lock:
            secret = self._secrets.get(value)
        if secret is None:
            raise _unauthorized("This ephemeral secret was not issued by this server, or long ago.")
        if now >= secret.expires_at:
            message = f"This ephemeral secret has expired: it was valid until {secret.expires_at}."
            raise _unauthorized(message, "client_secret_expired")
        return secret

    def _check_open(self, given: str) -> None:
        if self._api_key is not None:
            raise _unauthorized("Incorrect API key." if given else "No API key was given.")


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """Return what the client offers in ``Sec-WebSocket-Protocol``."""
    return [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _offered_key(headers: Mapping[str, str]) -> str:
    for name in offered_subprotocols(headers):
        if name.startswith(_KEY_SUBPROTOCOL):
            return name.removeprefix(_KEY_SUBPROTOCOL)
    return ""


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _unauthorized(message: str, code: str = "invalid_api_key") -> Declined:
    return Declined(401, code, message, www_authenticate='Bearer realm="OpenAI API"')
