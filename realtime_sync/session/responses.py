"""Which response an event belongs to, which one is active, and which request it answers."""

from collections.abc import Callable

from .. import events as ev
from ..events import ServerEvent
from . import facts
from .calls import Calls, needs_follow_up
from .facts import Fact, ItemEntry, Request, ResponseEntry
from .items import MOST_INDEX, Items, as_id, is_id
from .latest import Latest
from .requests import Pending, Requests

__all__ = ["Responses"]

_REMEMBERED = 256  # responses
_BADLY = ("cancelled", "failed", "incomplete", "lost")
_LOST = "the connection was lost while it ran"


class Responses:
    """The responses of one session.

    Args:
        tell: Called with each fact.
        count: Called with an event and what is wrong with it.
        requests, items, calls: Those of the session.
        has_requests: Whether it is known what was requested; see `Ledger`.

    Attributes:
        active: The response that runs in the conversation; ``None`` if none does.
        latest: The response that began last.
        owed: The server has taken a turn of the user and will begin a response by itself, but has not yet.
        cancels: The cancellations that are to be sent, because a response began that is not wanted.
        max_rounds: Rounds of tool calls in a row, without a word of the user, after which the model no longer
            goes on; ``None`` = any number.
    """

    def __init__(
        self,
        tell: Callable[[Fact], object],
        count: Callable[[ServerEvent, str], object],
        requests: Requests,
        items: Items,
        calls: Calls,
        *,
        has_requests: bool,
    ) -> None:
        self._tell = tell
        self._count = count
        self._requests = requests
        self._items = items
        self._calls = calls
        self._has_requests = has_requests
        self.active: ResponseEntry | None = None
        self.latest: ResponseEntry | None = None
        self.owed = False
        self.cancels: list[ev.ResponseCancel] = []
        self.max_rounds: int | None = None
        self._rounds = 0
        self._is_turn_over = False  # so that the next response begins with the first round
        self._has_spoken = False  # the user has, since the last response began
        self._is_unannounced = False  # a response runs that was not announced: it made a request fail
        self._is_stalled = False  # what runs delays pending requests no longer
        self._begun: list[ResponseEntry] = []  # in this order
        self._by_id: Latest[str, ResponseEntry] = Latest(2 * _REMEMBERED)  # by each id that they have had
        self._running: list[ResponseEntry] = []  # in the order in which they began
        self._cancelled = 0  # number of responses that were cancelled as they began

    @property
    def is_running(self) -> bool:
        """Whether a response runs, in the conversation or not."""
        return bool(self._running)

    def get(self, response_id: str) -> ResponseEntry | None:
        """Return the response with this id, the latest if a server has reused it; ``None`` = unknown."""
        return self._by_id.get(response_id)

    # --- Requests ------------------------------------------------------------------------------------------

    def user_wrote(self) -> None:
        """Note that the user wrote or spoke, so that the rounds of tool calls begin anew."""
        self._rounds, self._has_spoken = 0, True

    def requeued(self) -> None:
        """Note that a request is pending again, because it was rejected while a response is active."""
        self._is_unannounced = self.active is None

    def ask_when_idle(self, pending: Pending) -> bool:
        """Note a request; return True if it must be sent now, False if it is pending."""
        if not self.is_idle or self._requests.pending:
            self._requests.pending.append(pending)
            return False
        self._requests.note_asked(Request(pending.event.event_id or ""), pending)
        return True

    def next_request(self) -> Pending | None:
        """Return the next pending request if no response is active; it is to be sent now."""
        if not self._requests.pending or not self.is_idle:
            return None
        pending = self._requests.pending.popleft()
        self._requests.note_asked(Request(pending.event.event_id or ""), pending)
        self._is_stalled = False
        return pending

    def may_cancel(self, event_id: str, response_id: str | None) -> bool:
        """Return whether a response may be active.  If so, a rejection of ``event_id`` is not an error.

        If one was requested and has not begun, it will be cancelled when it begins.
        """
        if response_id is None:
            possible = not self.is_idle
        else:
            response = self._by_id.get(response_id)
            possible = response is None or not response.done
        if possible:
            self._requests.note_cancel(event_id, response_id)
        return possible

    @property
    def is_idle(self) -> bool:
        """Whether no response is active in the conversation, nor requested."""
        runs = self.active is not None or self._is_unannounced or self._requests.waits
        return self._is_stalled or not runs

    def stall(self) -> None:
        """Let the next pending request no longer wait: nothing came of what runs for a long time."""
        self._is_stalled = True

    # --- Their beginning -----------------------------------------------------------------------------------

    def created(self, event: ev.ResponseCreated) -> None:
        """Note that a response begins; some servers give all responses the same id, or none."""
        response_id = as_id(event.response.id)
        self._requests.names_conversations |= event.response.conversation_id is not None
        known = self._by_id.get(response_id)
        if known is None or known.done or not response_id or (known.announced and known.items):
            known = self.begin(response_id, event.response, announced=True)
        else:
            self._count(event, "repeated")
            self._place(known, event.response)
        known.announced = True

    def begin(self, response_id: str, wire: ev.Response, *, announced: bool = False) -> ResponseEntry:
        """Make a response, and find the request that it answers.

        Args:
            response_id: Its id; ``""`` = not known.
            wire: What the server says of it.
            announced: Whether ``wire`` tells its conversation, and not only by chance.
        """
        before = self._by_id.get(response_id)
        if before is not None and not before.done:  # its end was left out, since its id is used again
            self._end_unsaid(before)
        asked = self._requests.take_answered(wire.conversation_id, announced=announced)
        again = None if asked is None else asked.repeats
        is_new = again is None or again.done  # else it was lost, and this takes its place
        response = ResponseEntry(response_id) if again is None or again.done else again
        response.id = response_id
        self.owed = False
        if asked is not None:
            response.request, response.out_of_band = asked.own_request, asked.request.out_of_band
            self._requests.note_answer(asked, response)
        elif self._has_requests:
            response.out_of_band = announced and self._requests.is_out_of_band(wire.conversation_id)
        else:
            response.out_of_band = not wire.conversation_id
        if not response.out_of_band:
            if self.active is not None:
                self._end_unsaid(self.active)
            self.active, self._is_unannounced, self._is_stalled = response, False, False
            self._rounds = 0 if self._is_turn_over else self._rounds
        self._by_id.pop(response_id, None)
        self._by_id[response_id] = self.latest = response
        if is_new:
            self._begun.append(response)
            self._forget_oldest()
        self._running.append(response)
        del self._running[:-_REMEMBERED]
        self._has_spoken = False
        self._tell(facts.ResponseBegan(response, wire))
        if asked is not None and asked.unwanted is not None:
            response.unwanted = True
            self._cancel(response, asked.unwanted)
        return response

    def _forget_oldest(self) -> None:
        """Forget the oldest response that has ended, or else the oldest, if there are too many."""
        if len(self._begun) <= _REMEMBERED:
            return
        oldest = next((each for each in self._begun if each.done), self._begun[0])
        self._begun.remove(oldest)
        oldest.items.clear()  # by their response, all would stay as long as one of them is known
        if self._by_id.get(oldest.id) is oldest:
            del self._by_id[oldest.id]

    def _place(self, response: ResponseEntry, wire: ev.Response) -> None:
        if wire.conversation_id:
            self.joined(response)

    def joined(self, response: ResponseEntry) -> None:
        """Note that a response is in the conversation after all, unless we have asked for the opposite."""
        if response.request is not None or not response.out_of_band:
            return
        response.out_of_band = False
        if not response.done and self.active is None:
            self.active = response

    def unmatched(self, response: ResponseEntry) -> None:
        """Note that a response answers another request than it seemed, or none, being the server's own."""
        if response.request is None:
            self.joined(response)
        else:
            response.out_of_band = response.request.out_of_band

    def _cancel(self, response: ResponseEntry, wish: str) -> None:
        """Cancel a response whose cancellation was requested before it began, perhaps too early."""
        self._cancelled += 1
        event_id = f"{wish}_{self._cancelled}"
        self._requests.note_cancel(event_id, response.id)
        self.cancels.append(ev.ResponseCancel(response_id=response.id or None, event_id=event_id))

    def named(self, response_id: str, event: ServerEvent) -> ResponseEntry | None:
        """Return the response that an id in an event stands for, if it is known.

        Without an id it is the one that began last, if it runs.  A response that began without an id gets it
        from the first event that has one.
        """
        response = self._by_id.get(response_id) if is_id(response_id) else None
        last = self._running[-1] if self._running else None
        if response is not None or last is None:
            return response
        if not is_id(response_id):
            return last
        if last.id:
            return None
        self._count(event, "late id")
        last.id = response_id
        self._by_id[response_id] = last
        return last

    def meant(self, response_id: str, event: ServerEvent, item_id: str | None = None) -> ResponseEntry:
        """Return the same, begun now if it is unknown; or if it has ended, and this is a new item's event.

        Where all responses have the same id, that is the next one, whose beginning was not announced.
        """
        response = self.named(response_id, event)
        if response is not None and response.status and self._is_next(item_id, event):
            response = None
        if response is None:
            self._count(event, "unknown response")
            response_id = as_id(response_id)
            response = self.begin(response_id, ev.Response(id=response_id))
        return response

    def _is_next(self, item_id: str | None, event: ServerEvent) -> bool:
        """Return whether an event that names an ended response is about the next one of that id.

        It begins an item, or is about a new one while a response is expected: an ended one has told of all.
        """
        item = self._items.get(item_id) if item_id is not None else None
        is_new = item is None or item.response is None
        if isinstance(event, ev.ResponseOutputItemAdded):
            return is_new or (item is not None and item.done)
        return is_new and (self._requests.in_flight or self._has_spoken)

    # --- Their end -----------------------------------------------------------------------------------------

    def end(self, wire: ev.Response, event: ev.ResponseDone | ev.ResponseCancelled) -> None:
        response = self._ended(wire, event)
        if response is None:
            return
        if response.status and isinstance(event, ev.ResponseCancelled):
            self._count(event, "repeated")
            return
        self._place(response, wire)
        status = wire.status if wire.status and wire.status != "in_progress" else "completed"
        self._list(response, wire.output or [], status, event)
        self._conclude(response, wire, status)

    def _ended(
        self, wire: ev.Response, event: ev.ResponseDone | ev.ResponseCancelled
    ) -> ResponseEntry | None:
        """Return the response that has ended, begun now if its beginning was not announced."""
        if not as_id(wire.id):
            self._count(event, "response without id")
        response = self.named(as_id(wire.id), event)
        last = self._running[-1] if self._running else None
        if response is None and last is not None and not last.announced and self._expects_nothing:
            self._count(event, "another id")
            response = last
        if response is not None and not (wire.id or wire.status or not response.id):
            return None  # this server names its responses: such an event says nothing
        if response is not None and not (response.done and self._is_another(wire)):
            return response
        is_done = isinstance(event, ev.ResponseDone) and wire.status in _BADLY
        is_ours = is_done or self._has_spoken or self._requests.has_sent("response.cancel")
        if wire.id or wire.output or (is_ours and wire.status in _BADLY and self._requests.waits):
            return self.begin(as_id(wire.id), wire, announced=True)
        # It may end any response.  No request is abandoned for it, but pending ones wait no longer.
        self._is_unannounced = False
        self._requests.doubt()
        return None

    @property
    def _may_go_on(self) -> bool:
        return self.max_rounds is None or self._rounds < self.max_rounds

    def goes_on_after_all(self, response: ResponseEntry) -> bool:
        """Return whether the model goes on after a response that has ended and asks for approval only now."""
        if response.status != "completed":
            return False
        self._rounds += self._is_turn_over  # else it counts already
        self._is_turn_over = False
        return self._may_go_on

    @property
    def _expects_nothing(self) -> bool:
        """Whether an end that comes now can be that of nothing but the response that runs."""
        return self._has_requests and not self._requests.waits

    def _is_another(self, wire: ev.Response) -> bool:
        """Return whether a response with the id of an ended one is another: it lists items that are new."""
        names = [getattr(item, "id", None) for item in wire.output or ()]
        return any(is_id(name) and self._items.get(name) is None for name in names)

    def _end_unsaid(self, response: ResponseEntry) -> None:
        """End a response that the server has not ended, although it began the next one."""
        whole = bool(response.items) and all(item.done for item in response.items)
        status = "completed" if whole else "failed" if response.error is not None else "incomplete"
        self._conclude(response, ev.Response(id=response.id), status, unsaid=True)

    # --- Another connection --------------------------------------------------------------------------------

    @property
    def running(self) -> tuple[ResponseEntry, ...]:
        """The responses that run, in the order in which they began."""
        return tuple(self._running)

    def lost(self, response: ResponseEntry, status: str) -> None:
        """End a response that was lost with its connection: it counts as completed if a call can go on."""
        details = ev.ResponseStatusDetails(reason=_LOST) if status == "lost" else None
        self._conclude(response, ev.Response(id=response.id, status=status, status_details=details), status)

    def restart(self, response: ResponseEntry) -> None:
        """Ask again for a response that was lost with its connection; the same entry stands for both."""
        self._running.remove(response)
        if response is self.active:
            self.active = None
        response.items, response.announced, response.error = [], False, None
        self._tell(facts.ResponseRestarted(response))
        self._requests.repeat(response)

    def reconnected(self) -> None:
        """Begin with another connection: nothing runs there; ask for the response that was owed."""
        self._is_unannounced = self._is_stalled = False
        self.cancels.clear()
        if self.owed:
            self.owed = False
            self._requests.repeat(None)

    def _list(
        self,
        response: ResponseEntry,
        output: list[ev.Item],
        status: str,
        event: ev.ResponseDone | ev.ResponseCancelled,
    ) -> None:
        """Take over the items that a finished response lists, in their order."""
        listed: dict[ItemEntry, None] = {}
        names = {getattr(each, "id", None) for each in output}
        for index, wire in enumerate(output[:MOST_INDEX]):
            self._items.at_place(wire, index, response, event, names)
            item = self._items.known(wire, event, response)
            if item is not None and self._items.attach(item, response, event):
                self._items.absorb(item, wire, event)
                listed[item] = None
                if status not in _BADLY:
                    self._calls.take(wire, response, item)
        response.items = [*listed, *(item for item in response.items if item not in listed)][:MOST_INDEX]

    def _conclude(
        self, response: ResponseEntry, wire: ev.Response, status: str, *, unsaid: bool = False
    ) -> None:
        """Mark a response as ended, and tell how."""
        if status not in _BADLY:
            for item in response.items:
                self._calls.tell_made(item)
        details = wire.status_details
        error: ev.ResponseError | ev.ErrorDetails | None = details.error if details else None
        if error is None and status == "failed":
            error = response.error
        reason = (details and details.reason) or (error and (error.message or error.code)) or None
        repeated, again = bool(response.status), response.done
        wanted = not repeated and not response.unwanted
        goes_on = status == "completed" and wanted and needs_follow_up(response.items)
        if not response.out_of_band and not again:
            self._rounds += goes_on
            self._is_turn_over = not goes_on
        if goes_on and not response.out_of_band and not self._may_go_on:
            goes_on = False
            reason = f"max_rounds: {self._rounds} rounds of tool calls without a word of the user"
        items = tuple(response.items)
        self._tell(
            facts.ResponseEnded(response, wire, status, reason, error, items, goes_on, repeated=repeated)
        )
        response.status = response.status or ("" if unsaid else status)
        response.done = True
        for item in response.items:
            item.done = True
            item.deltas.clear()
        if status == "cancelled" and reason != "turn_detected":  # that is the server's own
            self._requests.note_done("response.cancel")
        if response in self._running:
            self._running.remove(response)
        if response is self.active:
            self.active = None
        if not response.out_of_band:
            self._is_unannounced = self._is_stalled = False
