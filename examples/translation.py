"""Translate the speech in an audio file: print the translation, and save it spoken as translation.wav.

    python translation.py speech.wav is

The language is a code like "is", "de" or "ja".  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that
`python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.voice.audio import WavWriter, stream_file

if len(sys.argv) != 3:
    raise SystemExit(__doc__)
path, language = sys.argv[1:]


class Interpreter(rt.Visitor[None]):
    def visit_session_output_transcript_delta(self, event: rt.events.SessionOutputTranscriptDelta) -> None:
        print(event.delta, end="", flush=True)

    def visit_session_output_audio_delta(self, event: rt.events.SessionOutputAudioDelta) -> None:
        file.write(event.delta)

    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        raise SystemExit(f"error: {event.error.message}")


with (
    WavWriter("translation.wav") as file,
    rt.connect("gpt-realtime-translate", translation=True) as session,
):
    session.update(audio={"output": {"language": language}})
    stream_file(session, path)
    session.translation.close()  # the server translates what it has received, then it ends the session
    session.run(Interpreter(), until=rt.events.SessionClosed)
    print()
