"""A Python function as the model sees it: its JSON schema, and how the model's arguments become Python's."""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Signature"]

_Json = dict[str, Any]

_DATA = {"const", "default", "enum", "examples"}  # keywords of a schema that hold values, not schemas


class Signature(Struct, frozen=True):
    """What a function says about itself.

    Attributes:
        description: The first paragraph of its docstring, in one line; ``""`` without one.
        parameters: The JSON schema of its arguments.  It stands alone: the types it is made of are written
            out where they are used, and only a type that contains itself is in ``"$defs"``.
        decoder: Reads the arguments from JSON.
    """

    description: str
    parameters: _Json
    decoder: msgspec.json.Decoder[Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Signature":
        """Read a function's signature and docstring.

        Raises:
            TypeError: It can't be called with named arguments from JSON.  The text names the function and
                the parameter, and says what to do.
        """
        _check_function(function)
        parameters = _parameters(function)
        arguments = _arguments_struct(function, parameters)
        schema = _schema(arguments, parameters, _described(inspect.getdoc(function) or ""))
        return cls(_summary(inspect.getdoc(function) or ""), schema, msgspec.json.Decoder(arguments))

    def read(self, text: str) -> dict[str, Any]:
        """The arguments in JSON text, checked, converted, and completed with the defaults.

        An empty text is no arguments.

        Raises:
            Exception: They are not JSON, or don't fit.  A `msgspec.ValidationError`, as a rule; what a
                type's own ``__post_init__`` raises may be anything.
        """
        arguments = self.decoder.decode(text if text.strip() else "{}")
        return {name: getattr(arguments, name) for name in arguments.__struct_fields__}


# --- What can be a function --------------------------------------------------------------------------


def _check_function(function: Callable[..., Any]) -> None:
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise TypeError(f"a tool is made of a plain function or a bound method, not of {function!r:.80}")
    kind = None
    if inspect.iscoroutinefunction(function):
        kind = "'async def'"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        kind = "a generator"
    if kind:
        raise TypeError(f"{function.__qualname__} is {kind}, but tools are plain functions that return")


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    for index, (name, parameter) in enumerate(parameters.items()):
        where = f"{function.__qualname__}: the parameter {name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{where} stands for any number of them; name each, or take a list or a dict")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{where} is positional-only, but arguments are given by name; remove the '/'")
        if parameter.annotation is not parameter.empty:
            continue
        if index == 0 and name in ("self", "cls"):
            raise TypeError(
                f"{where} is not bound; declare the method of an object: tools.function(it.method)"
            )
        raise TypeError(f"{where} has no annotation; say what it is, as in '{name}: str'")
    return parameters


def _arguments_struct(function: Callable[..., Any], parameters: dict[str, inspect.Parameter]) -> type[Struct]:
    """What the arguments are decoded into: a struct with the parameters as its fields."""
    fields = [(name, _type_of(function, it), _field_of(it)) for name, it in parameters.items()]
    try:
        return msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)
    except Exception as error:
        raise TypeError(
            f"{function.__qualname__}: its parameters can't be read from JSON: {error}"
        ) from error


def _type_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    def holder() -> None: ...

    # One by one, so that the text can say which it is; and the return type needn't be known.
    holder.__annotations__ = {parameter.name: parameter.annotation}
    where = f"{function.__qualname__}: the type of the parameter {parameter.name!r}"
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        hint = typing.get_type_hints(holder, namespace, include_extras=True)[parameter.name]
    except Exception as error:
        raise TypeError(
            f"{where} is not known: {error}; a type that is named in quotes must be the module's own"
        ) from error
    try:
        msgspec.json.schema_components([hint])
        msgspec.json.Decoder(hint)
    except Exception as error:
        problem = str(error).strip().splitlines()[-1:]
        raise TypeError(
            f"{where} can't come from JSON: {' '.join(problem)}; use str, int, float, bool, Literal, "
            "an Enum, list, dict, a dataclass, a TypedDict or a msgspec.Struct"
        ) from error
    return hint


def _field_of(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return msgspec.NODEFAULT
    # By a factory, since a plain default of msgspec's must not be mutable.
    return msgspec.field(default_factory=lambda: parameter.default)


# --- The schema --------------------------------------------------------------------------------------


def _schema(
    arguments: type[Struct], parameters: dict[str, inspect.Parameter], described: dict[str, str]
) -> _Json:
    [root], components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = components[root["$ref"]]
    del schema["title"]
    for name, property_ in schema["properties"].items():
        if name in described:
            property_.setdefault("description", described[name])
        default = _json_default(parameters[name].default)
        if default is not None:
            property_["default"] = default
    recursive: set[str] = set()
    schema = _written_out(schema, components, (), recursive)
    definitions: _Json = {}
    while missing := recursive - definitions.keys():
        name = min(missing)
        definitions[name] = _written_out(components[name], components, (name,), recursive)
    return {**schema, "$defs": definitions} if definitions else schema


def _json_default(default: Any) -> Any:
    """A default in JSON; ``None`` for none that is worth telling the model."""
    if default is inspect.Parameter.empty:
        return None
    try:
        return msgspec.json.decode(msgspec.json.encode(default))
    except Exception:  # it is for Python only, which is fine
        return None


def _written_out(schema: Any, components: _Json, inside: tuple[str, ...], recursive: set[str]) -> Any:
    """A schema with the types it refers to in place.  Those that contain themselves are noted.

    Not every server follows references, and OpenAI's strict schemas allow no description beside one.
    """
    if isinstance(schema, list):
        return [_written_out(each, components, inside, recursive) for each in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref")
    if isinstance(name, str) and name in inside:
        recursive.add(name)
        return {**schema, "$ref": f"#/$defs/{name}"}
    if isinstance(name, str):
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_written_out(components[name], components, (*inside, name), recursive), **beside}
    written: _Json = {}
    for key, value in schema.items():
        if key == "properties":  # their names are no keywords
            names = value.items()
            written[key] = {name: _written_out(it, components, inside, recursive) for name, it in names}
        else:
            written[key] = value if key in _DATA else _written_out(value, components, inside, recursive)
    return _tidied(written)


def _tidied(schema: _Json) -> _Json:
    if isinstance(schema.get("anyOf"), list):
        schema.pop("discriminator", None)  # OpenAPI's; it points at definitions that are not there any more
    if schema.get("required") == []:
        del schema["required"]
    values = schema.get("enum")
    if isinstance(values, list) and "type" not in schema:  # msgspec names none, some servers want one
        for name, kind in (("string", str), ("integer", int), ("boolean", bool)):
            if all(type(value) is kind for value in values):
                return {"type": name, **schema}
    return schema


# --- The docstring: whatever can't be made out is left out ---------------------------------------------

_ARGUMENTS = re.compile(r"(?:Args|Arguments|Parameters):\s*")
_ENTRY = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_FIELD = re.compile(r":(?:param(?:[^:]*\s)(\w+)|\w[^:]*)\s*:(?!`)\s*(.*)")  # of a parameter, or another one
_NUMPY_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", re.MULTILINE | re.DOTALL)


def _summary(docs: str) -> str:
    """The first paragraph in one line."""
    lines = []
    section = _NUMPY_SECTION.search(docs)
    for line in docs[: section.start() if section else None].strip().splitlines():
        if not line.strip() or _ARGUMENTS.fullmatch(line) or _FIELD.match(line):
            break
        lines.append(line.strip())
    return " ".join(lines)


def _described(docs: str) -> dict[str, str]:
    """What a docstring says about each parameter, in any of the three styles there are."""
    return _in_google_style(docs) or _in_sphinx_style(docs) or _in_numpy_style(docs)


def _in_sphinx_style(docs: str) -> dict[str, str]:
    """``:param name: ...``, and what is indented below it."""
    found: dict[str, str] = {}
    name = ""
    for line in docs.expandtabs().splitlines():
        if entry := _FIELD.match(line):
            name = entry[1] or ""
            found[name] = entry[2]
        elif name and line.startswith(" "):
            found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            name = ""
    return {name: text for name, text in found.items() if name and text}


def _in_numpy_style(docs: str) -> dict[str, str]:
    """Below ``Parameters`` and a line of dashes: ``name : type``, and the text indented below it."""
    section = _NUMPY_SECTION.search(docs.expandtabs())
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else ():
        if line.strip() and not line.startswith(" "):
            names = [name.strip() for name in line.split(":")[0].split(",")]
            found.update(dict.fromkeys(names, ""))
        for name in names if line.startswith(" ") else ():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return {name: text for name, text in found.items() if text}


def _in_google_style(docs: str) -> dict[str, str]:
    """The section ``Args:``."""
    lines = iter(docs.expandtabs().splitlines())
    if not any(_ARGUMENTS.fullmatch(line) for line in lines):  # the lines after it are left in the iterator
        return {}
    found: dict[str, str] = {}
    indent, name = None, ""
    for line in lines:
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        if text and depth == 0:
            break  # the next section
        if not text:
            continue
        indent = depth if indent is None else indent
        entry = _ENTRY.fullmatch(text)
        if depth <= indent and entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and depth > indent:
            found[name] = f"{found[name]} {text}".strip()
    return {name: text for name, text in found.items() if text}
