"""Situations that users of this protocol met, on whatever client: calls of tools, endless ones, and stops."""

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clock import Clock
from response_script import refusal
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer
from situations import (
    CANCEL,
    CREATE,
    Met,
    answer,
    asks,
    audio,
    began,
    call,
    ended,
    frame,
    item_done,
    look,
    message,
    words,
)

import realtime_sync as rt
from realtime_sync.voice import Assistant, ClockedSpeaker, Conversation, ToolRunner, Tools

OUTPUT = "conversation.item.create"


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What slow tools wait for, at the latest until the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def slowly(release: threading.Event) -> Callable[[], str]:
    """A tool that waits."""

    def look() -> str:
        """Look at the weather."""
        release.wait(DEADLINE)
        return "rain"

    return look


# --- Calls that are told of badly --------------------------------------------------------------------


def arguments_done(call_id: str, item: Any, index: int, city: str, **fields: Any) -> str:
    ids = {} if item == "missing" else {"item_id": item}
    arguments = {"arguments": json.dumps({"city": city}), "name": "look", "call_id": call_id}
    kind = "response.function_call_arguments.done"
    return frame(kind, response_id="r1", output_index=index, **ids, **arguments, **fields)


def arguments_delta(call_id: str, item: Any, index: int, delta: str) -> str:
    ids = {} if item == "missing" else {"item_id": item}
    kind = "response.function_call_arguments.delta"
    return frame(kind, response_id="r1", output_index=index, call_id=call_id, delta=delta, **ids)


def outputs(met: Met) -> dict[str, str]:
    """What the calls were answered, by their call_id."""
    answers = [event["item"] for event in met.of(OUTPUT)]
    found = {item["call_id"]: item["output"] for item in answers}
    assert len(found) == len(answers), "each is answered once"
    return found


LISTED: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "without ids": [call("", f"call_{city}", json.dumps({"city": city})) for city in ("Oslo", "Rome")],
    "with null": [call(None, f"call_{city}", json.dumps({"city": city})) for city in ("Oslo", "Rome")],
    "with ids": [call(f"fc_{city}", f"call_{city}", json.dumps({"city": city})) for city in ("Oslo", "Rome")],
}


@pytest.mark.parametrize("item", ["", None, "missing", "same"])
@pytest.mark.parametrize("indexes", [(0, 1), (0, 0)])
@pytest.mark.parametrize("deltas", ["none", "in order", "interleaved"])
@pytest.mark.parametrize("listed", LISTED)
def test_parallel_calls_without_ids(
    met: Met, item: Any, indexes: tuple[int, int], deltas: str, listed: str
) -> None:
    """Calls without item ids are told apart by their call_id: each runs once, then the model goes on."""
    cities = ("Oslo", "Rome")
    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look))
    met.watched_by(conversation, runner)
    pieces = [
        [arguments_delta(f"call_{city}", item, index, part) for part in ('{"city": ', f'"{city}"}}')]
        for city, index in zip(cities, indexes, strict=True)
    ]
    if deltas == "interleaved":
        pieces = [list(pair) for pair in zip(*pieces, strict=True)]
    frames = [piece for pieces_of_one in pieces for piece in pieces_of_one] if deltas != "none" else []
    frames += [
        arguments_done(f"call_{city}", item, index, city) for city, index in zip(cities, indexes, strict=True)
    ]
    met.session.response.create()
    met.hear(began("r1"), *frames, ended("r1", *LISTED[listed]))
    assert runner.wait(DEADLINE)
    assert outputs(met) == {"call_Oslo": "rain in Oslo", "call_Rome": "rain in Rome"}
    assert met.types() == [CREATE, OUTPUT, OUTPUT, CREATE]
    met.hear(*answer("r2", "It rains."))
    assert conversation.wait_for_answer(timeout=DEADLINE).text == "It rains."
    asked = conversation.responses[0]
    assert [each.call_id for each in asked.function_calls] == ["call_Oslo", "call_Rome"]
    assert [each.arguments for each in asked.function_calls] == [f'{{"city": "{city}"}}' for city in cities]


def test_a_call_that_is_told_of_twice(met: Met) -> None:
    """A call whose arguments are told of twice, or that is an item as well, runs once."""
    runner = ToolRunner(met.session, Tools(look))
    met.watched_by(runner)
    done = arguments_done("call_1", "", 0, "Oslo")
    whole = call("fc_1", "call_1", '{"city": "Oslo"}')
    met.session.response.create()
    met.hear(
        began("r1"), done, arguments_done("call_1", "", 0, "Oslo"), item_done("r1", whole), ended("r1", whole)
    )
    assert runner.wait(DEADLINE)
    assert met.types() == [CREATE, OUTPUT, CREATE]


@pytest.mark.parametrize(
    "ids", ["xxyy", "xyyy", "xyxy", "xyzy", "xy y", " xyz", "-xxy", "-xyy", "-xyz", "-xyx", "-  x", "- xy"]
)
def test_a_call_under_new_ids(met: Met, ids: str) -> None:
    """A call that is told of again under another id, as its call_id shows, runs once."""
    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look))
    met.watched_by(conversation, runner)
    names = [name.strip() for name in ids]
    added, done, listed = (call(name, "call_1", '{"city": "Oslo"}') for name in (names[0], *names[2:]))
    added |= {"status": "in_progress", "arguments": ""}
    begins = frame("response.output_item.added", response_id="r1", output_index=0, item=added)
    met.session.response.create()
    met.hear(
        began("r1"),
        *[begins] * (names[0] != "-"),
        arguments_done("call_1", names[1], 0, "Oslo"),
        item_done("r1", done),
        ended("r1", listed),
    )
    assert runner.wait(DEADLINE)
    assert outputs(met) == {"call_1": "rain in Oslo"}
    assert met.types() == [CREATE, OUTPUT, CREATE]
    [asked] = conversation.responses
    assert len(asked.function_calls) == 1


def test_calls_of_two_responses_without_ids(met: Met) -> None:
    """A call without an id in the next response is another one, even with the same call_id."""
    runner = ToolRunner(met.session, Tools(look))
    met.watched_by(runner)
    for number in (1, 2):
        done = arguments_done("call_1", "", 0, "Oslo").replace('"r1"', f'"r{number}"')
        met.hear(began(f"r{number}"), done, ended(f"r{number}"))
        assert runner.wait(DEADLINE)
    assert met.types() == [OUTPUT, CREATE, OUTPUT, CREATE]


def test_words_and_a_call_without_ids(met: Met) -> None:
    """A call beside a message that has no id either: both are known."""
    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look))
    met.watched_by(conversation, runner)
    met.session.response.create()
    met.hear(
        began("r1"), words("r1", "One moment.", ""), arguments_done("call_1", "", 1, "Oslo"), ended("r1")
    )
    assert runner.wait(DEADLINE)
    assert met.types() == [CREATE, OUTPUT, CREATE]
    assert conversation.responses[0].text == "One moment."
    met.hear(*answer("r2", "It rains."))
    assert conversation.wait_for_answer(timeout=DEADLINE).text == "It rains."


# --- A model that is forced to call, and one that likes to -------------------------------------------


FUNCTION = {"type": "function", "name": "look"}
MCP = {"type": "mcp", "server_label": "docs"}


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"tool_choice": "required"}, {"tool_choice": "auto"}),
        ({"tool_choice": FUNCTION}, {"tool_choice": "auto"}),
        ({"tool_choice": MCP}, {"tool_choice": "auto"}),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": None}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("when", ["before", "in the middle"])
def test_a_session_that_forces_calls(met: Met, settings: dict[str, Any], sent: Any, when: str) -> None:
    """A follow-up isn't forced to call by the session's settings; those that don't force hold for it."""
    runner = ToolRunner(met.session, Tools(look))
    met.watched_by(runner)
    updated = frame("session.updated", session={"type": "realtime", **settings})
    before = frame("session.updated", session={"type": "realtime", "tool_choice": "required"})
    met.hear(updated if when == "before" else before)
    met.session.response.create()
    met.hear(began("r1"))
    if when == "in the middle":
        met.hear(updated)
    met.hear(*asks("r1")[1:])
    assert runner.wait(DEADLINE)
    assert [event.get("response") for event in met.of(CREATE)] == [None, sent]


class Insatiable:
    """A server whose model calls a function again whatever it is answered.

    Attributes:
        until: The number of rounds after which it answers after all.
        asked: How often a response was requested.
    """

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.asked = 0

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        for number in itertools.count(1):
            event: Any = {}
            while event.get("type") not in (CREATE, "input_audio_buffer.commit"):
                opcode, payload = caller.read_message()
                if opcode != 1:
                    caller.frame(8, payload)
                    return
                event = json.loads(payload)
            if event["type"] == CREATE:
                self.asked += 1
            else:  # the user has spoken, and the server begins a response by itself
                caller.text(
                    frame("input_audio_buffer.speech_started", item_id="said", audio_start_ms=0),
                    frame("input_audio_buffer.speech_stopped", item_id="said", audio_end_ms=500),
                    frame("input_audio_buffer.committed", item_id="said", previous_item_id=None),
                )
            name = f"r{number}"
            caller.text(
                *(asks(name) if self.until is None or number <= self.until else answer(name, "Enough."))
            )


@pytest.fixture
def insatiable(open_session: Open) -> Iterator[Callable[[Insatiable], rt.Session]]:
    with contextlib.ExitStack() as stack:

        def opened(script: Insatiable) -> rt.Session:
            session = open_session(stack.enter_context(ScriptedServer(script)))
            stack.callback(session.close)
            return session

        yield opened


@pytest.mark.parametrize("limit", [{}, {"max_rounds": 1}, {"max_rounds": 3}])
@pytest.mark.parametrize("again", ["typed", "as a dict", "spoken"])
def test_rounds_are_limited(
    insatiable: Callable[[Insatiable], rt.Session],
    limit: dict[str, Any],
    again: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After some rounds without a word of the user no more is asked for; with a word it begins anew."""
    most = limit.get("max_rounds", 16)
    server = Insatiable()
    session = insatiable(server)
    conversation, runner = Conversation(session), ToolRunner(session, Tools(look), **limit)
    session.conversation.item.create("Hi")
    session.response.create()
    end = conversation.wait_for_answer(timeout=DEADLINE, visitor=runner)
    assert (end.id, end.status) == (f"r{most}", "completed")
    assert (end.reason or "").startswith("max_rounds")
    assert not end.goes_on
    assert runner.wait(DEADLINE)
    assert caplog.text.count("max_rounds") == 1
    if again == "spoken":
        session.input_audio_buffer.commit()
    else:
        wire: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "So?"}]}
        session.conversation.item.create("So?" if again == "typed" else wire)
        session.response.create()
    end = conversation.wait_for_answer(timeout=DEADLINE, visitor=runner)
    assert end.id == f"r{2 * most}"
    assert runner.wait(DEADLINE)
    assert server.asked == 2 * most - (again == "spoken")
    assert caplog.text.count("max_rounds") == 2


@pytest.mark.parametrize(("rounds", "limit"), [(40, None), (15, 16), (2, 3)])
def test_rounds_below_the_limit(
    insatiable: Callable[[Insatiable], rt.Session],
    rounds: int,
    limit: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fewer rounds than the limit, or any number without one, come to the answer."""
    session = insatiable(Insatiable(until=rounds))
    conversation, runner = Conversation(session), ToolRunner(session, Tools(look), max_rounds=limit)
    session.response.create()
    end = conversation.wait_for_answer(timeout=DEADLINE, visitor=runner)
    assert (end.text, end.reason) == ("Enough.", None)
    assert "max_rounds" not in caplog.text


def test_system_messages_are_no_words_of_the_user(met: Met) -> None:
    """What the program adds for the model between rounds doesn't begin them anew."""
    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look), max_rounds=2)
    met.watched_by(conversation, runner)
    met.session.response.create()
    met.hear(*asks("r1"))
    assert runner.wait(DEADLINE)
    wire: Any = {
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Be brief."}],
    }
    met.session.conversation.item.create(wire)
    met.hear(*asks("r2"))
    assert (conversation.wait_for_answer(timeout=DEADLINE).reason or "").startswith("max_rounds")


def test_out_of_band_responses_are_no_rounds(met: Met) -> None:
    """Responses outside the conversation neither count nor begin the rounds anew."""
    conversation, runner = Conversation(met.session), ToolRunner(met.session, Tools(look), max_rounds=2)
    met.watched_by(conversation, runner)
    met.session.response.create()
    met.hear(*asks("r1"))
    assert runner.wait(DEADLINE)
    met.session.response.create(conversation="none")
    met.hear(began("out", None), ended("out", message("m", "aside"), conversation_id=None), *asks("r2"))
    found = conversation.wait_for_answer(timeout=DEADLINE)
    assert (found.id, (found.reason or "")[:10]) == ("r2", "max_rounds")


@pytest.mark.parametrize("limit", [0, -1, 1.5, "16", float("inf")])
def test_limits_that_are_none(met: Met, limit: Any) -> None:
    """A limit of rounds is a whole number of at least 1, or None."""
    with pytest.raises(ValueError, match="max_rounds must be a whole number of at least 1, or None"):
        ToolRunner(met.session, Tools(look), max_rounds=limit)


# --- Stopped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("speaker", [True, False])
def test_interrupted_while_a_tool_works(met: Met, release: threading.Event, speaker: bool) -> None:
    """The call of an interrupted turn is answered, but not followed up; the next turn is whole."""
    device = ClockedSpeaker(clock=Clock()) if speaker else None
    assistant = Assistant(met.session, tools=[slowly(release)], speaker=device)
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*asks("r1"))
    assistant.interrupt()
    release.set()
    assert assistant.tool_runner.wait(DEADLINE)
    assert met.types()[1:] == [CREATE, OUTPUT]
    met.session.response.create()
    met.hear(*asks("r2"))
    assert assistant.tool_runner.wait(DEADLINE)
    assert met.types()[3:] == [CREATE, OUTPUT, CREATE]


def test_interrupted_before_the_calling_response_ends(met: Met, release: threading.Event) -> None:
    """An interrupted turn isn't followed up if its response runs on and ends as if nothing had happened."""
    assistant = Assistant(met.session, tools=[slowly(release)], speaker=ClockedSpeaker(clock=Clock()))
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*asks("r1")[:-1])
    assistant.interrupt()
    release.set()
    assert assistant.tool_runner.wait(DEADLINE)
    met.hear(asks("r1")[-1])
    assert met.types()[1:] == [CREATE, CANCEL, OUTPUT]


@pytest.mark.parametrize("begun", [True, False])
def test_interrupted_while_a_call_is_on_its_way(met: Met, begun: bool) -> None:
    """A call that the interrupted response makes in spite of it is answered, and not followed up either."""
    assistant = Assistant(met.session, tools=[look], speaker=ClockedSpeaker(clock=Clock()))
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*[began("r1")] * begun)
    assistant.interrupt()
    met.hear(*asks("r1")[begun:])
    assert assistant.tool_runner.wait(DEADLINE)
    assert [kind for kind in met.types()[1:] if kind != CANCEL] == [CREATE, OUTPUT]


@pytest.mark.parametrize("speaker", [True, False])
def test_interrupted_while_a_follow_up_is_pending(met: Met, release: threading.Event, speaker: bool) -> None:
    """A follow-up that waits for another response is dropped along with that response."""
    device = ClockedSpeaker(clock=Clock()) if speaker else None
    assistant = Assistant(met.session, tools=[slowly(release)], speaker=device)
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*asks("r1"), began("r2"), audio("r2", 100))
    release.set()
    assert assistant.tool_runner.wait(DEADLINE)
    assert met.types()[1:] == [CREATE, OUTPUT]
    assistant.interrupt()
    met.hear(ended("r2", status="cancelled"))
    assert met.types()[1:] == [CREATE, OUTPUT, CANCEL]


@pytest.mark.parametrize("first", ["rejected", "begun"])
def test_interrupted_while_a_follow_up_is_in_flight(met: Met, first: str) -> None:
    """A follow-up that is sent already is cancelled when it begins."""
    speaker = ClockedSpeaker(clock=Clock())
    assistant = Assistant(met.session, tools=[look], speaker=speaker)
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*asks("r1"))
    assert assistant.tool_runner.wait(DEADLINE)
    assistant.interrupt()
    cancel = met.of(CANCEL)[0]["event_id"]
    frames = [refusal(cancel, "response_cancel_not_active"), began("r2")]
    met.hear(*(frames if first == "rejected" else frames[::-1]), audio("r2", 100))
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, "r2"]
    assert assistant.playback is not None
    assert assistant.playback.pending_ms == 0
    assert met.seen.errors == []


def test_interrupted_while_a_follow_up_comes_too_late(met: Met) -> None:
    """A follow-up that the server then rejects, since it has begun a response by itself, isn't sent again."""
    assistant = Assistant(met.session, tools=[look], speaker=ClockedSpeaker(clock=Clock()))
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(*asks("r1"))
    assert assistant.tool_runner.wait(DEADLINE)
    follow_up = met.of(CREATE)[1]["event_id"]
    met.hear(began("r2"))
    assistant.interrupt()
    met.hear(refusal(follow_up), ended("r2", status="cancelled"))
    assert met.types()[1:] == [CREATE, OUTPUT, CREATE, CANCEL]


def test_interrupted_before_the_answer_begins(met: Met) -> None:
    """An assistant without a speaker that is interrupted before its answer begins cancels it then."""
    assistant = Assistant(met.session, tools=[look])
    met.watched_by(assistant.visitor)
    met.session.response.create()
    assistant.interrupt()
    met.hear(began("r1"))
    assert [event.get("response_id") for event in met.of(CANCEL)] == [None, "r1"]


def test_what_the_user_requested_is_not_dropped(met: Met, release: threading.Event) -> None:
    """An interruption drops the follow-ups of the assistant, not what the program has pending itself."""
    assistant = Assistant(met.session, tools=[slowly(release)])
    met.watched_by(assistant.visitor)
    met.session.response.create()
    met.hear(began("r1"))
    mine = met.session.response.create(when_idle=True)
    assistant.interrupt()
    met.hear(ended("r1", status="cancelled"))
    assert [event["event_id"] for event in met.of(CREATE)][1:] == [mine]


class Stop(Exception):
    """What the user's own code raises to leave."""


class Leaves(rt.Visitor[None]):
    """Leaves in the middle of a response."""

    def __init__(self, how: BaseException) -> None:
        self.how = how

    def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
        raise self.how


@pytest.mark.parametrize("how", [KeyboardInterrupt(), Stop()], ids=["Ctrl-C", "an exception"])
def test_stopped_while_a_follow_up_is_not_requested(
    met: Met, release: threading.Event, how: BaseException
) -> None:
    """An assistant that is stopped asks for no answer behind the user's back; its calls are answered."""
    assistant = Assistant(met.session, tools=[slowly(release)], visitors=[Leaves(how)])
    met.session.response.create()
    met.script.wait_for(2)
    met.script.send(*asks("r1"), began("r2"), words("r2", "So"))
    with pytest.raises(type(how)):
        assistant.run(timeout=DEADLINE)
    release.set()
    assert assistant.tool_runner.wait(DEADLINE)
    met.watched_by(assistant.visitor)
    met.hear(ended("r2"))
    assert met.types()[1:] == [CREATE, OUTPUT]


@pytest.mark.parametrize("how", [KeyboardInterrupt(), Stop()], ids=["Ctrl-C", "an exception"])
def test_stopped_while_a_follow_up_is_pending(met: Met, how: BaseException) -> None:
    """An assistant that is stopped while its follow-up waits for another response asks for no answer."""
    assistant = Assistant(met.session, tools=[look], visitors=[Leaves(how)])
    met.watched_by(assistant.visitor)
    for _ in range(2):
        met.session.response.create()
    met.hear(*asks("r1"))
    assert assistant.tool_runner.wait(DEADLINE)
    assert met.types()[1:] == [CREATE, CREATE, OUTPUT]
    met.script.send(began("r2"), words("r2", "So"))
    with pytest.raises(type(how)):
        assistant.run(timeout=DEADLINE)
    met.hear(ended("r2"))
    assert met.types()[1:] == [CREATE, CREATE, OUTPUT]


def test_a_pause_drops_nothing(met: Met) -> None:
    """An assistant that stops at an event, or when its time is up, has its follow-up requested."""
    assistant = Assistant(met.session, tools=[look])
    for _ in range(2):
        met.session.response.create()
    met.script.wait_for(3)
    met.script.send(*asks("r1"), began("r2"))
    assert assistant.run(until=rt.events.ResponseDone, timeout=DEADLINE)
    assert assistant.tool_runner.wait(DEADLINE)
    assert assistant.run(timeout=0.01) is None
    met.watched_by(assistant.visitor)
    met.hear(ended("r2"))
    assert met.types()[1:] == [CREATE, CREATE, OUTPUT, CREATE]
