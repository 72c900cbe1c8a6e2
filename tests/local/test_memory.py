"""The bound on what all sessions hold: counted, and kept by a server."""

import base64
import gc
import json
from typing import Any

import pytest
from local_peer import Peer, Watcher, connected, frame
from threads import wait_until
from tones import silence, tone

import realtime_sync as rt
from realtime_sync.local import LocalServer, Protocol
from realtime_sync.local.memory import Memory
from realtime_sync.local.protocol.answer import Answer
from realtime_sync.local.protocol.history import History
from realtime_sync.local.protocol.realtime import ConversationSession
from realtime_sync.local.protocol.translation import TranslationSession

MIB = 1024 * 1024
AUDIO = "A" * (MIB * 4 // 3 // 4 * 4)  # 1 MiB


def test_memory() -> None:
    """Growing is fine up to the bound, shrinking always; a sixteenth is not for new sessions."""
    memory = Memory(160)
    assert memory.change(149)
    assert not memory.full
    assert memory.change(1)
    assert memory.full
    assert memory.change(10)
    assert not memory.change(5)
    assert memory.change(-1)
    assert memory.change(0)
    assert not memory.change(1)
    assert memory.change(-20)
    assert not memory.full


def hold(peer: Peer, mib: int) -> None:
    """Fill the session with audio that isn't committed."""
    hearing = {"input": {"turn_detection": None}}
    peer.send("session.update", session={"type": "realtime", "audio": hearing})
    for _ in range(mib):
        peer.send("input_audio_buffer.append", audio=AUDIO)
    peer.send("input_audio_buffer.commit")
    peer.until("input_audio_buffer.committed")


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


@pytest.mark.parametrize(
    "more",
    [
        frame(1, json.dumps({"type": "input_audio_buffer.append", "audio": AUDIO * 2}).encode()),
        frame(1, b"x" * 2 * MIB, final=False),
    ],
    ids=["audio", "half a message"],
)
def test_all_sessions_together(more: bytes) -> None:
    """A session that needs more than all may hold is closed with 1013, and the others go on."""
    watcher = Watcher()
    with (
        LocalServer(max_memory=6 * MIB, observer=watcher) as server,
        connected(server) as large,
        connected(server) as good,
    ):
        hold(large, 4)
        small = Peer(server)
        small.ws.sock.sendall(more)
        assert small.ending() == 1013
        small.drop()
        large.say("Still there?")
        good.say("Still there?")
    assert (1013, "the server has no memory left for this session") in watcher.closes


def test_what_is_given_back() -> None:
    """What a session held can be used again once it has ended, or has deleted it."""
    with LocalServer(max_memory=16 * MIB) as server:
        for _ in range(3):
            with connected(server, skip_utf8_validation=True) as peer:
                for _ in range(3):
                    peer.send("conversation.item.create", item={"id": "item_1", **message("x" * 3 * MIB)})
                    peer.until("conversation.item.done")
                    peer.send("conversation.item.delete", item_id="item_1")
                    peer.until("conversation.item.deleted")
                peer.say("x" * 3 * MIB)


def test_no_room_for_a_new_session() -> None:
    """When all is held, a new session is rejected with 503; not for ever."""
    watcher = Watcher()
    with LocalServer(max_memory=MIB, observer=watcher) as server:
        sessions: list[rt.Session] = []
        failure = None
        while failure is None and len(sessions) < 100:
            try:
                sessions.append(rt.connect(base_url=server.url))
            except rt.ConnectionFailed as error:
                failure = error
        assert failure
        assert (failure.status, json.loads(failure.body)["error"]["code"]) == (503, "server_full")
        assert len(sessions) > 10
        for session in sessions:
            session.close()
        wait_until(lambda: len(watcher.closes) == len(sessions))
        rt.connect(base_url=server.url).close()


HEARD = {"turn_detection": None, "transcription": {"model": "whisper-1"}}
MCP = {"type": "mcp", "server_label": "m", "server_url": "https://m.example"}
SETTINGS = {"type": "realtime", "audio": {"input": HEARD}, "tools": [MCP]}
ALL_KINDS_OF_JOBS = [
    {"type": "conversation.item.create", "item": message("Hello")},
    {"type": "input_audio_buffer.append", "audio": AUDIO},
    {"type": "session.update", "session": SETTINGS},
    {"type": "input_audio_buffer.append", "audio": AUDIO},
    {"type": "input_audio_buffer.commit"},
    {"type": "response.create"},
    {"type": "response.create", "response": {"conversation": "none"}},
]
UTTERANCE = base64.b64encode(tone(300) + silence(800)).decode()


@pytest.mark.parametrize("steps", [0, 1, 7, 1_000_000])
@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("realtime", ALL_KINDS_OF_JOBS),
        ("translation", [{"type": "session.input_audio_buffer.append", "audio": UTTERANCE}] * 3),
    ],
)
def test_a_session_that_has_ended_is_freed(kind: str, sent: list[dict[str, Any]], steps: int) -> None:
    """What a session held is free at once, without the garbage collector, which may not run for long.

    Whether it ends in the middle of what it does, or later.
    """

    def held() -> int:
        sessions = (ConversationSession, TranslationSession, History, Answer)
        return sum(isinstance(one, sessions) for one in gc.get_objects(generation=0))  # since `gc.collect`

    gc.collect()
    gc.disable()
    try:
        before = held()
        protocol = Protocol(session_type=kind)
        protocol.start()
        for event in sent:
            assert "error" not in [answer.type for answer in protocol.receive(json.dumps(event))]
        while protocol.active and steps:
            protocol.step()
            steps -= 1
        assert held() > before
        protocol.close()
        del protocol
        assert held() == before
    finally:
        gc.enable()
