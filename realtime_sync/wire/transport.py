"""One open WebSocket connection: carries messages both ways, answers pings, and detects a lost peer."""

import contextlib
import os
import struct
import time
from typing import Any

from msgspec import Struct

from ..events.codec import Message
from ..exceptions import ProtocolError
from .frames import CLOSE, PING, PONG, TEXT, FrameReader, build, parse_close
from .link import Link, Outgoing

__all__ = ["Closure", "Transport"]

_CLOSE_FRAME = 1.0  # seconds to send a close frame where nothing waits for its answer
_LOOKS = 20  # how often, in the ping timeout, we look whether the ping is still on its way
_FRAGMENT = 256 * 1024  # bytes of a message per frame, so that answers to pings can go between


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
        self._dead_at = 0.0  # when a server that was pinged is given up, unless it is heard
        self._delivered = 0  # bytes of ours that had arrived there when we last looked
        self._ping_payload = b""
        self.round_trip: float | None = None  # seconds from our last ping to its answer
        self._close_sent: tuple[int, str] | None = None
        self._killed = False
        self._deadline: float | None = None
        self.closure: Closure | None = None
        self.bytes_in = 0  # of WebSocket frames
        self.heard_at = 0.0  # when something came last
        self.heard()

    # --- Receiving: the reader thread only ---------------------------------------------------------

    def receive(self, deadline: float | None = None) -> list[Message]:
        """Wait for messages from the server and return them, as `codec.Message`.

        An empty list is the end, and `closure` says how the connection ended; or, if that is ``None``, the
        deadline has passed.

        Args:
            deadline: On the clock of `time.monotonic`; ``None`` = as long as it takes.
        """
        while self.closure is None:
            if self._killed:  # the user must not wait while what the server has sent is read
                self._lost(self._link.failure)
                break
            data = self._read(deadline)
            if not data and self.closure is None:
                break
            messages = self._frames.feed(data)
            if self._frames.controls:
                self._answer_controls()
            if self._frames.violation is not None and self.closure is None:
                self._fail(self._frames.violation)
            if messages:
                return messages
            if deadline is not None and time.monotonic() >= deadline:
                break  # only control frames came, or a part of a message, and more of it may come for ever
        return []

    def _read(self, deadline: float | None) -> bytes:
        """Return bytes from the server, pinging it when it is silent.

        ``b""`` once the connection is lost, or at the deadline.
        """
        data: bytes | None = self._received
        self._received = b""
        try:
            while not data:
                data = self._link.read(_earlier(self._deadline, deadline))
                if data == b"":
                    self._lost(self._link.failure)
                    return b""
                if data is None and deadline is not None and time.monotonic() >= deadline:
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
        """Restart the keepalive clock: data came, or the reader was paused."""
        self.heard_at = time.monotonic()
        self._ping_sent = False
        self._wait_for(self._ping_interval)

    def _wait_for(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def _check_alive(self) -> bool:
        """Ping a server that was silent until the deadline; if it was pinged in vain, end the connection."""
        if not self._ping_sent or self._ping_timeout is None:
            self._ping()
        elif self._is_dead(self._ping_timeout):
            self._lost(TimeoutError(f"the server was silent for {self._ping_timeout:g} s after a ping"))
            return False
        if self._ping_timeout is None:
            self._wait_for(self._ping_interval)
        else:
            self._deadline = min(self._dead_at, time.monotonic() + self._ping_timeout / _LOOKS)
        return True

    def _ping(self) -> None:
        self._ping_at = time.monotonic()
        self._dead_at = self._ping_at + (self._ping_timeout or 0.0)
        self._delivered = self._link.delivered
        self._ping_payload = struct.pack("!d", self._ping_at)
        self._link.post("ping", _frame(PING, self._ping_payload))
        self._ping_sent = True

    def _is_dead(self, timeout: float) -> bool:
        """Return whether the server has had its time to answer a ping.

        On a slow connection that time begins when the ping has arrived: what was sent before it goes first.
        """
        delivered = self._link.delivered
        if delivered > self._delivered and not self._link.ping_delivered:
            self._dead_at = time.monotonic() + timeout
        self._delivered = delivered
        return time.monotonic() >= self._dead_at

    def _answer_controls(self) -> None:
        pings = [payload for opcode, payload in self._frames.controls if opcode == PING]
        if (
            pings
        ):  # of several that came at once, the last one: many cost a server little, and answers us much
            self._link.post("pong", _frame(PONG, pings[-1]))
        for opcode, payload in self._frames.controls:
            if opcode == PONG and payload == self._ping_payload:
                self.round_trip = time.monotonic() - self._ping_at
            elif opcode == CLOSE:
                self._answer_close(payload)
        self._frames.controls.clear()

    def _answer_close(self, payload: bytes) -> None:
        try:
            code, reason = parse_close(payload)
        except ProtocolError as error:
            self._fail(error)
            return
        if self._close_sent is not None:
            self.closure = Closure(*self._close_sent, by="client", clean=True, asked=True)
        else:
            self._send_close_frame(payload[:2], time.monotonic() + _CLOSE_FRAME)
            self.closure = Closure(code, reason, by="server", clean=True)

    def _fail(self, violation: ProtocolError) -> None:
        """End the connection because the server broke the protocol, with a close frame that says how."""
        self.give_up(violation.code, str(violation), violation)

    def give_up(self, code: int, reason: str, cause: BaseException | None = None) -> None:
        """Send a close frame and end the connection without waiting for the answer.  For the reader."""
        self._send_close_frame(_close_payload(code, reason), time.monotonic() + _CLOSE_FRAME)
        self.closure = Closure(code, reason, by="client", cause=cause)

    def _send_close_frame(self, payload: bytes, deadline: float) -> None:
        with contextlib.suppress(OSError):
            self._link.send(Outgoing([_frame(CLOSE, payload)]), deadline, last=True)

    def _lost(self, cause: BaseException | None) -> None:
        if self._close_sent is not None:
            self.closure = Closure(*self._close_sent, by="client", asked=True, cause=cause)
        else:
            self.closure = Closure(1006, "", by="network", cause=cause)

    # --- Sending and closing: any thread -----------------------------------------------------------

    def enqueue(self, payload: bytes, event: Any) -> Outgoing:
        """Put a text message behind those that are to be sent; `complete` must be called with it next.

        Args:
            payload: The text.
            event: What `unsent` lists if it can't be sent.

        Raises:
            OSError: The connection is over.
        """
        message = Outgoing(_text_frames(payload), event)
        self._link.enqueue(message)
        return message

    def complete(self, message: Outgoing) -> None:
        """Wait until a message is sent.

        Raises:
            OSError: It could not be sent (`TimeoutError`: not in time), and the connection is over.
        """
        timeout = self._send_timeout
        self._link.complete(message, time.monotonic() + timeout, patience=timeout)

    def offer(self, payload: bytes, event: Any) -> None:
        """Send a text message without waiting, as the reader must.

        Raises:
            OSError: The connection is over.
        """
        self._link.offer(Outgoing(_text_frames(payload), event))

    def unsent(self) -> list[Any]:
        """Return the events that were given to `send` or `offer` and surely not sent."""
        return self._link.unsent()

    def send_close(self, code: int, reason: str, deadline: float) -> None:
        """Send a close frame, after which nothing can be sent.  Do nothing if the connection has ended."""
        self._close_sent = (code, reason)
        self._send_close_frame(_close_payload(code, reason), deadline)

    @property
    def messages_out(self) -> int:
        """Messages given to `send` and `offer`."""
        return self._link.messages_out

    @property
    def bytes_out(self) -> int:
        """The bytes of their frames."""
        return self._link.bytes_out

    def abandon(self) -> None:  # pragma: no cover  # runs in a child process, where nothing measures
        """In the child of a fork: close the copy of the socket; the connection is the parent's."""
        self._link.abandon()

    def kill(self) -> None:
        """End the connection at once, discard what was not received yet, and wake all that wait on it."""
        self._killed = True
        self._link.kill()

    def free(self) -> None:
        """Close the socket.  For the reader, after `receive` has returned its end."""
        self._link.close()


def _earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two moments; ``None`` = never."""
    return other if one is None else one if other is None else min(one, other)


def _frame(opcode: int, payload: bytes) -> bytes:
    return build(opcode, payload, os.urandom(4))


def _close_payload(code: int, reason: str) -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def _text_frames(payload: bytes) -> list[bytes]:
    """Return a text message as one frame, or as several if it is long."""
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
