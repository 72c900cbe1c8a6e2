"""The exit statuses: every command under every end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, TIMEOUT, call, press_ctrl_c, start, status_of, streams
from scripted import CREATED, Caller, ScriptedServer, delta, error
from tones import tone
from transcripts import INPUT, completed, event_frame, response, turn, updated, wav, words

from realtime_sync.cli import status

Then = Callable[[Caller], object]


def gone(caller: Caller) -> None:
    caller.reset()


def closes(code: int) -> Then:
    return lambda caller: caller.close(code)


stays = Caller.serve_until_closed
REASON: dict[str, Any] = {"status_details": {"type": "x", "reason": "y"}}
HEARD = [*turn("a", 0, 900), completed("a", "Hi.")]
BEGUN = [*HEARD, response("created"), words("So")]
NOT_HEARD = event_frame(INPUT + "failed", item_id="a", error={"code": "noise"})

# The last event before the answer, of each command.
ASKED = {
    "chat": ("response.create", 1),
    "talk": ("input_audio_buffer.append", 1),
    "transcribe": ("session.update", 2),
}

ENDS: list[tuple[str, str, list[str], Then, int]] = [
    ("chat", "completed", [delta("So"), response("done")], stays, status.DONE),
    ("chat", "failed", [response("done", status="failed", **REASON)], stays, status.INCOMPLETE),
    ("chat", "incomplete", [response("done", status="incomplete", **REASON)], stays, status.INCOMPLETE),
    ("chat", "cancelled", [response("done", status="cancelled", **REASON)], stays, status.INCOMPLETE),
    ("chat", "error", [error("no")], stays, status.INCOMPLETE),
    ("chat", "1000", [delta("So")], closes(1000), status.INCOMPLETE),
    ("chat", "1011", [delta("So")], closes(1011), status.FAILED),
    ("chat", "lost", [delta("So")], gone, status.FAILED),
    ("talk", "completed", [*BEGUN, response("done")], stays, status.DONE),
    ("talk", "failed", [*BEGUN, response("done", status="failed", **REASON)], stays, status.INCOMPLETE),
    ("talk", "incomplete", [*BEGUN, response("done", status="incomplete")], stays, status.INCOMPLETE),
    ("talk", "cancelled", [*BEGUN, response("done", status="cancelled")], stays, status.DONE),
    ("talk", "error", [*BEGUN, error("no"), response("done")], stays, status.INCOMPLETE),
    ("talk", "1000", BEGUN, closes(1000), status.INCOMPLETE),
    ("talk", "1011", BEGUN, closes(1011), status.FAILED),
    ("talk", "lost", BEGUN, gone, status.FAILED),
    ("transcribe", "completed", [*HEARD, updated()], stays, status.DONE),
    ("transcribe", "failed", [*turn("a", 0, 900), NOT_HEARD, updated()], stays, status.INCOMPLETE),
    ("transcribe", "error", [*HEARD, error("no"), updated()], stays, status.INCOMPLETE),
    ("transcribe", "1000", [*turn("a", 0, 900)], closes(1000), status.INCOMPLETE),
    ("transcribe", "1011", [*turn("a", 0, 900)], closes(1011), status.INCOMPLETE),
    ("transcribe", "lost", [*turn("a", 0, 900)], gone, status.INCOMPLETE),
]


def after(command: str, *frames: str, then: Then) -> ScriptedServer:
    """A server that is asked by a command, and then says this."""
    kind, times = ASKED[command]

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        left = times
        while left:
            event = caller.read_event()
            if event["type"] == kind:
                left -= 1
            if event["type"] == "session.update" and (left or command == "chat"):
                caller.text(updated())
        caller.text(*frames)
        then(caller)

    return ScriptedServer(script)


@pytest.fixture
def given(question: str, output: str) -> dict[str, list[str]]:
    """What makes each command do something."""
    return {
        "chat": ["hi"],
        "talk": ["--pace", "fast", "--input", question, "--output", output],
        "transcribe": [question],
    }


@pytest.mark.parametrize(
    ("command", "end", "frames", "then", "expected"), ENDS, ids=[f"{case[0]}-{case[1]}" for case in ENDS]
)
def test_ends(
    command: str, end: str, frames: list[str], then: Then, expected: int, given: dict[str, Any], calm: None
) -> None:
    """Each end has its status; what is missing is said in one line on stderr, and nothing if nothing is."""
    with after(command, *frames, then=then) as server:
        ended, out, err = call(command, "--base-url", server.url, *given[command])
    assert ended == expected
    assert len(err.splitlines()) == (1 if expected else 0)
    assert not out.startswith("realtime-sync:")


@pytest.mark.parametrize("command", ["chat", "talk", "transcribe"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://127.0.0.1:1/v1", "127.0.0.1:1"),
        ("ws://nowhere.invalid/v1", "nowhere.invalid"),
        ("ftp://x", "base_url"),
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        (None, "add --local"),
    ],
)
def test_no_session(command: str, url: str | None, says: str, given: dict[str, list[str]]) -> None:
    """A refused connection, an unknown host, no address, no key: one helpful line and status 2."""
    server = [] if url is None else ["--base-url", url]
    ended, out, err = call(command, *server, *given[command])
    assert (ended, out, len(err.splitlines())) == (status.FAILED, "", 1)
    assert says in err
    assert err.startswith("realtime-sync: ")


@pytest.mark.parametrize("command", ["talk", "transcribe"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("folder", "Is a directory"),
        (b"", "empty"),
        (b"Dear diary", "Invalid data"),
    ],
)
def test_files_that_can_not_be_read(
    command: str, content: bytes | str | None, says: str, output: str, tmp_path: Path
) -> None:
    """A missing file, a folder, an empty file, a text: one line that names it, and status 2."""
    path = tmp_path / "input.wav"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    files = ["--input", str(path), "--output", output] if command == "talk" else [str(path)]
    ended, out, err = call(command, "--base-url", "ws://127.0.0.1:1/v1", *files)
    assert (ended, out, len(err.splitlines())) == (status.FAILED, "", 1)
    assert str(path) in err
    assert says in err


@pytest.mark.parametrize("command", ["chat", "talk", "transcribe"])
def test_ctrl_c(command: str, tmp_path: Path, output: str, given: dict[str, list[str]]) -> None:
    """Ctrl-C while the server is silent: status 130, and not a word."""
    path = wav(tmp_path / "long.wav", tone(1000) * 60)

    def presses(caller: Caller) -> None:
        press_ctrl_c()
        while (message := caller.read_message())[0] == 1:
            if b"response.cancel" in message[1]:
                caller.text(response("done", status="cancelled"))
        caller.frame(8, message[1])

    files = {
        "chat": ["hi"],
        "talk": ["--input", path, "--output", output],
        "transcribe": ["--pace", "realtime", path],
    }
    kind = "input_audio_buffer.append"

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while (event := caller.read_event())["type"] not in (kind, "response.create"):
            if event["type"] == "session.update":
                caller.text(updated())
        if event["type"] == kind:
            caller.read_event()  # a tenth of a second later
        presses(caller)

    with ScriptedServer(script) as server:
        ended, out, err = call(command, "--base-url", server.url, *files[command])
    assert (ended, out.strip(), err) == (status.INTERRUPTED, "", "")


# --- The output --------------------------------------------------------------------------------------


def answered(command: str) -> ScriptedServer:
    [frames] = [case[2] for case in ENDS if case[:2] == (command, "completed")]
    return after(command, *frames, then=stays)


@pytest.mark.parametrize("command", ["chat", "talk", "transcribe", "serve"])
def test_closed_output(
    command: str, given: dict[str, list[str]], calm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """When stdout is closed early, as by `head`, it ends without a word, as programs do."""
    reading, writing = os.pipe()
    os.close(reading)
    with streams(stdin=None, stdout=open(writing, "w")):
        try:
            if command == "serve":
                assert status_of(("serve", "--port", "0")) == status.CLOSED_OUTPUT
            else:
                with answered(command) as server:
                    arguments = (command, "--base-url", server.url, *given[command])
                    assert status_of(arguments) == status.CLOSED_OUTPUT
        finally:
            sys.stdout.close()  # without an error: what was left has gone nowhere
    assert capsys.readouterr().err == ""


def test_closed_output_of_the_program() -> None:
    """The same of the program: Python doesn't complain at its exit either."""
    process = start("chat", "--local", "hello")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(TIMEOUT)) == ("", status.CLOSED_OUTPUT)
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk() -> None:
    """Output that can't be written is said in one line, and by the status of the program."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "realtime_sync", "chat", "--local", "hi"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert ended.returncode == status.FAILED
    assert ended.stderr == "realtime-sync: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "arguments", "expected"),
    [
        ("2>&-", ["chat", "--local", "hi"], (status.DONE, True)),
        (">&- 2>&- <&-", ["chat", "--local", "hi"], (status.DONE, False)),
        (">&- 2>&-", ["nothing"], (status.FAILED, False)),
    ],
)
def test_closed_streams(closed: str, arguments: list[str], expected: tuple[int, bool]) -> None:
    """Streams that were closed from the beginning are none, and nothing goes where it doesn't belong."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "realtime_sync", *arguments]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (ended.returncode, ended.stdout.startswith('You said "hi"')) == expected
    assert ended.stderr == ""


def test_a_file_gets_utf_8(tmp_path: Path) -> None:
    """The program writes UTF-8 into a file, whatever the locale says."""
    with open(tmp_path / "out.txt", "wb") as out:
        ended = subprocess.run(
            [sys.executable, "-m", "realtime_sync", "chat", "--local", "你好"],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "cp1252"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            timeout=TIMEOUT,
            check=False,
        )
    assert ended.returncode == status.DONE
    assert 'You said "你好"' in (tmp_path / "out.txt").read_text(encoding="utf-8")
