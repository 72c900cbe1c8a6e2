"""`voice.audio`: WAV in and out, conversions, other formats by way of ffmpeg, and files into a session."""

import array
import contextlib
import inspect
import io
import itertools
import logging
import math
import os
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import realtime_sync as rt
from realtime_sync.local.protocol.vad import Detector, Started, Stopped
from realtime_sync.sound.formats import (
    bytes_of,
    bytes_per_sample,
    input_format,
    output_format,
    sample_rate,
    samples_of,
)
from realtime_sync.sound.resampler import Resampler
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import audio
from realtime_sync.voice.audio import PCM, PCMA, PCMU

DATA = Path(__file__).parent.parent / "data"
QUESTION = DATA / "question.wav"
FORMATS = [PCM, PCMU, PCMA]
HERTZ = 440
SAMPLE = st.integers(-32_768, 32_767)
KINDS = [(1, 1), (1, 2), (1, 3), (1, 4), (3, 4), (3, 8), (6, 1), (7, 1)]  # encoding, bytes of a sample


# --- WAV files made by hand ------------------------------------------------------------------------


def tone(rate: int = 24_000, seconds: float = 0.3) -> list[float]:
    """A sine of half the full scale, which is -9.03 dBFS."""
    return [0.5 * math.sin(2 * math.pi * HERTZ * n / rate) for n in range(round(rate * seconds))]


def sine(audio_format: str = PCM, seconds: float = 0.3) -> bytes:
    samples = tone(sample_rate(audio_format), seconds)
    return bytes_of([round(value * 32_767) for value in samples], audio_format)


def packed(value: float, encoding: int, width: int) -> bytes:
    """One sample, the plain way."""
    if encoding == 3:
        return struct.pack("<f", value) if width == 4 else struct.pack("<d", value)
    if encoding != 1:
        return bytes_of([round(value * 32_767)], PCMA if encoding == 6 else PCMU)
    if width == 1:
        return bytes([round(value * 127) + 128])
    whole = round(value * ((1 << 8 * width - 1) - 1))
    return whole.to_bytes(width, "little", signed=True)


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    size = len(body) if size is None else size
    return kind + struct.pack("<I", size) + body + bytes(len(body) % 2)


def fmt(
    encoding: int = 1, width: int = 2, channels: int = 1, rate: int = 24_000, frame: int | None = None
) -> bytes:
    frame = width * channels if frame is None else frame
    return chunk(b"fmt ", struct.pack("<HHIIHH", encoding, channels, rate, rate * frame, frame, width * 8))


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def wav_of(
    values: list[float], encoding: int = 1, width: int = 2, channels: int = 1, rate: int = 24_000
) -> bytes:
    data = b"".join(packed(value, encoding, width) * channels for value in values)
    return riff(fmt(encoding, width, channels, rate), chunk(b"data", data))


def read(data: bytes, audio_format: str = PCM) -> bytes:
    return audio.read_wav(io.BytesIO(data), audio_format)


def check_tone(sound: bytes, audio_format: str = PCM, seconds: float = 0.3) -> None:
    """It is `tone`: as long, as loud and as high."""
    assert audio.duration(sound, audio_format) == pytest.approx(seconds, abs=0.001)
    assert audio.level(sound, audio_format) == pytest.approx(-9.03, abs=0.3)
    samples = samples_of(sound, audio_format)
    # Each crossing of zero is a change of sign between two samples.
    crossings = sum((before < 0) != (after < 0) for before, after in itertools.pairwise(samples))
    assert crossings == pytest.approx(2 * HERTZ * seconds, abs=3)


# --- WAV in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11_025, 24_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize(("encoding", "width"), KINDS)
def test_every_kind_of_wav(encoding: int, width: int, channels: int, rate: int) -> None:
    """Any width, number of channels and sample rate becomes 24 kHz mono of the same length, level, pitch."""
    check_tone(read(wav_of(tone(rate), encoding, width, channels, rate)))


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


@pytest.mark.parametrize(
    ("encoding", "width", "data", "samples"),
    [
        (1, 1, bytes([0, 127, 128, 255]), [-32_768, -256, 0, 32_512]),
        (1, 2, struct.pack("<3h", -32_768, 1, 32_767), [-32_768, 1, 32_767]),
        (1, 3, b"\x00\x00\x80\xff\x01\x00\xff\xff\x7f", [-32_768, 1, 32_767]),
        (1, 4, struct.pack("<3i", -(2**31), 0x1FFFF, 2**31 - 1), [-32_768, 1, 32_767]),
        (3, 4, struct.pack("<4f", -1.0, 0.0, 0.5, 1.0), [-32_768, 0, 16_384, 32_767]),
        (3, 8, struct.pack("<4d", -1.0, 1 / 32_768, 7.0, -1e300), [-32_768, 1, 32_767, -32_768]),
        (3, 4, struct.pack("<4f", math.nan, math.inf, -math.inf, 0.5), [0, 32_767, -32_768, 16_384]),
        (7, 1, bytes([0x00, 0x80, 0xFF]), [-32_124, 32_124, 0]),
        (6, 1, bytes([0x2A, 0xAA, 0xD5]), [-32_256, 32_256, 8]),
    ],
)
def test_values(encoding: int, width: int, data: bytes, samples: list[int]) -> None:
    """The ends of each scale are where they belong; too loud is clipped, and what is no number is silent."""
    wire = {6: PCMA, 7: PCMU}.get(encoding, PCM)
    file = riff(fmt(encoding, width, rate=sample_rate(wire)), chunk(b"data", data))
    assert list(samples_of(read(file, wire), wire)) == samples


def test_channels_are_mixed() -> None:
    """One channel of several is all channels' mean."""
    data = struct.pack("<6h", 300, 0, -600, -3, 3000, 6)
    assert list(samples_of(read(riff(fmt(channels=3), chunk(b"data", data))))) == [-100, 1001]


@given(st.lists(st.tuples(SAMPLE, SAMPLE)))
def test_stereo_is_mixed(frames: list[tuple[int, int]]) -> None:
    """The mean of two channels is exact, rounded down, whatever their samples."""
    data = b"".join(struct.pack("<2h", *frame) for frame in frames)
    mixed = samples_of(read(riff(fmt(channels=2), chunk(b"data", data))))
    assert list(mixed) == [(left + right) // 2 for left, right in frames]


def test_extensible() -> None:
    """WAVE_FORMAT_EXTENSIBLE, which programs write for floats and many channels, says its encoding later."""
    guid = struct.pack("<H", 3) + bytes.fromhex("000000001000800000aa00389b71")
    head = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 24_000, 192_000, 8, 32, 22, 32, 3)
    data = struct.pack("<4f", 0.5, 0.25, -0.5, -0.25)
    file = riff(chunk(b"fmt ", head + guid), chunk(b"data", data))
    assert list(samples_of(read(file))) == [12_288, -12_288]


def test_fewer_bits_than_bytes() -> None:
    """Twelve bits in two bytes are the upper twelve, as the format has it."""
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 24_000, 48_000, 2, 12))
    assert read(riff(head, chunk(b"data", b"\xf0\x7f"))) == b"\xf0\x7f"


@pytest.mark.parametrize("head", [fmt(), chunk(b"LIST", b"INFOodd") + fmt()], ids=["", "tagged"])
@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_F000])
def test_size_not_known(size: int, head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A WAV from a pipe says nothing true about its length; it is read to its end, without a complaint."""
    sound = sine()
    so_far = len(riff(head, chunk(b"data", b"")))
    for whole in (0, 8, so_far - 8, so_far, 0x7FFF_F024, 0xFFFF_FFFF):
        assert read(riff(head, chunk(b"data", sound, size), size=whole)) == sound
    assert not caplog.records


def test_nothing_was_recorded(tmp_path: Path) -> None:
    """Where the file as a whole counts what follows an empty recording, that is no sound."""
    path = tmp_path / "a.wav"
    path.write_bytes(riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFOodd")))
    assert audio.read_wav(path) == b""
    assert audio.wav_duration(path) == 0


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize(("encoding", "width"), [kind for kind in KINDS if kind[0] in (1, 3)])
def test_bits_that_do_not_fit(encoding: int, width: int, frame: int, channels: int) -> None:
    """Where a header gives a sample fewer bytes than its bits take, the bits are right."""
    data = chunk(b"data", b"".join(packed(value, encoding, width) * channels for value in tone()))
    frame = min(frame, width * channels)
    check_tone(read(riff(fmt(encoding, width, channels, frame=frame), data)))


def test_bits_of_g711() -> None:
    """Mu-law has one byte a sample, also where the header counts the bits that it stands for."""
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 16))
    sound = sine(PCMU)
    assert read(riff(head, chunk(b"data", sound)), PCMU) == sound


def test_other_chunks() -> None:
    """Chunks before and after the sound are passed over, with the byte that pads an odd one."""
    notes = chunk(b"LIST", b"INFOodd")
    sound = sine()
    file = riff(notes, fmt(), chunk(b"fact", bytes(4)), notes, chunk(b"data", sound), notes)
    assert read(file) == sound


def test_truncated(caplog: pytest.LogCaptureFixture) -> None:
    """Of a file that was cut short, what is there is used, in whole samples; the log says so."""
    sound = sine()
    file = riff(fmt(), chunk(b"data", sound))
    with caplog.at_level(logging.WARNING, "realtime_sync"):
        assert read(file[: 44 + 4801]) == sound[:4800]
    assert caplog.messages == ["the stream ends after 0.10 s, and should have 0.30 s"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"ID3\x04 surely an MP3, then", "is no WAV file"),
        (b"RIFF", "is no WAV file"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "is no WAV file"),
        (riff(), "no chunk 'fmt'"),
        (riff(fmt()), "no chunk 'data'"),
        (riff(chunk(b"data", bytes(100))), "no chunk 'fmt'"),
        (riff(chunk(b"LIST", b"", 0xFFFF_FFFF)), "no chunk 'fmt'"),
        (riff(chunk(b"fmt ", bytes(10))), "cut short"),
        (riff(fmt())[:30], "cut short"),
        (riff(fmt(rate=0), chunk(b"data", bytes(100))), "0 samples a second"),
        (riff(fmt(rate=2**30), chunk(b"data", bytes(100))), "1073741824 samples a second"),
        (riff(fmt(channels=0), chunk(b"data", bytes(100))), "0 channels"),
        (riff(fmt(channels=9999), chunk(b"data", bytes(100))), "9999 channels"),
        (riff(fmt(channels=2, frame=5), chunk(b"data", bytes(100))), "5 bytes each"),
        (riff(fmt(width=0), chunk(b"data", bytes(100))), "encoding 1 with 0 bits"),
        (riff(fmt(width=8), chunk(b"data", bytes(100))), "encoding 1 with 64 bits"),
        (riff(fmt(3, 2), chunk(b"data", bytes(100))), "encoding 3 with 16 bits"),
        (riff(fmt(2, 1), chunk(b"data", bytes(100))), "encoding 2 .*ffmpeg"),
    ],
)
def test_bad_wav(data: bytes, says: str, tmp_path: Path) -> None:
    """What is no WAV, or a broken one, is a `ValueError` that names the file and says what is wrong."""
    path = tmp_path / "sound.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"sound.wav.*{says}"):
        audio.read_wav(path)
    with pytest.raises(ValueError, match=says):
        audio.wav_duration(path)


@pytest.mark.parametrize("data", [riff(fmt(), chunk(b"data", b"")), riff(fmt(), chunk(b"data", b"\x01"))])
def test_wav_without_a_sample(data: bytes) -> None:
    """A WAV file in which nothing was recorded is no audio, and no error."""
    assert read(data) == b""


@given(st.integers(0, 50), st.binary(min_size=1, max_size=8), st.integers(0, 144))
def test_broken_wav(position: int, garbage: bytes, length: int) -> None:
    """Whatever is wrong in a file, it is audio or a `ValueError`."""
    file = riff(fmt(), chunk(b"data", bytes(range(100))))[:length]
    with contextlib.suppress(ValueError):
        assert len(read(file[:position] + garbage + file[position + len(garbage) :])) % 2 == 0


class Watched(io.BytesIO):
    """Remembers how much it was asked for, and gives as much as a pipe might."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        super().__init__(data)
        self.asked: list[int] = []
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.asked.append(size)
        return super().read(min(size, self._most))


def test_header_takes_no_memory() -> None:
    """However long a file says it is, little is asked of the system at once."""
    file = Watched(riff(chunk(b"JUNK", b"", 2**31), fmt(), chunk(b"data", b"", 2**31 - 2**17)))
    with pytest.raises(ValueError, match="no chunk 'fmt'"):
        audio.read_wav(file)
    rest = Watched(riff(fmt(rate=768_000, channels=200), chunk(b"data", b"", 2**31 - 2**17)))
    assert list(audio.wav_chunks(rest, ms=3_600_000)) == []
    assert max(file.asked + rest.asked) <= 1 << 16


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


# --- WAV out ---------------------------------------------------------------------------------------


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
        ({"width": 5}, "5 bytes a sample"),
        ({"width": 0}, "0 bytes a sample"),
        ({"rate": 10}, "10 samples a second"),
        ({"rate": 0}, "0 samples a second"),
        ({"rate": -1}, "-1 samples a second"),
        ({"channels": 0}, "0 channels"),
        ({"channels": 300}, "300 channels"),
    ],
)
def test_what_is_not_written(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    """A WAV file that nobody could play is refused before it is there."""
    with pytest.raises(ValueError, match=f"a WAV file of {says} is not written here"):
        audio.write_wav(tmp_path / "a.wav", b"", **options)
    assert not list(tmp_path.iterdir())


# --- Conversions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("audio_format", FORMATS)
def test_level(audio_format: str) -> None:
    """0 dBFS is the loudest square wave there can be, a sine of that height has 3 less, silence has none."""
    assert audio.level(sine(audio_format), audio_format) == pytest.approx(-9.03, abs=0.1)
    assert audio.level(b"") == audio.level(bytes(100)) == -math.inf
    assert audio.level(struct.pack("<h", -32_768) * 10) == 0


def test_half_a_sample() -> None:
    """PCM of an odd number of bytes has no level, and is not converted."""
    with pytest.raises(ValueError, match="multiple"):
        audio.level(b"x")
    with pytest.raises(ValueError, match="multiple"):
        audio.to_format(b"x", PCM, PCMU)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_buffers(audio_format: str) -> None:
    """Audio may be any buffer; its bytes count, whatever its items are."""
    sound = sine(audio_format)
    other = audio.to_format(sound, audio_format, PCM if audio_format != PCM else PCMU)
    file = io.BytesIO()
    audio.write_wav(file, sound, audio_format)
    for view in (bytearray(sound), memoryview(sound), memoryview(array.array("h", sound))):
        assert audio.level(view, audio_format) == audio.level(sound, audio_format)
        assert audio.to_format(view, audio_format, audio_format) == sound
        assert audio.to_format(view, audio_format, PCM if audio_format != PCM else PCMU) == other
        assert b"".join(audio.chunks(view, format=audio_format)) == sound
        copy = io.BytesIO()
        audio.write_wav(copy, view, audio_format)
        assert copy.getvalue() == file.getvalue()


@given(st.sampled_from(FORMATS), st.integers(0, 10**7))
def test_duration(audio_format: str, samples: int) -> None:
    """Bytes and seconds are the same thing, either way."""
    size = samples * bytes_per_sample(audio_format)
    seconds = audio.duration(size, audio_format)
    assert seconds == pytest.approx(samples / sample_rate(audio_format))
    assert audio.size_of(seconds, audio_format) == size


def test_sizes() -> None:
    """100 ms are 4,800 bytes of PCM and 800 of G.711; buffers count by their bytes; samples are never cut."""
    assert [audio.size_of(0.1, name) for name in FORMATS] == [4800, 800, 800]
    assert audio.duration(b"12", PCM) == audio.duration(memoryview(array.array("h", [1])), PCM) == 2 / 48_000
    assert audio.size_of(0.00003) == 2
    with pytest.raises(ValueError, match="'pcm16' is none of audio/pcm, audio/pcmu, audio/pcma"):
        audio.size_of(1, "pcm16")


@given(
    st.sampled_from(FORMATS),
    st.floats(0.01, 50),
    st.lists(st.binary(max_size=3000), max_size=5),
    st.booleans(),
)
def test_chunks(audio_format: str, ms: float, pieces: list[bytes], whole: bool) -> None:
    """Pieces are of equal length and of whole samples, and nothing is lost, however the audio comes."""
    sound = b"".join(pieces)
    cut = list(audio.chunks(sound if whole else pieces, ms, audio_format))
    assert b"".join(cut) == sound
    lengths = {len(piece) for piece in cut[:-1]}
    assert len(lengths) <= 1
    for length in lengths:
        assert length % bytes_per_sample(audio_format) == 0
        assert audio.duration(length, audio_format) == pytest.approx(ms / 1000, abs=1 / 8000)
        assert 0 < len(cut[-1]) <= length


@pytest.mark.parametrize("ms", [0, -1, math.nan, math.inf, 1e308, pytest.param(10**400, id="10**400")])
def test_no_chunks_of_nothing(ms: float) -> None:
    """A length that is none is refused."""
    with pytest.raises(ValueError, match="can't be"):
        next(audio.chunks(b"1234", ms))
    with pytest.raises(ValueError, match="can't be"):
        next(audio.wav_chunks(QUESTION, ms))


@pytest.mark.parametrize("from_format", FORMATS)
@pytest.mark.parametrize("to_format", FORMATS)
def test_to_format(from_format: str, to_format: str) -> None:
    """Each format becomes each other one, and back: same length, level, pitch."""
    there = audio.to_format(sine(from_format), from_format, to_format)
    check_tone(there, to_format)
    check_tone(audio.to_format(there, to_format, from_format), from_format)


def test_g711_as_it_is() -> None:
    """A format stays what it is; mu-law and A-law are but two ways to write a sample."""
    every = bytes(range(256))
    assert audio.to_format(bytearray(every), PCMA, PCMA) == every
    back = audio.to_format(audio.to_format(every, PCMU, PCMA), PCMA, PCMU)
    pairs = zip(samples_of(back, PCMU), samples_of(every, PCMU), strict=True)
    assert all(abs(new - old) <= 16 + abs(old) / 16 for new, old in pairs)
    with pytest.raises(ValueError, match="is none of"):
        audio.to_format(every, "pcm16", PCM)
    with pytest.raises(ValueError, match="is none of"):
        audio.to_format(every, PCM, "g711_ulaw")


def test_what_a_session_uses() -> None:
    """The formats of a session are found in either dialect; what says nothing, or nonsense, is PCM."""
    ga = rt.events.SessionConfig(
        audio=rt.events.AudioConfig(
            input=rt.events.AudioInputConfig(format=rt.events.AudioFormat(type=PCMU)),
            output=rt.events.AudioOutputConfig(format=rt.events.AudioFormat(type=PCMA)),
        )
    )
    beta = rt.events.SessionConfig(input_audio_format="g711_alaw", output_audio_format="g711_ulaw")
    odd = rt.events.SessionConfig(input_audio_format="mp3", output_audio_format=None)
    found = [(input_format(config), output_format(config)) for config in (ga, beta, odd, None)]
    assert found == [(PCMU, PCMA), (PCMA, PCMU), (PCM, PCM), (PCM, PCM)]


# --- Resampling ------------------------------------------------------------------------------------


def test_resample() -> None:
    """Sound of any rate becomes sound of another: as long, and as loud."""
    pcm = sine(seconds=0.5)
    for rate in (8_000, 44_100, 48_000):
        there = audio.resample(pcm, 24_000, rate)
        assert abs(len(there) // 2 - rate // 2) <= 1
        back = audio.resample(there, rate, audio.sample_rate("audio/pcm"))
        assert abs(len(back) - len(pcm)) <= 4
        assert audio.level(back) == pytest.approx(audio.level(pcm), abs=0.1)
    assert audio.resample(pcm, 16_000, 16_000) == pcm
    with pytest.raises(ValueError, match="0 Hz"):
        audio.resample(pcm, 0, 24_000)
    with pytest.raises(ValueError, match="multiple"):
        audio.resample(b"123", 16_000, 24_000)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 24_000), (24_000, 8000), (44_100, 24_000)])
def test_pieces_make_no_difference(from_rate: int, to_rate: int) -> None:
    """A stream is resampled the same in any pieces, and so is the next one after it was finished."""
    sound = bytes_of([round(value * 32_767) for value in tone(from_rate)])
    resampler = Resampler(from_rate, to_rate)
    whole = resampler.feed(sound) + resampler.finish()
    pieces = [resampler.feed(sound[start : start + 98]) for start in range(0, len(sound), 98)]
    assert b"".join(pieces) + resampler.finish() == whole
    assert len(whole) == pytest.approx(len(sound) * to_rate / from_rate, abs=2)


def test_silence_stays_silent() -> None:
    """Nothing is added to a sound, and what is too loud for a moment is clipped and not turned around."""
    resampler = Resampler(44_100, 24_000)
    assert not any(resampler.feed(bytes(8820)) + resampler.finish())
    square = bytes_of(([32_767] * 50 + [-32_768] * 50) * 20)
    samples = samples_of(resampler.feed(square) + resampler.finish())
    assert {min(samples), max(samples)} == {-32_768, 32_767}
    steps = sum(abs(after - before) > 40_000 for before, after in itertools.pairwise(samples))
    assert steps <= 40


def test_equal_rates_need_nothing() -> None:
    """Where nothing is resampled, soxr and NumPy are not loaded."""
    code = (
        "import sys; from realtime_sync.voice import audio\n"
        f"sound = audio.read_wav({str(QUESTION)!r})\n"
        "assert len(sound) > 48_000; audio.to_format(b'1', audio.PCMU, audio.PCMA)\n"
        "print('numpy' in sys.modules, 'soxr' in sys.modules, 'tqdm' in sys.modules)"
    )
    root = Path(rt.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False"] * 3


@pytest.fixture
def no_soxr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)  # its import fails, as if it were not installed


@pytest.mark.usefixtures("no_soxr")
def test_soxr_is_missing(tmp_path: Path) -> None:
    """Without soxr, what needs it names the extra before anything is written or sent."""
    needed = pytest.raises(ImportError, match=r"realtime-sync\[audio\]")
    with needed:
        read(wav_of(tone(8000), rate=8000))
    with needed:
        audio.to_format(b"12", PCM, PCMU)
    with needed:
        audio.write_wav(tmp_path / "a.wav", b"", rate=8000)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.wav").write_bytes(wav_of(tone(44_100), rate=44_100))
    with RealtimeServer() as server:
        with rt.connect(base_url=server.url) as session, needed:
            audio.stream_file(session, tmp_path / "b.wav")
        server.wait_closed()
        assert not server.received


# --- Other formats, by way of ffmpeg ---------------------------------------------------------------


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path to programs on which there are none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def fake_ffmpeg(no_ffmpeg: Path) -> Path:
    """An ffmpeg that does what the file it is to decode says, in Python; its arguments are ``sys.argv``."""
    program = no_ffmpeg / "ffmpeg"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "sys.argv[0] = 'ffmpeg'\n"
        "path = sys.argv[sys.argv.index('-i') + 1].removeprefix('file:')\n"
        "exec(open(path).read(), {'path': path, 'out': sys.stdout.buffer})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


posix = pytest.mark.skipif(os.name != "posix", reason="the fake ffmpeg is a script")


def test_decode_wav(tmp_path: Path) -> None:
    """WAV needs no ffmpeg."""
    assert audio.read_audio(QUESTION) == b"".join(audio.decode(QUESTION, 20)) == audio.read_wav(QUESTION)


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
    with pytest.raises(TypeError, match="path is the name of a file, not 3"):
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
        pytest.raises(ValueError, match="pipe is no regular file: from a pipe, only WAV can be read"),
    ):
        audio.read_audio(path)


@named_pipes
@pytest.mark.usefixtures("fake_ffmpeg")
def test_named_pipe_of_nothing(tmp_path: Path) -> None:
    """A pipe that nothing comes through is empty."""
    with pipe(tmp_path / "pipe") as path, pytest.raises(ValueError, match="pipe is empty"):
        audio.read_audio(path)


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


# --- Into a session --------------------------------------------------------------------------------

GA: dict[str, Any] = {"turn_detection": None}


@contextlib.contextmanager
def connected(**options: Any) -> Iterator[tuple[RealtimeServer, rt.Session]]:
    """A session, and the server that has received all of it when the block is over."""
    with RealtimeServer() as server:
        with rt.connect(base_url=server.url, **options) as session:
            yield server, session
        server.wait_closed()


def configure(session: rt.Session, **settings: Any) -> None:
    session.update(**settings)
    assert session.run(rt.Visitor[None](), until=rt.events.SessionUpdated, timeout=10)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_stream_file(audio_format: str) -> None:
    """A file goes into the input of a session, whole, in the session's own format, and is not committed."""
    with connected() as (server, session):
        configure(session, audio={"input": {"turn_detection": None, "format": {"type": audio_format}}})
        seconds = audio.stream_file(session, QUESTION)
    assert server.audio_received == audio.read_wav(QUESTION, audio_format)
    assert seconds == pytest.approx(audio.wav_duration(QUESTION), abs=0.001)
    assert not server.received_of(rt.events.InputAudioBufferCommit)
    appended = server.received_of(rt.events.InputAudioBufferAppend)
    assert {len(event.audio) for event in appended[:-1]} == {audio.size_of(0.1, audio_format)}


def test_stream_file_beta() -> None:
    """A Beta session names its format otherwise."""
    with connected(dialect="beta") as (server, session):
        configure(session, input_audio_format="g711_ulaw", turn_detection=None)
        audio.stream_file(session, QUESTION, chunk_ms=250)
    assert server.audio_received == audio.read_wav(QUESTION, PCMU)
    assert len(server.received_of(rt.events.InputAudioBufferAppend)) == 8


def test_stream_file_into_a_translation() -> None:
    """A translation session has an event of its own for audio."""
    with connected(translation=True) as (server, session):
        audio.stream_file(session, QUESTION)
    assert len(server.received_of(rt.events.SessionInputAudioBufferAppend)) == 18
    assert server.audio_received == audio.read_wav(QUESTION)


def test_stream_file_in_a_format_asked_for() -> None:
    """The format can be said, for a session whose update was not confirmed yet."""
    with connected() as (server, session):
        audio.stream_file(session, QUESTION, format=PCMA)
    assert server.audio_received == audio.read_wav(QUESTION, PCMA)


class Clock:
    """Time that passes only where it is waited for, and a little more, as it does."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds + 0.013


@pytest.mark.parametrize(("audio_format", "chunk_ms"), [(PCM, 100), (PCMU, 100), (PCM, 33.3)])
def test_realtime(audio_format: str, chunk_ms: float) -> None:
    """At real-time pace each chunk has its time; being late once does not make the next one late."""
    clock = Clock()
    with connected() as (_, session):
        pieces = audio.decode(QUESTION, chunk_ms, audio_format)
        seconds = audio._send(session, pieces, audio_format, False, float, clock, clock.wait)
    begun = audio.duration(audio.size_of(chunk_ms / 1000, audio_format), audio_format) * len(clock.waits)
    assert begun < seconds <= begun + chunk_ms / 1000
    assert clock.now == pytest.approx(1000 + begun + 0.013)
    assert clock.waits[0] == pytest.approx(chunk_ms / 1000, abs=0.0001)
    assert clock.waits[1:] == [pytest.approx(chunk_ms / 1000 - 0.013, abs=0.0001)] * (len(clock.waits) - 1)


def test_fast_waits_for_nothing() -> None:
    """At the fast pace nobody looks at the time."""
    clock = Clock()
    with connected() as (_, session):
        audio._send(session, audio.decode(QUESTION), PCM, True, float, clock, clock.wait)
    assert not clock.waits


def test_session_ends_during_a_file() -> None:
    """When the session ends, so does the file, within a moment even if chunks are long."""
    clock = Clock()
    with connected() as (server, session):

        def wait(seconds: float) -> None:
            clock.wait(seconds)
            if len(clock.waits) == 5:  # of nine or ten, before the second chunk
                session.close()

        with pytest.raises(rt.ConnectionClosed):
            audio._send(session, audio.decode(QUESTION, 1000), PCM, False, float, clock, wait)
        assert len(clock.waits) == 5
        with pytest.raises(rt.ConnectionClosed):
            audio.stream_file(session, QUESTION)
    assert len(server.received) == 1


def test_interrupted() -> None:
    """A Ctrl-C comes out of a wait; the session goes on."""
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.wait(seconds)
        if len(clock.waits) == 3:
            raise KeyboardInterrupt

    with connected() as (server, session):
        with pytest.raises(KeyboardInterrupt):
            audio._send(session, audio.decode(QUESTION), PCM, False, float, clock, wait)
        session.input_audio_buffer.clear()
    assert len(server.received_of(rt.events.InputAudioBufferAppend)) == 3
    assert server.received_of(rt.events.InputAudioBufferClear)


def test_what_is_not_streamed(tmp_path: Path) -> None:
    """A wrong pace or a file that is none is an error, and nothing was sent."""
    (tmp_path / "a.wav").write_bytes(b"")
    with connected() as (server, session):
        with pytest.raises(ValueError, match="'fast' or 'realtime', not 'slow'"):
            audio.stream_file(session, QUESTION, "slow")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="is empty"):
            audio.stream_file(session, tmp_path / "a.wav", progress=True)
        number: Any = 3
        with pytest.raises(TypeError, match="path is the name of a file, not 3"):
            audio.stream_file(session, number)
    assert not server.received


def test_realtime_takes_its_time(tmp_path: Path) -> None:
    """`stream_file` sends no chunk before its time, if that is wanted."""
    audio.write_wav(tmp_path / "a.wav", sine(seconds=0.15))
    with connected() as (_, session):
        begun = time.monotonic()
        audio.stream_file(session, tmp_path / "a.wav", "realtime")
        assert time.monotonic() - begun >= 0.1


def test_nothing_private_is_shown() -> None:
    """What a user may say to `stream_file` is all that it takes."""
    assert not [name for name in inspect.signature(audio.stream_file).parameters if name.startswith("_")]


# --- The progress bar ------------------------------------------------------------------------------


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that is asked for runs to the end of the file."""
    with connected() as (_, session):
        audio.stream_file(session, QUESTION, progress=True)
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert last.startswith("question.wav: 100%|")
    assert "1.8/1.8 s" in last


def test_bar_leaves_no_thread() -> None:
    """A bar needs no thread, and leaves none."""
    with connected() as (_, session):
        audio.stream_file(session, QUESTION, progress=True)
    assert not [thread for thread in threading.enumerate() if "tqdm" in type(thread).__module__]


@posix
@pytest.mark.usefixtures("fake_ffmpeg")
def test_bar_without_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file that only ffmpeg knows the length isn't known; the bar counts."""
    (tmp_path / "sound.mp3").write_text("out.write(bytes(48000))")
    with connected() as (_, session):
        audio.stream_file(session, tmp_path / "sound.mp3", progress=True)
    assert capsys.readouterr().err.rstrip().rpartition("\r")[2].startswith("sound.mp3: 1.0 s [")


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar shows by itself on a terminal and nowhere else, and not where it is unwanted."""
    with connected() as (_, session):
        shown = []
        for stderr, progress in ((Terminal(), None), (Terminal(), False), (io.StringIO(), None)):
            monkeypatch.setattr(sys, "stderr", stderr)
            audio.stream_file(session, QUESTION, progress=progress)
            shown.append(bool(stderr.getvalue()))
        monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console
        audio.stream_file(session, QUESTION)
    assert shown == [True, False, False]


def test_tqdm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tqdm there is no bar; a bar that was asked for names the extra, and nothing is sent."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with connected() as (server, session):
        with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
            audio.stream_file(session, QUESTION, progress=True)
        assert not server.received
        monkeypatch.setattr(sys, "stderr", Terminal())
        audio.stream_file(session, QUESTION)
    assert server.audio_received == audio.read_wav(QUESTION)


# --- The test data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["question.wav", "interrupt.wav"])
def test_data(name: str) -> None:
    """The speech that is checked in is small, fits a session as it is, and is heard as speech."""
    path = DATA / name
    assert path.stat().st_size < 100_000
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, 24_000)
    detector = Detector(PCM, threshold=0.5, silence_ms=500)
    found = list(detector.feed(audio.read_wav(path) + bytes(48_000)))
    assert [type(event) for event in found] == [Started, Stopped]
