"""What items and their parts hold: text, transcripts and audio, whole or cut off."""

import base64

import pytest
from conversation_events import added, at, created, done, message, sound, spoken, told, truncated, wire

from realtime_sync.voice import ConversationPart

# --- The words that were heard -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ms", "heard"),
    [
        ("one two three four", 1000, "one two three four"),
        ("one two three four", 5000, "one two three four"),
        ("one two three four", 999, "one two three"),
        ("one two three four", 389, "one two"),
        ("one two three four", 445, "one two"),
        ("one two three four", 388, "one"),
        ("one two three four", 0, ""),
        ("one", 500, ""),
        ("天空是蓝色的", 500, "天空是"),
        ("", 500, ""),
    ],
)
def test_heard(text: str, ms: int, heard: str) -> None:
    """The transcript of truncated audio keeps the same share of the words as of the audio."""
    conversation = told(created(), spoken(text), sound(bytes(48_000)), truncated(ms))
    [part] = conversation.items[0].content
    assert part.transcript == heard
    assert part.generated == text
    assert len(part.audio) == min(ms, 1000) * 48
    assert conversation.transcript() == f"Assistant: {heard} [cut off after {ms / 1000:.1f} s]".replace(
        "  ", " "
    )


def test_more_after_a_cut() -> None:
    """Audio that arrives after a truncation is counted, not kept or passed on; a cut never moves back."""
    heard = bytearray()
    events = [created(), sound(bytes(4800)), truncated(50), sound(bytes(4800)), truncated(80)]
    assert len(told(*events).items[0].audio) == 2400
    conversation = told(*events, audio=lambda item, chunk: heard.extend(chunk))
    assert len(heard) == 4800  # these had come before
    [part] = conversation.items[0].content
    assert (part.received_ms, part.truncated_ms) == (200, 50)
    early = told(created(), sound(b""), truncated(150), sound(bytes(4800)), sound(bytes(4800)))
    assert len(early.items[0].audio) == 150 * 48
    assert early.deviations.total() == 2  # neither the item nor its part was announced


def test_the_whole_sound_after_a_cut() -> None:
    """Complete audio that arrives after a truncation is truncated too."""
    part = {"type": "output_audio", "audio": base64.b64encode(bytes(48_000)).decode()}
    item = {**message("i", role="assistant", status="incomplete"), "content": [part]}
    events = [created(), sound(bytes(24_000)), truncated(250)]
    [held] = told(*events, wire("response.output_item.done", **at(), item=item)).responses[0].items
    assert (len(held.audio), held.content[0].received_ms) == (12_000, 1000)


def test_the_whole_text_counts() -> None:
    """What ends a text carries the whole of it, which repairs what was lost; an empty one erases nothing."""
    conversation = told(
        created(),
        spoken("Hel"),
        wire("response.output_audio_transcript.done", **at(), transcript="Hello."),
        wire("response.output_audio.done", **at()),
        wire("response.content_part.done", **at(), part={"type": "audio"}),
        wire("response.output_audio_transcript.done", **at(), transcript=""),
        wire("response.output_text.delta", **at("t"), delta="a"),
        wire("response.content_part.done", **at("t"), part={"type": "text", "text": "abc"}),
        added(message("t", "late", role="assistant", status="in_progress")),
    )
    assert [item.text for item in conversation.responses[0].items] == ["Hello.", "abc"]


def test_linear() -> None:
    """Audio isn't joined while it streams: the chunks are the same objects as in the events."""
    chunks = [bytes([number]) * 4800 for number in range(100)]
    conversation = told(created(), *(sound(chunk) for chunk in chunks))
    part: ConversationPart = conversation.items[0].content[0]
    assert all(one is other for one, other in zip(part._chunks, chunks, strict=True))
    assert part.audio == b"".join(chunks)


def test_usage_of_forgotten_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forgotten responses used still counts."""
    monkeypatch.setattr("realtime_sync.session.mirror._MOST", 3)
    conversation = told(*(done(f"r{number}", usage={"total_tokens": 2}) for number in range(10)))
    assert len(conversation.responses) == 3
    assert conversation.usage.total_tokens == 20
