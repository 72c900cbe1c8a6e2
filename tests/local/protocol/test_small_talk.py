"""What can be answered without a model."""

import re
from typing import Any

import pytest

from realtime_sync.events import FunctionTool
from realtime_sync.local import CallFunction, DefaultResponder, Request, Say
from realtime_sync.local.protocol.small_talk import function_meant, small_talk

WEATHER = FunctionTool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer"},
        },
        "required": ["city"],
    },
)
LAMP = FunctionTool(
    name="switchLamp", parameters={"type": "object", "properties": {"on": {"type": "boolean"}}}
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Count to five.", "One, two, three, four, five."),
        ("please count from 3 to 1", "Three, two, one."),
        ("Can you count to twenty-one?", r"One, .*, twenty, twenty-one\."),
        ("count to 999999999999", r"One, .*, one hundred\."),
        ("What time is it?", r"It is \w+ .*\."),
        ("Tell me the time, please.", r"It is \w+ .*\."),
        ("Which day is it?", r"It is \w+day, \w+ \d+\."),
        ("Who are you?", "I am the local server .*"),
    ],
)
def test_small_talk(text: str, answer: str) -> None:
    """It counts, and knows the time, the day and what it is."""
    assert re.fullmatch(answer, small_talk(text) or "")


@pytest.mark.parametrize(
    "text", ["", "Why is the sky blue?", "I count on you.", "Sometimes.", "Hello there."]
)
def test_what_needs_a_model(text: str) -> None:
    """Everything else has no answer here."""
    assert small_talk(text) is None


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("What is the weather in Oslo?", {"city": "Oslo"}),
        ("Tell me the weather for New York, please", {"city": "New York"}),
        ("weather in Oslo for 3 days in celsius", {"city": "Oslo", "unit": "celsius", "days": 3}),
    ],
)
def test_the_function_that_is_meant(text: str, arguments: dict[str, Any]) -> None:
    """By its name, with what the text has for its parameters."""
    assert function_meant(text, [LAMP, WEATHER]) == ("get_weather", arguments, [])


def test_a_function_without_its_arguments() -> None:
    """What is required and not said is named."""
    for text in ("What about the weather?", "Weather?"):
        assert function_meant(text, [WEATHER]) == ("get_weather", {}, ["city"])


@pytest.mark.parametrize(
    "tools",
    [
        [],
        [LAMP],
        [object()],
        [FunctionTool(name="get_the")],
        [FunctionTool(name="sky", parameters=5)],  # type: ignore[arg-type]
    ],
)
def test_no_function_is_meant(tools: list[Any]) -> None:
    """No shared word, no call; odd declarations are no error."""
    assert function_meant("What is the weather in Oslo?", tools) is None


@pytest.mark.parametrize(
    ("request_", "output"),
    [
        (Request(heard_text="How are you?", heard_seconds=1.0), Say("You said: How are you?")),
        (
            Request(heard_text="Weather in Oslo.", tools=[WEATHER]),
            CallFunction("get_weather", {"city": "Oslo"}),
        ),
        (
            Request(heard_text="The weather, please.", tools=[WEATHER]),
            Say("To call get_weather, I need to know its city."),
        ),
        (
            Request(heard_text="Weather in Oslo.", tools=[WEATHER], tool_choice="none"),
            Say("You said: Weather in Oslo."),
        ),
    ],
)
def test_a_spoken_talk(request_: Request, output: Any) -> None:
    """The server repeats what it heard, and calls the function that is asked for."""
    assert DefaultResponder().respond(request_) == [output]
