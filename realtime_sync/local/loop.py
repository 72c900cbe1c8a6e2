"""Run one session over one WebSocket, in the connection's thread."""

import contextlib
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from .. import events as ev
from ..clock import monotonic
from ..events import Item, ServerEvent, SessionConfig
from .background import Background
from .memory import Memory
from .observer import HistoryObserver, Observer
from .protocol.machine import Protocol
from .stage import Abort, Action, Close, Cut, Send, SendHalf, Silence, Stage
from .websocket import WebSocket

__all__ = ["Bell", "Loop", "Sunset"]

_log = logging.getLogger("realtime_sync.local")

MOST_WAITING = 1024 * 1024
"""Backpressure: with this many unsent bytes, the client is not read from and nothing more is made for it."""
_FAILED = 1011
_TRY_AGAIN_LATER = 1013
_SUNSET = 4000
_HURRY_SECONDS = 0.25
"""How long a session that must end waits for the client's close frame."""
_SESSION_BYTES = 32 * 1024  # of a session that holds nothing: its thread and its settings


class Bell:
    """Ends sessions from another thread: they poll its socket along with their own.

    Args:
        code, reason: What the sessions are closed with.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        self.rung = False
        self.waker, self._rope = socket.socketpair()
        # Keeps `ring` from writing into a descriptor that `close` has just given back.
        self._lock = threading.Lock()

    def ring(self) -> None:
        """End the sessions that wait for it.  From any thread, also after `close`."""
        with self._lock, contextlib.suppress(OSError):
            self.rung = True
            self._rope.send(b"!")

    def close(self) -> None:
        with self._lock:
            self.waker.close()
            self._rope.close()


class Sunset:
    """In place of `Protocol`: what a client that speaks Beta gets from a server that has switched it off."""

    def __init__(self, session_id: str, event_id: str) -> None:
        self.session = SessionConfig(id=session_id)
        self.closing = (_SUNSET, "invalid_request_error.beta_api_shape_disabled")
        self.due: float | None = None
        self.active = False
        self.held = 0
        self.items: list[Item] = []
        self._event_id = event_id

    def start(self, now: float) -> list[ServerEvent]:
        error = ev.ErrorDetails(
            type="invalid_request_error",
            code="beta_api_shape_disabled",
            message="The Realtime Beta API is switched off: connect without the header 'OpenAI-Beta'.",
        )
        return [ev.ErrorEvent(event_id=self._event_id, error=error)]

    def close(self) -> None: ...

    def receive(self, frame: str, now: float) -> list[ServerEvent]:
        return []

    def step(self, now: float) -> list[ServerEvent]:
        return []


class Loop:
    """One session: waits for the client and for the time, whichever comes first.

    Args:
        faults: Stands between the protocol and the client.
        bells: End the session when one of them rings.
        memory: Bounds what all sessions hold.
        background: What the protocol lets run beside the session.
    """

    def __init__(
        self,
        websocket: WebSocket,
        protocol: Protocol | Sunset,
        *,
        faults: Stage,
        observer: Observer | None = None,
        bells: Sequence[Bell] = (),
        memory: Memory | None = None,
        background: Background | None = None,
    ) -> None:
        self._websocket = websocket
        self._protocol = protocol
        self._faults = faults
        self._observer = observer
        self._bells = list(bells)
        self._background = background or Background()
        self._id = str(protocol.session.id)
        self._ended = False  # the protocol receives and sends nothing more
        self._late: deque[tuple[float, Action]] = deque()  # what a fault delays, and when it is due
        self._late_bytes = 0
        self._memory = memory
        self._held = 0  # bytes, by what the memory was told
        self._opened = monotonic()

    def run(self) -> None:
        """Serve until the connection is over, from whichever side."""
        websocket = self._websocket
        self._tell(lambda observer: observer.opened(self._id))
        try:
            self._converse(lambda: self._send(self._protocol.start(monotonic())))
            while not websocket.over:
                self._check_bells()
                self._check_memory()
                self._check_faults()
                self._deliver()
                websocket.flush()
                websocket.wait(self._until(), reading=self._has_room(), wakers=self._wakers())
                self._background.drain()
                self._converse(self._exchange)
        finally:
            websocket.end()
            self._tell_history()
            self._let_go()
            self._background.close()
            self._tell(lambda observer: observer.closed(self._id, websocket.code, websocket.reason))

    def _wakers(self) -> list[socket.socket]:
        work = self._background.waker
        return [bell.waker for bell in self._bells] + ([] if work is None else [work])

    def _check_bells(self) -> None:
        for bell in [bell for bell in self._bells if bell.rung]:
            self._bells.remove(bell)
            self._hurry(bell.code, bell.reason)

    def _hurry(self, code: int, reason: str) -> None:
        """Close the connection, without what is delayed."""
        self._ended = True
        self._late.clear()
        self._websocket.patience = _HURRY_SECONDS
        self._websocket.close(code, reason)
        self._websocket.over = self._websocket.over or self._websocket.silent

    def _check_faults(self) -> None:
        """Do what a fault wants at this time."""
        if monotonic() >= self._opened + self._faults.due:
            self._strike(self._faults.elapse(monotonic() - self._opened))

    def _strike(self, actions: Sequence[Action]) -> None:
        """Let a fault strike now: what is delayed is lost."""
        if actions and not self._websocket.closing:
            self._late.clear()
            self._late_bytes = 0
            for action in actions:
                self._perform(action)

    def _check_memory(self) -> None:
        """End the session if it wants more memory than there is for all sessions."""
        held = _SESSION_BYTES + self._protocol.held + self._websocket.held + self._late_bytes
        if self._ended or self._hold(held):
            return
        self._hurry(_TRY_AGAIN_LATER, "the server has no memory left for this session")
        self._let_go()

    def _let_go(self) -> None:
        """Free the memory at once: without this, the garbage collector would, some time."""
        self._protocol.close()
        self._protocol = Sunset(self._id, "")  # which holds nothing
        self._hold(0)

    def _hold(self, held: int) -> bool:
        fine = self._memory is None or self._memory.change(held - self._held)
        self._held = held
        return fine

    def _until(self) -> float | None:
        times = [self._websocket.due, self._opened + self._faults.due]
        if self._late:
            times.append(self._late[0][0])
        if self._has_room():
            times.append(self._protocol.due)
        return min((time for time in times if time is not None), default=None)

    def _has_room(self) -> bool:
        """Return whether more may be received and sent now."""
        websocket = self._websocket
        if self._ended or websocket.closing or websocket.silent or websocket.over:
            return False
        return websocket.waiting + self._late_bytes < MOST_WAITING

    # --- The protocol --------------------------------------------------------------------------------

    def _converse(self, exchange: Callable[[], None]) -> None:
        """Call the protocol; an exception is a bug of the server, and ends the session with 1011."""
        try:
            exchange()
        except Exception:
            _log.exception("a session failed")
            self._ended = True
            self._websocket.close(_FAILED, "the server had an error")
        if self._protocol.closing is not None and not self._ended:
            self._ended = True
            self._do(Close(*self._protocol.closing))

    def _exchange(self) -> None:
        """Handle what has come, and take the next step of what is in flight."""
        while self._may_receive():
            message = self._websocket.receive()
            if message is None:
                break
            self._receive(message)
        now = monotonic()
        due = self._protocol.due
        if due is not None and now >= due and self._has_room():
            self._send(self._protocol.step(now))

    def _receive(self, message: str) -> None:
        self._tell(lambda observer: observer.received(self._id, message))
        events = self._protocol.receive(message, monotonic())
        self._strike(self._faults.receive())
        self._send(events)

    def _may_receive(self) -> bool:
        """Return whether to take messages; a closing WebSocket still waits for the client's close frame."""
        return self._websocket.closing or (self._protocol.closing is None and self._has_room())

    # --- The client ----------------------------------------------------------------------------------

    def _send(self, events: list[ServerEvent]) -> None:
        for action in self._faults.take(events, more=self._protocol.active):
            self._do(action)

    def _do(self, action: Action) -> None:
        """Perform an action in its turn: at once, or after what is delayed before it."""
        after = action.after if isinstance(action, Send) else 0.0
        if not self._late and not after:
            self._perform(action)
            return
        at = monotonic() + after
        if self._late:
            at = max(at, self._late[-1][0])
        self._late.append((at, action))
        self._late_bytes += _size(action)

    def _deliver(self) -> None:
        """Perform the delayed actions that are due."""
        while self._late and self._late[0][0] <= monotonic():
            _, action = self._late.popleft()
            self._late_bytes -= _size(action)
            self._perform(action)

    def _perform(self, action: Action) -> None:
        websocket = self._websocket
        match action:
            case Send(text=text):
                if not websocket.closing:
                    self._tell(lambda observer: observer.sent(self._id, text))
                    websocket.send(text)
            case SendHalf(text=text):
                websocket.send_half(text)
            case Close(code=code, reason=reason):
                websocket.close(code, reason)
            case Cut():
                websocket.drop()
            case Abort():
                websocket.reset()
            case Silence(lasting=lasting):
                websocket.be_silent(lasting)

    def _tell_history(self) -> None:
        observer = self._observer
        if isinstance(observer, HistoryObserver):
            remembered, items = observer.remembered, self._protocol.items
            self._tell(lambda _: remembered(self._id, items))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        if self._observer is not None:
            try:
                what(self._observer)
            except Exception:
                _log.exception("the observer failed")


def _size(action: Action) -> int:
    return len(action.text) if isinstance(action, Send | SendHalf) else 0
