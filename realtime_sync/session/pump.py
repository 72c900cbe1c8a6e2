"""Running a session: events go from the queue to visitors, in the threads of the user.

Several threads may run one session, or wait while another one runs it; what one dispatches may be what
another waits for.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..events import ErrorEvent, ServerEvent
from ..visitor import Visitor, Visitors, check_visitor
from .inbox import Inbox
from .log import SessionLog
from .processes import abandon_in_child
from .reader import Reader

__all__ = ["Pump"]

_E = TypeVar("_E", bound=ServerEvent)


class Pump:
    """Dispatches the events of one session.  `Session` documents what `run` and `wait_until` do."""

    def __init__(self, reader: Reader, log: SessionLog) -> None:
        self._reader = reader
        self._inbox: Inbox = reader.inbox
        self._log = log
        # Guards the two that follow; threads in `wait_until` wait on it while another thread dispatches.
        self._dispatched = threading.Condition()
        self._runners: dict[int, Visitor[Any]] = {}  # the visitor of each thread that runs the session
        self._wake_ups = 0  # number of times that threads in `wait_until` were woken
        self._concerned = 0  # number of threads to notify of what another one dispatches
        abandon_in_child(self)

    def run(
        self, visitor: Visitor[Any], until: type[_E] | tuple[type[_E], ...] | None, timeout: float | None
    ) -> _E | None:
        _check_until(until)
        check_visitor(visitor)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._running(visitor):
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if timeout and left == 0:
                    return None
                try:
                    event = self._inbox.get(left)
                except queue.Empty:
                    return None
                if event is None:
                    if self._reader.ended_normally:
                        return None
                    raise self._reader.closed_error()
                self._dispatch(event, visitor)
                if until is not None and isinstance(event, until):
                    return event
                if isinstance(event, ErrorEvent):
                    self._report(event, visitor)

    def wait_until(self, condition: Callable[[], bool], visitor: Visitor[Any], timeout: float | None) -> None:
        check_visitor(visitor)
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                raise TimeoutError(f"the condition did not become true within {timeout:g} s")
            return seconds

        inside = threading.get_ident() in self._runners
        visitor = self._runners.get(threading.get_ident(), visitor)
        while not condition():
            with self._running(visitor, alone=not inside) as runs:
                while runs:
                    nudged = self._inbox.nudged
                    if condition():  # asked again: another thread may have dispatched what makes it true
                        return
                    runs = inside or len(self._runners) == 1
                    if runs:
                        self._take(visitor, left(), nudged)
            if not runs and not condition():
                self._watch(condition, left())

    def _take(self, visitor: Visitor[Any], timeout: float | None, nudged: object) -> None:
        """Dispatch the next event, if it comes in time and before another thread dispatches one."""
        try:
            event = self._inbox.get(timeout, nudged)
        except queue.Empty:
            return
        if event is None:
            raise self._reader.closed_error()
        self._dispatch(event, visitor)
        if isinstance(event, ErrorEvent):
            self._report(event, visitor)

    @contextlib.contextmanager
    def _running(self, visitor: Visitor[Any], *, alone: bool = False) -> Iterator[bool]:
        """Mark this thread as running the session inside ``with``; yield whether it does.

        Args:
            alone: Only if no other thread runs it.
        """
        thread = threading.get_ident()
        with self._dispatched:
            runs = not alone or self._runners.keys() <= {thread}
            outer = self._runners.get(thread)
            if runs:
                self._runners[thread] = visitor
                self._concerned += outer is None
        try:
            self._inbox.nudge()  # threads in `wait_until` leave the events to this one
            yield runs
        finally:
            if runs:
                with self._dispatched:
                    if outer is None:
                        del self._runners[thread]
                        self._concerned -= 1
                    else:
                        self._runners[thread] = outer
                    self._wake_watchers()  # another thread may have to take over

    def wake_up(self) -> None:
        """Let all threads in `wait_until` ask for their conditions again."""
        with self._dispatched:
            self._wake_watchers()
        self._inbox.nudge()

    def _wake_watchers(self) -> None:
        self._wake_ups += 1
        self._dispatched.notify_all()

    def _dispatch(self, event: ServerEvent, visitor: Visitor[Any]) -> None:
        visitor.visit(event)
        if self._concerned > 1:
            self.wake_up()

    def _report(self, event: ErrorEvent, visitor: Visitor[Any]) -> None:
        """Log an error that the visitor does not handle."""
        if not _handles_errors(visitor):
            self._log.unhandled_error(event)

    def _watch(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Wait, while another thread runs the session, until something was dispatched there."""
        with self._dispatched:
            self._concerned += 1
            before = self._wake_ups
        try:
            # Asked again after this thread is counted, so that no dispatch is missed; and without the lock,
            # since it is the user's code.
            if not condition():
                with self._dispatched:
                    if self._runners and self._wake_ups == before:
                        self._dispatched.wait(timeout)
        finally:
            with self._dispatched:
                self._concerned -= 1

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: forget the parent's threads, and replace the lock that they may hold."""
        self._dispatched, self._runners, self._concerned = threading.Condition(), {}, 0


def _check_until(until: Any) -> None:
    """Reject what is not a type of server event, and so can't come."""
    for kind in until if isinstance(until, tuple) else (until,):
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, ServerEvent)):
            raise TypeError(f"until: expected a type of server event, such as ResponseDone, got {kind!r:.80}")


def _handles_errors(visitor: Any) -> bool:
    """Return whether a visitor handles an `ErrorEvent`."""
    if isinstance(visitor, Visitors):
        return any(map(_handles_errors, visitor.visitors))
    return getattr(visitor, "handles_errors", True) and any(
        getattr(type(visitor), name, None) is not getattr(Visitor, name)
        for name in ("visit", "visit_error", "default")
    )
