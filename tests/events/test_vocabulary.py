"""The vocabulary as a whole: how events and objects are named, documented and exported."""

import collections
import types
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from tags import CLIENT_TAGS, SERVER_TAGS

from realtime_sync import events
from realtime_sync.events import client, objects, server
from realtime_sync.events.codec import decode_client

EVENTS: dict[str, type[Any]] = {**events.SERVER_EVENTS, **events.CLIENT_EVENTS}
MODULES = [client, objects, server]


def public_structs() -> list[type[msgspec.Struct]]:
    """Every struct that a user can name."""
    values = [getattr(events, name) for module in MODULES for name in module.__all__]
    return [value for value in values if isinstance(value, type) and issubclass(value, msgspec.Struct)]


def camel(tag: str) -> str:
    """The name of a tag's struct."""
    return "".join(word.capitalize() for word in tag.replace(".", "_").split("_"))


def test_no_tag_is_listed_twice() -> None:
    """A tag belongs to one event in one direction."""
    counts = collections.Counter([*SERVER_TAGS, *CLIENT_TAGS])
    assert max(counts.values()) == 1


# --- The name rule ------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [*SERVER_TAGS, *CLIENT_TAGS])
def test_the_tag_names_the_struct(tag: str) -> None:
    """`a.b_c` on the wire is the struct `ABC`; only `error` is `ErrorEvent`."""
    expected = "ErrorEvent" if tag == "error" else camel(tag)
    assert EVENTS[tag].__name__ == expected
    assert getattr(events, expected) is EVENTS[tag]


def test_objects_know_their_type() -> None:
    """So do items, content parts and tools, as they are found in an event."""
    content = '[{"type": "input_text", "text": "Hi."}, {"type": "new"}]'
    item = f'{{"type": "message", "role": "user", "content": {content}}}'
    event = decode_client(f'{{"type": "conversation.item.create", "item": {item}}}')
    assert isinstance(event, events.ConversationItemCreate)
    assert isinstance(event.item, events.Message)
    assert [event.item.type, *(part.type for part in event.item.content)] == ["message", "input_text", "new"]
    for struct in public_structs():
        is_tagged = isinstance(struct.__struct_config__.tag, str)
        assert not is_tagged or isinstance(getattr(struct, "type", None), property), struct


# --- What users see -----------------------------------------------------------------------------


@pytest.mark.parametrize("struct", public_structs(), ids=lambda struct: str(struct.__name__))
def test_everything_is_described(struct: type[msgspec.Struct]) -> None:
    """Each event and object has a docstring of its own."""
    assert (struct.__dict__.get("__doc__") or "").strip()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_everything_public_is_exported(module: types.ModuleType) -> None:
    """A public struct of a module is in its `__all__`, and everything in there is in `events`."""
    own = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert own <= set(module.__all__)
    assert all(getattr(events, name) is getattr(module, name) for name in module.__all__)


def test_no_name_means_two_things() -> None:
    """No name is exported by two modules or twice by one."""
    counts = collections.Counter(name for module in MODULES for name in module.__all__)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    "alias",
    ["ContentPart", "Item", "McpCallError", "Tool", "ToolChoice", "TranscriptionUsage", "TurnDetection"],
)
def test_every_union_has_a_name(alias: str) -> None:
    """The choices that events carry can be named in annotations."""
    assert alias in objects.__all__
    assert hasattr(events, alias)


@pytest.mark.parametrize("struct", public_structs(), ids=lambda struct: str(struct.__name__))
def test_fields_are_given_by_name(struct: type[msgspec.Struct]) -> None:
    """Wire objects are built by keyword, so that a new field can stand anywhere."""
    if struct is not events.UnknownEvent and struct.__struct_fields__:
        with pytest.raises(TypeError, match="positional"):
            struct("x")


def test_open_enumerations_are_plain_strings() -> None:
    """No field is a closed choice: a value that a server invents tomorrow is just a string."""
    kinds = {type(node).__name__ for struct in public_structs() for node in leaves(inspect.type_info(struct))}
    assert kinds <= {
        "AnyType", "BoolType", "BytesType", "FloatType", "IntType", "NoneType", "StrType",
    }  # fmt: skip


def leaves(node: Any) -> list[Any]:
    """The simple types that a type is made of."""
    if isinstance(node, inspect.StructType):
        return [leaf for field in node.fields for leaf in leaves(field.type)]
    if isinstance(node, inspect.UnionType):
        return [leaf for member in node.types for leaf in leaves(member)]
    if isinstance(node, inspect.ListType):
        return leaves(node.item_type)
    if isinstance(node, inspect.DictType):
        return leaves(node.key_type) + leaves(node.value_type)
    return [node]
