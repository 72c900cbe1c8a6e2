"""What of a written text is spoken: the words, without markup, code, addresses, emoji and thoughts."""

import re

__all__ = ["BLOCKS", "speakable"]

BLOCKS = {"```": "```", "<think>": "</think>"}
"""What opens a block that is not spoken, code or a model's thoughts, and what closes it."""

_OPENING = re.compile("|".join(BLOCKS))
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_EMOJI = re.compile(
    "[\u200d\u20e3\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\ufe0e\ufe0f"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f]"
)
_PREFIX = re.compile(r"\s*(?:>\s?)*(?:#{1,6}\s|[-*+•]\s+(?:\[[ xX]\]\s)?)?")  # quotes, headings, lists, tasks
_RULE = " \t|:-=*_+#>~"  # a line of nothing but these separates: a rule, or the second line of a table
# In each, no character that begins a match is in the part that repeats, so that none is looked at twice.
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\((?:[^()\s]|\([^()\s]*\))*(?:\s\"[^\"()]*\")?\)|\[[^\[\]]*\])")
_HALF_LINK = re.compile(r"\]\((?:[^()\s]|\([^()\s]*\))*\)?|[\[\]]")  # the other half is in another piece
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]*\]")
_ADDRESS = re.compile(r"\b(?:https?://|www\.)\S+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_ESCAPE = re.compile(r"\\(?=[^\w\s])")
_EMPHASIS = re.compile(
    r"`+|~~+|\*\*+"  # these are never said
    r"|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)"  # one star at the edge of a word, but not 2 * 3 and 2*3
    r"|(?<!\w)_+(?=\S)|(?<=[^\s_])_+(?!\w)"  # nor snake_case
)
_EMPTY = re.compile(r"\(\s?\)|<\s?>")
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE = re.compile(r"\s(?=[.,;:!?])")


def speakable(text: str) -> str:
    """Return what of a text is to be spoken, ``""`` if that is nothing.

    Left out are markdown's signs (of a link, the text stays; of a table, the cells), blocks of code, what
    stands between ``<think>`` and ``</think>``, addresses of pages, tags, and emoji.  Lines stay lines.  The
    text may be a part of a longer one, so that a sign may lack its counterpart.  Takes time linear in the
    length of the text.
    """
    lines = map(_line, _CONTROL.sub(" ", _outside_blocks(text)).split("\n"))
    said = "\n".join(line for line in lines if line)
    return said if any(map(str.isalnum, said)) else ""


def _outside_blocks(text: str) -> str:
    """Return the text without its blocks; one that isn't closed extends to the end."""
    parts: list[str] = []
    start = 0
    while opening := _OPENING.search(text, start):
        parts.append(text[start : opening.start()])
        closing = BLOCKS[opening[0]]
        found = text.find(closing, opening.end())
        if found < 0:
            return "\n".join(parts)
        start = found + len(closing)
    return "\n".join([*parts, text[start:]]) if parts else text


def _line(line: str) -> str:
    """Return what is spoken of one line."""
    if not line.strip(_RULE):
        return ""
    return _words(_cells(line) or _heading(line))


def _cells(line: str) -> str:
    """Return the cells of a line of a table, with commas between; ``""`` for any other line."""
    line = line.strip()
    if len(line) < 2 or not line.startswith("|"):
        return ""
    return ", ".join(cell.strip() for cell in line.strip("|").split("|") if cell.strip())


def _heading(line: str) -> str:
    """Return a line without what makes it a heading, a quotation or an item of a list."""
    prefix = _PREFIX.match(line)
    bare = line[prefix.end() :] if prefix else line
    return bare.rstrip(" \t#") if prefix and "#" in prefix[0] else bare


def _words(text: str) -> str:
    """Return the words of a text without line breaks."""
    text = _HALF_LINK.sub("", _FOOTNOTE.sub("", _LINK.sub(r"\1", text)))
    text = _TAG.sub(" ", _ADDRESS.sub(_end_of_address, text))
    text = _EMPHASIS.sub("", _ESCAPE.sub("", _EMOJI.sub("", text)))
    text = _SPACES.sub(" ", _EMPTY.sub("", text))
    return _SPACE_BEFORE.sub("", text).strip()


def _end_of_address(address: re.Match[str]) -> str:
    """Return the punctuation behind an address, which belongs to the sentence."""
    whole = address[0]
    return whole[len(whole.rstrip(".,;:!?)>]}\"'*_")) :]
