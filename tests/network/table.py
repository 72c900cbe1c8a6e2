"""Prints the tables of ``docs/bad_networks.md``: what programs see on bad networks, when, and what is lost.

``python tests/network/table.py [--at-once 6] [--network NAME]...`` needs root, and a quarter of an hour.
"""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from math import inf
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))

from bad_link import why_not
from bad_network import CHANGING, NETWORKS, PROGRAMS, RECONNECTING, Outcome, Runs
from network_notes import BLOCK, SECOND

OURS = ["Assistant", "talk", "transcribe"]
BESIDE = ["raw, sending", "openai, sending"], ["raw, idle", "openai, idle"]
Cell = Callable[[Outcome], str]


def seen(outcome: Outcome) -> str:
    """Return what the program saw, and after how many seconds."""
    if outcome.noticed is not None:
        error = outcome.account["end"]["error"] if outcome.account else f"exit status {outcome.status}"
        return f"{error} after {outcome.noticed:.0f} s"
    if outcome.status is None:
        return f"hangs, also when it is to end (killed after {outcome.seconds:.0f} s)"
    longest = outcome.account.get("longest_send", 0.0)
    return "goes on" if longest < 1 else f"goes on; a send took {longest:.0f} s"


def reconnected(outcome: Outcome) -> str:
    """Return when the program got other connections, how long it had none, and after how many attempts."""
    told = [
        f"after {event['at'] - outcome.bad_at:.0f} s; {event['seconds']:.1f} s, {event['attempts']} attempts"
        for event in outcome.account.get("reconnected", ())
    ]
    return ", ".join(told) or seen(outcome)


def longest_send(outcome: Outcome) -> str:
    return f"{outcome.account.get('longest_send', 0.0):.1f} s"


def not_carried_over(outcome: Outcome) -> str:
    """Return what `Reconnected.lost` told, and the items that the last session doesn't have."""
    told = [text for event in outcome.account.get("reconnected", ()) for text in event["lost"]]
    return "; ".join([*told, *outcome.missing()]) or "nothing"


def lost(outcome: Outcome) -> str:
    """Return what did not arrive, and how much of that the program was not told."""
    if not outcome.account:
        return "-"
    items, audio = len(outcome.lost("item")), len(outcome.lost("audio")) * BLOCK / SECOND
    if not items and not audio:
        return "nothing"
    return f"{items} items, {audio:.1f} s of audio; {untold(outcome)}"


def untold(outcome: Outcome) -> str:
    items, audio = len(outcome.not_told()), max(0, outcome.audio_not_told()) / SECOND
    return f"not told: {items} items, {audio:.1f} s" if items or audio else "all told"


def times(runs: Runs, networks: Sequence[str]) -> Iterator[str]:
    """Yield for each program the seconds from Ctrl-C to its end, on half of the networks and on all."""
    for program in PROGRAMS:
        outcomes = [runs(program, network, ctrl_c=True) for network in networks]
        ends = [inf if outcome.status is None else outcome.to_end or 0.0 for outcome in outcomes]
        cells = ["not within 30 s" if end == inf else f"{end:.1f} s" for end in (median(ends), max(ends))]
        yield f"| {program} | {' | '.join(cells)} |"


def rows(runs: Runs, networks: Sequence[str], columns: Sequence[tuple[str, Cell]]) -> Iterator[str]:
    """Yield the rows of a table: a network each, and what a program on it makes of a cell."""
    for network in networks:
        cells = [cell(runs(program, network)) for program, cell in columns]
        yield f"| {network} | {' | '.join(cells)} |"


def print_table(title: str, names: Sequence[str], lines: Iterator[str]) -> None:
    print(f"\n## {title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}", flush=True)
    for line in lines:
        print(line, flush=True)


def print_all(runs: Runs, networks: Sequence[str]) -> None:
    for how in (False, True):
        for program in PROGRAMS:
            for network in networks:
                runs.begin(program, network, ctrl_c=how)
    for programs, title in zip(BESIDE, ("Sending all the time", "Idle"), strict=True):
        columns = [(program, cell) for program in programs for cell in (seen, lost)]
        names = [f"{client}: {what}" for client in ("realtime_sync", "openai") for what in ("sees", "lost")]
        print_table(title, names, rows(runs, networks, columns))
    columns = [("Assistant", seen), ("Assistant", lost), ("talk", seen), ("transcribe", seen)]
    names = ["Assistant sees", "Assistant lost", "talk", "transcribe"]
    print_table("Programs", names, rows(runs, networks, columns))
    print_table("From Ctrl-C to the end", ["half of the runs", "all"], times(runs, networks))


def print_reconnecting(runs: Runs) -> None:
    """Print what the programs of `RECONNECTING` see."""
    for program in RECONNECTING:
        for network in CHANGING:
            runs.begin(program, network)
    cells: tuple[Cell, ...] = (reconnected, longest_send, not_carried_over)
    columns = [(program, cell) for program in RECONNECTING for cell in cells]
    told = ("without a connection", "longest send", "lost")
    names = [f"{program}: {what}" for program in RECONNECTING for what in told]
    print_table("With reconnect=True", names, rows(runs, list(CHANGING), columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=6, help="runs at once (default: %(default)s)")
    parser.add_argument("--network", action="append", choices=list(NETWORKS), help="only this one")
    parser.add_argument("--reconnecting", action="store_true", help="only programs with reconnect=True")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs must not inherit that it is ignored
    clients = ", ".join(f"{name} {version(name)}" for name in ("openai", "websockets"))
    print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {clients},")
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores")
    with Runs(options.at_once) as runs:
        print_reconnecting(runs)
        if not options.reconnecting:
            print_all(runs, options.network or list(NETWORKS))


if __name__ == "__main__":
    main()
