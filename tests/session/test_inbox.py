"""`Inbox`: the queue between the reader and the user, without either."""

import contextlib
import gc
import json
import queue
import threading
import tracemalloc
from typing import Any

import pytest
from conversation_events import answer, at, message
from scripted import DEADLINE

from realtime_sync.events import UnknownEvent
from realtime_sync.events.codec import Binary, Message, decode_messages
from realtime_sync.events.surrogates import Joiner
from realtime_sync.session.inbox import Inbox, memory_of
from realtime_sync.session.ledger import Ledger

A, B = UnknownEvent("a", b""), UnknownEvent("b", b"")


def test_order_and_end() -> None:
    """Events come out in order, then the end, as often as it is asked for."""
    inbox = Inbox(100)
    inbox.put([A], 1)
    inbox.put([B], 1)
    inbox.finish()
    assert [inbox.get(0) for _ in range(5)] == [A, B, None, None, None]


def test_nothing_in_time() -> None:
    """Waiting in vain raises, and loses nothing."""
    inbox = Inbox(100)
    with pytest.raises(queue.Empty):
        inbox.get(0)
    with pytest.raises(queue.Empty):
        inbox.get(0.01)
    inbox.put([A], 1)
    assert inbox.get(None) is A


def test_batches() -> None:
    """Events that were put together are taken one by one."""
    inbox = Inbox(100)
    inbox.put([A, B], 2)
    inbox.put([B, A], 2)
    assert [inbox.get(0) for _ in range(4)] == [A, B, B, A]


def test_room() -> None:
    """The reader waits once the limit is reached, until no more than half of it is held."""
    inbox = Inbox(100)
    inbox.put([A], 40)
    assert not inbox.full
    inbox.put([B], 60)
    assert inbox.full
    assert (inbox.held, inbox.most_held) == (100, 100)
    went_on = threading.Event()

    def wait() -> None:
        inbox.wait_for_room()
        went_on.set()

    reader = threading.Thread(target=wait)
    reader.start()
    inbox.get(0)
    assert not went_on.is_set()
    inbox.get(0)
    assert went_on.wait(DEADLINE)
    reader.join(DEADLINE)
    assert (inbox.held, inbox.most_held) == (0, 100)


def test_an_event_over_the_limit() -> None:
    """One event larger than the whole limit is taken, and only stops the next."""
    inbox = Inbox(100)
    inbox.put([A], 1000)
    assert inbox.full
    assert inbox.get(0) is A
    assert not inbox.full


def test_waiting_threads() -> None:
    """Each of several waiting threads gets an event of its own, and all see the end."""
    inbox = Inbox(100)
    got: list[object] = []

    def take() -> None:
        while (event := inbox.get(DEADLINE)) is not None:
            got.append(event)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        inbox.put([A, B], 0)
    inbox.finish()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert len(got) == 1000


def test_closing() -> None:
    """When the user closes, the reader waits no more, and what exceeds the limit is left out."""
    inbox = Inbox(100)
    inbox.put([A], 100)
    inbox.stop_waiting()
    assert not inbox.full
    inbox.wait_for_room()
    inbox.put([B], 1)
    inbox.finish()
    assert [inbox.get(0), inbox.get(0)] == [A, None]


def test_nudges() -> None:
    """A nudge ends the waits that look for it, also if it came just before, and no others."""
    inbox = Inbox(100)
    nudged = inbox.nudged
    inbox.nudge()
    with pytest.raises(queue.Empty):
        inbox.get(None, nudged)
    inbox.put([A], 1)
    assert inbox.get(None, nudged) is A  # what is there is taken all the same
    ends: list[str] = []

    def wait(name: str, nudged: object) -> None:
        try:
            inbox.get(None, nudged)
            ends.append(f"{name} has one")
        except queue.Empty:
            ends.append(f"{name} was nudged")

    patient = threading.Thread(target=wait, args=["patient", None])
    other = threading.Thread(target=wait, args=["other", inbox.nudged])
    patient.start()
    other.start()
    inbox.nudge()
    other.join(DEADLINE)
    inbox.put([B], 1)
    patient.join(DEADLINE)
    assert ends == ["other was nudged", "patient has one"]


def test_a_nudge_is_not_taken_by_another() -> None:
    """Each thread that waits is nudged, whoever waits next."""
    inbox = Inbox(100)

    def wait(nudged: object) -> None:
        with contextlib.suppress(queue.Empty):
            inbox.get(None, nudged)

    for _ in range(100):
        thread = threading.Thread(target=wait, args=[inbox.nudged], daemon=True)
        thread.start()
        inbox.nudge()
        with pytest.raises(queue.Empty):
            inbox.get(0.001, inbox.nudged)
        thread.join(DEADLINE)
        assert not thread.is_alive()


# --- How much memory is held ---------------------------------------------------------------------------


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.added", "event_id": "e", "item": {"type": "new", **fields}}


IDS = {"event_id": "event_CMfOVsFLVdqVI8vO4Zz0L", **at("item_CMfOV1YXTGLq", 0, "resp_CMfOVhNu3D1p")}
HOSTILE: dict[str, tuple[int, Any]] = {  # how many, and the event
    "deltas": (1000, {"type": "response.output_text.delta", **IDS, "delta": " hello"}),
    "empty deltas": (1000, {"type": "response.output_text.delta", **at(), "event_id": "", "delta": ""}),
    "small events": (1000, {"type": "input_audio_buffer.cleared", "event_id": "e"}),
    "no events": (1000, 1),
    "unknown events": (1000, {"type": "x"}),
    "audio": (200, {"type": "response.output_audio.delta", **IDS, "delta": "AAAA" * 1600}),
    "items": (300, {"type": "conversation.item.added", "event_id": "e", "item": message("i", "Hello.")}),
    "responses": (300, {"type": "response.created", "event_id": "e", "response": {"id": "r"}}),
    "items of a response": (6, {"type": "response.done", "response": {"output": [answer("i")] * 100}}),
    "wrong items": (6, {"type": "response.done", "response": {"output": [1] * 1000}}),
    "wrong parts": (6, {"type": "conversation.item.added", "item": {**message("i"), "content": [1] * 1000}}),
    "empty lists": (6, item(x=[[]] * 1000)),
    "empty objects": (6, item(x=[{}] * 1000)),
    "numbers": (6, item(x=[1.5] * 1000)),
    "names": (6, item(x={str(number): 1 for number in range(1000)})),
    "nested lists": (6, item(x=json.loads("[" * 200 + "]" * 200))),
    "tools": (6, {"type": "session.updated", "session": {"tools": [{}] * 1000}}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_held_is_memory(kind: str) -> None:
    """What counts against the limit is about the memory that events take, however small their messages."""
    count, event = HOSTILE[kind]
    frame = json.dumps(event).encode()
    messages: list[Message] = [bytes(frame) for _ in range(count)]
    inbox, ledger, joiner = Inbox(10**12), Ledger(), Joiner()

    def take(each: Message) -> None:
        events = decode_messages([each], lambda *told: None, joiner)
        for event in events:
            event.__dict__["facts"] = ledger.note(event)
        inbox.put(events, memory_of(events, [each]))

    take(frame)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        held, before = inbox.held, tracemalloc.get_traced_memory()[0]
        for each in messages:
            take(each)
        gc.collect()
        real, counted = tracemalloc.get_traced_memory()[0] - before, inbox.held - held
    finally:
        tracemalloc.stop()
    assert counted / 4 < real < counted * 1.5


def test_a_binary_message_is_held_as_it_came() -> None:
    """Whatever a binary message holds, it is one value."""
    whole = Binary(b"[[[[," * 100)
    assert memory_of([UnknownEvent("", whole.payload, "binary message")], [whole]) == 1000
