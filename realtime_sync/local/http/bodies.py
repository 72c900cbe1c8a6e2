"""What the bodies of HTTP requests hold: fields, how long a secret is valid, a session's settings.

Settings are checked by what checks ``session.update``, and by the protocol that will run them, so that
HTTP and WebSocket reject the same things in the same words.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ... import events as ev
from ...events import SessionConfig
from ...events.codec import Deviation, decode_client
from ..protocol.beta import beta_param, from_beta
from ..protocol.checks import checked
from ..protocol.machine import Protocol
from ..protocol.refusal import Refused, missing, unknown
from .answers import random_id

__all__ = [
    "announced",
    "beta_seconds_of",
    "fields_of",
    "integer_of",
    "kind_of",
    "seconds_of",
    "session_is_the_body",
    "settings_of",
    "value_of",
]

# --- Fields -------------------------------------------------------------------------------------------

_object_decoder = msgspec.json.Decoder(dict[str, Raw])


def fields_of(
    headers: Mapping[str, str], body: bytes, known: Collection[str] | None = None
) -> dict[str, Raw]:
    """The fields of a body, each as it was written.

    Raises:
        Refused: It is no JSON object, or has fields that are not ``known``.
    """
    kind = headers.get("content-type", "").partition(";")[0]
    if kind.strip().lower() != "application/json":
        message = "expected a JSON body, with the header Content-Type: application/json"
        raise Refused("unsupported_content_type", message)
    try:
        fields: dict[str, Raw] = _object_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_json", f"expected a JSON object: {error}") from None
    for name in fields:
        if known is not None and name not in known:
            raise unknown(name)
    return fields


def value_of(raw: Raw) -> Any:
    """A field as plain objects."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_json", str(error)) from None


def integer_of(value: Any, at: str, least: int, most: int) -> int:
    """The value, if it is such a number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused("invalid_type", "expected an integer", at)
    if not least <= value <= most:
        raise Refused("invalid_value", f"expected a number from {least} to {most}, got {value}", at)
    return value


def _object_of(value: Any, at: str, *known: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("invalid_type", "expected an object", at)
    for name in value:
        if name not in known:
            raise unknown(f"{at}.{name}")
    return value


# --- How long a secret is valid -----------------------------------------------------------------------


def seconds_of(expires_after: Raw | None, default: int) -> int:
    """Return the seconds of ``expires_after``."""
    return default if expires_after is None else _span(value_of(expires_after), "expires_after", default)


def beta_seconds_of(client_secret: Raw | None, default: int) -> int:
    """The same in Beta, where it is in the ``client_secret`` of the request, under one of two names.

    By the specification a secret's value and date stand there, which mean nothing in a request.
    """
    if client_secret is None:
        return default
    secret = _object_of(value_of(client_secret), "client_secret", "value", "expires_at", "expires_after")
    for name in ("expires_after", "expires_at"):
        if isinstance(secret.get(name), dict):
            return _span(secret[name], f"client_secret.{name}", default)
    return default


def _span(value: Any, at: str, default: int) -> int:
    span = _object_of(value, at, "anchor", "seconds")
    if span.get("anchor", "created_at") != "created_at":
        raise Refused("invalid_value", "expected 'created_at'", f"{at}.anchor")
    return integer_of(span.get("seconds", default), f"{at}.seconds", 10, 7200)


# --- Sessions -----------------------------------------------------------------------------------------


def settings_of(session: Raw | bytes, event: str = "session.update", dialect: str = "ga") -> SessionConfig:
    """Return a session's settings in GA's shape, from valid JSON; ``event`` is the type of their event.

    Raises:
        Refused: They are not what the specification says; its ``param`` begins with ``session``.
    """
    frame = b'{"type":"%s","session":%s}' % (event.encode(), bytes(session))
    deviations: list[Deviation] = []
    update = checked(decode_client(frame, report=deviations.append), deviations, frame, dialect)
    update = from_beta(update) if dialect == "beta" else update
    assert isinstance(update, ev.SessionUpdate)
    return update.session


def kind_of(settings: SessionConfig, at: str, *known: str) -> str:
    """Return the ``type`` of a session, which must be one of ``known``."""
    if not settings.type:
        raise missing(at)
    if settings.type not in known:
        raise Refused(
            "invalid_value", f"expected {' or '.join(map(repr, known))}, got {settings.type!r:.100}", at
        )
    return settings.type


def announced(kind: str, settings: SessionConfig, dialect: str = "ga") -> SessionConfig:
    """Return the session that these settings (GA) make, as it will be announced.  It has not begun.

    Raises:
        Refused: They make none; its ``param`` begins with ``session``.
    """
    try:
        protocol = Protocol(
            session_type=kind, settings=settings, dialect=dialect, expires_at=0, ids=random_id
        )
    except Refused as refusal:
        param = beta_param(refusal.param) if refusal.param and dialect == "beta" else refusal.param
        raise Refused(refusal.code, str(refusal), param) from None
    opening = protocol.start()[0]
    assert isinstance(opening, ev.SessionCreated | ev.TranscriptionSessionCreated)
    return opening.session


@contextlib.contextmanager
def session_is_the_body() -> Iterator[None]:
    """Name ``voice`` in errors where the checks name ``session.voice``."""
    try:
        yield
    except Refused as refusal:
        param = refusal.param.removeprefix("session.") if refusal.param else None
        raise Refused(refusal.code, str(refusal), param) from None
