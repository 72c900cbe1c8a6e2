"""Work that may wait, beside a session: responders, transcribers and voices in threads of their own."""

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ..clock import monotonic
from .protocol.source import Source

__all__ = ["Background"]

_log = logging.getLogger("realtime_sync.local")

_MOST_AHEAD = 32
"""Items that work may be ahead of the session: three seconds of audio."""
_FAREWELL_SECONDS = 1.0
"""How long the end of a session waits for its work to end."""

_T = TypeVar("_T")


class Background:
    """All the work of one session that is done beside it.

    Attributes:
        waker: Can be read from when work has something for the session; ``None`` before there was any work.
    """

    def __init__(self) -> None:
        self.waker: socket.socket | None = None
        self._rope: socket.socket | None = None
        # Keeps `_wake` from writing into a descriptor that `close` has just given back.
        self._lock = threading.Lock()
        self._working: list[threading.Thread] = []

    def run(self, work: Callable[[], Iterable[_T]], close: Callable[[], None]) -> Source[_T]:
        """Begin a piece of work; see `realtime_sync.local.protocol.source.Runner`."""
        if self.waker is None:
            self.waker, self._rope = socket.socketpair()
            self.waker.setblocking(False)
            self._rope.setblocking(False)
        worker = _Worker(work, close, self._wake)
        self._working = [thread for thread in self._working if thread.is_alive()]
        # Does the work, so that the session goes on meanwhile; a daemon, since work may never return.
        thread = threading.Thread(target=worker.run, name="realtime-sync-work", daemon=True)
        try:
            thread.start()
            self._working.append(thread)
        except RuntimeError as error:  # the system has no thread left
            worker.end(error)
        return worker

    def _wake(self) -> None:
        with self._lock:
            try:
                if self._rope is not None:
                    self._rope.send(b"!")
            except BlockingIOError:
                pass  # enough wakes are on their way

    def drain(self) -> None:
        """Forget the wakes until now; before looking at what the work has."""
        try:
            if self.waker is not None:
                self.waker.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Wait for work to end, which was told to, and let go of the waker."""
        deadline = monotonic() + _FAREWELL_SECONDS
        for thread in self._working:
            thread.join(max(deadline - monotonic(), 0.0))
        stuck = sum(thread.is_alive() for thread in self._working)
        if stuck:
            _log.warning(
                "work for a session that is over goes on, of a responder, transcriber or voice: %d", stuck
            )
        with self._lock:
            for end in (self.waker, self._rope):
                if end is not None:
                    end.close()
            self._rope = None


class _Worker(Source[_T], Generic[_T]):
    """Takes items where they are made, in its own thread, and keeps a few of them until they are wanted."""

    def __init__(
        self, work: Callable[[], Iterable[_T]], close: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self._work: Callable[[], Iterable[_T]] | None = work
        self._close: Callable[[], None] | None = close
        self._wake = wake
        # Guards what follows, and is notified when there is room for more, or no more is wanted.
        self._changed = threading.Condition()
        self._items: deque[_T] = deque()
        self._error: BaseException | None = None
        self._over = False

    # --- The session's thread ------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return bool(self._items) or self._over

    def take(self) -> _T | None:
        with self._changed:
            self._changed.wait_for(lambda: self.ready)
            if self._items:
                self._changed.notify()
                return self._items.popleft()
            error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # whose traceback holds this frame, and the whole session with it
        return None

    def close(self) -> None:
        with self._changed:
            close, self._close = self._close, None
            working, self._over = not self._over, True
            self._items.clear()
            self._changed.notify()
        if working and close is not None:
            try:
                close()
            except Exception:
                _log.exception("a responder, transcriber or voice could not be closed")

    # --- Its own thread --------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._make()
        except BaseException as error:  # it is raised in the session's thread
            self.end(error)
        else:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Note that there is nothing more, or why not."""
        with self._changed:
            self._close = None
            self._error = None if self._over else error
            self._over = True
            self._changed.notify()
        self._wake()

    def _make(self) -> None:
        work, self._work = self._work, None
        assert work is not None
        for item in work():
            if not self._put(item):
                return

    def _put(self, item: _T) -> bool:
        """Keep an item once there is room.  Return whether more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < _MOST_AHEAD or self._over)
            if self._over:
                return False
            first = not self._items
            self._items.append(item)
            self._changed.notify()
        if first:
            self._wake()
        return True
