"""Where items come from, one by one, now or later: what a responder, a transcriber or a voice returns."""

from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType
from typing import Protocol, TypeVar

__all__ = ["Inline", "Runner", "Source", "is_instant", "let_go"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Source(Protocol[_T_co]):
    """Gives items one by one."""

    @property
    def ready(self) -> bool:
        """Whether `take` returns at once."""
        ...

    def take(self) -> _T_co | None:
        """Return the next item; ``None``: there is none left.

        Raises:
            BaseException: What the work has raised.
        """
        ...

    def close(self) -> None:
        """End the work, without waiting for its end."""
        ...


Work = Callable[[], Iterable[_T]]


class Runner(Protocol):
    """Begins a piece of work."""

    def __call__(self, work: Work[_T], close: Callable[[], None]) -> Source[_T]:
        """Begin, and return where the items come from.

        Args:
            work: Returns the items; may block, also in between.
            close: Makes it return early.  Called at most once, by another thread.
        """
        ...


class Inline(Source[_T]):
    """Does the work in place, when an item is asked for."""

    def __init__(self, work: Work[_T], close: Callable[[], None]) -> None:
        self._work: Work[_T] | None = work
        self._close = close
        self._items: Iterator[_T] | None = None

    @property
    def ready(self) -> bool:
        return True

    def take(self) -> _T | None:
        if self._work is not None:
            work, self._work = self._work, None
            self._items = iter(work())
        return None if self._items is None else next(self._items, None)

    def close(self) -> None:
        items, self._items, self._work = self._items, None, None
        self._close()
        if isinstance(items, GeneratorType):
            items.close()


def is_instant(player: object) -> bool:
    """Return whether what answers, hears or speaks never waits, so that it needs no thread of its own."""
    return bool(getattr(player, "instant", False))


def let_go(items: object) -> None:
    """Close what a responder or a voice has returned, from any thread.

    A generator is not: that is for the thread that runs it.
    """
    close = getattr(items, "close", None)
    if callable(close) and not isinstance(items, GeneratorType):
        close()
