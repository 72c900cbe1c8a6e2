"""The pytest plugin and its server: dialogues, what is remembered, waiting, and what a failure says."""

import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import ANY

import openai
import pytest

import realtime_sync as rt
from realtime_sync import testing
from realtime_sync.local import CallFunction, LocalServer, Request, Say
from realtime_sync.testing import RealtimeServer, plugin
from realtime_sync.testing.dialogue import Dialogue, Expectation
from realtime_sync.testing.readable import compared, event_lines, readable
from realtime_sync.testing.record import Recorder

pytest_plugins = ["pytester"]

DEADLINE = 60.0
PLUGIN = Path(plugin.__file__)

ev = rt.events
SECOND = bytes(48_000)
TOOL = ev.FunctionTool(name="get_weather", parameters={"type": "object"})


def connected(server: RealtimeServer) -> rt.Session:
    session = rt.connect("gpt-realtime", base_url=server.url)
    session.update(output_modalities=["text"], instructions="Be brief and kind.", tools=[TOOL])
    return session


def ask(session: rt.Session, *said: str | bytes | rt.events.FunctionCallOutput) -> rt.events.Response:
    """Say these, and ask for a response."""
    for item in said:
        if isinstance(item, bytes):
            session.input_audio_buffer.append(item)
            session.input_audio_buffer.commit()
        else:
            session.conversation.item.create(item)
    session.response.create()
    done = session.run(rt.Visitor[None](), until=ev.ResponseDone, timeout=DEADLINE)
    assert done is not None
    return done.response


def text_of(response: rt.events.Response) -> str:
    [message] = response.output or []
    assert isinstance(message, ev.Message)
    [part] = message.content
    assert isinstance(part, ev.OutputText)
    return part.text


def failure(response: rt.events.Response) -> str:
    assert response.status == "failed"
    assert response.status_details is not None
    assert response.status_details.error is not None
    return response.status_details.error.message or ""


def output_for(response: rt.events.Response, output: str) -> rt.events.FunctionCallOutput:
    [call] = response.output or []
    assert isinstance(call, ev.FunctionCall)
    assert call.call_id
    return ev.FunctionCallOutput(call_id=call.call_id, output=output)


# --- Dialogues over the wire ---------------------------------------------------------------------------


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


def test_an_exception_goes_first() -> None:
    """Leaving ``with`` with an exception doesn't hide it behind the check."""
    with pytest.raises(ZeroDivisionError), RealtimeServer() as server:  # noqa: PT012
        server.expects("never")
        raise ZeroDivisionError


def test_late_replies() -> None:
    """Replies that come after the answer, or are no replies, are refused."""
    with RealtimeServer() as server, connected(server) as session:
        expectation = server.expects("Hello?")
        ask(session, "Hello?")
        with pytest.raises(RuntimeError, match="too late"):
            expectation.replies("Hi.")
        with pytest.raises(TypeError, match="not 7"):
            expectation.replies(7)  # type: ignore[arg-type]


# --- What can be expected ------------------------------------------------------------------------------


def user(*parts: rt.events.ContentPart) -> rt.events.Message:
    return ev.Message(role="user", content=list(parts))


def called(call_id: str) -> rt.events.FunctionCall:
    return ev.FunctionCall(call_id=call_id, name="f", arguments="{}")


def gave(call_id: str, output: str) -> rt.events.FunctionCallOutput:
    return ev.FunctionCallOutput(call_id=call_id, output=output)


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
        ({"text": "Why?"}, SOUND, ["received 2.00 s of audio", "text:", "the user has written nothing new"]),
        ({"text": "Why?"}, OUTPUT, ["expected 'Why?'"]),
        (
            {"text": re.compile("^sea")},
            SKY,
            ["expected to find '^sea' in it", "received 'Why is the sky blue?'"],
        ),
        ({"text": str.isupper}, SKY, ["isupper was asked about 'Why is the sky blue?'", "returned False"]),
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
        ({"where": lambda request: None}, BOTH, ["was asked about the request", "returned None"]),
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
        f"expects(re.compile('a+'), audio=1.5, where=the lambda at test_server.py:{line})"
        ".replies('b', Say('c', audio=...), CallFunction('f', {'x': 1}), ValueError('d'))"
    )


# --- What is remembered --------------------------------------------------------------------------------


def test_records() -> None:
    """The server remembers what each session received and sent, and how it ended."""
    with RealtimeServer() as server:
        assert (server.sessions, server.received, server.sent, server.closed) == ([], [], [], {})
        with connected(server) as one, connected(server) as two:
            one.input_audio_buffer.append(SECOND)
            ask(two, b"\1\0" * 24_000, "Hello?")
            server.wait_for(ev.InputAudioBufferAppend, count=2)
            assert len(server.audio_received) == 2 * len(SECOND)
            assert server.closed == {}
            two.close(4001)
            server.wait_until(lambda: server.closed)
        server.wait_closed()
        first, second = server.sessions
        assert (first, second) == (one.id, two.id)
        assert server.closed == {first: 1000, second: 4001}
        assert [event.type for event in server.records[first].received] == [
            "session.update",
            "input_audio_buffer.append",
        ]
        assert server.records[second].audio_received == b"\1\0" * 24_000
        assert server.records[second].sent[0].type == "session.created"
        assert len(server.received_of(ev.SessionUpdate, ev.ResponseCreate)) == 3
        assert len(server.sent_of(ev.ResponseDone)) == 1
        assert len(server.sent) == sum(len(record.sent) for record in server.records.values())


def test_junk_is_remembered_too() -> None:
    """What is no event is recorded as it came, and the errors it got are shown."""
    with RealtimeServer() as server, connected(server) as session:
        session.send({"type": "dance", "steps": 3})
        server.wait_for(lambda event: event.type == "dance")
        [junk] = server.received_of(rt.UnknownEvent)
        assert junk.data["steps"] == 3
        server.wait_until(lambda: server.sent_of(ev.ErrorEvent))
        assert "and answered with errors:\n  error(" in server.summary()


def test_options_are_those_of_local_server() -> None:
    """Everything that `LocalServer` takes is taken, with the same defaults."""
    ours = dict(inspect.signature(RealtimeServer).parameters)
    theirs = dict(inspect.signature(LocalServer).parameters)
    del theirs["observer"]
    assert {name: p.default for name, p in ours.items()} == {name: p.default for name, p in theirs.items()}


# --- Waiting -------------------------------------------------------------------------------------------


def in_background(run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_waits_for_what_comes_later() -> None:
    """Waiting ends with the event, and returns it; what came before counts."""
    with RealtimeServer() as server, connected(server) as session:
        thread = in_background(lambda: ask(session, "Hello?"))
        created = server.wait_for(ev.ConversationItemCreate, DEADLINE)
        assert isinstance(created.item, ev.Message)
        assert server.wait_for(lambda event: event.type == "response.create", DEADLINE).event_id
        assert server.wait_for(ev.ConversationItemCreate, 0) is created
        thread.join(DEADLINE)
        ask(session, "Again?")
        assert server.wait_for(ev.ConversationItemCreate, count=2) is not created


def test_waits_in_vain() -> None:
    """When the time is up, the failure says what was received."""
    with RealtimeServer() as server:
        with pytest.raises(AssertionError, match="waited 0 s for the end\n\nNo session was opened"):
            server.wait_closed(0)
        with connected(server) as session:
            ask(session, "Hello?")
            with pytest.raises(AssertionError) as caught:
                server.wait_for(ev.ResponseCreate, 0, count=2)
            assert str(caught.value).startswith("waited 0 s for 2 of ResponseCreate\n\nThe server received")
            assert "InputText(text='Hello?')" in str(caught.value)
            with pytest.raises(AssertionError, match=r"for the lambda at test_server\.py"):
                server.wait_until(lambda: False, 0)


def test_waiting_ends_when_the_dialogue_does() -> None:
    """Nobody waits for a client that has already done something else."""
    server = RealtimeServer()
    server.start()
    try:
        server.expects("Hello")
        with connected(server) as session:
            thread = in_background(lambda: ask(session, "Goodbye"))
            with pytest.raises(
                AssertionError, match=r"turn 1 of 1 expects\('Hello'\), but received 'Goodbye'"
            ):
                server.wait_for(ev.InputAudioBufferClear, 3600)
            thread.join(DEADLINE)
    finally:
        server.stop()


# --- Readable ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ev.ResponseCreate(event_id="event_1"), "response.create()"),
        (
            ev.InputAudioBufferAppend(audio=bytes(4800)),
            "input_audio_buffer.append(audio=<4800 bytes of audio>)",
        ),
        (
            ev.SessionUpdate(session=ev.SessionConfig(type="realtime", tracing=None)),
            "session.update(session=SessionConfig(type='realtime', tracing=None))",
        ),
        ("x" * 161, "'" + "x" * 160 + "'... (161 characters)"),
        ({"a": [1, (2, None)]}, "{'a': [1, [2, None]]}"),
        (
            ev.McpTool(server_label="here", authorization="secret"),
            "McpTool(server_label='here', server_url=UNSET, ...)",
        ),
        (rt.decode_client(b"[]"), "not a JSON object: '[]'"),
        (rt.decode_client(b'{"type":"new"}'), 'unknown event: \'{"type":"new"}\''),
    ],
)
def test_readable(value: object, text: str) -> None:
    """Values are short: no ids, no absent fields, no audio, no secrets."""
    assert readable(value) == text


def test_event_lines() -> None:
    """Audio in a row takes one line, and a long list only shows its end."""
    appends = [ev.InputAudioBufferAppend(audio=bytes(100))] * 3
    assert event_lines([*appends, ev.InputAudioBufferCommit(), appends[0]]) == [
        "input_audio_buffer.append(audio=<300 bytes of audio in 3 events>)",
        "input_audio_buffer.commit()",
        "input_audio_buffer.append(audio=<100 bytes of audio>)",
    ]
    lines = event_lines([ev.InputAudioBufferCommit()] * 100)
    assert (len(lines), lines[0]) == (61, "... 40 earlier ones")


def test_compared() -> None:
    """Two events are compared field by field; other things are left to pytest."""
    one, two = (ev.ConversationItemCreate(item=user(ev.InputText(text=text * 20))) for text in ("ab", "ac"))
    lines = compared(one, two) or []
    assert lines[0].startswith("conversation.item.create(item=Message(role='user'")
    assert any(line.startswith("-") and "acac" in line for line in lines)
    assert any(line.startswith("+") and "abab" in line for line in lines)
    assert "(what differs is not shown: event_id, or the bytes of the audio)" in (
        compared([ev.ResponseCreate(event_id="1")], [ev.ResponseCreate(event_id="2")]) or []
    )
    assert compared([1], "x") is None


# --- The plugin ----------------------------------------------------------------------------------------

DIALOGUE = """
    import realtime_sync as rt

    def ask(text):
        with rt.connect("any") as session:
            session.conversation.item.create(text)
            session.response.create(output_modalities=["text"])
            return session.run(rt.Visitor(), until=rt.events.ResponseDone, timeout=20).response
"""


def test_fixtures(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """They are there, connected, in every test of everyone who has installed the package."""
    realtime_server.expects("Hello").replies("Hi.")
    response = ask(realtime_session, "Hello")
    assert response.status == "completed"
    assert realtime_server.sessions == [realtime_session.id]


def test_environment(realtime_server: RealtimeServer) -> None:
    """OpenAI's own client reaches the server as it is."""
    realtime_server.expects("Hello", instructions="helpful").replies("Hi.")
    with openai.OpenAI() as client, client.realtime.connect(model="gpt-realtime") as connection:
        content: Any = [{"type": "input_text", "text": "Hello"}]
        connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        connection.response.create()
        for event in connection:
            if event.type == "response.done":
                break
    assert realtime_server.received_of(ev.ResponseCreate)


def test_session_is_closed(pytester: pytest.Pytester) -> None:
    """The session that the fixture opened is closed before the server ends; both are new for each test."""
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def sessions(realtime_server):
            yield
            realtime_server.wait_closed()
            assert list(realtime_server.closed.values()) == [1000]

        @pytest.mark.parametrize("number", [1, 2])
        def test(sessions, number, realtime_server, realtime_session):
            assert len(realtime_server.sessions) == 1
            assert not realtime_session.closed
    """)
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_marker(pytester: pytest.Pytester) -> None:
    """The marker sets options, the nearest one wins, and ``--strict-markers`` knows it."""
    pytester.makepyfile("""
        import os, pytest
        import realtime_sync as rt
        from realtime_sync.local.faults import RefuseHandshake

        @pytest.mark.realtime_server(api_key="of the class", faults=[RefuseHandshake(503)])
        class TestIt:
            @pytest.mark.realtime_server(api_key="of the test")
            def test(self, realtime_server):
                assert os.environ["OPENAI_API_KEY"] == "of the test"
                with pytest.raises(rt.ConnectionFailed, match="503"):
                    rt.connect()

        @pytest.mark.realtime_server(api_key="right")
        def test_key(realtime_server, realtime_session):
            with pytest.raises(rt.ConnectionFailed, match="401"):
                rt.connect(api_key="wrong")

        @pytest.mark.realtime_server(0.1)
        def test_positional(realtime_server): ...

        @pytest.mark.realtime_server(fault=1)
        def test_unknown(realtime_server): ...
    """)
    result = pytester.runpytest_inprocess("--strict-markers", "-Werror")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        ["*realtime_server takes keyword arguments only*", "*unexpected keyword argument 'fault'*"]
    )
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.realtime_server(*"])


def test_failure_at_teardown(pytester: pytest.Pytester) -> None:
    """A test that passes although the client did something else fails at its end, with the difference."""
    pytester.makepyfile(
        DIALOGUE
        + """
    def test(realtime_server):
        realtime_server.expects("Hello").replies("Hi.")
        ask("Hallo")
    """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test*",
            "turn 1 of 1 expects('Hello'), but received 'Hallo'",
            "> 1. expects('Hello').replies('Hi.')",
            "* - 'Hello'",
            "* + 'Hallo'",
            "The server received in session *",
            "  response.create(*",
        ]
    )
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_failure_in_the_test(pytester: pytest.Pytester) -> None:
    """A test that fails by itself fails once; what the server received is in its report."""
    pytester.makepyfile(
        DIALOGUE
        + """
    import pytest

    def test(realtime_server):
        realtime_server.expects("Hello").replies("Hi.")
        assert ask("Hallo").status == "completed"

    def test_skipped(realtime_server):
        realtime_server.expects("Hello")
        pytest.skip()

    @pytest.fixture
    def broken(realtime_server):
        realtime_server.expects("Hello")
        assert False

    def test_setup(broken): ...
    """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*- realtime_server -*", "> 1. expects('Hello')", "*not asked for", "No session was opened*"]
    )
    result.stdout.fnmatch_lines(["*- realtime_server -*", "*received 'Hallo'", "The server received in *"])


def test_events_are_compared(pytester: pytest.Pytester) -> None:
    """A failed comparison of events is short, whatever audio they hold."""
    pytester.makepyfile("""
        from realtime_sync.events import InputAudioBufferAppend as Append

        def test_events():
            assert Append(audio=bytes(4800)) == Append(audio=bytes(2400))

        def test_others():
            assert "left" == "right"
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *append(audio=<4800 bytes of audio>) == *append(audio=<2400 bytes of audio>)",
            "E *- right*",
        ]
    )


def test_can_be_left_out(pytester: pytest.Pytester) -> None:
    """``-p no:realtime_sync`` leaves it out, and the rest of pytest as it is."""
    pytester.makepyfile("def test_one(): ...\n\ndef test_two(realtime_server): ...")
    result = pytester.runpytest_inprocess("-p", "no:realtime_sync")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'realtime_server' not found"])


@pytest.mark.parametrize("autoload", [True, False])
def test_can_be_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, autoload: bool) -> None:
    """``-p realtime_sync.testing`` loads it where pytest doesn't by itself, and does no harm elsewhere."""
    if not autoload:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("def test(realtime_session): ...")
    pytester.runpytest_subprocess("-p", "realtime_sync.testing", "-Werror").assert_outcomes(passed=1)


def test_costs_nothing(pytester: pytest.Pytester) -> None:
    """Tests of other things don't import the package, let alone what its server needs."""
    pytester.makepyfile("""
        import sys

        def test():
            ours = {name for name in sys.modules if name.partition(".")[0] == "realtime_sync"}
            plugin = {"realtime_sync", "realtime_sync.testing", "realtime_sync.testing.plugin"}
            assert ours == plugin | {"realtime_sync._version"}
            loaded = {name.partition(".")[0] for name in sys.modules}
            heavy = {"msgspec", "websocket", "werkzeug", "wsproto", "requests"}
            assert loaded.isdisjoint(heavy)
            assert 1 != 2
    """)
    pytester.runpytest_subprocess("-Werror").assert_outcomes(passed=1)


def test_names_the_missing_extra(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the test that needs the server says how to get it, and the others run."""
    pytester.makepyfile(
        werkzeug="raise ImportError('no werkzeug here', name='werkzeug')",
        test_it="def test_one(): ...\n\ndef test_two(realtime_server): ...",
    )
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=":")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*: pip install "realtime-sync?local?" (no werkzeug here)'])


def test_needs_no_pytest(tmp_path: Path) -> None:
    """Scripts and unittest use the server where there is no pytest."""
    (tmp_path / "pytest.py").write_text("raise ImportError('no pytest here')")
    program = """
import sys, realtime_sync as rt
from realtime_sync.testing import RealtimeServer
with RealtimeServer() as server, rt.connect(base_url=server.url):
    server.wait_until(lambda: server.sessions)
try:
    with RealtimeServer() as server:
        server.expects("Hello")
except AssertionError as error:
    print(str(error).splitlines()[0])
assert "_pytest" not in sys.modules
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{PLUGIN.parents[2]}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("the client asked for 0 of the 1 expected responses\n", "")


def test_public_names() -> None:
    """The public names are these, and are documented."""
    assert sorted(testing.__all__) == ["Expectation", "RealtimeServer", "Record"]
    for name in testing.__all__:
        thing = getattr(testing, name)
        assert thing.__doc__
        for attribute, value in vars(thing).items():
            if callable(value) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"
    with pytest.raises(AttributeError, match="nothing"):
        testing.nothing  # noqa: B018
