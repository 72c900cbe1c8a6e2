"""Take text turns without a Visitor, event by event.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import realtime_sync as rt
from realtime_sync import events

with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"])
    for question in ("Why is the sky blue?", "And at sunset?"):
        session.conversation.item.create(question)
        session.response.create()
        while True:
            event = session.next_event(timeout=30)
            if isinstance(event, events.ResponseOutputTextDelta):
                print(event.delta, end="", flush=True)
            elif isinstance(event, events.ErrorEvent):
                raise SystemExit(f"error: {event.error.message}")
            elif isinstance(event, events.ResponseDone):
                print()
                break
