"""TLS servers for tests: of one version, and without a network."""

import contextlib
import ssl
import warnings

import trustme


def in_memory(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a TLS connection without a network."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    here = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (there, here, there, here):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return here, there


def server_context(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    """TLS for a server that speaks this version and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions
        context.maximum_version = context.minimum_version = version
    authority.issue_cert("localhost").configure_cert(context)
    return context
