"""Talk for hours: the connection may be lost, the conversation is not.  An empty line ends it.

    python long_talk.py

Pull the cable, or change the network, and ask on.  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that
`python -m realtime_sync serve` prints.
"""

import realtime_sync as rt
from realtime_sync.voice import Assistant

notes: list[str] = []


def write_down(note: str) -> str:
    """Write down what the user wants to remember."""
    notes.append(note)
    return f"{len(notes)} notes"


class Screen(rt.Visitor[None]):
    def visit_reconnected(self, event: rt.Reconnected) -> None:
        lost = "; ".join(event.lost) or "nothing"
        print(f"[reconnected after {event.seconds:.1f} s, lost: {lost}]")


# The server's limit of an hour, a change of the network, a restart: the session goes on.  When nobody has
# said anything for ten minutes, it ends, and costs no more.
with rt.connect("gpt-realtime-2.1", reconnect=rt.Reconnect(attempts=20, within=300)) as session:
    session.update(output_modalities=["text"])
    assistant = Assistant(
        session, tools=[write_down], transcription=None, visitors=[Screen()], idle_timeout=600
    )
    while prompt := input("You: "):
        session.conversation.item.create(prompt)
        session.response.create()
        answer = assistant.conversation.wait_for_answer(visitor=assistant.visitor)
        print("Model:", answer.text or answer.reason)

print(f"{session.stats.reconnects} reconnects, {len(notes)} notes; the whole conversation:")
print(assistant.conversation.transcript())
