"""What hears, thinks and speaks in a server's sessions."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hearing import Hearing

from realtime_sync.local import Heard, Request, Say
from realtime_sync.local.protocol.models import Models
from realtime_sync.local.protocol.source import Inline

HEARD = Heard(b"", "audio/pcm", 0.0)


class Thinking:
    """Answers yes, and may say that it never waits."""

    def __init__(self, instant: bool) -> None:
        self.instant = instant

    def respond(self, request: Request) -> Iterable[Say]:
        return [Say("Yes.")]


@pytest.mark.parametrize("instant", [True, False])
def test_what_may_wait_runs_in_the_background(instant: bool) -> None:
    """And what says that it never does runs in place."""
    begun: list[Any] = []

    def background(work: Callable[[], Iterable[Any]], close: Callable[[], None]) -> Any:
        begun.append(work)
        return Inline(work, close)

    hearing = Hearing("Hello")
    hearing.instant = instant  # type: ignore[attr-defined]
    models = Models(responder=Thinking(instant), transcriber=hearing, background=background)
    assert models.answer(Request(), None).take() == Say("Yes.")
    assert models.transcription(HEARD).take() == "Hello"
    assert len(begun) == (0 if instant else 2)


def test_who_hears() -> None:
    """Only a transcriber that says so, since the others may make something up."""
    hearing = Hearing("Hello")
    assert not Models(transcriber=hearing).hears
    hearing.hears = True  # type: ignore[attr-defined]
    assert Models(transcriber=hearing).hears
    assert not Models().hears


def test_a_transcriber_that_is_slow_to_begin() -> None:
    """What it returns after it was told to end is closed, as that of a responder is."""
    closed: list[str] = []

    class Words:
        def __iter__(self) -> Any:
            return iter(["Hello"])

        def close(self) -> None:
            closed.append("the words")

    class Slow:
        def transcribe(self, heard: Heard) -> Any:
            return Words()

    def background(work: Callable[[], Iterable[Any]], close: Callable[[], None]) -> Any:
        close()
        work()
        return Inline(work, close)

    Models(transcriber=Slow(), background=background).transcription(HEARD)
    assert closed == ["the words"]
