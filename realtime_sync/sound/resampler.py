"""Resampling with soxr: the only file that knows it, and NumPy."""

from collections.abc import Callable
from typing import Any

from .formats import FULL_SCALE, Audio

__all__ = ["Resampler", "floats"]


class Resampler:
    """Changes the sample rate of a stream of mono audio, 16 bits a sample, in chunks of any length.

    The output lags some milliseconds behind the input until `finish`.  Between equal rates the audio
    passes unchanged, and neither soxr nor NumPy is needed.  For one thread at a time.

    Args:
        from_rate, to_rate: Samples per second.

    Raises:
        ImportError: The rates differ, and soxr or NumPy is not installed.  The message names the extra.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._convert = None if from_rate == to_rate else _converter(from_rate, to_rate)

    def feed(self, audio: Audio) -> bytes:
        """Take whole samples, and return those that are ready; at first, that may be ``b""``."""
        return bytes(audio) if self._convert is None else self._convert(audio, False)

    def finish(self) -> bytes:
        """Return the rest.  What is fed after this is a new stream."""
        return b"" if self._convert is None else self._convert(b"", True)


def floats(audio: Audio) -> Any:
    """Return 16-bit samples as a NumPy array of ``float32`` from -1.0 to 1.0, as models take them.

    Raises:
        ImportError: NumPy is not installed.  The message names the extra.
    """
    try:
        import numpy as np
    except ImportError as error:
        raise ImportError(f'this needs NumPy: pip install "realtime-sync[audio]" ({error})') from error
    return np.frombuffer(audio, "<i2").astype(np.float32) / FULL_SCALE


def _converter(from_rate: int, to_rate: int) -> Callable[[Audio, bool], bytes]:
    """Return a stream of soxr, as a function of a chunk and whether it is the last one."""
    try:
        import numpy as np
        import soxr  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            f"resampling from {from_rate} Hz to {to_rate} Hz needs soxr and NumPy: "
            f'pip install "realtime-sync[audio]" ({error})'
        ) from error

    def new_stream() -> Any:
        # In floating point, since of integers soxr makes dithered ones, so that silence would become noise.
        return soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    stream = new_stream()

    def convert(audio: Audio, last: bool) -> bytes:
        nonlocal stream
        out = stream.resample_chunk(np.frombuffer(audio, "<i2").astype(np.float32), last=last)
        if last:
            stream = new_stream()  # soxr before 0.5 has no way to begin anew
        return np.rint(out).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes()  # type: ignore[no-any-return]

    return convert
