"""`link`: many threads on one connection, key updates, closing under load, broken TLS.

The server's TLS runs in asyncio, where one thread has it to itself, so what breaks here is ours.
"""

import asyncio
import base64
import contextlib
import ctypes
import hashlib
import importlib
import itertools
import json
import random
import select
import socket
import ssl
import string
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, cast

import pytest
import trustme
from leftovers import nothing_left
from scripted import DEADLINE, Caller, Open, ScriptedServer, delta, idle, server_frame
from threads import in_thread
from tls_peers import in_memory, server_context

import realtime_sync as rt
from realtime_sync.events import ResponseOutputTextDelta

Tls = ssl.SSLContext | None
SENDERS = 4
SERVER = SENDERS  # the number that the server's own texts go by
KEY_UPDATE_INTERVAL = 0.02
LETTERS = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))


def text_of(sender: int, number: int) -> str:
    """What a sender's message of this number says: 10 to 16384 letters, its own."""
    start = (number * 31 + sender * 7) % 997
    return f"{number} {LETTERS[start : start + min(16384, 10 << number % 12)]}"


def message_of(sender: int, number: int) -> dict[str, Any]:
    return {"type": "test.message", "sender": sender, "number": number, "text": text_of(sender, number)}


# --- The server -------------------------------------------------------------------------------------


class KeyUpdates:
    """Has a TLS 1.3 server change its keys and ask the client for new ones; counts what comes of it.

    Python has no call for this, so OpenSSL is called behind its back.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.messages: Counter[str] = Counter()
        context._msg_callback = self._count  # type: ignore[attr-defined]
        library = ctypes.CDLL(importlib.import_module("_ssl").__file__)
        self._update = library.SSL_key_update
        self._update.argtypes = [ctypes.c_void_p, ctypes.c_int]

    def _count(self, _: object, direction: str, __: int, content: int, message: int, ___: bytes) -> None:
        if (content, message) == (22, 24):  # a handshake message, KeyUpdate
            self.messages[direction] += 1

    def request(self, tls: ssl.SSLObject) -> None:
        """Have both sides change their keys; goes out with the next write."""
        inner = tls._sslobj  # type: ignore[attr-defined]
        # A C struct: what every object has, then the socket, OpenSSL's object, our context.
        pointers = (ctypes.c_void_p * 3).from_address(id(inner) + object.__basicsize__)
        if pointers[2] != id(tls.context):
            raise LookupError("the struct is another one in this Python")
        if self._update(pointers[1], 1) != 1:
            raise LookupError("OpenSSL refused the key update")

    @property
    def sent(self) -> int:
        return self.messages["write"]

    @property
    def answered(self) -> int:
        return self.messages["read"]


def key_updates(server: ssl.SSLContext, client: ssl.SSLContext) -> KeyUpdates:
    """Key updates for a server, tried out in memory; skips the test where they can't be made."""
    try:
        updates = KeyUpdates(server)
        here, there = in_memory(server, client)
        updates.request(here)
        here.write(b"x")
        there.read(1)
        there.write(b"x")
        here.read(1)
    except (AttributeError, LookupError, OSError) as reason:
        pytest.skip(f"no key updates can be made here: {reason}")
    if updates.messages != {"write": 1, "read": 1}:
        pytest.skip(f"a key update had no effect: {updates.messages}")
    updates.messages.clear()
    return updates


class Peer(asyncio.Protocol):
    """The server's side of a connection: always reads, and sends numbered events as fast as they go."""

    def __init__(self, server: "Blaster") -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._accepted = False
        self._paused = False
        self._pumping = False
        self._ended = False  # all senders are done and were told
        self._deaf = server.deaf
        self.received = [0] * SENDERS  # messages of each sender; each was the one that was due
        self.done = 0  # senders that have said that they sent all
        self.sent = 0
        self.goodbye = b""
        self.lost = asyncio.Event()
        self.cause: BaseException | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.peers.append(self)

    def connection_lost(self, cause: Exception | None) -> None:
        self.cause = cause
        self.lost.set()
        self.transport.close()  # or asyncio warns, in Python 3.10

    @property
    def _over(self) -> bool:
        return self.lost.is_set() or self.transport.is_closing()

    @property
    def tls(self) -> ssl.SSLObject:
        return cast(ssl.SSLObject, self.transport.get_extra_info("ssl_object"))

    # Receiving

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            if not self._accepted:
                self._accept()
            while self._accepted and (frame := self._next_frame()):
                self._take(*frame)
        except BaseException as problem:
            self._server.problems.append(problem)
            self.transport.abort()

    def _accept(self) -> None:
        """Agree to the WebSocket once the whole request is here."""
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        (key,) = (line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._buffer = rest
        self._accepted = True
        self._pump_soon()
        if self._server.updates is not None:
            self._update_keys(self._server.updates)

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The first frame in the buffer: opcode and payload."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        start, size = 2, buffer[1] & 0x7F
        if size > 125:
            start += 2 if size == 126 else 8
            size = int.from_bytes(buffer[2:start], "big")
        end = start + 4 + size
        if len(buffer) < start or len(buffer) < end:
            return None
        assert buffer[0] & 0xF0 == 0x80, "a fragment"
        assert buffer[1] & 0x80, "not masked"
        mask = bytes(buffer[start : start + 4]) * (size // 4 + 1)
        masked = int.from_bytes(buffer[start + 4 : end], "big") ^ int.from_bytes(mask[:size], "big")
        opcode = buffer[0] & 0x0F
        del buffer[:end]
        return opcode, masked.to_bytes(size, "big")

    def _take(self, opcode: int, payload: bytes) -> None:
        assert not self.goodbye, "something follows the close frame"
        if opcode == 8:
            self.goodbye = payload
            if not self._deaf:
                self.transport.write(server_frame(8, payload))
                self.transport.close()
            return
        if opcode == 10:
            return
        assert opcode == 1, f"opcode {opcode}"
        message = json.loads(payload)
        if message["type"] == "test.done":
            self.done += 1
            return
        sender = message["sender"]
        assert message["number"] == self.received[sender], "a message was lost or came twice"
        assert message["text"] == text_of(sender, message["number"]), "a message was damaged"
        self.received[sender] += 1

    # Sending

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Send some events, and more when the loop has looked at what came in."""
        self._pumping = False
        if self._paused or self._ended or self._over:
            return
        if self.done == SENDERS:
            self._ended = True
            self.transport.write(server_frame(1, delta("end").encode()))
            return
        numbers = range(self.sent, self.sent + 10)
        texts = (delta(text_of(SERVER, number)).encode() for number in numbers)
        self.transport.write(b"".join(server_frame(1, text) for text in texts))
        if any(self.received):  # a quiet client is kept from having a pong to send
            self.transport.write(server_frame(9, b""))
        self.sent += len(numbers)
        self._pump_soon()

    def _update_keys(self, updates: KeyUpdates) -> None:
        if not self._over:
            updates.request(self.tls)
            self._loop.call_later(KEY_UPDATE_INTERVAL, self._update_keys, updates)


class Blaster:
    """A server that blasts all who come.  What it finds wrong with them comes out at the end of ``with``."""

    def __init__(self, tls: Tls = None, updates: KeyUpdates | None = None, *, deaf: bool = False) -> None:
        self._tls = tls
        self.updates = updates
        self.deaf = deaf  # whether it gives no answer to goodbyes
        self.peers: list[Peer] = []
        self.problems: list[BaseException] = []
        self._ready = threading.Event()
        # Runs the event loop, so that the test can block.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: Peer(self), "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if self._tls else 'ws'}://localhost:{self.port}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for peer in self.peers:
            if not peer.lost.is_set():
                peer.transport.abort()
            await asyncio.wait_for(peer.lost.wait(), DEADLINE)

    def __enter__(self) -> "Blaster":
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        for problem in self.problems:
            raise problem from error


# --- The tap ----------------------------------------------------------------------------------------


class TlsRecords:
    """Takes what a client sends, and fails on what is not TLS."""

    def __init__(self) -> None:
        self.count = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 5:
            kind, major, minor, size = struct.unpack_from("!BBBH", self._buffer)
            assert 20 <= kind <= 23, f"not TLS: {bytes(self._buffer[:20])!r}"
            assert (major, minor) in ((3, 1), (3, 3)), f"not TLS: {bytes(self._buffer[:20])!r}"
            assert 0 < size <= 16384 + 256, f"not TLS: {bytes(self._buffer[:20])!r}"
            if len(self._buffer) < 5 + size:
                return
            del self._buffer[: 5 + size]
            self.count += 1


class Relay:
    """Stands between clients and a TLS server, looks at what the clients send, and can add to the answers."""

    def __init__(self, server: "Blaster | ScriptedServer") -> None:
        self._port = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"wss://localhost:{self._listener.getsockname()[1]}/v1"
        self.records: list[TlsRecords] = []
        self._clients: list[socket.socket] = []
        self._problems: list[BaseException] = []
        self._threads: list[threading.Thread] = []  # one for each connection
        # Accepts connections, so that a test can open them from its own thread.
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                self.records.append(TlsRecords())
                self._threads.append(in_thread(self._carry, client, self.records[-1].feed))

    def _carry(self, client: socket.socket, look: Callable[[bytes], None]) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = in_thread(self._copy, server, client, lambda _: None)
            self._copy(client, server, look)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, look: Callable[[bytes], None]) -> None:
        try:
            while data := source.recv(65536):
                look(data)
                sink.sendall(data)
        except OSError:
            pass  # one side hung up, and then the other is hung up on
        except BaseException as problem:
            self._problems.append(problem)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def inject(self, data: bytes) -> None:
        """Send the latest client something that is not from the server."""
        self._clients[-1].sendall(data)

    def __enter__(self) -> "Relay":
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._threads):
            thread.join(DEADLINE)
            assert not thread.is_alive()
        for problem in self._problems:
            raise problem from error


# --- Full speed both ways ---------------------------------------------------------------------------


def send_for(seconds: float, session: rt.Session, sender: int) -> int:
    """Send numbered messages for so long; returns how many."""
    until = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() >= until:
            break
        session.send(message_of(sender, number))
    session.send({"type": "test.done"})
    return number


def text_taken(session: rt.Session) -> str:
    event = session.next_event(DEADLINE)
    assert isinstance(event, ResponseOutputTextDelta), event
    return event.delta


def read_to_end(session: rt.Session, first: int = 0) -> int:
    """Take the server's numbered events until it says that it is done; returns how many it sent."""
    for number in itertools.count(first):
        text = text_taken(session)
        if text == "end":
            break
        assert text == text_of(SERVER, number)
    return number


def full_duplex(session: rt.Session, server: Blaster, seconds: float) -> None:
    """Send from several threads and read in this one; every message must be accounted for."""
    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(send_for, seconds, session, sender) for sender in range(SENDERS)]
        received = read_to_end(session)
        sent = [sender.result(DEADLINE) for sender in senders]
    assert not session.closed
    session.close()
    (peer,) = server.peers
    assert peer.received == sent
    assert peer.sent == received
    assert min(*sent, received) > 0
    assert peer.goodbye == b"\x03\xe8"
    assert all("unknown" in kind for kind in session.deviations)  # each frame was read as it was sent
    print(f"{sum(sent)} messages to the server, {received} from it")


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_full_duplex_with_key_updates(
    seconds: int,
    authority: trustme.CA,
    client_tls: ssl.SSLContext,
    open_session: Open,
) -> None:
    """Four threads send and one reads through key updates: each message arrives once, whole, in order."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    updates = key_updates(context, client_tls)
    with Blaster(context, updates) as server:
        full_duplex(open_session(server), server, seconds)
    assert updates.sent > seconds
    assert updates.answered > seconds
    print(f"{updates.sent} key updates, {updates.answered} answered")


def test_a_quiet_client_answers_key_updates(
    authority: trustme.CA, client_tls: ssl.SSLContext, open_session: Open
) -> None:
    """A client that only reads changes its keys when asked, without waiting for something to send."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    updates = key_updates(context, client_tls)
    with Blaster(context, updates) as server:
        session = open_session(server)
        deadline = time.monotonic() + DEADLINE
        for number in itertools.count():
            assert text_taken(session) == text_of(SERVER, number)
            if updates.answered >= 5:
                break
            assert time.monotonic() < deadline, "no answer"
        session.close()


def test_tls_1_2(authority: trustme.CA, open_session: Open) -> None:
    """A server of TLS 1.2 will do: everything arrives both ways."""
    with Blaster(server_context(authority, ssl.TLSVersion.TLSv1_2)) as server:
        session = open_session(server)
        assert server.peers[0].tls.version() == "TLSv1.2"
        full_duplex(session, server, 1)


# --- Closing ----------------------------------------------------------------------------------------


def send_until_it_fails(session: rt.Session, sender: int, begun: threading.Event) -> None:
    for number in itertools.count():
        session.send(message_of(sender, number))
        begun.set()


@contextlib.contextmanager
def under_load(session: rt.Session) -> Iterator[None]:
    """Inside, two threads send; the session's end is what ends them, and nothing but that."""
    begun = [threading.Event(), threading.Event()]
    with ThreadPoolExecutor(2) as pool, session:
        senders = [pool.submit(send_until_it_fails, session, n, event) for n, event in enumerate(begun)]
        assert all(event.wait(DEADLINE) for event in begun)
        yield
        for sender in senders:
            assert type(sender.exception(DEADLINE)) is rt.ConnectionClosed


def close_under_load(url: str, tls: ssl.SSLContext, events: int, answered: bool) -> None:
    """Open a session, take some events and close, while two threads send."""
    session = rt.connect(
        base_url=url, ssl_context=tls, wait=False, close_timeout=DEADLINE if answered else 0.05
    )
    with under_load(session):
        for number in range(events):
            assert text_taken(session) == text_of(SERVER, number)
        session.close()
        assert not session._reader._thread.is_alive()
        with pytest.raises(rt.ConnectionClosed) as caught:
            read_to_end(session, first=events)
        assert (caught.value.code, caught.value.clean) == (1000, answered)


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("count", [20, pytest.param(250, marks=pytest.mark.slow)])
def test_closing_under_load(count: int, answered: bool, server_tls: Tls, client_tls: ssl.SSLContext) -> None:
    """Closing while threads send and events pour in tells the senders, and gives everything back."""
    with nothing_left(), Blaster(server_tls, deaf=not answered) as server:
        for number in range(count):
            close_under_load(server.url, client_tls, number % 20, answered)
    assert len(server.peers) == count
    assert not answered or {peer.goodbye for peer in server.peers} == {b"\x03\xe8"}


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("count", [20, pytest.param(250, marks=pytest.mark.slow)])
def test_closing_leaks_nothing_in_clear(
    count: int, answered: bool, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """To the last byte, a connection closed under load carries TLS records that the server can read."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    with Blaster(context, deaf=not answered) as server, Relay(server) as relay:
        for number in range(count):
            close_under_load(relay.url, client_tls, number % 20, answered)
    assert not [peer.cause for peer in server.peers if isinstance(peer.cause, ssl.SSLError)]
    assert len(relay.records) == count
    assert min(records.count for records in relay.records) > 5


# --- A server that does not read --------------------------------------------------------------------


def read_message_and_pongs(caller: Caller, last_pong: bytes) -> tuple[Any, list[bytes]]:
    """Read a message and what comes between and behind its fragments, up to a certain pong."""
    message, whole, pongs = b"", False, [b""]
    while not whole or pongs[-1] != last_pong:
        opcode, payload = caller.read()
        assert opcode in (0, 1, 10), opcode
        if opcode == 10:
            pongs.append(payload)
        else:
            message, whole = message + payload, caller.final
    return json.loads(message), pongs


def test_stalled_peer_does_not_stop_the_reader(server_tls: Tls, open_session: Open) -> None:
    """A server that reads nothing while it sends is listened to, with a sender stuck in a large message."""
    count, taken = 1000, threading.Event()
    audio = bytes(range(256)) * (15 * 4096)
    received: list[Any] = []

    def script(caller: Caller) -> None:
        caller.accept()
        assert select.select([caller.sock], [], [], DEADLINE)[0]  # the message has begun
        for number in range(count):
            caller.text(delta(text_of(SERVER, number)))
            caller.frame(9, b"%d" % number)
        assert taken.wait(DEADLINE)
        received.extend(read_message_and_pongs(caller, b"%d" % (count - 1)))
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        sender = in_thread(session.input_audio_buffer.append, audio)
        assert [text_taken(session) for _ in range(count)] == [text_of(SERVER, n) for n in range(count)]
        assert sender.is_alive()
        taken.set()
        sender.join(DEADLINE)
        assert not sender.is_alive()
        session.close()
    message, pongs = received
    assert base64.b64decode(message["audio"]) == audio
    assert pongs == sorted(pongs, key=lambda pong: int(pong or -1))


# --- The details of TLS -----------------------------------------------------------------------------


def test_server_name(authority: trustme.CA, open_session: Open) -> None:
    """The TLS handshake names the host, as a server with many certificates needs it."""
    names: list[str | None] = []
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    context.sni_callback = lambda _, name, __: names.append(name)
    with ScriptedServer(idle, context) as server:
        open_session(server).close()
    assert names == ["localhost"]


@pytest.mark.parametrize("end", ["cut off", "ended"])
def test_an_end_without_goodbye(end: str, authority: trustme.CA, open_session: Open) -> None:
    """An end of TCP, or of TLS, that no close frame announced is a lost connection, after all events."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*[delta(text_of(SERVER, number)) for number in range(100)])
        if end == "ended":
            caller.sock.unwrap()  # type: ignore[attr-defined]  # it is an SSLSocket

    with ScriptedServer(script, server_context(authority, ssl.TLSVersion.TLSv1_3)) as server:
        session = open_session(server)
        assert [text_taken(session) for _ in range(100)] == [text_of(SERVER, n) for n in range(100)]
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
    assert (caught.value.code, caught.value.clean) == (1006, False)


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(bytes(64), id="no record"),
        pytest.param(b"\x17\x03\x03\x00\x40" + bytes(64), id="a forged record"),
        pytest.param(b"\x15\x03\x03\x00\x02\x01\x00", id="a forged end"),
        pytest.param(server_frame(1, delta("forged").encode()), id="a message in clear"),
    ],
)
def test_foreign_bytes(foreign: bytes, authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    """Bytes that are not from the server end the session as a TLS error; no event is made of them."""
    context = server_context(authority, ssl.TLSVersion.TLSv1_3)
    with Blaster(context) as server, Relay(server) as relay:
        session = rt.connect(base_url=relay.url, ssl_context=client_tls)
        with under_load(session):
            assert text_taken(session) == text_of(SERVER, 0)
            relay.inject(foreign)
            with pytest.raises(rt.ConnectionClosed) as caught:
                read_to_end(session, first=1)
    assert (caught.value.code, caught.value.clean) == (1006, False)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
