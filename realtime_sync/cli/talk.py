"""``talk``: a conversation by voice, with devices or with audio files."""

import argparse
import contextlib
from typing import Any

from ..session import HASTE, Session
from ..voice.assistant import Assistant
from ..voice.devices import list_devices
from ..voice.echo import NOISE_LEVELS, EchoMode, can_cancel
from ..voice.microphones import FileMicrophone, Microphone
from ..voice.speakers import Speaker
from . import meter, opening, speech, status, streams
from .detection import detects_turns
from .dialogue import Dialogue
from .ending import Ending
from .keys import on_enter
from .screen import complain, hint
from .sound_files import FileOutput, check_input, check_output
from .whole_events import WholeEvents

__all__ = ["add_arguments", "run"]

_HINTS: dict[EchoMode, str] = {
    "off": "Speak.  Ctrl-C ends it.  (Without headphones it may hear, and interrupt, itself.)",
    "cancel": "Speak.  Ctrl-C ends it.  (The speaker's echo is cancelled.)",
    "half-duplex": "Speak.  Ctrl-C ends it.  (It hears nothing while the model speaks: Enter stops it.)",
}
_TAIL = 2.0  # seconds of silence behind a file, by which the server finds the end of the last turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``talk``."""
    parser.description = (
        "Talk with a model.  Just speak, also while it speaks: it stops, and knows how far you heard it. "
        "Use headphones, or the extra 'aec', or it may hear itself.  Enter stops the model, Ctrl-C the talk."
    )
    parser.add_argument("--model", default=opening.MODEL, help="default: %(default)s")
    parser.add_argument("--instructions", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--voice", help="the model's voice, such as marin or cedar")
    parser.add_argument(
        "--transcription",
        metavar="MODEL",
        default="gpt-4o-mini-transcribe",
        help='the model that transcribes what you say (default: %(default)s; "" = none)',
    )
    opening.add_arguments(parser)
    speech.add_arguments(parser)
    devices = parser.add_argument_group("devices (these need the extra 'audio')")
    devices.add_argument(
        "--input-device",
        type=_device,
        metavar="NAME",
        help="the microphone: a part of its name, or its number",
    )
    devices.add_argument(
        "--output-device", type=_device, metavar="NAME", help="the speaker: a part of its name, or its number"
    )
    devices.add_argument(
        "--echo",
        choices=["cancel", "half-duplex", "off"],
        help="what to do about the speaker's echo: cancel it (the default if the extra 'aec' is installed), "
        "send silence while the speaker plays, or nothing",
    )
    devices.add_argument(
        "--noise-suppression",
        type=int,
        nargs="?",
        const=12,
        default=0,
        choices=NOISE_LEVELS,
        metavar="DB",
        help="suppress noise by 6, 12, 18 or 21 dB (extra 'aec'; without a number: 12)",
    )
    devices.add_argument("--list-devices", action="store_true", help="list the devices and leave")
    files = parser.add_argument_group("audio files, in place of devices")
    files.add_argument("--input", metavar="FILE", help="what you say; once it is answered, the talk is over")
    files.add_argument("--output", metavar="FILE.wav", help="where to put what is played of the model")
    files.add_argument(
        "--pace",
        choices=["realtime", "fast"],
        default="realtime",
        help="how fast --input is sent (default: %(default)s)",
    )


def _device(name: str) -> int | str:
    return int(name) if name.isdecimal() else name


def run(options: argparse.Namespace) -> int:
    """Talk until the file is answered, the session ends, or Ctrl-C."""
    if options.list_devices:
        return _list_devices()
    if options.input is not None:
        check_input(options.input)
    if options.output is not None:
        check_output(options.output, options.input)
    with (
        _speaker(options) as speaker,
        opening.opener(options, realtime_pace=True) as open_session,
        open_session(options.model) as session,
    ):
        return _talk(session, speaker, options)


def _talk(
    session: Session,
    speaker: FileOutput | Speaker,
    options: argparse.Namespace,
) -> int:
    detects = detects_turns(session.config)
    damage: list[str] = []
    microphone = _microphone(session, speaker, options, detects, damage)
    dialogue = Dialogue(transcribes=bool(options.transcription))
    assistant = Assistant(
        session,
        microphone=microphone,
        speaker=speaker,
        instructions=options.instructions,
        transcription=options.transcription or None,
        visitors=[dialogue],
        **_settings(options),
    )
    dialogue.playback = assistant.playback
    assistant.visitor = whole = WholeEvents(assistant.visitor)

    def failure() -> Exception | None:
        """Return what is wrong with the devices or the files."""
        played = assistant.playback.failure if assistant.playback else None
        return microphone.failure or getattr(speaker, "failure", None) or played

    ending = Ending(session, microphone, dialogue, detects=detects, failure=failure)
    try:
        with _controls(assistant, microphone, dialogue, options), ending, whole.ctrl_c():
            assistant.run()
        dialogue.settled()
    except KeyboardInterrupt:
        streams.discard_if_stuck()
        speaker.clear()  # what was not heard is not to be in the file
        session.close(timeout=HASTE)  # first: nothing is told to a server that may take nothing any more
        dialogue.stop(assistant.interrupt())
        raise
    finally:
        dialogue.close()
    problem = failure() or ending.problem
    problems = [*damage, *([] if problem is None else [problem])]
    for text in problems:
        complain(text)
    return status.INCOMPLETE if problems or dialogue.failed else status.DONE


def _controls(
    assistant: Assistant,
    microphone: FileMicrophone | Microphone,
    dialogue: Dialogue,
    options: argparse.Namespace,
) -> contextlib.AbstractContextManager[None]:
    """Return what the user of a microphone sees and can do while it lasts."""
    if isinstance(microphone, FileMicrophone):
        return contextlib.nullcontext()
    on_enter(assistant.interrupt)
    shown = meter.can_show() and not options.verbose  # the log would be written over it
    line = meter.Meter(lambda: microphone.level, dialogue.speaker, shown=shown)
    dialogue.alone = line.hidden
    return line


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"audio": {"output": {"voice": options.voice}}} if options.voice else {}


def _list_devices() -> int:
    devices = list_devices()
    for device in devices:
        print(device)
    if not devices:
        complain("this machine has no audio devices")
    return status.DONE if devices else status.INCOMPLETE


def _speaker(options: argparse.Namespace) -> FileOutput | Speaker:
    return FileOutput(options.output) if options.output is not None else Speaker(options.output_device)


def _microphone(
    session: Session,
    speaker: FileOutput | Speaker,
    options: argparse.Namespace,
    detects: bool | None,
    damage: list[str],
) -> FileMicrophone | Microphone:
    if options.input is not None:
        # Where nothing looks for the end of a turn, the silence would only be a part of it.
        tail = 0.0 if detects is False else _TAIL
        return FileMicrophone(
            session,
            options.input,
            pace=options.pace,
            trailing_silence=tail,
            on_problem=damage.append,
        )
    echo = _echo(speaker, options)
    microphone = Microphone(
        session,
        options.input_device,
        echo=echo,
        speaker=None if echo == "off" else speaker,
        noise_suppression=options.noise_suppression or False,
    )
    hint(_HINTS[echo])
    return microphone


def _echo(speaker: FileOutput | Speaker, options: argparse.Namespace) -> EchoMode:
    """Return what to do about the echo, of which a file has none."""
    if not isinstance(speaker, Speaker):
        return "off"
    chosen: EchoMode | None = options.echo
    return chosen or ("cancel" if can_cancel() else "off")
