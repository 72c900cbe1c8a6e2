"""How faults strike a session's events, without sockets."""

import json
import math

import pytest
import websocket
from fault_turn import parallel, struck, texts, turn, types
from local_peer import DEADLINE

import realtime_sync as rt
from realtime_sync.local import LocalServer
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
    parse,
)
from realtime_sync.local.stage import Close, Cut, Fault, Plan, Refusal, Send, SendHalf, Silence, Strike

WHOLE = texts(struck([]))


def test_no_faults() -> None:
    """Without faults every event is sent as it is."""
    assert [json.loads(text)["event_id"] for text in WHOLE] == [
        event.event_id for batch in turn() for event in batch
    ]
    assert len(WHOLE) > 8


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_end_after_events(number: int) -> None:
    """That many events are sent, then comes the end, at once, and nothing after it."""
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


class Shout(Fault, frozen=True):
    """Send every message in capitals."""

    name = "shout"
    times_over: int = 1

    def strike(self) -> Strike:
        return lambda send: [Send(send.text.upper())] * self.times_over


def test_a_fault_of_ones_own() -> None:
    """A new fault is one class: it strikes, and is known by its name, with no other place to change."""
    assert parse("shout:times_over=2") == Shout(times_over=2)
    assert texts(struck([Shout(times_over=2)])) == [text.upper() for text in WHOLE for _ in range(2)]
    with LocalServer(faults=["shout"]) as server:
        ws = websocket.create_connection(f"{server.url}/realtime", timeout=DEADLINE)
        assert '"SESSION.CREATED"' in ws.recv()
        ws.close()


class Turnstile(Fault, frozen=True):
    """Let no client in, with a joke."""

    def refusal(self) -> Refusal:
        return Refusal(418, b'{"error": {"message": "teapot"}}')

    def lifetime(self) -> float:
        return 5.0


def test_where_a_fault_may_strike() -> None:
    """A fault may also answer the handshake and end the session; one without a name is no word."""
    plan = Plan([Turnstile(times=1)])
    assert [refusal and refusal.status for refusal in (plan.refusal(), plan.refusal())] == [418, None]
    assert plan.next() == []
    with LocalServer(faults=[Turnstile()]) as server:
        with pytest.raises(rt.ConnectionFailed, match="teapot") as refused:
            rt.connect(base_url=server.url)
        assert refused.value.status == 418
    assert (Fault().strike(), Fault().refusal(), Fault().swap_every()) == (None, None, None)
    assert Fault().lifetime() == math.inf
    with pytest.raises(ValueError, match="unknown fault ''"):
        parse("")
