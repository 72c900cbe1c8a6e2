"""Situations that users of this protocol met, on whatever client: cancellations, errors, waits, ends."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from clock import Clock
from leftovers import nothing_left
from response_script import BUSY, refusal
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer
from situations import (
    CANCEL,
    CREATE,
    NOT_ACTIVE,
    Met,
    answer,
    asks,
    audio,
    began,
    ended,
    error,
    frame,
    named_by,
    timed_out,
    words,
)

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.session import gate
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback, ToolRunner, Tools

FIELDS = ["code", "type"]  # where a server says what kind of error it is


# --- Cancelled before it begins ----------------------------------------------------------------------


REJECTIONS: dict[str, Callable[[str], list[str]]] = {
    "by its id": lambda name: [refusal(name, NOT_ACTIVE)],
    "without an id": lambda name: [refusal(None, NOT_ACTIVE)],
    "by its type": lambda name: [error(type=NOT_ACTIVE, event_id=name)],
    "by its type, without an id": lambda name: [error(type=NOT_ACTIVE)],
    "never": lambda name: [],
}


@pytest.mark.parametrize("rejection", REJECTIONS)
@pytest.mark.parametrize("first", ["rejected", "begun"])
def test_cancelled_before_it_begins(met: Met, rejection: str, first: str) -> None:
    """A response that is cancelled before it begins is cancelled by its id, once, when it begins."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    asked = met.session.response.create()
    cancel = met.session.response.cancel(if_active=True)
    bare = met.script.wait_for(2)[1]
    assert (bare["type"], bare.get("response_id"), bare["event_id"]) == (CANCEL, None, cancel)
    frames = [*REJECTIONS[rejection](cancel), began("r1")]
    met.hear(*(frames if first == "rejected" else frames[::-1]))
    again = met.of(CANCEL)[1]
    assert again["response_id"] == "r1"
    met.hear(words("r1", "So"), ended("r1", status="cancelled"), refusal(again["event_id"], NOT_ACTIVE))
    assert conversation.wait_for_response(asked, timeout=DEADLINE).status == "cancelled"
    assert met.types() == [CREATE, CANCEL, CANCEL]
    assert met.seen.errors == []


def test_cancelled_twice_before_it_begins(met: Met) -> None:
    """However often it is cancelled before it begins, one cancellation by its id is enough."""
    met.session.response.create()
    met.session.response.cancel(if_active=True)
    met.session.response.cancel(if_active=True)
    met.hear(began("r1"))
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, None, "r1"]


def test_only_what_was_requested_before_is_cancelled(met: Met) -> None:
    """A cancellation holds for what was requested before it; not for what is asked for later."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    met.session.response.create()
    cancel = met.session.response.cancel(if_active=True)
    asked = met.session.response.create()
    met.hear(refusal(cancel, NOT_ACTIVE), began("r1"), ended("r1", status="cancelled"), *answer("r2", "Yes."))
    assert conversation.wait_for_response(asked, timeout=DEADLINE).text == "Yes."
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, "r1"]


def test_out_of_band_is_not_cancelled(met: Met) -> None:
    """A cancellation without an id means the conversation's response; an out-of-band one goes on."""
    met.session.response.create(conversation="none")
    met.session.response.create()
    met.session.response.cancel(if_active=True)
    met.hear(began("out", None), began("r1"))
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, "r1"]


def test_the_cancellation_was_in_time(met: Met) -> None:
    """If the first cancellation ended the response, the second one's rejection is no error."""
    met.session.response.create()
    met.session.response.cancel(if_active=True)
    met.hear(began("r1"), ended("r1", status="cancelled"))
    [_, again] = met.of(CANCEL)
    met.hear(refusal(again["event_id"], NOT_ACTIVE))
    assert met.seen.errors == []


@pytest.mark.parametrize("rejection", REJECTIONS)
@pytest.mark.parametrize("first", ["rejected", "begun"])
@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_before_it_begins(met: Met, rejection: str, first: str, times: int) -> None:
    """Nothing is heard of a response that is interrupted before it begins; the next one is heard."""
    speaker = ClockedSpeaker(clock=Clock())
    playback = Playback(met.session, speaker)
    met.watched_by(playback)
    met.session.response.create()
    for _ in range(times):
        playback.interrupt()
    [name, *_] = [event["event_id"] for event in met.of(CANCEL)]
    frames = [*REJECTIONS[rejection](name), began("r1")]
    met.hear(*(frames if first == "rejected" else frames[::-1]), audio("r1", 200))
    assert playback.pending_ms == 0
    assert met.of(CANCEL)[-1]["response_id"] == "r1"
    met.hear(audio("r1", 200), ended("r1", status="cancelled"), began("r2"), audio("r2", 100))
    assert playback.pending_ms == 100
    assert len(met.of(CANCEL)) == times + 1
    assert met.seen.errors == []


def test_interrupted_while_the_last_one_is_heard_and_the_next_is_requested(met: Met) -> None:
    """An interruption ends what is still heard of the last response, and cancels the next when it begins."""
    clock = Clock()
    playback = Playback(met.session, ClockedSpeaker(clock=clock))
    met.watched_by(playback)
    met.session.response.create()
    met.hear(began("r1"), audio("r1", 500), ended("r1"))
    clock.pass_by(100)
    met.session.response.create()
    interruption = playback.interrupt()
    assert interruption is not None
    assert (interruption.response_id, interruption.audio_end_ms) == ("r1", 100)
    met.hear(began("r2"), audio("r2", 200))
    assert playback.pending_ms == 0
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, "r2"]


# --- Whom an error concerns --------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "code", ["input_audio_buffer_commit_empty", "item_truncate_invalid_item_id", "session_update_failed"]
)
@pytest.mark.parametrize("when", ["while the tool works", "before the follow-up begins", "as it runs"])
def test_an_error_about_something_else(met: Met, code: str, field: str, when: str) -> None:
    """A nameless error about another thing doesn't end the wait for an answer that tools delay."""
    release = threading.Event()

    def look() -> str:
        """Look at the weather."""
        release.wait(DEADLINE)
        return "rain"

    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look))
    met.watched_by(conversation, runner)
    problem = error("another thing", **named_by(code, field))
    met.session.response.create()
    met.hear(*asks("r1"))
    met.hear(*[problem] * (when == "while the tool works"))
    release.set()
    assert runner.wait(DEADLINE)
    met.hear(*[problem] * (when == "before the follow-up begins"))
    met.hear(began("r2"))
    met.hear(*[problem] * (when == "as it runs"))
    met.hear(words("r2", "It rains."), ended("r2"))
    found = conversation.wait_for_answer(timeout=DEADLINE)
    assert (found.id, found.status, found.text) == ("r2", "completed", "It rains.")
    assert met.types() == [CREATE, "conversation.item.create", CREATE]
    assert met.seen.errors == ["another thing"]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"code": "invalid_value", "param": "session.type"},
        {"type": "session_error"},
        {"code": "missing_required_parameter", "param": "session"},
    ],
)
@pytest.mark.parametrize("when", ["before it begins", "as it runs"])
def test_settings_are_rejected_just_before(met: Met, details: dict[str, Any], when: str) -> None:
    """A nameless error about settings sent before a request doesn't reject the request."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    met.session.send({"type": "session.update", "session": {"type": "absurd"}})
    asked = met.session.response.create()
    frames = [error("Invalid session type", **details), began("r1")]
    met.hear(*(frames if when == "before it begins" else frames[::-1]), words("r1", "Hi."), ended("r1"))
    assert conversation.wait_for_response(asked, timeout=DEADLINE).text == "Hi."
    with pytest.raises(TimeoutError):
        conversation.wait_for_response(timeout=0)


def test_settings_are_rejected_that_came_first(open_session: Open) -> None:
    """The announcement of the session doesn't answer settings that were sent before it."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.read_event()
        caller.read_event()
        caller.text(CREATED, error("Invalid session type"), *answer("r1", "Hi."))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation = Conversation(session)
        session.update(instructions="Be brief.")
        asked = session.response.create()
        found = conversation.wait_for_response(asked, timeout=DEADLINE)
        session.close()
    assert (found.status, found.text) == ("completed", "Hi.")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", [None, "a_proxy_s_own"])
@pytest.mark.parametrize("by", ["us", "the server"])
def test_somebody_else_s_request_is_rejected(met: Met, field: str, name: str | None, by: str) -> None:
    """While none of our requests is unanswered, a rejection of one changes nothing for us."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    asked = met.session.response.create() if by == "us" else None
    met.hear(began("r1"), words("r1", "Yes, "), error(event_id=name, **named_by(BUSY, field)))
    assert met.session.active_response == "r1"
    met.hear(words("r1", "indeed."), ended("r1"))
    found = conversation.wait_for_answer(timeout=DEADLINE)
    assert (found.status, found.text, found.reason, found.event_id) == (
        "completed",
        "Yes, indeed.",
        None,
        asked,
    )
    with pytest.raises(TimeoutError):
        conversation.wait_for_response(timeout=0)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["named", "nameless"])
def test_a_pending_request_meets_a_response_of_the_server(met: Met, field: str, name: str) -> None:
    """A request for an idle moment that comes too late is sent again, in whatever way it was rejected."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    asked = met.session.response.create(when_idle=True)
    met.script.wait_for(1)
    event_id = asked if name == "named" else None
    met.hear(began("r1"), error(event_id=event_id, **named_by(BUSY, field)), ended("r1"))
    if name == "named":  # else it may be another's, and r1 the answer
        assert [event["event_id"] for event in met.of(CREATE)] == [asked, asked]
        met.hear(*answer("r2", "Here."))
    assert conversation.wait_for_response(asked, timeout=DEADLINE).status == "completed"
    assert met.seen.errors == ([] if name == "named" else ["no"])


# --- The end of a session ----------------------------------------------------------------------------


WAITS: dict[str, Callable[[Conversation, str], object]] = {
    "answer": lambda conversation, asked: conversation.wait_for_answer(timeout=DEADLINE),
    "response": lambda conversation, asked: conversation.wait_for_response(timeout=DEADLINE),
    "its response": lambda conversation, asked: conversation.wait_for_response(asked, timeout=DEADLINE),
    "item": lambda conversation, asked: conversation.wait_for_item("i", timeout=DEADLINE),
    "any item": lambda conversation, asked: conversation.wait_for_item(timeout=DEADLINE),
    "transcript": lambda conversation, asked: conversation.wait_for_transcript("i", timeout=DEADLINE),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("before", ["unanswered", "running"])
def test_the_session_expires(open_session: Open, wait: str, field: str, before: str) -> None:
    """When the session expires, every wait ends with `ConnectionClosed`, which says that a retry may help."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        expired = error("60 minutes are over", **named_by("session_expired", field))
        caller.text(*[began("r1")] * (before == "running"), expired)
        caller.close(1001)

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation = Conversation(session)
        asked = session.response.create()
        with pytest.raises(rt.ConnectionClosed, match="60 minutes are over") as caught:
            WAITS[wait](conversation, asked)
    assert (caught.value.code, caught.value.retryable) == (1001, True)


@pytest.mark.parametrize("field", FIELDS)
def test_the_session_expires_while_a_tool_works(open_session: Open, field: str) -> None:
    """The wait for the answer after a tool ends with the connection, not with a failed response."""
    release = threading.Event()

    def look() -> str:
        """Look at the weather."""
        release.wait(DEADLINE)
        return "rain"

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        caller.text(*asks("r1"), error(**named_by("session_expired", field)))
        caller.close(1001)

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation, runner = Conversation(session), ToolRunner(session, Tools(look))
        session.response.create()
        with pytest.raises(rt.ConnectionClosed) as caught:
            conversation.wait_for_answer(timeout=DEADLINE, visitor=runner)
        release.set()
        assert runner.wait(DEADLINE)
    assert caught.value.retryable


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("name", "retryable"), [("session_expired", True), ("server_error", True), ("insufficient_quota", False)]
)
def test_what_a_retry_would_meet_again(open_session: Open, name: str, retryable: bool, field: str) -> None:
    """Whether a retry may help after an error depends on its kind, wherever the server names that."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error(**named_by(name, field)))
        caller.close(1011)

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionClosed) as caught:
        open_session(server).run(rt.Visitor(), timeout=DEADLINE)
    assert caught.value.retryable == retryable


def test_the_session_expires_and_names_a_request(open_session: Open) -> None:
    """The end of the session ends the wait, even if the error names the request as its occasion."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error(code="session_expired", event_id=caller.read_event()["event_id"]))
        caller.close(1001)

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation = Conversation(session)
        asked = session.response.create()
        with pytest.raises(rt.ConnectionClosed):
            conversation.wait_for_response(asked, timeout=DEADLINE)


@pytest.mark.parametrize(
    ("frames", "code", "end"),
    [
        ([], None, "time is up"),
        ([began("r1")], None, "time is up"),
        ([], 1000, "closed"),
        ([began("r1"), ended("r1")], 1000, "closed"),
        ([began("out", None), ended("out", conversation_id=None)], 1000, "closed"),
        ([began("r1")], 1000, "closed in mid-response"),
        ([began("r1"), words("r1", "So")], 1001, "closed in mid-response"),
        ([*answer("r1", "Yes."), began("r2")], 1000, "closed in mid-response"),
        ([began(None), words("", "So")], 1000, "closed in mid-response"),
    ],
)
def test_the_ends_of_a_run(open_session: Open, frames: list[str], code: int | None, end: str) -> None:
    """`run` without its event: the time is up, the server has left, or it has left in mid-response."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, *frames)
        if code is not None:
            caller.close(code)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        timeout = DEADLINE if code is not None else 0.05
        assert session.run(rt.Visitor(), until=ev.SessionClosed, timeout=timeout) is None
        closed = session.closed
        is_mid = closed and session.active_response is not None
        session.close()
    assert end == ("closed in mid-response" if is_mid else "closed" if closed else "time is up")


# --- A response that never ends ----------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["answer", "response", "its response", "item", "transcript"])
@pytest.mark.parametrize("before", ["unanswered", "running"])
def test_a_timeout_says_what_the_server_reported(met: Met, wait: str, before: str) -> None:
    """A wait that times out names what the server reported meanwhile."""
    conversation = Conversation(met.session)
    waits: dict[str, Callable[[], object]] = {
        "answer": lambda: conversation.wait_for_answer(timeout=0.05),
        "response": lambda: conversation.wait_for_response(timeout=0.05),
        "its response": lambda: conversation.wait_for_response(asked, timeout=0.05),
        "item": lambda: conversation.wait_for_item("i", timeout=0.05),
        "transcript": lambda: conversation.wait_for_transcript(timeout=0.05),
    }
    asked = met.session.response.create()
    met.script.wait_for(1)
    code = None if before == "running" else "input_audio_buffer_commit_empty"
    met.script.send(*[began("r1")] * (before == "running"), error("the GPU is on fire", code=code))
    assert timed_out(waits[wait], "meanwhile the server reported: the GPU is on fire")
    with pytest.raises(TimeoutError, match=r"within 0\.05 s$"):  # it was said in an earlier wait
        waits[wait]()


def test_the_next_response_frees_what_is_pending(met: Met) -> None:
    """A response without an end delays pending requests until the next one begins; its error is why."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    first = met.session.response.create()
    met.hear(began("r1"), words("r1", "So"), error("out of memory", type="server_error"))
    pending = met.session.response.create(when_idle=True)
    met.hear(began("r2"))
    assert met.session.active_response == "r2"
    failed = conversation.wait_for_response(first, timeout=DEADLINE)
    assert (failed.id, failed.status, failed.reason) == ("r1", "failed", "out of memory")
    assert met.types() == [CREATE]
    met.hear(ended("r2"))
    assert [event["event_id"] for event in met.of(CREATE)] == [first, pending]
    met.hear(*answer("r3", "Here."))
    assert conversation.wait_for_response(pending, timeout=DEADLINE).text == "Here."


def test_an_end_that_comes_late(met: Met) -> None:
    """An end that comes after the next response began frees nothing, and is how that response ended."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    first = met.session.response.create()
    met.hear(began("r1"), words("r1", "So"), began("r2"))
    pending = met.session.response.create(when_idle=True)
    met.hear(ended("r1", status="cancelled", status_details={"reason": "turn_detected"}))
    assert met.session.active_response == "r2"
    assert met.types() == [CREATE]
    late = conversation.wait_for_response(first, timeout=DEADLINE)
    assert (late.id, late.status, late.reason) == ("r1", "cancelled", "turn_detected")
    met.hear(ended("r2"))
    assert [event["event_id"] for event in met.of(CREATE)] == [first, pending]
    assert conversation.wait_for_response(timeout=DEADLINE).id == "r2"


def test_out_of_band_frees_nothing(met: Met) -> None:
    """A response outside the conversation that begins meanwhile doesn't end the one in it."""
    met.session.response.create()
    met.hear(began("r1"))
    met.session.response.create(conversation="none")
    met.session.response.create(when_idle=True)
    met.hear(began("out", None), ended("out", conversation_id=None))
    assert met.session.active_response == "r1"
    assert met.types() == [CREATE, CREATE]


@pytest.mark.parametrize("before", ["unanswered", "running", "in mid-text", "with an error"])
def test_what_stalls_frees_what_is_pending(met: Met, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pending request is sent after some time without an event of the response that it waits for."""
    monkeypatch.setattr(gate, "STALLED", 0.05)
    frames = {
        "unanswered": [],
        "running": [began("r1")],
        "in mid-text": [began("r1"), words("r1", "So")],
        "with an error": [began("r1"), error("out of memory")],
    }[before]
    first = met.session.response.create()
    met.script.wait_for(1)
    met.hear(*frames)
    pending = met.session.response.create(when_idle=True)
    assert [event["event_id"] for event in met.script.wait_for(2)] == [first, pending]


def test_what_only_seemed_to_stall(met: Met, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was sent too early is rejected, and sent again in its turn; its answer is its own."""
    monkeypatch.setattr(gate, "STALLED", 0.05)
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    first = met.session.response.create()
    met.hear(began("r1"))
    pending = met.session.response.create(when_idle=True)
    met.script.wait_for(2)
    monkeypatch.setattr(gate, "STALLED", DEADLINE)
    met.hear(refusal(pending), words("r1", "Yes."))
    assert len(met.of(CREATE)) >= 2
    met.hear(ended("r1"))
    assert {event["event_id"] for event in met.of(CREATE)} == {first, pending}
    met.hear(*answer("r2", "Here."))
    assert conversation.wait_for_response(first, timeout=DEADLINE).text == "Yes."
    assert conversation.wait_for_response(pending, timeout=DEADLINE).text == "Here."
    assert met.seen.errors == []


# --- Why a response failed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "status", "details", "reason"),
    [
        ({"type": "response_failed"}, "failed", None, "out of memory"),
        ({"type": "server_error", "code": "server_error"}, "failed", None, "out of memory"),
        ({"type": "response_failed"}, "failed", {"type": "failed"}, "out of memory"),
        ({"type": "response_failed"}, "failed", {"type": "failed", "error": None}, "out of memory"),
        ({"type": "response_failed"}, "failed", {"error": {"type": "x", "message": "its own"}}, "its own"),
        ({"type": "response_failed"}, "completed", None, None),
        ({"type": "response_failed"}, "cancelled", {"reason": "turn_detected"}, "turn_detected"),
        ({"code": "input_audio_buffer_commit_empty"}, "failed", None, None),
        ({"code": BUSY}, "failed", None, None),
    ],
)
def test_the_cause_came_before(
    met: Met, problem: dict[str, Any], status: str, details: Any, reason: str | None
) -> None:
    """A response that failed without a reason failed for that of the nameless error in the middle of it."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    met.session.response.create()
    end = ended("r1", status=status, status_details=details)
    met.hear(began("r1"), words("r1", "So"), error("out of memory", **problem), end)
    found = conversation.wait_for_answer(timeout=DEADLINE)
    assert (found.status, found.reason) == (status, reason)
    met.hear(began("r2"), ended("r2", status="failed"))
    assert conversation.wait_for_answer(timeout=DEADLINE).reason is None  # it was the other's


# --- Ends of nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"response": None}, {"response": {}}, {"response_id": ""}])
@pytest.mark.parametrize("before", ["nothing", "a response", "a request"])
@pytest.mark.parametrize("times", [1, 2])
def test_the_end_of_no_response(met: Met, fields: dict[str, Any], before: str, times: int) -> None:
    """`response.cancelled` without any id, when nothing runs, is counted and ends no wait."""
    conversation = Conversation(met.session)
    met.watched_by(conversation)
    if before != "nothing":
        met.session.response.create()
        met.hear(*answer("r1", "First."))
        assert conversation.wait_for_response(timeout=DEADLINE).text == "First."
    asked = met.session.response.create() if before == "a request" else None
    met.hear(*[frame("response.cancelled", **fields) for _ in range(times)])
    asked = asked or met.session.response.create()
    met.hear(*answer("r2", "Second."))
    found = conversation.wait_for_response(timeout=DEADLINE)
    assert (found.id, found.status, found.text, found.event_id) == ("r2", "completed", "Second.", asked)
    assert met.session.deviations["response.cancelled: response without id"] == times
    assert len(conversation.responses) == (1 if before == "nothing" else 2)


# --- Taken back --------------------------------------------------------------------------------------


def test_withdrawn(met: Met) -> None:
    """A pending request can be taken back once; it is never sent, and delays no other."""
    first = met.session.response.create(when_idle=True)
    pending = [met.session.response.create(when_idle=True) for _ in range(3)]
    assert met.session.response.withdraw(pending[0])
    assert not met.session.response.withdraw(pending[0])
    assert not met.session.response.withdraw(first)
    assert not met.session.response.withdraw("no such event")
    met.hear(*answer("r1", "First."))
    assert [event["event_id"] for event in met.of(CREATE)] == [first, pending[1]]
    assert not met.session.response.withdraw(pending[1])
    met.session.close()
    with pytest.raises(rt.ConnectionClosed) as caught:
        met.session.response.create()
    assert [event.event_id for event in caught.value.unsent] == [pending[2]]


def test_withdrawn_after_it_was_rejected(met: Met) -> None:
    """A request that waits again, since the server has begun a response by itself, can be taken back."""
    asked = met.session.response.create(when_idle=True)
    met.hear(began("r1"), refusal(asked))
    assert met.session.response.withdraw(asked)
    met.hear(ended("r1"))
    assert met.types() == [CREATE]


def test_closed_while_something_is_pending(met: Met) -> None:
    """A session that is closed leaves no timer behind for what was pending."""
    with nothing_left():
        met.session.response.create()
        met.session.response.create(when_idle=True)
        met.session.close()


@pytest.mark.parametrize("by", ["cancel", "interrupt"])
def test_stopped_while_a_request_that_comes_too_late_is_in_flight(met: Met, by: str) -> None:
    """What was requested before the user pressed stop isn't sent again after the server has rejected it."""
    playback = Playback(met.session, ClockedSpeaker(clock=Clock()))
    met.watched_by(playback)
    asked = met.session.response.create(when_idle=True)
    met.hear(began("r1"))  # the server's own, which looks like the answer
    if by == "cancel":
        met.session.response.cancel(if_active=True)
    else:
        playback.interrupt()
    met.hear(refusal(asked), ended("r1", status="cancelled"))
    assert met.types() == [CREATE, CANCEL]
