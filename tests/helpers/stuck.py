"""What never goes on, and Ctrl-C for those who wait for it."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

from scripted import CREATED, DEADLINE, Caller
from threads import in_thread, wait_until

import realtime_sync as rt

_LOOKS = 15  # in a row at which a thread must be at the same place to count as stuck
_PAUSE = 0.003  # seconds between two of them

_MORE_THAN_FITS = {"type": "input_audio_buffer.append", "audio": "A" * 8_000_000}


class Stalled:
    """A server that begins a session, reads some events, and then neither reads nor answers.

    Args:
        answers: What it says, in this order, each after it has read an event.
    """

    def __init__(self, *answers: str) -> None:
        self._answers = answers
        self.released = threading.Event()

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        for answer in self._answers:
            caller.read_message()
            caller.text(answer)
        assert self.released.wait(DEADLINE)


def fill(session: rt.Session) -> None:
    """Send so much to a server that does not read that everything else has to wait."""

    def send() -> None:
        with contextlib.suppress(rt.ConnectionClosed):
            session.send(_MORE_THAN_FITS)

    before = session.stats.events_out
    in_thread(send)  # is blocked, as the sender of a microphone is
    wait_until(lambda: session.stats.events_out > before)  # what is sent now comes behind it


def wait_until_stuck(thread: threading.Thread, over: threading.Event | None = None) -> bool:
    """Wait until a thread stays where it is; return False if something else is over before.

    On a busy machine it may be on its way still: only for tests that hold in that case too.
    """
    over, deadline = over or threading.Event(), time.monotonic() + DEADLINE
    seen: list[tuple[int, int]] = []
    while len(seen) < _LOOKS:
        assert time.monotonic() < deadline, "the thread does not get stuck"
        here = _place_of(thread)
        seen = [*seen, here] if seen[-1:] == [here] else [here]
        if over.wait(_PAUSE):
            return False
    return True


def _place_of(thread: threading.Thread) -> tuple[int, int]:
    """Where a thread is: the frame and the instruction."""
    frame = sys._current_frames()[thread.ident or 0]
    return id(frame), frame.f_lasti


class Pressed:
    """When Ctrl-C was pressed the last time (``time.monotonic()``), where, and how long it took from then."""

    at = 0.0
    seconds = 0.0
    place = (0, 0)


@contextlib.contextmanager
def ctrl_c_when_stuck(pressed: Pressed, presses: int = 1) -> Iterator[None]:
    """Press Ctrl-C when the main thread, which is this one, is stuck; once more when it is stuck again.

    The KeyboardInterrupt comes out of it.
    """
    begun, over = threading.Event(), threading.Event()
    main = threading.main_thread()

    def press() -> None:
        begun.wait(DEADLINE)
        for _ in range(presses):
            if not wait_until_stuck(main, over):
                return
            pressed.at, pressed.place = time.monotonic(), _place_of(main)
            signal.pthread_kill(main.ident or 0, signal.SIGINT)
            # Two at once would count as one.
            wait_until(lambda: over.is_set() or _place_of(main) != pressed.place)

    thread = in_thread(press)
    try:
        begun.set()
        yield
    finally:
        pressed.seconds = time.monotonic() - pressed.at
        over.set()
        thread.join(DEADLINE)
