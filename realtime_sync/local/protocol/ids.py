"""How events and items get their ids."""

from collections.abc import Callable
from itertools import count

__all__ = ["NEW", "Ids", "numbered"]

Ids = Callable[[str], str]
"""Makes a new id from its prefix: ``ids("item")`` is ``"item_..."``."""

NEW = ""
"""The id of an event before it leaves the protocol, where it gets one."""


def numbered() -> Ids:
    """Return a maker of ids that count: ``item_000001``, ``event_000002``, ...  Unique within one session."""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers):06}"
