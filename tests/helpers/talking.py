"""Speech by a voice that always says it alike, what is no speech, and what a recogniser makes of them."""

import functools
import math
import random
import string

from realtime_sync.sound.formats import PCM, PCM_RATE, bytes_of, silence
from realtime_sync.speech.hibari import HibariVoice
from realtime_sync.speech.transcribers import Heard, Transcriber
from realtime_sync.speech.voices import Sentence

FOX = "The quick brown fox jumps over the lazy dog."


@functools.cache
def voice() -> HibariVoice:
    """The voice, loaded once for all tests."""
    return HibariVoice(seed=7)


@functools.cache
def spoken(text: str, audio_format: str = PCM) -> bytes:
    """The audio of a text, with half a second of silence around it."""
    pause = silence(0.5, audio_format)
    return pause + b"".join(voice().speak(Sentence(text, audio_format))) + pause


def transcript(transcriber: Transcriber, audio: bytes, audio_format: str = PCM, **wanted: str) -> str:
    """What a recogniser hears."""
    return "".join(map(str, transcriber.transcribe(Heard(audio, audio_format, 0.0, **wanted))))


def words(text: str) -> list[str]:
    """The words of a text, without its punctuation."""
    return text.lower().translate(str.maketrans("", "", string.punctuation)).split()


def hiss(seconds: float, level: float = 0.02) -> bytes:
    """White noise, its level 1.0 at full scale."""
    source = random.Random(7)
    return bytes_of(round(source.gauss(0, level) * 32_000) for _ in range(int(seconds * PCM_RATE)))


def cough() -> bytes:
    """A burst of noise that dies away within 0.3 s, with silence around it."""
    source = random.Random(7)
    burst = (source.gauss(0, 0.25) * math.exp(-at / 0.06 / PCM_RATE) for at in range(int(0.3 * PCM_RATE)))
    samples = bytes_of(round(max(-1.0, min(1.0, sample)) * 32_000) for sample in burst)
    return silence(1.0) + samples + silence(1.0)


def chord(seconds: float) -> bytes:
    """Music: three tones that begin anew twice a second."""
    times = (at / PCM_RATE for at in range(int(seconds * PCM_RATE)))
    return bytes_of(
        round(
            4000 * math.exp(-4 * (at % 0.5)) * sum(math.sin(math.tau * tone * at) for tone in (262, 330, 392))
        )
        for at in times
    )
