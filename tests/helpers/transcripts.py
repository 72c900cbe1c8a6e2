"""Servers that hear, transcribe and answer as a test tells them."""

import itertools
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scripted import CREATED, Caller, ScriptedServer

from realtime_sync.cli.main import main
from realtime_sync.local import Heard, Segment
from realtime_sync.voice.audio import write_wav

BUFFER = "input_audio_buffer."
INPUT = "conversation.item.input_audio_transcription."
RESPONSE = {"response_id": "r", "item_id": "m", "output_index": 0}


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


_ids = (f"event_{number}" for number in itertools.count())


def event_frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": next(_ids), "content_index": 0, **fields})


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


# --- Frames ------------------------------------------------------------------------------------------


def words(text: str, **others: Any) -> str:
    return event_frame("response.output_audio_transcript.delta", delta=text, **{**RESPONSE, **others})


def response(kind: str, response_id: str = "r", **fields: Any) -> str:
    fields = {"id": response_id, "status": "in_progress" if kind == "created" else "completed", **fields}
    return event_frame(f"response.{kind}", response=fields)


NO_DETECTION = updated(audio={"input": {"turn_detection": None}})
COMMITTED = [event_frame(BUFFER + "committed", item_id="a"), completed("a", "All of it.")]


# --- Servers -----------------------------------------------------------------------------------------


class Transcriber:
    """A server that takes settings, hears a file, and then says what it is told to.

    Attributes:
        received: The events it was sent.
    """

    def __init__(self, *frames: str, settings: str | None = None, then: Any = None) -> None:
        self.received: list[dict[str, Any]] = []
        self._frames = frames
        self._settings = settings or updated()
        self._then = then or Caller.serve_until_closed
        self.server = ScriptedServer(self._serve)

    def _serve(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        self.until(caller, "session.update")
        caller.text(self._settings)
        self.until(caller, "session.update", "input_audio_buffer.commit")
        caller.text(*self._frames)
        self._then(caller)

    def until(self, caller: Caller, *kinds: str) -> None:
        while True:
            event = caller.read_event()
            self.received.append(event)
            if event["type"] in kinds:
                return

    def __enter__(self) -> "Transcriber":
        self.server.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.server.__exit__(*exception)

    def transcribes(self, *arguments: str) -> int:
        return main(["transcribe", "--base-url", self.server.url, *arguments])


def says(*frames: str, then: Callable[[Caller], object] = Caller.serve_until_closed) -> ScriptedServer:
    """A server that takes settings and the first chunk of a file, and then says this."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            caller.text(updated())
        caller.text(*frames)
        then(caller)

    return ScriptedServer(script)


def talks(url: str, question: str, output: str, *arguments: str) -> int:
    """Talk with a server by files."""
    files = ["--input", question, "--output", output]
    return main(["talk", "--base-url", url, "--pace", "fast", *files, *arguments])
