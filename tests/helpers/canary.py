"""A session that has small turns while others are attacked, and servers that tell what goes wrong in them.

How long the turns of a `Canary` take says whether the attack holds up others.  A busy machine does so as
well: so what counts is the processor time of the process that is attacked, and the time beyond that of a
second canary, whose server or process nobody attacks.
"""

import contextlib
import gc
import json
import logging
import os
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

MOST_PROCESSOR = 1.0
"""Seconds of the attacked process's processor time that a turn of another session may take: on a busy machine
turns are long, but not by this."""
MOST_WAIT = 10.0
"""Seconds that it may take longer than one that nobody attacks."""
MOST_MEMORY = 256 * 2**20
"""Bytes by which a process that is attacked may grow once it is warm: allocators keep what once was large."""
MOST_BLOCKS = 200_000
"""Objects by which this process may grow meanwhile, about 10 MB: nothing keeps those."""
_PAUSE = 0.02  # seconds between two turns


def resident(pid: int | str) -> int:
    """Return the bytes of memory that a process holds, 0 where the system does not tell."""
    statm = Path(f"/proc/{pid}/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


def processor(pid: int | None) -> float:
    """Return the seconds of processor time that a process has used; ``None`` = this one."""
    stat = Path(f"/proc/{pid}/stat")
    if pid is None or not stat.exists():
        return time.process_time()
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Canary:
    """Has turns of text in a thread of its own, until `end`.

    Args:
        url: The server.
        pid: The process that is attacked; ``None`` = this one.

    Attributes:
        turns: How many it had.
        longest: Seconds of the longest one.
        busiest: Seconds of processor time that the attacked process used during one, at most.
        failure: What ended it, if it was not `end`.
    """

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.turns = 0
        self.longest = self.busiest = 0.0
        self.failure: Exception | None = None
        self._pid = pid
        self._session = rt.connect(base_url=url)
        self._over = threading.Event()
        # Has the turns, while the test attacks.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._over.wait(_PAUSE):
                begun, used = time.monotonic(), processor(self._pid)
                self._turn()
                self.longest = max(self.longest, time.monotonic() - begun)
                self.busiest = max(self.busiest, processor(self._pid) - used)
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
    """Fail if a turn of a session was held up by the attack; ``calm`` is the longest one elsewhere."""
    assert canary.failure is None, canary.failure
    assert canary.turns
    assert canary.busiest < MOST_PROCESSOR, (
        f"a turn of another session took {canary.busiest:.2f} s of processor"
    )
    assert canary.longest < MOST_WAIT + calm, (
        f"a turn of another session took {canary.longest:.2f} s, where no attack was {calm:.2f} s"
    )


@contextlib.contextmanager
def unharmed(attacked: "WatchedServer", calm: "WatchedServer") -> Iterator[None]:
    """Have turns with a server that is attacked meanwhile, and with another one; compare their waits."""
    canary, control = Canary(attacked.url, attacked.pid), Canary(calm.url)
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
    """Looks at a process now and then; its growth counts from when it is warm.

    Args:
        pid: The process; ``None`` = this one.
        warm: Cases before that.
    """

    def __init__(self, pid: int | None = None, warm: int = 300) -> None:
        self._pid = pid
        self._looks = -warm
        self._before = (0, 0)

    def look(self) -> None:
        """Count a case that was tried, and measure now and then; fail if the process has grown too much."""
        self._looks += 1
        if self._looks == 0:
            self._before = self._measured()
        elif self._looks > 0 and self._looks % 100 == 0:
            size, blocks = (now - then for now, then in zip(self._measured(), self._before, strict=True))
            assert size < MOST_MEMORY, f"grown by {size / 2**20:.0f} MiB"
            assert blocks < MOST_BLOCKS, f"grown by {blocks} objects"

    def _measured(self) -> tuple[int, int]:
        """Return bytes, and the number of objects."""
        if self._pid is not None:
            return resident(self._pid), 0
        gc.collect()
        return resident("self"), sys.getallocatedblocks()


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
