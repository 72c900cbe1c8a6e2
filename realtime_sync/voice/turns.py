"""Find the user's turns on this machine, for servers that don't: only speech is sent."""

import logging
from collections.abc import Callable
from typing import Any, cast

from msgspec import UNSET

from ..session import Session
from ..sound.formats import bytes_per_second, input_settings
from ..sound.vad import Detector, DetectorFactory, Started
from ..speech.detectors import best_detector

__all__ = ["LocalTurns", "check_no_turn_detection", "factory_of"]

_log = logging.getLogger("realtime_sync")

_PADDING = 0.3  # seconds that are sent from before the speech: a soft first sound is not found
_LATEST = 1.5  # seconds after its first sound in which a detector finds speech


def factory_of(wanted: Any) -> DetectorFactory:
    """Return the factory that ``vad=`` names; for ``True`` that of the best detector that is installed.

    Raises:
        TypeError: It is neither ``True`` nor callable.
    """
    if wanted is True:
        return best_detector
    if not callable(wanted):
        raise TypeError(f"vad must be True, None or a factory of detectors, got {wanted!r:.80}")
    return cast(DetectorFactory, wanted)


def check_no_turn_detection(session: Session) -> None:
    """Check that the server leaves the turns to us, as far as it has said, unless an update is under way.

    Raises:
        ValueError: It has said that it detects turns itself.
    """
    config = session.config
    sides = [side for side in (input_settings(config), config) if side is not None]
    detects = any(side.turn_detection not in (UNSET, None) for side in sides)
    if detects and not session.ledger.requests.has_sent("session.update"):
        raise ValueError(
            "vad= finds the turns on this machine, but the session's turn_detection is on, so each would be "
            'answered twice; first call session.update(audio={"input": {"turn_detection": None}})'
        )


class LocalTurns:
    """Send only the audio of the user's turns; commit each, and ask for its response.

    Args:
        session: The session.
        detector: What finds the turns.
        audio_format: The format of the audio.
        on_speech: Called when the user begins to speak, in the thread that appends.
    """

    def __init__(
        self,
        session: Session,
        detector: Detector,
        audio_format: str,
        on_speech: Callable[[], object],
    ) -> None:
        self._session = session
        self._detector = detector
        self._on_speech = on_speech
        self._rate = bytes_per_second(audio_format)
        self._width = 2 if audio_format == "audio/pcm" else 1
        self._recent = bytearray()  # not sent, and not older than speech that may still be found
        self._position = 0  # bytes taken
        self._speaking = False

    def append(self, audio: bytes) -> None:
        """Take more audio, and send what is to be sent.

        Raises:
            ValueError: The server detects turns by itself.
        """
        self._recent += audio
        self._position += len(audio)
        for found in self._detector.feed(audio):
            if isinstance(found, Started):
                self._start(found.sample * self._width)
            elif self._speaking:
                self._stop(found.sample * self._width)
        if self._speaking:
            self._send(self._position)
        else:
            del self._recent[: -self._whole(_PADDING + _LATEST)]

    def finish(self) -> None:
        """End the turn that the user is in, if any: no more audio comes."""
        if self._speaking:
            self._stop(self._position)

    def _whole(self, seconds: float) -> int:
        return int(seconds * self._rate) // self._width * self._width

    def _start(self, first: int) -> None:
        check_no_turn_detection(self._session)  # again, since an update may have been rejected
        self._speaking = True
        self._on_speech()
        oldest = self._position - len(self._recent)
        del self._recent[: max(0, first - self._whole(_PADDING) - oldest)]

    def _stop(self, end: int) -> None:
        self._speaking = False
        self._send(end)
        self._session.input_audio_buffer.commit()
        self._session.response.create(when_idle=True)

    def _send(self, end: int) -> None:
        """Send what was taken before a position."""
        count = len(self._recent) - max(0, self._position - end)
        if count > 0:
            self._session.input_audio_buffer.append(bytes(self._recent[:count]))
            del self._recent[:count]
