"""WAV files made by hand, a tone to put into them, and how to recognise it."""

import io
import itertools
import math
import struct
from pathlib import Path

import pytest

from realtime_sync.sound.conversion import level
from realtime_sync.sound.formats import PCM, PCMA, PCMU, bytes_of, duration, sample_rate, samples_of
from realtime_sync.sound.wav import read_wav

DATA = Path(__file__).parent.parent / "data"
QUESTION = DATA / "question.wav"
FORMATS = [PCM, PCMU, PCMA]
HERTZ = 440
KINDS = [(1, 1), (1, 2), (1, 3), (1, 4), (3, 4), (3, 8), (6, 1), (7, 1)]  # encoding, bytes of a sample


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


def chunk(kind: bytes, body: bytes, size: int | None = None, order: str = "<") -> bytes:
    size = len(body) if size is None else size
    return kind + struct.pack(f"{order}I", size) + body + bytes(len(body) % 2)


def fmt(
    encoding: int = 1,
    width: int = 2,
    channels: int = 1,
    rate: int = 24_000,
    frame: int | None = None,
    bits: int | None = None,
    order: str = "<",
) -> bytes:
    """A chunk ``fmt``; ``order`` is that of `struct`, "<" or ">"."""
    frame = width * channels if frame is None else frame
    bits = width * 8 if bits is None else bits
    fields = struct.pack(f"{order}HHIIHH", encoding, channels, rate, rate * frame, frame, bits)
    return chunk(b"fmt ", fields, order=order)


def riff(*chunks: bytes, size: int | None = None, order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    kind = b"RIFF" if order == "<" else b"RIFX"
    return kind + struct.pack(f"{order}I", len(body) if size is None else size) + body


def wav_of(
    values: list[float], encoding: int = 1, width: int = 2, channels: int = 1, rate: int = 24_000
) -> bytes:
    data = b"".join(packed(value, encoding, width) * channels for value in values)
    return riff(fmt(encoding, width, channels, rate), chunk(b"data", data))


def check_tone(sound: bytes, audio_format: str = PCM, seconds: float = 0.3) -> None:
    """It is `tone`: as long, as loud and as high."""
    assert duration(sound, audio_format) == pytest.approx(seconds, abs=0.001)
    assert level(sound, audio_format) == pytest.approx(-9.03, abs=0.3)
    samples = samples_of(sound, audio_format)
    # Each crossing of zero is a change of sign between two samples.
    crossings = sum((before < 0) != (after < 0) for before, after in itertools.pairwise(samples))
    assert crossings == pytest.approx(2 * HERTZ * seconds, abs=3)


def read(data: bytes, audio_format: str = PCM) -> bytes:
    """What `read_wav` makes of these bytes, which are a whole file without a problem."""
    problems: list[str] = []
    sound = read_wav(io.BytesIO(data), audio_format, on_problem=problems.append)
    assert not problems
    return sound


def cut(data: bytes, audio_format: str = PCM) -> bytes:
    """What `read_wav` makes of these bytes, whole or not."""
    return read_wav(io.BytesIO(data), audio_format, on_problem=lambda text: None)


class Watched(io.BytesIO):
    """A file that remembers how much it was asked for, and gives as much as a pipe might."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        super().__init__(data)
        self.asked: list[int] = []
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.asked.append(size)
        return super().read(min(size, self._most))
