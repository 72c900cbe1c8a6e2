"""`dial`: addresses, name resolution and proxies, over real sockets."""

import base64
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from proxies import Asked, SocksProxy, read, relay
from scripted import DEADLINE, Caller, Open, Script, ScriptedServer, delta, idle
from secrets_watch import PROXY_LOGIN as LOGIN
from secrets_watch import PROXY_PASSWORD as PASSWORD
from secrets_watch import PROXY_TOKEN as TOKEN
from silence import SECRETS, check_silent_about_secrets

import realtime_sync as rt
from realtime_sync.wire.dial import dial
from realtime_sync.wire.proxy import check_proxy

SHORT = 0.5  # seconds, for deadlines that are meant to pass, but not before a proxy was reached
Refused = Callable[..., rt.ConnectionFailed]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """A socket that was forgotten is a ResourceWarning, and so an error, of the test that forgot it."""
    gc.freeze()  # what is there already was not left by this test, and takes long to look through
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log has a secret."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not any(secret in caplog.text for secret in SECRETS)


def soon(seconds: float = DEADLINE) -> float:
    return time.monotonic() + seconds


def call(
    port: int, host: str = "127.0.0.1", proxy: str | None = None, seconds: float = DEADLINE
) -> socket.socket:
    """Dial, and never wait for ever on what comes of it."""
    sock = dial(host, port, secure=True, deadline=soon(seconds), proxy=proxy)
    sock.settimeout(DEADLINE)
    return sock


def failure(port: int, host: str = "server.example", **options: Any) -> rt.ConnectionFailed:
    with pytest.raises(rt.ConnectionFailed) as caught:
        call(port, host, **options)
    check_silent_about_secrets(caught.value)
    return caught.value


def names(addresses: dict[str, list[tuple[str, int]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the name server knows, for the names that it is asked for."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host not in addresses:
            return real(host, port, *args, **options)
        tcp = socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [(socket.AF_INET, *tcp, address) for address in addresses[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that is taken, and on which no server listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that does not even refuse: Linux answers no more while too many connections are pending."""
    if sys.platform != "linux":
        pytest.skip("only Linux is known to keep silent")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield listener.getsockname()[1]


def echo(caller: Caller) -> None:
    """Send back what comes."""
    while data := caller.sock.recv(65536):
        caller.raw(data)


def check_echo(sock: socket.socket) -> None:
    sock.sendall(b"\x00ping")
    assert read(sock, 5) == b"\x00ping"


# --- Addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_direct(host: str) -> None:
    """An address or a name leads to the server."""
    with ScriptedServer(echo) as server, call(server.port, host) as sock:
        check_echo(sock)


def test_ipv6() -> None:
    """An IPv6 address works."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener, call(listener.getsockname()[1], "::1") as sock:
        assert sock.family == socket.AF_INET6


def check_tuned(sock: socket.socket) -> None:
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 16384
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_options() -> None:
    """Small messages go out at once, little is held back, and no time ends a connection that moves."""
    with ScriptedServer(echo) as server, call(server.port) as sock:
        check_tuned(sock)


def test_a_system_without_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that knows no TCP_NOTSENT_LOWAT, or another one than Linux, connects all the same."""
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    monkeypatch.setattr("sys.platform", "other")
    with ScriptedServer(echo) as server, call(server.port) as sock:
        check_echo(sock)


def test_the_second_address(nobody: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one address refuses, the next is tried."""
    with ScriptedServer(echo) as server:
        names({"server.example": [("127.0.0.1", nobody), ("127.0.0.1", server.port)]}, monkeypatch)
        with call(443, "server.example") as sock:
            check_echo(sock)


def test_an_address_of_a_missing_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that this system can't even make a socket for is passed over."""
    real = socket.socket

    def without_ipv6(family: int = -1, *args: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **options)

    with ScriptedServer(echo) as server:
        found: list[Any] = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        monkeypatch.setattr(socket, "socket", without_ipv6)
        with call(server.port, "server.example") as sock:
            monkeypatch.undo()
            check_echo(sock)


def test_a_silent_first_address(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that keeps silent takes its share of the time, and no more."""
    with ScriptedServer(echo) as server:
        names({"server.example": [("127.0.0.1", mute), ("127.0.0.1", server.port)]}, monkeypatch)
        with call(443, "server.example", seconds=2) as sock:
            check_echo(sock)


def test_silence_everywhere(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many silent addresses are abandoned together at the deadline."""
    names({"server.example": [("127.0.0.1", mute)] * 5}, monkeypatch)
    start = time.monotonic()
    failed = failure(443, seconds=SHORT)
    assert SHORT <= time.monotonic() - start < DEADLINE / 2
    assert str(failed) == "could not connect to server.example:443: timed out"


def test_nobody_listens(nobody: int) -> None:
    """The error says which address did not answer, and why."""
    failed = failure(nobody, "127.0.0.1")
    assert str(failed).startswith(f"could not connect to 127.0.0.1:{nobody}: [Errno")
    assert isinstance(failed.__cause__, ConnectionRefusedError)
    assert failed.status is None


def test_a_past_deadline() -> None:
    """A deadline that is over is not stretched."""
    with ScriptedServer(echo) as server:
        assert "timed out" in str(failure(server.port, "127.0.0.1", seconds=-1))


def test_a_name_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is known but has no address can't be connected to."""
    names({"server.example": []}, monkeypatch)
    assert str(failure(443)) == "could not connect to server.example:443: no address"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "a..b", "x" * 64, "\xfc" * 70])
def test_unknown_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not exist, or can't, is named in the error."""
    real = socket.getaddrinfo

    def getaddrinfo(name: str, *args: Any, **options: Any) -> Any:
        if name in ("no-such-host.invalid", "", "x" * 64):  # no test asks a real name server
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert str(failure(443, host)).startswith(f"no address found for the host {host!r}: ")


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server that does not answer until the event is set; in the end no thread may wait for it."""
    answer = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        if host == "127.0.0.1":  # no name
            return real(host, *args, **options)
        assert answer.wait(DEADLINE)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answer
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "realtime_sync dial":
            thread.join(DEADLINE)
            assert not thread.is_alive()


@pytest.mark.usefixtures("slow_names")
def test_a_silent_name_server() -> None:
    """Name resolution that takes too long is abandoned at the deadline."""
    failed = failure(443, seconds=SHORT)
    assert str(failed) == "could not connect to server.example:443: timed out"


def test_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is not looked up, so no thread is needed for that."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread was started"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call(listener.getsockname()[1], "127.0.0.1").close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")
def test_interrupted_while_looking_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C does not wait for a name server."""
    release = threading.Event()
    workers = []

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        workers.append(threading.current_thread())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert release.wait(DEADLINE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(KeyboardInterrupt):
        call(443, "server.example")
    release.set()
    workers[0].join(DEADLINE)
    assert not workers[0].is_alive()


# --- HTTP proxies -----------------------------------------------------------------------------------


def http_proxy(port: int) -> Script:
    """A proxy whose every connection leads to one port, whatever name it was asked for."""

    def script(caller: Caller) -> None:
        caller.read_request()
        relay(caller, port, b"HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n")

    return script


def through(server: ScriptedServer, login: str = "") -> str:
    return f"http://{login and login + '@'}127.0.0.1:{server.port}"


def answer(data: bytes) -> Script:
    """A proxy that answers so, and waits for the caller to hang up."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(data)
        assert caller.sock.recv(1) == b""

    return script


def test_a_tunnel() -> None:
    """Both directions go through the proxy, which is asked for the server by name."""
    with (
        ScriptedServer(echo) as server,
        ScriptedServer(http_proxy(server.port)) as proxy,
        call(443, "server.example", through(proxy)) as sock,
    ):
        check_echo(sock)
        check_tuned(sock)
        assert proxy.callers[0].request == (
            b"CONNECT server.example:443 HTTP/1.1\r\nHost: server.example:443\r\n\r\n"
        )


def test_a_tunnel_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is used, but not for this machine."""
    with ScriptedServer(echo) as server, ScriptedServer(http_proxy(server.port)) as proxy:
        monkeypatch.setenv("https_proxy", f"{LOGIN}@localhost:{proxy.port}")
        with call(443, "server.example", "env") as sock:
            check_echo(sock)
        with call(server.port, "localhost", "env") as sock:
            check_echo(sock)
        assert len(proxy.callers) == 1
        assert proxy.callers[0].header("Proxy-Authorization") == f"Basic {TOKEN}"


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("10.0.0.1", "10.0.0.1:443"),
        ("b\xfccher.example", "xn--bcher-kva.example:443"),
    ],
)
def test_what_a_proxy_is_asked_for(host: str, asked: str) -> None:
    """Addresses and foreign names are written as a request has them."""
    with (
        ScriptedServer(answer(b"HTTP/1.0 200 OK\r\n\r\n")) as proxy,
        call(443, host, through(proxy)),
    ):
        assert proxy.callers[0].request.startswith(f"CONNECT {asked} HTTP/1.1\r\nHost: {asked}\r\n".encode())


@pytest.mark.parametrize("host", ["a b", "a\r\nX: y", "", "\xfc" * 70])
def test_no_host_for_a_proxy(host: str, nobody: int) -> None:
    """What is no host name is not sent to a proxy."""
    failed = failure(443, host, proxy=f"http://127.0.0.1:{nobody}")
    assert str(failed).startswith(f"no address found for the host {host!r}: ")


@pytest.mark.parametrize(
    ("login", "pair"),
    [
        ("ann:pw", b"ann:pw"),
        (LOGIN, f"ann:{PASSWORD}".encode()),
        ("ann", b"ann:"),
        ("ann:", b"ann:"),
        (":pw", b":pw"),
        ("d%6Fmain%5Cann:a%20b", b"domain\\ann:a b"),
        ("ann:%C3%A9\xe9", "ann:éé".encode()),
        ("ann:%FF\udcfe", b"ann:\xff\xfe"),
        ("ann:p@w", b"ann:p@w"),
        ("ann:a%0D%0AX:%20y", b"ann:a\r\nX: y"),
    ],
)
def test_credentials(login: str, pair: bytes) -> None:
    """User and password are sent to the proxy as they are meant."""
    with ScriptedServer(answer(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        call(443, "server.example", through(proxy, login)).close()
    request = proxy.callers[0].request
    scheme, _, token = (proxy.callers[0].header("Proxy-Authorization") or "").partition(" ")
    assert (scheme, base64.b64decode(token, validate=True)) == ("Basic", pair)
    assert request.count(b"\r\n") == 4


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 204 Fine\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nX: y\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_server_that_speaks_first(head: bytes, size: int) -> None:
    """However the proxy's answer comes, what comes behind its blank line is the server's."""
    first = b"\r\n\n\r\nhello\r\n\r\n"

    def script(caller: Caller) -> None:
        caller.read_request()
        for start in range(0, len(head + first), size):
            caller.raw((head + first)[start : start + size])

    with ScriptedServer(script) as proxy, call(443, "server.example", through(proxy)) as sock:
        assert read(sock, 1000) == first


@pytest.mark.parametrize(
    ("status_line", "status", "says"),
    [
        ("HTTP/1.1 407 Proxy Authentication Required", 407, "HTTP 407 Proxy Authentication Required"),
        ("HTTP/1.0 403", 403, "HTTP 403"),
        ("HTTP/1.1 502 Bad Gateway ", 502, "HTTP 502 Bad Gateway"),
        ("HTTP/1.1 301 Moved", 301, "HTTP 301 Moved"),
        ("HTTP/1.1 101 Switching", 101, "HTTP 101 Switching"),
        (f"HTTP/1.1 407 {PASSWORD} is wrong", 407, "HTTP 407 *** is wrong"),
    ],
)
def test_refused(status_line: str, status: int, says: str) -> None:
    """A rejection gives the proxy's status and headers, without the credentials it was sent."""
    head = f"{status_line}\r\nProxy-Authenticate: Basic realm=x\r\nX-You-Sent: Basic {TOKEN}\r\n\r\n<html>"
    with ScriptedServer(answer(head.encode())) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN))
    assert str(failed) == f"the proxy 127.0.0.1:{proxy.port} rejected the connection: {says}"
    assert failed.status == status
    assert failed.headers == {"proxy-authenticate": "Basic realm=x", "x-you-sent": "Basic ***"}


def test_a_short_password() -> None:
    """A password that occurs in HTTP by chance does not spoil the answer's meaning."""
    with ScriptedServer(answer(b"HTTP/1.1 407 No\r\nA: b\r\n\r\n")) as proxy:
        failed = failure(443, proxy=through(proxy, "ann:1"))
    assert (failed.status, failed.headers) == (407, {"a": "b"})


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        f"Hello ann, your password is {PASSWORD}".encode(),
        b"x" * 70 + TOKEN.encode(),
    ],
)
def test_not_a_proxy(data: bytes) -> None:
    """Something that is no HTTP proxy is known by its first bytes, and quoted without secrets."""
    with ScriptedServer(answer(data)) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN))
    start = data.decode("latin-1").replace(PASSWORD, "***").replace(TOKEN, "***")
    assert str(failed) == f"127.0.0.1:{proxy.port} is not an HTTP proxy: it answered {start[:80]!r}"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_proxy_that_hangs_up(data: bytes) -> None:
    """A proxy that hangs up in the middle of its answer is named."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(data)

    with ScriptedServer(script) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN))
    place = f"server.example:443 through the proxy 127.0.0.1:{proxy.port}"
    assert str(failed) == f"could not connect to {place}: the proxy closed the connection"


def test_a_proxy_that_resets() -> None:
    """A proxy that vanishes is named."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.reset()

    with ScriptedServer(script) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN))
    assert f"through the proxy 127.0.0.1:{proxy.port}: [Errno" in str(failed)


@pytest.mark.parametrize("data", [b"", b"HT", b"HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_a_silent_proxy(data: bytes) -> None:
    """A proxy that does not finish its answer is abandoned at the deadline."""
    with ScriptedServer(answer(data)) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN), seconds=SHORT)
    assert str(failed) == (
        f"could not connect to server.example:443: timed out waiting for the proxy 127.0.0.1:{proxy.port}"
    )


def test_a_slow_proxy() -> None:
    """The deadline is for the whole answer, not for each byte of it."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(b"HTTP/1.1 200 OK\r\nX: ")
        gone = threading.Event()
        while not gone.wait(0.02):
            caller.raw(b"x")

    with ScriptedServer(script) as proxy:
        assert "timed out" in str(failure(443, proxy=through(proxy, LOGIN), seconds=SHORT))


@pytest.mark.parametrize("more", [b"x" * 10_000, b"X: y\r\n" * 1_000])
def test_endless_headers(more: bytes) -> None:
    """An answer whose headers never end is cut off."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(b"HTTP/1.1 200 OK\r\n")
        while True:
            caller.raw(more)

    with ScriptedServer(script) as proxy:
        failed = failure(443, proxy=through(proxy, LOGIN))
    assert "has more than 65536 bytes of headers" in str(failed)


def test_no_proxy_there(nobody: int) -> None:
    """A proxy that can't be reached is named as such, without credentials."""
    failed = failure(443, proxy=f"http://{LOGIN}@127.0.0.1:{nobody}")
    assert str(failed).startswith(f"could not connect to the proxy 127.0.0.1:{nobody}: [Errno")


def test_a_mute_proxy(mute: int) -> None:
    """A proxy that does not answer at all is named as such."""
    failed = failure(443, proxy=f"http://{LOGIN}@127.0.0.1:{mute}", seconds=SHORT)
    assert str(failed) == f"could not connect to the proxy 127.0.0.1:{mute}: timed out"


def test_an_unknown_proxy() -> None:
    """A proxy whose name is unknown is named as such."""
    failed = failure(443, proxy=f"http://{LOGIN}@a..b:3128")
    assert str(failed).startswith("no address found for the proxy 'a..b': ")


@pytest.mark.usefixtures("slow_names")
def test_a_proxy_with_a_slow_name_server() -> None:
    """Looking up the proxy is under the deadline too."""
    failed = failure(443, proxy=f"http://{LOGIN}@proxy.example:3128", seconds=SHORT)
    assert str(failed) == "could not connect to the proxy proxy.example:3128: timed out"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")
def test_interrupted_at_the_proxy() -> None:
    """Ctrl-C while a proxy thinks leaves no connection behind."""

    def script(caller: Caller) -> None:
        caller.read_request()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert caller.sock.recv(1) == b""

    with ScriptedServer(script) as proxy, pytest.raises(KeyboardInterrupt) as caught:
        call(443, "server.example", through(proxy, LOGIN))
    check_silent_about_secrets(caught.value)


# --- SOCKS proxies ----------------------------------------------------------------------------------


@pytest.fixture
def socks() -> Iterator[None]:
    """For tests that need the optional package."""
    pytest.importorskip("python_socks")
    yield
    for thread in threading.enumerate():
        if thread.name == "realtime_sync dial":
            thread.join(DEADLINE)
            assert not thread.is_alive()


def socks_url(server: ScriptedServer, scheme: str = "socks5h", login: str = "") -> str:
    return f"{scheme}://{login and login + '@'}127.0.0.1:{server.port}"


@pytest.mark.usefixtures("socks")
@pytest.mark.parametrize("login", ["", LOGIN])
@pytest.mark.parametrize(
    ("scheme", "asked"),
    [
        ("socks4", ("address", "127.0.0.9")),
        ("socks4a", ("name", "server.example")),
        ("socks5", ("address", "127.0.0.9")),
        ("socks5h", ("name", "server.example")),
    ],
)
def test_socks(scheme: str, asked: Asked, login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds of SOCKS proxies work; the scheme says who looks up the server's name."""
    names({"server.example": [("127.0.0.9", 0)]}, monkeypatch)
    with ScriptedServer(echo) as server:
        script = SocksProxy(server.port, ("ann", PASSWORD) if login else None)
        with (
            ScriptedServer(script) as proxy,
            call(443, "server.example", socks_url(proxy, scheme, login)) as sock,
        ):
            check_echo(sock)
            check_tuned(sock)
        assert script.asked == [asked]


@pytest.mark.usefixtures("socks")
@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::1"])
def test_socks_with_an_address(host: str) -> None:
    """An address is passed on as an address; a server that speaks first is heard from its first byte."""
    script = SocksProxy()
    with ScriptedServer(script) as proxy, call(443, host, socks_url(proxy)) as sock:
        assert read(sock, 5) == b"hello"
    assert script.asked == [("address", host)]


@pytest.mark.usefixtures("socks")
def test_socks_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy of the environment is used."""
    with ScriptedServer(SocksProxy()) as proxy:
        monkeypatch.setenv("ALL_PROXY", socks_url(proxy))
        with call(443, "server.example", "env") as sock:
            assert read(sock, 5) == b"hello"


@pytest.mark.usefixtures("socks")
@pytest.mark.parametrize(
    ("scheme", "script", "says"),
    [
        ("socks5h", SocksProxy(reply=5), "Connection refused by destination host"),
        ("socks5h", SocksProxy(login=("ann", "other")), "authentication failure"),
        ("socks4a", SocksProxy(login=("ann", ""), reply=1), "rejected or failed"),
        ("socks5h", lambda caller: None, ""),
        ("socks5h", lambda caller: caller.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ""),
    ],
)
def test_socks_refused(scheme: str, script: Script, says: str) -> None:
    """The reason that a SOCKS proxy gives for a rejection is passed on, without credentials."""
    with ScriptedServer(script) as proxy:
        failed = failure(443, proxy=socks_url(proxy, scheme, LOGIN))
    place = f"server.example:443 through the proxy 127.0.0.1:{proxy.port}"
    assert str(failed).startswith(f"could not connect to {place}: ")
    assert says in str(failed)


@pytest.mark.usefixtures("socks")
def test_socks_without_login() -> None:
    """A SOCKS proxy that wants a login, and gets none, rejects the connection."""
    with ScriptedServer(SocksProxy(login=("ann", PASSWORD))) as proxy:
        assert "No acceptable authentication methods" in str(failure(443, proxy=socks_url(proxy)))


@pytest.mark.usefixtures("socks")
def test_a_silent_socks_proxy() -> None:
    """A SOCKS proxy that keeps silent is abandoned at the deadline."""

    def script(caller: Caller) -> None:
        assert read(caller.sock, 4) == b"\x05\x02\x00\x02"
        assert caller.sock.recv(1) == b""

    with ScriptedServer(script) as proxy:
        failed = failure(443, proxy=socks_url(proxy, login=LOGIN), seconds=SHORT)
    assert str(failed) == (
        f"could not connect to server.example:443: timed out waiting for the proxy 127.0.0.1:{proxy.port}"
    )


@pytest.mark.usefixtures("socks")
def test_a_mute_socks_proxy(mute: int) -> None:
    """A SOCKS proxy that does not answer at all is abandoned at the deadline."""
    failed = failure(443, proxy=f"socks5h://{LOGIN}@127.0.0.1:{mute}", seconds=SHORT)
    assert "timed out waiting for the proxy" in str(failed)


@pytest.mark.usefixtures("socks")
def test_no_socks_proxy_there(nobody: int) -> None:
    """A SOCKS proxy that can't be reached is named."""
    failed = failure(443, proxy=f"socks5://{LOGIN}@127.0.0.1:{nobody}")
    assert f"127.0.0.1:{nobody}" in str(failed)


@pytest.mark.usefixtures("socks")
def test_socks_too_late(slow_names: threading.Event) -> None:
    """A connection that comes about after the deadline is closed again."""
    script = SocksProxy()  # it waits for the caller to hang up
    with ScriptedServer(script) as proxy:
        assert "timed out" in str(failure(443, proxy=socks_url(proxy, "socks5"), seconds=SHORT))
        assert not script.asked
        slow_names.set()
    assert script.asked == [("address", "127.0.0.1")]


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_socks_is_optional(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for SOCKS, the error says what to install."""
    monkeypatch.setitem(sys.modules, "python_socks", None)
    url = f"{scheme}://{LOGIN}@p:1"
    with pytest.raises(ValueError, match=r'pip install "realtime-sync\[socks\]"') as caught:
        check_proxy(url)
    check_silent_about_secrets(caught.value)
    with pytest.raises(ValueError, match="pip install"):
        dial("server.example", 443, secure=True, deadline=soon(), proxy=url)


def greet(caller: Caller) -> None:
    """A server that sends an event and waits for the end."""
    caller.accept()
    caller.text(delta("hello"))
    caller.serve_until_closed()


def test_a_session_through_a_proxy(server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext) -> None:
    """A session goes through the proxy that it is given, with TLS to the server itself."""
    with ScriptedServer(greet, server_tls) as server, ScriptedServer(http_proxy(server.port)) as proxy:
        with rt.connect(base_url=server.url, ssl_context=client_tls, proxy=through(proxy)) as session:
            assert session.next_event(DEADLINE).type == "response.output_text.delta"
        assert len(proxy.callers) == 1


def test_a_session_through_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting, a session goes through the proxy that the environment names."""
    with ScriptedServer(greet) as server, ScriptedServer(http_proxy(server.port)) as proxy:
        monkeypatch.setenv("http_proxy", through(proxy))
        with rt.connect(base_url="ws://server.example/v1") as session:
            assert session.next_event(DEADLINE).type == "response.output_text.delta"
        assert len(proxy.callers) == 1


# --- Addresses ----------------------------------------------------------------------------------------


def test_the_next_address_is_tried(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first address of a host refuses, the next one is tried."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead_port = closed.getsockname()[1]

    def addresses(host: str, port: int, **_: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, ("127.0.0.1", dead_port)), (*kind, ("127.0.0.1", port))]

    with ScriptedServer(idle) as server:
        monkeypatch.setattr(socket, "getaddrinfo", addresses)
        open_session(server).close()


def test_nothing_listens() -> None:
    """A refused TCP connection names host, port and reason."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(rt.ConnectionFailed, match=rf"could not connect to 127\.0\.0\.1:{port}: .*refused"):
        rt.connect(base_url=f"ws://127.0.0.1:{port}")


def test_an_unknown_host() -> None:
    """A host without an address is named."""
    with pytest.raises(rt.ConnectionFailed, match=r"no address found for the host 'nowhere\.invalid'"):
        rt.connect(base_url="ws://nowhere.invalid/v1")
