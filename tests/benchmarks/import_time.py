"""Importing: milliseconds of what a program imports of realtime_sync, against ``import openai``.

Measured in fresh interpreters, from the start of the process to its end; what an empty program takes is
subtracted.  Public names are loaded when they are first used, so the row that counts is that of a program
which uses them.  A second table shows which packages the time goes to, and a third one what the pytest plugin
adds to each start of pytest, both as ``python -X importtime`` counts it.
"""

import subprocess
import sys
import time
from collections import Counter

from common import interleaved, machine, options, pin, spread, table

PROGRAMS = {
    "nothing": "",
    "realtime_sync": "from realtime_sync import connect, events, Visitor",
    "realtime_sync alone": "import realtime_sync",
    "openai": "import openai",
}
PLUGIN = "import pytest, realtime_sync.testing.plugin"
GOAL = 0.25  # of openai's time, at most
_SHOWN = 8  # packages in the second table


def milliseconds(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return (time.perf_counter() - started) * 1e3


def by_package(program: str) -> Counter[str]:
    """Milliseconds spent in the modules of each package, without what these import from others."""
    figures: Counter[str] = Counter()
    for line in import_times(program):
        own, _, module = line.removeprefix("import time:").split("|")
        figures[module.strip().partition(".")[0]] += int(own)
    return figures


def import_times(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], check=True, capture_output=True, text=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return lines[1:]  # without the header


def main() -> None:
    settings = options(runs=15)
    print(machine())
    pin(0)  # inherited by what is measured
    figures = interleaved(list(PROGRAMS), settings.runs, lambda name: milliseconds(PROGRAMS[name]))
    net = {
        name: [whole - empty for whole, empty in zip(values, figures["nothing"], strict=True)]
        for name, values in figures.items()
    }
    rows = []
    for name in ("realtime_sync", "realtime_sync alone", "openai"):
        shares = [own / other for own, other in zip(net[name], net["openai"], strict=True)]
        goal = str(GOAL) if name == "realtime_sync" else ""
        rows.append([f"`{PROGRAMS[name]}`", spread(shares), goal, spread(net[name], 1)])
    table(
        f"importing (an empty program takes {spread(figures['nothing'], 1)} ms)",
        ["program", "of openai's time", "goal, at most", "ms more than an empty program"],
        rows,
    )
    empty = by_package(PROGRAMS["nothing"])
    ours = by_package(PROGRAMS["realtime_sync"])
    ours.subtract(empty)
    table(
        f"where the time of `{PROGRAMS['realtime_sync']}` goes",
        ["package", "ms in its own modules"],
        [[name, f"{own / 1e3:.1f}"] for name, own in ours.most_common(_SHOWN)],
    )
    plugin = spread([by_package(PLUGIN)["realtime_sync"] / 1e3 for _ in range(settings.runs)])
    table("what the plugin adds to a start of pytest", ["ms in modules of realtime_sync"], [[plugin]])


if __name__ == "__main__":
    main()
