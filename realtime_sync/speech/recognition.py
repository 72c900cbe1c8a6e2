"""What recognisers have in common: they take audio piece by piece, and yield words."""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from .cutting import pieces
from .pool import Pool
from .transcribers import Heard

__all__ = ["recognised"]

Model = TypeVar("Model")

_WORD = re.compile(r"\s*\S+")


def recognised(heard: Heard, models: Pool[Model], recognise: Callable[[Model, bytes], str]) -> Iterator[str]:
    """Yield the words of a transcript, those of each piece as soon as it is recognised.

    A model is lent for one piece, so that a long audio doesn't keep others waiting, nor does a transcript
    that is not taken to its end.

    Args:
        heard: The audio.
        models: Of the recogniser.
        recognise: Returns the text of audio, 16-bit samples at `pieces.RATE`.
    """
    separator = ""
    for piece in pieces(heard.audio, heard.audio_format):
        with models.borrowed() as model:
            text = recognise(model, piece).strip()
        if text:
            yield from _WORD.findall(separator + text)
            separator = " "
