"""The queue between the reader thread and the user's threads."""

import contextlib
import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from msgspec import structs

from ..events import ServerEvent, UnknownEvent
from ..events.codec import Message

__all__ = ["Inbox", "memory_of"]

# Bytes of memory, as tests/session/test_inbox.py measures them: for an event with its ids and facts, and for
# each value in one that holds others.
_EVENT, _VALUE = 500, 100

# Ctrl-C does not end a wait for a lock on Windows, so there a wait is made of short ones.
_LONGEST_WAIT = 0.2 if sys.platform == "win32" else None


class Inbox:
    """Events in the order they came, bounded in memory, with an end that every waiter sees.

    The reader adds all events of one read of the socket at once, with one lock and one wake-up.  Users take
    single events; while any are queued, that is one `deque.popleft`, which is atomic.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Events, and before those of each `put` the bytes that they take.
        self._events: deque[ServerEvent | int] = deque()
        self._finished = False
        # Guards the count of bytes held, and the sets of waiters.
        self._lock = threading.Lock()
        self.held = 0
        self.most_held = 0
        # One queue for each waiting thread, which wakes it; its own, so that none takes another's wake-up.
        self._patient: set[SimpleQueue[None]] = set()
        self._nudgeable: set[SimpleQueue[None]] = set()
        self.nudged = object()  # replaced by each nudge
        self._closing = False
        self._room = threading.Event()  # what a paused reader waits for
        self._room.set()

    # --- The reader ----------------------------------------------------------------------------------

    def put(self, events: list[ServerEvent], size: int) -> None:
        """Add events that take ``size`` bytes.  Does not wait."""
        with self._lock:
            if self._closing and self.held >= self._limit:
                return  # the user has closed the session and left this much unread
            self.held += size
            self.most_held = max(self.most_held, self.held)
            if self.held >= self._limit and not self._closing:
                self._room.clear()
        self._events.extend((size, *events))
        self._wake()

    def finish(self) -> None:
        """Mark the end: no event follows."""
        self._finished = True
        self._wake()

    def _wake(self) -> None:
        # A waiter registers before it looks at the events a last time, and we add events before we look for
        # waiters: so either it sees the events or we see it.
        if self._patient or self._nudgeable:
            with self._lock:
                for wake_up in (*self._patient, *self._nudgeable):
                    wake_up.put(None)

    @property
    def full(self) -> bool:
        """Whether the limit is reached, and the reader is to wait for room."""
        return not self._room.is_set()

    def wait_for_room(self) -> None:
        """Wait until no more than half of the limit is held, or the user closes."""
        self._room.wait()

    # --- Users ---------------------------------------------------------------------------------------

    def get(self, timeout: float | None, nudged: object = None) -> ServerEvent | None:
        """Take the next event; return ``None`` at the end, every time.

        Args:
            timeout: Seconds to wait at most; ``None`` = as long as it takes.
            nudged: The value that the attribute had: end the wait at the first `nudge` since then.
                ``None`` = ignore nudges.

        Raises:
            queue.Empty: No event came in time, or there was a nudge.
        """
        try:
            event = self._events.popleft()
        except IndexError:
            event = None
        if event is None:  # not in the `except`: a Ctrl-C during the wait would show that error as well
            return self._wait_and_get(timeout, nudged)
        if type(event) is int:
            self._give_room(event)
            return self.get(timeout, nudged)
        return event  # type: ignore[return-value]  # what is no int is an event

    def _wait_and_get(self, timeout: float | None, nudged: object) -> ServerEvent | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._events:
            if self._finished and not self._events:
                return None
            if nudged not in (None, self.nudged):
                raise Empty
            self._wait(deadline, nudged)
        return self.get(None if deadline is None else max(0.0, deadline - time.monotonic()), nudged)

    def nudge(self) -> None:
        """Wake every waiter that passed `nudged`."""
        self.nudged = object()
        with self._lock:
            for wake_up in self._nudgeable:
                wake_up.put(None)

    def _wait(self, deadline: float | None, nudged: object) -> None:
        """Wait until there may be an event, the end or a nudge."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        waiters = self._patient if nudged is None else self._nudgeable
        wake_up: SimpleQueue[None] = SimpleQueue()
        try:
            with self._lock:
                waiters.add(wake_up)
            if not self._events and not self._finished and nudged in (None, self.nudged):
                _wait_for(wake_up, left)
        finally:
            with self._lock:
                waiters.discard(wake_up)

    def _give_room(self, size: int) -> None:
        """Subtract the bytes of events that were taken, and let a paused reader continue."""
        with self._lock:
            self.held -= size
            if self.held <= self._limit // 2:
                self._room.set()

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: discard all events, be at the end, and replace locks that may be held."""
        self.__init__(1)  # type: ignore[misc]  # in place, because others refer to it
        self.finish()

    def stop_waiting(self) -> None:
        """Let the reader continue above the limit: it must find the server's close frame."""
        with self._lock:
            self._closing = True
            self._room.set()


def memory_of(events: Sequence[ServerEvent], messages: Sequence[Message]) -> int:
    """Return about how many bytes events take that came in these messages.

    A message of two bytes becomes an object of hundreds, so that those of the wire are only a part.
    """
    size = _EVENT * len(events) + sum(map(len, messages))
    if all(map(_is_flat, set(map(type, events)))):  # as nearly always
        return size
    pairs = zip(events, messages, strict=True)
    nested = [message for event, message in pairs if isinstance(message, bytes) and not _is_flat(type(event))]
    # A value comes after one of these.
    return size + _VALUE * sum(message.count(mark) for message in nested for mark in (b",", b"[", b"{"))


@functools.cache
def _is_flat(kind: type[ServerEvent]) -> bool:
    """Return whether events of a kind hold nothing but texts, bytes and numbers."""
    return kind is UnknownEvent or all(field.type in _FLAT for field in structs.fields(kind))


_FLAT = (str, bytes, int, float, bool, str | None, int | None)


def _wait_for(wake_up: "SimpleQueue[None]", left: float | None) -> None:
    if _LONGEST_WAIT is None or (left is not None and left <= _LONGEST_WAIT):
        wake_up.get(timeout=left)
        return
    with contextlib.suppress(Empty):  # the caller waits again
        wake_up.get(timeout=_LONGEST_WAIT)
