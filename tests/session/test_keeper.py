"""What is sent again by another connection, and in which order."""

import base64

from reopened import Connections, Peer, lose, opened, reconnected
from scripted import DEADLINE, ScriptedServer
from threads import wait_until

import realtime_sync as rt


def sent_again(second: Peer) -> list[str]:
    """What was sent again and not as a part of restoring: the bytes of audio, or the type."""
    events = [
        event for event in second.received if not event.get("event_id", "").startswith("event_restored_")
    ]
    return [
        base64.b64decode(event["audio"])[:1].hex() if "audio" in event else event["type"] for event in events
    ]


def test_the_order() -> None:
    """What the server has not answered is sent again in its order, the audio between it at its places."""
    first, second = Peer(lambda event: []), Peer()
    with ScriptedServer(Connections(first, second)) as server:
        session = opened(server.url)
        session.input_audio_buffer.append(b"\1\1" * 480)
        session.conversation.item.create("one")
        session.input_audio_buffer.append(b"\2\2" * 480)
        session.input_audio_buffer.commit()
        session.input_audio_buffer.append(b"\3\3" * 480)
        wait_until(lambda: len(first.received) == 5)
        lose(session)
        assert reconnected(session).lost == []
        wait_until(lambda: len(second.received) >= 5)
        session.close()
    assert sent_again(second) == [
        "01", "conversation.item.create", "02", "input_audio_buffer.commit", "03",
    ]  # fmt: skip


def test_what_means_nothing_any_more() -> None:
    """A cancellation and a truncation are not sent again: no response runs, and nothing can be cut off."""
    first, second = Peer(lambda event: []), Peer()
    with ScriptedServer(Connections(first, second)) as server:
        session = opened(server.url)
        session.response.cancel()
        session.conversation.item.truncate("i", audio_end_ms=10)
        session.conversation.item.create("one")
        wait_until(lambda: len(first.received) == 3)
        lose(session)
        reconnected(session)
        session.run(rt.Visitor[None](), until=rt.events.ConversationItemDone, timeout=DEADLINE)
        session.close()
    assert sent_again(second) == ["conversation.item.create"]


def test_no_audio_is_kept() -> None:
    """Without a copy of the audio, what was not committed is named as lost and not sent again."""
    first, second = Peer(lambda event: []), Peer()
    with ScriptedServer(Connections(first, second)) as server:
        session = opened(server.url, reconnect=rt.Reconnect(audio_buffer=0))
        session.input_audio_buffer.append(bytes(4800))
        session.conversation.item.create("one")
        wait_until(lambda: len(first.received) == 2)
        lose(session)
        [lost] = reconnected(session).lost
        session.run(rt.Visitor[None](), until=rt.events.ConversationItemDone, timeout=DEADLINE)
        session.close()
    assert lost == "100 ms of the user's audio: more than audio_buffer= keeps"
    assert sent_again(second) == ["conversation.item.create"]
