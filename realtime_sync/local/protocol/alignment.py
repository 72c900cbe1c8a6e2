"""Which words belong to which part of the audio."""

import re

__all__ = ["Alignment"]

_CHARACTERS_PER_SECOND = 15  # about as fast as people talk


class Alignment:
    """Tells how much of a text was said within a number of bytes of its audio.

    Between two marks the words are taken to be spread evenly, by their letters; behind the last one, to be
    said as fast as people talk.

    Args:
        rate: Bytes per second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._marks = [(0, 0)]

    def mark(self, size: int, characters: int) -> None:
        """Note that so many bytes say so many characters; further marks are never earlier."""
        self._marks.append((size, characters))

    def heard(self, text: str, size: int) -> str:
        """Return the whole words of the text that these bytes of audio say."""
        begin, characters = max(mark for mark in self._marks if mark[0] <= size)
        end, until = min(
            (mark for mark in self._marks if mark[0] > size),
            default=(begin + self._rate, characters + _CHARACTERS_PER_SECOND),
        )
        return _whole_words(text, characters + int((size - begin) / (end - begin) * (until - characters)))


def _whole_words(text: str, end: int) -> str:
    """Return the words that end before this place."""
    inside = 0 < end < len(text) and not text[end - 1].isspace() and not text[end].isspace()
    return re.sub(r"\S+$", "", text[:end]).rstrip() if inside else text[:end].rstrip()
