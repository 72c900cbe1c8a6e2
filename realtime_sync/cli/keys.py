"""What the user does at the keyboard while a talk goes on."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable

__all__ = ["on_enter"]


def on_enter(act: Callable[[], object]) -> bool:
    """Call a function each time Enter is pressed, until the program ends; on a thread of its own.

    Returns:
        Whether there is a keyboard: stdin is a terminal, and this program is the one in front.
    """
    try:
        keyboard = sys.stdin.fileno()
        usable = os.isatty(keyboard) and _in_front(keyboard)
    except (OSError, ValueError, AttributeError):  # no file, or closed
        return False
    if usable:
        # Waits for the keyboard, and is not waited for.  It reads the file itself: a stream that is being
        # read can't be closed when the program ends.
        threading.Thread(
            target=_read, args=(keyboard, act), name="realtime_sync-keyboard", daemon=True
        ).start()
    return usable


def _in_front(keyboard: int) -> bool:
    """Return whether reading would not stop this program, as it does in the background."""
    try:
        return os.tcgetpgrp(keyboard) == os.getpgrp()
    except (OSError, AttributeError):  # it controls no program, or there is no such thing
        return True


def _read(keyboard: int, act: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        while typed := os.read(keyboard, 1024):
            if b"\n" in typed:
                act()
