"""A session that has small turns while others are attacked, and servers that tell what goes wrong in them.

The longest wait of a `Canary` says whether the attack holds up others.  The machine does so as well, so there
is a second canary that nobody attacks: with a server, or in a process, of its own.
"""

import contextlib
import ctypes
import gc
import json
import logging
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync.local import LocalServer

__all__ = ["Canary", "Control", "Memory", "WatchedServer", "compare", "resident", "unharmed", "watched"]

MOST_WAIT = 1.0
"""Seconds that a turn of another session may take longer than one beside the attack."""
MOST_MEMORY = 128 * 2**20
"""Bytes by which a process that is attacked may grow once it is warm; allocators keep some."""
_PAUSE = 0.02  # seconds between two turns


def resident(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process holds, 0 where the system does not tell."""
    statm = Path(f"/proc/{pid}/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


class Canary:
    """Has turns of text in a thread of its own, until `end`.

    Attributes:
        turns: How many it had.
        longest: Seconds of the longest one.
        failure: What ended it, if it was not `end`.
    """

    def __init__(self, url: str) -> None:
        self.turns = 0
        self.longest = 0.0
        self.failure: Exception | None = None
        self._session = rt.connect(base_url=url)
        self._over = threading.Event()
        # Has the turns, while the test attacks.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._over.wait(_PAUSE):
                begun = time.monotonic()
                self._turn()
                self.longest = max(self.longest, time.monotonic() - begun)
                self.turns += 1
        except Exception as error:
            self.failure = error

    def _turn(self) -> None:
        request = self._session.response.create(conversation="none", output_modalities=["text"])
        done = self._session.run(rt.Visitor(), until=rt.events.ResponseDone, timeout=DEADLINE)
        assert done is not None, f"no answer to {request}"
        assert done.response.status == "completed", done

    def end(self) -> None:
        self._over.set()
        self._thread.join(DEADLINE)
        self._session.close()


def compare(canary: Canary, calm: float) -> None:
    """Fail if a turn of a session took long beside the attack; ``calm`` is the longest one elsewhere."""
    assert canary.failure is None, canary.failure
    assert canary.turns
    assert canary.longest < MOST_WAIT + calm, (
        f"a turn of another session took {canary.longest:.2f} s, where no attack was {calm:.2f} s"
    )


@contextlib.contextmanager
def unharmed(attacked: str, calm: str) -> Iterator[None]:
    """Have turns with a server that is attacked meanwhile, and with another one; compare their waits."""
    canary, control = Canary(attacked), Canary(calm)
    try:
        yield
    finally:
        canary.end()
        control.end()
    compare(canary, control.longest)


class Control:
    """A canary in a process of its own, for attacks on this one.

    Attributes:
        longest: Seconds of its longest turn, once it has ended.
    """

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._process = subprocess.Popen(
            [sys.executable, __file__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *exception: object) -> None:
        told, _ = self._process.communicate("", timeout=DEADLINE)
        self.longest = float(told)


class Memory:
    """Looks at a process now and then; its growth counts from when it is warm."""

    def __init__(self, pid: int | None = None, warm: int = 300) -> None:
        self._pid = pid
        self._looks = -warm
        self._before = 0

    def look(self) -> None:
        """Count a case that was tried, and measure now and then; fail if the process has grown too much."""
        self._looks += 1
        if self._looks == 0:
            self._before = self._resident()
        elif self._looks > 0 and self._looks % 100 == 0:
            growth = self._resident() - self._before
            assert growth < MOST_MEMORY, f"grown by {growth / 2**20:.0f} MiB"

    def _resident(self) -> int:
        if self._pid is not None:
            return resident(self._pid)
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # glibc would keep what is free
        return resident()


class WatchedServer:
    """A local server in a process of its own, which tells what it logs as an error."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline())
        self.url = f"ws://127.0.0.1:{self.port}/v1"
        self.complaints: list[str] = []
        # Takes what the server tells, so that it never waits.
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.complaints.extend(json.loads(line) for line in self._process.stdout)

    def __enter__(self) -> "WatchedServer":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(DEADLINE)
        self._thread.join(DEADLINE)
        self._process.stdout.close()


@pytest.fixture
def watched() -> Iterator[WatchedServer]:
    """A server to be attacked."""
    with WatchedServer() as server:
        yield server
    assert not server.complaints, server.complaints[0]


class _Complaints(logging.Handler):
    """Tells of each record that says that something went wrong inside the server.

    What a client does wrong is logged below that, and the end of a connection is an `OSError`.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        gone = error is None or isinstance(error, OSError)  # of TLS too
        if record.levelno >= logging.WARNING or not gone:
            print(json.dumps(logging.Formatter().format(record)), flush=True)


def _serve() -> None:
    log = logging.getLogger("realtime_sync")
    log.addHandler(_Complaints())
    log.setLevel(logging.DEBUG)
    threading.excepthook = lambda failed: log.error("a thread failed", exc_info=failed.exc_value)
    with LocalServer() as server:
        print(server.port, flush=True)
        sys.stdin.read()


def _sing(url: str) -> None:
    canary = Canary(url)
    sys.stdin.read()
    canary.end()
    print(canary.longest if canary.failure is None else canary.failure)


if __name__ == "__main__":
    _sing(sys.argv[1]) if sys.argv[1:] else _serve()
