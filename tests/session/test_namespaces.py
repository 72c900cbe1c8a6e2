"""`namespaces`: every client event by its call, and what it puts on the wire."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from scripted import DEADLINE, Caller, Open, ScriptedServer, collect

import realtime_sync as rt
from realtime_sync.events import CLIENT_EVENTS

Tls = ssl.SSLContext | None

CALLS: list[tuple[Callable[[rt.Session], str], dict[str, Any]]] = [
    (
        lambda s: s.update(instructions="Be brief.", tools=None),
        {
            "type": "session.update",
            "session": {"type": "realtime", "instructions": "Be brief.", "tools": None},
        },
    ),
    (
        lambda s: s.update(type="transcription", audio={"input": {"turn_detection": None}}),
        {
            "type": "session.update",
            "session": {"type": "transcription", "audio": {"input": {"turn_detection": None}}},
        },
    ),
    (
        lambda s: s.transcription_session.update(input_audio_format="pcm16"),
        {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16"}},
    ),
    (
        lambda s: s.conversation.item.create("Hi", previous_item_id="root"),
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        },
    ),
    (
        lambda s: s.conversation.item.create({"type": "novel", "x": 1}),
        {"type": "conversation.item.create", "item": {"type": "novel", "x": 1}},
    ),
    (
        lambda s: s.conversation.item.create(rt.events.FunctionCallOutput(call_id="c", output="{}")),
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "{}"},
        },
    ),
    (
        lambda s: s.conversation.item.retrieve("i"),
        {"type": "conversation.item.retrieve", "item_id": "i"},
    ),
    (
        lambda s: s.conversation.item.truncate("i", audio_end_ms=5),
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 5},
    ),
    (lambda s: s.conversation.item.delete("i"), {"type": "conversation.item.delete", "item_id": "i"}),
    (
        lambda s: s.input_audio_buffer.append(b"abc"),
        {"type": "input_audio_buffer.append", "audio": "YWJj"},
    ),
    (
        lambda s: s.input_audio_buffer.append(memoryview(b"abcd").cast("h")),
        {"type": "input_audio_buffer.append", "audio": "YWJjZA=="},
    ),
    (lambda s: s.input_audio_buffer.commit(), {"type": "input_audio_buffer.commit"}),
    (lambda s: s.input_audio_buffer.clear(), {"type": "input_audio_buffer.clear"}),
    (lambda s: s.output_audio_buffer.clear(), {"type": "output_audio_buffer.clear"}),
    (lambda s: s.response.create(), {"type": "response.create"}),
    (
        lambda s: s.response.create(conversation="none", input=[], metadata=None),
        {"type": "response.create", "response": {"conversation": "none", "input": [], "metadata": None}},
    ),
    (lambda s: s.response.cancel(), {"type": "response.cancel"}),
    (lambda s: s.response.cancel("r"), {"type": "response.cancel", "response_id": "r"}),
    (
        lambda s: s.translation.append(b"abc"),
        {"type": "session.input_audio_buffer.append", "audio": "YWJj"},
    ),
    (lambda s: s.translation.close(), {"type": "session.close"}),
    (lambda s: s.send({"type": "custom", "audio": b"abc"}), {"type": "custom", "audio": "YWJj"}),
    (lambda s: s.send(rt.events.InputAudioBufferClear()), {"type": "input_audio_buffer.clear"}),
]


def test_calls(server_tls: Tls, open_session: Open) -> None:
    """Every call sends its event with only what was given, and returns the id it was sent with."""
    received: list[Any] = []
    with ScriptedServer(collect(received), server_tls) as server:
        session = open_session(server)
        ids = [call(session) for call, _ in CALLS]
        session.close()
    assert [event.pop("event_id") for event in received] == ids
    assert len(set(ids)) == len(ids)
    assert received == [expected for _, expected in CALLS]


def test_every_client_event_has_a_call() -> None:
    """There is a call for each client event, so none needs to be built by hand."""
    assert set(CLIENT_EVENTS) <= {expected["type"] for _, expected in CALLS}


@pytest.mark.parametrize(
    ("announced", "dialect", "expected"),
    [
        ('{"type":"transcription"}', "ga", "transcription"),
        ('{"type":"translation"}', "ga", None),
        ('{"voice":"alloy"}', "ga", None),
        ('{"type":"realtime"}', "beta", None),
    ],
)
def test_type_of_an_update(announced: str, dialect: str, expected: str | None, open_session: Open) -> None:
    """`update` names the kind of session the server announced, where the server wants one named."""

    def script(caller: Caller) -> None:
        caller.accept()
        assert (caller.header("OpenAI-Beta") == "realtime=v1") == (dialect == "beta")
        caller.text(f'{{"type":"session.created","event_id":"e","session":{announced}}}')
        assert caller.read_event()["session"].get("type") == expected
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server, dialect=dialect)
        session.next_event(DEADLINE)
        session.update()
        session.close()


def test_bad_arguments(open_session: Open) -> None:
    """Wrong arguments are a `TypeError` that names them, before anything is sent."""
    received: list[Any] = []
    with ScriptedServer(collect(received)) as server:
        session = open_session(server)
        with pytest.raises(TypeError, match=r"'voise'; did you mean 'voice'"):
            session.update(voise="alloy")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"'client_secret'"):
            session.update(client_secret="x")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"'instruction'; did you mean 'instructions'"):
            session.response.create(instruction="x")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="expected a text, an item or a dict, got int"):
            session.conversation.item.create(1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="bytes-like"):
            session.input_audio_buffer.append("YWJj")  # type: ignore[arg-type]
        session.close()
    assert received == []
