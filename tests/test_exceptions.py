"""`exceptions`: one small tree, with messages that say what to do."""

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import realtime_sync as rt
from realtime_sync.events import ErrorDetails, ErrorEvent
from realtime_sync.redaction import redactor


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


NASTY = "\x1b[2J\r\n\x9b\u2028\u202e\ud800 hush-hush-hush " + "x" * 200_000
SAID: list[Callable[[str], rt.RealtimeError]] = [
    rt.RealtimeError,
    rt.ConnectionFailed,
    lambda text: rt.ProtocolError(1002, text),
    lambda text: closed(1011, text),
    lambda text: closed(1011, last={"message": text}),
    lambda text: closed(1011, last={"message": "", "code": text}),
    rt.InvalidWebhookSignature,
    rt.APIError,
    lambda text: rt.ServerError(text, status=500),
    *(lambda text, name=name: rt.APIError("no", **{name: text}) for name in ("code", "param", "request_id")),
]


def travelled(error: Any) -> list[rt.RealtimeError]:
    return [error, copy.copy(error), pickle.loads(pickle.dumps(error))]


@pytest.mark.parametrize("said", SAID)
def test_what_a_server_says_is_shown_in_one_line(said: Callable[[str], rt.RealtimeError]) -> None:
    """Text and repr are one line of bounded length without control characters or secrets, also of a copy."""
    redact = redactor([("api-key", "hush-hush-hush")])
    for error in travelled(said(NASTY)):
        for text in (str(error), repr(error)):
            assert text.isprintable()
            assert len(text) <= 2000
            assert "[2J" in text
            assert "hush" not in text
    assert redact("hush-hush-hush") == "***"


def test_a_lost_connection_with_a_long_reason() -> None:
    """The text of a cause is shown in the same way."""
    error = rt.ConnectionClosed(1006, "")
    error.__cause__ = OSError(NASTY)
    assert str(error).isprintable()
    assert len(str(error)) <= 2000


def test_a_long_message_hides_no_details() -> None:
    """What follows a long message is shown all the same."""
    error = rt.APIError("x" * 5000, status=400, code="c", param="p", request_id="r", retry_after=2.0)
    assert str(error).endswith("... [cut] (code c, param p, try again in 2 s, request r)")
    assert repr(error) == f"APIError({str(error)!r})"


@pytest.mark.parametrize(
    "error",
    [
        rt.ConnectionClosed(
            1011, "r", clean=True, by="server", last_error=last_error(), unsent=[last_error()]
        ),
        rt.ConnectionFailed("m", status=403, headers={"a": "b"}, body=b"c"),
        rt.ProtocolError(1002, "m"),
        rt.NotFoundError("m", status=404, code="c", headers={"a": "b"}),
    ],
)
def test_errors_travel(error: rt.RealtimeError) -> None:
    """An error can be copied, and sent to another process, with all that it knows."""
    for other in travelled(error):
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))


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
