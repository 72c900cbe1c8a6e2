"""`LocalServer` over real sockets, with a foreign client (websocket-client)."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
from leftovers import nothing_left, uncollected
from local_peer import DEADLINE, Peer, Tls, connected, joined, read_all
from threads import wait_until

import realtime_sync as rt
from realtime_sync.local import Heard, LocalServer, Request, Say, Sentence, connections
from realtime_sync.local.faults import CloseAfter


def test_text_turn() -> None:
    """A written answer streams and mentions the question; the model asked for is announced."""
    with LocalServer() as server, connected(server) as peer:
        assert peer.created["session"]["model"] == "test-model"
        events = peer.turn("Why is the sky blue?", output_modalities=["text"])
        text = joined(events, "response.output_text.delta")
        assert "Why is the sky blue?" in text
        assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": text}]


def test_what_has_ended_is_freed(tls: Tls) -> None:
    """A session frees its memory when it ends, and leaves nothing to the garbage collector."""
    context, options = tls
    with LocalServer(ssl_context=context) as server:
        with connected(server, **options) as peer:  # what the first one loads
            peer.turn("Hello")
        with uncollected() as garbage, nothing_left(), connected(server, **options) as peer:
            peer.turn("Hello")
    kinds = {f"{type(thing).__module__}.{type(thing).__name__}" for thing in garbage}
    assert not {kind for kind in kinds if kind.startswith(("realtime_sync.local", "ssl"))}


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


def test_errors_keep_the_session_open() -> None:
    """Nonsense gets an error each, and the next turn works."""
    with LocalServer() as server, connected(server) as peer:
        peer.ws.send("hello")
        assert peer.receive()["error"]["code"] == "invalid_json"
        peer.send("nonsense", event_id="mine")
        assert peer.receive()["error"]["event_id"] == "mine"
        assert peer.turn("Still there?")[-1]["response"]["status"] == "completed"


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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    """A server that other machines can reach isn't made without a key."""
    with pytest.raises(ValueError, match="api_key is needed"):
        LocalServer(host)
    with pytest.raises(ValueError, match="api_key is needed"):
        LocalServer(host, api_key="")
    LocalServer(host, api_key="sk-x")


@pytest.mark.parametrize("host", ["localhost", "127.1.2.3", "::1"])
def test_this_machine_needs_no_key(host: str) -> None:
    """A server that only this machine can reach needs no key."""
    LocalServer(host)


@pytest.mark.parametrize("times", [{"delay": -1}, {"lifetime": 0}, {"lifetime": float("inf")}])
def test_times_that_make_no_sense(times: dict[str, Any]) -> None:
    """A server with such times isn't made."""
    with pytest.raises(ValueError, match=r"must be .*, got"):
        LocalServer(**times)


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


def refused(server: LocalServer) -> bool:
    """Whether the port is closed."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", server.port)) != 0


def test_restart(tls: Tls) -> None:
    """A restart loses all connections without a close frame; the port stays, and so does what was counted."""
    context, options = tls
    faults = [CloseAfter(1, code=1013, connection=4)]
    with LocalServer(ssl_context=context, faults=faults) as server:
        port, call = server.port, server.create_call()
        for _ in range(3):
            peer = Peer(server, **options)
            with socket.create_connection(("127.0.0.1", port)) as silent:
                server.restart()
                assert peer.ending() is None
                assert read_all(silent) == b""
            peer.drop()
        assert (server.port, server.call(call).state) == (port, "ringing")
        peer = Peer(server, **options)
        assert peer.ending() == 1013  # the fourth connection
        peer.drop()


def test_down_for_a_time() -> None:
    """While the server is down its port is closed, and nobody else is given it; all who restart it wait."""
    with LocalServer() as server:
        restarts = [threading.Thread(target=server.restart, args=[0.5]) for _ in range(3)]
        begun = time.monotonic()
        for restart in restarts:
            restart.start()
        wait_until(lambda: refused(server))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
        assert refused(server)
        for restart in restarts:
            restart.join(DEADLINE)
        assert time.monotonic() - begun >= 0.5
        with connected(server) as peer:
            peer.turn("hello")


def test_stop_while_down() -> None:
    """A server that is down stops at once; who waits for its restart goes on."""
    server = LocalServer().start()
    restart = threading.Thread(target=server.restart, args=[3600])
    restart.start()
    wait_until(lambda: refused(server))
    begun = time.monotonic()
    server.stop()
    restart.join(DEADLINE)
    assert not restart.is_alive()
    assert time.monotonic() - begun < DEADLINE
    with pytest.raises(RuntimeError, match="isn't running"):
        server.restart()


@pytest.mark.parametrize("down", [-1, float("inf"), float("nan")])
def test_a_restart_that_makes_no_sense(down: float) -> None:
    """A time that is none is a ValueError."""
    with LocalServer() as server, pytest.raises(ValueError, match="down must be 0 or more seconds, got"):
        server.restart(down)


class Restarting:
    """Restarts its own server in the middle of an answer."""

    server: LocalServer

    def __init__(self) -> None:
        self.up = threading.Semaphore(0)  # counts the restarts

    def respond(self, request: Request) -> Iterator[Say]:
        yield Say("one")
        self.server.restart()
        self.up.release()
        yield Say("two")


def test_restart_by_a_session() -> None:
    """The thread of a session may restart the server, which ends that session."""
    responder = Restarting()
    with LocalServer(responder=responder) as server:
        responder.server = server
        for _ in range(2):
            peer = Peer(server)
            peer.send("response.create", response={"output_modalities": ["text"]})
            assert peer.ending() is None
            peer.drop()
            assert responder.up.acquire(timeout=DEADLINE)


def test_a_port_that_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the system does not give the port back at once, the server tries again, and says so."""
    bind, failures = socket.socket.bind, iter([True, True])

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if next(failures, False):
                raise OSError(98, "Address already in use")
            bind(self, address)

    with LocalServer() as server:
        monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(socket, "socket", Socket)
        server.restart()
        with connected(server) as peer:
            peer.turn("hello")
    assert "trying again: [Errno 98] Address already in use" in caplog.text


def test_restarts_on_both_kinds_of_address() -> None:
    """A server on an address of IP version 6 comes back, too."""
    with LocalServer("::1") as server:
        server.restart()
        with connected(server) as peer:
            peer.turn("hello")


def test_models_are_loaded_before_they_are_needed(caplog: pytest.LogCaptureFixture) -> None:
    """What has to load something is told to when the server starts; it stops once that is over."""
    began, finish, told = threading.Event(), threading.Event(), []

    class Loading:
        def __init__(self, fails: bool) -> None:
            self.fails = fails

        def warm_up(self) -> None:
            began.set()
            assert finish.wait(DEADLINE)
            told.append(self.fails)
            if self.fails:
                raise OSError("no such model")

        def transcribe(self, heard: Heard) -> list[str]:
            return []

        def speak(self, sentence: Sentence) -> list[bytes]:
            return []

    with LocalServer(transcriber=Loading(True), voice=Loading(False)) as server, connected(server):
        assert began.wait(DEADLINE)
        finish.set()
    assert told[0]
    assert "a model could not be loaded" in caplog.text
