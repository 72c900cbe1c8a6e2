"""Fixtures for the tests of the HTTP half."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from http_api import SHOWN_IN_LOGS, Open, Tries
from secrets_watch import API_KEY

import realtime_sync as rt
from realtime_sync.rest.resources import Rest


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log has a secret, at any level, also none of the libraries'."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not any(secret in caplog.text for secret in SHOWN_IN_LOGS)


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """OpenAI's server, with the answers that a test describes."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def tries() -> Tries:
    return Tries()


@pytest.fixture
def rest(tries: Tries) -> Rest:
    return tries.rest()


@pytest.fixture
def open_client() -> Iterator[Open]:
    """Makes clients that are closed after the test."""
    clients: list[rt.Client] = []

    def open_client(**options: Any) -> rt.Client:
        clients.append(rt.Client(**{"api_key": API_KEY, "max_retries": 0, **options}))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()
