"""How the time that something takes grows with its input, measured so that a busy machine does no harm."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]
"""What is measured; it is called once, so it may change what it works on."""

_ROUNDS = 6  # after which something that still seems to grow too fast does
_LEAST = 0.002  # seconds; shorter times are noise
_MOST = 9.0  # times as long may four times the input take: linear is 4, n log n below 5, quadratic is 16


@dataclass(frozen=True)
class Growth:
    """What took how long, in seconds of this thread's own CPU time, for n and 4n of something."""

    n: int
    seconds: tuple[float, float]

    @property
    def ratio(self) -> float:
        """How many times as long four times the input takes."""
        return self.seconds[1] / max(self.seconds[0], _LEAST)

    @property
    def is_linear(self) -> bool:
        return self.ratio < _MOST

    def __str__(self) -> str:
        times = ", ".join(f"{seconds * 1000:.1f} ms" for seconds in self.seconds)
        return f"{self.n}, {4 * self.n}: {times}: {self.ratio:.1f} times as long"


def growth(prepare: Callable[[int], Work], n: int) -> Growth:
    """Measure what ``prepare`` returns for inputs of n and 4n.

    The least of several rounds counts, since whatever else goes on can only add.  There are no more rounds
    than are needed to see that it grows no faster than its input.
    """
    best = (float("inf"),) * 2
    for _ in range(_ROUNDS):
        one, four = (min(before, _seconds(prepare(n * k))) for k, before in zip((1, 4), best, strict=True))
        best = one, four
        found = Growth(n, best)
        if found.is_linear:
            break
    return found


def _seconds(work: Work) -> float:
    """Return the CPU time that this takes in this thread, without the collector, which sees all of pytest."""
    gc.disable()
    try:
        before = time.thread_time()
        work()
        return time.thread_time() - before
    finally:
        gc.enable()
