"""What a session does by the clock: it gets a new connection before the server ends it, or ends when idle."""

import logging
import threading
import time
from collections.abc import Callable

from .processes import abandon_in_child
from .reader import Reader
from .redial import Attempt, Redial

__all__ = ["Watch"]

_log = logging.getLogger("realtime_sync")

_LOOKS = 0.1  # seconds between two looks for a quiet moment
_AGAIN = 5.0  # seconds before another try after one that failed
_GOODBYE = 1.0  # seconds that closing an idle session may take


class Watch:
    """Watches one session.

    Args:
        reader: The session's.
        redial: How it gets another connection; ``None`` = it has but one.
        idle_timeout: Seconds without anything happening after which it is closed; ``None`` = never.
        is_busy: Returns whether something happens that the session does not see.
    """

    def __init__(
        self,
        reader: Reader,
        redial: Redial | None,
        idle_timeout: float | None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reader = reader
        self._gate = reader.gate
        self._redial = redial
        self._idle_timeout = idle_timeout
        self._is_busy = is_busy
        rollover = redial.policy.rollover if redial is not None and redial.possible else None
        self._rollover = rollover
        abandon_in_child(self)
        # Waits for the moments at which something is due.  A daemon, as the reader is.
        self._thread = threading.Thread(target=self._run, name="realtime_sync-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._reader.over.wait(self._pause()):
            if self._is_idle:
                reason = f"idle: nothing happened for {self._idle_timeout:g} s"
                _log.warning("closing the session: %s", reason)
                self._reader.close(1000, reason, time.monotonic() + _GOODBYE)
            elif self._is_due and self._gate.is_movable:
                self._roll_over()

    def _pause(self) -> float | None:
        """Return the seconds until something may be due; ``None`` = never."""
        moments = []
        if self._rollover is not None:
            moments.append(self._reader.connected_at + self._rollover)
        if self._idle_timeout is not None:
            moments.append(self._gate.active_at + self._idle_timeout)
        return max(_LOOKS, min(moments) - time.monotonic()) if moments else None

    @property
    def _is_idle(self) -> bool:
        timeout = self._idle_timeout
        if timeout is None or time.monotonic() < self._gate.active_at + timeout:
            return False
        if self._gate.is_quiet and not self._is_busy():
            return True
        self._gate.active_at = time.monotonic()
        return False

    @property
    def _is_due(self) -> bool:
        late = self._rollover is not None
        return late and time.monotonic() >= self._reader.connected_at + (self._rollover or 0.0)

    def _roll_over(self) -> None:
        """Restore the session by a new connection while the old one lasts, and then go on with the new one.

        If something happens meanwhile, what was restored is not all; then it is tried again.
        """
        assert self._redial is not None
        plan = self._gate.plan(self._redial.policy.repeat_responses)
        attempt = Attempt(self._redial, plan, self._gate.ledger.config)
        while not attempt.done.wait(_LOOKS):
            if self._reader.over.is_set():
                break
        if attempt.error is not None:
            _log.warning("the session could not be moved to a new connection: %s", attempt.error)
            self._reader.over.wait(_AGAIN)
        elif not attempt.done.is_set() or not self._reader.go_on_with(attempt):
            attempt.cancel()

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: the thread is the parent's."""
