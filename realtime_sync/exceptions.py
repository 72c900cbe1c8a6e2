"""The errors that this package raises, and the rules that say after which of them a retry may help.

* `RealtimeError`

  * `ConnectionFailed`: the session could not be opened.
  * `ConnectionClosed`: the session is over.
  * `ProtocolError`: the server broke the WebSocket protocol; the cause of a `ConnectionClosed`.
  * `InvalidWebhookSignature`: a webhook can't be trusted.
  * `APIError`: an HTTP request failed.

    * `BadRequestError` (400, 422)
    * `AuthenticationError` (401)
    * `PermissionDeniedError` (403)
    * `NotFoundError` (404)
    * `ConflictError` (409)
    * `RateLimitError` (429)
    * `ServerError` (5xx)
    * `APIConnectionError`: there was no answer.

      * `APITimeoutError`: there was no answer in time.

What ``str()`` and ``repr()`` show of them, and so a traceback, is one line of at most 2,000 characters,
without secrets and control characters, whatever a server said.  Their attributes hold what came, without
the secrets.

Wrong arguments raise the builtin `ValueError` and `TypeError`, and waits that end without what they waited
for the builtin `TimeoutError`.
"""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .redaction import one_line

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "ConnectionClosed",
    "ConnectionFailed",
    "InvalidWebhookSignature",
    "NotFoundError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RealtimeError",
    "ServerError",
    "error_of_status",
    "is_fatal",
    "retry_after_of",
    "retry_of_status",
]


# --- When a retry may help --------------------------------------------------------------------------

# The one place for these rules.  `ConnectionClosed.retryable` is decided by the first two tables; whether the
# HTTP half sends a request again, by the second and the third.

# WebSocket close codes after which a new connection may succeed.
_RETRYABLE_CODES = {
    1001,  # going away
    1006,  # connection lost
    1011,  # internal error of the server
    1012,  # service restart
    1013,  # try again later
    1014,  # bad gateway
}
# Codes and types of errors that the next connection or request would meet again.
_FATAL_ERRORS = {
    "account_deactivated",
    "beta_api_shape_disabled",
    "billing_hard_limit_reached",
    "insufficient_quota",
    "invalid_api_key",
}
# HTTP statuses below 500 after which a request may be sent again; all from 500 on are as 408 is.
_RETRYABLE_STATUSES: dict[int, Literal["always", "if_repeatable"]] = {
    408: "if_repeatable",  # timeout: the request may have been carried out
    409: "if_repeatable",  # conflict
    429: "always",  # too many requests: rejected before anything was done
}


def is_fatal(error: Any) -> bool:
    """Return whether the next connection or request would meet an error with these ``code`` and ``type``."""
    return not _FATAL_ERRORS.isdisjoint((error.code, error.type))


def retry_of_status(status: int) -> Literal["always", "if_repeatable", "never"]:
    """Return whether a request that was answered with an HTTP status may be sent again.

    ``"if_repeatable"`` is for requests that do no harm when they are carried out twice.
    """
    return "if_repeatable" if status >= 500 else _RETRYABLE_STATUSES.get(status, "never")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait; ``None`` if it doesn't, or if that is malformed.

    Args:
        headers: Those of its answer, names in lower case.
    """
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        seconds = _number(headers.get("retry-after"))
    if seconds is None and (date := headers.get("retry-after")):
        from email.utils import parsedate_to_datetime  # only here: it loads slowly, and is seldom needed

        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    return seconds


def _number(text: str | None, unit: float = 1.0) -> float | None:
    try:
        number = float(text or "") * unit
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


# --- Sessions ---------------------------------------------------------------------------------------

_LONGEST_SAID = 1500  # characters of a server's text in that of an error, so that there is room for the rest
_LONGEST_NAME = 100  # the same, of a code, a field or an id


class RealtimeError(Exception):
    """Base of all errors of this package."""

    def _text(self) -> str:
        """Return what `str` shows, before it is made fit to be shown."""
        return super().__str__()

    def __str__(self) -> str:
        return one_line(self._text())

    def __repr__(self) -> str:
        return one_line(f"{type(self).__name__}({str(self)!r})")


class ConnectionFailed(RealtimeError):
    """The session could not be opened: the server could not be reached, or rejected it.

    Attributes:
        status: HTTP status of the server's answer; ``None`` if there was no answer.
        headers: Headers of the answer, names in lower case.
        body: The answer's first 64 KiB.
        error: The `events.ErrorDetails` that the server sent in place of ``session.created``, or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        error: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        self.error = error

    @property
    def retryable(self) -> bool:
        """Whether another attempt may succeed: not if the server rejected the request or the key."""
        if self.error is not None:
            return not is_fatal(self.error)
        return self.status is None or retry_of_status(self.status) != "never"

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait before another attempt; ``None`` if it doesn't."""
        return retry_after_of(self.headers)


class ConnectionClosed(RealtimeError):
    """The session is over.  Raised once all queued events were taken, and by every later call.

    Attributes:
        code: WebSocket close code; 1005 if the server gave none, 1006 if the connection was lost.
        reason: The reason given with the code, often ``""``.
        clean: Whether the closing handshake was completed: both sides sent a close frame.
        by: Who ended it: ``"client"``, ``"server"`` or ``"network"``.
        last_error: The `ErrorEvent` that came last, often the true reason; ``None`` if there was none, or if
            the session went on after it.  Events that only end or count what was (``….done``, ``….failed``,
            a response that isn't completed, ``rate_limits.updated``) don't show that it went on.  After an
            error that the next session would meet too, such as a used up quota, only a completed response
            shows it.
        unsent: The client events that were given to `Session.send` and surely not sent, in order.
        attempts: Why each attempt to make another connection failed, in order; empty if none was made.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        clean: bool = False,
        by: str = "network",
        last_error: Any = None,
        unsent: Sequence[Any] = (),
        attempts: Sequence[RealtimeError] = (),
    ) -> None:
        self.code = code
        self.reason = reason
        self.clean = clean
        self.by = by
        self.last_error = last_error
        self.unsent = tuple(unsent)
        self.attempts = tuple(attempts)
        super().__init__(code, reason)

    @property
    def retryable(self) -> bool:
        """Whether a new connection may succeed: not after a normal closure, a fault, or a fatal error."""
        fatal = self.last_error is not None and is_fatal(self.last_error.error)
        return self.code in _RETRYABLE_CODES and not fatal

    def _text(self) -> str:
        text = f"session closed by the {self.by} with code {self.code}"
        if self.code == 1006:
            text = "the connection was lost (code 1006)"
        if self.reason:
            text += f": {self.reason}"
        elif self.code == 1006 and self.__cause__ is not None:
            text += f": {self.__cause__}"
        if self.last_error is not None:
            error = self.last_error.error
            text += f"; the server's last error: {error.message or error.code or error.type}"
        if self.attempts:
            text += f"; {len(self.attempts)} attempts to reconnect failed, the last one: {self.attempts[-1]}"
        return text


class ProtocolError(RealtimeError):
    """The server broke the WebSocket protocol.  The cause of a `ConnectionClosed`.

    Attributes:
        code: The close code of our answer: 1002 (protocol error), 1007 (invalid text), 1009 (too big).
        message: What is wrong.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def _text(self) -> str:
        return self.message


class InvalidWebhookSignature(RealtimeError):
    """A webhook can't be trusted: it is unsigned, signed with another secret, changed, too old or too new.

    The message says which, and quotes neither the secret nor a signature.
    """


# --- HTTP -------------------------------------------------------------------------------------------


class APIError(RealtimeError):
    """An HTTP request failed.  The subclass says how.

    Attributes:
        message: The server's own message, or what went wrong.
        status: HTTP status of the answer; ``None`` if there was no answer.
        code, type, param: From the server's error, or ``None``; ``param`` is the field at fault.
        request_id: The server's id of the request, which its support asks for; or ``None``.
        headers: Headers of the answer, names in lower case.
        body: The answer's first 64 KiB.
        retry_after: Seconds that the server asks to wait before a retry; ``None`` if it doesn't.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,  # noqa: A002  # the wire's name
        param: str | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.request_id = request_id
        self.headers = dict(headers or {})
        self.body = body
        self.retry_after = retry_after

    @property
    def fatal(self) -> bool:
        """Whether the next request would fail in the same way, for example without quota."""
        return is_fatal(self)

    def _text(self) -> str:
        message = one_line(self.message, _LONGEST_SAID)
        text = message if self.status is None else f"HTTP {self.status}: {message}"
        details = [f"code {_name(self.code)}"] if self.code else []
        if self.param and self.param not in self.message:
            details.append(f"param {_name(self.param)}")
        if self.retry_after is not None:
            details.append(f"try again in {self.retry_after:g} s")
        if self.request_id:
            details.append(f"request {_name(self.request_id)}")
        return f"{text} ({', '.join(details)})" if details else text


def _name(text: str) -> str:
    """Return a code, a field or an id for the text of an error."""
    return one_line(text, _LONGEST_NAME)


class BadRequestError(APIError):
    """400, 422: the request is invalid.  ``param`` names the field at fault, if the server says so."""


class AuthenticationError(APIError):
    """401: the key is missing or wrong."""


class PermissionDeniedError(APIError):
    """403: the key may not do this."""


class NotFoundError(APIError):
    """404: the address, call or model does not exist; a call that is over does not exist any more."""


class ConflictError(APIError):
    """409: another request is changing the same object."""


class RateLimitError(APIError):
    """429: too many requests, or the quota is used up.  ``retry_after`` says how long to wait."""


class ServerError(APIError):
    """5xx: the server failed."""


class APIConnectionError(APIError):
    """There was no answer.  The message says whether the request may have been carried out."""


class APITimeoutError(APIConnectionError):
    """There was no answer in time."""


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: BadRequestError,
    429: RateLimitError,
}


def error_of_status(status: int) -> type[APIError]:
    """Return the class of error for an HTTP status."""
    return ServerError if status >= 500 else _BY_STATUS.get(status, APIError)
