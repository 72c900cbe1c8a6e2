"""A voice by Hibari, whose model for English is a part of its wheel."""

import re
import threading
from collections.abc import Iterator
from typing import Any

from ..sound.conversion import chunks, to_format
from ..sound.formats import FULL_SCALE, PCM
from .notices import log_once
from .voices import Sentence

__all__ = ["HibariVoice"]

_LONG_NUMBER = re.compile(r"\d{16,}")  # said digit by digit: Hibari's names of large numbers come to an end
_SLOWEST, _FASTEST = 0.5, 2.0  # what Hibari takes


class HibariVoice:
    """Speaks English on this machine, sixty times as fast as it is listened to.

    It has one voice, whatever `Sentence.voice` says.  Of what it can't say, other scripts for example, there
    is no audio, and a line in the log.  Nothing is downloaded.

    Args:
        seed: Makes the audio of a text the same each time.

    Raises:
        ImportError: hibari-tts is not installed.  The message names the extra.
    """

    def __init__(self, seed: int | None = None) -> None:
        _library()
        self._seed = seed
        self._model: Any = None
        self._loading = threading.Lock()  # lets one of several threads load the model

    def warm_up(self) -> None:
        """Load the model, so that the first sentence doesn't wait for it."""
        for _ in self.speak(Sentence("Ready.")):
            pass

    def speak(self, sentence: Sentence) -> Iterator[bytes]:
        """Yield the audio in chunks of 100 ms."""
        silent = True
        for wave in self._waves(sentence):
            silent = silent and not len(wave)
            pcm = (wave.clip(-1, 1) * (FULL_SCALE - 1)).astype("<i2").tobytes()
            yield from chunks(to_format(pcm, PCM, sentence.audio_format), format=sentence.audio_format)
        if silent and sentence.text.strip():
            log_once("hibari: silence", f"Hibari speaks English, so it can't say {sentence.text!r:.80}")

    def _waves(self, sentence: Sentence) -> Iterator[Any]:
        """Yield the samples of each sentence in a text."""
        text = _LONG_NUMBER.sub(lambda number: " ".join(number[0]), sentence.text)
        speed = min(max(sentence.speed, _SLOWEST), _FASTEST)
        try:
            yield from self._loaded().stream(text, speed=speed, seed=self._seed)
        except (ArithmeticError, LookupError, ValueError) as error:  # its grammar has gaps
            log_once("hibari: failure", f"Hibari can't say {sentence.text!r:.80}: {error!r:.80}")

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                model = _library().Hibari(voice="heart")  # the only one that would not be downloaded
                model.phonemize("Ready.")  # which loads the rest
                self._model = model
            return self._model


def _library() -> Any:
    try:
        import hibari  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            f'Hibari needs hibari-tts: pip install "realtime-sync[speech]" ({error})'
        ) from error
    return hibari
