"""The three standard streams: UTF-8 in files and pipes, and what happens when one of them is closed."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import IO, Any

__all__ = [
    "LONGEST_TEXT",
    "discard_if_stuck",
    "flush_or_discard",
    "is_dialogue",
    "is_terminal",
    "lines",
    "prepare",
    "text",
]

LONGEST_TEXT = 8 * 1024 * 1024
"""Bytes of stdin that one prompt may have: no model takes more, and a pipe may never end."""


def prepare() -> None:
    """Make stdout and stderr fit to be written to, whatever they are.

    A file or a pipe gets UTF-8, whatever the locale says, since other programs read it.  A terminal keeps its
    encoding.  In both, characters that can't be encoded are written as escapes.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # closed before we began, as by ``>&-``
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the end)
            continue
        encoding = None if is_terminal(stream) else "utf-8"
        with contextlib.suppress(AttributeError):  # in a program that has put something else there
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def discard_if_stuck() -> None:
    """After Ctrl-C, discard what is still to be written to stdout if its reader takes nothing any more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is no file, or closed
        if not _takes(sys.stdout.fileno()):
            _discard()


def _takes(file: int) -> bool:
    """Return whether something can be written to a file without waiting."""
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows, where one can't ask that of a pipe
        return True
    poller = select.poll()
    poller.register(file, select.POLLOUT)
    return bool(poller.poll(0))


def _discard() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flush_or_discard() -> None:
    """Write what is left for stdout; discard it if that can't be, lest Python complain about it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            _discard()


def is_dialogue() -> bool:
    """Return whether a person types into stdin and reads stdout."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a stream is there, open, and a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def text(*, typed: bool = False) -> str:
    """Return all of stdin; ``""`` if there is none.

    Args:
        typed: Whether to wait for what a person types, if stdin is a terminal, until Ctrl-D.

    Raises:
        ValueError: It is longer than `LONGEST_TEXT`.
    """
    source = _bytes_of_stdin()
    if source is None or (not typed and is_terminal(sys.stdin)):
        return ""
    return _decoded(source.read(LONGEST_TEXT + 1))


def lines() -> Iterator[str]:
    """Yield each line of stdin that is not blank, as soon as it is there.

    Raises:
        ValueError: One is longer than `LONGEST_TEXT`.
    """
    source = _bytes_of_stdin()
    while source is not None and (line := source.readline(LONGEST_TEXT + 1)):
        if prompt := _decoded(line).strip():
            yield prompt


def _bytes_of_stdin() -> IO[bytes] | None:
    return None if sys.stdin is None or sys.stdin.closed else sys.stdin.buffer


def _decoded(data: bytes) -> str:
    """Return text of UTF-8, with or without a byte order mark; other bytes become U+FFFD."""
    if len(data) > LONGEST_TEXT:
        raise ValueError(f"stdin: expected at most {LONGEST_TEXT} bytes for one prompt, got more")
    return data.decode("utf-8-sig", errors="replace")
