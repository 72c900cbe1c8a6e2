"""Which calls of tools a response makes, and which of them are complete."""

from collections.abc import Callable

from .. import events as ev
from . import facts
from .facts import Fact, ItemEntry, ResponseEntry
from .latest import Latest

__all__ = ["Calls", "needs_follow_up"]

_REMEMBERED = 1024  # MCP calls and approval requests
_ASKING = ("function_call", "mcp_approval_request")  # the model continues once these are answered


class Calls:
    """The calls of one session.

    Args:
        tell: Called with each fact.
    """

    def __init__(self, tell: Callable[[Fact], object]) -> None:
        self._tell = tell
        self._mcp: Latest[ItemEntry, ResponseEntry] = Latest(_REMEMBERED)  # those that run
        self.open: Latest[str, None] = Latest(_REMEMBERED)  # the call_ids of calls without an output
        self._told: Latest[tuple[str, ItemEntry], None] = Latest(_REMEMBERED)  # facts that are told once

    def has_told(self, kind: str, item: ItemEntry) -> bool:
        """Return whether a response has begun this MCP call, or asked for this approval."""
        return (kind, item) in self._told

    def take(self, wire: ev.Item, response: ResponseEntry, item: ItemEntry, *, goes_on: bool = False) -> None:
        """Take a complete item of a response: a call is to be run, an approval request to be answered.

        Args:
            wire, response, item: The item.
            goes_on: The response has ended already, and the model goes on once its request is answered.
        """
        if isinstance(wire, ev.FunctionCall):
            if wire.status == "incomplete":
                item.arguments = None
                item.deltas.clear()
            else:
                item.arguments = wire.arguments or item.arguments or "".join(item.deltas)
                self.tell_made(item)
        elif isinstance(wire, ev.McpApprovalRequest):
            if self._is_new("approval", item):
                self._tell(facts.ApprovalAsked(response, wire, goes_on))
        elif isinstance(wire, ev.McpCall):
            self.begin_mcp(response, item)
            if wire.output is not None or wire.error is not None:
                if self._is_new("result", item):
                    self._tell(facts.McpResult(response, wire))
                self.end_mcp(item)

    def tell_made(self, item: ItemEntry) -> None:
        """Tell of a call whose arguments are complete, once."""
        if item.type != "function_call" or item.called or item.response is None:
            return
        if item.arguments is None and not item.deltas:
            return
        item.called = True
        arguments = "".join(item.deltas) if item.arguments is None else item.arguments
        call = ev.FunctionCall(
            id=item.id or None, name=item.name, call_id=item.call_id or None, arguments=arguments
        )
        self.open[item.call_id] = None
        self._tell(facts.CallMade(item, call))

    def begin_mcp(self, response: ResponseEntry, item: ItemEntry) -> None:
        """Note that the server begins to run an MCP call."""
        if self._is_new("mcp", item):
            self._mcp[item] = response
            self._tell(facts.McpCall(response, item))

    def end_mcp(self, item: ItemEntry) -> None:
        """Note that the server has ended an MCP call."""
        response = self._mcp.pop(item, None)
        if response is not None:
            self._tell(facts.McpCall(response, item, ended=True))

    def abandon_mcp(self) -> None:
        """Note that the MCP calls that run have ended with their connection."""
        for item in tuple(self._mcp):
            self.end_mcp(item)

    def _is_new(self, kind: str, item: ItemEntry) -> bool:
        new = not self.has_told(kind, item)
        self._told[kind, item] = None
        return new


def needs_follow_up(items: list[ItemEntry]) -> bool:
    """Return whether the model goes on after a response with these items, once its calls are answered."""
    kinds = [item.type for item in items if item.called or item.type != "function_call"]
    return any(kind in _ASKING for kind in kinds) or ("mcp_call" in kinds and kinds[-1] != "message")
