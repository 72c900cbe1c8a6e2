"""A transcriber for tests."""

from collections.abc import Iterable, Iterator
from typing import Any

from realtime_sync.events import ServerEvent
from realtime_sync.local import Heard, Segment

TRANSCRIPTION = "conversation.item.input_audio_transcription"


WHISPER = {"model": "whisper-1"}


class Hearing:
    """Hears the same each time, and remembers what it was given."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.heard: list[Heard] = []

    def transcribe(self, heard: Heard) -> Iterator[str | Segment]:
        self.heard.append(heard)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def transcripts(events: Iterable[ServerEvent]) -> list[Any]:
    return [event for event in events if event.type.startswith(TRANSCRIPTION)]
