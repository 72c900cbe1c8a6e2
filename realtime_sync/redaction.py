"""Redaction: texts without secrets, and without characters that could harm a terminal or a log."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct, structs

__all__ = [
    "HIDDEN",
    "Redact",
    "is_secret_name",
    "one_line",
    "redactor",
    "without",
    "without_credentials",
    "without_secrets",
]

HIDDEN = "***"
"""The text that is shown in place of a secret."""

Redact = Callable[[str], str]
"""A function that returns a text without its secrets."""

# The names of headers and query parameters that carry credentials.  Not Idempotency-Key.
_SECRET_NAME = re.compile(
    r"auth|(?<!idempotency-)key|token|secret|passw|cookie|signature|^sig$", re.IGNORECASE
)
_SHORTEST = 4  # characters of a secret; shorter words occur by chance
_EPHEMERAL = r"\bek_[\w-]+"
# Fields of settings that must not be logged: credentials of MCP servers, and the ephemeral secret.
_CREDENTIALS = re.compile(
    r'"(authorization|headers|client_secret)"\s*:\s*'
    r'(?:"(?:[^"\\]|\\.)*"|\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\})'
)
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_S = TypeVar("_S", bound=Struct)


# --- Secrets -----------------------------------------------------------------------------------------


def is_secret_name(name: str) -> bool:
    """Return whether a header or a query parameter of this name carries a credential."""
    return _SECRET_NAME.search(name) is not None


def redactor(pairs: Iterable[tuple[str, str]]) -> Redact:
    """Return a function that redacts the secrets of a request in a text, in case a server repeats them.

    Args:
        pairs: Names and values of headers and query parameters.  Secrets are the values of those whose
            names say that they carry credentials, and every ephemeral secret.
    """
    found = {text for name, value in pairs if is_secret_name(name) for text in _secrets_of(value)}
    # The longest first, because one may be the beginning of another.
    known = [re.escape(text) for text in sorted(found, key=len, reverse=True)]
    pattern = re.compile("|".join([*known, _EPHEMERAL]))
    return lambda text: pattern.sub(HIDDEN, text)


def _secrets_of(value: str) -> set[str]:
    """Return the secrets in a value, without a scheme or cookie names, in all forms that servers repeat."""
    words = re.split(r"[\s;,]+", value)
    if len(words) > 1 and "=" not in words[0]:
        words = words[1:]  # Bearer, Basic
    words += [word.partition("=")[2] for word in words]
    long = {word for word in words if len(word) >= _SHORTEST}
    return {form for word in long for form in (word, quote(word, safe=""), word.replace("/", r"\/"))}


def without(text: str, secrets: Iterable[str | None]) -> str:
    """Return a text without these secrets, however short they are; absent and empty ones are skipped."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text


def without_secrets(struct: _S, redact: Redact) -> _S:
    """Return a copy of a struct, nested structs included, with the secrets in its texts redacted."""
    changes: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str):
            changes[name] = redact(value)
        elif isinstance(value, Struct):
            changes[name] = without_secrets(value, redact)
    return structs.replace(struct, **changes)


def without_credentials(event: str) -> str:
    """Return an event's JSON without the credentials in its settings."""
    return _CREDENTIALS.sub(rf'"\1":"{HIDDEN}"', event)


# --- Characters --------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Return a peer's text as one line for a log: control characters and line breaks are escaped."""
    return _BREAKS.sub(lambda found: ascii(found[0])[1:-1], text)
