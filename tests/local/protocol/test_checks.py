"""Which events and items are rejected."""

from typing import Any

import pytest
from response_order import check_turn
from talk import Talk

from realtime_sync import events as ev


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"hello", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"type": "response.create", "response": {"metadata": {"a": NaN}}}', "invalid_json", None),
        (b'{"type": "response.create", "x": "\xff"}', "invalid_json", None),
        (b"{}", "missing_required_parameter", "type"),
        (b'{"type": "response.destroy"}', "invalid_value", "type"),
        (b'{"type": "output_audio_buffer.clear"}', "invalid_value", "type"),
        (b'{"type": "session.close"}', "invalid_value", "type"),
        (b'{"type": "session.update"}', "missing_required_parameter", "session"),
        (b'{"type": "response.cancel", "event_id": 5}', "invalid_type", "event_id"),
        (b'{"type": "response.create", "foo": 5}', "unknown_parameter", "foo"),
        (b'{"type": "response.create", "response": {"foo": 5}}', "unknown_parameter", "response.foo"),
        (
            b'{"type": "response.create", "response": {"conversation": "x"}}',
            "invalid_value",
            "response.conversation",
        ),
        (
            b'{"type": "response.create", "response": {"audio": {"input": {}}}}',
            "unknown_parameter",
            "response.audio.input",
        ),
        (b'{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        (b'{"type": "input_audio_buffer.append", "audio": "a*b"}', "invalid_value", "audio"),
        (b'{"type": "conversation.item.delete", "item_id": 7}', "invalid_type", "item_id"),
    ],
)
def test_frames_that_are_refused(frame: bytes, code: str, param: str | None) -> None:
    """Any other nonsense is one error that names code and field; the session goes on."""
    talk = Talk()
    [event] = talk.protocol.receive(frame)
    assert isinstance(event, ev.ErrorEvent)
    assert (event.error.code, event.error.param) == (code, param)
    assert not talk.protocol.active
    check_turn(talk.turn())


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "banana"}, "invalid_value", "item.type"),
        ({"role": "user"}, "missing_required_parameter", "item.type"),
        ({"type": "item_reference", "id": "x"}, "invalid_value", "item.type"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        ({"type": "message", "role": "pope", "content": []}, "invalid_value", "item.role"),
        (
            {"type": "message", "role": "user", "content": [{"type": "output_text", "text": ""}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": ""}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "txt": ""}]},
            "unknown_parameter",
            "item.content[0].txt",
        ),
        (
            {"type": "message", "role": "user", "content": [], "id": "taken"},
            "item_create_duplicate_item_id",
            "item.id",
        ),
    ],
)
def test_items_that_are_refused(item: dict[str, Any], code: str, param: str) -> None:
    """An item that makes no sense is rejected, and is not in the conversation."""
    talk = Talk()
    talk.add({"id": "taken", "type": "message", "role": "user", "content": []})
    error = talk.error("conversation.item.create", item=item)
    assert (error.code, error.param) == (code, param)
    assert talk.order() == ["taken"]
