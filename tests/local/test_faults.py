"""Each fault, in words, without sockets and over real ones."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
from fault_turn import CREATE, response_of, struck, texts, turn, types
from local_peer import Peer, Tls, connected

import realtime_sync as rt
from realtime_sync.events import ServerEvent
from realtime_sync.local import LocalServer, ScriptedResponder
from realtime_sync.local.faults import (
    MALFORMED,
    CloseAfter,
    Delay,
    Drop,
    Duplicate,
    Expire,
    Fault,
    GoSilent,
    RefuseHandshake,
    Reorder,
    Reset,
    SendMalformed,
    SendUnknown,
    parse,
)
from realtime_sync.local.stage import Cut, Send

DEADLINE = 60.0


WHOLE = texts(struck([]))


def test_drop_inside_a_response() -> None:
    """The drop waits for a delta of a response."""
    *sent, end = struck([Drop(2, inside="response")])
    assert end == Cut()
    assert types(sent)[-1] == "response.output_text.delta"
    assert types(sent).count("response.output_text.delta") == 1


def test_delay() -> None:
    """Every event is late by the time and its part of the jitter, which the seed decides."""
    assert {action.after for action in struck([Delay(0.5)]) if isinstance(action, Send)} == {0.5}
    one, again, other = (
        [action.after for action in struck([Delay(0.5, jitter=1, seed=seed)]) if isinstance(action, Send)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    assert 0.5 <= min(one) < max(one) <= 1.5


def test_send_unknown() -> None:
    """An event of an unknown type comes behind every third."""
    kinds = types(struck([SendUnknown(3)]))
    assert [number for number, kind in enumerate(kinds) if kind == "realtime_sync.unknown"] == list(
        range(3, len(kinds), 4)
    )


def test_send_malformed() -> None:
    """What is malformed comes in turn, and from the beginning again."""
    events = [event for batch in turn() for event in batch] * 3
    sent = texts(struck([SendMalformed(1)], [events]))
    assert sent[1::2] == [MALFORMED[number % len(MALFORMED)] for number in range(len(events))]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed(text: str) -> None:
    """Nothing malformed is a proper event, and none of it is beyond what this SDK decodes."""
    deviations: list[rt.Deviation] = []
    event = rt.decode(text, report=deviations.append)
    assert isinstance(event, rt.UnknownEvent) or deviations or "hologram" in text


def test_duplicate() -> None:
    """Every second event is sent twice."""
    expected = [text for number, text in enumerate(WHOLE, 1) for _ in range(2 - number % 2)]
    assert texts(struck([Duplicate(2)])) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("close:events=3,code=4000", CloseAfter(3, 4000)),
        ("close:events=0,reason=a = b", CloseAfter(0, reason="a = b")),
        (" drop : events = 2 , inside = response , times = 1 ", Drop(2, "response", times=1)),
        ("drop:received=2,inside=session,connection=3", Drop(received=2, inside="session", connection=3)),
        ("drop:events=5..50,seed=7,chance=0.5", Drop((5, 50), seed=7, chance=0.5)),
        ("close:seconds=0.5..3,code=1012", CloseAfter(seconds=(0.5, 3.0), code=1012)),
        ("reset:seconds=2", Reset(seconds=2)),
        ("silent:events=3", GoSilent(3)),
        ("silent:events=3,lasting=5", GoSilent(3, 5)),
        ("delay:seconds=0.5,jitter=1,seed=7", Delay(0.5, 1, seed=7)),
        ("refuse", RefuseHandshake()),
        ("refuse:status=429,message=slow down,times=2", RefuseHandshake(429, "slow down", times=2)),
        ("refuse:retry_after=1.5", RefuseHandshake(retry_after=1.5)),
        ("refuse:message=wait..", RefuseHandshake(message="wait..")),
        ("unknown:every=5", SendUnknown(5)),
        ("malformed:every=5", SendMalformed(5)),
        ("duplicate:every=5", Duplicate(5)),
        ("reorder", Reorder(1)),
        ("expire:seconds=1.5", Expire(1.5)),
        ("expire:seconds=1..2", Expire((1, 2))),
    ],
)
def test_parse(text: str, fault: Fault) -> None:
    """Each fault has its words."""
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "",
            "unknown fault ''; expected one of close, drop, reset, silent, expire, refuse, delay, reorder",
        ),
        ("flood:every=1", "'flood'; expected one of close"),
        (
            "close",
            r"one of events, received and seconds, got none; .* takes \[events=\], \[code=\], \[reason=\]",
        ),
        ("close:events=1,seconds=2", "expected one of events, received and seconds, got events and seconds"),
        ("close:events=2..1", r"a tuple of two such integers, the smaller first; got \(2, 1\)"),
        ("close:received=0", "received must be 1 or more, .*got 0"),
        ("close:seconds=nan", "seconds must be 0 or more, .*got nan"),
        ("close:events=1..", "events"),
        ("close:events=1,connection=0", "connection must be 1 or more, got 0"),
        ("close:events=1,chance=1.5", "chance must be a number from 0 to 1, got 1.5"),
        ("drop:seconds=1,inside=response", "inside='response' goes with events"),
        ("silent:events=1,lasting=0", "lasting must be more than 0, got 0"),
        ("refuse:retry_after=-1", "retry_after must be 0 or more, got -1"),
        ("close:events", "expected FIELD=VALUE, got 'events'"),
        ("close:events=many", r"int.*takes \[events="),
        ("close:events=1,colour=red", r"colour.*takes \[events="),
        ("close:events=-1", "must be 0 or more, .*got -1"),
        ("close:events=1,code=1006", "1006"),
        ("close:events=1,code=99", "between 1000 and 4999"),
        ("close:events=1,reason=" + "x" * 124, "123"),
        ("drop:events=1,inside=house", "inside"),
        ("drop:events=-1", "must be 0 or more, .*got -1"),
        ("silent:events=-1", "must be 0 or more, .*got -1"),
        ("delay:seconds=-1", "must be 0 or more, got -1"),
        ("refuse:status=200", "300"),
        ("refuse:times=-1", "must be 0 or more, got -1"),
        ("unknown:every=0", "every must be 1 or more, got 0"),
        ("malformed:every=0", "every must be 1 or more, got 0"),
        ("duplicate:every=0", "every must be 1 or more, got 0"),
        ("reorder:every=0", "every must be 1 or more, got 0"),
        ("expire:seconds=-1", "must be 0 or more, .*got -1"),
    ],
)
def test_parse_refuses(text: str, says: str) -> None:
    """What isn't a fault is a ValueError that says what there is."""
    with pytest.raises(ValueError, match=says):
        parse(text)


@contextlib.contextmanager
def session(*faults: Fault, **options: Any) -> Iterator[rt.Session]:
    with (
        LocalServer(faults=faults, responder=ScriptedResponder(["one two three"] * 2)) as server,
        rt.connect(base_url=server.url, **options) as session,
    ):
        yield session


@contextlib.contextmanager
def raw(*faults: Fault, tls: Tls = (None, {})) -> Iterator[Any]:
    """A foreign client."""
    context, options = tls
    responder = ScriptedResponder(["one two three"])
    with LocalServer(faults=faults, responder=responder, ssl_context=context) as server:
        ws: Any = websocket.create_connection(f"{server.url}/realtime", timeout=DEADLINE, **options)
        try:
            yield ws
        finally:
            ws.shutdown()


def ending(session: rt.Session) -> tuple[list[ServerEvent], rt.ConnectionClosed]:
    """Everything that comes, and how it ends."""
    events: list[ServerEvent] = []
    try:
        while True:
            events.append(session.next_event(timeout=DEADLINE))
    except rt.ConnectionClosed as closed:
        return events, closed


def ask(session: rt.Session) -> list[ServerEvent]:
    """Run a turn; its events."""
    session.response.create(output_modalities=["text"])
    events: list[ServerEvent] = []
    while not events or not isinstance(events[-1], rt.events.ResponseDone):
        events.append(session.next_event(timeout=DEADLINE))
    return events


def test_close_over_a_socket() -> None:
    """The client gets so many events and then the close code."""
    with session(CloseAfter(3, 4000, "why not")) as client:
        with pytest.raises(rt.ConnectionClosed) as closed:
            ask(client)
        assert (closed.value.code, closed.value.reason) == (4000, "why not")
        assert client.stats.events_in == 3


def test_drop_in_a_frame_over_a_socket() -> None:
    """The TCP connection ends in the middle of a frame."""
    with raw(Drop(1)) as ws:
        ws.recv()
        ws.send(CREATE)
        data = b""
        while more := ws.sock.recv(65_536):
            data += more
        assert data.startswith(b"\x81")
        assert b'{"type":"response.created"' in data
        assert not data.endswith(b"}")
    with session(Drop(1)) as client, pytest.raises(rt.ConnectionClosed) as closed:
        ask(client)
    assert not closed.value.clean


def test_drop_in_a_response_over_a_socket() -> None:
    """The TCP connection ends after a delta, between two frames."""
    with session(Drop(0, inside="response")) as client:
        with contextlib.suppress(rt.ConnectionClosed):  # the end may come before this returns
            client.response.create(output_modalities=["text"])
        events, closed = ending(client)
    assert events[-1].type == "response.output_text.delta"
    assert not closed.clean


def bytes_of(ws: Any) -> bytes:
    """What comes until the connection is at its end."""
    data = b""
    while more := ws.sock.recv(65_536):
        data += more
    return data


def test_drop_between_frames(tls: Tls) -> None:
    """The TCP connection ends behind a whole event, without a close frame."""
    with raw(Drop(1, "session"), tls=tls) as ws:
        assert json.loads(ws.recv())["type"] == "session.created"
        assert bytes_of(ws) == b""


@pytest.mark.parametrize("when", [{"events": 1}, {"received": 1}, {"seconds": 0.05}])
def test_reset_over_a_socket(when: dict[str, Any], tls: Tls) -> None:
    """The client gets what was sent before, and then a TCP reset."""
    with raw(Reset(**when), tls=tls) as ws:
        assert json.loads(ws.recv())["type"] == "session.created"
        if "received" in when:
            ws.send(CREATE)
        try:
            data = bytes_of(ws)
        except ConnectionResetError:
            return
    assert (data, tls is None) == (b"", False)  # older Pythons take it for the end of a TLS connection


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_time_over_a_socket(seconds: float) -> None:
    """An idle connection ends at the time, whatever else is to be sent later."""
    late = Delay(3600, connection=2)
    with raw(CloseAfter(seconds=seconds, code=1013), late) as ws:
        ws.recv()
        assert bytes_of(ws)[:4] == b"\x88\x02\x03\xf5"
    with raw(Drop(seconds=seconds), late) as ws:
        ws.recv()
        data = bytes_of(ws)
        assert len(data) < 2 + data[1]  # the frame is shorter than it says
    with raw(CloseAfter(seconds=seconds, code=1012), Delay(3600)) as ws:
        assert ws.recv_data()[1][:2] == (1012).to_bytes(2, "big")


@pytest.mark.parametrize("delay", [[], [Delay(0.01)]])
def test_what_is_received_over_a_socket(delay: list[Fault]) -> None:
    """The last message of the client that is received is handled, and not answered."""
    with LocalServer(faults=[CloseAfter(received=2, code=1012), *delay]) as server:
        peer = Peer(server)
        for number in (1, 2, 3):
            peer.send("conversation.item.retrieve", item_id="none", event_id=str(number))
            if number == 1:
                assert peer.receive()["error"]["event_id"] == "1"
        assert peer.ws.recv_data() == (websocket.ABNF.OPCODE_CLOSE, (1012).to_bytes(2, "big"))
        peer.drop()


def ended(server: LocalServer) -> int | None:
    """Connect, and wait for the end; its code."""
    peer = Peer(server)
    try:
        return peer.ending()
    finally:
        peer.drop()


def test_one_connection_over_a_socket() -> None:
    """With ``connection=2`` only the second is struck, though the first one had its own fault."""
    faults = [CloseAfter(1, code=1001, connection=1), CloseAfter(1, code=1013, connection=3)]
    with LocalServer(faults=[*faults, RefuseHandshake(503, connection=2)]) as server:
        assert ended(server) == 1001
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(f"{server.url}/realtime")
        assert ended(server) == 1013
        with connected(server) as peer:
            peer.turn("hello")


def test_a_stall_over_a_socket(tls: Tls) -> None:
    """What a stall holds up comes after it, whole; what the client sends meanwhile is handled then."""
    with raw(GoSilent(1, lasting=0.3), tls=tls) as ws:
        ws.recv()
        begun = time.monotonic()
        ws.send(CREATE)
        kinds = [json.loads(ws.recv())["type"] for _ in WHOLE[1:]]
        assert time.monotonic() - begun > 0.2
    assert kinds == [json.loads(text)["type"] for text in WHOLE[1:]]


def test_retry_after() -> None:
    """A handshake that is rejected may say when to come back, in whole seconds and exactly."""
    with LocalServer(faults=[RefuseHandshake(429, retry_after=1.25)]) as server:
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(f"{server.url}/realtime")
        headers = refused.value.resp_headers or {}
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1250")


def test_silence_over_a_socket() -> None:
    """After so many events nothing comes, not even a pong, and the connection stays."""
    with raw(GoSilent(1)) as ws:
        ws.recv()
        ws.send(CREATE)
        ws.ping()
        ws.settimeout(0.3)
        with pytest.raises(websocket.WebSocketTimeoutException):
            ws.recv()
        ws.send(CREATE)


def test_silence_is_found_out() -> None:
    """A half-open connection is found out by this SDK's own pings."""
    with (
        session(GoSilent(1), ping_interval=0.1, ping_timeout=0.3) as client,
        pytest.raises(rt.ConnectionClosed) as closed,
    ):
        ask(client)
    assert not closed.value.clean


def test_delay_over_a_socket() -> None:
    """Events come late, and in order."""
    with session(Delay(0.3, jitter=0.01)) as client:
        client.next_event(timeout=DEADLINE)
        begun = time.monotonic()
        kinds = [event.type for event in ask(client)]
        assert time.monotonic() - begun >= 0.3
    assert kinds == [json.loads(text)["type"] for text in WHOLE[1:]]


def test_refusal_over_a_socket() -> None:
    """The first attempts get the status and the message, the next is let in."""
    faults = [RefuseHandshake(429, "slow down", times=1), RefuseHandshake(302, body="<html>", times=1)]
    with LocalServer(faults=faults) as server:
        with pytest.raises(rt.ConnectionFailed, match="slow down") as refused:
            rt.connect(base_url=server.url)
        assert refused.value.status == 429
        with pytest.raises(rt.ConnectionFailed) as refused:
            rt.connect(base_url=server.url)
        assert (refused.value.status, refused.value.body) == (302, b"<html>")
        with rt.connect(base_url=server.url) as client:
            ask(client)


@pytest.mark.parametrize(
    ("fault", "added"),
    [
        (SendUnknown(1), lambda event: event.type == "realtime_sync.unknown"),
        (SendMalformed(1), lambda event: isinstance(event, rt.UnknownEvent)),
    ],
)
def test_strange_messages_over_a_socket(fault: Fault, added: Callable[[ServerEvent], bool]) -> None:
    """Events that are unknown or malformed come between the proper ones, and the session goes on."""
    with session(fault) as client:
        client.response.create(output_modalities=["text"])
        events = [client.next_event(timeout=DEADLINE)]
        while not (isinstance(events[-1], rt.events.ResponseDone) and events[-1].response.status):
            events.append(client.next_event(timeout=DEADLINE))
        assert any(added(event) for event in events)
        assert not client.closed


def test_duplicates_over_a_socket() -> None:
    """The same event comes twice."""
    with session(Duplicate(1)) as client:
        ids = [event.event_id for event in ask(client) if not isinstance(event, rt.UnknownEvent)]
    assert len(ids) > len(set(ids)) > 5


def test_reorder_over_a_socket() -> None:
    """Two responses at once arrive interwoven otherwise than they were made, each whole and in order."""
    with session(Reorder(1)) as client:
        for _ in range(2):
            client.response.create(conversation="none", output_modalities=["text"])
        done, kinds = 0, dict[str, list[str]]()
        while done < 2:
            event = client.next_event(timeout=DEADLINE)
            done += isinstance(event, rt.events.ResponseDone)
            kinds.setdefault(response_of(event), []).append(event.type)
        kinds.pop("", None)
    assert len(kinds) == 2
    for each in kinds.values():
        assert (each[0], each[-1]) == ("response.created", "response.done")


def test_expiry_over_a_socket() -> None:
    """The session ends as at its time limit."""
    with session(Expire(0.1)) as client:
        _, closed = ending(client)
    assert closed.code == 1001
    assert closed.last_error is not None
    assert closed.last_error.error.code == "session_expired"


def test_only_the_first_connection() -> None:
    """With ``times=1`` a client that comes back is served."""
    with LocalServer(faults=[CloseAfter(1, times=1)]) as server:
        with rt.connect(base_url=server.url) as client, pytest.raises(rt.ConnectionClosed):
            ask(client)
        with rt.connect(base_url=server.url) as client:
            ask(client)


@pytest.mark.parametrize("fault", [GoSilent(1), Drop(1), Drop(0, inside="response"), Delay(3600)])
def test_stop_with_faults(fault: Fault) -> None:
    """A server whose sessions are silent, dropped or late stops all the same."""
    server = LocalServer(faults=[fault]).start()
    ws: Any = websocket.create_connection(f"{server.url}/realtime", timeout=DEADLINE)
    ws.send(CREATE)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < DEADLINE
    ws.shutdown()


def test_faults_in_words() -> None:
    """`LocalServer` takes the words of the command line; what is no fault is rejected at once."""
    with LocalServer(faults=["refuse:status=429"]) as server:
        with pytest.raises(rt.ConnectionFailed) as caught:
            rt.connect(base_url=server.url)
        assert caught.value.status == 429
    with pytest.raises(ValueError, match="close, drop"):
        LocalServer(faults=["explode"])
    for wrong in ("refuse", 42):
        with pytest.raises(TypeError, match="a list"):
            LocalServer(faults=wrong)  # type: ignore[arg-type]
