"""Audio files as the input and the output of a command."""

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import TIMEOUT, call
from tones import silence, tone
from transcripts import Says, feed, talks

from realtime_sync.cli.main import main
from realtime_sync.cli.sound_files import FileOutput, check_input
from realtime_sync.local import ScriptedResponder
from realtime_sync.testing import RealtimeServer
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


# --- Damaged files -----------------------------------------------------------------------------------


@pytest.fixture(params=["cut.wav", "cut.flac", "damaged.flac"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two turns of speech, of which the second one is not all there."""
    whole = tmp_path / "whole.wav"
    write_wav(whole, silence(100) + tone(300) + silence(800) + noise(2000))
    path = tmp_path / str(request.param)
    if path.suffix == ".flac":
        if shutil.which("ffmpeg") is None:
            pytest.skip("needs ffmpeg")
        command = ["ffmpeg", "-loglevel", "error", "-i", str(whole), "-compression_level", "0", str(path)]
        subprocess.run(command, check=True, timeout=TIMEOUT)
    content = bytearray((path if path.exists() else whole).read_bytes())
    if path.name.startswith("cut"):
        del content[len(content) * 3 // 4 :]
    else:
        middle = len(content) * 3 // 4
        content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    return str(path)


def noise(ms: int) -> bytes:
    """Loud noise, which no format can make small."""
    return random.Random(1).randbytes(48 * ms)


@pytest.mark.parametrize("command", ["talk", "transcribe"])
def test_damage_is_told(command: str, damaged: str, output: str, calm: None) -> None:
    """Of a file that is damaged or cut short, what there is counts; it is told once, and the status is 1."""
    responder = ScriptedResponder(["Yes."] * 9)
    files = {"talk": ["--pace", "fast", "--input", damaged, "--output", output], "transcribe": [damaged]}
    with RealtimeServer(responder=responder, transcriber=Says(*["Hello."] * 9)) as server:
        status, out, err = call(command, "--base-url", server.url, *files[command])
    assert (status, len(err.splitlines())) == (1, 1)
    assert "Hello." in out
    assert err.startswith(f"realtime-sync: {damaged}")
    assert err.count(damaged) == 1


def test_a_pipe_that_is_cut(calm: None, output: str, tmp_path: Path) -> None:
    """The same of a WAV file that comes through a pipe."""
    whole, pipe = tmp_path / "whole.wav", tmp_path / "pipe.wav"
    write_wav(whole, tone(300) + silence(800) + tone(300))
    os.mkfifo(pipe)
    thread = feed(pipe, whole.read_bytes()[:-4800])
    with RealtimeServer(transcriber=Says("Hello.", "Bye.")) as server:
        status, out, err = call("transcribe", "--base-url", server.url, str(pipe))
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert (status, out, len(err.splitlines())) == (1, "Hello.\nBye.\n", 1)
