"""`Inbox`: the queue between the reader and the user, without either."""

import contextlib
import queue
import threading

import pytest
from scripted import DEADLINE

from realtime_sync.events import UnknownEvent
from realtime_sync.session.inbox import Inbox

A, B = UnknownEvent("a", b""), UnknownEvent("b", b"")


def test_order_and_end() -> None:
    """Events come out in order, then the end, as often as it is asked for."""
    inbox = Inbox(100)
    inbox.put([A], 1)
    inbox.put([B], 1)
    inbox.finish()
    assert [inbox.get(0) for _ in range(5)] == [A, B, None, None, None]


def test_nothing_in_time() -> None:
    """Waiting in vain raises, and loses nothing."""
    inbox = Inbox(100)
    with pytest.raises(queue.Empty):
        inbox.get(0)
    with pytest.raises(queue.Empty):
        inbox.get(0.01)
    inbox.put([A], 1)
    assert inbox.get(None) is A


def test_batches() -> None:
    """Events that were put together are taken one by one."""
    inbox = Inbox(100)
    inbox.put([A, B], 2)
    inbox.put([B, A], 2)
    assert [inbox.get(0) for _ in range(4)] == [A, B, B, A]


def test_room() -> None:
    """The reader waits once the limit is reached, until no more than half of it is held."""
    inbox = Inbox(100)
    inbox.put([A], 40)
    assert not inbox.full
    inbox.put([B], 60)
    assert inbox.full
    assert (inbox.held, inbox.most_held) == (100, 100)
    went_on = threading.Event()

    def wait() -> None:
        inbox.wait_for_room()
        went_on.set()

    reader = threading.Thread(target=wait)
    reader.start()
    inbox.get(0)
    assert not went_on.is_set()
    inbox.get(0)
    assert went_on.wait(DEADLINE)
    reader.join(DEADLINE)
    assert (inbox.held, inbox.most_held) == (0, 100)


def test_an_event_over_the_limit() -> None:
    """One event larger than the whole limit is taken, and only stops the next."""
    inbox = Inbox(100)
    inbox.put([A], 1000)
    assert inbox.full
    assert inbox.get(0) is A
    assert not inbox.full


def test_waiting_threads() -> None:
    """Each of several waiting threads gets an event of its own, and all see the end."""
    inbox = Inbox(100)
    got: list[object] = []

    def take() -> None:
        while (event := inbox.get(DEADLINE)) is not None:
            got.append(event)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        inbox.put([A, B], 0)
    inbox.finish()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert len(got) == 1000


def test_closing() -> None:
    """When the user closes, the reader waits no more, and what exceeds the limit is left out."""
    inbox = Inbox(100)
    inbox.put([A], 100)
    inbox.stop_waiting()
    assert not inbox.full
    inbox.wait_for_room()
    inbox.put([B], 1)
    inbox.finish()
    assert [inbox.get(0), inbox.get(0)] == [A, None]


def test_nudges() -> None:
    """A nudge ends the waits that look for it, also if it came just before, and no others."""
    inbox = Inbox(100)
    nudged = inbox.nudged
    inbox.nudge()
    with pytest.raises(queue.Empty):
        inbox.get(None, nudged)
    inbox.put([A], 1)
    assert inbox.get(None, nudged) is A  # what is there is taken all the same
    ends: list[str] = []

    def wait(name: str, nudged: object) -> None:
        try:
            inbox.get(None, nudged)
            ends.append(f"{name} has one")
        except queue.Empty:
            ends.append(f"{name} was nudged")

    patient = threading.Thread(target=wait, args=["patient", None])
    other = threading.Thread(target=wait, args=["other", inbox.nudged])
    patient.start()
    other.start()
    inbox.nudge()
    other.join(DEADLINE)
    inbox.put([B], 1)
    patient.join(DEADLINE)
    assert ends == ["other was nudged", "patient has one"]


def test_a_nudge_is_not_taken_by_another() -> None:
    """Each thread that waits is nudged, whoever waits next."""
    inbox = Inbox(100)

    def wait(nudged: object) -> None:
        with contextlib.suppress(queue.Empty):
            inbox.get(None, nudged)

    for _ in range(100):
        thread = threading.Thread(target=wait, args=[inbox.nudged], daemon=True)
        thread.start()
        inbox.nudge()
        with pytest.raises(queue.Empty):
            inbox.get(0.001, inbox.nudged)
        thread.join(DEADLINE)
        assert not thread.is_alive()
