"""`Session`: the contract of receiving and closing, over real sockets, plain and TLS."""

import math
import signal
import ssl
import struct
import threading
from typing import Any

import pytest
from scripted import (
    CREATED,
    DEADLINE,
    Caller,
    Open,
    ScriptedServer,
    collect,
    delta,
    error,
    idle,
    server_frame,
)
from stuck import Stalled
from texts import Deltas, texts
from threads import in_thread, wait_until

import realtime_sync as rt
from realtime_sync.events import ErrorEvent, SessionCreated

Tls = ssl.SSLContext | None


# --- Receiving ------------------------------------------------------------------------------------


def test_events_in_order(server_tls: Tls, open_session: Open) -> None:
    """Events come out in the order they were sent, none lost, none twice."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*[delta(str(number)) for number in range(2000)])
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert texts(session, 2000) == [str(number) for number in range(2000)]
        session.close()


def test_events_behind_the_handshake(server_tls: Tls, open_session: Open) -> None:
    """Events that arrive in one chunk with the handshake's answer are not lost."""

    def script(caller: Caller) -> None:
        caller.accept(then=b"".join(frames))
        caller.serve_until_closed()

    frames = [server_frame(1, CREATED.encode()), server_frame(1, delta("x").encode())]
    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert isinstance(session.next_event(DEADLINE), SessionCreated)
        assert texts(session, 1) == ["x"]
        session.close()


def test_timeout(open_session: Open) -> None:
    """`next_event` raises the builtin `TimeoutError` when nothing comes, and loses nothing."""
    go = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.text(delta("late"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="no event within"):
                session.next_event(timeout)
        go.set()
        assert texts(session, 1) == ["late"]
        session.close()


def test_queued_events_before_the_end(server_tls: Tls, open_session: Open) -> None:
    """When the connection ends, every queued event comes first, then `ConnectionClosed`, every time."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*[delta(str(number)) for number in range(100)], error("went wrong", "bad"))
        assert caller.close(1011, "broken") == (8, struct.pack("!H", 1011))

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert len(texts(session, 101)) == 100
        for _ in range(3):
            with pytest.raises(rt.ConnectionClosed) as caught:
                session.next_event(DEADLINE)
            closed = caught.value
            assert (closed.code, closed.reason, closed.clean) == (1011, "broken", True)
            assert isinstance(closed.last_error, ErrorEvent)
            assert str(closed).startswith("session closed by the server with code 1011: broken")
            assert str(closed).endswith("the server's last error: went wrong")
        assert session.closed


def test_the_end_wakes_all_waiters(server_tls: Tls, open_session: Open) -> None:
    """Eight threads that wait in `next_event` all get `ConnectionClosed` when the connection ends."""
    go = threading.Event()
    errors: list[rt.ConnectionClosed] = []

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.reset()

    def wait() -> None:
        try:
            session.next_event(DEADLINE)
        except rt.ConnectionClosed as closed:
            errors.append(closed)

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        threads = [in_thread(wait) for _ in range(8)]
        go.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert [(closed.code, closed.clean) for closed in errors] == [(1006, False)] * 8
    assert len(set(map(id, errors))) == 8
    assert "the connection was lost" in str(errors[0])
    assert errors[0].by == "network"
    assert errors[0].retryable


def test_ctrl_c_interrupts(open_session: Open) -> None:
    """Ctrl-C ends a blocked `next_event` at once and leaves the session usable."""
    go = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.text(delta("after"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            session.next_event(DEADLINE)
        timer.join()
        go.set()
        assert texts(session, 1) == ["after"]
        session.close()


# --- Iterating and running ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001])
def test_iteration_ends_after_a_normal_closure(code: int, open_session: Open) -> None:
    """A loop over the session ends when the server closes normally, and so does `run`."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), delta("b"))
        caller.close(code)

    with ScriptedServer(script) as server:
        session = open_session(server)
        assert [event.type for event in session] == ["response.output_text.delta"] * 2
        assert session.run(Deltas()) is None


@pytest.mark.parametrize("code", [None, 1001, 1008, 4000])
def test_iteration_raises_after_any_other(code: int | None, open_session: Open) -> None:
    """A loop raises `ConnectionClosed` for other codes, and for 1001 right after an error."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), error("expired", "session_expired"))
        caller.close(code)

    with ScriptedServer(script) as server:
        session = open_session(server)
        events = iter(session)
        assert [next(events).type, next(events).type] == ["response.output_text.delta", "error"]
        with pytest.raises(rt.ConnectionClosed) as caught:
            next(events)
        assert caught.value.code == (1005 if code is None else code)
        with pytest.raises(rt.ConnectionClosed):
            session.run(Deltas())


def test_iteration_ends_after_our_own_close(open_session: Open) -> None:
    """After `close` a loop over the session gives what is queued and ends, even after an error."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(error("oh"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        event = session.next_event(DEADLINE)
        session.close(4321, "bye")
        assert list(session) == []
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event()
        assert (caught.value.code, caught.value.reason, caught.value.clean) == (4321, "bye", True)
        assert caught.value.last_error == event


def test_bad_arguments(open_session: Open) -> None:
    """Wrong arguments are a `TypeError` or `ValueError` that names them, before anything is sent."""
    received: list[Any] = []
    with ScriptedServer(collect(received)) as server:
        session = open_session(server)
        for wrong in (None, 1, "response.create", {}, {"type": 1}, rt.UnknownEvent("x", b"{}")):
            with pytest.raises(TypeError, match="expected a client event"):
                session.send(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="object"):
            session.send({"type": "x", "value": object()})
        for code in (0, 999, 1001, 1006, 2999, 5000):
            with pytest.raises(ValueError, match="may not be sent"):
                session.close(code)
        with pytest.raises(ValueError, match="longer than 123"):
            session.close(1000, "ü" * 62)
        assert not session.closed
        session.close()
    assert received == []


# --- Closing --------------------------------------------------------------------------------------


def test_with_closes(open_session: Open) -> None:
    """Leaving ``with`` closes the session, and an error inside is not hidden."""
    with ScriptedServer(idle) as server:
        session = open_session(server)
        with pytest.raises(LookupError), session:
            raise LookupError
        assert session.closed


def test_stats(server_tls: Tls, open_session: Open) -> None:
    """`stats` counts events and bytes both ways, what waits for the user, and the ping's round trip."""
    frame = delta("x" * 100)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(frame, frame, '{"type":"error","error":"odd"}')
        while (received := caller.read())[0] == 1:
            pass
        assert received[0] == 9
        caller.frame(10, received[1])
        caller.text(frame)
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, ping_interval=0.1)
        session.send({"type": "x"})
        session.send({"type": "y"})
        wait_until(lambda: session.stats.events_in == 4 and session.stats.buffered > 3 * len(frame))
        stats = session.stats
        assert (stats.events_in, stats.events_out) == (4, 2)
        assert stats.deviations == sum(session.deviations.values()) > 2
        assert stats.bytes_in > 3 * len(frame)
        assert stats.bytes_out > 2 * len('{"type":"x"}')
        assert stats.buffered == stats.buffered_most
        assert stats.round_trip is not None
        assert 0 < stats.round_trip < DEADLINE
        for _ in range(4):
            session.next_event(DEADLINE)
        assert session.stats.buffered == 0
        assert session.stats.buffered_most == stats.buffered_most
        session.close()
        assert stats.seconds < session.stats.seconds == session.stats.seconds


def test_close_within_a_time(open_session: Open) -> None:
    """`close` waits as long as it is told to, in place of the close timeout; an invalid time is rejected."""
    script = Stalled()
    with ScriptedServer(script) as server:
        session = open_session(server, close_timeout=DEADLINE)
        for timeout in (-1, math.nan):
            with pytest.raises(ValueError, match="timeout must be 0 seconds or more, or None, got"):
                session.close(timeout=timeout)
        assert not session.closed
        session.close(timeout=0)
        assert session.closed
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.send({"type": "input_audio_buffer.clear"})
        assert caught.value.by == "client"
        script.released.set()
