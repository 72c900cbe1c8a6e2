"""The command line: ``python -m realtime_sync chat``, ``talk``, ``transcribe`` and ``serve``.

Also installed as ``realtime-sync``.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from . import __version__
from .cli.chat import chat
from .cli.cues import FORMATS
from .cli.opening import MODEL
from .cli.screen import complain
from .cli.serve import serve
from .cli.talk import talk
from .cli.transcribe import transcribe
from .exceptions import RealtimeError

__all__ = ["main"]

_TRANSCRIBER = "gpt-4o-transcribe"
_FAILED, _INTERRUPTED, _UNHEARD = 2, 130, 141  # exit statuses
_LIFETIME = 3600.0  # seconds that a session may last, as OpenAI's


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0, 1 = not all of it could be done, 2 = nothing could, 130 = interrupted, 141 = nobody reads the output.
    """
    _replace_closed_streams()
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # in a program that has put something else there
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # not every text fits each terminal
    try:
        status: int = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return _UNHEARD
    except (RealtimeError, OSError, ValueError, OverflowError, ImportError) as error:
        complain(_described(error))
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _replace_closed_streams() -> None:
    """Let the output go nowhere that was closed before we began, as by ``>&-``: Python has none then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the end)


def _forget_output() -> None:
    """Let what is left for stdout go nowhere, so that Python doesn't complain about it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="realtime-sync", description="Talk to Realtime servers, or be one.")
    parser.add_argument("--version", action="version", version=f"realtime-sync {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_chat(commands.add_parser("chat", help="chat with a model in text"))
    _add_talk(
        commands.add_parser("talk", help="talk with a model by microphone and speaker, or by sound files")
    )
    _add_transcribe(commands.add_parser("transcribe", help="write down what is said in sound files"))
    _add_serve(commands.add_parser("serve", help="run the local Realtime server until Ctrl-C"))
    return parser


def _add_server(command: argparse.ArgumentParser) -> None:
    """Which server to use."""
    command.add_argument("--local", action="store_true", help="use a local server, started for this command")
    command.add_argument("--base-url", metavar="URL", help="default: OPENAI_BASE_URL, or OpenAI's")


def _add_chat(chat_: argparse.ArgumentParser) -> None:
    chat_.add_argument("prompt", nargs="*", help="what to ask; without it, you are asked for prompts")
    chat_.add_argument("--model", default=MODEL, help="default: %(default)s")
    _add_server(chat_)
    chat_.set_defaults(command=chat)


def _add_talk(talk_: argparse.ArgumentParser) -> None:
    talk_.description = (
        "Talk with a model.  Just speak, also while it speaks: it stops, and knows how far you heard it. "
        "Use headphones, or it may hear itself.  Ctrl-C ends it."
    )
    talk_.add_argument("--model", default=MODEL, help="default: %(default)s")
    talk_.add_argument("--instructions", metavar="TEXT", help="for the model")
    talk_.add_argument("--voice", help="of the model, such as marin or cedar")
    talk_.add_argument(
        "--transcription",
        metavar="MODEL",
        default="gpt-4o-mini-transcribe",
        help='writes down what you say (default: %(default)s; "" = nothing does)',
    )
    _add_server(talk_)
    devices = talk_.add_argument_group("devices (these need the extra 'audio')")
    devices.add_argument(
        "--input-device",
        type=_device,
        metavar="NAME",
        help="the microphone: a part of its name, or its number",
    )
    devices.add_argument(
        "--output-device", type=_device, metavar="NAME", help="the speaker: a part of its name, or its number"
    )
    devices.add_argument("--list-devices", action="store_true", help="list them, and leave")
    files = talk_.add_argument_group("sound files, in place of devices")
    files.add_argument("--input", metavar="FILE", help="what you say; when it is answered, the talk is over")
    files.add_argument("--output", metavar="FILE.wav", help="where to put what is heard of the model")
    files.add_argument("--pace", choices=["realtime", "fast"], default="realtime", help="of --input")
    talk_.set_defaults(command=talk)


def _device(name: str) -> int | str:
    return int(name) if name.isdecimal() else name


def _add_transcribe(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Write down what is said in sound files: WAV, or whatever ffmpeg reads if that is installed. "
        "The transcripts go to stdout, all else to stderr.  Of several files, srt and vtt are one film, "
        "in which each begins where the last one ended; the times of json are those in each file."
    )
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--format", choices=list(FORMATS), default="text", help="default: %(default)s")
    command.add_argument("--language", metavar="CODE", help="that is spoken, such as en or de")
    command.add_argument(
        "--model",
        default=_TRANSCRIBER,
        help="that hears (default: %(default)s; ...-diarize names the speakers)",
    )
    command.add_argument(
        "--intent",
        choices=["conversation", "transcription"],
        default="conversation",
        help="the kind of session: an ordinary one that is told not to answer, which every server has "
        "(the default), or one only for transcription",
    )
    command.add_argument(
        "--session-model",
        metavar="MODEL",
        help=f"that the session is opened with (default: {MODEL}, or none with --intent transcription)",
    )
    command.add_argument(
        "--pace", choices=["fast", "realtime"], default="fast", help="of sending (default: %(default)s)"
    )
    _add_server(command)
    command.set_defaults(command=transcribe)


def _add_serve(serve_: argparse.ArgumentParser) -> None:
    serve_.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve_.add_argument("--port", type=int, default=8765, help="default: %(default)s; 0 = a free one")
    serve_.add_argument("--delay", type=float, default=0.0, help="seconds between deltas (default: 0)")
    serve_.add_argument(
        "--realtime-pace", action="store_true", help="take as long over a response as a live server would"
    )
    serve_.add_argument("--api-key", metavar="KEY", help="let in only who has this key (default: everyone)")
    serve_.add_argument(
        "--lifetime",
        type=float,
        default=_LIFETIME,
        metavar="SECONDS",
        help="of a session (default: %(default)g)",
    )
    serve_.add_argument("--sunset-beta", action="store_true", help="send Beta clients away, as OpenAI does")
    serve_.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="what goes wrong, such as close:events=3,code=4000 or unknown:every=5; may be repeated",
    )
    serve_.set_defaults(command=serve)


if __name__ == "__main__":
    sys.exit(main())
