"""The command line, run as people run it."""

import contextlib
import signal
import subprocess
import sys

import pytest
from command import ROOT, TIMEOUT, run, start
from scripted import CREATED, Caller, ScriptedServer, delta, error

import realtime_sync as rt
from realtime_sync.__main__ import main

DONE = (
    '{"type":"response.done","event_id":"e","response":{"id":"r","status":"%s",'
    '"status_details":{"type":"x","reason":"%s"}}}'
)


def test_chat_with_a_prompt() -> None:
    """`chat --local PROMPT` prints the answer and ends."""
    status, out, err = run("chat", "--local", "Why", "is", "the sky blue?")
    assert (status, err) == (0, "")
    assert "Why is the sky blue?" in out


def test_chat_in_a_loop() -> None:
    """`chat` without a prompt asks for prompts until the end of the input."""
    status, out, err = run("chat", "--local", stdin="first question\n\nsecond question\n")
    assert (status, err) == (0, "")
    assert out.index("first question") < out.index("second question")


def test_serve() -> None:
    """`serve` prints its URL on the first line, serves, and stops cleanly on Ctrl-C."""
    process = start("serve", "--port", "0")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("ws://127.0.0.1:")
    assert "realtime" in run("chat", "--base-url", url, "a realtime question")[1]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")


def test_serve_is_terminated() -> None:
    """`serve` stops cleanly when it is terminated."""
    process = start("serve", "--port", "0")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (0, "")


def test_serve_with_a_key() -> None:
    """`--api-key` lets in only who has it."""
    process = start("serve", "--port", "0", "--api-key", "sk-right")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    status, out, _ = run("chat", "--base-url", url, "hello", OPENAI_API_KEY="sk-right")
    assert (status, "hello" in out) == (0, True)
    status, out, err = run("chat", "--base-url", url, "hello", OPENAI_API_KEY="sk-wrong")
    assert (status, out, "401" in err) == (2, "", True)
    process.terminate()
    process.communicate(timeout=TIMEOUT)


def test_serve_with_faults() -> None:
    """`--fault` makes the server fail as described, also several times over, and the pace can be chosen."""
    faults = ["--fault", "refuse:times=1,status=429", "--fault", "close:events=1,code=4000,reason=why not"]
    process = start("serve", "--port", "0", "--realtime-pace", "--lifetime", "60", "--sunset-beta", *faults)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    with pytest.raises(rt.ConnectionFailed) as failed:
        rt.connect(base_url=url)
    assert failed.value.status == 429
    with rt.connect(base_url=url) as session, pytest.raises(rt.ConnectionClosed) as closed:
        list(session)
    assert (closed.value.code, closed.value.reason) == (4000, "why not")
    process.terminate()
    process.communicate(timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "API key"),
        (["--fault", "flood"], "close, drop, silent"),
        (["--fault", "close:code=4000"], "events="),
        (["--fault", "close:events=1,code=1"], "1000"),
        (["--fault", "delay:seconds"], "FIELD=VALUE"),
    ],
)
def test_serve_refuses(arguments: list[str], says: str) -> None:
    """A host that others can reach without a key, a fault that there isn't: one line and status 2."""
    status, out, err = run("serve", "--port", "0", *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert says in err


def test_a_port_that_is_taken() -> None:
    """`serve` on a port that is taken is one line and status 2."""
    with ScriptedServer(lambda caller: None) as server:
        status, out, err = run("serve", "--port", str(server.port))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "in use" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat", "hi"], "OPENAI_API_KEY"),
        (["chat", "--base-url", "ws://127.0.0.1:1/v1", "hi"], "127.0.0.1:1"),
        (["chat", "--base-url", "ws://nowhere.invalid/v1", "hi"], "nowhere.invalid"),
        (["chat", "--base-url", "ftp://x", "hi"], "base_url"),
    ],
)
def test_no_session(arguments: list[str], says: str) -> None:
    """A missing key, a refused connection, an unknown host: one helpful line and status 2."""
    status, out, err = run(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert err.startswith("realtime-sync: ")


def answer(*frames: str) -> "ScriptedServer":
    """A server that answers the first response with these frames."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "response.create":
            pass
        caller.text(*frames)
        caller.serve_until_closed()

    return ScriptedServer(script)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (error("no such model"), "no such model"),
        (error("", "bad_code"), "bad_code"),
        (DONE % ("failed", "x"), "the response is failed: x"),
        (DONE % ("incomplete", "max_output_tokens"), "the response is incomplete: max_output_tokens"),
        (
            '{"type":"response.done","event_id":"e","response":{"status":"cancelled"}}',
            "the response is cancelled",
        ),
    ],
)
def test_no_answer(frame: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """When there is no whole answer, the reason is said and the status is 1."""
    with answer(delta("So"), frame) as server:
        assert main(["chat", "--base-url", server.url, "hi"]) == 1
    out, err = capsys.readouterr()
    assert out == "So\n"
    assert err == f"realtime-sync: {says}\n"


def test_the_server_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    """When the server closes normally without an answer, that is said."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "response.create":
            pass
        caller.close(1000)

    with ScriptedServer(script) as server:
        assert main(["chat", "--base-url", server.url, "hi"]) == 1
    assert "the server ended the session" in capsys.readouterr().err


def test_ctrl_c_cancels_the_response() -> None:
    """Ctrl-C cancels the running response, whose end is waited for."""
    cancelled: list[str] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "response.create":
            pass
        caller.text(delta("Well, "))
        cancelled.append(caller.read_event()["type"])
        caller.text(delta("I"), DONE % ("cancelled", "client_cancelled"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        process = start("chat", "--base-url", server.url, "hi")
        assert process.stdout is not None
        assert process.stdout.read(6) == "Well, "
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "I [cancelled]\n", "")
    assert cancelled == ["response.cancel"]


def test_a_second_ctrl_c_leaves() -> None:
    """A second Ctrl-C leaves, without waiting for a server that does not react."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "response.create":
            pass
        caller.text(delta("Well, "))
        assert caller.read_event()["type"] == "response.cancel"
        caller.text(delta("still "))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        process = start("chat", "--base-url", server.url, "hi")
        assert process.stdout is not None
        assert process.stdout.read(6) == "Well, "
        process.send_signal(signal.SIGINT)
        assert process.stdout.read(6) == "still "
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (130, "")


def test_ctrl_c_at_the_prompt() -> None:
    """Ctrl-C while no response is running leaves."""
    process = start("chat", "--local")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert process.stdout.read(2) == "> "
    status = None
    while status is None:  # Python's `input` drops one that comes while it writes the prompt
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=1)
    _, err = process.communicate(timeout=TIMEOUT)
    assert (status, err) == (130, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output(closed: str) -> None:
    """Output that was closed from the beginning is none, and nothing goes where it doesn't belong."""
    for arguments, status in ((["transcribe", "--local", "tests/data/question.wav"], 0), (["nothing"], 2)):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "realtime_sync", *arguments]
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert (ended.returncode, "Traceback" in ended.stderr) == (status, False)
        assert ended.stdout == (
            "One point nine seconds of audio.\n" if closed == "2>&-" and not status else ""
        )


def test_local_in_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` can be called from Python: it returns the status and leaves nothing running."""
    assert main(["chat", "--local", "hello"]) == 0
    assert "hello" in capsys.readouterr().out
    prompts = iter(["one", ""])

    def prompt(_: str) -> str:
        try:
            return next(prompts)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", prompt)
    assert main(["chat", "--local"]) == 0
    assert '"one"' in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says which version this is."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"realtime-sync {rt.__version__}\n"
