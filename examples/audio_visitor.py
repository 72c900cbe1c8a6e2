"""Take an audio turn with a Visitor: save the spoken answer as answer.wav and print its transcript.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import wave

import realtime_sync as rt


class Recorder(rt.Visitor[None]):
    def __init__(self, file: wave.Wave_write) -> None:
        self.file = file

    def visit_response_output_audio_delta(self, event: rt.events.ResponseOutputAudioDelta) -> None:
        self.file.writeframes(event.delta)  # raw 24 kHz mono 16-bit PCM, already decoded

    def visit_response_output_audio_transcript_delta(
        self, event: rt.events.ResponseOutputAudioTranscriptDelta
    ) -> None:
        print(event.delta, end="", flush=True)

    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        raise SystemExit(f"error: {event.error.message}")


with rt.connect(model="gpt-realtime-2.1") as session, wave.open("answer.wav", "wb") as file:
    file.setparams((1, 2, 24000, 0, "NONE", ""))
    session.conversation.item.create("Say hello.")
    session.response.create(output_modalities=["audio"])
    session.run(Recorder(file), until=rt.events.ResponseDone)
    print(f"\nanswer.wav: {file.getnframes() / 24000:.1f} s")
