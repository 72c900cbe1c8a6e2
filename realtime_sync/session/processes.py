"""Open sessions at the end of the process, and in its forked children."""

import atexit
import os
import time
import weakref
from typing import Protocol

__all__ = ["abandon_in_child", "close_at_exit", "forget", "say_goodbye_at_exit"]

_AT_EXIT = 0.5  # seconds that all close frames together may take when a program ends without closing


class _Connection(Protocol):
    def say_goodbye(self, deadline: float) -> None: ...


class _Part(Protocol):
    def abandon(self) -> None: ...


_connections: "weakref.WeakSet[_Connection]" = weakref.WeakSet()
_parts: "weakref.WeakSet[_Part]" = weakref.WeakSet()


def close_at_exit(connection: _Connection) -> None:
    """Call ``say_goodbye(deadline)`` of a connection when the process ends, until `forget` is called."""
    _connections.add(connection)


def forget(connection: _Connection) -> None:
    """Do nothing for a connection when the process ends: it is closed already."""
    _connections.discard(connection)


def abandon_in_child(part: _Part) -> None:
    """Call ``abandon()`` of a part of a session in the child of a fork, as long as the part exists.

    Locks that another thread of the parent held at the fork are never released there, and sockets are the
    parent's.
    """
    _parts.add(part)


def say_goodbye_at_exit() -> None:
    """Send a close frame in each session that was not closed, without waiting for the answers."""
    deadline = time.monotonic() + _AT_EXIT
    for connection in list(_connections):
        connection.say_goodbye(deadline)


def _abandon_parts() -> None:  # pragma: no cover  # runs in a child process, where nothing measures
    _connections.clear()
    for part in list(_parts):
        part.abandon()


atexit.register(say_goodbye_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_parts)
