"""Run a voice assistant: talk to it, interrupt it, let it call functions.  Ctrl-C ends it.

    python voice_assistant.py
    python voice_assistant.py question.wav answer.wav      without microphone and speaker

The first needs pip install 'realtime-sync[audio]', and headphones, or it hears itself.  Set
OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import contextlib
import sys
import time

import realtime_sync as rt
from realtime_sync.voice import Assistant, FileMicrophone, FileSpeaker, Microphone, Speaker, Tools

tools = Tools()


@tools.function
def get_time() -> str:
    """Get the local weekday and time."""
    return time.strftime("%A, %H:%M")


class Screen(rt.Visitor[None]):
    def visit_response_output_audio_transcript_done(
        self, event: rt.events.ResponseOutputAudioTranscriptDone
    ) -> None:
        print("Assistant:", event.transcript)


files = sys.argv[1:]
with (
    FileSpeaker(files[1]) if files else Speaker() as speaker,
    rt.connect(model="gpt-realtime-2.1") as session,
):
    microphone = FileMicrophone(session, files[0], pace="fast") if files else Microphone(session)
    assistant = Assistant(
        session,
        tools=tools,
        microphone=microphone,
        speaker=speaker,
        instructions="Be brief.",
        visitors=[Screen()],
    )
    with contextlib.suppress(KeyboardInterrupt):
        assistant.run(until=rt.events.ResponseOutputAudioTranscriptDone if files else None)

print("\nThe whole conversation:", assistant.conversation.transcript(), sep="\n")
