"""What comes before the first sample of a WAV file, read and written.

Three kinds of file are read: RIFF, RIFX (the same in big-endian), and RF64, also called BW64, which keeps
sizes of 64 bits in a chunk ``ds64``.
"""

import struct
from typing import BinaryIO, NamedTuple

from .wav_samples import FLOAT, INTEGER, Layout, is_known

__all__ = [
    "MOST_CHANNELS",
    "RATES",
    "READ_SIZE",
    "UnsupportedAudio",
    "WavHeader",
    "header_bytes",
    "is_wav",
    "read_header",
    "read_up_to",
]

READ_SIZE = 1 << 16
"""Bytes of a file that are read at once, at most."""
RATES = range(1000, 768_001)
"""Samples per second that a WAV file may have here."""
MOST_CHANNELS = 255
"""Channels that a WAV file may have here, at most."""

_BIG_ENDIAN, _WIDE = b"RIFX", (b"RF64", b"BW64")
_KINDS = (b"RIFF", _BIG_ENDIAN, *_WIDE)
_UNKNOWN = 0xFFFF_FFFF  # as a size: it was not known when the header was written, or a chunk ds64 has it
_MADE_UP = 0x7FFF_0000  # sizes of 32 bits from here on are guesses, such as 0x7FFFF000, which sox writes
_MOST_WIDE = 1 << 62  # sizes of 64 bits from here on are guesses
_EXTENSIBLE = 0xFFFE
_ADVICE = "convert it to WAV, or install ffmpeg, by which `decode` and `stream_file` read other formats"


class UnsupportedAudio(ValueError):
    """It is not a WAV file, or one in an encoding that is not read here; ffmpeg may know it."""


class WavHeader(NamedTuple):
    """What is known of a WAV file before its first sample."""

    layout: Layout
    size: int | None  # bytes of audio; None = not known: all up to the end of the file


def is_wav(head: bytes) -> bool:
    """Return whether a file that begins with these 12 bytes is a WAV file."""
    return head[:4] in _KINDS and head[8:12] == b"WAVE"


# --- In ----------------------------------------------------------------------------------------------


def read_header(file: BinaryIO, name: str) -> WavHeader:
    """Read a file up to its first sample.

    Args:
        file: Open for reading bytes; it may be a pipe.
        name: For messages.

    Raises:
        OSError: It can't be read.
        UnsupportedAudio: It is not a WAV file, or in an unsupported encoding.
        ValueError: It is a broken WAV file, or one without audio.
    """
    head = read_up_to(file, 12)
    if not head:
        raise ValueError(f"{name} is empty")
    if not is_wav(head):
        raise UnsupportedAudio(f"{name} is not a WAV file: {_ADVICE}")
    return _Chunks(file, name, head).up_to_data()


class _Chunks:
    """Goes through the chunks of one file."""

    def __init__(self, file: BinaryIO, name: str, head: bytes) -> None:
        self._file = file
        self._name = name
        self._big_endian = head[:4] == _BIG_ENDIAN
        self._wide = head[:4] in _WIDE
        self._end = 8 + self._number(head[4:8])  # where the file ends, by its own account
        self._layout: Layout | None = None
        self._ds64: tuple[int, int] | None = None  # the sizes of the file and of the data, in 64 bits

    def up_to_data(self) -> WavHeader:
        """Stop where the audio begins."""
        position = 12
        while len(head := read_up_to(self._file, 8)) == 8:
            kind, size = head[:4], self._number(head[4:])
            position += 8
            if kind == b"data" and self._layout is not None:
                return WavHeader(self._layout, self._data_size(position, size))
            body = read_up_to(self._file, min(size, 40)) if kind in (b"fmt ", b"ds64") else b""
            self._take(kind, body)
            _skip(self._file, size + size % 2 - len(body))
            position += size + size % 2
        missing = "data" if self._layout else "fmt"
        raise ValueError(f"{self._name} is a WAV file without audio: no chunk {missing!r} where it should be")

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"fmt ":
            self._layout = self._layout_of(body)
        elif kind == b"ds64" and self._wide and len(body) >= 16:
            self._ds64 = struct.unpack_from("<QQ", body)

    def _data_size(self, position: int, size: int) -> int | None:
        """Return the bytes of audio, of which the chunk says ``size``; ``None`` if that is not meant."""
        end, made_up = self._end, _MADE_UP
        if self._ds64 is not None and size == _UNKNOWN:
            whole, size = self._ds64
            end, made_up = 8 + whole, _MOST_WIDE
        # 0 often means that it was not known yet; but not if the file has counted a chunk behind it.
        known = size < made_up if size else position + 8 < end < made_up
        return size if known else None

    def _layout_of(self, body: bytes) -> Layout:
        """Return what a chunk ``fmt`` says."""
        if len(body) < 16:
            raise ValueError(f"{self._name} is a broken WAV file: its chunk 'fmt' is cut short")
        order = ">" if self._big_endian else "<"
        plain, channels, rate, _, frame, bits = struct.unpack(f"{order}HHIIHH", body[:16])
        encoding = plain
        if plain == _EXTENSIBLE and len(body) >= 26:  # the encoding begins the GUID behind
            encoding = self._number(body[24:26])
        if encoding in (INTEGER, FLOAT):  # if a sample has more bits than fit, it is the bytes that are wrong
            frame = max(frame, channels * _bytes_of(bits))
        if not 0 < channels <= MOST_CHANNELS or rate not in RATES or frame % channels:
            raise ValueError(
                f"{self._name} is a broken WAV file: {channels} channels, {rate} samples a second, "
                f"{frame} bytes each"
            )
        width = frame // channels
        # A sample with fewer bits than its bytes hold has them at the top: twelve bits in two bytes, and all
        # that is "extensible".  But where plain PCM has whole bytes to spare, it is the upper ones, as
        # `arecord -f S24_LE` writes it.
        used = min(_bytes_of(bits), width) if plain == INTEGER and bits else width
        layout = Layout(encoding, channels, rate, width, used, self._big_endian)
        if is_known(layout):
            return layout
        text = f"{self._name} is a WAV file of unsupported encoding {encoding} with {bits} bits"
        if self._big_endian:  # ffmpeg takes the samples of many for little-endian ones, which makes noise
            raise ValueError(f"{text}, in big-endian: convert it to WAV")
        raise UnsupportedAudio(f"{text}: {_ADVICE}")

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "big" if self._big_endian else "little")


def _bytes_of(bits: int) -> int:
    return (bits + 7) // 8


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """Read this many bytes, however few a pipe gives at a time; return fewer at the end only."""
    pieces, left = [], size
    while left > 0 and (data := file.read(left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


def _skip(file: BinaryIO, size: int) -> None:
    """Pass over bytes in a file that may be a pipe."""
    while size > 0 and (data := file.read(min(size, READ_SIZE))):
        size -= len(data)


# --- Out ---------------------------------------------------------------------------------------------


def header_bytes(layout: Layout, size: int | None) -> bytes:
    """Return what comes before ``size`` bytes of audio; ``None`` = the size is not known."""
    encoding, channels, rate, width = layout[:4]
    fields = (encoding, channels, rate, rate * layout.frame, layout.frame, width * 8)
    if encoding == INTEGER:
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
