"""An assistant that listens to a file, and is asked again and again for what takes a tool.

``assistant_with_tools.py URL FILE.wav``
"""

import contextlib
import itertools
import sys
import threading

from network_notes import Notes, told_of

import realtime_sync as rt
from realtime_sync.voice import Assistant, FileMicrophone, ToolResult

ran: list[int] = []


def measure(number: int) -> str:
    """Take a measurement, which takes a while."""
    threading.Event().wait(0.3)
    ran.append(number)
    return f"result {number}"


class Asker(rt.Visitor[None]):
    """Asks for a tool call, and for the next one when it is answered."""

    def __init__(self, session: rt.Session, notes: Notes) -> None:
        self._session = session
        self._notes = notes
        self._numbers = itertools.count()

    def ask(self) -> None:
        number = next(self._numbers)
        text = f'call measure {{"number": {number}}}'
        with self._notes.sending(f"item-{number}") as event_id:
            self._session.conversation.item.create(text, event_id=event_id)
        with self._notes.sending(f"request-{number}") as event_id:
            self._session.response.create(event_id=event_id)

    def visit(self, event: rt.ServerEvent) -> None:
        self._notes.received(event.event_id)
        super().visit(event)

    def visit_response_done(self, event: rt.events.ResponseDone) -> None:
        calls = [item for item in event.response.output or () if item.type == "function_call"]
        if not calls and not self._notes.finish.is_set():
            self.ask()


def close_at_end(session: rt.Session, notes: Notes) -> None:
    notes.finish.wait()
    session.close()


def main(url: str, file: str) -> None:
    notes = Notes()
    session = rt.connect("gpt-realtime-2.1", base_url=url, connect_timeout=30)
    results: list[ToolResult] = []
    error: BaseException | None = None
    try:
        with session:
            asker = Asker(session, notes)
            assistant = Assistant(
                session,
                tools=[measure],
                microphone=FileMicrophone(session, file),
                on_call=results.append,
                visitors=[asker],
                output_modalities=["text"],
                audio={"input": {"turn_detection": None}},
            )
            threading.Thread(target=close_at_end, args=(session, notes), daemon=True).start()
            asker.ask()
            assistant.run()
    except (rt.ConnectionClosed, KeyboardInterrupt) as problem:
        error = problem
    with contextlib.suppress(KeyboardInterrupt):
        notes.ended(error, told_of(session))
    notes.add(ran=ran, results=[[result.call_id, result.output] for result in results])
    notes.print()


if __name__ == "__main__":
    main(*sys.argv[1:])
