"""Work beside a test, and waits with a deadline."""

import threading
import time
from collections.abc import Callable

from scripted import DEADLINE


def in_thread(work: Callable[..., object], *args: object) -> threading.Thread:
    """Run ``work`` beside the test, and return its thread, to be joined."""
    # Does what would block the test's own thread.  A daemon, so that a failed test can end.
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until it is so, or the deadline has passed."""
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.002)  # leaves the processor to what is waited for
