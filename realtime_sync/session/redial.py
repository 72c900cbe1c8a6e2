"""Another connection for a session that has lost its own: dialled and restored in a thread of its own."""

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from ..events import SessionConfig
from ..exceptions import ConnectionFailed
from ..reconnect import Reconnect
from ..redaction import Redact
from ..wire.opening import Opening
from ..wire.transport import Transport
from .plan import Plan, Restored
from .processes import abandon_in_child
from .restoration import restore

__all__ = ["GOODBYE", "Attempt", "Redial"]

GOODBYE = 0.5
"""Seconds that the close frame of a connection may take that is not wanted any more."""


class Redial(Struct, frozen=True):
    """How a session gets another connection.

    Attributes:
        policy: When, and what is done then.
        dial: Opens a connection, unless that is cancelled.
        redact: Removes secrets from what a server says.
        connect_timeout: Seconds for a connection and the first event of its session.
        waits: Whether the server sends an event before it receives something.
        possible: False for the session of a phone call, which can't be opened again.
    """

    policy: Reconnect
    dial: Callable[[Opening], Transport]
    redact: Redact
    connect_timeout: float
    waits: bool
    possible: bool


class Attempt:
    """One attempt to get another connection.  It begins at once.

    Attributes:
        plan: What is to be restored.
        done: Set when it has succeeded or failed.
        transport, restored: The connection, and what was restored; valid if it has succeeded.
        error: Why it failed; ``None`` if it has not.
    """

    def __init__(self, redial: Redial, plan: Plan, config: SessionConfig | None) -> None:
        self.plan = plan
        self.done = threading.Event()
        self.transport: Transport | None = None
        self.restored: Restored | None = None
        self.error: ConnectionFailed | None = None
        self._redial = redial
        self._config = config
        self._opening = Opening()
        self._is_cancelled = False
        # Guards what is to become of the connection, between this attempt's thread and those that cancel it.
        self._lock = threading.Lock()
        abandon_in_child(self)
        # Dials and restores, so that the session can be closed meanwhile.  A daemon, as the reader is.
        thread = threading.Thread(target=self._run, name="realtime_sync-redial", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system's limit of threads
            self._fail(ConnectionFailed(f"could not start a thread to reconnect: {error}"))

    def _run(self) -> None:
        redial = self._redial
        deadline = time.monotonic() + redial.connect_timeout
        try:
            self.transport = redial.dial(self._opening)
            self.restored = restore(
                self.plan, self.transport, self._config, redial.redact, deadline, waits=redial.waits
            )
        except ConnectionFailed as error:
            self._fail(error)
        except BaseException as error:  # such as of the function that makes the key
            failed = ConnectionFailed(f"could not open another connection: {error}")
            failed.__cause__ = error
            self._fail(failed)
        else:
            with self._lock:
                self.done.set()
                if self._is_cancelled:
                    self._free()

    def _fail(self, error: ConnectionFailed) -> None:
        with self._lock:
            self.error = error
            self._free()
            self.done.set()

    def _free(self) -> None:
        if self.transport is not None:
            self.transport.kill()
            self.transport.free()

    def cancel(self) -> None:
        """Want its connection no longer: say goodbye if there is one, and end it or what is done to open it.

        Never waits for the server.  The connection must not have been handed over.
        """
        with self._lock:
            self._is_cancelled = True
            if self.error is not None:
                return
        if self.transport is not None:
            self.transport.send_close(1000, "", time.monotonic() + GOODBYE)
            self.transport.kill()
        self._opening.cancel()
        with self._lock:
            if self.done.is_set():
                self._free()

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: close the copy of the socket; the connection is the parent's."""
        self._lock = threading.Lock()
        self._opening.abandon()
        if self.transport is not None:
            self.transport.abandon()
