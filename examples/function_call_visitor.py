"""A function-call turn with a Visitor: the model asks for the weather, we look, it answers.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import json

import realtime_sync as rt

WEATHER = rt.events.FunctionTool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


class Assistant(rt.Visitor[None]):
    def visit_response_function_call_arguments_done(
        self, event: rt.events.ResponseFunctionCallArgumentsDone
    ) -> None:
        city = json.loads(event.arguments)["city"]
        print(f"{event.name}({city!r})")
        output = rt.events.FunctionCallOutput(call_id=event.call_id, output=f"Rain in {city}, 7 degrees.")
        session.conversation.item.create(output)

    def visit_response_output_text_done(self, event: rt.events.ResponseOutputTextDone) -> None:
        print(event.text)


with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"], tools=[WEATHER])
    session.conversation.item.create('call get_weather {"city": "Oslo"}')
    for _ in range(2):  # the response that calls the function, and the one that uses its output
        session.response.create()
        session.run(Assistant(), until=rt.events.ResponseDone)
