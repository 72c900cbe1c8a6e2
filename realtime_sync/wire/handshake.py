"""Opening a connection: TCP, TLS, and the WebSocket handshake.

The only file that uses websocket-client, which makes the opening handshake.  `_HandshakeSocket` prevents
what it would do beyond that: follow redirects with the key, share cookies in the whole process, read without
limits.
"""

import contextlib
import io
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import websocket
from msgspec import Struct

from ..exceptions import ConnectionFailed
from ..redaction import LONGEST_SECRET, Redact, beginning, one_line
from .dial import dial
from .link import Link, Outgoing
from .opening import Opening
from .tls import default_context
from .transport import Transport

__all__ = ["open_transport"]

_MAX_HEAD = 65536  # bytes of the handshake's answer up to its blank line
_MAX_BODY = 65536  # bytes kept of a rejection's body


def open_transport(
    url: str,
    *,
    headers: Sequence[tuple[str, str]],
    ssl_context: ssl.SSLContext | None,
    proxy: str | None,
    connect_timeout: float,
    redact: Redact,
    opening: Opening | None = None,
    **options: Any,
) -> Transport:
    """Connect to a ``ws://`` or ``wss://`` address and make the opening handshake.

    ``headers`` must be free of line breaks.  ``redact`` removes secrets from what the server answers.
    ``opening`` can cancel it.  ``options`` are those of `Transport`.

    Raises:
        ConnectionFailed: The server can't be reached, or rejects the connection.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    deadline = time.monotonic() + connect_timeout
    secure = parts.scheme == "wss"
    link = Link(dial(host, port, secure=secure, deadline=deadline, proxy=proxy, opening=opening))
    try:
        if secure:
            link.start_tls(ssl_context or default_context(), host, deadline)
        facade = _HandshakeSocket(link, deadline, redact)
        _handshake(url, facade, headers)
        return Transport(link, facade.rest, **options)
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise ConnectionFailed(f"the certificate of {host} was rejected: {error.verify_message}") from error
    except OSError as error:
        link.close()
        raise ConnectionFailed(f"could not connect to {host}:{port}: {error}") from error
    except BaseException:
        link.close()
        raise


def _handshake(url: str, facade: "_HandshakeSocket", headers: Sequence[tuple[str, str]]) -> None:
    client: Any = websocket.WebSocket(skip_utf8_validation=True)
    try:
        client.connect(
            url,
            socket=facade,
            # The caller's cookies are in lower case, which tells them from those of the shared jar.
            header=[f"{'cookie' if name.lower() == 'cookie' else name}: {value}" for name, value in headers],
            suppress_origin=True,
            redirect_limit=0,
        )
    except (ConnectionFailed, OSError):
        raise
    except Exception as error:  # for an answer that it can't read, it raises errors of any class
        # It may quote what the server said.
        cause = OSError(one_line(f"{type(error).__name__}: {error}", redact=facade.redact))
        raise facade.not_a_websocket() from cause
    finally:
        client.sock = None  # the link is ours: the client must not touch it from here on


class _HandshakeSocket:
    """The connection as websocket-client sees it: a socket that carries one request and its answer.

    The whole answer is read here, under the deadline and a size limit.  A rejection is raised from here
    with its status and body; websocket-client sees only an acceptance, without its cookies.
    """

    def __init__(self, link: Link, deadline: float, redact: Redact) -> None:
        self._link = link
        self._deadline = deadline
        self.redact = redact
        self._head: io.BytesIO | None = None  # the answer up to its blank line, for websocket-client
        self._answer = bytearray()  # the answer as it came
        self.rest = b""  # what came behind the blank line

    def send(self, request: bytes) -> int:
        """Send the request, without the cookies that other connections of this process received."""
        lines = [line for line in request.split(b"\r\n") if not line.startswith(b"Cookie: ")]
        self._link.send(Outgoing([b"\r\n".join(lines)]), self._deadline)
        return len(request)

    def recv(self, size: int) -> bytes:
        """Return the next bytes of the answer, at most ``size``."""
        if self._head is None:
            self._head = io.BytesIO(self._read_answer())
        return self._head.read(size)

    def gettimeout(self) -> None:
        """There is a deadline, not a timeout."""

    def close(self) -> None:
        """The link is closed by whoever opened it."""

    def _read_answer(self) -> bytes:
        seen = 0  # bytes of it that hold no blank line
        while (end := self._answer.find(b"\r\n\r\n", seen)) < 0:
            seen = max(0, len(self._answer) - 3)
            if len(self._answer) > _MAX_HEAD:
                raise ConnectionFailed(f"the server's answer has more than {_MAX_HEAD} bytes of headers")
            data = self._link.read(self._deadline)
            if data is None:
                raise ConnectionFailed("timed out waiting for the server's answer to the handshake")
            if not data:
                raise self.not_a_websocket()
            self._answer += data
        head, self.rest = bytes(self._answer[:end]), bytes(self._answer[end + 4 :])
        status_line, *lines = head.split(b"\r\n")
        if status_line.split()[1:2] != [b"101"]:
            raise self._rejection(status_line, lines)
        kept = [line for line in lines if not line.lower().startswith(b"set-cookie:")]
        if any(line.lower().startswith(b"sec-websocket-extensions:") for line in kept):
            raise ConnectionFailed("the server insists on a WebSocket extension that was not offered")
        return b"\r\n".join([status_line, *kept, b"", b""])

    def _rejection(self, status_line: bytes, lines: list[bytes]) -> ConnectionFailed:
        """Return the error for an answer that is HTTP, but not 101."""
        words = self.redact(status_line.decode("latin-1")).split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
            return self.not_a_websocket()
        status = int(words[1])
        headers = {}
        for line in lines:
            name, _, value = self.redact(line.decode("latin-1")).partition(":")
            headers[name.strip().lower()] = value.strip()
        whole = self._read_body(headers)
        more = len(whole) >= _MAX_BODY + LONGEST_SECRET
        body = beginning(whole.decode("utf-8", "replace"), self.redact, _MAX_BODY, more=more)
        text = f"the server rejected the connection: HTTP {' '.join(words[1:])}"
        if 300 <= status < 400:
            target = urlsplit(headers.get("location", "")).hostname or "another path"
            text += f"; it redirects to {target}, which is not followed"
        elif detail := _error_message(body):
            text += f": {detail}"
        elif status < 300:
            text += "; this address is not a WebSocket server"
        return ConnectionFailed(text, status=status, headers=headers, body=body.encode()[:_MAX_BODY])

    def _read_body(self, headers: dict[str, str]) -> bytes:
        """Read the body until its end, our limit or the deadline."""
        length = headers.get("content-length", "")
        most = _MAX_BODY + LONGEST_SECRET  # so that a secret at the end is complete, and recognized
        wanted = min(int(length), most) if length.isdecimal() else most
        body = bytearray(self.rest)
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        with contextlib.suppress(OSError):
            while len(body) < wanted and not (chunked and body.endswith(b"0\r\n\r\n")):
                data = self._link.read(self._deadline)
                if not data:
                    break
                body += data
        return (_unchunk(bytes(body)) if chunked else bytes(body))[:wanted]

    def not_a_websocket(self) -> ConnectionFailed:
        """Return the error for an answer that is not HTTP, or not a valid WebSocket handshake."""
        if not self._answer:
            return ConnectionFailed(
                "the server closed the connection without an answer; is it a WebSocket server?"
            )
        start = self.redact(self._answer.decode("latin-1"))[:80]  # in this order: half a key is a secret too
        return ConnectionFailed(f"this is not a WebSocket server: it answered {start!r}")


def _unchunk(body: bytes) -> bytes:
    """Join the chunks of a chunked body; stop at the first that is malformed or incomplete."""
    joined: list[bytes] = []
    start = 0
    while (end := body.find(b"\r\n", start)) >= 0:
        try:
            length = int(body[start:end].split(b";")[0], 16)
        except ValueError:
            break
        if length <= 0:
            break
        start = end + 2 + length
        joined.append(body[end + 2 : start])
        start += 2
    return b"".join(joined)


class _ErrorMessage(Struct):
    message: str


class _ErrorBody(Struct):
    error: _ErrorMessage


def _error_message(body: str) -> str | None:
    """Return the message in OpenAI's JSON for errors; ``None`` if the body is something else."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error.message[:500]
    except (ValueError, RecursionError):
        return None
