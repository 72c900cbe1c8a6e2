"""``chat``: a conversation in text."""

import contextlib
import io
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from command import TIMEOUT, AtTerminal, Terminal, call, run, start, status_of, streams
from scripted import CREATED, Caller, ScriptedServer, delta, error
from transcripts import response, updated

from realtime_sync import events as ev
from realtime_sync.testing import RealtimeServer

SAID = 'You said "{}" to a local server. It knows nothing, but it can count: {}.\n'


def after_the_prompt(*frames: str, then: Callable[[Caller], object] = Caller.serve_until_closed) -> Any:
    """A server that answers each response.create with these frames."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        read_prompt(caller)
        caller.text(*frames)
        then(caller)

    return ScriptedServer(script)


def read_prompt(caller: Caller) -> None:
    """Take what comes until a response is asked for, and accept the settings."""
    while (event := caller.read_event())["type"] != "response.create":
        if event["type"] == "session.update":
            caller.text(updated())


# --- Prompts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stdin", ["", "a\r\n\nb\n"])
def test_a_prompt(stdin: str) -> None:
    """The words of the arguments are the prompt; what is piped in stands below it, after a blank line."""
    with RealtimeServer() as server:
        status, out, err = call("chat", "--base-url", server.url, "re", "view this", stdin=stdin)
        [item] = [event.item for event in server.received_of(ev.ConversationItemCreate)]
    prompt = "re view this" + ("\n\n" + stdin.strip() if stdin else "")
    assert item == ev.Message(role="user", content=[ev.InputText(text=prompt)])
    assert (status, err) == (0, "")
    assert out == SAID.format(prompt.replace("\r\n", "\n"), "5 words" if stdin else "3 words")


def test_all_of_stdin() -> None:
    """`-` makes all of stdin the prompt, which may be any bytes, and is UTF-8 in any locale."""
    stdin = b"\xef\xbb\xbfeins\n\nzw\xc3\xb6lf \xff\n"
    shown = call("chat", "--local", "-", stdin=stdin, encoding="cp1252")
    assert shown == (0, SAID.format("eins\n\nzwölf \ufffd", "3 words"), "")


def test_lines() -> None:
    """Without a prompt, each line of stdin that is not blank is one; nothing but the answers is printed."""
    shown = call("chat", "--local", stdin="first question\n \nsecond\n")
    assert shown == (0, SAID.format("first question", "2 words") + SAID.format("second", "1 word"), "")
    assert call("chat", "--local", stdin="") == (0, "", "")


@pytest.mark.parametrize("arguments", [[""], ["-"], ["", " "]])
def test_no_prompt(arguments: list[str]) -> None:
    """An empty prompt is no prompt: one line, and no server is connected to."""
    status, out, err = call("chat", "--base-url", "ws://127.0.0.1:1/v1", *arguments, stdin="\n")
    assert (status, out, err) == (2, "", "realtime-sync: expected a prompt, got an empty one\n")


def test_a_person_is_asked() -> None:
    """At a terminal, a person is asked for prompts until Ctrl-D; what went wrong is not held against them."""
    banner = "Ctrl-C stops an answer, Ctrl-D leaves.\n"
    shown = call("chat", "--local", stdin="one\n\n two \n", terminal="stdin stdout")
    assert shown == (
        0,
        f"{banner}> {SAID.format('one', '1 word')}> > {SAID.format('two', '1 word')}> \n",
        "",
    )
    with after_the_prompt(error("no such model")) as server:
        status, _, err = call("chat", "--base-url", server.url, stdin="hi\n", terminal="stdin stdout")
    assert (status, err) == (0, "realtime-sync: no such model\n")


def test_a_person_whose_output_is_a_file() -> None:
    """Nothing but answers is in a file, also when a person types the prompts."""
    shown = call("chat", "--local", stdin="one\n", terminal="stdin")
    assert shown == (0, SAID.format("one", "1 word"), "")


def test_at_a_terminal() -> None:
    """The program at a real terminal: it asks, answers as it goes, and leaves."""
    chat = AtTerminal("chat", "--local")
    chat.wait_for("> ")
    chat.type("hello\n")
    chat.wait_for("1 word.\n> ")
    chat.type("\x04")  # Ctrl-D
    status, shown = chat.end()
    assert (status, shown.splitlines()[1]) == (0, "> " + SAID.format("hello", "1 word").strip())


def test_in_a_pipe() -> None:
    """The program in a pipe, in a locale that knows no UTF-8: `git diff | realtime-sync chat "review"`."""
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    shown = run("chat", "--local", "review", stdin="+你好\n", **environment)
    assert shown == (0, SAID.format("review\n\n+你好", "2 words"), "")


def test_text_cut_inside_a_character() -> None:
    """An emoji that the server cuts in two is printed whole, and the server's ways are not complained of."""
    frames = [delta("so "), delta("\ud83d"), '{"type":"brand.new"}', "rubbish", delta("\ude00!")]
    with after_the_prompt(*frames, response("done")) as server:
        shown = run("chat", "--base-url", server.url, "hello")
    assert shown == (0, "so \U0001f600!\n", "")


@pytest.mark.parametrize("terminal", ["", "stdout stderr"])
def test_what_a_server_may_not_do(terminal: str) -> None:
    """No answer moves the cursor, turns letters around or overwrites a line; line breaks and tabs stay."""
    frames = [
        delta("so\x1b"),
        delta("[2J\t\x9b\u202e\r"),
        delta("\nor\r"),
        delta("so 👩\u200d👧"),
        error("\x1b\n"),
    ]
    with after_the_prompt(*frames, response("done")) as server:
        status, out, err = call("chat", "--base-url", server.url, "hello", terminal=terminal)
    assert (status, out) == (0, "so\\x1b[2J\t\\x9b\\u202e\nor\nso 👩\u200d👧\n")
    assert err == "realtime-sync: \\x1b\\n\n"


# --- The worst status --------------------------------------------------------------------------------


def test_the_worst_status() -> None:
    """When one of several prompts fails, the others are answered, and the status tells."""
    ends = iter([response("done"), response("done", status="failed"), response("done")])

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        for end in ends:
            read_prompt(caller)
            caller.text(response("created"), delta("So.").replace("resp_1", "r"), end)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        status, out, err = call("chat", "--base-url", server.url, stdin="one\ntwo\nthree\n")
    assert (status, out) == (1, "So.\nSo.\nSo.\n")
    assert err == "realtime-sync: the response is failed\n"


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (
            response("done", status="failed", status_details={"type": "failed", "reason": "x"}),
            "the response is failed: x",
        ),
        (
            response("done", status="incomplete", status_details={"reason": "max_output_tokens"}),
            "the response is incomplete: max_output_tokens",
        ),
        (response("done", status="cancelled"), "the response is cancelled"),
    ],
)
def test_no_answer(frame: str, says: str) -> None:
    """When there is no whole answer, the reason is said and the status is 1."""
    with after_the_prompt(delta("So"), frame) as server:
        shown = call("chat", "--base-url", server.url, "hi")
    assert shown == (1, "So\n", f"realtime-sync: {says}\n")


@pytest.mark.parametrize(("message", "code"), [("no such model", None), ("", "bad_code")])
def test_the_prompt_is_rejected(message: str, code: str | None) -> None:
    """An error before the answer has begun is the reason why there is none."""
    with after_the_prompt(error(message, code)) as server:
        shown = call("chat", "--base-url", server.url, "hi")
    assert shown == (1, "\n", f"realtime-sync: {message or code}\n")


def test_an_error_in_the_middle() -> None:
    """An error in the middle of an answer that goes on is shown, and the answer is whole."""
    frames = [delta("So "), error("a tool is gone"), delta("it is."), response("done")]
    with after_the_prompt(*frames) as server:
        shown = call("chat", "--base-url", server.url, "hi")
    assert shown == (0, "So it is.\n", "realtime-sync: a tool is gone\n")


def test_the_server_leaves() -> None:
    """When the server closes normally without an answer, that is said."""
    with after_the_prompt(then=lambda caller: caller.close(1000)) as server:
        status, _, err = call("chat", "--base-url", server.url, "hi")
    assert (status, err) == (1, "realtime-sync: the server ended the session\n")


# --- Ctrl-C ------------------------------------------------------------------------------------------


class Interrupting(io.StringIO):
    """A stdout at which Ctrl-C is pressed as soon as it shows one of these texts."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self._texts = list(texts)

    def write(self, text: str) -> int:
        super().write(text)
        if text in self._texts:
            self._texts.remove(text)
            signal.raise_signal(signal.SIGINT)
        return len(text)


def cancelled(*frames: str) -> Any:
    """A server that says something, waits for a cancel, and then sends these frames."""

    def script(caller: Caller) -> None:
        assert caller.read_event()["type"] == "response.cancel"
        caller.text(*frames)
        caller.serve_until_closed()

    return after_the_prompt(delta("Well, "), then=script)


def test_ctrl_c_cancels_the_response() -> None:
    """Ctrl-C cancels the running response of the program, whose end is waited for."""
    with cancelled(delta("I"), response("done", status="cancelled")) as server:
        process = start("chat", "--base-url", server.url, "hi")
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.stdout is not None
        assert process.stdout.read(6) == "Well, "
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "I\n", "")


def test_a_second_ctrl_c_leaves() -> None:
    """A second Ctrl-C leaves, without waiting for a server that does not react."""
    out = Interrupting("Well, ", "still ")
    with cancelled(delta("still ")) as server, streams(stdin=None, stdout=out):
        assert status_of(("chat", "--base-url", server.url, "hi")) == 130
    assert out.getvalue() == "Well, still "


def test_ctrl_c_ends_the_lines() -> None:
    """Ctrl-C in one of several piped prompts cancels its answer, and asks no further one."""
    out = Interrupting("Well, ")
    stdin = io.TextIOWrapper(io.BytesIO(b"one\ntwo\n"))
    with (
        cancelled(response("done", status="cancelled")) as server,
        streams(stdin=stdin, stdout=out),
    ):
        assert status_of(("chat", "--base-url", server.url)) == 130
    assert out.getvalue() == "Well, \n"


def test_ctrl_c_and_a_person() -> None:
    """At a terminal the cancelled answer is marked, and the next prompt is asked for."""

    class Shown(Interrupting):
        def isatty(self) -> bool:
            return True

    out = Shown("Well, ")
    stdin = Terminal(io.BytesIO(b"one\n"))
    with (
        cancelled(response("done", status="cancelled")) as server,
        streams(stdin=stdin, stdout=out),
    ):
        assert status_of(("chat", "--base-url", server.url)) == 0
    assert out.getvalue().endswith("> Well,  [cancelled]\n> \n")


def test_ctrl_c_at_the_prompt() -> None:
    """Ctrl-C while no response is running leaves."""

    class Typed(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

        def readline(self, size: int = -1) -> str:  # type: ignore[override]
            signal.raise_signal(signal.SIGINT)
            return super().readline(size)

    with contextlib.closing(Typed(io.BytesIO(b"hi\n"))) as stdin, streams(stdin=stdin, stdout=io.StringIO()):
        assert status_of(("chat", "--local")) == 130
        assert isinstance(sys.stdout, io.StringIO)
        assert sys.stdout.getvalue() == ""
