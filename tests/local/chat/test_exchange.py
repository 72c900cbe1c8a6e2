"""One HTTP exchange, which another thread may close at any moment."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any

import pytest
from http_api import read_http
from leftovers import nothing_left
from scripted import DEADLINE, Caller, ScriptedServer
from threads import in_thread, wait_until

from realtime_sync.endpoint import Endpoint
from realtime_sync.exceptions import ConnectionFailed
from realtime_sync.local.chat.exchange import Closed, Exchange
from realtime_sync.providers import COMPATIBLE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def exchange(url: str, seconds: float = DEADLINE, **options: Any) -> Exchange:
    usual: dict[str, Any] = {"api_key": None, "headers": {}, "query": {}, "ssl_context": None, "proxy": None}
    made = Exchange(Endpoint(url, provider=COMPATIBLE, allow_insecure=False, **{**usual, **options}))
    made.allow(seconds)
    return made


def address(server: ScriptedServer, secure: bool = False) -> str:
    return f"https://localhost:{server.port}/v1" if secure else f"http://127.0.0.1:{server.port}/v1"


def whole(made: Exchange, body: bytes = b"{}") -> bytes:
    """Post a request and return the body of its answer."""
    made.post("/x", body)
    return b"".join(iter(made.read, b""))


def test_an_exchange(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> None:
    """A request is posted with its headers, over TLS too, and its answer read as it comes."""
    secure = server_tls is not None
    bodies: list[bytes] = []
    heads: list[str] = []
    goes_on = threading.Event()

    def script(caller: Caller) -> None:
        bodies.append(read_http(caller))
        heads.append(caller.request.decode())
        caller.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        goes_on.wait(DEADLINE)
        caller.raw(b"2\r\nde\r\n0\r\n\r\n")

    with ScriptedServer(script, server_tls) as server:
        options: dict[str, Any] = {"ssl_context": client_tls, "headers": {"X-Own": "1"}, "api_key": "of-mine"}
        made = exchange(address(server, secure), **options)
        answer = made.post("/x", b'{"a":1}')
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
        assert made.read() == b"abc"
        goes_on.set()
        assert made.read() + made.read() == b"de"
        made.close()
        assert made.redact("of-mine") == "***"
    host = "localhost" if secure else "127.0.0.1"
    assert bodies == [b'{"a":1}']
    assert heads[0].startswith(f"POST /v1/x HTTP/1.1\r\nHost: {host}:{server.port}\r\n")
    for line in (
        "Authorization: Bearer of-mine",
        "X-Own: 1",
        "Accept-Encoding: identity",
        "Content-Length: 7",
    ):
        assert f"\r\n{line}\r\n" in heads[0]


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        (b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"\r\nabc", b"abc"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: 1\r\n\r\n", b"abc"),
    ],
)
def test_bodies(rest: bytes, body: bytes) -> None:
    """A body is read in each way in which HTTP ends it."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(HEAD + rest)

    with ScriptedServer(script) as server, contextlib.closing(exchange(address(server))) as made:
        assert whole(made) == body
        assert whole(made) == body  # another request, on a connection of its own


def test_an_answer_before_the_request_is_read() -> None:
    """An answer that comes while the request is still being sent is read."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        caller.sock.shutdown(socket.SHUT_WR)
        while caller.sock.recv(65536):
            pass

    with ScriptedServer(script) as server, contextlib.closing(exchange(address(server))) as made:
        assert made.post("/x", bytes(4_000_000)).status == 413


def test_no_more_time() -> None:
    """An answer that drips ends with the time that it has."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        read_http(caller)
        with contextlib.suppress(OSError):
            while not ended.wait(0.01):
                caller.raw(b"HTTP/1.1 100 Continue\r\n\r\n")

    with ScriptedServer(script) as server, contextlib.closing(exchange(address(server), 0.3)) as made:
        with pytest.raises(TimeoutError):
            made.post("/x", b"{}")
        ended.set()


@pytest.mark.parametrize("size", [b"-5", b"x", b"ffffffffffffffffff"])
def test_bad_chunks(size: bytes) -> None:
    """What is not HTTP is an error of the connection."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc")

    with (
        ScriptedServer(script) as server,
        contextlib.closing(exchange(address(server))) as made,
        pytest.raises((OSError, HTTPException)),
    ):
        whole(made)


def test_nobody_listens() -> None:
    """A server that is not there is said so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=r"could not connect to 127\.0\.0\.1"):
        exchange(f"http://127.0.0.1:{port}/v1").post("/x", b"{}")


# --- Closing -----------------------------------------------------------------------------------------


class Held:
    """A server that leaves its callers waiting in one place."""

    def __init__(self, place: str, tls: ssl.SSLContext) -> None:
        self.place = place
        self.tls = tls
        self.reached = threading.Event()
        self.ended = threading.Event()

    def script(self, caller: Caller) -> None:
        if self.place == "handshake":
            caller.sock.recv(5)
        elif self.place == "sending":
            caller.read_request()
        else:
            read_http(caller)
        if self.place in ("body", "stream"):
            caller.raw(HEAD + b"\r\n" + (b"abc" if self.place == "stream" else b""))
        self.reached.set()
        self.ended.wait(DEADLINE)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Run, and give the address."""
        if self.place == "connecting":
            with full() as url:
                yield url
            return
        with ScriptedServer(self.script, receive_buffer=4096) as server:
            yield address(server, secure=self.place == "handshake")
            self.ended.set()

    def wait(self) -> None:
        """Wait until a caller is there."""
        if self.place == "connecting":
            wait_until(lambda: any("dial" in thread.name for thread in threading.enumerate()))
        else:
            assert self.reached.wait(DEADLINE)


@contextlib.contextmanager
def full() -> Iterator[str]:
    """The address of a server that answers no attempt to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # as many as the system takes
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


PLACES = ["connecting", "handshake", "sending", "head", "body", "stream"]


@pytest.mark.parametrize("place", PLACES)
def test_closed_by_another_thread(place: str, client_tls: ssl.SSLContext) -> None:
    """Wherever a thread waits in an exchange, closing that lets it go at once, and closes the connection."""
    held = Held(place, client_tls)
    outcome: list[object] = []

    def work(made: Exchange) -> None:
        try:
            outcome.append(whole(made, bytes(30_000_000 if place == "sending" else 10)))
        except BaseException as error:
            outcome.append(error)

    with nothing_left(), held.running() as url:
        made = exchange(url, ssl_context=client_tls)
        thread = in_thread(work, made)
        held.wait()
        made.close()
        thread.join(DEADLINE / 10)
        assert not thread.is_alive()
        made.close()
    assert [type(each) for each in outcome] == [Closed]


def unused(made: Exchange) -> None:
    """Do nothing."""


def posted(made: Exchange) -> None:
    made.post("/x", b"{}")


def begun(made: Exchange) -> None:
    made.post("/x", b"{}")
    made.read()


@pytest.mark.parametrize("use", [unused, posted, begun, whole])
def test_closed_while_nobody_waits(use: Callable[[Exchange], object]) -> None:
    """An exchange that nobody works with is closed at once, once or twice, and is of no more use."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(HEAD + b"\r\nabc")
        if use is not whole:
            ended.wait(DEADLINE)

    with nothing_left(), ScriptedServer(script) as server:
        made = exchange(address(server))
        use(made)
        made.close()
        made.close()
        ended.set()
        with pytest.raises(Closed):
            made.read()
        with pytest.raises(Closed):
            made.post("/x", b"{}")


def test_closed_in_any_moment() -> None:
    """Closing at a moment by chance lets go of the thread, and nothing stays open."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(HEAD + b"\r\n")
        with contextlib.suppress(OSError):
            while True:
                caller.raw(b"x" * 1000)

    def work(made: Exchange) -> None:
        with contextlib.suppress(Closed):
            whole(made)

    pause = threading.Event()
    with ScriptedServer(script) as server, nothing_left():
        for turn in range(30):
            made = exchange(address(server))
            thread = in_thread(work, made)
            pause.wait(turn * 0.0001)
            made.close()
            thread.join(DEADLINE)
            assert not thread.is_alive()
