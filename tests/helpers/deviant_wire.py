"""What becomes of a `DeviantServer`'s events on the wire: names, ids and fields as its switches say."""

import random
from typing import Any

from deviant_switches import Switches

Event = dict[str, Any]

BUSY = "conversation_already_has_active_response"
_BETA = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": "",  # there is none
}
_BETA_PARTS = {"output_text": "text", "output_audio": "audio"}
_TEXT_DELTAS = {
    "response.output_text.delta",
    "response.output_audio_transcript.delta",
    "response.function_call_arguments.delta",
}
_TEXT_DONES = {
    "response.output_text.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
}
_TOLD_TWICE = {
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.done",
    "response.output_audio_transcript.done",
    "response.output_item.done",
    "response.function_call_arguments.done",
}


class Wire:
    """Turns events as specified into those that this server sends.

    An event may have ``"own": True``: it is a ``conversation.item.*`` about an item of the server's own.
    """

    def __init__(self, rng: random.Random, switches: Switches) -> None:
        self._random = rng
        self._switches = switches
        self._sent = 0

    def write(self, event: Event) -> list[Event]:
        own = event.pop("own", False)
        if self._is_left_out(event["type"], own):
            return []
        events = [self._named(event)]
        if self._switches.parts == "twice" and event["type"] in _TOLD_TWICE:
            events.append(dict(events[0]))
        for each in events:
            self._number(each)
        is_ours = event["type"].startswith("test.")
        if self._switches.repeats == "yes" and not is_ours and self._random.random() < 0.3:
            events.append(events[-1])
        return events

    def _is_left_out(self, kind: str, own: bool) -> bool:
        s = self._switches
        return (
            (own and s.item_events == "missing")
            or (s.created == "missing" and kind == "response.created")
            or (s.texts == "no deltas" and kind in _TEXT_DELTAS)
            or (s.texts == "no done" and kind in _TEXT_DONES)
            or (s.names == "beta" and _BETA.get(kind) == "")
        )

    def _number(self, event: Event) -> None:
        self._sent += 1
        if self._switches.event_ids != "missing":
            same = self._switches.event_ids == "same"
            event["event_id"] = "event_0" if same else f"event_{self._sent}"

    def _named(self, event: Event) -> Event:
        s = self._switches
        event = dict(event)
        if s.names == "beta":
            event["type"] = _BETA.get(event["type"], event["type"])
            event = _beta(event)
        if "previous_item_id" in event:
            self._place(event)
        if event["type"] == "error":
            event["error"] = self._error(event["error"])
        if "response" in event and s.conversation_ids == "missing":
            event["response"] = {k: v for k, v in event["response"].items() if k != "conversation_id"}
        return event

    def _place(self, event: Event) -> None:
        kind = self._switches.previous
        if kind == "missing":
            del event["previous_item_id"]
        elif kind == "null":
            event["previous_item_id"] = None
        elif kind == "root" and event["previous_item_id"] is None:
            event["previous_item_id"] = "root"

    def _error(self, error: Event) -> Event:
        error = dict(error)
        if self._switches.errors == "nameless":
            error["event_id"] = None
        if self._switches.busy == "type" and error["code"] == BUSY:
            error["type"], error["code"] = BUSY, None
        return error


def _beta(value: Any) -> Any:
    """The same with the older names of content parts."""
    if isinstance(value, dict):
        made = {key: _beta(each) for key, each in value.items()}
        kind = made.get("type")
        return {**made, "type": _BETA_PARTS[kind]} if kind in _BETA_PARTS else made
    return [_beta(each) for each in value] if isinstance(value, list) else value
