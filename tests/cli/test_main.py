"""`main`: the commands, and their arguments."""

import logging
import subprocess
import sys

import pytest
from command import ROOT, TIMEOUT, call, run
from scripted import CREATED, Caller, ScriptedServer
from transcripts import response

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


HALF = '{"type":"response.output_text.delta","delta":"Hi"}'
LINES = {
    "": set(),
    "-v": {"INFO session", "WARNING the"},
    "-vv": {"INFO session", "WARNING the", "DEBUG sent", "DEBUG received"},
}


@pytest.mark.parametrize("asked", LINES)
def test_the_log(asked: str) -> None:
    """A command shows nothing of the log; with -v on stderr what it has at INFO, with -vv all of it."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, "rubbish")
        while caller.read_event()["type"] != "response.create":
            pass
        caller.text(HALF, response("done"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        status, out, err = run("chat", "--base-url", server.url, *asked.split(), "hello")
    assert (status, out) == (0, "Hi\n")
    assert all(" realtime_sync: " in line for line in err.splitlines())
    words = {" ".join(line.replace("realtime_sync: ", "").split()[:2]) for line in err.splitlines()}
    assert words == LINES[asked]
    assert err.count("not an event: not JSON, in rubbish") == (1 if asked else 0)


@pytest.mark.parametrize("asked", LINES)
def test_the_log_is_as_before(asked: str) -> None:
    """A program that calls a command has its own log as it was, afterwards."""
    log = logging.getLogger("realtime_sync")
    before = (log.level, list(log.handlers))
    assert call("chat", "--local", *asked.split(), "hello")[0] == 0
    assert (log.level, log.handlers) == before


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
    unwanted = {*(f"cli.{name}" for name in ("talk", "transcribe", "serve")), "voice", "local", "rest"}
    assert loaded.isdisjoint(unwanted)
    assert {name for name in loaded if name.startswith("sound.")} <= {"sound.formats"}
