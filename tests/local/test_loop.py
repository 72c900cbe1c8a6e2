"""A session's loop: the client and the time, whichever comes first."""

import socket
import time
from typing import NoReturn

import pytest
from local_peer import DEADLINE, Endless, Peer, Watcher, connected, read_all

from realtime_sync.local import LocalServer, ScriptedResponder
from realtime_sync.local import websocket as wire
from realtime_sync.local.loop import Loop, Sunset
from realtime_sync.local.stage import Stage


def test_cancel_in_mid_stream() -> None:
    """A cancel takes effect between two deltas, however long the pause between them is."""
    with LocalServer(delay=3600) as server, connected(server) as peer:
        peer.say("Tell me a story")
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.content_part.added")
        peer.send("response.cancel")
        done = peer.until("response.done")[-1]["response"]
        assert (done["status"], done["output"][0]["status"]) == ("cancelled", "incomplete")


def test_cancel_in_full_flow() -> None:
    """A cancel is heard also when the deltas follow each other at once."""
    with LocalServer(responder=Endless()) as server, connected(server) as peer:
        for _ in range(3):
            peer.send("response.create", response={"output_modalities": ["text"]})
            peer.until("response.output_text.delta")
            peer.send("response.cancel")
            assert peer.until("response.done")[-1]["response"]["status"] == "cancelled"


def test_delay() -> None:
    """With a delay, the deltas come spread over time."""
    responder = ScriptedResponder(["a b c d e f g h i j"])
    with LocalServer(delay=0.01, responder=responder) as server, connected(server) as peer:
        begun = time.monotonic()
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.done")
        assert time.monotonic() - begun > 0.1


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


def test_lifetime() -> None:
    """At the end of its lifetime a session gets `session_expired`, and close code 1001."""
    with LocalServer(lifetime=0.2) as server:
        peer = Peer(server)
        assert peer.created["session"]["expires_at"] <= time.time() + 1
        assert peer.receive()["error"]["code"] == "session_expired"
        assert peer.ending() == 1001
        peer.drop()
