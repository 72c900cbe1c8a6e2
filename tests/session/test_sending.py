"""`sending`: events of several threads, sends that can't finish, and what was not sent."""

import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from scripted import DEADLINE, Caller, Open, ScriptedServer, collect, delta, idle
from texts import texts
from threads import in_thread, wait_until

import realtime_sync as rt

Tls = ssl.SSLContext | None


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
        threads = [in_thread(lambda name=name: send(name)) for name in "abcd"]
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


TOO_MUCH = bytes(15 * 2**20 + 1)


@pytest.mark.parametrize(
    "send",
    [
        lambda session: session.input_audio_buffer.append(TOO_MUCH),
        lambda session: session.translation.append(TOO_MUCH),
        lambda session: session.send(rt.events.InputAudioBufferAppend(audio=TOO_MUCH)),
        lambda session: session.send({"type": "input_audio_buffer.append", "audio": memoryview(TOO_MUCH)}),
        lambda session: session.send(
            {"type": "session.input_audio_buffer.append", "audio": base64.encodebytes(TOO_MUCH).decode()}
        ),
    ],
    ids=["append", "translation", "struct", "dict", "base64"],
)
def test_too_much_audio(open_session: Open, send: Callable[[rt.Session], object]) -> None:
    """More than 15 MiB in one event is a `ValueError` that names the limit; nothing is sent."""
    received: list[Any] = []
    with ScriptedServer(collect(received)) as server:
        session = open_session(server)
        with pytest.raises(ValueError, match=r"at most 15728640 bytes .* got 15728641"):
            send(session)
        session.input_audio_buffer.clear()
        session.close()
    assert [event["type"] for event in received] == ["input_audio_buffer.clear"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "input_audio_buffer.append", "audio": base64.encodebytes(TOO_MUCH[1:]).decode()},
        {"type": "input_audio_buffer.append", "audio": [" " * 2**24]},
        {"type": "x", "audio": "A" * (21 * 2**20)},
        {"type": "input_audio_buffer.append", "audio": ""},
    ],
    ids=["base64", "a list", "of another kind", "none"],
)
def test_audio_that_is_not_too_much(open_session: Open, event: dict[str, Any]) -> None:
    """15 MiB with line breaks, what is no audio, and large events of other kinds are sent as they are."""
    received: list[Any] = []
    with ScriptedServer(collect(received)) as server:
        session = open_session(server)
        session.send(event)
        session.close()
    assert [sent | event for sent in received] == received


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


def test_little_is_sent_ahead_of_the_network(server_tls: Tls, open_session: Open) -> None:
    """A send waits while the network takes nothing: what the system holds is lost with the connection."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert done.wait(DEADLINE)

    with ScriptedServer(script, server_tls, receive_buffer=4096) as server:
        session = open_session(server, send_timeout=0.2)
        with contextlib.suppress(rt.ConnectionClosed):
            while session.stats.bytes_out < 2**20:
                session.input_audio_buffer.append(bytes(3000))
        done.set()
    assert session.stats.bytes_out < 150_000


def test_a_send_ends_when_its_event_has_left(server_tls: Tls, open_session: Open) -> None:
    """A send does not wait for those of a thread that has more than a slow network takes."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        while caller.read()[0] != -1:
            ended.wait(0.01)  # how slow this connection is

    def append() -> None:
        while not ended.is_set():
            session.input_audio_buffer.append(bytes(3000))

    with ScriptedServer(script, server_tls, receive_buffer=4096) as server:
        session = open_session(server, close_timeout=0.1)
        appending = in_thread(append)
        wait_until(lambda: session.stats.bytes_out > 100_000)
        sent = [in_thread(lambda: session.conversation.item.create("x")) for _ in range(3)]
        for thread in sent:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert appending.is_alive()
        ended.set()
        appending.join(DEADLINE)
        session.close()


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
