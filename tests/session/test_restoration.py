"""Restoring a session by a new connection: what a server rejects, renames or does not acknowledge."""

import json
from typing import Any

import pytest
from reopened import Connections, Peer, lose, opened, reconnected, rejection, talks
from scripted import CREATED, ScriptedServer, delta, server_frame

import realtime_sync as rt
from realtime_sync.session import restoration
from realtime_sync.voice import Conversation


def text_of(event: Any) -> str:
    """What the message says that an event creates, and whether it brings an id; ``""`` for another event."""
    item = event.get("item", {})
    return f"{item['content'][0]['text']}{'+id' if 'id' in item else ''}" if item else ""


def reopened(peer: Peer, *texts: str) -> tuple[rt.Reconnected, list[str]]:
    """Lose the connection of a conversation of these texts; return the event, and what is left of them."""
    with ScriptedServer(Connections(Peer(), peer)) as server, opened(server.url) as session:
        conversation = Conversation(session)
        for text in texts:
            session.conversation.item.create(text)
            session.run(conversation, until=rt.events.ConversationItemDone)
        lose(session)
        event = reconnected(session, conversation)
        return event, [item.text for item in conversation.items]


@pytest.mark.parametrize("names", [True, False])
def test_an_id_that_is_rejected(names: bool) -> None:
    """An item whose id a server rejects is created without it, behind the same item; nothing is lost."""

    def answer(event: Any) -> list[str] | None:
        return [rejection(event["event_id"] if names else None)] if text_of(event) == "one+id" else None

    peer = Peer(answer)
    event, left = reopened(peer, "zero", "one", "two")
    assert event.restored
    assert event.lost == []
    assert left == ["zero", "one", "two"]
    first, again = peer.items[0], peer.items[-1]
    assert [text for _, text, _ in peer.items] == ["zero", "one", "two", "one"]
    assert again == (None, "one", first[0])


def test_an_item_that_is_rejected() -> None:
    """An item that a server does not take at all is named as lost, and leaves the conversation."""

    def answer(event: Any) -> list[str] | None:
        return [rejection(event["event_id"], "not this")] if text_of(event).startswith("one") else None

    event, left = reopened(Peer(answer), "zero", "one", "two")
    [lost] = event.lost
    assert not event.restored
    assert lost.endswith("(message): the server rejected it: not this")
    assert left == ["zero", "two"]


def test_settings_that_are_rejected() -> None:
    """Settings that a server rejects are named as lost, and so is what is different for it."""
    peer = Peer(lambda event: [rejection(event["event_id"], "bad")] if "session" in event else None)
    with ScriptedServer(Connections(Peer(), peer)) as server, opened(server.url) as session:
        session.update(instructions="Be brief.")
        session.run(rt.Visitor[None](), until=rt.events.SessionUpdated)
        lose(session)
        event = reconnected(session)
    assert event.lost == [
        "settings: the server rejected them: bad",
        "setting instructions: it was 'Be brief.', and is not set",
    ]


def test_other_settings() -> None:
    """Each setting that a server announces differently than before is named, with both values."""
    other = json.loads(CREATED)
    other["session"] |= {"id": "sess_2", "model": "gpt-other", "audio": {"output": {"voice": "ash"}}}
    first = json.loads(CREATED)
    first["session"]["audio"] = {"output": {"voice": "marin"}}
    scripts = Peer(begins=json.dumps(first)), Peer(begins=json.dumps(other))
    with ScriptedServer(Connections(*scripts)) as server, opened(server.url) as session:
        lose(session)
        event = reconnected(session)
    assert sorted(event.lost) == [
        "setting audio.output.voice: it was 'marin', and is 'ash'",
        "setting model: it was 'gpt-realtime-2.1', and is 'gpt-other'",
    ]
    assert event.session_id == "sess_2"


def test_a_server_that_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server does not answer counts as taken once it has been quiet."""
    monkeypatch.setattr(restoration, "_PATIENCE", 0.05)
    peer = Peer(lambda event: [])
    event, left = reopened(peer, "zero", "one")
    assert event.restored
    assert left == ["zero", "one"]
    assert len(peer.items) == 2


@pytest.mark.parametrize("says", [server_frame(1, delta("x").encode()), server_frame(9, b"ping")])
def test_a_server_that_says_other_things(monkeypatch: pytest.MonkeyPatch, says: bytes) -> None:
    """A server that talks without end but answers nothing costs one attempt; pings are no talk."""
    monkeypatch.setattr(restoration, "_PATIENCE", 0.1)
    last = Peer()
    with ScriptedServer(Connections(Peer(), talks(says, CREATED), last)) as server:
        session = opened(server.url, "zero", ping_interval=None)
        lose(session)
        event = reconnected(session)
        session.close()
    is_talk = says[0] & 0x0F == 1
    assert event.attempts == 1 + is_talk
    assert event.restored
    assert len(last.items) == is_talk


def test_a_rejection_without_a_session() -> None:
    """Where the server announces no session, an item that it rejects is named as lost, too, and no more."""

    def answer(event: Any) -> list[str] | None:
        return [rejection(event["event_id"], "not this")] if text_of(event).startswith("one") else None

    last = Peer(answer, begins=None)
    with ScriptedServer(Connections(Peer(begins=None), last)) as server:
        session = opened(server.url, "zero", "one", "two", wait=False)
        lose(session)
        event = reconnected(session)
        session.close()
    [lost] = event.lost
    assert event.attempts == 1
    assert lost.endswith("(message): the server rejected it: not this")
    assert [text for _, text, _ in last.items] == ["zero", "one", "two", "one"]


def test_an_error_about_something_else() -> None:
    """An error about an event that restoring has not sent changes nothing."""

    def answer(event: Any) -> list[str] | None:
        return None if text_of(event) != "zero+id" else [rejection("event_of_nobody"), *taken(event)]

    event, left = reopened(Peer(answer), "zero")
    assert event.lost == []
    assert left == ["zero"]


def taken(event: Any) -> list[str]:
    """What a server of the Beta says to an item that it takes."""
    return [json.dumps({"type": "conversation.item.created", "event_id": "event_c", "item": event["item"]})]


def test_another_id() -> None:
    """An item to which the server gives an id of its own has that one from then on."""

    def answer(event: Any) -> list[str] | None:
        return taken({"item": {**event["item"], "id": "another"}}) if "item" in event else None

    with ScriptedServer(Connections(Peer(), Peer(answer))) as server, opened(server.url) as session:
        conversation = Conversation(session)
        session.conversation.item.create("zero")
        session.run(conversation, until=rt.events.ConversationItemDone)
        lose(session)
        assert reconnected(session, conversation).restored
        assert [item.id for item in conversation.items] == ["another"]


def test_a_connection_that_ends_meanwhile() -> None:
    """A connection that is lost while the session is restored costs one attempt, and nothing else."""

    def ends(event: Any) -> list[str]:
        raise ConnectionError

    scripts = Peer(), Peer(ends), Peer()
    with ScriptedServer(Connections(*scripts)) as server, opened(server.url, "zero") as session:
        lose(session)
        event = reconnected(session)
    assert event.attempts == 2
    assert event.restored
    assert [text for _, text, _ in scripts[2].items] == ["zero"]
