"""Audio files as the input and the output of a command."""

import contextlib
import os
import stat

from ..sound.formats import PCM
from ..voice.audio import decode
from ..voice.speakers import FileSpeaker

__all__ = ["FileOutput", "check_input", "check_output"]


def check_input(path: str) -> None:
    """Check before anything is sent that a file can be read.  A named pipe is left for later.

    Raises:
        OSError, ImportError: As `voice.audio.decode`.
        ValueError: The same, and if there is no audio in it.
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):  # what is read of it now would be missing later
        return
    problems: list[str] = []  # they are told once, when the file was sent
    with contextlib.closing(decode(path, on_problem=problems.append)) as chunks:
        if not next(chunks, b""):
            raise ValueError(problems[-1] if problems else f"{path} holds no audio")


def check_output(path: str, source: str | None) -> None:
    """Check before anything is sent that a file can be written, and leave it as it is.

    Raises:
        OSError: It can't be written.
        ValueError: Its name doesn't end in ``.wav``, or it is the input.
    """
    if not path.lower().endswith(".wav"):
        raise ValueError(f"--output writes WAV: expected a name that ends in .wav, got {path}")
    if not os.path.exists(path):
        open(path, "xb").close()
        os.unlink(path)
    elif source is not None and os.path.samefile(path, source):
        raise ValueError(f"--output is the same file as --input: {path}")
    elif os.path.isdir(path) or not os.access(path, os.W_OK):
        open(path, "ab").close()  # which says why not


class FileOutput:
    """A `FileSpeaker` that leaves the file as it is until there is something to play.

    Args:
        path: The WAV file.
    """

    format = PCM

    def __init__(self, path: str) -> None:
        self._path = path
        self._speaker: FileSpeaker | None = None

    def write(self, audio: bytes) -> None:
        """Play a chunk of PCM at its time.  The first one makes the file.

        Raises:
            OSError: It can't be written.
        """
        if self._speaker is None:
            self._speaker = FileSpeaker(self._path, self.format)
        self._speaker.write(audio)

    @property
    def played_ms(self) -> float:
        """Milliseconds that were played until now."""
        return self._speaker.played_ms if self._speaker is not None else 0.0

    def clear(self) -> None:
        """Discard what was not played yet."""
        if self._speaker is not None:
            self._speaker.clear()

    def __enter__(self) -> "FileOutput":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._speaker is not None:
            self._speaker.close()
