"""The local server's voice."""

from itertools import pairwise

import pytest
from response_order import audio_of
from talk import Talk
from tones import RATES

from realtime_sync.local import ScriptedResponder
from realtime_sync.local.protocol.tones import speech
from realtime_sync.sound.formats import bytes_of


@pytest.mark.parametrize(("kind", "rate"), RATES)
def test_output_formats(kind: str, rate: int) -> None:
    """Speech comes in the session's format, about 60 ms per character."""
    talk = Talk(ScriptedResponder(["x" * 50]), audio={"output": {"format": {"type": kind}}})
    assert len(audio_of(talk.turn())) == 3 * rate


def test_speech_can_be_heard() -> None:
    """The sound is not silence, and has no jump where seconds are joined."""
    sound = memoryview(speech("x" * 40, "audio/pcm")).cast("h")
    assert max(sound) > 2000
    assert max(abs(b - a) for a, b in pairwise(sound)) < 500


def test_g711() -> None:
    """Silence and the loudest samples are encoded as G.711 has them, and louder stays louder."""
    mu_law, a_law = (bytes_of(range(-32_768, 32_768), kind) for kind in ("audio/pcmu", "audio/pcma"))
    assert [mu_law[32_768 + sample] for sample in (0, 32_767, -32_768)] == [0xFF, 0x80, 0x00]
    assert [a_law[32_768 + sample] for sample in (0, 32_767, -32_768)] == [0xD5, 0xAA, 0x2A]
    loudness = [0x7F - (code & 0x7F) for code in mu_law[32_768:]]
    assert loudness == sorted(loudness)
    loudness = [(code ^ 0x55) & 0x7F for code in a_law[32_768:]]
    assert loudness == sorted(loudness)
