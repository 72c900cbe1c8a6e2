"""One WebSocket connection from the server's side: messages in, messages out, and a bound on everything.

wsproto does the framing.  The socket never blocks and one thread does all of it: TLS objects need that, and
it lets the thread wait for the client and for the time at once.
"""

import base64
import binascii
import contextlib
import logging
import math
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping, Sequence

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import generate_accept_token

from ..clock import monotonic
from .liveness import Liveness

__all__ = ["BadHandshake", "WebSocket", "accepting", "shut"]

_log = logging.getLogger("realtime_sync.local")

MOST_BYTES = 32 * 1024 * 1024
"""Of one message: the 15 MiB that an event may carry, as base64, and room to spare."""
STALL_SECONDS = 30.0
"""How long the system may accept none of the unsent bytes before the client counts as gone."""
ANSWER_SECONDS = 1.0
"""How long a close waits for the client's close frame."""

_LONGEST_WAIT = 3600.0  # seconds; the system's own limit is some days
_READ_SIZE = 65_536
_WRITE_SIZE = 262_144
_RECORD_SIZE = 16_384  # of TLS: what it writes at once, so that progress is seen
_NEVER_CLOSED = 1006  # the code of a connection that ended without a close frame

_UNSENT_BYTES = 65_536  # that the system takes of what the client is not ready for

_READ = getattr(select, "POLLIN", 1)
_WRITE = getattr(select, "POLLOUT", 4)
_GONE = getattr(select, "POLLRDHUP", 0)  # Linux: says that the client is gone, without reading


class BadHandshake(Exception):
    """The request asks for an upgrade, but is not a WebSocket handshake."""


def accepting(version: str, headers: Mapping[str, str], extra: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return the response that upgrades a request with these headers (lower-case names).

    Args:
        version: The request's, as in ``"HTTP/1.1"``.
        extra: More headers of the response.

    Raises:
        BadHandshake: It can't be upgraded.
    """
    key = headers.get("sec-websocket-key", "")
    if version != "HTTP/1.1":
        raise BadHandshake(f"expected HTTP/1.1, got {version}")
    if "upgrade" not in [token.strip().lower() for token in headers.get("connection", "").split(",")]:
        raise BadHandshake("the header 'Connection: Upgrade' is missing")
    if headers.get("sec-websocket-version") != "13":
        raise BadHandshake("the header 'Sec-WebSocket-Version: 13' is missing")
    if not _is_key(key):
        raise BadHandshake("the header 'Sec-WebSocket-Key' is missing or not 16 bytes in base64")
    token = generate_accept_token(key.encode()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {token}",
        *(f"{name}: {value}" for name, value in extra),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


class WebSocket:
    """An upgraded connection.  The caller's loop is `flush`, `wait`, `receive` until there is no more, again.

    Args:
        sock: Plain or TLS; becomes non-blocking.
        answer: The response to the handshake, which goes out first.
        early: What the client sent right behind its handshake, and was read with it.
        ping_interval, ping_timeout: As for `Liveness`.

    Attributes:
        over: The connection is of no more use.
        closing: A close frame was sent or came, or the connection is being dropped: messages that come now
            are thrown away.
        code, reason: What it was closed with, by whoever did so first.
        patience: Seconds that a close waits for its answer.
    """

    def __init__(
        self,
        sock: socket.socket,
        answer: bytes = b"",
        early: bytes = b"",
        *,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
    ) -> None:
        self.over = False
        self.closing = False
        self.code, self.reason = _NEVER_CLOSED, ""
        self.patience = ANSWER_SECONDS
        self._sock = sock
        self._ws = Connection(ConnectionType.SERVER, trailing_data=early)
        self._events: Iterator[Event] = self._ws.events()
        self._unread = bool(early)  # whether the events above may have more
        self._message = bytearray()  # the fragments of a message so far
        self._out = bytearray(answer)
        self._moved = monotonic()  # when something went out, or nothing was waiting to
        self._full = False  # the system had no room for what is queued
        self._flushed: float | None = None  # when the last byte of a connection that closes went out
        self._liveness = Liveness(ping_interval, ping_timeout)
        self._silent_until = -math.inf
        self._dropping = False
        self._resetting = False
        self._unreadable = False  # wsproto can't parse what the client sends
        self._write_size = _RECORD_SIZE if isinstance(sock, ssl.SSLSocket) else _WRITE_SIZE
        # TLS may have to read before it can write, and the reverse.
        self._write_needs = _WRITE
        self._read_needs = _READ
        sock.setblocking(False)
        _keep_little_unsent(sock)

    # --- Out -----------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Bytes in memory: those that wait, and the message that is coming."""
        return len(self._out) + len(self._message)

    @property
    def waiting(self) -> int:
        """Bytes that the system has not accepted yet."""
        return len(self._out)

    def send(self, text: str) -> None:
        """Queue a message.  Does nothing once the connection closes."""
        if not self.closing:
            self._put(self._ws.send(TextMessage(data=text)))

    def send_half(self, text: str) -> None:
        """Queue the first half of a message's frame."""
        if not self.closing:
            frame = self._ws.send(TextMessage(data=text))
            self._put(frame[: (len(frame) + 1) // 2])

    def close(self, code: int, reason: str = "") -> None:
        """Queue a close frame; the client's own is waited for until `patience` ends."""
        if not self.closing:
            self.closing = True
            self.code, self.reason = code, reason
            self._put(self._ws.send(CloseConnection(code=code, reason=reason)))

    def drop(self) -> None:
        """End the TCP connection behind what is queued, without a close frame."""
        if not self.closing:
            self.closing = self._dropping = True

    def reset(self) -> None:
        """End the TCP connection behind what is queued, with a reset."""
        if not self.closing:
            self.drop()
            self._resetting = True

    def be_silent(self, seconds: float = math.inf) -> None:
        """Stop reading and writing, with the connection open, until the client goes away or for so long."""
        self.flush()
        self._silent_until = monotonic() + seconds

    @property
    def silent(self) -> bool:
        """Whether nothing is read or written."""
        return monotonic() < self._silent_until

    def _put(self, data: bytes) -> None:
        if not self._out:
            self._moved = monotonic()
        self._out += data

    def flush(self) -> None:
        """Write what the system accepts of what is queued, and note whether the connection is over."""
        if self.silent:
            return
        while self._out and not self.over:
            try:
                with memoryview(self._out) as whole, whole[: self._write_size] as part:
                    sent = self._sock.send(part)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._write_needs, self._full = _WRITE, True
                break
            except ssl.SSLWantReadError:
                self._write_needs = _READ
                break
            except OSError:
                self.over = True
            else:
                del self._out[:sent]
                self._moved = monotonic()
                if self._full:  # it has room again: the client has taken something
                    self._full = False
                    self._liveness.hear()
        self._conclude()

    def _conclude(self) -> None:
        if self._out:
            if monotonic() - self._moved >= STALL_SECONDS:
                self.over = True
                self.code, self.reason = _NEVER_CLOSED, ""
            return
        if not self.closing:
            return
        if self._flushed is None:
            self._flushed = monotonic()
            if self._resetting:
                self.over = True
            elif self._dropping:
                shut(self._sock, socket.SHUT_WR)
        if self._ws.state is ConnectionState.CLOSED or monotonic() >= self._flushed + self.patience:
            self.over = True

    # --- In ------------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """The deadline by which `flush` must be called again, on `clock.monotonic`; ``None`` without one."""
        if self.silent:
            return None if self._silent_until == math.inf else self._silent_until
        if self._flushed is not None:
            return self._flushed + self.patience
        times = [None if self.closing else self._liveness.due]
        if self._out:
            times.append(self._moved + STALL_SECONDS)
        return min((time for time in times if time is not None), default=None)

    def wait(self, until: float | None, *, reading: bool, wakers: Sequence[socket.socket] = ()) -> None:
        """Wait for the client, for a waker to have something to read, or for the time; read what has come.

        With ``reading=False`` the client is not read from (backpressure), but its end is still noticed.
        """
        if self.over:
            return
        if self.silent or self._ws.state is ConnectionState.CLOSED:
            reading = False
        else:
            reading = reading or self.closing
        if reading and self._unread:
            return
        if not reading:
            self._liveness.ignore()
        wanted = 0 if reading or (self.closing and not self.silent) else _GONE
        if reading:
            wanted |= self._read_needs
        if self._out and not self.silent:
            wanted |= self._write_needs
        pending = reading and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
        ready = _poll(self._sock, wanted, wakers, 0.0 if pending else until)
        if reading:
            if pending or ready & self._read_needs or ready & ~(_READ | _WRITE):
                self._read()
            else:
                self._judge()
        elif ready & ~(_READ | _WRITE):
            self.over = True

    def receive(self) -> str | None:
        """Return the next whole message of what was read; ``None``: that was all."""
        for event in self._events:
            message = self._take(event)
            if not self._message:
                self._liveness.complete()
            if message is not None and not self.closing:
                return message
        self._unread = False
        return None

    def _read(self) -> None:
        self._read_needs = _READ
        try:
            data = self._sock.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self._read_needs = _WRITE
            return
        except OSError:
            data = b""
        if not data:
            self.over = True
        elif not self._unreadable and self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._liveness.receive(len(data))
            self._ws.receive_data(data)
            self._events = self._ws.events()
            self._unread = True

    def _judge(self) -> None:
        """Do what is to be done about a client of which there is nothing to read."""
        if self.closing:
            return
        match self._liveness.verdict():
            case "ping":
                self._put(self._ws.send(Ping()))
            case "late":
                self.close(1008, "the message took too long to arrive")
            case "gone":
                _log.debug("a client has not answered a ping")
                self.over = True

    def _take(self, event: Event) -> str | None:
        """Handle a frame; return the message, if it completes one."""
        if isinstance(event, TextMessage):
            return None if self.closing else self._assemble(event)
        if isinstance(event, Ping) and not self.closing:
            self._put(self._ws.send(event.response()))
        elif isinstance(event, BytesMessage):
            self.close(1003, "expected text messages only")
        elif isinstance(event, CloseConnection):
            self._take_close(event)
        return None

    def _assemble(self, event: TextMessage) -> str | None:
        if event.message_finished and not self._message:
            return event.data
        self._message += event.data.encode()
        if len(self._message) > MOST_BYTES:
            self._message.clear()
            self.close(1009, f"expected at most {MOST_BYTES} bytes")
        elif event.message_finished:
            message = self._message.decode()
            self._message = bytearray()
            return message
        return None

    def _take_close(self, event: CloseConnection) -> None:
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._unreadable = True  # not a close frame: wsproto can't parse what came
            self.close(int(event.code), event.reason or "")
        elif self._ws.state is ConnectionState.REMOTE_CLOSING and not self.closing:
            self.closing = True
            self.code, self.reason = int(event.code), event.reason or ""
            self._put(self._ws.send(event.response()))

    def end(self) -> None:
        """Shut the connection down, whether or not it is over."""
        if self._resetting and self._flushed is not None:
            _reset(self._sock)
            return
        if isinstance(self._sock, ssl.SSLSocket) and self._flushed is not None and not self._dropping:
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()  # sends TLS's close_notify, without waiting for the client's
        shut(self._sock, socket.SHUT_RDWR)


def _keep_little_unsent(sock: socket.socket) -> None:
    """Make the system's room for what is unsent small, so that room in it means that the client has taken
    something: a slow one is told from one that is gone."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux, macOS
        with contextlib.suppress(OSError):  # not a TCP socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def _reset(sock: socket.socket) -> None:
    """Close a connection with a reset, at once, whoever else has the socket."""
    with contextlib.suppress(OSError):  # the client was faster
        no_wait = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_wait)
        socket.close(sock.detach())


def shut(sock: socket.socket, how: int) -> None:
    """End a direction of a connection, from any thread: a thread that waits in it wakes up."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(
            sock, how
        )  # SSLSocket's own drops the TLS object, which another thread may use


def _poll(sock: socket.socket, wanted: int, wakers: Sequence[socket.socket], until: float | None) -> int:
    """Wait until the socket is ready for what is wanted, a waker for reading, or the time has come.

    What the socket is ready for, where anything beyond reading and writing means that its end is near.
    """
    timeout = None if until is None else min(max(until - monotonic(), 0.0), _LONGEST_WAIT)
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows
        read = [sock] if wanted & _READ else []
        write = [sock] if wanted & _WRITE else []
        readable, writable, failed = select.select([*read, *wakers], write, [sock], timeout)
        return (_READ if sock in readable + failed else 0) | (_WRITE if sock in writable else 0)
    poller = select.poll()
    poller.register(sock, wanted)
    for waker in wakers:
        poller.register(waker, _READ)
    ready = dict(poller.poll(None if timeout is None else timeout * 1000))
    return ready.get(sock.fileno(), 0)
