"""The tools of an MCP server, listed when a client names the server."""

from collections.abc import Generator

from ... import events as ev
from ...events import ServerEvent
from .history import History, Kept
from .ids import NEW, Ids
from .steps import no_steps

__all__ = ["Listing"]


class Listing:
    """One listing in flight.

    No server is asked: it offers what the client allows by name (``allowed_tools``), each taking any
    arguments.  A server without an address (``server_url``, ``connector_id`` or ``tunnel_id``) fails.

    Attributes:
        over: It has returned all its events.
    """

    ready = True

    def __init__(self, ids: Ids, tool: ev.McpTool, history: History) -> None:
        self.over = False
        self._item_id = ids("mcpl")
        self._tool = tool
        self._history = history
        self._steps = self._run()

    def step(self) -> list[ServerEvent]:
        events = next(self._steps)
        if self.over:
            self.close()
        return events

    def close(self) -> None:
        """Let go of the steps, which hold this object."""
        self._steps.close()
        self._steps = no_steps()

    def _run(self) -> Generator[list[ServerEvent], None, None]:
        empty = self._item([])
        previous = self._history.add(Kept(self._item_id, empty))
        yield [
            ev.ConversationItemAdded(event_id=NEW, previous_item_id=previous, item=empty),
            ev.McpListToolsInProgress(event_id=NEW, item_id=self._item_id),
        ]
        self.over = True
        tool = self._tool
        reachable = tool.server_url or tool.connector_id or tool.tunnel_id
        kind = ev.McpListToolsCompleted if reachable else ev.McpListToolsFailed
        ended: ServerEvent = kind(event_id=NEW, item_id=self._item_id)
        if self._history.find(self._item_id) is None:  # the client has deleted it in the meantime
            yield [ended]
            return
        whole = self._item(self._offered() if reachable else [])
        self._history.replace(self._item_id, item=whole)
        previous = self._history.previous(self._item_id)
        yield [
            ended,
            ev.ConversationItemDone(event_id=NEW, previous_item_id=previous, item=whole),
        ]

    def _offered(self) -> list[ev.McpListedTool]:
        allowed = self._tool.allowed_tools
        names = allowed.tool_names if isinstance(allowed, ev.McpToolFilter) else allowed
        return [ev.McpListedTool(name=name, input_schema={"type": "object"}) for name in names or ()]

    def _item(self, tools: list[ev.McpListedTool]) -> ev.McpListTools:
        return ev.McpListTools(
            id=self._item_id,
            object="realtime.item",
            server_label=self._tool.server_label,
            tools=tools,
        )
