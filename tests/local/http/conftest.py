"""An API without sockets, and a server."""

from collections.abc import Iterator

import pytest
from api_calls import KEY

from realtime_sync.local import LocalServer
from realtime_sync.local.http.api import Api


@pytest.fixture
def api() -> Api:
    return Api(KEY)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(api_key=KEY) as server:
        yield server
