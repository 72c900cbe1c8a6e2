"""Runs the command line: in this process where that will do, as a program where the process is the point."""

import contextlib
import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from realtime_sync.cli.main import main

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 180  # seconds after which a program that should have ended has failed

# --- In this process ---------------------------------------------------------------------------------


class Terminal(io.TextIOWrapper):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(
    *arguments: str, stdin: str | bytes = "", encoding: str = "utf-8", terminal: str = ""
) -> tuple[int, str, str]:
    """Run a command with streams of its own; return its status, stdout and stderr.

    Args:
        arguments: Those of the command line.
        stdin: What it reads.
        encoding: Of all three, by the locale.
        terminal: The names of those that are terminals.
    """
    out, err = io.BytesIO(), io.BytesIO()
    source = io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)

    def stream(name: str, binary: io.BytesIO) -> io.TextIOWrapper:
        kind = Terminal if name in terminal.split() else io.TextIOWrapper
        return kind(binary, encoding=encoding)

    def read(name: str, binary: io.BytesIO) -> str:
        return binary.getvalue().decode(encoding if name in terminal.split() else "utf-8")

    binaries = {"stdin": source, "stdout": out, "stderr": err}
    texts = {name: stream(name, binary) for name, binary in binaries.items()}  # which close them when they go
    with streams(**texts):
        status = status_of(arguments)
    texts["stdout"].flush()
    texts["stderr"].flush()
    return status, read("stdout", out), read("stderr", err)


def status_of(arguments: tuple[str, ...]) -> int:
    """Run a command with the streams as they are, also one whose arguments can't be used."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


@contextlib.contextmanager
def streams(**others: Any) -> Iterator[None]:
    """Other standard streams while this lasts."""
    before = {name: getattr(sys, name) for name in others}
    for name, stream in others.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)


def press_ctrl_c() -> None:
    """Interrupt the main thread, from any thread."""
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGINT)


def served(use: Callable[[str], object], *arguments: str) -> tuple[int, str]:
    """Run ``serve`` here while a thread uses its address, and then presses Ctrl-C.

    Returns:
        The status, and what it has written to stdout.
    """
    reading, writing = os.pipe()
    problems: list[BaseException] = []
    text: list[str] = []

    def client() -> None:
        with open(reading, encoding="utf-8") as source:
            text.append(source.readline())
            try:
                if text[0]:
                    use(text[0].strip())
            except BaseException as problem:
                problems.append(problem)
            finally:
                if text[0]:
                    press_ctrl_c()
            text.append(source.read())

    # Uses the server while the main thread, which alone can be interrupted, runs it.
    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    with streams(stdout=open(writing, "w", encoding="utf-8")):
        try:
            status = status_of(("serve", "--port", "0", *arguments))
        finally:
            sys.stdout.close()
            thread.join(TIMEOUT)
    for problem in problems:
        raise problem
    return status, "".join(text)


# --- As a program ------------------------------------------------------------------------------------


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a command, with pipes for its streams."""
    return subprocess.Popen(
        [sys.executable, "-m", "realtime_sync", *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(*arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """Run a command to its end; return its status, stdout and stderr."""
    process = start(*arguments, **environment)
    out, err = process.communicate(stdin, timeout=TIMEOUT)
    return process.returncode, out, err


class AtTerminal:
    """A command whose three streams are a terminal, at which somebody types without an echo."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "realtime_sync", *arguments],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows a text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.shown:
            assert self._read(deadline), f"expected {text!r}, got {self.shown!r}"

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the status, and all that was shown."""
        deadline = time.monotonic() + TIMEOUT
        while self._read(deadline):
            pass
        os.close(self._ours)
        return self.process.wait(TIMEOUT), self.shown

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
        assert readable, f"expected more in time, got {self.shown!r}"
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # on Linux, the end of a terminal is an error
            data = b""
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)
