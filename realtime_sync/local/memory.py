"""One bound on what all sessions hold in memory together."""

import threading

__all__ = ["Memory"]


class Memory:
    """Counts what the sessions hold, and says when it is too much.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        # Guards the number, which the threads of all sessions change.
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether what is left, a sixteenth, is for the sessions that there are."""
        return self._held >= self._most * 15 // 16

    def change(self, by: int) -> bool:
        """Note that a session holds more or less.  Return False if it holds more, and that is too much."""
        with self._lock:
            self._held += by
            return by <= 0 or self._held <= self._most
