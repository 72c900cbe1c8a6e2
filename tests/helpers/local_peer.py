"""A foreign client of the local server (websocket-client), and what watches the server."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import trustme
import websocket

from realtime_sync.local import LocalServer, Request, Say

DEADLINE = 60.0


class Peer:
    """A session seen from the client's side."""

    def __init__(self, server: LocalServer, **options: Any) -> None:
        self.ws: Any = websocket.create_connection(
            f"{server.url}/realtime?model=test-model", timeout=DEADLINE, **options
        )
        try:
            self.created = self.receive()
            assert self.created["type"] == "session.created"
        except BaseException:
            self.drop()
            raise

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002  # the wire's name
        self.ws.send(json.dumps({"type": type, **fields}))

    def receive(self) -> dict[str, Any]:
        return json.loads(self.ws.recv())  # type: ignore[no-any-return]

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The events up to and including one of this kind."""
        events = [self.receive()]
        while events[-1]["type"] != kind:
            events.append(self.receive())
        return events

    def say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.until("conversation.item.done")

    def turn(self, text: str, **params: Any) -> list[dict[str, Any]]:
        self.say(text)
        self.send("response.create", response=params)
        return self.until("response.done")

    def ending(self) -> int | None:
        """Read to the end; the close code, or ``None`` if there was none."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while True:
                opcode, data = self.ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big")
        return None

    def drop(self) -> None:
        """Go away without a word."""
        self.ws.shutdown()


@contextlib.contextmanager
def connected(server: LocalServer, **options: Any) -> Iterator[Peer]:
    peer = Peer(server, **options)
    try:
        yield peer
    finally:
        peer.ws.close()


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.closes: list[tuple[int, str]] = []
        self.bytes_sent = 0

    def opened(self, session: str) -> None:
        self.told.append(("opened", session))

    def received(self, session: str, frame: str | bytes) -> None:
        self.told.append(("received", session, json.loads(frame)["type"]))

    def sent(self, session: str, frame: str) -> None:
        self.bytes_sent += len(frame)
        self.told.append(("sent", session, json.loads(frame)["type"]))

    def closed(self, session: str, code: int, reason: str) -> None:
        self.told.append(("closed", session, code, reason))
        self.closes.append((code, reason))


class Endless:
    """Answers without end; each word is a delta."""

    def __init__(self, text: str = "again and again") -> None:
        self._text = text

    def respond(self, request: Request) -> Iterator[Say]:
        while True:
            yield Say(self._text)


def get(
    server: LocalServer, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read())
    finally:
        connection.close()


def joined(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == kind)


def frame(opcode: int, payload: bytes, *, final: bool = True, first: int = 0) -> bytes:
    """A client's frame, masked with zeros; ``first`` is added to its first byte."""
    head = bytes([(0x80 if final else 0) + opcode + first])
    if len(payload) < 126:
        head += bytes([0x80 + len(payload)])
    elif len(payload) < 65_536:
        head += b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        head += b"\xff" + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return context, trusting


Tls = tuple[ssl.SSLContext | None, dict[str, Any]]


HANDSHAKE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65_536):
            data += more
    return data


def post(server: LocalServer, path: str, body: object, key: str = "any") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()
