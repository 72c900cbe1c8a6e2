"""Fixtures of the voice tests: a made-up sounddevice that the test controls."""

import sys

import pytest
from clock import Clock
from fake_devices import Fake


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.fixture
def clock() -> Clock:
    return Clock()
