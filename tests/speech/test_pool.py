"""Models that one thread at a time may use."""

import threading
from itertools import count

import pytest

from realtime_sync.speech.pool import Pool


def test_a_model_is_made_when_it_is_needed() -> None:
    """One after the other take the same; two at once need two; there are no more than that."""
    pool = Pool(count(1).__next__, 2)
    for _ in range(3):
        with pool.borrowed() as one:
            assert one == 1
    with pool.borrowed() as one, pool.borrowed() as two:
        assert {one, two} == {1, 2}
    with pool.borrowed() as one:
        assert one in (1, 2)


def test_who_comes_too_late_waits() -> None:
    """Until one comes back."""
    pool, got = Pool(count(1).__next__, 1), threading.Event()

    def borrow() -> None:
        with pool.borrowed():
            got.set()

    thread = threading.Thread(target=borrow)
    with pool.borrowed():
        thread.start()
        assert not got.is_set()
    assert got.wait(10)
    thread.join()


def test_what_fails_is_tried_again() -> None:
    """A model that could not be made, and one in whose use something failed, leave no gap."""
    made = iter([ValueError("no memory"), "model"])

    def make() -> str:
        if isinstance(one := next(made), ValueError):
            raise one
        return str(one)

    pool = Pool(make, 1)
    with pytest.raises(ValueError, match="no memory"), pool.borrowed():
        pass
    with pytest.raises(RuntimeError, match="use"), pool.borrowed():
        raise RuntimeError("use")
    with pool.borrowed() as model:
        assert model == "model"
