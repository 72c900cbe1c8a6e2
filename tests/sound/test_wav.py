"""`sound.wav`: WAV files in and out."""

import io
import logging
import os
import struct
import threading
import wave
from pathlib import Path
from typing import Any

import pytest
from wav_files import FORMATS, QUESTION, Watched, check_tone, chunk, fmt, read, riff, sine, tone, wav_of

from realtime_sync.sound.formats import PCMA, PCMU
from realtime_sync.voice import audio


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("rate", [8000, 22_050, 24_000])
def test_wav_in_every_format_of_the_wire(audio_format: str, rate: int) -> None:
    """A WAV file can be read in each format that a session may take."""
    check_tone(read(wav_of(tone(rate), rate=rate), audio_format), audio_format)


def test_wav_that_fits_is_taken_bit_by_bit() -> None:
    """24 kHz, mono, 16 bits: the bytes are the file's own."""
    samples = [0, 1, -1, 255, 256, 32_767, -32_768]
    data = struct.pack("<7h", *samples)
    assert read(riff(fmt(), chunk(b"data", data))) == data
    with wave.open(str(QUESTION)) as file:
        assert audio.read_wav(QUESTION) == file.readframes(file.getnframes())


def test_truncated(caplog: pytest.LogCaptureFixture) -> None:
    """Of a file that was cut short, what is there is used, in whole samples; the log says so."""
    sound = sine()
    file = riff(fmt(), chunk(b"data", sound))
    with caplog.at_level(logging.WARNING, "realtime_sync"):
        assert audio.read_wav(io.BytesIO(file[: 44 + 4801])) == sound[:4800]
    assert caplog.messages == ["the stream is cut short: its header promises 0.30 s, got 0.10 s"]


def test_truncated_is_told_to_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller who gives a function is told of a file that was cut short, at its end; the log is not."""
    path = tmp_path / "cut.wav"
    path.write_bytes(riff(fmt(channels=2), chunk(b"data", bytes(96_000)))[:-48_000])
    problems: list[str] = []
    pieces = audio.wav_chunks(path, 250, on_problem=problems.append)
    assert [len(next(pieces)), len(next(pieces)), problems] == [12_000, 12_000, []]
    assert not list(pieces)
    assert problems == [f"{path} is cut short: its header promises 1.00 s, got 0.50 s"]
    assert not caplog.records


def test_long_file_is_not_loaded() -> None:
    """A file is read as its pieces are asked for."""
    file = Watched(riff(fmt(), chunk(b"data", bytes(48_000 * 60))))
    pieces = audio.wav_chunks(file, ms=100)
    assert [len(next(pieces)) for _ in range(3)] == [4800] * 3
    assert file.tell() == 44 + 3 * 4800
    pieces.close()
    assert not file.closed


def test_pipe() -> None:
    """A pipe gives a few bytes at a time, and can't be rewound."""
    sound = sine()
    file = riff(chunk(b"LIST", bytes(99)), fmt(), chunk(b"data", sound, 0xFFFF_FFFF))
    assert audio.read_wav(Watched(file, most=7)) == sound
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb") as pipe:
            pipe.write(file)

    writer = threading.Thread(target=write)  # a pipe holds less than the file
    writer.start()
    with open(read_end, "rb") as pipe:
        assert audio.read_wav(pipe) == sound
    writer.join()


def test_wav_duration(tmp_path: Path) -> None:
    """How long a file lasts is known without reading it, also where its header doesn't know or is wrong."""
    path = tmp_path / "a.wav"
    for size in (None, 0, 0xFFFF_FFFF, 500_000):
        path.write_bytes(riff(fmt(channels=2), chunk(b"data", bytes(96_000), size), size=36))
        assert audio.wav_duration(path) == 1.0


@pytest.mark.parametrize("rate", [8000, None, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("width", [None, 1, 2, 3, 4])
def test_there_and_back(width: int | None, channels: int, rate: int | None, tmp_path: Path) -> None:
    """What is written with any rate, width and number of channels reads as the same sound."""
    path = tmp_path / "a.wav"
    audio.write_wav(path, sine(), rate=rate, width=width, channels=channels)
    with wave.open(str(path)) as file:  # a judge who is not us
        assert file.getparams()[:3] == (channels, width or 2, rate or 24_000)
        assert file.getnframes() == pytest.approx(0.3 * (rate or 24_000), abs=2)
    assert path.stat().st_size % 2 == 0
    check_tone(audio.read_wav(path))


@pytest.mark.parametrize("width", [2, 3, 4])
def test_nothing_is_lost_in_more_bits(width: int) -> None:
    """16 bits come back exactly from any width that has them."""
    file = io.BytesIO()
    audio.write_wav(file, sine(), width=width, channels=2)
    assert read(file.getvalue()) == sine()


@pytest.mark.parametrize(("audio_format", "encoding"), [(PCMU, 7), (PCMA, 6)])
def test_g711_is_kept(audio_format: str, encoding: int) -> None:
    """mu-law and A-law go into a WAV file of that kind byte by byte, and come back so."""
    file = io.BytesIO()
    sound = sine(audio_format)
    audio.write_wav(file, sound, audio_format, channels=2)
    assert struct.unpack_from("<HHI", file.getvalue(), 20) == (encoding, 2, 8000)
    assert struct.unpack_from("<4sII4sI", file.getvalue(), 38) == (b"fact", 4, 2400, b"data", 4800)
    assert read(file.getvalue(), audio_format) == sound


@pytest.mark.parametrize("options", [{"width": 3}, {"rate": 24_000}, {"rate": 8000, "width": 2}])
def test_g711_as_pcm(options: dict[str, Any]) -> None:
    """Where a rate or a width is asked for, mu-law becomes PCM."""
    file = io.BytesIO()
    audio.write_wav(file, sine(PCMU), PCMU, **options)
    assert file.getvalue()[20] == 1
    check_tone(read(file.getvalue()))


def test_writer_takes_any_pieces(tmp_path: Path) -> None:
    """Pieces may end in the middle of a sample; half of one at the end is left out."""
    sound = sine()
    with audio.WavWriter(tmp_path / "a.wav", channels=2) as writer:
        for start in range(0, len(sound), 333):
            writer.write(memoryview(sound)[start : start + 333])
        writer.write(b"\x01")
    assert audio.read_wav(tmp_path / "a.wav") == sound


def test_what_a_dead_program_left() -> None:
    """A WAV file that was never closed can be read as far as it was written."""
    file = io.BytesIO()
    audio.WavWriter(file).write(sine())
    assert read(file.getvalue()) == sine()


def test_writer_to_a_pipe() -> None:
    """Where nothing can be written afterwards, the length stays unknown, and the file can be read."""
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as pipe:
        audio.write_wav(pipe, bytes(480), width=1)
    with open(read_end, "rb") as pipe:
        assert audio.read_wav(pipe) == bytes(480)


def test_writer_begins_where_the_file_is() -> None:
    """A file that is passed in may hold something before the WAV; it is left open, at its end."""
    file = io.BytesIO()
    file.write(b"before")
    writer = audio.WavWriter(file, width=1)
    writer.write(bytes(6))
    writer.close()
    writer.close()
    file.write(b"behind")
    assert file.getvalue()[:10] == b"beforeRIFF"
    assert file.getvalue()[-10:] == b"\x80\x80\x80\x00behind"
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 5}, "width of a WAV file: expected 1 to 4 bytes a sample, got 5"),
        ({"width": 0}, "width .* got 0"),
        ({"rate": 10}, "sample rate of a WAV file: expected 1000 to 768000 Hz, got 10"),
        ({"rate": 0}, "sample rate .* got 0"),
        ({"rate": -1}, "sample rate .* got -1"),
        ({"channels": 0}, "channels of a WAV file: expected 1 to 255, got 0"),
        ({"channels": 300}, "channels .* got 300"),
    ],
)
def test_what_is_not_written(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    """A WAV file that nobody could play is refused before it is there."""
    with pytest.raises(ValueError, match=f"unsupported {says}"):
        audio.write_wav(tmp_path / "a.wav", b"", **options)
    assert not list(tmp_path.iterdir())
