"""What the README says about other clients, beside the figures that the benchmarks give."""

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import websocket
from scripted import CREATED, DEADLINE, Caller, ScriptedServer

import realtime_sync as rt

AUDIO = bytes(range(256)) * 64  # 0.3 s, a usual size
QUEUED = 40
"""Events that wait when the ping comes: more than the 16 that openai-python's client takes ahead."""
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": base64.b64encode(AUDIO).decode(),
}
WRONG = json.dumps({**DELTA, "output_index": "first"})
Receive = Callable[[], Any]


@contextlib.contextmanager
def ours(server: ScriptedServer) -> Iterator[Receive]:
    with rt.connect("m", base_url=server.url, wait=False) as session:
        yield session.next_event


@contextlib.contextmanager
def openai_python(server: ScriptedServer) -> Iterator[Receive]:
    with (
        openai.OpenAI(api_key="sk-any", base_url=server.url.replace("ws", "http", 1)) as client,
        client.realtime.connect(model="m") as connection,
    ):
        yield connection.recv


@contextlib.contextmanager
def raw_loop(server: ScriptedServer) -> Iterator[Receive]:
    with contextlib.closing(websocket.create_connection(f"{server.url}/realtime?model=m")) as connection:
        yield lambda: json.loads(connection.recv())


each_client = pytest.mark.parametrize(
    ("client", "answers"),
    [(ours, True), (openai_python, False), (raw_loop, False)],
    ids=["ours", "openai", "raw"],
)


@each_client
def test_pings_while_busy(client: Any, answers: bool) -> None:
    """With 40 events not taken, pings are answered here, and by the others not before they are taken."""
    ponged = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, *[json.dumps(DELTA)] * QUEUED)
        caller.frame(9, b"there?")
        opcode, _ = caller.read()
        if opcode == 10:
            ponged.set()
            caller.serve_until_closed()

    with ScriptedServer(script) as server, client(server) as receive:
        # The others are given a second, in which ours has answered a thousand times over.
        assert ponged.wait(DEADLINE if answers else 1.0) == answers
        for _ in range(QUEUED + 1):
            receive()


@pytest.mark.parametrize("client", [ours, openai_python, raw_loop], ids=["ours", "openai", "raw"])
def test_a_field_of_the_wrong_type(client: Any) -> None:
    """A wrong value is not in a typed field here, and audio is bytes; the others hand on what came."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(WRONG)
        caller.serve_until_closed()

    with ScriptedServer(script) as server, client(server) as receive:
        event = receive()
    if client is raw_loop:
        assert (event["output_index"], event["delta"]) == ("first", DELTA["delta"])
    elif client is openai_python:
        assert (event.output_index, event.delta) == ("first", DELTA["delta"])
    else:
        assert (event.output_index, event.delta) == (0, AUDIO)
