"""`sound.formats`: the three formats of the wire, their sizes, their samples, and who uses which."""

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wav_files import FORMATS

import realtime_sync as rt
from realtime_sync.sound.formats import (
    PCM,
    PCMA,
    PCMU,
    bytes_per_sample,
    input_format,
    output_format,
    sample_rate,
    silence,
    silent,
)
from realtime_sync.voice import audio


@given(st.sampled_from(FORMATS), st.integers(0, 10**7))
def test_duration(audio_format: str, samples: int) -> None:
    """Bytes and seconds are the same thing, either way."""
    size = samples * bytes_per_sample(audio_format)
    seconds = audio.duration(size, audio_format)
    assert seconds == pytest.approx(samples / sample_rate(audio_format))
    assert audio.size_of(seconds, audio_format) == size


def test_sizes() -> None:
    """100 ms are 4,800 bytes of PCM and 800 of G.711; buffers count by their bytes; samples are never cut."""
    assert [audio.size_of(0.1, name) for name in FORMATS] == [4800, 800, 800]
    assert audio.duration(b"12", PCM) == audio.duration(memoryview(array.array("h", [1])), PCM) == 2 / 48_000
    assert audio.size_of(0.00003) == 2
    with pytest.raises(
        ValueError, match="unknown audio format 'pcm16'; expected one of audio/pcm, audio/pcmu, audio/pcma"
    ):
        audio.size_of(1, "pcm16")


def test_what_a_session_uses() -> None:
    """The formats of a session are found in either dialect; what says nothing, or nonsense, is PCM."""
    ga = rt.events.SessionConfig(
        audio=rt.events.AudioConfig(
            input=rt.events.AudioInputConfig(format=rt.events.AudioFormat(type=PCMU)),
            output=rt.events.AudioOutputConfig(format=rt.events.AudioFormat(type=PCMA)),
        )
    )
    beta = rt.events.SessionConfig(input_audio_format="g711_alaw", output_audio_format="g711_ulaw")
    odd = rt.events.SessionConfig(input_audio_format="mp3", output_audio_format=None)
    found = [(input_format(config), output_format(config)) for config in (ga, beta, odd, None)]
    assert found == [(PCMU, PCMA), (PCMA, PCMU), (PCM, PCM), (PCM, PCM)]


@pytest.mark.parametrize("audio_format", [PCM, PCMU])
@pytest.mark.parametrize("seconds", [0.0, 0.0001, 1.0, 2.5])
def test_silent(seconds: float, audio_format: str) -> None:
    """Silence block by block is the same as all of it, and no block is longer than a second."""
    blocks = list(silent(seconds, audio_format))
    assert b"".join(blocks) == silence(seconds, audio_format)
    assert all(0 < len(block) <= len(silence(1.0, audio_format)) for block in blocks)
