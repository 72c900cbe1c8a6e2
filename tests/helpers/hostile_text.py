"""A text with all that may not be shown, wherever a server can put words, and what looks for it."""

import json
import re
import traceback
from collections.abc import Iterator
from typing import Any

import samples

KEY = "hush-0123456789abcdef"
"""The key of the client, which the text repeats."""
MARK = "tainted"
NASTY = (
    "\x00\x07\x08\x0b\x0c\r\n\x1b[2J\x1b]0;\x7f\x85\x9b\u2028\u2029\u061c\u200e\u200f\u202e\u2066\U000e0041"
)
HOSTILE = f"{MARK} {NASTY} Bearer {KEY} \ud83d {'x' * 3000}"
LATIN = HOSTILE.encode("latin-1", "ignore").replace(b"\r", b"").replace(b"\n", b"")
"""The same in the head of an HTTP answer."""

_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u061c\u200e\u200f\u2066-\u206f\ud800-\udfff\U000e0041]"
)
_LONGEST = 2500  # characters of a line, which has words of ours beside 2,000 of a peer's


def tainted(value: Any, text: str = HOSTILE) -> Iterator[Any]:
    """A JSON value, again and again, each time with the text in place of one of its strings."""
    if isinstance(value, str):
        yield text
    elif isinstance(value, dict | list):
        places = value.items() if isinstance(value, dict) else enumerate(value)
        for place, part in list(places):
            for changed in tainted(part, text):
                yield {**value, place: changed} if isinstance(value, dict) else _with(value, place, changed)


def _with(values: list[Any], place: Any, value: Any) -> list[Any]:
    return [*values[:place], value, *values[place + 1 :]]


def tainted_frames() -> list[str]:
    """All events that a server can send, each once for each of its texts."""
    kinds = map(samples.frame, samples.ALL_SERVER.values())
    return [json.dumps(changed) for kind in kinds for changed in tainted(kind)]


def unfit(text: str, *, content: bool = False) -> list[str]:
    """What a text shows that it may not; nothing if it may be shown.

    Args:
        text: What is shown, in lines.
        content: Whether that is what a model says, which is as long as it is, and no place for a key of ours.
    """
    found = [
        f"{found[0]!r} in {text[max(0, found.start() - 80) :][:200]!r}" for found in _FORBIDDEN.finditer(text)
    ]
    if not content:
        found += [f"the key in {line[:200]!r}" for line in text.splitlines() if KEY[:8] in line]
        found += [
            f"{len(line)} characters {line[:80]!r}" for line in text.split("\n") if len(line) > _LONGEST
        ]
    return found


def shown(error: BaseException) -> str:
    """All that a program shows of an error: its traceback, and the text and repr of what is behind it."""
    texts = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        texts += [str(link), repr(link)]
        link = link.__cause__ or link.__context__
    return "\n".join(texts)
