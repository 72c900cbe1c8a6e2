"""A connection for a `Gate` whose test carries the events itself."""

from typing import Any

from realtime_sync.session.line import Line


def no_line() -> Line:
    """A line without a connection."""
    nothing: Any = None
    return Line(nothing)
