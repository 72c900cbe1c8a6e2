"""Many sessions in one process: processor time, memory and latency at 50 text deltas a second each.

Every session has a thread of the user's that takes its events with `Session.run`.  The client is one process
on one processor, the server another on another.  Measured are

- processor seconds (user and system) of the client per 1,000 events, and as a share of one core;
- resident memory per session, in KiB, both of its threads included;
- microseconds from the server's send to the user's code, at p50 and p99;
- events per second, to see that the server kept the pace.
"""

import json
import os
import resource
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from common import child, machine, options, pin, server, spread, table

SESSIONS = (1, 50, 200, 500)
RATE = 50  # events a second and session
GOALS = {200: 100}  # % of a core, at most
_WARM_UP = 1.0  # seconds
_MEASURED = 5.0  # seconds


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def ours(url: str, n: int) -> dict[str, float]:
    import realtime_sync as rt

    recording = False

    class Clock(rt.Visitor[None]):
        def __init__(self) -> None:
            self.latencies: list[int] = []

        def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
            if recording:
                self.latencies.append(time.monotonic_ns() - int(event.delta))

    def open_sessions(number: int) -> list[Clock]:
        clocks = [Clock() for _ in range(number)]
        for clock in clocks:
            session = rt.connect(base_url=url, query={"rate": str(RATE), "of": str(number)})
            threading.Thread(target=session.run, args=(clock,), daemon=True).start()
        return clocks

    clocks = open_sessions(1)  # what the first one loads is not part of the others' memory
    time.sleep(_WARM_UP / 2)
    before = resident()
    if n > 1:
        clocks += open_sessions(n - 1)
    time.sleep(_WARM_UP)
    memory = resident() - before
    started, cpu = time.perf_counter(), time.process_time()
    recording = True
    time.sleep(_MEASURED)
    recording = False
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    latencies = sorted(latency for clock in clocks for latency in clock.latencies)
    return {
        "events": len(latencies) / seconds,
        "cpu": cpu / len(latencies) * 1000,
        "share": cpu / seconds * 100,
        "memory": memory / (n - 1) / 1024 if n > 1 else 0.0,
        "p50": statistics.median(latencies) / 1e3,
        "p99": latencies[int(len(latencies) * 0.99)] / 1e3,
    }


def main() -> None:
    settings = options()
    print(machine())
    figures: dict[int, list[dict[str, Any]]] = {n: [] for n in SESSIONS}
    allow_files(4 * max(SESSIONS))
    with server("pacer.py") as (url, _):
        for _ in range(settings.runs):  # each run warms itself up, so none is left out
            for n in SESSIONS:
                figures[n].append(child("scale.py", "child", url, str(n)))
    rows = []
    for n, values in figures.items():

        def column(key: str, digits: int, values: list[dict[str, Any]] = values) -> str:
            return spread([value[key] for value in values], digits)

        rows.append(
            [
                str(n),
                column("share", 1),
                str(GOALS.get(n, "")),
                column("cpu", 3),
                column("memory", 0) if n > 1 else "",
                column("p50", 0),
                column("p99", 0),
                column("events", 0),
            ]
        )
    table(
        f"sessions at {RATE} text deltas a second each",
        [
            "sessions",
            "% of a core",
            "goal, at most",
            "CPU s per 1,000 events",
            "KiB per session",
            "p50, us",
            "p99, us",
            "events/s",
        ],
        rows,
    )


def allow_files(number: int) -> None:
    """Let this process and its children open that many files, if the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard) if hard > 0 else number, hard))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, url, n = sys.argv
        pin(0)
        print(json.dumps(ours(url, int(n))), flush=True)
        os._exit(0)
    main()
