"""Files of any format as audio of the wire: WAV by itself, others by way of ffmpeg."""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import contextlib
import os
import shutil
import stat

from .conversion import Chunks, chunks, converted
from .ffmpeg import by_ffmpeg
from .formats import PCM, sample_rate
from .problems import OnProblem
from .wav import FilePath, wav_chunks
from .wav_header import UnsupportedAudio, is_wav

__all__ = ["decode", "read_audio"]


def read_audio(path: FilePath, format: str = PCM, *, on_problem: OnProblem = None) -> bytes:
    """Return a whole file of any format as a session takes it; see `decode`."""
    return b"".join(decode(path, 1000, format, on_problem=on_problem))


def decode(path: FilePath, ms: float = 100, format: str = PCM, *, on_problem: OnProblem = None) -> Chunks:
    """Yield a file of any format as a session takes it, in chunks: WAV by itself, others by way of ffmpeg.

    ffmpeg is a program that has to be installed; it is given the file's name and no access to the network.
    It ends when the chunks have come to their end, or are closed.  Nothing is read before the first chunk is
    asked for; then errors are raised.  From a named pipe, only WAV can be read.

    A file that is damaged or cut short gives what can be decoded of it, and the problem is told::

        problems: list[str] = []
        audio = b"".join(decode("call.flac", on_problem=problems.append))
        if problems:  # not all of the audio is there
            print(problems[-1])

    Args:
        path: The file.
        ms: Milliseconds of a chunk; the last one may be shorter.
        format: Of the chunks: `PCM`, `PCMU` or `PCMA`.
        on_problem: Called with a sentence, at the end of the file, if not all of its audio is there: a WAV
            file ends before its header says, or ffmpeg complained (the sentence has its last words), or an
            Ogg or AIFF file ends too early.  ``None`` logs the sentence as a warning.  A file that was cut at
            a boundary of its format can't be told from a whole one if its format doesn't say how long it is.

    Raises:
        OSError: The file can't be opened or read.
        TypeError: ``path`` is not a path.
        ValueError: It can't be decoded, or not without ffmpeg, which is not installed.
        ImportError: A WAV file is of another sample rate, and the extra ``audio`` is not installed.
    """
    if not isinstance(path, str | os.PathLike):  # a number would be taken for an open file
        raise TypeError(f"path must be the name of a file, got {path!r:.80}")
    ffmpeg = shutil.which("ffmpeg")
    with open(path, "rb") as file:
        # A pipe can be read once only: here, and not by ffmpeg, which opens the name anew.
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        head = file.peek(12) if is_file else b""
        if ffmpeg is None or not head or is_wav(head):
            try:
                yield from wav_chunks(file, ms, format, on_problem=on_problem)
                return
            except UnsupportedAudio as error:
                if not is_file:
                    text = f"{os.fspath(path)} is not a regular file: from a pipe, only WAV can be read"
                    raise ValueError(text) from error
                if ffmpeg is None:
                    raise
    rate = sample_rate(format)
    with contextlib.closing(by_ffmpeg(ffmpeg, path, rate, on_problem)) as samples:
        yield from chunks(converted(samples, rate, format), ms, format)
