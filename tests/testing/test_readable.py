"""Events as a person reads them."""

import time

import pytest
from dialogues import user

import realtime_sync as rt
from realtime_sync.testing.readable import compared, difference, event_lines, readable

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


def test_long_texts_are_compared_where_they_differ() -> None:
    """Of two long texts, the place of the first difference is shown."""
    shown = difference("ab" * 5000 + "!", "ab" * 5000 + "?" * 900)
    assert shown[0] == "(of 10001 and 10900 characters, at most 400 from the 9901. on)"
    assert shown[1].startswith("- 'ababab")
    assert shown[1].endswith("ab!'")
    assert max(map(len, shown)) < 500
    assert difference("a" * 400, "b")[0] == f"- '{'a' * 400}'"


def test_a_long_list_is_compared_where_it_differs() -> None:
    """So are two values of many lines."""
    one, two = [*["same" * 10] * 100, "a"], [*["same" * 10] * 100, "b"]
    shown = difference(one, two)
    assert shown[0] == "(of 103 and 103 lines, at most 40 from the 92. on)"
    assert "-     'a'," in shown
    assert "+     'b'," in shown


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("ab" * 100_000, "ba" * 100_000 + "x"),
        ([f"one {number}" * 9 for number in range(1000)], [f"two {number}" * 9 for number in range(1000)]),
        ({"x" * 200_000: 1}, {"y" * 200_000: 1, "z": "u" * 200_000}),
        (
            rt.decode_client(b'{"type":"new","x":"%s"}' % (b"ab" * 100_000)),
            rt.decode_client(b'{"type":"new","x":"%s"}' % (b"ba" * 100_000)),
        ),
    ],
)
def test_comparing_takes_no_time(one: object, two: object) -> None:
    """However much a client sends, and however little of it is as expected, the test goes on."""
    began = time.thread_time()
    lines = difference(one, two)
    assert time.thread_time() - began < 5  # it took hours
    assert max(map(len, lines)) <= 2100


def test_lines_of_hostile_events() -> None:
    """The line of an event has no control characters and ends, whatever is in it."""
    text = "\x1b[2J\u202e\n" + "x" * 5000
    tools: list[ev.Tool] = [ev.FunctionTool(name=text) for _ in range(100)]
    for event in (
        ev.SessionUpdate(session=ev.SessionConfig(type=text, tools=tools)),
        ev.ConversationItemCreate(item=ev.FunctionCallOutput(call_id=text, output=text)),
        rt.decode_client(text),
    ):
        [line] = event_lines([event])
        assert line.isprintable()
        assert len(line) <= 2000
