"""The line at the bottom of a talk: how loud the microphone is, and who is speaking."""

import contextlib
import math
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .streams import is_terminal

__all__ = ["Meter", "can_show", "line"]

_PERIOD = 0.1  # seconds between two looks
_QUIETEST = -60.0  # dBFS, at which the bar begins
_BAR = 10  # characters
_SPEAKERS = {"": "listening", "you": "you speak", "model": "model speaks"}
_COLOURS = {"you": "\x1b[32m", "model": "\x1b[36m"}
_PLAIN = "\x1b[0m"
# Below the line that the cursor is in, which stays where it is.  IND makes room for it at the bottom.
_BELOW, _BACK = "\x1bD\x1b[A\x1b7\x1b[J\x1b[B\r", "\x1b8"
_ERASE = "\x1b[J"  # everything behind the cursor


def can_show() -> bool:
    """Return whether the line can be shown: all goes to a terminal, and it can move its cursor."""
    terminals = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    return terminals and os.name == "posix" and os.environ.get("TERM", "dumb") != "dumb"


def line(level: float, speaker: str, width: int, *, colour: bool) -> str:
    """Return the line.

    Args:
        level: The loudness of the microphone, in dBFS.
        speaker: ``"you"``, ``"model"``, or ``""`` if nobody speaks.
        width: The columns of the terminal; what has no room there is left out.
        colour: Whether to use colours.
    """
    loud = 0.0 if level == -math.inf else min(max(1 - level / _QUIETEST, 0.0), 1.0)
    bar = ("#" * round(loud * _BAR)).ljust(_BAR, "-")
    words = _SPEAKERS[speaker]
    text = f"[{bar}] {words}"
    if len(text) >= width:
        text = words if len(words) < width else ""
    before = _COLOURS.get(speaker) if colour and text else None
    return f"{before}{text}{_PLAIN}" if before else text


class Meter:
    """Shows the line on stderr, below what is said, and draws it anew when it changes.

    Args:
        level: Returns the loudness of the microphone, in dBFS.
        speaker: Returns who speaks: ``"you"``, ``"model"`` or ``""``.
        shown: Whether to show it at all.
    """

    def __init__(self, level: Callable[[], float], speaker: Callable[[], str], *, shown: bool) -> None:
        self._level = level
        self._speaker = speaker
        self._shown = shown
        self._colour = not os.environ.get("NO_COLOR")
        self._drawn = ""
        self._over = threading.Event()
        # Lets the line be drawn only while nothing else is written.
        self._lock = threading.RLock()
        # Looks, from time to time, at how loud it is.
        self._thread = threading.Thread(target=self._run, name="realtime_sync-meter", daemon=True)

    def __enter__(self) -> None:
        if self._shown:
            self._thread.start()

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        with self._lock:
            self._erase()
            self._shown = False

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Erase the line while something else is written."""
        with self._lock:
            self._erase()
            yield

    def _erase(self) -> None:
        if self._drawn:
            self._write(_ERASE)
            self._drawn = ""

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            while not self._over.wait(_PERIOD):
                with self._lock:
                    self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        text = line(self._level(), self._speaker(), width, colour=self._colour)
        if self._shown and text != self._drawn:
            self._write(f"{_BELOW}{text}{_BACK}")
            self._drawn = text

    def _write(self, text: str) -> None:
        sys.stdout.flush()  # or the cursor would not be where it is to be
        sys.stderr.write(text)
        sys.stderr.flush()
