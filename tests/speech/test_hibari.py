"""A voice by Hibari."""

import logging
import sys
import threading

import pytest
from talking import FOX, voice

from realtime_sync.speech import notices
from realtime_sync.speech.hibari import HibariVoice
from realtime_sync.speech.voices import Sentence


def length(**sentence: object) -> int:
    return sum(map(len, voice().speak(Sentence(FOX, **sentence))))  # type: ignore[arg-type]


def test_it_speaks_in_the_format_that_is_wanted() -> None:
    """In chunks of 100 ms; G.711 has a sixth of the bytes."""
    chunks = list(voice().speak(Sentence(FOX)))
    assert {len(chunk) for chunk in chunks[:-1]} == {4800}
    assert 2 * 48_000 < sum(map(len, chunks)) < 5 * 48_000
    assert length(audio_format="audio/pcmu") == pytest.approx(length() / 6, abs=2)
    assert length(audio_format="audio/pcma") == pytest.approx(length() / 6, abs=2)


def test_speed() -> None:
    """Slower is longer; slower than it can is as slow as it can, and every name is its own."""
    assert length(speed=1.5) < length(voice="marin") < length(speed=0.5)
    assert length(speed=0.25) == length(speed=0.5)


def test_a_seed_makes_it_the_same() -> None:
    """Tests can rely on it."""
    assert list(voice().speak(Sentence(FOX))) == list(voice().speak(Sentence(FOX)))


def test_what_it_cannot_say(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """There is no audio, and one line in the log, however often."""
    monkeypatch.setattr(notices, "_logged", set())  # by other tests of this process
    with caplog.at_level(logging.WARNING, "realtime_sync.local"):
        for text in ("", "  ", "你好", "再见", "😀"):
            assert list(voice().speak(Sentence(text))) == []
    assert [record.message for record in caplog.records] == ["Hibari speaks English, so it can't say '你好'"]


def test_any_text_is_taken() -> None:
    """Signs, halves of characters and a word without end are no error."""
    for text in ("\x00<a>&\ud800", "a" * 500):
        assert all(len(chunk) % 2 == 0 for chunk in voice().speak(Sentence(text)))
    assert list(voice().speak(Sentence("1" * 50)))


def test_threads_do_not_disturb_each_other() -> None:
    """Sentences that are spoken at once, the very first ones too, are those that are spoken alone."""
    shared = HibariVoice(seed=7)
    texts = [f"This is sentence number {number}." for number in range(6)]
    said: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=lambda text=text: said.update({text: b"".join(shared.speak(Sentence(text)))}))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {text: b"".join(voice().speak(Sentence(text))) for text in texts}


def test_warming_up() -> None:
    """It may be done at any time."""
    voice().warm_up()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(ImportError, match=r'pip install "realtime-sync\[speech\]"'):
        HibariVoice()
