"""Sound from files into sessions, and from one format of the wire to another.

    for chunk in wav_chunks("question.wav"):
        session.input_audio_buffer.append(chunk)

is what `stream_file` does, with the session's own format, at either pace.  A file may be of any length:
what reads or writes one holds a fraction of a second of it, except those that return all of it.
"""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ..sound.conversion import Pieces, Samples, chunks, converted, level, resample, to_format
from ..sound.formats import PCM, PCMA, PCMU, duration, input_format, sample_rate, samples_of, silence, size_of
from ..sound.wav import (
    READ_SIZE,
    FilePath,
    NotReadHere,
    WavWriter,
    read_wav,
    wav_chunks,
    wav_duration,
    write_wav,
)

if TYPE_CHECKING:
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
    "resample",
    "sample_rate",
    "silence",
    "size_of",
    "stream_file",
    "to_format",
    "wav_chunks",
    "wav_duration",
    "write_wav",
]


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
            except NotReadHere as error:
                if not is_file:
                    text = f"{os.fspath(path)} is no regular file: from a pipe, only WAV can be read"
                    raise ValueError(text) from error
                if ffmpeg is None:
                    raise
    rate = sample_rate(format)
    with contextlib.closing(_by_ffmpeg(ffmpeg, path, rate)) as samples:
        yield from chunks(converted(samples, rate, format), ms, format)


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
            while data := process.stdout.read(READ_SIZE):
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
    pace: Literal["fast", "realtime"] = "fast",
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
    fast = is_fast(pace)
    audio_format = format or input_format(session.config)
    with contextlib.closing(decode(path, chunk_ms, audio_format)) as pieces, _bar(path, progress) as show:
        return _send(session, pieces, audio_format, fast, show)


def is_fast(pace: str) -> bool:
    """Whether to wait for nothing.

    Raises:
        ValueError: It is neither ``"fast"`` nor ``"realtime"``.
    """
    if pace not in ("fast", "realtime"):
        raise ValueError(f"the pace is 'fast' or 'realtime', not {pace!r:.80}")
    return pace == "fast"


def append_to(session: "Session") -> Callable[[bytes], str]:
    """What appends to the input of this kind of session."""
    translates = session.config is not None and session.config.type == "translation"
    return session.translation.append if translates else session.input_audio_buffer.append


def _send(
    session: "Session",
    pieces: Iterable[bytes],
    format: str,
    fast: bool,
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
        due = start if fast else start + duration(size, format)
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
