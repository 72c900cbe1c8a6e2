"""`endpoint`: addresses, headers and keys, and what is rejected before anything is sent."""

import pytest
from handshakes import asked, headers_of, keep_request, request_of
from scripted import Open, ScriptedServer

import realtime_sync as rt
from realtime_sync.local import LocalServer


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


def test_plain_connections_with_a_key() -> None:
    """A key is sent over plain `ws` only within this machine, unless that is asked for."""
    with pytest.raises(ValueError, match=r"API key unencrypted to example\.org"):
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


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "proxy\r\n:1", "http://"])
def test_bad_proxies(proxy: str) -> None:
    """A proxy that can't work is a `ValueError`, before anything is sent."""
    with pytest.raises(ValueError, match="proxy"):
        rt.Client(proxy=proxy)


# --- Where people run --------------------------------------------------------------------------------


def test_an_address_with_the_path(open_session: Open) -> None:
    """An address that already names the path is understood, as documentation often has it."""
    assert request_of(open_session, path="/v1/realtime").startswith("GET /v1/realtime HTTP/1.1")


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
    with pytest.raises(ValueError, match="unencrypted"):
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
        with pytest.raises(ValueError, match="unencrypted"):
            rt.Client(base_url="ws://example.org/v1", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unencrypted"):
        rt.Client(base_url="ws://example.org/v1?key=k")
    rt.Client(base_url="ws://example.org/v1?a=b", default_headers={"X-Mine": "1"})
