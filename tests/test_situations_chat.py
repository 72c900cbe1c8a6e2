"""Situations that users of this protocol met, on whatever client: a chat that is stopped, or meets errors."""

import io
import signal
from collections.abc import Callable
from typing import Any

import pytest
from command import Terminal, call, status_of, streams
from response_script import BUSY
from scripted import CREATED, Caller, ScriptedServer
from situations import NOT_ACTIVE, answer, began, ended, error, message, named_by, words
from transcripts import updated

FIELDS = ["code", "type"]  # where a server says what kind of error it is
WELL = "Well, "


class Interrupting(Terminal):
    """A stream at which Ctrl-C is pressed as soon as it is to show a text."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._text: str | None = text
        self.shown = ""

    def write(self, text: str) -> int:
        self.shown += text
        if self._text is not None and self._text in self.shown:
            self._text = None
            signal.raise_signal(signal.SIGINT)
        return len(text)


def until(caller: Caller, kind: str) -> dict[str, Any]:
    """Take what comes until this is sent; accept the settings."""
    while (event := caller.read_event())["type"] != kind:
        if event["type"] == "session.update":
            caller.text(updated())
    return dict(event)


def first_and_second(first: Callable[[Caller], object]) -> ScriptedServer:
    """A server that treats the first prompt like this, and answers the second."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        until(caller, "response.create")
        first(caller)
        until(caller, "response.create")
        caller.text(*answer("r2", "Second."))
        caller.serve_until_closed()

    return ScriptedServer(script)


def typed(server: ScriptedServer, out: io.TextIOWrapper, err: io.TextIOWrapper) -> int:
    """Chat as a person who types two prompts."""
    stdin = Terminal(io.BytesIO(b"one\ntwo\n"))
    with server, streams(stdin=stdin, stdout=out, stderr=err):
        return status_of(("chat", "--base-url", server.url))


NAMES: dict[str, Callable[[str], dict[str, Any]]] = {
    "by its id": lambda name: {"event_id": name},
    "without an id": lambda name: {},
}


# --- Ctrl-C ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["end first", "error first"])
def test_stopped_just_as_an_answer_ends(field: str, name: str, order: str) -> None:
    """The rejection of a cancellation that came too late is no answer to the next prompt."""

    def first(caller: Caller) -> None:
        caller.text(began("r1"), words("r1", WELL))
        cancel = until(caller, "response.cancel")["event_id"]
        rejection = error("nothing to cancel", **named_by(NOT_ACTIVE, field), **NAMES[name](cancel))
        end = ended("r1", message("item_r1", WELL))
        caller.text(*([end, rejection] if order == "end first" else [rejection, end]))

    out, err = Interrupting(WELL), Interrupting("\0")
    assert typed(first_and_second(first), out, err) == 0
    assert out.shown.partition("> ")[2] == "Well,  [cancelled]\n> Second.\n> \n"
    assert err.shown == ""


def test_stopped_after_an_answer_has_ended() -> None:
    """Nothing is cancelled if the answer has ended already, though it was not shown to its end."""
    sent: list[str] = []

    def first(caller: Caller) -> None:
        caller.text(began("r1"), words("r1", WELL), ended("r1", message("item_r1", WELL)))
        while True:
            event = caller.read_event()
            sent.append(event["type"])
            if event["type"] == "response.create":
                break
        caller.text(*answer("r2", "Second."))
        caller.serve_until_closed()

    out, err = Interrupting(WELL), Interrupting("\0")

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        until(caller, "response.create")
        first(caller)

    assert typed(ScriptedServer(script), out, err) == 0
    assert out.shown.partition("> ")[2] == "Well,  [cancelled]\n> Second.\n> \n"
    assert sent == ["conversation.item.create", "response.create"]
    assert err.shown == ""


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["begun first", "error first"])
def test_stopped_before_an_answer_begins(field: str, name: str, order: str) -> None:
    """An answer that is stopped before it begins is cancelled when it does; the next prompt has its own."""

    def first(caller: Caller) -> None:
        caller.text(error("hm", code="input_audio_buffer_commit_empty"))  # at this, Ctrl-C is pressed
        cancel = until(caller, "response.cancel")["event_id"]
        rejection = error("nothing to cancel", **named_by(NOT_ACTIVE, field), **NAMES[name](cancel))
        caller.text(*([rejection, began("r1")] if order == "error first" else [began("r1"), rejection]))
        assert until(caller, "response.cancel")["response_id"] == "r1"
        caller.text(ended("r1", status="cancelled"))

    out, err = Interrupting("\0"), Interrupting("hm")
    assert typed(first_and_second(first), out, err) == 0
    assert out.shown.partition("> ")[2] == " [cancelled]\n> Second.\n> \n"
    assert err.shown == "realtime-sync: hm"


# --- Errors in the middle ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"code": "input_audio_buffer_commit_empty"},
        {"code": BUSY},
        {"type": BUSY},
        {"type": "server_error", "code": "server_error"},
        {"event_id": "somebody_else_s"},
    ],
)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_error_in_the_middle_of_an_answer(details: dict[str, Any], at: int) -> None:
    """An error in the middle of an answer is shown; the answer is whole, and so is the next one."""

    def first(caller: Caller) -> None:
        frames = [
            began("r1"),
            words("r1", "So "),
            words("r1", "it is."),
            ended("r1", message("m", "So it is.")),
        ]
        frames.insert(at, error("a tool is gone", **details))
        caller.text(*frames)

    with first_and_second(first) as server:
        shown = call("chat", "--base-url", server.url, stdin="one\ntwo\n")
    assert shown == (0, "So it is.\nSecond.\n", "realtime-sync: a tool is gone\n")


@pytest.mark.parametrize("field", FIELDS)
def test_the_session_expires_in_the_middle(field: str) -> None:
    """A session that expires in the middle of an answer ends the chat, with that as the reason."""

    def first(caller: Caller) -> None:
        caller.text(
            began("r1"), words("r1", "So "), error("an hour is over", **named_by("session_expired", field))
        )
        caller.close(1001)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        until(caller, "response.create")
        first(caller)

    with ScriptedServer(script) as server:
        status, out, err = call("chat", "--no-reconnect", "--base-url", server.url, stdin="one\ntwo\n")
    assert (status, out) == (2, "So \n")
    assert err.splitlines()[-1].endswith("code 1001; the server's last error: an hour is over")
