"""What commands say to people."""

import sys
import unicodedata

from ..events import ErrorDetails, Response
from ..session.facts import ResponseEnded

__all__ = ["complain", "hint", "one_line", "plain", "problem_of"]


def complain(problem: object) -> None:
    """Write on stderr, in one line, what is wrong."""
    print(f"realtime-sync: {one_line(str(problem))}", file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """Show a remark that is no result, on the terminal: by stdout, else by stderr, else not at all."""
    stream = next((stream for stream in (sys.stdout, sys.stderr) if stream.isatty()), None)
    if stream is not None:
        print(text, file=stream, flush=True)


def plain(text: str) -> str:
    """Return a server's text with spaces in place of control characters, which could control a terminal."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)


def one_line(text: str) -> str:
    """Return the same, with single spaces in place of all white space."""
    return " ".join(plain(text).split())


def problem_of(ended: Response | ResponseEnded | ErrorDetails) -> str | None:
    """Return what the server says went wrong; ``None`` for a response that is completed or has no status."""
    if isinstance(ended, ErrorDetails):
        return ended.message or ended.code or ended.type or "an error that the server does not describe"
    if ended.status in ("completed", "", None):
        return None
    if isinstance(ended, ResponseEnded):
        reason = ended.reason
    else:
        details = ended.status_details
        reason = None if details is None else (details.error and details.error.message) or details.reason
    return f"the response is {ended.status}" + (f": {reason}" if reason else "")
