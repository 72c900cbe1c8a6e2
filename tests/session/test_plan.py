"""What is restored of a session: the fates of the responses that ran, and what is lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from reopened import Connections, Peer, lose, opened, reconnected
from response_script import ResponseScript, created, done
from scripted import DEADLINE, ScriptedServer
from threads import wait_until
from transcripts import completed, event_frame, updated

import realtime_sync as rt
from realtime_sync.session.plan import Plan

SPEAKS = event_frame("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)
CALL = {"id": "c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def ask(session: rt.Session) -> None:
    session.response.create()


def ask_and_cancel(session: rt.Session) -> None:
    session.response.create()
    session.response.cancel()


def planned(*frames: str, before: Callable[[rt.Session], object] = ask, repeat: bool | None = None) -> Plan:
    """What would be restored of a session that has sent this, and then was told these."""
    script = ResponseScript()
    with ScriptedServer(script) as server:
        session = opened(server.url)
        before(session)
        script.send(*frames, event_frame("rate_limits.updated", rate_limits=[]))
        session.run(rt.Visitor[None](), until=rt.events.RateLimitsUpdated, timeout=DEADLINE)
        plan = session._reader.gate.plan(repeat)
        session.close()
        return plan


def item(kind: str, **fields: Any) -> str:
    """A frame that tells of an item which is in the conversation, and complete."""
    wire = {"id": "i", "object": "realtime.item", "type": kind, "status": "completed", **fields}
    return event_frame("conversation.item.done", item=wire)


def said(text: str, item_id: str = "i") -> str:
    """A frame that tells of a message of the user's."""
    return item("message", id=item_id, role="user", content=[{"type": "input_text", "text": text}])


# --- Responses -----------------------------------------------------------------------------------------

ITEM = event_frame("response.output_item.done", response_id="r", output_index=0, item=CALL)
KNOWN = [created("r0"), done("r0")]  # a server that names the conversation


def detection(**settings: Any) -> str:
    return updated(audio={"input": {"turn_detection": settings}})


NEVER_INTERRUPTED = detection(type="server_vad", interrupt_response=False)


@pytest.mark.parametrize(
    ("fate", "frames", "options"),
    [
        ("restarted", [created("r")], {}),
        ("restarted", [created("r")], {"repeat": True}),
        ("lost", [created("r")], {"repeat": False}),
        ("lost", [*KNOWN, created("r", None)], {"before": lambda session: None}),
        ("completed", [created("r"), ITEM], {}),
        ("completed", [created("r"), ITEM], {"repeat": False}),
        ("cancelled", [created("r")], {"before": ask_and_cancel}),
        ("cancelled", [created("r"), SPEAKS], {}),
        ("cancelled", [detection(type="server_vad"), created("r"), SPEAKS], {}),
        ("restarted", [NEVER_INTERRUPTED, created("r"), SPEAKS], {}),
    ],
)  # fmt: skip
def test_fates(fate: str, frames: list[str], options: dict[str, Any]) -> None:
    """A response that ran is asked for again, unless it has called, is cancelled, or must not be repeated."""
    plan = planned(*frames, **options)
    assert list(plan.fates.values()) == [fate]
    rest = "the rest of response r: the connection was lost while it ran"
    assert plan.lost == ((rest,) if fate == "lost" else ())


# --- Items ---------------------------------------------------------------------------------------------


def test_what_was_begun_by_a_response_that_is_repeated() -> None:
    """What there is of a response that is asked for again is not restored: it comes anew."""
    message = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    begun = event_frame("conversation.item.added", item=message, previous_item_id="i")
    owned = event_frame("response.output_item.added", response_id="r", output_index=0, item=message)
    plan = planned(said("Hi."), created("r"), owned, begun)
    assert [entry.id for entry, _ in plan.items] == ["i"]
    assert [entry.id for entry in plan.gone] == ["m"]


@pytest.mark.parametrize(
    ("kind", "fields", "lost"),
    [
        ("mcp_call", {"name": "n", "server_label": "s", "arguments": "{}", "output": "o"}, True),
        ("mcp_list_tools", {"server_label": "s", "tools": []}, False),
        ("message", {"role": "assistant", "content": []}, False),
    ],
)
def test_what_a_client_can_not_create(kind: str, fields: dict[str, Any], lost: bool) -> None:
    """An item that no client can create is gone, and named as lost if it says something."""
    plan = planned(item(kind, **fields))
    assert [entry.id for entry in plan.gone] == ["i"]
    assert plan.lost == ((f"item i ({kind}): a client can't create it",) if lost else ())


def test_speech_that_can_not_be_restored() -> None:
    """Speech without a transcript whose audio is not kept is named as lost."""
    speech = item("message", role="user", content=[{"type": "input_audio", "transcript": None}])
    [unknown] = planned(speech).lost
    assert unknown == "the user's speech (item i): no transcript, and its audio is not kept"


@pytest.mark.parametrize(("length", "kept"), [(32, True), (33, False)])
def test_long_ids(length: int, kept: bool) -> None:
    """An item is created with its id, unless that is longer than what a client may choose."""
    [(entry, wire)] = planned(said("Hi.", "i" * length)).items
    assert entry.id == "i" * length
    assert bool(getattr(wire, "id", None)) is kept


# --- Transcription sessions ----------------------------------------------------------------------------


BEGINS = json.dumps(
    {
        "type": "session.created",
        "event_id": "e",
        "session": {"type": "transcription", "id": "s", "object": "o"},
    }
)


def commits(event: Any) -> list[str] | None:
    """Commit what is to be committed, and don't transcribe it."""
    if event["type"] != "input_audio_buffer.commit":
        return None
    speech = item("message", id="a", role="user", content=[{"type": "input_audio", "transcript": None}])
    return [event_frame("input_audio_buffer.committed", item_id="a", previous_item_id=None), speech]


def test_a_turn_of_a_transcription_session() -> None:
    """A turn whose transcript had not come is sent again, and committed again, in place of an item."""
    first, second = Peer(commits, BEGINS), Peer(begins=BEGINS)
    with ScriptedServer(Connections(first, second)) as server:
        session = rt.connect(base_url=server.url, api_key="k", intent="transcription", reconnect=True)
        session.input_audio_buffer.append(bytes(4800))
        session.input_audio_buffer.commit()
        session.run(rt.Visitor[None](), until=rt.events.ConversationItemDone, timeout=DEADLINE)
        lose(session)
        assert reconnected(session).lost == []
        wait_until(lambda: len(second.received) == 2)
        session.close()
    assert second.types == ["input_audio_buffer.append", "input_audio_buffer.commit"]
    assert second.received[0]["audio"] == first.received[0]["audio"]


def test_a_turn_that_was_transcribed() -> None:
    """A turn that has its transcript is neither sent again nor created."""
    first, second = Peer(commits, BEGINS), Peer(begins=BEGINS)
    with ScriptedServer(Connections(first, second)) as server:
        session = rt.connect(base_url=server.url, api_key="k", intent="transcription", reconnect=True)
        session.input_audio_buffer.append(bytes(4800))
        session.input_audio_buffer.commit()
        session.run(rt.Visitor[None](), until=rt.events.ConversationItemDone, timeout=DEADLINE)
        server.callers[0].text(completed("a", "All of it."))
        session.next_event(DEADLINE)
        lose(session)
        assert reconnected(session).lost == []
        session.input_audio_buffer.clear()
        wait_until(lambda: bool(second.received))
        session.close()
    assert second.types == ["input_audio_buffer.clear"]
