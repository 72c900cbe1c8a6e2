"""Ctrl-C in a talk, which waits for the end of the event that it falls into."""

import io
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from scripted import DEADLINE
from tones import tone
from transcripts import Says

import realtime_sync as rt
from realtime_sync.cli.main import main
from realtime_sync.cli.whole_events import WholeEvents
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.testing import RealtimeServer


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_the_middle_of_a_word(
    presses: int, question: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is being shown is shown once; only a second Ctrl-C doesn't wait for that."""
    shown: list[str] = []
    left = [signal.SIGINT] * presses

    class Stdout(io.StringIO):
        def write(self, text: str) -> int:
            shown.append(text)
            while text == " long" and left:
                signal.raise_signal(left.pop())
            return len(text)

    responder = ScriptedResponder([Say("A long story", audio=tone(1000, -30) * 60)])
    with RealtimeServer(responder=responder, transcriber=Says("Hi.")) as server:
        monkeypatch.setattr(sys, "stdout", Stdout())
        arguments = ["--pace", "fast", "--input", question, "--output", output]
        assert main(["talk", "--base-url", server.url, *arguments]) == 130
    assert re.fullmatch(rf"you: Hi.\nmodel: A( long){{{presses}}} — \[stopped .*\]\n", "".join(shown))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_ctrl_c_of_the_program(handler: Any, question: str, output: str) -> None:
    """A program that sees to Ctrl-C by itself still does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with RealtimeServer(responder=ScriptedResponder(["Fine."]), transcriber=Says("Hi.")) as server:
            arguments = ["--input", question, "--output", output]
            assert main(["talk", "--base-url", server.url, "--pace", "fast", *arguments]) == 0
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


class Slow(rt.Visitor[None]):
    """Is interrupted, and then does what the test wants."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def unknown(self, event: rt.UnknownEvent) -> None:
        signal.raise_signal(signal.SIGINT)
        self._then()


EVENT = rt.decode(b'{"type":"new"}')


def test_ctrl_c_in_an_event_that_does_not_end() -> None:
    """Where showing an event is stuck, such as by a full pipe, Ctrl-C need not be pressed twice."""
    whole = WholeEvents(Slow(threading.Event().wait))
    with pytest.raises(KeyboardInterrupt), whole.ctrl_c():
        whole.visit(EVENT)


def test_ctrl_c_comes_once() -> None:
    """An event that ends just in time is whole, and nothing is interrupted a second time."""
    timers: list[threading.Thread] = []

    def keep() -> None:
        timers.extend(thread for thread in threading.enumerate() if isinstance(thread, threading.Timer))

    whole = WholeEvents(Slow(keep))
    with whole.ctrl_c():
        with pytest.raises(KeyboardInterrupt):
            whole.visit(EVENT)
        for timer in timers:
            timer.join(DEADLINE)
            assert not timer.is_alive()
