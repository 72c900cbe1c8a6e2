"""What transcribes in place of a model."""

import pytest

from realtime_sync.local import DefaultTranscriber, Heard
from realtime_sync.speech.transcribers import is_english, language_code


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "Zero seconds of audio."),
        (1.0, "One second of audio."),
        (1.23, "One point two seconds of audio."),
        (19.96, "Twenty seconds of audio."),
        (321.5, "Three hundred and twenty-one point five seconds of audio."),
        (5000, "5000 seconds of audio."),
    ],
)
def test_the_default_transcriber(seconds: float, text: str) -> None:
    """It says in words how much it heard."""
    pieces = DefaultTranscriber().transcribe(Heard(b"", "audio/pcm", seconds))
    assert "".join(str(piece) for piece in pieces) == text


@pytest.mark.parametrize("language", [None, "", "en", "EN", "en-GB", "en_US", "english"])
def test_english(language: str | None) -> None:
    """Whatever its region, however it is written; and where no language is named."""
    assert is_english(language)


@pytest.mark.parametrize(("language", "code"), [("de", "de"), ("pt-BR", "pt"), ("zh_Hans", "zh")])
def test_other_languages(language: str, code: str) -> None:
    """The region says nothing about which language it is."""
    assert not is_english(language)
    assert language_code(language) == code
