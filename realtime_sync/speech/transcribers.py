"""What transcribes in place of a model: a `Transcriber` turns a user's audio into text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["DefaultTranscriber", "Heard", "Segment", "Transcriber", "in_words", "is_english", "language_code"]


@dataclass(frozen=True)
class Heard:
    """Audio to transcribe.

    Attributes:
        audio: Raw bytes in ``audio_format``, for example ``"audio/pcm"``: 24 kHz mono 16-bit.
        seconds: Its length.
        model, language, prompt: As the client configured them, ``None`` where it did not.
    """

    audio: bytes
    audio_format: str
    seconds: float
    model: str | None = None
    language: str | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of the transcript with its speaker.  ``start`` and ``end`` are in seconds."""

    text: str
    speaker: str
    start: float
    end: float


class Transcriber(Protocol):
    """Transcribes in place of a model: any class with this method."""

    def transcribe(self, heard: Heard) -> Iterable[str | Segment]:
        """Return the transcript in deltas, which are joined as they are.

        One transcriber serves all sessions of a server, each turn from a thread of its own: it may wait.  One
        that never waits may have an attribute ``instant = True``: it gets no thread.  With an attribute
        ``hears = True`` it tells what was really said: then every turn is transcribed, responses wait for the
        words, and a turn without words is not answered.

        If what it returns has a method ``close``, another thread calls that when the words are not wanted any
        longer, which is often: it listens at each pause, and speech goes on.

        An exception makes the transcription fail (``conversation.item.input_audio_transcription.failed``)
        and nothing else.
        """
        ...


class DefaultTranscriber:
    """Transcribes every audio as its length in words: "One point two seconds of audio."."""

    instant = True

    def transcribe(self, heard: Heard) -> Iterable[str | Segment]:
        whole, tenths = divmod(round(heard.seconds * 10), 10)
        count = in_words(whole) + (f" point {in_words(tenths)}" if tenths else "")
        unit = "second" if (whole, tenths) == (1, 0) else "seconds"
        words = f"{count} {unit} of audio.".capitalize().split(" ")
        return [words[0], *(f" {word}" for word in words[1:])]


def language_code(language: str) -> str:
    """Return the code of a language without its region: ``"en"`` of ``"en-GB"`` and ``"en_GB"``."""
    return language.lower().replace("_", "-").partition("-")[0]


def is_english(language: str | None) -> bool:
    """Return whether this is English, which it is too where no language is named."""
    return not language or language_code(language) in ("en", "english")


_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(number: int) -> str:
    """Return a number as it is said: ``twenty-one``; from 1000 on in digits."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_SMALL[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")
    return str(number)
