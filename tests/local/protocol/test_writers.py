"""How one item streams: text, audio, function calls, MCP calls and approvals."""

from typing import Any

import pytest
from response_order import audio_of
from talk import Talk, item_id, kinds
from tones import one

from realtime_sync import events as ev
from realtime_sync.local import CallMcpTool, RequestMcpApproval, Say, ScriptedResponder


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (CallMcpTool("docs", "search", {"q": "x"}, output="found"), "completed"),
        (CallMcpTool("docs", "search", {"q": "x"}, error="no such tool"), "failed"),
    ],
)
def test_an_mcp_call(call: CallMcpTool, end: str) -> None:
    """The server calls a tool itself, between two other items, and shows how it went."""
    talk = Talk(ScriptedResponder([[call, Say("Done.")]]), output_modalities=["text"])
    events = talk.turn()
    done = one(events, ev.ResponseDone).response
    item: Any = done.output[0]
    assert (item.server_label, item.name, item.arguments) == ("docs", "search", '{"q": "x"}')
    assert item.output == call.output
    assert (item.error and item.error.message) == call.error
    assert [kind for kind in dict.fromkeys(kinds(events)) if "mcp" in kind] == [
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        f"response.mcp_call.{end}",
    ]


def test_an_mcp_call_that_is_broken_off() -> None:
    """Cancelled at any point, a call is closed as failed, and its arguments are done once."""
    steps = 0
    while True:
        talk = Talk(ScriptedResponder([CallMcpTool("docs", "search", {"q": "x"}, output="found")]))
        events = talk.send("response.create")
        for _ in range(steps):
            events += talk.protocol.step()
        if not talk.protocol.active:
            break
        events += talk.send("response.cancel")
        found = kinds(events)
        begun = "response.output_item.added" in found
        whole = "response.mcp_call.completed" in found
        assert found.count("response.mcp_call_arguments.done") == begun
        assert found.count("response.mcp_call.failed") == (
            "response.mcp_call.in_progress" in found and not whole
        )
        steps += 1
    assert steps > 4


def test_an_mcp_approval() -> None:
    """A question for approval is an item, and so is its answer."""
    talk = Talk(ScriptedResponder([RequestMcpApproval("docs", "read", {"path": "/"}), "Thank you."]))
    [item] = one(talk.turn(), ev.ResponseDone).response.output
    assert isinstance(item, ev.McpApprovalRequest)
    assert (item.name, item.arguments) == ("read", '{"path": "/"}')
    talk.add({"type": "mcp_approval_response", "approval_request_id": item_id(item), "approve": True})
    assert one(talk.turn(), ev.ResponseDone).response.status == "completed"


def test_deltas_are_small_and_interleaved() -> None:
    """Audio comes in chunks of at most 100 ms; the words come along with it."""
    talk = Talk()
    talk.say("Hello there")
    deltas = [e for e in talk.turn() if e.type.endswith("delta")]
    assert all(len(e.delta) <= 4800 for e in deltas if isinstance(e, ev.ResponseOutputAudioDelta))
    assert len(set(kinds(deltas[:2]))) == 2


def test_own_audio() -> None:
    """A responder may bring the audio itself."""
    talk = Talk(ScriptedResponder([Say("x", audio=b"\x01\x02" * 5000)]))
    assert audio_of(talk.turn()) == b"\x01\x02" * 5000
