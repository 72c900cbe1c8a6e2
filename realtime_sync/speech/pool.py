"""Models that one thread at a time may use."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")


class Pool(Generic[T]):
    """Some models that are alike, each made when it is needed first.

    Args:
        make: Makes one.
        at_once: How many there are at most.

    Raises:
        ValueError: ``at_once`` is below 1.
    """

    def __init__(self, make: Callable[[], T], at_once: int) -> None:
        if at_once < 1:
            raise ValueError(f"at_once must be at least 1, got {at_once!r:.80}")
        self._make = make
        # Hands each model to one thread at a time; `None` stands for one that is not made yet.  The last that
        # came back goes first, so that no more are made than are used at once.
        self._free: queue.LifoQueue[T | None] = queue.LifoQueue()
        for _ in range(at_once):
            self._free.put(None)

    @contextmanager
    def borrowed(self) -> Iterator[T]:
        """Lend a model for the body of a ``with``, and wait for one if all are in use."""
        model = self._free.get()
        try:
            if model is None:
                model = self._make()
            yield model
        finally:
            self._free.put(model)
