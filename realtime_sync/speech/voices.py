"""What speaks in place of a model: a `Voice` turns text into audio."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Sentence", "Voice"]


@dataclass(frozen=True)
class Sentence:
    """A sentence to speak, or a part of one.

    Attributes:
        text: What to say, without what can't be said: markup, addresses, emoji.
        audio_format: What the audio is to be in: ``"audio/pcm"`` (24 kHz mono 16-bit), ``"audio/pcmu"`` or
            ``"audio/pcma"``.
        voice: The voice's name as the client configured it, ``None`` where it did not.
        speed: How fast to speak, 0.25 to 1.5; 1.0: as usual.
    """

    text: str
    audio_format: str = "audio/pcm"
    voice: str | None = None
    speed: float = 1.0


class Voice(Protocol):
    """Speaks in place of a model: any class with this method."""

    def speak(self, sentence: Sentence) -> Iterable[bytes]:
        """Return the audio in chunks of any length, in ``sentence.audio_format``; none for what it can't say.

        One voice serves all sessions of a server, from several threads.  One that never waits may have an
        attribute ``instant = True``.  If what it returns has a method ``close``, another thread calls that
        when the response is cancelled.  An exception makes the response fail (``response.done`` with status
        ``"failed"``) and nothing else.
        """
        ...
