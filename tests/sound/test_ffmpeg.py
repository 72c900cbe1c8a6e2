"""`sound.ffmpeg`: what the program is asked, what it gives, and what it complains of."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_ffmpeg import posix, remove_ffmpeg, replace_ffmpeg
from wav_files import FORMATS, check_tone, sine

from realtime_sync.voice import audio


@pytest.fixture
def no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_ffmpeg(tmp_path, monkeypatch)


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_ffmpeg(tmp_path, monkeypatch)


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
@pytest.mark.parametrize("audio_format", FORMATS)
def test_decode_by_ffmpeg(audio_format: str, tmp_path: Path) -> None:
    """Another format is what ffmpeg makes of it, at the rate of the session's format."""
    path = tmp_path / "sound.mp3"
    path.write_text(
        "import math, sys, struct\n"
        "rate = int(sys.argv[sys.argv.index('-ar') + 1])\n"
        "for n in range(round(rate * 0.3)):\n"
        "    out.write(struct.pack('<h', round(math.sin(2 * math.pi * 440 * n / rate) * 16383)))\n"
    )
    pieces = list(audio.decode(path, 20, audio_format))
    assert [audio.duration(piece, audio_format) for piece in pieces] == [0.02] * 15
    check_tone(audio.read_audio(path, audio_format), audio_format)


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
@pytest.mark.parametrize("name", ["-version", "concat:a|b", "http:/x.mp3", "a b.ogg"])
def test_a_name_is_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's name is no option and no address to ffmpeg, and nothing of the network is open to it."""
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("import sys\nout.write('\\n'.join(sys.argv).encode().ljust(4000))")
    arguments = audio.read_audio(name).decode().split("\n")
    assert arguments[arguments.index("-i") + 1] == f"file:{name}"
    assert arguments[arguments.index("-protocol_whitelist") + 1] == "file,pipe"
    assert "-nostdin" in arguments


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "import sys; print('more', 'details', 'Invalid data', sep='\\n', file=sys.stderr); sys.exit(1)",
            "details; Invalid data",
        ),
        ("import os; os._exit(3)", "status 3"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_ffmpeg_fails(script: str, says: str, tmp_path: Path) -> None:
    """What ffmpeg can't decode is a `ValueError` with the last things it said, after what it could decode."""
    path = tmp_path / "sound.mp3"
    path.write_text(f"out.write(bytes(9600)); out.flush()\n{script}")
    pieces = audio.decode(path)
    assert [next(pieces), next(pieces)] == [bytes(4800)] * 2
    with pytest.raises(ValueError, match=f"ffmpeg can't decode .*sound.mp3: {says}$"):
        next(pieces)


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_ffmpeg_ends_with_its_reader(tmp_path: Path) -> None:
    """When nobody wants the rest, ffmpeg is ended, however much it has yet to give and to complain of."""
    path, pid = tmp_path / "sound.mp3", tmp_path / "pid"
    path.write_text(
        "import os, sys\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "while True:\n    out.write(bytes(48000)); sys.stderr.write('oh dear ' * 10000)\n"
    )
    pieces = audio.decode(path)
    assert next(pieces) == bytes(4800)
    os.kill(int(pid.read_text()), 0)
    pieces.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_real_ffmpeg(tmp_path: Path) -> None:
    """The real ffmpeg understands what it is asked, here of a FLAC file of two channels."""
    source, path = tmp_path / "a.wav", tmp_path / "-a:b.flac"
    audio.write_wav(source, sine(), rate=44_100, channels=2)
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-i", source, f"file:{path}"], check=True)
    check_tone(audio.read_audio(path))
    path.write_bytes(b"nothing that it knows")
    with pytest.raises(ValueError, match=r"ffmpeg can't decode .*flac: \w+"):
        audio.read_audio(path)
