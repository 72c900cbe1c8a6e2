"""Audio files as the input and the output of a command."""

import os
from pathlib import Path
from typing import Any

import pytest
from tones import tone
from transcripts import talks

from realtime_sync.cli.main import main
from realtime_sync.cli.sound_files import FileOutput, check_input
from realtime_sync.voice.audio import read_wav, write_wav

Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.wav", None, "No such file"),
        ("notes.txt", b"Dear diary", "notes.txt"),
        ("empty.wav", b"", "empty"),
        ("quiet.wav", 0, "no audio"),
        ("nothing", "directory", "Is a directory"),
    ],
)
def test_inputs_that_are_rejected(
    name: str, content: Any, says: str, two_turns: str, tmp_path: Path, capsys: Printed
) -> None:
    """A file that is not there, or is no audio: one line, before any server is connected to."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == 0:
        write_wav(path, b"")
    elif content:
        path.mkdir()
    assert main(["transcribe", "--base-url", "ws://127.0.0.1:1/v1", two_turns, str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert says in err
    assert str(path) in err


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """What is read of a pipe would be missing later, so it is not looked at, and not waited for."""
    os.mkfifo(tmp_path / "pipe.wav")
    check_input(str(tmp_path / "pipe.wav"))


def test_files_that_can_not_be_used(question: str, output: str, tmp_path: Path, capsys: Printed) -> None:
    """A missing input, an impossible output: one line, before any server is connected to."""
    elsewhere = str(tmp_path / "nowhere" / "x.wav")
    for files in (["--input", elsewhere, "--output", output], ["--input", question, "--output", elsewhere]):
        assert main(["talk", "--base-url", "ws://127.0.0.1:1/v1", *files]) == 2
        assert capsys.readouterr() == ("", f"realtime-sync: {elsewhere}: No such file or directory\n")


@pytest.mark.parametrize("name", ["question.wav", "link.wav", "answer.mp3", "folder.wav"])
def test_outputs_that_are_rejected(name: str, question: str, tmp_path: Path, capsys: Printed) -> None:
    """The input itself, and what is no WAV file, are not written to, and no server is connected to."""
    before = Path(question).read_bytes()
    (tmp_path / "link.wav").symlink_to(question)
    (tmp_path / "folder.wav").mkdir()
    assert talks("ws://127.0.0.1:1/v1", question, str(tmp_path / name)) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert name in err
    assert "127.0.0.1" not in err
    assert Path(question).read_bytes() == before


def test_no_talk_leaves_no_output(question: str, output: str) -> None:
    """Without a talk there is no file where there was none."""
    assert talks("ws://127.0.0.1:1/v1", question, output) == 2
    assert not Path(output).exists()


def test_the_first_audio_makes_the_file(output: str) -> None:
    """The file is as it was until there is something to play; what is cleared is not in it."""
    Path(output).write_bytes(b"precious")
    with FileOutput(output) as speaker:
        speaker.clear()
        assert speaker.played_ms == 0.0
    assert Path(output).read_bytes() == b"precious"
    with FileOutput(output) as speaker:
        speaker.write(tone(60_000 // 1000))
        speaker.write(bytes(48_000 * 60))
        speaker.clear()
        assert speaker.played_ms < 59_000
    assert len(read_wav(output)) < 48_000 * 59
