"""WAV files in and out.

WAV is read and written here and not with the standard library's `wave`, which knows no G.711, learned of
floating point only lately, and trusts the sizes in a header, where programs that write to a pipe can only
make them up.
"""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from .conversion import Chunks, chunks, converted, decoded
from .formats import PCM, PCMA, PCMU, Audio, sample_rate, whole_samples
from .problems import OnProblem, report
from .resampler import Resampler
from .wav_header import MOST_CHANNELS, RATES, READ_SIZE, WavHeader, header_bytes, read_header, read_up_to
from .wav_samples import A_LAW, INTEGER, MU_LAW, Layout, mono, to_frames

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FilePath", "WavWriter", "read_wav", "wav_chunks", "wav_duration", "write_wav"]

FilePath = str | os.PathLike[str]


# --- In ----------------------------------------------------------------------------------------------


def read_wav(file: FilePath | BinaryIO, format: str = PCM, *, on_problem: OnProblem = None) -> bytes:
    """Return a whole WAV file as a session takes it; see `wav_chunks`."""
    return b"".join(wav_chunks(file, 1000, format, on_problem=on_problem))


def wav_chunks(
    file: FilePath | BinaryIO, ms: float = 100, format: str = PCM, *, on_problem: OnProblem = None
) -> Chunks:
    """Yield a WAV file as a session takes it, in chunks.

    It may be PCM of 8, 16, 24 or 32 bits, floating point, mu-law or A-law, of any sample rate, as RIFF, RIFX
    or RF64; channels are mixed into one.  Nothing is read before the first chunk is asked for; then errors
    are raised.

    Args:
        file: Its path, or a file open for reading bytes, which may be a pipe and is not closed.
        ms: Milliseconds of a chunk; the last one may be shorter.
        format: Of the chunks: `PCM`, `PCMU` or `PCMA`.
        on_problem: Called with a sentence, at the end of the file, if that comes before its header says, so
            that not all of its audio is there.  ``None`` logs the sentence as a warning.

    Raises:
        OSError: It can't be opened or read.
        ValueError: It is not a WAV file, or of a kind that is not read here.
        ImportError: It is of another sample rate, and the extra ``audio`` is not installed.
    """
    with _opened(file) as (opened, name):
        header = read_header(opened, name)
        blocks = _blocks(opened, name, header, ms, on_problem)
        samples = (mono(block, header.layout) for block in blocks)
        yield from chunks(converted(samples, header.layout.rate, format), ms, format)


def wav_duration(path: FilePath) -> float:
    """Return the seconds that a WAV file lasts; raises as `wav_chunks` does."""
    with _opened(path) as (file, name):
        layout, size = read_header(file, name)
        there = os.path.getsize(path) - file.tell()
        return (there if size is None else min(size, there)) // layout.frame / layout.rate


def _blocks(
    file: BinaryIO, name: str, header: WavHeader, ms: float, on_problem: OnProblem
) -> Iterator[bytes]:
    """Yield the audio in whole frames.  Take no memory because of what the header says."""
    (layout, size), frame = header, header.layout.frame
    most = frame * max(1, min(int(layout.rate * ms / 1000), READ_SIZE // frame))
    left = sys.maxsize if size is None else size
    while left > 0 and (data := read_up_to(file, min(most, left))):
        left -= len(data)
        yield data[: len(data) - len(data) % frame]
    if size is not None and left > 0:
        seconds, promised = (size - left) / frame / layout.rate, size / frame / layout.rate
        report(f"{name} is cut short: its header promises {promised:.2f} s, got {seconds:.2f} s", on_problem)


@contextlib.contextmanager
def _opened(file: FilePath | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """Give the file and its name, and close it afterwards if it was opened here."""
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            yield opened, os.fspath(file)
    else:
        yield file, str(getattr(file, "name", "the stream"))


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
    """Writes a WAV file, chunk by chunk.  Close it, or use it in ``with``.

    Until it is closed, the header says that the length is not known, so that what a killed program has left
    can still be read, by `wav_chunks` for one.  Not thread-safe.

    Args:
        file: Its path, or a file open for writing bytes, which is not closed.  In a pipe the length
            stays unknown.
        format: Of the audio that `write` takes.
        rate: Samples per second in the file; ``None`` = those of ``format``.  Others need the extra
            ``audio``.
        width: Bytes of a sample in the file, 1 to 4; ``None`` = 2.
        channels: In the file; all of them are the same.

    G.711 is kept as it is, as a WAV file of that kind, unless ``rate`` or ``width`` asks for PCM.

    Raises:
        OSError: The file can't be opened or written.
        ValueError: ``rate``, ``width`` or ``channels`` is not supported.
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
        _check_layout(rate, width, channels)
        self._format = format
        self._pcm = format == PCM or width is not None or rate != own
        encoding = INTEGER if self._pcm else {PCMA: A_LAW, PCMU: MU_LAW}[format]
        width = (width or 2) if self._pcm else 1
        self._layout = Layout(encoding, channels, rate, width, width)
        self._resampler = Resampler(own, rate)
        self._rest = b""  # half a sample
        self._size = 0  # bytes of audio in the file
        self._opened = isinstance(file, str | os.PathLike)
        self._file = open(file, "wb") if isinstance(file, str | os.PathLike) else file  # noqa: SIM115
        self._closed = False
        self._file.write(header_bytes(self._layout, None))

    def write(self, audio: Audio) -> None:
        """Add audio, of any number of bytes.

        Raises:
            OSError: It can't be written, for example because the disk is full.
            ValueError: The file is closed.
        """
        if self._closed:
            raise ValueError("the WAV file is closed")
        data, self._rest = whole_samples(self._rest + audio, self._format)
        self._put(self._resampler.feed(decoded(data, self._format)) if self._pcm else data)

    def _put(self, samples: bytes) -> None:
        data = to_frames(samples, self._layout)
        self._file.write(data)
        self._size += len(data)

    def close(self) -> None:
        """Write what is left, and the length.  May be called any number of times."""
        if self._closed:
            return
        self._closed = True
        try:
            self._put(self._resampler.finish())
            self._file.write(bytes(self._size % 2))  # chunks have an even length
            if self._file.seekable():
                header = header_bytes(self._layout, self._size)
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


def _check_layout(rate: int, width: int | None, channels: int) -> None:
    """Refuse a WAV file that no program could play.

    Raises:
        ValueError: One of the three is not supported.
    """
    if rate not in RATES:
        raise ValueError(
            f"unsupported sample rate of a WAV file: expected {RATES[0]} to {RATES[-1]} Hz, got {rate}"
        )
    if width not in (None, 1, 2, 3, 4):
        raise ValueError(f"unsupported width of a WAV file: expected 1 to 4 bytes a sample, got {width}")
    if not 0 < channels <= MOST_CHANNELS:
        raise ValueError(f"unsupported channels of a WAV file: expected 1 to {MOST_CHANNELS}, got {channels}")
