"""What commands say to people."""

import sys
import unicodedata

from ..events import ErrorDetails, Response

__all__ = ["complain", "one_line", "plain", "problem_of"]


def complain(problem: object) -> None:
    """Say what is wrong, in one line on stderr."""
    print(f"realtime-sync: {one_line(str(problem))}", file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """A text of the server's without control characters, by which it could do things to a terminal."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)


def one_line(text: str) -> str:
    """The same, its white space made single spaces."""
    return " ".join(plain(text).split())


def problem_of(ended: Response | ErrorDetails) -> str | None:
    """What the server says went wrong; ``None`` for a response that was completed, or has no status."""
    if isinstance(ended, ErrorDetails):
        return ended.message or ended.code or ended.type or "an error that the server does not describe"
    if ended.status in ("completed", "", None):
        return None
    details = ended.status_details
    reason = details and ((details.error and details.error.message) or details.reason)
    return f"the response is {ended.status}" + (f": {reason}" if reason else "")
