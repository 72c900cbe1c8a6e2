"""One WebSocket connection: opens it, answers its pings, and carries messages both ways.

The only file that knows websocket-client, which makes the opening handshake.  What it does beyond that
(following redirects with the key, one cookie jar for the whole process, reading without limits) is kept
from it by `_HandshakeSocket`.
"""

import contextlib
import functools
import os
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import websocket
from msgspec import Struct

from .dial import dial
from .exceptions import ConnectionFailed, ProtocolError
from .frames import CLOSE, PING, PONG, TEXT, FrameReader, Message, build, parse_close
from .link import Link, Outgoing

__all__ = ["Closure", "Redact", "Transport", "default_context", "open_transport"]

_MAX_HEAD = 65536  # bytes of the handshake's answer up to its blank line
_MAX_BODY = 65536  # bytes kept of a refusal's body
_LONGEST_SECRET = 4096  # bytes
_GOODBYE = 1.0  # seconds to answer the server's close frame
_FRAGMENT = 256 * 1024  # bytes of a message per frame, so that answers to pings can go between

Redact = Callable[[str], str]
"""Takes what must not be shown out of a text."""


class Closure(Struct, frozen=True):
    """How a connection ended.

    Attributes:
        code, reason: Of the close frame; 1005 without a code, 1006 if the connection was lost.
        by: Who ended it: ``"client"``, ``"server"`` or ``"network"``.
        clean: Whether both sides sent a close frame.
        asked: Whether the user asked for it, by `Transport.send_close`.
        cause: The error behind it, if there was one.
    """

    code: int
    reason: str
    by: str
    clean: bool = False
    asked: bool = False
    cause: BaseException | None = None


class Transport:
    """An open WebSocket connection.

    One thread calls `receive`; any may call `send`, `send_close` and `kill`.
    """

    def __init__(
        self,
        link: Link,
        received: bytes,
        *,
        max_message_size: int,
        ping_interval: float | None,
        ping_timeout: float | None,
        send_timeout: float,
    ) -> None:
        self._link = link
        self._received = received  # what came behind the handshake's answer
        self._frames = FrameReader(max_message_size)
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._send_timeout = send_timeout
        self._ping_sent = False
        self._ping_at = 0.0
        self._ping_payload = b""
        self.round_trip: float | None = None  # seconds from our last ping to its answer
        self._close_sent: tuple[int, str] | None = None
        self._killed = False
        self._deadline: float | None = None
        self.closure: Closure | None = None
        self.bytes_in = 0  # of WebSocket frames
        self.heard()

    # --- Receiving: the reader thread only ---------------------------------------------------------

    def receive(self) -> list[Message]:
        """Wait for messages from the server: see `frames.Message`.

        An empty list is the end, and then `closure` says how it came.
        """
        while self.closure is None:
            if self._killed:  # what is left of a server that poured is not worth a wait to whoever closed
                self._lost(self._link.failure)
                break
            messages = self._frames.feed(self._read())
            if self._frames.controls:
                self._answer_controls()
            if self._frames.violation is not None and self.closure is None:
                self._refuse(self._frames.violation)
            if messages:
                return messages
        return []

    def _read(self) -> bytes:
        """Bytes from the server, pinging it when it is silent; ``b""`` once it is gone."""
        data: bytes | None = self._received
        self._received = b""
        try:
            while not data:
                data = self._link.read(self._deadline)
                if data == b"":
                    self._lost(self._link.failure)
                    return b""
                if data is None and not self._check_alive():
                    return b""
        except OSError as error:
            self._lost(error)
            return b""
        self.heard()
        self.bytes_in += len(data)
        return data

    def heard(self) -> None:
        """Start the wait for a sign of life anew: something came, or nothing was looked for."""
        self._ping_sent = False
        self._wait_for(self._ping_interval)

    def _wait_for(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def _check_alive(self) -> bool:
        """The server was silent up to the deadline: ping it, or give it up after a ping."""
        if self._ping_sent and self._ping_timeout is not None:
            self._lost(TimeoutError(f"the server was silent for {self._ping_timeout:g} s after a ping"))
            return False
        self._ping_at = time.monotonic()
        self._ping_payload = struct.pack("!d", self._ping_at)
        self._link.post("ping", _frame(PING, self._ping_payload))
        self._ping_sent = True
        self._wait_for(self._ping_interval if self._ping_timeout is None else self._ping_timeout)
        return True

    def _answer_controls(self) -> None:
        for opcode, payload in self._frames.controls:
            if opcode == PING:
                self._link.post("pong", _frame(PONG, payload))
            elif opcode == PONG and payload == self._ping_payload:
                self.round_trip = time.monotonic() - self._ping_at
            elif opcode == CLOSE:
                self._answer_close(payload)
        self._frames.controls.clear()

    def _answer_close(self, payload: bytes) -> None:
        try:
            code, reason = parse_close(payload)
        except ProtocolError as error:
            self._refuse(error)
            return
        if self._close_sent is not None:
            self.closure = Closure(*self._close_sent, by="client", clean=True, asked=True)
        else:
            self._say_goodbye(payload[:2], time.monotonic() + _GOODBYE)
            self.closure = Closure(code, reason, by="server", clean=True)

    def _refuse(self, violation: ProtocolError) -> None:
        """End the connection because the server broke the protocol, and tell it why."""
        self.give_up(violation.code, str(violation), violation)

    def give_up(self, code: int, reason: str, cause: BaseException | None = None) -> None:
        """End the connection without waiting for an answer.  For the reader."""
        self._say_goodbye(_close_payload(code, reason), time.monotonic() + _GOODBYE)
        self.closure = Closure(code, reason, by="client", cause=cause)

    def _say_goodbye(self, payload: bytes, deadline: float) -> None:
        with contextlib.suppress(OSError):
            self._link.send(Outgoing([_frame(CLOSE, payload)]), deadline, last=True)

    def _lost(self, cause: BaseException | None) -> None:
        if self._close_sent is not None:
            self.closure = Closure(*self._close_sent, by="client", asked=True, cause=cause)
        else:
            self.closure = Closure(1006, "", by="network", cause=cause)

    # --- Sending and closing: any thread -----------------------------------------------------------

    def send(self, payload: bytes, event: Any) -> None:
        """Send a text message; ``event`` is what `unsent` lists if that fails.

        Raises:
            OSError: It could not be sent (`TimeoutError`: not in time), and the connection is over.
        """
        self._link.send(Outgoing(_text_frames(payload), event), time.monotonic() + self._send_timeout)

    def offer(self, payload: bytes, event: Any) -> None:
        """Send a text message without waiting, as the reader must.

        Raises:
            OSError: The connection is over.
        """
        self._link.offer(Outgoing(_text_frames(payload), event))

    def unsent(self) -> list[Any]:
        """The events that `send` took and that were surely not sent."""
        return self._link.unsent()

    def send_close(self, code: int, reason: str, deadline: float) -> None:
        """Send a close frame, after which nothing can be sent.  Does nothing on a dead connection."""
        self._close_sent = (code, reason)
        self._say_goodbye(_close_payload(code, reason), deadline)

    @property
    def messages_out(self) -> int:
        """Messages given to `send`."""
        return self._link.messages_out

    @property
    def bytes_out(self) -> int:
        """The bytes of their frames."""
        return self._link.bytes_out

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """Let go of the connection without a word: after a fork, it belongs to the parent."""
        self._link.abandon()

    def kill(self) -> None:
        """End the connection at once, with what was not received yet.  Wakes everyone who waits on it."""
        self._killed = True
        self._link.kill()

    def free(self) -> None:
        """Give the socket back; for the reader, when `receive` is at its end."""
        self._link.close()


def _frame(opcode: int, payload: bytes) -> bytes:
    return build(opcode, payload, os.urandom(4))


def _close_payload(code: int, reason: str) -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def _text_frames(payload: bytes) -> list[bytes]:
    """A text message in one frame, or in several if it is long."""
    size = len(payload)
    if size <= _FRAGMENT:
        return [_frame(TEXT, payload)]
    return [
        build(
            TEXT,
            payload[start : start + _FRAGMENT],
            os.urandom(4),
            first=start == 0,
            last=start + _FRAGMENT >= size,
        )
        for start in range(0, size, _FRAGMENT)
    ]


# --- Opening ----------------------------------------------------------------------------------------


def open_transport(
    url: str,
    *,
    headers: Sequence[tuple[str, str]],
    ssl_context: ssl.SSLContext | None,
    proxy: str | None,
    connect_timeout: float,
    redact: Redact,
    **options: Any,
) -> Transport:
    """Connect to a ``ws://`` or ``wss://`` address and make the opening handshake.

    ``headers`` must be clean of line breaks.  ``redact`` removes secrets from what the server says.
    ``options`` are those of `Transport`.

    Raises:
        ConnectionFailed: The server can't be reached, or refuses.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    deadline = time.monotonic() + connect_timeout
    secure = parts.scheme == "wss"
    link = Link(
        dial(host, port, secure=secure, deadline=deadline, proxy=proxy, send_timeout=options["send_timeout"])
    )
    try:
        if secure:
            link.start_tls(ssl_context or default_context(), host, deadline)
        facade = _HandshakeSocket(link, deadline, redact)
        _handshake(url, facade, headers)
        return Transport(link, facade.rest, **options)
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise ConnectionFailed(f"the certificate of {host} was refused: {error.verify_message}") from error
    except OSError as error:
        link.close()
        raise ConnectionFailed(f"could not connect to {host}:{port}: {error}") from error
    except BaseException:
        link.close()
        raise


def default_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The system's certificates or those of a file, host names checked, TLS 1.2 or newer.

    Raises:
        OSError: The file can't be read, or holds no certificates.
    """
    return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _context(ca_file: str | None, *system: str | None) -> ssl.SSLContext:
    """Made once for each place that certificates are from: reading the system's takes long."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _handshake(url: str, facade: "_HandshakeSocket", headers: Sequence[tuple[str, str]]) -> None:
    client: Any = websocket.WebSocket(skip_utf8_validation=True)
    try:
        client.connect(
            url,
            socket=facade,
            # A cookie of the caller's is written small, to tell it from those of the shared jar.
            header=[f"{'cookie' if name.lower() == 'cookie' else name}: {value}" for name, value in headers],
            suppress_origin=True,
            redirect_limit=0,
        )
    except (ConnectionFailed, OSError):
        raise
    except Exception as error:  # it raises what it likes for what it can't read
        raise facade.not_a_websocket() from error
    finally:
        client.sock = None  # the link is ours: nothing of the client may touch it from here on


class _HandshakeSocket:
    """What websocket-client sees of the connection: a socket that carries one request and its answer.

    The whole answer is read here, under the deadline and a size limit.  A refusal is raised from here
    with its status and body; websocket-client only ever sees an acceptance, without its cookies.
    """

    def __init__(self, link: Link, deadline: float, redact: Redact) -> None:
        self._link = link
        self._deadline = deadline
        self._redact = redact
        self._head: bytes | None = None  # the answer up to its blank line, for websocket-client
        self._answer = b""  # the answer as it came
        self.rest = b""  # what came behind the blank line

    def send(self, request: bytes) -> int:
        """Send the request, without the cookies that other connections of this process were given."""
        lines = [line for line in request.split(b"\r\n") if not line.startswith(b"Cookie: ")]
        self._link.send(Outgoing([b"\r\n".join(lines)]), self._deadline)
        return len(request)

    def recv(self, size: int) -> bytes:
        if self._head is None:
            self._head = self._read_answer()
        data, self._head = self._head[:size], self._head[size:]
        return data

    def gettimeout(self) -> None:
        """There is a deadline, not a timeout."""

    def close(self) -> None:
        """The link is closed by whoever opened it."""

    def _read_answer(self) -> bytes:
        while b"\r\n\r\n" not in self._answer:
            if len(self._answer) > _MAX_HEAD:
                raise ConnectionFailed(f"the server's answer has more than {_MAX_HEAD} bytes of headers")
            data = self._link.read(self._deadline)
            if data is None:
                raise ConnectionFailed("no answer in time from the server")
            if not data:
                raise self.not_a_websocket()
            self._answer += data
        head, self.rest = self._answer.split(b"\r\n\r\n", 1)
        status_line, *lines = head.split(b"\r\n")
        if status_line.split()[1:2] != [b"101"]:
            raise self._refusal(status_line, lines)
        kept = [line for line in lines if not line.lower().startswith(b"set-cookie:")]
        if any(line.lower().startswith(b"sec-websocket-extensions:") for line in kept):
            raise ConnectionFailed("the server insists on a WebSocket extension that was not offered")
        return b"\r\n".join([status_line, *kept, b"", b""])

    def _refusal(self, status_line: bytes, lines: list[bytes]) -> ConnectionFailed:
        """The error for an answer that is HTTP, but not 101."""
        words = self._redact(status_line.decode("latin-1")).split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
            return self.not_a_websocket()
        status = int(words[1])
        headers = {}
        for line in lines:
            name, _, value = self._redact(line.decode("latin-1")).partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self._redact(self._read_body(headers).decode("utf-8", "replace"))
        text = f"the server refused the connection: HTTP {' '.join(words[1:])}"
        if 300 <= status < 400:
            target = urlsplit(headers.get("location", "")).hostname or "another path"
            text += f"; it redirects to {target}, which is not followed"
        elif detail := _error_message(body):
            text += f": {detail}"
        elif status < 300:
            text += "; this address is not a WebSocket server"
        return ConnectionFailed(text, status=status, headers=headers, body=body.encode()[:_MAX_BODY])

    def _read_body(self, headers: dict[str, str]) -> bytes:
        """The body, as far as it comes in time, up to its length or our limit."""
        length = headers.get("content-length", "")
        most = _MAX_BODY + _LONGEST_SECRET  # so that a secret at the end is whole, and known
        wanted = min(int(length), most) if length.isdecimal() else most
        body = self.rest
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        with contextlib.suppress(OSError):
            while len(body) < wanted and not (chunked and body.endswith(b"0\r\n\r\n")):
                data = self._link.read(self._deadline)
                if not data:
                    break
                body += data
        return (_unchunk(body) if chunked else body)[:wanted]

    def not_a_websocket(self) -> ConnectionFailed:
        """The error for an answer that is not HTTP, or is no proper WebSocket handshake."""
        if not self._answer:
            return ConnectionFailed("the server hung up without an answer; is it a WebSocket server?")
        start = self._redact(self._answer.decode("latin-1"))[:80]  # in this order: half a key is a secret too
        return ConnectionFailed(f"this is not a WebSocket server: it answered {start!r}")


def _unchunk(body: bytes) -> bytes:
    """Join the chunks of a chunked body, as far as they go."""
    joined = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            return joined
        if not separator or length <= 0:
            return joined
        joined += body[:length]
        body = body[length + 2 :]


class _ErrorMessage(Struct):
    message: str


class _ErrorBody(Struct):
    error: _ErrorMessage


def _error_message(body: str) -> str | None:
    """The message in OpenAI's JSON for errors; ``None`` if it is something else."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error.message[:500]
    except (ValueError, RecursionError):
        return None
