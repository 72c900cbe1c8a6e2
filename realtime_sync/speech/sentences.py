"""Where a text can be cut into what is spoken in one breath, while it is still being written."""

# The marks of Chinese and Japanese, and of a printed text, are meant.
# ruff: noqa: RUF001

import re

from .speakable import BLOCKS

__all__ = ["Sentences", "ends_sentence"]

_FIRST = 40  # characters after which the first piece ends at a comma, so that speaking begins soon
_LONG = 250  # characters after which a piece ends at a space
_LONGEST = 500  # characters after which it ends wherever it is

# What opens or closes a block, a space, the end of a sentence in Chinese or Japanese, what closes a quotation
# there; everything else.
_WIDE_END, _WIDE_CLOSING = "。！？", "」』”’）"
_TOKEN = re.compile(rf"```|</?think>|\s|[{_WIDE_END}]|[{_WIDE_CLOSING}]|[^\s`<{_WIDE_END}{_WIDE_CLOSING}]+|.")
_MARKERS = {*BLOCKS, *BLOCKS.values()}
_PREFIXES = {marker[:length] for marker in _MARKERS for length in range(1, len(marker))}

_CLOSING = "\"')]}*_`~”’»" + _WIDE_CLOSING  # what may stand behind the mark that ends a sentence
_COMMAS = (",", ";", ":", "–", "—")
_OPENING = "\"'([{*_`~“‘«#>-"
_MARKS = ".!?…" + _WIDE_END
# After these, a sentence goes on.  After those of the second list, it may have ended with them.
_BEFORE_MORE = {
    "dr", "mr", "mrs", "ms", "mx", "prof", "st", "rev", "hon", "gen", "col", "capt", "lt", "sgt", "sen",
    "rep", "gov", "pres", "mt", "ft", "vs", "cf", "eg", "ie", "e.g", "i.e", "al", "viz", "approx",
    "fig", "figs", "vol", "pp", "p", "ed", "eds", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
    "sep", "sept", "oct", "nov", "dec", "bzw", "ca", "nr", "usw", "z.b", "d.h",
}  # fmt: skip
_MAYBE_LAST = {
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "ave", "blvd", "dept", "est", "ph.d", "m.d", "a.m",
    "p.m",
}  # fmt: skip
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # U.S, J, e.g
_UNFINISHED = {
    "and", "but", "or", "nor", "because", "although", "if", "unless", "when", "while", "than", "the",
    "a", "an", "my", "your", "their", "our", "its", "um", "uh", "uhm", "er", "erm", "hmm", "mm", "mhm",
}  # fmt: skip


class Sentences:
    """Cuts a text that comes in deltas into sentences, as soon as each is complete.

    All pieces joined are the text, to the last space.  Whitespace between two of them begins the later one.
    A line is a sentence too, unless the next one goes on with a small letter.  A sentence that is long ends
    at a space, the first one of a text at a comma if there is one.  A block of code, and what is between
    ``<think>`` and ``</think>``, is a piece of its own, whatever its length.  Where the deltas are cut makes
    no difference.  Takes time linear in the length of the text.  For one thread at a time.
    """

    def __init__(self) -> None:
        self._rest = ""  # the end of what came, which may be the beginning of a marker
        self._piece: list[str] = []  # what has come of the present piece, before `_gap`
        self._length = 0  # its characters
        self._word = ""  # its last word
        self._words = 0  # how many it has
        self._gap: list[str] = []  # the whitespace behind it
        self._block: str | None = None  # what closes the block that this piece is
        self._wide = False  # the piece ends with a mark that needs no space behind it
        self._first = True  # nothing to be spoken has been returned yet

    def feed(self, text: str) -> list[str]:
        """Take more of the text, and return the sentences that are complete now."""
        tokens = _TOKEN.findall(self._rest + text)
        whole = len(tokens) - _unfinished(tokens)
        self._rest = "".join(tokens[whole:])
        return self._take_all(tokens[:whole])

    def finish(self) -> list[str]:
        """Return what is left.  What is fed after this is a new text."""
        pieces = self._take_all(_TOKEN.findall(self._rest))
        self._piece += self._gap
        pieces += self._cut()
        self._rest, self._gap, self._block, self._first = "", [], None, True
        return pieces

    def _take_all(self, tokens: list[str]) -> list[str]:
        return [piece for token in tokens for piece in self._take(token)]

    def _take(self, token: str) -> list[str]:
        """Take one token, and return the pieces that it completes."""
        if self._block:
            return self._take_in_block(token)
        if token in BLOCKS:
            return self._begin_block(token)
        if token.isspace():
            return self._take_space(token)
        return self._take_text(token)

    def _begin_block(self, marker: str) -> list[str]:
        pieces = self._cut()
        self._piece = [*self._gap, marker]
        self._gap, self._block = [], BLOCKS[marker]
        return pieces

    def _take_in_block(self, token: str) -> list[str]:
        self._piece.append(token)
        if token != self._block:
            return []
        self._block = None
        return self._cut()

    def _take_space(self, space: str) -> list[str]:
        pieces = self._cut() if self._word and not self._gap and self._is_complete() else []
        self._gap.append(space)
        return pieces

    def _is_complete(self) -> bool:
        """Whether the piece ends with its last word, behind which whitespace has come."""
        if self._first and self._length >= _FIRST and self._word.rstrip(_CLOSING).endswith(_COMMAS):
            return True
        return self._length >= _LONG or _is_last_word(self._word, alone=self._words == 1)

    def _take_text(self, text: str) -> list[str]:
        """Take text without whitespace, and return what ends before it, and what is too long with it."""
        pieces = self._cut() if self._ended_before(text) else []
        while text:
            room = _LONGEST - self._length
            if room <= 0:
                pieces += self._cut()
                continue
            self._add(text[:room])
            text = text[room:]
        return pieces

    def _ended_before(self, text: str) -> bool:
        """Whether a line, or a sentence that needs no space behind it, ended before this text."""
        if self._gap:
            return "\n" in self._gap and not text[0].islower()
        return self._wide and text not in _WIDE_END + _WIDE_CLOSING

    def _add(self, text: str) -> None:
        """Add text without whitespace to the present piece, behind the gap if there is one."""
        if self._gap or not self._piece:
            self._piece += self._gap
            self._length += len(self._gap)
            self._gap = []
            self._word = ""
            self._words += 1
        self._piece.append(text)
        self._length += len(text)
        self._word += text
        self._wide = text in _WIDE_END or (self._wide and text in _WIDE_CLOSING)

    def _cut(self) -> list[str]:
        """End the piece, and return it.  The whitespace behind it begins the next one."""
        piece = "".join(self._piece)
        self._first = self._first and not self._word
        self._piece, self._length, self._word, self._words, self._wide = [], 0, "", 0, False
        return [piece] if piece else []


def ends_sentence(text: str) -> bool:
    """Return whether what was heard so far ends as a finished sentence does.

    It ends with a mark such as ``"."``, but not with ``"..."``, nor with a word that something has to follow,
    as ``"and."``, ``"um."`` or ``"Dr."``.
    """
    words = text.split()
    if not words:
        return False
    word = words[-1].rstrip(_CLOSING)
    if not word.endswith(tuple(_MARKS)) or word.endswith(("...", "…")):
        return False
    last = word.rstrip(_MARKS).lstrip(_OPENING).lower()
    return word.endswith(("!", "?")) or last not in _BEFORE_MORE | _UNFINISHED | {""}


def _is_last_word(word: str, *, alone: bool) -> bool:
    """Whether a word that whitespace follows is the last one of its sentence; ``alone``: and its only one."""
    bare = word.rstrip(_CLOSING)
    if not bare.endswith(tuple(_MARKS)):
        return False
    if not bare.endswith(".") or bare.endswith(".."):
        return True
    bare = bare[:-1].lstrip(_OPENING)
    numbers_a_list = alone and bare.isdigit()
    is_short = bare.lower() in _BEFORE_MORE | _MAYBE_LAST or _INITIALS.fullmatch(bare)
    return not (numbers_a_list or is_short)


def _unfinished(tokens: list[str]) -> int:
    """Return how many tokens at the end, as ``"<"`` and ``"thi"``, may be the beginning of a marker."""
    return next((count for count in (2, 1) if "".join(tokens[-count:]) in _PREFIXES), 0)
