"""The vocabulary: what is in it, how it is named, and how its objects behave."""

import collections
import types
from typing import Any

import msgspec
import pytest
import samples
from msgspec import UNSET, inspect

from realtime_sync import events
from realtime_sync.events import client, objects, server
from realtime_sync.events.codec import decode, decode_client

SERVER_TAGS = [
    "error",
    "session.created",
    "session.updated",
    "session.closed",
    "transcription_session.created",
    "transcription_session.updated",
    "conversation.created",
    "conversation.item.created",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.retrieved",
    "conversation.item.deleted",
    "conversation.item.truncated",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.segment",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
    "input_audio_buffer.committed",
    "input_audio_buffer.cleared",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.dtmf_event_received",
    "response.created",
    "response.done",
    "response.cancelled",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "mcp_list_tools.in_progress",
    "mcp_list_tools.completed",
    "mcp_list_tools.failed",
    "rate_limits.updated",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
    "session.input_transcript.delta",
    "session.output_transcript.delta",
    "session.output_audio.delta",
    "response.text.delta",
    "response.text.done",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.delta",
    "response.audio_transcript.done",
]

CLIENT_TAGS = [
    "session.update",
    "transcription_session.update",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "response.create",
    "response.cancel",
    "session.input_audio_buffer.append",
    "session.close",
]

BETA_NAMES = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
}

EVENTS: dict[str, type[Any]] = {**events.SERVER_EVENTS, **events.CLIENT_EVENTS}
MODULES = [client, objects, server]


def public_structs() -> list[type[msgspec.Struct]]:
    """Every struct that a user can name."""
    values = [getattr(events, name) for module in MODULES for name in module.__all__]
    return [value for value in values if isinstance(value, type) and issubclass(value, msgspec.Struct)]


def camel(tag: str) -> str:
    """The name of a tag's struct."""
    return "".join(word.capitalize() for word in tag.replace(".", "_").split("_"))


# --- Which events there are ---------------------------------------------------------------------


def test_all_server_events_are_there() -> None:
    """The vocabulary has exactly the server events listed above, and each has a sample."""
    assert sorted(events.SERVER_EVENTS) == sorted(SERVER_TAGS) == sorted(samples.SERVER)


def test_all_client_events_are_there() -> None:
    """The vocabulary has exactly the client events listed above, and each has a sample."""
    assert sorted(events.CLIENT_EVENTS) == sorted(CLIENT_TAGS) == sorted(samples.CLIENT)


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


@pytest.mark.parametrize("tag", SERVER_TAGS)
def test_the_tag_names_the_handler(tag: str) -> None:
    """`a.b_c` on the wire is handled by `visit_a_b_c`; a Beta event by its GA event's handler."""
    ga_tag = BETA_NAMES.get(tag, tag)
    assert events.SERVER_EVENTS[tag].handler == "visit_" + ga_tag.replace(".", "_")
    assert server.handler_name(tag) == "visit_" + tag.replace(".", "_")


def test_an_unknown_event_has_its_own_handler() -> None:
    """What no struct describes goes to `unknown`."""
    assert events.UnknownEvent.handler == "unknown"


@pytest.mark.parametrize(("beta", "ga"), BETA_NAMES.items())
def test_a_beta_event_is_its_ga_event_under_an_older_tag(beta: str, ga: str) -> None:
    """A Beta struct is a subclass of the GA struct with the same fields, so `isinstance` serves both."""
    old, new = events.SERVER_EVENTS[beta], events.SERVER_EVENTS[ga]
    assert issubclass(old, new)
    assert old.__struct_fields__ == new.__struct_fields__
    assert old.handler == new.handler


def test_beta_content_parts_are_ga_content_parts() -> None:
    """`text` and `audio` parts can be used wherever `output_text` and `output_audio` are."""
    assert issubclass(events.Text, events.OutputText)
    assert issubclass(events.Audio, events.OutputAudio)


@pytest.mark.parametrize("tag", SERVER_TAGS)
def test_a_server_event_knows_its_type(tag: str) -> None:
    """`event.type` is the tag, so logs and tables need no class names."""
    assert decode(samples.SERVER[tag]).type == tag


@pytest.mark.parametrize("tag", CLIENT_TAGS)
def test_a_client_event_knows_its_type(tag: str) -> None:
    """`event.type` is the tag on the way out too."""
    assert decode_client(samples.CLIENT[tag]).type == tag


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


def test_unset_settings_are_false() -> None:
    """Settings that a session does not mention read as false, not as an error."""
    config = events.SessionConfig()
    assert all(getattr(config, name) is UNSET for name in config.__struct_fields__)
    assert not config.tracing


def test_a_phone_key_has_no_event_id() -> None:
    """`input_audio_buffer.dtmf_event_received` has no id by specification, and reads as `""`."""
    event = decode(samples.SERVER["input_audio_buffer.dtmf_event_received"])
    assert isinstance(event, events.InputAudioBufferDtmfEventReceived)
    assert (event.event_id, event.event) == ("", "9")


class Recorder:
    """The smallest visitor."""

    def visit(self, event: events.ServerEvent) -> str:
        return "saw " + event.type


def test_accept_calls_the_visitor() -> None:
    """`event.accept(visitor)` returns what the visitor makes of the event."""
    assert decode(samples.SERVER["response.done"]).accept(Recorder()) == "saw response.done"
    assert decode('{"type": "news"}').accept(Recorder()) == "saw news"


# --- Secrets ------------------------------------------------------------------------------------


def test_a_client_secret_is_not_shown() -> None:
    """The value of an ephemeral key is not in the repr, nor in that of what holds it."""
    secret = events.ClientSecret(value="ek_very_secret", expires_at=17)
    shown = repr(secret) + repr(events.SessionConfig(client_secret=secret))
    assert "ek_very_secret" not in shown
    assert "17" in shown


def test_the_credentials_of_an_mcp_server_are_not_shown() -> None:
    """Neither token nor headers of an MCP tool are in the repr; what names the tool is."""
    tool = events.McpTool(
        server_label="docs",
        server_url="https://example.com/mcp",
        authorization="token-secret",
        headers={"X-Key": "header-secret"},
    )
    shown = repr(tool) + repr(events.SessionConfig(tools=[tool]))
    assert "secret" not in shown
    assert "docs" in shown
    assert "https://example.com/mcp" in shown


def test_a_short_repr() -> None:
    """The repr of an object leaves out what is not set."""
    assert repr(events.InputText(text="hi")) == "InputText(text='hi')"


# --- Parts of a new kind ------------------------------------------------------------------------


def test_an_unknown_object_names_its_type() -> None:
    """`type` is the one in the data, or empty where there is none that is a string."""
    assert events.UnknownObject({"type": "video", "fps": 3}).type == "video"
    assert events.UnknownObject({}).type == ""
    assert events.UnknownObject({"type": 5}).type == ""
    assert events.UnknownObject(["type"]).type == ""


def test_unknown_objects_compare_by_data() -> None:
    """Two unknown objects with the same data are equal; nothing else is equal to one."""
    data = {"type": "video"}
    assert events.UnknownObject(data) == events.UnknownObject({"type": "video"})
    assert events.UnknownObject(data) != events.UnknownObject({"type": "smell"})
    assert events.UnknownObject(data) != data


def test_an_unknown_object_is_not_hashable() -> None:
    """It holds data that can change, so it can't be a key."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(events.UnknownObject({}))


def test_an_unknown_object_shows_its_data() -> None:
    """The repr says what came."""
    assert repr(events.UnknownObject({"type": "video"})) == "UnknownObject({'type': 'video'})"


def test_an_unknown_object_can_be_matched() -> None:
    """`case UnknownObject(data)` binds the data."""
    match events.UnknownObject({"type": "video"}):
        case events.UnknownObject(data):
            assert data == {"type": "video"}


# --- Messages of a new kind ---------------------------------------------------------------------


def test_an_unknown_event_parses_its_frame() -> None:
    """`data` is the JSON of the frame."""
    event = events.UnknownEvent("news", b'{"type": "news", "n": [1, null]}')
    assert event.data == {"type": "news", "n": [1, None]}
    assert event.problem is None


@pytest.mark.parametrize("frame", [b"", b"\xff", b"{", b"[" * 100_000])
def test_the_data_of_no_json_is_none(frame: bytes) -> None:
    """`data` never raises: where the frame is not JSON, it is `None`."""
    assert events.UnknownEvent("", frame).data is None


def test_the_data_of_sloppy_json_is_kept() -> None:
    """`data` is there although a number is infinite or an emoji was cut in half."""
    event = events.UnknownEvent("news", rb'{"type": "news", "n": Infinity, "s": "\ud83d"}')
    assert event.data == {"type": "news", "n": float("inf"), "s": "\ud83d"}
