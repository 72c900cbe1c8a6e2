"""Transcribe audio files, one line each, while the words are recognized.

    python transcription.py one.wav two.wav

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionDelta,
    ConversationItemInputAudioTranscriptionFailed,
    ErrorEvent,
)
from realtime_sync.voice.audio import stream_file


class Writer(rt.Visitor[None]):
    def visit_conversation_item_input_audio_transcription_delta(
        self, event: ConversationItemInputAudioTranscriptionDelta
    ) -> None:
        print(event.delta, end="", flush=True)

    def visit_conversation_item_input_audio_transcription_failed(
        self, event: ConversationItemInputAudioTranscriptionFailed
    ) -> None:
        print("failed:", event.error.message, end="")

    def visit_error(self, event: ErrorEvent) -> None:
        print("error:", event.error.message, end="")


ENDS = (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    ErrorEvent,
)
if not sys.argv[1:]:
    raise SystemExit(__doc__)
with rt.connect(intent="transcription") as session:
    # Each file is one turn, so the server need not detect pauses.
    session.update(audio={"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}})
    for path in sys.argv[1:]:
        print(f"{path}: ", end="", flush=True)
        stream_file(session, path)
        session.input_audio_buffer.commit()
        session.run(Writer(), until=ENDS)
        print()
