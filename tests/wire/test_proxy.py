"""`proxy`: which proxy leads to a server, and what its URL may be."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted import DEADLINE
from secrets_watch import PROXY_LOGIN as LOGIN
from silence import check_silent_about_secrets

import realtime_sync as rt
from realtime_sync.wire.dial import dial
from realtime_sync.wire.proxy import check_proxy, find_proxy, is_loopback


def soon(seconds: float = DEADLINE) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("::2", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    """Only addresses of this machine are loopback ones, and no name server is asked."""
    assert is_loopback(host) is expected


# --- Which proxy ------------------------------------------------------------------------------------


HTTPS = {"https_proxy": "http://p:1"}


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "wss://a.com:443", None),
        ({"https_proxy": "http://p:1"}, "wss://a.com:443", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "wss://a.com:443", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "wss://a.com:443", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "ws://a.com:80", None),
        ({"http_proxy": "http://p:1"}, "ws://a.com:80", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "ws://a.com:80", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "wss://a.com:443", None),
        ({"all_proxy": "http://p:1"}, "wss://a.com:443", "http://p:1"),
        ({"ALL_PROXY": "socks5h://p:1"}, "ws://a.com:80", "socks5h://p:1"),
        ({"all_proxy": "http://p:1", "https_proxy": "http://q:2"}, "wss://a.com:443", "http://q:2"),
        ({"all_proxy": "http://p:1", "https_proxy": "http://q:2"}, "ws://a.com:80", "http://p:1"),
        ({"https_proxy": ""}, "wss://a.com:443", None),
        ({"https_proxy": "", "HTTPS_PROXY": "http://p:1"}, "wss://a.com:443", None),
        ({"https_proxy": "p:1"}, "wss://a.com:443", "http://p:1"),
        ({"https_proxy": "u:w@p:1"}, "wss://a.com:443", "http://u:w@p:1"),
        ({"https_proxy": "p"}, "wss://a.com:443", "http://p"),
        ({"ftp_proxy": "http://p:1"}, "wss://a.com:443", None),
        # A web server hands a script its visitor's "Proxy" header as HTTP_PROXY.
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "ws://a.com:80", None),
        ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "ws://a.com:80", "http://p:1"),
        # no_proxy
        ({**HTTPS, "no_proxy": "*"}, "wss://a.com:443", None),
        ({**HTTPS, "NO_PROXY": "*"}, "wss://a.com:443", None),
        ({"all_proxy": "http://p:1", "no_proxy": "a.com"}, "wss://a.com:443", None),
        ({**HTTPS, "no_proxy": ""}, "wss://a.com:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "example.com"}, "wss://example.com:443", None),
        ({**HTTPS, "no_proxy": "Example.COM"}, "wss://example.com:443", None),
        ({**HTTPS, "no_proxy": "example.com"}, "wss://api.example.com:443", None),
        ({**HTTPS, "no_proxy": "example.com"}, "wss://evilexample.com:443", "http://p:1"),
        ({**HTTPS, "no_proxy": ".example.com"}, "wss://api.example.com:443", None),
        ({**HTTPS, "no_proxy": ".example.com"}, "wss://example.com:443", None),
        ({**HTTPS, "no_proxy": ".example.com"}, "wss://evilexample.com:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "example.com"}, "wss://example.com.evil.org:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "b.com , example.com"}, "wss://example.com:443", None),
        ({**HTTPS, "no_proxy": "b.com,,"}, "wss://example.com:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "example.com:8443"}, "wss://example.com:8443", None),
        ({**HTTPS, "no_proxy": "example.com:8443"}, "wss://example.com:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "10.0.0.1"}, "wss://10.0.0.1:443", None),
        ({**HTTPS, "no_proxy": "10.0.0.1"}, "wss://110.0.0.1:443", "http://p:1"),
        ({**HTTPS, "no_proxy": "2001:db8::1"}, "wss://[2001:db8::1]:443", None),
        ({**HTTPS, "no_proxy": "[2001:db8::1]"}, "wss://[2001:db8::1]:443", None),
        ({**HTTPS, "no_proxy": "2001:db8::1"}, "wss://[2001:db8::2]:443", "http://p:1"),
        # this machine
        (HTTPS, "wss://localhost:443", None),
        (HTTPS, "wss://127.0.0.1:443", None),
        (HTTPS, "wss://127.1.2.3:443", None),
        (HTTPS, "wss://[::1]:443", None),
        (HTTPS, "wss://localhost.example.com:443", "http://p:1"),
        ({"https_proxy": "nonsense://p:1"}, "wss://localhost:443", None),
        ({**HTTPS, "all_proxy": "nonsense://p:1"}, "wss://a.com:443", "http://p:1"),
    ],
)
def test_the_environment(
    variables: dict[str, str], url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is read as by other programs; this machine is never behind a proxy."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    scheme, _, place = url.partition("://")
    host, _, port = place.rpartition(":")
    assert find_proxy(scheme == "wss", host.strip("[]"), int(port), "env") == expected


def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that was given, or none, wins over the environment; also for this machine."""
    monkeypatch.setenv("https_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", "*")
    assert find_proxy(True, "a.com", 443, None) is None
    assert find_proxy(True, "a.com", 443, "http://q:2") == "http://q:2"
    assert find_proxy(True, "localhost", 443, "http://q:2") == "http://q:2"


def test_import_only_if_needed() -> None:
    """Without a proxy in the environment, what reads it is not imported: that takes long."""
    code = (
        "import sys; from realtime_sync.wire.proxy import *; check_proxy('env'); check_proxy('http://p:1');"
        "assert find_proxy(True, 'a.com', 443, 'env') is None; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(rt.__file__).parent.parent,
        env={**os.environ, "no_proxy": "b.com"},
    ).stdout.split()
    assert "urllib.request" not in loaded


BAD = {
    "": "must begin with one of http, socks4",
    "p": "must begin with one of",
    "p:3128": "must begin with one of",
    f"{LOGIN}@p:3128": "must begin with one of",
    f"ftp://{LOGIN}@p:1": "must begin with one of",
    f"socks://{LOGIN}@p:1": "must begin with one of",
    f"https://{LOGIN}@p:1": r"TLS to the proxy \(https://\) is not supported",
    "http://": "must be like http://user:password@host:port",
    "http://:3128": "must be like",
    f"http://{LOGIN}@": "must be like",
    f"http://{LOGIN}@:1": "must be like",
    f"socks5://{LOGIN}@p:x": "must be like socks5://user:password@host:port",
    f"http://{LOGIN}@p:70000": "must be like",
    f"http://{LOGIN}@p:0": "must be like",
    f"http://{LOGIN}@[p:1": "must be like",
    f"http://{LOGIN}@p\u2100:1": "must be like",
    "http://ann:s3cret/x@p:1": "must be like",
    "http://ann:12/s3cret@p:1": "must be like",
    "http://ann:12?s3cret@p:1": "must be like",
    "http://ann:12#s3cret@p:1": "must be like",
    f"http://{LOGIN}@p:1/path": "must be like",
    f"http://{LOGIN}@p:1\r\nX: y": "line break",
    f"http://{LOGIN}\n@p:1": "line break",
    f"http://{LOGIN}@p :1": "a blank",
    f"http://{LOGIN}@p:1\x00": "control character",
    f"socks5://ann:s3cret{'x' * 250}@p:1": "at most 255 ASCII characters",
    "socks5://ann:s3cret%C3%A9@p:1": "at most 255 ASCII characters",
}


@pytest.mark.parametrize("url", BAD, ids=repr)
def test_bad_settings(url: str) -> None:
    """A URL that can't be a proxy's is rejected before anything is sent, and not repeated."""
    with pytest.raises(ValueError, match=f"^proxy: .*{BAD[url]}") as caught:
        check_proxy(url)
    check_silent_about_secrets(caught.value)
    with pytest.raises(ValueError, match=BAD[url]):
        dial("server.example", 443, secure=True, deadline=soon(), proxy=url)


@pytest.mark.parametrize(
    "setting", [None, "env", "http://p", "http://p:1/", "http://[::1]:1", "HTTP://u:w@p:1"]
)
def test_good_settings(setting: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be used is accepted; the environment is looked at later, when it is known for which server."""
    monkeypatch.setenv("https_proxy", "nonsense://p")
    check_proxy(setting)


def test_a_bad_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad URL in the environment is rejected with the name of its variable."""
    monkeypatch.setenv("ALL_PROXY", f"https://{LOGIN}@p:1")
    with pytest.raises(ValueError, match=r"^the environment's all_proxy: TLS to the proxy") as caught:
        find_proxy(True, "a.com", 443, "env")
    check_silent_about_secrets(caught.value)
