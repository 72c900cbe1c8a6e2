"""`reader`: the thread that reads, whatever the user does, and the end of the connection."""

import json
import logging
import ssl
import struct
import threading

import pytest
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, delta, server_frame
from texts import texts
from threads import in_thread

import realtime_sync as rt

Tls = ssl.SSLContext | None


# --- Receiving ------------------------------------------------------------------------------------


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


def test_what_is_not_an_event_is_counted(open_session: Open) -> None:
    """Each message that is no event counts as a deviation of one of six kinds, whatever is in it."""
    rubbish = [b"", b"{", b'{"type":"x"} y', b"x" * 100, b"5", b"[]", b"{}", b'{"type":5}', b"\xff"]

    def script(caller: Caller) -> None:
        caller.accept()
        for payload in (*rubbish, b"[" * 200_000):
            caller.frame(1, payload)
        caller.frame(2, b"\xff")
        caller.text('{"type":"ping"}', CREATED)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        session.run(rt.Visitor(), until=rt.events.SessionCreated, timeout=DEADLINE)
        assert session.deviations == {
            "not an event: not JSON": 4,
            "not an event: not a JSON object": 2,
            "not an event: no type": 2,
            "not an event: invalid UTF-8": 1,
            "not an event: JSON nested too deeply": 1,
            "not an event: binary message": 1,
        }
        assert session.stats.deviations == 11
        session.close()


def test_no_name_of_the_server_is_counted(open_session: Open) -> None:
    """However a server names its events, fields and parts, `session.deviations` doesn't grow with them."""
    frames = [
        json.dumps({"type": event, "item": {"type": name, name: name}, name: {name: name}})
        for name in (f"new.{number}" for number in range(300))
        for event in (name, "response.output_item.added")
    ]

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*frames, CREATED)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        session.run(rt.Visitor(), until=rt.events.SessionCreated, timeout=DEADLINE)
        missing = {f"response.output_item.added.{field}: missing" for field in ("event_id", "response_id")}
        assert missing <= session.deviations.keys()
        assert len(session.deviations) < 10
        session.close()


def test_text_cut_inside_a_character(open_session: Open) -> None:
    """What a server cuts inside a surrogate pair comes out whole, also of two parts that are mixed."""
    halves = [("\ud83d", "item_1"), ("\ud83d", "item_2"), ("\ude00", "item_1"), ("\ude01", "item_2")]

    def script(caller: Caller) -> None:
        caller.accept()
        for half, item_id in halves:
            caller.text(delta(half).replace("item_1", item_id))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        assert texts(session, 4) == ["", "", "\U0001f600", "\U0001f601"]
        kind = "response.output_text.delta: text cut inside a surrogate pair"
        assert session.deviations[kind] == 4
        session.close()


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
    """While the reader is paused the server does not count as lost, since nothing is read."""
    paused = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept(then=server_frame(1, delta("a" * 1000).encode()))
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
    """Ten threads may close at once; all return and one close frame is sent."""
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


def test_a_failing_reader_is_not_silent(
    open_session: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should the reader thread itself fail, the user gets an error instead of waiting for ever."""

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
