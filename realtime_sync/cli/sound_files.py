"""Sound files as the input of a command."""

import contextlib
import os
import stat

from ..voice.audio import decode

__all__ = ["check_sound"]


def check_sound(path: str) -> None:
    """Find out before anything is sent whether a file can be read.

    Raises:
        OSError, ImportError: As `voice.audio.decode`.
        ValueError: The same, and if there is no sound in it.
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):  # what is read of it now would be missing later
        return
    with contextlib.closing(decode(path)) as pieces:
        if not next(pieces, b""):
            raise ValueError(f"{path} holds no sound")
