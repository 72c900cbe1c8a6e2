"""`transport`: keepalive, closing, and servers that vanish or break the protocol."""

import gc
import resource
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest
from leftovers import nothing_left, only_new_objects
from scripted import DEADLINE, Caller, Open, ScriptedServer, delta, idle, server_frame

import realtime_sync as rt
from realtime_sync.events import ResponseOutputTextDelta

Tls = ssl.SSLContext | None


# --- Keepalive ----------------------------------------------------------------------------------------


def test_pings_are_answered_alike(server_tls: Tls, open_session: Open) -> None:
    """A ping is answered with its payload; an unsolicited pong is ignored."""
    answered = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.frame(10, b"unasked")
        for payload in (b"", b"x" * 125):
            caller.frame(9, payload)
            assert caller.read() == (10, payload)
        answered.set()
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert answered.wait(DEADLINE)
        session.close()


def test_a_ping_flood(server_tls: Tls, open_session: Open) -> None:
    """A server that pings without end and reads nothing can't stop or fill the reader."""
    ponged: list[bytes] = []
    go, came = threading.Event(), threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.raw(b"".join(server_frame(9, b"%0125d" % number) for number in range(20_000)))
        caller.text(delta("after"))
        assert came.wait(DEADLINE)
        while (frame := caller.read())[0] == 10:
            ponged.append(frame[1])
        caller.frame(8, frame[1])

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        session._reader.gate.line.transport._link._sock.setsockopt(
            *small
        )  # so that the answers soon find no room
        go.set()
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        came.set()
        session.close()
    assert ponged == sorted(ponged)
    assert len(ponged) < 20_000


def test_a_silent_server_is_pinged(server_tls: Tls, open_session: Open) -> None:
    """A silent server is pinged after the interval, and stays connected while it answers."""

    def script(caller: Caller) -> None:
        caller.accept()
        for _ in range(3):
            opcode, payload = caller.read()
            assert opcode == 9
            caller.frame(10, payload)
        caller.text(delta("alive"))
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, ping_interval=0.05, ping_timeout=DEADLINE)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        session.close()


def test_a_dead_server_is_noticed(server_tls: Tls, open_session: Open) -> None:
    """A server that answers no ping is abandoned, also while a send is stuck on it."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert done.wait(DEADLINE)

    def send() -> None:
        with pytest.raises(rt.ConnectionClosed):
            session.input_audio_buffer.append(bytes(15 * 2**20))

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, ping_interval=0.1, ping_timeout=0.1)
        stuck = threading.Thread(target=send)
        stuck.start()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert caught.value.code == 1006
        assert "silent for 0.1 s after a ping" in str(caught.value.__cause__)
        stuck.join(DEADLINE)
        assert not stuck.is_alive()
        done.set()


def test_a_slow_connection_is_not_a_dead_one(open_session: Open) -> None:
    """A server is not abandoned for want of a pong while what was sent before the ping is still arriving."""
    events = 6
    ended = threading.Event()
    longest = 0.0

    def script(caller: Caller) -> None:
        nonlocal longest
        caller.accept()
        left, heard = events, time.monotonic()
        while left:
            opcode, payload = caller.read()
            if opcode == 9:
                longest, heard = max(longest, time.monotonic() - heard), time.monotonic()
                caller.frame(10, payload)
            else:
                left -= 1
                ended.wait(1)  # how slow this connection is
        caller.text(delta("all came"))
        caller.serve_until_closed()

    with ScriptedServer(script, receive_buffer=4096) as server:
        session = open_session(server, ping_interval=0.1, ping_timeout=2)
        for _ in range(events):
            session.input_audio_buffer.append(bytes(12_000))
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        session.close()
        ended.set()
    assert longest > 2.1, "the pings arrived too soon to show anything"


def test_a_slow_message_is_not_abandoned(server_tls: Tls, open_session: Open) -> None:
    """The send timeout is for a connection that takes nothing; a message may take longer while it moves."""
    size = 150_000
    ended = threading.Event()
    took = 0.0

    def script(caller: Caller) -> None:
        caller.accept()
        left = size
        while left > 0:
            left -= len(caller.sock.recv(8192))
            ended.wait(0.1)  # how slow this connection is
        caller.text(delta("all came"))
        assert ended.wait(DEADLINE)

    with ScriptedServer(script, server_tls, receive_buffer=4096) as server:
        session = open_session(server, ping_interval=None, send_timeout=1.0)
        begun = time.monotonic()
        session.send({"type": "long", "text": "x" * size})
        took = time.monotonic() - begun
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        ended.set()
    assert took > 1.1, "the message was sent too fast to show anything"


def test_a_send_is_not_abandoned_while_what_was_taken_arrives(open_session: Open) -> None:
    """A system that takes nothing for longer than the send timeout may still deliver what it has taken."""
    size = 40_000
    ended = threading.Event()
    took = 0.0

    def script(caller: Caller) -> None:
        caller.accept()
        left = size
        while left > 0:
            left -= len(caller.sock.recv(512))
            ended.wait(0.05)  # how slow this connection is
        caller.text(delta("all came"))
        assert ended.wait(DEADLINE)

    with ScriptedServer(script, receive_buffer=4096) as server:
        session = open_session(server, ping_interval=None, send_timeout=0.8)
        begun = time.monotonic()
        session.send({"type": "long", "text": "x" * size})
        took = time.monotonic() - begun
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        ended.set()
    assert took > 0.9, "the message was sent too fast to show anything"


def test_no_verdict_without_a_ping_timeout(open_session: Open) -> None:
    """With ``ping_timeout=None`` a silent server is pinged again and again, and never abandoned."""

    pinged = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert [caller.read()[0] for _ in range(3)] == [9, 9, 9]
        pinged.set()
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server, ping_interval=0.02, ping_timeout=None)
        assert pinged.wait(DEADLINE)
        with pytest.raises(TimeoutError):
            session.next_event(0)
        session.close()


def test_no_pings_without_an_interval(open_session: Open) -> None:
    """With ``ping_interval=None`` nothing is sent to a silent server."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            caller.sock.recv(1)
        caller.sock.settimeout(DEADLINE)
        caller.text(delta("x"))
        assert caller.sock.recv(1) == b"\x88"

    with ScriptedServer(script) as server:
        session = open_session(server, ping_interval=None, close_timeout=0.2)
        session.next_event(DEADLINE)
        session.close()


# --- How it ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1009, 1011, 1012, 1013, 4000])
def test_the_server_closes(code: int | None, server_tls: Tls, open_session: Open) -> None:
    """A server's close frame is answered with its own code, and reported with its reason."""
    reason = "" if code is None else "süß"

    def script(caller: Caller) -> None:
        caller.accept()
        answer = caller.close(code, reason)
        assert answer == (8, b"" if code is None else struct.pack("!H", code))

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        closed = caught.value
        assert (closed.code, closed.reason, closed.clean) == (code or 1005, reason, True)


@pytest.mark.parametrize("how", ["reset", "hang_up"])
@pytest.mark.parametrize("rest", [b"", b"\x81", b"\x81\x05hal", b"\x01\x03hal"])
def test_the_server_vanishes(how: str, rest: bytes, server_tls: Tls, open_session: Open) -> None:
    """A connection that ends without a close frame, anywhere in a frame, is 1006 after all whole messages."""
    received = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.raw(server_frame(1, delta("whole").encode()) + rest)
        assert received.wait(DEADLINE)
        getattr(caller, how)()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        received.set()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert (caught.value.code, caught.value.clean) == (1006, False)


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\xc1\x00", 1002),
        (b"\x81\x80", 1002),
        (b"\x81\x7f" + (2**62).to_bytes(8, "big"), 1009),
        (b"\x88\x02\x03\xee", 1002),
        (b"\x88\x03\x03\xe8\xff", 1007),
    ],
)
def test_a_server_that_breaks_the_protocol(
    stream: bytes, code: int, server_tls: Tls, open_session: Open
) -> None:
    """Breaking the WebSocket protocol ends the session; close frame and error say why."""
    told: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.raw(server_frame(1, delta("good").encode()) + stream)
        told.append(caller.answer_to_close())

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert (caught.value.code, caught.value.clean) == (code, False)
        assert isinstance(caught.value.__cause__, rt.ProtocolError)
    assert told[0][0] == 8
    assert int.from_bytes(told[0][1][:2], "big") == code


def test_one_byte_at_a_time(server_tls: Tls, open_session: Open) -> None:
    """A stream that comes byte by byte is read like any other."""

    def script(caller: Caller) -> None:
        caller.accept()
        for byte in server_frame(1, delta("slow").encode()) + b"\x88\x02\x03\xe8":
            caller.raw(bytes([byte]))
        caller.answer_to_close()

    with ScriptedServer(script, server_tls) as server:
        assert len(list(open_session(server))) == 1


def test_a_message_over_the_limit(open_session: Open) -> None:
    """``max_message_size`` is the largest message that is accepted."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.frame(1, b"x" * 100)
        caller.frame(1, b"x" * 101)
        assert caller.answer_to_close()[1][:2] == struct.pack("!H", 1009)

    with ScriptedServer(script) as server:
        session = open_session(server, max_message_size=100)
        assert isinstance(session.next_event(DEADLINE), rt.UnknownEvent)
        with pytest.raises(rt.ConnectionClosed, match="more than 100 bytes"):
            session.next_event(DEADLINE)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_nothing_is_left_behind(count: int, server_tls: Tls, client_tls: ssl.SSLContext) -> None:
    """After many sessions, threads, open files and memory are as before."""

    def sessions(number: int) -> None:
        for _ in range(number):
            rt.connect(base_url=server.url, ssl_context=client_tls, wait=False).close()
        for thread in server.threads:
            thread.join(DEADLINE)
        server.threads.clear()
        server.callers.clear()
        gc.collect()

    with only_new_objects(), ScriptedServer(idle, server_tls) as server:
        sessions(10)  # caches are warm
        with nothing_left():
            objects, memory = own_objects(), resident_bytes()
            sessions(count)
        assert own_objects() - objects < count / 10  # of what each session needs several of
        assert resident_bytes() - memory < 20 * 2**20


def own_objects() -> int:
    """Return how many objects of this package's classes there are."""
    return sum(str(type(one).__module__).startswith("realtime_sync.") for one in gc.get_objects())


def resident_bytes() -> int:
    """Return the memory that the process holds; 0 where the system does not say as Linux does."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * resource.getpagesize() if path.exists() else 0


def test_many_fragments(server_tls: Tls, open_session: Open) -> None:
    """A message in 10,000 fragments, with a ping in the middle, arrives whole."""
    frame = delta("x" * 10_000).encode()

    def script(caller: Caller) -> None:
        caller.accept()
        middle = [server_frame(0, frame[index : index + 1], final=False) for index in range(1, 9_999)]
        middle.insert(5000, server_frame(9, b"ping"))
        caller.raw(server_frame(1, frame[:1], final=False) + b"".join(middle))
        caller.frame(0, frame[9_999:])
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        event = session.next_event(DEADLINE)
        assert isinstance(event, ResponseOutputTextDelta)
        assert len(event.delta) == 10_000
        session.close()
