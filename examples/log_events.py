"""Print every event of a turn, one line each, to see what a server sends.

    python log_events.py "Why is the sky blue?"

Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that `python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.events import ErrorEvent, ResponseDone

QUESTION = " ".join(sys.argv[1:]) or "Why is the sky blue?"
# An event is shown by the first of these fields that it has, an object by all of its SHOWN fields.
MAIN = ("delta", "transcript", "text", "arguments", "error", "response", "item", "part", "session", "item_id")
SHOWN = ("type", "id", "role", "status", "name", "model", "code", "message", "text", "transcript")


def main_field(event: rt.ServerEvent) -> str:
    value = next((value for name in MAIN if (value := getattr(event, name, None)) is not None), "")
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"  # audio, already decoded from base64
    if isinstance(value, str):
        return repr(value) if value else ""
    return ", ".join(str(shown) for name in SHOWN if (shown := getattr(value, name, None)))


class Log(rt.Visitor[None]):
    def line(self, kind: str, text: str) -> None:
        text = " ".join(text.split())  # as one line
        print(f"{session.stats.seconds:7.3f} s  {kind:<40} {text[:100]}".rstrip())

    def default(self, event: rt.ServerEvent) -> None:
        self.line(event.type, main_field(event))

    def unknown(self, event: rt.UnknownEvent) -> None:
        self.line(event.type or "(no type)", f"{event.problem or 'unknown'}: {event.frame!r}")


with rt.connect(model="gpt-realtime-2.1") as session:
    session.conversation.item.create(QUESTION)
    session.response.create()
    session.run(Log(), until=(ResponseDone, ErrorEvent))
    for deviation, count in session.deviations.items():
        print(f"{count} deviations from the protocol: {deviation}")
