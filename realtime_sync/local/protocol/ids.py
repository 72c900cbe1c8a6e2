"""How events and items get their ids."""

from collections.abc import Callable

__all__ = ["NEW", "Ids"]

Ids = Callable[[str], str]
"""Makes a new id from its prefix: ``ids("item")`` is ``"item_..."``."""

NEW = ""
"""The id of an event that has none yet: it gets one when it leaves the protocol."""
