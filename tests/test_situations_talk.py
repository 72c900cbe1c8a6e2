"""Situations that users of this protocol met, on whatever client: a talk that meets errors."""

from pathlib import Path
from typing import Any

import pytest
from response_script import BUSY
from situations import error
from tones import tone
from transcripts import completed, response, says, talks, turn, wav, words

from realtime_sync.cli import ending


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A talk is over when nothing has happened for a tenth of a second."""
    monkeypatch.setattr(ending, "_CALM", 0.1)
    monkeypatch.setattr(ending, "_LOOK", 0.02)


@pytest.mark.parametrize("details", [{"code": BUSY}, {"type": BUSY}, {"code": BUSY, "event_id": "another_s"}])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_somebody_else_s_request_is_rejected(
    details: dict[str, Any], at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rejection of a request that isn't ours is no failure of the talk, and doesn't break its lines."""
    frames = [response("created"), words("Yes, "), words("indeed."), response("done")]
    frames.insert(at, error("a response is running", **details))
    question, output = wav(tmp_path / "question.wav", tone(300)), str(tmp_path / "answer.wav")
    with says(*turn("a", 0, 200), completed("a", "Really?"), *frames) as server:
        status = talks(server.url, question, output)
    assert (status, capsys.readouterr().out) == (0, "you: Really?\nmodel: Yes, indeed.\n")
