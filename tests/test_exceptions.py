"""`exceptions`: one small tree, with messages that say what to do."""

import re

import pytest

import realtime_sync as rt
from realtime_sync.events import ErrorDetails, ErrorEvent


def last_error(**details: str) -> ErrorEvent:
    return ErrorEvent(event_id="e", error=ErrorDetails(**{"type": "t", "message": "", **details}))


def closed(
    code: int, reason: str = "", by: str = "server", last: dict[str, str] | None = None
) -> rt.ConnectionClosed:
    last_event = None if last is None else last_error(**last)
    return rt.ConnectionClosed(code, reason, clean=True, by=by, last_error=last_event)


SERVER = "session closed by the server with code"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (closed(1000), "session closed by the server with code 1000"),
        (closed(1011, "oops"), "session closed by the server with code 1011: oops"),
        (closed(1002, "bad", by="client"), "session closed by the client with code 1002: bad"),
        (closed(1006, by="network"), "the connection was lost (code 1006)"),
        (
            closed(1000, last={"message": "m"}),
            "session closed by the server with code 1000; the server's last error: m",
        ),
        (closed(1000, last={"code": "c"}), f"{SERVER} 1000; the server's last error: c"),
        (closed(1000, last={"type": "x"}), f"{SERVER} 1000; the server's last error: x"),
        (rt.ConnectionFailed("no"), "no"),
        (rt.ProtocolError(1002, "bad frame"), "bad frame"),
    ],
)
def test_text(error: rt.RealtimeError, text: str) -> None:
    """The text of an error says what happened."""
    assert str(error) == text
    assert isinstance(error, rt.RealtimeError)


def test_connection_failed_without_an_answer() -> None:
    """Without an answer there is no status, header or body."""
    failed = rt.ConnectionFailed("no")
    assert (failed.status, failed.headers, failed.body) == (None, {}, b"")


def test_a_lost_connection_says_why() -> None:
    """The text of a lost connection has the operating system's reason."""
    error = rt.ConnectionClosed(1006, "", clean=False)
    error.__cause__ = OSError("reset by peer")
    assert str(error) == "the connection was lost (code 1006): reset by peer"


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        *[(closed(code), True) for code in (1001, 1006, 1011, 1012, 1013)],
        *[(closed(code), False) for code in (1000, 1002, 1003, 1007, 1008, 1009, 4000)],
        (closed(1001, last={"code": "session_expired"}), True),
        (closed(1011, last={"code": "insufficient_quota"}), False),
        (closed(1011, last={"code": "invalid_api_key"}), False),
        (closed(1006, last={"code": "account_deactivated"}), False),
        (closed(1001, last={"code": "billing_hard_limit_reached"}), False),
        (closed(1001, last={"code": "beta_api_shape_disabled"}), False),
    ],
)
def test_retryable(error: rt.ConnectionClosed, retryable: bool) -> None:
    """Only what a new connection may mend is retryable."""
    assert error.retryable == retryable


@pytest.mark.parametrize(
    ("statuses", "retry"),
    [
        ((429,), "always"),
        ((408, 409, 500, 502, 503, 504, 529), "if_repeatable"),
        ((301, 400, 401, 403, 404, 405, 410, 422), "never"),
    ],
)
def test_retry_of_status(statuses: tuple[int, ...], retry: str) -> None:
    """A request is sent again if it was not carried out, or if it may have been and can be repeated."""
    assert {rt.exceptions.retry_of_status(status) for status in statuses} == {retry}


def test_the_tree_is_drawn() -> None:
    """The module's docstring names every error, each indented below its base."""
    lines = re.findall(r"^( *)\* `(\w+)`", rt.exceptions.__doc__ or "", re.MULTILINE)
    above: dict[int, str] = {}
    parents = {}
    for indent, name in lines:
        above[len(indent)] = name
        parents[name] = above.get(len(indent) - 2, "Exception")
    kinds = [kind for kind in vars(rt.exceptions).values() if isinstance(kind, type)]
    errors = [kind for kind in kinds if issubclass(kind, rt.RealtimeError)]
    assert parents == {kind.__name__: kind.__bases__[0].__name__ for kind in errors}
