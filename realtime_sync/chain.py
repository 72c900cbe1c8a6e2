"""`Chain`: an order in which anything is put or taken out in the same time, however long it is."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Chain"]

_K = TypeVar("_K", bound=Hashable)


class Chain(Generic[_K]):
    """Things in an order, each known by what comes before and after it; ``None`` is before the first.

    One thread at a time may change it; any may read it meanwhile.
    """

    def __init__(self) -> None:
        # A ring through ``None``: what comes after the last is ``None``, too.
        self._after: dict[_K | None, _K | None] = {None: None}
        self._before: dict[_K | None, _K | None] = {None: None}

    def __len__(self) -> int:
        return len(self._after) - 1

    def __contains__(self, thing: _K) -> bool:
        return thing in self._after

    def __iter__(self) -> Iterator[_K]:
        """Iterate over a copy, from the first to the last."""
        after = self._after.copy()  # in one step, whatever another thread does
        thing = after[None]
        while thing is not None:
            yield thing
            thing = after[thing]

    @property
    def first(self) -> _K | None:
        return self._after[None]

    @property
    def last(self) -> _K | None:
        return self._before[None]

    def before(self, thing: _K) -> _K | None:
        """Return what comes before a thing of it; ``None`` if that is the first."""
        return self._before[thing]

    def put(self, thing: _K, after: _K | None) -> None:
        """Put a thing that is not in it after one that is; ``None`` = before all others."""
        following = self._after[after]
        self._after[thing], self._before[thing] = following, after  # before it can be found by the others
        self._after[after] = self._before[following] = thing

    def remove(self, thing: _K) -> None:
        """Take out a thing of it."""
        before, following = self._before[thing], self._after[thing]
        self._after[before], self._before[following] = following, before
        del self._after[thing], self._before[thing]  # once the others don't lead to it any more
