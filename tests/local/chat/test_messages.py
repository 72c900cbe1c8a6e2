"""From a conversation to messages and tools."""

import itertools
from typing import Any

import pytest
from chat_endpoint import tool
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.events import (
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    InputAudio,
    InputImage,
    InputText,
    Item,
    McpListTools,
    McpTool,
    Message,
    OutputAudio,
    OutputText,
    ToolChoiceFunction,
    ToolChoiceMcp,
    UnknownObject,
)
from realtime_sync.local import Request
from realtime_sync.local.chat.messages import (
    NO_OUTPUT,
    NOT_SEEN,
    NOT_TRANSCRIBED,
    SILENCE,
    has_images,
    messages_of,
    tools_of,
)


def user(*parts: Any) -> Message:
    content = [InputText(text=part) if isinstance(part, str) else part for part in parts]
    return Message(role="user", content=content)


def assistant(*parts: Any) -> Message:
    content = [OutputText(text=part) if isinstance(part, str) else part for part in parts]
    return Message(role="assistant", content=content)


def system(text: str) -> Message:
    return Message(role="system", content=[InputText(text=text)])


def call(call_id: str = "c1", arguments: str = '{"city":"Oslo"}', name: str = "get_weather") -> FunctionCall:
    return FunctionCall(call_id=call_id, name=name, arguments=arguments)


def output(call_id: str = "c1", text: str = "cold") -> FunctionCallOutput:
    return FunctionCallOutput(call_id=call_id, output=text)


def whole(*items: Item, **options: Any) -> list[Any]:
    """The messages of these items."""
    return messages_of(Request(items=items), **options)


def messages(*items: Item, **options: Any) -> list[Any]:
    """The messages of these items, each as its role and its content."""
    return [(each["role"], each["content"]) for each in whole(*items, **options)]


def called(number: int = 1, arguments: str = '{"city":"Oslo"}') -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": f"call{number:05}", "type": "function", "function": function}


def answered(number: int = 1, content: str = "cold") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call{number:05}", "content": content}


def test_a_conversation() -> None:
    """Instructions are the system's message; who spoke or wrote what is a message of theirs."""
    request = Request(
        instructions="Be brief.",
        items=[
            user("Hello"),
            assistant("Hi!"),
            user(InputAudio(audio=b"\0\0", transcript="Where am I?")),
            assistant(OutputAudio(transcript="In Os")),
            user("What?", InputAudio(transcript="I said what?")),
        ],
    )
    assert messages_of(request, hint="Speak.") == [
        {"role": "system", "content": "Be brief.\n\nSpeak."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Where am I?"},
        {"role": "assistant", "content": "In Os"},
        {"role": "user", "content": "What?\nI said what?"},
    ]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (InputAudio(audio=b"\0\0"), NOT_TRANSCRIBED),
        (InputAudio(), NOT_TRANSCRIBED),
        (InputAudio(audio=b""), SILENCE),
        (InputAudio(audio=b"\0\0", transcript=""), SILENCE),
        (UnknownObject({"type": "input_smell"}), SILENCE),
    ],
)
def test_audio_without_words(part: Any, content: str) -> None:
    """Audio whose words are not known is named as such; in which there are none, it is left out."""
    assert messages(user(part)) == [("user", content)]


def test_one_after_the_other() -> None:
    """Two messages of one side become one: many templates take turns only."""
    said = messages(
        user("One"), user("Two"), assistant("Three"), assistant(""), assistant("Four"), user("Five")
    )
    assert said == [("user", "One\nTwo"), ("assistant", "Three\nFour"), ("user", "Five")]


@pytest.mark.parametrize("items", [[], [system("Be brief.")], [assistant("Hello!"), user("Hi")]])
def test_the_user_begins(items: list[Item]) -> None:
    """Where the model speaks first, the user is silent before: many templates need one to begin."""
    said = [each for each in messages(*items) if each[0] != "system"]
    assert said[0] == ("user", SILENCE)


def test_the_assistant_goes_on() -> None:
    """A model that spoke last is asked to go on, which it would else take for the beginning of its answer."""
    assert messages(user("Hi"), assistant("Hello")) == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", SILENCE),
    ]


def test_system_messages() -> None:
    """The system's words at the top are one message; later ones stay where they are."""
    said = messages(system("A"), system("B"), user("Hi"), system("C"), user("there"), hint="H")
    assert said == [("system", "H\nA\nB"), ("user", "Hi"), ("system", "C"), ("user", "there")]


def test_images() -> None:
    """An image is a part of its message; for a model that takes none, its place is marked."""
    image = InputImage(image_url="data:image/png;base64,AA", detail="low")
    item = user("See:", image, "?")
    url = {"url": "data:image/png;base64,AA", "detail": "low"}
    parts = [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": url},
        {"type": "text", "text": "?"},
    ]
    assert messages(item) == [("user", parts)]
    assert messages(item, user("Well?")) == [("user", [*parts, {"type": "text", "text": "Well?"}])]
    assert messages(item, images=False) == [("user", f"See:\n{NOT_SEEN}\n?")]
    assert messages(user(InputImage(file_id="file_1"))) == [("user", NOT_SEEN)]
    assert [has_images(messages_of(Request(items=[item]), images=shown)) for shown in (True, False)] == [
        True,
        False,
    ]


def test_calls() -> None:
    """Calls of one turn are one message, with what was said beside; their outputs follow in order."""
    items: list[Item] = [
        user("Hi"),
        assistant("Let me see."),
        call("c1"),
        call("c2", '{"city":"Rome"}'),
        output("c2", "warm"),
        output("c1"),
    ]
    assert whole(*items) == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [called(1), called(2, '{"city":"Rome"}')],
        },
        answered(1),
        answered(2, "warm"),
    ]


def test_calls_in_turn() -> None:
    """A call that was made after the output of another is a message of its own."""
    items: list[Item] = [
        user("Hi"),
        call("c1"),
        output("c1"),
        call("c2"),
        output("c2", "warm"),
        assistant("So."),
        user("Ah"),
    ]
    assert whole(*items)[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [called(1)]},
        answered(1),
        {"role": "assistant", "content": "", "tool_calls": [called(2)]},
        answered(2, "warm"),
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "Ah"},
    ]


def test_an_output_that_is_late() -> None:
    """What the user said while a function ran comes after its output: no endpoint takes it in between."""
    items: list[Item] = [user("Hi"), call(), user("Hurry!"), output()]
    assert [each["role"] for each in whole(*items)] == [
        "user",
        "assistant",
        "tool",
        "user",
    ]
    assert whole(*items)[2] == answered()


def test_half_a_call() -> None:
    """A call without an output gets one that says so; an output without a call is left out."""
    assert whole(user("Hi"), call())[2] == answered(1, NO_OUTPUT)
    assert messages(user("Hi"), output("c9")) == [("user", "Hi")]


def test_one_id_for_two_calls() -> None:
    """Calls that share an id are told apart, and each has its own output."""
    items: list[Item] = [user("Hi"), call(), output("c1", "one"), call(), output("c1", "two")]
    tools = [each for each in whole(*items) if each["role"] == "tool"]
    assert tools == [answered(1, "one"), answered(2, "two")]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "3", "null", '{"a":NaN}', "[" * 100_000, "\ud83d"])
def test_arguments_that_are_no_object(arguments: str) -> None:
    """Arguments that a template could not read are none."""
    function = whole(user("Hi"), call(arguments=arguments))[1]["tool_calls"][0]
    assert function == called(1, "{}")


def test_what_has_no_words() -> None:
    """What chat completions have no words for is left out."""
    others: list[Item] = [
        McpListTools(server_label="s", tools=[]),
        UnknownObject({"type": "x"}),
        UnknownObject(None),
    ]
    assert messages(user("Hi"), *others) == [("user", "Hi")]


def test_translation() -> None:
    """In a translation session the model is told to translate, and nothing else."""
    request = Request(items=[user("Guten Tag")], language="en", instructions="Be brief.")
    assert "'en'" in messages_of(request)[0]["content"]
    assert "Be brief." not in messages_of(request)[0]["content"]


ITEMS = st.lists(
    st.sampled_from([user("u"), assistant("a"), system("s"), call("1"), call("2"), output("1"), output("2")])
)


@given(ITEMS)
def test_always_regular(items: list[Item]) -> None:
    """Whatever the order of items: the user begins, the two take turns, each call has its output."""
    made = messages_of(Request(items=items, instructions="I"))
    assert made[0]["role"] == "system"
    spoken = [each for each in made[1:] if each["role"] != "system"]
    assert spoken[0]["role"] == "user"
    assert made[-1]["role"] != "assistant"
    due: list[str] = []
    for before, each in itertools.pairwise(made):
        if each["role"] == "tool":
            assert due.pop(0) == each["tool_call_id"]
        else:
            assert not due
            assert each["role"] != before["role"] or "tool_calls" in before
        due += [one["id"] for one in each.get("tool_calls", [])]
    assert not due


# --- Tools -------------------------------------------------------------------------------------------


def test_tools() -> None:
    """Functions are given with their parameters; tools of MCP servers are not."""
    request = Request(tools=[tool(), McpTool(server_label="s")], parallel_tool_calls=False)
    function = {"name": "get_weather", "description": "What it says.", "parameters": {"type": "object"}}
    assert tools_of(request) == {
        "tools": [{"type": "function", "function": function}],
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        ("auto", {}),
        ("required", {"tool_choice": "required"}),
        (
            ToolChoiceFunction(name="get_weather"),
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        ),
        (ToolChoiceMcp(server_label="s"), {}),
    ],
)
def test_tool_choice(choice: Any, fields: dict[str, Any]) -> None:
    """The choice is given if it is not what endpoints do by themselves."""
    asked = tools_of(Request(tools=[tool()], tool_choice=choice))
    assert asked.pop("tools")
    assert asked == fields


@pytest.mark.parametrize("request_", [Request(), Request(tools=[tool()], tool_choice="none")])
def test_no_tools(request_: Request) -> None:
    """Without tools, or if none may be called, nothing is said of them."""
    assert tools_of(request_) == {}


def test_a_tool_without_parameters() -> None:
    """A function without parameters is given as one that takes an empty object."""
    [made] = tools_of(Request(tools=[FunctionTool(name="f")]))["tools"]
    assert made["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}
