"""`main`: the commands, and their arguments."""

import subprocess
import sys

import pytest
from command import ROOT, TIMEOUT, call

import realtime_sync as rt
from realtime_sync.cli.main import COMMANDS


def test_version() -> None:
    """`--version` says which version this is."""
    assert call("--version") == (0, f"realtime-sync {rt.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    """The help names all commands; that of a command describes each of its arguments."""
    status, out, err = call("--help")
    assert (status, err) == (0, "")
    assert COMMANDS[command] in " ".join(out.split())
    status, out, err = call(command, "--help")
    assert (status, err, out.startswith(f"usage: realtime-sync {command} ")) == (0, "", True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["--nothing", "chat"], "unrecognized arguments"),
        (["chat", "--nothing"], "unrecognized arguments: --nothing"),
        (["talk", "--pace", "slow"], "invalid choice: 'slow'"),
        (["transcribe"], "FILE"),
        (["transcribe", "--format", "pdf", "x.wav"], "invalid choice: 'pdf'"),
        (["serve", "--port", "http"], "expected a port from 0 to 65535, got 'http'"),
        (["serve", "--port", "70000"], "expected a port from 0 to 65535, got '70000'"),
    ],
)
def test_arguments_that_can_not_be_used(arguments: list[str], says: str) -> None:
    """Arguments that can't be used are named on stderr, with the usage; the status is 2."""
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: realtime-sync")
    assert says in err


def test_each_command_loads_what_it_needs() -> None:
    """A command imports neither the others nor what only those need; a text chat needs no audio."""
    code = (
        "import sys; from realtime_sync.cli.main import main\n"
        "try: main(['chat', '--help'])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT, check=True
    )
    loaded = {name.removeprefix("realtime_sync.") for name in shown.stderr.split()}
    assert "cli.chat" in loaded
    unwanted = ("talk", "transcribe", "serve")
    assert loaded.isdisjoint({f"cli.{name}" for name in unwanted} | {"voice", "sound", "local", "rest"})
