"""Phone calls: a test lets one ring, the program under test takes it from there over HTTP."""

import contextlib
import logging
import threading
from collections.abc import Callable

from ...events import SessionConfig
from .answers import Declined, random_id

__all__ = ["Call", "Calls"]

_log = logging.getLogger("realtime_sync.local")

_MOST_CALLS = 10_000


class Call:
    """An incoming call, as the server sees it.  It has no audio: a call here is its state.

    Attributes:
        id: ``rtc_...``
        state: ``"ringing"``, then ``"accepted"`` or ``"rejected"``; ``"ended"`` after a hangup or a transfer.
        settings: What the program accepted it with, as given; ``None`` before.
        session: The same with the server's defaults.
        reject_status: The SIP status that the caller was rejected with.
        referred_to: The URI that the caller was transferred to.
    """

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.state = "ringing"
        self.settings: SessionConfig | None = None
        self.session: SessionConfig | None = None
        self.reject_status: int | None = None
        self.referred_to: str | None = None
        # Guards all of the above and the callbacks, which requests, sessions and tests use in their threads.
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.state}>"

    @property
    def over(self) -> bool:
        """Whether it has been rejected, or has ended."""
        return self.state in ("rejected", "ended")

    def on_hangup(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once when the call ends; at once, if it has ended.

        It is called in the thread that ends the call.  Returns a function that unregisters it.
        """
        with self._lock:
            if not self.over:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def hang_up(self) -> None:
        """End the call from the caller's side, whatever its state.  Does nothing when it is over."""
        with self._lock:
            callbacks = [] if self.over else self._end("ended")
        _run(callbacks)

    def accept(self, settings: SessionConfig, session: SessionConfig) -> None:
        """Accept the call.

        Raises:
            Declined: It has been accepted already (400), or is over (404).
        """
        with self._lock:
            self._check("ringing")
            self.state, self.settings, self.session = "accepted", settings, session

    def reject(self, status: int) -> None:
        """Reject the call.

        Raises:
            Declined: It has been accepted already (400), or is over (404).
        """
        with self._lock:
            self._check("ringing")
            self.reject_status = status
            callbacks = self._end("rejected")
        _run(callbacks)

    def hang_up_accepted(self) -> None:
        """End the call, as the program asks.

        Raises:
            Declined: It still rings (400), or is over (404).
        """
        with self._lock:
            self._check("accepted")
            callbacks = self._end("ended")
        _run(callbacks)

    def refer(self, target: str) -> None:
        """Transfer the caller, which ends the call here.

        Raises:
            Declined: It still rings (400), or is over (404).
        """
        with self._lock:
            self._check("accepted")
            self.referred_to = target
            callbacks = self._end("ended")
        _run(callbacks)

    def _check(self, state: str) -> None:
        if self.over:
            raise _not_found()
        if self.state == "accepted" != state:
            raise Declined(400, "call_already_accepted", "This call has been accepted already.")
        if self.state == "ringing" != state:
            raise Declined(400, "call_not_accepted", "This call has not been accepted yet.")

    def _end(self, state: str) -> list[Callable[[], None]]:
        self.state = state
        callbacks, self._callbacks = self._callbacks, []
        return callbacks


class Calls:
    """The calls that a server knows."""

    def __init__(self) -> None:
        # Guards the table, which the threads of all connections use.
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}

    def create(self, call_id: str | None = None) -> Call:
        """Let a call ring.  When there are too many, the oldest that is over is dropped.

        Raises:
            ValueError: There is a call with this id.
        """
        call = Call(call_id or random_id("rtc"))
        dropped = None
        with self._lock:
            if call.id in self._calls:
                raise ValueError(f"call {call.id!r} exists already")
            if len(self._calls) >= _MOST_CALLS:
                oldest = next(iter(self._calls.values()))
                dropped = next((call for call in self._calls.values() if call.over), oldest)
                del self._calls[dropped.id]
            self._calls[call.id] = call
        if dropped:
            dropped.hang_up()
        return call

    def find(self, call_id: str) -> Call:
        """Return a call, whatever its state.

        Raises:
            Declined: The call is unknown (404).
        """
        with self._lock:
            call = self._calls.get(call_id)
        if call is None:
            raise _not_found()
        return call

    def accepted(self, call_id: str) -> Call:
        """Return a call whose session may be joined.

        Raises:
            Declined: It is not accepted yet, is over, or is unknown (404).
        """
        call = self.find(call_id)
        if call.state == "ringing":
            raise _not_found("This call has not been accepted yet.")
        if call.over:
            raise _not_found()
        return call


def _not_found(message: str = "The call is unknown, or is over.") -> Declined:
    return Declined(404, "call_id_not_found", message)


def _run(callbacks: list[Callable[[], None]]) -> None:
    """Call each, whatever the others do.  Not under the lock: a callback may look at the call."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            _log.exception("a callback of a call that ended failed")
