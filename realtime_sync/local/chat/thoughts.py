"""What a model thinks aloud: `Thoughts` leaves it out of a text that comes in deltas."""

import re

__all__ = ["Thoughts"]

_OPENING = ("<think>", "<thinking>")
_TAGS = (*_OPENING, "</think>", "</thinking>")
_TAG = re.compile("|".join(_TAGS))
_LONGEST = max(map(len, _TAGS))


class Thoughts:
    """Takes a text in deltas, and gives what of it is to be said: all but ``<think>...</think>``.

    Args:
        first: Whether the text begins with thoughts, without the tag that opens them, as some templates have
            it.  It is then held back until they end; all of it is said if they don't.

    Attributes:
        unopened: Thoughts ended that no tag had opened: the next text of this model begins with some, too.
    """

    def __init__(self, first: bool = False) -> None:
        self.unopened = False
        self._thinking = False
        self._unsure: list[str] | None = [] if first else None  # what came, as long as it may be thoughts
        self._tail = ""  # which may be the beginning of a tag

    def feed(self, text: str) -> str:
        """Return what is to be said, so far as that is certain."""
        text, said, done = self._tail + text, [""], 0
        for tag in _TAG.finditer(text):
            self._take(text[done : tag.start()], said)
            self._turn(tag[0] in _OPENING, said)
            done = tag.end()
        end = len(text) - _begun(text[done:])
        self._take(text[done:end], said)
        self._tail = text[end:]
        return "".join(said)

    def end(self) -> str:
        """Return what is left to be said at the end of the text."""
        said = self._unsure or [""]
        self._unsure = None
        self._take(self._tail, said)
        return "".join(said)

    def _take(self, text: str, said: list[str]) -> None:
        if self._unsure is not None:
            self._unsure.append(text)
        elif not self._thinking:
            said.append(text)

    def _turn(self, opens: bool, said: list[str]) -> None:
        """Begin to think, or end it."""
        if opens:
            said += self._unsure or []
        elif not self._thinking:
            self.unopened = True
            said.clear()
        self._thinking, self._unsure = opens, None


def _begun(text: str) -> int:
    """Return the number of characters at the end of a text that may be the beginning of a tag."""
    at = text.rfind("<", max(len(text) - _LONGEST + 1, 0))
    return len(text) - at if at >= 0 and any(tag.startswith(text[at:]) for tag in _TAGS) else 0
