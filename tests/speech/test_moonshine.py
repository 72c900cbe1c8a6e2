"""Recognition with Moonshine, of what a voice says."""

import logging
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from talking import FOX, chord, cough, hiss, spoken, transcript, words

from realtime_sync.sound.formats import silence
from realtime_sync.speech.moonshine import MoonshineTranscriber
from realtime_sync.speech.transcribers import Heard


@pytest.fixture(scope="module")
def moonshine() -> MoonshineTranscriber:
    return MoonshineTranscriber()


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu"])
def test_what_is_said_is_heard(moonshine: MoonshineTranscriber, audio_format: str) -> None:
    """Word for word, each a delta with the space before it."""
    deltas = list(moonshine.transcribe(Heard(spoken(FOX, audio_format), audio_format, 0.0)))
    assert words("".join(deltas)) == words(FOX)
    assert len(deltas) == 9
    assert [delta[:1] == " " for delta in deltas] == [False] + [True] * 8


@pytest.mark.parametrize(
    "audio", [b"", silence(0.5), silence(3), hiss(3), hiss(3, 0.1), cough(), chord(3), b"\xff\x7f"],
    ids=["nothing", "silence", "long silence", "hiss", "loud hiss", "cough", "music", "sample"],
)  # fmt: skip
def test_no_words_for_what_is_no_speech(moonshine: MoonshineTranscriber, audio: bytes) -> None:
    """Recognisers like to hear "You" there."""
    assert transcript(moonshine, audio) == ""


def test_speech_in_noise(moonshine: MoonshineTranscriber) -> None:
    """What is around it has no words either."""
    audio = cough() + hiss(1) + spoken("Where is the station?") + cough() + hiss(1)
    assert words(transcript(moonshine, audio)) == ["where", "is", "the", "station"]


def test_long_audio_comes_piece_by_piece(moonshine: MoonshineTranscriber) -> None:
    """A talk of many sentences is transcribed as a whole."""
    audio = spoken(FOX) * 5
    assert words(transcript(moonshine, audio)) == words(FOX) * 5


def test_threads_do_not_disturb_each_other() -> None:
    """Each of several turns at once is heard as it is alone, whoever waits for whom."""
    transcriber = MoonshineTranscriber(at_once=2)
    said = ["Where is the station?", "I like green apples.", "It is raining today."]
    heard: dict[str, list[str]] = {}
    threads = [
        threading.Thread(
            target=lambda text=text: heard.update({text: words(transcript(transcriber, spoken(text)))})
        )
        for text in said
    ]
    for text in said:
        spoken(text)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {text: words(text) for text in said}


def test_two_threads_may_be_the_first() -> None:
    """The library is loaded once, in a process where it wasn't, and both get a model."""
    code = (
        "import threading; from realtime_sync.speech.moonshine import MoonshineTranscriber\n"
        "both = MoonshineTranscriber(), MoonshineTranscriber()\n"
        "threads = [threading.Thread(target=one.warm_up) for one in both]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_another_language_is_told_once(
    caplog: pytest.LogCaptureFixture, moonshine: MoonshineTranscriber
) -> None:
    """The log has a line; a transcript is made all the same."""
    with caplog.at_level(logging.WARNING, "realtime_sync.local"):
        for _ in range(2):
            assert transcript(moonshine, b"", language="de", prompt="Fuchs") == ""
        assert transcript(moonshine, b"", language="en-GB") == ""
    assert [record.message for record in caplog.records] == ["Moonshine hears English, not 'de'"]


def test_warming_up() -> None:
    """Nothing comes of it but a model that is loaded."""
    transcriber = MoonshineTranscriber(1)
    transcriber.warm_up()
    assert transcriber.hears


def test_at_least_one_at_once() -> None:
    """No model is no recogniser."""
    with pytest.raises(ValueError, match="at_once must be at least 1, got 0"):
        MoonshineTranscriber(0)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    with pytest.raises(ImportError, match=r'pip install "realtime-sync\[speech\]"'):
        MoonshineTranscriber()


def test_without_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that would download its model is not used."""
    other = ModuleType("moonshine_voice")
    other.__file__ = __file__
    monkeypatch.setitem(sys.modules, "moonshine_voice", other)
    with pytest.raises(ImportError, match="would download its model"):
        MoonshineTranscriber()
