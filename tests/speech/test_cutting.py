"""Where in audio there is speech, and pieces of it that a recogniser takes."""

from collections.abc import Iterator

import pytest
from talking import FOX, cough, hiss, spoken
from tones import tone

from realtime_sync.sound.formats import duration, silence
from realtime_sync.sound.vad import Started, Stopped
from realtime_sync.speech.cutting import RATE, pieces, spans


def lengths(audio: bytes, audio_format: str = "audio/pcm") -> list[float]:
    """Seconds of each piece."""
    return [len(piece) / 2 / RATE for piece in pieces(audio, audio_format)]


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_where_speech_is(audio_format: str) -> None:
    """It begins and ends about where it does."""
    audio = spoken(FOX, audio_format)
    found = list(spans(silence(2, audio_format) + audio, audio_format))
    assert found[0].start == pytest.approx(2.7, abs=0.3)
    assert found[-1].end == pytest.approx(2 + duration(audio, audio_format) - 0.7, abs=0.4)
    assert all(span.start < span.end for span in found)


def test_a_piece_is_the_speech_with_something_around_it() -> None:
    """Long silence is not given to a recogniser."""
    (length,) = lengths(silence(5) + spoken(FOX) + silence(5))
    assert length == pytest.approx(duration(spoken(FOX)) - 0.8, abs=0.5)


def test_half_a_sample_does_no_harm() -> None:
    """What a client has cut off in the midst of a sample is heard without it."""
    (length,) = lengths(spoken(FOX)[48_000:120_001])
    assert length == pytest.approx(1.5, abs=0.3)


def test_without_speech_there_is_no_piece() -> None:
    """Silence, hiss, a cough."""
    assert lengths(silence(2) + hiss(2) + cough()) == []
    assert lengths(b"") == []


def test_long_audio_is_cut_at_pauses() -> None:
    """Each piece is of a length that a recogniser likes, and all of them are the speech."""
    found = lengths(spoken(FOX) * 7)
    assert max(found) < 14
    assert sum(found) == pytest.approx(7 * duration(spoken(FOX)), rel=0.2)


class Everything:
    """A detector to which all is speech, up to a second of silence."""

    speaking = True
    quiet_ms = 0

    def __init__(self, audio_format: str, threshold: float, silence_ms: int) -> None:
        self._heard = 0

    def adjust(self, threshold: float, silence_ms: int) -> None: ...

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        if not self._heard:
            yield Started(0)
        self._heard += len(audio) // 2
        if not any(audio):
            yield Stopped(self._heard)


def test_speech_without_a_pause() -> None:
    """It is cut anyway."""
    found = [len(piece) / 2 / RATE for piece in pieces(tone(20_000), "audio/pcm", Everything)]
    assert max(found) < 14
    assert sum(found) == pytest.approx(20, abs=3)
