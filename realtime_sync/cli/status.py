"""The exit statuses of the command line."""

__all__ = ["CLOSED_OUTPUT", "DONE", "FAILED", "INCOMPLETE", "INTERRUPTED"]

DONE = 0
"""Everything was done."""
INCOMPLETE = 1
"""Not everything could be done: an answer is not whole, a part of a file could not be read or transcribed."""
FAILED = 2
"""The command could not begin, or was broken off: wrong arguments, no server, no key, a lost connection."""
INTERRUPTED = 130
"""Ctrl-C ended the command, as shells report it (128 + SIGINT)."""
CLOSED_OUTPUT = 141
"""The reader of stdout is gone, as after ``| head`` (128 + SIGPIPE)."""
