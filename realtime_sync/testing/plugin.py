"""The pytest plugin of realtime_sync: the fixtures ``realtime_server`` and ``realtime_session``.

pytest imports it at every start, whatever is tested, so nothing else of realtime_sync is loaded before a
test asks for a fixture.
"""

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..session import Session
    from .server import RealtimeServer

_MARKER = (
    "realtime_server(responder=..., delay=..., api_key=..., faults=[...], ...): "
    "options of the fixture realtime_server; see realtime_sync.testing.RealtimeServer"
)
_SERVER: "pytest.StashKey[RealtimeServer]" = pytest.StashKey()
_PASSED: "pytest.StashKey[bool]" = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def realtime_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[RealtimeServer]":
    """A local Realtime server, fresh for this test; a realtime_sync.testing.RealtimeServer.

    OPENAI_BASE_URL and OPENAI_API_KEY name it, so that a program that connects with realtime_sync or
    OpenAI's client reaches it as it is. A passing test fails at its end if the client has not done all
    that the server expects. Options: @pytest.mark.realtime_server(delay=0.01, ...).
    """
    server = _server(request.node)
    request.node.stash[_SERVER] = server
    server.start()
    try:
        _point_at(server, monkeypatch)
        yield server
    finally:
        server.stop()
    if request.node.stash.get(_PASSED, False):  # a failed test has the summary in its report
        _check(server)


@pytest.fixture
def realtime_session(realtime_server: "RealtimeServer") -> "Iterator[Session]":
    """A realtime_sync.Session with `realtime_server`, closed after the test."""
    from ..client import connect

    with connect("gpt-realtime") as session:
        yield session


def _server(item: pytest.Item) -> "RealtimeServer":
    """Make the server that the test's markers describe, or fail the test without a traceback."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("realtime_server"))):  # the test's own comes last
        if marker.args:
            pytest.fail("@pytest.mark.realtime_server takes keyword arguments only", pytrace=False)
        options.update(marker.kwargs)
    try:
        from .server import RealtimeServer

        return RealtimeServer(**options)
    except ImportError as error:  # it names the extra
        problem = str(error)
    except (TypeError, ValueError) as error:  # a misspelt option, or a value that makes no sense
        problem = f"@pytest.mark.realtime_server: {error}"
    pytest.fail(problem, pytrace=False)


def _check(server: "RealtimeServer") -> None:
    """Fail with the server's message, without a traceback of our own code."""
    problem = ""
    try:
        server.check()
    except AssertionError as error:
        problem = str(error)
    if problem:
        pytest.fail(problem, pytrace=False)


def _point_at(server: "RealtimeServer", monkeypatch: pytest.MonkeyPatch) -> None:
    """Point programs that read their server from the environment to this one."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.http_url)
    monkeypatch.setenv("OPENAI_API_KEY", server.api_key or "test-key")
    for name in ("NO_PROXY", "no_proxy"):  # some clients use a proxy even for this machine
        monkeypatch.setenv(name, "127.0.0.1", prepend=",")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test passed; show what the server received if it failed."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    if report.failed and report.when != "teardown" and _SERVER in item.stash:
        report.sections.append(("realtime_server", item.stash[_SERVER].summary()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain why two events are not equal, without printing their audio."""
    if op != "==" or "realtime_sync.events" not in sys.modules:  # then these are no events
        return None
    from .readable import compared

    return compared(left, right)
