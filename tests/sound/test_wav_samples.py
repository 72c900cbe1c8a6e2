"""`sound.wav_samples`: samples of every encoding."""

import array
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wav_files import KINDS, check_tone, chunk, fmt, packed, read, riff, tone, wav_of

from realtime_sync.sound.formats import PCM, PCMA, PCMU, bytes_of, sample_rate, samples_of
from realtime_sync.sound.wav_samples import FLOAT, INTEGER, Layout, is_known, mono, to_frames

SAMPLE = st.integers(-32_768, 32_767)


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (11_025, 7), (24_000, 2), (44_100, 2), (96_000, 1)]
)
@pytest.mark.parametrize(("encoding", "width"), KINDS)
def test_every_kind_of_wav(encoding: int, width: int, rate: int, channels: int) -> None:
    """Any width, number of channels and sample rate becomes 24 kHz mono of the same length, level, pitch."""
    check_tone(read(wav_of(tone(rate), encoding, width, channels, rate)))


@pytest.mark.parametrize(
    ("encoding", "width", "data", "samples"),
    [
        (1, 1, bytes([0, 127, 128, 255]), [-32_768, -256, 0, 32_512]),
        (1, 2, struct.pack("<3h", -32_768, 1, 32_767), [-32_768, 1, 32_767]),
        (1, 3, b"\x00\x00\x80\xff\x01\x00\xff\xff\x7f", [-32_768, 1, 32_767]),
        (1, 4, struct.pack("<3i", -(2**31), 0x1FFFF, 2**31 - 1), [-32_768, 1, 32_767]),
        (3, 4, struct.pack("<4f", -1.0, 0.0, 0.5, 1.0), [-32_768, 0, 16_384, 32_767]),
        (3, 8, struct.pack("<4d", -1.0, 1 / 32_768, 7.0, -1e300), [-32_768, 1, 32_767, -32_768]),
        (3, 4, struct.pack("<4f", math.nan, math.inf, -math.inf, 0.5), [0, 32_767, -32_768, 16_384]),
        (7, 1, bytes([0x00, 0x80, 0xFF]), [-32_124, 32_124, 0]),
        (6, 1, bytes([0x2A, 0xAA, 0xD5]), [-32_256, 32_256, 8]),
    ],
)
def test_values(encoding: int, width: int, data: bytes, samples: list[int]) -> None:
    """The ends of each scale are where they belong; too loud is clipped, and what is no number is silent."""
    wire = {6: PCMA, 7: PCMU}.get(encoding, PCM)
    file = riff(fmt(encoding, width, rate=sample_rate(wire)), chunk(b"data", data))
    assert list(samples_of(read(file, wire), wire)) == samples


def test_channels_are_mixed() -> None:
    """One channel of several is all channels' mean."""
    data = struct.pack("<6h", 300, 0, -600, -3, 3000, 6)
    assert list(samples_of(read(riff(fmt(channels=3), chunk(b"data", data))))) == [-100, 1001]


@given(st.lists(st.tuples(SAMPLE, SAMPLE)))
def test_stereo_is_mixed(frames: list[tuple[int, int]]) -> None:
    """The mean of two channels is exact, rounded down, whatever their samples."""
    data = b"".join(struct.pack("<2h", *frame) for frame in frames)
    mixed = samples_of(read(riff(fmt(channels=2), chunk(b"data", data))))
    assert list(mixed) == [(left + right) // 2 for left, right in frames]


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_frames_and_back(width: int, channels: int) -> None:
    """Samples that are put into frames of any width come back from each of their channels."""
    layout = Layout(INTEGER, channels, 24_000, width, width)
    samples = array.array("h", [0, 256, -256, 32_512, -32_768])  # what eight bits can hold
    frames = to_frames(bytes_of(samples), layout)
    assert len(frames) == 5 * layout.frame
    assert mono(frames, layout) == samples


def test_known_layouts() -> None:
    """A layout is known if its samples can be decoded, in either order of bytes."""
    known = [(1, 1, 1), (1, 2, 2), (1, 4, 3), (1, 4, 4), (3, 4, 4), (3, 8, 8), (6, 1, 1), (7, 1, 1)]
    unknown = [(1, 2, 1), (1, 8, 8), (1, 0, 0), (3, 2, 2), (6, 2, 2), (2, 1, 1), (0, 1, 1)]
    for big_endian in (False, True):
        for layouts, expected in ((known, True), (unknown, False)):
            for encoding, width, used in layouts:
                layout = Layout(encoding, 1, 24_000, width, used, big_endian)
                assert is_known(layout) is expected


@pytest.mark.parametrize("encoding", [INTEGER, FLOAT])
def test_order_of_bytes(encoding: int) -> None:
    """In big-endian a sample's bytes come the other way round, and mean the same."""
    for width in (4, 8) if encoding == FLOAT else (2, 3, 4):
        layout = Layout(encoding, 1, 24_000, width, width)
        sample = packed(-0.3, encoding, width)
        turned = mono(sample[::-1], layout._replace(big_endian=True))
        assert turned == mono(sample, layout)
        assert turned[0] == pytest.approx(-0.3 * 32_768, abs=1)
