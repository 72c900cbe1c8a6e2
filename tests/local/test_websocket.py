"""The WebSocket from the server's side: frames, limits, and clients that do not keep to the rules."""

import contextlib
import json
import socket
import subprocess
import sys
import threading

import pytest
import websocket
from local_peer import DEADLINE, HANDSHAKE, Endless, Peer, Tls, Watcher, connected, frame, joined, read_all
from threads import wait_until

from realtime_sync.local import LocalServer, Say, ScriptedResponder
from realtime_sync.local import websocket as wire

SMALL = [(socket.SOL_SOCKET, option, 65_536) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]


def test_pings_are_answered_while_streaming() -> None:
    """Pongs come between the frames of a response, never inside one."""
    responder = ScriptedResponder([Say("x", audio=bytes(480_000))])
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
        assert (pongs, kinds.count("response.output_audio.delta")) == (100, 100)


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


@pytest.mark.parametrize("fragments", [1, 40, 5_000])
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
        hearing = {"input": {"turn_detection": None}}
        peer.send("session.update", session={"type": "realtime", "audio": hearing})
        peer.until("session.updated")
        audio = b"AAAA" * (5 * 1024 * 1024)
        peer.ws.sock.sendall(frame(1, b'{"type":"input_audio_buffer.append","audio":"%s"}' % audio))
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
    """Thousands of tiny appends in a row are obeyed, each in its turn."""
    with LocalServer() as server, connected(server) as peer:
        for _ in range(5):
            peer.ws.sock.sendall(APPEND * 1000)
        peer.send("input_audio_buffer.commit")
        peer.until("conversation.item.done")
        peer.send("response.create", response={"output_modalities": ["text"]})
        text = joined(peer.until("response.done"), "response.output_text.delta")
        assert text.startswith("I heard 0.3")


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
    """A response without end is held back from a client that doesn't read, who is dropped in the end."""
    monkeypatch.setattr(wire, "STALL_SECONDS", 0.5)
    watcher, (context, options) = Watcher(), tls
    with LocalServer(ssl_context=context, responder=Endless("x" * 10_000), observer=watcher) as server:
        peer = Peer(server, sockopt=SMALL, **options)
        peer.send("response.create", response={"output_modalities": ["text"]})
        wait_until(lambda: watcher.closes == [(1006, "")])
        assert watcher.bytes_sent < 20_000_000
        peer.drop()


def test_a_client_that_reads_late() -> None:
    """What a client was made to wait for comes in order, and whole, once it reads."""
    text = "x" * 100_000
    with LocalServer() as server, connected(server, sockopt=SMALL, skip_utf8_validation=True) as peer:
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
    with LocalServer(responder=Endless("x" * 10_000), observer=watcher) as server:
        peer = Peer(server, sockopt=SMALL)
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


def test_clients_that_break_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame without a mask, a message too big, a vanished client: each ends its session only."""
    monkeypatch.setattr(wire, "MOST_BYTES", 200_000)
    with LocalServer() as server, connected(server) as good:
        unmasked, big, gone = Peer(server), Peer(server), Peer(server)
        unmasked.ws.sock.sendall(b"\x81\x02{}")
        assert unmasked.ending() == 1002
        with contextlib.suppress(OSError):
            big.ws.send("x" * 300_000)
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
