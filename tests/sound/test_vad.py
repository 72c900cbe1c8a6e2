"""Voice activity detection by loudness, on real audio."""

import array
import math
import pickle
import random

import pytest
from detected import SPOKEN_MS, check, clipped, fed, hiss, knock, milliseconds, mixed, spoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import silence, tone

from realtime_sync.sound.formats import bytes_of, loudness, sample_rate, samples_of
from realtime_sync.sound.vad import Detector, EnergyDetector, Started, Stopped

SETTINGS = st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0, 200, 1000]))
FORMATS = ["audio/pcm", "audio/pcmu", "audio/pcma"]


def detector(threshold: float = 0.5, silence_ms: int = 500, audio_format: str = "audio/pcm") -> Detector:
    return EnergyDetector(audio_format, threshold, silence_ms)


# --- On clean audio ----------------------------------------------------------------------------------


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("lead", [0, 7, 400, 1013])
def test_positions_are_those_of_the_sound(audio_format: str, lead: int) -> None:
    """Speech begins and stops at the very sample where the audio does, wherever that is."""
    audio = silence(lead, audio_format) + tone(300, audio_format=audio_format) + silence(700, audio_format)
    per_ms = sample_rate(audio_format) // 1000
    started, stopped = EnergyDetector(audio_format, 0.5, 500).feed(audio)
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert started.sample == lead * per_ms
    assert stopped.sample == pytest.approx((lead + 300 + 500) * per_ms, abs=per_ms)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 5000), max_size=30), st.integers(0, 3))
def test_pieces_do_not_matter(sizes: list[int], seed: int) -> None:
    """However the audio is cut into chunks, odd ones too, the same is found in it."""
    rng = random.Random(seed)
    audio = b"".join(
        tone(rng.randrange(20, 300), rng.uniform(-60, -10)) + silence(rng.randrange(0, 800)) for _ in range(4)
    )
    assert fed(detector(silence_ms=300), audio, sizes) == fed(detector(silence_ms=300), audio)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_byte_by_byte(audio_format: str) -> None:
    """Single bytes, halves of a sample among them, are as good as the whole."""
    audio = tone(100, audio_format=audio_format) + silence(150, audio_format)
    found = fed(detector(0.5, 100, audio_format), audio, [1] * len(audio))
    assert milliseconds(found, audio_format)[0] == ("Started", 0)
    assert found == fed(detector(0.5, 100, audio_format), audio)


@pytest.mark.parametrize(
    ("threshold", "level", "heard"),
    [(0.5, -35, True), (0.5, -45, False), (0.9, -30, False), (0.9, -22, True), (0.0, -55, True)],
)
def test_threshold(threshold: float, level: float, heard: bool) -> None:
    """What is louder than the threshold is speech; what is quieter is not."""
    assert bool(list(detector(threshold).feed(tone(500, level)))) == heard


def test_a_click_is_no_speech() -> None:
    """A knock of 30 ms does not begin a turn, a syllable of 100 ms does."""
    assert not list(detector().feed(silence(90) + tone(30, -6) + silence(900)))
    assert len(list(detector().feed(silence(90) + tone(100, -6) + silence(900)))) == 2


@pytest.mark.parametrize("audio_format", FORMATS)
def test_loudness(audio_format: str) -> None:
    """The level of a tone is measured in each format, silence is silent, and full scale is 0 dBFS."""
    heard = samples_of(tone(1000, -30, audio_format), audio_format)
    assert loudness(heard) == pytest.approx(-30, abs=0.2)
    assert loudness(samples_of(silence(20, audio_format), audio_format)) < -60
    assert loudness(array.array("h", [-32_768, 32_767])) == pytest.approx(0, abs=0.01)
    assert loudness(array.array("h")) == -math.inf


# --- In noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [393, -393, 3000])
def test_a_dc_offset_does_not_count(offset: int) -> None:
    """A constant is no sound, however large, and what is heard on top of it is found as without it."""
    audio = silence(1013) + tone(300) + silence(700)
    assert not fed(detector(), mixed(silence(3000), offset=offset))
    found = fed(detector(), mixed(audio, offset=offset))
    for event, expected in zip(found, fed(detector(), audio), strict=True):
        assert event.sample == pytest.approx(expected.sample, abs=5 * 24)


@pytest.mark.parametrize("level", [-46, -36, -26])
def test_steady_noise_does_not_hold_a_turn_open(level: int) -> None:
    """Noise from the very start is speech for a few seconds at most, and then what is said is found."""
    noise = hiss(8, level)
    talk = mixed(noise, silence(5000) + louder(spoken(), level + 10))
    found = fed(detector(), talk)
    check(found, talk)
    *before, started, stopped = milliseconds(found)
    assert all(ms < 4000 for _, ms in before)
    assert started == ("Started", pytest.approx(5000, abs=300))
    assert stopped == ("Stopped", pytest.approx(5000 + SPOKEN_MS + 500, abs=500))


def louder(sound: bytes, level: float) -> bytes:
    """The sound, ``level`` dBFS loud."""
    factor = 10 ** ((level - loudness(samples_of(sound))) / 20)
    return bytes_of([clipped(factor * sample) for sample in samples_of(sound)])


def test_noise_that_begins_in_a_turn() -> None:
    """A fan that is switched on in mid-speech holds the turn open for a few seconds, not for ever."""
    talk = spoken() + hiss(6, -30)
    [started, stopped] = milliseconds(fed(detector(), talk))
    assert started[1] < 200
    assert stopped[1] < SPOKEN_MS + 4000


def test_a_knock_is_no_speech() -> None:
    """Knocks begin no turn, and hold none open."""
    knocks = b"".join(knock(level) + silence(250) for level in (-3, -6, -12, -20, -3, -6))
    assert not fed(detector(), knocks)
    found = milliseconds(fed(detector(), tone(300) + silence(200) + knocks))
    assert found == [("Started", 0), ("Stopped", pytest.approx(800, abs=1))]


def test_speech_right_after_a_knock() -> None:
    """Who speaks while a loud knock still rings is heard."""
    [started, _] = milliseconds(fed(detector(), silence(500) + knock(-3) + spoken() + silence(900)))
    assert started[1] == pytest.approx(500, abs=250)


def test_a_threshold_in_noise() -> None:
    """A higher threshold wants speech to stand out more from the noise."""
    noise = hiss(7, -26)
    faint = mixed(noise, silence(5000) + tone(1000, -26))
    assert [ms > 4500 for _, ms in milliseconds(fed(detector(0.2), faint))][-2:] == [True, True]
    assert not [ms for _, ms in milliseconds(fed(detector(0.9), faint)) if ms > 4500]


# --- While it goes on --------------------------------------------------------------------------------


def test_quiet_ms() -> None:
    """It tells how long it has been quiet within a turn: neither before, nor while one speaks, nor after."""
    one = detector(silence_ms=600)
    seen = []
    for sound in (
        silence(300),
        tone(300),
        silence(100),
        silence(300),
        knock(-6, 0.1),
        tone(200),
        silence(700),
    ):
        list(one.feed(sound))
        seen.append(one.quiet_ms)
    assert seen == [pytest.approx(ms, abs=1) for ms in (0, 0, 100, 400, 500, 0, 0)]


@pytest.mark.parametrize("audio", [b"", b"\0", silence(20)])
def test_a_shorter_silence_ends_a_turn_at_once(audio: bytes) -> None:
    """If it was quiet for long enough by the new value, speech stops with the next chunk, whatever it is."""
    one = detector(silence_ms=1000)
    list(one.feed(tone(300) + silence(600)))
    one.adjust(0.5, 200)
    [stopped] = one.feed(audio)
    assert milliseconds([stopped]) == [("Stopped", pytest.approx(500, abs=1))]
    assert (one.speaking, one.quiet_ms) == (False, 0)


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_whatever_is_heard(data: st.DataObject) -> None:
    """Noise, clipping, silence, any chunks, and any change of settings: turns that follow each other."""
    one = detector()
    found: list[Started | Stopped] = []
    audio = b""
    for _ in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(["noise", "tone", "square", "silence", "odd", "knock"]))
        chunk = sound(kind, data.draw(st.integers(0, 400)))
        audio += chunk
        found += one.feed(chunk)
        assert one.quiet_ms == 0 or one.speaking
        assert one.speaking == bool(found and isinstance(found[-1], Started))
        if data.draw(st.booleans()):
            one.adjust(*data.draw(SETTINGS))
    check(found, audio)


def sound(kind: str, ms: int) -> bytes:
    if kind == "noise":
        return hiss(ms / 1000, -1)
    if kind == "tone":
        return tone(ms, -20)
    if kind == "square":
        return (b"\xff\x7f" * 40 + b"\0\x80" * 40) * (ms * 24 // 80)
    return {"silence": silence(ms), "odd": b"\x7f" * (2 * ms + 1), "knock": knock()}[kind]


def test_memory_does_not_grow() -> None:
    """A detector holds no more after many turns than after a few."""
    one, turn = detector(silence_ms=200), tone(500) + silence(500)
    sizes = []
    for _ in range(40):
        list(one.feed(turn))
        sizes.append(len(pickle.dumps(one)))
    assert sizes[-1] < sizes[10] + 100
