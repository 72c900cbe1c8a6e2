"""Audio files, and the patience of commands, which tests have less of."""

from pathlib import Path

import pytest
from tones import silence, tone
from transcripts import wav

from realtime_sync.cli import chat, ending, opening, speech, transcribe


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A talk is over when nothing has happened for a tenth of a second; the local server chats quickly."""
    monkeypatch.setattr(chat, "_LOCAL_PACE", 0.001)
    monkeypatch.setattr(ending, "_CALM", 0.1)
    monkeypatch.setattr(ending, "_LOOK", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that owe a talk something, and do not give it."""
    monkeypatch.setattr(ending, "_PATIENCE", 0.2)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that say all they have to say in order."""
    monkeypatch.setattr(transcribe, "_GRACE", 0.0)


@pytest.fixture
def question(tmp_path: Path) -> str:
    return wav(tmp_path / "question.wav", tone(300))


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "answer.wav")


@pytest.fixture
def two_turns(tmp_path: Path) -> str:
    """A file in which someone speaks twice: from 0.1 to 0.4 s, and from 1.2 to 1.4 s."""
    return wav(tmp_path / "two.wav", silence(100) + tone(300) + silence(800) + tone(200))


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are run here end with their connection: most tests are about how one ends."""
    monkeypatch.setattr(opening, "_RECONNECTS", False)


@pytest.fixture(autouse=True)
def _without_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server says the same each time, and as quickly as it can, unless a test wants it to speak."""
    monkeypatch.setattr(speech, "_WITH_SPEECH", False)
