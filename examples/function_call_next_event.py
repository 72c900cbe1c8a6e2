"""Take a turn with function calls, without a Visitor: answer every call of the finished response.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import realtime_sync as rt
from realtime_sync import events


def finished_response(session: rt.Session) -> events.Response:
    while True:
        event = session.next_event(timeout=30)
        if isinstance(event, events.ErrorEvent):
            raise SystemExit(f"error: {event.error.message}")
        if isinstance(event, events.ResponseDone):
            return event.response


ROLL_DICE = events.FunctionTool(
    name="roll_dice",
    description="Roll a die.",
    parameters={"type": "object", "properties": {}},
)

with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"], tools=[ROLL_DICE])
    session.conversation.item.create("call roll_dice {}")  # the local server understands this as well
    session.response.create()
    for item in finished_response(session).output or []:
        if isinstance(item, events.FunctionCall) and item.call_id:
            print(f"{item.name}({item.arguments})")
            answer = events.FunctionCallOutput(call_id=item.call_id, output='{"rolled": 4}')
            session.conversation.item.create(answer)
    session.response.create()
    for item in finished_response(session).output or []:
        if isinstance(item, events.Message):
            print(*(part.text for part in item.content if isinstance(part, events.OutputText)))
