"""Work that may wait, beside a session."""

import gc
import logging
import selectors
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from local_peer import DEADLINE, connected

from realtime_sync.local import Heard, LocalServer, Request, Say, Sentence
from realtime_sync.local import background as module
from realtime_sync.local.background import Background
from realtime_sync.local.protocol.source import Source

WORKER = "realtime-sync-work"


def until_ready(background: Background, source: "Source[Any]") -> None:
    """Wait for the next item as a session does: by the waker."""
    with selectors.DefaultSelector() as selector:
        assert background.waker is not None
        selector.register(background.waker, selectors.EVENT_READ)
        while not source.ready:
            assert selector.select(DEADLINE)
            background.drain()


def test_items_come_in_order_and_wake_the_session() -> None:
    """A session that sleeps until it is woken gets all items, however many there are."""
    background = Background()
    source = background.run(lambda: iter(range(1000)), lambda: None)
    taken = []
    while True:
        until_ready(background, source)
        item = source.take()
        if item is None:
            break
        taken.append(item)
    assert taken == list(range(1000))
    background.close()


def test_work_is_not_far_ahead() -> None:
    """Of endless work only a few items are made before they are wanted."""
    made: list[int] = []
    enough = threading.Event()

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            if len(made) == module._MOST_AHEAD + 1:
                enough.set()
            yield made[-1]

    background = Background()
    source = background.run(endless, lambda: None)
    assert enough.wait(DEADLINE)
    for expected in range(5):
        assert source.take() == expected
    source.close()
    background.close()
    assert len(made) <= module._MOST_AHEAD + 7


def test_an_error_comes_out_in_the_session() -> None:
    """What the work raises, whatever it is, is raised where the next item is taken."""

    def work() -> Iterator[int]:
        yield 1
        raise GeneratorExit("odd")

    background = Background()
    source = background.run(work, lambda: None)
    assert source.take() == 1
    with pytest.raises(GeneratorExit):
        source.take()
    assert source.take() is None
    background.close()


@pytest.mark.parametrize("role", ["responder", "transcriber", "voice"])
def test_what_has_failed_is_let_go(
    role: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error keeps nothing of a session that is over: its memory is free without the garbage collector."""
    made: list[weakref.ref[Any]] = []
    run = Background.run

    def noted(background: Background, work: Any, close: Any) -> Any:
        made.extend([weakref.ref(background), weakref.ref(work)])
        return run(background, work, close)

    monkeypatch.setattr(Background, "run", noted)
    caplog.set_level(logging.CRITICAL, "realtime_sync.local")  # a record would keep the error
    options: Any = {role: Failing()}
    gc.disable()
    try:
        with LocalServer(**options) as server, connected(server) as peer:
            audio = {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}}
            peer.send("session.update", session={"type": "realtime", "audio": audio})
            peer.send("input_audio_buffer.append", audio="AAAA" * 4000)
            peer.send("input_audio_buffer.commit")
            peer.until(
                "conversation.item.input_audio_transcription."
                + ("failed" if role == "transcriber" else "completed")
            )
            peer.send("response.create")
            peer.until("response.done")
        assert made
        assert [reference() for reference in made if reference() is not None] == []
    finally:
        gc.enable()


def test_close_wakes_what_waits() -> None:
    """Work that is blocked is told to end, by another thread, and gives nothing more."""
    told, begun = threading.Event(), threading.Event()

    def work() -> Iterator[int]:
        begun.set()
        assert told.wait(DEADLINE)
        yield 1

    background = Background()
    source = background.run(work, told.set)
    assert begun.wait(DEADLINE)
    source.close()
    assert source.ready
    assert source.take() is None
    background.close()
    assert WORKER not in [thread.name for thread in threading.enumerate()]


def test_work_that_can_not_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """An error in its closing is logged, and hurts nothing else."""
    ended = threading.Event()

    def close() -> None:
        ended.set()
        raise OSError("no")

    def work() -> Iterator[int]:
        ended.wait(DEADLINE)
        yield from ()

    background = Background()
    background.run(work, close).close()
    background.close()
    assert "could not be closed" in caplog.text


def test_work_that_never_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is left alone after a while, and the log says so."""
    monkeypatch.setattr(module, "_FAREWELL_SECONDS", 0.01)
    release = threading.Event()

    def work() -> Iterator[int]:
        release.wait(DEADLINE)
        yield from ()

    background = Background()
    background.run(work, lambda: None).close()
    background.close()
    assert "goes on, of a responder, transcriber or voice: 1" in caplog.text
    release.set()


def test_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread there is an error in place of items."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    background = Background()
    source = background.run(lambda: [1], lambda: None)
    with pytest.raises(RuntimeError, match="new thread"):
        source.take()
    background.close()


# --- In a server ---------------------------------------------------------------------------------------


class Stuck:
    """Waits until it is told to end, in whichever role."""

    def __init__(self) -> None:
        self.begun, self.told = threading.Event(), threading.Event()

    def _wait(self) -> Iterator[Any]:
        return _Waiting(self)

    def respond(self, request: Request) -> Iterator[Say]:
        return self._wait()

    def transcribe(self, heard: Heard) -> Iterator[str]:
        return self._wait()

    def speak(self, sentence: Sentence) -> Iterator[bytes]:
        return self._wait()


class Failing:
    """Fails, in whichever role."""

    def respond(self, request: Request) -> Iterator[Say]:
        raise ValueError("no")

    def transcribe(self, heard: Heard) -> Iterator[str]:
        raise ValueError("no")

    def speak(self, sentence: Sentence) -> Iterator[bytes]:
        raise ValueError("no")


class _Waiting(Iterator[Any]):
    def __init__(self, stuck: Stuck) -> None:
        self._stuck = stuck

    def __next__(self) -> Any:
        self._stuck.begun.set()
        assert self._stuck.told.wait(DEADLINE)
        raise StopIteration

    def close(self) -> None:
        self._stuck.told.set()


@pytest.mark.parametrize("role", ["responder", "voice"])
def test_cancel_while_something_waits(role: str) -> None:
    """A response is cancelled at once, and what waits for it ends."""
    stuck = Stuck()
    options: Any = {role: stuck}
    with LocalServer(**options) as server, connected(server) as peer:
        peer.send("response.create")
        assert stuck.begun.wait(DEADLINE)
        peer.send("response.cancel")
        assert peer.until("response.done")[-1]["response"]["status"] == "cancelled"
        assert stuck.told.wait(DEADLINE)


@pytest.mark.parametrize("role", ["responder", "voice"])
def test_a_session_goes_on_meanwhile(role: str) -> None:
    """While a response waits, everything else is answered; the end of the session ends the waiting."""
    stuck = Stuck()
    options: Any = {role: stuck}
    with LocalServer(**options) as server:
        with connected(server) as peer:
            peer.send("response.create")
            assert stuck.begun.wait(DEADLINE)
            peer.send("input_audio_buffer.clear")
            peer.until("input_audio_buffer.cleared")
        assert stuck.told.wait(DEADLINE)


def test_a_transcriber_that_waits() -> None:
    """It holds up no response and no other event, and an item that is deleted ends it."""
    stuck = Stuck()
    with LocalServer(transcriber=stuck) as server, connected(server) as peer:
        audio = {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}}
        peer.send(
            "session.update", session={"type": "realtime", "output_modalities": ["text"], "audio": audio}
        )
        peer.until("session.updated")
        peer.send("input_audio_buffer.append", audio="AAAA" * 4000)
        peer.send("input_audio_buffer.commit")
        item_id = peer.until("input_audio_buffer.committed")[-1]["item_id"]
        assert stuck.begun.wait(DEADLINE)
        peer.send("response.create")
        assert peer.until("response.done")[-1]["response"]["status"] == "completed"
        peer.send("conversation.item.delete", item_id=item_id)
        peer.until("conversation.item.deleted")
        assert stuck.told.wait(DEADLINE)
