"""How a file that is damaged or cut short is told: what there is of it is used, but not without a word."""

import logging
from collections.abc import Callable

__all__ = ["OnProblem", "report"]

_log = logging.getLogger("realtime_sync")

OnProblem = Callable[[str], object] | None
"""Takes a sentence about a file whose audio is not all there; ``None`` logs it as a warning."""


def report(text: str, on_problem: OnProblem) -> None:
    """Tell the caller of a problem with a file, or the log if the caller gave no function for that."""
    if on_problem is None:
        _log.warning("%s", text)
    else:
        on_problem(text)
