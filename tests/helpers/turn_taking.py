"""What voice detection finds, and how it is set."""

from typing import Any

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent

TURN = [
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
]


def vad(**fields: Any) -> dict[str, Any]:
    return {"input": {"turn_detection": {"type": "server_vad", **fields}}}


def times(events: list[ServerEvent]) -> list[tuple[str, int]]:
    """Where speech began and stopped, in ms."""
    found = []
    for event in events:
        if isinstance(event, ev.InputAudioBufferSpeechStarted):
            found.append(("started", event.audio_start_ms))
        elif isinstance(event, ev.InputAudioBufferSpeechStopped):
            found.append(("stopped", event.audio_end_ms))
    return found
