"""Dialogues: what can be expected, how it compares, and what a failure says."""

import inspect
import re
from typing import Any, NoReturn
from unittest.mock import ANY

import pytest
from dialogues import SECOND, ask, called, connected, failure, gave, output_for, text_of, user

import realtime_sync as rt
from realtime_sync.local import CallFunction, Request, Say
from realtime_sync.testing import RealtimeServer
from realtime_sync.testing.dialogue import Dialogue, Expectation
from realtime_sync.testing.record import Recorder

ev = rt.events


def test_dialogue() -> None:
    """A client that says what is expected gets the replies, in order."""
    with RealtimeServer() as server:
        server.expects("What is the weather?", tools=["get_weather"]).replies(
            CallFunction("get_weather", {"city": "Oslo"})
        )
        server.expects(function_output={"degrees": 7}, instructions="kind").replies("It is 7 degrees.")
        server.expects(audio=2.0).replies(Say("Goodbye."))
        with connected(server) as session:
            call = ask(session, "What is the weather?")
            assert text_of(ask(session, output_for(call, '{"degrees": 7}'))) == "It is 7 degrees."
            assert text_of(ask(session, SECOND * 2)) == "Goodbye."


def test_no_dialogue() -> None:
    """As long as nothing is expected, the responder answers that was given, or the usual one."""

    class Shout:
        def respond(self, request: Request) -> list[Say]:
            return [Say(request.last_user_text.upper())]

    with RealtimeServer() as server, connected(server) as session:
        assert "Hello?" in text_of(ask(session, "Hello?"))
    with RealtimeServer(responder=Shout()) as server, connected(server) as session:
        assert text_of(ask(session, "Hello?")) == "HELLO?"
        server.expects("And now?").replies("No.")
        assert text_of(ask(session, "And now?")) == "No."


def test_something_else() -> None:
    """The response fails on the wire, every later one too, and the check shows what differs."""
    with pytest.raises(AssertionError) as caught, RealtimeServer() as server:  # noqa: PT012
        server.expects("Hello").replies("Hi.")
        server.expects("What is the weather?").replies("Rain.")
        server.expects("Bye").replies("Bye.")
        with connected(server) as session:
            ask(session, "Hello")
            assert "What is the time?" in failure(ask(session, "What is the time?"))
            failure(ask(session, "Bye"))
    lines = [line for line in str(caught.value).splitlines() if "?  " not in line]  # difflib's own marks
    assert lines[:9] == [
        "turn 2 of 3 expects('What is the weather?'), but received 'What is the time?'",
        "",
        "  1. expects('Hello').replies('Hi.')",
        "> 2. expects('What is the weather?').replies('Rain.')",
        "     received 'What is the time?'",
        "       text:",
        "         - 'What is the weather?'",
        "         + 'What is the time?'",
        "  3. expects('Bye').replies('Bye.')",
    ]
    [session_id] = server.sessions
    assert f"The server received in session {session_id}, closed with 1000:" in lines
    assert "  conversation.item.create(item=Message(role='user', content=[InputText(text='Hello')]))" in lines
    assert lines[-1] == "  response.create()"


def test_leftover() -> None:
    """A client that stops early fails the check."""
    with pytest.raises(AssertionError) as caught, RealtimeServer() as server:  # noqa: PT012
        server.expects("Hello").replies("Hi.")
        server.expects("Bye").replies("Bye.")
        with connected(server) as session:
            ask(session, "Hello")
    assert str(caught.value).startswith(
        "the client asked for 1 of the 2 expected responses\n\n"
        "  1. expects('Hello').replies('Hi.')\n"
        "> 2. expects('Bye').replies('Bye.')\n"
        "     not asked for\n"
    )


def test_surplus() -> None:
    """So does one that goes on after the last turn."""
    with pytest.raises(AssertionError) as caught, RealtimeServer() as server:  # noqa: PT012
        server.expects("Hello").replies("Hi.")
        with connected(server) as session:
            ask(session, "Hello")
            failure(ask(session))
    message = str(caught.value)
    assert message.startswith("the client asked for a response after the last of the 1 expected: nothing new")
    assert "> 2. nothing expected\n     received nothing new" in message


def test_failure_on_purpose() -> None:
    """An exception among the replies makes the response fail, which is what was wanted."""
    with RealtimeServer() as server, connected(server) as session:
        server.expects().replies(RuntimeError("overloaded"))
        server.expects().replies("Back again.")
        assert failure(ask(session, "Hello?")) == "RuntimeError: overloaded"
        assert text_of(ask(session)) == "Back again."


def test_no_replies() -> None:
    """A turn without replies gets a response with nothing in it."""
    with RealtimeServer() as server, connected(server) as session:
        server.expects("Hello?")
        assert ask(session, "Hello?").output == []


def test_sessions_share_the_dialogue() -> None:
    """The turns are those of all sessions together, and what is new is told by session."""
    with RealtimeServer() as server, connected(server) as one, connected(server) as two:
        item = ev.Message(id="same", role="user", content=[ev.InputText(text="Hello")])
        for session in (one, two):
            server.expects("Hello").replies("Hi.")
            session.conversation.item.create(item)
            assert text_of(ask(session)) == "Hi."


def test_late_replies() -> None:
    """Replies that come after the answer, or are no replies, are rejected."""
    with RealtimeServer() as server, connected(server) as session:
        expectation = server.expects("Hello?")
        ask(session, "Hello?")
        with pytest.raises(RuntimeError, match="too late"):
            expectation.replies("Hi.")
        with pytest.raises(TypeError, match="got 7"):
            expectation.replies(7)  # type: ignore[arg-type]


SKY = Request(items=[user(ev.InputText(text="Why is the"), ev.InputText(text="sky blue?"))])


SOUND = Request(items=[user(ev.InputAudio())], heard_seconds=2.0)


BOTH = Request(
    items=[user(ev.InputText(text="What is this?"), ev.InputAudio())],
    heard_seconds=1.0,
    instructions="Be brief.",
    tools=[ev.FunctionTool(name="b"), ev.FunctionTool(name="a")],
)


OUTPUT = Request(items=[called("1"), gave("1", '{"degrees": 7}')])


OUTPUTS = Request(items=[called("1"), called("2"), gave("2", "two"), gave("1", "1"), gave("0", "none")])


def fail(thing: object) -> NoReturn:
    raise AssertionError("I don't like it")


@pytest.mark.parametrize(
    ("wanted", "request_"),
    [
        ({}, Request()),
        ({"text": "Why is the sky blue?"}, SKY),
        ({"text": re.compile("sky")}, SKY),
        ({"text": str.isprintable}, SKY),
        ({"text": ANY}, SKY),
        ({"text": "What is this?", "audio": 1.0}, BOTH),
        ({"audio": 2}, SOUND),
        ({"audio": 1.85}, SOUND),
        ({"audio": True}, SOUND),
        ({"audio": False}, SKY),
        ({"audio": pytest.approx(2.4, abs=0.5)}, SOUND),
        ({"audio": lambda seconds: seconds > 1}, SOUND),
        ({"function_output": {"degrees": 7}}, OUTPUT),
        ({"function_output": {"degrees": ANY}}, OUTPUT),
        ({"function_output": '{"degrees": 7}'}, OUTPUT),
        ({"function_output": re.compile("degrees")}, OUTPUT),
        ({"function_output": lambda output: "7" in output}, OUTPUT),
        ({"function_outputs": [1, "two", "none"]}, OUTPUTS),
        ({"function_outputs": []}, SKY),
        ({"instructions": "brief"}, BOTH),
        ({"instructions": re.compile(r"^Be \w+")}, BOTH),
        ({"tools": ["a", "b"]}, BOTH),
        ({"tools": []}, SKY),
        ({"where": lambda request: request.tool_choice == "auto"}, BOTH),
    ],
)
def test_fits(wanted: dict[str, Any], request_: Request) -> None:
    """What is as expected is let through."""
    dialogue = Dialogue(None, Recorder())
    dialogue.add(Expectation(wanted))
    assert list(dialogue.respond(request_)) == []
    assert dialogue.problem() is None


@pytest.mark.parametrize(
    ("wanted", "request_", "lines"),
    [
        ({"text": "Why?"}, SOUND, ["received 2.00 s of audio", "text:", "received no new text of the user"]),
        ({"text": "Why?"}, OUTPUT, ["expected 'Why?'"]),
        (
            {"text": re.compile("^sea")},
            SKY,
            ["expected to find '^sea' in it", "received 'Why is the sky blue?'"],
        ),
        ({"text": str.isupper}, SKY, ["isupper was called with 'Why is the sky blue?'", "returned False"]),
        ({"text": fail}, SKY, ["AssertionError: I don't like it"]),
        ({"audio": 1.0}, SOUND, ["audio:", "expected 1.0 (seconds)", "received 2.00"]),
        ({"audio": True}, SKY, ["expected True (seconds)", "received 0.00"]),
        ({"audio": pytest.approx(1)}, SOUND, ["+ 2.0"]),
        ({"text": "What is that?"}, BOTH, ["received 'What is this?' 1.00 s of audio"]),
        (
            {"function_output": {"degrees": 8}},
            OUTPUT,
            ["received function_output='{\"degrees\": 7}'", "- {'degrees': 8}", "+ {'degrees': 7}"],
        ),
        ({"function_output": 7}, OUTPUTS, ["expected 1: [7]", "received 3: ['1', 'two', 'none']"]),
        ({"function_output": {}}, SKY, ["received 0: []"]),
        ({"function_outputs": [1, 2, 3]}, OUTPUTS, ["- 2", "+ 'two'", "- 3", "+ 'none'"]),
        ({"instructions": "rude"}, BOTH, ["expected 'rude' in it", "received 'Be brief.'"]),
        ({"tools": ["a"]}, BOTH, ["- ['a']", "+ ['a', 'b']"]),
        ({"where": lambda request: None}, BOTH, ["was called with the request", "returned None"]),
    ],
)
def test_differs(wanted: dict[str, Any], request_: Request, lines: list[str]) -> None:
    """What is not as expected is explained."""
    dialogue = Dialogue(None, Recorder())
    dialogue.add(Expectation(wanted))
    with pytest.raises(AssertionError):
        dialogue.respond(request_)
    problem = dialogue.problem()
    assert problem is not None
    for line in lines:
        assert line in problem
    with pytest.raises(AssertionError):  # once it is broken, it stays so
        dialogue.respond(request_)
    assert dialogue.problem() == problem


def test_only_what_is_new() -> None:
    """A text that an earlier response was given already doesn't count a second time."""
    old = ev.Message(id="item_1", role="user", content=[ev.InputText(text="Hello")])
    said = ev.Message(id="item_2", role="assistant", content=[ev.OutputText(text="Hi.")])
    dialogue = Dialogue(None, Recorder())
    list(dialogue.respond(Request(items=[old])))
    dialogue.add(Expectation({"text": "Hello"}))
    with pytest.raises(AssertionError, match="but received nothing new"):
        dialogue.respond(Request(items=[old, said]))


def test_questions_read_like_code() -> None:
    """A step is shown as it was written."""
    expectation = Expectation({"text": re.compile("a+"), "audio": 1.5, "where": lambda request: True})
    expectation.replies("b", Say("c", audio=b"12"), CallFunction("f", {"x": 1}), ValueError("d"))
    line = inspect.currentframe().f_lineno - 2  # type: ignore[union-attr]
    assert str(expectation) == (
        f"expects(re.compile('a+'), audio=1.5, where=the lambda at test_dialogue.py:{line})"
        ".replies('b', Say('c', audio=...), CallFunction('f', {'x': 1}), ValueError('d'))"
    )
