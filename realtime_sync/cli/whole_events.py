"""Ctrl-C, which waits for the end of the event that it falls into."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from ..events import ServerEvent
from ..visitor import Visitors

__all__ = ["WholeEvents"]


class WholeEvents(Visitors):
    """Delays a Ctrl-C to the end of the event that it falls into, so that none is shown or played by halves.

    A second one isn't delayed.
    """

    _visiting = False
    _pressed = False

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
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, *_: object) -> None:
        if self._pressed or not self._visiting:
            raise KeyboardInterrupt
        self._pressed = True
