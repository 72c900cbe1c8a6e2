"""Keys that are pressed while a talk goes on."""

import io
import os
import pty
import subprocess
import sys
import threading

from command import streams
from scripted import DEADLINE

from realtime_sync.cli import keys


def test_no_keyboard() -> None:
    """Where stdin is no terminal, or closed, there is no keyboard."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as pipe, streams(stdin=pipe):
        assert not keys.on_enter(lambda: None)
    os.close(writing)
    for stdin in (None, io.StringIO(), pipe):
        with streams(stdin=stdin):
            assert not keys.on_enter(lambda: None)


# Makes the terminal its own, as a shell does.
PROGRAM = """
import os, threading
os.close(os.open(os.ttyname(0), os.O_RDWR))
from realtime_sync.cli.keys import on_enter
pressed = threading.Semaphore(0)
print(on_enter(pressed.release), flush=True)
for _ in range(2):
    print(pressed.acquire(timeout=60), flush=True)
"""


def test_enter() -> None:
    """Each line that is typed calls the function; the program ends all the same while it waits for more."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        for _ in range(2):
            assert program.stdout.readline() == "True\n"
            os.write(ours, b"\n")
        assert program.stdout.read() == "True\n"
        assert program.wait(DEADLINE) == 0
    os.close(ours)
    os.close(theirs)


def test_terminal_goes() -> None:
    """When the terminal goes, so does the thread that reads it."""
    ours, theirs = pty.openpty()
    before = set(threading.enumerate())
    with open(theirs, encoding="utf-8", closefd=False) as stdin, streams(stdin=stdin):
        assert keys.on_enter(lambda: None)
    [thread] = set(threading.enumerate()) - before
    os.close(ours)
    thread.join(DEADLINE)
    assert not thread.is_alive()
    os.close(theirs)
