"""`last_error`: which error of the server is named as the reason of the session's end."""

import contextlib
import json

import pytest
from samples import SERVER
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, delta, error

import realtime_sync as rt
from realtime_sync.session.last_error import LastError

BUSY = ("a response is still running", "conversation_already_has_active_response")
QUOTA = ("you are out of money", "insufficient_quota")


def done(status: str) -> str:
    return json.dumps(
        {"type": "response.done", "event_id": "e", "response": {"id": "r", "status": status, "output": []}}
    )


def after(failed: tuple[str, str], *frames: str) -> str | None:
    """The message of the error that is the last one when these frames have followed it."""
    last = LastError()
    last.note([rt.decode(frame) for frame in (CREATED, error(*failed), *frames)])
    return None if last.event is None else last.event.error.message


@pytest.mark.parametrize("failed", [BUSY, QUOTA])
def test_an_error_that_came_last(failed: tuple[str, str]) -> None:
    """An error that nothing followed, or only what ends or counts what was, is the last one."""
    message, _ = failed
    assert after(failed) == message
    ends = [frame for kind, frame in SERVER.items() if kind.endswith((".done", ".failed"))]
    ends.remove(SERVER["response.done"])
    assert after(failed, *ends, done("failed"), done("cancelled"), SERVER["rate_limits.updated"]) == message
    assert after(("another", "x"), error(*failed)) == message


@pytest.mark.parametrize(
    "kind", [kind for kind in SERVER if not kind.endswith((".done", ".failed")) and kind != "error"]
)
def test_what_shows_that_a_session_went_on(kind: str) -> None:
    """Any other event shows that the session went on; but a used up quota takes effect while others come."""
    went_on = None if kind != "rate_limits.updated" else BUSY[0]
    assert after(BUSY, SERVER[kind]) == went_on
    assert after(QUOTA, SERVER[kind]) == QUOTA[0]


@pytest.mark.parametrize("failed", [BUSY, QUOTA])
def test_a_completed_response(failed: tuple[str, str]) -> None:
    """After a completed response, no error from before is the reason of the end; a later one is."""
    assert after(failed, done("completed")) is None
    assert after(failed, done("completed"), error("new")) == "new"


@pytest.mark.parametrize(
    ("failed", "later", "says", "retryable"),
    [
        (BUSY, [delta("x")], "the connection was lost (code 1006)", True),
        (BUSY, [done("failed")], f"; the server's last error: {BUSY[0]}", True),
        (QUOTA, [delta("x"), done("failed")], f"; the server's last error: {QUOTA[0]}", False),
    ],
)
def test_a_lost_connection(
    failed: tuple[str, str], later: list[str], says: str, retryable: bool, open_session: Open
) -> None:
    """A lost connection names an error of the server's only if the session didn't go on after it."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error(*failed), *later)
        caller.read_event()
        caller.reset()

    with ScriptedServer(script) as server:
        session = open_session(server)
        for _ in (CREATED, failed, *later):
            session.next_event(DEADLINE)
        with pytest.raises(rt.ConnectionClosed) as caught:  # noqa: PT012  # it may be seen by either
            session.update(instructions="x")
            session.next_event(DEADLINE)
    assert says in str(caught.value)
    assert ("last error" in str(caught.value)) == (caught.value.last_error is not None) == ("last" in says)
    assert caught.value.retryable == retryable


@pytest.mark.parametrize(("later", "raises"), [([], True), ([done("failed")], True), ([delta("x")], False)])
def test_a_normal_end(later: list[str], raises: bool, open_session: Open) -> None:
    """A session that the server closes with 1000 has ended normally, unless by an error."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error("no"), *later)
        caller.close(1000)

    with ScriptedServer(script) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed) if raises else contextlib.nullcontext():
            list(session)
