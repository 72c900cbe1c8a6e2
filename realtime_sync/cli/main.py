"""`main`: from the arguments of the command line to an exit status."""

import argparse
import contextlib
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence

from .. import __version__
from ..exceptions import RealtimeError
from . import status, streams
from .screen import complain

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "chat": "chat with a model in text",
    "talk": "talk with a model by microphone and speaker, or by audio files",
    "transcribe": "write down what is said in audio files",
    "demo": "hold a spoken talk with a local server that hears and speaks, without a key",
    "serve": "run the local Realtime server until Ctrl-C",
}
"""Each command and what ``--help`` says of it.  Its module is imported only when it is used."""

_STATUSES = (
    "Exit status: 0 = done; 1 = not all of it could be done; 2 = the command could not begin, or was broken "
    "off; 130 = Ctrl-C; 141 = the reader of stdout is gone.  Results go to stdout, everything else to stderr."
)

_VERBOSE = "show the log on stderr: sessions, warnings, how the server deviates; -vv: each event too"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; see `status`.

    Args:
        arguments: Those of the command line; ``None`` = those of the process.

    Raises:
        SystemExit: By ``--help`` and ``--version`` with 0, by arguments that can't be used with 2.
    """
    streams.prepare()
    try:
        ended = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        ended = status.CLOSED_OUTPUT
    except (RealtimeError, OSError, ValueError, OverflowError, ImportError) as error:
        with contextlib.suppress(OSError):  # stderr may be closed too
            complain(_described(error))
        ended = status.FAILED
    except KeyboardInterrupt:
        streams.discard_if_stuck()
        ended = status.INTERRUPTED
    streams.flush_or_discard()
    return ended


def _run(arguments: Sequence[str]) -> int:
    options = _parser(arguments).parse_args(arguments)
    with _logging(options.verbose):
        ended: int = options.run(options)
    return ended


@contextlib.contextmanager
def _logging(verbosity: int) -> Iterator[None]:
    """While this lasts, write the log to stderr if that is asked for, else nowhere."""
    log = logging.getLogger("realtime_sync")
    level = log.level
    handler = logging.StreamHandler() if verbosity else logging.NullHandler()
    if verbosity:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        log.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows the arguments of the command that is named, and the names of the others."""
    parser = argparse.ArgumentParser(
        prog="realtime-sync", description="Talk to Realtime servers, or be one.", epilog=_STATUSES
    )
    parser.add_argument("--version", action="version", version=f"realtime-sync {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, does in COMMANDS.items():
        command = commands.add_parser(name, help=does, description=does[0].upper() + does[1:] + ".")
        if name == named:
            module = importlib.import_module(f".{name}", __package__)
            module.add_arguments(command)
            command.add_argument("-v", "--verbose", action="count", default=0, help=_VERBOSE)
            command.set_defaults(run=module.run)
    return parser
