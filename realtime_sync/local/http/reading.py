"""Read the body of a request, which a client may send as wrong, as slow and as long as it likes."""

import re
from collections.abc import Mapping
from io import BufferedIOBase

from .answers import Declined

__all__ = ["read_body"]

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
"""The line before a chunk: its length, and extensions, which mean nothing here."""
_LONGEST_LINE = 256  # bytes of that line
_LENGTH = re.compile(r"[0-9]{1,18}")


def read_body(source: BufferedIOBase, headers: Mapping[str, str], most: int) -> bytes:
    """Return the body, or the first ``most + 1`` bytes of a longer one.

    Args:
        source: What follows the headers; a read waits until all is there, or the client has gone.
        headers: With names in lower case.
        most: Bytes that are accepted.

    Raises:
        Declined: 400: it is not framed as HTTP demands, or it is cut off.
        OSError: The connection is lost.
    """
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or coding.strip().lower() != "chunked":
            raise _bad(
                f"Transfer-Encoding: chunked, or Content-Length; got {coding!r:.100} and {length!r:.100}"
            )
        return _in_chunks(source, most)
    if length is None:
        return b""
    if not _LENGTH.fullmatch(length):
        raise _bad(f"a number as Content-Length, got {length!r:.100}")
    return _exactly(source, min(int(length), most + 1))


def _in_chunks(source: BufferedIOBase, most: int) -> bytes:
    body = bytearray()
    while size := _chunk_size(source.readline(_LONGEST_LINE)):
        body += _exactly(source, min(size, most + 1 - len(body)))
        if len(body) > most:
            break
        if source.readline(2) not in (b"\r\n", b"\n"):
            raise _bad(f"a line break behind a chunk of {size} bytes")
    return bytes(body)  # trailers mean nothing here


def _chunk_size(line: bytes) -> int:
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise _bad(f"the length of a chunk in hexadecimal digits, got {line!r:.100}")
    return int(found[1], 16)


def _exactly(source: BufferedIOBase, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise _bad(f"{size} more bytes, got {len(data)} and the end of the connection")
    return data


def _bad(expected: str) -> Declined:
    return Declined(400, "invalid_body", f"Bad request body: expected {expected}.")
