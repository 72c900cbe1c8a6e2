"""A response: its events in order, its end, and what can go wrong in it."""

from collections.abc import Iterator
from typing import Any

import pytest
from response_order import check_turn
from talk import WEATHER, Talk, kinds

from realtime_sync import events as ev
from realtime_sync.events import codec
from realtime_sync.local import CallFunction, Incomplete, Request, Say, ScriptedResponder

TURNS: list[tuple[str, dict[str, Any]]] = [
    ("What is new?", {"output_modalities": ["text"]}),
    ("Hi", {"output_modalities": ["audio"]}),
    ('call weather {"city": "Reykjavik"}', {"tools": [WEATHER]}),
]


@pytest.mark.parametrize(("text", "params"), TURNS)
@pytest.mark.parametrize("beside", [False, True])
def test_a_whole_turn(text: str, params: dict[str, Any], beside: bool) -> None:
    """Every kind of answer streams in the legal order, in the conversation and out-of-band."""
    talk = Talk()
    talk.say(text)
    events = talk.turn(**params, conversation="none" if beside else "auto")
    response = check_turn(events, beside=beside)
    assert (response.status, response.status_details) == ("completed", None)
    assert len(talk.order()) == (1 if beside else 2)


@pytest.mark.parametrize(("text", "params"), TURNS)
@pytest.mark.parametrize("beside", [False, True])
def test_cancel_anywhere(text: str, params: dict[str, Any], beside: bool) -> None:
    """A response cancelled after any number of steps closes everything it had opened."""
    steps = 0
    while True:
        talk = Talk()
        talk.say(text)
        conversation = "none" if beside else "auto"
        events = talk.send("response.create", response={**params, "conversation": conversation})
        created = events[0]
        assert isinstance(created, ev.ResponseCreated)
        for _ in range(steps):
            events += talk.protocol.step()
        if not talk.protocol.active:
            break
        item_was_done = "response.output_item.done" in kinds(events)
        events += talk.send("response.cancel", response_id=created.response.id)
        response = check_turn(events, beside=beside)
        assert response.status == "cancelled"
        details = ev.ResponseStatusDetails(type="cancelled", reason="client_cancelled")
        assert response.status_details == details
        for item in response.output or []:
            assert item.status == ("completed" if item_was_done else "incomplete")  # type: ignore[union-attr]
        assert talk.protocol.step() == []
        check_turn(talk.turn(output_modalities=["text"]))
        steps += 1
    assert steps > 5


def test_several_items() -> None:
    """One response may say something and call functions; each item has its place."""
    script = ScriptedResponder([[Say("One moment."), CallFunction("a"), CallFunction("b", {"x": 1})]])
    talk = Talk(script, output_modalities=["text"])
    response = check_turn(talk.turn())
    assert [type(item).__name__ for item in response.output or []] == [
        "Message",
        "FunctionCall",
        "FunctionCall",
    ]
    assert len(talk.order()) == 3


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_a_responder_that_comes_to_no_end(reason: str) -> None:
    """A model that is stopped leaves the response incomplete, with what it made before and the reason."""

    class Stopped:
        def respond(self, request: Request) -> Iterator[Say]:
            yield Say("Hello")
            raise Incomplete(reason)

    response = check_turn(Talk(Stopped(), output_modalities=["text"]).turn())
    assert response.status == "incomplete"
    assert response.status_details == ev.ResponseStatusDetails(type="incomplete", reason=reason)
    assert len(response.output or []) == 1


def test_what_a_responder_is_told() -> None:
    """A responder is told the limits of the session and of the response; what has none is ``None``."""
    script = ScriptedResponder(["Hi"] * 3)
    talk = Talk(script, output_modalities=["text"])
    talk.turn()
    talk.update(max_output_tokens=50, parallel_tool_calls=False)
    talk.turn()
    talk.turn(max_output_tokens="inf", parallel_tool_calls=True)
    told = [(each.max_output_tokens, each.parallel_tool_calls) for each in script.requests]
    assert told == [(None, None), (50, False), (None, True)]
    assert script.requests[0].temperature is None


def test_a_responder_that_fails() -> None:
    """An exception in the responder fails the response, closes what is open, and nothing else."""

    class Broken:
        def respond(self, request: Request) -> Iterator[Say]:
            yield Say("So far, so good.")
            raise ZeroDivisionError("oh no")

    talk = Talk(Broken(), output_modalities=["text"])
    response = check_turn(talk.turn())
    assert response.status == "failed"
    assert response.status_details
    assert response.status_details.error
    assert response.status_details.error.message == "ZeroDivisionError: oh no"
    assert check_turn(talk.turn()).status == "failed"


@pytest.mark.parametrize("answer", [[42], RuntimeError("no")])
def test_a_responder_that_answers_nonsense(answer: Any) -> None:
    """What is no answer fails the response too."""
    talk = Talk(ScriptedResponder([answer]))
    assert check_turn(talk.turn()).status == "failed"


@pytest.mark.parametrize("config", [{"output_modalities": ["text"]}, {"output_modalities": ["audio"]}])
@pytest.mark.parametrize(
    "answer",
    [
        Say("a\ud83d"),
        CallFunction("a\ud83d"),
        CallFunction("f", '{"a": "\ud83d"}'),
        ValueError("a\ud83d"),
    ],
    ids=["text", "name", "arguments", "exception"],
)
def test_what_the_wire_cannot_carry(answer: Any, config: dict[str, Any]) -> None:
    """Half a surrogate pair from a responder fails the response, and every event can still be sent."""
    talk = Talk(ScriptedResponder([answer, "whole again"]), **config)
    failed, completed = talk.turn(), talk.turn()
    assert check_turn(failed).status == "failed"
    assert check_turn(completed).status == "completed"
    for event in failed + completed:
        codec.encode(event)


def test_the_token_limit() -> None:
    """A response that reaches max_output_tokens ends as incomplete."""
    talk = Talk(output_modalities=["text"])
    talk.say("Tell me all about it")
    response = check_turn(talk.turn(max_output_tokens=5))
    assert response.status == "incomplete"
    assert response.status_details == ev.ResponseStatusDetails(type="incomplete", reason="max_output_tokens")
    assert response.usage
    assert 5 <= response.usage.output_tokens <= 7
