"""`handshake`: what a server may answer, and how long it may take."""

import datetime
import json
import ssl
import threading
from collections.abc import Callable

import pytest
import trustme
from scripted import DEADLINE, Caller, Open, ScriptedServer

import realtime_sync as rt

Tls = ssl.SSLContext | None


def refuse(answer: bytes) -> Callable[[Caller], None]:
    """A script that answers the handshake with these bytes and hangs up."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(answer)

    return script


def failure(open_session: Open, script: Callable[[Caller], None], tls: Tls = None) -> rt.ConnectionFailed:
    with ScriptedServer(script, tls) as server, pytest.raises(rt.ConnectionFailed) as caught:
        open_session(server, api_key="sk-secret-1", connect_timeout=DEADLINE)
    assert "sk-secret-1" not in f"{caught.value} {caught.value.headers} {caught.value.body!r}"
    return caught.value


# --- Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_refused(status: int, server_tls: Tls, open_session: Open) -> None:
    """A rejected handshake gives status, headers, body and the server's own words, without the key."""
    body = json.dumps({"error": {"message": "Bad key sk-secret-1", "code": "x"}}).encode()
    head = f"HTTP/1.1 {status} No\r\nX-Request-Id: r1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    failed = failure(open_session, refuse(head + body), server_tls)
    assert failed.status == status
    assert failed.headers["x-request-id"] == "r1"
    assert json.loads(failed.body) == {"error": {"message": "Bad key ***", "code": "x"}}
    assert str(failed) == f"the server rejected the connection: HTTP {status} No: Bad key ***"


@pytest.mark.parametrize("name", ["Authorization", "api-key", "X-Api-Key", "Cookie"])
def test_a_refusal_that_repeats_a_header(name: str) -> None:
    """A secret that came by a header of the user's is taken out of what the server repeats."""
    answer = b"HTTP/1.1 401 No\r\nX-Echo: sk-secret-2\r\n\r\nyou sent sk-secret-2"
    with ScriptedServer(refuse(answer)) as server, pytest.raises(rt.ConnectionFailed) as caught:
        rt.connect(base_url=server.url, headers={name: "sk-secret-2"}, connect_timeout=DEADLINE)
    assert caught.value.headers["x-echo"] == "***"
    assert caught.value.body == b"you sent ***"


def test_refused_with_chunks(open_session: Open) -> None:
    """A body in chunks is joined."""
    answer = (
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    )
    assert failure(open_session, refuse(answer)).body == b"hello world"


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5", b"5\r\nhel", b""])
def test_refused_with_broken_chunks(rest: bytes, open_session: Open) -> None:
    """Chunks that break off, or make no sense, still leave the status."""
    failed = failure(
        open_session, refuse(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" + rest)
    )
    assert failed.status == 500
    assert failed.body.startswith(b"ab")


def test_a_huge_body(open_session: Open) -> None:
    """No more than 64 KiB of a rejection's body are read, whatever its length is said to be."""
    head = b"HTTP/1.1 403 No\r\nContent-Length: 100000000000\r\n\r\n"

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(head)
        while True:  # until the client has had enough and hangs up
            caller.raw(b"x" * 65536)

    failed = failure(open_session, script)
    assert (failed.status, len(failed.body)) == (403, 65536)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int, open_session: Open) -> None:
    """A redirect is rejected, named, and its target never contacted: the key would go there."""
    contacted = threading.Event()

    with ScriptedServer(lambda caller: contacted.set()) as other:
        answer = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{other.port}/v1?k=sk-secret-1\r\n\r\n"
        failed = failure(open_session, refuse(answer.encode()))
        assert "it redirects to 127.0.0.1, which is not followed" in str(failed)
        assert failed.status == status
    assert not contacted.is_set()


UPGRADE = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it answered 'SSH-2.0-OpenSSH_9.2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it answered 'SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 abc\r\n\r\n", "it answered 'HTTP/1.1 abc"),
        (b"\x00\xff" * 50 + b"\r\n\r\n", "it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP 200 OK; this address is not a WebSocket"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html>sorry</html>", "HTTP 404 Not Found"),
        (b"HTTP/1.1 101 OK\r\n\r\n", "it answered 'HTTP/1.1 101 OK"),
        (UPGRADE + b"\r\n", "it answered 'HTTP/1.1 101"),
        (UPGRADE + b"Sec-WebSocket-Accept: wrong\r\n\r\n", "it answered 'HTTP/1.1 101"),
        (b"HTTP/1.1 101 OK\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "not offered"),
    ],
)
def test_not_a_websocket_server(answer: bytes, says: str, open_session: Open) -> None:
    """A server that is not a WebSocket server is reported with what it answered."""
    assert says in str(failure(open_session, refuse(answer)))


def test_endless_headers(open_session: Open) -> None:
    """An answer whose headers never end is cut off."""

    def script(caller: Caller) -> None:
        caller.read_request()
        while True:
            caller.raw(b"X: " + b"x" * 10_000 + b"\r\n")

    assert "bytes of headers" in str(failure(open_session, script))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swit"])
def test_a_silent_server(answer: bytes, server_tls: Tls, open_session: Open) -> None:
    """A server that does not finish its answer is abandoned at the connect timeout."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(answer)
        assert done.wait(DEADLINE)

    with ScriptedServer(script, server_tls) as server:
        with pytest.raises(rt.ConnectionFailed, match="timed out"):
            open_session(server, connect_timeout=0.3)
        done.set()


def test_a_slow_server(open_session: Open) -> None:
    """The connect timeout is for the whole handshake, not for each byte of it."""

    def script(caller: Caller) -> None:
        caller.read_request()
        gone = threading.Event()
        while not gone.wait(0.02):
            caller.raw(b"H")

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed, match="timed out"):
        open_session(server, connect_timeout=0.3)


# --- TLS ----------------------------------------------------------------------------------------------


def test_an_unknown_authority(open_session: Open) -> None:
    """A certificate of an unknown authority is rejected before anything is sent."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(stranger)
    failed = failure(open_session, lambda caller: None, stranger)
    assert "the certificate of localhost was rejected" in str(failed)
    assert isinstance(failed.__cause__, ssl.SSLCertVerificationError)


def test_the_wrong_host(open_session: Open, authority: trustme.CA) -> None:
    """A certificate for another host is rejected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    assert "Hostname mismatch" in str(failure(open_session, lambda caller: None, context))


def test_an_expired_certificate(open_session: Open, authority: trustme.CA) -> None:
    """A certificate that has expired is rejected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    authority.issue_cert("localhost", not_after=yesterday).configure_cert(context)
    assert "certificate has expired" in str(failure(open_session, lambda caller: None, context))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_without_tls(answer: bytes, client_tls: ssl.SSLContext) -> None:
    """`wss` to a server that speaks no TLS, or hangs up, is one clear error."""

    def script(caller: Caller) -> None:
        caller.sock.recv(1)
        caller.raw(answer)

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed, match="could not connect"):
        rt.connect(base_url=server.url.replace("ws:", "wss:"), ssl_context=client_tls)


def test_a_server_silent_in_tls(client_tls: ssl.SSLContext) -> None:
    """A server that never answers the TLS handshake is abandoned at the connect timeout."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        assert done.wait(DEADLINE)

    with ScriptedServer(script) as server:
        with pytest.raises(rt.ConnectionFailed, match="timed out"):
            rt.connect(
                base_url=server.url.replace("ws:", "wss:"), ssl_context=client_tls, connect_timeout=0.2
            )
        done.set()


# --- What is sent, and not sent -----------------------------------------------------------------------


def test_cookies_are_not_shared(open_session: Open) -> None:
    """A cookie that one server sets is not sent to another; a cookie of the user's is sent."""
    requests: list[str] = []

    def script(caller: Caller) -> None:
        caller.accept("Set-Cookie: crumb=1; Domain=localhost\r\n")
        requests.append(caller.request.decode())
        caller.serve_until_closed()

    from websocket import _handshake

    _handshake.CookieJar.add("foreign=1; Domain=localhost")
    try:
        with ScriptedServer(script) as server:
            open_session(server).close()
            open_session(server, headers={"Cookie": "mine=1"}).close()
        assert "crumb" not in repr(_handshake.CookieJar.jar)
    finally:
        _handshake.CookieJar.jar.clear()
    assert "cookie" not in requests[0].lower()
    assert [line for line in requests[1].split("\r\n") if "cookie" in line.lower()] == ["cookie: mine=1"]


def test_no_origin(open_session: Open) -> None:
    """No `Origin` header is sent: that is what browsers do."""

    def script(caller: Caller) -> None:
        caller.accept()
        assert caller.header("Origin") is None
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        open_session(server).close()
