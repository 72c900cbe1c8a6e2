"""The two ends of a bad network: a server that writes down what arrives, and a program."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trustme
from bad_link import FAR_ADDRESS, BadLink
from network_notes import SECOND
from wav_files import QUESTION, chunk, fmt, riff

from realtime_sync.sound.wav import read_wav

__all__ = ["SCRIPTS", "Program", "Server", "make_files", "wait_until"]

_HELPERS = Path(__file__).parent
_ROOT = _HELPERS.parent.parent
SCRIPTS = _HELPERS.parent / "network"
"""Where the programs are."""
_STARTS = 120.0  # seconds in which the server has to listen
_LOOK = 0.05  # seconds between two looks


def make_files(folder: Path) -> None:
    """Make what both ends need: a certificate, a long silence, and thirty questions with pauses."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert(FAR_ADDRESS).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    _write(folder / "silence.wav", bytes(180 * SECOND))
    _write(folder / "questions.wav", (read_wav(QUESTION) + bytes(2 * SECOND)) * 30)


def _write(path: Path, pcm: bytes) -> None:
    path.write_bytes(riff(fmt(rate=24_000), chunk(b"data", pcm)))


def wait_until(condition: Callable[[], bool], timeout: float, complaint: Callable[[], str]) -> None:
    """Look again and again until it is so; fail with a complaint when the time is up."""
    pause, deadline = threading.Event(), time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        pause.wait(_LOOK)


class _Process:
    """A Python program in a namespace, which is to end when its stdin does."""

    def __init__(
        self, link: BadLink, namespace: str, name: str, arguments: Sequence[str], folder: Path
    ) -> None:
        environment = {
            "PYTHONPATH": f"{_HELPERS}{os.pathsep}{_ROOT}",
            "SSL_CERT_FILE": str(folder / "authority.pem"),
            "OPENAI_API_KEY": "sk-local",
        }
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                link.inside(namespace, sys.executable, *arguments),
                env={**os.environ, **environment},
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.over:
            self.process.kill()
        self.process.wait()
        self.ask_to_end()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        """The same of its errors."""
        return self._err.read_text("utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float) -> None:
        """Wait until it has ended, or the time is up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)

    def ask_to_end(self) -> None:
        """End its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()


class Server(_Process):
    """`truthful_server` at the far end."""

    def __init__(self, link: BadLink, folder: Path) -> None:
        self._ledger = folder / "ledger"
        self._ledger.touch()
        arguments = [str(SCRIPTS / "truthful_server.py"), FAR_ADDRESS]
        arguments += [str(folder / "server.pem"), str(self._ledger)]
        super().__init__(link, link.far, "server", arguments, folder)

    @property
    def url(self) -> str:
        """Its address, as soon as it has one."""
        wait_until(lambda: "\n" in self.stdout, _STARTS, lambda: self.stderr)
        return self.stdout.strip()

    def events(self, way: str) -> list[dict[str, Any]]:
        """Return what it has ``"received"`` or ``"sent"`` so far, in order."""
        whole, _, _ = self._ledger.read_text("utf-8").rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["way"] == way]


class Program(_Process):
    """A program at the near end."""

    def __init__(self, link: BadLink, folder: Path, arguments: Sequence[str]) -> None:
        super().__init__(link, link.near, "program", arguments, folder)
