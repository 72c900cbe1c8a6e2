"""The local server over real sockets, with a foreign client (websocket-client)."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import websocket

from realtime_sync.local import LocalServer, Request, Say, ScriptedResponder

DEADLINE = 20.0
FDS = Path("/proc/self/fd")


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


class Endless:
    """Answers without end."""

    def respond(self, request: Request) -> Iterator[Say]:
        while True:
            yield Say("again and again")


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Every test in this file: all threads and descriptors are gone afterwards."""
    threads, fds = threading.active_count(), open_fds()
    yield
    wait_until(lambda: threading.active_count() <= threads and open_fds() <= fds)


def open_fds() -> int:
    return len(list(FDS.iterdir())) if FDS.exists() else 0


def wait_until(done: Callable[[], bool]) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.01)


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
    responder = ScriptedResponder([Say("x", audio=bytes(4_800_000))])
    with LocalServer(ssl_context=context, responder=responder) as server:
        assert server.url.startswith("wss://")
        assert server.http_url.startswith("https://")
        with connected(server, sslopt={"context": trusting}) as peer:
            peer.send("response.create")
            for _ in range(50):
                peer.send("input_audio_buffer.append", audio="AAAA" * 10_000)
            assert len(joined(peer.until("response.done"), "response.output_audio.delta")) == 6_400_000
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
    responder = ScriptedResponder([Say("x", audio=bytes(4_800_000))])
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
        assert (pongs, kinds.count("response.output_audio.delta")) == (100, 1000)


def test_sessions_do_not_share() -> None:
    """Each connection is a session of its own."""
    with LocalServer() as server, connected(server) as one, connected(server) as two:
        assert one.created["session"]["id"] != two.created["session"]["id"]
        one.say("secret")
        assert "secret" not in json.dumps(two.turn("hello"))


# --- HTTP ---------------------------------------------------------------------------------------------


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


def test_stop_with_open_sessions() -> None:
    """Stop ends idle, waiting, streaming and stalled sessions within moments, the willing ones with 1001."""
    huge = ScriptedResponder(["x" * 50_000_000])  # one word, so one frame, that no buffer holds
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


def test_clients_that_break_the_rules() -> None:
    """A frame without a mask, a message too big, a vanished client: each ends its session only."""
    with LocalServer() as server, connected(server) as good:
        unmasked, big, gone = Peer(server), Peer(server), Peer(server)
        unmasked.ws.sock.sendall(b"\x81\x02{}")
        assert unmasked.ending() in (1002, None)
        with contextlib.suppress(OSError):
            big.ws.send("x" * (33 * 1024 * 1024))
        assert big.ending() in (1009, None)
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


def test_ctrl_c() -> None:
    """Ctrl-C ends serve_forever quietly, with the sessions."""
    server = LocalServer().start()
    codes = []

    def interrupt() -> None:
        peer = Peer(server)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        codes.append(peer.ending())
        peer.drop()

    client = threading.Thread(target=interrupt)
    client.start()
    server.serve_forever()
    client.join(DEADLINE)
    assert codes == [1001]


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
