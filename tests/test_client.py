"""`Client` and `connect`: where and who, and what is refused before anything is sent."""

import inspect
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import Open
from scripted import Caller, Script, ScriptedServer, idle

import realtime_sync as rt


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
    assert request.startswith("GET /v1/realtime?a=b%20c%26d&model=gpt-realtime-2.1 HTTP/1.1\r\n")
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
        client = rt.Client(base_url=server.url, headers={"X-A": "1", "X-B": "1"}, query={"q": "1"})
        client.connect("m", headers={"x-a": "2"}, query={"q": "2"}).close()
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
    assert rt.Client(api_key="sk-1", base_url=base_url)._url.startswith(start)


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


def test_connect_takes_all_settings() -> None:
    """`connect` has the arguments of `Client` and of `Client.connect`, with the same defaults."""
    own = inspect.signature(rt.connect).parameters
    for method in (rt.Client, rt.Client.connect):
        for name, parameter in inspect.signature(method).parameters.items():
            if name != "self":
                assert own[name].default == parameter.default
                assert own[name].annotation == parameter.annotation


def test_own_context(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> None:
    """An `ssl.SSLContext` of the user's is used for `wss`."""

    with ScriptedServer(idle, server_tls) as server:
        rt.Client(base_url=server.url, ssl_context=client_tls).connect().close()


def test_a_file_of_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    """``ca_file`` is trusted in place of the system's certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(idle, context) as server:
        rt.connect(base_url=server.url, ca_file=tmp_path / "ca.pem").close()


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
