"""`sound.files`: files of any format."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_ffmpeg import posix, remove_ffmpeg, replace_ffmpeg
from wav_files import QUESTION, chunk, fmt, riff

from realtime_sync.voice import audio


@pytest.fixture
def no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_ffmpeg(tmp_path, monkeypatch)


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_ffmpeg(tmp_path, monkeypatch)


def test_decode_wav(tmp_path: Path) -> None:
    """WAV needs no ffmpeg."""
    assert audio.read_audio(QUESTION) == b"".join(audio.decode(QUESTION, 20)) == audio.read_wav(QUESTION)


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_a_wav_of_another_kind(tmp_path: Path) -> None:
    """A WAV file in an encoding that is not read here goes to ffmpeg too."""
    path = tmp_path / "adpcm.wav"
    path.write_bytes(riff(fmt(2, 1), chunk(b"data", bytes(100))))
    with pytest.raises(ValueError, match="ffmpeg can't decode"):  # the fake one has no script to run
        audio.read_audio(path)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ID3\x04 surely an MP3", "convert it to WAV, or install ffmpeg"),
        (riff(fmt(2, 1), chunk(b"data", bytes(100))), "convert it to WAV, or install ffmpeg"),
        (b"", "is empty"),
    ],
)
def test_no_ffmpeg(data: bytes, says: str, tmp_path: Path) -> None:
    """Where ffmpeg would be needed and is not there, the error says what to do."""
    path = tmp_path / "sound.mp3"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"sound.mp3 .*{says}"):
        audio.read_audio(path)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is an ordinary error, and an address is no file."""
    for path in (tmp_path / "no.wav", "http://127.0.0.1:1/no.mp3"):
        with pytest.raises(FileNotFoundError):
            audio.read_audio(path)
    with pytest.raises(OSError, match=r"irectory|ermission"):
        audio.read_audio(tmp_path)
    number: Any = 3
    with pytest.raises(TypeError, match="path must be the name of a file, got 3"):
        audio.read_audio(number)


@contextlib.contextmanager
def pipe(path: Path, *pieces: bytes) -> Iterator[Path]:
    """A pipe with a name, through which this comes."""
    os.mkfifo(path)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(path, "wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    yield path
    writer.join()


named_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")


@named_pipes
def test_named_pipe(tmp_path: Path) -> None:
    """What has a name and is a pipe is read once, from its first byte, however little comes at once."""
    sound = QUESTION.read_bytes()
    with pipe(tmp_path / "pipe", sound[:3], sound[3:]) as path:
        assert audio.read_audio(path) == audio.read_wav(QUESTION)


@named_pipes
@pytest.mark.usefixtures("fake_ffmpeg")
@pytest.mark.parametrize(
    "data", [b"ID3\x04 surely an MP3", b"ID3" * 100_000, riff(fmt(2, 1), chunk(b"data", bytes(100)))]
)
def test_named_pipe_of_another_kind(data: bytes, tmp_path: Path) -> None:
    """What only ffmpeg can decode is refused from a pipe, which it could not open a second time."""
    with (
        pipe(tmp_path / "pipe", data) as path,
        pytest.raises(ValueError, match="pipe is not a regular file: from a pipe, only WAV can be read"),
    ):
        audio.read_audio(path)


@named_pipes
@pytest.mark.usefixtures("fake_ffmpeg")
def test_named_pipe_of_nothing(tmp_path: Path) -> None:
    """A pipe that nothing comes through is empty."""
    with pipe(tmp_path / "pipe") as path, pytest.raises(ValueError, match="pipe is empty"):
        audio.read_audio(path)
