"""Webhooks: what OpenAI announces to a web server of yours, for example that a phone call rings.

Anyone who knows your address can post to it, so `unwrap` checks the signature first (the scheme is that of
standardwebhooks.com), and only then reads the body.
"""

import base64
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from .events.codec import parse
from .events.mend import mend
from .exceptions import InvalidWebhookSignature

__all__ = [
    "Headers",
    "IncomingCall",
    "RealtimeCallIncoming",
    "SipHeader",
    "UnknownWebhook",
    "WebhookEvent",
    "sign",
    "unwrap",
]

_log = logging.getLogger("realtime_sync")

_TOLERANCE = 300  # seconds, as the scheme recommends
_PREFIX = "whsec_"
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SECONDS = re.compile(r"[0-9]{1,15}")


# --- Events ----------------------------------------------------------------------------------------


class WebhookEvent(Struct, kw_only=True):
    """Base of the events that webhooks announce.

    Attributes:
        id: OpenAI's id of the event.  The same event is sent again until your server answers with a success.
        created_at: When it happened, in Unix seconds.
    """

    id: str
    created_at: int

    @property
    def type(self) -> str:
        """The wire's ``type``, for example ``"realtime.call.incoming"``."""
        return str(self.__struct_config__.tag)


class SipHeader(Struct, kw_only=True):
    """A line of the SIP INVITE, as the caller's side wrote it.  It is not verified."""

    name: str
    value: str


class IncomingCall(Struct, kw_only=True):
    """A call that rings.

    Attributes:
        call_id: What ``client.calls`` and ``client.connect(call_id=...)`` take.
        sip_headers: Who calls whom, in the order of the INVITE; a name may occur twice.
        sip_media_security: ``"srtp"`` or ``"rtp"`` (not encrypted); ``None`` if it is not known.
    """

    call_id: str
    sip_headers: list[SipHeader]
    sip_media_security: str | None = None

    def header(self, name: str) -> str | None:
        """Return the first SIP header of this name, in any letter case; ``None`` if it is absent."""
        wanted = name.lower()
        return next((header.value for header in self.sip_headers if header.name.lower() == wanted), None)


class RealtimeCallIncoming(WebhookEvent, tag="realtime.call.incoming", kw_only=True):
    """A phone call rings: accept it with ``client.calls.accept``, or reject it."""

    data: IncomingCall


class UnknownWebhook(WebhookEvent, kw_only=True):
    """An event that is not about Realtime, or newer than this version.

    Attributes:
        type: The event's ``type``, or ``""`` if it has none.
        data: The event's ``data`` as plain objects; the whole JSON if that is not an object.
    """

    id: str = ""
    created_at: int = 0
    type: str = ""  # pyright: ignore[reportIncompatibleMethodOverride]  # here it is what came, not the tag
    data: Any = None


class Headers(Protocol):
    """Headers of a request, as web frameworks give them: a mapping, or something like one.

    Names and values are ``str`` or ``bytes``.
    """

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return names and values."""
        ...


# --- In and out -------------------------------------------------------------------------------------


def unwrap(
    body: bytes | str,
    headers: Headers | Iterable[tuple[Any, Any]],
    secret: str | None = None,
    *,
    tolerance: float = _TOLERANCE,
    now: float | None = None,
) -> RealtimeCallIncoming | UnknownWebhook:
    """Check that a webhook is from OpenAI, and read it.

    Args:
        body: The request's body as it came.  JSON that was read and written again has another signature.
        headers: The request's headers, in any letter case: a mapping, or pairs of name and value, as ASGI
            has them.  Names and values are ``str`` or ``bytes``.
        secret: ``whsec_...``, from where the webhook was set up; default: the environment's
            ``OPENAI_WEBHOOK_SECRET``.
        tolerance: Seconds that the signature may be older or newer than now, so that an old webhook can't
            be replayed (default 300).
        now: Unix seconds, for tests; default: this machine's clock.

    Returns:
        A `RealtimeCallIncoming`, or an `UnknownWebhook` for all other events.  Fields that are missing or
        wrong read as their zero, as in `decode`.

    Raises:
        InvalidWebhookSignature: It is unsigned, signed with another secret, changed, too old or too new.
            Answer with status 400.
        ValueError: There is no secret, or it can't be used; or the body is signed, but not JSON.
        TypeError: One of the three headers is neither ``str`` nor ``bytes``, such as a list.
    """
    key = _key(secret)
    raw = _bytes(body)
    _verify(raw, headers, key, tolerance, time.time() if now is None else now)
    try:
        value, _ = parse(raw)
    except RecursionError:
        raise ValueError("the webhook's signature is valid, but its JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the webhook's signature is valid, but its body is not JSON: {error}") from None
    return _event(value)


def sign(
    body: bytes | str,
    secret: str | None = None,
    *,
    webhook_id: str | None = None,
    now: float | None = None,
) -> dict[str, str]:
    """Return the headers with which OpenAI would post a body.  For the tests of your web server.

    Args:
        body: The body that will be posted.
        secret: As for `unwrap`.
        webhook_id: Default: a new one.
        now: When it is sent, in Unix seconds; default: this machine's clock.

    Raises:
        ValueError: There is no secret, or it can't be used.
    """
    webhook_id = webhook_id or f"wh_{secrets.token_hex(16)}"
    timestamp = str(int(time.time() if now is None else now))
    signature = _signature(_key(secret), webhook_id, timestamp, _bytes(body))
    return dict(zip(_HEADERS, (webhook_id, timestamp, f"v1,{signature.decode()}"), strict=True))


def _event(value: Any) -> RealtimeCallIncoming | UnknownWebhook:
    if not isinstance(value, dict):
        return UnknownWebhook(data=value)
    if value.get("type") != RealtimeCallIncoming.__struct_config__.tag:
        return mend(UnknownWebhook, value, _ignore)
    return mend(RealtimeCallIncoming, value, _note)


def _note(path: str, problem: str) -> None:
    """Log a deviation, without the event itself, which holds personal data."""
    _log.warning("a webhook deviates from the specification: realtime.call.incoming%s: %s", path, problem)


def _ignore(path: str, problem: str) -> None:
    """Ignore deviations of an event whose specification is unknown here."""


# --- Signatures -------------------------------------------------------------------------------------


def _key(secret: str | None) -> bytes:
    """Return the bytes to sign with.

    Raises:
        ValueError: The secret is missing, damaged or empty: with an empty one, anyone could sign.
    """
    if secret is None:
        secret = os.environ.get("OPENAI_WEBHOOK_SECRET")
    if not secret:
        raise ValueError("no webhook secret: set OPENAI_WEBHOOK_SECRET, or pass secret=...")
    if not secret.startswith(_PREFIX):
        return _bytes(secret)
    text = secret.removeprefix(_PREFIX).strip()
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("the webhook secret is damaged: after whsec_ it must be base64")
    return key


def _signing_headers(headers: Headers | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Return the headers that the scheme is about, by their names in lower case.

    Raises:
        TypeError: One is no text.
    """
    pairs: Any = getattr(headers, "items", lambda: headers)()
    found = {name: value for key, value in pairs if (name := _text(key).lower()) in _HEADERS}
    for name, value in found.items():
        if not isinstance(value, str | bytes | bytearray | None):
            raise TypeError(f"the header {name}: expected str or bytes, got {type(value).__name__}")
    return {name: _text(value) for name, value in found.items()}


def _text(value: Any) -> str:
    """Return the name or the value of a header as text; ``""`` for what is none."""
    if isinstance(value, bytes | bytearray):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _verify(
    body: bytes, headers: Headers | Iterable[tuple[Any, Any]], key: bytes, tolerance: float, now: float
) -> None:
    """Compare the signature with the expected one.

    Raises:
        InvalidWebhookSignature: They differ; the message quotes neither.
        TypeError: A header is no text.
    """
    found = _signing_headers(headers)
    missing = [name for name in _HEADERS if not found.get(name)]
    if missing:
        raise InvalidWebhookSignature(f"the webhook is not signed: no header {' and no '.join(missing)}")
    webhook_id, timestamp, signatures = (found[name] for name in _HEADERS)
    if not _SECONDS.fullmatch(timestamp):
        raise InvalidWebhookSignature("the webhook's timestamp is not in Unix seconds")
    age = int(now) - int(timestamp)
    if not abs(age) <= tolerance:  # so written, NaN accepts nothing
        verdict = f"too old: signed {age} s ago" if age > 0 else f"too new: signed {-age} s from now"
        raise InvalidWebhookSignature(
            f"the webhook is {verdict}, and {tolerance:g} s are tolerated; is this machine's clock right?"
        )
    ours = [part.removeprefix("v1,") for part in signatures.split() if part.startswith("v1,")]
    if not ours:
        raise InvalidWebhookSignature("the webhook has no signature of version v1")
    expected = _signature(key, webhook_id, timestamp, body)
    if not any(hmac.compare_digest(expected, _bytes(signature)) for signature in ours):
        raise InvalidWebhookSignature(
            "the webhook's signature is wrong: the body was changed or re-serialized, or it was signed with "
            "another secret than yours"
        )


def _signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    signed = b".".join([_bytes(webhook_id), _bytes(timestamp), body])
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _bytes(text: bytes | str) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
