"""`sound.ffmpeg`: what the program is asked, what it gives, and what it complains of."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_ffmpeg import CONTENT, posix, replace_ffmpeg
from wav_files import FORMATS, QUESTION, check_tone, sine

from realtime_sync.sound.ffmpeg import complaints
from realtime_sync.voice import audio


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


# --- Files that are damaged or cut short -------------------------------------------------------------


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_complaints_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If ffmpeg complains and still exits with 0, what it decoded is used, and then the problem is told."""
    path = tmp_path / "sound.flac"
    path.write_text(
        "import sys\nout.write(bytes(9600)); out.flush()\n"
        "print('[flac @ 0x55fa82de8440] [error] invalid residual', file=sys.stderr)\n"
        "print('[error] Error while decoding stream #0:0: Invalid data found', file=sys.stderr)\n"
    )
    problems: list[str] = []
    pieces = audio.decode(path, on_problem=problems.append)
    assert [next(pieces), next(pieces), problems] == [bytes(4800), bytes(4800), []]
    assert not list(pieces)
    says = f"{path} is damaged or cut short: ffmpeg decoded 0.20 s of it; invalid residual"
    assert problems == [says]
    with caplog.at_level(logging.WARNING, "realtime_sync"):
        assert audio.read_audio(path) == bytes(9600)
    assert caplog.messages == [says]


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_no_problem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What ffmpeg remarks on whole files is no problem; nor is a file of which the rest was not wanted."""
    path = tmp_path / "sound.mp3"
    path.write_text(
        "import sys\nout.write(bytes(9600)); out.flush()\n"
        "print('[mp3 @ 0x55fa82de8440] [warning] Estimating duration from bitrate', file=sys.stderr)\n"
    )
    assert audio.read_audio(path) == bytes(9600)
    path.write_text("import sys\nprint('[error] oh', file=sys.stderr)\nout.write(bytes(10**6))")
    pieces = audio.decode(path)
    assert next(pieces)
    pieces.close()
    assert not caplog.records


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_endless_complaints(tmp_path: Path) -> None:
    """Of megabytes of complaints the last is told, in few words and without what a terminal would obey."""
    path = tmp_path / "sound.mp3"
    path.write_text(
        "import sys\nout.write(bytes(9600)); out.flush()\n"
        "sys.stderr.write('[error] the same\\n' * 200_000 + '[error] \\x1b[2Jthe end ' + 'x' * 5000)\n"
    )
    [problem] = [*tell(path)]
    assert "the same; " in problem
    assert "[2Jthe end xxx" in problem
    assert "\x1b" not in problem
    assert problem.endswith("xxx...")
    assert len(problem) < 500


def tell(path: Path) -> list[str]:
    """The problems of a file."""
    problems: list[str] = []
    audio.read_audio(path, on_problem=problems.append)
    return problems


# What ffmpeg 5.1 said of whole and damaged files with -loglevel repeat+level+warning, and what it comes to.
SAID = {
    "whole AIFF": (["[warning] Guessed Channel Layout for Input Stream #0.0 : mono"], ""),
    "whole AAC": (["[aac @ 0x56140b82e9c0] [warning] Estimating duration from bitrate, this may be"], ""),
    "nothing": ([], ""),
    "cut FLAC": (
        [
            "[flac @ 0x55fa82de8440] [error] invalid residual",
            "[flac @ 0x55fa82de8440] [error] decode_frame() failed",
            "[error] Error while decoding stream #0:0: Invalid data found when processing input",
        ],
        "invalid residual; decode_frame() failed",
    ),
    "cut MP3": (
        ["[mp3 @ 0x561f7dfce9c0] [warning] filesize and duration do not match (growing file?)"],
        "filesize and duration do not match (growing file?)",
    ),
    "damaged Ogg": (["[ogg @ 0x5634be9c79c0] [error] CRC mismatch!"] * 4, "CRC mismatch!"),
    "cut CAF": (
        [
            "[caf @ 0x5633582b19c0] [warning] Packet corrupt (stream = 0, dts = 229376).",
            "[warning] corrupt input packet in stream 0",
        ],
        "Packet corrupt (stream = 0, dts = 229376).; corrupt input packet in stream 0",
    ),
    "cut M4A": (
        ["[mov,mp4,m4a,3gp,3g2,mj2 @ 0x563f21fe79c0] [error] stream 0, offset 0xd251: partial file"],
        "stream 0, offset 0xd251: partial file",
    ),
    "two contexts": (
        ["[aist#0:0/aac @ 0x5581] [dec:aac @ 0x5582] [error] Error submitting packet to decoder"],
        "Error submitting packet to decoder",
    ),
    "no more than an error": (
        ["[error] Error while decoding stream #0:0: Error number -16976906 occurred"],
        "Error while decoding stream #0:0: Error number -16976906 occurred",
    ),
    "no levels": (["[mp3 @ 000001f2a3b4c5d6] Header missing", "more of it"], "Header missing; more of it"),
    "lines of a warning": (["[warning] Consider a larger value", "for the option", "[error] bad"], "bad"),
}


@pytest.mark.parametrize("name", SAID)
def test_complaints(name: str) -> None:
    """What ffmpeg says is cut to what is wrong with the file."""
    lines, expected = SAID[name]
    assert complaints("\n".join(lines)) == expected


def ogg(*payloads: bytes) -> bytes:
    """Pages of an Ogg file, of at most 255 bytes each."""
    pages = (b"OggS" + bytes(22) + bytes([1, len(payload)]) + payload for payload in payloads)
    return b"".join(pages)


def aiff(size: int, there: int) -> bytes:
    return (b"FORM" + size.to_bytes(4, "big") + b"AIFF").ljust(there, b"\0")


@posix
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (ogg(b"a" * 200, b"b" * 200), ""),
        (ogg(b"a" * 200, b"b" * 200)[:-1], "its last Ogg page is incomplete"),
        (ogg(*[b"a" * 255] * 3000)[:-255], "its last Ogg page is incomplete"),
        (ogg(b"a" * 200, b"b" * 200)[:-210], "its last Ogg page is incomplete"),
        (ogg(b"a" * 200) + b"OggS", "its last Ogg page is incomplete"),
        (b"OggS" + b"\xff" * 300_000, "its last Ogg page is incomplete"),
        (aiff(992, 1000), ""),
        (aiff(992, 999), "of 1000 bytes, 999 are there"),
        (aiff(0x7F00_0050, 1000), ""),  # as sox writes it into a pipe
        (b"fLaC" + bytes(1000), ""),
    ],
)
def test_what_ffmpeg_ignores(data: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Ogg file that ends within a page, and an AIFF file shorter than it says, are told all the same."""
    replace_ffmpeg(tmp_path, monkeypatch, CONTENT)
    path = tmp_path / "sound"
    path.write_bytes(data)
    told = f"{path} is damaged or cut short: ffmpeg decoded 0.10 s of it; {says}"
    assert tell(path) == ([told] if says else [])


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@needs_ffmpeg
@pytest.mark.parametrize("damage", ["cut", "hole"])
@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "opus", "m4a"])
def test_real_damage(kind: str, damage: str, tmp_path: Path) -> None:
    """The real ffmpeg tells of a file that was cut or lost some of its middle, and not of a whole one."""
    path = tmp_path / f"sound.{kind}"
    command: list[str | Path] = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-stream_loop",
        "3",
        "-i",
        QUESTION,
    ]
    made = subprocess.run([*command, "-movflags", "faststart", path], capture_output=True)
    if made.returncode:
        pytest.skip(f"this ffmpeg doesn't write {kind}")
    assert tell(path) == []
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[: 2 * third] if damage == "cut" else data[:third] + data[third + third // 2 :])
    [problem] = tell(path)
    assert problem.startswith(f"{path} is damaged or cut short: ffmpeg decoded ")
