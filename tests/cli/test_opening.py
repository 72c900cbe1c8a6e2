"""Where the sessions of a command come from."""

import argparse
import ssl
from pathlib import Path

import pytest
import trustme

from realtime_sync.cli import opening
from realtime_sync.exceptions import ConnectionFailed
from realtime_sync.testing import RealtimeServer


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    opening.add_arguments(parser)
    return parser.parse_args(arguments)


def test_a_server_of_our_own() -> None:
    """`--local` is a server that lives as long as it is used, whatever the environment names."""
    with opening.opener(options("--local")) as open_session, open_session("a-model") as session:
        assert session.config
        assert session.config.model == "a-model"
    with pytest.raises(ConnectionFailed):
        open_session("a-model")


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is that of `--base-url`, else of the environment; the key is the environment's."""
    with RealtimeServer(api_key="sk-right") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with opening.opener(options()) as open_session, open_session("a-model") as session:
            assert session.id
        monkeypatch.setenv("OPENAI_BASE_URL", "ws://127.0.0.1:1/v1")
        with opening.opener(options("--base-url", server.url)) as open_session:
            open_session("a-model").close()


@pytest.mark.parametrize("key", [None, ""])
def test_a_missing_key(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key for OpenAI's server, the way without one is named as the command line spells it."""
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as error, opening.opener(options()):
        pass
    assert "add --local" in str(error.value)
    assert "api_key=" not in str(error.value)
    assert "Client" not in str(error.value)


def test_other_servers_need_no_key() -> None:
    """A server that isn't OpenAI's is tried without a key."""
    with (
        opening.opener(options("--base-url", "ws://127.0.0.1:1/v1")) as open_session,
        pytest.raises(ConnectionFailed),
    ):
        open_session("a-model")


def test_a_server_with_a_certificate_of_its_own(
    authority: trustme.CA, server_tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    """`--ca-file` says whom to trust, in place of the system's authorities."""
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with RealtimeServer(ssl_context=server_tls) as server:
        given = options("--base-url", server.http_url, "--ca-file", str(trusted))
        with opening.opener(given) as open_session, open_session("a-model") as session:
            assert session.id
        if server_tls:
            with (
                opening.opener(options("--base-url", server.http_url)) as open_session,
                pytest.raises(ConnectionFailed, match="certificate"),
            ):
                open_session("a-model")


def test_another_machine_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes to another machine without TLS if `--allow-insecure` says so, which the refusal names."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    url = ["--base-url", "ws://machine.invalid/v1"]
    with (
        opening.opener(options(*url)) as open_session,
        pytest.raises(ValueError, match=r"unencrypted to machine\.invalid: .*, or add --allow-insecure$"),
    ):
        open_session("a-model")
    with (
        opening.opener(options(*url, "--allow-insecure")) as open_session,
        pytest.raises(ConnectionFailed),
    ):
        open_session("a-model")
