"""`Latest`: a dict of bounded size, so that neither a server nor a long session can make it large."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

__all__ = ["Latest"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Latest(OrderedDict[_K, _V]):
    """A dict that holds the ``most`` keys that were added last; setting a key again keeps its age.

    Not a plain dict, which passes over all the places of its removed keys to find the first of the others.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            self.popitem(last=False)
