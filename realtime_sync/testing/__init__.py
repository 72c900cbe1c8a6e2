"""Testing a program that talks to a Realtime server: no key, no network, no model.

With pytest there is nothing to import: the fixtures ``realtime_server`` and ``realtime_session`` come with
the installed package.  `RealtimeServer` is what the first of them gives; scripts and ``unittest`` use it
in a ``with`` statement.  It needs the extra ``local``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dialogue import Expectation
    from .record import Record
    from .server import RealtimeServer

__all__ = ["Expectation", "RealtimeServer", "Record"]

# Loaded on demand: pytest imports this package at each start, for the plugin in it, whatever is tested.
_HOMES = {"Expectation": ".dialogue", "RealtimeServer": ".server", "Record": ".record"}


if not TYPE_CHECKING:  # a type checker would take any name for a right one

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name], __name__), name)


def pytest_configure(config: Any) -> None:
    """Register the plugin for ``-p realtime_sync.testing``, where pytest loads no installed plugins."""
    from . import plugin

    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "realtime_sync")
