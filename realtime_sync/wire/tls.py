"""TLS settings: what a connection trusts and shows, for the WebSocket and for HTTP alike."""

import functools
import os
import ssl

__all__ = ["default_context", "tls_context"]


def default_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates or a file's, and speaks TLS 1.2 or newer.

    Raises:
        OSError: The file can't be read, or holds no certificates.
    """
    return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _context(ca_file: str | None, *system: str | None) -> ssl.SSLContext:
    """Make a context once for each source of certificates: reading the system's takes long."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_context(
    ssl_context: ssl.SSLContext | None,
    ca_file: str | os.PathLike[str] | None,
    client_cert: str | tuple[str, str] | None,
) -> ssl.SSLContext | None:
    """Return the context that the settings of a client ask for; ``None`` = the default.

    Raises:
        ValueError: The settings contradict each other.
        OSError: A file can't be read, or doesn't hold what it should.
    """
    if ssl_context is not None:
        if ca_file is not None or client_cert is not None:
            raise ValueError("give ssl_context, or ca_file and client_cert, not both")
        return ssl_context
    if client_cert is None:
        return None if ca_file is None else default_context(os.fspath(ca_file))
    context = ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = (client_cert, None) if isinstance(client_cert, str) else client_cert
    context.load_cert_chain(certificate, key)
    return context
