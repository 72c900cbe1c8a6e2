"""What a test leaves behind in its process: threads and open files.

They are compared one by one, not by their number: what an earlier test left and what ends meanwhile changes
no verdict. A server that runs before `nothing_left` begins has to have answered a client, so that its thread
has opened what it keeps open.
"""

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scripted import DEADLINE
from threads import wait_until

__all__ = ["nothing_left", "only_new_objects", "open_files", "settled", "uncollected"]

_FILES = Path("/dev/fd")
_LOOKS = 3  # in a row that must agree before a baseline counts as settled
_PAUSE = 0.002  # seconds between two of them

Files = set[tuple[int, int, int]]
"""Number, device and inode of each open file: a number that is used again is another file."""


def open_files() -> Files:
    """Return the files that this process has open; none where the system does not list them."""
    files: Files = set()
    for name in os.listdir(_FILES) if _FILES.exists() else ():
        with contextlib.suppress(OSError):  # it was closed meanwhile, as what listed the folder is
            status = os.fstat(int(name))
            files.add((int(name), status.st_dev, status.st_ino))
    return files


def settled() -> tuple[set[threading.Thread], Files]:
    """Return the threads and files that are there once several looks in a row have seen the same."""
    seen: list[tuple[set[threading.Thread], Files]] = []

    def unchanged() -> bool:
        seen.append((set(threading.enumerate()), open_files()))
        return len(seen) >= _LOOKS and all(look == seen[-1] for look in seen[-_LOOKS:])

    wait_until(unchanged)
    return seen[-1]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail unless each thread and file that appears inside is gone soon after the end."""
    threads, files = settled()
    yield

    def left() -> list[object]:
        return [*(set(threading.enumerate()) - threads), *map(_shown, open_files() - files)]

    deadline = time.monotonic() + DEADLINE
    while left():
        assert time.monotonic() < deadline, f"left behind: {left()}"
        threading.Event().wait(_PAUSE)


@contextlib.contextmanager
def uncollected() -> Iterator[list[object]]:
    """Give a list that has, after the end, what became garbage meanwhile and only a collection would free."""
    found: list[object] = []
    with only_new_objects():
        gc.disable()
        try:
            yield found
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found.extend(gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


@contextlib.contextmanager
def only_new_objects() -> Iterator[None]:
    """Keep the collector to what is made inside: a worker of pytest has millions of older objects."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _shown(file: tuple[int, int, int]) -> str:
    """Return what a file is, where the system tells, as in ``socket:[4711]``."""
    try:
        return os.readlink(_FILES / str(file[0]))
    except OSError:
        return f"file {file[0]}"
