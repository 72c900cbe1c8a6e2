"""When a talk is over, and what helps it to get there."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from ..exceptions import ConnectionClosed
from ..session import Session
from ..voice.microphones import FileMicrophone, Microphone
from .dialogue import Dialogue

__all__ = ["Ending"]

_LOOK = 0.1  # seconds between two looks at whether the talk is over
_CALM = 0.5  # seconds without an event after which it is, when all is answered
_PATIENCE = 10.0  # the same, when something is missing that the server owes us
_THINKING = 60.0  # the same, when a response has begun
_UNHEARD = 5.0  # the same, after which the file is committed to a server that may not detect turns


class Ending:
    """Closes the session when the talk is over: the file is answered, or a device is gone.

    For a server that doesn't detect turns, it commits the file as one turn and asks for the response.

    Args:
        session: The one of the talk.
        microphone: What sends the user's audio.
        dialogue: What sees the events.
        detects: Whether the server says that it detects turns; ``None`` = it doesn't say.
        failure: Returns what is wrong with a device, or ``None``.

    Attributes:
        problem: What was missing at the end; ``None`` = nothing.
    """

    def __init__(
        self,
        session: Session,
        microphone: FileMicrophone | Microphone,
        dialogue: Dialogue,
        *,
        detects: bool | None,
        failure: Callable[[], Exception | None],
    ) -> None:
        self.problem: str | None = "the server ended the session"
        self._session = session
        self._microphone = microphone
        self._dialogue = dialogue
        self._detects = detects
        self._failure = failure
        self._committed = self._asked = False
        # Set when the session is not run any more.
        self._over = threading.Event()
        # Looks, from time to time, at what brings no event: the end of the file, and the calm after it.
        self._thread = threading.Thread(target=self._watch, name="realtime_sync-ending", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if not isinstance(error, KeyboardInterrupt):  # what it sends is not waited for
            self._thread.join()

    def _watch(self) -> None:
        ended_at: float | None = None
        while not self._over.wait(_LOOK):
            if isinstance(self._microphone, FileMicrophone) and self._microphone.finished.is_set():
                ended_at = ended_at or time.monotonic()
            if failure := self._failure():
                self.problem = str(failure)
            since = max(ended_at, self._dialogue.moved) if ended_at else None
            if failure or (since and self._is_over(since)):
                self._session.close()
                return
            if since:
                try:
                    self._help(since)
                except ConnectionClosed:  # which the main thread sees too
                    return

    def _help(self, since: float) -> None:
        """Commit what was sent, where the server doesn't do so by itself; then ask for the response."""
        if not self._dialogue.heard and not self._committed:
            unheard = self._detects is None and time.monotonic() - since >= _UNHEARD
            if self._detects is False or unheard:
                self._session.input_audio_buffer.commit()
                self._committed = True
        elif self._committed and self._dialogue.heard and not self._asked:
            self._session.response.create()
            self._asked = True

    def _is_over(self, since: float) -> bool:
        """Return whether nothing more is to be expected, when nothing has happened since then."""
        answering = self._session.active_response is not None
        if not self._dialogue.heard:
            problem, patience = "the server has heard no speech", _PATIENCE
        elif answering or self._dialogue.unanswered:
            problem, patience = "the server has not answered", _THINKING if answering else _PATIENCE
        else:
            problem, patience = None, _PATIENCE if self._dialogue.untranscribed else _CALM
        if time.monotonic() - since < patience:
            return False
        self.problem = problem
        return True
