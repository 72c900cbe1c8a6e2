"""The clock that tests can't freeze."""

import importlib.util
import threading
import time

import pytest
from frozen import WAYS, frozen

from realtime_sync import clock


@pytest.mark.parametrize("way", WAYS)
def test_it_goes_on(way: str) -> None:
    """While a test has frozen the time, the monotonic clock goes on."""
    with frozen(way):
        before = clock.monotonic()
        threading.Event().wait(0.01)
        assert clock.monotonic() > before


def test_the_date_is_true() -> None:
    """While a test has frozen the time, the date is today's."""
    today = time.time()
    with frozen("freezegun"):
        assert abs(clock.now() - today) < 3600


def test_it_is_the_clock_of_the_system() -> None:
    """Its readings can be compared with those of the module `time`."""
    assert time.monotonic() <= clock.monotonic() <= time.monotonic()
    assert time.time() - 3600 < clock.now() < time.time() + 3600


@pytest.mark.parametrize("way", WAYS)
def test_importing_it_while_frozen(way: str) -> None:
    """It is true also if it is loaded for the first time by a test that has frozen the time."""
    spec = importlib.util.find_spec("realtime_sync.clock")
    assert spec is not None
    assert spec.loader is not None
    with frozen(way):
        fresh = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
        before = fresh.monotonic()
        threading.Event().wait(0.01)
        assert fresh.monotonic() > before
