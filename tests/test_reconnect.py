"""`Reconnect`: which numbers it takes, and how long it waits."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync import Reconnect


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, "attempts must be an int, 1 or more, got 0"),
        ({"attempts": 2.5}, "attempts must be an int, 1 or more, got 2.5"),
        ({"within": 0}, "within must be more than 0 seconds, got 0"),
        ({"within": math.nan}, "within must be more than 0 seconds, got nan"),
        ({"audio_buffer": -1}, "audio_buffer must be 0 seconds or more, got -1"),
        ({"audio_buffer": math.inf}, "audio_buffer must be 0 seconds or more, got inf"),
        ({"rollover": 0}, "rollover must be more than 0 seconds, or None, got 0"),
        ({"idle_timeout": -5.0}, "idle_timeout must be more than 0 seconds, or None, got -5.0"),
    ],
)
def test_what_it_rejects(wrong: dict[str, Any], message: str) -> None:
    """A number that can't be used is a `ValueError` at once, which names it and says what was expected."""
    with pytest.raises(ValueError, match=message):
        Reconnect(**wrong)


def test_what_it_takes() -> None:
    """The least values are taken, and ``None`` where that means never."""
    policy = Reconnect(attempts=1, within=0.1, audio_buffer=0, rollover=None, idle_timeout=None)
    assert (policy.attempts, policy.audio_buffer, policy.rollover) == (1, 0, None)


@given(asked=st.none() | st.floats(min_value=0, max_value=1e9))
def test_the_first_attempt(asked: float | None) -> None:
    """The first attempt is made at once, whatever was asked for."""
    assert Reconnect().wait_before(1, asked) == 0.0


@given(attempt=st.integers(min_value=2, max_value=10**6))
def test_waits_grow(attempt: int) -> None:
    """The longest wait doubles with each attempt, up to 10 s, and the least one is half of it."""
    wait, longest = Reconnect().wait_before(attempt), min(0.25 * 2 ** min(attempt - 1, 40), 10.0)
    assert longest / 2 <= wait <= longest


@given(attempt=st.integers(min_value=2, max_value=20), asked=st.floats(min_value=10, max_value=86_400))
def test_what_a_server_asks_for(attempt: int, asked: float) -> None:
    """A server that asks for a longer wait gets it."""
    assert Reconnect().wait_before(attempt, asked) == asked


@given(asked=st.floats(min_value=86_401) | st.floats(max_value=0) | st.just(math.nan))
def test_what_no_server_can_mean(asked: float) -> None:
    """A wait of more than a day, of less than nothing or of no number counts as not asked for."""
    assert 0.25 <= Reconnect().wait_before(2, asked) <= 0.5


def test_waits_vary() -> None:
    """Two clients don't wait equally long, so that they don't meet a server that restarts together."""
    assert len({Reconnect().wait_before(5) for _ in range(50)}) > 10
