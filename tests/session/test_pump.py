"""`pump`: running a session, and waiting while it runs."""

import threading
import time
from typing import Any

import pytest
from response_script import ResponseScript, created, done, refusal
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, delta, error
from texts import Deltas

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ErrorEvent, ResponseOutputTextDelta, SessionCreated

# --- Iterating and running ------------------------------------------------------------------------


def test_run_until(open_session: Open) -> None:
    """`run` dispatches up to and including the event it waits for, and returns that."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), delta("b"), error("no"), delta("c"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        visitor = Deltas()
        stop = session.run(visitor, until=(ErrorEvent, SessionCreated))
        assert isinstance(stop, ErrorEvent)
        assert visitor.texts == ["a", "b"]
        assert isinstance(session.run(visitor, until=ResponseOutputTextDelta), ResponseOutputTextDelta)
        assert visitor.texts == ["a", "b", "c"]
        assert session.run(visitor, timeout=0.01) is None
        session.close()


def test_what_a_visitor_raises(open_session: Open) -> None:
    """A visitor's exception comes out of `run`; the session stays usable and no event is lost."""

    class Fragile(Deltas):
        def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
            if event.delta == "b":
                raise LookupError("no")
            super().visit_response_output_text_delta(event)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"), delta("b"), delta("c"), error("end"))
        assert caller.read_event()["type"] == "response.cancel"
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        visitor = Fragile()
        with pytest.raises(LookupError):
            session.run(visitor, until=ErrorEvent)
        session.run(visitor, until=ErrorEvent)
        assert visitor.texts == ["a", "c"]
        session.response.cancel()
        session.close()


def test_closing_and_sending_in_a_visitor(open_session: Open) -> None:
    """A visitor may send and close: neither waits for the visitor itself."""

    class Quitter(rt.Visitor[None]):
        def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
            session.response.cancel()
            session.close()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(delta("a"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        assert session.run(Quitter()) is None


# --- What is easily overlooked ------------------------------------------------------------------------


class Slow(rt.Visitor[None]):
    """Takes longer over the first event than there is time."""

    def __init__(self, seconds: float) -> None:
        self.seen = 0
        self.seconds = seconds

    def default(self, event: rt.ServerEvent) -> None:
        self.seen += 1
        until = time.monotonic() + (self.seconds if self.seen == 1 else 0)
        while time.monotonic() < until:
            pass


def test_run_takes_nothing_after_its_time(open_session: Open) -> None:
    """When the time is up, `run` returns though more is there; what it left is the next one's."""
    with ScriptedServer(greets) as server, open_session(server) as session:
        session.next_event(DEADLINE)
        wait_for_events(session, 4)
        visitor = Slow(0.1)
        assert session.run(visitor, timeout=0.05) is None
        assert visitor.seen == 1
        assert session.run(visitor, timeout=0) is None
        assert visitor.seen == 3


def greets(caller: Caller) -> None:
    caller.accept()
    caller.text(CREATED, delta("a"), delta("b"), delta("c"))
    caller.serve_until_closed()


def wait_for_events(session: rt.Session, count: int) -> None:
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE
    while session.stats.events_in < count:
        assert time.monotonic() < deadline
        pause.wait(0.001)


@pytest.mark.parametrize("until", [rt.events.ResponseCreate, "response.done", [rt.events.ResponseDone], int])
def test_run_until_what_cannot_come(until: Any, open_session: Open) -> None:
    """Waiting for what is no server event is a `TypeError`, and no event is lost by it."""
    with ScriptedServer(greets) as server, open_session(server) as session:
        with pytest.raises(TypeError, match="until: expected a type of server event"):
            session.run(rt.Visitor(), until=until)
        for visitor in (rt.Visitor, print):
            with pytest.raises(TypeError, match="expected a visitor"):
                session.run(visitor)  # type: ignore[arg-type]
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)


def test_an_error_that_nobody_handles(open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """An error that the visitor has no method for is logged, without the key; one that it handles is not."""

    class Handles(rt.Visitor[None]):
        def visit_error(self, event: ErrorEvent) -> None:
            pass

    done = '{"type":"response.done","event_id":"e","response":{"id":"r","object":"realtime.response"}}'

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(error("no sk-test-1 here", "bad"), error("again", "bad"), done)
        caller.serve_until_closed()

    with ScriptedServer(script) as server, open_session(server, api_key="sk-test-1") as session:
        session.run(rt.Visitor(), until=ErrorEvent, timeout=DEADLINE)
        assert "no *** here" not in caplog.text  # the caller gets it
        session.run(rt.Visitor(), until=rt.events.ResponseDone, timeout=DEADLINE)
        assert "the server reports an error: again (code bad" in caplog.text
    caplog.clear()
    with ScriptedServer(script) as server, open_session(server) as session:
        session.run(Handles(), until=rt.events.ResponseDone, timeout=DEADLINE)
    assert "reports an error" not in caplog.text


# --- wait_until --------------------------------------------------------------------------------------


class Keep(rt.Visitor[None]):
    """Keeps the types of what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def default(self, event: rt.ServerEvent) -> None:
        self.seen.append(event.type)


def test_wait_until(script: ResponseScript, session: rt.Session) -> None:
    """Events are dispatched until it is true, and not one more; what is true already needs none."""
    visitor = Keep()
    script.send(created("r1"), done("r1"), created("r2"))
    session.wait_until(lambda: "response.done" in visitor.seen, visitor, DEADLINE)
    assert visitor.seen == ["session.created", "response.created", "response.done"]
    session.wait_until(lambda: True, visitor, 0)
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        session.wait_until(lambda: len(visitor.seen) == 9, visitor, 0.01)
    with pytest.raises(TypeError, match="expected a visitor"):
        session.wait_until(lambda: True, Keep)  # type: ignore[arg-type]  # the class


def test_wait_until_ends_with_the_session(script: ResponseScript, session: rt.Session) -> None:
    """A wait for what can't come any more ends; what had come is dispatched first."""
    visitor = Keep()
    session.close()
    with pytest.raises(rt.ConnectionClosed):
        session.wait_until(lambda: False, visitor, DEADLINE)
    assert visitor.seen in (["session.created"], [])


def test_wait_inside_a_handler(script: ResponseScript, session: rt.Session) -> None:
    """A handler that waits lets its own run go on: the events go to the visitor of that run."""

    class Waits(Keep):
        def visit_response_created(self, event: ev.ResponseCreated) -> None:
            session.wait_until(lambda: "response.done" in self.seen, other, DEADLINE)
            self.seen.append("waited")

    visitor, other = Waits(), Keep()
    script.send(created("r1"), done("r1"), created_session_updated())
    session.run(visitor, until=ev.SessionUpdated, timeout=DEADLINE)
    assert visitor.seen == ["session.created", "response.done", "waited", "session.updated"]
    assert other.seen == []


def created_session_updated() -> str:
    return CREATED.replace("session.created", "session.updated")


def test_wait_beside_a_run(script: ResponseScript, session: rt.Session) -> None:
    """While another thread runs the session, a wait takes nothing from it, and ends when it is true."""
    running, other = Keep(), Keep()
    begun = threading.Event()

    class Begins(Keep):
        def visit(self, event: rt.ServerEvent) -> None:
            running.visit(event)
            begun.set()

    thread = threading.Thread(target=session.run, args=[Begins(), ev.SessionUpdated])
    thread.start()
    assert begun.wait(DEADLINE)
    results: list[bool] = []

    def wait() -> None:
        session.wait_until(lambda: "response.done" in running.seen, other, DEADLINE)
        results.append(thread.is_alive())

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    script.send(created("r1"), done("r1"))
    for waiter in waiters:
        waiter.join(DEADLINE)
    assert results == [True] * 3
    assert other.seen == []
    # Once that run is over, a wait takes over.
    taker = threading.Thread(
        target=session.wait_until, args=[lambda: "response.created" in other.seen, other, DEADLINE]
    )
    taker.start()
    script.send(created_session_updated(), created("r2"))
    thread.join(DEADLINE)
    taker.join(DEADLINE)
    assert not taker.is_alive()
    assert running.seen[-1] == "session.updated"
    assert other.seen == ["response.created"]


def test_wait_beside_a_run_in_vain(script: ResponseScript, session: rt.Session) -> None:
    """The time of a wait is up also while another thread runs the session."""
    begun = threading.Event()

    class Begins(Keep):
        def default(self, event: rt.ServerEvent) -> None:
            begun.set()

    thread = threading.Thread(target=session.run, args=[Begins()])
    thread.start()
    assert begun.wait(DEADLINE)
    with pytest.raises(TimeoutError):
        session.wait_until(lambda: False, Keep(), 0.01)
    session.close()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_a_run_that_begins_beside_a_wait(script: ResponseScript, session: rt.Session) -> None:
    """From then on the wait takes nothing from it, and ends when what it waits for is dispatched there."""
    waiting, running = Keep(), Keep()
    begun = threading.Event()

    class Begins(Keep):
        def visit(self, event: rt.ServerEvent) -> None:
            running.visit(event)
            begun.set()

    def condition() -> bool:
        return "response.done" in running.seen

    waiter = threading.Thread(target=session.wait_until, args=[condition, waiting, DEADLINE])
    waiter.start()
    runner = threading.Thread(target=session.run, args=[Begins(), ev.ResponseDone])
    runner.start()
    while not begun.wait(0.001):  # until then, either may take them
        script.send(created_session_updated())
    script.send(*[created("r1")] * 20, done("r1"))
    for thread in (waiter, runner):
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert waiting.seen.count("response.created") <= 1  # which it was taking at that moment
    assert running.seen.count("response.created") >= 19


def test_wait_after_runs_that_overlapped(script: ResponseScript, session: rt.Session) -> None:
    """Runs of several threads leave nothing behind that a later wait would wait for."""
    first_ended = threading.Event()

    class First(Keep):
        def visit_response_created(self, event: ev.ResponseCreated) -> None:
            other.start()
            script.send(created_session_updated())
            assert second_began.wait(DEADLINE)

    class Second(Keep):
        def visit_session_updated(self, event: ev.SessionUpdated) -> None:
            second_began.set()
            assert first_ended.wait(DEADLINE)

    second_began = threading.Event()
    other = threading.Thread(target=session.run, args=[Second(), ev.SessionUpdated])
    script.send(created("r1"))
    session.run(First(), until=ev.ResponseCreated, timeout=DEADLINE)
    first_ended.set()
    other.join(DEADLINE)
    visitor = Keep()
    script.send(done("r1"))
    session.wait_until(lambda: "response.done" in visitor.seen, visitor, DEADLINE)


def test_waits_inside_two_runs(script: ResponseScript, session: rt.Session) -> None:
    """Handlers of two runs that wait at the same time don't wait for each other."""
    both = threading.Barrier(2)
    seen: list[str] = []

    class Waits(rt.Visitor[None]):
        def visit_response_created(self, event: ev.ResponseCreated) -> None:
            both.wait(DEADLINE)
            session.wait_until(lambda: "done" in seen, self, DEADLINE)

        def visit_response_done(self, event: ev.ResponseDone) -> None:
            seen.append("done")

    threads = [
        threading.Thread(target=session.run, args=[Waits(), ev.ResponseCreated], daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    script.send(created("r1"), created("r2"))
    script.send(done("r1"))
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_two_waits(script: ResponseScript, session: rt.Session) -> None:
    """Each of two threads that wait has what it waits for, whichever of them takes it."""
    visitor = Keep()
    kinds = ["response.created", "response.done", "session.updated"] * 20
    failures: list[BaseException] = []

    def wait(kind: str, count: int) -> None:
        try:
            session.wait_until(lambda: visitor.seen.count(kind) >= count, visitor, DEADLINE)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=wait, args=[kind, kinds[: index + 1].count(kind)])
        for index, kind in enumerate(kinds)
    ]
    for thread in threads:
        thread.start()
    for number in range(20):
        script.send(created(f"r{number}"), done(f"r{number}"))
        script.send(created_session_updated())
    for thread in threads:
        thread.join(DEADLINE)
    assert not failures


# --- Several visitors --------------------------------------------------------------------------------


def test_visitors(script: ResponseScript, session: rt.Session) -> None:
    """Each event goes to all of them, in order; an error comes out when all have seen it."""

    class Fails(Keep):
        def visit_response_created(self, event: ev.ResponseCreated) -> None:
            raise LookupError(len(last.seen))

    first, last = Keep(), Keep()
    visitors = rt.Visitors(first, Fails(), Fails(), last)
    script.send(created("r1"), done("r1"))
    with pytest.raises(LookupError, match="1"):
        session.run(visitors, until=ev.ResponseDone, timeout=DEADLINE)
    session.run(visitors, until=ev.ResponseDone, timeout=DEADLINE)
    assert first.seen == last.seen == ["session.created", "response.created", "response.done"]
    assert visitors.visitors[0] is first
    with pytest.raises(TypeError, match="expected a visitor"):
        rt.Visitors(Keep)  # type: ignore[arg-type]  # the class


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("sees", [True, False])
def test_visitors_and_errors(
    script: ResponseScript, session: rt.Session, sees: bool, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An error is logged only if none of the visitors looks at it, but for those that keep track."""

    class Sees(Keep):
        def visit_error(self, event: ev.ErrorEvent) -> None:
            self.default(event)

    class KeepsTrack(Sees):
        handles_errors = False

    script.send(refusal("x", "wrong"), done("r1"))
    last = KeepsTrack()
    visitors = rt.Visitors(rt.Visitor(), Sees() if sees else rt.Visitor(), last)
    if waits:
        session.wait_until(lambda: "response.done" in last.seen, visitors, DEADLINE)
    else:
        session.run(visitors, until=ev.ResponseDone, timeout=DEADLINE)
    assert ("the server reports an error" in caplog.text) is not sees
