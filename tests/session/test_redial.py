"""Getting another connection: which failures are tried again, how long is waited, and how it is given up."""

import base64
import contextlib
import itertools
import logging
import math
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from leftovers import nothing_left
from reopened import Connections, Delayed, Peer, lose, opened, reconnected, refuses, rejection, rejects, talks
from scripted import DEADLINE, Caller, Script, ScriptedServer, delta, server_frame
from threads import in_thread, wait_until

import realtime_sync as rt
from realtime_sync import reconnect
from realtime_sync.session.redial import Attempt

MOVES = 10
SOON = 3.0  # seconds; the promise is 1 on a machine that has nothing else to do


def closed(session: rt.Session) -> rt.ConnectionClosed:
    """Take events up to the end of a session, and return what it ended with."""
    with pytest.raises(rt.ConnectionClosed) as caught:
        session.run(rt.Visitor[None](), timeout=DEADLINE)
    return caught.value


def hangs_up(caller: Caller) -> None:
    """Begin no session, and hang up."""
    caller.accept()


def goes_away(caller: Caller) -> None:
    """Begin no session: close with a code after which another connection may succeed."""
    caller.accept()
    caller.close(1013, "not now")


def rejects_and_hangs_up(caller: Caller) -> None:
    """Reject the session with an error that may pass, and hang up."""
    caller.accept()
    caller.text(rejection(None, "no session", "server_error"))


# --- What is tried again -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [rejects("server_error"), refuses(503), refuses(429)])
def test_what_is_tried_again(script: Script) -> None:
    """After a failure that may pass, there is another attempt."""
    with ScriptedServer(Connections(Peer(), script, Peer())) as server, opened(server.url) as session:
        lose(session)
        assert reconnected(session).attempts == 2


@pytest.mark.parametrize(
    ("script", "said"), [(rejects("insufficient_quota"), "no session"), (refuses(401), "401")]
)
def test_what_is_not_tried_again(script: Script, said: str) -> None:
    """After a failure that the next attempt would meet too there is none, and the error says why."""
    scripts = Connections(Peer(), script, Peer())
    with ScriptedServer(scripts) as server, opened(server.url) as session:
        lose(session)
        error = closed(session)
    assert scripts.count == 2
    [failed] = error.attempts
    assert isinstance(failed, rt.ConnectionFailed)
    assert said in str(failed)
    assert str(failed) in str(error)
    assert error.code == 1006


def test_a_server_that_begins_no_session() -> None:
    """A server that begins no session before the connect timeout costs one attempt, though it talks."""
    scripts = Connections(Peer(), talks(server_frame(1, delta("x").encode())), Peer())
    with ScriptedServer(scripts) as server, opened(server.url, connect_timeout=1.5) as session:
        lose(session)
        assert reconnected(session).attempts == 2


def test_a_phone_call() -> None:
    """The session of a phone call is not opened again."""
    scripts = Connections(Peer())
    with ScriptedServer(scripts) as server:
        session = rt.connect(base_url=server.url, api_key="k", call_id="rtc_1", reconnect=True)
        lose(session)
        assert closed(session).attempts == ()
        assert scripts.count == 1


@pytest.mark.parametrize("asked", ["seconds", "date"])
def test_a_server_that_asks_to_wait(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """A server that says when to come back is not asked before."""
    monkeypatch.setattr(reconnect, "_FIRST_WAIT", 0.01)
    until = int(time.time()) + 1
    header = "0.3" if asked == "seconds" else formatdate(until, usegmt=True)
    scripts = Connections(Peer(), refuses(503, f"Retry-After: {header}"), Peer())
    with ScriptedServer(scripts) as server, opened(server.url) as session:
        lose(session)
        event = reconnected(session)
    assert event.attempts == 2
    assert event.seconds >= 0.3 if asked == "seconds" else time.time() >= until - 0.01


@pytest.mark.parametrize(
    "asked",
    [
        "1e308", "1" * 400, "inf", "nan", "-1", "-1e308", "soon", "",
        "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 99 Foo 99999999999 GMT",
    ],
)  # fmt: skip
def test_a_wait_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """A server that asks to wait for ever, or for no time at all, is asked again as any other."""
    monkeypatch.setattr(reconnect, "_FIRST_WAIT", 0.01)
    scripts = Connections(Peer(), refuses(503, f"Retry-After: {asked}"), Peer())
    with ScriptedServer(scripts) as server:
        session = opened(server.url, reconnect=rt.Reconnect(within=math.inf))
        lose(session)
        assert reconnected(session).attempts == 2
        session.close()


def test_a_wait_that_is_longer_than_within() -> None:
    """A server that asks to wait for longer than the attempts may take ends the session at once."""
    scripts = Connections(Peer(), refuses(503, "Retry-After: 3600"), Peer())
    with ScriptedServer(scripts) as server:
        session = opened(server.url)
        lose(session)
        [failed] = closed(session).attempts
    assert "503" in str(failed)
    assert scripts.count == 2


# --- Before there is a session -------------------------------------------------------------------------


@pytest.mark.parametrize("script", [hangs_up, goes_away, rejects_and_hangs_up])
def test_a_connection_that_ends_before_its_session_began(script: Script) -> None:
    """What was never a session is not opened again: `connect` says at once what happened."""
    scripts = Connections(script, Peer())
    with ScriptedServer(scripts) as server, pytest.raises(rt.ConnectionFailed) as caught:
        opened(server.url)
    assert scripts.count == 1
    said = "with code 1006|with code 1013: not now|rejected the session: no session"
    assert re.search(said, str(caught.value))


def test_a_server_that_waits_for_the_client() -> None:
    """With ``wait=False`` there is a session before the server says anything; it outlives its connection."""
    scripts = Connections(Peer(begins=None), Peer(begins=None))
    with ScriptedServer(scripts) as server, opened(server.url, wait=False) as session:
        lose(session)
        assert reconnected(session).attempts == 1


# --- Giving up -----------------------------------------------------------------------------------------


def test_what_was_held_is_not_sent() -> None:
    """When the attempts have run out, what was held for them comes back, the audio as one event."""
    delayed = Delayed(refuses(503))
    with ScriptedServer(Connections(Peer(), delayed, refuses(503))) as server:
        session = opened(server.url, reconnect=rt.Reconnect(attempts=2))
        lose(session)
        assert delayed.begun.wait(DEADLINE)
        session.update(instructions="Be brief.")
        session.input_audio_buffer.append(b"\1\0" * 480)
        session.conversation.item.create("Hi.")
        session.input_audio_buffer.append(b"\2\0" * 480)
        delayed.released.set()
        error = closed(session)
    assert len(error.attempts) == 2
    assert [event.type for event in error.unsent] == [
        "session.update",
        "conversation.item.create",
        "input_audio_buffer.append",
    ]
    audio = error.unsent[-1].audio
    sound = audio if isinstance(audio, bytes) else base64.b64decode(audio)
    assert sound == b"\1\0" * 480 + b"\2\0" * 480


def test_after_the_last_attempt() -> None:
    """Once the attempts have run out, what is sent, appended or asked for raises, and is not noted."""
    with ScriptedServer(Connections(Peer(), refuses(401))) as server:
        session = opened(server.url)
        lose(session)
        closed(session)
        uses: list[Callable[[], object]] = [
            lambda: session.update(instructions="too late"),
            lambda: session.input_audio_buffer.append(bytes(960)),
            lambda: session.response.create(),
            lambda: session.response.create(when_idle=True),
        ]
        for use in uses:
            with pytest.raises(rt.ConnectionClosed) as caught:
                use()
            assert caught.value.unsent == ()
            assert len(caught.value.attempts) == 1
    assert session.unconfirmed() == rt.Unconfirmed()


def test_sending_in_the_moment_of_the_end() -> None:
    """Each event whose sending did not raise is in ``unsent`` or `unconfirmed`, however close to the end."""
    said: list[str] = []
    asked: list[str] = []
    appended = itertools.count()

    def say() -> None:
        with contextlib.suppress(rt.ConnectionClosed):
            while True:
                said.append(session.conversation.item.create("x"))
                asked.append(session.response.create(when_idle=True))

    def append() -> None:
        with contextlib.suppress(rt.ConnectionClosed):
            while True:
                session.input_audio_buffer.append(b"\1\0")
                next(appended)

    delayed = Delayed(refuses(401))
    with ScriptedServer(Connections(Peer(lambda event: []), delayed)) as server:
        session = opened(server.url)
        lose(session)
        assert delayed.begun.wait(DEADLINE)
        threads = [in_thread(say), in_thread(say), in_thread(append)]
        wait_until(lambda: len(said) > 20)
        delayed.released.set()
        error = closed(session)
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    ids = {event.event_id for event in (*error.unsent, *session.unconfirmed().events)}
    assert {*said, *asked} <= ids
    assert session.unconfirmed().audio_bytes == 2 * next(appended)


def closes(session: rt.Session) -> None:
    """Close a session that is being reconnected: soon, and normally."""
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < SOON
    assert [event.type for event in session][1:] == []


def is_dialling() -> bool:
    """Whether a thread tries to get another connection."""
    return any(thread.name == "realtime_sync-redial" for thread in threading.enumerate())


def test_closing_while_dialling() -> None:
    """Closing a session does not wait for the server that it dials, and ends the thread that does."""
    with nothing_left():
        delayed = Delayed(Peer())
        with ScriptedServer(Connections(Peer(), delayed)) as server:
            session = opened(server.url, connect_timeout=3 * DEADLINE)
            lose(session)
            assert delayed.begun.wait(DEADLINE)
            closes(session)
            wait_until(lambda: not is_dialling())  # though the server has not answered yet
            delayed.released.set()


def test_closing_while_restoring() -> None:
    """Closing a session does not wait for a server that is asked to restore it, but says goodbye to it."""
    with nothing_left():
        silent = Peer(lambda event: [])
        with ScriptedServer(Connections(Peer(), silent)) as server:
            session = opened(server.url, "zero")
            lose(session)
            wait_until(lambda: bool(silent.received))
            closes(session)
        assert silent.goodbye == struct.pack("!H", 1000)


def test_a_connection_that_comes_too_late() -> None:
    """What is handed over when the session is closed already, as it reconnected, is taken by nobody."""
    with nothing_left():
        delayed = Delayed(Peer())
        with ScriptedServer(Connections(Peer(), Peer(), delayed)) as server:
            session = opened(server.url)
            reader = session._reader
            attempt = attempted(session)
            lose(session)
            assert delayed.begun.wait(DEADLINE)
            closes(session)
            assert not reader.go_on_with(attempt)
            delayed.released.set()
            attempt.cancel()


def attempted(session: rt.Session) -> Attempt:
    """Another connection of a session, restored while the first one lasts."""
    redial = session._reader._redial
    assert redial is not None
    attempt = Attempt(redial, session._reader.gate.plan(None), session.config)
    assert attempt.done.wait(DEADLINE)
    assert attempt.error is None
    return attempt


def test_closing_in_the_moment_of_a_move() -> None:
    """A connection that is handed over while the session is closed has an end, whoever is first."""
    with nothing_left(), ScriptedServer(Peer()) as server:
        for _ in range(MOVES):
            session = opened(server.url)
            attempt = attempted(session)
            start = threading.Barrier(2)

            def close(session: rt.Session = session, start: threading.Barrier = start) -> None:
                start.wait(DEADLINE)
                session.close()

            closing = in_thread(close)
            start.wait(DEADLINE)
            if not session._reader.go_on_with(attempt):
                attempt.cancel()
            closing.join(DEADLINE)
            assert session.closed


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="this system does not list open files")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_restoring() -> None:
    """In the child of a fork no connection is open that is being restored; the parent goes on with it."""
    asked, forked = threading.Event(), threading.Event()

    def answer(event: Any) -> None:
        asked.set()
        assert forked.wait(DEADLINE)

    with ScriptedServer(Connections(Peer(), Peer(answer))) as server:
        session = opened(server.url, "zero")
        lose(session)
        assert asked.wait(DEADLINE)
        assert connections_to(server.port) == 1
        pid = os.fork()
        if pid == 0:
            os._exit(connections_to(server.port))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        forked.set()
        assert reconnected(session).attempts == 1
        session.close()


def connections_to(port: int) -> int:
    """How many connections to a port of this machine this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
            count += sock.getpeername()[1] == port
    return count


def test_closing_while_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """Closing a session does not wait for the next attempt, and leaves nothing behind."""
    caplog.set_level(logging.INFO, "realtime_sync")
    with nothing_left(), ScriptedServer(Connections(Peer(), refuses(503, "Retry-After: 30"))) as server:
        session = opened(server.url)
        lose(session)
        wait_until(lambda: "503" in caplog.text)
        closes(session)


# --- Keys ----------------------------------------------------------------------------------------------


def keys(*names: str) -> Callable[[], str]:
    """A function that makes these keys, one after the other."""
    left = iter(names)
    return lambda: next(left)


def test_a_fresh_key(caplog: pytest.LogCaptureFixture) -> None:
    """Each connection is opened with a fresh key; no log and no error shows any of them."""
    caplog.set_level(logging.DEBUG, "realtime_sync")
    key = keys("the-first-key", "the-second-key", "the-third-key")
    told = rejection(None, "the-first-key and the-second-key", "server_error")
    last = Peer(begins=rejection(None, "the-first-key and the-third-key", "invalid_api_key"))
    with ScriptedServer(Connections(Peer(), Peer(begins=told), last)) as server:
        session = opened(server.url, api_key=key)
        lose(session)
        error = closed(session)
        sent = [caller.header("Authorization") for caller in server.callers]
    assert sent == ["Bearer the-first-key", "Bearer the-second-key", "Bearer the-third-key"]
    assert len(error.attempts) == 2
    for text in (caplog.text, str(error), *map(str, error.attempts)):
        assert "-key" not in text.replace("invalid_api_key", "")


def test_a_key_that_can_not_be_made() -> None:
    """A function that fails to make a key costs one attempt."""
    calls = itertools.count(1)

    def key() -> str:
        if next(calls) == 2:
            raise LookupError("no key today")
        return "k"

    with ScriptedServer(Connections(Peer())) as server, opened(server.url, api_key=key) as session:
        lose(session)
        assert reconnected(session).attempts == 2
