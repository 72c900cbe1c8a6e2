"""Fixtures for all tests: a certificate authority, sessions that are closed, and a clean environment."""

import gc
import importlib
import os
import pkgutil
import signal
import ssl
from collections.abc import Generator, Iterator
from typing import Any

import coverage
import hypothesis
import pytest
import trustme
from response_script import ResponseScript
from scripted import Open, ScriptedServer
from secrets_watch import complain_of_leaks, watch
from situations import Met
from talkers import Talkers

import realtime_sync as rt

# The same examples in every run: a change is judged by itself, not by luck.  The slow tests look further.
hypothesis.settings.register_profile("suite", derandomize=True, database=None, max_examples=50, deadline=None)
hypothesis.settings.load_profile("suite")

watch.install()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Measure nothing while tests are collected, nor where xdist only hands them out: it costs much time."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        return (yield)
    for module in pkgutil.walk_packages(rt.__path__, "realtime_sync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # what collecting would import is measured
    measuring.stop()
    collected = yield
    if not session.config.pluginmanager.hasplugin("dsession"):
        measuring.start()
    return collected


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Tests and the programs they start can be interrupted, also if a shell runs us in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _programs_start_quickly() -> Iterator[None]:
    """The programs that tests start, some hundred, are not measured, and compile the package only once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "PYTHONDONTWRITEBYTECODE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_secret_was_shown() -> Iterator[None]:
    """Look, at the end of the run, also at the errors that are still there."""
    yield
    gc.collect()
    watch.look_at_living_errors()
    complain_of_leaks()


@pytest.fixture(autouse=True)
def _no_secret_is_shown() -> Iterator[None]:
    """Fail soon when a secret was shown.  The text says by which test, which may be an earlier one."""
    yield
    complain_of_leaks()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape in what was captured what is no Unicode: workers of xdist send reports as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have keys, addresses and proxies of their own in the environment."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "REALTIME_SYNC_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["ws", "wss"])
def server_tls(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext | None:
    """Runs a test twice: over plain TCP and over TLS."""
    if request.param == "ws":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities: they take 0.2 s
    authority.configure_trust(context)
    return context


@pytest.fixture
def open_session(client_tls: ssl.SSLContext) -> Iterator[Open]:
    """Opens sessions to a scripted server, and closes them after the test."""
    sessions: list[rt.Session] = []

    def open_session(server: ScriptedServer, **options: Any) -> rt.Session:
        options.setdefault("wait", False)  # scripted servers say nothing by themselves
        session = rt.connect(base_url=server.url, ssl_context=client_tls, **options)
        sessions.append(session)
        return session

    yield open_session
    for session in sessions:
        session.close()


@pytest.fixture
def met(open_session: Open) -> Iterator[Met]:
    """A session with a peer that says what the test tells it to."""
    script = ResponseScript()
    with ScriptedServer(script) as server:
        session = open_session(server)
        yield Met(script, session)
        session.close()


@pytest.fixture
def talk() -> Iterator[Talkers]:
    """Opens sessions with local servers that answer as a test says."""
    talkers = Talkers()
    yield talkers
    talkers.end()
