"""What a server may send that makes no sense: without end, without bounds, and at random."""

import gc
import random
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import msgspec
import samples
from readable_facts import Step, asks, asks_when_idle, cancels, sends

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.session.ledger import Ledger

# --- How much is kept ----------------------------------------------------------------------------------

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)


def held(ledger: Ledger) -> list[Any]:
    """Return all that a ledger keeps alive."""
    found: dict[int, Any] = {id(ledger): ledger}
    last: list[Any] = [ledger]
    while last:
        keys = [
            key for thing in last if isinstance(thing, dict) for key in thing
        ]  # referents leave texts out
        last = [thing for thing in (*keys, *gc.get_referents(*last)) if not isinstance(thing, _SHARED)]
        last = list({id(thing): thing for thing in last if id(thing) not in found}.values())
        found.update((id(thing), thing) for thing in last)
    return list(found.values())


# --- Without end ---------------------------------------------------------------------------------------


def _place(item: str, response: str = "r", output: int = 0, index: int = 0) -> dict[str, Any]:
    place = {"response_id": response, "item_id": item, "output_index": output, "content_index": index}
    return {"event_id": "", **place}


def _user(item: str, previous: str | None) -> ServerEvent:
    message = ev.Message(id=item, role="user", content=[])
    return ev.ConversationItemAdded(event_id="", item=message, previous_item_id=previous)


def _text(*place: Any) -> ServerEvent:
    return ev.ResponseOutputTextDelta(**_place(*place), delta="a")


def _created(response: str, conversation: str | None = "conv") -> ServerEvent:
    wire = ev.Response(id=response, status="in_progress", conversation_id=conversation)
    return ev.ResponseCreated(event_id="", response=wire)


def _done(response: str, **fields: Any) -> ServerEvent:
    return ev.ResponseDone(event_id="", response=ev.Response(id=response, status="completed", **fields))


def _called(call_id: str, item: str = "", response: str = "r") -> ServerEvent:
    place: dict[str, Any] = {"response_id": response, "item_id": item, "output_index": 0}
    return ev.ResponseFunctionCallArgumentsDone(
        event_id="", **place, call_id=call_id, name="f", arguments="{}"
    )


def _error(number: int) -> ServerEvent:
    name = None if number % 2 else f"e{number}"
    details = ev.ErrorDetails(type="t", code=f"c{number}", message="No.", event_id=name)
    return ev.ErrorEvent(event_id="", error=details)


def _approval(number: int) -> ServerEvent:
    item = ev.McpApprovalRequest(id=f"a{number}", name="f", server_label="s", arguments="{}")
    return ev.ConversationItemDone(event_id="", item=item)


def _mcp(number: int) -> ServerEvent:
    item = ev.McpCall(id=f"m{number}", name="f", server_label="s", arguments="{}")
    return ev.ResponseOutputItemAdded(event_id="", response_id="r", output_index=0, item=item)


def _heard(item: str) -> ServerEvent:
    kind = ev.ConversationItemInputAudioTranscriptionDelta
    return kind(event_id="", item_id=item, content_index=0, delta="a")


def _turned(number: int) -> Iterator[Step]:
    """A response with a message, and with calls that have no item ids."""
    if number % 100 == 0:
        yield _created(f"r{number}")
        yield _text(f"i{number}", f"r{number}")
    yield _called(f"c{number}", "", "")


def plain_turn(number: int) -> list[ServerEvent]:
    """A response, nothing wrong with it, that makes a message with a text in two parts."""
    response, item = f"r{number}", f"i{number}"
    texts = [_text(item, response, 0, index) for index in range(2)]
    return [_created(response), *texts, _done(response)]


ENDLESS: dict[str, Callable[[int], Iterator[Step]]] = {
    "items": lambda n: iter([_user(f"i{n}", f"i{n - 1}")]),
    "items without predecessors": lambda n: iter([_user(f"i{n}", None)]),
    "all first": lambda n: iter([_user(f"i{n}", "root")]),
    "cycles": lambda n: iter([_user(f"i{n % 100}", f"i{(n + 1) % 100}"), _user(f"i{n % 7}", f"i{n % 7}")]),
    "unknown predecessors": lambda n: iter([_user(f"i{n}", f"unknown{n}")]),
    "deleted": lambda n: iter([_user("i", "root"), ev.ConversationItemDeleted(event_id="", item_id="i")]),
    "all first, and deleted": lambda n: iter(
        [_user("i", None), _user(f"i{n}", "root"), ev.ConversationItemDeleted(event_id="", item_id=f"i{n}")]
    ),
    "deletions": lambda n: iter([ev.ConversationItemDeleted(event_id="", item_id=f"i{n}")]),
    "deltas": lambda n: iter([_text(f"i{n}", f"r{n}")]),
    "deltas of one response": lambda n: iter([_text(f"i{n}")]),
    "negative indexes": lambda n: iter([_text("i", "r", -n - 1, -n - 1)]),
    "huge indexes": lambda n: iter([_text("i", "r", 10**9 + n, 10**30 + n)]),
    "parts": lambda n: iter([_text(f"i{n // 1000}", "r", 0, n % 1000)]),
    "responses": lambda n: iter([_created(f"r{n}")]),
    "responses out-of-band": lambda n: iter([_created("r"), _created(f"r{n}", None)]),
    "responses with items": lambda n: iter([_created(f"r{n}"), _text("i", f"r{n}")]),
    "ends": lambda n: iter([_done(f"r{n}")]),
    "ends of one": lambda n: iter(
        [_done("r", output=[ev.Message(id=f"i{n}", role="assistant", content=[])])]
    ),
    "errors": lambda n: iter([_error(n)]),
    "calls": lambda n: iter([_called(f"c{n}")]),
    "calls of one item": lambda n: iter([_called(f"c{n}", "i")]),
    "calls of many responses": _turned,
    "approvals": lambda n: iter([_created("r"), _approval(n)]),
    "MCP calls": lambda n: iter([_mcp(n)]),
    "speech": lambda n: iter([ev.InputAudioBufferCommitted(event_id="", item_id="")]),
    "transcripts": lambda n: iter([_heard(f"i{n}"), _heard("")]),
    "requests": lambda n: iter([asks(f"e{n}"), sends("session.update", f"s{n}")]),
    "cancellations": lambda n: iter([asks("e"), cancels(f"c{n}")]),
}
"""Steps that go on for ever, by what there is too much of: the n-th of them."""


# --- At random -----------------------------------------------------------------------------------------

_POOLS: dict[str, list[Any]] = {
    "response_id": ["r", "s", "t", "", "r", "s"],
    "item_id": ["i", "j", "k", "", "i", "j"],
    "call_id": ["c", "d", ""],
    "previous_item_id": [None, "root", "i", "j", "k", "zz", ""],
    "content_index": [0, 0, 0, 1, -1, 1000],
    "output_index": [0, 0, 1, 2, -1, 1000],
    "status": ["in_progress", "completed", "completed", "incomplete", "cancelled", "failed"],
    "conversation_id": [None, "conv"],
    "audio_end_ms": [0, 100, -1],
    "event_id": [None, "", "e1", "e2", "c1"],
    "code": [None, "conversation_already_has_active_response", "response_cancel_not_active", "x"],
}
_REQUESTS: list[Step] = [
    asks("e1"),
    asks("e2", out_of_band=True),
    asks_when_idle("e3"),
    cancels("c1"),
    cancels("c2", "r"),
    sends("conversation.item.create", "e4", item_id="i"),
    sends("conversation.item.create", "e5"),
    sends("conversation.item.truncate", "e6", item_id="i", audio_end_ms=50),
    sends("session.update", "e7"),
    lambda ledger: ledger.responses.next_request(),
    lambda ledger: ledger.responses.stall(),
]
_FRAMES = {name: msgspec.json.decode(text) for name, text in samples.ALL_SERVER.items()}
KINDS = [
    "a request",
    *(name for name in _FRAMES if not name.startswith(("session", "transcription_session"))),
]


def at_random(kind: str, seed: int) -> Step:
    """Return an event of a kind, or a request, whose ids, indexes and states are drawn from a few."""
    draw = random.Random(seed)
    if kind == "a request":
        return draw.choice(_REQUESTS)
    frame = _drawn(_FRAMES[kind], draw, "event")
    frame["event_id"] = draw.choice(["", "", "", "1", "2"])
    return rt.decode(msgspec.json.encode(frame))


def _drawn(value: Any, draw: random.Random, name: str) -> Any:
    if isinstance(value, dict):
        changed = {key: _drawn(inner, draw, key) for key, inner in value.items()}
        if "id" in value:
            pool = "response_id" if name == "response" else "item_id"
            changed["id"] = draw.choice(_POOLS[pool])
        return changed
    if isinstance(value, list):
        return [_drawn(inner, draw, name) for inner in value]
    return draw.choice(_POOLS[name]) if name in _POOLS else value
