"""The pytest plugin: its fixtures, its marker, and what it costs."""

from typing import Any

import openai
import pytest
from dialogues import DEADLINE, ask
from frozen import WAYS, frozen

import realtime_sync as rt
from realtime_sync.testing import RealtimeServer

pytest_plugins = ["pytester"]

ev = rt.events


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
        [
            "*realtime_server takes keyword arguments only*",
            "*realtime_server: RealtimeServer() has no option 'fault'; did you mean 'faults'?*",
        ]
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "_options",
    [
        pytest.param("delay", marks=pytest.mark.realtime_server(delay=0.01)),
        pytest.param("pace", marks=pytest.mark.realtime_server(realtime_pace=True)),
        pytest.param("fault", marks=pytest.mark.realtime_server(faults=["delay:seconds=0.05"])),
    ],
)
def test_while_the_time_is_frozen(realtime_server: RealtimeServer, way: str, _options: str) -> None:
    """The server goes by the true clock: its delays pass though the test has frozen the time."""
    realtime_server.expects("Hello").replies("Hi there.")
    with frozen(way), rt.connect("gpt-realtime") as session:
        assert ask(session, "Hello").status == "completed"
    realtime_server.wait_closed(DEADLINE)
