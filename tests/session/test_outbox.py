"""`outbox`: what the server has not confirmed, whenever the connection is lost."""

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted import DEADLINE, Caller, Open, ScriptedServer, error

import realtime_sync as rt
from realtime_sync.events import ResponseDone
from realtime_sync.local import LocalServer
from realtime_sync.session import outbox as module
from realtime_sync.session.outbox import Outbox, Unconfirmed

AUDIO = bytes(960)  # 20 ms
EVENT_ID = "event_id"


def update(session: rt.Session) -> None:
    session.update(instructions="Be brief.", event_id="update")


def say(session: rt.Session) -> None:
    session.conversation.item.create("Hello.", event_id="say")


def answer(session: rt.Session) -> None:
    session.conversation.item.create(rt.events.FunctionCallOutput(call_id="c", output="1"), event_id="answer")


def append(session: rt.Session) -> None:
    session.input_audio_buffer.append(AUDIO)


def append_dict(session: rt.Session) -> None:
    session.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(AUDIO).decode()})


def commit(session: rt.Session) -> None:
    session.input_audio_buffer.commit(event_id="commit")


def clear(session: rt.Session) -> None:
    session.input_audio_buffer.clear(event_id="clear")


def ask(session: rt.Session) -> None:
    session.response.create(event_id="ask")


def cancel(session: rt.Session) -> None:
    session.response.cancel(event_id="cancel")


def truncate(session: rt.Session) -> None:
    session.conversation.item.truncate("said", content_index=0, audio_end_ms=20, event_id="truncate")


def retrieve(session: rt.Session) -> None:
    session.conversation.item.retrieve("said", event_id="retrieve")


def delete(session: rt.Session) -> None:
    session.conversation.item.delete("said", event_id="delete")


def wrong(session: rt.Session) -> None:
    session.send({"type": "no.such.event", "event_id": "wrong"})


TURN: list[Callable[[rt.Session], None]] = [
    update, say, append, append_dict, commit, ask, append, cancel, truncate, retrieve, wrong, append, clear,
    delete, answer, append,
]  # fmt: skip
"""What a program does in a turn, one event each, of all kinds that a server answers."""


def answers(event: dict[str, Any]) -> list[str]:
    """The frames with which a server answers an event."""
    kind, item = event["type"], event.get("item", {})
    item = {"id": f"item {event[EVENT_ID]}", "status": "completed", **item}
    said: dict[str, list[dict[str, Any]]] = {
        "session.update": [{"type": "session.updated", "session": {"type": "realtime"}}],
        "conversation.item.create": [
            {"type": "conversation.item.added", "item": item},
            {"type": "conversation.item.done", "item": item},
        ],
        "input_audio_buffer.append": [],
        "input_audio_buffer.commit": [{"type": "input_audio_buffer.committed", "item_id": "heard"}],
        "input_audio_buffer.clear": [{"type": "input_audio_buffer.cleared"}],
        "response.create": [{"type": "response.created", "response": {"id": f"r {event[EVENT_ID]}"}}],
        "response.cancel": [
            {"type": "response.done", "response": {"id": "r ask", "status": "cancelled", "output": []}}
        ],
        "conversation.item.truncate": [
            {"type": "conversation.item.truncated", "item_id": "said", "content_index": 0, "audio_end_ms": 20}
        ],
        "conversation.item.retrieve": [{"type": "conversation.item.retrieved", "item": {"id": "said"}}],
        "conversation.item.delete": [{"type": "conversation.item.deleted", "item_id": "said"}],
        "no.such.event": [json.loads(error("unknown event"))],
    }
    for frame in said[kind]:
        if frame["type"] == "error":
            frame["error"][EVENT_ID] = event[EVENT_ID]
    return [json.dumps({EVENT_ID: f"{event[EVENT_ID]} {n}", **frame}) for n, frame in enumerate(said[kind])]


class Falling:
    """A server that takes so many events, answers the first of them, and is gone."""

    def __init__(self, takes: int, answers: int) -> None:
        self._takes = takes
        self._answers = answers
        self.taken: list[dict[str, Any]] = []
        self.frames = 0
        self.has_sent = threading.Event()
        self.fall = threading.Event()

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        for number in range(self._takes):
            event = caller.read_event()
            self.taken.append(event)
            if number < self._answers:
                frames = answers(event)
                self.frames += len(frames)
                caller.text(*frames)
        self.has_sent.set()
        assert self.fall.wait(DEADLINE)
        caller.reset()

    @contextlib.contextmanager
    def serving(self) -> Iterator[ScriptedServer]:
        with ScriptedServer(self) as server:
            try:
                yield server
            finally:
                self.fall.set()


def names(unconfirmed: Unconfirmed) -> list[Any]:
    return [e["event_id"] if isinstance(e, dict) else getattr(e, EVENT_ID) for e in unconfirmed.events]


def take_turn(server: Falling, session: rt.Session) -> None:
    """Send all of a turn, and take all answers."""
    for step in TURN:
        step(session)
    assert server.has_sent.wait(DEADLINE)
    for _ in range(server.frames):
        session.next_event(DEADLINE)


def play(server: Falling, open_session: Open) -> tuple[rt.Session, rt.ConnectionClosed]:
    """Play a turn, all of which is given to the connection before that is lost."""
    with server.serving() as scripted:
        session = open_session(scripted)
        take_turn(server, session)
        server.fall.set()
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(DEADLINE)
    return session, caught.value


@pytest.mark.parametrize("answered", range(len(TURN) + 1))
def test_a_connection_that_is_lost_anywhere_in_a_turn(answered: int, open_session: Open) -> None:
    """What the server has answered is confirmed; all else that was sent is listed, and no more."""
    server = Falling(answered, answered)
    session, closed = play(server, open_session)
    sent = [step.__name__.replace("_", " ") for step in TURN if not step.__name__.startswith("append")]
    taken = {event[EVENT_ID] for event in server.taken}
    unconfirmed = session.unconfirmed()
    assert names(unconfirmed) == [name for name in sent if name not in taken]
    assert {*names(unconfirmed)} >= {getattr(each, EVENT_ID) for each in closed.unsent}
    confirmed = [n for n, event in enumerate(server.taken) if answers(event)]
    appended = [step.__name__.startswith("append") for step in TURN]
    heard = sum(appended[: confirmed[-1]]) if confirmed else 0
    assert unconfirmed.audio_bytes == len(AUDIO) * (sum(appended) - heard)
    assert unconfirmed.forgotten == 0


@pytest.mark.parametrize("answered", range(0, len(TURN), 3))
def test_what_was_taken_and_not_answered(answered: int, open_session: Open) -> None:
    """What a server has taken may be listed as unconfirmed; what it has not taken always is."""
    takes = min(answered + 4, len(TURN) - 2)
    server = Falling(takes, answered)
    session, _ = play(server, open_session)
    listed = {*names(session.unconfirmed())}
    taken = {event[EVENT_ID] for event in server.taken}
    assert {
        step.__name__.replace("_", " ") for step in TURN if "append" not in step.__name__
    } <= listed | taken
    appended = len(AUDIO) * sum(step.__name__.startswith("append") for step in TURN)
    took = len(AUDIO) * sum(event["type"].endswith("append") for event in server.taken)
    assert appended - session.unconfirmed().audio_bytes <= took


def test_nothing_is_unconfirmed_after_all_was_answered(open_session: Open) -> None:
    """Each answer takes its event off the list: a whole turn leaves nothing but the audio behind it."""
    server = Falling(len(TURN), len(TURN))
    with server.serving() as scripted:
        session = open_session(scripted)
        take_turn(server, session)
        assert session.unconfirmed() == Unconfirmed((), len(AUDIO), 0)


SPEECH = [
    ({"type": "input_audio_buffer.speech_started", "audio_start_ms": 20}, 4),
    ({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 60}, 2),
    ({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 10**9}, 0),
    ({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": -5}, 5),
    ({"type": "input_audio_buffer.committed", "item_id": "i"}, 5),
]


@pytest.mark.parametrize(("event", "unheard"), SPEECH)
def test_speech_that_the_server_detects_confirms_audio(
    event: dict[str, Any], unheard: int, open_session: Open
) -> None:
    """The times of speech are counted in all audio that was sent, so they say how much of it has arrived."""

    def script(caller: Caller) -> None:
        caller.accept()
        for _ in range(5):
            caller.read_event()
        caller.text(json.dumps(event))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        for _ in range(5):
            append(session)
        session.next_event(DEADLINE)
        session.close()
        assert session.unconfirmed().audio_bytes == unheard * len(AUDIO)


def test_a_response_that_may_be_the_servers_own_confirms_no_more_than_its_request(
    open_session: Open,
) -> None:
    """Where the server detects turns, a response that begins does not show that what was sent has arrived."""
    stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 0}

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(json.dumps(stopped))
        caller.read_event()
        caller.read_event()
        caller.text('{"type":"response.created","response":{"id":"r"}}')
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        session.next_event(DEADLINE)
        say(session)
        ask(session)
        session.next_event(DEADLINE)
        session.close()
        assert names(session.unconfirmed()) == ["say"]


def test_what_is_pending_is_listed_last(open_session: Open) -> None:
    """A request that waits for a response to end is unconfirmed, as are those that were sent."""
    with Falling(1, 0).serving() as server:
        session = open_session(server)
        ask(session)
        session.response.create(when_idle=True, event_id="ask again")
        update(session)
        assert names(session.unconfirmed()) == ["ask", "update", "ask again"]
        session.response.withdraw("ask again")
        assert names(session.unconfirmed()) == ["ask", "update"]


def test_what_is_sent_after_the_end_is_not_listed(open_session: Open) -> None:
    """An event that a session rejects because it is over has an exception, and is not in doubt."""
    with ScriptedServer(lambda caller: caller.accept()) as server:
        session = open_session(server)
        with pytest.raises(rt.ConnectionClosed):
            session.next_event(DEADLINE)
        for step in (say, append):
            with pytest.raises(rt.ConnectionClosed):
                step(session)
        assert session.unconfirmed() == Unconfirmed()


def test_sent_by_many_threads() -> None:
    """An event that still waits to be sent is not confirmed by the answer to one that was sent meanwhile."""
    outbox = Outbox()
    events = [rt.events.ConversationItemDelete(item_id=str(number)) for number in range(3)]
    waiting, sent, _ = [outbox.put(number, event) for number, event in enumerate(events)]
    sent.posted = True
    outbox.taken(1)
    assert outbox.unconfirmed([]).events == (events[0], events[2])
    waiting.posted = True
    outbox.taken(2)
    assert outbox.unconfirmed([]).events == ()


def test_a_server_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is never answered a bounded number is kept, and how much more there was is told."""
    monkeypatch.setattr(module, "_MOST", 3)
    outbox = Outbox()
    events = [rt.events.ConversationItemDelete(item_id=str(number)) for number in range(5)]
    for number, event in enumerate(events):
        outbox.put(number, event)
    assert outbox.unconfirmed([]) == Unconfirmed(tuple(events[2:]), 0, 2)


def test_a_whole_turn_with_the_local_server() -> None:
    """A server that works as specified confirms all that a turn sends."""
    with LocalServer() as server, rt.connect("m", base_url=server.url) as session:
        update(session)
        say(session)
        ask(session)
        session.run(rt.Visitor(), until=ResponseDone, timeout=DEADLINE)
        assert session.unconfirmed() == Unconfirmed()
