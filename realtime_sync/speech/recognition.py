"""What recognisers have in common: they take audio piece by piece, and give words."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .cutting import pieces
from .pool import Pool
from .transcribers import Heard

__all__ = ["Recognition"]

Model = TypeVar("Model")

_WORD = re.compile(r"\s*\S+")


class Recognition(Iterator[str]):
    """The words of a transcript, those of each piece of audio as soon as it is recognised.

    A model is lent for one piece, so that a long audio doesn't keep others waiting, nor does a transcript
    that is not taken to its end.

    Args:
        heard: The audio.
        models: Of the recogniser.
        recognise: Returns the text of audio, 16-bit samples at `cutting.RATE`.
    """

    def __init__(self, heard: Heard, models: Pool[Model], recognise: Callable[[Model, bytes], str]) -> None:
        self._closed = False
        self._words = self._recognised(heard, models, recognise)

    def __next__(self) -> str:
        return next(self._words)

    def close(self) -> None:
        """Recognise nothing more; from any thread."""
        self._closed = True

    def _recognised(
        self, heard: Heard, models: Pool[Any], recognise: Callable[[Any, bytes], str]
    ) -> Iterator[str]:
        separator = ""
        for piece in pieces(heard.audio, heard.audio_format):
            with models.borrowed() as model:
                if self._closed:  # while it waited for the model, which others need
                    return
                text = recognise(model, piece).strip()
            if text:
                yield from _WORD.findall(separator + text)
                separator = " "
