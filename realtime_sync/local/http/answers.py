"""What a plain HTTP request is answered with, errors in OpenAI's JSON shape."""

import secrets
from dataclasses import dataclass
from typing import Any

import msgspec

from ..protocol.refusal import Refused

__all__ = ["Declined", "HttpAnswer", "accepted", "declined", "random_id"]

_VERSION = "2020-10-01"
"""What the real server sends in ``openai-version``; clients log it."""


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer: status, headers (names in lower case), JSON.  The sender adds its length."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Declined(Exception):
    """A request is answered with an error other than 400, or with headers of its own."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = headers


def accepted(payload: Any) -> HttpAnswer:
    """Return a 200 with this as JSON."""
    return _answer(200, payload, {})


def declined(error: Declined | Refused) -> HttpAnswer:
    """Return the error in OpenAI's shape; a field that is wrong is a 400."""
    where = f" ({error.param})" if error.param else ""
    details = {
        "message": _sendable(f"{error}{where}"),
        "type": "invalid_request_error",
        "param": error.param and _sendable(error.param),
        "code": error.code,
    }
    if isinstance(error, Declined):
        return _answer(error.status, {"error": details}, error.headers)
    return _answer(400, {"error": details}, {})


def random_id(prefix: str) -> str:
    """Return ``prefix_`` and 24 random hexadecimal digits that can't be guessed."""
    return f"{prefix}_{secrets.token_hex(12)}"


def _answer(status: int, payload: Any, headers: dict[str, str]) -> HttpAnswer:
    own = {"content-type": "application/json", "openai-version": _VERSION, "x-request-id": random_id("req")}
    made = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HttpAnswer(status, list(made.items()), msgspec.json.encode(payload))


def _sendable(text: str) -> str:
    """Return the text without halves of surrogate pairs, which UTF-8 can't encode."""
    return text.encode(errors="replace").decode()
