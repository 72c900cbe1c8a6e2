"""`sound.conversion`: levels, other formats, chunks."""

import array
import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wav_files import FORMATS, QUESTION, check_tone, sine

from realtime_sync.sound.formats import PCM, PCMA, PCMU, bytes_per_sample, samples_of
from realtime_sync.voice import audio


@pytest.mark.parametrize("audio_format", FORMATS)
def test_level(audio_format: str) -> None:
    """0 dBFS is the loudest square wave there can be, a sine of that height has 3 less, silence has none."""
    assert audio.level(sine(audio_format), audio_format) == pytest.approx(-9.03, abs=0.1)
    assert audio.level(b"") == audio.level(bytes(100)) == -math.inf
    assert audio.level(struct.pack("<h", -32_768) * 10) == 0


def test_half_a_sample() -> None:
    """PCM of an odd number of bytes has no level, and is not converted."""
    with pytest.raises(ValueError, match="multiple"):
        audio.level(b"x")
    with pytest.raises(ValueError, match="multiple"):
        audio.to_format(b"x", PCM, PCMU)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_buffers(audio_format: str) -> None:
    """Audio may be any buffer; its bytes count, whatever its items are."""
    sound = sine(audio_format)
    other = audio.to_format(sound, audio_format, PCM if audio_format != PCM else PCMU)
    file = io.BytesIO()
    audio.write_wav(file, sound, audio_format)
    for view in (bytearray(sound), memoryview(sound), memoryview(array.array("h", sound))):
        assert audio.level(view, audio_format) == audio.level(sound, audio_format)
        assert audio.to_format(view, audio_format, audio_format) == sound
        assert audio.to_format(view, audio_format, PCM if audio_format != PCM else PCMU) == other
        assert b"".join(audio.chunks(view, format=audio_format)) == sound
        copy = io.BytesIO()
        audio.write_wav(copy, view, audio_format)
        assert copy.getvalue() == file.getvalue()


@given(
    st.sampled_from(FORMATS),
    st.floats(0.01, 50),
    st.lists(st.binary(max_size=3000), max_size=5),
    st.booleans(),
)
def test_chunks(audio_format: str, ms: float, pieces: list[bytes], whole: bool) -> None:
    """Pieces are of equal length and of whole samples, and nothing is lost, however the audio comes."""
    sound = b"".join(pieces)
    cut = list(audio.chunks(sound if whole else pieces, ms, audio_format))
    assert b"".join(cut) == sound
    lengths = {len(piece) for piece in cut[:-1]}
    assert len(lengths) <= 1
    for length in lengths:
        assert length % bytes_per_sample(audio_format) == 0
        assert audio.duration(length, audio_format) == pytest.approx(ms / 1000, abs=1 / 8000)
        assert 0 < len(cut[-1]) <= length


@pytest.mark.parametrize("ms", [0, -1, math.nan, math.inf, 1e308, pytest.param(10**400, id="10**400")])
def test_no_chunks_of_nothing(ms: float) -> None:
    """A length that is none is refused."""
    with pytest.raises(ValueError, match="chunk length must be a positive number"):
        next(audio.chunks(b"1234", ms))
    with pytest.raises(ValueError, match="chunk length must be a positive number"):
        next(audio.wav_chunks(QUESTION, ms))


@pytest.mark.parametrize("from_format", FORMATS)
@pytest.mark.parametrize("to_format", FORMATS)
def test_to_format(from_format: str, to_format: str) -> None:
    """Each format becomes each other one, and back: same length, level, pitch."""
    there = audio.to_format(sine(from_format), from_format, to_format)
    check_tone(there, to_format)
    check_tone(audio.to_format(there, to_format, from_format), from_format)


def test_g711_as_it_is() -> None:
    """A format stays what it is; mu-law and A-law are but two ways to write a sample."""
    every = bytes(range(256))
    assert audio.to_format(bytearray(every), PCMA, PCMA) == every
    back = audio.to_format(audio.to_format(every, PCMU, PCMA), PCMA, PCMU)
    pairs = zip(samples_of(back, PCMU), samples_of(every, PCMU), strict=True)
    assert all(abs(new - old) <= 16 + abs(old) / 16 for new, old in pairs)
    with pytest.raises(ValueError, match="unknown audio format"):
        audio.to_format(every, "pcm16", PCM)
    with pytest.raises(ValueError, match="unknown audio format"):
        audio.to_format(every, PCM, "g711_ulaw")


def test_resample() -> None:
    """Sound of any rate becomes sound of another: as long, and as loud."""
    pcm = sine(seconds=0.5)
    for rate in (8_000, 44_100, 48_000):
        there = audio.resample(pcm, 24_000, rate)
        assert abs(len(there) // 2 - rate // 2) <= 1
        back = audio.resample(there, rate, audio.sample_rate("audio/pcm"))
        assert abs(len(back) - len(pcm)) <= 4
        assert audio.level(back) == pytest.approx(audio.level(pcm), abs=0.1)
    assert audio.resample(pcm, 16_000, 16_000) == pcm
    with pytest.raises(ValueError, match="0 Hz"):
        audio.resample(pcm, 0, 24_000)
    with pytest.raises(ValueError, match="multiple"):
        audio.resample(b"123", 16_000, 24_000)
