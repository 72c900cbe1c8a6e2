"""``demo``: a spoken talk with the local server."""

import re
import wave
from pathlib import Path

import pytest
from command import call

from realtime_sync.cli import demo
from realtime_sync.sound.formats import loudness, samples_of


def test_a_talk(tmp_path: Path) -> None:
    """The server hears the question and answers it; both sides are shown, with the latencies, and kept."""
    both = tmp_path / "both.wav"
    status, out, err = call("demo", "--output", str(both), "Count to three.")
    assert (status, err) == (0, "")
    assert "hears with Moonshine, speaks with Hibari, finds turns with Silero" in out
    assert "you:    Count to three.\n" in out
    assert "server: One, two, three.\n" in out
    steps = re.findall(r"(end of the turn found|words known|first audio) (\d+\.\d\d) s", out)
    assert [name for name, _ in steps] == ["end of the turn found", "words known", "first audio"]
    with wave.open(str(both), "rb") as file:
        samples = samples_of(file.readframes(file.getnframes()))
    half = len(samples) // 2
    user, model = samples[0::2], samples[1::2]
    assert loudness(user[: half // 2]) > -40 > loudness(user[half // 2 + half // 4 :])
    assert loudness(model) > -40


def test_a_call(tmp_path: Path) -> None:
    """Asked for the weather, the server calls the function and says what it has returned."""
    status, out, _ = call("demo", "--output", str(tmp_path / "both.wav"), "What is the weather in Oslo?")
    assert status == 0
    assert 'calls get_weather({"city": "Oslo"})' in out
    assert "server: The function answered: Seven degrees and clear in Oslo.\n" in out


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets no answer in time is said, and the command ends with 1."""
    monkeypatch.setattr(demo, "_PATIENCE", 0.0)
    status, _, err = call("demo", "--output", str(tmp_path / "both.wav"), "Hello?")
    assert status == 1
    assert "no answer within 0 s" in err


@pytest.mark.parametrize("question", ["", "\u4f60\u597d"])
def test_a_question_that_can_not_be_spoken(tmp_path: Path, question: str) -> None:
    """It is said which one, before the talk, and nothing waits for an answer to silence."""
    both = tmp_path / "both.wav"
    status, out, err = call("demo", "--output", str(both), "Hello?", question)
    assert (status, both.exists()) == (2, False)
    assert "you:" not in out
    assert f"which the voice can say; got {question!r}" in err


def test_an_output_that_can_not_be_written(tmp_path: Path) -> None:
    """That is said before anything else is done."""
    status, out, err = call("demo", "--output", str(tmp_path / "both.mp3"))
    assert (status, out) == (2, "")
    assert "expected a name that ends in .wav" in err
