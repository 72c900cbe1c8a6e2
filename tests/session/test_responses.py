"""`Responses`: which one an event belongs to, which request it answers, and whether the model goes on."""

from typing import Any

import pytest
from conversation_events import (
    BUSY,
    NO_CANCEL,
    added,
    answer,
    approval,
    at,
    call,
    cancelled,
    committed,
    complete,
    created,
    done,
    done_with,
    error,
    finished,
    item_added,
    item_done,
    speaks,
    wire,
    written,
)
from readable_facts import Step, allows, asks, asks_when_idle, cancels, check, play, row, said

from realtime_sync.session import facts
from realtime_sync.session.facts import Request
from realtime_sync.session.ledger import Ledger

# --- Which response an event belongs to ---------------------------------------------------------------

# fmt: off
RESPONSES = [
    row("plain",
        created(), item_added(answer()), written("a"), done(),
        then=["began r", "text i[0] + a", "ended r completed with i"],
        counted="response.output_text.delta: unknown part",
    ),
    row("the second of two",
        created("r"), done("r"), created("s"), done("s", "cancelled"),
        then=["began r", "ended r completed", "began s", "ended s cancelled"],
    ),
    row("no id at all",
        created(""), item_added(answer(), ""), written("a", response_id=""), done(""), created(""),
        item_added(answer("j"), ""), written("b", "j", response_id=""), done(""),
        then=["began ?", "text i[0] + a", "ended ? completed with i", "began ?'", "text j[0] + b",
        "ended ?' completed with j"], counted=None,
    ),
    row("null ids",
        wire("response.created", response={"id": None}), done_with({"id": None, "status": "completed"}),
        then=["began ?", "ended ? completed"], counted="response.done: response without id",
    ),
    row("one id for all",
        created(), item_added(answer("i")), done(), created(), item_added(answer("j")), done(),
        then=["began r", "ended r completed with i", "began r'", "ended r' completed with j"],
    ),
    row("one id for all, without done",
        created(), item_added(answer("i")), created(), item_added(answer("j")), done(),
        then=["began r", "ended r incomplete with i", "began r'", "ended r' completed with j"],
    ),
    row("created twice",
        created(), created(), done(),
        then=["began r", "ended r completed"], counted="response.created: repeated",
    ),
    row("the id comes late",
        created(""), item_added(answer(), "r"), written("a"), done("r"),
        then=["began ?", "text i[0] + a", "ended ? completed with i"],
        counted="response.output_item.added: late id, response.output_text.delta: unknown part",
    ),
    row("the id comes at the end",
        created(""), done("r"),
        then=["began ?", "ended ? completed"], counted="response.done: late id",
    ),
    row("an id of a megabyte is none",
        created("x" * 2**20), done("x" * 2**20),
        then=["began ?", "ended ? completed"], counted="response.done: response without id",
    ),
    row("an item's event without an id",
        created(), item_added(answer(), ""), written("a", response_id=""), done(),
        then=["began r", "text i[0] + a", "ended r completed with i"],
        counted="response.output_text.delta: unknown part",
    ),
    row("a done without an id, of a server that has none",
        created(""), done(None, "completed"),
        then=["began ?", "ended ? completed"], counted="response.done: response without id",
    ),
    row("a done without an id or a status, of a server that has ids, says nothing",
        created(), done_with({}), done(),
        then=["began r", "ended r completed"], counted="response.done: response without id",
    ),
    row("done under another id than its items",
        asks("e1"), item_added(answer(), "r"), done("s"),
        then=["began r for e1", "ended r completed with i"],
        counted="response.done: another id, response.output_item.added: unknown response",
    ),
    row("without created",
        item_added(answer()), written("a"), done(),
        then=["began r", "text i[0] + a", "ended r completed with i"], counted=None,
    ),
    row("without created and without items", done("r", "failed"), then=["began r", "ended r failed"]),
    row("without created, one id for all",
        asks("e1"), item_added(answer("i")), done(), asks("e2"), item_added(answer("j")), done(),
        then=["began r for e1", "ended r completed with i", "began r' for e2", "ended r' completed with j"],
        counted="response.output_item.added: unknown response",
    ),
    row("without created, one id for all, items only in done",
        done(output=[complete("i", "a")]), done(output=[complete("j", "b")]),
        then=["began r", "ended r completed with i", "began r'", "ended r' completed with j"],
    ),
    row("created after its items",
        item_added(answer()), created(), done(),
        then=["began r", "ended r completed with i"], counted=None,
    ),
    row("without done",
        created("r"), created("s"), done("s"),
        then=["began r", "ended r incomplete", "began s", "ended s completed"],
    ),
    row("without done, but whole",
        created("r"), item_added(answer()), item_done(complete("i", "a")), created("s"),
        then=["began r", "ended r completed with i", "began s"],
    ),
    row("without done, and an error had come",
        created("r"), error(code="x"), created("s"),
        then=["began r", "error x", "ended r failed: No.", "began s"],
    ),
    row("done after all",
        created("r"), created("s"), done("r"), done("s"),
        then=["began r", "ended r incomplete", "began s", "ended r completed", "ended s completed"],
    ),
    row("done twice",
        created(), done(), done(),
        then=["began r", "ended r completed", "ended r completed again"],
    ),
    row("done twice, differently",
        created(), done("r", "cancelled"), done(),
        then=["began r", "ended r cancelled", "ended r completed again"],
    ),
    row("one of two is out-of-band",
        asks("e1"), asks("e2", out_of_band=True), created("r"), created("s", None),
        item_added(answer("i"), "r"), item_added(answer("j"), "s"), written("b", "j", response_id="s"),
        written("a", "i", response_id="r"), done("s"), done("r"),
        then=["began r for e1", "began s for e2", "text j[0] + b", "text i[0] + a",
        "ended s completed with j", "ended r completed with i"], counted=None,
    ),
    row("both are out-of-band",
        asks("e1", out_of_band=True), asks("e2", out_of_band=True), created("r", None), created("s", None),
        done("r"), done("s"),
        then=["began r for e1", "began s for e2", "ended r completed", "ended s completed"],
    ),
    row("one of the server's own is out-of-band",
        created("r"), created("s", None), done("r"), done("s"),
        then=["began r", "began s", "ended r completed", "ended s completed"],
    ),
    row("Beta's names",
        created(), wire("response.text.delta", **at(), delta="a"),
        wire("response.text.done", **at(), text="ab"),
        wire("response.audio_transcript.delta", **at("j"), delta="c"),
        wire("response.audio_transcript.done", **at("j"), transcript="cd"),
        wire("response.audio.delta", **at("j"), delta="AAAA"), wire("response.audio.done", **at("j")),
        then=["began r", "text i[0] + a", "text i[0] = ab", "words j[0] + c", "words j[0] = cd",
        "audio j[0] 3", "silence j[0]"], counted=None,
    ),
    row("cancelled with an id", created(), cancelled("r"), then=["began r", "ended r cancelled"]),
    row("cancelled with a response",
        created(), wire("response.cancelled", response={"id": "r", "status": "cancelled"}),
        then=["began r", "ended r cancelled"],
    ),
    row("cancelled without a status",
        created(), wire("response.cancelled", response={"id": "r"}),
        then=["began r", "ended r cancelled"],
    ),
    row("cancelled without anything",
        created(), cancelled(),
        then=["began r", "ended r cancelled"], counted="response.cancelled: response without id",
    ),
    row("cancelled, then done",
        created(), cancelled("r"), done("r", "cancelled"),
        then=["began r", "ended r cancelled", "ended r cancelled again"],
    ),
    row("done, then cancelled",
        created(), done("r", "cancelled"), cancelled("r"),
        then=["began r", "ended r cancelled"], counted="response.cancelled: repeated",
    ),
    row("cancelled without anything, after it was over",
        created(), done(), cancelled(),
        then=["began r", "ended r completed"], counted="response.cancelled: response without id",
    ),
    row("cancelled without anything, in the beginning",
        cancelled(),
        then=[], counted="response.cancelled: response without id",
    ),
    row("cancelled twice",
        created(), cancelled("r"), cancelled("r"),
        then=["began r", "ended r cancelled"], counted="response.cancelled: repeated",
    ),
    row("a status that is none", created(), done("r", "in_progress"), then=["began r", "ended r completed"]),
    row("no status", created(), done_with({"id": "r"}), then=["began r", "ended r completed"]),
    row("a reason",
        created(),
        done("r", "incomplete", status_details={"type": "incomplete", "reason": "max_output_tokens"}),
        then=["began r", "ended r incomplete: max_output_tokens"],
    ),
    row("an error",
        created(),
        done("r", "failed", status_details={"error": {"type": "server_error", "code": "x"}}),
        then=["began r", "ended r failed: x"],
    ),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), RESPONSES)
def test_responses(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """An event belongs to the response that its server means, however that names it."""
    ledger = check(steps, then, counted, "began ended text words audio silence error")
    if then and then[-1].startswith("ended"):
        assert ledger.responses.active is None
        assert ledger.responses.is_idle


# --- Which request a response answers -----------------------------------------------------------------

# fmt: off
REQUESTS = [
    row("one", asks("e1"), created(), done(), then=["began r for e1", "ended r completed"]),
    row("in order",
        asks("e1"), asks("e2"), created("r"), done("r"), created("s"), done("s"),
        then=["began r for e1", "ended r completed", "began s for e2", "ended s completed"],
    ),
    row("none was made", created(), asks("e1"), done(), then=["began r", "ended r completed"]),
    row("out-of-band is told by the server",
        asks("e1"), asks("e2", out_of_band=True), created("x"), done("x"), asks("e3"),
        asks("e4", out_of_band=True), created("y", None), created("z"),
        then=["began x for e1", "ended x completed", "began y for e2", "began z for e3"],
    ),
    row("out-of-band is not told by the server",
        asks("e1", out_of_band=True), asks("e2"), created("r", None), created("s", None),
        then=["began r for e1", "began s for e2"],
    ),
    row("in the conversation, not out-of-band",
        asks("e1", out_of_band=True), asks("e2"), created("r"), created("s", None),
        then=["began r for e2", "began s for e1"],
    ),
    row("without created",
        asks("e1"), done(output=[complete("i", "a")]),
        then=["began r for e1", "ended r completed with i"],
    ),
    row("without anything but its end",
        asks("e1"), done_with({"status": "failed"}),
        then=["began ? for e1", "ended ? failed"], counted="response.done: response without id",
    ),
    row("rejected",
        asks("e1"), error("e1", code="x"), created(),
        then=["error x", "rejected response.create e1", "began r"],
    ),
    row("the second is rejected",
        asks("e1"), asks("e2"), error("e2"), created(),
        then=["error", "rejected response.create e2", "began r for e1"],
    ),
    row("rejected after a response of the server's own began",
        asks("e1"), created("vad"), error("e1", code=BUSY), done("vad"),
        then=["began vad for e1", f"error {BUSY}", "rejected response.create e1", "ended vad completed"],
    ),
    row("rejected by name, busy",
        created("vad"), asks("e1"), error("e1", code=BUSY),
        then=["began vad", f"error {BUSY}", "rejected response.create e1"],
    ),
    row("rejected without a name, busy",
        created("vad"), asks("e1"), error(code=BUSY),
        then=["began vad", f"error {BUSY}", "rejected response.create e1"],
    ),
    row("busy stands in the type",
        created("vad"), asks("e1"), error(type=BUSY),
        then=["began vad", f"error {BUSY}", "rejected response.create e1"],
    ),
    row("cancelled before it began",
        asks("e1"), cancels(), created(), done("r", "cancelled"),
        then=["began r for e1", "ended r cancelled"],
    ),
    row("cancelled before it began, too early",
        asks("e1"), cancels(), error("c1", code=NO_CANCEL), created(),
        then=["began r for e1"],
    ),
    row("cancelled too early, without a name",
        asks("e1"), cancels(), error(code=NO_CANCEL), created(),
        then=["began r for e1"],
    ),
    row("cancelled too late",
        created(), cancels(), done(), error("c1", code=NO_CANCEL),
        then=["began r", "ended r completed"],
    ),
    row("a cancellation that is rejected for another reason",
        created(), cancels(), error("c1", code="x"),
        then=["began r", "error x"],
    ),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), REQUESTS)
def test_requests(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """A response answers the oldest request that it can be the answer to; a rejection is told of once."""
    check(steps, then, counted, "began ended error rejected")


@pytest.mark.parametrize(
    ("steps", "sent"),
    [
        ([asks("e1"), cancels(), created()], [("r", "c1_1")]),
        ([asks("e1"), cancels(), error("c1", code=NO_CANCEL), created()], [("r", "c1_1")]),
        (
            [asks("e1"), asks("e2"), cancels(), created("r"), done("r", "cancelled"), created("s")],
            [("r", "c1_1"), ("s", "c1_2")],
        ),
        ([asks("e1"), cancels(), created("")], [(None, "c1_1")]),
        ([asks("e1"), cancels(), asks("e2"), created("r"), done("r"), created("s")], [("r", "c1_1")]),
        ([asks("e1", out_of_band=True), cancels(), created("r", None)], []),
        ([created(), cancels()], []),
        ([asks("e1"), cancels("c1", "old"), created()], []),
        ([cancels(), created()], []),
    ],
)
def test_cancelled_before_it_began(steps: list[Step], sent: list[tuple[str | None, str]]) -> None:
    """The wish is remembered: what was in flight is cancelled by its id when it begins."""
    ledger = Ledger()
    play(ledger, *steps)
    assert [(cancel.response_id, cancel.event_id) for cancel in ledger.responses.cancels] == sent
    unwanted = [
        fact.response.unwanted for fact in play(Ledger(), *steps) if isinstance(fact, facts.ResponseBegan)
    ]
    assert sum(unwanted) == len(sent)


def test_what_is_pending() -> None:
    """Requests wait while a response is active or requested; then they go out one at a time, in order."""
    ledger = Ledger()
    play(ledger, asks_when_idle("e1"), asks_when_idle("e2"), asks_when_idle("e3"))
    assert [pending.event.event_id for pending in ledger.requests.pending] == ["e2", "e3"]
    assert ledger.responses.next_request() is None
    play(ledger, created())
    assert ledger.responses.next_request() is None
    play(ledger, done())
    pending = ledger.responses.next_request()
    assert pending is not None
    assert (pending.event.event_id, pending.payload) == ("e2", b"e2")
    assert ledger.responses.next_request() is None
    assert said(created("s"), ledger=ledger) == ["began s for e2"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("field", ["code", "type"])
def test_pending_again(named: bool, field: str) -> None:
    """What is rejected as a response is active is pending again, unseen by the user, until that has ended."""
    ledger = Ledger()
    play(ledger, asks_when_idle("e1"), asks_when_idle("e2"))
    assert ledger.note(error("e1" if named else None, **{field: BUSY})) is None
    assert [pending.event.event_id for pending in ledger.requests.pending] == ["e1", "e2"]
    assert ledger.responses.next_request() is None  # what is active was not announced
    assert said(done_with({}), ledger=ledger) == []
    assert ledger.responses.next_request() is not None


def test_pending_while_something_stalls() -> None:
    """After a stall what is pending goes out once, and the next again waits for its turn."""
    ledger = Ledger()
    play(ledger, created(), asks_when_idle("e1"), asks_when_idle("e2"))
    ledger.responses.stall()
    assert ledger.responses.is_idle
    assert ledger.responses.next_request() is not None
    assert ledger.responses.next_request() is None


@pytest.mark.parametrize(
    ("steps", "response", "possible"),
    [
        ([], None, False),
        ([asks("e1")], None, True),
        ([created()], None, True),
        ([created(), done()], None, False),
        ([created()], "r", True),
        ([created(), done()], "r", False),
        ([], "unknown", True),
        ([asks("e1", out_of_band=True)], None, False),
    ],
)
def test_may_cancel(steps: list[Step], response: str | None, possible: bool) -> None:
    """Only what may be active can be cancelled; of what is unknown only the server knows."""
    ledger = Ledger()
    play(ledger, *steps)
    assert ledger.responses.may_cancel("c1", response) is possible


def test_a_match_that_was_wrong() -> None:
    """The request is taken back from the response that seemed to be its answer."""
    ledger = Ledger()
    play(ledger, asks("e1"), created("vad"))
    vad = ledger.responses.get("vad")
    assert vad is not None
    assert vad.request == Request("e1")
    play(ledger, error("e1", code=BUSY))
    assert vad.request is None


# --- How many rounds -----------------------------------------------------------------------------------


def turn(number: int, *, calls: bool = True, **fields: Any) -> list[Step]:
    item = call(f"c{number}", f"i{number}") if calls else answer(f"i{number}", "a", status="completed")
    return [created(f"r{number}", **fields), done(f"r{number}", output=[item])]


LIMIT = "max_rounds: 2 rounds of tool calls without a word of the user"


@pytest.mark.parametrize(
    ("between", "goes_on", "reasons"),
    [
        ([], [True, False], [LIMIT]),
        ([speaks()], [True, True], []),
        ([committed()], [True, True], []),
        ([lambda ledger: ledger.responses.user_wrote()], [True, True], []),
        (turn(9, calls=False), [True, False, True], []),
        ([added(call("other", "x"))], [True, False], [LIMIT]),
        ([asks("e", out_of_band=True), *turn(9, conversation=None)], [True, True, False], [LIMIT]),
        ([created("x"), done("x", "cancelled")], [True, False, True], []),
    ],
)
def test_max_rounds(between: list[Step], goes_on: list[bool], reasons: list[str]) -> None:
    """After so many rounds of calls without a word of the user the model does not go on, for that reason."""
    steps = [allows(2), *turn(1), *between, *turn(2)]
    ends = [fact for fact in play(Ledger(), *steps) if isinstance(fact, facts.ResponseEnded)]
    assert [end.goes_on for end in ends] == goes_on
    assert [end.reason for end in ends if end.reason] == reasons


def test_max_rounds_after_an_end_that_was_unsaid() -> None:
    """The limit holds for a response that ends for the second time, since its first end was not said."""
    steps = [allows(1), created(), item_done(call()), created("s"), done(output=[call()])]
    ends = [fact for fact in play(Ledger(), *steps) if isinstance(fact, facts.ResponseEnded)]
    assert [end.goes_on for end in ends] == [False, False]


def test_max_rounds_of_approvals_after_their_response() -> None:
    """The limit holds for MCP approvals, also if they are asked for after their response has ended."""
    ledger = Ledger()
    play(ledger, allows(3))
    asked: list[bool] = []
    for number in range(5):
        told = play(ledger, created(f"r{number}"), done(f"r{number}"), finished(approval(f"a{number}")))
        asked += [fact.goes_on for fact in told if isinstance(fact, facts.ApprovalAsked)]
    assert asked[:2] == [True, True]
    assert not all(asked)


def test_without_a_limit() -> None:
    """Without a limit there is none."""
    steps = [step for number in range(100) for step in turn(number)]
    ends = [fact for fact in play(Ledger(), *steps) if isinstance(fact, facts.ResponseEnded)]
    assert all(end.goes_on and end.reason is None for end in ends)


def test_rounds_begin_anew_after_the_limit() -> None:
    """A turn of the user's after the limit has as many rounds again."""
    steps = [allows(2), *turn(1), *turn(2), *turn(3), speaks(), *turn(4), *turn(5)]
    ends = [fact for fact in play(Ledger(), *steps) if isinstance(fact, facts.ResponseEnded)]
    assert [end.goes_on for end in ends] == [True, False, False, True, False]
