"""Random talks in simulated time: the ledger knows what is meant while events of both sides cross.

What a session understands is compared with what the server (`deviant_server.DeviantServer`) knows to be true.
A talk that fails shows its seed, the server's switches and all frames; ``SEEDS = (seed,)`` has it again.
"""

import pytest
from deviant_latency import CrossingTalk
from deviant_switches import Switches

SEEDS: tuple[int, ...] = ()
"""Talks to have again, of those that failed."""
_CHUNKS, _CHUNK = 20, 1000  # of the slow test


def have(talk: CrossingTalk) -> None:
    """Have one talk; what fails says how it went."""
    try:
        talk.run()
    except Exception as error:
        raise AssertionError(f"{error}\n{talk}") from error


def test_a_server_as_specified() -> None:
    """What is meant is understood while requests, responses and speech cross, 0 to 300 ms away."""
    for seed in range(150):
        have(CrossingTalk(seed, Switches()))


def test_a_server_that_deviates() -> None:
    """It is understood with each set of deviations that a client can cope with while events cross."""
    for seed in (*range(150), *SEEDS):
        have(CrossingTalk(seed))


def test_nothing_crosses() -> None:
    """It is understood with all deviations if the client says nothing before all is quiet."""
    for seed in (*range(150), *SEEDS):
        have(CrossingTalk(seed, crosses=False))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_very_many(chunk: int) -> None:
    """What is meant is understood in 60,000 talks of these three kinds."""
    for seed in range(chunk * _CHUNK, (chunk + 1) * _CHUNK):
        have(CrossingTalk(seed, Switches()))
        have(CrossingTalk(seed))
        have(CrossingTalk(seed, crosses=False))
