"""The local server, in a process of its own, against clients that send anything: frames, events, HTTP."""

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
import samples
import websocket
from canary import Memory, WatchedServer, unharmed, watched
from fuzz import fuzz
from local_peer import DEADLINE, HANDSHAKE, read_all
from mutations import bent, broken, chopped, encoded, frames

__all__ = ["watched"]  # the fixture

QUICK = 25  # inputs of each kind, in the default run
LAST = json.dumps({"type": "conversation.item.retrieve", "event_id": "last", "item_id": "nobody"})


@dataclass(frozen=True)
class Raw:
    """Bytes that a client sends on a connection of its own, part by part."""

    parts: list[bytes]


# --- What clients send ------------------------------------------------------------------------------


def events(draw: Random, most: int = 12) -> list[bytes]:
    drawn = draw.choices([*samples.ALL_CLIENT.values()], k=draw.randint(1, most))
    return [encoded(bent(json.loads(text), draw), draw) for text in drawn]


def any_frames(draw: Random) -> Raw:
    return Raw(chopped(HANDSHAKE + frames(events(draw), draw, masked=True), draw))


def any_handshake(draw: Random) -> Raw:
    query = draw.choice(
        (b"model=m", b"intent=transcription", b"call_id=c", b"model=%ff&model=", b"", b"=&&%")
    )
    request = HANDSHAKE.replace(b"model=m", query)
    path = draw.choice(
        (b"/v1/realtime", b"/v1/realtime/translations", b"/", b"//v1", b"http://x/v1/realtime")
    )
    more = draw.choice((b"", b"OpenAI-Beta: realtime=v1\r\n", b"Sec-WebSocket-Protocol: realtime, x\r\n"))
    request = request.replace(b"/v1/realtime", path, 1).replace(b"Host: x\r\n", b"Host: x\r\n" + more)
    return Raw(chopped(broken(request, draw), draw))


SESSION = json.loads(samples.CLIENT["session.update"])["session"]
PATHS = [
    "/v1/realtime/client_secrets",
    "/v1/realtime/sessions",
    "/v1/realtime/transcription_sessions",
    "/v1/realtime/translations/client_secrets",
    "/v1/realtime/calls",
    *(f"/v1/realtime/calls/c/{verb}" for verb in ("accept", "reject", "hangup", "refer")),
]
SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\n"
JSON, CHUNKED = "application/json", "Transfer-Encoding: chunked"


def any_request(draw: Random) -> Raw:
    """An HTTP request with a body of JSON, multipart or SDP, whole or in chunks."""
    kind, body = draw.choice((_json, _json, _multipart, _sdp))(draw)
    way, data = draw.choice((_whole, _whole, _in_chunks))(body, draw)
    method = draw.choice(("POST", "POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "p"))
    head = f"{method} {draw.choice(PATHS)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
    request = f"{head}Content-Type: {kind}\r\n{way}\r\n\r\n".encode("latin-1") + data
    return Raw(chopped(broken(request, draw) if draw.random() < 0.5 else request, draw))


def _json(draw: Random) -> tuple[str, bytes]:
    body = {"session": SESSION, "expires_after": {"anchor": "created_at", "seconds": 600}}
    flat = {**SESSION, "status_code": 486, "target_uri": "tel:+1"}
    return JSON, encoded(bent(json.loads(json.dumps(draw.choice((body, flat)))), draw), draw)


def _multipart(draw: Random) -> tuple[str, bytes]:
    part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\nContent-Type: %b\r\n\r\n%b\r\n'
    session = encoded(bent(json.loads(json.dumps(SESSION)), draw), draw)
    body = (
        part % (b"sdp", b"application/sdp", SDP) + part % (b"session", JSON.encode(), session) + b"--b--\r\n"
    )
    return "multipart/form-data; boundary=b", body


def _sdp(draw: Random) -> tuple[str, bytes]:
    return "application/sdp", broken(SDP, draw)


def _whole(body: bytes, draw: Random) -> tuple[str, bytes]:
    return f"Content-Length: {draw.choice((len(body), len(body), len(body) + 5, 0, -1, 10**18))}", body


def _in_chunks(body: bytes, draw: Random) -> tuple[str, bytes]:
    parts = [part for part in chopped(body, draw) if part]
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return CHUNKED, broken(data, draw) if draw.random() < 0.5 else data


# --- What becomes of it -----------------------------------------------------------------------------


def answered(server: WatchedServer, memory: Memory, sent: Raw) -> None:
    """Send, and read to the end: no answer is a 500, and nothing is logged as an error."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
        try:
            for part in sent.parts:
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has seen enough
        answer = read_all(sock)
    assert not re.match(rb"HTTP/1\.\d 5", answer), answer[:2000]
    settled(server, memory)


def settled(server: WatchedServer, memory: Memory) -> None:
    complaints, server.complaints[:] = server.complaints[:], []
    assert not complaints, f"of this case or of one shortly before: {complaints[0]}"
    memory.look()


def talked(server: WatchedServer, memory: Memory, sent: list[bytes]) -> None:
    """Send events: the session goes on to answer the last of them, or has closed itself."""
    client: Any = websocket.create_connection(f"{server.url}/realtime?model=m", timeout=DEADLINE)
    try:
        for event in sent:
            client.send(event, websocket.ABNF.OPCODE_TEXT)
        client.send(LAST)
        while (frame := client.recv_frame()).opcode != websocket.ABNF.OPCODE_CLOSE:
            event = json.loads(frame.data)
            if event["type"] == "error" and event["error"]["event_id"] == "last":
                break
    except OSError:
        pass
    finally:
        client.shutdown()
    settled(server, memory)


KINDS: dict[str, tuple[Callable[[Random], object], Callable[..., None]]] = {
    "frames": (any_frames, answered),
    "events": (events, talked),
    "handshakes": (any_handshake, answered),
    "requests": (any_request, answered),
}


def test_hostile_clients(watched: WatchedServer) -> None:
    """Whatever a client sends, the server has no error of its own."""
    for make, check in KINDS.values():
        fuzz(make, partial(check, watched, Memory(watched.pid)), QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_clients_for_minutes(kind: str, watched: WatchedServer) -> None:
    """Nor do many such clients, for minutes, hold up another session, or fill the memory."""
    make, check = KINDS[kind]
    with WatchedServer() as calm, unharmed(watched, calm):
        fuzz(make, partial(check, watched, Memory(watched.pid)))
