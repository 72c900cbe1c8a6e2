"""Testing a program that talks to a Realtime server: no key, no network, no model.

With pytest there is nothing to import: the fixtures ``realtime_server`` and ``realtime_session`` come with
the installed package.  `RealtimeServer` is what the first of them gives; scripts and ``unittest`` use it
in a ``with`` statement.  It needs the extra ``local``.
"""

from typing import TYPE_CHECKING, Any

from .dialogue import Expectation
from .record import Record

if TYPE_CHECKING:
    from .server import RealtimeServer

__all__ = ["Expectation", "RealtimeServer", "Record"]


def __getattr__(name: str) -> Any:
    """The server is imported when it is asked for, because it needs the extra ``local``."""
    if name == "RealtimeServer":
        from .server import RealtimeServer

        return RealtimeServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pytest_configure(config: Any) -> None:
    """For ``-p realtime_sync.testing``, where pytest doesn't load the plugins that are installed."""
    import pytest_realtime_sync

    if not config.pluginmanager.is_registered(pytest_realtime_sync):
        config.pluginmanager.register(pytest_realtime_sync, "realtime_sync")
