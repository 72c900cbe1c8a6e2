"""Counts of what a test must not leave behind, and a baseline that has settled."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from scripted import DEADLINE

_FDS = Path("/proc/self/fd")
_LOOKS = 20  # in a row that agree


def open_files() -> int:
    """Return the number of open descriptors; 0 where the system doesn't tell."""
    return len(list(_FDS.iterdir())) if _FDS.exists() else 0


def settled(count: Callable[[], int] = open_files) -> int:
    """Return the count once it has stopped to change: what other threads begin or end is over by then.

    A thread that has not run yet can't be seen: let it do something first, and wait for that.
    """
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    seen, looks = count(), 0
    while looks < _LOOKS:
        assert time.monotonic() < deadline, "the count doesn't settle"
        pause.wait(0.01)
        now = count()
        seen, looks = now, looks + 1 if now == seen else 0
    return seen


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is so.

    Raises:
        AssertionError: It is not by the deadline.
    """
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.01)
