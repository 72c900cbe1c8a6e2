"""`processes`: sessions at the end of the process, and in its forked children."""

import os
import ssl
import struct
import subprocess
import sys
import threading

import pytest
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, delta
from texts import texts

import realtime_sync as rt
from realtime_sync.session.processes import say_goodbye_at_exit

# --- How it ends --------------------------------------------------------------------------------------

FORGETFUL = """
import sys, realtime_sync as rt
session = rt.connect(base_url=sys.argv[1])
print(session.next_event(10).type)
if sys.argv[2] == "raise":
    raise LookupError("unhandled")
"""


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("raise", 1)])
def test_forgetting_to_close(how: str, status: int) -> None:
    """A script that forgets to close still exits, also by an unhandled error, and sends a close frame."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("x"))
        said.append(caller.answer_to_close())

    with ScriptedServer(script) as server:
        ended = subprocess.run(
            [sys.executable, "-c", FORGETFUL, server.url, how],
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
    assert ended.returncode == status
    assert ended.stdout.strip() == "response.output_text.delta"
    assert said == [(8, struct.pack("!H", 1001))]


Tls = ssl.SSLContext | None


def test_goodbye_at_exit(server_tls: Tls, open_session: Open) -> None:
    """What runs at the end of the program tells the servers of open sessions that they are left."""
    said: list[tuple[int, bytes]] = []

    def script(caller: Caller) -> None:
        caller.accept()
        said.append(caller.answer_to_close())
        caller.frame(8, said[0][1])

    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        say_goodbye_at_exit()
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)
    assert said == [(8, struct.pack("!H", 1001))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_fork(server_tls: Tls, open_session: Open) -> None:
    """In the child of a fork the session is over, and nothing the child does reaches the parent's."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        assert caller.read_event()["type"] == "from the parent"
        caller.text(delta("still here"))
        caller.serve_until_closed()

    def child() -> int:
        closed = 0
        for use in (session.next_event, session.response.cancel, wait):
            try:
                use()
            except rt.ConnectionClosed as error:
                closed += "forked" in str(error)
        session.close()
        return 0 if closed == 3 and session.closed else 1

    def wait() -> None:
        session.wait_until(lambda: False, rt.Visitor())

    class Forks(rt.Visitor[None]):
        def visit_session_created(self, event: rt.events.SessionCreated) -> None:
            forking.set()
            assert forked.wait(DEADLINE)

    forking, forked = threading.Event(), threading.Event()
    with ScriptedServer(script, server_tls) as server:
        session = open_session(server)
        runner = threading.Thread(target=session.run, args=[Forks(), rt.events.SessionCreated])
        runner.start()
        assert forking.wait(DEADLINE)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = child()
            finally:
                os._exit(status)
        forked.set()
        runner.join(DEADLINE)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        session.send({"type": "from the parent"})
        assert texts(session, 1) == ["still here"]
        session.close()
