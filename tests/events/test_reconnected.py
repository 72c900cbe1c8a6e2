"""`Reconnected`: an event as all others for those who take events, but none that a server can send."""

import json

import realtime_sync as rt
from realtime_sync import events


def made() -> rt.Reconnected:
    cause = rt.ConnectionClosed(1006, "")
    return rt.Reconnected(
        cause=cause, seconds=0.5, attempts=2, session_id="sess_2", restored=False, lost=["80 ms"]
    )


def test_it_reaches_its_method() -> None:
    """A visitor gets it in ``visit_reconnected``, or in `default`, as any event."""

    class Hears(rt.Visitor[str]):
        def visit_reconnected(self, event: rt.Reconnected) -> str:
            return f"{event.type}: {event.cause}, {event.lost}"

    class Defaults(rt.Visitor[str]):
        def default(self, event: rt.ServerEvent) -> str:
            return event.type

    assert made().accept(Hears()) == "reconnected: the connection was lost (code 1006), ['80 ms']"
    assert made().accept(Defaults()) == "reconnected"
    assert rt.Visitor[None]().visit(made()) is None


def test_no_server_can_send_it() -> None:
    """What a server sends under that name is an unknown event, so that it can't pretend a reconnection."""
    frame = json.dumps({"type": "reconnected", "cause": None, "seconds": 0, "attempts": 1, "lost": []})
    assert isinstance(rt.decode(frame), rt.UnknownEvent)
    assert rt.Reconnected not in events.SERVER_EVENTS.values()


def test_its_fields() -> None:
    """It has no id of a server's, and two of the same content are equal only with the same cause."""
    event = made()
    assert (event.event_id, event.session_id, event.attempts, event.restored) == ("", "sess_2", 2, False)
    assert event != made()
