"""What commands say to people."""

import sys

from ..events import ErrorDetails, Response
from ..redaction import one_line, printable
from ..session.facts import ResponseEnded

__all__ = ["complain", "delta", "hint", "problem_of", "sentence"]

_LONGEST = 1500  # characters of a problem, so that there is room for what follows it on its line


def complain(problem: object) -> None:
    """Write on stderr, in one line of bounded length, what is wrong."""
    print(f"realtime-sync: {one_line(str(problem))}", file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """Show a remark that is no result, on the terminal: by stdout, else by stderr, else not at all."""
    stream = next((stream for stream in (sys.stdout, sys.stderr) if stream.isatty()), None)
    if stream is not None:
        print(text, file=stream, flush=True)


def delta(text: str) -> str:
    """Return a delta of what is said for a line of the screen: without line breaks, and with escapes."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def sentence(text: str) -> str:
    """Return the whole of what is said in the same way, with single spaces in place of all white space."""
    return " ".join(printable(text).split())


def problem_of(ended: Response | ResponseEnded | ErrorDetails) -> str | None:
    """Return what the server says went wrong; ``None`` for a response that is completed or has no status."""
    if isinstance(ended, ErrorDetails):
        said = ended.message or ended.code or ended.type
        return one_line(said or "an error that the server does not describe", _LONGEST)
    if ended.status in ("completed", "", None):
        return None
    if isinstance(ended, ResponseEnded):
        reason = ended.reason
    else:
        details = ended.status_details
        reason = None if details is None else (details.error and details.error.message) or details.reason
    return one_line(f"the response is {ended.status}" + (f": {reason}" if reason else ""), _LONGEST)
