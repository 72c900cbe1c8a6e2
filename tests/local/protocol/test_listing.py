"""The tools of MCP servers."""

from talk import Talk, kinds
from tones import one

from realtime_sync import events as ev

DOCS = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": "https://mcp.example/",
    "allowed_tools": ["search", "read"],
}


def test_mcp_tools_are_listed_once() -> None:
    """A new MCP server's tools are listed, as an item; naming it again lists nothing."""
    talk = Talk()
    [updated] = talk.send("session.update", session={"type": "realtime", "tools": [DOCS]})
    assert isinstance(updated, ev.SessionUpdated)
    events = talk.steps()
    assert kinds(events) == [
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "conversation.item.done",
    ]
    item = one(events, ev.ConversationItemDone).item
    assert [tool.name for tool in item.tools] == ["search", "read"]
    assert talk.retrieve(item.id) == item
    talk.update(tools=[DOCS])
    assert talk.steps() == []


def test_mcp_tools_that_cannot_be_listed() -> None:
    """A server without an address fails, and its item has no tools."""
    talk = Talk(tools=[{name: DOCS[name] for name in ("type", "server_label", "allowed_tools")}])
    events = talk.steps()
    assert kinds(events)[1:3] == ["mcp_list_tools.in_progress", "mcp_list_tools.failed"]
    assert one(events, ev.ConversationItemDone).item.tools == []
