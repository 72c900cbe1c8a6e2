"""Programs on bad networks: what happens to the network, to whom, and what comes of it.

In a run, a program talks to a local server over a `BadLink`. When it has said something over a good network,
the network turns bad; what the program prints at its end is then compared with what has arrived.
"""

import json
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bad_link import BadLink, Conditions
from network_notes import BLOCK, SECOND
from network_peers import SCRIPTS, Program, Server, make_files, wait_until

__all__ = ["CHANGING", "NETWORKS", "PROGRAMS", "RECONNECTING", "Kind", "Network", "Outcome", "Runs", "run"]

_BEGINS = 120.0  # seconds in which a program has to have begun
_ENDS = 30.0  # seconds in which it has to end, when it is asked to
_PATIENCE = 40.0  # seconds after which a silent connection counts as dead, by default
_BEFORE_CTRL_C = 4.0  # seconds from the network's turning bad

Events = list[dict[str, Any]]


# --- What happens to the network ---------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A kind of bad network.

    Attributes:
        name: As the table has it.
        conditions: Of the link, while it is bad.
        nat: Whether the connections that are open are forgotten.
        stops: Whether the server's process is stopped.
        moves: Whether the client's machine gets another address.
        seconds: How long it is bad.
        after: Seconds on a good network behind it.
        dead: Whether nothing gets through for longer than a program may wait; ``"large"``: nothing large.
        spares: Whether it must not end a session.
    """

    name: str
    conditions: Conditions = field(default_factory=Conditions)
    nat: bool = False
    stops: bool = False
    moves: bool = False
    seconds: float = 70.0
    after: float = 0.0
    dead: bool | Literal["large"] = False
    spares: bool = False

    def kills(self, kind: "Kind") -> bool:
        """Return whether it must end a program's session."""
        return kind.sends if self.dead == "large" else self.dead


def _down(seconds: float) -> Network:
    name, conditions = f"down for {seconds:g} s", Conditions(down=True)
    return Network(
        name, conditions, seconds=seconds, after=20, dead=seconds > _PATIENCE, spares=seconds < _PATIENCE / 2
    )


_ALL = [
    Network("200 ms and jitter", Conditions(delay=0.2, jitter=0.1), seconds=30, spares=True),
    Network("5 % loss", Conditions(delay=0.02, loss=0.05), seconds=30, spares=True),
    Network("reordering", Conditions(delay=0.05, jitter=0.05, reorders=True), seconds=30, spares=True),
    Network("64 kbit/s", Conditions(delay=0.02, rate=8000), spares=True),
    *map(_down, (5, 15, 30, 60)),
    Network("MTU hole", Conditions(mtu=600), dead="large"),
    Network("dead NAT", nat=True, dead=True),
    Network("stopped server", stops=True, dead=True),
]
NETWORKS = {network.name: network for network in _ALL}
"""The bad networks, by their names."""
_CHANGING = [
    *(replace(_down(seconds), after=45) for seconds in (5, 30, 60)),
    Network("another address", moves=True),
    NETWORKS["dead NAT"],
    Network("5 % loss, 200 ms", Conditions(delay=0.2, loss=0.05), seconds=45, after=10),
]
CHANGING = {network.name: network for network in _CHANGING}
"""The networks on which a session may need another connection, with time to make it."""


# --- The programs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of program.

    Attributes:
        arguments: Of Python, where ``URL`` and the names of files are replaced by what they are.
        begun: Says, of what the server received, whether the program has begun.
        accounts: Whether it prints an account, as `network_notes.Notes` does; else it is a command.
        sends: Whether it sends all the time.
    """

    arguments: tuple[str, ...]
    begun: Callable[[Events], bool]
    accounts: bool = True
    sends: bool = True


def _two_items(received: Events) -> bool:
    return [event["type"] for event in received].count("conversation.item.create") >= 2


def _three_seconds(received: Events) -> bool:
    return bool(sum(event["audio"] for event in received) >= 3 * SECOND)


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(SCRIPTS / f"{name}.py"), "URL", *arguments)


def _command(name: str, *arguments: str) -> Kind:
    whole = ("-m", "realtime_sync", name, "--no-reconnect", "--base-url", "URL", *arguments)
    return Kind(whole, _three_seconds, accounts=False)


PROGRAMS = {
    "raw, sending": Kind(_script("raw_session", "sending"), _three_seconds),
    "raw, idle": Kind(_script("raw_session", "idle"), _two_items, sends=False),
    "Assistant": Kind(_script("assistant_with_tools", "silence.wav"), _three_seconds),
    "talk": _command("talk", "--input", "questions.wav", "--output", "answers.wav"),
    "transcribe": _command("transcribe", "--pace", "realtime", "questions.wav"),
    "openai, sending": Kind(_script("raw_openai", "sending"), _three_seconds),
    "openai, idle": Kind(_script("raw_openai", "idle"), _two_items, sends=False),
}
"""The programs, by their names."""
RECONNECTING = {
    "sending": Kind(_script("raw_session", "sending", "reconnect"), _three_seconds),
    "idle": Kind(_script("raw_session", "idle", "reconnect"), _two_items, sends=False),
}
"""The same programs with ``reconnect=True``, for the networks of `CHANGING`."""


# --- What comes of it --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a program saw, and what was so.

    Attributes:
        status: The exit status; ``None`` if the program had to be killed.
        seconds: When it ended, from when the network turned bad.
        account: What it printed; empty for a command.
        stdout, stderr: What it wrote.
        received, sent: The events that the server received and sent, in order.
        bad_at: When the network turned bad, as `time.monotonic` has it.
        asked: Whether the program was asked to end, since it was still there.
        to_end: Seconds from Ctrl-C, or from being asked, to the end; ``None`` if it ended by itself.
    """

    status: int | None
    seconds: float
    account: dict[str, Any]
    stdout: str
    stderr: str
    received: Events
    sent: Events
    bad_at: float
    asked: bool
    to_end: float | None

    @property
    def noticed(self) -> float | None:
        """After how many seconds the program saw its session end by itself; ``None`` = it did not."""
        if not self.account:
            return None if self.asked else self.seconds
        end = self.account["end"]
        by_itself = end["error"] not in (None, "KeyboardInterrupt")
        return end["at"] - self.bad_at if by_itself else None

    @property
    def arrived(self) -> list[str]:
        """The ids of the events that arrived, in order."""
        return [event["id"] for event in self.received]

    def lost(self, kind: str = "") -> list[str]:
        """Return the named events that did not arrive; ``kind`` is how their names begin."""
        arrived = set(self.arrived)
        return [name for name in self.account["sent"] if name not in arrived and name.startswith(kind)]

    def missing(self) -> list[str]:
        """Return the items that the last session doesn't have, or has twice."""
        last = self.received[-1]["session"]
        has = [event["text"] for event in self.received if event["session"] == last and event["text"]]
        names = [name for name in self.account["sent"] if name.startswith("item")]
        return [f"{name}: {times} times" for name in names if (times := has.count(_text(name))) != 1]

    def not_told(self) -> list[str]:
        """Return the events that did not arrive and that the program was not told of; audio apart."""
        told = {*self.account["raised"], *self.account["unsent"], *self.account["unconfirmed"]}
        return [name for name in self.lost() if name not in told and not name.startswith("audio")]

    def audio_not_told(self) -> int:
        """Return how many bytes of audio did not arrive, without those that the program was told of."""
        told = {*self.account["raised"], *self.account["unsent"]}
        lost = sum(name not in told for name in self.lost("audio"))
        return lost * BLOCK - int(self.account["audio"])


def run(program: str, network: str, *, ctrl_c: bool = False) -> Outcome:
    """Run a program until the network has been bad for its time, or until Ctrl-C in the midst of that."""
    with tempfile.TemporaryDirectory() as name, BadLink() as link:
        folder = Path(name)
        make_files(folder)
        with Server(link, folder) as server:
            values = {"URL": server.url, **{file: str(folder / file) for file in _FILES}}
            reconnects = program in RECONNECTING
            kind = (RECONNECTING if reconnects else PROGRAMS)[program]
            conditions = (CHANGING if reconnects else NETWORKS)[network]
            arguments = [values.get(argument, argument) for argument in kind.arguments]
            with Program(link, folder, arguments) as process:
                return _Run(link, server, process, kind, conditions).outcome(ctrl_c)


_FILES = ("questions.wav", "silence.wav", "answers.wav")


@dataclass
class _Run:
    link: BadLink
    server: Server
    program: Program
    kind: Kind
    network: Network

    def outcome(self, ctrl_c: bool) -> Outcome:
        self._begin()
        bad_at = time.monotonic()
        self._turn_bad()
        (self._until_ctrl_c if ctrl_c else self._until_over)()
        asked_at = None if self.program.over else time.monotonic()
        if asked_at is not None:
            self._ask(ctrl_c)
        self.program.wait(_ENDS)
        ended_at, status = time.monotonic(), self.program.process.poll()
        self._settle()
        out = self.program.stdout
        return Outcome(
            status=status,
            seconds=ended_at - bad_at,
            account=_account(out) if self.kind.accounts else {},
            stdout=out,
            stderr=self.program.stderr,
            received=self.server.events("received"),
            sent=self.server.events("sent"),
            bad_at=bad_at,
            asked=asked_at is not None,
            to_end=None if asked_at is None else ended_at - asked_at,
        )

    def _begin(self) -> None:
        def begun() -> bool:
            return self.program.over or self.kind.begun(self.server.events("received"))

        def complaint() -> str:
            return f"{self.program.stdout}{self.program.stderr} after {self.server.events('received')}"

        wait_until(begun, _BEGINS, complaint)
        assert not self.program.over, complaint()

    def _turn_bad(self) -> None:
        self.link.conditions = replace(self.network.conditions)
        if self.network.nat:
            self.link.forget_flows()
        if self.network.moves:
            self.link.move()
        if self.network.stops:
            self.server.signal(signal.SIGSTOP)

    def _until_ctrl_c(self) -> None:
        self.program.wait(_BEFORE_CTRL_C)

    def _until_over(self) -> None:
        self.program.wait(self.network.seconds)
        if self.network.after and not self.program.over:
            self.link.conditions = Conditions()
            self.program.wait(self.network.after)

    def _ask(self, ctrl_c: bool) -> None:
        """Ask the program to end, a command by the only way there is."""
        if ctrl_c or not self.kind.accounts:
            self.program.signal(signal.SIGINT)
        else:
            self.program.ask_to_end()

    def _settle(self) -> None:
        """Let the server read what has reached its machine, and end."""
        self.link.conditions = Conditions()
        self.server.signal(signal.SIGCONT)
        self.server.ask_to_end()
        self.server.wait(_ENDS)


class Runs:
    """Runs, several at once and each only once, while ``with`` lasts."""

    def __init__(self, at_once: int = 6) -> None:
        self._pool = ThreadPoolExecutor(at_once)
        self._begun: dict[tuple[str, str, bool], Future[Outcome]] = {}

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, program: str, network: str, *, ctrl_c: bool = False) -> "Future[Outcome]":
        """Begin a run when there is room for it, unless it has begun."""
        key = (program, network, ctrl_c)
        if key not in self._begun:
            self._begun[key] = self._pool.submit(run, program, network, ctrl_c=ctrl_c)
        return self._begun[key]

    def __call__(self, program: str, network: str, *, ctrl_c: bool = False) -> Outcome:
        """Return what comes of a run."""
        return self.begin(program, network, ctrl_c=ctrl_c).result()


def _text(name: str) -> str:
    return name.replace("item-", "hello ")


def _account(out: str) -> dict[str, Any]:
    lines = out.splitlines()
    account: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return account
