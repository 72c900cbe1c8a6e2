"""What the model is told of a function: its JSON schema and its description, from signature and docstring."""

import contextlib
import dataclasses
import datetime
import enum
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import annotated_types
import msgspec
import pydantic
import pytest
from msgspec import Meta
from tool_types import Custom, Place, Point, Span, Unit
from typing_extensions import Doc

from realtime_sync.events import FunctionTool
from realtime_sync.voice import ToolCall, Tools


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Tree(msgspec.Struct):
    name: str
    children: "list[Tree]" = []


class Cat(msgspec.Struct, tag="cat"):
    lives: Any


class Dog(msgspec.Struct, tag="dog"):
    bark: Any


class Options(TypedDict, total=False):
    verbose: bool


def definition_of(function: Callable[..., Any]) -> FunctionTool:
    [definition] = Tools(function).definitions
    assert isinstance(definition, FunctionTool)
    return definition


def schema_of(function: Callable[..., Any]) -> Any:
    return definition_of(function).parameters


PLACE = {
    "title": "Place",
    "description": "Somewhere.",
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string", "default": "NO"}},
    "required": ["city"],
}
UNIT = {"type": "string", "title": "Unit", "enum": ["celsius", "kelvin"]}
BRANCHES = {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "default": []}
TREE = {
    "title": "Tree",
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": BRANCHES},
    "required": ["name"],
}


def tagged(title: str, tag: str, **properties: Any) -> Any:
    return {
        "title": title,
        "type": "object",
        "properties": {"type": {"type": "string", "enum": [tag]}, **properties},
        "required": ["type", *properties],
    }


# --- What the model is told ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (Annotated[int, Meta(ge=1, le=7)], {"type": "integer", "minimum": 1, "maximum": 7}),
        (Annotated[str, Meta(description="A city")], {"type": "string", "description": "A city"}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (Literal[True], {"type": "boolean", "enum": [True]}),
        (Literal[True, 2], {"enum": [True, 2]}),
        (Annotated[Any, Meta(extra_json_schema={"enum": [0.5, 1.5]})], {"enum": [0.5, 1.5]}),
        (Unit, UNIT),
        (Level, {"type": "integer", "title": "Level", "enum": [1, 2]}),
        (list[Unit], {"type": "array", "items": UNIT}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Place, PLACE),
        (Annotated[Place, Meta(description="Where to")], {**PLACE, "description": "Where to"}),
        (Annotated[str, "A city"], {"type": "string", "description": "A city"}),
        (Annotated[str, Doc("A city")], {"type": "string", "description": "A city"}),
        (Annotated[str, "A city", Meta(description="A town")], {"type": "string", "description": "A town"}),
        (list[Annotated[str, "A city"]], {"type": "array", "items": {"type": "string"}}),
        (
            Span,
            {
                "title": "Span",
                "type": "object",
                "properties": {
                    "first": {"type": "string", "format": "date"},
                    "days": {"type": "integer", "minimum": 1, "default": 1},
                },
                "required": ["first"],
            },
        ),
        (
            Options,
            {"title": "Options", "type": "object", "properties": {"verbose": {"type": "boolean"}}},
        ),
        (
            Point,
            {
                "title": "Point",
                "type": "array",
                "prefixItems": [{"type": "number"}, {"type": "number"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Cat | Dog,
            {"anyOf": [tagged("Cat", "cat", lives={}), tagged("Dog", "dog", bark={})]},
        ),
    ],
)  # fmt: skip
def test_schema_of_a_type(hint: Any, expected: Any) -> None:
    """Each type has the schema that says it, with nothing to look up elsewhere."""

    def function(it) -> None:  # type: ignore[no-untyped-def]
        pass

    function.__annotations__["it"] = hint
    assert schema_of(function) == {
        "type": "object",
        "properties": {"it": expected},
        "required": ["it"],
        "additionalProperties": False,
    }


def test_schema_of_a_type_that_contains_itself() -> None:
    """That one, and only that one, is defined once and referred to."""

    def plant(tree: Tree, place: Place) -> None:
        pass

    assert schema_of(plant) == {
        "type": "object",
        "properties": {"tree": TREE, "place": PLACE},
        "required": ["tree", "place"],
        "additionalProperties": False,
        "$defs": {"Tree": TREE},
    }


def test_no_parameters() -> None:
    """A function without parameters has an empty object."""

    def hang_up() -> None:
        pass

    assert schema_of(hang_up) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_defaults() -> None:
    """Defaults are told where JSON can say them and they say something; those parameters may be left out."""
    secret = object()

    def function(
        a: int = 7,
        b: Unit = Unit.KELVIN,
        c: str | None = None,
        d: list[int] = [1, 2],  # noqa: B006  # as people write it
        e: Any = secret,
        *,
        f: float,
    ) -> None:
        pass

    schema = schema_of(function)
    assert {name: it.get("default", "none") for name, it in schema["properties"].items()} == {
        "a": 7,
        "b": "kelvin",
        "c": "none",
        "d": [1, 2],
        "e": "none",
        "f": "none",
    }
    assert schema["required"] == ["f"]


def test_defaults_that_look_like_schemas() -> None:
    """A default is told as it is, whatever is in it, and a parameter may be called like a keyword."""
    filters = {"$ref": "it", "required": [], "enum": ["a"], "anyOf": [{}], "discriminator": {}}

    def function(it: dict[str, Any] = filters, default: Unit = Unit.KELVIN, enum: Any = None) -> None:
        pass

    assert schema_of(function)["properties"] == {
        "it": {"type": "object", "default": filters},
        "default": {**UNIT, "default": "kelvin"},
        "enum": {},
    }


FUTURE = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated, Literal
import msgspec
if TYPE_CHECKING:
    from somewhere import Weather

class Place(msgspec.Struct):
    city: str

def get_weather(place: Place, days: Annotated[int, msgspec.Meta(ge=1)] = 1) -> Weather:
    return f"{place.city} {days}"
"""


def test_annotations_as_text() -> None:
    """Annotations may be text, as with ``from __future__ import annotations``, and the result's unknown."""
    module: dict[str, Any] = {"__name__": "module"}
    exec(FUTURE, module)
    tools = Tools()
    tools.function(module["get_weather"])
    schema = definition_of(module["get_weather"]).parameters
    assert isinstance(schema, dict)
    assert schema["properties"]["days"] == {"type": "integer", "minimum": 1, "default": 1}
    assert schema["properties"]["place"]["properties"] == {"city": {"type": "string"}}
    assert tools.call("get_weather", '{"place": {"city": "Oslo"}, "days": 2}') == "Oslo 2"


def test_docstring() -> None:
    """The first paragraph describes the function, the section Args its parameters, if nothing else does."""

    def get_weather(
        city: str, days: Annotated[int, Meta(description="1 to 7")], place: Place, unit: Unit, rest: str
    ) -> str:
        """The weather
        in a city.

        It comes from far away.

        Args:
            city (str): Where, for
                example: Oslo.
            days: Not this.
            place: On the map.

            unit:
                Of the temperature.
            rest:
            nobody: Is called so.

        Returns:
            city: Nothing of the kind.
        """
        return ""

    definition = definition_of(get_weather)
    assert definition.name == "get_weather"
    assert definition.description == "The weather in a city."
    assert isinstance(definition.parameters, dict)
    described = {name: it.get("description") for name, it in definition.parameters["properties"].items()}
    assert described == {
        "city": "Where, for example: Oslo.",
        "days": "1 to 7",
        "place": "On the map.",
        "unit": "Of the temperature.",
        "rest": None,
    }


@pytest.mark.parametrize(
    "docs",
    [
        """The weather.
        :param city: Where, for
            example: Oslo.
        :param int days: 1 to 7
        :param place:
        :raises ValueError: unit: Never.
            city: Nothing of the kind.
        :return: days: Neither.
        """,
        """The weather.

        Parameters
        ----------
        city : str
            Where, for
            example: Oslo.
        days
            1 to 7

        place : Place

        Returns
        -------
        unit : str
            Nothing of the kind.
        """,
        """The weather.

        Parameters
        ----------
        city : str
            Where, for example: Oslo.
        days, weeks : int
            1 to 7""",
    ],
)
def test_docstrings_in_other_styles(docs: str) -> None:
    """Sphinx's way of describing parameters is understood, and NumPy's."""

    def get_weather(city: str, days: int, place: str, unit: str) -> str:
        return ""

    get_weather.__doc__ = docs
    definition = definition_of(get_weather)
    assert definition.description == "The weather."
    assert isinstance(definition.parameters, dict)
    described = {name: it.get("description") for name, it in definition.parameters["properties"].items()}
    assert described == {"city": "Where, for example: Oslo.", "days": "1 to 7", "place": None, "unit": None}


@pytest.mark.parametrize(
    ("docs", "description"),
    [
        (None, msgspec.UNSET),
        ("", msgspec.UNSET),
        ("Args:\n    it: A thing.", msgspec.UNSET),
        ("Does it.\nArgs:\n    ::: ()(:", "Does it."),
        ("Does it.\n\nArgs:", "Does it."),
        ("Does it.\n\nArgs:\n\tit", "Does it."),
        ("Does it.\n\nArgs:\n    what\n      ever", "Does it."),
        (":param it:", msgspec.UNSET),
        ("Does it.\n\n:param", "Does it."),
        ("Does it.\n\nParameters\n---\n    it", "Does it."),
        (":class:`Weather` of\n:func:`cities`.", ":class:`Weather` of :func:`cities`."),
        ("Does it.\nParameters\n---\nit", "Does it."),
    ],
)
def test_any_docstring(docs: str | None, description: Any) -> None:
    """A docstring may be missing, empty or in any form."""

    def function(it: int) -> None:
        pass

    function.__doc__ = docs
    assert definition_of(function).description == description


def decorated(function: Any) -> Any:
    """As a decorator leaves it that logs, or measures time."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def known(a: int) -> int:
    return a


@functools.wraps(known)
async def in_between(a: int) -> int:
    return a


async def asynchronous(a: int) -> None: ...


async def asynchronous_generator(a: int):  # type: ignore[no-untyped-def]
    yield a


def generator(a: int) -> Iterator[int]:
    yield a


def bare(a) -> None: ...  # type: ignore[no-untyped-def]


def many(*a: int) -> None: ...


def anything(**a: int) -> None: ...


def by_position(a: int, /) -> None: ...


def custom(a: int, b: Custom) -> None: ...


def two_structs(a: Place | Span) -> None: ...


def unknown(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def private(__a: int) -> None: ...


class Thing:
    def method(self, a: int) -> None: ...

    async def asynchronous(self, a: int) -> None: ...


class Decorated:
    @decorated
    async def asynchronous(self, a: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (asynchronous, ["asynchronous", "'async def'", "plain function"]),
        (generator, ["generator is a generator", "plain function"]),
        (asynchronous_generator, ["asynchronous_generator is a generator"]),
        (bare, ["bare", "'a'", "no annotation", "'a: str'"]),
        (many, ["many", "'a'", "variadic", "list"]),
        (anything, ["anything", "'a'", "variadic", "dict"]),
        (by_position, ["by_position", "'a'", "positional-only", "'/'"]),
        (custom, ["custom", "'b'", "Custom", "dataclass"]),
        (two_structs, ["two_structs", "'a'", "more than one dict-like"]),
        (unknown, ["unknown", "'a'", "Nowhere", "defined in the module"]),
        (private, ["private", "can't be decoded"]),
        (Thing.method, ["Thing.method", "'self'", "tools.function(instance.method)"]),
        (Thing, ["plain function or a bound method", "Thing"]),
        (print, ["plain function", "print"]),
        (lambda: None, ["<lambda>", "name="]),
        (functools.partial(asynchronous, 1), ["plain function", "partial"]),
        (decorated(asynchronous), ["asynchronous", "'async def' behind a decorator"]),
        (decorated(decorated(Thing().asynchronous)), ["'async def' behind a decorator"]),
        (decorated(generator), ["generator is a generator behind a decorator"]),
        (decorated(asynchronous_generator), ["a generator behind a decorator"]),
        (decorated(functools.partial(asynchronous, 1)), ["'async def' behind a decorator"]),
        (contextlib.contextmanager(generator), ["a generator behind a decorator"]),
        (decorated(in_between), ["'async def' behind a decorator"]),
        (Decorated().asynchronous, ["'async def' behind a decorator"]),
    ],
)
def test_what_can_not_be_a_tool(function: Any, words: list[str]) -> None:
    """An unsupported signature is an error when it is declared, which says what to do."""
    tools = Tools()
    with pytest.raises(TypeError) as caught:
        tools.function(function)
    for word in words:
        assert word in str(caught.value)
    assert not len(tools)


def test_decorated_functions() -> None:
    """A decorated function is a tool like any; so is a decorator's own that runs what it decorates."""

    def to_its_end(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(a: int) -> list[int]:
            return list(function(a))

        wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return wrapper

    tools = Tools(decorated(known), to_its_end(generator))
    assert tools.call("known", '{"a": 1}') == "1"
    assert tools.call("generator", '{"a": 1}') == "[1]"


def test_approval_must_return() -> None:
    """An approval callback that is ``async def`` is an error at once: a coroutine approves nothing."""

    async def approve(call: ToolCall) -> bool:
        return True

    for callback in (approve, decorated(approve)):
        with pytest.raises(TypeError, match="approve= must be a plain function, got 'async def'"):
            Tools().function(known, approve=callback)  # type: ignore[arg-type]  # the mistake


# --- Limits that only other libraries know ------------------------------------------------------------

POSITIVE = Annotated[int, annotated_types.Gt(0)]


@dataclasses.dataclass
class Order:
    count: POSITIVE = 1


class Orders(msgspec.Struct):
    orders: list[Order]
    next: "Orders | None" = None


class Wish(TypedDict, total=False):
    count: POSITIVE


class Pair(NamedTuple):
    left: POSITIVE
    right: int


Held = TypeVar("Held")


class Box(msgspec.Struct, Generic[Held]):
    it: Held


@pydantic.dataclasses.dataclass
class Validated:
    count: int

    @pydantic.field_validator("count")
    @classmethod
    def limited(cls, count: int) -> int:
        raise ValueError


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[int, pydantic.Field(ge=1, le=4)],
        Annotated[str, pydantic.Field(description="A city")],
        Annotated[str, pydantic.StringConstraints(max_length=2)],
        Annotated[int, pydantic.AfterValidator(abs)],
        Annotated[int, "A number", Meta(ge=0), range(1, 5)],
        POSITIVE,
        POSITIVE | None,
        list[POSITIVE],
        list[Annotated[int, pydantic.Field(ge=1)]],
        dict[str, tuple[int, POSITIVE]],
        NewType("NewType", POSITIVE),
        Order,
        Orders,
        Wish,
        Pair,
        Box[POSITIVE],
        Validated,
    ],
)
def test_limits_of_other_libraries(hint: Any) -> None:
    """A limit that would not be kept is an error when the function is declared, at any depth of a type."""

    def function(it) -> None:  # type: ignore[no-untyped-def]
        pass

    function.__annotations__["it"] = hint
    with pytest.raises(TypeError, match=r"function.*'it' carries .* use a msgspec\.Meta"):
        Tools(function)


@pytest.mark.parametrize(
    "default", [pydantic.Field("Oslo"), dataclasses.field(default="Oslo"), msgspec.field(default="Oslo")]
)
def test_defaults_of_other_libraries(default: Any) -> None:
    """A default that another library would replace is an error: the function would get it as it is."""

    def function(it: str = default) -> None:
        pass

    with pytest.raises(TypeError, match=r"'it' has the default .* use the value itself"):
        Tools(function)
