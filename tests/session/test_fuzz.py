"""A session against servers that send anything: frames, events, answers to the handshake."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

import canary
import pytest
import samples
from canary import Memory, WatchedServer
from fuzz import Faults, fuzz
from hostile_server import HostileServer
from mutations import bent, broken, chopped, encoded, frames
from scripted import CREATED, Caller, server_frame

import realtime_sync as rt
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback, ToolRunner, Tools

QUICK = 40  # inputs of each kind, in the default run


@pytest.fixture
def faults() -> Iterator[Faults]:
    with Faults.watched("realtime_sync") as faults:
        yield faults


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


# --- What servers send ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What a server sends after the handshake, or in place of it, part by part."""

    parts: list[bytes]
    agrees: bool = True

    def __call__(self, caller: Caller) -> None:
        if self.agrees:
            caller.accept()
        else:
            caller.read_request()
        for part in self.parts:
            caller.raw(_with_key(part, caller))


def _with_key(part: bytes, caller: Caller) -> bytes:
    """Put the right answer to this handshake's key in its place."""
    if b"ACCEPT" not in part:
        return part
    return part.replace(b"ACCEPT", accept_of(caller).encode())


def accept_of(caller: Caller) -> str:
    key = (caller.header("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()


EVENTS = [*samples.ALL_SERVER.values()]
FEW = [  # of a turn, with the same ids, so that some of what comes fits together
    json.dumps(frame)
    for response in [{"id": "r", "object": "realtime.response", "status": "in_progress", "output": []}]
    for place in [{"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}]
    for item in [{"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}]
    for call in [{"id": "i", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}]
    for frame in (
        {"type": "response.created", "event_id": "1", "response": response},
        {"type": "response.output_item.added", "event_id": "2", **place, "item": item},
        {"type": "conversation.item.added", "event_id": "3", "previous_item_id": None, "item": item},
        {"type": "response.content_part.added", "event_id": "4", **place, "part": {"type": "output_audio"}},
        {"type": "response.output_audio.delta", "event_id": "5", **place, "delta": "AAAA" * 200},
        {"type": "response.output_audio_transcript.delta", "event_id": "6", **place, "delta": "Hi"},
        {"type": "input_audio_buffer.speech_started", "event_id": "7", "item_id": "u", "audio_start_ms": 0},
        {"type": "response.output_item.done", "event_id": "8", **place, "item": call},
        {"type": "response.done", "event_id": "9", "response": {**response, "status": "completed"}},
        {"type": "conversation.item.truncated", "event_id": "10", **place, "audio_end_ms": 10},
        {"type": "conversation.item.deleted", "event_id": "11", "item_id": "i"},
    )
]


def events(draw: Random, most: int = 30) -> list[bytes]:
    """Events of a talk, bent or not, in any order."""
    drawn = draw.choices(draw.choice((EVENTS, FEW, FEW + EVENTS)), k=draw.randint(1, most))
    return [CREATED.encode()] + [encoded(bent(json.loads(text), draw), draw) for text in drawn]


def any_frames(draw: Random) -> Sent:
    return Sent(chopped(frames(events(draw, 8), draw, masked=False), draw))


def any_events(draw: Random) -> Sent:
    return Sent(chopped(b"".join(server_frame(1, event) for event in events(draw)), draw))


AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ACCEPT\r\nX-Request-Id: req_1\r\n\r\n"
)
BODY = b'{"error": {"message": "No.", "type": "invalid_request_error", "code": "x", "param": null}}'
ANSWERS = [
    AGREED,
    AGREED + server_frame(1, CREATED.encode()),
    b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n" + BODY,
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5a\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: wss://example.com/v1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + AGREED,
    b"HTTP/1.0 503 \r\n\r\n" + BODY,
]


def any_answer(draw: Random) -> Sent:
    return Sent(chopped(broken(draw.choice(ANSWERS), draw, 4), draw), agrees=False)


# --- What a client does -----------------------------------------------------------------------------


def visited(server: HostileServer, faults: Faults, memory: Memory, sent: Sent) -> None:
    """Connect, take all that comes with all parts of the voice layer, and close: nothing else is raised."""
    server.prepare(sent)
    try:
        with rt.connect("m", base_url=server.url, wait=not sent.agrees, close_timeout=1.0) as session:
            listen(session)
    except (rt.ConnectionClosed, rt.ConnectionFailed) as error:
        f"{error} {error!r}"
    faults.check()
    memory.look()


def listen(session: rt.Session) -> None:
    conversation, playback = Conversation(session, audio="keep"), Playback(session, ClockedSpeaker())
    with ToolRunner(session, Tools(f)) as runner:
        try:
            session.run(rt.visitor.Visitors(playback, conversation, runner))
        finally:
            assert isinstance(conversation.transcript(), str)
            assert playback.failure is None
            assert repr(session)
            assert session.stats.events_in >= 0
            assert session.deviations is not None


def f() -> str:
    """Answer."""
    return "yes"


KINDS: dict[str, Callable[[Random], Sent]] = {
    "frames": any_frames,
    "events": any_events,
    "handshakes": any_answer,
}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_servers(kind: str, server: HostileServer, faults: Faults) -> None:
    """Whatever a server sends, a session ends with `ConnectionClosed` or `ConnectionFailed`, or goes on."""
    fuzz(KINDS[kind], partial(visited, server, faults, Memory()), cases=QUICK)


# --- For minutes ------------------------------------------------------------------------------------


@contextlib.contextmanager
def beside() -> Iterator[None]:
    """A canary in this process, which is attacked, and one in a process of its own."""
    with WatchedServer() as calm, canary.Control(calm.url) as control:
        watch = canary.Canary(calm.url)
        try:
            yield
        finally:
            watch.end()
    canary.compare(watch, control.longest)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_servers_for_minutes(kind: str, server: HostileServer, faults: Faults) -> None:
    """Nor do many such servers, for minutes, hold up another session, or fill the memory."""
    with beside():
        fuzz(KINDS[kind], partial(visited, server, faults, Memory()))
