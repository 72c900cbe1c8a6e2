"""`Client` and `connect`: where and who, and what is refused before anything is sent."""

import logging
import re
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trustme
from scripted import CREATED, DEADLINE, Caller, Open, Script, ScriptedServer, collect, idle

import realtime_sync as rt
from realtime_sync.local import LocalServer
from realtime_sync.options import AzureOptions, ClientOptions, ConnectOptions, Options


def keep_request(requests: list[str]) -> Script:
    """A script that agrees to the connection and keeps what it was asked."""

    def script(caller: Caller) -> None:
        caller.accept()
        requests.append(caller.request.decode())
        caller.serve_until_closed()

    return script


def request_of(open_session: Open, path: str = "/v1", **options: Any) -> str:
    """The request that a connection with these options makes."""
    requests: list[str] = []

    with ScriptedServer(keep_request(requests)) as server:
        server.url = server.url.removesuffix("/v1") + path
        open_session(server, **options).close()
    return requests[0]


def headers_of(request: str) -> dict[str, str]:
    return {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in request.split("\r\n")[1:])
    }


def test_request(open_session: Open) -> None:
    """Model, key, organization and project, further headers and query go where the API wants them."""
    request = request_of(
        open_session,
        model="gpt-realtime-2.1",
        api_key="sk-1",
        organization="org",
        project="proj",
        headers={"X-Mine": "1", "user-agent": "me"},
        query={"a": "b c&d"},
    )
    assert request.startswith("GET /v1/realtime?model=gpt-realtime-2.1&a=b%20c%26d HTTP/1.1\r\n")
    headers = headers_of(request)
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["openai-organization"] == "org"
    assert headers["openai-project"] == "proj"
    assert headers["x-mine"] == "1"
    assert headers["user-agent"] == "me"
    assert "openai-beta" not in headers


def test_connection_settings_come_last() -> None:
    """Headers and query of one connection win over those of the client."""
    requests: list[str] = []

    with ScriptedServer(keep_request(requests)) as server:
        client = rt.Client(
            base_url=server.url, default_headers={"X-A": "1", "X-B": "1"}, default_query={"q": "1"}
        )
        client.connect("m", headers={"x-a": "2"}, query={"q": "2"}, wait=False).close()
    assert "?q=2&model=m " in requests[0]
    headers = headers_of(requests[0])
    assert (headers["x-a"], headers["x-b"]) == ("2", "1")


def test_environment(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-env")
    headers = headers_of(request_of(open_session))
    assert headers["authorization"] == "Bearer sk-env"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-env", "proj-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "ws://127.0.0.1:9/there")
    assert "127.0.0.1:9/there" in repr(rt.Client())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1", "/v1/realtime"),
        ("/v1/", "/v1/realtime"),
        ("", "/realtime"),
        ("/a b/ü", "/a%20b/%C3%BC/realtime"),
        ("/v1?api-version=1", "/v1/realtime?api-version=1"),
    ],
)
def test_path(path: str, expected: str, open_session: Open) -> None:
    """`/realtime` is appended to the base URL, whose query is kept."""
    assert request_of(open_session, path).startswith(f"GET {expected} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("base_url", "start"),
    [
        ("http://localhost:1/v1", "ws://"),
        ("https://localhost:1/v1", "wss://"),
        ("ws://localhost:1/v1", "ws://"),
        ("wss://localhost:1/v1", "wss://"),
        (None, "wss://api.openai.com/v1/realtime"),
    ],
)
def test_schemes(base_url: str | None, start: str) -> None:
    """HTTP and WebSocket addresses are both understood; the default is OpenAI's."""
    client = rt.Client(api_key="sk-1", base_url=base_url)
    assert client._endpoint.websocket_url("/realtime", {}).startswith(start)


@pytest.mark.parametrize(
    "base_url",
    ["ftp://host/v1", "host/v1", "localhost:80", "ws://", "ws:///v1", "ws://u:p@host/v1", "ws://h:port/v1",
     "ws://host/v1\r\nX: y", "ws://host\n/v1", "ws://ho\x00st/v1"],
)  # fmt: skip
def test_bad_addresses(base_url: str) -> None:
    """What is not the address of a server is a `ValueError`, before anything is sent."""
    with pytest.raises(ValueError, match=r"base_url|Port"):
        rt.Client(base_url=base_url)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-secret\r\nX: y", "sk-\x00secret", "sk-secret-ключ"])
def test_bad_keys(key: str) -> None:
    """A key that HTTP can't carry is a `ValueError` that does not quote it."""
    with pytest.raises(ValueError, match="the API key holds") as caught:
        rt.Client(api_key=key)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "gpt\r\nX: y"},
        {"model": "gpt\n"},
        {"query": {"a": "b\n"}},
        {"query": {"a\n": "b"}},
        {"headers": {"X": "y\r\nZ: a"}},
        {"headers": {"X": "y\n"}},
        {"headers": {"X": "ключ"}},
        {"headers": {"X: y": "z"}},
        {"headers": {"": "z"}},
        {"headers": {"X\n": "z"}},
        {"dialect": "alpha"},
        {"connect_timeout": 0},
        {"send_timeout": -1},
        {"close_timeout": float("nan")},
        {"ping_interval": 0},
        {"ping_timeout": 0},
        {"max_message_size": 0},
        {"max_buffered": 0},
    ],
)
def test_bad_settings(options: dict[str, Any]) -> None:
    """A setting that can't be used is a `ValueError`, and no connection is made."""

    def script(caller: Caller) -> None:
        raise AssertionError("contacted")

    with ScriptedServer(script) as server, pytest.raises(ValueError, match=r"."):
        rt.connect(base_url=server.url, **options)


def test_plain_connections_with_a_key() -> None:
    """A key is sent over plain `ws` only within this machine, unless that is asked for."""
    with pytest.raises(ValueError, match=r"travel in clear to example\.org"):
        rt.Client(api_key="sk-1", base_url="ws://example.org/v1")
    rt.Client(api_key="sk-1", base_url="ws://example.org/v1", allow_insecure=True)
    rt.Client(api_key="sk-1", base_url="wss://example.org/v1")
    rt.Client(api_key="sk-1", base_url="ws://127.0.0.1/v1")
    rt.Client(api_key="sk-1", base_url="http://[::1]:80/v1")
    rt.Client(base_url="ws://example.org/v1")


def test_openai_needs_a_key() -> None:
    """OpenAI's own server is not asked without a key; the error says how to give one."""
    with pytest.raises(ValueError, match="set OPENAI_API_KEY, or pass api_key"):
        rt.connect("gpt-realtime-2.1")


def test_the_key_is_not_shown(open_session: Open) -> None:
    """The key is in no repr."""
    client = rt.Client(api_key="sk-secret", base_url="wss://host/v1")
    assert repr(client) == "<Client for wss://host/v1>"
    assert repr(rt.Client(base_url="wss://host/v1?api-key=sk-secret")) == "<Client for wss://host/v1>"
    with ScriptedServer(idle) as server:
        session = open_session(server, api_key="sk-secret")
        assert "sk-secret" not in repr(session) + repr(vars(session))
        session.close()


def test_connect_takes_all_options() -> None:
    """`connect` has the options of `Client` and of `Client.connect`, and hands each to its own."""
    declared = {*ClientOptions.__annotations__, *ConnectOptions.__annotations__}
    assert set(Options.__annotations__) == declared
    requests: list[str] = []
    with ScriptedServer(keep_request(requests)) as server:
        rt.connect(
            "m",
            base_url=server.url,
            default_headers={"X-One": "1"},
            default_query={"two": "2"},
            headers={"X-Three": "3"},
            timeout=5.0,
            max_retries=0,
            client_secret="ek_of_a_while",
            wait=False,
        ).close()
    headers = headers_of(requests[0])
    assert (headers["x-one"], headers["x-three"]) == ("1", "3")
    assert headers["authorization"] == "Bearer ek_of_a_while"
    assert "?two=2&model=m " in requests[0]


@pytest.mark.parametrize("options", [ClientOptions, ConnectOptions, AzureOptions])
def test_options_are_documented(options: type) -> None:
    """Each option is explained in the docstring of the function that takes it."""
    text = f"{rt.Client.__doc__}{rt.Client.connect.__doc__}"
    assert [name for name in options.__annotations__ if f" {name}: " not in text] == []


@pytest.mark.parametrize(
    ("call", "options", "text"),
    [
        (rt.connect, {"modle": "x"}, "connect() has no option 'modle'; did you mean 'model'?"),
        (rt.connect, {"base_ulr": "x"}, "connect() has no option 'base_ulr'; did you mean 'base_url'?"),
        (rt.Client, {"apikey": "x"}, "Client() has no option 'apikey'; did you mean 'api_key'?"),
        (
            rt.Client(api_key="").connect,
            {"ping_intervall": 1},
            "connect() has no option 'ping_intervall'; did you mean 'ping_interval'?",
        ),
        (rt.Client.azure, {"porxy": None}, "Client.azure() has no option 'porxy'; did you mean 'proxy'?"),
    ],
)
def test_misspelt_options(call: Callable[..., object], options: dict[str, Any], text: str) -> None:
    """An option that does not exist is a `TypeError` that names the nearest right one."""
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        call(**options)


def test_own_context(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> None:
    """An `ssl.SSLContext` of the user's is used for `wss`."""

    with ScriptedServer(idle, server_tls) as server:
        rt.Client(base_url=server.url, ssl_context=client_tls).connect(wait=False).close()


def test_a_file_of_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    """``ca_file`` is trusted in place of the system's certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(idle, context) as server:
        rt.connect(base_url=server.url, ca_file=tmp_path / "ca.pem", wait=False).close()


def test_bad_certificate_settings(client_tls: ssl.SSLContext, tmp_path: Path) -> None:
    """A file that is not there, and two answers to one question, are refused at once."""
    with pytest.raises(FileNotFoundError):
        rt.Client(ca_file=tmp_path / "none.pem")
    with pytest.raises(ValueError, match="not both"):
        rt.Client(ca_file=tmp_path / "ca.pem", ssl_context=client_tls)


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "proxy\r\n:1", "http://"])
def test_bad_proxies(proxy: str) -> None:
    """A proxy that can't work is a `ValueError`, before anything is sent."""
    with pytest.raises(ValueError, match="proxy"):
        rt.Client(proxy=proxy)


# --- Where people run --------------------------------------------------------------------------------


def asked(client: rt.Client, server: ScriptedServer, requests: list[str], **options: Any) -> str:
    """The request line and headers of one connection."""
    client.connect(wait=False, **options).close()
    return requests[-1]


def test_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's GA API has the deployment as the model, and its key in a header of its own."""
    requests: list[str] = []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-azure")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-not-for-azure")
    with ScriptedServer(keep_request(requests)) as server:
        endpoint = server.url.removesuffix("/v1")
        client = rt.Client.azure(endpoint + "/", "my-deployment", api_key="azure-key")
        request = asked(client, server, requests)
        assert request.startswith("GET /openai/v1/realtime?model=my-deployment HTTP/1.1\r\n")
        headers = headers_of(request)
        assert headers["api-key"] == "azure-key"
        assert not {"authorization", "openai-organization", "openai-beta"} & set(headers)
        assert "not-for-azure" not in request
        request = asked(rt.Client.azure(endpoint, api_key="k"), server, requests, model="other")
        assert request.startswith("GET /openai/v1/realtime?model=other HTTP/1.1\r\n")
        request = asked(client, server, requests, call_id="rtc_1")
        assert request.startswith("GET /openai/v1/realtime?call_id=rtc_1 HTTP/1.1\r\n")


def test_azure_preview() -> None:
    """Azure's preview API has version and deployment in the query, and speaks the Beta dialect."""
    requests: list[str] = []
    tokens = iter(["token-1", "token-2"])
    with ScriptedServer(keep_request(requests)) as server:
        client = rt.Client.azure(
            server.url.removesuffix("/v1"),
            "my-deployment",
            token_provider=lambda: next(tokens),
            api_version="2025-04-01-preview",
        )
        request = asked(client, server, requests)
        assert request.startswith(
            "GET /openai/realtime?api-version=2025-04-01-preview&deployment=my-deployment HTTP/1.1\r\n"
        )
        assert headers_of(request)["authorization"] == "Bearer token-1"
        assert "api-key" not in headers_of(request)
        assert headers_of(asked(client, server, requests))["authorization"] == "Bearer token-2"


def test_azure_preview_speaks_beta() -> None:
    """An update of the preview API has no type, which only GA knows."""
    events: list[Any] = []
    with ScriptedServer(collect(events)) as server:
        client = rt.Client.azure(
            server.url.removesuffix("/v1"), "mine", api_key="k", api_version="2025-04-01-preview"
        )
        with client.connect(wait=False) as session:
            session.update(instructions="Be brief.")
    assert [event["session"] for event in events] == [{"instructions": "Be brief."}]


def test_azure_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and key of Azure come from its own variables; what is missing is named."""
    with pytest.raises(ValueError, match="AZURE_OPENAI_ENDPOINT"):
        rt.Client.azure()
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://name.openai.azure.com")
    with pytest.raises(ValueError, match="AZURE_OPENAI_API_KEY"):
        rt.Client.azure()
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    assert repr(rt.Client.azure()) == "<Client for https://name.openai.azure.com/openai/v1>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "name.openai.azure.com"}, "must be like"),
        ({"endpoint": "https://name.openai.azure.com/openai/v1"}, "must end after the host"),
        ({"endpoint": "https://name.openai.azure.com?x=1"}, "must end after the host"),
        ({"endpoint": "https://u:p@name.openai.azure.com"}, "user name or password"),
        ({"endpoint": "http://name.openai.azure.com"}, "travel in clear"),
        ({"token_provider": lambda: "t"}, "not both"),
        ({"api_version": "2025-04-01-preview"}, "needs a deployment"),
    ],
)
def test_bad_azure_settings(options: dict[str, Any], message: str) -> None:
    """What can't be an Azure resource is refused before anything is sent."""
    settings = {"endpoint": "https://name.openai.azure.com", "api_key": "k", **options}
    with pytest.raises(ValueError, match=message):
        rt.Client.azure(**settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "alpha"}, "'ga' or 'beta'"),
        ({"overflow": "drop"}, "'pause' or 'fail'"),
        ({"intent": "translation"}, "'transcription'"),
        ({"intent": "transcription", "translation": True}, "no intent"),
        ({"connect_timeout": 0}, "connect_timeout must be more than 0"),
    ],
)
def test_bad_choices(options: dict[str, Any], message: str) -> None:
    """A setting that is none of its choices is refused with their names."""
    with pytest.raises(ValueError, match=message):
        rt.Client(api_key="k").connect(**options)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}])
def test_bad_numbers(options: dict[str, Any]) -> None:
    """A number that makes no sense is refused by its name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        rt.Client(**options)


def test_close_a_client() -> None:
    """A client gives its HTTP connections back when it is closed, and can be used again."""
    with LocalServer() as server, rt.Client(base_url=server.url) as client:
        client.close()
        for _ in range(2):
            assert client.client_secrets.create().value.startswith("ek_")
            client.close()


def waits_in(function: str) -> bool:
    """Whether the main thread is in this function."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return frame is not None


def test_ctrl_c_while_waiting() -> None:
    """Ctrl-C while `connect` waits for the session closes the connection."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        pause = threading.Event()
        while not waits_in("wait_for_first_event"):
            pause.wait(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            caller.serve_until_closed()
        finally:
            ended.set()

    with ScriptedServer(script) as server:
        with pytest.raises(KeyboardInterrupt):
            rt.connect(base_url=server.url, connect_timeout=DEADLINE)
        assert ended.wait(DEADLINE)


def test_an_address_with_the_path(open_session: Open) -> None:
    """An address that already names the path is understood, as documentation often has it."""
    assert request_of(open_session, path="/v1/realtime").startswith("GET /v1/realtime HTTP/1.1")


def test_two_names_for_one_thing() -> None:
    """A deployment and a model, or a call and a model, contradict each other."""
    client = rt.Client.azure("https://name.openai.azure.com", "mine", api_key="k")
    with pytest.raises(ValueError, match="deployment or model"):
        client.connect("gpt-realtime")
    with pytest.raises(ValueError, match="model or call_id"):
        rt.Client(api_key="k").connect("gpt-realtime", call_id="rtc_1")


def test_local() -> None:
    """`Client.local` is the server that ``serve`` runs, whatever the environment says."""
    with LocalServer() as server, rt.Client.local(server.port).connect() as session:
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)
    assert repr(rt.Client.local()) == "<Client for http://127.0.0.1:8765/v1>"


def test_kinds_of_sessions() -> None:
    """Transcription, translation and a call are asked for where the API wants it."""
    with LocalServer() as server:
        client = rt.Client(base_url=server.url)
        with client.connect(intent="transcription") as session:
            assert session.config
            assert session.config.type == "transcription"
        with client.connect("gpt-realtime-translate", translation=True) as session:
            assert session.config
            assert session.config.type == "translation"
        call_id = server.create_call()
        client.calls.accept(call_id, instructions="Answer the phone.")
        with client.connect(call_id=call_id) as session:
            assert session.config
            assert session.config.instructions == "Answer the phone."


def test_a_key_that_changes() -> None:
    """A function is asked for the key before each connection; one that has none is an error."""
    keys = iter(["sk-1", "sk-2"])
    requests: list[str] = []
    with ScriptedServer(keep_request(requests)) as server:
        client = rt.Client(base_url=server.url, api_key=lambda: next(keys, ""))
        for key in ("sk-1", "sk-2"):
            assert headers_of(asked(client, server, requests))["authorization"] == f"Bearer {key}"
        with pytest.raises(ValueError, match="returned no key"):
            client.connect()
    with pytest.raises(ValueError, match="travel in clear"):
        rt.Client(base_url="ws://example.org/v1", api_key=lambda: "sk-1")


def test_an_ephemeral_secret() -> None:
    """A secret takes the place of the key for one connection, and brings its own settings."""
    with LocalServer(api_key="sk-1") as server:
        client = rt.Client(base_url=server.url, api_key="sk-1")
        made = client.client_secrets.create(session={"type": "realtime", "instructions": "Be brief."})
        with client.connect(client_secret=made.value) as session:
            assert session.config
            assert session.config.instructions == "Be brief."
        with rt.connect(base_url=server.url, api_key=made.value) as session:
            assert session.config


def test_no_key_at_all(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty key means none, also where the environment has one."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert "authorization" not in headers_of(request_of(open_session, api_key=""))


def test_safety_identifier(open_session: Open) -> None:
    """The safety identifier goes into its header."""
    headers = headers_of(request_of(open_session, safety_identifier="user-7"))
    assert headers["openai-safety-identifier"] == "user-7"


def test_a_key_in_a_header_needs_tls() -> None:
    """A header that carries a key is as precious as the key."""
    for options in (
        {"default_headers": {"api-key": "k"}},
        {"default_headers": {"X-Auth-Token": "k"}},
        {"default_query": {"token": "k"}},
    ):
        with pytest.raises(ValueError, match="travel in clear"):
            rt.Client(base_url="ws://example.org/v1", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="travel in clear"):
        rt.Client(base_url="ws://example.org/v1?key=k")
    rt.Client(base_url="ws://example.org/v1?a=b", default_headers={"X-Mine": "1"})


def test_a_client_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """A server that wants to see a certificate gets the client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("me@example.org")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ca_file, both = tmp_path / "ca.pem", (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    with ScriptedServer(opens, context) as server:
        for certificate in (str(tmp_path / "me.pem"), both):
            rt.connect(base_url=server.url, ca_file=ca_file, client_cert=certificate).close()
        with pytest.raises(rt.ConnectionFailed):
            rt.connect(base_url=server.url, ca_file=ca_file)
    with pytest.raises(ValueError, match="not both"):
        rt.Client(ssl_context=ssl.create_default_context(), client_cert=both)


# --- A session that has begun ------------------------------------------------------------------------


def opens(caller: Caller) -> None:
    """A script that begins a session."""
    caller.accept()
    caller.text(CREATED)
    caller.serve_until_closed()


def test_connect_waits_for_the_session(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> None:
    """When `connect` returns, the session has begun; its first event is still there to be taken."""
    with (
        ScriptedServer(opens, server_tls) as server,
        rt.connect(base_url=server.url, ssl_context=client_tls) as session,
    ):
        assert session.config is not None
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)


def test_refused_after_the_upgrade() -> None:
    """An error in place of a session is a `ConnectionFailed` with the server's words, without the key."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(
            '{"type":"error","event_id":"e","error":{"type":"invalid_request_error","code":"invalid_api_key",'
            '"message":"Incorrect API key provided: sk-secret-1."}}'
        )
        caller.close(3000)

    with (
        ScriptedServer(script) as server,
        pytest.raises(rt.ConnectionFailed, match="refused the session") as e,
    ):
        rt.connect(base_url=server.url, api_key="sk-secret-1")
    assert e.value.error.code == "invalid_api_key"
    assert "Incorrect API key provided: ***." in str(e.value)
    assert "sk-secret-1" not in repr(vars(e.value))


def test_beta_has_been_switched_off() -> None:
    """A server without the Beta dialect says so, and `connect` passes it on."""
    with LocalServer(sunset_beta=True) as server, pytest.raises(rt.ConnectionFailed) as caught:
        rt.connect(base_url=server.url, dialect="beta")
    assert caught.value.error.code == "beta_api_shape_disabled"


def test_ended_at_once() -> None:
    """A server that closes in place of beginning is told of with code and reason."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.close(4001, "no room")

    with (
        ScriptedServer(script) as server,
        pytest.raises(rt.ConnectionFailed, match="4001: no room") as caught,
    ):
        rt.connect(base_url=server.url)
    assert isinstance(caught.value.__cause__, rt.ConnectionClosed)


def test_a_server_that_says_nothing() -> None:
    """A server that begins no session within the time is given up, and the connection closed."""
    with ScriptedServer(idle) as server, pytest.raises(rt.ConnectionFailed, match="began no session in time"):
        rt.connect(base_url=server.url, connect_timeout=0.2)


# --- The log -----------------------------------------------------------------------------------------


def test_the_log_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """Opening and closing are a line each, with host, model, id, code, and counts."""
    with (
        caplog.at_level(logging.INFO, "realtime_sync"),
        LocalServer() as server,
        rt.connect("gpt-realtime", base_url=server.url) as session,
    ):
        session.update(instructions="Be brief.")
        session.run(rt.Visitor(), until=rt.events.SessionUpdated, timeout=DEADLINE)
    opened, closed = [record.getMessage() for record in caplog.records if record.name == "realtime_sync"]
    assert opened == f"session {session.id} with 127.0.0.1 (gpt-realtime) opened"
    assert closed.startswith(
        f"session {session.id} with 127.0.0.1 (gpt-realtime) closed by the client: code 1000, "
    )
    assert closed.endswith("2 events in, 1 out")


@pytest.mark.parametrize("log_payloads", [False, True])
def test_the_log_of_events(caplog: pytest.LogCaptureFixture, log_payloads: bool) -> None:
    """At level DEBUG each event is a line; what it says only if that is asked for."""
    with (
        caplog.at_level(logging.DEBUG, "realtime_sync"),
        LocalServer() as server,
        rt.connect(base_url=server.url, log_payloads=log_payloads) as session,
    ):
        event_id = session.update(instructions="A private matter. " * 200)
        session.run(rt.Visitor(), until=rt.events.SessionUpdated, timeout=DEADLINE)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert any(line.startswith(f"sent session.update {event_id}, ") for line in lines)
    assert any(line.startswith("received session.updated event_") for line in lines)
    assert any("private matter" in line for line in lines) == log_payloads
    assert max(map(len, lines)) < 2200
