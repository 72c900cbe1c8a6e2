"""WebSocket framing (RFC 6455): a server's bytes to messages, and a client's messages to frames.

Pure: no sockets, no threads, no clock.
"""

from ..events.codec import Binary, Message
from ..exceptions import ProtocolError

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "FrameReader",
    "build",
    "parse_close",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
_FINAL_TEXT = 0x80 | TEXT


class FrameReader:
    """Cuts a server's byte stream into messages.

    Feed it the stream in chunks of any size.  `feed` returns the messages; control frames are appended to
    `controls`, from which the caller removes them.  When the peer breaks the protocol, `violation` says how;
    the messages before the violation are still returned.  Whatever follows a violation or a close frame is
    ignored.
    """

    def __init__(self, max_message_size: int) -> None:
        self._max = max_message_size
        self.controls: list[tuple[int, bytes]] = []
        self.closed = False
        self.violation: ProtocolError | None = None
        # Bytes that are not a whole frame yet.  They are joined once enough of them are here, so a
        # large frame costs one copy however many chunks it comes in.
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0
        # A message in fragments, and the opcode it began with.
        self._message: bytearray | None = None
        self._opcode = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take a chunk of the stream and return the messages that are now complete, in order."""
        if self.closed:
            return []
        if self._chunks:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        messages: list[Message] = []
        rest = self._read_frames(data, messages)
        if rest < len(data) and not self.closed:
            self._chunks.append(data[rest:])
            self._have = len(data) - rest
        return messages

    def _read_frames(self, data: bytes, messages: list[Message]) -> int:
        """Read the whole frames in ``data``; return where the first unfinished one starts."""
        position, end = 0, len(data)
        whole_texts = self._max if self._message is None else -1  # how long one of those may be
        while end - position >= 2:
            first, length = data[position], data[position + 1]
            start = position + 2
            if length >= 126:
                if length > 127:
                    return self._fail(1002, "the server masked a frame", position)
                start += 2 if length == 126 else 8
                if start > end:
                    self._need = start - position
                    return position
                if length == 126:
                    length = data[start - 2] << 8 | data[start - 1]
                else:
                    length = int.from_bytes(data[start - 8 : start], "big")
            stop = start + length
            if first == _FINAL_TEXT and length <= whole_texts:  # the common frame, all of it checked
                if stop > end:
                    self._need = stop - position
                    return position
                messages.append(data[start:stop])
                position = stop
                continue
            fault = self._check(first, length)
            if fault is not None:
                return self._fail(*fault, position)
            if stop > end:
                self._need = stop - position
                return position
            self._take(first, data[start:stop], messages)
            whole_texts = self._max if self._message is None else -1
            position = stop
            if self.closed:
                return position
        self._need = 2
        return position

    def _fail(self, code: int, why: str, position: int) -> int:
        self.violation = ProtocolError(code, why)
        self.closed = True
        return position

    def _check(self, first: int, length: int) -> tuple[int, str] | None:
        """Return what is wrong with a frame, judged by its header, before its payload is stored."""
        opcode = first & 0x0F
        if first & 0x70:
            return 1002, "the server set a reserved bit"
        if opcode not in _OPCODES:
            return 1002, f"the server used the reserved opcode {opcode}"
        if opcode >= CLOSE:
            if length > 125 or not first & 0x80:
                return 1002, "the server sent a control frame that is too long or fragmented"
            return None
        if (opcode == CONTINUATION) != (self._message is not None):
            return 1002, "the server sent a fragment out of order"
        if length + len(self._message or b"") > self._max:
            return 1009, f"the server sent a message of more than {self._max} bytes"
        return None

    def _take(self, first: int, payload: bytes, messages: list[Message]) -> None:
        """Handle a checked frame that is not a whole text message."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self.controls.append((opcode, payload))
            self.closed = opcode == CLOSE
            return
        if opcode != CONTINUATION:
            self._message, self._opcode = bytearray(), opcode
        assert self._message is not None  # `_check` has rejected all else
        self._message += payload
        if first & 0x80:
            payload = bytes(self._message)
            messages.append(payload if self._opcode == TEXT else Binary(payload))
            self._message = None


# XOR with a byte is a table look-up, which `bytes.translate` does faster than any arithmetic in Python.
_XOR = [bytes(byte ^ key for byte in range(256)) for key in range(256)]


def build(opcode: int, payload: bytes, mask: bytes, *, first: bool = True, last: bool = True) -> bytes:
    """Return one frame from a client, masked with the four random bytes of ``mask``.

    A message in fragments has ``first`` in its first frame only and ``last`` in its last.
    """
    head = (0x80 if last else 0) | (opcode if first else CONTINUATION)
    size = len(payload)
    if size < 126:
        header = bytes((head, 0x80 | size))
    elif size < 65536:
        header = bytes((head, 0xFE)) + size.to_bytes(2, "big")
    else:
        header = bytes((head, 0xFF)) + size.to_bytes(8, "big")
    masked = bytearray(size)
    for index, key in enumerate(mask):
        masked[index::4] = payload[index::4].translate(_XOR[key])
    return b"".join((header, mask, masked))


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame; 1005 and ``""`` if it is empty.

    Raises:
        ProtocolError: The code must not be sent, or the reason is not UTF-8.
    """
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (1000 <= code < 5000) or code in (1004, 1005, 1006) or 1015 <= code < 3000:
        raise ProtocolError(1002, "the server sent an invalid close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "the server sent a close reason that is not UTF-8") from None
