"""Fixtures of the voice tests: local servers to talk to, and a sounddevice that the test controls."""

import sys
from collections.abc import Iterator

import pytest
from clock import Clock
from fake_devices import Fake
from talkers import Talkers


@pytest.fixture
def talk() -> Iterator[Talkers]:
    talkers = Talkers()
    yield talkers
    talkers.end()


# --- A made-up sounddevice -----------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.fixture
def clock() -> Clock:
    return Clock()
