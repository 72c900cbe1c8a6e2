"""Rejecting an event of the client: why, and the ``error`` event that answers it."""

from typing import Any

from ... import events as ev
from ...events import ServerEvent
from .ids import NEW

__all__ = ["Refused", "described", "missing", "unknown", "unknown_kind"]


class Refused(Exception):
    """The client's event is rejected; nothing has changed.

    Args:
        code: Of the error, for example ``"invalid_value"``.
        message: What was expected, and what came.
        param: The path to the field that is wrong.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def event(self, event_id: str | None) -> ServerEvent:
        """Return the ``error`` event for the client's event with this id."""
        where = f" ({self.param})" if self.param else ""
        error = ev.ErrorDetails(
            type="invalid_request_error",
            code=self.code,
            message=f"{self}{where}",
            param=self.param,
            event_id=event_id,
        )
        return ev.ErrorEvent(event_id=NEW, error=error)


def described(error: BaseException) -> str:
    """Return an exception in words that can be sent: halves of surrogate pairs can't."""
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()


def missing(param: str) -> Refused:
    """Return the rejection for a required field that is missing."""
    return Refused("missing_required_parameter", "missing required field", param)


def unknown(param: str) -> Refused:
    """Return the rejection for an unknown field."""
    return Refused("unknown_parameter", "unknown field", param)


def unknown_kind(part: Any, at: str) -> Refused:
    """Return the rejection for a part whose ``type`` is not allowed where it is."""
    return Refused("invalid_value", f"type {part.type!r} is not allowed here", f"{at}.type")
