"""A server that transcribes as a test tells it."""

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realtime_sync.local import Heard, Segment
from realtime_sync.voice.audio import write_wav

BUFFER = "input_audio_buffer."


def wav(path: Path, audio: bytes) -> str:
    write_wav(path, audio)
    return str(path)


class Says:
    """A transcriber that gives these, one for each turn."""

    def __init__(self, *transcripts: str | Exception | list[Segment]) -> None:
        self._transcripts = iter(transcripts)
        self.heard: list[Heard] = []

    def transcribe(self, heard: Heard) -> Iterable[str | Segment]:
        self.heard.append(heard)
        transcript = next(self._transcripts)
        if isinstance(transcript, Exception):
            raise transcript
        return transcript if isinstance(transcript, list) else [transcript]


def event_frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": "e", "content_index": 0, **fields})


def turn(item_id: str, start_ms: int, end_ms: int) -> list[str]:
    return [
        event_frame(BUFFER + "speech_started", item_id=item_id, audio_start_ms=start_ms),
        event_frame(BUFFER + "speech_stopped", item_id=item_id, audio_end_ms=end_ms),
        event_frame(BUFFER + "committed", item_id=item_id),
    ]


def completed(item_id: str, transcript: str) -> str:
    usage = {"type": "duration", "seconds": 1.0}
    return event_frame(INPUT + "completed", item_id=item_id, transcript=transcript, usage=usage)


def updated(**settings: Any) -> str:
    return event_frame("session.updated", session={"type": "realtime", **settings})


def feed(path: Path, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


INPUT = "conversation.item.input_audio_transcription."
