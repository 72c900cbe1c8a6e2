"""Answer a spoken question about the weather; test_weather_line.py shows how to test such a program.

Pass it a file of raw audio (24 kHz mono 16-bit PCM).  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address
that `python -m realtime_sync serve` prints.
"""

import json
import sys
from pathlib import Path

import realtime_sync as rt
from realtime_sync.events import FunctionCall, FunctionCallOutput, FunctionTool, ResponseDone

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool(name="get_weather", description="Get the weather in a city.", parameters=CITY)


def get_weather(city: str) -> dict[str, object]:
    return {"city": city, "degrees": 7}  # here you would ask a weather service


class Speaker(rt.Visitor[None]):
    def visit_response_output_audio_transcript_delta(
        self, event: rt.events.ResponseOutputAudioTranscriptDelta
    ) -> None:
        print(event.delta, end="", flush=True)  # ResponseOutputAudioDelta has the audio


def main(question: bytes) -> None:
    with rt.connect(model="gpt-realtime-2.1") as session:
        session.update(instructions="Be brief.", tools=[WEATHER], audio={"input": {"turn_detection": None}})
        session.input_audio_buffer.append(question)
        session.input_audio_buffer.commit()
        while True:  # until the model makes no more calls
            session.response.create()
            done = session.run(Speaker(), until=ResponseDone, timeout=30)
            if done is None or done.response.status != "completed":
                raise SystemExit(f"no answer: {done and done.response.status_details}")
            calls = [item for item in done.response.output or [] if isinstance(item, FunctionCall)]
            if not calls:
                return
            for call in calls:
                result = json.dumps(get_weather(**json.loads(call.arguments)))
                output = FunctionCallOutput(call_id=call.call_id or "", output=result)
                session.conversation.item.create(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_bytes() if sys.argv[1:] else bytes(96_000))
    print()
