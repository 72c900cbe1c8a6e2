"""Ctrl-C, which waits for the end of the event that it falls into."""

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator

from ..events import ServerEvent
from ..visitor import Visitors

__all__ = ["WholeEvents"]

_LONGEST = 0.3  # seconds that Ctrl-C is delayed


class WholeEvents(Visitors):
    """Delays a Ctrl-C to the end of the event that it falls into, so that none is shown or played by halves.

    A second one isn't delayed, nor is it if the event doesn't end: showing it may be stuck.
    """

    _visiting = False
    _pressed = False
    _timer: threading.Timer | None = None
    _again = False  # whether the timer has pressed, and not the user

    def visit(self, event: ServerEvent) -> None:
        """Hand an event to the visitors.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        self._visiting = True
        try:
            super().visit(event)
        finally:
            self._visiting = False
        if self._pressed:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def ctrl_c(self) -> Iterator[None]:
        """Delay it while this lasts, in the main thread, unless the program handles Ctrl-C itself."""
        own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not own or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer.join()
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, *_: object) -> None:
        again, self._again = self._again, False
        if again and not self._visiting:
            return  # the event has ended in this very moment
        if self._pressed or not self._visiting:
            raise KeyboardInterrupt
        self._pressed = True
        # Presses again if the event doesn't end.  A daemon, like all our threads.
        self._timer = threading.Timer(_LONGEST, self._press_again)
        self._timer.daemon = True
        self._timer.start()

    def _press_again(self) -> None:
        self._again = True
        ident = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and ident is not None:
            signal.pthread_kill(ident, signal.SIGINT)  # which also ends what it waits for in the system
        else:  # pragma: no cover  # Windows
            _thread.interrupt_main()
