"""What all tests of the local server share: TLS or not, and that nothing is left behind."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from leftovers import nothing_left
from local_peer import tls_contexts


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """Every test in this file: all threads and descriptors are gone afterwards."""
    with nothing_left():
        yield


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
    """Runs a test over plain TCP and over TLS: the server's context, and a client's options."""
    if request.param == "ws":
        return None, {}
    context, trusting = tls_contexts()
    return context, {"sslopt": {"context": trusting}}
