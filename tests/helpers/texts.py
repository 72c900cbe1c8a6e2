"""The texts that a session receives."""

from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync.events import ResponseOutputTextDelta


class Deltas(rt.Visitor[None]):
    """Collects text."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        self.texts.append(event.delta)


def texts(session: rt.Session, count: int) -> list[str]:
    taken = [session.next_event(DEADLINE) for _ in range(count)]
    return [event.delta for event in taken if isinstance(event, ResponseOutputTextDelta)]
