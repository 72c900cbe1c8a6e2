"""The errors that this package raises, beside the builtin `ValueError`, `TypeError`, `TimeoutError`."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["ConnectionClosed", "ConnectionFailed", "ProtocolError", "RealtimeError"]


class RealtimeError(Exception):
    """Base of all errors of this package."""


class ConnectionFailed(RealtimeError):
    """No session came about: the server could not be reached, or refused.

    Attributes:
        status: HTTP status of the answer, or ``None`` if there was none.
        headers: Headers of the answer, names in lower case.
        body: The answer's first 64 KiB.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body


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
