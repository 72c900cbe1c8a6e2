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
    Expire,
    GoSilent,
    RefuseHandshake,
    Reorder,
    SendMalformed,
    SendUnknown,
    parse,
)
from realtime_sync.local.stage import Close, Cut, Fault, Plan, Refusal, Send, SendHalf, Silence, Stage, Strike

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
    refusals = [plan.refusal(number) for number in (1, 2, 3)]
    assert [refusal and refusal.status for refusal in refusals] == [429, 500, None]
    assert [plan.faults(number) for number in (3, 4, 5)] == [[twice, always], [twice, always], [always]]


def test_one_connection() -> None:
    """A fault with ``connection`` strikes the one with that number; every handshake has the next number."""
    third, always = CloseAfter(1, connection=3), Delay(1)
    plan = Plan([RefuseHandshake(429, connection=2), third, always])
    numbers = [plan.number() for _ in range(4)]
    assert numbers == [1, 2, 3, 4]
    refusals = [plan.refusal(number) for number in numbers]
    assert [refusal and refusal.status for refusal in refusals] == [None, 429, None, None]
    assert [plan.faults(number) for number in numbers] == [[always], [always], [third, always], [always]]


def test_chance() -> None:
    """About as many connections are struck as ``chance`` says, always the same ones with the same seed."""

    def hit(seed: int, chance: float) -> list[int]:
        plan = Plan([CloseAfter(1, chance=chance, seed=seed)])
        return [number for number in range(1, 1001) if plan.faults(number)]

    assert hit(1, 0.3) == hit(1, 0.3) != hit(2, 0.3)
    assert 200 < len(hit(1, 0.3)) < 400
    assert (len(hit(1, 0)), len(hit(1, 1))) == (0, 1000)


@pytest.mark.parametrize("name", ["events", "received", "seconds"])
def test_between_two_numbers(name: str) -> None:
    """Each connection draws its own place between the two, always the same with the same seed."""

    def places(seed: int) -> list[float]:
        plan = Plan([parse(f"close:{name}=2..5,seed={seed}")])
        return [getattr(plan.faults(number)[0], name) for number in range(1, 101)]

    assert places(1) == places(1) != places(2)
    assert all(2 <= place <= 5 for place in places(1))
    assert len({round(place) for place in places(1)}) == 4


def test_a_pair_of_lifetimes() -> None:
    """A session that expires between two times draws its own, too."""
    plan = Plan([Expire((1, 2), seed=1)])
    lives = [plan.faults(number)[0].lifetime() for number in range(1, 21)]
    assert len(set(lives)) == 20
    assert all(1 <= life <= 2 for life in lives)


def test_what_comes_first() -> None:
    """Of several faults that end a connection, the first strikes, and nothing comes after it."""
    stage = Stage([CloseAfter(seconds=2.0), Drop(received=2, inside="session"), GoSilent(seconds=1.5)])
    assert stage.due == 1.5
    assert (stage.elapse(1.0), stage.receive()) == ([], [])
    assert stage.receive() == [Cut()]
    assert (stage.elapse(9.0), stage.receive(), stage.take(turn()[0])) == ([], [], [])
    assert stage.due == math.inf


def test_a_stall_is_no_end() -> None:
    """After a silence that lasts for a time, the other faults strike, and all events are sent."""
    stalled = struck([GoSilent(0, lasting=0.5), GoSilent(2, lasting=1.0), CloseAfter(3)])
    assert [action for action in stalled if not isinstance(action, Send)] == [
        Silence(0.5),
        Silence(1.0),
        Close(1011),
    ]
    assert texts(stalled) == WHOLE[:3]


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
    assert [refusal and refusal.status for refusal in (plan.refusal(1), plan.refusal(2))] == [418, None]
    assert plan.faults(2) == []
    with LocalServer(faults=[Turnstile()]) as server:
        with pytest.raises(rt.ConnectionFailed, match="teapot") as refused:
            rt.connect(base_url=server.url)
        assert refused.value.status == 418
    assert (Fault().strike(), Fault().end(), Fault().refusal(), Fault().swap_every()) == (None,) * 4
    assert Fault().lifetime() == math.inf
    with pytest.raises(ValueError, match="unknown fault ''"):
        parse("")
