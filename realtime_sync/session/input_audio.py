"""`InputAudio`: the user's audio, by its place in all that was appended, and a copy of its last seconds."""

import time
from collections import deque
from collections.abc import Collection, Iterator

from .facts import ItemEntry
from .latest import Latest

__all__ = ["InputAudio"]

_REMEMBERED = 256  # turns of the user
_NO_TURN = (0, 0, False)
_PIECE = 65536  # bytes of a chunk of the copy, at most, so that cutting one costs little
_MARK = 0.5  # seconds between two of the marks that tell when which audio was appended
_MARKS = 128


class InputAudio:
    """The audio of one session, over all its connections.  Places are in bytes from the first one appended.

    Attributes:
        appended: Bytes appended so far.
        confirmed: Bytes of them that the server has for certain.
        base: Where the audio of the connection begins: its server counts from there.
        emptied: What comes before this place is not in the server's buffer: it was committed or cleared.
        speaks: Whether the server has told that the user speaks.
        kept: Bytes of which a copy is kept at most; ``0`` = none.
    """

    def __init__(self) -> None:
        self.appended = self.confirmed = self.base = self.emptied = 0
        self.speaks = False
        self.kept = 0
        self._first = 0  # where the copy begins
        self._chunks: deque[bytes] = deque()
        self._began: int | None = None  # where the speech began that the server has told of last
        self._ended: int | None = None
        # Where the turns of the user begin and end, and whether we have committed them.
        self._turns: Latest[ItemEntry, tuple[int, int, bool]] = Latest(_REMEMBERED)
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)

    # --- What is appended --------------------------------------------------------------------------------

    def append(self, size: int, chunk: bytes | None = None) -> None:
        """Note audio that is about to be sent.

        Args:
            size: Its bytes.
            chunk: Itself; it is not kept if it is ``None``, or malformed, so that it has another size.
        """
        if not size:
            return
        self.appended += size
        if not self.kept or chunk is None or len(chunk) != size:
            self._chunks.clear()
            self._first = self.appended
            return
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _MARK:
            self._marks.append((now, self.appended - size))
        self._chunks.extend(chunk[start : start + _PIECE] for start in range(0, len(chunk), _PIECE))
        while (excess := self.appended - self._first - self.kept) > 0:
            oldest = self._chunks.popleft()
            if len(oldest) > excess:
                self._chunks.appendleft(oldest[excess:])
            self._first += min(len(oldest), excess)

    def appended_at(self, moment: float) -> int:
        """Return how much was appended, at least, by a moment on the clock of `time.monotonic`."""
        before = [place for when, place in self._marks if when <= moment]
        return before[-1] if before else 0

    # --- What the server tells ---------------------------------------------------------------------------

    def speech_began(self, place: int) -> None:
        """Note where the user began to speak."""
        self.speaks, self._began, self._ended = True, min(place, self.appended), None
        self.confirm(place)

    def speech_ended(self, place: int) -> None:
        """Note where the user stopped speaking."""
        self.speaks, self._ended = False, place
        self.confirm(place)

    def confirm(self, place: int) -> None:
        """Note that the server has the audio up to a place."""
        self.confirmed = max(self.confirmed, min(place, self.appended))

    def committed(self, item: ItemEntry, place: int | None) -> None:
        """Note that audio became a message: up to a place that we chose, or ``None``, as speech ended."""
        begin, ours = self.emptied, place is not None
        if place is None:
            begin = max(begin, self._began or 0)
            place = self.confirmed if self._ended is None else self._ended
        place = max(begin, min(place, self.appended))
        self._turns[item] = begin, place, ours
        self.cleared(place)

    def cleared(self, place: int) -> None:
        """Note that what comes before a place is no longer in the server's buffer."""
        self.emptied = max(self.emptied, place)
        self.speaks, self._began, self._ended = False, None, None

    # --- What can be sent again --------------------------------------------------------------------------

    def of_turn(self, item: ItemEntry) -> bytes | None:
        """Return the audio of a turn of the user; ``None`` if the copy doesn't hold all of it."""
        begin, end, _ = self._turns.get(item, _NO_TURN)
        if not self._first <= begin < end:
            return None
        return b"".join(self.copy(begin, end))

    def turn_size(self, item: ItemEntry) -> int:
        """Return the bytes of a turn of the user; ``0`` = unknown."""
        begin, end, _ = self._turns.get(item, _NO_TURN)
        return end - begin

    def rewind(self, turns: Collection[ItemEntry]) -> list[int]:
        """Count turns as not committed, the last ones; return the places at which we had committed them."""
        places = [self._turns.pop(item) for item in tuple(self._turns) if item in turns]
        self.emptied = min([self.emptied, *(begin for begin, _, _ in places)])
        return [end for _, end, ours in places if ours]

    def copy(self, begin: int, end: int) -> Iterator[bytes]:
        """Return what the copy holds between two places, in chunks."""
        place = self._first
        for chunk in self._chunks:
            cut = chunk[max(0, begin - place) : max(0, end - place)]
            if cut:
                yield cut
            place += len(chunk)

    def missing(self, begin: int) -> int:
        """Return how many bytes from a place on the copy doesn't hold."""
        return max(0, self._first - begin)

    def restart(self) -> int:
        """Begin with a new connection; return the place from which audio is sent again."""
        begin = max(self.emptied, self._first)
        self.base = self.confirmed = self.emptied = begin
        self.speaks, self._began, self._ended = False, None, None
        return begin
