"""Take a text turn with a Visitor: print the answer while it streams.

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import realtime_sync as rt


class Printer(rt.Visitor[None]):
    def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
        print(event.delta, end="", flush=True)

    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        raise SystemExit(f"error: {event.error.message}")

    def unknown(self, event: rt.UnknownEvent) -> None:
        print("new event:", event.type)


with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"], instructions="Be brief.")
    session.conversation.item.create("Why is the sky blue?")
    session.response.create()
    done = session.run(Printer(), until=rt.events.ResponseDone)
    print()
    if done and done.response.usage:
        print(done.response.usage.total_tokens, "tokens")
