"""Ask in an audio file, and get the spoken answer as another one.

    python voice_to_file.py question.wav answer.wav

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.voice import Conversation
from realtime_sync.voice.audio import duration, stream_file, write_wav

if len(sys.argv) != 3:
    raise SystemExit(__doc__)
question, answer = sys.argv[1:]

with rt.connect(model="gpt-realtime-2.1") as session:
    conversation = Conversation(session)
    # The program ends the turn, not the server; and the question is to be transcribed.
    listening = {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}
    session.update(instructions="Be brief.", audio={"input": listening})
    stream_file(session, question)
    session.input_audio_buffer.commit()
    conversation.wait_for_transcript(timeout=30)
    response = conversation.wait_for_response(session.response.create(), timeout=60)

print(conversation.transcript())
if response.status != "completed":
    raise SystemExit(f"no answer: {response.status}, {response.reason}")
write_wav(answer, response.audio)
print(f"{answer}: {duration(response.audio):.1f} s")
