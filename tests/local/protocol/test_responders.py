"""What answers in place of a model."""

import json

from response_order import answer, check_turn
from talk import WEATHER, Talk

from realtime_sync import events as ev
from realtime_sync.local import DefaultResponder, Request, ScriptedResponder


def test_answers_mention_the_question() -> None:
    """Each question gets its own answer, always the same."""
    talk = Talk(output_modalities=["text"])
    talk.say("Why is the sky blue?")
    first = answer(talk).content[0].text
    assert "Why is the sky blue?" in first
    assert len(first.split()) > 8
    talk.say("And the grass green?")
    assert "And the grass green?" in answer(talk).content[0].text


def test_call_on_request() -> None:
    """`call NAME {json}` calls a declared function, and its result is quoted."""
    talk = Talk(tools=[WEATHER], output_modalities=["text"])
    talk.say('call weather {"city": "Oslo"}')
    call = answer(talk)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    talk.add({"type": "function_call_output", "call_id": call.call_id, "output": "rain, 7 degrees"})
    assert "rain, 7 degrees" in answer(talk).content[0].text
    talk.say("call weather")
    assert answer(talk).arguments == "{}"


def test_no_call_of_what_is_not_declared() -> None:
    """A function that is not declared, or must not be called, is not called."""
    talk = Talk(tools=[WEATHER], output_modalities=["text"])
    talk.say("call tides")
    assert isinstance(answer(talk), ev.Message)
    talk.update(tool_choice="none")
    talk.say("call weather")
    assert isinstance(answer(talk), ev.Message)


def test_nothing_said() -> None:
    """Asked without a message, the default responder still answers."""
    assert list(DefaultResponder().respond(Request()))


def test_a_script_that_is_used_up() -> None:
    """A script answers in order, keeps what it was asked, and fails when it is used up."""
    script = ScriptedResponder(["one"])
    talk = Talk(script, output_modalities=["text"])
    talk.say("hello")
    assert answer(talk).content[0].text == "one"
    assert check_turn(talk.turn()).status == "failed"
    assert [request.last_user_text for request in script.requests] == ["hello", "hello"]
