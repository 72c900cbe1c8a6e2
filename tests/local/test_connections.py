"""Sockets and threads: TLS, deadlines, and that nothing is left behind."""

import contextlib
import gc
import http.client
import json
import logging
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trustme
import websocket
from leftovers import nothing_left
from local_peer import DEADLINE, HANDSHAKE, Peer, Tls, connected, get, joined, read_all, tls_contexts

import realtime_sync as rt
from realtime_sync.local import LocalServer, Say, ScriptedResponder
from realtime_sync.local import connections as serving
from realtime_sync.local.http.api import Api

RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER: on, for 0 seconds."""


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and a client's."""
    return tls_contexts()


def test_over_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """With an SSL context the server speaks wss, with frames going both ways at once."""
    context, trusting = contexts
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


def test_our_own_client_over_tls(
    authority: trustme.CA, server_tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    """A `Client` that trusts the server's authority by ``ca_file`` speaks WebSocket and HTTP with it."""
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    ca_file = trusted if server_tls else None
    with LocalServer(ssl_context=server_tls, api_key="sk-x") as server:
        for url in (server.url, server.http_url):
            with rt.Client(base_url=url, api_key="sk-x", ca_file=ca_file) as client:
                secret = client.client_secrets.create().value
                with client.connect(client_secret=secret) as session:
                    assert session.id


def test_a_client_that_does_not_trust_the_server(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A client that rejects the certificate is told so by its own TLS, and the server goes on."""
    context, trusting = contexts
    with LocalServer(ssl_context=context) as server:
        with pytest.raises(rt.ConnectionFailed, match="certificate"):
            rt.connect(base_url=server.url, api_key="any")
        with connected(server, sslopt={"context": trusting}):
            pass


@pytest.mark.parametrize("request_", [b"GET /v1/models HTTP/1.1\r\n\r\n", HANDSHAKE, bytes(1000)])
def test_plain_text_for_a_tls_server(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that speaks plain HTTP to a TLS server, or nonsense, is cut off without a word on stderr."""
    context, trusting = contexts
    with LocalServer(ssl_context=context) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            sock.sendall(request_)
            assert b"HTTP" not in read_all(sock)
        with connected(server, sslopt={"context": trusting}):
            pass
    assert capfd.readouterr() == ("", "")


def test_stop_in_a_tls_handshake(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A client that connects and says nothing doesn't hold up other clients, or the end."""
    context, trusting = contexts
    with contextlib.ExitStack() as stack:
        with LocalServer(ssl_context=context) as server:
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            with connected(server, sslopt={"context": trusting}):
                pass
        silent.settimeout(DEADLINE)
        assert read_all(silent)[:1] in (b"", b"\x15")  # an alert of TLS, at most


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a TLS handshake begins


def test_handshakes_that_are_broken_off(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], capfd: pytest.CaptureFixture[str]
) -> None:
    """200 handshakes that are broken off leave no thread and no descriptor, and print nothing."""
    context, trusting = contexts
    gc.collect()
    gc.disable()  # what is left behind must not be tidied up by chance
    try:
        with LocalServer(ssl_context=context) as server:
            with connected(server, sslopt={"context": trusting}):  # by then the acceptor runs
                pass
            with nothing_left():
                for number in range(200):
                    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                        sock.sendall((b"", HELLO, b"GET / HTTP/1.1\r\n\r\n")[number % 3])
                        if number % 2:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with connected(server, sslopt={"context": trusting}):  # which was accepted after all of them
                    pass
    finally:
        gc.enable()
    assert capfd.readouterr() == ("", "")


# --- Requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /v1/realtime HT",
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ],
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


WRONG_KEY = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nAuthorization: Bearer sk-wrong\r\n"


@pytest.mark.parametrize(
    ("framing", "piece"),
    [
        (b"Content-Length: 10000000000\r\n\r\n", b"x" * 65_536),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"nonsense"),
    ],
)
def test_an_endless_body(framing: bytes, piece: bytes, tls: Tls) -> None:
    """The key is looked at before the body, of which little is read; the answer arrives all the same."""
    context, options = tls
    with LocalServer(ssl_context=context, api_key="sk-right") as server:
        sent = 0
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE))
            if options:
                trusting = options["sslopt"]["context"]
                sock = stack.enter_context(trusting.wrap_socket(sock, server_hostname="127.0.0.1"))
            sock.sendall(WRONG_KEY + framing)
            with contextlib.suppress(OSError):  # the server has closed
                while sent < 1_000_000_000:
                    sock.sendall(piece)
                    sent += len(piece)
            assert sent < 100_000_000  # what the server throws away, and what the system keeps
            assert read_all(sock).startswith(b"HTTP/1.1 401 ")


def test_a_long_body_in_vain() -> None:
    """A client that sends all of a body that isn't wanted before it reads can do so, and gets its answer."""
    with LocalServer(api_key="sk-right") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        connection.request("POST", "/v1/realtime/client_secrets", b"x" * 14_000_000)
        assert connection.getresponse().status == 401
        connection.close()


def test_a_body_that_waits_to_be_asked_for() -> None:
    """A client that asks whether to send its body is asked for it if it has the key, and only then."""
    head = b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with LocalServer(api_key="sk-right") as server:
        for request, answer in ((WRONG_KEY, b"HTTP/1.1 401 "), (WRONG_KEY.replace(b"wrong", b"right"), None)):
            with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                sock.sendall(request + head)
                if answer is None:
                    asked = b"HTTP/1.1 100 Continue\r\n\r\n"
                    assert sock.recv(len(asked), socket.MSG_WAITALL) == asked
                    sock.sendall(b"{}")
                assert read_all(sock).startswith(answer or b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [b"http://[", b"//[/", b"http://[::1/v1/realtime"])
def test_an_address_that_is_none(target: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose address can't be parsed gets an answer, not a traceback."""
    with (
        LocalServer() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
    ):
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        assert read_all(sock)[:10] == b"HTTP/1.1 4"
    assert caplog.record_tuples == []


def test_a_request_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the server's is logged, and is a 500."""

    def fail(*arguments: object) -> NoReturn:
        raise LookupError("oh no")

    monkeypatch.setattr(Api, "answer", fail)
    with LocalServer() as server, pytest.raises(json.JSONDecodeError):
        get(server, "/")
    assert "oh no" in caplog.text


LINES = [
    (
        b"GET /v1/realtime?model=m&api_key=sk-1&k%65y=2;sig=3 HTTP/1.1",
        "model=m&api_key=***&k%65y=***;sig=*** ",
    ),
    (b"GET /v1/realtime?x=ek_0123456789&token= HTTP/1.1", '"GET /v1/realtime?x=***&token=*** HTTP/1.1" 426'),
    (b"GET /?key=sk-1 HTTP/1.1 more", "?key=*** "),
    (b"BREW /?key=sk-1 HTTP/9.9", "?key=*** "),
    (b"GET /\x1b[31m\x9b\x85\x08 HTTP/1.1", r"/\x1b[31m\x9b\x85\x08 HTTP/1.1"),
]


@pytest.mark.parametrize(("line", "shown"), LINES)
def test_the_log(line: bytes, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log of requests shows no secret of a query, and no control character."""
    caplog.set_level(logging.DEBUG, "realtime_sync.local")
    with (
        LocalServer() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
    ):
        sock.sendall(line + b"\r\nHost: localhost\r\n\r\n")
        read_all(sock)
    messages = [record.getMessage() for record in caplog.records]
    assert any(shown in message for message in messages)
    assert not any("sk-1" in message or "ek_0" in message for message in messages)
    assert all(message.isprintable() for message in messages)


HUNGRY = """
import logging, resource, socket, threading, time
from realtime_sync.local import LocalServer

logging.basicConfig(format="%(message)s")
accept, attempts = socket.socket.accept, []

def counted(listener):
    attempts.append(1)
    return accept(listener)

def connected():
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    return sock

with LocalServer() as server:
    with connected() as first:
        print(first.recv(12))
    while threading.active_count() > 2:  # until the server has closed its end
        time.sleep(0.01)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    kept = []
    try:
        while True:
            kept.append(socket.socket())
    except OSError:
        kept.pop().close()
    socket.socket.accept = counted
    waiting = connected()
    waiting.settimeout(1)
    try:
        print(waiting.recv(12))
    except TimeoutError:
        print("waits")
    print(0 < len(attempts) < 10)
    for sock in kept:
        sock.close()
    waiting.settimeout(60)
    print(waiting.recv(12))
    waiting.close()
"""


def test_no_descriptor_left() -> None:
    """Without a descriptor for it a client waits, cheaply and with a line in the log, and is then served."""
    done = subprocess.run([sys.executable, "-c", HUNGRY], capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout.splitlines() == ["b'HTTP/1.1 404'", "waits", "True", "b'HTTP/1.1 404'"]
    assert done.stderr.splitlines() == [
        "can't accept a connection, trying again: [Errno 24] Too many open files"
    ]


@pytest.mark.parametrize("lacking", ["descriptor", "thread"])
def test_what_the_system_lacks(
    lacking: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the system lacks for a client is said once, and the clients after it are served."""
    failures = [OSError("none left"), OSError("none left")]
    accept, begin = socket.socket.accept, threading.Thread.start

    def accept_late(listener: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(listener)

    def start_late(thread: threading.Thread) -> None:
        if failures:
            raise RuntimeError(str(failures.pop()))
        begin(thread)

    with LocalServer() as server:
        if lacking == "descriptor":
            monkeypatch.setattr(socket.socket, "accept", accept_late)
        else:
            monkeypatch.setattr(threading.Thread, "start", start_late)
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                    assert read_all(sock) == b""
        assert get(server, "/")[0] == 404
    assert [record.getMessage() for record in caplog.records] == [
        "can't accept a connection, trying again: none left"
    ]


def test_clients_that_reset() -> None:
    """A client that resets its connection in place of reading its answer leaves nothing behind."""
    gc.collect()
    gc.disable()  # what is left behind must not be tidied up by chance
    try:
        with LocalServer() as server:
            get(server, "/x")  # by then the acceptor runs
            with nothing_left():
                for _ in range(30):
                    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                        sock.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                        sock.recv(1)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
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
    """Stop ends idle, waiting, streaming and stalled sessions by a deadline, the willing ones with 1001."""
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
            fast.stop()
            assert time.monotonic() - begun < DEADLINE
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
    """80 sessions and two servers come and go; threads and descriptors are as before."""
    for _ in range(2):
        with nothing_left(), LocalServer() as server:
            Peer(server).ws.close()  # by then the server has opened what it keeps open
            with nothing_left():
                for number in range(40):
                    peer = Peer(server)
                    if number % 5 == 0:
                        peer.turn("hello", output_modalities=["text"])
                    if number % 2:
                        peer.drop()
                    else:
                        peer.ws.close()


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
