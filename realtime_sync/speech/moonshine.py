"""Recognition with Moonshine, whose model for English is a part of its wheel."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ..sound.resampler import floats
from .cutting import RATE
from .notices import log_once
from .pool import Pool
from .recognition import Recognition
from .transcribers import Heard, is_english

__all__ = ["MoonshineTranscriber"]

# Moonshine's own detector of speech is off: it cuts off beginnings, and `cutting` has found where speech is.
_OPTIONS = {"vad_threshold": "0"}

# Lets one thread at a time load a model: the first two would find the library half loaded.
_loading = threading.Lock()


class MoonshineTranscriber:
    """Transcribes English on this machine, in about a tenth of the time that it took to say it.

    Audio with less than 200 ms of speech has no words.  `Heard.prompt` is ignored, and so is a language other
    than English, with a line in the log.  Nothing is downloaded.

    Args:
        at_once: How many turns are transcribed at the same time, each with a model of its own, of 230 MB;
            the others wait.

    Raises:
        ImportError: moonshine-voice is not installed, or a version that has no model in it.  The message
            names the extra.
        ValueError: ``at_once`` is below 1.
    """

    hears: ClassVar[bool] = True

    def __init__(self, at_once: int = 2) -> None:
        _folder()
        self._models: Pool[Any] = Pool(_model, at_once)

    def warm_up(self) -> None:
        """Load a model, so that the first turn doesn't wait for it."""
        with self._models.borrowed() as model:
            _recognise(model, bytes(RATE))

    def transcribe(self, heard: Heard) -> Iterator[str]:
        """Yield the words, with the spaces between them."""
        if not is_english(heard.language):
            log_once("moonshine: language", f"Moonshine hears English, not {heard.language!r:.80}")
        return Recognition(heard, self._models, _recognise)


def _folder() -> Path:
    """Return the folder of the model."""
    try:
        import moonshine_voice  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            f'Moonshine needs moonshine-voice 0.0.73: pip install "realtime-sync[speech]" ({error})'
        ) from error
    folder = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
    if not folder.is_dir():
        raise ImportError(
            "this version of moonshine-voice would download its model, which 0.0.73 has in it: "
            'pip install "realtime-sync[speech]"'
        )
    return folder


def _model() -> Any:
    """Load a model.  Given a folder, the library looks nowhere else."""
    from moonshine_voice import ModelArch
    from moonshine_voice.transcriber import Transcriber  # type: ignore[import-untyped]

    with _loading:
        return Transcriber(_folder(), ModelArch.TINY, options=_OPTIONS)


def _recognise(model: Any, pcm: bytes) -> str:
    lines = model.transcribe_without_streaming(floats(pcm).tolist(), RATE).lines
    return " ".join(line.text.strip() for line in lines)
