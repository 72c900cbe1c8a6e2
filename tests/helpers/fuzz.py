"""Fuzzing: inputs drawn from a seed are tried for a while, and each one that fails is told in full.

``FUZZ_SECONDS=600 python -m pytest -m slow -k fuzz`` takes ten minutes for each test in place of one.
``FUZZ_SEED=7`` draws what the run with that seed drew; the default is another one each time.
``FUZZ_CASE=7:1234`` tries one input again, of those that a failure names.
"""

import base64
import contextlib
import itertools
import logging
import os
import random
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["MINUTES", "Faults", "fuzz"]

T = TypeVar("T")

MINUTES = float(os.environ.get("FUZZ_SECONDS", "60")) / 60
"""How long a slow test takes; ``pytest -m slow`` has a minute for each."""
_SEED = os.environ.get("FUZZ_SEED", "")
_CASE = os.environ.get("FUZZ_CASE", "")
_MOST_FAILURES = 5  # of different kinds, after which a test ends
_LONGEST = 4000  # characters of an input that is shown as it is


@dataclass
class _Failures:
    """What went wrong, once for each kind: the error and the place that it came from."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, given: object, error: BaseException) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {place.filename}:{place.lineno}"
        trace = "".join(traceback.format_exception(error))
        self.texts.setdefault(kind, f"FUZZ_CASE={case}: {trace}\nthe input: {_shown(given)}")

    def tell(self) -> None:
        """Fail if there was any."""
        if self.texts:
            raise AssertionError("\n\n".join(self.texts.values()))


def fuzz(make: Callable[[random.Random], T], check: Callable[[T], object], cases: int | None = None) -> None:
    """Try inputs.

    Args:
        make: Draws an input.
        check: Raises an exception if something is wrong with what becomes of the input.
        cases: How many to try, always the same ones; ``None`` = others each time, for `MINUTES`.

    Raises:
        AssertionError: Some failed; the text has the case, the error and the input of each kind of failure.
    """
    failures = _Failures()
    for case in _cases(cases):
        given = make(random.Random(case))
        try:
            check(given)
        except Exception as error:
            failures.add(case, given, error)
            if len(failures.texts) >= _MOST_FAILURES:
                break
    failures.tell()


def _cases(cases: int | None) -> Iterator[str]:
    """Yield the names of the inputs, which are the seeds that they are drawn from."""
    if _CASE:
        yield _CASE
    elif cases is not None:
        yield from (f"0:{number}" for number in range(cases))
    else:
        seed, deadline = _SEED or str(random.SystemRandom().randrange(10**6)), time.monotonic() + MINUTES * 60
        numbers = (f"{seed}:{number}" for number in itertools.count())
        yield from itertools.takewhile(lambda case: time.monotonic() < deadline, numbers)


def _shown(given: object) -> str:
    """Return an input so that it can be had again by pasting it."""
    text = repr(given)
    if len(text) <= _LONGEST:
        return text
    packed = base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"))).decode()
    return f"zlib.decompress(base64.b64decode({packed!r}))"


class Faults(logging.Filter):
    """What is logged as an error, which is a bug.

    Nobody else gets what is logged meanwhile: pytest would keep it all, and a long run logs very much.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        text = logging.Formatter().format(record)
        if record.levelno >= logging.ERROR:
            self._texts.append(text)
        return False

    def check(self) -> None:
        """Fail if there was any since the last time."""
        texts, self._texts = self._texts, []
        assert not texts, texts[0]

    @classmethod
    @contextlib.contextmanager
    def watched(cls, *names: str) -> "Iterator[Faults]":
        """Listen to loggers."""
        faults, loggers = cls(), [logging.getLogger(name) for name in names]
        for logger in loggers:
            logger.addFilter(faults)
        try:
            yield faults
        finally:
            for logger in loggers:
                logger.removeFilter(faults)
