"""Fixtures for the tests of sessions: a server whose responses go as a test tells it."""

from collections.abc import Iterator

import pytest
from response_script import ResponseScript
from scripted import Open, ScriptedServer

import realtime_sync as rt


@pytest.fixture
def script() -> ResponseScript:
    return ResponseScript()


@pytest.fixture
def session(script: ResponseScript, open_session: Open) -> Iterator[rt.Session]:
    with ScriptedServer(script) as server:
        session = open_session(server)
        yield session
        session.close()
