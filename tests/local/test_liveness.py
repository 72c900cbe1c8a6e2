"""Whether a client is still there: judged by the clock, and by a server of its sessions."""

import contextlib
import socket
import threading

import pytest
import websocket
from clock import Clock
from local_peer import Peer, Tls, Watcher, connected, frame
from threads import wait_until

from realtime_sync.local import LocalServer
from realtime_sync.local import liveness as judging
from realtime_sync.local.liveness import Liveness

# --- By the clock --------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(judging, "monotonic", clock)
    return clock


def verdict_at_due(liveness: Liveness, clock: Clock) -> tuple[float, str]:
    """The seconds until the next verdict, and the verdict; a moment before, all is fine."""
    assert liveness.due is not None
    begun, clock.now = clock.now, liveness.due - 0.001
    assert liveness.verdict() == "fine"
    clock.now = liveness.due
    return round(clock.now - begun, 3), liveness.verdict()


def test_a_silent_client(clock: Clock) -> None:
    """It is pinged after the interval, and given up after the timeout; a sign of it begins all anew."""
    liveness = Liveness(20.0, 10.0)
    assert verdict_at_due(liveness, clock) == (20, "ping")
    clock.pass_by(5000)
    liveness.hear()
    assert verdict_at_due(liveness, clock) == (20, "ping")
    assert verdict_at_due(liveness, clock) == (10, "gone")


def test_pings_that_need_no_answer(clock: Clock) -> None:
    """Without a timeout a client is pinged again and again; without an interval, never."""
    liveness = Liveness(20.0, None)
    assert [verdict_at_due(liveness, clock) for _ in range(3)] == [(20, "ping")] * 3
    assert Liveness(None, 10.0).due is None
    assert Liveness(None, 10.0).verdict() == "fine"


def test_a_message_that_takes_its_time(clock: Clock) -> None:
    """A message has 30 seconds, and one more for each KiB that has come; the next one has its own."""
    liveness = Liveness(None, None)
    liveness.receive(2048)
    clock.pass_by(20_000)
    liveness.receive(2048)
    assert verdict_at_due(liveness, clock) == (14, "late")
    liveness.complete()
    assert liveness.due is None
    liveness.receive(1024)
    assert verdict_at_due(liveness, clock) == (31, "late")


def test_a_client_that_is_ignored(clock: Clock) -> None:
    """What a client can't be heard to do is not held against it."""
    liveness = Liveness(20.0, 10.0)
    liveness.receive(1)
    clock.pass_by(100_000)
    liveness.ignore()
    assert verdict_at_due(liveness, clock) == (20, "ping")


# --- A server's sessions -------------------------------------------------------------------------------


def test_half_open(tls: Tls) -> None:
    """A client that answers a ping may be silent for longer; one that doesn't is gone."""
    watcher, (context, options) = Watcher(), tls
    with LocalServer(ssl_context=context, observer=watcher, ping_interval=0.1, ping_timeout=1.0) as server:
        peer = Peer(server, **options)
        assert peer.ws.recv_frame().opcode == websocket.ABNF.OPCODE_PING
        peer.ws.pong()
        assert peer.ws.recv_frame().opcode == websocket.ABNF.OPCODE_PING
        assert peer.ending() is None
        peer.drop()
        wait_until(lambda: watcher.closes == [(1006, "")])


@pytest.mark.parametrize("first", [frame(1, b"x" * 500), frame(1, b"x", final=False) + frame(9, b"x" * 120)])
def test_a_message_that_drips(first: bytes, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that comes byte by byte, a control frame too, ends its session with 1008, and no other one."""
    monkeypatch.setattr(judging, "MESSAGE_SECONDS", 0.3)
    context, options = tls
    with LocalServer(ssl_context=context) as server, connected(server, **options) as good:
        peer, answer = Peer(server, **options), b""
        peer.ws.sock.sendall(first[:20])
        peer.ws.sock.settimeout(0.02)
        for byte in first[20:]:
            with contextlib.suppress(TimeoutError):
                answer = answer or peer.ws.sock.recv(100)
            if answer:
                break
            peer.ws.sock.sendall(bytes([byte]))
        assert answer[2:4] == (1008).to_bytes(2, "big")
        peer.drop()
        good.turn("Still there?")


def test_messages_at_leisure(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two messages there may be more time than one message may take."""
    monkeypatch.setattr(judging, "MESSAGE_SECONDS", 0.1)
    context, options = tls
    with LocalServer(ssl_context=context) as server, connected(server, **options) as peer:
        for _ in range(3):
            peer.say("Take your time")
            threading.Event().wait(0.2)


@pytest.mark.slow
def test_a_slow_client() -> None:
    """A client that takes what it is sent, however slowly, is there, though its answers come at the end."""
    text, taken = "x" * 430_000, 0
    with LocalServer(ping_interval=1.0, ping_timeout=1.0) as server:
        peer = Peer(server, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)])
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        peer.send("conversation.item.create", item=item)
        while taken < 2 * len(text):  # the item is sent twice
            threading.Event().wait(0.1)
            data = peer.ws.sock.recv(16_384)
            assert data, f"given up after {taken} bytes"
            taken += len(data)
        peer.drop()
