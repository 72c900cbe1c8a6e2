"""Recordings that are nearly WAV files: wrong sizes, odd layouts, cut and bent."""

import io
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest
from canary import Memory
from fuzz import fuzz
from mutations import broken
from wav_files import FORMATS, KINDS, Watched, chunk, fmt, riff

from realtime_sync.sound.files import decode
from realtime_sync.sound.wav import wav_chunks, wav_duration

QUICK = 150  # inputs, in the default run
MOST_SECONDS = 1.0  # of the processor, for a file of some kilobytes
_SIZES = (0, 1, 7, 16, 40, 2**15, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Recording:
    """A file, and how it is read."""

    data: bytes
    audio_format: str
    ms: float
    at_once: int  # bytes that a read gives at most, as a pipe may


# --- Files ------------------------------------------------------------------------------------------


def recording(draw: Random) -> Recording:
    data = _file(draw)
    if draw.random() < 0.4:
        data = broken(data, draw)
    ms = draw.choice((100, 100, 1, 0.01, 1000, 10**6))
    return Recording(data, draw.choice(FORMATS), ms, draw.choice((1 << 30, 1 << 30, 1, 13, 4096)))


def _file(draw: Random) -> bytes:
    """RIFF, RIFX or RF64, with the chunks in any order, and sizes that may be wrong."""
    order = draw.choice("<<<>")
    others = [_other(draw, order) for _ in range(draw.randrange(3))]
    chunks = [_fmt(draw, order), *others, _sound(draw, order)]
    if draw.random() < 0.3:
        draw.shuffle(chunks)
    wide = draw.random() < 0.2
    if wide:
        sizes = struct.pack("<QQQI", *(_any_size(draw) for _ in range(3)), 0)
        chunks.insert(0, chunk(b"ds64", sizes, order=order))
    data = riff(*chunks, size=_size(draw), order=order)
    return draw.choice((b"RF64", b"BW64")) + data[4:] if wide else data


def _fmt(draw: Random, order: str) -> bytes:
    """A layout: mostly one that is read."""
    if draw.random() < 0.8:
        (encoding, width), channels = draw.choice(KINDS), draw.choice((1, 2, 6))
        return fmt(encoding, width, channels, draw.choice((24_000, 24_000, 8000, 44_100, 1000)), order=order)
    encoding = draw.choice((1, 1, 1, 3, 6, 7, 0xFFFE, 2, 0, draw.randrange(2**16)))
    width, channels = draw.choice((1, 2, 2, 3, 4, 8, 0)), draw.choice((1, 1, 2, 6, 255, 0, 65_535))
    rate = draw.choice((24_000, 24_000, 8000, 44_100, 1000, 999, 768_000, 0, 2**32 - 1))
    frame, bits = width * channels % 2**16, draw.choice((width * 8, width * 8, 12, 20, 0, 65_535))
    per_second = rate * frame % 2**32
    fields = struct.pack(f"{order}HHIIHH", encoding, channels, rate, per_second, frame, bits)
    return chunk(b"fmt ", fields + bytes(draw.choice((0, 0, 2, 24))), order=order)


def _sound(draw: Random, order: str) -> bytes:
    body = draw.choice((draw.randbytes, bytes))(draw.choice((0, 1, 5, 480, 4800, 9999)))
    return chunk(b"data", body, _size(draw), order)


def _other(draw: Random, order: str) -> bytes:
    kind = draw.choice((b"LIST", b"fact", b"data", b"fmt ", b"\0\0\0\0"))
    return chunk(kind, draw.randbytes(draw.randrange(30)), _size(draw), order)


def _size(draw: Random) -> int | None:
    """A size of 32 bits, mostly the right one."""
    return draw.choice(_SIZES) if draw.random() < 0.2 else None


def _any_size(draw: Random) -> int:
    return draw.choice((*_SIZES, 2**63, 2**64 - 1))


# --- What is made of them ---------------------------------------------------------------------------


def read(folder: Path, memory: Memory, given: Recording) -> None:
    """Read a file in all ways: each gives audio or a `ValueError`, alike, and soon."""
    path, begun = folder / "fuzz.wav", time.thread_time()
    path.write_bytes(given.data)
    stream = Watched(given.data, given.at_once)
    ways: list[Callable[[], Iterable[bytes]]] = [
        lambda: wav_chunks(stream, given.ms, given.audio_format, on_problem=str),
        lambda: wav_chunks(io.BytesIO(given.data), given.ms, given.audio_format, on_problem=str),
        lambda: decode(path, given.ms, given.audio_format, on_problem=str),
    ]
    outcomes = [_outcome(way) for way in ways]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    lasts = _outcome(lambda: [b"%g" % wav_duration(path)])
    assert isinstance(lasts, bytes) is isinstance(outcomes[0], bytes)
    assert time.thread_time() - begun < MOST_SECONDS
    memory.look()


def _outcome(way: Callable[[], Iterable[bytes]]) -> bytes | type[ValueError]:
    """Return the audio, or the kind of error."""
    try:
        return b"".join(way())
    except ValueError as error:
        return type(error)


@pytest.fixture(autouse=True)
def _without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no WAV file is not given to another program, which has bugs of its own."""
    monkeypatch.setenv("PATH", "")


def test_hostile_recordings(tmp_path: Path) -> None:
    """Whatever is in a file, it is read as audio or is a `ValueError`, in all ways alike."""
    fuzz(recording, partial(read, tmp_path, Memory()), QUICK)


@pytest.mark.slow
def test_hostile_recordings_for_minutes(tmp_path: Path) -> None:
    """So are many more, for minutes, without filling the memory."""
    fuzz(recording, partial(read, tmp_path, Memory()))
