"""The local server over real sockets, with a foreign client (websocket-client)."""

import contextlib
import gc
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NoReturn

import pytest
import trustme
import websocket
from leftovers import nothing_left
from scripted import DEADLINE
from threads import wait_until

import realtime_sync as rt
from realtime_sync.local import LocalServer, Request, Say, ScriptedResponder
from realtime_sync.local import connections as serving
from realtime_sync.local import websocket as wire
from realtime_sync.local.loop import Loop, Sunset
from realtime_sync.local.stage import Stage


class Peer:
    """A session seen from the client's side."""

    def __init__(self, server: LocalServer, **options: Any) -> None:
        self.ws: Any = websocket.create_connection(
            f"{server.url}/realtime?model=test-model", timeout=DEADLINE, **options
        )
        try:
            self.created = self.receive()
            assert self.created["type"] == "session.created"
        except BaseException:
            self.drop()
            raise

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002  # the wire's name
        self.ws.send(json.dumps({"type": type, **fields}))

    def receive(self) -> dict[str, Any]:
        return json.loads(self.ws.recv())  # type: ignore[no-any-return]

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The events up to and including one of this kind."""
        events = [self.receive()]
        while events[-1]["type"] != kind:
            events.append(self.receive())
        return events

    def say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.until("conversation.item.done")

    def turn(self, text: str, **params: Any) -> list[dict[str, Any]]:
        self.say(text)
        self.send("response.create", response=params)
        return self.until("response.done")

    def ending(self) -> int | None:
        """Read to the end; the close code, or ``None`` if there was none."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while True:
                opcode, data = self.ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big")
        return None

    def drop(self) -> None:
        """Go away without a word."""
        self.ws.shutdown()


@contextlib.contextmanager
def connected(server: LocalServer, **options: Any) -> Iterator[Peer]:
    peer = Peer(server, **options)
    try:
        yield peer
    finally:
        peer.ws.close()


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.closes: list[tuple[int, str]] = []
        self.bytes_sent = 0

    def opened(self, session: str) -> None:
        self.told.append(("opened", session))

    def received(self, session: str, frame: str | bytes) -> None:
        self.told.append(("received", session, json.loads(frame)["type"]))

    def sent(self, session: str, frame: str) -> None:
        self.bytes_sent += len(frame)
        self.told.append(("sent", session, json.loads(frame)["type"]))

    def closed(self, session: str, code: int, reason: str) -> None:
        self.told.append(("closed", session, code, reason))
        self.closes.append((code, reason))


class Endless:
    """Answers without end."""

    def respond(self, request: Request) -> Iterator[Say]:
        while True:
            yield Say("again and again")


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Every test in this file: all threads and descriptors are gone afterwards."""
    with nothing_left():
        yield


def get(
    server: LocalServer, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read())
    finally:
        connection.close()


def joined(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == kind)


# --- Turns --------------------------------------------------------------------------------------------


def test_text_turn() -> None:
    """A written answer streams and mentions the question; the model asked for is announced."""
    with LocalServer() as server, connected(server) as peer:
        assert peer.created["session"]["model"] == "test-model"
        events = peer.turn("Why is the sky blue?", output_modalities=["text"])
        text = joined(events, "response.output_text.delta")
        assert "Why is the sky blue?" in text
        assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": text}]


def test_audio_turn() -> None:
    """Speech goes in and out."""
    with LocalServer() as server, connected(server) as peer:
        peer.send("input_audio_buffer.append", audio="AAAA" * 19_200)
        peer.send("input_audio_buffer.commit")
        peer.until("conversation.item.done")
        peer.send("response.create")
        events = peer.until("response.done")
        assert joined(events, "response.output_audio_transcript.delta") == "I heard 1.2 seconds of audio."
        assert len(joined(events, "response.output_audio.delta")) > 100_000


def test_function_call_turn() -> None:
    """A function is called, answered, and the answer is used."""
    with LocalServer() as server, connected(server) as peer:
        tools = [{"type": "function", "name": "add", "parameters": {}}]
        peer.send(
            "session.update", session={"type": "realtime", "tools": tools, "output_modalities": ["text"]}
        )
        peer.until("session.updated")
        [call] = peer.turn('call add {"a": 1}')[-1]["response"]["output"]
        assert (call["name"], call["arguments"]) == ("add", '{"a": 1}')
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
        peer.send("conversation.item.create", item=output)
        peer.send("response.create")
        assert "42" in joined(peer.until("response.done"), "response.output_text.delta")


def test_over_tls() -> None:
    """The same over wss, with frames going both ways at once."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    responder = ScriptedResponder([Say("x", audio=bytes(2_400_000))])
    with LocalServer(ssl_context=context, responder=responder) as server:
        assert server.url.startswith("wss://")
        assert server.http_url.startswith("https://")
        with connected(server, sslopt={"context": trusting}) as peer:
            peer.send("response.create")
            for _ in range(50):
                peer.send("input_audio_buffer.append", audio="AAAA" * 10_000)
            assert len(joined(peer.until("response.done"), "response.output_audio.delta")) == 3_200_000
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
        assert time.monotonic() - begun < DEADLINE


def test_cancel_in_mid_stream() -> None:
    """A cancel takes effect between two pieces, however long the pause between them is."""
    with LocalServer(delay=3600) as server, connected(server) as peer:
        peer.say("Tell me a story")
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.content_part.added")
        peer.send("response.cancel")
        done = peer.until("response.done")[-1]["response"]
        assert (done["status"], done["output"][0]["status"]) == ("cancelled", "incomplete")


def test_cancel_in_full_flow() -> None:
    """A cancel is heard also when the pieces follow each other at once."""
    with LocalServer(responder=Endless()) as server, connected(server) as peer:
        for _ in range(3):
            peer.send("response.create", response={"output_modalities": ["text"]})
            peer.until("response.output_text.delta")
            peer.send("response.cancel")
            assert peer.until("response.done")[-1]["response"]["status"] == "cancelled"


def test_delay() -> None:
    """With a delay, the pieces come spread over time."""
    responder = ScriptedResponder(["a b c d e f g h i j"])
    with LocalServer(delay=0.01, responder=responder) as server, connected(server) as peer:
        begun = time.monotonic()
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.done")
        assert time.monotonic() - begun > 0.1


def test_errors_keep_the_session_open() -> None:
    """Nonsense gets an error each, and the next turn works."""
    with LocalServer() as server, connected(server) as peer:
        peer.ws.send("hello")
        assert peer.receive()["error"]["code"] == "invalid_json"
        peer.send("nonsense", event_id="mine")
        assert peer.receive()["error"]["event_id"] == "mine"
        assert peer.turn("Still there?")[-1]["response"]["status"] == "completed"


def test_pings_are_answered_while_streaming() -> None:
    """Pongs come between the frames of a response, never inside one."""
    responder = ScriptedResponder([Say("x", audio=bytes(2_400_000))])
    with LocalServer(responder=responder) as server, connected(server) as peer:
        peer.send("response.create")
        for _ in range(100):
            peer.ws.ping("hey")
        pongs, kinds = 0, [""]
        while kinds[-1] != "response.done" or pongs < 100:
            opcode, data = peer.ws.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_PONG:
                pongs += 1
            else:
                kinds.append(json.loads(data)["type"])
        assert (pongs, kinds.count("response.output_audio.delta")) == (100, 500)


def test_sessions_do_not_share() -> None:
    """Each connection is a session of its own."""
    with LocalServer() as server, connected(server) as one, connected(server) as two:
        assert one.created["session"]["id"] != two.created["session"]["id"]
        one.say("secret")
        assert "secret" not in json.dumps(two.turn("hello"))


def test_many_sessions_at_once() -> None:
    """50 sessions run two turns each at the same time, without an error."""
    done: list[str] = []

    def converse() -> None:
        with rt.connect(base_url=server.url) as session:
            session.update(output_modalities=["text"])
            for _ in range(2):
                session.conversation.item.create("hello")
                session.response.create()
                while not isinstance(event := session.next_event(timeout=DEADLINE), rt.events.ResponseDone):
                    assert not isinstance(event, rt.events.ErrorEvent)
                done.append(str(event.response.status))

    with LocalServer() as server:
        clients = [threading.Thread(target=converse) for _ in range(50)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert done == ["completed"] * 100


# --- Bad input ----------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes, *, final: bool = True, first: int = 0) -> bytes:
    """A client's frame, masked with zeros; ``first`` is added to its first byte."""
    head = bytes([(0x80 if final else 0) + opcode + first])
    if len(payload) < 126:
        head += bytes([0x80 + len(payload)])
    elif len(payload) < 65_536:
        head += b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        head += b"\xff" + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload


APPEND = frame(1, b'{"type":"input_audio_buffer.append","audio":"AAAA"}')
NONSENSE = frame(1, b"[]")
ECHO = frame(1, b'{"type":"nonsense","event_id":"%s"}' % (b"x" * 5000))  # its error is as long


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(2, b'{"type":"input_audio_buffer.clear"}'), 1003),
        (frame(1, b'{"type":"\xff"}'), 1007),
        (frame(1, b"\xc3", final=False) + frame(0, b"(", final=True), 1007),
        (frame(8, b"\x03\xe8\xff"), 1007),
        (b"\x81\x02{}", 1002),  # without a mask
        (frame(3, b""), 1002),  # an opcode that there isn't
        (frame(1, b"{}", first=0x40), 1002),  # a reserved bit
        (frame(0, b"{}"), 1002),  # a continuation of nothing
        (frame(1, b"{", final=False) + frame(1, b"}"), 1002),  # a message inside another
        (frame(9, b"x", final=False), 1002),  # a ping in fragments
        (frame(9, b"x" * 126), 1002),  # a ping too long
        (frame(8, b"\x03"), 1002),  # half a close code
        (frame(8, b"\x03\xed"), 1002),  # a close code that can't be sent
        (b"GET / HTTP/1.1\r\n\r\n" * 10_000, 1002),
        (bytes(range(256)) * 1000, 1002),
    ],
)
def test_broken_frames(data: bytes, code: int) -> None:
    """What isn't WebSocket or isn't text ends its session with the code for it, and no other one."""
    watcher = Watcher()
    with LocalServer(observer=watcher) as server, connected(server) as good:
        peer = Peer(server)
        peer.ws.sock.sendall(data)
        assert peer.ending() == code
        peer.drop()
        wait_until(lambda: [closed for closed, _ in watcher.closes] == [code])
        good.turn("Still there?")


@pytest.mark.parametrize("fragments", [1, 40, 50_000])
def test_a_message_too_big(monkeypatch: pytest.MonkeyPatch, fragments: int) -> None:
    """A message over the limit ends its session with 1009 while it still comes, in one piece or in many."""
    monkeypatch.setattr(wire, "MOST_BYTES", 200_000)
    with LocalServer() as server, connected(server) as good:
        peer = Peer(server)
        piece = b"x" * (300_000 // fragments)
        with contextlib.suppress(OSError):
            peer.ws.sock.sendall(frame(1, piece, final=False))
            peer.ws.sock.sendall(frame(0, piece, final=False) * (fragments - 1))
        assert peer.ending() == 1009
        peer.drop()
        good.turn("Still there?")


def test_the_largest_event() -> None:
    """15 MiB of audio in one event are accepted."""
    with LocalServer() as server, connected(server) as peer:
        peer.send("input_audio_buffer.append", audio="AAAA" * (5 * 1024 * 1024))
        peer.send("input_audio_buffer.clear")
        assert peer.receive()["type"] == "input_audio_buffer.cleared"


def test_a_message_in_fragments() -> None:
    """A message in fragments, with a ping between them and a character cut in two, is one message."""
    with LocalServer() as server, connected(server) as peer:
        text = '{"type":"nonsense","event_id":"\u00fc"}'.encode()
        cut = text.index("\u00fc".encode()) + 1
        pieces = frame(1, text[:cut], final=False) + frame(9, b"hey") + frame(0, b"", final=False)
        peer.ws.sock.sendall(pieces + frame(0, text[cut:]))
        opcode, data = peer.ws.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"hey")
        assert peer.receive()["error"]["event_id"] == "\u00fc"


def test_tiny_appends() -> None:
    """Tens of thousands of tiny appends in a row are obeyed, each in its turn."""
    with LocalServer() as server, connected(server) as peer:
        for _ in range(20):
            peer.ws.sock.sendall(APPEND * 1000)
        peer.send("input_audio_buffer.commit")
        peer.until("conversation.item.done")
        peer.send("response.create", response={"output_modalities": ["text"]})
        text = joined(peer.until("response.done"), "response.output_text.delta")
        assert text.startswith("I heard 1.2")


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return context, trusting


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
    """Runs a test over plain TCP and over TLS: the server's context, and a client's options."""
    if request.param == "ws":
        return None, {}
    context, trusting = tls_contexts()
    return context, {"sslopt": {"context": trusting}}


Tls = tuple[ssl.SSLContext | None, dict[str, Any]]


def pour(peer: Peer, data: bytes) -> int:
    """Send until the server has taken nothing for a while; how often ``data`` went whole."""
    sock, times = peer.ws.sock, 0
    sock.settimeout(0.3)
    try:
        while True:
            sock.sendall(data)
            times += 1
    except OSError:
        return times


def test_a_client_that_only_sends(tls: Tls) -> None:
    """Who sends and never reads is made to wait, so that little is kept for it; the others notice nothing."""
    watcher, (context, options) = Watcher(), tls
    with LocalServer(ssl_context=context, observer=watcher) as server, connected(server, **options) as good:
        peer = Peer(server, **options)
        pour(peer, ECHO * 20)
        assert watcher.bytes_sent < 20_000_000  # what the system keeps, on both sides, and 1 MiB
        good.turn("Still there?")
        peer.drop()
        wait_until(lambda: len(watcher.closes) == 1)
        assert watcher.closes[0][0] == 1006


def test_a_client_that_never_reads(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response without end is held back from a client that doesn't read, who is given up at last."""
    monkeypatch.setattr(wire, "STALL_SECONDS", 0.5)
    watcher, (context, options) = Watcher(), tls
    with LocalServer(ssl_context=context, responder=Endless(), observer=watcher) as server:
        peer = Peer(server, **options)
        peer.send("response.create", response={"output_modalities": ["text"]})
        wait_until(lambda: watcher.closes == [(1006, "")])
        assert watcher.bytes_sent < 20_000_000
        peer.drop()


def test_a_client_that_reads_late() -> None:
    """What a client was made to wait for comes in order, and whole, once it reads."""
    text = "x" * 100_000
    small = [(socket.SOL_SOCKET, option, 65_536) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    with LocalServer() as server, connected(server, sockopt=small, skip_utf8_validation=True) as peer:
        times, stalled = 0, False
        peer.ws.sock.setblocking(False)
        while not stalled:
            content = [{"type": "input_text", "text": f"{times} {text}"}]
            item = {"type": "message", "role": "user", "content": content}
            try:
                peer.ws.sock.sendall(
                    frame(1, json.dumps({"type": "conversation.item.create", "item": item}).encode())
                )
                times += 1
            except BlockingIOError:
                stalled = True
        peer.ws.sock.settimeout(DEADLINE)
        for number in range(times):
            item = peer.until("conversation.item.done")[-1]["item"]
            assert item["content"][0]["text"] == f"{number} {text}"
        peer.drop()


def test_a_client_that_dies_while_it_is_waited_for() -> None:
    """The end of a client that had stopped reading is noticed at once."""
    watcher = Watcher()
    with LocalServer(responder=Endless(), observer=watcher) as server:
        peer = Peer(server)
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.output_text.delta")
        told = -1
        while told != watcher.bytes_sent:  # until it is made to wait
            told = watcher.bytes_sent
            threading.Event().wait(0.1)
        peer.drop()
        wait_until(lambda: watcher.closes == [(1006, "")])


CLIENT = """
import os, signal, sys, websocket
ws = websocket.create_connection(sys.argv[1])
ws.recv()
ws.sock.sendall({bytes!r})
print("sent", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("begun", [APPEND[:-5], APPEND[:1], NONSENSE])
def test_a_client_that_is_killed(begun: bytes) -> None:
    """A client killed in mid-frame, or between two, ends its own session only."""
    watcher = Watcher()
    with LocalServer(observer=watcher) as server, connected(server) as good:
        program = CLIENT.format(bytes=begun)
        with subprocess.Popen(
            [sys.executable, "-c", program, f"{server.url}/realtime"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as client:
            assert client.stdout is not None
            assert client.stdout.readline()
            client.kill()
        wait_until(lambda: watcher.closes == [(1006, "")])
        good.turn("Still there?")


HANDSHAKE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\n"
    b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65_536):
            data += more
    return data


def test_a_client_that_does_not_wait(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames and rubbish right behind the handshake are not lost."""
    monkeypatch.setattr(wire, "ANSWER_SECONDS", 0.1)
    context, options = tls
    with LocalServer(ssl_context=context) as server:
        for early, expected in ((NONSENSE + frame(8, b"\x03\xe8"), b"\x03\xe8"), (b"rubbish", b"\x03\xea")):
            with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
                trusting = options["sslopt"]["context"] if options else None
                sock = trusting.wrap_socket(plain, server_hostname="127.0.0.1") if trusting else plain
                with sock:
                    sock.sendall(HANDSHAKE + early)
                    answer = read_all(sock)
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert (b'"invalid_json"' in answer) == (expected == b"\x03\xe8")
            assert b"session.created" in answer
            assert expected in answer[-125:]


@pytest.mark.parametrize(
    "header", [b"Sec-WebSocket-Key: AAAA", b"Sec-WebSocket-Version: 12", b"Connection: close", b"HTTP/1.0"]
)
def test_handshakes_that_are_wrong(header: bytes) -> None:
    """An upgrade with a header missing or wrong is a 400."""
    name = header.partition(b":")[0]
    lines = [header if line.startswith(name) else line for line in HANDSHAKE.split(b"\r\n")]
    request = b"\r\n".join(lines).replace(b"HTTP/1.1", header if b":" not in header else b"HTTP/1.1")
    with (
        LocalServer() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
    ):
        sock.sendall(request)
        answer = read_all(sock)
    assert answer.split()[1] == b"400"
    assert b'"bad_handshake"' in answer


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


# --- Watching -----------------------------------------------------------------------------------------


def test_observer() -> None:
    """An observer is told of each session, each message both ways, and how it ended."""
    watcher = Watcher()
    with LocalServer(observer=watcher) as server:
        peer = Peer(server)
        peer.send("nonsense")
        peer.until("error")
        peer.ws.send_close(4321, b"enough")
        assert peer.ending() == 4321
        peer.drop()
    session = peer.created["session"]["id"]
    assert watcher.told == [
        ("opened", session),
        ("sent", session, "session.created"),
        ("received", session, "nonsense"),
        ("sent", session, "error"),
        ("closed", session, 4321, "enough"),
    ]


def test_observer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises is logged, and the session goes on."""

    class Bad(Watcher):
        def received(self, session: str, frame: str | bytes) -> None:
            raise LookupError("oh no")

    with LocalServer(observer=Bad()) as server, connected(server) as peer:
        peer.turn("hello")
    assert "oh no" in caplog.text


def test_a_session_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the server's protocol is logged, and ends the session with 1011."""

    class Broken(Sunset):
        def start(self, now: float) -> NoReturn:
            raise LookupError("oh no")

    monkeypatch.setattr(wire, "ANSWER_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(DEADLINE)
        watcher = Watcher()
        Loop(wire.WebSocket(ours), Broken("sess_1", "event_1"), faults=Stage([]), observer=watcher).run()
        assert read_all(theirs)[2:4] == (1011).to_bytes(2, "big")
    assert watcher.told[-1][:3] == ("closed", "sess_1", 1011)
    assert "oh no" in caplog.text


# --- HTTP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    """A server that other machines can reach isn't made without a key."""
    with pytest.raises(ValueError, match="API key"):
        LocalServer(host)
    with pytest.raises(ValueError, match="API key"):
        LocalServer(host, api_key="")
    LocalServer(host, api_key="sk-x")


@pytest.mark.parametrize("host", ["localhost", "127.1.2.3", "::1"])
def test_this_machine_needs_no_key(host: str) -> None:
    """A server that only this machine can reach needs no key."""
    LocalServer(host)


@pytest.mark.parametrize("times", [{"delay": -1}, {"lifetime": 0}, {"lifetime": float("inf")}])
def test_times_that_make_no_sense(times: dict[str, Any]) -> None:
    """A server with such times isn't made."""
    with pytest.raises(ValueError, match="delay"):
        LocalServer(**times)


def test_api() -> None:
    """A secret that was posted for opens a session with the settings that it was made for."""
    with LocalServer(api_key="sk-right") as server:
        body = {"session": {"type": "realtime", "instructions": "Be brief."}}
        status, secret = post(server, "/v1/realtime/client_secrets", body, "sk-right")
        assert status == 200
        with connected(server, header=[f"Authorization: Bearer {secret['value']}"]) as peer:
            assert peer.created["session"]["instructions"] == "Be brief."
        assert post(server, "/v1/realtime/client_secrets", body, "sk-wrong")[0] == 401
        assert post(server, "/v1/realtime/client_secrets", {"x": "y" * 2_000_000}, "sk-right")[0] == 413


def post(server: LocalServer, path: str, body: object, key: str = "any") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def test_body_in_chunks() -> None:
    """A body may come in chunks."""
    with LocalServer() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        pieces = iter([b'{"session":{"type":', b'"realtime"}}'])
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/realtime/client_secrets", pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, b"ek_" in answer.read()) == (200, True)
        connection.close()


def test_clients_that_reset() -> None:
    """A client that resets its connection in place of reading its answer leaves nothing behind."""
    reset = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    gc.disable()
    try:
        with LocalServer() as server:
            Peer(server).ws.close()  # by then the server has opened what it keeps open
            with nothing_left():
                for _ in range(30):
                    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
                        sock.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                        sock.recv(1)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    finally:
        gc.enable()


@pytest.mark.parametrize("length", ["-5", "many", "1e3"])
def test_bad_content_length(length: str) -> None:
    """A length that is none is no body."""
    request = f"POST /v1/realtime/client_secrets HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
    with (
        LocalServer() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
    ):
        sock.sendall(request.encode())
        assert read_all(sock).split()[1] in (b"200", b"400", b"415")


def test_subprotocol() -> None:
    """A client that offers the subprotocol `realtime` gets it, and the key may stand beside it."""
    with LocalServer(api_key="sk-right") as server:
        offered = ["realtime", "openai-insecure-api-key.sk-right"]
        with connected(server, subprotocols=offered) as peer:
            assert peer.ws.subprotocol == "realtime"
        with connected(server, header=["Authorization: Bearer sk-right"]) as peer:
            assert peer.ws.subprotocol is None


def test_beta_and_its_sunset() -> None:
    """A client that speaks Beta gets Beta; or, after the sunset, an error and close code 4000."""
    header = ["OpenAI-Beta: realtime=v1"]
    with LocalServer() as server, connected(server, header=header) as peer:
        assert "modalities" in peer.created["session"]
    watcher = Watcher()
    with LocalServer(sunset_beta=True, observer=watcher) as server:
        ws: Any = websocket.create_connection(f"{server.url}/realtime", header=header, timeout=DEADLINE)
        error = json.loads(ws.recv())["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "beta_api_shape_disabled")
        assert ws.recv_data()[1][:2] == (4000).to_bytes(2, "big")
        ws.shutdown()
        with connected(server):
            pass
    assert (4000, "invalid_request_error.beta_api_shape_disabled") in watcher.closes


def test_lifetime() -> None:
    """At the end of its lifetime a session gets `session_expired`, and close code 1001."""
    with LocalServer(lifetime=0.2) as server:
        peer = Peer(server)
        assert peer.created["session"]["expires_at"] <= time.time() + 1
        assert peer.receive()["error"]["code"] == "session_expired"
        assert peer.ending() == 1001
        peer.drop()


def test_transcription_session() -> None:
    """`?intent=transcription` opens a transcription session, and another path a translation."""
    with LocalServer() as server:
        for path, kind in (
            ("?intent=transcription", "transcription"),
            ("/translations?model=m", "translation"),
        ):
            ws: Any = websocket.create_connection(f"{server.url}/realtime{path}", timeout=DEADLINE)
            assert json.loads(ws.recv())["session"]["type"] == kind
            ws.close()


@pytest.mark.parametrize("by", ["request", "caller"])
def test_a_call(by: str) -> None:
    """A session that listens to a call ends when that does, and no other session."""
    with LocalServer() as server, connected(server) as other:
        call_id = server.create_call()
        status, _ = post(
            server, f"/v1/realtime/calls/{call_id}/accept", {"type": "realtime", "instructions": "Hi."}
        )
        assert status == 200
        ws: Any = websocket.create_connection(f"{server.url}/realtime?call_id={call_id}", timeout=DEADLINE)
        assert json.loads(ws.recv())["session"]["instructions"] == "Hi."
        if by == "caller":
            server.call(call_id).hang_up()
        else:
            assert post(server, f"/v1/realtime/calls/{call_id}/hangup", None)[0] == 200
        opcode, data = ws.recv_data()
        assert (opcode, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1000).to_bytes(2, "big"))
        ws.shutdown()
        other.turn("Still there?")
        with pytest.raises(KeyError):
            server.call("rtc_unknown")


def test_stop_in_a_call() -> None:
    """Stop ends the sessions of calls as all others."""
    with LocalServer() as server:
        call_id = server.create_call("rtc_mine")
        post(server, f"/v1/realtime/calls/{call_id}/accept", {"type": "realtime"})
        ws: Any = websocket.create_connection(f"{server.url}/realtime?call_id={call_id}", timeout=DEADLINE)
        ws.recv()
        server.stop()
        server.call(call_id).hang_up()
        assert ws.recv_data()[1][:2] == (1001).to_bytes(2, "big")
        ws.shutdown()


def test_api_key() -> None:
    """With a key, only who has it comes in; the refusal doesn't repeat what was sent."""
    with LocalServer(api_key="sk-right") as server:
        for header in ([], ["Authorization: Bearer sk-wrong"], ["Authorization: Bearer sk-r\xefght"]):
            with pytest.raises(websocket.WebSocketBadStatusException) as caught:
                Peer(server, header=header)
            refusal: Any = caught.value
            assert refusal.status_code == 401
            body = json.loads(refusal.resp_body)
            assert body["error"]["code"] == "invalid_api_key"
            assert set(body["error"]) == {"message", "type", "code", "param"}
            assert b"sk-" not in refusal.resp_body
            assert refusal.resp_headers["x-request-id"].startswith("req_")
        with connected(server, header=["Authorization: Bearer sk-right"]):
            pass


def test_other_paths() -> None:
    """What isn't there is a 404 with OpenAI's kind of body."""
    with LocalServer() as server:
        status, headers, body = get(server, "/v1/nothing")
        assert (status, body["error"]["type"]) == (404, "invalid_request_error")
        assert headers["x-request-id"]
        assert headers["content-type"] == "application/json"


def test_no_upgrade() -> None:
    """A plain GET is told to upgrade."""
    with LocalServer() as server:
        status, headers, body = get(server, "/v1/realtime?model=x")
        assert (status, headers["upgrade"], body["error"]["code"]) == (426, "websocket", "upgrade_required")


def test_bad_handshake() -> None:
    """An upgrade that isn't WebSocket's is refused."""
    with LocalServer() as server:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert get(server, "/v1/realtime", headers)[0] == 400


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """Requests, refusals and sessions print nothing."""
    with LocalServer() as server:
        get(server, "/nowhere")
        with connected(server) as peer:
            peer.turn("hello")
        peer = Peer(server)
        peer.drop()
    assert capfd.readouterr() == ("", "")


# --- The end ------------------------------------------------------------------------------------------


def test_stop_with_open_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop ends idle, waiting and stalled sessions within moments, the willing ones with 1001.

    It is patient with none of them, however long the server would wait otherwise.
    """
    monkeypatch.setattr(wire, "ANSWER_SECONDS", 3600.0)
    monkeypatch.setattr(wire, "STALL_SECONDS", 3600.0)
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


def test_clients_that_break_the_rules() -> None:
    """A frame without a mask, a message too big, a vanished client: each ends its session only."""
    with LocalServer() as server, connected(server) as good:
        unmasked, big, gone = Peer(server), Peer(server), Peer(server)
        unmasked.ws.sock.sendall(b"\x81\x02{}")
        assert unmasked.ending() == 1002
        with contextlib.suppress(OSError):
            big.ws.send("x" * (33 * 1024 * 1024))
        assert big.ending() == 1009
        gone.send("response.create")
        gone.drop()
        for peer in (unmasked, big):
            peer.drop()
        good.turn("Still there?")


def test_close_is_answered() -> None:
    """A client's close is answered with its own code, also in the middle of a response."""
    for streaming in (False, True):
        with LocalServer(delay=0.001 if streaming else 0) as server:
            peer = Peer(server)
            if streaming:
                peer.send("response.create")
            peer.ws.send_close(1000, b"bye")
            assert peer.ending() == 1000
            peer.drop()


def test_nothing_is_left_behind() -> None:
    """200 sessions and several servers come and go; threads and descriptors are as before."""
    for _ in range(4):
        with nothing_left(), LocalServer() as server:
            Peer(server).ws.close()  # by then the server has opened what it keeps open
            with nothing_left():
                for number in range(50):
                    peer = Peer(server)
                    if number % 5 == 0:
                        peer.turn("hello", output_modalities=["text"])
                    if number % 2:
                        peer.drop()
                    else:
                        peer.ws.close()


def test_start_and_stop() -> None:
    """Starting and stopping twice is harmless, and a stopped server can be started again."""
    server = LocalServer()
    with pytest.raises(RuntimeError, match="start"):
        _ = server.url
    server.stop()
    assert server.start() is server.start()
    with pytest.raises(OSError, match="in use"):
        LocalServer(port=server.port).start()
    with connected(server):
        pass
    port = server.port
    server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    with server, connected(server):
        pass


def running(thread: int) -> set[CodeType]:
    """What a thread is in the middle of."""
    frame: FrameType | None = sys._current_frames()[thread]
    codes = set()
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    return codes


def test_ctrl_c() -> None:
    """Ctrl-C ends serve_forever quietly, with the sessions."""
    server = LocalServer().start()
    codes = []

    def interrupt() -> None:
        peer = Peer(server)
        main = threading.main_thread().ident or 0
        wait_until(
            lambda: {LocalServer.serve_forever.__code__, threading.Event.wait.__code__} <= running(main)
        )
        signal.pthread_kill(main, signal.SIGINT)
        codes.append(peer.ending())
        peer.drop()

    client = threading.Thread(target=interrupt)
    client.start()
    server.serve_forever()
    client.join(DEADLINE)
    assert codes == [1001]


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


def test_stop_ends_serve_forever() -> None:
    """Another thread's stop ends serve_forever."""
    server = LocalServer().start()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with connected(server):
        pass
    server.stop()
    serving.join(DEADLINE)
    assert not serving.is_alive()


@pytest.mark.parametrize("missing", ["werkzeug", "wsproto"])
def test_without_the_extra(missing: str) -> None:
    """Without what only the server needs, the rest of the package works, and the error says what to do."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from realtime_sync.local import Protocol
Protocol().start()
try:
    from realtime_sync.local import LocalServer
except ImportError as error:
    assert 'pip install "realtime-sync[local]"' in str(error), error
else:
    raise SystemExit("imported")
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, timeout=DEADLINE)
