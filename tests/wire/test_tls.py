"""`tls`: which certificates are trusted and shown, and which versions are spoken."""

import ssl
import warnings
from pathlib import Path

import pytest
import trustme
from handshakes import opens
from scripted import ScriptedServer, idle
from tls_peers import in_memory, server_context

import realtime_sync as rt


def test_default_certificates(authority: trustme.CA) -> None:
    """Without a context of the user's, the system's certificates decide."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with (
        ScriptedServer(lambda caller: None, context) as server,
        pytest.raises(rt.ConnectionFailed, match="was rejected"),
    ):
        rt.connect(base_url=server.url)


# --- The details of TLS -----------------------------------------------------------------------------


def test_tls_1_1_is_refused(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that has nothing newer than TLS 1.1 is rejected by default; one of TLS 1.2 is not."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with ScriptedServer(idle, server_context(authority, ssl.TLSVersion.TLSv1_2)) as server:
        rt.connect(base_url=server.url, wait=False).close()
    old = server_context(authority, ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    skip_unless_it_works(old, authority)
    with ScriptedServer(idle, old) as server, pytest.raises(rt.ConnectionFailed) as caught:
        rt.connect(base_url=server.url)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert "PROTOCOL" in caught.value.__cause__.reason


def skip_unless_it_works(server: ssl.SSLContext, authority: trustme.CA) -> None:
    """Skip the test if this OpenSSL does not do TLS 1.1, even with a client that would take it."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    try:
        here, _ = in_memory(server, client)
    except ssl.SSLError as reason:
        pytest.skip(f"this OpenSSL has no TLS 1.1: {reason}")
    assert here.version() == "TLSv1.1"


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
    """A file that is not there, and two answers to one question, are rejected at once."""
    with pytest.raises(FileNotFoundError):
        rt.Client(ca_file=tmp_path / "none.pem")
    with pytest.raises(ValueError, match="not both"):
        rt.Client(ca_file=tmp_path / "ca.pem", ssl_context=client_tls)


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
