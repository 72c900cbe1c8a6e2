"""Why an endpoint gave no answer, in words."""

import json

import pytest

from realtime_sync.exceptions import ConnectionFailed
from realtime_sync.local.chat.failures import Failures

URL = "http://127.0.0.1:11434/v1/chat/completions?api-key=topsecret&v=2"
FAILURES = Failures(URL, "a-model", 5.0, lambda text: text.replace("hunter2", "***"))
HTML = b"<html><head><style>b {}</style></head><body><h1>502</h1>Bad&nbsp;Gateway</body></html>"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "rejected the request (HTTP 400): No."),
        (401, "rejected the API key, or needs one (HTTP 401): No."),
        (403, "does not allow this, with this API key (HTTP 403): No."),
        (404, "has no model 'a-model', or base_url is not the beginning of its address"),
        (405, "is base_url the beginning of its address"),
        (429, "asks to slow down, or has a quota that is used up (HTTP 429): No."),
        (500, "failed (HTTP 500): No."),
        (302, "redirects to other.example (HTTP 302), which is not followed"),
    ],
)
def test_rejections(status: int, says: str) -> None:
    """An answer other than a success says what to do, and the endpoint's own reason; the URL has no key."""
    error = FAILURES.rejected(
        status, "https://other.example/x", json.dumps({"error": {"message": "No."}}).encode()
    )
    assert says in str(error)
    assert str(error).startswith("http://127.0.0.1:11434/v1/chat/completions?api-key=***&v=2 ")


@pytest.mark.parametrize("location", ["", "/elsewhere", "http://[", "//"])
def test_redirects_to_nowhere(location: str) -> None:
    """A redirect without a host is told all the same."""
    assert "redirects to an" in str(FAILURES.rejected(301, location, b""))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"detail": "No."}', "No."),
        (b"No.\n\nReally.", "No. Really."),
        (HTML, "502 Bad Gateway"),
        (b"", "no explanation"),
        (b"[" * 100_000, "[" * 200),
        (b'{"error": "\\u001b[31m hunter2"}', "\\x1b[31m ***"),
        (b"\x1b\xff", "\\x1b\ufffd"),
    ],
)
def test_explanations(body: bytes, says: str) -> None:
    """An endpoint's reason is one line without secrets and control characters, also if it is HTML."""
    said = FAILURES.explanation(body)
    assert said.startswith(says)
    assert len(said) <= 300


def test_lost_connections() -> None:
    """A lost connection says when it was lost, and a server that is not there what may be wrong."""
    refused = FAILURES.lost(ConnectionFailed("could not connect to 127.0.0.1:1: refused"), False)
    assert "could not connect to 127.0.0.1:1: refused; is the model's server running" in str(refused)
    assert "running" not in str(FAILURES.lost(OSError("bad certificate"), False))
    assert "gave no answer: OSError" in str(FAILURES.lost(OSError(), False))
    assert "sent nothing within 5 s (timeout=)" in str(FAILURES.lost(TimeoutError(), False))
    assert "sent nothing more within 5 s (timeout=)" in str(FAILURES.lost(TimeoutError(), True))
    assert "ended in the midst of its answer: reset" in str(FAILURES.lost(ConnectionError("reset"), True))


def test_answers_that_are_none() -> None:
    """What came in place of an answer is quoted, cut."""
    assert "expected an event stream or JSON, got 502 Bad Gateway" in str(FAILURES.unexpected(HTML))
    assert str(FAILURES.unexpected(b"")).endswith("got nothing")
    assert str(FAILURES.unreadable("x" * 1000)).endswith("... [cut]")
    assert "more than 7 bytes" in str(FAILURES.endless(7))
    assert "reports an error: ***" in str(FAILURES.reported("hunter2"))


def test_undeclared() -> None:
    """A call of an unknown function names it, and those that are known."""
    assert str(FAILURES.undeclared("fly", ["get_weather", "walk"])) == (
        "the model a-model called the function 'fly', which is not declared; declared: get_weather, walk"
    )
    assert str(FAILURES.undeclared("fly", [])).endswith("declared: none")
