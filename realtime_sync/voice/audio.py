"""Sound from files and into files, and from one format of the wire to another.

    for chunk in wav_chunks("question.wav"):
        session.input_audio_buffer.append(chunk)

is what `stream_file` does, with the session's own format, at either pace.  A file may be of any length:
what reads or writes one holds a fraction of a second of it, except those that return all of it.

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
import math
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..sound import (
    PCM,
    PCMA,
    PCMU,
    Audio,
    bytes_of,
    bytes_per_sample,
    duration,
    input_format,
    loudness,
    sample_rate,
    samples_of,
    size_of,
)
from .resample import Resampler

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..session import Session

__all__ = [
    "PCM",
    "PCMA",
    "PCMU",
    "WavWriter",
    "chunks",
    "decode",
    "duration",
    "level",
    "read_audio",
    "read_wav",
    "size_of",
    "stream_file",
    "to_format",
    "wav_chunks",
    "wav_duration",
    "write_wav",
]

_log = logging.getLogger("realtime_sync")

FilePath = str | os.PathLike[str]
Samples = array.array  # of "h": 16 bits each
Pieces = Generator[bytes, None, None]

_READ_SIZE = 1 << 16  # bytes of a file that are read at once, at most
_RATES = range(1000, 768_001)
_MOST_CHANNELS = 255
_UNKNOWN = 0xFFFF_FFFF  # as a size: it was not known when the header was written
_MADE_UP = 0x7FFF_0000  # sizes from here on are guesses, like the one just above that sox writes
_ADVICE = "convert it to WAV, or install ffmpeg, by which `decode` and `stream_file` read other formats"


# --- Conversions -------------------------------------------------------------------------------------


def level(audio: Audio, format: str = PCM) -> float:
    """How loud it is, in dBFS: 0 is the loudest square wave there can be, silence is minus infinity.

    Raises:
        ValueError: It is PCM of an odd number of bytes.
    """
    return loudness(samples_of(audio, format))


def to_format(audio: Audio, from_format: str, to_format: str) -> bytes:
    """The same sound in another format of the wire: `PCM`, `PCMU` or `PCMA`.

    Raises:
        ImportError: One is PCM and the other is not, which needs the extra ``audio``.
        ValueError: It is PCM of an odd number of bytes, to be converted.
    """
    if from_format == to_format:
        return bytes(audio)
    return b"".join(_converted([samples_of(audio, from_format)], sample_rate(from_format), to_format))


def chunks(audio: Audio | Iterable[bytes], ms: float = 100, format: str = PCM) -> Pieces:
    """Cut audio into pieces of equal length, of whole samples; the last one may be shorter.

    Args:
        audio: All of it, or pieces of any length.
        ms: Milliseconds of a piece.
        format: Of the audio.

    Raises:
        ValueError: ``ms`` is not above 0, or infinite.
    """
    if not 0 < ms < math.inf:
        raise ValueError(f"a chunk of {ms} ms can't be")
    size = max(size_of(ms / 1000, format), bytes_per_sample(format))
    held = bytearray()
    for piece in [audio] if isinstance(audio, bytes | bytearray | memoryview) else audio:
        held += piece
        whole = len(held) - len(held) % size
        for start in range(0, whole, size):
            yield bytes(held[start : start + size])
        del held[:whole]
    if held:
        yield bytes(held)


def _converted(pieces: Iterable["Samples[int]"], rate: int, format: str) -> Iterator[bytes]:
    """Mono samples of any rate in a format of the wire, in pieces as they come."""
    resampler = Resampler(rate, sample_rate(format))
    for samples in pieces:
        yield _encoded(resampler.feed(bytes_of(samples)), format)
    yield _encoded(resampler.finish(), format)


def _encoded(pcm: bytes, format: str) -> bytes:
    """PCM in another format of the same rate."""
    return pcm if format == PCM else bytes_of(samples_of(pcm), format)


# --- WAV in ------------------------------------------------------------------------------------------


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
        yield from chunks(_converted(mono, wav.layout.rate, format), ms, format)


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
        most = frame * max(1, min(int(rate * ms / 1000), _READ_SIZE // frame))
        left = sys.maxsize if self.size is None else self.size
        while left > 0 and (data := _read(self.file, min(most, left))):
            left -= len(data)
            yield data[: len(data) - len(data) % frame]
        if self.size is not None and left > 0:
            seconds, promised = (self.size - left) / frame / rate, self.size / frame / rate
            _log.warning("%s ends after %.2f s, and should have %.2f s", self.name, seconds, promised)


class _NotReadHere(ValueError):
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
        raise _NotReadHere(f"{name} is no WAV file: {_ADVICE}")
    layout = None
    while len(head := _read(file, 8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"data" and layout:
            return _Wav(file, name, layout, size if 0 < size < _MADE_UP else None)
        body = _read(file, min(size, 40)) if kind == b"fmt " else b""
        if kind == b"fmt ":
            layout = _layout(body, name)
        _skip(file, size + size % 2 - len(body))
    missing = "data" if layout else "fmt"
    raise ValueError(f"{name} is a WAV file without sound: there is no chunk {missing!r} where it should be")


def _layout(body: bytes, name: str) -> _Layout:
    """What a chunk ``fmt`` says."""
    if len(body) < 16:
        raise ValueError(f"{name} is a broken WAV file: its chunk 'fmt' is cut short")
    encoding, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", body[:16])
    if encoding == 0xFFFE and len(body) >= 26:  # "extensible": the encoding begins the GUID behind
        encoding = int.from_bytes(body[24:26], "little")
    if not 0 < channels <= _MOST_CHANNELS or rate not in _RATES or frame % channels:
        raise ValueError(
            f"{name} is a broken WAV file: {channels} channels, {rate} samples a second, {frame} bytes each"
        )
    # A sample may have fewer bits than the bytes it takes; then they are the upper ones.
    layout = _Layout(encoding, channels, rate, frame // channels)
    if (encoding, layout.width) not in _DECODERS:
        raise _NotReadHere(f"{name} is a WAV file of encoding {encoding} with {bits} bits: {_ADVICE}")
    return layout


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes, however few a pipe gives at a time; fewer at the end only."""
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _skip(file: BinaryIO, size: int) -> None:
    """Pass over bytes in a file that may be a pipe."""
    while size > 0 and (data := file.read(min(size, _READ_SIZE))):
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
    (6, 1): functools.partial(samples_of, audio_format=PCMA),
    (7, 1): functools.partial(samples_of, audio_format=PCMU),
}
"""By encoding and width."""


# --- WAV out -----------------------------------------------------------------------------------------


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
        data = self._rest + audio
        whole = len(data) - len(data) % bytes_per_sample(self._format)
        data, self._rest = data[:whole], data[whole:]
        if self._pcm:
            pcm = data if self._format == PCM else bytes_of(samples_of(data, self._format))
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


# --- Other formats -----------------------------------------------------------------------------------


def read_audio(path: FilePath, format: str = PCM) -> bytes:
    """A whole file of any format as a session takes it; see `decode`."""
    return b"".join(decode(path, 1000, format))


def decode(path: FilePath, ms: float = 100, format: str = PCM) -> Pieces:
    """A file of any format as a session takes it, in pieces: WAV by itself, others by way of ffmpeg.

    ffmpeg is a program that has to be installed; it is given the file's name and nothing of the network.
    It ends when the pieces have come to their end, or are closed.  The arguments, and when errors are
    raised, are as with `wav_chunks`.  From a pipe that has a name, only WAV can be read.

    Raises:
        OSError: The file can't be opened or read.
        TypeError: ``path`` is no path.
        ValueError: It is none that can be decoded, or ffmpeg would be needed.
        ImportError: A WAV file is of another sample rate, and the extra ``audio`` is not installed.
    """
    if not isinstance(path, str | os.PathLike):  # a number would be taken for an open file
        raise TypeError(f"path is the name of a file, not {path!r:.80}")
    ffmpeg = shutil.which("ffmpeg")
    with open(path, "rb") as file:
        # A pipe can be read once only: here, and not by ffmpeg, which opens the name anew.
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        head = file.peek(12) if is_file else b""
        if ffmpeg is None or not head or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
            try:
                yield from wav_chunks(file, ms, format)
                return
            except _NotReadHere as error:
                if not is_file:
                    text = f"{os.fspath(path)} is no regular file: from a pipe, only WAV can be read"
                    raise ValueError(text) from error
                if ffmpeg is None:
                    raise
    rate = sample_rate(format)
    with contextlib.closing(_by_ffmpeg(ffmpeg, path, rate)) as samples:
        yield from chunks(_converted(samples, rate, format), ms, format)


def _by_ffmpeg(ffmpeg: str, path: FilePath, rate: int) -> Generator["Samples[int]", None, None]:
    """The samples that ffmpeg decodes, mono and at this rate."""
    source = f"file:{os.fspath(path)}"  # whatever it begins with, it is a file's name
    command = [ffmpeg, "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,pipe", "-i", source]
    command += ["-ac", "1", "-ar", str(rate), "-f", "s16le", "pipe:1"]
    with (
        tempfile.TemporaryFile() as complaints,  # a file can't fill up, as a pipe that nobody reads would
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        try:
            assert process.stdout is not None
            while data := process.stdout.read(_READ_SIZE):
                yield samples_of(data)
            status = process.wait()
        finally:
            process.kill()  # if nobody wants the rest
        if status:
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").strip().splitlines()
            said = "; ".join(lines[-2:]) or f"status {status}"  # the very last may be no more than a farewell
            raise ValueError(f"ffmpeg can't decode {os.fspath(path)}: {said}")


# --- Into a session ----------------------------------------------------------------------------------

_NAP = 0.1  # seconds after which a wait looks whether the session has ended


def stream_file(
    session: "Session",
    path: FilePath,
    pace: str = "fast",
    *,
    chunk_ms: float = 100,
    format: str | None = None,
    progress: bool | None = None,
) -> float:
    """Append a sound file to a session's input, and return the seconds of audio that were sent.

    The file is of any kind that `decode` reads; it is sent in the format that the session takes, to a
    translation session with ``session.translation.append``.  It is not committed: do that yourself where the
    server doesn't detect the end of speech.

    Args:
        session: An open one.
        path: The file.
        pace: ``"fast"``: as fast as the server takes it.  ``"realtime"``: as if it were spoken now, each
            chunk when its time has come by the clock, so that no lateness adds up.
        chunk_ms: Milliseconds of audio in one event.
        format: `PCM`, `PCMU` or `PCMA`; ``None`` = the session's, as the server announced it last.  Say it if
            you have changed it with ``session.update`` and not waited for ``session.updated``.
        progress: A bar on the terminal; ``None`` = if there is a terminal, and tqdm.

    Raises:
        OSError, ValueError, TypeError: The file can't be read; see `decode`.
        ImportError: The extra ``audio`` is needed, and missing.  Nothing was sent.
        ConnectionClosed: The session is over, or ended meanwhile.
    """
    if pace not in ("fast", "realtime"):
        raise ValueError(f"the pace is 'fast' or 'realtime', not {pace!r:.80}")
    audio_format = format or input_format(session.config)
    with contextlib.closing(decode(path, chunk_ms, audio_format)) as pieces, _bar(path, progress) as show:
        return _send(session, pieces, audio_format, pace, show)


def append_to(session: "Session") -> Callable[[bytes], str]:
    """What appends to the input of this kind of session."""
    translates = session.config is not None and session.config.type == "translation"
    return session.translation.append if translates else session.input_audio_buffer.append


def _send(
    session: "Session",
    pieces: Iterable[bytes],
    format: str,
    pace: str,
    show: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> float:
    """Append pieces, each at its time, and show how many seconds are sent; all of them at last."""
    append = append_to(session)
    size = 0
    start = None
    for piece in pieces:
        start = clock() if start is None else start
        due = start + duration(size, format) if pace == "realtime" else start
        while (left := due - clock()) > 0 and not session.closed:
            wait(min(left, _NAP))
        append(piece)
        size += len(piece)
        show(duration(size, format))
    return duration(size, format)


@contextlib.contextmanager
def _bar(path: FilePath, wanted: bool | None) -> Iterator[Callable[[float], object]]:
    """A progress bar, as the function that shows that so many seconds are done."""
    tqdm = _tqdm(wanted)
    if tqdm is None:
        yield lambda seconds: None
        return
    total = _known_duration(path)
    layout = "{desc}: {n:.1f} s [{elapsed}]"
    if total:
        layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s [{elapsed}]"
    with tqdm(total=total, desc=os.path.basename(path), bar_format=layout) as bar:

        def show(seconds: float) -> None:
            bar.n = min(seconds, total or seconds)  # adding up would go a trifle beyond the end
            bar.update(0)

        yield show


def _tqdm(wanted: bool | None) -> Any:
    """The class of progress bars; ``None`` if there is to be none."""
    if not (wanted or (wanted is None and sys.stderr is not None and sys.stderr.isatty())):
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError as error:
        if not wanted:
            return None
        text = f'a progress bar needs tqdm: pip install "realtime-sync[audio]" ({error})'
        raise ImportError(text) from error
    # Its monitor is a thread that would outlive the bar, and there is no need for it.
    return type("Bar", (tqdm,), {"monitor_interval": 0})


def _known_duration(path: FilePath) -> float | None:
    """Seconds that a file lasts, if that can be known before it is read."""
    try:
        return wav_duration(path) if os.path.isfile(path) else None
    except ValueError:
        return None
