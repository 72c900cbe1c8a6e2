"""The best detector of speech that is installed."""

import sys

import pytest

from realtime_sync.sound.vad import EnergyDetector
from realtime_sync.speech.detectors import best_detector
from realtime_sync.speech.silero import SileroDetector


def test_silero_where_it_is_installed() -> None:
    """A model tells speech from noise better than loudness does."""
    assert isinstance(best_detector("audio/pcm", 0.5, 500), SileroDetector)


def test_loudness_where_it_is_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Then our own does, and the log says why."""
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert isinstance(best_detector("audio/pcm", 0.5, 500), EnergyDetector)
    assert "found by its loudness" in caplog.text
