"""Which hosts a server without a key is for."""

import pytest

from realtime_sync.local.http.answers import Declined
from realtime_sync.local.http.hosts import check_hosts, host_names


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8765",
        "127.8.9.10",
        "localhost",
        "LocalHost:80",
        "app.localhost:3000",
        "[::1]:8765",
        "[::1]",
    ],
)
def test_this_machine(host: str) -> None:
    """The loopback's addresses and names may be asked for, and their pages may ask, with any port."""
    check_hosts({"host": host}, ())
    for origin in (f"http://{host}", f"https://{host}", f"tauri://{host}"):
        check_hosts({"host": "localhost", "origin": origin}, ())


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:8765",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "localhost:80@evil.example",
        "localhost, evil.example",
        "localhost evil.example",
        "localhost/evil.example",
        "localhost:80:80",
        "0.0.0.0:8765",
        "[::]:8765",
        "[::1",
        "[1:2]",
        "::1",
        "192.168.0.7",
    ],
)
def test_other_hosts(host: str) -> None:
    """Any other host is a 403, asked for or asking, also where it looks like this machine."""
    with pytest.raises(Declined) as refused:
        check_hosts({"host": host}, ())
    assert (refused.value.status, refused.value.code) == (403, "host_not_allowed")
    with pytest.raises(Declined) as refused:
        check_hosts({"host": "localhost", "origin": f"http://{host}"}, ())
    assert (refused.value.status, refused.value.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize("origin", ["", "null", "localhost", "://localhost", "http:localhost", "file://"])
def test_no_origin(origin: str) -> None:
    """A page without a host, such as a file or a sandboxed frame, is a 403."""
    with pytest.raises(Declined, match="Origin"):
        check_hosts({"host": "localhost", "origin": origin}, ())


def test_no_host() -> None:
    """A request that doesn't say for which host it is can't be told from one for another host."""
    with pytest.raises(Declined, match="Host: ''"):
        check_hosts({}, ())


def test_allowed() -> None:
    """Hosts that are allowed may be asked for and may ask, whatever their port; those below them may not."""
    allowed = host_names(["Studio.example", "fe80::1"])
    for host in ("studio.example", "STUDIO.example:80", "[FE80::1]:80"):
        check_hosts({"host": host, "origin": f"HTTPS://{host}"}, allowed)
    with pytest.raises(Declined):
        check_hosts({"host": "evil.studio.example"}, allowed)


@pytest.mark.parametrize("name", ["", "https://studio.example", "studio.example:80", "a b", "*,b", "[::1]"])
def test_what_is_no_name(name: str) -> None:
    """An entry that could never match is a `ValueError`, one string in place of several a `TypeError`."""
    with pytest.raises(ValueError, match="expected names such as"):
        host_names([name])
    with pytest.raises(TypeError, match="several strings"):
        host_names("studio.example")
