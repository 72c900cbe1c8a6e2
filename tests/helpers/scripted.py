"""A WebSocket server that does what a test tells it, byte by byte, well-behaved or not."""

import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import realtime_sync as rt

DEADLINE = 60.0  # seconds after which a test that waits has failed, however busy the machine is

CREATED = (
    '{"type":"session.created","event_id":"event_1","session":{"type":"realtime","id":"sess_1",'
    '"object":"realtime.session","model":"gpt-realtime-2.1"}}'
)


def delta(text: str) -> str:
    """A frame of ``response.output_text.delta``."""
    return json.dumps(
        {
            "type": "response.output_text.delta",
            "event_id": "event_d",
            "response_id": "resp_1",
            "output_index": 0,
            "item_id": "item_1",
            "content_index": 0,
            "delta": text,
        }
    )


def error(message: str, code: str | None = None) -> str:
    """A frame of ``error``."""
    details = {"type": "invalid_request_error", "code": code, "message": message}
    return json.dumps({"type": "error", "event_id": "event_e", "error": details})


def server_frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """An unmasked frame, as a server sends them."""
    first = bytes([opcode | (0x80 if final else 0)])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return first + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return first + b"\x7f" + struct.pack("!Q", len(payload)) + payload


class Caller:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""
        self.final = True
        self._file = sock.makefile("rb")

    def read_request(self) -> bytes:
        """The request line and headers of the handshake."""
        while not self.request.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                break
            self.request += line
        return self.request

    def header(self, name: str) -> str | None:
        """A header of the request; its name in any case."""
        for line in self.request.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def accept(self, extra: str = "", then: bytes = b"") -> None:
        """Read the handshake and agree to it, with ``extra`` headers and ``then`` more bytes."""
        self.read_request()
        key = (self.header("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        answer = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.sock.sendall(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {answer}\r\n{extra}\r\n"
            ).encode()
            + then
        )

    def text(self, *frames: str) -> None:
        self.sock.sendall(b"".join(server_frame(1, frame.encode()) for frame in frames))

    def frame(self, opcode: int, payload: bytes = b"", final: bool = True) -> None:
        self.sock.sendall(server_frame(opcode, payload, final))

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> tuple[int, bytes]:
        """The client's next frame: opcode and payload; ``(-1, b"")`` at the end."""
        head = self._file.read(2)
        if len(head) < 2:
            return -1, b""
        assert head[1] & 0x80, "clients must mask"
        self.final = bool(head[0] & 0x80)
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._file.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._file.read(8))
        mask = self._file.read(4)
        payload = self._file.read(length)
        if len(payload) < length:
            return -1, payload
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        unmasked = (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")
        return head[0] & 0x0F, unmasked

    def read_message(self) -> tuple[int, bytes]:
        """The client's next message, its fragments joined; or its next control frame."""
        opcode, payload = self.read()
        while opcode in (0, 1) and not self.final:
            more, rest = self.read()
            assert more == 0, more
            payload += rest
        return opcode, payload

    def read_event(self) -> Any:
        """The client's next message as JSON."""
        opcode, payload = self.read_message()
        assert opcode == 1, (opcode, payload)
        return json.loads(payload)

    def close(self, code: int | None = 1000, reason: str = "") -> tuple[int, bytes]:
        """Send a close frame and return the client's answer."""
        self.frame(8, b"" if code is None else struct.pack("!H", code) + reason.encode())
        return self.answer_to_close()

    def answer_to_close(self) -> tuple[int, bytes]:
        while True:
            opcode, payload = self.read()
            if opcode in (8, -1):
                return opcode, payload

    def serve_until_closed(self) -> None:
        """Read until the client says goodbye, and answer it."""
        while True:
            opcode, payload = self.read()
            if opcode == 8:
                self.frame(8, payload)
            if opcode in (8, -1):
                return

    def reset(self) -> None:
        """Vanish with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def drop(self) -> None:
        """End the connection without a word, from whichever thread: its script reads the end."""
        self.sock.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        self._file.close()
        self.sock.close()


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections to a listener, until that is shut down."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.settimeout(DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


Script = Callable[[Caller], None]


def collect(events: list[Any]) -> Script:
    """A script that keeps what it is sent."""

    def script(caller: Caller) -> None:
        caller.accept()
        while True:
            opcode, payload = caller.read_message()
            if opcode == 1:
                events.append(json.loads(payload))
            else:
                if opcode == 8:
                    caller.frame(8, payload)
                return

    return script


def idle(caller: Caller) -> None:
    """A script that agrees to the connection and waits for its end."""
    caller.accept()
    caller.serve_until_closed()


class ScriptedServer:
    """Runs a script for each connection.  What a script raises comes out at the end of ``with``.

    Args:
        script: Called with each connection, in a thread of its own.
        tls: For a server with TLS.
        receive_buffer: Bytes that the system holds for a script that doesn't read; by itself megabytes.
    """

    def __init__(
        self, script: Script, tls: ssl.SSLContext | None = None, *, receive_buffer: int | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://localhost:{self.port}/v1"
        self.callers: list[Caller] = []
        self._errors: list[BaseException] = []
        self.threads: list[threading.Thread] = []
        # Accepts connections, so that a test can open them from its own thread.
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "ScriptedServer":
        self._acceptor.start()
        return self

    def _accept(self) -> None:
        for sock in accepted(self._listener):
            # Runs one connection's script.
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            caller = Caller(sock)
            self.callers.append(caller)
            try:
                self._script(caller)
            finally:
                caller.hang_up()
        except (ConnectionError, ssl.SSLError):
            pass  # the client hung up, as many tests make it do
        except BaseException as problem:
            self._errors.append(problem)
        finally:
            sock.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(DEADLINE)
        for thread in self.threads:
            thread.join(DEADLINE)
            assert error is not None or not thread.is_alive(), "the script did not end"
        if error is None:
            for problem in self._errors:
                raise problem


Open = Callable[..., rt.Session]
"""The fixture ``open_session``: opens a session with a `ScriptedServer`."""
