"""Take an audio turn with push-to-talk: send two seconds of audio and print the transcript of the answer.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import array
import math

import realtime_sync as rt
from realtime_sync import events

RATE = 24000  # Hz; the API's default format is 24 kHz mono 16-bit PCM
hum = array.array("h", (int(8000 * math.sin(index * 0.05)) for index in range(2 * RATE)))

with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(audio={"input": {"turn_detection": None}})  # the program ends the turn, not the server
    for start in range(0, len(hum), RATE // 10):  # 100 ms at a time, as a microphone would
        session.input_audio_buffer.append(memoryview(hum[start : start + RATE // 10]))
    session.input_audio_buffer.commit()
    session.response.create()

    received = 0
    for event in session:
        if isinstance(event, events.ResponseOutputAudioDelta):
            received += len(event.delta)
        elif isinstance(event, events.ResponseOutputAudioTranscriptDone):
            print(event.transcript)
        elif isinstance(event, events.ErrorEvent):
            raise SystemExit(f"error: {event.error.message}")
        elif isinstance(event, events.ResponseDone):
            break
    print(f"{received / 2 / RATE:.1f} s of speech received")
