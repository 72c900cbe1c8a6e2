"""Events as a person reads them."""

import pytest
from dialogues import user

import realtime_sync as rt
from realtime_sync.testing.readable import compared, event_lines, readable

ev = rt.events


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ev.ResponseCreate(event_id="event_1"), "response.create()"),
        (
            ev.InputAudioBufferAppend(audio=bytes(4800)),
            "input_audio_buffer.append(audio=<4800 bytes of audio>)",
        ),
        (
            ev.SessionUpdate(session=ev.SessionConfig(type="realtime", tracing=None)),
            "session.update(session=SessionConfig(type='realtime', tracing=None))",
        ),
        ("x" * 161, "'" + "x" * 160 + "'... (161 characters)"),
        ({"a": [1, (2, None)]}, "{'a': [1, [2, None]]}"),
        (
            ev.McpTool(server_label="here", authorization="secret"),
            "McpTool(server_label='here', server_url=UNSET, ...)",
        ),
        (rt.decode_client(b"[]"), "not a JSON object: '[]'"),
        (rt.decode_client(b'{"type":"new"}'), 'unknown event: \'{"type":"new"}\''),
    ],
)
def test_readable(value: object, text: str) -> None:
    """Values are short: no ids, no absent fields, no audio, no secrets."""
    assert readable(value) == text


def test_event_lines() -> None:
    """Audio in a row takes one line, and a long list only shows its end."""
    appends = [ev.InputAudioBufferAppend(audio=bytes(100))] * 3
    assert event_lines([*appends, ev.InputAudioBufferCommit(), appends[0]]) == [
        "input_audio_buffer.append(audio=<300 bytes of audio in 3 events>)",
        "input_audio_buffer.commit()",
        "input_audio_buffer.append(audio=<100 bytes of audio>)",
    ]
    lines = event_lines([ev.InputAudioBufferCommit()] * 100)
    assert (len(lines), lines[0]) == (61, "... 40 earlier ones")


def test_compared() -> None:
    """Two events are compared field by field; other things are left to pytest."""
    one, two = (ev.ConversationItemCreate(item=user(ev.InputText(text=text * 20))) for text in ("ab", "ac"))
    lines = compared(one, two) or []
    assert lines[0].startswith("conversation.item.create(item=Message(role='user'")
    assert any(line.startswith("-") and "acac" in line for line in lines)
    assert any(line.startswith("+") and "abab" in line for line in lines)
    assert "(what differs is not shown: event_id, or the bytes of the audio)" in (
        compared([ev.ResponseCreate(event_id="1")], [ev.ResponseCreate(event_id="2")]) or []
    )
    assert compared([1], "x") is None
