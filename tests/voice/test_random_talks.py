"""Random talks with a server that deviates in every way that a client can cope with.

The server (`deviant_server.DeviantServer`) knows the truth: its history, how each response ended, which
request it answers, what was called.  What the client made of its events must be the same.  A talk that fails
shows its seed, the server's switches and all frames; ``SEEDS = (seed,)`` has it again.
"""

import logging
import random
from collections.abc import Iterator

import pytest
from deviant_switches import Switches, each_alone
from deviant_talk import Line, Talk, kinds_of

SEEDS: tuple[int, ...] = ()
"""Talks to have again, of those that failed."""
_CHUNKS, _CHUNK = 100, 1000  # of the slow test


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    line = Line()
    with line.server:
        yield line


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What deviates is logged, some thousand lines."""
    caplog.set_level(logging.CRITICAL, "realtime_sync")


def have(line: Line, talk: Talk) -> None:
    """Have one talk; what fails says how it went."""
    try:
        talk.run(line)
    except Exception as error:
        raise AssertionError(f"{error}\n{talk}") from error


@pytest.mark.parametrize("switches", [Switches(), *each_alone()], ids=str)
def test_one_deviation(line: Line, switches: Switches) -> None:
    """Each deviation alone changes nothing of what a talk with turns of all kinds comes to."""
    kinds = list(dict.fromkeys(kinds_of(switches)))
    for seed in range(2):
        have(line, Talk(seed, switches, tuple(random.Random(seed).sample(kinds, len(kinds)))))


@pytest.mark.parametrize("seed", [*range(24), *SEEDS])
def test_any_deviations(line: Line, seed: int) -> None:
    """Several deviations together change nothing of what a talk comes to."""
    have(line, Talk(seed))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_very_many(line: Line, chunk: int) -> None:
    """Whatever the deviations, 100,000 talks come to what the server knows to be true."""
    for seed in range(chunk * _CHUNK, (chunk + 1) * _CHUNK):
        have(line, Talk(seed))
