"""`sound.files`: files of any format."""

import contextlib
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_ffmpeg import posix, remove_ffmpeg, replace_ffmpeg
from wav_files import QUESTION, chunk, fmt, riff

from realtime_sync.sound.formats import samples_of
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


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_big_endian_is_not_left_to_ffmpeg(tmp_path: Path) -> None:
    """RIFX is read here, or refused: ffmpeg would take its samples for little-endian ones, and give noise."""
    path = tmp_path / "sound.wav"
    samples = [1, -2, 32_767]
    data = chunk(b"data", struct.pack(">3h", *samples), order=">")
    path.write_bytes(riff(fmt(order=">"), data, order=">"))
    assert list(samples_of(audio.read_audio(path))) == samples
    path.write_bytes(riff(fmt(2, 1, order=">"), data, order=">"))
    with pytest.raises(ValueError, match=r"encoding 2 with 8 bits, in big-endian: convert it to WAV$"):
        audio.read_audio(path)


# --- What the real programs write --------------------------------------------------------------------


def written_by(program: str, *arguments: str | Path, **environment: str) -> None:
    """Run a program, if it is installed and can do that."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *arguments], capture_output=True, timeout=60, env={**os.environ, **environment}
    )
    if done.returncode:
        pytest.skip(f"this {program} doesn't: {done.stderr.decode(errors='replace')[-300:]}")


def check_question(path: Path, off_by: int, told: bool = False) -> None:
    """Each sample is that of the question, but for this much."""
    problems: list[str] = []
    got = samples_of(audio.read_audio(path, on_problem=problems.append))
    wanted = samples_of(audio.read_wav(QUESTION))
    assert bool(problems) is told
    assert told or len(got) == len(wanted)
    assert max(abs(one - other) for one, other in zip(got, wanted, strict=not told)) <= off_by


@pytest.mark.parametrize(
    ("options", "off_by"),
    [
        ("-b 8", 128),
        ("-b 16", 0),
        ("-b 24", 0),
        ("-b 32", 0),
        ("-e float", 0),
        ("-e float -b 64", 0),
        ("-e unsigned -b 8", 128),
        ("-e a-law", 512),
        ("-e u-law", 520),
        ("-c 2 -b 24", 0),
        ("-B", 0),
        ("-B -b 8", 128),
        ("-B -b 24", 0),
        ("-B -e float", 0),
        ("-B -e u-law", 520),
        ("-t wavpcm -b 24", 0),
        ("--add-comment odd", 0),
    ],
)
def test_sox(options: str, off_by: int, tmp_path: Path) -> None:
    """Every kind of WAV that sox writes and that holds plain samples is read right, without ffmpeg."""
    path = tmp_path / "sound.wav"
    written_by("sox", "-D", QUESTION, *options.split(), path)
    check_question(path, off_by)


@pytest.mark.parametrize("options", ["-B -e ms-adpcm", "-B -e ima-adpcm", "-B -e gsm"])
def test_sox_is_refused(options: str, tmp_path: Path) -> None:
    """What sox writes and is not read is an error, with ffmpeg or without."""
    path = tmp_path / "sound.wav"
    written_by("sox", "-D", QUESTION, *options.split(), path)
    with pytest.raises(ValueError, match="unsupported encoding"):
        audio.read_audio(path)


@pytest.mark.parametrize(
    ("options", "off_by"),
    [
        ("-c:a pcm_u8", 255),
        ("-c:a pcm_s16le", 0),
        ("-c:a pcm_s24le", 0),
        ("-c:a pcm_s32le", 0),
        ("-c:a pcm_s64le", 0),
        ("-c:a pcm_f32le", 0),
        ("-c:a pcm_f64le", 0),
        ("-c:a pcm_alaw", 512),
        ("-c:a pcm_mulaw", 520),
        ("-c:a flac", 0),
        ("-rf64 always", 0),
        ("-rf64 always -c:a pcm_s24le", 0),
        ("-write_bext 1", 0),
        ("-write_peak on", 0),
    ],
)
def test_ffmpeg(options: str, off_by: int, tmp_path: Path) -> None:
    """Every kind of WAV that ffmpeg writes and that holds all samples is read right."""
    path = tmp_path / "sound.wav"
    written_by("ffmpeg", "-nostdin", "-i", QUESTION, *options.split(), path)
    check_question(path, off_by)


@pytest.mark.parametrize("kind", ["aiff", "au", "caf", "flac", "wv", "tta"])
def test_ffmpeg_lossless(kind: str, tmp_path: Path) -> None:
    """What ffmpeg writes without loss it gives back, sample by sample."""
    path = tmp_path / f"sound.{kind}"
    written_by("ffmpeg", "-nostdin", "-i", QUESTION, path)
    check_question(path, 0)


@pytest.mark.parametrize("sample_format", ["U8", "S16_LE", "S24_LE", "S24_3LE", "S32_LE", "FLOAT_LE"])
def test_arecord(sample_format: str, tmp_path: Path) -> None:
    """What arecord records, in each format of which it makes WAV, is what came in, from a made-up device."""
    wanted = samples_of(audio.read_wav(QUESTION))
    form = {
        "U8": lambda value: bytes([(value >> 8) + 128]),
        "S16_LE": lambda value: struct.pack("<h", value),
        "S24_LE": lambda value: struct.pack("<i", value << 8),
        "S24_3LE": lambda value: struct.pack("<i", value << 8)[:3],
        "S32_LE": lambda value: struct.pack("<i", value << 16),
        "FLOAT_LE": lambda value: struct.pack("<f", value / 32_768),
    }[sample_format]
    heard, config, path = tmp_path / "heard.raw", tmp_path / "asound.conf", tmp_path / "sound.wav"
    heard.write_bytes(b"".join(map(form, wanted)))
    device = f'type file slave.pcm {{ type null }} file "/dev/null" infile "{heard}" format "raw"'
    config.write_text(f"pcm.made_up {{ {device} }}")
    options = f"-q -D made_up -f {sample_format} -r 24000 -c 1 -t wav -s {len(wanted)}"
    configs = f"/usr/share/alsa/alsa.conf:{config}"
    written_by("arecord", *options.split(), path, ALSA_CONFIG_PATH=configs)
    check_question(path, 255 if sample_format == "U8" else 0)


def test_cut_wav_is_told(tmp_path: Path) -> None:
    """A WAV file that was cut short is told by `decode` and `read_audio` as one that ffmpeg decodes."""
    path = tmp_path / "sound.wav"
    path.write_bytes(QUESTION.read_bytes()[:-1000])
    check_question(path, 0, told=True)
