"""`log`: what a session writes to the log."""

import logging

import pytest
from scripted import DEADLINE, Caller, Open, ScriptedServer

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ErrorEvent
from realtime_sync.local import LocalServer, Say, ScriptedResponder

# --- The log -----------------------------------------------------------------------------------------


def test_the_log_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """Opening and closing are a line each, with host, model, id, code, and counts."""
    with (
        caplog.at_level(logging.INFO, "realtime_sync"),
        LocalServer() as server,
        rt.connect("gpt-realtime", base_url=server.url) as session,
    ):
        session.update(instructions="Be brief.")
        session.run(rt.Visitor(), until=rt.events.SessionUpdated, timeout=DEADLINE)
    opened, closed = [record.getMessage() for record in caplog.records if record.name == "realtime_sync"]
    assert opened == f"session {session.id} with 127.0.0.1 (gpt-realtime) opened"
    assert closed.startswith(
        f"session {session.id} with 127.0.0.1 (gpt-realtime) closed by the client: code 1000, "
    )
    assert closed.endswith("2 events in, 1 out")


@pytest.mark.parametrize("log_payloads", [False, True])
def test_the_log_of_events(caplog: pytest.LogCaptureFixture, log_payloads: bool) -> None:
    """At level DEBUG each event is a line; what it says only if that is asked for."""
    with (
        caplog.at_level(logging.DEBUG, "realtime_sync"),
        LocalServer() as server,
        rt.connect(base_url=server.url, log_payloads=log_payloads) as session,
    ):
        event_id = session.update(instructions="A private matter. " * 200)
        session.run(rt.Visitor(), until=rt.events.SessionUpdated, timeout=DEADLINE)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert any(line.startswith(f"sent session.update {event_id}, ") for line in lines)
    assert any(line.startswith("received session.updated event_") for line in lines)
    assert any("private matter" in line for line in lines) == log_payloads
    assert max(map(len, lines)) < 2200


def test_deviations_are_counted_and_logged_once(open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A deviation is counted each time, and logged once per kind with its path and frame, not the key."""

    def script(caller: Caller) -> None:
        caller.accept()
        frame = '{"type":"error","event_id":"e%d","error":"bad key sk-secret-1"}'
        caller.text(*(frame % number for number in range(3)))
        caller.serve_until_closed()

    with caplog.at_level(logging.WARNING, "realtime_sync"), ScriptedServer(script) as server:
        session = open_session(server, api_key="sk-secret-1")
        for _ in range(3):
            event = session.next_event(DEADLINE)
            assert isinstance(event, ErrorEvent)
            assert event.error.message == "bad key sk-secret-1"
        assert session.deviations == {"error.error: expected object, got string": 3}
        session.close()
    assert len(caplog.records) == 1
    assert "error.error" in caplog.text
    assert "bad key ***" in caplog.text
    assert "sk-secret" not in caplog.text


def test_a_deviating_event_is_one_line(open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """All fields of the first deviating frame of a kind of event are in one line; later ones only count."""
    limit = '{"name":7,"limit":1,"remaining":1,"reset_seconds":1}'
    frames = [
        '{"type":"response.output_text.delta","delta":5}',
        '{"type":"response.output_text.delta","delta":"x"}',
        '{"type":"response.output_text.delta","output_index":"x"}',
        *[f'{{"type":"rate_limits.updated","event_id":"e","rate_limits":[{limit},{limit}]}}', "{", "}"] * 2,
    ]

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(*frames)
        caller.serve_until_closed()

    with caplog.at_level(logging.WARNING, "realtime_sync"), ScriptedServer(script) as server:
        session = open_session(server)
        for _ in frames:
            session.next_event(DEADLINE)
        counted = session.deviations
        session.close()
    text, limits = "response.output_text.delta", "rate_limits.updated"
    assert counted[f"{text}.item_id: missing"] == 3
    assert counted[f"{text}.output_index: expected int, got string"] == 1
    assert counted[f"{limits}.rate_limits[].name: expected str, got number"] == 4
    ids = "; ".join(
        f".{field}: missing" for field in ("response_id", "output_index", "item_id", "content_index")
    )
    start = "the server deviates from the specification: "
    assert [message.removeprefix(start) for message in caplog.messages] == [
        f"{text}.event_id: missing; {ids}; .delta: expected str, got number, in {frames[0]}",
        f"{limits}.rate_limits[].name: expected str, got number, in {frames[3]}",
        "not an event: not JSON, in {",
    ]


def test_sent_by_the_reader_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What had to wait is in the log when it is sent."""
    caplog.set_level(logging.DEBUG, "realtime_sync")
    responder = ScriptedResponder([Say("one"), Say("two")])
    with LocalServer(responder=responder) as server, rt.connect(base_url=server.url) as session:
        session.response.create()
        event_id = session.response.create(when_idle=True)
        for _ in range(2):
            session.run(rt.Visitor(), until=ev.ResponseDone, timeout=DEADLINE)
    assert len([text for text in caplog.messages if text.startswith(f"sent response.create {event_id}")]) == 1
