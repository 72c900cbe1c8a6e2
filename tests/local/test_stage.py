"""How faults strike a session's events, without sockets."""

import json

import pytest
from fault_turn import parallel, struck, texts, turn, types

from realtime_sync.local.faults import (
    CloseAfter,
    Delay,
    Drop,
    Duplicate,
    GoSilent,
    RefuseHandshake,
    Reorder,
    SendMalformed,
    SendUnknown,
)
from realtime_sync.local.stage import Close, Cut, Plan, SendHalf, Silence

WHOLE = texts(struck([]))


def test_no_faults() -> None:
    """Without faults every event is sent as it is."""
    assert [json.loads(text)["event_id"] for text in WHOLE] == [
        event.event_id for batch in turn() for event in batch
    ]
    assert len(WHOLE) > 8


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_end_after_events(number: int) -> None:
    """So many events are sent, then comes the end, at once, and nothing after it."""
    assert struck([CloseAfter(number, 4000, "x")])[number:] == [Close(4000, "x")]
    assert struck([GoSilent(number)])[number:] == [Silence()]
    *sent, half, end = struck([Drop(number)])
    assert (texts(sent), half, end) == (WHOLE[:number], SendHalf(WHOLE[number]), Cut())


def test_faults_together() -> None:
    """Faults add up, in the order given; only the session's own events count."""
    actions = struck([SendUnknown(1), Duplicate(1), CloseAfter(2)])
    assert types(actions) == [
        "session.created",
        "session.created",
        "realtime_sync.unknown",
        "response.created",
    ]
    assert actions[-1] == Close(1011)


def test_the_same_again() -> None:
    """The same faults strike in the same way at every run."""
    faults = [Delay(0.1, jitter=0.2, seed=3), SendMalformed(2), SendUnknown(3), Reorder(2), Duplicate(4)]
    assert struck(faults, parallel()) == struck(faults, parallel())


def test_times() -> None:
    """A fault with ``times`` strikes the first so many connections; refusals count attempts."""
    twice, always = CloseAfter(1, times=2), Delay(1)
    plan = Plan([RefuseHandshake(429, times=1), twice, RefuseHandshake(500, times=1), always])
    assert [fault and fault.status for fault in (plan.refusal() for _ in range(3))] == [429, 500, None]
    assert [plan.next() for _ in range(3)] == [[twice, always], [twice, always], [always]]


def test_numbers_are_checked() -> None:
    """A fault that makes no sense can't be made."""
    with pytest.raises(ValueError, match="every"):
        SendUnknown(0)
    with pytest.raises(ValueError, match="inside"):
        Drop(1, "house")  # type: ignore[arg-type]
