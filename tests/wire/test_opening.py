"""`Opening`: a connection that is being opened can be given up, whatever it waits for."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handshakes import opens
from leftovers import nothing_left
from scripted import DEADLINE, Caller, ScriptedServer
from threads import in_thread, wait_until

import realtime_sync as rt
from realtime_sync.wire.handshake import open_transport
from realtime_sync.wire.opening import Opening

LONG = 3 * DEADLINE  # seconds; what waits for so long has not been given up


def open_with(opening: Opening, url: str, proxy: str | None = None, **options: Any) -> Any:
    given: dict[str, Any] = {
        "headers": (),
        "ssl_context": None,
        "proxy": proxy,
        "connect_timeout": LONG,
        "redact": str,
        "max_message_size": 1000,
        "ping_interval": None,
        "ping_timeout": None,
        "send_timeout": 1.0,
    }
    return open_transport(url, opening=opening, **{**given, **options})


def give_up(begun: Callable[[], object], url: str, proxy: str | None = None) -> None:
    """Open a connection, and give it up once it has begun: it fails soon."""
    opening, failed = Opening(), threading.Event()

    def work() -> None:
        with pytest.raises(rt.ConnectionFailed):
            open_with(opening, url, proxy)
        failed.set()

    thread = in_thread(work)
    begun()
    opening.cancel()
    thread.join(DEADLINE)
    assert failed.is_set()


class Silent:
    """A script that reads the first byte that comes, and says nothing."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, caller: Caller) -> None:
        assert caller.sock.recv(1)
        self.asked.set()
        with contextlib.suppress(OSError):
            while caller.sock.recv(65536):
                pass

    def wait(self) -> None:
        assert self.asked.wait(DEADLINE)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_silent_server(scheme: str) -> None:
    """A handshake, of TLS or the WebSocket, that is never answered can be given up, and leaves nothing."""
    silent = Silent()
    with ScriptedServer(silent) as server, nothing_left():
        give_up(silent.wait, f"{scheme}://127.0.0.1:{server.port}")


def test_a_silent_proxy() -> None:
    """A proxy that never answers can be given up, and nothing is left."""
    silent = Silent()
    with ScriptedServer(silent) as server, nothing_left():
        give_up(silent.wait, "ws://server.example", f"http://127.0.0.1:{server.port}")


def test_a_silent_socks_proxy() -> None:
    """A SOCKS proxy that never answers can be given up: the library's own wait ends later, by its timeout."""
    silent = Silent()
    with ScriptedServer(silent) as server:
        give_up(silent.wait, "ws://server.example", f"socks5://127.0.0.1:{server.port}")
        server.callers[0].drop()


def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name can be given up."""
    asked, answered = threading.Event(), threading.Event()

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        asked.set()
        assert answered.wait(DEADLINE)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    give_up(lambda: asked.wait(DEADLINE), "ws://server.example")
    answered.set()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends at the connect timeout")
def test_an_address_that_does_not_answer() -> None:
    """A connection that no host answers can be given up."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        port = server.getsockname()[1]
        for _ in range(4):  # after which the system answers no more
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        before = unanswered(port)
        with nothing_left():
            give_up(lambda: wait_until(lambda: unanswered(port) > before), f"ws://127.0.0.1:{port}")


def unanswered(port: int) -> int:
    """How many connections to a port wait for the first answer, as Linux lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return sum(f":{port:04X} 02 " in line for line in lines)


def test_given_up_before_it_began() -> None:
    """What was given up before is not dialled at all."""
    opening = Opening()
    opening.cancel()
    with ScriptedServer(opens) as server:
        with pytest.raises(rt.ConnectionFailed, match="cancelled"):
            open_with(opening, f"ws://127.0.0.1:{server.port}")
        assert not server.callers


def test_given_up_when_it_is_open() -> None:
    """A connection that is open already ends, too."""
    opening = Opening()
    with ScriptedServer(opens) as server:
        transport = open_with(opening, f"ws://127.0.0.1:{server.port}")
        opening.cancel()
        while transport.receive(time.monotonic() + DEADLINE):
            pass
        assert transport.closure is not None
        transport.free()
