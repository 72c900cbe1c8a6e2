"""What a session does by the clock: a new connection in a quiet moment, and the end of one that is idle."""

import time
from typing import Any

import pytest
from leftovers import nothing_left
from reopened import Connections, Delayed, Peer, opened, reconnected, rejects
from response_script import created, done
from scripted import DEADLINE, ScriptedServer

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.session import watch

SOON = 3.0  # seconds; the promise is 1 on a machine that has nothing else to do
WHILE = 0.4  # seconds; several times as long as what is due would take


def begins_response(event: Any) -> list[str] | None:
    """Begin a response when one is asked for, and don't end it."""
    return [created("resp_1")] if event["type"] == "response.create" else None


def nothing_happens(session: rt.Session) -> None:
    """Fail if an event comes in a while."""
    with pytest.raises(TimeoutError):
        session.next_event(WHILE)


# --- Another connection --------------------------------------------------------------------------------


def test_a_rollover() -> None:
    """A connection that is old enough is replaced in a quiet moment, and nothing is lost."""
    peers = Peer(), Peer()
    with ScriptedServer(Connections(*peers)) as server:
        session = opened(server.url, "zero", reconnect=rt.Reconnect(rollover=0.3))
        event = reconnected(session)
        session.close()
    assert event.restored
    assert event.attempts == 1
    assert [text for _, text, _ in peers[1].items[:1]] == ["zero"]


def test_no_rollover_while_a_response_runs() -> None:
    """A connection is not replaced while a response runs, and is as soon as that is done."""
    with ScriptedServer(Peer(begins_response)) as server:
        session = opened(server.url, reconnect=rt.Reconnect(rollover=0.1))
        session.response.create()
        session.run(rt.Visitor[None](), until=ev.ResponseCreated, timeout=DEADLINE)
        nothing_happens(session)
        server.callers[-1].text(done("resp_1"))
        assert isinstance(session.next_event(DEADLINE), ev.ResponseDone)
        assert isinstance(session.next_event(DEADLINE), rt.Reconnected)
        session.close()


def test_a_rollover_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When no new connection can be had, the session goes on with the old one, and it is tried again."""
    monkeypatch.setattr(watch, "_AGAIN", 0.05)
    with ScriptedServer(Connections(Peer(), rejects("server_error"), Peer())) as server:
        session = opened(server.url, reconnect=rt.Reconnect(rollover=0.1))
        assert reconnected(session).restored
        session.close()
    assert "could not be moved to a new connection" in caplog.text


def test_what_happens_during_a_rollover(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens while a new connection is made is not lost: that one is given up, for a later one."""
    monkeypatch.setattr(watch, "_AGAIN", 0.05)
    delayed, last = Delayed(Peer()), Peer()
    with ScriptedServer(Connections(Peer(), delayed, last)) as server:
        session = opened(server.url, reconnect=rt.Reconnect(rollover=0.1))
        assert delayed.begun.wait(DEADLINE)
        session.conversation.item.create("late")
        session.run(rt.Visitor[None](), until=ev.ConversationItemDone, timeout=DEADLINE)
        delayed.released.set()
        reconnected(session)
        session.close()
    assert "late" in [text for _, text, _ in last.items]


def test_closing_during_a_rollover() -> None:
    """Closing a session does not wait for the connection that it makes, and leaves nothing behind."""
    with nothing_left():
        delayed = Delayed(Peer())
        with ScriptedServer(Connections(Peer(), delayed)) as server:
            session = opened(server.url, reconnect=rt.Reconnect(rollover=0.1))
            assert delayed.begun.wait(DEADLINE)
            began = time.monotonic()
            session.close()
            assert time.monotonic() - began < SOON
            delayed.released.set()


# --- The end -------------------------------------------------------------------------------------------


def closed(session: rt.Session) -> rt.ConnectionClosed:
    """Wait for the end of a session that ends normally, and return what a later call raises."""
    list(session)
    with pytest.raises(rt.ConnectionClosed) as caught:
        session.update(instructions="too late")
    return caught.value


def test_an_idle_session(caplog: pytest.LogCaptureFixture) -> None:
    """A session in which nothing happens is closed normally, with the reason."""
    with ScriptedServer(Peer()) as server:
        session = opened(server.url, reconnect=rt.Reconnect(idle_timeout=0.2))
        error = closed(session)
    assert (error.code, error.reason, error.by) == (1000, "idle: nothing happened for 0.2 s", "client")
    assert "closing the session: idle" in caplog.text


def test_a_session_that_is_not_idle() -> None:
    """A session is not closed while a response runs, however long that takes, but some time after it."""
    with ScriptedServer(Peer(begins_response)) as server:
        session = opened(server.url, reconnect=rt.Reconnect(idle_timeout=0.2))
        session.response.create()
        session.run(rt.Visitor[None](), until=ev.ResponseCreated, timeout=DEADLINE)
        nothing_happens(session)
        server.callers[-1].text(done("resp_1"))
        assert closed(session).code == 1000


def test_what_the_session_does_not_see() -> None:
    """A session is not closed while the program says that something goes on, such as playback."""
    asked: list[bool] = []

    def is_busy() -> bool:
        asked.append(len(asked) < 3)
        return asked[-1]

    with ScriptedServer(Peer()) as server:
        session = opened(server.url, reconnect=False)
        session.close_when_idle(0.1, is_busy=is_busy)
        assert closed(session).code == 1000
    assert asked == [True, True, True, False]


def test_a_phone_call() -> None:
    """The connection of a phone call is not replaced, but an idle one is closed all the same."""
    scripts = Connections(Peer())
    policy = rt.Reconnect(rollover=0.05, idle_timeout=0.4)
    with ScriptedServer(scripts) as server:
        session = rt.connect(base_url=server.url, api_key="k", call_id="rtc_1", reconnect=policy)
        assert closed(session).code == 1000
        assert scripts.count == 1
