"""The errors that this package raises, beside the builtin `ValueError`, `TypeError`, `TimeoutError`."""

from collections.abc import Mapping, Sequence
from typing import Any

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
]


class RealtimeError(Exception):
    """Base of all errors of this package."""


class ConnectionFailed(RealtimeError):
    """No session came about: the server could not be reached, or refused.

    Attributes:
        status: HTTP status of the answer, or ``None`` if there was none.
        headers: Headers of the answer, names in lower case.
        body: The answer's first 64 KiB.
        error: The `events.ErrorDetails` that the server gave in place of a session, or ``None``.
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


# Close codes after which a new connection may do better: going away, lost, server trouble.
_RETRYABLE_CODES = {1001, 1006, 1011, 1012, 1013, 1014}
# Errors that the next connection would meet again.
_FATAL_ERRORS = {
    "account_deactivated",
    "beta_api_shape_disabled",
    "billing_hard_limit_reached",
    "insufficient_quota",
    "invalid_api_key",
}


class ConnectionClosed(RealtimeError):
    """The session is over.  Raised once all queued events were taken, and by every later call.

    Attributes:
        code: WebSocket close code; 1005 if the server gave none, 1006 if the connection was lost.
        reason: The reason given with the code, often ``""``.
        clean: Whether both sides said goodbye (a completed closing handshake).
        by: Who ended it: ``"client"``, ``"server"`` or ``"network"``.
        last_error: The server's last `ErrorEvent`, or ``None``; often the true reason.
        unsent: The client events that were given to `Session.send` and surely not sent, in order.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        clean: bool,
        by: str = "network",
        last_error: Any = None,
        unsent: Sequence[Any] = (),
    ) -> None:
        self.code = code
        self.reason = reason
        self.clean = clean
        self.by = by
        self.last_error = last_error
        self.unsent = tuple(unsent)
        super().__init__(code, reason)

    @property
    def retryable(self) -> bool:
        """Whether connecting anew may help: not after a normal closure, a fault, or a fatal error."""
        fatal = self.last_error is not None and self.last_error.error.code in _FATAL_ERRORS
        return self.code in _RETRYABLE_CODES and not fatal

    def __str__(self) -> str:
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
        return text


class ProtocolError(RealtimeError):
    """The server broke the WebSocket protocol.  The cause of a `ConnectionClosed`.

    Attributes:
        code: The close code that it was answered with: 1002 (protocol), 1007 (text), 1009 (size).
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidWebhookSignature(RealtimeError):
    """A webhook can't be trusted: it is unsigned, signed with another secret, changed, too old or too new.

    The text says which, and quotes neither the secret nor a signature.
    """


# --- HTTP -------------------------------------------------------------------------------------------


class APIError(RealtimeError):
    """An HTTP request came to nothing.  The subclass tells what kind of failure it was.

    Attributes:
        message: What the server said, or what went wrong.
        status: HTTP status of the answer, or ``None`` if there was none.
        code, type, param: What the server named them, or ``None``; ``param`` is the field at fault.
        request_id: The server's name for the request, which its support asks for; or ``None``.
        headers: Headers of the answer, names in lower case.
        body: The answer's first 64 KiB.
        retry_after: Seconds to wait before trying again, if the server said so; else ``None``.
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
        """Whether the next request would meet the same: no quota, no such key."""
        return self.code in _FATAL_ERRORS or self.type in _FATAL_ERRORS

    def __str__(self) -> str:
        text = self.message if self.status is None else f"HTTP {self.status}: {self.message}"
        details = [f"code {self.code}"] if self.code else []
        if self.param and self.param not in self.message:
            details.append(f"param {self.param}")
        if self.retry_after is not None:
            details.append(f"try again in {self.retry_after:g} s")
        if self.request_id:
            details.append(f"request {self.request_id}")
        return f"{text} ({', '.join(details)})" if details else text


class BadRequestError(APIError):
    """400, 422: the request is not as it should be.  ``param`` names the field, if the server knows it."""


class AuthenticationError(APIError):
    """401: no key, or a wrong one."""


class PermissionDeniedError(APIError):
    """403: the key may not do this."""


class NotFoundError(APIError):
    """404: no such address, call or model; a call that is over is not found either."""


class ConflictError(APIError):
    """409: something else is being done to the same thing."""


class RateLimitError(APIError):
    """429: too many requests, or the quota is used up.  ``retry_after`` says when to come back."""


class ServerError(APIError):
    """5xx: trouble on the server's side."""


class APIConnectionError(APIError):
    """There was no answer.  The text says if the request may have been carried out all the same."""


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
    """The class of error for an HTTP status."""
    return ServerError if status >= 500 else _BY_STATUS.get(status, APIError)
