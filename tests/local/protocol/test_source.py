"""Where items come from: work that is done in place."""

from collections.abc import Iterator

import pytest

from realtime_sync.local.protocol.source import Inline, Opened, is_instant


def test_items_in_their_order() -> None:
    """Work begins with the first item that is taken, and each is made when it is asked for."""
    made: list[int] = []

    def work() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    source = Inline(work, lambda: None)
    assert source.ready
    assert made == []
    assert [source.take(), source.take(), made] == [0, 1, [0, 1]]
    assert [source.take(), source.take(), source.take()] == [2, None, None]


def test_an_error_comes_out() -> None:
    """What the work raises is raised where the item is asked for."""

    def work() -> Iterator[int]:
        yield 1
        raise LookupError("no")

    source = Inline(work, lambda: None)
    assert source.take() == 1
    with pytest.raises(LookupError):
        source.take()


@pytest.mark.parametrize("taken", [0, 1])
def test_closed_before_its_end(taken: int) -> None:
    """Work that is closed is told to, and gives nothing more; a generator is closed too."""
    closed: list[str] = []

    def work() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            closed.append("the generator")

    source = Inline(work, lambda: closed.append("told"))
    for _ in range(taken):
        source.take()
    source.close()
    assert source.take() is None
    assert closed == ["told", *["the generator"] * taken]


@pytest.mark.parametrize("instant", [True, False])
def test_what_never_waits(instant: bool) -> None:
    """It says so itself; what says nothing may wait."""
    assert is_instant(type("Player", (), {"instant": instant})()) is instant
    assert not is_instant(object())


class Closable:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_what_is_opened_is_closed() -> None:
    """All of it, also what comes only after the closing; what is over, at once; a generator never."""
    opened, early, over, late = Opened(), Closable(), Closable(), Closable()
    running = opened.add(number for number in range(3))
    assert opened.add(early) is early
    opened.add(over)
    opened.remove(over)
    assert (early.closed, over.closed) == (0, 1)
    opened.close()
    opened.add(late)
    assert (early.closed, over.closed, late.closed) == (1, 1, 1)
    assert next(running) == 0
