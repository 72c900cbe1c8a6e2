"""What a server hears in a session's input, by its events."""

import time

import pytest

from realtime_sync import events as ev
from realtime_sync.cli.turns import Turns


def test_times_of_segments() -> None:
    """Whether a segment's time counts from the beginning of its turn or of the audio is found out."""
    turns = Turns()
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=10_000, item_id="a"))
    turns.visit(ev.InputAudioBufferSpeechStopped(event_id="", audio_end_ms=12_000, item_id="a"))
    for begin in (10.5, 10.0):
        segment = ev.ConversationItemInputAudioTranscriptionSegment(
            event_id="", item_id="a", content_index=0, text="x", id="s", speaker="A", start=begin, end=11.0
        )
        turns.visit(segment)
    assert [(cue.start, cue.end) for cue in turns.cues(60.0)] == [(10.0, 11.0), (10.5, 11.0)]


def test_turns_without_times() -> None:
    """A turn that was committed begins where the last one ended; the last one ends with the file."""
    turns = Turns()
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=0, item_id="a"))
    turns.visit(ev.InputAudioBufferSpeechStopped(event_id="", audio_end_ms=1500, item_id="a"))
    turns.visit(ev.InputAudioBufferCommitted(event_id="", item_id="b"))
    assert [(turn.start, turn.end) for turn in turns.in_order(4.0)] == [(0.0, 1.5), (1.5, 4.0)]


def test_segments_end_with_the_file() -> None:
    """The segments of a server that counts beyond the end of the file end with it."""
    turns = Turns()
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=0, item_id="a"))
    turns.visit(ev.InputAudioBufferSpeechStopped(event_id="", audio_end_ms=2_400, item_id="a"))
    for number, (start, end) in enumerate([(0.0, 1.9), (1.9, 2.4), (2.2, 2.4)]):
        segment = ev.ConversationItemInputAudioTranscriptionSegment(
            event_id="",
            item_id="a",
            content_index=0,
            text="x",
            id=f"{number}",
            speaker="A",
            start=start,
            end=end,
        )
        turns.visit(segment)
    assert [(cue.start, cue.end) for cue in turns.cues(2.0)] == [(0.0, 1.9), (1.9, 2.0), (2.0, 2.0)]


def test_what_is_still_to_come() -> None:
    """A turn is open until it ends or is committed, and pending until its transcript came or failed."""
    turns = Turns()
    assert not turns.found
    assert turns.remarks == ["the server has heard no speech"]
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=500, item_id="a"))
    assert (turns.found, turns.speaking, len(turns.pending), turns.known) == (True, True, 1, 0.5)
    turns.visit(ev.InputAudioBufferCommitted(event_id="", item_id="a"))
    assert (turns.speaking, len(turns.pending), turns.transcribed(2.0)) == (False, 1, None)
    turns.visit(
        ev.ConversationItemInputAudioTranscriptionCompleted(
            event_id="",
            item_id="a",
            content_index=0,
            transcript="Hi.",
            usage=ev.TranscriptionUsageDuration(seconds=1.0),
        )
    )
    assert (turns.pending, turns.transcribed(2.0), turns.remarks) == ([], 2.0, [])


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"message": "too noisy", "code": "noise"}, "too noisy"),
        ({"code": "noise"}, "noise"),
        ({}, "no reason given"),
    ],
)
def test_a_failure(error: dict[str, str], failure: str) -> None:
    """A transcription that failed is not waited for, and says why in the server's best words."""
    turns = Turns()
    details = ev.TranscriptionError(**error)
    turns.visit(
        ev.ConversationItemInputAudioTranscriptionFailed(
            event_id="", item_id="a", content_index=0, error=details
        )
    )
    assert [turn.failure for turn in turns.in_order(1.0)] == [failure]
    assert not turns.pending


def seconds(commits: int) -> float:
    """How long a number of turns takes, on a processor of its own."""
    turns = Turns()
    events = [
        ev.InputAudioBufferCommitted(event_id="", item_id=f"item_{number}") for number in range(commits)
    ]
    began = time.thread_time()
    for event in events:
        turns.visit(event)
        assert not turns.complete
    return time.thread_time() - began


def test_many_turns() -> None:
    """Turns cost time in proportion to their number."""
    assert seconds(20_000) < 40 * seconds(2_000) + 0.2
