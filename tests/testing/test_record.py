"""What a server remembers of its sessions."""

from dialogues import SECOND, ask, connected

import realtime_sync as rt
from realtime_sync.testing import RealtimeServer

ev = rt.events


def test_records() -> None:
    """The server remembers what each session received and sent, and how it ended."""
    with RealtimeServer() as server:
        assert (server.sessions, server.received, server.sent, server.closed) == ([], [], [], {})
        with connected(server) as one, connected(server) as two:
            one.input_audio_buffer.append(SECOND)
            ask(two, b"\1\0" * 24_000, "Hello?")
            server.wait_for(ev.InputAudioBufferAppend, count=2)
            assert len(server.audio_received) == 2 * len(SECOND)
            assert server.closed == {}
            two.close(4001)
            server.wait_until(lambda: server.closed)
        server.wait_closed()
        first, second = server.sessions
        assert (first, second) == (one.id, two.id)
        assert server.closed == {first: 1000, second: 4001}
        assert [event.type for event in server.records[first].received] == [
            "session.update",
            "input_audio_buffer.append",
        ]
        assert server.records[second].audio_received == b"\1\0" * 24_000
        assert server.records[second].sent[0].type == "session.created"
        assert len(server.received_of(ev.SessionUpdate, ev.ResponseCreate)) == 3
        assert len(server.sent_of(ev.ResponseDone)) == 1
        assert len(server.sent) == sum(len(record.sent) for record in server.records.values())


def test_junk_is_remembered_too() -> None:
    """What is no event is recorded as it came, and the errors it got are shown."""
    with RealtimeServer() as server, connected(server) as session:
        session.send({"type": "dance", "steps": 3})
        server.wait_for(lambda event: event.type == "dance")
        [junk] = server.received_of(rt.UnknownEvent)
        assert junk.data["steps"] == 3
        server.wait_until(lambda: server.sent_of(ev.ErrorEvent))
        assert "and answered with errors:\n  error(" in server.summary()
