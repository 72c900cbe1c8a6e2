"""What commands say to people."""

import io

import pytest
from command import Terminal, streams

from realtime_sync import events as ev
from realtime_sync.cli.screen import complain, delta, hint, problem_of, sentence


def test_complaints_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A problem is one line on stderr, whatever is in it."""
    complain(ValueError("no\nsuch\x1b[2J\tmodel"))
    assert capsys.readouterr() == ("", "realtime-sync: no\\nsuch\\x1b[2J\\tmodel\n")
    complain("x" * 5000)
    assert len(capsys.readouterr().err) < 2100


def test_control_characters() -> None:
    """What is said has no line breaks and no control characters, whether it comes in deltas or as a whole."""
    assert delta("\ta\x07\nb\x9bc\u202e ") == " a\\x07 b\\x9bc\\u202e "
    assert sentence(" a\x07\n\tb ") == "a\\x07 b"


@pytest.mark.parametrize(
    ("terminals", "shown"),
    [("stdout stderr", ("Hi.\n", "")), ("stderr", ("", "Hi.\n")), ("", ("", ""))],
)
def test_hints_are_for_terminals(terminals: str, shown: tuple[str, str]) -> None:
    """A remark goes to a terminal, and into no file and no pipe."""
    written = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
    kinds = {name: Terminal if name in terminals else io.TextIOWrapper for name in written}
    texts = {name: kinds[name](binary, encoding="utf-8") for name, binary in written.items()}
    with streams(**texts):
        hint("Hi.")
    assert tuple(binary.getvalue().decode() for binary in written.values()) == shown


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (ev.Response(status="completed"), None),
        (ev.Response(), None),
        (ev.Response(status="cancelled"), "the response is cancelled"),
        (ev.ErrorDetails(type="", message="no such model", code="x"), "no such model"),
        (ev.ErrorDetails(type="server_error", message=""), "server_error"),
        (ev.ErrorDetails(type="", message="no\r\x1b[K" + "x" * 2000), f"no\\r\\x1b[K{'x' * 1481}... [cut]"),
        (ev.Response(status="\x1b"), "the response is \\x1b"),
        (ev.ErrorDetails(type="", message=""), "an error that the server does not describe"),
    ],
)
def test_problems(ended: ev.Response | ev.ErrorDetails, problem: str | None) -> None:
    """A problem is described by the most helpful text that the server gave; a completed response is none."""
    assert problem_of(ended) == problem
