"""Many sessions at once on the local server, each running text turns: turns per second, memory, errors.

The server is one process, all clients together are another: a thread with `rt.connect` for each session,
which sends a question, asks for a response and reads to its end, again and again.  Neither is tied to a
processor, since 200 sessions are meant to share two.  Measured are

- turns per second, over all sessions, while all of them are at it;
- processor milliseconds (user and system) of the server per turn;
- resident memory of the server per session in KiB, after its turns, while it is still open;
- errors: `error` events, responses that are not completed, sessions that ended. There must be none.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import machine, spread, table

_TIMEOUT = 120.0  # seconds that an event may take
_TICKS = os.sysconf("SC_CLK_TCK")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=200, help="at once (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="of each session (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="counted runs (default: %(default)s)")
    return parser.parse_args()


# --- The server ---------------------------------------------------------------------------------------


def serve() -> None:
    """Print the URL, and serve until standard input ends."""
    from realtime_sync.local import LocalServer

    with LocalServer() as server:
        print(server.url, flush=True)
        sys.stdin.read()


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """The server in a process of its own: its URL and process id."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.communicate(timeout=30)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


# --- The clients --------------------------------------------------------------------------------------


class Client:
    """One session."""

    def __init__(self, url: str) -> None:
        import realtime_sync as rt

        self._events = rt.events
        self.errors = 0
        self._session = rt.connect(base_url=url)
        self._session.update(output_modalities=["text"])
        self._until(rt.events.SessionUpdated)

    def turns(self, number: int) -> None:
        try:
            for _ in range(number):
                self._session.conversation.item.create("Why is the sky blue?")
                self._session.response.create()
                done = self._until(self._events.ResponseDone)
                self.errors += done.response.status != "completed"
        except Exception as error:
            print(repr(error), file=sys.stderr)
            self.errors += 1

    def _until(self, kind: type) -> Any:
        while not isinstance(event := self._session.next_event(timeout=_TIMEOUT), kind):
            self.errors += isinstance(event, self._events.ErrorEvent)
        return event

    def close(self) -> None:
        self._session.close()


def measure(url: str, pid: int, sessions: int, turns: int) -> dict[str, float]:
    Client(url).turns(1)  # what the first session loads is not part of the others' memory
    before = resident(pid)
    clients = [Client(url) for _ in range(sessions)]
    processor, begun = processor_seconds(pid), time.perf_counter()
    threads = [threading.Thread(target=client.turns, args=(turns,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    return {
        "turns": sessions * turns / seconds,
        "processor": (processor_seconds(pid) - processor) * 1000 / (sessions * turns),
        "memory": (resident(pid) - before) / sessions / 1024,
        "errors": sum(client.errors for client in clients),
    }


def main() -> None:
    options = parse()
    print(machine())
    allow_files(8 * options.sessions)
    runs = []
    for _ in range(options.runs):
        with server() as (url, pid):
            numbers = (str(pid), str(options.sessions), str(options.turns))
            done = subprocess.run(
                [sys.executable, __file__, "child", url, *numbers], stdout=subprocess.PIPE, check=True
            )
            runs.append(json.loads(done.stdout))
    table(
        f"{options.sessions} sessions at once, {options.turns} text turns each",
        ["turns/s", "server's CPU ms per turn", "KiB per session", "errors"],
        [
            [
                spread([run["turns"] for run in runs], 0),
                spread([run["processor"] for run in runs]),
                spread([run["memory"] for run in runs], 0),
                str(sum(run["errors"] for run in runs)),
            ]
        ],
    )
    sys.exit(any(run["errors"] for run in runs))


def allow_files(number: int) -> None:
    """Let this process and its children open that many files, if the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard) if hard > 0 else number, hard))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["child"]:
        _, _, url, *numbers = sys.argv
        pid, sessions, turns = map(int, numbers)
        print(json.dumps(measure(url, pid, sessions, turns)), flush=True)
        os._exit(0)
    else:
        main()
