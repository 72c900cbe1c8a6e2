"""`Ledger`: what a server does, as tables of events in and facts out (in the words of `readable_facts`)."""

import json

import pytest
import samples
from conversation_events import (
    BUSY,
    added,
    answer,
    argument,
    at,
    begun,
    called,
    committed,
    complete,
    created,
    done,
    error,
    finished,
    heard,
    item_added,
    item_done,
    message,
    part_added,
    removed,
    sound,
    speaks,
    spoken,
    told,
    truncated,
    whole,
    wire,
    written,
)
from readable_facts import Step, asks, check, play, row, said, sends

import realtime_sync as rt
from realtime_sync.events import SERVER_EVENTS, ServerEvent
from realtime_sync.session import facts
from realtime_sync.session.ledger import Ledger

# --- Which item and part an event fills ---------------------------------------------------------------

# fmt: off
ITEMS = [
    row("a text",
        created(), item_added(answer()), part_added(), written("a"), whole("ab"),
        item_done(complete("i", "ab")),
        then=["made i in r", "part i[0]", "text i[0] + a", "text i[0] = ab", "part i[0] whole"],
    ),
    row("item ids used again",
        created("r"), item_added(answer()), written("a"), done("r"), created("s"), item_added(answer(), "s"),
        written("b", response_id="s"), written("c", response_id="s"),
        then=["made i in r", "text i[0] + a", "made i' in s", "text i'[0] + b", "text i'[0] + c"],
        counted="response.output_item.added: item id used again, response.output_text.delta: unknown part",
    ),
    row("item ids used again, by deltas only",
        created("r"), written("a"), done("r"), created("s"), written("b", response_id="s"),
        written("c", response_id="s"), written("d", response_id="s"),
        then=["made i in r", "text i[0] + a", "made i' in s", "text i'[0] + b", "text i'[0] + c",
        "text i'[0] + d"], counted=None,
    ),
    row("a late delta of an ended response",
        created("r"), written("a"), done("r"), created("s"), written("b"),
        then=["made i in r", "text i[0] + a", "text i[0] + b"], counted=None,
    ),
    row("a part is told twice",
        created(), item_added(answer()), *[part_added(event_id=name) for name in ("1", "2")], written("a"),
        then=["made i in r", "part i[0]", "part i[0]", "text i[0] + a"],
    ),
    row("several parts",
        created(), item_added(answer()), *[part_added(index) for index in (1, 0)],
        written("b", content_index=1), written("a"),
        then=["made i in r", "part i[1]", "part i[0]", "text i[1] + b", "text i[0] + a"],
    ),
    row("another id in each kind of event",
        created(), item_added(answer("a")), written("x", "a"), item_done(complete("b", "xy")),
        then=["made a in r", "text a[0] + x", "part a[0] whole"],
        counted="response.output_item.done: another item id, response.output_text.delta: unknown part",
    ),
    row("another id in done",
        created(), item_added(answer("a")), written("x", "a"), done(output=[complete("b", "xy")]),
        then=["made a in r", "text a[0] + x", "part a[0] whole"],
        counted="response.done: another item id, response.output_text.delta: unknown part",
    ),
    row("a complete message under another id in done",
        created(), item_done(complete("a", "x")), done(output=[complete("b", "x")]),
        then=["made a in r", "part a[0] whole", "part a[0] whole"], counted=None,
    ),
    row("no item ids",
        created(), written("a", ""), written("b", ""), whole("abc", ""),
        then=["made ? in r", "text ?[0] + a", "text ?[0] + b", "text ?[0] = abc"], counted=None,
    ),
    row("the item id comes late",
        created(), written("a", ""), written("b", "i"), item_done(complete("i", "ab")),
        then=["made ? in r", "text ?[0] + a", "text ?[0] + b", "part ?[0] whole"], counted=None,
    ),
    row("nothing was announced",
        spoken("a"), sound(b"1234"), wire("response.output_audio.done", **at()),
        wire("response.output_audio_transcript.done", **at(), transcript="ab"),
        wire("response.content_part.done", **at(), part={"type": "audio", "transcript": "ab"}),
        then=["made i in r", "words i[0] + a", "audio i[0] 4", "silence i[0]", "words i[0] = ab",
        "part i[0] whole"], counted=None,
    ),
    row("an id of a megabyte is none",
        created(), written("a", "x" * 2**20), written("b", "y" * 2**20),
        then=["made ? in r", "text ?[0] + a", "text ?[0] + b"], counted=None,
    ),
    row("whole in the item only",
        created(), item_done(complete("i", "ab")),
        then=["made i in r", "part i[0] whole"], counted="response.output_item.done: not added",
    ),
    row("whole in response.done only",
        created(), done(output=[complete("i", "ab")]),
        then=["made i in r", "part i[0] whole"],
    ),
    row("an item that is in progress is not whole",
        created(), item_added(answer("i", "a")),
        then=["made i in r", "part i[0]"],
    ),
    row("the user's", added(message("u", "Hi")), then=["part u[0] whole"]),
    row("an index that is none",
        created(), item_added(answer()), written("a", content_index=-1), written("b", content_index=1000),
        written("c", content_index=2**31),
        then=["made i in r"], counted="response.output_text.delta: index out of range",
    ),
    row("a message after a nameless call",
        created(), called("c1", ""), written("a", ""),
        then=["made ? in r", "arguments ? = {}", "made ?' in r", "text ?'[0] + a"], counted=None,
    ),
    row("a nameless call after a message",
        created(), written("a", ""), called("", ""), done(),
        then=["made ? in r", "text ?[0] + a", "made ?' in r", "arguments ?' = {}", "call ? f {}"],
        counted=None,
    ),
    row("one id for a message and a call",
        created(), written("a"), called("c", output_index=1), done(),
        then=["made i in r", "text i[0] + a", "made i' in r", "arguments i' = {}", "call c f {}"],
        counted=None,
    ),
    row("one id for a call and a message",
        created(), item_added(begun()), called(), written("a", output_index=1), done(),
        then=["made i in r", "arguments i = {}", "made i' in r", "text i'[0] + a", "call c f {}"],
        counted=None,
    ),
    row("an item's event without a response's id, while two run",
        asks("e1"), asks("e2", out_of_band=True), created(), item_added(answer()), created("s", None),
        written("a", response_id=""), item_done(complete("i", "a"), ""),
        then=["made i in r", "text i[0] + a", "part i[0] whole"], counted=None,
    ),
    row("an item without an id",
        added({"type": "message", "role": "user", "content": []}),
        then=[], counted="conversation.item.added: item without id",
    ),
    row("an item of a new kind", added({"type": "news", "id": "n"}), then=[]),
    row("retrieved",
        added(message("u")), wire("conversation.item.retrieved", item=message("u", "Hi")),
        then=["part u[0] whole"],
    ),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), ITEMS)
def test_items(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """An event fills the item and the part that its server means."""
    check(steps, then, counted, "made part text words audio silence arguments call")


@pytest.mark.parametrize(
    "steps",
    [
        [written("a", ""), written("b", "i")],
        [argument("{", item=""), argument("}", item="i")],
        [argument("{", item="j"), argument("}", item="i")],
    ],
)
def test_a_listener_learns_a_late_id(steps: list[ServerEvent]) -> None:
    """A conversation knows an item by the id that deltas have told later."""
    conversation = told(created(), *steps)
    assert [item.id for item in conversation.items] == ["i"]
    assert conversation.item("i") is not None


# --- The order of items -------------------------------------------------------------------------------

# fmt: off
ORDER = [
    row("named",
        added(message("a")), added(message("b"), "a"), added(message("c"), "a"), added(message("d"), "root"),
        then=["placed a 0", "placed b 1", "placed c 1", "placed d 0"],
    ),
    row("unnamed, the model's",
        added(message("a")), created(), item_added(answer("b")), added(answer("b")), done(),
        added(message("c")),
        then=["placed a 0", "placed b 1", "placed b 1", "placed c 2"],
    ),
    row("Beta's created",
        wire("conversation.item.created", item=message("a"), previous_item_id=None),
        wire("conversation.item.created", item=message("b"), previous_item_id="a"),
        then=["placed a 0", "placed b 1"],
    ),
    row("by done only",
        finished(message("a")),
        then=["placed a 0"], counted="conversation.item.done: not added",
    ),
    row("by its response only",
        created(), item_added(answer()), item_done(answer(status="completed")), done(),
        then=["placed i 0"],
    ),
    row("not of one out-of-band",
        asks("e1", out_of_band=True), created("r", None), item_added(answer()), written("a"),
        done(output=[complete("i", "a")]),
        then=[], counted=None,
    ),
    row("named late",
        added(message("a")), created(), item_added(answer("c")), added(message("b"), "a"),
        added(answer("c"), "b"),
        then=["placed a 0", "placed c 1", "placed b 1", "placed c 2"],
    ),
    row("unknown predecessor",
        added(message("a"), "zz"),
        then=["placed a 0"], counted="conversation.item.added: unknown previous_item_id",
    ),
    row("its own predecessor",
        added(message("a"), "a"),
        then=["placed a 0"], counted="conversation.item.added: unknown previous_item_id",
    ),
    row("a cycle",
        added(message("a"), "b"), added(message("b"), "a"), added(message("a"), "b"),
        then=["placed a 0", "placed b 1", "placed a 1"],
        counted="conversation.item.added: unknown previous_item_id",
    ),
    row("deleted",
        added(message("a")), added(message("b"), "a"), removed("a"),
        then=["placed a 0", "placed b 1", "deleted a"],
    ),
    row("deleted twice",
        added(message("a")), removed("a"), removed("a"),
        then=["placed a 0", "deleted a"], counted="conversation.item.deleted: unknown item",
    ),
    row("deleted, then a late event",
        added(message("a")), removed("a"), finished(message("a")),
        then=["placed a 0", "deleted a"], counted="conversation.item.done: deleted item",
    ),
    row("deleted, and its id used again",
        added(message("a")), removed("a"), added(message("a", "new")),
        then=["placed a 0", "deleted a", "placed a' 0"],
    ),
    row("deleted while it is being made",
        created(), item_added(answer()), removed("i"), written("a"), done(),
        then=["placed i 0", "deleted i"], counted=None,
    ),
    row("committed, without an event of its own",
        committed("u"), created(), item_added(answer()),
        then=["placed u 0", "placed i 1"],
    ),
    row("committed, then added", committed("u"), added(message("u")), then=["placed u 0", "placed u 0"]),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), ORDER)
def test_order(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """Items stand where the server has them, whatever it says of their predecessors."""
    check(steps, then, counted, "placed deleted forgotten")


# --- Whom an error concerns ---------------------------------------------------------------------------

# fmt: off
ERRORS = [
    row("nothing", error(code="x"), then=["error x"]),
    row("an event that is not known", error("zz"), then=["error", "rejected event zz"]),
    row("an event by name",
        sends("session.update", "e1"), error("e1"),
        then=["error", "rejected session.update e1"],
    ),
    row("case 11: an empty buffer",
        asks("e1"), created(), error(code="input_audio_buffer_commit_empty"), done(),
        then=["began r for e1", "error input_audio_buffer_commit_empty", "ended r completed"],
    ),
    row("case 11: the same, with a commit in flight",
        sends("input_audio_buffer.commit", "e0"), asks("e1"), error(code="input_audio_buffer_commit_empty"),
        created(),
        then=["error input_audio_buffer_commit_empty", "rejected input_audio_buffer.commit e0",
        "began r for e1"],
    ),
    row("case 12: a bad session.update before a request",
        sends("session.update", "e0"), asks("e1"), error(message="Invalid session type"), created(), done(),
        then=["error", "rejected session.update e0", "began r for e1", "ended r completed"],
    ),
    row("case 13: a proxy's own request",
        created(), error(code=BUSY), done(),
        then=["began r", f"error {BUSY}", "ended r completed"],
    ),
    row("case 13: the same in the type",
        created(), error(type=BUSY), done(),
        then=["began r", f"error {BUSY}", "ended r completed"],
    ),
    row("case 14: the session has expired",
        asks("e1"), created(), error(code="session_expired"),
        then=["began r for e1", "error session_expired"],
    ),
    row("case 14: the session has expired, a request in flight",
        asks("e1"), error(code="session_expired"),
        then=["error session_expired"],
    ),
    row("case 15: in mid-response, without an end",
        created("r"), error(code="x"), created("s"),
        then=["began r", "error x", "ended r failed: No.", "began s"],
    ),
    row("case 16: the cause of a failure",
        created(), error(type="response_failed", message="Overloaded."), done("r", "failed"),
        then=["began r", "error response_failed", "ended r failed: Overloaded."],
    ),
    row("case 16: a plain cause",
        created(), error(type="server_error", message="Overloaded."), done("r", "failed"),
        then=["began r", "error server_error", "ended r failed: Overloaded."],
    ),
    row("case 16: not that of a completed one",
        created(), error(type="server_error"), done(),
        then=["began r", "error server_error", "ended r completed"],
    ),
    row("case 16: not if another is named",
        created(), error(type="server_error"),
        done("r", "failed", status_details={"type": "failed", "error": {"message": "Own."}}),
        then=["began r", "error server_error", "ended r failed: Own."],
    ),
    row("case 16: not that of another event",
        sends("session.update", "e0"), created(), error("e0", type="server_error"), done("r", "failed"),
        then=["began r", "error server_error", "rejected session.update e0", "ended r failed"],
    ),
    row("a nameless one rejects the request",
        asks("e1"), error(),
        then=["error", "rejected response.create e1"],
    ),
    row("a nameless one, and the answer comes nevertheless",
        asks("e1"), error(), created(), done(),
        then=["error", "rejected response.create e1", "began r for e1", "ended r completed"],
    ),
    row("a nameless one rejects no request that was not made", error(code=BUSY), then=[f"error {BUSY}"]),
    row("a nameless one of a server that names them",
        sends("session.update", "e0"), error("e0"), asks("e1"), error(), created(),
        then=["error", "rejected session.update e0", "error", "began r for e1"],
    ),
    row("an empty name is none",
        sends("session.update", "e0"), error(""),
        then=["error", "rejected session.update e0"],
    ),
    row("an empty name of a request", asks("e1"), error(""), then=["error", "rejected response.create e1"]),
    row("an empty name is no name for later ones",
        error(""), asks("e1"), error(),
        then=["error", "error", "rejected response.create e1"],
    ),
    row("an event named twice",
        sends("session.update", "e0"), error("e0"), error("e0"),
        then=["error", "rejected session.update e0", "error", "rejected event e0"],
    ),
    row("the type tells",
        sends("session.update", "e0"), sends("conversation.item.delete", "e1"),
        error(type="item_delete_error"),
        then=["error item_delete_error", "rejected conversation.item.delete e1"],
    ),
    row("what nothing of ours can have caused",
        sends("session.update", "e0"), error(code="item_truncate_invalid_item_id"),
        then=["error item_truncate_invalid_item_id"],
    ),
    row("a deletion is answered",
        sends("conversation.item.delete", "e0", item_id="u"), added(message("u")), removed("u"), error(),
        then=["error"],
    ),
    row("another deletion is answered",
        sends("conversation.item.delete", "e0", item_id="u"), removed("v"), error(),
        then=["error", "rejected conversation.item.delete e0"],
        counted="conversation.item.deleted: unknown item",
    ),
    row("a transcription session's settings",
        sends("transcription_session.update", "e0"), error(param="session.input_audio_format"),
        then=["error", "rejected transcription_session.update e0"],
    ),
    row("a request by its param",
        sends("session.update", "e0"), asks("e1"), error(param="response.voice"),
        then=["error", "rejected response.create e1"],
    ),
    row("the param tells",
        sends("conversation.item.delete", "e0"), sends("session.update", "e1"),
        error(param="session.audio.input"),
        then=["error", "rejected session.update e1"],
    ),
    row("the code tells: delete",
        sends("session.update", "e1"), sends("conversation.item.delete", "e0", item_id="i"),
        error(code="item_delete_invalid_item_id"),
        then=["error item_delete_invalid_item_id", "rejected conversation.item.delete e0"],
    ),
    row("what was answered is not rejected",
        sends("session.update", "e0"), wire("session.updated", session={"type": "realtime"}), error(),
        then=["error"],
    ),
    row("what was taken before is not rejected",
        sends("session.update", "e0"), sends("conversation.item.create", "e1", item_id="u"),
        added(message("u")), error(),
        then=["error"],
    ),
    row("what was sent before an answered request is not rejected",
        sends("session.update", "e0"), asks("e1"), created(), error(),
        then=["began r for e1", "error"],
    ),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), ERRORS)
def test_errors(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """An error concerns the event that it names; without a name, only what it can concern."""
    check(steps, then, counted, "began ended error rejected")


# --- Truncation, and the user -------------------------------------------------------------------------

TRUNCATE = sends("conversation.item.truncate", "t1", item_id="i", content_index=0, audio_end_ms=70)
HEARD: list[Step] = [created(), item_added(answer()), sound(b"1234")]


@pytest.mark.parametrize(
    ("steps", "then", "heard_ms"),
    [
        ([TRUNCATE], [], 70),
        ([TRUNCATE, truncated(80)], ["truncated i[0] 80"], 70),
        ([TRUNCATE, error("t1", code="x")], ["error x", "rejected conversation.item.truncate t1"], None),
        ([TRUNCATE, error(code="x")], ["error x", "rejected conversation.item.truncate t1"], None),
        (
            [TRUNCATE, truncated(80), error("t2")],
            ["truncated i[0] 80", "error", "rejected event t2"],
            70,
        ),
        (
            [TRUNCATE, sends("conversation.item.truncate", "t2", item_id="i", audio_end_ms=50), error("t1")],
            ["error", "rejected conversation.item.truncate t1"],
            50,
        ),
        ([truncated(-1)], ["truncated i[0] 0"], None),
        ([truncated(80, "zz"), truncated(80, index=3)], [], None),
        (
            [sends("conversation.item.truncate", "t1", item_id="zz"), error("t1")],
            ["error", "rejected conversation.item.truncate t1"],
            None,
        ),
    ],
)
def test_truncated(steps: list[Step], then: list[str], heard_ms: int | None) -> None:
    """A truncation that was asked for counts at once, until it is rejected; a confirmed one is a fact."""
    ledger = Ledger()
    [part] = {fact.part for fact in play(ledger, *HEARD) if isinstance(fact, facts.Audio)}
    assert said(*steps, ledger=ledger) == then
    assert part.heard_ms == heard_ms


USAGE = {"type": "duration", "seconds": 1}
# fmt: off
USER = [
    row("a turn",
        speaks(), wire("input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=70), committed(),
        added(message("u")), heard("delta", delta="a"), heard("completed", transcript="ab", usage=USAGE),
        then=["speaks u 0", "pauses u 70", "made u", "placed u 0", "committed u", "told u", "placed u 0",
        "done u", "words u[0] + a", "words u[0] = ab", "transcribed u[0]"],
    ),
    row("its words come first",
        heard("delta", delta="a"), committed(),
        then=["made u", "words u[0] + a", "placed u 0", "committed u"],
    ),
    row("its words fail",
        heard("failed", error={"message": "No."}),
        then=["made u", "transcribed u[0]: No."],
    ),
    row("segments",
        heard("segment", text="a", id="s", speaker="A", start=0.0, end=1.0),
        then=["made u", "segment u[0] a"],
    ),
    row("no ids",
        committed(""), heard("delta", "", delta="a"), heard("completed", "", transcript="ab", usage=USAGE),
        committed(""), heard("delta", "", delta="b"),
        then=["made ?", "placed ? 0", "committed ?", "words ?[0] + a", "words ?[0] = ab", "transcribed ?[0]",
        "made ?'", "placed ?' 1", "committed ?'", "words ?'[0] + b"], counted=None,
    ),
    row("an index that is none",
        heard("delta", index=-1, delta="a"),
        then=["made u"], counted="conversation.item.input_audio_transcription.delta: index out of range",
    ),
]
# fmt: on


@pytest.mark.parametrize(("steps", "then", "counted"), USER)
def test_the_user(steps: tuple[Step, ...], then: list[str], counted: str | None) -> None:
    """What the user says becomes a message, and its words, in whatever order they come."""
    check(steps, then, counted)


def test_translations_and_settings() -> None:
    """A translation's audio belongs to no item; settings are told of whenever they are announced."""
    assert said(
        wire("session.created", session={"type": "realtime"}),
        wire("session.updated", session={"type": "realtime"}),
        wire("session.output_audio.delta", delta="AAAA"),
    ) == ["settings", "settings", "translation 3"]


# --- Repeated events ----------------------------------------------------------------------------------


def test_repeated() -> None:
    """An event that comes twice, by its id, is understood once and counted."""
    first = written("a")
    first.event_id = "event_1"
    ledger = Ledger()
    assert said(created(), item_added(answer()), first, first, ledger=ledger, only="text") == [
        "text i[0] + a"
    ]
    assert ledger.deviations["response.output_text.delta: repeated"] == 1


def test_one_id_for_all_events() -> None:
    """Where all events have the same id, the same delta twice is twice the text."""
    events = [created(), written("a"), written("b"), written("b")]
    for event in events:
        event.event_id = "same"
    assert said(*events, only="text") == ["text i[0] + a", "text i[0] + b", "text i[0] + b"]


# --- Every event --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", SERVER_EVENTS)
def test_every_event(tag: str) -> None:
    """Each event can come alone, twice, and after each other one."""
    event = rt.decode(samples.SERVER[tag])
    ledger = Ledger()
    for _ in range(2):
        ledger.note(event)
    for other in samples.ALL_SERVER.values():
        for one in (Ledger(), ledger):
            one.note(rt.decode(other))
            one.note(rt.decode(samples.SERVER[tag]))
            for fact in one.note(rt.decode(json.dumps({"type": tag, "event_id": "x"}))) or ():
                assert isinstance(fact, facts.Fact)


def test_a_new_kind_of_event() -> None:
    """What this version does not know says nothing."""
    assert said(wire("news", item_id="i"), rt.decode(b"no JSON")) == []
