"""`adapter`: connections, TLS and proxies of the HTTP half, over real sockets."""

import contextlib
import itertools
import json
import select
import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from http_api import CREATED, Open, Tries, answer, check_silent, failure, http_server, read_http
from leftovers import nothing_left, uncollected
from proxies import SocksProxy, pump, relay
from requests.adapters import HTTPAdapter
from scripted import DEADLINE, Caller, Script, ScriptedServer
from secrets_watch import API_KEY, PROXY_LOGIN, PROXY_PASSWORD, PROXY_TOKEN

import realtime_sync as rt
from realtime_sync.local import LocalServer

# --- No answer --------------------------------------------------------------------------------------


def test_one_connection(open_client: Open) -> None:
    """Requests share a connection, and no cookies."""
    bodies: list[bytes] = []
    with ScriptedServer(http_server(bodies, "Set-Cookie: a=b\r\n")) as server:
        client = open_client(base_url=server.url)
        for _ in range(3):
            client.client_secrets.create()
        client.close()
        assert len(server.callers) == 1
        client.client_secrets.create()
        client.close()
        assert len(server.callers) == 2
    assert len(bodies) == 4
    assert not any(b"cookie" in body.lower() for body in bodies)
    assert bodies[0].startswith(b"POST /v1/realtime/client_secrets HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Encoding: gzip\r\nContent-Length: 4000\r\n\r\n" + b"no gzip " * 500,
        b"Content-Length: 100,1\r\n\r\n{",
    ],
    ids=["body", "head"],
)
def test_a_broken_answer_leaves_nothing_open(answer: bytes, open_client: Open) -> None:
    """Closing a client closes its connections, and leaves none to the garbage collector."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(OK + answer)
        assert caller.sock.recv(1) == b""  # the client has hung up

    with uncollected(), nothing_left(), ScriptedServer(script) as server:
        client = open_client(base_url=server.url)
        failure(rt.APIConnectionError, client.client_secrets.create)
        client.close()


def test_a_chunk_cut_short(open_client: Open) -> None:
    """What had come of an answer that was cut short, with its secret, is nowhere in the error."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + json.dumps(CREATED).encode()
        )

    with ScriptedServer(script) as server:
        failure(rt.APIConnectionError, open_client(base_url=server.url).client_secrets.create)


def test_the_environment_has_no_say(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No password comes from a .netrc, and this machine is reached directly."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    bodies: list[bytes] = []
    with ScriptedServer(http_server(bodies)) as server:
        for key in (API_KEY, ""):
            client = open_client(base_url=server.url, api_key=key)
            client.client_secrets.create()
            client.close()
    assert f"Authorization: Bearer {API_KEY}".encode() in bodies[0]
    assert b"Authorization" not in bodies[1]


def test_a_real_redirect(open_client: Open) -> None:
    """A server that is redirected to hears nothing."""
    with ScriptedServer(http_server()) as other:

        def script(caller: Caller) -> None:
            read_http(caller)
            head = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{other.port}/v1\r\n"
            caller.raw(f"{head}Content-Length: 0\r\n\r\n".encode())

        with ScriptedServer(script) as server:
            error = failure(rt.APIError, open_client(base_url=server.url).client_secrets.create)
        assert "redirects to 127.0.0.1, which is not followed" in str(error)
        assert not other.callers


# --- TLS --------------------------------------------------------------------------------------------


def server_context(authority: trustme.CA, host: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_tls(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """The user's TLS context is what is used, and it is left as it was."""
    before = (client_tls.cert_store_stats(), client_tls.verify_mode, client_tls.check_hostname)
    chosen: list[str | None] = []

    def script(caller: Caller) -> None:
        read_http(caller)
        chosen.append(caller.sock.selected_alpn_protocol())  # type: ignore[attr-defined]
        answer(caller)

    context = server_context(authority)
    context.set_alpn_protocols(["http/1.1"])
    with ScriptedServer(script, context) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls)
        client.client_secrets.create()
        client.close()
    assert (client_tls.cert_store_stats(), client_tls.verify_mode, client_tls.check_hostname) == before
    assert chosen == [None]


def test_a_file_of_certificates(authority: trustme.CA, open_client: Open, tmp_path: Path) -> None:
    """Certificates from a file are trusted."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(http_server(), server_context(authority)) as server:
        client = open_client(base_url=server.url, ca_file=tmp_path / "ca.pem")
        client.client_secrets.create()
        client.close()


def test_the_systems_certificates(
    authority: trustme.CA, open_client: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a setting the system's certificates are trusted, not those that came with requests."""
    with ScriptedServer(http_server(), server_context(authority)) as server:
        error = failure(rt.APIConnectionError, open_client(base_url=server.url).client_secrets.create)
        assert str(error).startswith("the certificate of localhost was rejected: ")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        client = open_client(base_url=server.url)
        client.client_secrets.create()
        client.close()


def test_another_authority(client_tls: ssl.SSLContext, tries: Tries) -> None:
    """A certificate of another authority is rejected at once, as is one for another host."""
    stranger = trustme.CA()
    rest = tries.rest
    with ScriptedServer(http_server(), server_context(stranger)) as server:
        one = rest(base_url=server.url, ssl_context=client_tls)
        error = failure(rt.APIConnectionError, one.client_secrets.create)
    assert str(error).startswith("the certificate of localhost was rejected: ")
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert tries.pauses == []


def test_another_host(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """A certificate for another host is rejected, unless the context doesn't look at that."""
    with ScriptedServer(http_server(), server_context(authority, "other.example")) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls)
        error = failure(rt.APIConnectionError, client.client_secrets.create)
        assert "was rejected" in str(error)
        client_tls.check_hostname = False
        client = open_client(base_url=server.url, ssl_context=client_tls)
        client.client_secrets.create()
        client.close()
        assert client_tls.verify_mode == ssl.CERT_REQUIRED


def test_a_client_certificate(authority: trustme.CA, open_client: Open, tmp_path: Path) -> None:
    """The client's certificate is shown to a server that asks for it."""
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    shown: list[Any] = []

    def script(caller: Caller) -> None:
        read_http(caller)
        shown.append(caller.sock.getpeercert())  # type: ignore[attr-defined]
        answer(caller)

    authority.issue_cert("me@example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(script, context) as server:
        client = open_client(
            base_url=server.url, ca_file=tmp_path / "ca.pem", client_cert=str(tmp_path / "me.pem")
        )
        client.client_secrets.create()
        client.close()
        client = open_client(base_url=server.url, ca_file=tmp_path / "ca.pem")
        failure(rt.APIConnectionError, client.client_secrets.create)
    assert shown[0]["subjectAltName"] == (("email", "me@example.org"),)


def test_the_adapter_is_requests_own() -> None:
    """Other tests replace `HTTPAdapter.send`, so it must be the one that is used."""
    rest = Tries().rest()
    assert isinstance(rest._requester._http.adapters["https://"], HTTPAdapter)
    assert "send" not in vars(type(rest._requester._http.adapters["https://"]))


# --- Deadlines --------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
FOREVER = itertools.repeat(b" ")
DRIPS: dict[str, tuple[bytes, Iterable[bytes]]] = {
    "status": (b"HTTP/1.1 200 ", FOREVER),
    "headers": (OK + b"X: ", FOREVER),
    "not yet": (b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "body": (OK + b"Content-Length: 1000000\r\n\r\n", FOREVER),
    "body to the end of the connection": (OK + b"Connection: close\r\n\r\n", FOREVER),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(b"1\r\n \r\n")),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", FOREVER),
}


def drip(start: bytes, drops: Iterable[bytes]) -> Script:
    """Answers one request; the next one with a beginning, then a drop every 20 ms until the client leaves."""

    def script(caller: Caller) -> None:
        read_http(caller)
        answer(caller)
        read_http(caller)
        caller.raw(start)
        for count, drop in enumerate(drops):
            if select.select([caller.sock], [], [], 0.02)[0]:
                assert caller.sock.recv(1) == b""
                return
            assert count < 1000, "the client waits on"
            caller.raw(drop)

    return script


@pytest.mark.parametrize(
    ("kind", "tls"), [*((kind, False) for kind in DRIPS), ("headers", True), ("body", True)]
)
def test_an_answer_that_drips(
    kind: str, tls: bool, authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open
) -> None:
    """A timeout is for the whole answer, whichever part comes drop by drop; then the client hangs up."""
    context = server_context(authority, "localhost") if tls else None
    with ScriptedServer(drip(*DRIPS[kind]), context) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls, timeout=DEADLINE)
        client.client_secrets.create()
        error = failure(rt.APITimeoutError, lambda: client.client_secrets.create(timeout=0.2))
        assert len(server.callers) == 1
    assert "within 0.2 s; the request may have been carried out" in str(error)


def test_a_proxy_that_drips(open_client: Open) -> None:
    """The answer of a proxy to the wish for a tunnel is part of the time."""

    def script(caller: Caller) -> None:
        with contextlib.suppress(OSError):
            while not select.select([caller.sock], [], [], 0.02)[0] or caller.sock.recv(65536):
                caller.raw(b"HTTP/1.1 200 ")

    with ScriptedServer(script) as proxy:
        client = open_client(base_url="https://server.example/v1", proxy=proxy_url(proxy), timeout=0.2)
        failure(rt.APITimeoutError, client.client_secrets.create)


def test_a_server_that_reads_nothing(open_client: Open) -> None:
    """A request that is not taken is part of the time."""

    done = threading.Event()

    def script(caller: Caller) -> None:
        assert done.wait(DEADLINE)

    with ScriptedServer(script) as server:
        client = open_client(base_url=server.url, timeout=0.3)
        failure(rt.APITimeoutError, lambda: client.calls.create("v=0" + " " * 20_000_000))
        done.set()


def test_a_server_that_does_not_accept(open_client: Open) -> None:
    """Connecting is part of the time too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        address = server.getsockname()
        for _ in range(4):  # so many that the system answers no more
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(address)
        client = open_client(base_url=f"http://127.0.0.1:{address[1]}/v1", timeout=0.3)
        error = failure(rt.APITimeoutError, client.client_secrets.create)
    assert str(error) == f"could not connect to 127.0.0.1:{address[1]}: timed out after 0.3 s"


# --- Proxies ----------------------------------------------------------------------------------------


def both_ways(port: int, seen: list[bytes]) -> Script:
    """A proxy that makes tunnels and passes plain requests on, to one server whatever it is asked for."""

    def script(caller: Caller) -> None:
        body = read_http(caller)
        seen.append(caller.request)
        if caller.request.startswith(b"CONNECT "):
            relay(caller, port, b"HTTP/1.1 200 OK\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as upstream:
            head, _, rest = caller.request.partition(b"\r\n")
            upstream.sendall(head + b"\r\nConnection: close\r\n" + rest + body)
            pump(upstream, caller.sock)

    return script


def proxy_url(server: ScriptedServer, login: str = PROXY_LOGIN) -> str:
    return f"http://{login and login + '@'}127.0.0.1:{server.port}"


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_proxy_for_both_halves(
    by_environment: bool, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and sessions take the same proxy, and give it the same credentials."""
    seen: list[bytes] = []
    with LocalServer(api_key=API_KEY) as local, ScriptedServer(both_ways(local.port, seen)) as proxy:
        monkeypatch.setenv("http_proxy", proxy_url(proxy))
        setting = "env" if by_environment else proxy_url(proxy)
        client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=setting)
        secret = client.client_secrets.create()
        client.connect(client_secret=secret.value).close()
        client.close()
    post, tunnel = seen
    assert post.startswith(b"POST http://server.example/v1/realtime/client_secrets HTTP/1.1\r\n")
    assert tunnel.startswith(b"CONNECT server.example:80 HTTP/1.1\r\n")
    for request in seen:
        assert f"Proxy-Authorization: Basic {PROXY_TOKEN}\r\n".encode() in request


def test_a_tunnel(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """With TLS a request goes through a tunnel: the proxy gets its password, the server the key."""
    seen: list[bytes] = []
    bodies: list[bytes] = []
    context = server_context(authority, "server.example")
    with (
        ScriptedServer(http_server(bodies), context) as server,
        ScriptedServer(both_ways(server.port, seen)) as proxy,
    ):
        client = open_client(
            base_url="https://server.example/v1", proxy=proxy_url(proxy), ssl_context=client_tls
        )
        client.client_secrets.create()
        client.client_secrets.create()
        client.close()
    assert len(seen) == 1
    assert seen[0].startswith(b"CONNECT server.example:443 HTTP/1.")
    assert f"Proxy-Authorization: Basic {PROXY_TOKEN}\r\n".encode() in seen[0]
    assert API_KEY.encode() not in seen[0]
    assert f"Authorization: Bearer {API_KEY}".encode() in bodies[0]
    assert b"Proxy-Authorization" not in bodies[0]


def test_a_proxy_without_login(open_client: Open) -> None:
    """A proxy without credentials is sent none."""
    seen: list[bytes] = []
    with (
        ScriptedServer(http_server()) as server,
        ScriptedServer(both_ways(server.port, seen)) as proxy,
    ):
        client = open_client(
            base_url="http://server.example/v1", allow_insecure=True, proxy=proxy_url(proxy, "")
        )
        client.client_secrets.create()
        client.close()
    assert b"Proxy-Authorization" not in seen[0]


def refuse(status_line: str) -> Script:
    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(f"{status_line}\r\nContent-Length: 0\r\nX-You-Sent: Basic {PROXY_TOKEN}\r\n\r\n".encode())

    return script


@pytest.mark.parametrize(
    ("status_line", "pauses"),
    [
        (f"HTTP/1.1 407 {PROXY_PASSWORD} is wrong", []),
        (f"HTTP/1.1 403 ask {PROXY_LOGIN}", []),
        (f"HTTP/1.1 502 Bad {PROXY_TOKEN}", [0.5]),
    ],
)
def test_a_proxy_that_refuses(status_line: str, pauses: list[float], tries: Tries) -> None:
    """A proxy that rejects is named, without the credentials that it repeats; only its 5xx are retried."""
    with ScriptedServer(refuse(status_line)) as proxy:
        rest = tries.rest(1, base_url="https://server.example/v1", proxy=proxy_url(proxy))
        error = failure(rt.APIConnectionError, lambda: rest.calls.accept("rtc_1"))
    start = f"could not connect to server.example through the proxy 127.0.0.1:{proxy.port}: "
    assert str(error).startswith(f"{start}Tunnel connection failed: {status_line[9:12]} ")
    assert "***" in str(error)
    assert tries.pauses == pauses
    assert error.__cause__ is not None


def test_a_proxy_that_refuses_a_plain_request(open_client: Open) -> None:
    """Without TLS the proxy's rejection is an answer like a server's."""
    with ScriptedServer(refuse("HTTP/1.1 407 No")) as proxy:
        client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=proxy_url(proxy))
        error = failure(rt.APIError, client.client_secrets.create)
    assert error.status == 407
    assert error.headers["x-you-sent"] == "Basic ***"


def test_no_proxy_there(tries: Tries) -> None:
    """A proxy that can't be reached is named, without its credentials."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{sock.getsockname()[1]}"
        rest = tries.rest(base_url="https://server.example/v1", proxy=f"http://{PROXY_LOGIN}@{place}")
        error = failure(rt.APIConnectionError, rest.client_secrets.create)
    start = f"could not connect to server.example through the proxy {place}: [Errno"
    assert str(error).startswith(start)
    assert len(tries.pauses) == 2


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_socks(scheme: str, open_client: Open) -> None:
    """A SOCKS proxy is used by both halves."""
    pytest.importorskip("socks")
    pytest.importorskip("python_socks")
    with LocalServer(allowed_hosts=["server.example"]) as local:
        script = SocksProxy(local.port)
        with ScriptedServer(script) as proxy:
            url = f"{scheme}://127.0.0.1:{proxy.port}"
            client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=url)
            secret = client.client_secrets.create()
            client.connect(client_secret=secret.value).close()
            client.close()
        assert script.asked == [("name", "server.example")] * 2


def test_socks_refused(tries: Tries) -> None:
    """What a SOCKS proxy rejects is an error without its credentials."""
    pytest.importorskip("socks")
    with ScriptedServer(SocksProxy(login=("ann", "other"))) as proxy:
        url = f"socks5h://{PROXY_LOGIN}@127.0.0.1:{proxy.port}"
        rest = tries.rest(1, base_url="http://127.0.0.2/v1", proxy=url, allow_insecure=True)
        error = failure(rt.APIConnectionError, rest.client_secrets.create)
    assert f"through the proxy 127.0.0.1:{proxy.port}" in str(error)


def test_socks_is_optional(tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for SOCKS, the error says what to install."""

    def missing(*args: Any, **options: Any) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    pytest.importorskip("python_socks")
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    rest = tries.rest(base_url="http://server.example/v1", proxy=f"socks5://{PROXY_LOGIN}@p:1", api_key="")
    with pytest.raises(ValueError, match=r'pip install "realtime-sync\[socks\]"') as caught:
        rest.client_secrets.create()
    check_silent(caught.value)
