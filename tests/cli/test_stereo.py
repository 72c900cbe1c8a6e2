"""A recording of both sides of a talk."""

import wave
from pathlib import Path

from realtime_sync.cli.stereo import StereoRecording
from realtime_sync.sound.formats import bytes_of, samples_of


def pcm(value: int, count: int) -> bytes:
    return bytes_of([value] * count)


def test_both_sides_at_their_time(tmp_path: Path) -> None:
    """What the model says begins when it comes, and goes on without a gap however early the rest comes."""
    recording = StereoRecording()
    recording.user(pcm(1, 3))
    assert recording.is_quiet
    recording.model(pcm(2, 2))
    recording.model(pcm(3, 2))
    assert not recording.is_quiet
    recording.user(pcm(0, 1))
    recording.user(pcm(0, 4))
    assert recording.is_quiet
    recording.model(pcm(4, 1))
    recording.save(str(tmp_path / "both.wav"))
    with wave.open(str(tmp_path / "both.wav"), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 24_000)
        samples = list(samples_of(file.readframes(100)))
    assert samples[0::2] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert samples[1::2] == [0, 0, 0, 2, 2, 3, 3, 0, 4]
    assert recording.seconds == 9 / 24_000
