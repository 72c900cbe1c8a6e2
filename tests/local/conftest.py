"""What all tests of the local server share: TLS or not, and that nothing is left behind."""

import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from local_peer import tls_contexts
from settled import open_files, wait_for


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Every test in this file: all threads and descriptors are gone afterwards."""
    threads, fds = threading.active_count(), open_files()
    yield
    wait_for(lambda: threading.active_count() <= threads and open_files() <= fds)


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
    """Runs a test over plain TCP and over TLS: the server's context, and a client's options."""
    if request.param == "ws":
        return None, {}
    context, trusting = tls_contexts()
    return context, {"sslopt": {"context": trusting}}
