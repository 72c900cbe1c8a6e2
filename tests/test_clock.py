"""The clock that tests can't freeze."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import freezegun
import pytest
import time_machine

from realtime_sync import clock


@pytest.fixture(params=["freezegun", "time_machine"])
def frozen(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test whose time stands still."""
    if request.param == "freezegun":
        with freezegun.freeze_time("2012-01-14"):
            yield
    else:
        with time_machine.travel(datetime(2012, 1, 14), tick=False):
            yield


@pytest.mark.usefixtures("frozen")
def test_it_goes_on() -> None:
    """While a test has frozen the time, the monotonic clock goes on."""
    before = clock.monotonic()
    threading.Event().wait(0.01)
    assert clock.monotonic() > before


def test_the_date_is_true() -> None:
    """While a test has frozen the time, the date is today's."""
    today = time.time()
    with freezegun.freeze_time("2012-01-14"):
        assert abs(clock.now() - today) < 3600


def test_it_is_the_clock_of_the_system() -> None:
    """Its readings can be compared with those of the module `time`."""
    assert time.monotonic() <= clock.monotonic() <= time.monotonic()
    assert time.time() - 3600 < clock.now() < time.time() + 3600


@pytest.mark.usefixtures("frozen")
def test_importing_it_while_frozen() -> None:
    """It is true also if it is loaded for the first time by a test that has frozen the time."""
    spec = importlib.util.find_spec("realtime_sync.clock")
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    before = fresh.monotonic()
    threading.Event().wait(0.01)
    assert fresh.monotonic() > before
