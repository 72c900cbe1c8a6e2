"""A soak: voice sessions that talk, call tools, interrupt and lose their connection, for minutes on end.

Sessions over TLS, each an `Assistant` with a `FileMicrophone`, a speaker that discards what it plays, and
tools.  Each has some turns, in which users often speak before the answer is over, then makes room for the
next one; and each second a forwarder between client and server resets some connection.  Clients, server and
forwarder are processes of their own.

Printed are, of the clients' process and the server's, threads, open files, memory and its rise per minute by
least squares after a warm-up, and what was had, lost and told.  "In use" is what is left of the memory that a
process holds after `common.give_back`, once a second; the bounds are for that.

The server counts what each session received.  What a client gave to its session and the server did not
receive is lost; it is told if it is in `ConnectionClosed.unsent` or `Session.unconfirmed`, or if its call
raised.  A tool call that ran must reach `on_call`.

The exit status is 1 if a bound is broken; the last lines say which.
"""

import argparse
import contextlib
import gc
import logging
import math
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common import HERE, certificate, client_context, give_back, machine, table
from soak_sessions import Books, Seat

from realtime_sync.voice import write_wav

_WARM_UP = 1 / 3  # of the run, before the slope of memory is measured
_LOOKS = 6  # in a row that must agree, half a second apart, before a process counts as settled
_SHOWN = 5  # losses that are shown one by one
_PATIENCE = 30.0  # seconds until all is gone after the end

MOST_PER_SESSION = 1.0  # MiB of memory of the clients' process, at the most sessions at once
MOST_SLOPE = 1.0  # MiB a minute, of either process
LEAST_MINUTES = 2.0  # of samples after the warm-up, for a slope to be judged

_MIB = 2**20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)g")
    parser.add_argument("--sessions", type=int, default=50, help="at once (default: %(default)s)")
    parser.add_argument(
        "--reset-every", type=float, default=1.0, metavar="SECONDS", help="default: %(default)g"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    return parser.parse_args()


# --- Processes ----------------------------------------------------------------------------------------


class Child:
    """A script in a process of its own, whose lines are given to a function in a thread."""

    def __init__(self, script: str, *arguments: object, on_line: Callable[[str], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline())
        self._on_line = on_line
        # Takes the lines as they come, so that the script never waits.
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._on_line(line)

    def order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._thread.join(_PATIENCE)


@dataclass(frozen=True)
class Sample:
    """What a process holds."""

    seconds: float
    threads: int
    files: int
    memory: int  # bytes, resident

    @classmethod
    def of(cls, pid: int | str, since: float = 0.0) -> "Sample":
        proc = Path(f"/proc/{pid}")
        pages = int((proc / "statm").read_text().split()[1])
        threads, files = (len(list((proc / name).iterdir())) for name in ("task", "fd"))
        return cls(time.monotonic() - since, threads, files, pages * resource.getpagesize())


def slope(samples: list[Sample]) -> float:
    """MiB of memory a minute, by least squares."""
    times, sizes = [each.seconds / 60 for each in samples], [each.memory / _MIB for each in samples]
    if len(samples) < 2:
        return 0.0
    time_mean, size_mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - time_mean) ** 2 for at in times)
    return sum((at - time_mean) * (size - size_mean) for at, size in zip(times, sizes, strict=True)) / spread


# --- The run ------------------------------------------------------------------------------------------


class Watch:
    """Samples of one process, once a second."""

    def __init__(self, name: str, pid: int | str) -> None:
        self.name = name
        self._pid = pid
        self._begun = time.monotonic()
        self.samples: list[Sample] = []
        self.held = 0  # bytes, at most
        self.before = self.settled()

    def settled(self) -> Sample:
        """A sample that several in a row agree on."""
        looks = [Sample.of(self._pid)]
        while len({(look.threads, look.files) for look in looks[-_LOOKS:]}) > 1 or len(looks) < _LOOKS:
            looks.append(self.pause())
        return looks[-1]

    def pause(self) -> Sample:
        time.sleep(0.5)
        return Sample.of(self._pid)

    def hold(self) -> None:
        """Note what the process holds, in use or not."""
        self.held = max(self.held, Sample.of(self._pid).memory)

    def look(self) -> Sample:
        self.samples.append(Sample.of(self._pid, self._begun))
        return self.samples[-1]

    def back(self) -> Sample:
        """The sample at the end, when all is closed: waits for as many threads and files as before."""
        deadline = time.monotonic() + _PATIENCE
        now = Sample.of(self._pid)
        while not self.is_back(now) and time.monotonic() < deadline:
            now = self.pause()
        return now

    def is_back(self, now: Sample) -> bool:
        return now.threads <= self.before.threads and now.files <= self.before.files

    @property
    def warm(self) -> list[Sample]:
        return self.samples[int(len(self.samples) * _WARM_UP) :]

    @property
    def slope(self) -> float:
        """MiB a minute after the warm-up."""
        return slope(self.warm)

    @property
    def rises(self) -> bool:
        """Whether memory rises beyond the bound, in a run that is long enough to tell."""
        minutes = (self.warm[-1].seconds - self.warm[0].seconds) / 60
        return minutes > LEAST_MINUTES and self.slope > MOST_SLOPE

    @property
    def most(self) -> float:
        """MiB above the beginning, at most."""
        return (max(sample.memory for sample in self.samples) - self.before.memory) / _MIB


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.books = Books()
        self.resets = 0
        self.over = threading.Event()

    def run(self) -> list[str]:
        """Return the bounds that were broken."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            certificate(Path(folder))
            question = Path(folder) / "question.wav"
            write_wav(question, _question())
            seed = self.options.seed
            server = stack.enter_context(Child("soak_server.py", folder, seed, on_line=self.books.take_line))
            resetter = stack.enter_context(
                Child("resetter.py", server.port, self.options.reset_every, seed, on_line=self._reset)
            )
            connecting = {
                "base_url": f"wss://localhost:{resetter.port}/v1",
                "api_key": "any",
                "ssl_context": client_context(folder),
            }
            seats = [
                Seat(self.books, connecting, question, seed + number, self.over)
                for number in range(self.options.sessions)
            ]
            return self._soak(seats, server, resetter)

    def _soak(self, seats: list[Seat], server: Child, resetter: Child) -> list[str]:
        seats[0].live(turns=3)  # what the first session loads is not part of the others' memory
        gc.collect()
        watches = [Watch("clients", "self"), Watch("server", server.pid)]
        self.books.counts.clear()
        resetter.order("strike")
        for seat in seats:
            seat.thread.start()
        self._look_on(watches, server)
        resetter.order("calm")
        self.over.set()
        for seat in seats:
            seat.thread.join(_PATIENCE)
        self._give_back(server)
        return self._judge(watches)

    def _reset(self, line: str) -> None:
        self.resets += 1

    def _look_on(self, watches: list[Watch], server: Child) -> None:
        """Sample both processes once a second, and print a line now and then."""
        begun, interval = time.monotonic(), max(5.0, self.options.seconds / 20)
        shown = begun
        print(f"{'s':>6}  {'threads':>13} {'files':>13} {'MiB':>13}  (clients / server)", flush=True)
        while (now := time.monotonic()) < begun + self.options.seconds:
            for watch in watches:
                watch.hold()
            self._give_back(server)
            samples = [watch.look() for watch in watches]
            if now >= shown:
                shown += interval
                self._show(now - begun, samples)
            time.sleep(1.0)

    def _give_back(self, server: Child) -> None:
        self.books.given_back.clear()
        server.order("give back")
        give_back()
        self.books.given_back.wait(_PATIENCE)

    def _show(self, seconds: float, samples: list[Sample]) -> None:
        def both(values: list[str]) -> str:
            return f"{' / '.join(values):>13}"

        counts = self.books.counts
        print(
            f"{seconds:6.0f}  {both([str(each.threads) for each in samples])}"
            f" {both([str(each.files) for each in samples])}"
            f" {both([f'{each.memory / _MIB:.1f}' for each in samples])}"
            f"  {counts['sessions']} sessions, {counts['turns']} turns, {counts['tool calls']} tool calls,"
            f" {counts['interruptions']} interruptions, {self.resets} resets,"
            f" {len(self.books.losses.untold)} untold, {sum(self.books.unexpected.values())} unexpected",
            flush=True,
        )

    # --- The verdict

    def _judge(self, watches: list[Watch]) -> list[str]:
        ends = [watch.back() for watch in watches]
        counts, losses, sessions = self.books.counts, self.books.losses, self.options.sessions
        clients = watches[0]
        per_session = clients.most / sessions
        rows = [row for watch, end in zip(watches, ends, strict=True) for row in _rows(watch, end)]
        table("threads, open files and memory", ["", "", "before", "most", "after", "a minute"], rows)
        print(f"\nOf the clients' process, per session: {per_session * 1024:.0f} KiB at most.")
        names = ("sessions", "turns", "tool calls", "interruptions", "resets noticed")
        table(
            "what was had",
            [*names, "resets"],
            [[*(str(counts[name]) for name in names), str(self.resets)]],
        )
        table(
            "what was lost, and what was told that it may be",
            ["", "lost", "told"],
            [
                ["events", str(losses.events), str(losses.told_events)],
                ["bytes of audio", str(losses.audio), str(losses.told_audio)],
            ],
        )
        table("also", ["", ""], [[name, str(counts[name])] for name in sorted(set(counts) - set(names))])
        return [*self._leaks(watches, ends, per_session), *self._faults()]

    def _leaks(self, watches: list[Watch], ends: list[Sample], per_session: float) -> Iterator[str]:
        for watch, end in zip(watches, ends, strict=True):
            if not watch.is_back(end):
                yield f"{watch.name}: expected {watch.before} after the end, got {end}"
            if watch.rises:
                yield f"{watch.name}: memory rises by {watch.slope:.2f} MiB a minute, at most {MOST_SLOPE:g}"
        if per_session > MOST_PER_SESSION:
            yield f"clients: {per_session:.2f} MiB per session, at most {MOST_PER_SESSION:g}"

    def _faults(self) -> Iterator[str]:
        counts, books = self.books.counts, self.books
        untold = books.losses.untold
        yield from (f"lost untold, {len(untold)} times: {text}" for text in untold[:_SHOWN])
        yield from (f"unexpected ({times} times): {text}" for text, times in books.unexpected.items())
        if books.open:
            yield f"{books.open} sessions whose end the server never noticed"
        if counts["resets noticed"] > self.resets:
            yield f"{counts['resets noticed']} connections were lost, {self.resets} by a reset"
        if not counts["turns"]:
            yield "there was no turn"


def _rows(watch: Watch, end: Sample) -> Iterator[list[str]]:
    """What a process had before, at most, and after the end."""
    before, samples = watch.before, watch.samples
    for what in ("threads", "files"):
        most = max(getattr(sample, what) for sample in samples)
        yield [watch.name, what, str(getattr(before, what)), str(most), str(getattr(end, what)), ""]
    sizes = (before.memory / _MIB, before.memory / _MIB + watch.most, end.memory / _MIB)
    yield [watch.name, "MiB in use", *(f"{size:.1f}" for size in sizes), f"{watch.slope:+.2f}"]
    yield [watch.name, "MiB held", "", f"{watch.held / _MIB:.1f}", "", ""]


def _question() -> bytes:
    """Most of a second of a tone, which the server takes for speech."""
    return b"".join(
        round(8000 * math.sin(2 * math.pi * 220 * n / 24_000)).to_bytes(2, "little", signed=True)
        for n in range(18_000)
    )


class Complaints(logging.Handler):
    """Counts what the package logs: warnings by their text; an error must not happen."""

    def __init__(self, books: Books) -> None:
        super().__init__(logging.WARNING)
        self._books = books

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self._books.complain(logging.Formatter().format(record))
        else:
            self._books.count(f"warning: {record.msg}"[:110])


def allow_files(number: int) -> None:
    """Let this process and its children open that many files, if the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard) if hard > 0 else number, hard))


def main() -> None:
    options = parse()
    print(f"{machine()}\n{options.sessions} sessions for {options.seconds:g} s, seed {options.seed}\n")
    allow_files(20 * options.sessions + 100)
    soak = Soak(options)
    threading.excepthook = lambda failed: soak.books.complain(
        "".join(traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback))
    )
    logging.getLogger("realtime_sync").addHandler(Complaints(soak.books))
    broken = soak.run()
    print("\n" + "\n".join(f"BROKEN: {text}" for text in broken) if broken else "\nAll bounds hold.")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
