"""`transport` and `link`: the handshake, keepalive and closing, against a server that misbehaves."""

import datetime
import gc
import json
import resource
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from scripted import DEADLINE, Caller, Open, ScriptedServer, delta, idle, server_frame

import realtime_sync as rt
from realtime_sync.events import ResponseOutputTextDelta
from realtime_sync.wire.proxy import is_loopback

Tls = ssl.SSLContext | None


def refuse(answer: bytes) -> Callable[[Caller], None]:
    """A script that answers the handshake with these bytes and hangs up."""

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(answer)

    return script


def failure(open_session: Open, script: Callable[[Caller], None], tls: Tls = None) -> rt.ConnectionFailed:
    with ScriptedServer(script, tls) as server, pytest.raises(rt.ConnectionFailed) as caught:
        open_session(server, api_key="sk-secret-1", connect_timeout=2)
    assert "sk-secret-1" not in f"{caught.value} {caught.value.headers} {caught.value.body!r}"
    return caught.value


# --- Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_refused(status: int, server_tls: Tls, open_session: Open) -> None:
    """A refused handshake gives status, headers, body and the server's own words, without the key."""
    body = json.dumps({"error": {"message": "Bad key sk-secret-1", "code": "x"}}).encode()
    head = f"HTTP/1.1 {status} No\r\nX-Request-Id: r1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    failed = failure(open_session, refuse(head + body), server_tls)
    assert failed.status == status
    assert failed.headers["x-request-id"] == "r1"
    assert json.loads(failed.body) == {"error": {"message": "Bad key ***", "code": "x"}}
    assert str(failed) == f"the server refused the connection: HTTP {status} No: Bad key ***"


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
    """No more than 64 KiB of a refusal's body are read, whatever its length is said to be."""
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
    """A redirect is refused, named, and its target never contacted: the key would go there."""
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
        (b"", "hung up without an answer"),
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
    """A server that does not finish its answer is given up at the connect timeout."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(answer)
        assert done.wait(DEADLINE)

    with ScriptedServer(script, server_tls) as server:
        with pytest.raises(rt.ConnectionFailed, match="no answer in time"):
            open_session(server, connect_timeout=0.3)
        done.set()


def test_a_slow_server(open_session: Open) -> None:
    """The connect timeout is for the whole handshake, not for each byte of it."""

    def script(caller: Caller) -> None:
        caller.read_request()
        gone = threading.Event()
        while not gone.wait(0.02):
            caller.raw(b"H")

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed, match="no answer in time"):
        open_session(server, connect_timeout=0.3)


# --- TLS ----------------------------------------------------------------------------------------------


def test_an_unknown_authority(open_session: Open) -> None:
    """A certificate that nobody vouches for is refused before anything is sent."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(stranger)
    failed = failure(open_session, lambda caller: None, stranger)
    assert "the certificate of localhost was refused" in str(failed)
    assert isinstance(failed.__cause__, ssl.SSLCertVerificationError)


def test_the_wrong_host(open_session: Open, authority: trustme.CA) -> None:
    """A certificate for another host is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    assert "Hostname mismatch" in str(failure(open_session, lambda caller: None, context))


def test_an_expired_certificate(open_session: Open, authority: trustme.CA) -> None:
    """A certificate that has expired is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    authority.issue_cert("localhost", not_after=yesterday).configure_cert(context)
    assert "certificate has expired" in str(failure(open_session, lambda caller: None, context))


def test_default_certificates(authority: trustme.CA) -> None:
    """Without a context of the user's, the system's certificates decide."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with (
        ScriptedServer(lambda caller: None, context) as server,
        pytest.raises(rt.ConnectionFailed, match="was refused"),
    ):
        rt.connect(base_url=server.url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_without_tls(answer: bytes, client_tls: ssl.SSLContext) -> None:
    """`wss` to a server that speaks no TLS, or hangs up, is one clear error."""

    def script(caller: Caller) -> None:
        caller.sock.recv(1)
        caller.raw(answer)

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed, match="could not connect"):
        rt.connect(base_url=server.url.replace("ws:", "wss:"), ssl_context=client_tls)


def test_a_server_silent_in_tls(client_tls: ssl.SSLContext) -> None:
    """A server that never answers the TLS handshake is given up at the connect timeout."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        assert done.wait(DEADLINE)

    with ScriptedServer(script) as server:
        with pytest.raises(rt.ConnectionFailed, match="no answer in time"):
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
    with pytest.raises(rt.ConnectionFailed, match=r"no address is known for the host 'nowhere\.invalid'"):
        rt.connect(base_url="ws://nowhere.invalid/v1")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, local: bool) -> None:
    """Only addresses of this machine are taken for it, and no name server is asked."""
    assert is_loopback(host) == local


# --- Keepalive ----------------------------------------------------------------------------------------


def test_pings_are_answered_alike(server_tls: Tls, open_session: Open) -> None:
    """A ping is answered with its payload; a pong nobody asked for is ignored."""
    answered = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.frame(10, b"unasked")
        for payload in (b"", b"x" * 125):
            caller.frame(9, payload)
            assert caller.read() == (10, payload)
        answered.set()
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert answered.wait(DEADLINE)
        session.close()


def test_a_ping_flood(server_tls: Tls, open_session: Open) -> None:
    """A server that pings without end and reads nothing can't stop or fill the reader."""
    ponged: list[bytes] = []
    go, came = threading.Event(), threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert go.wait(DEADLINE)
        caller.raw(b"".join(server_frame(9, b"%0125d" % number) for number in range(20_000)))
        caller.text(delta("after"))
        assert came.wait(DEADLINE)
        while (frame := caller.read())[0] == 10:
            ponged.append(frame[1])
        caller.frame(8, frame[1])

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        session._transport._link._sock.setsockopt(*small)  # so that the answers soon find no room
        go.set()
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        came.set()
        session.close()
    assert ponged == sorted(ponged)
    assert len(ponged) < 20_000


def test_a_silent_server_is_pinged(server_tls: Tls, open_session: Open) -> None:
    """A silent server is pinged after the interval, and stays connected while it answers."""

    def script(caller: Caller) -> None:
        caller.accept()
        for _ in range(3):
            opcode, payload = caller.read()
            assert opcode == 9
            caller.frame(10, payload)
        caller.text(delta("alive"))
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, ping_interval=0.05, ping_timeout=DEADLINE)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        session.close()


def test_a_dead_server_is_noticed(server_tls: Tls, open_session: Open) -> None:
    """A server that answers no ping is given up, also while a send is stuck on it."""
    done = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        assert done.wait(DEADLINE)

    def send() -> None:
        with pytest.raises(rt.ConnectionClosed):
            session.input_audio_buffer.append(bytes(15 * 2**20))

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server, ping_interval=0.1, ping_timeout=0.1)
        stuck = threading.Thread(target=send)
        stuck.start()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert caught.value.code == 1006
        assert "silent for 0.1 s after a ping" in str(caught.value.__cause__)
        stuck.join(DEADLINE)
        assert not stuck.is_alive()
        done.set()


def test_no_verdict_without_a_ping_timeout(open_session: Open) -> None:
    """With ``ping_timeout=None`` a silent server is pinged again and again, and never given up."""

    def script(caller: Caller) -> None:
        caller.accept()
        assert [caller.read()[0] for _ in range(3)] == [9, 9, 9]
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server, ping_interval=0.02, ping_timeout=None)
        with pytest.raises(TimeoutError):
            session.next_event(0.2)
        session.close()


def test_no_pings_without_an_interval(open_session: Open) -> None:
    """With ``ping_interval=None`` nothing is sent to a silent server."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            caller.sock.recv(1)
        caller.sock.settimeout(DEADLINE)
        caller.text(delta("x"))
        assert caller.sock.recv(1) == b"\x88"

    with ScriptedServer(script) as server:
        session = open_session(server, ping_interval=None, close_timeout=0.2)
        session.next_event(DEADLINE)
        session.close()


# --- How it ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1009, 1011, 1012, 1013, 4000])
def test_the_server_closes(code: int | None, server_tls: Tls, open_session: Open) -> None:
    """A server's close frame is answered with its own code, and reported with its reason."""
    reason = "" if code is None else "süß"

    def script(caller: Caller) -> None:
        caller.accept()
        answer = caller.close(code, reason)
        assert answer == (8, b"" if code is None else struct.pack("!H", code))

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        closed = caught.value
        assert (closed.code, closed.reason, closed.clean) == (code or 1005, reason, True)


@pytest.mark.parametrize("how", ["reset", "hang_up"])
@pytest.mark.parametrize("rest", [b"", b"\x81", b"\x81\x05hal", b"\x01\x03hal"])
def test_the_server_vanishes(how: str, rest: bytes, server_tls: Tls, open_session: Open) -> None:
    """A connection that ends without a goodbye, anywhere in a frame, is 1006 after what was whole."""
    received = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.raw(server_frame(1, delta("whole").encode()) + rest)
        assert received.wait(DEADLINE)
        getattr(caller, how)()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        received.set()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert (caught.value.code, caught.value.clean) == (1006, False)


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\xc1\x00", 1002),
        (b"\x81\x80", 1002),
        (b"\x81\x7f" + (2**62).to_bytes(8, "big"), 1009),
        (b"\x88\x02\x03\xee", 1002),
        (b"\x88\x03\x03\xe8\xff", 1007),
    ],
)
def test_a_server_that_breaks_the_protocol(
    stream: bytes, code: int, server_tls: Tls, open_session: Open
) -> None:
    """Breaking the WebSocket protocol ends the session; the server is told why, and so is the user."""
    told: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.raw(server_frame(1, delta("good").encode()) + stream)
        told.append(caller.answer_to_close())

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        assert isinstance(session.next_event(DEADLINE), ResponseOutputTextDelta)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
        assert (caught.value.code, caught.value.clean) == (code, False)
        assert isinstance(caught.value.__cause__, rt.ProtocolError)
    assert told[0][0] == 8
    assert int.from_bytes(told[0][1][:2], "big") == code


def test_one_byte_at_a_time(server_tls: Tls, open_session: Open) -> None:
    """A stream that comes byte by byte is read like any other."""

    def script(caller: Caller) -> None:
        caller.accept()
        for byte in server_frame(1, delta("slow").encode()) + b"\x88\x02\x03\xe8":
            caller.raw(bytes([byte]))
        caller.answer_to_close()

    with ScriptedServer(script, server_tls) as server:
        assert len(list(open_session(server))) == 1


def test_a_message_over_the_limit(open_session: Open) -> None:
    """``max_message_size`` is the largest message that is accepted."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.frame(1, b"x" * 100)
        caller.frame(1, b"x" * 101)
        assert caller.answer_to_close()[1][:2] == struct.pack("!H", 1009)

    with ScriptedServer(script) as server:
        session = open_session(server, max_message_size=100)
        assert isinstance(session.next_event(DEADLINE), rt.UnknownEvent)
        with pytest.raises(rt.ConnectionClosed, match="more than 100 bytes"):
            session.next_event(DEADLINE)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
def test_nothing_is_left_behind(server_tls: Tls, client_tls: ssl.SSLContext) -> None:
    """After 1,000 sessions, threads, open files and memory are as before."""

    with ScriptedServer(idle, server_tls) as server:
        for number in range(1000):
            rt.connect(base_url=server.url, ssl_context=client_tls, wait=False).close()
            if number == 99:  # caches are warm
                settle(server)
                before = threading.active_count(), open_files()
                memory = resident_bytes()
        settle(server)
        assert (threading.active_count(), open_files()) == before
        assert resident_bytes() - memory < 20 * 2**20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def settle(server: ScriptedServer) -> None:
    """Wait for the server's own threads, and forget them."""
    for thread in server.threads:
        thread.join(DEADLINE)
    server.threads.clear()
    server.callers.clear()
    gc.collect()


def test_many_fragments(server_tls: Tls, open_session: Open) -> None:
    """A message in 10,000 fragments, with a ping in the middle, arrives whole."""
    frame = delta("x" * 10_000).encode()

    def script(caller: Caller) -> None:
        caller.accept()
        middle = [server_frame(0, frame[index : index + 1], final=False) for index in range(1, 9_999)]
        middle.insert(5000, server_frame(9, b"ping"))
        caller.raw(server_frame(1, frame[:1], final=False) + b"".join(middle))
        caller.frame(0, frame[9_999:])
        caller.serve_until_closed()

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        event = session.next_event(DEADLINE)
        assert isinstance(event, ResponseOutputTextDelta)
        assert len(event.delta) == 10_000
        session.close()


FORGETFUL = """
import sys, realtime_sync as rt
session = rt.connect(base_url=sys.argv[1])
print(session.next_event(10).type)
if sys.argv[2] == "raise":
    raise LookupError("unhandled")
"""


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("raise", 1)])
def test_forgetting_to_close(how: str, status: int) -> None:
    """A script that forgets to close still exits, also by an unhandled error, and says goodbye."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("x"))
        said.append(caller.answer_to_close())

    with ScriptedServer(script) as server:
        ended = subprocess.run(
            [sys.executable, "-c", FORGETFUL, server.url, how],
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
    assert ended.returncode == status
    assert ended.stdout.strip() == "response.output_text.delta"
    assert said == [(8, struct.pack("!H", 1001))]
