"""The line at the bottom of a talk."""

import io
import math
import os
import sys

import pytest
from command import Terminal, streams
from threads import wait_until

from realtime_sync.cli import meter
from realtime_sync.cli.meter import Meter, can_show, line


@pytest.mark.parametrize(
    ("level", "speaker", "width", "text"),
    [
        (-math.inf, "", 80, "[----------] listening"),
        (-60.0, "", 80, "[----------] listening"),
        (-30.0, "you", 80, "[#####-----] you speak"),
        (0.0, "model", 80, "[##########] model speaks"),
        (6.0, "you", 23, "[##########] you speak"),
        (-30.0, "you", 22, "you speak"),
        (-30.0, "you", 10, "you speak"),
        (-30.0, "you", 9, ""),
    ],
)
def test_line(level: float, speaker: str, width: int, text: str) -> None:
    """It says how loud it is and who speaks, and leaves out what a narrow terminal has no room for."""
    assert line(level, speaker, width, colour=False) == text


def test_colours() -> None:
    """Who speaks has a colour, and nothing is coloured where nothing is shown."""
    assert line(0.0, "you", 80, colour=True) == "\x1b[32m[##########] you speak\x1b[0m"
    assert line(0.0, "", 80, colour=True) == "[##########] listening"
    assert line(0.0, "you", 4, colour=True) == ""


@pytest.mark.parametrize("colour", [True, False])
def test_drawn_below(colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn below the cursor when it changes, and erased before anything else is written."""
    monkeypatch.setattr(meter, "_PERIOD", 0.001)
    monkeypatch.setenv("NO_COLOR", "" if colour else "1")
    monkeypatch.setenv("COLUMNS", "80")
    binary, speaks = io.BytesIO(), ["you"]
    with streams(stderr=Terminal(binary, encoding="utf-8")):
        shown = Meter(lambda: -30.0, lambda: speaks[0], shown=True)
        with shown:
            wait_until(lambda: binary.getvalue().endswith(b"\x1b8"))
            with shown.hidden():
                sys.stderr.write("said\n")
                speaks[0] = ""
            wait_until(lambda: b"listening" in binary.getvalue())
        sys.stderr.flush()
        text = binary.getvalue().decode()
    below, back = "\x1bD\x1b[A\x1b7\x1b[J\x1b[B\r", "\x1b8"
    you = "\x1b[32m[#####-----] you speak\x1b[0m" if colour else "[#####-----] you speak"
    quiet = "[#####-----] listening"
    assert text == f"{below}{you}{back}\x1b[Jsaid\n{below}{quiet}{back}\x1b[J"


def test_not_shown() -> None:
    """Where it is not to be shown, nothing is written at all."""
    binary = io.BytesIO()
    with streams(stderr=Terminal(binary, encoding="utf-8")):
        hidden = Meter(lambda: 0.0, lambda: "you", shown=False)
        with hidden, hidden.hidden():
            pass
        sys.stderr.flush()
        assert binary.getvalue() == b""


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal that takes escape sequences")
@pytest.mark.parametrize(
    ("terminals", "term", "shows"),
    [
        ("stdout stderr", "xterm", True),
        ("stderr", "xterm", False),
        ("stdout", "xterm", False),
        ("stdout stderr", "dumb", False),
        ("stdout stderr", None, False),
    ],
)
def test_where(terminals: str, term: str | None, shows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown where everything goes to a terminal that can move its cursor, and never into a pipe."""
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    kinds = {name: Terminal if name in terminals else io.TextIOWrapper for name in ("stdout", "stderr")}
    with streams(**{name: kind(io.BytesIO(), encoding="utf-8") for name, kind in kinds.items()}):
        assert can_show() == shows
