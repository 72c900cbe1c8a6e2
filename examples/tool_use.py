"""Let the model call a Python function: its schema comes from the annotations and the docstring.

    python tool_use.py "How warm is it in Oslo, in Fahrenheit?"

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints; that server
calls a function when told to:  call get_weather {"city": "Oslo"}
"""

import sys
from typing import Annotated, Literal

from msgspec import Meta

import realtime_sync as rt
from realtime_sync.voice import Conversation, ToolResult, ToolRunner, Tools

QUESTION = " ".join(sys.argv[1:]) or "How warm is it in Oslo, in Fahrenheit?"
tools = Tools()


@tools.function
def get_weather(
    city: str,
    unit: Literal["celsius", "fahrenheit"] = "celsius",
    days: Annotated[int, Meta(ge=1, le=7, description="number of days, today included")] = 1,
) -> dict[str, object]:
    """Get the weather forecast for a city."""
    degrees = 7 if unit == "celsius" else 45  # here you would ask a weather service, and take your time
    return {"city": city, "unit": unit, "forecast": [degrees] * days}


def show(call: ToolResult) -> None:
    print(f"{call.name}({call.arguments}) -> {call.output}")


with rt.connect(model="gpt-realtime-2.1") as session, ToolRunner(session, tools, on_call=show) as runner:
    session.update(output_modalities=["text"], tools=tools.definitions)
    conversation = Conversation(session)
    session.conversation.item.create(QUESTION)
    session.response.create()
    # The runner answers the calls and requests the follow-up, which uses the outputs.
    conversation.wait_for_answer(visitor=runner, timeout=60)
    print(conversation.transcript())
