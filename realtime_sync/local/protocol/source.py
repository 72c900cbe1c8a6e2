"""Where items come from, one by one, now or later: what a responder, a transcriber or a voice returns."""

from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType
from typing import Protocol, TypeVar

__all__ = ["Inline", "Opened", "Runner", "Source", "is_instant"]

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


_Items = TypeVar("_Items")


class Opened:
    """What a responder, transcriber or voice has returned, to be closed if it is not wanted any longer."""

    def __init__(self) -> None:
        self._items: list[object] = []
        self._closed = False

    def add(self, items: _Items) -> _Items:
        """Note what was returned, and return it.  If all else was closed meanwhile, this is closed, too."""
        self._items.append(items)
        if self._closed:
            _let_go(items)
        return items

    def remove(self, items: object) -> None:
        """Close what is over."""
        self._items.remove(items)
        _let_go(items)

    def close(self) -> None:
        """Close all, also what is still to be added; from any thread."""
        self._closed = True
        for items in list(self._items):
            _let_go(items)


def _let_go(items: object) -> None:
    """Close what may be closed from any thread.  A generator is not: that is for the thread that runs it."""
    close = getattr(items, "close", None)
    if callable(close) and not isinstance(items, GeneratorType):
        close()
