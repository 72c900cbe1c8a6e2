"""`Tools`: functions are declared, called as the model calls them, and approved."""

import array
import collections
import contextlib
import datetime
import decimal
import fractions
import gc
import ipaddress
import json
import logging
import pathlib
import sqlite3
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import Mock

import numpy
import pydantic
import pytest
from tool_types import Custom, Mute, Place, Point, Span, Unit, add, pick

from realtime_sync.events import FunctionTool, McpTool
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
    described = [tool.description or "" for tool in tools.definitions if isinstance(tool, FunctionTool)]
    assert described == ["One.", "Two.", "Three.", ""]
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


def test_tools_of_the_server() -> None:
    """MCP servers, and other tools that the server runs, are defined with the functions, and are none."""
    docs = McpTool(server_label="docs", server_url="https://example.com/mcp")
    mail = {"type": "mcp", "server_label": "mail", "connector_id": "connector_gmail", "brand_new": 1}
    tools = Tools(docs, add, mail, {"type": "web_search"}, {"type": "web_search", "region": "NO"})
    tools.function(custom_free)
    [*functions, first, second, third, fourth] = tools.definitions
    assert [tool.name for tool in functions if isinstance(tool, FunctionTool)] == ["add", "custom_free"]
    assert (first, second) == (docs, mail)
    assert (third, fourth) == ({"type": "web_search"}, {"type": "web_search", "region": "NO"})
    assert list(tools) == ["add", "custom_free"]
    assert len(tools) == 2
    assert "docs" not in tools


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "authorization": "secret"},
        {"name": "f", "authorization": "secret"},
        {"type": None},
        FunctionTool(name="f"),
        "mcp",
    ],
)
def test_what_is_no_tool_of_the_server(tool: Any) -> None:
    """The definition of a function, without the function, is rejected; nothing secret in it is shown."""
    with pytest.raises(TypeError, match=r"give a function as itself|plain function") as caught:
        Tools(tool)
    assert "secret" not in str(caught.value)


def test_labels_of_mcp_servers() -> None:
    """Each MCP server has a label of its own, which its calls name."""
    docs = McpTool(server_label="docs", server_url="https://example.com/mcp")
    for other in (docs, {"type": "mcp", "server_label": "docs", "server_url": "https://example.org"}):
        with pytest.raises(ValueError, match="labelled 'docs' exists already"):
            Tools(docs, other)


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


class City(pydantic.BaseModel):
    name: str
    founded: datetime.date


class Number(int):
    pass


def row() -> Any:
    """A row of a database."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("select 1 as a").fetchone()


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (City(name="Oslo", founded=datetime.date(1048, 1, 1)), {"name": "Oslo", "founded": "1048-01-01"}),
        ([City(name="Oslo", founded=datetime.date(1048, 1, 1))], [{"name": "Oslo", "founded": "1048-01-01"}]),
        (numpy.float64(1.5), 1.5),
        (numpy.int32(7), 7),
        (numpy.bool_(True), True),
        (numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({"a": {numpy.int64(1): numpy.float32(0.5)}}, {"a": {"1": 0.5}}),
        (array.array("d", [1.5]), [1.5]),
        (pathlib.PurePosixPath("/a"), "/a"),
        ({pathlib.PurePosixPath("/a"): {1}}, {"/a": [1]}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (row(), {"a": 1}),
        ({"a": 1}.values(), [1]),
        (range(3), [0, 1, 2]),
        (collections.deque([1]), [1]),
        (collections.UserDict(a=1), {"a": 1}),
        (decimal.Decimal("1.50"), "1.50"),
        (fractions.Fraction(1, 3), "1/3"),
        (ipaddress.ip_address("127.0.0.1"), "127.0.0.1"),
        ([Number(7)], [7]),
        (ValueError("no"), "no"),
        (2**70, 2**70),
    ],
)  # fmt: skip
def test_output_of_other_libraries(value: Any, output: Any) -> None:
    """What msgspec doesn't know is written by what it offers itself, wherever in the result it is."""
    assert json.loads(returning(value).call("give")) == output


class Exits:
    def tolist(self) -> Any:
        raise SystemExit


class Same:
    """Gives one like itself, as ``numpy.longdouble`` does on many machines."""

    def tolist(self) -> Any:
        return Same()


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        Custom(),
        {"a": Custom()},
        Mock(),
        ["\ud800"],
        {(1, 2): 3},
        City,
        Exits(),
        Same(),
        CYCLE,
        iter([1]),
        zip([1]),
    ],
)
def test_output_that_is_no_json(value: Any) -> None:
    """The model reads that a call was made, if its result can't be written: it needn't be made again."""
    error = json.loads(returning(value).call("give"))["error"]
    assert error.startswith(
        "the function has run, so don't repeat the call; only its result can't be encoded"
    )


async def later() -> int:
    return 1


def some() -> Iterator[int]:
    yield 1


async def more() -> AsyncIterator[int]:
    yield 1


class Promise:
    def __await__(self) -> Iterator[None]:
        return iter([])


class Caught:
    """A generator that has begun, and doesn't like to be closed."""

    def __call__(self) -> Iterator[int]:
        generator = self.run()
        next(generator)
        return generator

    def run(self) -> Iterator[int]:
        try:
            yield 1
        finally:
            raise RuntimeError


@pytest.mark.parametrize("give", [later, some, more, Promise, Caught(), lambda: [later()]])
def test_output_that_has_not_run(give: Callable[[], Any], recwarn: pytest.WarningsRecorder) -> None:
    """A call that returns what would do the work has not done it: the model reads so; Python is silent."""
    tools = Tools()
    tools.function(lambda: give(), name="give")
    error = json.loads(tools.call("give"))["error"]
    assert error.startswith("the function returned a ")
    assert error.endswith("which has not run; it must be a plain function that returns")
    gc.collect()
    assert not recwarn.list


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
    """An empty text is no arguments, and so is null."""
    tools = Tools()
    tools.function(lambda: "yes", name="f")
    assert [tools.call("f", text) for text in ("", " ", "{}", "null", " null\n")] == ["yes"] * 5


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


def test_approval_by_what_can_not_be_called() -> None:
    """Approval by something that isn't callable is refused at the declaration."""
    approve: Any = True
    with pytest.raises(TypeError, match="custom_free: approve= must be callable, got True"):
        Tools().function(custom_free, approve=approve)


def test_approval_that_has_not_run(recwarn: pytest.WarningsRecorder) -> None:
    """An approval callback that returns a coroutine approves nothing, and leaves no warning of Python's."""

    async def ask() -> bool:
        return True

    tools = Tools()
    tools.function(custom_free, approve=lambda call: ask())  # type: ignore[arg-type, return-value]
    assert tools.call("custom_free") == '{"error":"the call was rejected: its approval failed"}'
    gc.collect()
    assert not recwarn.list
