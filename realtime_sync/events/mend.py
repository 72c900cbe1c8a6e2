"""Puts plain values where they fit in a struct, for events that differ from the specification."""

import base64
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct, inspect, json

from . import UnknownObject

__all__ = ["mend"]

_MISFIT: Any = object()
"""What `_mend` returns for a value of a wrong type; the problem has been noted."""


Note = Callable[[str, str], None]
"""A function that takes a path and what is wrong there."""

_S = TypeVar("_S", bound=Struct)


def mend(cls: type[_S], data: dict[str, Any], note: Note) -> _S:
    """Return ``data`` as the struct, keeping the fields that fit; the others read as their default or zero.

    A part of an unknown kind becomes an `UnknownObject`, which is not a deviation; ``note`` is called for
    every other difference from the struct.
    """
    made: _S = _mend_struct(_node(cls), data, "", note)
    return made


@functools.cache
def _node(cls: Any) -> inspect.StructType:
    """Return msgspec's description of a struct, down to the leaves."""
    node = inspect.type_info(cls)
    assert isinstance(node, inspect.StructType)
    return node


def _kind(node: inspect.Type) -> str:
    """Return ``"Str"`` for msgspec's ``StrType``, and so on."""
    return type(node).__name__.removesuffix("Type")


_JSON_TEXTS = {"arguments", "output"}  # fields of calls and outputs: JSON as text, where they are a str
_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}


def _mend(node: Any, value: Any, path: str, note: Note) -> Any:
    """Return ``value`` as the type that ``node`` describes, keeping what fits; else `_MISFIT`."""
    kind = _kind(node)
    if kind == "Struct":
        return _mend_struct(node, value, path, note)
    if kind == "Union":
        return _mend_union(node, value, path, note)
    if kind == "List" and isinstance(value, list):
        return [_mend_or_zero(node.item_type, item, f"{path}[]", note) for item in value]
    if kind == "Dict" and isinstance(value, dict):
        return {key: _mend_or_zero(node.value_type, item, f"{path}{{}}", note) for key, item in value.items()}
    made = _leaf(kind, value)
    if made is _MISFIT:
        note(path, f"expected {kind.lower()}, got {_JSON_NAMES.get(type(value), 'number')}")
    elif kind == "Int" and made != value:
        note(path, "expected int, got a fraction")
    return made


def _mend_or_zero(node: Any, value: Any, path: str, note: Note) -> Any:
    made = _mend(node, value, path, note)
    return _zero(node) if made is _MISFIT else made


def _leaf(kind: str, value: Any) -> Any:
    """Return ``value`` as a value of ``kind``; `_MISFIT` if it is of another type."""
    if kind == "Any" or (kind == "None" and value is None):
        return value
    if (kind == "Str" and isinstance(value, str)) or (kind == "Bool" and isinstance(value, bool)):
        return value
    if kind in ("Int", "Float") and isinstance(value, int | float) and not isinstance(value, bool):
        return _number(kind, value)
    if kind == "Bytes" and isinstance(value, str):
        return _audio(value)
    return _MISFIT


def _number(kind: str, value: float) -> Any:
    """Convert a number: JSON has one kind, so a float may stand for an int."""
    try:
        return float(value) if kind == "Float" else int(value)
    except OverflowError:
        return _MISFIT


def _audio(text: str) -> Any:
    """Decode base64, also with line breaks or without its padding."""
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return _MISFIT


def _mend_union(node: inspect.UnionType, value: Any, path: str, note: Note) -> Any:
    """Return ``value`` as the member of the union that fits; `UnknownObject` for an unknown tag."""
    structs = [member for member in node.types if _kind(member) == "Struct"]
    tagged = any(member.tag is not None for member in structs)  # type: ignore[attr-defined]
    if isinstance(value, dict):
        for member in structs:
            if not tagged or member.tag == value.get("type"):  # type: ignore[attr-defined]
                return _mend(member, value, path, note)
    for member in node.types:
        if _fits(_kind(member), value):
            return _mend(member, value, path, note)
    if structs and not tagged:
        return _mend(structs[0], value, path, note)
    if not tagged or value is None or (not isinstance(value, dict) and _has(node, "None")):
        note(path, f"unexpected {_JSON_NAMES.get(type(value), 'number')}")
        return _MISFIT
    unknown = UnknownObject(value)
    if not unknown.type:
        note(path, "an object without a type" if isinstance(value, dict) else "not an object")
    return unknown


def _fits(kind: str, value: Any) -> bool:
    """Return whether a value belongs to this member of a union, judged by its type."""
    if kind in ("List", "Dict"):
        return isinstance(value, list if kind == "List" else dict)
    return kind not in ("Struct", "Any") and _leaf(kind, value) is not _MISFIT


def _has(node: inspect.UnionType, kind: str) -> bool:
    return any(_kind(member) == kind for member in node.types)


def _mend_struct(node: inspect.StructType, value: Any, path: str, note: Note) -> Any:
    """Return the struct with the fields that fit; the others have their default or zero."""
    if not isinstance(value, dict):
        note(path, f"expected object, got {_JSON_NAMES.get(type(value), 'number')}")
        if not isinstance(value, str) or not any(field.name == "message" for field in node.fields):
            return _MISFIT
        value = {"message": value}  # {"error": "what went wrong"}, as many servers send it
        note = _ignore
    fields: dict[str, Any] = {}
    for field in node.fields:
        where = f"{path}.{field.name}"
        made = _MISFIT
        if field.encode_name in value:
            made = _mend(field.type, value[field.encode_name], where, note)
            if made is _MISFIT and _is_json_text(field):
                made = _json_text(value[field.encode_name])
        elif field.required:
            note(where, "missing")
        if made is _MISFIT and field.required:
            made = _zero(field.type)
        if made is not _MISFIT:
            fields[field.name] = made
    return node.cls(**fields)


def _is_json_text(field: inspect.Field) -> bool:
    node = field.type
    is_text = _has(node, "Str") if isinstance(node, inspect.UnionType) else _kind(node) == "Str"
    return is_text and field.name in _JSON_TEXTS


def _json_text(value: Any) -> Any:
    """Return a value as the JSON text that was due; `_MISFIT` for null, which stands for none.

    As a zero it would be lost, and a function called with its defaults.
    """
    if value is None:
        return _MISFIT
    try:
        return json.encode(value).decode()
    except (RecursionError, OverflowError):
        return "..."  # no JSON, so that the call fails


def _ignore(path: str, problem: str) -> None:
    """Ignore deviations inside a struct whose absence was noted already."""


def _zero(node: Any) -> Any:
    """Return the zero that a missing required field has."""
    kind = _kind(node)
    if kind == "Struct":
        return _mend_struct(node, {}, "", _ignore)
    if kind == "Union":
        return None if _has(node, "None") else UnknownObject({})
    return {"Str": "", "Int": 0, "Float": 0.0, "Bool": False, "Bytes": b"", "List": [], "Dict": {}}.get(kind)
