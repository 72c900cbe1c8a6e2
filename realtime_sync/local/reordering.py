"""Which neighbours among a session's events may change places, and a swap of those."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from .. import events as ev
from ..events import ServerEvent

__all__ = ["Swap", "is_response_delta"]


class Swap:
    """Swaps neighbours, holding one event back to see the next.

    Args:
        every: Swap every n-th pair of which the protocol leaves open which comes first.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._pairs = 0
        self._held: deque[ServerEvent] = deque()

    def take(self, events: Sequence[ServerEvent], more: bool) -> list[ServerEvent]:
        """Return the events in their new order; with ``more``, one may be held back until the next call."""
        waiting = self._held
        waiting += events
        done: list[ServerEvent] = []
        while len(waiting) > 1:
            if self._swaps(waiting[0], waiting[1]):
                first = waiting.popleft()
                done += [waiting.popleft(), first]
            else:
                done.append(waiting.popleft())
        if waiting and not (more and _may_move(waiting[0])):
            done += waiting
            waiting.clear()
        return done

    def _swaps(self, first: ServerEvent, second: ServerEvent) -> bool:
        if not _order_is_open(first, second):
            return False
        self._pairs += 1
        return self._pairs % self._every == 0


def is_response_delta(event: ServerEvent) -> bool:
    """Return whether the event is a delta of a response."""
    return event.type.startswith("response.") and event.type.endswith(".delta")


def _order_is_open(first: ServerEvent, second: ServerEvent) -> bool:
    """Return whether the protocol leaves open which of two neighbours comes first."""
    one, two = _response_of(first), _response_of(second)
    if one and two:
        return one != two
    for event, other in ((first, two), (second, one)):
        if other and (isinstance(event, ev.RateLimitsUpdated) or _is_transcription(event)):
            return True
    if _is_transcription(first) and _is_transcription(second):
        return bool(_field(first, "item_id") != _field(second, "item_id"))
    return False


def _may_move(event: ServerEvent) -> bool:
    return bool(_response_of(event)) or isinstance(event, ev.RateLimitsUpdated) or _is_transcription(event)


def _response_of(event: ServerEvent) -> str | None:
    """Return the id of the response whose event this is."""
    if not event.type.startswith("response."):
        return None
    found = _field(event, "response_id") or _field(_field(event, "response"), "id")
    return found if isinstance(found, str) else None


def _is_transcription(event: ServerEvent) -> bool:
    return event.type.startswith("conversation.item.input_audio_transcription.")


def _field(thing: object, name: str) -> Any:
    return getattr(thing, name, None)
