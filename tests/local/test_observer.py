"""What an observer is told."""

from collections.abc import Sequence
from typing import Any

import pytest
import websocket
from local_peer import Peer, Watcher, connected

from realtime_sync.events import InputText, Item, Message, OutputText
from realtime_sync.local import LocalServer, Protocol, ScriptedResponder


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


class Historian(Watcher):
    """An observer that is told of the conversation, too."""

    def remembered(self, session: str, items: Sequence[Item]) -> None:
        texts = [
            part.text
            for item in items
            if isinstance(item, Message)
            for part in item.content
            if isinstance(part, InputText | OutputText)
        ]
        self.told.append(("remembered", session, texts))


def test_what_is_remembered() -> None:
    """An observer that wants it is told of the conversation in the end, with what is unfinished."""
    historian = Historian()
    script = ScriptedResponder(["Hi.", "one two three"])
    with LocalServer(observer=historian, responder=script, delay=0.02) as server:
        peer = Peer(server)
        peer.turn("Hello", output_modalities=["text"])
        peer.send("response.create", response={"output_modalities": ["text"]})
        peer.until("response.output_text.delta")
        peer.drop()
    session = peer.created["session"]["id"]
    (kind, name, texts), closed = historian.told[-2:]
    assert (kind, name, closed[0]) == ("remembered", session, "closed")
    assert texts[:2] == ["Hello", "Hi."]
    assert "one two three".startswith(texts[2])
    assert texts[2]


def test_a_session_without_a_conversation() -> None:
    """A translation, and a client that is sent away, have nothing to be remembered."""
    assert Protocol(session_type="translation").items == []
    historian = Historian()
    with LocalServer(observer=historian, sunset_beta=True) as server:
        ws: Any = websocket.create_connection(f"{server.url}/realtime", header=["OpenAI-Beta: realtime=v1"])
        while ws.recv():
            pass
        ws.shutdown()
    assert [told[2:] for told in historian.told if told[0] == "remembered"] == [([],)]
