"""The checker of the order rules: it takes what is right, and each rule can fail."""

import copy
import itertools
import json
from typing import Any

import pytest
from order import RULES, Order, OutOfOrder

from realtime_sync.events import codec

Step = tuple[str, dict[str, Any]]  # ">" sent by the client, "<" by the server, and the event
Stream = list[Step]


def sent(tag: str, **fields: Any) -> Stream:
    return [(">", {"type": tag, **fields})]


def came(tag: str, **fields: Any) -> Stream:
    return [("<", {"type": tag, **fields})]


def play(stream: Stream, session_type: str, dialect: str) -> None:
    """Read a stream to its end; events that have no id get one."""
    order, numbers = Order(session_type, dialect), itertools.count()
    for direction, event in map(copy.deepcopy, stream):
        if direction == ">":
            order.sent(codec.decode_client(json.dumps(event)))
        else:
            event.setdefault("event_id", f"event_{next(numbers)}")
            order.received(codec.decode(json.dumps(event)))
    order.finish()


# --- Streams that are right --------------------------------------------------------------------------

VAD = {"type": "server_vad", "idle_timeout_ms": 5000}
HEARD = {"model": "whisper-1"}
SECOND = "AAAA" * 16_000  # of PCM, in base64


def session(kind: str = "realtime", **hearing: Any) -> dict[str, Any]:
    hearing = {"format": {"type": "audio/pcm", "rate": 24_000}, **hearing}
    return {"type": kind, "id": "sess_1", "object": "realtime.session", "audio": {"input": hearing}}


def opening(kind: str = "realtime", **hearing: Any) -> Stream:
    return came("session.created", session=session(kind, **hearing))


def user(item_id: str | None, text: str = "Hi") -> dict[str, Any]:
    named = {} if item_id is None else {"id": item_id, "status": "completed"}
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **named}


def created(item_id: str, previous: str | None, **asked: Any) -> Stream:
    """The client creates an item."""
    return [
        *sent("conversation.item.create", item=user(None), event_id=f"create_{item_id}", **asked),
        *came("conversation.item.added", item=user(item_id), previous_item_id=previous),
        *came("conversation.item.done", item=user(item_id), previous_item_id=previous),
    ]


def message(item_id: str, status: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": item_id, "role": "assistant", "status": status, "content": [*parts]}


USAGE = {
    "total_tokens": 7,
    "input_tokens": 5,
    "output_tokens": 2,
    "input_token_details": {"text_tokens": 3, "audio_tokens": 2},
    "output_token_details": {"text_tokens": 2},
}


def response(number: int, status: str, output: list[Any], **fields: Any) -> dict[str, Any]:
    usage = None if status == "in_progress" else USAGE
    made = {"id": f"resp_{number}", "status": status, "output": output, "usage": usage}
    return {**made, "conversation_id": "conv_1", **fields}


def limits(left: int) -> Stream:
    limit = {"name": "tokens", "limit": 100, "remaining": left, "reset_seconds": 60.0}
    return came("rate_limits.updated", rate_limits=[limit])


def ending(number: int, status: str, output: list[Any], reason: str = "", **fields: Any) -> Stream:
    details = {"status_details": {"type": status, "reason": reason}} if reason else {}
    return [
        *limits(100 - number),
        *came("response.done", response=response(number, status, output, **details, **fields)),
    ]


def begun(number: int, **fields: Any) -> Stream:
    return came("response.created", response=response(number, "in_progress", [], **fields))


def asked_for(number: int) -> Stream:
    return sent("response.create", event_id=f"ask_{number}") + begun(number)


def item_begins(number: int, index: int, item: dict[str, Any], previous: str | None) -> Stream:
    place = {"response_id": f"resp_{number}", "output_index": index}
    return [
        *came("response.output_item.added", **place, item=item),
        *came("conversation.item.added", item=item, previous_item_id=previous),
    ]


def item_ends(number: int, index: int, item: dict[str, Any], previous: str | None) -> Stream:
    place = {"response_id": f"resp_{number}", "output_index": index}
    return [
        *came("response.output_item.done", **place, item=item),
        *came("conversation.item.done", item=item, previous_item_id=previous),
    ]


def at(number: int, index: int, item_id: str) -> dict[str, Any]:
    return {"response_id": f"resp_{number}", "output_index": index, "item_id": item_id}


def text_begins(number: int, item_id: str, previous: str | None, index: int = 0) -> Stream:
    place = at(number, index, item_id) | {"content_index": 0}
    return [
        *item_begins(number, index, message(item_id, "in_progress"), previous),
        *came("response.content_part.added", **place, part={"type": "text", "text": ""}),
        *came("response.output_text.delta", **place, delta="Hel"),
    ]


def text_ends(
    number: int, item_id: str, previous: str | None, text: str, status: str = "completed", index: int = 0
) -> Stream:
    place = at(number, index, item_id) | {"content_index": 0}
    whole = message(item_id, status, {"type": "output_text", "text": text})
    return [
        *came("response.output_text.done", **place, text=text),
        *came("response.content_part.done", **place, part={"type": "text", "text": text}),
        *item_ends(number, index, whole, previous),
    ]


def written(item_id: str, text: str, status: str = "completed") -> dict[str, Any]:
    return message(item_id, status, {"type": "output_text", "text": text})


PLACE = at(1, 0, "item_b") | {"content_index": 0}

TEXT = [
    *opening(),
    *sent("session.update", event_id="update", session={"type": "realtime"}),
    *came("session.updated", session=session()),
    *created("item_a", None),
    *asked_for(1),
    *text_begins(1, "item_b", "item_a"),
    *came("response.output_text.delta", **PLACE, delta="lo"),
    *text_ends(1, "item_b", "item_a", "Hello"),
    *ending(1, "completed", [written("item_b", "Hello")]),
    *created("item_c", None, previous_item_id="root"),
    *created("item_d", "item_a", previous_item_id="item_a"),
    *sent("conversation.item.retrieve", item_id="item_b"),
    *came("conversation.item.retrieved", item=written("item_b", "Hello")),
    *sent("conversation.item.delete", item_id="item_d"),
    *came("conversation.item.deleted", item_id="item_d"),
    *sent("conversation.item.truncate", item_id="item_b", content_index=0, audio_end_ms=5),
    *came("error", error={"type": "x", "message": "not audio"}),
    *asked_for(2),
    *ending(2, "completed", []),
]

CALL = {"type": "function_call", "id": "item_c", "name": "f", "call_id": "call_1"}
CALLED = [
    *item_begins(1, 1, CALL | {"status": "in_progress", "arguments": ""}, "item_b"),
    *came("response.function_call_arguments.delta", **at(1, 1, "item_c"), call_id="call_1", delta="{"),
    *came("response.function_call_arguments.delta", **at(1, 1, "item_c"), call_id="call_1", delta="}"),
    *came(
        "response.function_call_arguments.done",
        **at(1, 1, "item_c"),
        call_id="call_1",
        name="f",
        arguments="{}",
    ),
    *item_ends(1, 1, CALL | {"status": "completed", "arguments": "{}"}, "item_b"),
]
MCP = {"type": "mcp_call", "id": "item_e", "name": "t", "server_label": "m"}
TOOL = {"output_index": 2, "item_id": "item_e"}
MCP_CALLED = [
    *item_begins(1, 2, MCP | {"arguments": ""}, "item_c"),
    *came("response.mcp_call_arguments.delta", **at(1, 2, "item_e"), delta="{}"),
    *came("response.mcp_call_arguments.done", **at(1, 2, "item_e"), arguments="{}"),
    *came("response.mcp_call.in_progress", **TOOL),
    *came("response.mcp_call.completed", **TOOL),
    *item_ends(1, 2, MCP | {"arguments": "{}", "output": "done"}, "item_c"),
]
TOOLS = [
    *opening(),
    *asked_for(1),
    *text_begins(1, "item_b", None),
    *text_ends(1, "item_b", None, "Hel"),
    *CALLED,
    *MCP_CALLED,
    *ending(
        1,
        "completed",
        [
            written("item_b", "Hel"),
            CALL | {"status": "completed", "arguments": "{}"},
            MCP | {"arguments": "{}", "output": "done"},
        ],
    ),
]

LISTED = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "m", "tools": []}
LISTING = [
    *opening(),
    *came("conversation.item.added", item=LISTED, previous_item_id=None),
    *came("mcp_list_tools.in_progress", item_id="mcpl_1"),
    *created("item_a", "mcpl_1"),
    *came("mcp_list_tools.completed", item_id="mcpl_1"),
    *came("conversation.item.done", item=LISTED, previous_item_id=None),
]

BESIDE = {"response_id": "resp_9", "output_index": 0}
CANCELLED = [
    *opening(),
    *asked_for(1),
    *text_begins(1, "item_b", None),
    *sent("response.create", event_id="beside", response={"conversation": "none", "metadata": {"a": "b"}}),
    *begun(9, conversation_id=None, metadata={"a": "b"}),
    *came("response.output_item.added", **BESIDE, item=message("item_x", "in_progress")),
    *sent("conversation.item.delete", item_id="item_b"),
    *came("conversation.item.deleted", item_id="item_b"),
    *created("item_c", None),
    *sent("response.create", event_id="second"),
    *came("error", error={"type": "x", "code": "busy", "message": "one is running", "event_id": "second"}),
    *sent("response.cancel", event_id="cancel"),
    *text_ends(1, "item_b", None, "Hel", "incomplete")[:-1],  # the item was deleted
    *ending(1, "cancelled", [written("item_b", "Hel", "incomplete")], "client_cancelled"),
    *came("response.output_item.done", **BESIDE, item=message("item_x", "completed")),
    *ending(9, "completed", [message("item_x", "completed")], conversation_id=None, metadata={"a": "b"}),
]


def heard(item_id: str) -> dict[str, Any]:
    return user(item_id) | {"content": [{"type": "input_audio"}]}


def committed(item_id: str, previous: str | None) -> Stream:
    return [
        *came("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous),
        *came("conversation.item.added", item=heard(item_id), previous_item_id=previous),
        *came("conversation.item.done", item=heard(item_id), previous_item_id=previous),
    ]


SPOKEN = [{"type": "output_audio", "transcript": "Hel"}]
TRANSCRIPTION = "conversation.item.input_audio_transcription"
HM = came(f"{TRANSCRIPTION}.delta", item_id="item_a", content_index=0, delta="Hm")
SPEECH = [
    *opening(turn_detection=VAD, transcription=HEARD),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.speech_started", audio_start_ms=100, item_id="item_a"),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.speech_stopped", audio_end_ms=1500, item_id="item_a"),
    *committed("item_a", None),
    *begun(1),
    *HM,
    *item_begins(1, 0, message("item_b", "in_progress"), "item_a"),
    *came("response.content_part.added", **PLACE, part={"type": "audio", "transcript": ""}),
    *came("response.output_audio_transcript.delta", **PLACE, delta="Hel"),
    *came("response.output_audio.delta", **PLACE, delta="AAAA"),
    *came(
        f"{TRANSCRIPTION}.completed",
        item_id="item_a",
        content_index=0,
        transcript="Hm",
        usage={"type": "duration", "seconds": 1.0},
    ),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.speech_started", audio_start_ms=1500, item_id="item_c"),
    *came("response.output_audio.done", **PLACE),
    *came("response.output_audio_transcript.done", **PLACE, transcript="Hel"),
    *came("response.content_part.done", **PLACE, part={"type": "audio", "transcript": "Hel"}),
    *item_ends(1, 0, message("item_b", "incomplete", *SPOKEN), "item_a"),
    *ending(1, "cancelled", [message("item_b", "incomplete", *SPOKEN)], "turn_detected"),
    *sent("input_audio_buffer.clear"),
    *came("input_audio_buffer.cleared"),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.timeout_triggered", audio_start_ms=3000, audio_end_ms=4000, item_id="item_d"),
    *committed("item_d", "item_b"),
    *begun(2),
    *came(f"{TRANSCRIPTION}.failed", item_id="item_d", content_index=0, error={"type": "x"}),
    *ending(2, "failed", [], status_details={"type": "failed", "error": {"message": "oh"}}),
    *sent("input_audio_buffer.append", audio=SECOND),
    *sent("input_audio_buffer.commit"),
    *committed("item_e", "item_d"),
    *sent("conversation.item.delete", item_id="item_e"),
    *came("conversation.item.deleted", item_id="item_e"),
]

TRANSCRIBED = [
    *opening("transcription", turn_detection=VAD),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_a"),
    *came("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="item_a"),
    *committed("item_a", None),
]

TRANSLATED = [
    *opening("translation", transcription=HEARD),
    *sent("session.input_audio_buffer.append", audio=SECOND),
    *came("session.input_transcript.delta", delta="Hallo", elapsed_ms=200),
    *came("session.output_transcript.delta", delta="Hello", elapsed_ms=400),
    *came("session.output_audio.delta", delta="AAAA", elapsed_ms=400),
    *sent("session.close", event_id="close"),
    *came("session.output_transcript.delta", delta=".", elapsed_ms=1000),
    *came("session.closed"),
]

BETA_SESSION = {"id": "sess_1", "input_audio_format": "pcm16", "turn_detection": VAD}
BETA = [
    *came("session.created", session=BETA_SESSION),
    *came("conversation.created", conversation={"id": "conv_1"}),
    *sent("conversation.item.create", item=user(None)),
    *came("conversation.item.created", item=user("item_a"), previous_item_id=None),
    *asked_for(1),
    *came(
        "response.output_item.added",
        response_id="resp_1",
        output_index=0,
        item=message("item_b", "in_progress"),
    ),
    *came("conversation.item.created", item=message("item_b", "in_progress"), previous_item_id="item_a"),
    *came("response.content_part.added", **PLACE, part={"type": "text", "text": ""}),
    *came("response.text.delta", **PLACE, delta="Hel"),
    *came("response.text.done", **PLACE, text="Hel"),
    *came("response.content_part.done", **PLACE, part={"type": "text", "text": "Hel"}),
    *came(
        "response.output_item.done",
        response_id="resp_1",
        output_index=0,
        item=message("item_b", "completed", {"type": "text", "text": "Hel"}),
    ),
    *ending(1, "completed", [message("item_b", "completed", {"type": "text", "text": "Hel"})]),
    *sent("input_audio_buffer.append", audio=SECOND),
    *came("input_audio_buffer.committed", item_id="item_c", previous_item_id="item_b"),  # idle timeout
    *came("conversation.item.created", item=heard("item_c"), previous_item_id="item_b"),
    *begun(2),
    *ending(2, "completed", []),
]
BETA_TRANSCRIBED = [
    *came("transcription_session.created", session={"id": "sess_1"}),
    *sent("transcription_session.update", session={}),
    *came("transcription_session.updated", session={"id": "sess_1"}),
]

GOOD = {
    "text": (TEXT, "realtime", "ga"),
    "tools": (TOOLS, "realtime", "ga"),
    "listing": (LISTING, "realtime", "ga"),
    "cancelled": (CANCELLED, "realtime", "ga"),
    "speech": (SPEECH, "realtime", "ga"),
    "transcribed": (TRANSCRIBED, "transcription", "ga"),
    "translated": (TRANSLATED, "translation", "ga"),
    "beta": (BETA, "realtime", "beta"),
    "beta transcribed": (BETA_TRANSCRIBED, "transcription", "beta"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_passes(name: str) -> None:
    """Every kind of turn passes, as it happens."""
    play(*GOOD[name])


@pytest.mark.parametrize("name", GOOD)
def test_the_two_directions_need_not_be_in_step(name: str) -> None:
    """What the client sent long before it was answered is matched to its answers all the same."""
    stream, session_type, dialect = GOOD[name]
    early = [step for step in stream if step[0] == ">"]
    late = [step for step in stream if step[0] == "<"]
    play([late[0], *early, *late[1:]], session_type, dialect)


# --- Streams that are wrong ----------------------------------------------------------------------------


def index(stream: Stream, tag: str, nth: int = 0) -> int:
    places = [n for n, (_, event) in enumerate(stream) if event["type"] == tag]
    return places[nth]


def drop(stream: Stream, tag: str, nth: int = 0, count: int = 1) -> Stream:
    place = index(stream, tag, nth)
    return stream[:place] + stream[place + count :]


def double(stream: Stream, tag: str, nth: int = 0) -> Stream:
    place = index(stream, tag, nth)
    return stream[: place + 1] + stream[place:]


def swap(stream: Stream, tag: str, nth: int = 0) -> Stream:
    """The event, and the one after it, the other way round."""
    place = index(stream, tag, nth)
    return [*stream[:place], stream[place + 1], stream[place], *stream[place + 2 :]]


def put(stream: Stream, tag: str, new: Stream, nth: int = 0) -> Stream:
    """Something before the event."""
    place = index(stream, tag, nth)
    return stream[:place] + new + stream[place:]


def change(stream: Stream, tag: str, path: str, value: Any, nth: int = 0) -> Stream:
    stream = [copy.deepcopy(step) for step in stream]
    *above, last = path.split(".")
    target: Any = stream[index(stream, tag, nth)][1]
    for name in above:
        target = target[int(name)] if isinstance(target, list) else target[name]
    target[int(last) if isinstance(target, list) else last] = value
    return stream


def upto(stream: Stream, tag: str, nth: int = 0) -> Stream:
    return stream[: index(stream, tag, nth) + 1]


def refusal(tag: str, code: str, **asked: Any) -> Stream:
    """A client event, and the error that says no to it."""
    error = {"type": "invalid_request_error", "code": code, "message": "no", "event_id": "refused"}
    return sent(tag, event_id="refused", **asked) + came("error", error=error)


FREE: dict[str, dict[str, int]] = {"input_token_details": {}, "output_token_details": {}}
WITH_AUDIO = [{"type": "output_audio", "audio": "AAAA", "transcript": "Hel"}]
EXPIRED = came("error", error={"type": "x", "code": "session_expired", "message": "60 minutes"})
UPDATE = sent("session.update", session={"type": "realtime"})
SILENT_TURN = opening(turn_detection=VAD | {"interrupt_response": False}) + SPEECH[1:8]
"""A turn that is not answered yet."""
TWO_ASKED = [
    *opening(),
    *sent("input_audio_buffer.clear"),
    *UPDATE,
    *came("session.updated", session=session()),
    *came("input_audio_buffer.cleared"),
]
RESPONSE_DONE, ITEM_DONE = "response.done", "response.output_item.done"
ADDED, DONE = "conversation.item.added", "conversation.item.done"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
TRIGGERED = "input_audio_buffer.timeout_triggered"

BAD: list[tuple[str, str, Stream]] = [
    ("known", "text", TEXT + came("banana")),
    ("known", "text", TEXT + came("response.cancelled", response_id="resp_1")),
    ("event id", "text", change(change(TEXT, DONE, "event_id", "e"), ADDED, "event_id", "e", 1)),
    ("event id", "text", change(TEXT, DONE, "event_id", "")),
    ("first", "text", drop(TEXT, "session.created")),
    ("first", "text", double(TEXT, "session.created")),
    ("first", "beta transcribed", BETA),
    ("conversation created", "text", put(TEXT, DONE, BETA[1:2])),
    ("conversation created", "beta", drop(BETA, "conversation.created")),
    ("conversation created", "beta transcribed", BETA_TRANSCRIBED[:1] + BETA[1:2]),
    ("dialect", "text", change(TEXT, "response.output_text.delta", "type", "response.text.delta")),
    ("dialect", "beta", change(BETA, "conversation.item.created", "type", ADDED)),
    ("playback", "text", TEXT + came("output_audio_buffer.started", response_id="resp_1")),
    ("no responses", "transcribed", TRANSCRIBED + begun(1)),
    ("no responses", "transcribed", TRANSCRIBED + limits(5)),
    ("translation", "translated", put(TRANSLATED, "session.closed", created("item_a", None))),
    ("translation", "text", TEXT + came("session.closed")),
    ("last", "translated", TRANSLATED + EXPIRED),
    ("last", "text", TEXT + EXPIRED + created("item_z", "item_b")),
    ("error names", "cancelled", change(CANCELLED, "error", "error.event_id", "nobody")),
    ("asked", "text", double(TEXT, "session.updated")),
    ("asked", "text", double(TEXT, "error")),
    ("asked", "cancelled", double(CANCELLED, "error")),
    ("asked", "speech", double(SPEECH, "input_audio_buffer.cleared")),
    ("in turn", "text", TWO_ASKED),
    ("in turn", "text", drop(TEXT, "session.updated")),
    ("in turn", "cancelled", put(CANCELLED, "response.create", UPDATE)),
    ("same", "text", change(TEXT, "conversation.item.retrieved", "item.id", "item_a")),
    ("same", "text", change(TEXT, "conversation.item.deleted", "item_id", "item_a")),
    ("same", "cancelled", change(CANCELLED, "response.created", "response.metadata", {}, 1)),
    ("same", "cancelled", change(CANCELLED, "response.created", "response.conversation_id", "conv_1", 1)),
    ("same", "cancelled", change(CANCELLED, "response.cancel", "response_id", "resp_9")),
    ("same", "text", change(TEXT, "conversation.item.create", "item.id", "mine")),
    ("answered", "text", TEXT + sent("input_audio_buffer.clear")),
    ("answered", "translated", drop(TRANSLATED, "session.closed")),
    (
        "refused",
        "text",
        TEXT + refusal("conversation.item.delete", "item_delete_invalid_item_id", item_id="item_b"),
    ),
    (
        "refused",
        "text",
        TEXT + refusal("conversation.item.create", "item_create_duplicate_item_id", item=user("new")),
    ),
    (
        "refused",
        "text",
        [
            *TEXT,
            *refusal(
                "conversation.item.create",
                "item_create_invalid_previous_item_id",
                item=user("new"),
                previous_item_id="item_b",
            ),
        ],
    ),
    ("refused", "text", TEXT + refusal("response.create", "response_cancel_not_active")),
    ("refused", "text", TEXT + refusal("response.create", "conversation_already_has_active_response")),
    (
        "refused",
        "text",
        upto(TEXT, "response.created") + refusal("response.cancel", "response_cancel_not_active"),
    ),
    ("settings", "text", change(TEXT, "session.updated", "session.id", "sess_2")),
    ("settings", "text", change(TEXT, "session.updated", "session.type", "transcription")),
    ("item id", "text", double(TEXT, "response.created")),
    ("item id", "tools", change(TOOLS, "response.output_item.added", "item.id", "item_b", 1)),
    ("item id", "tools", change(TOOLS, "response.output_item.added", "item.call_id", "item_b", 1)),
    ("item id", "speech", change(SPEECH, STARTED, "item_id", "item_a", 1)),
    ("item id", "listing", change(LISTING, ADDED, "item.id", "mcpl_1", 1)),
    ("previous", "text", change(TEXT, ADDED, "previous_item_id", "item_a")),
    ("previous", "text", change(TEXT, ADDED, "previous_item_id", None, 1)),
    ("previous", "text", change(TEXT, DONE, "previous_item_id", "item_b", 2)),
    ("previous", "speech", change(SPEECH, "input_audio_buffer.committed", "previous_item_id", None, 1)),
    ("previous", "beta", change(BETA, "conversation.item.created", "previous_item_id", None, 1)),
    ("in conversation", "text", put(TEXT, "response.create", came(DONE, item=user("item_d")), 1)),
    (
        "in conversation",
        "speech",
        SPEECH + came(f"{TRANSCRIPTION}.delta", item_id="item_e", content_index=0, delta="?"),
    ),
    ("in conversation", "text", change(TEXT, "conversation.item.create", "previous_item_id", "item_z", 2)),
    (
        "in conversation",
        "text",
        [
            *TEXT,
            *sent("conversation.item.retrieve", item_id="item_d"),
            *came("conversation.item.retrieved", item=user("item_d")),
        ],
    ),
    ("item added", "text", drop(TEXT, "conversation.item.create")),
    (
        "item added",
        "text",
        change(
            change(TEXT, ADDED, "item.id", "item_a", 2), "conversation.item.create", "item.id", "item_a", 1
        ),
    ),
    ("item done", "text", change(TEXT, DONE, "item.content", [])),
    ("item done", "text", change(TEXT, DONE, "item.status", "incomplete", 1)),
    ("item done", "text", double(TEXT, DONE)),
    ("item done", "text", put(TEXT, "response.output_text.done", [TEXT[index(TEXT, DONE, 1)]])),
    ("next", "text", drop(TEXT, DONE)),
    ("next", "text", drop(TEXT, DONE, 1)),
    ("next", "text", drop(TEXT, ADDED, 1)),
    ("next", "text", drop(TEXT, RESPONSE_DONE)),
    ("next", "speech", drop(SPEECH, "input_audio_buffer.committed")),
    ("next", "speech", drop(SPEECH, "input_audio_buffer.committed", 0, 3)),
    ("next", "speech", change(SPEECH, ADDED, "item.id", "item_z")),
    ("next", "speech", upto(SPEECH, STOPPED)),
    ("response created", "text", change(TEXT, "response.created", "response.status", "completed")),
    ("response created", "text", change(TEXT, "response.created", "response.output", [user("item_a")])),
    ("response created", "text", change(TEXT, "response.created", "response.usage", USAGE)),
    ("response asked", "text", drop(TEXT, "response.create")),
    ("response asked", "speech", SPEECH + begun(3)),
    ("one at a time", "text", upto(TEXT, "response.output_text.delta") + asked_for(3)),
    ("conversation id", "text", change(TEXT, "response.created", "response.conversation_id", "conv_2", 1)),
    ("conversation id", "beta", change(BETA, "response.created", "response.conversation_id", "conv_2")),
    ("response open", "text", drop(TEXT, "response.created", 0)[:8]),
    ("response open", "text", double(TEXT, RESPONSE_DONE)),
    ("response open", "text", TEXT + came("response.output_text.delta", **PLACE, delta="?")),
    ("output index", "text", change(TEXT, "response.output_item.added", "output_index", 1)),
    ("output index", "tools", drop(TOOLS, ITEM_DONE, 0, 2)),
    ("item begins", "text", change(TEXT, "response.output_item.added", "item.status", "completed")),
    ("item begins", "tools", change(TOOLS, "response.output_item.added", "item.arguments", "{", 1)),
    ("item begins", "tools", change(TOOLS, "response.output_item.added", "item.call_id", "", 1)),
    ("item begins", "tools", change(TOOLS, "response.output_item.added", "item.output", "done", 2)),
    ("item begins", "text", change(TEXT, "response.output_item.added", "item", user("item_b"))),
    ("item open", "text", change(TEXT, "response.output_text.delta", "item_id", "item_a")),
    ("item open", "text", change(TEXT, "response.content_part.added", "output_index", 1)),
    (
        "item open",
        "text",
        put(TEXT, "rate_limits.updated", came("response.output_text.delta", **PLACE, delta="?")),
    ),
    ("item open", "tools", change(TOOLS, "response.function_call_arguments.done", "name", "g")),
    ("item open", "tools", change(TOOLS, "response.function_call_arguments.delta", "call_id", "call_2")),
    ("item open", "tools", change(TOOLS, "response.mcp_call_arguments.delta", "output_index", 1)),
    ("part", "text", change(TEXT, "response.content_part.added", "content_index", 1)),
    ("part", "text", change(TEXT, "response.content_part.added", "part.text", "Hel")),
    ("part", "text", double(TEXT, "response.content_part.added")),
    ("part", "speech", change(SPEECH, "response.content_part.added", "part.transcript", "Hel")),
    ("part open", "text", drop(TEXT, "response.content_part.added")),
    ("part open", "text", swap(TEXT, "response.content_part.added")),
    (
        "part open",
        "text",
        put(TEXT, "response.output_text.delta", came("response.output_audio.delta", **PLACE, delta="AAAA")),
    ),
    ("part open", "text", change(TEXT, "response.output_text.delta", "content_index", 1)),
    ("closes", "text", drop(TEXT, "response.output_text.done")),
    ("closes", "text", drop(TEXT, "response.content_part.done")),
    ("closes", "text", double(TEXT, "response.output_text.done")),
    ("closes", "text", drop(TEXT, ITEM_DONE, 0, 2)),
    (
        "closes",
        "text",
        put(TEXT, "response.content_part.done", came("response.output_text.delta", **PLACE, delta="?")),
    ),
    ("closes", "speech", drop(SPEECH, "response.output_audio.done")),
    ("closes", "speech", drop(SPEECH, "response.output_audio_transcript.done")),
    ("closes", "tools", drop(TOOLS, "response.function_call_arguments.done")),
    ("closes", "tools", double(TOOLS, "response.function_call_arguments.done")),
    (
        "closes",
        "tools",
        put(TOOLS, ITEM_DONE, [TOOLS[index(TOOLS, "response.function_call_arguments.delta")]], 1),
    ),
    ("closes", "tools", change(TOOLS, ITEM_DONE, "item.name", "g", 1)),
    ("closes", "text", change(TEXT, ITEM_DONE, "item.role", "user")),
    ("joined", "text", change(TEXT, "response.output_text.done", "text", "Hel")),
    ("joined", "text", change(TEXT, "response.content_part.done", "part.text", "Hel")),
    ("joined", "text", change(TEXT, ITEM_DONE, "item.content.0.text", "Hel")),
    ("joined", "text", drop(TEXT, "response.output_text.delta")),
    ("joined", "text", swap(TEXT, "response.output_text.delta")),
    ("joined", "speech", change(SPEECH, "response.output_audio_transcript.done", "transcript", "")),
    ("joined", "speech", change(SPEECH, f"{TRANSCRIPTION}.completed", "transcript", "Ha")),
    ("joined", "tools", change(TOOLS, "response.function_call_arguments.done", "arguments", "")),
    ("joined", "tools", change(TOOLS, ITEM_DONE, "item.arguments", "{", 1)),
    ("joined", "tools", drop(TOOLS, "response.mcp_call_arguments.delta")),
    ("no audio", "speech", change(SPEECH, ITEM_DONE, "item.content", WITH_AUDIO)),
    ("no audio", "speech", change(SPEECH, ADDED, "item.content.0.audio", "AAAA")),
    (
        "no audio",
        "speech",
        change(SPEECH, "response.content_part.done", "part", WITH_AUDIO[0] | {"type": "audio"}),
    ),
    (
        "sound",
        "speech",
        [
            *SPEECH,
            *sent("conversation.item.retrieve", item_id="item_b"),
            *came("conversation.item.retrieved", item=message("item_b", "incomplete", *SPOKEN)),
        ],
    ),
    ("incomplete", "text", change(TEXT, ITEM_DONE, "item.status", "in_progress")),
    (
        "incomplete",
        "tools",
        change(
            change(change(TOOLS, ITEM_DONE, "item.status", "incomplete"), DONE, "item.status", "incomplete"),
            RESPONSE_DONE,
            "response.output.0.status",
            "incomplete",
        ),
    ),
    ("output", "text", change(TEXT, RESPONSE_DONE, "response.output", [])),
    ("output", "tools", change(TOOLS, RESPONSE_DONE, "response.output.0.content.0.text", "Ha")),
    ("output", "cancelled", change(CANCELLED, RESPONSE_DONE, "response.metadata", None, 1)),
    ("output", "text", change(TEXT, RESPONSE_DONE, "response.conversation_id", None)),
    ("status", "text", change(TEXT, RESPONSE_DONE, "response.status", "failed")),
    ("status", "text", change(TEXT, RESPONSE_DONE, "response.status", "cancelled")),
    ("status", "text", change(TEXT, RESPONSE_DONE, "response.status", "in_progress")),
    ("status", "cancelled", change(CANCELLED, RESPONSE_DONE, "response.status_details.type", "failed")),
    ("status", "cancelled", change(CANCELLED, RESPONSE_DONE, "response.status_details.reason", "tired")),
    ("cancelled", "cancelled", drop(CANCELLED, "response.cancel")),
    (
        "cancelled",
        "cancelled",
        change(CANCELLED, RESPONSE_DONE, "response.status_details.reason", "turn_detected"),
    ),
    ("usage", "text", change(TEXT, RESPONSE_DONE, "response.usage", None)),
    ("usage", "text", change(TEXT, RESPONSE_DONE, "response.usage.total_tokens", 8)),
    ("usage", "text", change(TEXT, RESPONSE_DONE, "response.usage.output_token_details.text_tokens", 1)),
    ("usage", "text", change(TEXT, RESPONSE_DONE, "response.usage.input_token_details.cached_tokens", 3)),
    ("usage", "text", change(TEXT, RESPONSE_DONE, "response.usage", FREE)),
    ("limits", "text", change(TEXT, "rate_limits.updated", "rate_limits.0.remaining", 101)),
    ("limits", "text", change(TEXT, "rate_limits.updated", "rate_limits.0.remaining", -1)),
    ("limits", "text", change(TEXT, "rate_limits.updated", "rate_limits.0.remaining", 5)),
    ("limits", "text", change(TEXT, "rate_limits.updated", "rate_limits", [])),
    ("limits", "text", change(TEXT, "rate_limits.updated", "rate_limits.0.remaining", 99, 1)),
    ("limits", "text", TEXT + limits(1)),
    (
        "turn detection",
        "speech",
        change(SPEECH, "session.created", "session.audio.input.turn_detection", None),
    ),
    (
        "turn detection",
        "speech",
        change(SPEECH, "session.created", "session.audio.input.turn_detection", {"type": "server_vad"}),
    ),
    ("speech", "speech", drop(SPEECH, STARTED)),
    ("speech", "speech", double(SPEECH, STARTED)),
    ("speech", "speech", change(SPEECH, STOPPED, "item_id", "item_z")),
    ("position", "speech", change(SPEECH, STARTED, "audio_start_ms", 1200)),
    ("position", "speech", change(SPEECH, STARTED, "audio_start_ms", 1400, 1)),
    ("position", "speech", change(SPEECH, STOPPED, "audio_end_ms", 99)),
    ("position", "speech", change(SPEECH, STOPPED, "audio_end_ms", 2002)),
    ("position", "speech", change(SPEECH, TRIGGERED, "audio_end_ms", 2999)),
    ("enough audio", "speech", drop(SPEECH, "input_audio_buffer.append", -1)),
    ("enough audio", "speech", change(SPEECH, "input_audio_buffer.append", "audio", "AAAA" * 1599, -1)),
    (
        "interrupt",
        "speech",
        put(SPEECH, "response.output_audio.done", came("response.output_audio.delta", **PLACE, delta="AAAA")),
    ),
    (
        "interrupt",
        "speech",
        change(
            change(SPEECH, RESPONSE_DONE, "response.status", "incomplete"),
            RESPONSE_DONE,
            "response.status_details",
            {"type": "incomplete", "reason": "max_output_tokens"},
        ),
    ),
    ("idle", "speech", drop(SPEECH, "input_audio_buffer.clear", 0, 2)),
    (
        "idle",
        "speech",
        put(SPEECH, TRIGGERED, asked_for(5)),
    ),
    ("transcript", "speech", double(SPEECH, f"{TRANSCRIPTION}.completed")),
    ("transcript", "speech", drop(SPEECH, f"{TRANSCRIPTION}.completed")),
    ("transcript", "speech", change(SPEECH, f"{TRANSCRIPTION}.failed", "content_index", 1)),
    ("transcript", "transcribed", TRANSCRIBED + HM),
    ("owed", "speech", SILENT_TURN),
    ("owed", "speech", [*SILENT_TURN, *came(STARTED, audio_start_ms=1600, item_id="item_c")]),
    ("listing", "listing", drop(LISTING, "mcp_list_tools.in_progress")),
    ("listing", "listing", drop(LISTING, "mcp_list_tools.completed")),
    ("listing", "listing", drop(LISTING, "mcp_list_tools.completed", 0, 2)),
    ("listing", "listing", double(LISTING, "mcp_list_tools.in_progress")),
    ("listing", "listing", double(LISTING, "mcp_list_tools.completed")),
    ("mcp call", "tools", drop(TOOLS, "response.mcp_call.in_progress")),
    ("mcp call", "tools", drop(TOOLS, "response.mcp_call.completed")),
    ("mcp call", "tools", double(TOOLS, "response.mcp_call.completed")),
    ("mcp call", "tools", swap(TOOLS, "response.mcp_call_arguments.done")),
    ("mcp call", "tools", change(TOOLS, "response.mcp_call.completed", "item_id", "item_c")),
    ("elapsed", "translated", change(TRANSLATED, "session.output_audio.delta", "elapsed_ms", 200)),
    ("elapsed", "translated", change(TRANSLATED, "session.output_audio.delta", "elapsed_ms", 1200)),
    (
        "source",
        "translated",
        change(TRANSLATED, "session.created", "session.audio.input.transcription", None),
    ),
    ("idle end", "text", upto(TEXT, "response.created")),
    ("idle end", "listing", upto(LISTING, ADDED)),
]


@pytest.mark.parametrize(
    ("rule", "name", "stream"), BAD, ids=[f"{n} {rule}" for n, (rule, *_) in enumerate(BAD)]
)
def test_what_is_wrong_is_found(rule: str, name: str, stream: Stream) -> None:
    """A stream with one thing wrong is stopped, by the rule that says so."""
    with pytest.raises(OutOfOrder) as caught:
        play(stream, *GOOD[name][1:])
    assert caught.value.rule == rule


def test_every_rule_can_fail() -> None:
    """There is no rule that nothing breaks, and none that has no sentence."""
    assert {rule for rule, *_ in BAD} == set(RULES)


MAY_MISS = {
    "rate_limits.updated",
    "response.output_audio.delta",
    f"{TRANSCRIPTION}.delta",
    "session.input_transcript.delta",
    "session.output_transcript.delta",
    "session.output_audio.delta",
    STARTED,  # the last of them, which is not followed by a stop
}
"""What nobody can miss: it could as well not have happened."""


@pytest.mark.parametrize("name", GOOD)
def test_nothing_can_be_left_out(name: str) -> None:
    """Whatever single event of the server is missing, but for some that stand alone, it is noticed."""
    stream, session_type, dialect = GOOD[name]
    for place, (direction, event) in enumerate(stream):
        if direction == "<" and event["type"] not in MAY_MISS:
            with pytest.raises(OutOfOrder):
                play(stream[:place] + stream[place + 1 :], session_type, dialect)


@pytest.mark.parametrize("name", GOOD)
def test_nothing_can_come_twice(name: str) -> None:
    """Whatever event of the server comes twice, but for deltas that nothing joins, it is noticed."""
    stream, session_type, dialect = GOOD[name]
    for place, (direction, event) in enumerate(stream):
        if direction == "<" and event["type"] not in MAY_MISS - {STARTED, "rate_limits.updated"}:
            with pytest.raises(OutOfOrder):
                play(stream[: place + 1] + stream[place:], session_type, dialect)


def test_the_message_tells_the_story() -> None:
    """A broken rule is explained with its sentence, the event, and what went before."""
    with pytest.raises(AssertionError) as caught:
        play(change(TEXT, "response.output_text.done", "text", "Ha"), "realtime", "ga")
    told = str(caught.value)
    assert RULES["joined"] in told
    assert "the deltas are 'Hello'" in told
    assert '< {"type":"response.output_text.done"' in told
    assert '< {"type":"response.output_text.delta"' in told
    assert len(told.splitlines()) < 16


def test_a_turn_may_overtake_the_client() -> None:
    """The client asks for a response while the server begins one by itself: that is not its answer."""
    ask = sent("response.create", event_id="late", response={"metadata": {"a": "b"}})
    refused = came("error", error={"type": "x", "message": "one is running", "event_id": "late"})
    turn = SILENT_TURN[:1] + ask + SILENT_TURN[1:] + begun(1)
    play(turn + refused + ending(1, "completed", []), "realtime", "ga")
    second = begun(2, metadata={"a": "b"}) + ending(2, "completed", [], metadata={"a": "b"})
    play(turn + ending(1, "completed", []) + second, "realtime", "ga")


def test_what_comes_after_close_is_answered_before() -> None:
    """A translation session that is being closed goes on to answer, and says so last."""
    late = sent("session.update", event_id="late", session={})
    refused = came("error", error={"type": "x", "message": "closing", "event_id": "late"})
    play(put(TRANSLATED, "session.closed", late + refused), "translation", "ga")
    with pytest.raises(OutOfOrder, match="answered in the order"):
        play(put(TRANSLATED, "session.close", late), "translation", "ga")


def test_a_truncated_item_may_hold_less() -> None:
    """What the client has cut off is gone, also when it cut while the model was speaking."""
    cut = [
        *sent("conversation.item.truncate", item_id="item_b", content_index=0, audio_end_ms=1),
        *came("conversation.item.truncated", item_id="item_b", content_index=0, audio_end_ms=1),
    ]
    look = [
        *sent("conversation.item.retrieve", item_id="item_b"),
        *came("conversation.item.retrieved", item=message("item_b", "incomplete", {"type": "output_audio"})),
    ]
    play(put(SPEECH, "response.output_audio.done", cut) + look, "realtime", "ga")
    play(SPEECH + cut + look, "realtime", "ga")


def test_an_error_may_mean_an_append() -> None:
    """An error that names nobody may be for an append or for what was sent after it: both are taken."""
    refused = came("error", error={"type": "x", "message": "no"})
    both = [*sent("input_audio_buffer.append", audio="AAAA"), *sent("input_audio_buffer.clear")]
    play(opening() + both + refused, "realtime", "ga")
    play(opening() + both + refused + came("input_audio_buffer.cleared"), "realtime", "ga")
    named = sent("input_audio_buffer.append", audio="AAAA", event_id="mine")
    refused = came("error", error={"type": "x", "message": "no", "event_id": "mine"})
    play(opening() + named + refused, "realtime", "ga")
    with pytest.raises(OutOfOrder, match="still waits"):
        play(opening() + named + refused + refused, "realtime", "ga")
