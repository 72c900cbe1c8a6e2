"""What an observer is told."""

import pytest
from local_peer import Peer, Watcher, connected

from realtime_sync.local import LocalServer


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
