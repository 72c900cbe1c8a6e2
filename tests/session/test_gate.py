"""`gate`: one response at a time, pending requests, and rejections that are dealt with."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import no_line
from response_script import BUSY, ResponseScript, created, done, refusal
from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import LocalServer
from realtime_sync.session import gate as gate_module
from realtime_sync.session.facts import Audio, Request, ResponseEnded
from realtime_sync.session.gate import Gate


def types(session: rt.Session, count: int) -> list[str]:
    return [session.next_event(DEADLINE).type for _ in range(count)]


# --- when_idle ---------------------------------------------------------------------------------------


def test_idle_is_sent_at_once(script: ResponseScript, session: rt.Session) -> None:
    """Without a response running, when_idle changes nothing."""
    event_id = session.response.create(when_idle=True, instructions="Be brief.")
    [event] = script.wait_for(1)
    assert event == {
        "type": "response.create",
        "event_id": event_id,
        "response": {"instructions": "Be brief."},
    }


def test_waits_for_its_turn(script: ResponseScript, session: rt.Session) -> None:
    """What is asked for while a response runs is sent when it is done, in order, one at a time."""
    first = session.response.create()
    second = session.response.create(when_idle=True)
    third = session.response.create(when_idle=True)
    script.send(created("r1"))
    types(session, 2)
    assert session.active_response == "r1"
    script.send(done("r1"))
    assert [event["event_id"] for event in script.wait_for(2)] == [first, second]
    script.send(created("r2"), done("r2"))
    assert [event["event_id"] for event in script.wait_for(3)] == [first, second, third]
    types(session, 3)
    assert session.request_of("r1") == Request(first)
    assert session.request_of("r2") == Request(second)
    assert session.request_of("r3") is None


def test_nobody_need_look(script: ResponseScript, session: rt.Session) -> None:
    """The turn comes also if no thread of the user's takes events."""
    session.response.create()
    session.response.create(when_idle=True)
    script.send(created("r1"), done("r1"))
    assert len(script.wait_for(2)) == 2


@pytest.mark.parametrize("told", [True, False])
def test_refused_is_tried_again(script: ResponseScript, session: rt.Session, told: bool) -> None:
    """A request that is rejected because a response is active is sent again after it, without an error."""
    event_id = session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(*([created("vad")] if told else []), refusal(event_id), done("vad"))
    first, again = script.wait_for(2)
    assert first == again
    script.send(created("mine"), done("mine"))
    expected = ["session.created", *(["response.created"] if told else []), "response.done"]
    assert types(session, len(expected)) == expected
    types(session, 2)
    assert session.request_of("vad") is None
    assert session.request_of("mine") == Request(event_id)


def test_other_errors_surface(script: ResponseScript, session: rt.Session) -> None:
    """An error for another reason is an event like any other, and what waits behind it has its turn."""
    refused = session.response.create(when_idle=True)
    waiting = session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(refusal(refused, "invalid_value"))
    assert script.wait_for(2)[1]["event_id"] == waiting
    assert types(session, 2) == ["session.created", "error"]


def test_raw_refusals_surface(script: ResponseScript, session: rt.Session) -> None:
    """Without when_idle, a rejection is an error event, and nothing is sent again."""
    event_id = session.response.create()
    script.send(refusal(event_id), done("vad"))
    assert types(session, 3) == ["session.created", "error", "response.done"]
    assert len(script.wait_for(1)) == 1


def test_refusal_without_event_id(script: ResponseScript, session: rt.Session) -> None:
    """An error that names no event rejects the request in flight."""
    session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(refusal(None), done("vad"))
    assert len(script.wait_for(2)) == 2


def test_what_names_nothing_takes_nothing(script: ResponseScript, session: rt.Session) -> None:
    """An end and an error that name nothing don't take a request from the response that answers it."""
    event_id = session.response.create()
    script.send(done(None), refusal(None, "wrong"), created("r1"))
    types(session, 4)
    assert session.request_of("r1") == Request(event_id)


def test_doubted_without_reason(script: ResponseScript, session: rt.Session) -> None:
    """After such an error pending requests are sent; their rejection shows that the first was accepted."""
    first = session.response.create()
    second = session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(refusal(None, "wrong"))
    script.wait_for(2)
    script.send(created("r1"), refusal(second), done("r1"))
    assert script.wait_for(3)[2]["event_id"] == second
    script.send(created("r2"))
    types(session, 5)
    assert session.request_of("r1") == Request(first)
    assert session.request_of("r2") == Request(second)


@pytest.mark.parametrize(
    "end",
    [
        [done("r1")],
        [done("r1", status="failed")],
        [created("r1"), done("r1", status="cancelled")],
        [created("r1"), json.dumps({"type": "response.cancelled", "response_id": "r1"})],
        [created("r1"), json.dumps({"type": "response.cancelled"})],
        [created(None, None), done(None, None)],
        [created("r1", None), done("r1", None)],
        [created("r1"), created("r1"), done("r1"), done("r1")],
    ],
)
def test_every_end_is_an_end(script: ResponseScript, session: rt.Session, end: list[str]) -> None:
    """However a response ends, and whatever the server leaves out, the next one has its turn."""
    session.response.create()
    session.response.create(when_idle=True)
    script.send(*end)
    assert len(script.wait_for(2)) == 2


def test_beside_the_conversation(script: ResponseScript, session: rt.Session) -> None:
    """Out-of-band responses delay no request, and are told from those in the conversation."""
    beside = session.response.create(conversation="none")
    inside = session.response.create(when_idle=True)
    raw = session.send({"type": "response.create", "response": {"conversation": "none"}})
    assert len(script.wait_for(3)) == 3
    script.send(created("in"), created("out", None), created("raw", None), done("out", None))
    types(session, 5)
    assert session.active_response == "in"
    assert session.request_of("in") == Request(inside)
    assert session.request_of("out") == Request(beside, out_of_band=True)
    assert session.request_of("raw") == Request(raw, out_of_band=True)
    with pytest.raises(ValueError, match="need not wait"):
        session.response.create(when_idle=True, conversation="none")


def test_closed_while_waiting(script: ResponseScript, session: rt.Session) -> None:
    """Requests that are still pending at the end are among `unsent`; later ones raise at once."""
    session.response.create()
    event_id = session.response.create(when_idle=True)
    session.close()
    with pytest.raises(rt.ConnectionClosed) as caught:
        session.response.create(when_idle=True)
    assert [event.event_id for event in caught.value.unsent] == [event_id]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("when_idle", [True, False])
def test_what_can_not_be_encoded(
    script: ResponseScript, session: rt.Session, running: bool, when_idle: bool
) -> None:
    """A request that is no JSON is an error where it is made, and has no other effect."""
    if running:
        script.send(created("r1"))
        types(session, 2)
    with pytest.raises(TypeError, match="can't send"):
        session.response.create(when_idle=when_idle, metadata={"a": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="can't send"):
        session.send({"type": "response.create", "response": {"metadata": object()}})
    event_id = session.response.create(when_idle=True)
    if running:
        script.send(done("r1"))
    [event] = script.wait_for(1)
    assert event["event_id"] == event_id


def test_what_waits_is_sent_as_it_was(script: ResponseScript, session: rt.Session) -> None:
    """What the caller does to its objects meanwhile changes nothing."""
    script.send(created("r1"))
    types(session, 2)
    metadata = {"topic": "rain"}
    session.response.create(when_idle=True, metadata=metadata)
    metadata["topic"] = "snow"
    script.send(done("r1"))
    [event] = script.wait_for(1)
    assert event["response"] == {"metadata": {"topic": "rain"}}


@pytest.mark.parametrize("code", [BUSY, "wrong"])
def test_refused_without_a_word_of_which(script: ResponseScript, session: rt.Session, code: str) -> None:
    """If a server rejects an unnamed request during a response, pending ones are sent afterwards."""
    script.send(created("vad"))
    types(session, 2)
    session.response.create()
    waiting = session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(refusal(None, code), done("vad"))
    assert script.wait_for(2)[1]["event_id"] == waiting
    script.send(created("r1"))
    types(session, 3)
    assert session.request_of("r1") == Request(waiting)


def test_refused_after_the_response_that_we_took_for_its_own(
    script: ResponseScript, session: rt.Session
) -> None:
    """A request is asked again also if the server's own response, which we took for its answer, is over."""
    event_id = session.response.create(when_idle=True)
    script.wait_for(1)
    script.send(created("a"), done("a", status="cancelled"), created("b"), refusal(event_id), done("b"))
    assert [event["event_id"] for event in script.wait_for(2)] == [event_id, event_id]
    script.send(created("c"))
    assert "error" not in types(session, 6)
    assert [session.request_of(name) for name in "abc"] == [None, None, Request(event_id)]


def test_what_is_on_its_way_is_not_doubted(script: ResponseScript, session: rt.Session) -> None:
    """On a server that names what it rejects, a request that it has not rejected is not sent again."""
    script.send(created("a"), refusal(session.response.cancel(), "response_cancel_not_active"))
    types(session, 3)
    asked = session.response.create()
    waiting = session.response.create(when_idle=True)
    script.send(refusal(None, "wrong"), done("a", status="cancelled"), created("b"))
    types(session, 3)
    assert len(script.wait_for(2)) == 2
    script.send(done("b"))
    assert script.wait_for(3)[2]["event_id"] == waiting
    script.send(created("c"))
    types(session, 2)
    assert session.request_of("b") == Request(asked)
    assert session.request_of("c") == Request(waiting)


def test_a_server_that_names_no_conversation(script: ResponseScript, session: rt.Session) -> None:
    """Its responses answer what was asked for, in order, in the conversation or beside it."""
    inside = session.response.create()
    beside = session.response.create(conversation="none")
    script.send(created("r1", None), done("r1", None), created("r2", None), done("r2", None))
    types(session, 5)
    assert session.request_of("r1") == Request(inside)
    assert session.request_of("r2") == Request(beside, out_of_band=True)


@pytest.mark.parametrize(
    "frames",
    [
        lambda: [created("r"), done("r")],
        lambda: [created(None), done(None)],
        lambda: [done(None)],
    ],
)
def test_a_server_without_ids_of_its_own(
    script: ResponseScript, session: rt.Session, frames: Callable[[], list[str]]
) -> None:
    """If its responses all have the same id, or none, each request still has its turn."""
    asked = [session.response.create(when_idle=True) for _ in range(3)]
    for count in range(1, 4):
        assert [event["event_id"] for event in script.wait_for(count)] == asked[:count]
        script.send(*frames())
    types(session, 1 + 3 * len(frames()))
    assert session.active_response is None


# --- cancel(if_active=True) --------------------------------------------------------------------------


def test_cancel_if_active(script: ResponseScript, session: rt.Session) -> None:
    """Nothing is sent when no response is active; if it ends in that moment, the rejection is no error."""
    assert session.response.cancel(if_active=True)
    session.response.create()
    event_id = session.response.cancel(if_active=True)
    _, cancel = script.wait_for(2)
    assert cancel == {"type": "response.cancel", "event_id": event_id}
    script.send(created("r1"), done("r1"), refusal(event_id, "response_cancel_not_active"))
    again = script.wait_for(3)[2]["event_id"]  # it may have come too early
    script.send(refusal(again, "response_cancel_not_active"))
    script.send(refusal(session.response.cancel(), "response_cancel_not_active"))
    assert types(session, 4) == ["session.created", "response.created", "response.done", "error"]
    session.response.cancel("r1", if_active=True)  # it is over
    session.response.cancel("r9", if_active=True)  # nobody knows
    assert script.wait_for(5)[4]["response_id"] == "r9"


def test_other_refusals_of_a_cancel(script: ResponseScript, session: rt.Session) -> None:
    """An error for another reason is an event."""
    session.response.create()
    script.send(refusal(session.response.cancel(if_active=True), "server_error"))
    assert types(session, 2) == ["session.created", "error"]


def test_many_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Forty responses asked for at once, from four threads, are all made, without an error."""
    with LocalServer() as server, rt.connect(base_url=server.url) as session:
        asked: list[str] = []

        def ask() -> None:
            asked.extend(session.response.create(when_idle=True) for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        finished: list[str] = []
        while len(finished) < 40:
            event = session.next_event(DEADLINE)
            assert not isinstance(event, ev.ErrorEvent)
            if isinstance(event, ev.ResponseDone):
                request = session.request_of(event.response.id or "")
                assert request is not None
                finished.append(request.event_id)
        for thread in threads:
            thread.join(DEADLINE)
    assert sorted(finished) == sorted(asked)


# --- The gate alone ----------------------------------------------------------------------------------


def test_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a response of which nothing comes any more is sent after a while, without an event."""
    monkeypatch.setattr(gate_module, "STALLED", 0.01)
    sent: list[bytes] = []
    posted = threading.Event()

    def post(event: rt.ClientEvent, payload: bytes) -> None:
        sent.append(payload)
        posted.set()

    gate = Gate(post, no_line())
    gate.note([beginning("r1")])
    assert not gate.ask_when_idle(b"e1", ev.ResponseCreate(event_id="e1"), "e1").line
    assert not gate.ask_when_idle(b"e2", ev.ResponseCreate(event_id="e2"), "e2").line
    assert posted.wait(DEADLINE)
    assert sent == [b"e1"]  # the next waits for this one
    gate.close()
    assert [event.event_id for event in gate.pending()] == ["e2"]


def test_no_stall_while_events_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response whose events come is waited for, however long; no timer is left when the session ends."""
    monkeypatch.setattr(gate_module, "STALLED", 3600.0)
    gate = Gate(lambda event, payload: pytest.fail("sent"), no_line())
    gate.note([beginning("r1")])
    gate.ask_when_idle(b"e1", ev.ResponseCreate(event_id="e1"), "e1")
    timers = [thread for thread in threading.enumerate() if thread.name == "realtime_sync-stalled"]
    assert timers
    gate.close()
    for timer in timers:
        timer.join(DEADLINE)
        assert not timer.is_alive()


def test_withdrawn(session: rt.Session) -> None:
    """What is pending can be taken back, once, and nothing else can."""
    first = session.response.create()
    second = session.response.create(when_idle=True)
    third = session.response.create(when_idle=True)
    assert not session.response.withdraw(first)
    assert session.response.withdraw(second)
    assert not session.response.withdraw(second)
    assert session.response.withdraw(third)


def test_what_is_not_understood(caplog: pytest.LogCaptureFixture) -> None:
    """An event that makes the ledger fail is logged, has no facts, and reaches the user all the same."""
    gate = Gate(lambda event, payload: None, no_line())
    broken = ev.ErrorEvent(event_id="x", error=None)  # type: ignore[arg-type]
    events = [broken, beginning("r1")]
    assert gate.note(events) == events
    assert broken.facts == ()
    assert events[1].facts
    assert "an event of type 'error' was not understood" in caplog.text


@pytest.mark.parametrize("as_struct", [True, False])
@pytest.mark.parametrize(("role", "goes_on"), [("user", True), ("system", False)])
def test_a_word_of_the_user(as_struct: bool, role: str, goes_on: bool) -> None:
    """What the user writes begins the rounds of tool calls anew; what else is sent does not."""
    gate = Gate(lambda event, payload: None, no_line())
    gate.ledger.responses.max_rounds = 2
    item: dict[str, Any] = {"type": "message", "role": role, "content": []}
    sent = {"type": "conversation.item.create", "item": item}
    ends = []
    for number in range(2):
        gate.sent(ev.InputAudioBufferAppend(audio=b"1234"), "a")  # is not looked at
        gate.sent(struct_of(sent) if as_struct else sent, f"e{number}")
        call = ev.FunctionCall(id=f"i{number}", call_id=f"c{number}", name="f", arguments="{}")
        response = ev.Response(id=f"r{number}", status="completed", output=[call], conversation_id="conv")
        [event] = gate.note([ev.ResponseDone(event_id="", response=response)])
        ends += [fact.goes_on for fact in event.facts or () if isinstance(fact, ResponseEnded)]
    assert ends == [True, goes_on]


@pytest.mark.parametrize("as_struct", [True, False])
def test_a_truncation_is_noted(as_struct: bool) -> None:
    """Where audio was asked to be truncated is known at once, from an event as a struct or as a dict."""
    gate = Gate(lambda event, payload: None, no_line())
    delta = ev.ResponseOutputAudioDelta(
        event_id="", response_id="r", item_id="i", output_index=0, content_index=0, delta=b"1234"
    )
    [event] = gate.note([delta])
    [part] = [fact.part for fact in event.facts or () if isinstance(fact, Audio)]
    sent = {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 70}
    gate.sent(struct_of(sent) if as_struct else sent, "t1")
    assert part.heard_ms == 70


def struct_of(sent: dict[str, Any]) -> rt.ClientEvent:
    event = rt.decode_client(json.dumps(sent))
    assert isinstance(event, rt.ClientEvent)
    return event


def beginning(name: str) -> rt.ServerEvent:
    wire = ev.Response(id=name, status="in_progress", conversation_id="conv")
    return ev.ResponseCreated(event_id="", response=wire)


# --- The bookkeeping against a model -----------------------------------------------------------------


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.booleans()),
        st.tuples(st.sampled_from(["answer", "vad", "end", "hear"]), st.just(False)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(STEPS)
def test_a_server_that_obeys(steps: list[tuple[str, bool]]) -> None:
    """Whatever the order of asking and answering: nothing is lost, sent twice, or taken for another's."""
    check_a_server_that_obeys(steps)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000, derandomize=False)
@given(STEPS)
def test_a_server_that_obeys_at_length(steps: list[tuple[str, bool]]) -> None:
    """As above, with many more orders, other ones each time."""
    check_a_server_that_obeys(steps)


def check_a_server_that_obeys(steps: list[tuple[str, bool]]) -> None:
    server = _Server()
    rest = [(step, False) for step in ("hear", "answer", "end")] * 2 * (len(steps) + 1)
    for step, beside in steps + rest:
        server.take(step, beside)
    assert not server.gate.pending()
    assert server.begun_for == server.known_for
    assert sorted(server.begun_for.values()) == sorted(server.asked)


class _Server:
    """A server that obeys in order, one response at a time; what it says is heard later."""

    def __init__(self) -> None:
        self.gate = Gate(lambda event, payload: self.inbox.append((payload.decode(), False)), no_line())
        self.inbox: list[tuple[str, bool]] = []  # what it has not read yet
        self.outbox: list[rt.ServerEvent] = []  # what the client has not heard yet
        self.asked: list[str] = []
        self.running: str | None = None
        self.by_itself = False
        self.begun_for: dict[str, str] = {}
        self.known_for: dict[str, str] = {}
        self.made = 0

    def take(self, step: str, out_of_band: bool) -> None:
        if step == "ask":
            name = f"ask_{len(self.asked)}"
            self.asked.append(name)
            if out_of_band:
                params = ev.ResponseCreateParams(conversation="none")
                self.gate.sent(ev.ResponseCreate(event_id=name, response=params), name)
                self.inbox.append((name, True))
            elif self.gate.ask_when_idle(name.encode(), ev.ResponseCreate(event_id=name), name).line:
                self.inbox.append((name, False))
        elif step == "answer" and self.inbox:
            self._answer(*self.inbox.pop(0))
        elif step == "vad" and self.running is None and not self.inbox:
            self.running, self.by_itself = self._begin("conv"), True
        elif step == "end" and self.running is not None:
            if self.by_itself and (self.inbox or self.outbox):
                # One that the server begins by itself and ends before the client could know is taken for
                # the answer to what it has asked for meanwhile: nothing on the wire tells them apart.
                return
            self._say(ev.ResponseDone, self.running, "conv")
            self.running = None
        elif step == "hear" and self.outbox:
            event = self.outbox.pop(0)
            self.gate.note([event])
            if isinstance(event, ev.ResponseDone) and (request := self._request_of(event.response.id or "")):
                self.known_for[event.response.id or ""] = request.event_id

    def _request_of(self, response_id: str) -> Request | None:
        response = self.gate.ledger.responses.get(response_id)
        return None if response is None else response.request

    def _answer(self, name: str, out_of_band: bool) -> None:
        if out_of_band:
            made = self._begin(None)
            self.begun_for[made] = name
            self._say(ev.ResponseDone, made, None)
        elif self.running is not None:
            details = ev.ErrorDetails(type="e", code=BUSY, message="", event_id=name)
            self.outbox.append(ev.ErrorEvent(event_id="e", error=details))
        else:
            self.running, self.by_itself = self._begin("conv"), False
            self.begun_for[self.running] = name

    def _begin(self, conversation: str | None) -> str:
        self.made += 1
        self._say(ev.ResponseCreated, f"r{self.made}", conversation)
        return f"r{self.made}"

    def _say(self, kind: Callable[..., rt.ServerEvent], name: str, conversation: str | None) -> None:
        self.outbox.append(kind(event_id="e", response=ev.Response(id=name, conversation_id=conversation)))
