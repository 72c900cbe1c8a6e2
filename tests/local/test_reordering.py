"""Neighbours that change places."""

import pytest
from fault_turn import parallel, response_of, turn

import realtime_sync as rt
from realtime_sync.events import ServerEvent
from realtime_sync.local.faults import Reorder
from realtime_sync.local.stage import Send, Stage


def reordered(every: int, batches: list[list[ServerEvent]], more: bool) -> list[ServerEvent]:
    stage = Stage([Reorder(every)])
    actions = [
        action
        for number, batch in enumerate(batches)
        for action in stage.take(batch, more=more and number < len(batches) - 1)
    ]
    return [action.event for action in actions if isinstance(action, Send) and action.event is not None]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_reorder(every: int) -> None:
    """Events of different responses change places; within a response the order stays; none is lost."""
    batches = parallel()
    before = [event for batch in batches for event in batch]
    after = reordered(every, batches, True)
    assert after != before
    assert sorted(event.event_id for event in after) == sorted(event.event_id for event in before)
    for response in {response_of(event) for event in before} - {""}:
        assert [event for event in after if response_of(event) == response] == [
            event for event in before if response_of(event) == response
        ]


def test_reorder_keeps_one_response() -> None:
    """Where the protocol leaves no choice, nothing moves."""
    batches = turn()
    before = [event for batch in batches for event in batch]
    kinds = [event.type for event in reordered(1, batches, True) if event.type != "rate_limits.updated"]
    assert kinds == [event.type for event in before if event.type != "rate_limits.updated"]


def test_reorder_does_not_wait_in_vain() -> None:
    """No event is held back when none is sure to follow."""
    stage = Stage([Reorder(1)])
    for batch in parallel():
        assert len(stage.take(batch)) == len(batch)


def test_reorder_transcription() -> None:
    """A transcription may change places with a response, or with one of another item, never with its own."""
    events = rt.events
    delta = events.ConversationItemInputAudioTranscriptionDelta(
        event_id="1", item_id="a", content_index=0, delta="x"
    )
    usage = events.TranscriptionUsageDuration(seconds=1)
    own, other = (
        events.ConversationItemInputAudioTranscriptionCompleted(
            event_id=f"of {item}", item_id=item, content_index=0, transcript="x", usage=usage
        )
        for item in "ab"
    )
    response = turn()[2][0]
    error = events.ErrorEvent(event_id="4", error=events.ErrorDetails(type="x", message="x"))
    assert reordered(1, [[delta, own]], False) == [delta, own]
    assert reordered(1, [[delta, other]], False) == [other, delta]
    assert reordered(1, [[delta, response]], False) == [response, delta]
    assert reordered(1, [[response, error, delta]], False) == [response, error, delta]
