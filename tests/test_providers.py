"""`providers`: a row for each, in which `connect` finds all it needs."""

from urllib.parse import urlsplit

import pytest
from handshakes import headers_of, keep_request
from scripted import ScriptedServer
from secrets_watch import API_KEY

import realtime_sync as rt
from realtime_sync import providers
from realtime_sync.providers import COMPATIBLE, KEY_HEADERS, OPENAI, Provider, provider_at

ROWS = [row for row in vars(providers).values() if isinstance(row, Provider)]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.name))


@each_row
def test_a_row_says_where_its_server_is(row: Provider) -> None:
    """Each provider has an address, or a variable of the environment that holds the user's own."""
    assert row.url or row.url_variable
    if row.url:
        assert urlsplit(row.url).scheme in ("http", "https")
        assert not row.url.endswith("/")


@each_row
def test_a_row_is_spoken_to_in_a_known_way(row: Provider) -> None:
    """Dialect and paths are such as `Client` can use."""
    assert row.dialect in ("ga", "beta")
    assert all(path == "" or (path[0] == "/" and path[-1] != "/") for path in (row.path, row.http_prefix))


@each_row
def test_a_key_that_is_required_can_be_given(row: Provider) -> None:
    """The error for a missing key has a variable to name."""
    assert row.key_variable or not row.requires_key


@each_row
def test_a_row_is_known_by_its_own_hosts(row: Provider) -> None:
    """Whoever passes the address of a provider gets its row, whatever the letter case and the port."""
    for host in row.hosts:
        for url in (f"https://{host}/v1", f"wss://EU.{host.upper()}:8443/v1"):
            assert provider_at(url) is row


def test_no_host_has_two_rows() -> None:
    """The order of the rows does not matter."""
    hosts = [host for row in ROWS for host in row.hosts]
    assert len(set(hosts)) == len(hosts)


@pytest.mark.parametrize(
    "url",
    [
        "https://openai.com/v1",
        "https://myapi.openai.com/v1",
        "https://api.openai.com.example.org/v1",
        "https://example.org/api.openai.com/v1",
        "https://api.openai.com@example.org/v1",
        "http://127.0.0.1:8765/v1",
        "",
    ],
)
def test_other_hosts_are_compatible_servers(url: str) -> None:
    """What only looks like a provider's host is not taken for it."""
    assert provider_at(url) is COMPATIBLE


def test_openai_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address OpenAI is meant, which refuses to connect without a key."""
    assert OPENAI.requires_key
    assert OPENAI.url in repr(rt.Client(api_key=API_KEY))


@each_row
def test_headers_that_carry_a_key(row: Provider) -> None:
    """`KEY_HEADERS` has every row's header: an ephemeral secret takes the place of any such key."""
    assert row.key_header.lower() in KEY_HEADERS
    requests: list[str] = []
    with ScriptedServer(keep_request(requests)) as server:
        client = rt.Client(
            base_url=server.url, api_key="", provider=row, default_headers={row.key_header: API_KEY}
        )
        client.connect("m", client_secret="ek_own", wait=False).close()
    headers = headers_of(requests[0])
    assert headers["authorization"] == "Bearer ek_own"
    assert API_KEY not in headers.values()
