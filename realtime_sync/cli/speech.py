"""What the local server of a command hears, speaks and finds turns with."""

import argparse
from typing import Any

__all__ = ["add_arguments", "chosen"]

_WITH_SPEECH = True  # where it is installed, unless a command is told not to


def add_arguments(parser: argparse.ArgumentParser, *, language: bool = True) -> None:
    """Add the arguments that say what a local server hears and speaks with.

    Args:
        language: Whether ``--language`` is one of them; else the command has one itself.
    """
    group = parser.add_argument_group("speech of the local server (by the extra 'speech')")
    whether = group.add_mutually_exclusive_group()
    whether.add_argument(
        "--speech", action="store_true", help="fail unless it can hear, speak and find turns by a model"
    )
    whether.add_argument(
        "--no-speech", action="store_true", help="hear no words and speak in tones, even if it could"
    )
    group.add_argument(
        "--hear",
        metavar="NAME",
        help="moonshine, whisper, or whisper:FOLDER with any Whisper model for CTranslate2 "
        "(default: what is installed)",
    )
    group.add_argument(
        "--speak",
        metavar="NAME",
        help="hibari, espeak-ng, or espeak-ng:VOICE by the program espeak-ng (default: what is installed)",
    )
    if language:
        group.add_argument("--language", metavar="CODE", help="the language spoken (default: en)")


def chosen(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Return arguments of `LocalServer` for what is installed or asked for, and a sentence that says it.

    The sentence is empty if the server is to go without speech.

    Raises:
        ImportError: Something that was asked for is not installed.
        ValueError, FileNotFoundError: It can't be had, or the options contradict each other.
    """
    asked = options.speech or options.hear or options.speak
    if options.no_speech and asked:
        raise ValueError("--hear and --speak don't go together with --no-speech")
    if options.no_speech or not (asked or _WITH_SPEECH):
        return {}, ""
    from ..speech.installed import find  # only here: other commands don't need it

    speech = find(options.hear, options.speak, options.language, insist=options.speech)
    return speech.parts, f"The local server {speech.description}."
