"""An answer piece by piece: its outputs, and of what is said the words and their audio."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ...sound.conversion import chunks
from ...sound.formats import whole_samples
from ...speech.sentences import Sentences
from ...speech.speakable import speakable
from ...speech.voices import Sentence, Voice
from .responders import Output, Request, Responder, Say
from .source import Opened, is_instant

__all__ = ["Aligned", "Ended", "Part", "Piece", "Pieces", "Sound", "Speaking", "Words", "words"]


@dataclass(frozen=True)
class Words:
    """Some of what is said."""

    text: str


@dataclass(frozen=True)
class Sound:
    """Some of the audio of it."""

    audio: bytes


@dataclass(frozen=True)
class Aligned:
    """All words until here are said by all the audio until here."""


@dataclass(frozen=True)
class Ended:
    """The output is whole."""


Part = Words | Sound | Aligned | Ended
Piece = Output | Part


@dataclass(frozen=True)
class Speaking:
    """How to speak: the voice, and the format, the name and the speed that the client wants."""

    voice: Voice
    audio_format: str
    name: str | None = None
    speed: float = 1.0

    def speak(self, text: str) -> Iterable[bytes]:
        """Return the audio of a sentence."""
        said = speakable(text).strip()
        return self.voice.speak(Sentence(said, self.audio_format, self.name, self.speed)) if said else ()


class Pieces:
    """What a responder answers, one piece after the other.

    It asks for more when more is asked of it, so that speaking begins with the first sentence.

    Args:
        speaking: How what is said is spoken; ``None``: it is written.
    """

    def __init__(self, responder: Responder, request: Request, speaking: Speaking | None) -> None:
        self._responder = responder
        self._request = request
        self._speaking = speaking
        self._opened = Opened()
        self.instant = is_instant(responder) and (speaking is None or is_instant(speaking.voice))

    def close(self) -> None:
        """Make the responder and the voice return early; from any thread."""
        self._opened.close()

    def __iter__(self) -> Iterator[Piece]:
        for output in self._opened.add(self._responder.respond(self._request)):
            yield output
            if isinstance(output, Say):
                yield from self._said(output)
                yield Ended()

    def _said(self, say: Say) -> Iterator[Piece]:
        if self._speaking is None:
            yield from map(Words, words(say.text) if isinstance(say.text, str) else say.text)
        elif say.audio is not None:
            whole = say.text if isinstance(say.text, str) else "".join(say.text)
            yield from _side_by_side(whole, [say.audio], self._speaking.audio_format)
        else:
            yield from self._spoken(say.text, self._speaking)

    def _spoken(self, text: str | Iterable[str], speaking: Speaking) -> Iterator[Piece]:
        sentences = Sentences()
        for part in [text] if isinstance(text, str) else text:
            for sentence in sentences.feed(part):
                yield from self._sentence(sentence, speaking)
        for sentence in sentences.finish():
            yield from self._sentence(sentence, speaking)

    def _sentence(self, text: str, speaking: Speaking) -> Iterator[Piece]:
        audio = self._opened.add(speaking.speak(text))
        try:
            yield from _side_by_side(text, audio, speaking.audio_format)
        finally:
            self._opened.remove(audio)


def _side_by_side(text: str, audio: Iterable[bytes], audio_format: str) -> Iterator[Piece]:
    """Return the words and the audio by turns, so that the words are a little ahead.

    Half a sample at the end is left out: it would make noise of all that follows.
    """
    for word, chunk in zip_longest(words(text), chunks(audio, format=audio_format)):
        if word is not None:
            yield Words(word)
        if chunk is not None and (whole := whole_samples(chunk, audio_format)[0]):
            yield Sound(whole)
    yield Aligned()


def words(text: str) -> list[str]:
    """Return the words, each with the space before it; joined, they are the text."""
    return re.findall(r"\s*\S+|\s+", text)
