"""`Latest`: a memory that forgets the oldest, so that no server and no long session can make it large."""

from typing import TypeVar

__all__ = ["Latest"]

_V = TypeVar("_V")


class Latest(dict[str, _V]):
    """A dict that holds the ``most`` keys that were added last; to set one anew doesn't make it younger."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: str, value: _V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]
