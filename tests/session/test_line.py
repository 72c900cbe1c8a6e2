"""`Line`: one connection of a session, and whether it is decided what follows it."""

from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer

import realtime_sync as rt
from realtime_sync.session.line import Line


def test_each_connection_has_its_own(open_session: Open) -> None:
    """A session that reconnects has another line, and the old one tells those who wait that it is over."""
    lines: list[Line] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server, wait=True, reconnect=True)
        lines.append(session._reader.gate.line)
        assert not lines[0].over.is_set()
        server.callers[0].drop()
        session.run(rt.Visitor(), until=rt.Reconnected, timeout=DEADLINE)
        lines.append(session._reader.gate.line)
        assert lines[0].over.wait(DEADLINE)
        assert lines[0].transport is not lines[1].transport
        assert not lines[1].over.is_set()
        session.close()
        assert lines[1].over.is_set()
