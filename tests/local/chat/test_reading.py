"""What chunks say, in all the ways in which endpoints differ."""

from typing import Any

import pytest
from chat_endpoint import chunk

from realtime_sync.local.chat.reading import Called, Chunks, error_in


def calls_of(*deltas: Any) -> list[tuple[str, str]]:
    """Names and arguments of calls that come in these deltas, each a list of calls or one."""
    chunks = Chunks()
    for delta in deltas:
        chunks.take(chunk(tool_calls=delta if isinstance(delta, list) else [delta]))
    return [(call.name, call.arguments) for call in chunks.whole_calls()]


def part(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """A delta of a call; what is ``None`` is left out."""
    function = {"name": name, "arguments": arguments}
    return {**fields, "function": {key: value for key, value in function.items() if value is not None}}


TWO = [("a", '{"x": 1}'), ("b", '{"y": 2}')]


@pytest.mark.parametrize(
    "deltas",
    [
        [  # as OpenAI has it
            part("a", "", index=0, id="c1"),
            part(None, '{"x":', index=0),
            part(None, " 1}", index=0),
            part("b", "", index=1, id="c2"),
            part(None, '{"y": 2}', index=1),
        ],
        [[part("a", '{"x": 1}', index=0, id="c1"), part("b", '{"y": 2}', index=1, id="c2")]],
        [[part("a", '{"x": 1}', id="c1"), part("b", '{"y": 2}', id="c2")]],
        [[part("a", '{"x": 1}'), part("b", '{"y": 2}')]],
        [part("a", {"x": 1}), part("b", {"y": 2})],
        [part("a", '{"x": 1}', index=0, id="c1"), part("b", '{"y": 2}', index=0, id="c2")],
        [  # the name in each delta
            part("a", '{"x":', index=0, id="c1"),
            part("a", " 1}", index=0, id="c1"),
            part("b", '{"y": 2}', index=1, id="c2"),
        ],
        [  # each delta with an id of its own
            part("a", "", index=0, id="r1"),
            part(None, '{"x": 1}', index=0, id="r2"),
            part("b", '{"y": 2}', index=1, id="r3"),
        ],
        [part("a"), part(None, '{"x": 1}'), part("b"), part(None, '{"y": 2}')],
        [  # in turn
            part("a", '{"x":', index=0, id="c1"),
            part("b", '{"y":', index=1, id="c2"),
            part(None, " 1}", index=0),
            part(None, " 2}", index=1),
        ],
        [part("a", '{"x": 1}', index=3, id=None), part("b", '{"y": 2}', index=7, id=None)],
    ],
)
def test_calls(deltas: list[Any]) -> None:
    """Calls are put together, whatever an endpoint leaves out or repeats."""
    assert calls_of(*deltas) == TWO


@pytest.mark.parametrize("arguments", [None, "", "  "])
def test_no_arguments(arguments: Any) -> None:
    """A call without arguments has an empty object."""
    assert calls_of(part("a", arguments, index=0, id="c1")) == [("a", "{}")]


@pytest.mark.parametrize("delta", [None, 7, [7], [{}], [{"function": 7, "index": "x", "id": 7}]])
def test_odd_calls(delta: Any) -> None:
    """What is no call does no harm."""
    Chunks().take(chunk(tool_calls=delta))


def test_ids() -> None:
    """A call keeps its id."""
    chunks = Chunks()
    chunks.take(chunk(tool_calls=[part("a", "{}", index=0, id="c1")]))
    assert chunks.calls == [Called("c1", "a", "")]
    assert chunks.whole_calls() == [Called("c1", "a", "{}")]


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"content": "Hi"}, "Hi"),
        ({"role": "assistant", "content": None}, ""),
        ({"content": None, "refusal": "No."}, "No."),
        ({"reasoning_content": "Hm"}, ""),
        ({"reasoning": "Hm", "content": ""}, ""),
        (
            {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi"}, 7]},
            "Hi",
        ),
        ({"content": {"text": "Hi"}}, ""),
    ],
)
def test_text(delta: dict[str, Any], text: str) -> None:
    """The text is what is for the user: not reasoning."""
    assert Chunks().take({"choices": [{"delta": delta}]}) == text
    assert Chunks().take({"choices": [{"message": delta, "finish_reason": "stop"}]}) == text


@pytest.mark.parametrize(
    "odd",
    [
        *(None, [], 7, {}, {"choices": []}, {"choices": None}, {"choices": [7]}, {"choices": [{}]}),
        {"choices": [{"delta": None}]},
        {"choices": [{"index": 1, "delta": {"content": "Hi"}}]},
        {"choices": [], "usage": {"total_tokens": 7}},
    ],
)
def test_odd_chunks(odd: Any) -> None:
    """A chunk without a first choice says nothing."""
    chunks = Chunks()
    assert (chunks.take(odd), chunks.finish) == ("", "")


def test_finish() -> None:
    """The reason why the model ended is kept, and an empty one is none."""
    chunks = Chunks()
    for reason, kept in (("", ""), (None, ""), ("length", "length"), (None, "length")):
        chunks.take(chunk("Hi", reason))
        assert chunks.finish == kept


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "No.", "code": 7}}, "No."),
        ({"error": "No."}, "No."),
        ({"error": {"code": 7}}, "7"),
        ({"error": {"why": "x"}}, '{"why": "x"}'),
        ([{"error": {"message": "No."}}], "No."),
        ({"detail": "No."}, "No."),
        ({"detail": [{"loc": ["body"]}]}, '[{"loc": ["body"]}]'),
        ({"object": "error", "message": "No."}, "No."),
        ({"error": {"message": "No."}, **chunk("", "error")}, "No."),
        ({"error": None, **chunk("Hi")}, ""),
        ({**chunk("Hi"), "message": "x"}, ""),
        ({"choices": []}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_errors(answer: Any, message: str) -> None:
    """An error is known in all its forms, and nothing else is taken for one."""
    assert error_in(answer) == message
