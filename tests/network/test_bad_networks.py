"""What programs may rely on when the network is bad.

Six runs at once take ten minutes: ``pytest -m slow tests/network``. What the runs show is printed by
``python tests/network/table.py``, and told in ``docs/bad_networks.md``.
"""

import pytest
from bad_network import CHANGING, NETWORKS, PROGRAMS, RECONNECTING, Outcome, Runs

pytestmark = pytest.mark.slow

NOTICED = 40.0  # seconds in which a dead connection is to be noticed
MARGIN = 5.0  # seconds more, since this machine does other things too
PROMPT = 1.0  # seconds in which Ctrl-C is to end a program
PROMPT_MARGIN = 3.5  # the same; what is to be ruled out takes 5 or 30
OURS = [name for name in PROGRAMS if not name.startswith("openai")]
COMMANDS = [name for name in OURS if not PROGRAMS[name].accounts]

each_network = pytest.mark.parametrize("network", NETWORKS)


def check_ledger(outcome: Outcome) -> None:
    """What the server got and what the program was told it lost is all that was sent."""
    assert not outcome.not_told()
    assert outcome.audio_not_told() <= 0


def check_order(outcome: Outcome) -> None:
    """What arrived is what was sent without what was lost, each event once and in order; so it is back."""
    for kind in ("item", "audio"):  # which different threads send
        arrived = [name for name in outcome.arrived if name.startswith(kind)]
        sent = [name for name in outcome.account["sent"] if name.startswith(kind)]
        assert arrived == [name for name in sent if name in set(arrived)]
    came = outcome.account["received"]
    assert came == [event["id"] for event in outcome.sent][: len(came)]


def check_end(outcome: Outcome, program: str, network: str) -> None:
    """A dead connection is noticed in time, and one that only is bad is not called dead."""
    if NETWORKS[network].kills(PROGRAMS[program]):
        assert outcome.noticed is not None
        assert outcome.noticed <= NOTICED + MARGIN
    elif NETWORKS[network].spares:
        assert outcome.noticed is None, outcome.account.get("end") or outcome.stderr


@each_network
@pytest.mark.parametrize("program", ["raw, sending", "raw, idle", "Assistant"])
def test_nothing_is_lost_silently(runs: Runs, program: str, network: str) -> None:
    """What is lost is told, nothing comes twice or out of order, and the end is neither late nor early."""
    outcome = runs(program, network)
    check_ledger(outcome)
    check_order(outcome)
    check_end(outcome, program, network)


@each_network
@pytest.mark.parametrize("program", ["Assistant"])
def test_tools(runs: Runs, program: str, network: str) -> None:
    """Each tool that ran is reported with what it gave, and its output arrives or is among what was told."""
    outcome = runs(program, network)
    results = dict(outcome.account["results"])
    assert list(results.values()) == [f"result {number}" for number in outcome.account["ran"]]
    arrived = {event["call_id"] for event in outcome.received if event["item"] == "function_call_output"}
    assert results.keys() <= arrived | set(outcome.account["outputs"])


@each_network
@pytest.mark.parametrize("program", COMMANDS)
def test_commands(runs: Runs, program: str, network: str) -> None:
    """A command whose connection is lost says so in a line and with its status, and in time."""
    outcome = runs(program, network)
    check_end(outcome, program, network)
    if outcome.noticed is not None:
        assert outcome.status in (1, 2)
        assert "the connection was lost" in outcome.stderr
        assert len(outcome.stderr.splitlines()) == 1


@each_network
@pytest.mark.parametrize("program", OURS)
def test_ctrl_c(runs: Runs, program: str, network: str) -> None:
    """Ctrl-C ends a program within a second, idle or sending, on every network; what is lost is told."""
    outcome = runs(program, network, ctrl_c=True)
    assert outcome.to_end is not None
    assert outcome.to_end <= PROMPT + PROMPT_MARGIN
    if outcome.account:
        assert outcome.account["end"]["error"] == "KeyboardInterrupt"
        check_ledger(outcome)
        check_order(outcome)
    else:
        assert outcome.status == 130


@pytest.mark.parametrize("network", CHANGING)
@pytest.mark.parametrize("program", RECONNECTING)
def test_reconnecting(runs: Runs, program: str, network: str) -> None:
    """With reconnect=True a session goes on, and the server's last one has each item once; audio is lost only
    where more was appended than is kept, and that is told.
    """
    outcome = runs(program, network)
    assert outcome.account["end"]["error"] is None
    assert outcome.missing() == []
    assert not outcome.account["raised"]
    reconnected = outcome.account["reconnected"]
    if CHANGING[network].dead:
        assert reconnected
    told = [text for event in reconnected for text in event["lost"]]
    assert all("audio_buffer=" in text for text in told)
