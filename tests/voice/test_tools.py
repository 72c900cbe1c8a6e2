"""`Tools`: functions are declared, called as the model calls them, and approved."""

import datetime
import json
import logging
from typing import Any

import pytest
from tool_types import Custom, Mute, Place, Point, Span, Unit, add, pick

from realtime_sync.voice import ToolCall, Tools


def test_functions_at_once() -> None:
    """Functions can be passed to `Tools` at once; a list of them is rejected."""

    def one() -> None: ...

    def two() -> None: ...

    tools = Tools(one, two, workers=1)
    assert list(tools) == ["one", "two"]
    with pytest.raises(TypeError, match="plain function"):
        Tools([one])  # type: ignore[arg-type]


def test_declaration() -> None:
    """The decorator works with and without arguments, leaves functions as they are, and takes methods."""
    tools = Tools()

    @tools.function
    def one() -> str:
        """One."""
        return "1"

    @tools.function(name="zwei", description="Two.")
    def two(number: int = 2) -> str:
        return str(number)

    class Counter:
        count = 2

        def three(self) -> int:
            return self.count + 1

        @staticmethod
        def four() -> int:
            return 4

    tools.function(Counter().three, description="Three.")
    tools.function(Counter.four)
    assert one() == "1"
    assert two(3) == "3"
    assert list(tools) == ["one", "zwei", "three", "four"]
    assert len(tools) == 4
    assert "zwei" in tools
    assert "two" not in tools
    assert [tool.description or "" for tool in tools.definitions] == ["One.", "Two.", "Three.", ""]
    assert [tools.call(name) for name in tools] == ["1", "2", "3", "4"]


class Thing:
    def method(self, a: int) -> None: ...


@pytest.mark.parametrize("name", ["", "get weather", "größe", "a" * 65, "a\n"])
def test_bad_name(name: str) -> None:
    """A name that the server would reject is rejected at the declaration."""
    with pytest.raises(TypeError, match="name="):
        Tools().function(Thing().method, name=name)


def test_bad_settings() -> None:
    """A taken name, an invalid timeout and a number of workers below 1 are rejected."""
    tools = Tools()
    tools.function(custom_free)
    with pytest.raises(ValueError, match="already"):
        tools.function(custom_free)
    with pytest.raises(ValueError, match="timeout"):
        tools.function(custom_free, name="other", timeout=0)
    with pytest.raises(ValueError, match="timeout"):
        Tools(timeout=float("nan"))
    with pytest.raises(ValueError, match="workers"):
        Tools(workers=0)


def custom_free() -> None: ...


# --- A call -------------------------------------------------------------------------------------------


def returning(value: Any) -> Tools:
    tools = Tools()
    tools.function(lambda: value, name="give")
    return tools


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("text", "text"),
        ("", ""),
        ("\ud800", "?"),
        (None, "null"),
        (7, "7"),
        ({"degrees": 7}, '{"degrees":7}'),
        (Place("Oslo"), '{"city":"Oslo","country":"NO"}'),
        (Span(datetime.date(2025, 1, 31)), '{"first":"2025-01-31","days":1}'),
        (datetime.date(2025, 1, 31), '"2025-01-31"'),
        (b"\x00", '"AA=="'),
        (Unit.KELVIN, '"kelvin"'),
    ],
)
def test_output(value: Any, output: str) -> None:
    """The model reads text as it is, and anything else as JSON."""
    assert returning(value).call("give") == output


def test_output_of_a_kind_of_str() -> None:
    """A text is a text, however its own class would write it."""

    class Safe(str):
        def encode(self, *how: Any) -> bytes:
            raise RuntimeError

    assert returning(Safe("text")).call("give") == "text"


@pytest.mark.parametrize("value", [Custom(), {"a": Custom()}, ["\ud800"]])
def test_output_that_is_no_json(value: Any) -> None:
    """What can't be encoded as JSON is an error that the model can read."""
    assert "can't be encoded as JSON" in json.loads(returning(value).call("give"))["error"]


def test_arguments() -> None:
    """Arguments are converted before the call, and defaults are the function's own."""
    got: dict[str, Any] = {}
    marker = object()
    tools = Tools()

    @tools.function
    def function(
        place: Place, span: Span, unit: Unit, point: Point, number: float, rest: Any = marker
    ) -> None:
        got.update(place=place, span=span, unit=unit, point=point, number=number, rest=rest)

    given = {
        "place": {"city": "Oslo"},
        "span": {"first": "2025-01-31"},
        "unit": "kelvin",
        "point": [1, 2],
        "number": 3,
    }
    assert tools.call("function", json.dumps(given)) == "null"
    assert got == {
        "place": Place("Oslo"),
        "span": Span(datetime.date(2025, 1, 31)),
        "unit": Unit.KELVIN,
        "point": Point(1.0, 2.0),
        "number": 3.0,
        "rest": marker,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "missing required field `a`"),
        ('{"a": 1', "truncated"),
        ("nothing", "malformed"),
        ("[1]", "Expected `object`"),
        ('{"a": "1"}', "Expected `int`, got `str` - at `$.a`"),
        ('{"a": 1, "b": -1}', "`int` >= 0 - at `$.b`"),
        ('{"a": 1, "c": 1}', "unknown field `c`"),
        ('{"a": "\ud800"}', "surrogates"),
        ('{"a":' + "[" * 100_000, ""),
    ],
)
def test_wrong_arguments(arguments: str, problem: str) -> None:
    """Arguments that don't fit are not given to the function; the model reads what is wrong."""
    tools = Tools()
    tools.function(add)
    error = json.loads(tools.call("add", arguments))["error"]
    assert error.startswith("invalid arguments: ")
    assert problem in error


@pytest.mark.parametrize(("why", "problem"), [("mute", "Mute"), ("exit", "not today")])
def test_types_that_refuse(why: str, problem: str) -> None:
    """Whatever a type's own code raises, the arguments are wrong, and the model reads it."""
    tools = Tools()
    tools.function(pick)
    error = json.loads(tools.call("pick", json.dumps({"it": {"why": why}})))["error"]
    assert error == f"invalid arguments: {problem}"


def test_arguments_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What the model gave is logged at DEBUG only."""
    tools = Tools()
    tools.function(add)
    with caplog.at_level(logging.DEBUG, "realtime_sync"):
        tools.call("add", '{"a": "private"}')
    assert [record.levelname for record in caplog.records if "private" in record.getMessage()] == ["DEBUG"]
    assert any(record.levelname == "WARNING" for record in caplog.records)


def test_no_arguments() -> None:
    """An empty text is no arguments."""
    tools = Tools()
    tools.function(lambda: "yes", name="f")
    assert [tools.call("f"), tools.call("f", " "), tools.call("f", "{}")] == ["yes"] * 3


def test_unknown_name() -> None:
    """The model is told which functions there are."""
    tools = Tools()
    assert tools.call("sub") == '{"error":"unknown function \'sub\'; expected one of: (none)"}'
    tools.function(add)
    tools.function(custom_free)
    assert tools.call("sub") == '{"error":"unknown function \'sub\'; expected one of: add, custom_free"}'


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such city"), "ValueError: no such city"),
        (KeyError(), "KeyError"),
        (SystemExit(1), "SystemExit: 1"),
        (ValueError("\ud800"), "ValueError: ?"),
    ],
)
def test_exception(error: BaseException, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the function raises, the model reads, and the log has with its traceback."""

    def function() -> None:
        raise error

    tools = Tools()
    tools.function(function)
    assert json.loads(tools.call("function")) == {"error": text}
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_exception_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that can't even say what it is has a name at least."""

    def function() -> None:
        raise Mute

    monkeypatch.setattr(logging.getLogger("realtime_sync"), "disabled", True)  # the tests' own would stumble
    tools = Tools()
    tools.function(function)
    assert tools.call("function") == '{"error":"Mute"}'


def test_ctrl_c() -> None:
    """A Ctrl-C in a direct call is for the caller: in the function, the approval, and the arguments."""

    def interrupt(*call: ToolCall) -> bool:
        raise KeyboardInterrupt

    tools = Tools()
    tools.function(lambda: interrupt(), name="f")
    tools.function(custom_free, approve=interrupt)
    tools.function(pick)
    arguments = {"pick": '{"it": {"why": "ctrl-c"}}'}
    for name in tools:
        with pytest.raises(KeyboardInterrupt):
            tools.call(name, arguments.get(name, ""))


def test_approval() -> None:
    """The hook sees the call as it will be made, and only True lets it."""
    seen: list[ToolCall] = []
    verdict: Any = True

    def approve(call: ToolCall) -> bool | str:
        seen.append(call)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict  # type: ignore[no-any-return]

    tools = Tools()

    @tools.function(approve=approve)
    def pay(place: Place, euros: int = 5) -> str:
        return "paid"

    def outcome(answer: Any) -> str:
        nonlocal verdict
        verdict = answer
        return tools.call("pay", '{"place": {"city": "Oslo"}}')

    assert outcome(True) == "paid"
    assert seen == [ToolCall("", "pay", {"place": Place("Oslo"), "euros": 5})]
    assert outcome("too much") == '{"error":"the call was rejected: too much"}'
    assert outcome("") == '{"error":"the call was rejected: "}'
    for other in (False, None, 1, RuntimeError()):
        assert json.loads(outcome(other))["error"].startswith("the call was rejected: it")
    assert "invalid arguments" in tools.call("pay", "{}")
    assert len(seen) == 7, "nobody is asked about a call that can't be made"
