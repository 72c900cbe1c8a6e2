"""No secret is shown: servers that repeat what they were sent, and the watch over all other tests."""

import copy
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
from scripted import CREATED, DEADLINE, Caller, Script, ScriptedServer, error
from secrets_watch import (
    API_KEY,
    CLIENT_SECRET,
    PROXY_LOGIN,
    PROXY_PASSWORD,
    PROXY_TOKEN,
    WEBHOOK_SECRET,
    complain_of_leaks,
    secrets_in,
    shown,
    watch,
)

import realtime_sync as rt
from realtime_sync import webhooks
from realtime_sync.events import McpTool
from realtime_sync.local.http.answers import Declined, declined

Show = Callable[[str], None]
MCP_TOKEN = "sk-test-bWNw"  # the token of a tool's server, which goes out in an event


@pytest.fixture(autouse=True)
def show(caplog: pytest.LogCaptureFixture) -> Iterator[Show]:
    """Takes texts that a user may see.  In the end, they and the most talkative log have none."""
    texts: list[str] = []
    caplog.set_level(logging.DEBUG, "realtime_sync")
    yield texts.append
    assert secrets_in("\n".join([*texts, caplog.text])) == []


def caught(act: Callable[[], object], kind: type[rt.RealtimeError], show: Show) -> Any:
    """The error that ``act`` ends in, once everything about it was shown."""
    with pytest.raises(kind) as info:
        act()
    show(shown(info.value))
    link: BaseException | None = info.value  # a traceback has the lines of this file, so without them
    while link is not None:
        show("".join(traceback.format_exception_only(type(link), link)))
        link = link.__cause__ or link.__context__
    return info.value


def connect(server: ScriptedServer, **options: Any) -> rt.Session:
    settings: dict[str, Any] = {"api_key": API_KEY, "connect_timeout": DEADLINE, "log_payloads": True}
    return rt.connect(base_url=server.url, **{**settings, **options})


def refuse(answer: bytes) -> Script:
    def script(caller: Caller) -> None:
        caller.read_request()
        caller.raw(answer)

    return script


def begin(*frames: str, close: tuple[int, str] | None = None) -> Script:
    """A script that agrees, sends these frames, and closes or waits for the end."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*frames)
        if close is not None:
            caller.close(*close)
        else:
            caller.serve_until_closed()

    return script


# --- A handshake that is refused ----------------------------------------------------------------------

ECHO = json.dumps({"error": {"message": f"Incorrect key: {API_KEY}", "code": API_KEY}}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%s" % (len(ECHO), ECHO),
        b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(ECHO), ECHO),
        b"HTTP/1.1 401 No\r\n\r\n<html>" + API_KEY.encode(),
        b"HTTP/1.1 401 No\r\n\r\n" + b"." * (65536 - 10) + API_KEY.encode(),
        b"HTTP/1.1 401 No\r\n\r\n" + b"." * 9 + API_KEY.encode() * 10_000,
        f"HTTP/1.1 401 {API_KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 401 No\r\nX-You-Sent: Bearer {API_KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 401 No\r\n{API_KEY}: yours\r\n\r\n".encode(),
        f"HTTP/1.1 307 Go\r\nLocation: https://{API_KEY}.example/v1?api-key={API_KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {API_KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 101 Yes\r\nSec-WebSocket-Extensions: {API_KEY}\r\n\r\n".encode(),
        f"{API_KEY}\r\n\r\n".encode(),
        API_KEY.encode(),
        b"." * 70 + API_KEY.encode(),
    ],
)
def test_refused(answer: bytes, show: Show) -> None:
    """Wherever a server repeats the key in its refusal, and wherever that is cut, it is not shown."""
    with ScriptedServer(refuse(answer)) as server:
        caught(lambda: connect(server), rt.ConnectionFailed, show)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": lambda: API_KEY},
        {"api_key": "", "client_secret": API_KEY},
        {"headers": {"Authorization": f"bearer {API_KEY}"}},
        {"headers": {"Authorization": f"Basic {API_KEY}"}},
        {"headers": {"Cookie": f"a=b; session={API_KEY}; c=d"}},
        {"headers": {"X-Goog-Api-Key": API_KEY}},
        {"headers": {"X-Auth-Token": API_KEY}},
        {"headers": {"Ocp-Apim-Subscription-Key": API_KEY}},
        {"query": {"api-key": API_KEY}},
        {"query": {"access_token": API_KEY}},
    ],
    ids=lambda options: " ".join([*options, *options.get("headers", []), *options.get("query", [])]),
)
@pytest.mark.parametrize("echo", ["{}", "a={}&b", "Bearer {}"])
def test_the_ways_of_a_key(options: dict[str, Any], echo: str, show: Show) -> None:
    """Whichever way a key goes to the server, it is known when it comes back."""

    def script(caller: Caller) -> None:
        assert API_KEY in caller.read_request().decode()
        caller.raw(f"HTTP/1.1 401 No\r\nX-Echo: {echo.format(API_KEY)}\r\n\r\n{API_KEY}".encode())

    options = {"api_key": "", **options}
    client_options = {name: options.pop(name) for name in ("api_key",)}
    with ScriptedServer(script) as server:
        client = rt.Client(base_url=server.url, **client_options)
        show(repr(client))
        caught(lambda: client.connect(connect_timeout=DEADLINE, **options), rt.ConnectionFailed, show)


@pytest.mark.parametrize("option", ["default_headers", "default_query", "base_url", "azure"])
def test_the_keys_of_a_client(option: str, show: Show) -> None:
    """Keys that are set on a client are as secret as those of one connection."""

    def script(caller: Caller) -> None:
        assert API_KEY in caller.read_request().decode()
        caller.raw(f"HTTP/1.1 401 No\r\nX-Echo: {API_KEY}\r\n\r\n{API_KEY}".encode())

    with ScriptedServer(script) as server:
        if option == "azure":
            endpoint = server.url.removesuffix("/v1")
            client = rt.Client.azure(endpoint, "my-deployment", api_key=API_KEY)
        elif option == "base_url":
            client = rt.Client(base_url=f"{server.url}?api-key={API_KEY}")
        else:
            settings: Any = {option: {"api-key": API_KEY}}
            client = rt.Client(base_url=server.url, **settings)
        show(repr(client))
        caught(client.connect, rt.ConnectionFailed, show)


def test_other_words_are_left_alone(show: Show) -> None:
    """What is no credential stays readable: a model's name, an API version."""
    body = b"no model gpt-9 in 2025-04-01-preview"
    with ScriptedServer(refuse(b"HTTP/1.1 404 No\r\n\r\n" + body)) as server:
        query = {"api-version": "2025-04-01-preview"}
        failed = caught(lambda: connect(server, model="gpt-9", query=query), rt.ConnectionFailed, show)
    assert failed.body == body


# --- A session ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["message", "code", "type", "param", "event_id"])
def test_an_error_in_place_of_a_session(field: str, show: Show) -> None:
    """A server that refuses the key after the handshake may repeat it anywhere in its error."""
    details = {"type": "t", "code": None, "message": "", field: f"your key {API_KEY}"}
    frame = json.dumps({"type": "error", "event_id": "e", "error": details})
    with ScriptedServer(begin(frame)) as server:
        caught(lambda: connect(server), rt.ConnectionFailed, show)


def test_closed_at_once(show: Show) -> None:
    """The reason of a close frame is shown without the key, also where one error follows another."""
    with ScriptedServer(begin(close=(1008, f"bad key {API_KEY}"))) as server:
        failed = caught(lambda: connect(server), rt.ConnectionFailed, show)
    assert "1008: bad key ***" in str(failed)


def test_the_end_of_a_session(show: Show) -> None:
    """The error that ends a session has the server's words without the key; the event itself is whole."""
    frames = [CREATED, error(f"key {API_KEY} was revoked", API_KEY)]
    with ScriptedServer(begin(*frames, close=(1008, f"goodbye {API_KEY}"))) as server:
        session = connect(server)
        assert session.next_event(DEADLINE).type == "session.created"
        event: Any = session.next_event(DEADLINE)
        assert API_KEY in event.error.message
        closed = caught(lambda: session.next_event(DEADLINE), rt.ConnectionClosed, show)
        show(repr(session))
        session.close()
    text = "code 1008: goodbye ***; the server's last error: key *** was revoked"
    assert str(closed) == f"session closed by the server with {text}"
    assert isinstance(closed.last_error, rt.events.ErrorEvent)


@pytest.mark.parametrize(
    "frame",
    [
        f'{{"type":"{API_KEY}","event_id":"e"}}',
        f'{{"type":"brand.new","event_id":"{API_KEY}"}}',
        f'{{"type":"error","event_id":"e","error":"bad key {API_KEY}"}}',
        f'{{"type":"error","event_id":"{API_KEY}"}}',
        f'{{"type":"session.updated","event_id":"e","session":{{"id":"{API_KEY}"}}}}',
        f"you sent {API_KEY}",
        json.dumps({"type": "brand.new", "text": "." * 1930 + API_KEY}),
        json.dumps({"type": "error", "event_id": "e", "x": "." * 150 + API_KEY, "error": 5}),
    ],
)
def test_events(frame: str, show: Show, caplog: pytest.LogCaptureFixture) -> None:
    """Events go to the log without the key, whatever the server names after it, and wherever it is cut."""
    with ScriptedServer(begin(CREATED, frame)) as server:
        with connect(server) as session:
            session.next_event(DEADLINE)
            session.next_event(DEADLINE)
            show(repr(session))
        show(repr(session))
    assert "received session.created" in caplog.text


@pytest.mark.parametrize("more", ['"type":"realtime"', '"type":5'])
def test_an_ephemeral_secret_in_a_session(more: str, show: Show) -> None:
    """The secret that a Beta server puts in a session's settings is nothing for the log either."""
    secret = f'"client_secret":{{"value":"{CLIENT_SECRET}","expires_at":5}}'
    frame = f'{{"type":"session.created","event_id":"e","session":{{{secret},{more}}}}}'
    with ScriptedServer(begin(frame)) as server, connect(server) as session:
        show(repr(session.config))


def test_the_token_of_a_tool(show: Show, caplog: pytest.LogCaptureFixture) -> None:
    """The credentials of an MCP server go out in an event, and not to the log."""
    tool = McpTool(
        server_label="docs",
        server_url="https://mcp.example",
        authorization=MCP_TOKEN,
        headers={"X-Key": MCP_TOKEN},
    )
    plain = {"type": "mcp", "server_label": "docs", "authorization": f'a"\\{MCP_TOKEN}'}
    with ScriptedServer(begin(CREATED)) as server, connect(server) as session:
        session.update(tools=[tool])
        session.update(tools=[plain])
    assert "mcp.example" in caplog.text
    assert len(watch.take()) == 2  # they did go out


def test_no_lines_of_the_servers_own(caplog: pytest.LogCaptureFixture) -> None:
    """A server can't write lines of its own into the log."""
    forged = r"x\nERROR realtime_sync forged"
    frames = [
        f'{{"type":"session.created","event_id":"{forged}","session":{{"id":"{forged}"}}}}',
        f'{{"type":"{forged}","event_id":"{forged}"}}',
        '{"type":"brand.new",\n"event_id":"ERROR realtime_sync forged"}',
    ]
    script = begin(*frames, close=(1000, "a\nERROR realtime_sync forged"))
    with ScriptedServer(script) as server, connect(server) as session:
        assert len(list(session)) == 3
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "received" in caplog.text


# --- A proxy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 407 {PROXY_PASSWORD}\r\nX-Echo: Basic {PROXY_TOKEN}\r\n\r\n",
        f"HTTP/1.1 302 Go\r\nLocation: http://{PROXY_LOGIN}@proxy.example\r\n\r\n",
        f"welcome {PROXY_LOGIN}",
        "." * 75 + PROXY_TOKEN,
    ],
)
def test_a_proxy_that_refuses(answer: str, show: Show) -> None:
    """A proxy that repeats its password, in any form, is quoted without it; it never gets the key."""
    with ScriptedServer(refuse(answer.encode())) as proxy:
        options: Any = {"proxy": f"http://{PROXY_LOGIN}@127.0.0.1:{proxy.port}", "api_key": API_KEY}
        client = rt.Client(base_url="wss://server.example/v1", **options)
        show(repr(client))
        caught(client.connect, rt.ConnectionFailed, show)
    assert API_KEY not in proxy.callers[0].request.decode()


def test_bad_proxies(show: Show) -> None:
    """A proxy's address that can't be used is not quoted."""
    for url in (f"ftp://{PROXY_LOGIN}@proxy:1", f"http://{PROXY_LOGIN}@proxy:x", f"http://{PROXY_LOGIN}@"):
        with pytest.raises(ValueError, match="proxy") as info:
            rt.Client(proxy=url)
        show(shown(info.value))


# --- HTTP ---------------------------------------------------------------------------------------------

SECRETS_URL = "https://api.openai.com/v1/realtime/client_secrets"


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 409, 429, 500, 503])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ECHO.decode(), {}),
        (f"<html>{API_KEY}</html>", {"Content-Type": "text/html"}),
        ("{}", {"X-Request-Id": API_KEY, "Retry-After": "0"}),
        ("", {"Location": f"https://example.org/{API_KEY}"}),
        (json.dumps({"error": API_KEY, "secret": {"value": CLIENT_SECRET}}), {}),
    ],
)
@responses.activate
def test_http_errors(status: int, body: str, headers: dict[str, str], show: Show) -> None:
    """Wherever an HTTP answer repeats the key, its error doesn't."""
    responses.post(SECRETS_URL, body=body, status=status, headers=headers)
    with rt.Client(api_key=API_KEY, max_retries=0, default_headers={"X-Api-Key": API_KEY}) as client:
        caught(client.client_secrets.create, rt.APIError, show)


@responses.activate
def test_http_answers(show: Show) -> None:
    """An answer that succeeds and makes no sense is quoted without secrets; one that does hides its own."""
    client = rt.Client(api_key=API_KEY, max_retries=0)
    for body in (f"{API_KEY} {CLIENT_SECRET}", f'{{"value":5,"session":"{CLIENT_SECRET}"}}'):
        responses.upsert("POST", SECRETS_URL, body=body)
        caught(client.client_secrets.create, rt.APIError, show)
    created = {"value": CLIENT_SECRET, "expires_at": 5, "session": {"type": "realtime"}}
    responses.upsert("POST", SECRETS_URL, json=created)
    secret = client.client_secrets.create()
    assert secret.value == CLIENT_SECRET
    show(repr(secret))


@responses.activate
def test_no_http_answer(show: Show) -> None:
    """What libraries say about a lost connection is shown without the key, at each try."""
    responses.post(SECRETS_URL, body=ConnectionResetError(f"lost Authorization: Bearer {API_KEY}"))
    with rt.Client(api_key=API_KEY, max_retries=0) as client:
        caught(client.client_secrets.create, rt.APIError, show)


# --- Settings and webhooks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": f"{API_KEY}\n"},
        {"api_key": f"{API_KEY}ключ"},
        {"default_headers": {"api-key": f"{API_KEY}\r\nX: y"}},
        {"api_key": API_KEY, "base_url": "ws://example.org/v1"},
        {"base_url": f"https://user:{API_KEY}@example.org/v1"},
        {"base_url": f"https://{API_KEY}:x/v1"},
        {"base_url": f"ftp://example.org/{API_KEY}"},
    ],
    ids=" ".join,
)
def test_bad_settings(options: dict[str, Any], show: Show) -> None:
    """A setting that can't be used is not quoted where it may hold a key."""
    with pytest.raises(ValueError, match=r".") as info:
        rt.Client(**options)
    show(shown(info.value))


def test_bad_query(show: Show) -> None:
    """Nor is a query parameter."""
    client = rt.Client(api_key=API_KEY, default_query={"api-key": f"{API_KEY}\n"})
    with pytest.raises(ValueError, match="query parameter") as info:
        client.connect()
    show(shown(info.value))


@pytest.mark.parametrize("seconds", [0, 1000])
@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_webhooks(name: str, seconds: float, show: Show) -> None:
    """Whatever is wrong with a webhook, neither the secret nor the right signature is told."""
    body = json.dumps({"type": "realtime.call.incoming", "id": WEBHOOK_SECRET, "data": WEBHOOK_SECRET})
    headers = webhooks.sign(body, WEBHOOK_SECRET, now=1000)
    assert webhooks.unwrap(body, headers, WEBHOOK_SECRET, now=1000).type == "realtime.call.incoming"
    forged = {**headers, name: f"v1,{WEBHOOK_SECRET}"}
    error = caught(
        lambda: webhooks.unwrap(body, forged, WEBHOOK_SECRET, now=1000 + seconds),
        rt.InvalidWebhookSignature,
        show,
    )
    assert headers["webhook-signature"].removeprefix("v1,") not in str(error)
    with pytest.raises(ValueError, match="base64") as info:
        webhooks.unwrap(body, headers, f"{WEBHOOK_SECRET}%")
    show(shown(info.value))


# --- The watch itself -----------------------------------------------------------------------------------


def leak_log() -> None:
    logging.getLogger("realtime_sync").info("%s is fine", "all", extra={"x": 1})
    logging.getLogger("realtime_sync").info("the beginning is %.4s", API_KEY)


def leak_traceback() -> None:
    try:
        raise ValueError(API_KEY)
    except ValueError:
        logging.getLogger("realtime_sync.local").exception("failed")


def leak_text() -> None:
    rt.ConnectionFailed(f"bad key {API_KEY}")


def leak_attribute() -> None:
    rt.ConnectionFailed("no", headers={"x-echo": API_KEY})


def leak_bytes() -> None:
    rt.ConnectionFailed("no", body=API_KEY.encode())


def leak_cause() -> None:
    try:
        raise rt.ConnectionFailed("no") from OSError(f"proxy {PROXY_PASSWORD}")
    except rt.ConnectionFailed:
        pass


def leak_context() -> None:
    try:
        try:
            raise OSError(f"proxy {PROXY_TOKEN}")
        finally:
            raise rt.ConnectionFailed("no")
    except rt.ConnectionFailed:
        pass


def leak_repr() -> None:
    class Talkative(rt.Client):
        def __repr__(self) -> str:
            return f"Talkative({API_KEY})"

    Talkative()


def leak_answer() -> None:
    declined(Declined(401, "invalid_api_key", f"Incorrect API key: {API_KEY}"))


def leak_frame() -> None:
    with ScriptedServer(begin(CREATED)) as server, connect(server) as session:
        session.send({"type": "brand.new", "key": API_KEY})


LEAKS = {
    leak_log: "the log (INFO) shows",
    leak_traceback: "the log (ERROR) shows",
    leak_text: "ConnectionFailed shows",
    leak_attribute: "ConnectionFailed shows",
    leak_bytes: "ConnectionFailed shows",
    leak_cause: "ConnectionFailed shows",
    leak_context: "ConnectionFailed shows",
    leak_repr: "Talkative shows",
    leak_answer: "an error of the local server shows",
    leak_frame: "a sent event shows",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_watch_sees(
    leak: Callable[[], None], request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret that is shown anywhere fails the run, which then says where, and by which test."""
    leak()
    with pytest.raises(pytest.fail.Exception, match="secrets were shown") as info:
        complain_of_leaks()
    assert f"{request.node.nodeid} (call): {LEAKS[leak]}" in str(info.value)
    complain_of_leaks()  # it says so once
    caplog.clear()  # `show` would find it again there


def test_the_watch_sees_errors_that_live_on(request: pytest.FixtureRequest) -> None:
    """An error that is kept to the end of the run is looked at then."""
    kept = rt.ConnectionFailed("no", body=API_KEY.encode())
    watch.look_at_living_errors()
    leaks = watch.take()
    assert len(leaks) == 1
    assert request.node.nodeid in leaks[0]
    kept.body = b""


def test_the_watch_lets_pass() -> None:
    """What only looks like a secret is no leak, and an error is as it was without the watch."""
    assert secrets_in("task-1, week_1, sk-***, after whsec_ it must be base64, password") == []
    error = rt.ConnectionClosed(1000, "done", clean=True)
    same = copy.copy(rt.ConnectionFailed("no", status=401))
    assert (error.args, same.args, same.status) == ((1000, "done"), ("no",), 401)
    assert watch.take() == []
