"""`RealtimeServer`: waiting for what a client does, and leaving the with statement."""

import subprocess
import sys
from pathlib import Path

import pytest
from dialogues import DEADLINE, ask, connected, in_background
from frozen import WAYS, frozen

import realtime_sync as rt
from realtime_sync import testing
from realtime_sync.local.options import LocalServerOptions, ServerOptions
from realtime_sync.testing import RealtimeServer, plugin

PLUGIN = Path(plugin.__file__)


ev = rt.events


def test_an_exception_goes_first() -> None:
    """Leaving ``with`` with an exception doesn't hide it behind the check."""
    with pytest.raises(ZeroDivisionError), RealtimeServer() as server:  # noqa: PT012
        server.expects("never")
        raise ZeroDivisionError


def test_options_are_those_of_local_server() -> None:
    """Everything that `LocalServer` takes is taken, except the observer, which it is itself."""
    assert {*LocalServerOptions.__annotations__} - {*ServerOptions.__annotations__} == {"observer"}
    with RealtimeServer(delay=0.5, lifetime=60.0, api_key="sk-x", faults=["close:events=1"]) as server:
        with pytest.raises(rt.ConnectionFailed, match="401"):
            connected(server)
        with rt.connect(base_url=server.url, api_key="sk-x") as session:
            assert isinstance(session.next_event(timeout=DEADLINE), ev.SessionCreated)
            with pytest.raises(rt.ConnectionClosed):
                session.next_event(timeout=DEADLINE)
        server.wait_closed(DEADLINE)
        assert server.closed == {server.sessions[0]: 1011}


def test_a_misspelt_option() -> None:
    """An option that there is not is a TypeError with the nearest right name."""
    with pytest.raises(TypeError, match=r"RealtimeServer\(\) has no option 'dealy'; did you mean 'delay'"):
        RealtimeServer(dealy=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"RealtimeServer\(\) has no option 'observer'"):
        RealtimeServer(observer=None)  # type: ignore[call-arg]


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
        testing.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("way", WAYS)
def test_started_while_the_time_is_frozen(way: str) -> None:
    """A server that is started, asked and stopped while the time is frozen goes by the true clock."""
    with frozen(way), RealtimeServer(delay=0.01, lifetime=2) as server:
        with connected(server) as session:
            ask(session, "Hello?")
            with pytest.raises(rt.ConnectionClosed):
                session.run(rt.Visitor(), until=ev.ResponseDone, timeout=DEADLINE)
        server.wait_closed(DEADLINE)
        assert list(server.closed.values()) == [1001]
