"""Which error of the server is named as the reason of the session's end."""

from collections.abc import Iterable

from ..events import ErrorEvent, RateLimitsUpdated, ResponseDone, ServerEvent
from ..exceptions import is_fatal

__all__ = ["LastError"]


class LastError:
    """Keeps the last error until an event shows that the session went on after it.

    It goes by events and not by the clock, because a session may be silent for long between an error and its
    end, and busy until a moment before the network loses it.

    Attributes:
        event: The error; ``None`` if there was none, or if the session went on.
    """

    def __init__(self) -> None:
        self.event: ErrorEvent | None = None

    def note(self, events: Iterable[ServerEvent]) -> None:
        """Take the next events of the session."""
        for event in events:
            if isinstance(event, ErrorEvent):
                self.event = event
            elif self.event is not None and _went_on(event, self.event):
                self.event = None


def _went_on(event: ServerEvent, error: ErrorEvent) -> bool:
    """Return whether an event shows that an error did not end the session.

    One that only ends or counts what was doesn't.  If the next session would meet the error too, such as a
    used up quota, much may still be under way when it comes, and only a completed response shows it.
    """
    if isinstance(event, ResponseDone):
        return event.response.status == "completed"
    ends = event.type.endswith((".done", ".failed")) or isinstance(event, RateLimitsUpdated)
    return not ends and not is_fatal(error.error)
