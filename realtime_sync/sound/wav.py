"""WAV files in and out.

WAV is read and written here and not with the standard library's `wave`, which knows no G.711, learned of
floating point only lately, and takes the sizes in a header for the truth, where programs that write to a pipe
can only make them up.
"""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import array
import contextlib
import functools
import logging
import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from .conversion import Pieces, Samples, chunks, converted, decoded
from .formats import PCM, PCMA, PCMU, Audio, sample_rate, samples_of, whole_samples
from .resampler import Resampler

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "READ_SIZE",
    "FilePath",
    "NotReadHere",
    "WavWriter",
    "read_wav",
    "wav_chunks",
    "wav_duration",
    "write_wav",
]

_log = logging.getLogger("realtime_sync")

FilePath = str | os.PathLike[str]

READ_SIZE = 1 << 16
"""Bytes of a file that are read at once, at most."""
_RATES = range(1000, 768_001)
_MOST_CHANNELS = 255
_UNKNOWN = 0xFFFF_FFFF  # as a size: it was not known when the header was written
_MADE_UP = 0x7FFF_0000  # sizes from here on are guesses, such as 0x7FFFF000, which sox writes
_ADVICE = "convert it to WAV, or install ffmpeg, by which `decode` and `stream_file` read other formats"


# --- In ----------------------------------------------------------------------------------------------


def read_wav(file: FilePath | BinaryIO, format: str = PCM) -> bytes:
    """A whole WAV file as a session takes it; see `wav_chunks`."""
    return b"".join(wav_chunks(file, 1000, format))


def wav_chunks(file: FilePath | BinaryIO, ms: float = 100, format: str = PCM) -> Pieces:
    """A WAV file as a session takes it, in pieces.

    It may be PCM of 8, 16, 24 or 32 bits, floating point, mu-law or A-law, of any sample rate; channels are
    mixed into one.  Where the file ends before its header says, what is there is used, with a warning in the
    log.  Nothing is read before the first piece is asked for; then errors are raised.

    Args:
        file: Its path, or a file open for reading bytes, which may be a pipe and is not closed.
        ms: Milliseconds of a piece; the last one may be shorter.
        format: Of the pieces: `PCM`, `PCMU` or `PCMA`.

    Raises:
        OSError: It can't be opened or read.
        ValueError: It is no WAV file, or of a kind that is not read here.
        ImportError: It is of another sample rate, and the extra ``audio`` is not installed.
    """
    with _opened(file) as wav:
        mono = (_mono(block, wav.layout) for block in wav.blocks(ms))
        yield from chunks(converted(mono, wav.layout.rate, format), ms, format)


def wav_duration(path: FilePath) -> float:
    """Seconds that a WAV file lasts; raises as `wav_chunks` does."""
    with _opened(path) as wav:
        there = os.path.getsize(path) - wav.file.tell()
        size = there if wav.size is None else min(wav.size, there)
        return size // wav.layout.frame / wav.layout.rate


class _Layout(NamedTuple):
    """How the samples of a WAV file are laid out."""

    encoding: int  # 1 PCM, 3 floating point, 6 A-law, 7 mu-law
    channels: int
    rate: int
    width: int  # bytes of one sample of one channel

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.width


class _Wav(NamedTuple):
    """A WAV file that is read up to its first sample."""

    file: BinaryIO
    name: str
    layout: _Layout
    size: int | None  # bytes of sound; None = all there are

    def blocks(self, ms: float) -> Iterator[bytes]:
        """The sound, in whole frames.  What the header says is no reason to take memory."""
        frame, rate = self.layout.frame, self.layout.rate
        most = frame * max(1, min(int(rate * ms / 1000), READ_SIZE // frame))
        left = sys.maxsize if self.size is None else self.size
        while left > 0 and (data := _read(self.file, min(most, left))):
            left -= len(data)
            yield data[: len(data) - len(data) % frame]
        if self.size is not None and left > 0:
            seconds, promised = (self.size - left) / frame / rate, self.size / frame / rate
            _log.warning("%s ends after %.2f s, and should have %.2f s", self.name, seconds, promised)


class NotReadHere(ValueError):
    """It is no WAV file, or of a kind that is not read here; ffmpeg may know it."""


@contextlib.contextmanager
def _opened(file: FilePath | BinaryIO) -> Iterator[_Wav]:
    """A WAV file, closed afterwards if it was opened here."""
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            yield _at_first_sample(opened, os.fspath(file))
    else:
        yield _at_first_sample(file, str(getattr(file, "name", "the stream")))


def _at_first_sample(file: BinaryIO, name: str) -> _Wav:
    """Go through the chunks before the sound."""
    head = _read(file, 12)
    if not head:
        raise ValueError(f"{name} is empty")
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise NotReadHere(f"{name} is no WAV file: {_ADVICE}")
    position, end = 12, 8 + int.from_bytes(head[4:8], "little")  # where the file ends, it says
    layout = None
    while len(head := _read(file, 8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        position += 8
        if kind == b"data" and layout:
            # 0 often means that it was not known yet; but not if the file has counted a chunk behind it.
            known = size < _MADE_UP if size else position + 8 < end < _MADE_UP
            return _Wav(file, name, layout, size if known else None)
        body = _read(file, min(size, 40)) if kind == b"fmt " else b""
        if kind == b"fmt ":
            layout = _layout(body, name)
        _skip(file, size + size % 2 - len(body))
        position += size + size % 2
    missing = "data" if layout else "fmt"
    raise ValueError(f"{name} is a WAV file without sound: there is no chunk {missing!r} where it should be")


def _layout(body: bytes, name: str) -> _Layout:
    """What a chunk ``fmt`` says."""
    if len(body) < 16:
        raise ValueError(f"{name} is a broken WAV file: its chunk 'fmt' is cut short")
    encoding, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", body[:16])
    if encoding == 0xFFFE and len(body) >= 26:  # "extensible": the encoding begins the GUID behind
        encoding = int.from_bytes(body[24:26], "little")
    if encoding in (1, 3):  # where a sample can't have more bits than fit, it is the bytes that are wrong
        frame = max(frame, channels * ((bits + 7) // 8))
    if not 0 < channels <= _MOST_CHANNELS or rate not in _RATES or frame % channels:
        raise ValueError(
            f"{name} is a broken WAV file: {channels} channels, {rate} samples a second, {frame} bytes each"
        )
    # A sample may have fewer bits than the bytes it takes; then they are the upper ones.
    layout = _Layout(encoding, channels, rate, frame // channels)
    if (encoding, layout.width) not in _DECODERS:
        raise NotReadHere(f"{name} is a WAV file of encoding {encoding} with {bits} bits: {_ADVICE}")
    return layout


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes, however few a pipe gives at a time; fewer at the end only."""
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _skip(file: BinaryIO, size: int) -> None:
    """Pass over bytes in a file that may be a pipe."""
    while size > 0 and (data := file.read(min(size, READ_SIZE))):
        size -= len(data)


# --- Samples, as they are in a WAV file --------------------------------------------------------------

_FLIPPED = bytes(byte ^ 0x80 for byte in range(256))  # between 8 bits unsigned and signed


def _mono(block: bytes, layout: _Layout) -> "Samples[int]":
    """Whole frames as samples of 16 bits, the channels mixed into one."""
    samples = _DECODERS[layout.encoding, layout.width](block)
    count = layout.channels
    if count == 1:
        return samples
    if count == 2:
        return _mean_of_two(samples[0::2], samples[1::2])
    return array.array("h", [sum(frame) // count for frame in zip(*[iter(samples)] * count, strict=True)])


def _mean_of_two(left: "Samples[int]", right: "Samples[int]") -> "Samples[int]":
    """The mean of each pair, rounded down, of all at once: as two long numbers, which is ten times as fast.

    Each sample is 16 bits of a number.  With its sign bit flipped it is not below 0, and then the mean is
    what both have in common and half of what only one has, which never carries into the next.
    """
    signs = int.from_bytes(b"\x00\x80" * len(left), "little")
    all_but_lowest = int.from_bytes(b"\xfe\xff" * len(left), "little")
    a, b = (int.from_bytes(side, sys.byteorder) ^ signs for side in (left, right))
    means = ((a & b) + (((a ^ b) & all_but_lowest) >> 1)) ^ signs
    return array.array("h", means.to_bytes(2 * len(left), sys.byteorder))


def _from_integers(data: bytes, width: int) -> "Samples[int]":
    """The upper 16 bits of each; 8 bits are unsigned."""
    upper = bytearray(len(data) // width * 2)
    if width == 1:
        upper[1::2] = data.translate(_FLIPPED)
    else:
        upper[0::2], upper[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    return samples_of(upper)


def _to_integers(pcm: bytes, width: int) -> bytes:
    """The way back: 16 bits as 8 bits unsigned, or as the upper ones of more."""
    if width == 1:
        return pcm[1::2].translate(_FLIPPED)
    data = bytearray(len(pcm) // 2 * width)
    data[width - 2 :: width], data[width - 1 :: width] = pcm[0::2], pcm[1::2]
    return bytes(data)


def _from_floats(data: bytes, typecode: str) -> "Samples[int]":
    """Numbers from -1 to 1; what is beyond is clipped, and what is no number is silence."""
    values = array.array(typecode, data)
    if sys.byteorder == "big":
        values.byteswap()
    try:
        return array.array("h", [int(value * 32_768) for value in values])
    except (OverflowError, ValueError):  # some are; to look at each of them takes longer
        return array.array("h", map(_clipped, values))


def _clipped(value: float) -> int:
    is_number = value == value
    return int(max(-32_768, min(32_767, value * 32_768))) if is_number else 0


_DECODERS: dict[tuple[int, int], Callable[[bytes], "Samples[int]"]] = {
    **{(1, width): functools.partial(_from_integers, width=width) for width in (1, 2, 3, 4)},
    (3, 4): functools.partial(_from_floats, typecode="f"),
    (3, 8): functools.partial(_from_floats, typecode="d"),
    (6, 1): functools.partial(samples_of, format=PCMA),
    (7, 1): functools.partial(samples_of, format=PCMU),
}
"""By encoding and width."""


# --- Out ---------------------------------------------------------------------------------------------


def write_wav(
    file: FilePath | BinaryIO,
    audio: Audio,
    format: str = PCM,
    *,
    rate: int | None = None,
    width: int | None = None,
    channels: int = 1,
) -> None:
    """Write audio into a WAV file, all at once; see `WavWriter`."""
    with WavWriter(file, format, rate=rate, width=width, channels=channels) as writer:
        writer.write(audio)


class WavWriter:
    """Writes a WAV file, piece by piece.  Close it, or use it in ``with``.

    Until it is closed, the header says that the length is not known, so that what a dead program has left
    can still be read, by `wav_chunks` for one.  For one thread at a time.

    Args:
        file: Its path, or a file open for writing bytes, which is not closed.  In a pipe the length
            stays unknown.
        format: Of what is given to `write`.
        rate: Samples per second in the file; ``None`` = those of ``format``.  Others need the extra
            ``audio``.
        width: Bytes of a sample in the file, 1 to 4; ``None`` = 2.
        channels: In the file; all of them are the same.

    G.711 is kept as it is, as a WAV file of that kind, unless ``rate`` or ``width`` asks for PCM.

    Raises:
        ValueError: ``rate``, ``width`` or ``channels`` can't be.
        ImportError: The extra is missing.
    """

    def __init__(
        self,
        file: FilePath | BinaryIO,
        format: str = PCM,
        *,
        rate: int | None = None,
        width: int | None = None,
        channels: int = 1,
    ) -> None:
        own = sample_rate(format)
        rate = own if rate is None else rate
        if rate not in _RATES:
            raise ValueError(f"a WAV file of {rate} samples a second is not written here")
        if width not in (None, 1, 2, 3, 4):
            raise ValueError(f"a WAV file of {width} bytes a sample is not written here")
        if not 0 < channels <= _MOST_CHANNELS:
            raise ValueError(f"a WAV file of {channels} channels is not written here")
        self._format = format
        self._pcm = format == PCM or width is not None or rate != own
        encoding = 1 if self._pcm else {PCMA: 6, PCMU: 7}[format]
        self._layout = _Layout(encoding, channels, rate, (width or 2) if self._pcm else 1)
        self._resampler = Resampler(own, self._layout.rate)
        self._rest = b""  # half a sample
        self._size = 0  # bytes of sound in the file
        self._opened = isinstance(file, str | os.PathLike)
        self._file = open(file, "wb") if isinstance(file, str | os.PathLike) else file  # noqa: SIM115
        self._closed = False
        self._file.write(_header(self._layout, None))

    def write(self, audio: Audio) -> None:
        """Add audio, of any number of bytes.

        Raises:
            OSError: It can't be written, for example because the disk is full.
            ValueError: The file is closed.
        """
        if self._closed:
            raise ValueError("the WAV file is closed")
        data, self._rest = whole_samples(self._rest + audio, self._format)
        if self._pcm:
            pcm = decoded(data, self._format)
            data = _to_integers(self._resampler.feed(pcm), self._layout.width)
        self._put(data)

    def _put(self, mono: bytes) -> None:
        """Add samples as they are in the file, to each channel."""
        frame, width = self._layout.frame, self._layout.width
        data = mono
        if frame != width:
            frames = bytearray(len(mono) // width * frame)
            for position in range(frame):
                frames[position::frame] = mono[position % width :: width]
            data = bytes(frames)
        self._file.write(data)
        self._size += len(data)

    def close(self) -> None:
        """Write what is left, and the length.  May be called any number of times."""
        if self._closed:
            return
        self._closed = True
        try:
            self._put(_to_integers(self._resampler.finish(), self._layout.width))
            self._file.write(bytes(self._size % 2))  # chunks have an even length
            if self._file.seekable():
                header = _header(self._layout, self._size)
                self._file.seek(-len(header) - self._size - self._size % 2, os.SEEK_CUR)
                self._file.write(header)
                self._file.seek(0, os.SEEK_END)
        finally:
            if self._opened:
                self._file.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _header(layout: _Layout, size: int | None) -> bytes:
    """What comes before the sound, of so many bytes; ``None`` = it is not known how many."""
    encoding, channels, rate, width = layout
    fields = (encoding, channels, rate, rate * layout.frame, layout.frame, width * 8)
    if encoding == 1:
        middle = struct.pack("<4sIHHIIHH", b"fmt ", 16, *fields)
    else:  # all but PCM have a count of further fields, and say how many samples there are
        frames = _UNKNOWN if size is None else size // layout.frame
        middle = struct.pack("<4sIHHIIHHH4sII", b"fmt ", 18, *fields, 0, b"fact", 4, min(frames, _UNKNOWN))
    size = _UNKNOWN if size is None else size
    whole = min(4 + len(middle) + 8 + size + size % 2, _UNKNOWN)
    return (
        struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
        + middle
        + struct.pack("<4sI", b"data", min(size, _UNKNOWN))
    )
