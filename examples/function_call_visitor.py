"""Take a turn with a function call and a Visitor: the model calls get_weather and uses its output.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import json

import realtime_sync as rt

WEATHER = rt.events.FunctionTool(
    name="get_weather",
    description="Get the weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


class WeatherDesk(rt.Visitor[None]):
    def visit_response_output_item_done(self, event: rt.events.ResponseOutputItemDone) -> None:
        call = event.item
        if isinstance(call, rt.events.FunctionCall) and call.call_id:
            city = json.loads(call.arguments)["city"]
            print(f"{call.name}({city!r})")
            output = f"Rain in {city}, 7 degrees."
            session.conversation.item.create(
                rt.events.FunctionCallOutput(call_id=call.call_id, output=output)
            )

    def visit_response_output_text_done(self, event: rt.events.ResponseOutputTextDone) -> None:
        print(event.text)

    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        raise SystemExit(f"error: {event.error.message}")


with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"], tools=[WEATHER])
    session.conversation.item.create('call get_weather {"city": "Oslo"}')  # or "How is the weather in Oslo?"
    for _ in range(2):  # the response that calls the function, and the one that uses its output
        session.response.create()
        session.run(WeatherDesk(), until=rt.events.ResponseDone)
