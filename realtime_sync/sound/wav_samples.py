"""The samples of a WAV file, in any of its encodings, as mono samples of 16 bits, and back."""

import array
import functools
import sys
from collections.abc import Callable
from typing import NamedTuple

from .conversion import Samples
from .formats import FULL_SCALE, PCMA, PCMU, samples_of

__all__ = ["A_LAW", "FLOAT", "INTEGER", "MU_LAW", "Layout", "is_known", "mono", "to_frames"]

INTEGER, FLOAT, A_LAW, MU_LAW = 1, 3, 6, 7
"""The encodings that are read here, by their numbers in a WAV file."""


class Layout(NamedTuple):
    """How the samples of a WAV file are laid out."""

    encoding: int
    channels: int
    rate: int  # samples per second of one channel
    width: int  # bytes of one sample of one channel
    used: int  # the lower bytes of these, which hold the value; fewer only as ``arecord -f S24_LE`` writes it
    big_endian: bool = False

    @property
    def frame(self) -> int:
        """Return the bytes of one sample of all channels."""
        return self.channels * self.width


def is_known(layout: Layout) -> bool:
    """Return whether samples of this layout can be read here."""
    return _decoder(layout) is not None


def mono(block: bytes, layout: Layout) -> "Samples[int]":
    """Decode whole frames to 16-bit samples, with the channels mixed into one."""
    decode = _decoder(layout)
    assert decode is not None
    samples = decode(block)
    count = layout.channels
    if count == 1:
        return samples
    if count == 2:
        return _mean_of_two(samples[0::2], samples[1::2])
    return array.array("h", [sum(frame) // count for frame in zip(*[iter(samples)] * count, strict=True)])


def to_frames(samples: bytes, layout: Layout) -> bytes:
    """Encode samples as they are in the file, the same in each channel.

    Args:
        samples: 16-bit ones where the file has integers, otherwise the file's own.
        layout: Little-endian, without unused bytes.
    """
    frame, width = layout.frame, layout.width
    one = _to_integers(samples, width) if layout.encoding == INTEGER else samples
    if frame == width:
        return one
    frames = bytearray(len(one) // width * frame)
    for position in range(frame):
        frames[position::frame] = one[position % width :: width]
    return bytes(frames)


# --- Channels ----------------------------------------------------------------------------------------


def _mean_of_two(left: "Samples[int]", right: "Samples[int]") -> "Samples[int]":
    """Return the mean of each pair, rounded down.

    It is computed for all pairs at once, as two long numbers, which is ten times as fast.  Each sample is 16
    bits of a number.  With its sign bit flipped it is not below 0, and then the mean is what both have in
    common and half of what only one has, which never carries into the next.
    """
    signs = int.from_bytes(b"\x00\x80" * len(left), "little")
    all_but_lowest = int.from_bytes(b"\xfe\xff" * len(left), "little")
    a, b = (int.from_bytes(side, sys.byteorder) ^ signs for side in (left, right))
    means = ((a & b) + (((a ^ b) & all_but_lowest) >> 1)) ^ signs
    return array.array("h", means.to_bytes(2 * len(left), sys.byteorder))


# --- Encodings ---------------------------------------------------------------------------------------

_FLIPPED = bytes(byte ^ 0x80 for byte in range(256))  # between 8 bits unsigned and signed


def _decoder(layout: Layout) -> Callable[[bytes], "Samples[int]"] | None:
    """Return the function that decodes samples of this layout; ``None`` if there is none."""
    encoding, width, big_endian = layout.encoding, layout.width, layout.big_endian
    if encoding == INTEGER and width == layout.used == 1:
        return _from_unsigned
    if encoding == INTEGER and 2 <= layout.used <= width <= 4:
        high = width - layout.used if big_endian else layout.used - 1
        low = high + 1 if big_endian else high - 1
        return functools.partial(_from_integers, width=width, high=high, low=low)
    if encoding == FLOAT and width in (4, 8):
        swapped = big_endian is (sys.byteorder == "little")
        return functools.partial(_from_floats, typecode="f" if width == 4 else "d", swapped=swapped)
    if encoding in (A_LAW, MU_LAW) and width == 1:
        return functools.partial(samples_of, format=PCMA if encoding == A_LAW else PCMU)
    return None


def _from_unsigned(data: bytes) -> "Samples[int]":
    """Decode 8-bit samples, which are unsigned."""
    upper = bytearray(2 * len(data))
    upper[1::2] = data.translate(_FLIPPED)
    return samples_of(upper)


def _from_integers(data: bytes, width: int, high: int, low: int) -> "Samples[int]":
    """Decode integers to their upper 16 bits, whose bytes are at these two positions in each sample."""
    upper = bytearray(len(data) // width * 2)
    upper[0::2], upper[1::2] = data[low::width], data[high::width]
    return samples_of(upper)


def _to_integers(pcm: bytes, width: int) -> bytes:
    """Encode 16-bit samples as 8 bits unsigned, or as the upper 16 of more bits."""
    if width == 1:
        return pcm[1::2].translate(_FLIPPED)
    data = bytearray(len(pcm) // 2 * width)
    data[width - 2 :: width], data[width - 1 :: width] = pcm[0::2], pcm[1::2]
    return bytes(data)


def _from_floats(data: bytes, typecode: str, swapped: bool) -> "Samples[int]":
    """Decode numbers from -1 to 1; those beyond are clipped, and NaN is silence."""
    values = array.array(typecode, data)
    if swapped:
        values.byteswap()
    try:
        return array.array("h", [int(value * FULL_SCALE) for value in values])
    except (OverflowError, ValueError):  # some are; to look at each of them takes longer
        return array.array("h", map(_clipped, values))


def _clipped(value: float) -> int:
    is_number = value == value
    return int(max(-FULL_SCALE, min(FULL_SCALE - 1, value * FULL_SCALE))) if is_number else 0
