"""Files that the program ffmpeg decodes, and what it says of those that are damaged."""

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from typing import BinaryIO

from .conversion import Samples
from .formats import samples_of
from .problems import OnProblem, report
from .wav import FilePath
from .wav_header import READ_SIZE

__all__ = ["by_ffmpeg", "complaints"]

_LONGEST = 300  # characters of what ffmpeg says that are repeated
_LAST = 65_536  # bytes of what ffmpeg said that are looked at: it may say the same of every frame
_CONTEXT = re.compile(r"\[[^\[\]]* @ [0-9A-Fa-fx]+\] ")  # as in "[flac @ 0x55fa82de8440] "
_LEVEL = re.compile(r"\[(panic|fatal|error|warning)\] (.*)")
# Of its warnings, those by which it says that a file is not whole; the others are about whole files too.
_DAMAGE = ("corrupt", "filesize and duration do not match", "truncat")
_NO_MORE_THAN = "Error while decoding stream"  # what it says of any error, after saying which


def by_ffmpeg(
    ffmpeg: str, path: FilePath, rate: int, on_problem: OnProblem
) -> Generator["Samples[int]", None, None]:
    """Yield the samples of a file that ffmpeg decodes, mono and at this rate.

    The program is given the file's name and no access to the network.  It ends when the samples do, or when
    the generator is closed.

    Args:
        ffmpeg: The path of the program.
        path: The file.
        rate: Samples per second.
        on_problem: As of `realtime_sync.sound.files.decode`.

    Raises:
        ValueError: ffmpeg can't decode it, or not to its end.
    """
    source = f"file:{os.fspath(path)}"  # whatever it begins with, it is a file's name
    command = [ffmpeg, "-nostdin", "-nostats", "-hide_banner", "-loglevel", "repeat+level+warning"]
    command += ["-protocol_whitelist", "file,pipe", "-err_detect", "crccheck", "-i", source]
    command += ["-ac", "1", "-ar", str(rate), "-f", "s16le", "pipe:1"]
    size = 0
    with (
        tempfile.TemporaryFile() as stderr,  # a file can't fill up, as a pipe that is not read would
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        try:
            assert process.stdout is not None
            while data := process.stdout.read(READ_SIZE):
                size += len(data)
                yield samples_of(data)
            status = process.wait()
        finally:
            process.kill()  # if the rest is not wanted
        said = complaints(_end_of(stderr).replace(f"{source}: ", ""))
    if status:
        raise ValueError(f"ffmpeg can't decode {os.fspath(path)}: {said or f'status {status}'}")
    said = said or _cut_short(path)
    if said:
        seconds = size / 2 / rate
        text = f"{os.fspath(path)} is damaged or cut short: ffmpeg decoded {seconds:.2f} s of it; {said}"
        report(text, on_problem)


def complaints(output: str) -> str:
    """Return the last of ffmpeg's complaints, without ids and control characters; ``""`` if it had none.

    Two of them if they differ, since the very last may only repeat that there was an error.

    Args:
        output: What it wrote with ``-loglevel level+warning``.
    """
    found = list(dict.fromkeys(_complaints(output)))
    causes = [line for line in found if not line.startswith(_NO_MORE_THAN)]
    text = "; ".join((causes or found)[-2:])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _complaints(output: str) -> Iterator[str]:
    level = "error"  # a line without a level belongs to the one before
    for line in output.splitlines():
        text = _CONTEXT.sub("", line)
        if match := _LEVEL.match(text):
            level, text = match.groups()
        text = "".join(char if char.isprintable() else " " for char in text).strip()
        if text and (level != "warning" or any(word in text.lower() for word in _DAMAGE)):
            yield text


def _end_of(file: BinaryIO) -> str:
    """Return what was written to a file last, in whole lines."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LAST))
    text = file.read().decode(errors="replace")
    return text if size <= _LAST else text.partition("\n")[2]


# --- What ffmpeg ignores silently --------------------------------------------------------------------

_PAGE = b"OggS"
_LONGEST_PAGE = 27 + 255 + 255 * 255
_MADE_UP = 0x7F00_0000  # sizes of an AIFF file from here on are guesses, of programs that write to a pipe


def _cut_short(path: FilePath) -> str:
    """Return what shows that a file has no end, of the kinds whose end ffmpeg doesn't look for."""
    with open(path, "rb") as file:
        head = file.read(8)
        length = file.seek(0, os.SEEK_END)
        if head[:4] == b"FORM":  # AIFF
            promised = 8 + int.from_bytes(head[4:], "big")
            return f"of {promised} bytes, {length} are there" if length < promised < _MADE_UP else ""
        if head[:4] != _PAGE:
            return ""
        file.seek(max(0, length - 2 * _LONGEST_PAGE))
        tail = file.read()
    start = tail.rfind(_PAGE)
    page = tail[start:]
    whole = len(page) > 26 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return "" if start >= 0 and whole else "its last Ogg page is incomplete"
