"""Sockets and threads: TLS, deadlines, and that nothing is left behind."""

import contextlib
import gc
import socket
import ssl
import struct
import sys
import threading
import time

import pytest
import trustme
import websocket
from local_peer import DEADLINE, Peer, Tls, connected, get, joined, open_fds, read_all, wait_until

import realtime_sync as rt
from realtime_sync.local import LocalServer, Say, ScriptedResponder
from realtime_sync.local import connections as serving


def test_over_tls() -> None:
    """The same over wss, with frames going both ways at once."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    responder = ScriptedResponder([Say("x", audio=bytes(480_000))])
    with LocalServer(ssl_context=context, responder=responder) as server:
        assert server.url.startswith("wss://")
        assert server.http_url.startswith("https://")
        with connected(server, sslopt={"context": trusting}) as peer:
            peer.send("response.create")
            for _ in range(10):
                peer.send("input_audio_buffer.append", audio="AAAA" * 10_000)
            assert len(joined(peer.until("response.done"), "response.output_audio.delta")) == 640_000
            peer.send("input_audio_buffer.commit")
            peer.until("input_audio_buffer.committed")


def test_stop_in_a_tls_handshake() -> None:
    """A client that connects and says nothing doesn't hold up other clients, or the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with contextlib.ExitStack() as stack:
        with LocalServer(ssl_context=context) as server:
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            with connected(server, sslopt={"context": trusting}):
                pass
            begun = time.monotonic()
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/realtime HT", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
def test_slow_requests(begun: bytes, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes too long over a request is dropped; a session may take as long as it likes."""
    context, options = tls
    with LocalServer(ssl_context=context) as server, contextlib.ExitStack() as stack:
        good = stack.enter_context(connected(server, **options))
        monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.2)
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE))
        slow.sendall(begun)
        assert read_all(slow) == b""
        good.turn("Still there?")


def test_clients_that_reset() -> None:
    """A client that resets its connection in place of reading its answer leaves nothing behind."""
    reset = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    gc.disable()
    try:
        with LocalServer() as server:
            fds = open_fds()
            for _ in range(30):
                with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                    sock.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                    sock.recv(1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            wait_until(lambda: open_fds() <= fds)
    finally:
        gc.enable()


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """Requests, refusals and sessions print nothing."""
    with LocalServer() as server:
        get(server, "/nowhere")
        with connected(server) as peer:
            peer.turn("hello")
        peer = Peer(server)
        peer.drop()
    assert capfd.readouterr() == ("", "")


def test_stop_with_open_sessions() -> None:
    """Stop ends idle, waiting, streaming and stalled sessions within moments, the willing ones with 1001."""
    huge = ScriptedResponder(["x" * 20_000_000])  # one word, so one frame, that no buffer holds
    with LocalServer(delay=3600) as slow, LocalServer(responder=huge) as fast:
        idle, waiting = [Peer(slow) for _ in range(3)], Peer(slow)
        waiting.send("response.create")
        waiting.until("response.content_part.added")
        stalled = Peer(fast)
        stalled.send("response.create", response={"output_modalities": ["text"]})
        stalled.until("response.content_part.added")
        assert stalled.ws.sock.recv(1) == b"\x81"
        with socket.create_connection(("127.0.0.1", fast.port)) as silent:
            begun = time.monotonic()
            slow.stop()
            assert time.monotonic() - begun < 0.8
            fast.stop()
            assert time.monotonic() - begun < 5
            assert silent.recv(1) == b""
        assert [peer.ending() for peer in (*idle, waiting)] == [1001] * 4
        assert stalled.ending() is None
        for peer in (*idle, waiting, stalled):
            peer.ws.shutdown()


def test_stop_while_clients_come() -> None:
    """Stopping in the middle of connections being made ends each, and hangs on none."""

    def connect_on_and_on() -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException, ValueError):
            while True:
                peer = Peer(server)
                peer.drop()

    for _ in range(3):
        server = LocalServer().start()
        clients = [threading.Thread(target=connect_on_and_on) for _ in range(3)]
        for client in clients:
            client.start()
        with connected(server) as peer:
            peer.turn("hello")
        server.stop()
        for client in clients:
            client.join(DEADLINE)
            assert not client.is_alive()


def test_nothing_is_left_behind() -> None:
    """200 sessions and several servers come and go; threads and descriptors are as before."""
    threads, fds = threading.active_count(), open_fds()
    for _ in range(4):
        with LocalServer() as server:
            for number in range(50):
                peer = Peer(server)
                if number % 5 == 0:
                    peer.turn("hello", output_modalities=["text"])
                if number % 2:
                    peer.drop()
                else:
                    peer.ws.close()
            wait_until(lambda: threading.active_count() <= threads + 1)
        wait_until(lambda: threading.active_count() == threads)
    wait_until(lambda: open_fds() <= fds)


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no thread, `start` says so, leaves nothing behind, and can be tried again."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, LocalServer() as other:
        server = LocalServer(port=other.port)
        other.stop()
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            server.start()
        server.stop()
    with server, rt.connect(base_url=server.url, api_key="any") as session:
        assert session.id
