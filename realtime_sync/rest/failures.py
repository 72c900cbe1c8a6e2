"""Failed HTTP requests: answers that reject them, lost answers, and whether a retry may help."""

import html
import re
import ssl
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
import urllib3
from msgspec import Struct

from ..events.codec import parse
from ..exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    error_of_status,
    retry_after_of,
    retry_of_status,
)
from ..redaction import Redact, beginning, one_line

__all__ = ["Answer", "Failure", "behind", "excerpt", "lost", "rejection"]

_MOST_KEPT = 65536  # bytes of an answer that an error keeps
_MOST_SHOWN = 200  # characters of an answer that an error shows
_TAGS = re.compile(r"<(?:script|style)\b[^<]*|<[^<>]*>", re.IGNORECASE)
_REJECTED_BY_PROXY = re.compile(r"Tunnel connection failed: 4\d\d")
_REQUEST_IDS = ("x-request-id", "apim-request-id", "x-ms-request-id")  # the latter two are Azure's


class Answer(Struct, frozen=True):
    """An answer, read to its end.  It still holds secrets that the server repeated."""

    status: int
    headers: dict[str, str]
    body: bytes
    redact: Redact

    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def request_id(self) -> str | None:
        """The server's id of the request; ``None`` if it sent none."""
        found = (self.headers.get(name) for name in _REQUEST_IDS)
        return next((self.redact(name) for name in found if name), None)

    def error(self, kind: type[APIError], message: str, **details: Any) -> APIError:
        """Return an error that holds this answer, redacted."""
        return kind(
            self.redact(message),
            status=self.status,
            request_id=self.request_id,
            headers={name: self.redact(value) for name, value in self.headers.items()},
            body=beginning(self.text(), self.redact, _MOST_KEPT).encode()[:_MOST_KEPT],
            **details,
        )


class Failure(Struct, frozen=True):
    """A request that failed.

    Attributes:
        error: What to raise if it is not retried.
        retry: ``"always"`` if nothing was carried out; ``"if_repeatable"`` if that is unknown; ``"never"`` if
            the next request would fail in the same way.
        cause: The cause of the error.
    """

    error: APIError
    retry: Literal["always", "if_repeatable", "never"]
    cause: BaseException | None = None


def behind(error: BaseException) -> list[BaseException]:
    """Return an error and all errors behind it, nearest first: libraries keep them in various places."""
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
    """Return the system's own error if there is one: those of the libraries around it are long-winded."""
    libraries = ("requests", "urllib3")
    own = (error for error in errors if type(error).__module__.partition(".")[0] not in libraries)
    return next(own, errors[0])


def _clean(cause: BaseException, redact: Redact) -> BaseException:
    """Return the error, or one that says the same if it holds what may not be shown."""
    chain = behind(cause)
    for one in chain:
        if isinstance(one, requests.RequestException):
            one.request = one.response = None  # these hold the key
    # The arguments too: an answer that was cut short is one, and is not in the text.
    texts = [text for one in chain for text in (str(one), repr(one), repr(one.args))]
    if all(one_line(text, redact=redact) == text for text in texts):
        return cause
    return OSError(one_line(str(cause), redact=redact))


def lost(error: BaseException, host: str, place: str, timeout: float, redact: Redact) -> Failure:
    """Return the failure that an error of requests means; its own text may hold anything, and is redacted.

    Args:
        error: The error.
        host, place: The server's name; its address, with the proxy on the way there.
        timeout: The timeout of the request, in seconds.
        redact: Redacts the request's secrets in a text.
    """
    errors = behind(error)
    cause = _clean(_root(errors), redact)
    untrusted = next((one for one in errors if isinstance(one, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        text = f"the certificate of {host} was rejected: {redact(untrusted.verify_message)}"
        return Failure(APIConnectionError(text), "never", cause)
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
        reason = f"timed out after {timeout:g} s" if late else reason
        rejected_by_proxy = any(_REJECTED_BY_PROXY.search(str(one)) for one in errors)
        retry: Literal["always", "never"] = "never" if rejected_by_proxy else "always"
        return Failure(kind(f"could not connect to {place}: {reason}"), retry, cause)
    text = f"no answer from {place} within {timeout:g} s" if late else f"no answer from {place}: {reason}"
    return Failure(kind(f"{text}; the request may have been carried out"), "if_repeatable", cause)


def rejection(answer: Answer) -> Failure:
    """Return the failure that an answer other than a success means."""
    status = answer.status
    message, details = _described(answer)
    error = answer.error(
        error_of_status(status), message, retry_after=retry_after_of(answer.headers), **details
    )
    return Failure(error, "never" if error.fatal else retry_of_status(status))


def _described(answer: Answer) -> tuple[str, dict[str, str | None]]:
    """Return the server's error message, and the ``code``, ``type`` and ``param`` of its error."""
    if 300 <= answer.status < 400:
        target = _host_of(answer.redact(answer.headers.get("location", "")))
        return f"the server redirects to {target}, which is not followed", {}
    try:
        body = parse(answer.body)[0]
    except (ValueError, RecursionError):
        return excerpt(answer) or "no explanation", {}
    outer = body if isinstance(body, dict) else {}
    error = outer.get("error", outer)
    if isinstance(error, str):
        error = {**outer, "message": error}
    fields = error if isinstance(error, dict) else {}
    said = fields.get("message") or fields.get("detail")
    details = {name: _text(fields.get(name), answer.redact) for name in ("code", "type", "param")}
    message = said if isinstance(said, str) else None
    return message or details["code"] or details["type"] or excerpt(answer) or "no explanation", details


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or "another path"
    except ValueError:
        return "an invalid address"


def _text(value: Any, redact: Redact) -> str | None:
    """Return a field that should be text; some servers send a number."""
    return redact(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None


def excerpt(answer: Answer) -> str:
    """Return the beginning of an unexpected answer, as readable text even if it is HTML."""
    text = beginning(answer.text(), answer.redact, 20 * _MOST_SHOWN)
    if "html" in answer.headers.get("content-type", "") or text.lstrip()[:1] == "<":
        text = html.unescape(_TAGS.sub(" ", text))
    return " ".join(answer.redact(text).split())[:_MOST_SHOWN]
