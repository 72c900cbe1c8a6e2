"""The best detector of speech that is installed."""

import logging

from ..sound.vad import Detector, EnergyDetector
from .silero import SileroDetector

__all__ = ["best_detector"]

_log = logging.getLogger("realtime_sync")


def best_detector(audio_format: str, threshold: float, silence_ms: int) -> Detector:
    """Return a `SileroDetector`; without its package, or what it resamples with, an `EnergyDetector`."""
    try:
        return SileroDetector(audio_format, threshold, silence_ms)
    except ImportError as error:
        _log.info("speech is found by its loudness, since Silero is not installed: %s", error)
        return EnergyDetector(audio_format, threshold, silence_ms)
