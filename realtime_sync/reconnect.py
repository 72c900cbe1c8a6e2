"""`Reconnect`: how a session that has lost its connection makes another one."""

import math
import random
from typing import Any

from msgspec import Struct

__all__ = ["Reconnect"]

_FIRST_WAIT = 0.25  # seconds before the second attempt; the first is made at once
_LONGEST_WAIT = 10.0
_MOST_DOUBLINGS = 32  # more would be too large for a float
# Seconds that a server may ask to wait.  What asks for more than a day asks for nothing that makes sense to a
# program that waits; it may be more than the system can wait at all.
_LONGEST_ASKED = 86_400.0


class Reconnect(Struct, frozen=True, kw_only=True):
    """How a session outlives its connection: what ``connect(reconnect=...)`` takes.

    Attributes:
        attempts: How often a new connection is tried at most after one was lost.
        within: Seconds after the loss within which the last attempt begins, whatever a server asks for.
        audio_buffer: Seconds of the user's audio of which a copy is kept, so that a sentence that was being
            spoken is sent again, and speech without a transcript is restored; ``0`` = none.
        repeat_responses: Whether a response that was running is requested again.  ``None`` (the default) =
            unless a `Playback` has played some of it.  One that has called a tool is never repeated.
        rollover: Seconds after which a connection is replaced by a new one at the next quiet moment, before
            the server ends it: OpenAI does after 60 minutes.  ``None`` = never.
        idle_timeout: Seconds without speech, text, response or tool after which the session is closed
            normally; ``None`` (the default) = never.

    Raises:
        ValueError: A number is out of range.
    """

    attempts: int = 8
    within: float = 60.0
    audio_buffer: float = 30.0
    repeat_responses: bool | None = None
    rollover: float | None = 55 * 60.0
    idle_timeout: float | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.attempts, int)
        _check("attempts", self.attempts, whole and self.attempts >= 1, "an int, 1 or more")
        _check("within", self.within, self.within > 0, "more than 0 seconds")
        _check("audio_buffer", self.audio_buffer, 0 <= self.audio_buffer < math.inf, "0 seconds or more")
        for name in ("rollover", "idle_timeout"):
            value = getattr(self, name)
            _check(name, value, value is None or value > 0, "more than 0 seconds, or None")

    def wait_before(self, attempt: int, asked: float | None = None) -> float:
        """Return the seconds to wait before an attempt, numbered from 1.

        They double with each attempt, and vary, so that a server that restarts isn't met by all its clients
        at once.

        Args:
            attempt: Its number.
            asked: Seconds that the server has asked to wait; more than a day counts as malformed.
        """
        if attempt == 1:
            return 0.0
        if asked is None or not asked <= _LONGEST_ASKED:
            asked = 0.0
        longest = min(_FIRST_WAIT * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), _LONGEST_WAIT)
        return max(random.uniform(longest / 2, longest), asked)  # no secret


def _check(name: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise ValueError(f"{name} must be {expected}, got {value!r:.80}")
