"""A file on its way to a server that transcribes it."""

import contextlib
import threading
import time
from typing import Literal

from ..events import ErrorDetails
from ..exceptions import ConnectionClosed
from ..session import Session
from ..sound.formats import input_format, silence
from ..voice.audio import stream_file
from .turns import Turns

__all__ = ["Sending"]

_TAIL = 1.0  # seconds of silence behind the file, by which the server finds the end of the last turn
_JOIN = 5.0  # seconds for the sending to end


class Sending:
    """Sends a file, and asks the server in the end whether it has heard it all.

    Args:
        session: The one to send it to.
        path: The file.
        pace: As in `stream_file`.
        detects: Whether the server says that it detects turns; ``None`` = it doesn't say.

    Attributes:
        detects: The same; ``False`` as well once `commit` was called.
        seconds: Of audio in the file; ``None`` until all of it is sent.
        damage: What is wrong with the file, if not all of its audio is there.
        failure: Why it could not be read to its end.
        ended_at: When nothing more was to be sent (``time.monotonic()``); ``None`` before.
    """

    def __init__(
        self, session: Session, path: str, pace: Literal["fast", "realtime"], *, detects: bool | None
    ) -> None:
        self.detects = detects
        self.seconds: float | None = None
        self.damage: list[str] = []
        self.failure: Exception | None = None
        self.ended_at: float | None = None
        self._session = session
        self._path = path
        self._pace: Literal["fast", "realtime"] = pace
        self._question: str | None = None  # the id of the event that is answered when all before it was taken
        self._doubtful: set[str] = set()  # the ids of events whose rejection is no problem
        # Sends while the main thread takes the events: they need not fit into memory, and the end of the
        # session is seen at once.  A daemon, as it may be stuck in reading a pipe.
        self._thread = threading.Thread(target=self._send, name="realtime_sync-file", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, which that of the session brings about."""
        if self._thread.ident is not None:
            self._thread.join(_JOIN)

    def _send(self) -> None:
        try:
            with contextlib.suppress(ConnectionClosed):  # which the other thread sees
                self._send_file()
                self._ask()
        finally:
            self.ended_at = time.monotonic()

    def _send_file(self) -> None:
        try:
            self.seconds = stream_file(self._session, self._path, self._pace, on_problem=self.damage.append)
        except (OSError, ValueError, ImportError) as error:
            self.failure = error  # what was sent of it counts

    def _ask(self) -> None:
        if self.detects is False:
            self._question = self._session.input_audio_buffer.commit()
            return
        # Not by a commit: the silence would be a turn, in which some models hear words.
        self._session.input_audio_buffer.append(silence(_TAIL, input_format(self._session.config)))
        self._question = self._session.update()
        self._doubtful.add(self._question)

    def commit(self) -> None:
        """Make what was sent a turn, on a server that doesn't find its end, or may not detect turns at all.

        Raises:
            ConnectionClosed: The session is over.
        """
        self.detects = False
        self._question = self._session.input_audio_buffer.commit()
        self._doubtful.add(self._question)

    def answered(self, turns: Turns) -> bool:
        """Return whether the server has taken all that was sent."""
        if self._question is None:  # the session ended before it could be asked
            return False
        if turns.commits if self.detects is False else turns.updates:
            return True
        return any(error.event_id == self._question for error in turns.errors)

    def is_whole(self, turns: Turns) -> bool:
        """Return whether the server has taken the whole file, and owes nothing of its transcript."""
        return self.seconds is not None and self.answered(turns) and turns.complete

    def is_answer(self, error: ErrorDetails) -> bool:
        """Return whether an error only says that the server can't be asked, or has nothing to commit."""
        return error.event_id in self._doubtful
