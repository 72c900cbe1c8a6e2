"""A TCP or TLS connection that one thread reads and any number of threads write.  Bytes in, bytes out.

OpenSSL's objects break when two threads use them at once, and Python's `ssl.SSLSocket` lets them.  So
TLS runs here in memory (`ssl.SSLObject` over two `ssl.MemoryBIO`): its calls are short, never wait for
the network, and happen under one lock.  The socket itself is non-blocking and is only touched outside
that lock.
"""

import contextlib
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Link", "Outgoing"]

_READ_SIZE = 262144  # bytes of one read; fewer cost more, as measured in tests/benchmarks/receive.py
_SMALL_READ = 4096  # a read of fewer bytes has most likely emptied the socket's buffer
_TLS_RECORD = 16384  # bytes of plaintext that TLS gives at a time, at most
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # SO_LINGER: on, for 0 seconds
_LOOKS = 20  # how often, in the time that a stuck sender waits, we look whether something arrives
_TURN = 0.02  # seconds after which a sender looks whether another one has written its message
_TLS_CHUNK = 65536  # bytes of plaintext given to TLS at a time: a large frame must not block the reader


class Outgoing:
    """A message in flight: the frames that are still to be written, and the event that it carries.

    Control frames may go between its frames, so a long message does not delay the answer to a ping.

    Attributes:
        frames, event: These.
        awaited: A thread waits in `Link.send` until it is written.
        written: The socket has taken all of it.
    """

    __slots__ = ("awaited", "event", "frames", "written")

    def __init__(self, frames: Iterable[bytes], event: Any = None) -> None:
        self.frames = deque(frames)
        self.event = event
        self.awaited = self.written = False


class Link:
    """One connection.

    `read` belongs to one thread, the reader.  `send`, `kill` and `post` may be called by any thread; `close`
    once, by the reader when it is done.  A failure in the middle of a write can't be repaired, so it
    ends the connection: further sends raise, and the reader gets what had arrived, then the end.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._wait_readable = _reading_waiter(sock)
        self._emptied = False  # whether the last read has most likely emptied the socket's buffer
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Guards the TLS object and the output below it; held for moments, never while waiting.
        self._state = threading.Lock()
        # Held by the one thread that writes to the socket, which keeps frames whole and in order.
        self._writing = threading.Lock()
        self._queue: deque[Outgoing] = deque()  # messages that are not completely written
        self._urgent: dict[str, bytes] = {}  # control frames that go first, the latest of each kind
        self._rest = memoryview(b"")  # the part of the current frame that TLS has not taken yet
        self._chunk = memoryview(b"")  # bytes that the socket has not taken yet
        self._fault: ssl.SSLError | None = None  # an error that TLS found
        self._awaited = 0  # number of messages in the queue for which a thread waits
        self._last = False  # no message may follow those in the queue
        self.failure: BaseException | None = None
        self.messages_out = self.bytes_out = 0  # of events; under the state lock
        # Under the writing lock: the bytes that the socket has taken, how many of them had arrived when that
        # was last looked at since, when something last moved, and where the last ping ends among them
        # (`None`: it is not written yet).
        self._written = 0
        self._arrived: int | None = None
        self._moved_at = 0.0
        self._ping_end: int | None = None
        self._writes_ping = False

    # --- Reading: the reader thread only ---------------------------------------------------------

    def read(self, deadline: float | None) -> bytes | None:
        """Wait for bytes and return them: ``b""`` at the end, ``None`` if the deadline passed.

        Raises:
            OSError: The connection is lost, or TLS rejected what came.
        """
        while True:
            if self._tls is not None:
                data = self._decrypt()
                self.flush()  # reading may have made TLS answer, for example a KeyUpdate
                if data is not None:
                    return data
            raw = self._receive(deadline)
            if raw is None or self._tls is None:
                return raw
            with self._state:
                if raw:
                    self._incoming.write(raw)
                else:
                    self._incoming.write_eof()

    def _receive(self, deadline: float | None) -> bytes | None:
        while True:
            if not self._emptied:
                try:
                    data = self._sock.recv(_READ_SIZE)
                except BlockingIOError:
                    pass
                else:
                    self._emptied = 0 < len(data) < _SMALL_READ
                    return data
            self._emptied = False
            # The reader finishes what `flush` could not write, unless a sender does.
            if self._chunk and not self._writing.locked():
                if not _wait(self._sock, read=True, write=True, deadline=deadline):
                    return None
                self.flush()
            elif not self._wait_readable(deadline):
                return None

    def _decrypt(self) -> bytes | None:
        """Return all plaintext that is available; ``None`` if TLS needs more bytes, ``b""`` at its end."""
        assert self._tls is not None
        if self._fault is not None:
            raise self._fault
        chunks = []
        with self._state:
            try:
                while chunk := self._tls.read(_TLS_RECORD):
                    chunks.append(chunk)
            except ssl.SSLWantReadError:
                if not chunks:
                    return None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                pass
            except ssl.SSLError as error:
                if not chunks:
                    raise
                self._fault = error  # raised by the next call, after what came before it was taken
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    # --- Writing: any thread ---------------------------------------------------------------------

    def send(self, message: Outgoing, deadline: float, *, patience: float = 0.0, last: bool = False) -> None:
        """Write a whole message: `enqueue` and `complete` it.

        Raises:
            TimeoutError, OSError: See these.
        """
        self.enqueue(message, last=last)
        self.complete(message, deadline, patience=patience)

    def enqueue(self, message: Outgoing, *, last: bool = False) -> None:
        """Put a message behind those that are to be sent; after one with ``last`` nothing more may be sent.

        `complete` must be called next, by the same thread.

        Raises:
            OSError: The connection has ended, or the last message was sent already.
        """
        message.awaited = True
        self._enqueue(message, last)

    def complete(self, message: Outgoing, deadline: float, *, patience: float = 0.0) -> None:
        """Wait until a message is written.

        Args:
            message: The message.
            deadline: On the clock of `time.monotonic`.
            patience: Seconds by which the deadline is put off whenever the socket takes bytes, of this
                message or of another, or some of them arrive: a slow connection is not a dead one.

        Raises:
            TimeoutError: It could not be written before the deadline.  The connection has ended.
            OSError: The connection has ended.
        """
        if not self._takes_turn(message, deadline, patience):
            return
        self._drain_and_release(deadline, patience, message)
        # The reader may have posted something in the moment before the lock was free.
        while not self._awaited and self._has_output() and self._writing.acquire(blocking=False):
            self._drain_and_release(deadline, patience, message)

    def _takes_turn(self, message: Outgoing, deadline: float, patience: float) -> bool:
        """Acquire the writing lock; return False if the thread that has it wrote the message.

        That thread writes what others have queued as well, and may have the lock again and again.
        """
        try:
            while not self._writing.acquire(timeout=min(_TURN, max(0.0, deadline - time.monotonic()))):
                if message.written:
                    return False
                deadline = max(deadline, self._moved_at + patience)
                if deadline <= time.monotonic():
                    self.kill(TimeoutError("another message could not be sent before its deadline"))
                    raise TimeoutError("the message could not be sent before its deadline")
        except BaseException:  # Ctrl-C: the message is left to others
            with self._state:
                self._awaited -= message.awaited and not message.written
                message.awaited = False
            raise
        return True

    def offer(self, message: Outgoing) -> None:
        """Send a whole message without waiting: the reader writes what can't be written now.

        Raises:
            OSError: The connection has ended, or the last message was sent already.
        """
        self._enqueue(message)
        self.flush()

    def _enqueue(self, message: Outgoing, last: bool = False) -> None:
        with self._state:
            if self.failure is not None or self._last:
                raise ConnectionError("the connection is closed") from self.failure
            self._queue.append(message)
            self._awaited += message.awaited
            self._last = last
            if message.event is not None:
                self.messages_out += 1
                self.bytes_out += sum(map(len, message.frames))

    def post(self, kind: str, frame: bytes) -> None:
        """Send a control frame before all other frames, without waiting; the latest of a kind wins."""
        with self._state:
            if not self._last:
                self._urgent[kind] = frame
                if kind == "ping":
                    self._ping_end = None
        self.flush()

    def flush(self) -> None:
        """Write what can be written without waiting."""
        while self._has_output() and self._writing.acquire(blocking=False):
            try:
                if not self._drain(None):
                    return  # the socket is full: the reader waits for room
            except OSError as error:
                self.kill(error)
                return
            finally:
                self._writing.release()

    def _drain_and_release(self, deadline: float, patience: float, message: Outgoing) -> None:
        try:
            self._drain(deadline, patience, message)
        except BaseException as error:  # Ctrl-C too: it leaves half a frame on the wire
            self.kill(error)
            raise
        finally:
            self._writing.release()

    def _drain(self, deadline: float | None, patience: float = 0.0, message: Outgoing | None = None) -> bool:
        """Write all output, holding the writing lock; without a deadline, only what fits now.

        With a message, once that is written, leave the rest to threads that wait for theirs.
        """
        while True:
            if self.failure is not None:
                raise ConnectionError("the connection is closed") from self.failure
            if message is not None and message.written and self._awaited:
                return True
            if not self._chunk:
                self._chunk = memoryview(self._next_chunk())
                if not self._chunk:
                    return True
            try:
                self._took(self._sock.send(self._chunk))
            except BlockingIOError:
                if deadline is None:
                    return False
                deadline = self._wait_for_room(deadline, patience)

    def _wait_for_room(self, deadline: float, patience: float) -> float:
        """Wait until the socket takes bytes, or for a part of the patience; return the deadline, put off.

        A connection that loses packets may take nothing for long and still deliver what it took.

        Raises:
            TimeoutError: The deadline has passed.
        """
        if self._arrived is None:
            self._arrived = self.delivered
        deadline = max(deadline, self._moved_at + patience)
        look = min(deadline, time.monotonic() + patience / _LOOKS) if patience else deadline
        if _wait(self._sock, read=False, write=True, deadline=look):
            return deadline
        if (arrived := self.delivered) > self._arrived:
            self._arrived, self._moved_at = arrived, time.monotonic()
        elif time.monotonic() >= deadline:
            raise TimeoutError("the message could not be sent before its deadline")
        return deadline

    def _took(self, size: int) -> None:
        """Note that the socket took so many bytes of the chunk."""
        self._chunk = self._chunk[size:]
        self._written += size
        self._moved_at = time.monotonic()
        self._arrived = None
        if self._writes_ping and not self._chunk:
            self._writes_ping, self._ping_end = False, self._written

    def _next_chunk(self) -> bytes | memoryview:
        """Return the next bytes for the socket; ``b""`` if all is written."""
        with self._state:
            if self._tls is None:
                return self._next_frame()
            if not self._outgoing.pending:
                if not self._rest:
                    self._rest = memoryview(self._next_frame())
                chunk, self._rest = self._rest[:_TLS_CHUNK], self._rest[_TLS_CHUNK:]
                if chunk:
                    self._tls.write(chunk)
            return self._outgoing.read()

    def _next_frame(self) -> bytes:
        """Return the next frame; called when the one before it is completely written."""
        while self._queue and not self._queue[0].frames:
            message = self._queue.popleft()
            message.written = True
            self._awaited -= message.awaited
        if self._urgent:
            kind = next(iter(self._urgent))
            self._writes_ping = kind == "ping"
            return self._urgent.pop(kind)
        return self._queue[0].frames.popleft() if self._queue else b""

    def unsent(self) -> list[Any]:
        """Return the events that were surely not sent: at least their last byte was not written."""
        with self._state:
            return [message.event for message in self._queue if message.event is not None]

    @property
    def delivered(self) -> int:
        """The bytes that the peer's system has acknowledged; where ours can't tell, those it has taken."""
        if sys.platform == "win32":  # pragma: no cover
            return self._written
        from fcntl import ioctl  # not there
        from termios import TIOCOUTQ

        with contextlib.suppress(OSError):
            waiting = ioctl(self._sock, TIOCOUTQ, bytes(4))
            return self._written - int.from_bytes(waiting, sys.byteorder)
        return self._written

    @property
    def ping_delivered(self) -> bool:
        """Whether the last ping is among them."""
        end = self._ping_end
        return end is not None and end <= self.delivered

    def _has_output(self) -> bool:
        return bool(
            self.failure is None
            and (self._chunk or self._rest or self._urgent or self._queue or self._outgoing.pending)
        )

    # --- The beginning and the end ---------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext, hostname: str, deadline: float) -> None:
        """Make the TLS handshake.  Called before any other thread uses the connection.

        Raises:
            TimeoutError: The deadline passed.
            OSError: The certificate was rejected (`ssl.SSLError`), or the connection lost.
        """
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._drain(deadline)
                raw = self._receive(deadline)
                if raw is None:
                    raise TimeoutError("timed out in the TLS handshake") from None
                if not raw:
                    raise ConnectionResetError("the server ended the TLS handshake") from None
                self._incoming.write(raw)
            except ssl.SSLError:
                self.flush()  # the alert that tells the server why
                raise
            else:
                self._drain(deadline)
                return

    def kill(self, why: BaseException | None = None) -> None:
        """End the connection at once, in both directions.  Wake the reader and blocked senders."""
        with contextlib.suppress(OSError):
            # A peer that does not cooperate gets a reset: after a mere end it could wait for up to a minute
            # until we make room for what it is sending.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._stop(why or ConnectionAbortedError("closed on this side"))

    def _stop(self, why: BaseException) -> None:
        with self._state:
            if self.failure is None:
                self.failure = why
        with contextlib.suppress(OSError):  # it may have ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """Close this process's copy of the socket and nothing else, whatever the locks say.

        For the child of a fork: the connection is the parent's, and a lock that another thread held at
        the fork is never released here.
        """
        self._state, self._writing = threading.Lock(), threading.Lock()
        self.failure = ConnectionError("the connection belongs to the process that was forked")
        self._sock.close()

    def close(self) -> None:
        """Close the socket.  Waits for senders, which fail now."""
        self._stop(ConnectionAbortedError("closed on this side"))
        with self._writing, self._state:
            self._sock.close()


def _ready(sock: socket.socket, read: bool, write: bool, timeout: float | None) -> bool:
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows
        sockets = [sock]
        return any(select.select(sockets if read else [], sockets if write else [], sockets, timeout))
    poller = select.poll()
    poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    return bool(poller.poll(None if timeout is None else timeout * 1000))


def _reading_waiter(sock: socket.socket) -> Callable[[float | None], bool]:
    """Return a function that waits until the socket can be read; it returns False at the deadline.

    Made once per connection, since a new poll object for each event would cost as much as the wait.
    """
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows
        return lambda deadline: _wait(sock, read=True, write=False, deadline=deadline)
    poller = select.poll()
    poller.register(sock, select.POLLIN)

    def wait(deadline: float | None) -> bool:
        if deadline is None:
            return bool(poller.poll())
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))

    return wait


def _wait(sock: socket.socket, *, read: bool, write: bool, deadline: float | None) -> bool:
    """Wait until the socket can be read or written, or has failed; return False at the deadline."""
    if deadline is None:
        return _ready(sock, read, write, None)
    return _ready(sock, read, write, max(0.0, deadline - time.monotonic()))
