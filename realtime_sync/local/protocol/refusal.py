"""Saying no to the client: an event that can't be obeyed, as the ``error`` event that answers it."""

from typing import Any

from ... import events as ev
from ...events import ServerEvent
from .ids import NEW

__all__ = ["Refused", "described", "missing", "unknown", "unknown_kind"]


class Refused(Exception):
    """The client's event can't be obeyed; nothing has changed."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def event(self, event_id: str | None) -> ServerEvent:
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
    """An exception in words that can be sent: halves of surrogate pairs can't."""
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()


def missing(param: str) -> Refused:
    """A field that must be there is not."""
    return Refused("missing_required_parameter", "a required field is missing", param)


def unknown(param: str) -> Refused:
    """A field that the vocabulary doesn't have."""
    return Refused("unknown_parameter", "there is no such field", param)


def unknown_kind(part: Any, at: str) -> Refused:
    """A part whose ``type`` has no place where it is."""
    return Refused("invalid_value", f"{part.type!r} can't stand here", f"{at}.type")
