"""Describe a Python function to the model by a JSON schema, and convert the model's arguments to Python."""

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

__all__ = ["Signature", "unfinished_kind"]

_Json = dict[str, Any]

_DATA = {"const", "default", "enum", "examples"}  # keywords of a schema that hold values, not schemas


class Signature(Struct, frozen=True):
    """Hold a function's description, the schema of its arguments, and their decoder.

    Attributes:
        description: The first paragraph of the docstring, as one line; ``""`` without a docstring.
        parameters: The JSON schema of the arguments.  It is self-contained: types are inlined where they
            are used, and only a recursive type is in ``"$defs"``.
        decoder: Decodes the arguments from JSON.
    """

    description: str
    parameters: _Json
    decoder: msgspec.json.Decoder[Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Signature":
        """Read a function's signature and docstring.

        Raises:
            TypeError: It can't be called with named arguments from JSON.  The message names the function
                and the parameter, and says what to do.
        """
        _check_function(function)
        parameters = _parameters(function)
        arguments = _arguments_struct(function, parameters)
        schema = _schema(arguments, parameters, _described(inspect.getdoc(function) or ""))
        return cls(_summary(inspect.getdoc(function) or ""), schema, msgspec.json.Decoder(arguments))

    def read(self, text: str) -> dict[str, Any]:
        """Return the arguments in a JSON text by name: checked, converted, and completed with the defaults.

        An empty text stands for no arguments, and so does ``null``.

        Raises:
            Exception: The text is not JSON, or the arguments are invalid.  Usually it is a
                `msgspec.ValidationError`, but a type's own ``__post_init__`` may raise any exception.
        """
        arguments = self.decoder.decode("{}" if text.strip() in ("", "null") else text)
        return {name: getattr(arguments, name) for name in arguments.__struct_fields__}


# --- Checking the function ---------------------------------------------------------------------------


def _check_function(function: Callable[..., Any]) -> None:
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise TypeError(f"a tool must be a plain function or a bound method, got {function!r:.80}")
    if kind := unfinished_kind(function):
        raise TypeError(
            f"{function.__qualname__} is {kind}; a tool must be a plain function that returns, such as "
            "one that runs it to its end"
        )


def unfinished_kind(function: Callable[..., Any]) -> str | None:
    """Return ``"'async def'"`` or ``"a generator"`` for a function whose call only begins; else ``None``.

    Decorated functions are looked at as well, down to the one that gives the signature: what its decorators
    return can't be seen, but as a rule it is what that function returns.
    """
    layers = [function]

    def last(layer: Any) -> bool:
        layers.append(layer)
        return hasattr(layer, "__signature__")

    layers.append(inspect.unwrap(function, stop=last))
    for each in layers:
        behind = "" if each is function else " behind a decorator"
        if inspect.iscoroutinefunction(each):
            return f"'async def'{behind}"
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            return f"a generator{behind}"
    return None


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    for index, (name, parameter) in enumerate(parameters.items()):
        where = f"{function.__qualname__}: the parameter {name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{where} is variadic; name each parameter, or take a list or a dict")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{where} is positional-only, but the model passes names; remove the '/'")
        if hasattr(parameter.default, "default") and hasattr(parameter.default, "default_factory"):
            raise TypeError(
                f"{where} has the default {parameter.default!r:.80}, which only its own library reads; use "
                f"the value itself: '{name}: Annotated[str, msgspec.Meta(description=...)] = ...'"
            )
        if parameter.annotation is not parameter.empty:
            continue
        if index == 0 and name in ("self", "cls"):
            raise TypeError(
                f"{where} is not bound; pass the method of an instance: tools.function(instance.method)"
            )
        raise TypeError(f"{where} has no annotation; add its type, as in '{name}: str'")
    return parameters


def _arguments_struct(function: Callable[..., Any], parameters: dict[str, inspect.Parameter]) -> type[Struct]:
    """Make the struct that the arguments are decoded into; its fields are the parameters."""
    fields = [(name, _type_of(function, it), _field_of(it)) for name, it in parameters.items()]
    try:
        return msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)
    except Exception as error:
        raise TypeError(
            f"{function.__qualname__}: its parameters can't be decoded from JSON: {error}"
        ) from error


def _type_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    def holder() -> None: ...

    # One by one, so that the message can name it; the return type need not be resolved.
    holder.__annotations__ = {parameter.name: parameter.annotation}
    where = f"{function.__qualname__}: the type of the parameter {parameter.name!r}"
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        hint = typing.get_type_hints(holder, namespace, include_extras=True)[parameter.name]
    except Exception as error:
        raise TypeError(
            f"{where} can't be resolved: {error}; a type named in quotes must be defined in the module"
        ) from error
    try:
        msgspec.json.schema_components([hint])
        msgspec.json.Decoder(hint)
    except Exception as error:
        problem = str(error).strip().splitlines()[-1:]
        raise TypeError(
            f"{where} can't be decoded from JSON: {' '.join(problem)}; use str, int, float, bool, Literal, "
            "an Enum, list, dict, a dataclass, a TypedDict or a msgspec.Struct"
        ) from error
    for foreign in _foreign(hint, set()):
        raise TypeError(
            f"{where} carries {foreign!r:.80}, which only its own library reads, so it would have no effect; "
            "use a msgspec.Meta: Annotated[int, msgspec.Meta(ge=1, description='...')]"
        )
    return _with_description(hint)


def _foreign(hint: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield what msgspec doesn't read in a type, at any depth: it may be a limit, and would not be kept.

    Texts are descriptions, which do no harm where they are not read.
    """
    origin, inner = typing.get_origin(hint), list(typing.get_args(hint))
    if origin is typing.Literal:
        return
    if origin is Annotated:
        yield from (each for each in inner[1:] if not isinstance(each, Meta) and _text_of(each) is None)
        inner = inner[:1]
    elif origin is not None:
        inner.append(origin)
    elif hint not in seen:
        seen.add(hint)
        if hasattr(hint, "__pydantic_validator__"):  # a dataclass for msgspec, which doesn't call pydantic
            yield hint
        inner = [getattr(hint, "__value__", None), getattr(hint, "__supertype__", None), *_field_types(hint)]
    for each in inner:
        yield from _foreign(each, seen)


def _field_types(hint: Any) -> list[Any]:
    """Return the types of the fields, if this is a class that msgspec makes from a JSON object or array."""
    info = msgspec.inspect.type_info(hint) if isinstance(hint, type) else None
    return list(typing.get_type_hints(hint, include_extras=True).values()) if hasattr(info, "fields") else []


def _text_of(metadata: Any) -> str | None:
    """Return the text of metadata that only describe: a plain text, or a ``Doc``."""
    text = metadata if isinstance(metadata, str) else getattr(metadata, "documentation", None)
    return text if isinstance(text, str) else None


def _with_description(hint: Any) -> Any:
    """Return a type with the text beside it as its description, unless a `Meta` has another one."""
    if typing.get_origin(hint) is not Annotated:
        return hint
    inner, *metadata = typing.get_args(hint)
    texts = [Meta(description=text) for each in metadata if (text := _text_of(each)) is not None]
    everything: Any = (inner, *texts, *metadata)
    return Annotated[everything]


def _field_of(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return msgspec.NODEFAULT
    # A factory, since msgspec rejects mutable defaults.
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
    """Return a default as JSON data; ``None`` if there is none that the schema can show."""
    if default is inspect.Parameter.empty:
        return None
    try:
        return msgspec.json.decode(msgspec.json.encode(default))
    except Exception:  # a value that JSON can't express; the model needn't know it
        return None


def _written_out(schema: Any, components: _Json, inside: tuple[str, ...], recursive: set[str]) -> Any:
    """Return a schema with its references inlined; add the recursive types' names to ``recursive``.

    Some servers don't follow references, and OpenAI's strict schemas allow no description next to one.
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
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_written_out(components[name], components, (*inside, name), recursive), **siblings}
    written: _Json = {}
    for key, value in schema.items():
        if key == "properties":  # its keys are names, not keywords
            names = value.items()
            written[key] = {name: _written_out(it, components, inside, recursive) for name, it in names}
        else:
            written[key] = value if key in _DATA else _written_out(value, components, inside, recursive)
    return _tidied(written)


def _tidied(schema: _Json) -> _Json:
    if isinstance(schema.get("anyOf"), list):
        schema.pop("discriminator", None)  # OpenAPI's; it refers to definitions that are inlined now
    if schema.get("required") == []:
        del schema["required"]
    values = schema.get("enum")
    if isinstance(values, list) and "type" not in schema:  # msgspec omits it, some servers require it
        for name, kind in (("string", str), ("integer", int), ("boolean", bool)):
            if all(type(value) is kind for value in values):
                return {"type": name, **schema}
    return schema


# --- The docstring: a part that can't be parsed is left out ----------------------------------------------

_ARGUMENTS = re.compile(r"(?:Args|Arguments|Parameters):\s*")
_ENTRY = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_FIELD = re.compile(r":(?:param[^:]*\s(\w+)\s*|\w[^:]*):(?!`)\s*(.*)")  # ``:param x:``, or another field
_NUMPY_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", re.MULTILINE | re.DOTALL)


def _summary(docs: str) -> str:
    """Return the first paragraph as one line."""
    lines = []
    section = _NUMPY_SECTION.search(docs)
    for line in docs[: section.start() if section else None].strip().splitlines():
        if not line.strip() or _ARGUMENTS.fullmatch(line) or _FIELD.match(line):
            break
        lines.append(line.strip())
    return " ".join(lines)


def _described(docs: str) -> dict[str, str]:
    """Return a docstring's descriptions of the parameters, in any of the three common styles."""
    return _in_google_style(docs) or _in_sphinx_style(docs) or _in_numpy_style(docs)


def _in_sphinx_style(docs: str) -> dict[str, str]:
    """Parse ``:param name: ...`` and the lines indented below it."""
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
    """Parse, below ``Parameters`` and a line of dashes, ``name : type`` and the text indented below it."""
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
    """Parse the section ``Args:``."""
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
