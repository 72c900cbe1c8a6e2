"""What the local server of a command hears, speaks and finds turns with."""

import argparse
from pathlib import Path

import pytest
from command import call
from transcripts import wav

from realtime_sync.cli import speech
from realtime_sync.speech.hibari import HibariVoice
from realtime_sync.speech.moonshine import MoonshineTranscriber
from realtime_sync.speech.voices import Sentence

WORDS = "The quick brown fox jumps over the lazy dog."


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    speech.add_arguments(parser)
    return parser.parse_args(arguments)


def spoken(path: Path, text: str) -> str:
    return wav(path, b"".join(HibariVoice().speak(Sentence(text))))


def test_what_is_installed_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an option, and it is said what it is; with --no-speech it is not."""
    monkeypatch.setattr(speech, "_WITH_SPEECH", True)
    parts, told = speech.chosen(options())
    assert isinstance(parts["transcriber"], MoonshineTranscriber)
    assert isinstance(parts["voice"], HibariVoice)
    assert told == "The local server hears with Moonshine, speaks with Hibari, finds turns with Silero."
    assert speech.chosen(options("--no-speech")) == ({}, "")


@pytest.mark.parametrize("option", ["--speech", "--hear=moonshine", "--speak=hibari"])
def test_what_is_asked_for_is_used(option: str) -> None:
    """Each option asks for speech."""
    assert speech.chosen(options(option))[0].keys() == {"transcriber", "voice", "detector"}


@pytest.mark.parametrize("command", [["transcribe", "x"], ["serve", "--port", "0"]])
@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--hear=ears", "unknown recogniser 'ears'; expected moonshine, whisper or whisper:FOLDER"),
        ("--speak=mouth", "unknown voice 'mouth'"),
        ("--hear=whisper:/nowhere", "/nowhere"),
    ],
)
def test_what_can_not_be_had(tmp_path: Path, command: list[str], option: str, problem: str) -> None:
    """A command that can't have what it is told to use says so and ends with 2."""
    file = wav(tmp_path / "x.wav", bytes(4800))
    local = [] if command[0] == "serve" else ["--local"]
    status, out, err = call(*[file if part == "x" else part for part in command], *local, option)
    assert (status, out) == (2, "")
    assert problem in err or ("whisper" in option and "faster-whisper" in err)


def test_transcribe_hears(tmp_path: Path) -> None:
    """`transcribe --local` writes down what is said."""
    status, out, err = call("transcribe", "--local", "--speech", spoken(tmp_path / "fox.wav", WORDS))
    assert (status, out.strip(), err) == (0, WORDS, "")


def test_options_that_contradict_each_other() -> None:
    """What is asked for by name is not left out in silence."""
    for option in ("--hear=moonshine", "--speak=hibari"):
        with pytest.raises(ValueError, match="don't go together with --no-speech"):
            speech.chosen(options("--no-speech", option))
