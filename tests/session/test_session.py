"""`Session`: the contract of receiving, sending and closing, over real sockets, plain and TLS."""

import json
import logging
import os
import signal
import ssl
import struct
import threading
import time
from collections.abc import Callable
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

import realtime_sync as rt
from realtime_sync.events import ErrorEvent, ResponseOutputTextDelta, SessionCreated
from realtime_sync.session.processes import say_goodbye_at_exit

Tls = ssl.SSLContext | None


class Deltas(rt.Visitor[None]):
    """Collects text."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        self.texts.append(event.delta)


def texts(session: rt.Session, count: int) -> list[str]:
    taken = [session.next_event(DEADLINE) for _ in range(count)]
    return [event.delta for event in taken if isinstance(event, ResponseOutputTextDelta)]


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Runs ``work`` beside the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


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
    """Events that arrive in one piece with the handshake's answer are not lost."""

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


def test_config_and_id(open_session: Open) -> None:
    """`session.id` and `session.config` are what the server announced last; `None` before that."""
    go = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        updated = json.loads(CREATED)
        updated["type"] = "session.updated"
        updated["session"]["instructions"] = "new"
        caller.text(CREATED, json.dumps(updated))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        assert session.id is None
        assert session.config is None
        assert "without id, open" in repr(session)
        go.set()
        session.next_event(DEADLINE)
        session.next_event(DEADLINE)
        assert session.id == "sess_1"
        assert session.config is not None
        assert session.config.instructions == "new"
        session.close()
        assert repr(session) == "<Session sess_1, closed>"


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


def test_what_is_not_an_event(open_session: Open) -> None:
    """Binary messages, rubbish, pings of the application and new events are `UnknownEvent`s."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.frame(2, b"\x00\x01")
        caller.frame(1, b"\xff\xfe")
        caller.frame(1, b"")
        caller.text('{"type":"ping"}', '{"type":"brand.new","event_id":"e"}')
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        got = [session.next_event(DEADLINE) for _ in range(5)]
        assert all(isinstance(event, rt.UnknownEvent) for event in got)
        problems = [(event.type, event.problem) for event in got if isinstance(event, rt.UnknownEvent)]
        assert problems[:2] == [("", "binary message"), ("", "invalid UTF-8")]
        assert problems[2][1] is not None
        assert problems[2][1].startswith("not JSON")
        assert problems[3:] == [("ping", None), ("brand.new", None)]
        session.close()


def test_deviations_are_counted_and_logged_once(open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A deviation is counted each time, and logged once per kind with its path and frame, not the key."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*['{"type":"error","event_id":"e","error":"bad key sk-secret-1"}'] * 3)
        caller.serve_until_closed()

    with caplog.at_level(logging.WARNING, "realtime_sync"), ScriptedServer(script) as server:
        session = open_session(server, api_key="sk-secret-1")
        for _ in range(3):
            event = session.next_event(DEADLINE)
            assert isinstance(event, ErrorEvent)
            assert event.error.message == "bad key sk-secret-1"
        assert session.deviations == {"error.error: expected object, got string": 3}
        session.close()
    assert len(caplog.records) == 1
    assert "error.error" in caplog.text
    assert "bad key ***" in caplog.text
    assert "sk-secret" not in caplog.text


def test_a_slow_script_keeps_the_connection(server_tls: Tls, open_session: Open) -> None:
    """Pings are answered, each at once, while the user's code takes no event."""
    answered = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        for number in range(50):
            caller.text(delta("x" * 1000))
            caller.frame(9, str(number).encode())
            assert caller.read() == (10, str(number).encode())
        answered.set()
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert answered.wait(DEADLINE)
        assert texts(session, 50) == ["x" * 1000] * 50
        session.close()


def test_pausing_loses_nothing(open_session: Open) -> None:
    """At the bound of the buffer the server is made to wait; later everything arrives, in order."""
    count, paused = 4000, threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.sock.settimeout(0.3)
        data = b"".join(
            server_frame(1, delta(f"{number:06} {'x' * 4000}").encode()) for number in range(count)
        )
        view = memoryview(data)
        while view:
            try:
                view = view[caller.sock.send(view[:65536]) :]
            except TimeoutError:
                paused.set()
        caller.sock.settimeout(DEADLINE)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server, max_buffered=100_000)
        assert paused.wait(DEADLINE)
        assert [text[:6] for text in texts(session, count)] == [f"{number:06}" for number in range(count)]
        session.close()


def test_pausing_stops_the_clock(open_session: Open) -> None:
    """While the reader is paused the server is not taken for dead, since nobody listens to it."""
    paused = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a" * 1000))
        caller.sock.settimeout(0.3)  # many times what would be the server's death
        with pytest.raises(TimeoutError):
            caller.sock.recv(1)
        paused.set()
        caller.sock.settimeout(DEADLINE)
        assert caller.sock.recv(1) == b"\x89"  # a ping: the reader listens again

    with ScriptedServer(script) as server:
        session = open_session(server, max_buffered=500, ping_interval=0.05, ping_timeout=0.05)
        assert paused.wait(DEADLINE)
        assert not session.closed
        assert texts(session, 1)
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)


def test_overflow_can_fail(server_tls: Tls, open_session: Open) -> None:
    """With ``overflow="fail"`` the session ends at the bound, and what is queued can still be taken."""
    told: list[tuple[int, bytes]] = []
    ended = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*[delta("x" * 1000)] * 3)
        told.append(caller.answer_to_close())
        ended.set()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, max_buffered=2000, overflow="fail")
        assert ended.wait(DEADLINE)  # who takes events at once never has too many
        with pytest.raises(rt.ConnectionClosed, match="bytes of events were not taken") as caught:
            for _ in session:
                pass
        assert (caught.value.code, caught.value.by, caught.value.retryable) == (1001, "client", True)
    assert told[0][1].startswith(struct.pack("!H", 1001))


def test_ten_minutes_without_reading(server_tls: Tls, open_session: Open) -> None:
    """The user takes nothing for 10 minutes of 100 events a second: pings are answered, nothing is lost."""
    quiet = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        for second in range(0, 600, 20):
            caller.text(*[delta(f"{second + index // 100}.{index % 100:02}") for index in range(2000)])
            caller.frame(9, b"are you there?")
            assert caller.read() == (10, b"are you there?")
        quiet.set()
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert quiet.wait(3 * DEADLINE)
        expected = [f"{second}.{hundredth:02}" for second in range(600) for hundredth in range(100)]
        assert texts(session, 60_000) == expected
        session.close()


def test_close_while_paused(server_tls: Tls, open_session: Open) -> None:
    """`close` returns at once although the buffer is full, and what is queued can still be taken."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*[delta("x" * 10_000)] * 20)
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, max_buffered=50_000)
        assert texts(session, 1)
        session.close()
        assert session.closed
        assert texts(session, 4)
        with pytest.raises(rt.ConnectionClosed):
            texts(session, 20)


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


def test_run_until(open_session: Open) -> None:
    """`run` dispatches up to and including the event it waits for, and returns that."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), delta("b"), error("no"), delta("c"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        visitor = Deltas()
        stop = session.run(visitor, until=(ErrorEvent, SessionCreated))
        assert isinstance(stop, ErrorEvent)
        assert visitor.texts == ["a", "b"]
        assert isinstance(session.run(visitor, until=ResponseOutputTextDelta), ResponseOutputTextDelta)
        assert visitor.texts == ["a", "b", "c"]
        assert session.run(visitor, timeout=0.01) is None
        session.close()


def test_what_a_visitor_raises(open_session: Open) -> None:
    """A visitor's exception comes out of `run`; the session stays usable and no event is lost."""

    class Fragile(Deltas):
        def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
            if event.delta == "b":
                raise LookupError("no")
            super().visit_response_output_text_delta(event)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), delta("b"), delta("c"), error("end"))
        assert caller.read_event()["type"] == "response.cancel"
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        visitor = Fragile()
        with pytest.raises(LookupError):
            session.run(visitor, until=ErrorEvent)
        session.run(visitor, until=ErrorEvent)
        assert visitor.texts == ["a", "c"]
        session.response.cancel()
        session.close()


def test_closing_and_sending_in_a_visitor(open_session: Open) -> None:
    """A visitor may send and close: neither waits for the visitor itself."""

    class Quitter(rt.Visitor[None]):
        def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
            session.response.cancel()
            session.close()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        assert session.run(Quitter()) is None


# --- Sending --------------------------------------------------------------------------------------


def test_own_event_ids(open_session: Open) -> None:
    """An event's own id is kept, and the caller's objects are not changed."""
    received: list[Any] = []
    with ScriptedServer(collect(received)) as server:
        session = open_session(server)
        event, plain = rt.events.ResponseCancel(), {"type": "response.cancel"}
        assert session.send(rt.events.ResponseCancel(event_id="mine")) == "mine"
        assert session.send({"type": "x", "event_id": "mine too"}) == "mine too"
        assert session.response.create(event_id="third") == "third"
        assert session.send(event) != session.send(event)
        session.send(plain)
        session.close()
    assert [event["event_id"] for event in received[:3]] == ["mine", "mine too", "third"]
    assert event.event_id is None
    assert plain == {"type": "response.cancel"}


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


def test_sending_from_many_threads(server_tls: Tls, open_session: Open) -> None:
    """Events of several threads arrive whole, each thread's in order, while events come in."""
    count = 200

    def script(caller: Caller) -> None:
        caller.accept()
        seen: dict[str, list[int]] = {}
        for _ in range(4 * count):
            event = caller.read_event()
            assert event["payload"] == event["thread"] * event["size"]
            seen.setdefault(event["thread"], []).append(event["number"])
            caller.text(delta("x"))
        assert all(numbers == list(range(count)) for numbers in seen.values())
        caller.serve_until_closed()

    def send(name: str) -> None:
        for number in range(count):
            size = number * 97 % 5000
            session.send(
                {"type": "t", "thread": name, "number": number, "size": size, "payload": name * size}
            )

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        threads = [in_thread(lambda name=name: send(name)) for name in "abcd"]  # type: ignore[misc]
        assert len(texts(session, 4 * count)) == 4 * count
        for thread in threads:
            thread.join(DEADLINE)
        session.close()


def test_large_audio(server_tls: Tls, open_session: Open) -> None:
    """15 MiB of audio pass in one event."""
    received: list[Any] = []
    audio = bytes(range(256)) * (15 * 4096)
    with ScriptedServer(collect(received), server_tls) as server:
        session = open_session(server)
        session.input_audio_buffer.append(audio)
        session.close()
    assert len(received[0]["audio"]) == len(audio) * 4 // 3


def test_sending_after_the_end(server_tls: Tls, open_session: Open) -> None:
    """After the end `send` raises `ConnectionClosed` with the server's code, never silence."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.close(1008, "policy")

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.response.create()
        assert (caught.value.code, caught.value.reason) == (1008, "policy")


def test_sending_after_close(open_session: Open) -> None:
    """After `close` `send` raises `ConnectionClosed`."""
    with ScriptedServer(idle) as server:
        session = open_session(server)
        session.close()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.response.create()
        assert caught.value.code == 1000


def test_a_send_that_can_not_finish(server_tls: Tls, open_session: Open) -> None:
    """A send that does not finish in time raises and ends the session: half a frame can't be mended."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert done.wait(DEADLINE)

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, send_timeout=0.2, close_timeout=0.2)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.input_audio_buffer.append(bytes(15 * 2**20))
        assert isinstance(caught.value.__cause__, TimeoutError)
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)
        with pytest.raises(rt.ConnectionClosed):
            session.response.create()
        done.set()


def test_what_was_not_sent_is_listed(server_tls: Tls, open_session: Open) -> None:
    """`ConnectionClosed.unsent` has the events that were surely not sent, in order, and no others."""
    vanish = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert caller.read_event()["type"] == "first"
        caller.text(delta("go"))
        assert vanish.wait(DEADLINE)
        caller.reset()

    def send_large() -> None:
        with pytest.raises(rt.ConnectionClosed):
            session.send({"type": "large", "audio": bytes(15 * 2**20)})

    def send_small() -> None:
        with pytest.raises(rt.ConnectionClosed):
            session.send({"type": "small"})

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        session.send({"type": "first"})
        assert texts(session, 1)
        large = in_thread(send_large)
        wait_until(lambda: session.stats.events_out == 2)
        small = in_thread(send_small)
        wait_until(lambda: session.stats.events_out == 3)
        vanish.set()
        for thread in (large, small):
            thread.join(DEADLINE)
            assert not thread.is_alive()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert [event["type"] for event in caught.value.unsent] == ["large", "small"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until it is so, or the deadline has passed."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


def test_two_stuck_sends(server_tls: Tls, open_session: Open) -> None:
    """A send that waits for another one which is stuck is bound by the same time."""
    done = threading.Event()
    problems: list[BaseException | None] = []

    def script(caller: Caller) -> None:
        caller.accept()
        assert done.wait(DEADLINE)

    def send() -> None:
        try:
            session.input_audio_buffer.append(bytes(15 * 2**20))
        except rt.ConnectionClosed as closed:
            problems.append(closed.__cause__)

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, send_timeout=0.3)
        threads = [in_thread(send), in_thread(send)]
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        done.set()
    assert any(isinstance(problem, TimeoutError) for problem in problems)
    assert len(problems) == 2


def test_pings_are_answered_during_a_long_send(server_tls: Tls, open_session: Open) -> None:
    """A message that takes long to send is sent in parts, with answers to pings between them."""

    def script(caller: Caller) -> None:
        caller.accept()
        opcodes = [caller.read()[0]]
        caller.frame(9, b"ping")
        while opcodes[-1] != 10:
            opcodes.append(caller.read()[0])
        assert opcodes[0] == 1
        assert set(opcodes[1:-1]) <= {0}
        assert not caller.final or opcodes[-1] == 10
        while caller.read()[0] == 0:
            pass

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        session.input_audio_buffer.append(bytes(15 * 2**20))
        session.close()


def test_closing_wakes_a_blocked_send(server_tls: Tls, open_session: Open) -> None:
    """`close` ends a send that is stuck in another thread, within the close timeout."""
    done = threading.Event()
    problems: list[BaseException] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("x"))
        assert done.wait(DEADLINE)

    def send() -> None:
        try:
            session.input_audio_buffer.append(bytes(15 * 2**20))
        except rt.ConnectionClosed as closed:
            problems.append(closed)

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, close_timeout=0.3)
        thread = in_thread(send)
        wait_until(lambda: session.stats.events_out == 1)
        assert texts(session, 1)
        started = time.monotonic()
        session.close()
        assert time.monotonic() - started < DEADLINE / 2
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert len(problems) == 1
        done.set()


# --- Closing --------------------------------------------------------------------------------------


def test_close_says_goodbye(server_tls: Tls, open_session: Open) -> None:
    """`close` sends the code and reason, and is done once the server has answered."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        said.append(caller.read())
        caller.frame(8, said[0][1])

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert not session.closed
        session.close(3001, "done")
        assert session.closed
        session.close()
    assert said == [(8, struct.pack("!H", 3001) + b"done")]


@pytest.mark.parametrize("peer", ["silent", "vanished", "keeps talking"])
def test_close_does_not_wait_for_ever(peer: str, server_tls: Tls, open_session: Open) -> None:
    """`close` returns within its timeout from a server that does not answer, and can't fail."""
    done, ready = threading.Event(), threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        if peer == "vanished":
            caller.reset()
        ready.set()
        while peer == "keeps talking" and not done.is_set():
            caller.text(delta("x" * 1000))
        assert done.wait(DEADLINE)

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, close_timeout=0.2)
        assert ready.wait(DEADLINE)
        for _ in range(2):
            session.close()
            assert session.closed
        assert not session._reader._thread.is_alive()
        done.set()


def test_close_from_many_threads(server_tls: Tls, open_session: Open) -> None:
    """Ten threads may close at once; all return and one goodbye is said."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        said.append(caller.read())
        caller.frame(8, said[0][1])
        said.append(caller.read())

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        threads = [in_thread(session.close) for _ in range(10)]
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    assert said == [(8, b"\x03\xe8"), (-1, b"")]


def test_closing_from_the_reader_thread(open_session: Open) -> None:
    """Even a log handler, which runs in the reader's thread, may close the session."""

    class Closer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            session.close()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.text('{"type":"error"}')
        caller.serve_until_closed()

    go, closer = threading.Event(), Closer()
    logger = logging.getLogger("realtime_sync")
    with ScriptedServer(script) as server:
        session = open_session(server)
        logger.addHandler(closer)
        try:
            go.set()
            assert [event.type for event in session] == ["error"]
        finally:
            logger.removeHandler(closer)


def test_no_thread_to_be_had(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no thread, `connect` says so and leaves no connection behind."""
    start = threading.Thread.start

    def start_if_not_reader(thread: threading.Thread) -> None:
        if thread.name == "realtime_sync-reader":
            raise RuntimeError("can't start new thread")
        start(thread)

    def script(caller: Caller) -> None:
        caller.accept()
        assert caller.read() == (-1, b"")

    with ScriptedServer(script) as server:
        monkeypatch.setattr(threading.Thread, "start", start_if_not_reader)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            open_session(server)


def test_goodbye_at_exit(server_tls: Tls, open_session: Open) -> None:
    """What runs at the end of the program tells the servers of open sessions that they are left."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        said.append(caller.answer_to_close())
        caller.frame(8, said[0][1])

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        say_goodbye_at_exit()
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)
    assert said == [(8, struct.pack("!H", 1001))]


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
        assert (stats.events_in, stats.events_out, stats.deviations) == (4, 2, 2)
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


def test_a_failing_reader_is_not_silent(
    open_session: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should the reader thread itself fail, the user is told instead of left waiting."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("x"))

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("realtime_sync.session.reader.decode_messages", fail)
    with ScriptedServer(script) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert isinstance(caught.value.__cause__, MemoryError)
    assert "the reader thread failed" in caplog.text


# --- The process ----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_fork(server_tls: Tls, open_session: Open) -> None:
    """In the child of a fork the session is over, and nothing the child does reaches the parent's."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        assert caller.read_event()["type"] == "from the parent"
        caller.text(delta("still here"))
        caller.serve_until_closed()

    def child() -> int:
        closed = 0
        for use in (session.next_event, session.response.cancel, wait):
            try:
                use()
            except rt.ConnectionClosed as error:
                closed += "forked" in str(error)
        session.close()
        return 0 if closed == 3 and session.closed else 1

    def wait() -> None:
        session.wait_until(lambda: False, rt.Visitor())

    class Forks(rt.Visitor[None]):
        def visit_session_created(self, event: rt.events.SessionCreated) -> None:
            forking.set()
            assert forked.wait(DEADLINE)

    forking, forked = threading.Event(), threading.Event()
    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        runner = threading.Thread(target=session.run, args=[Forks(), rt.events.SessionCreated])
        runner.start()
        assert forking.wait(DEADLINE)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = child()
            finally:
                os._exit(status)
        forked.set()
        runner.join(DEADLINE)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        session.send({"type": "from the parent"})
        assert texts(session, 1) == ["still here"]
        session.close()


# --- What is easily overlooked ------------------------------------------------------------------------


class Slow(rt.Visitor[None]):
    """Takes longer over the first event than there is time."""

    def __init__(self, seconds: float) -> None:
        self.seen = 0
        self.until = time.monotonic() + seconds

    def default(self, event: rt.ServerEvent) -> None:
        self.seen += 1
        while time.monotonic() < self.until:
            pass


def test_run_takes_nothing_after_its_time(open_session: Open) -> None:
    """When the time is up, `run` returns though more is there; what it left is the next one's."""
    with ScriptedServer(greets) as server, open_session(server) as session:
        session.next_event(DEADLINE)
        wait_for_events(session, 4)
        visitor = Slow(0.1)
        assert session.run(visitor, timeout=0.05) is None
        assert visitor.seen == 1
        assert session.run(visitor, timeout=0) is None
        assert visitor.seen == 3


def greets(caller: Caller) -> None:
    caller.accept()
    caller.text(CREATED, delta("a"), delta("b"), delta("c"))
    caller.serve_until_closed()


def wait_for_events(session: rt.Session, count: int) -> None:
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE
    while session.stats.events_in < count:
        assert time.monotonic() < deadline
        pause.wait(0.001)


@pytest.mark.parametrize("until", [rt.events.ResponseCreate, "response.done", [rt.events.ResponseDone], int])
def test_run_until_what_cannot_come(until: Any, open_session: Open) -> None:
    """Waiting for what is no server event is a `TypeError`, and no event is lost by it."""
    with ScriptedServer(greets) as server, open_session(server) as session:
        with pytest.raises(TypeError, match="until: expected a type of server event"):
            session.run(rt.Visitor(), until=until)
        for visitor in (rt.Visitor, print):
            with pytest.raises(TypeError, match="expected a visitor"):
                session.run(visitor)  # type: ignore[arg-type]
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)


def test_an_error_that_nobody_handles(open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """An error that the visitor has no method for is logged, without the key; one that it handles is not."""

    class Handles(rt.Visitor[None]):
        def visit_error(self, event: ErrorEvent) -> None:
            pass

    done = '{"type":"response.done","event_id":"e","response":{"id":"r","object":"realtime.response"}}'

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(error("no sk-test-1 here", "bad"), error("again", "bad"), done)
        caller.serve_until_closed()

    with ScriptedServer(script) as server, open_session(server, api_key="sk-test-1") as session:
        session.run(rt.Visitor(), until=ErrorEvent, timeout=DEADLINE)
        assert "no *** here" not in caplog.text  # the caller gets it
        session.run(rt.Visitor(), until=rt.events.ResponseDone, timeout=DEADLINE)
        assert "the server reports an error: again (code bad" in caplog.text
    caplog.clear()
    with ScriptedServer(script) as server, open_session(server) as session:
        session.run(Handles(), until=rt.events.ResponseDone, timeout=DEADLINE)
    assert "reports an error" not in caplog.text
