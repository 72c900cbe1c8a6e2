"""`ToolRunner` runs the functions that the model calls in a session, on threads of their own."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from .. import events as ev
from ..exceptions import ConnectionClosed
from ..session import Session
from ..session.latest import Latest
from ..visitor import Visitor
from .tools import Outcome, Tools, described, failed, rejection

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ApproveMcp", "ToolResult", "ToolRunner"]

_log = logging.getLogger("realtime_sync")
_ENDED_BADLY = {"cancelled", "failed", "incomplete"}
_REMEMBERED = 1024  # responses, and calls

ApproveMcp = Callable[[ev.McpApprovalRequest], bool | str]
"""A callback to decide on an MCP call: ``True`` allows it; ``False``, or the reason as text, rejects it."""


class ToolResult(Struct, frozen=True):
    """Describe a call that has ended, for display.

    Attributes:
        name: The tool's name, as the model wrote it.
        arguments: The arguments as JSON text, as the model wrote it.
        output: The text that the model reads.
        error: Why the call failed; ``None`` if it succeeded.
        seconds: Seconds from the beginning of the call to its end; 0 for MCP calls.
        call_id, response_id: The server's ids for the call and its response; ``""`` if there is none.
        server_label: The MCP server that ran it; ``None`` for a local function.
    """

    name: str
    arguments: str
    output: str
    error: str | None = None
    seconds: float = 0.0
    call_id: str = ""
    response_id: str = ""
    server_label: str | None = None


class _Turn(Struct):
    """Hold the state of a response: its calls, and which of them are pending.

    Attributes:
        open: The number of calls and approval requests that are not answered yet.
        asked: Whether there were any.
        mcp: Whether there were MCP calls, and no message of the model after them yet.
        begun: The number of MCP calls that the server runs, or is waiting to run.
        rejected: The number of rejected approval requests; their MCP calls may never end.
        left: Whether there were approval requests that this runner leaves to the user.
        status: How the response ended; ``""`` while it runs.
        followed: Whether the follow-up was requested.
        announced: Announced calls whose complete item has yet to arrive, by item id; their status is
            ``"incomplete"`` until the arguments are known.
        calls: The ``call_id`` and item id of each call that was begun.
    """

    open: int = 0
    asked: bool = False
    mcp: bool = False
    begun: int = 0
    rejected: int = 0
    left: bool = False
    status: str = ""
    followed: bool = False
    announced: Latest[ev.FunctionCall] = field(default_factory=lambda: Latest(_REMEMBERED))
    calls: deque[tuple[str | None, str | None]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def due(self) -> bool:
        """Return whether all calls are answered and the follow-up is to be requested."""
        ended_well = self.status != "" and self.status not in _ENDED_BADLY
        settled = self.open == 0 and self.begun <= self.rejected
        return ended_well and settled and (self.asked or self.mcp) and not self.left and not self.followed


class _Job(Struct, eq=False):
    """Hold a call or an MCP approval request in flight.  ``answered`` is true for an abandoned one too."""

    item: ev.FunctionCall | ev.McpApprovalRequest
    response_id: str
    turn: _Turn
    answered: bool = False
    began: float = 0.0
    timer: threading.Timer | None = None


class ToolRunner(Visitor[None]):
    """Run the functions that the model calls in a session, and decide which MCP calls the server may run.

    It is a visitor: pass it the session's events, alone or among `Visitors`.  A slow function doesn't delay
    them, since each call runs in a thread of its own, at most ``tools.workers`` at a time.  Once all calls
    of a response are answered and the response has ended, it requests the follow-up, once
    (``session.response.create(when_idle=True)``).

    * A call that fails in any way (an unknown function, invalid arguments, an exception, a rejected
      approval, a timeout) is answered with ``{"error": "..."}`` and logged.  The result of a function that
      returns after its timeout is discarded; its thread can't be stopped, but another one takes its place.
    * If a response ends cancelled, failed or incomplete, its calls are answered, but no follow-up is
      requested: usually the user has interrupted it and will get a response anyway.
    * Calls of an out-of-band response (``conversation="none"``) are left to you: they are not in the
      conversation, so their outputs can't be added there.
    * The server runs MCP tools itself, but doesn't continue after them by itself either: the follow-up is
      requested once they have ended, unless the same response goes on to a message.
    * If a server requests approval for an MCP call, ``approve_mcp`` is called in a thread and has
      ``tools.timeout`` seconds; after that the call is rejected.  Without ``approve_mcp``, the approval and
      the follow-up are left to you, and a warning is logged.
    * After the end of the session nothing is sent any more.

    Args:
        session: The session whose calls are answered.
        tools: The functions.  Announce them to the server yourself:
            ``session.update(tools=tools.definitions)``.
        approve_mcp: Called with each `events.McpApprovalRequest`: ``True`` allows the call; ``False``, or a
            text with the reason, rejects it.
        respond: Whether to request follow-ups; true by default.
        on_call: Called with the `ToolResult` of each call that has ended, MCP calls included, in the thread
            that answered it.  An exception that it raises is logged.

    Attributes:
        tools: The functions passed as ``tools``.

    Raises:
        TypeError: ``tools`` is not a `Tools`.
    """

    def __init__(
        self,
        session: Session,
        tools: Tools,
        *,
        approve_mcp: ApproveMcp | None = None,
        respond: bool = True,
        on_call: Callable[[ToolResult], object] | None = None,
    ) -> None:
        if not isinstance(tools, Tools):
            raise TypeError(f"tools must be Tools(function, ...), got {tools!r:.80}")
        self._session = session
        self.tools = tools
        self._approve_mcp = approve_mcp
        self._respond = respond
        self._on_call = on_call
        # Guards all that follows, between the thread with the events, the workers and the timers; never held
        # while sending or calling the user's functions.  It also wakes the threads in `wait`.
        self._changed = threading.Condition()
        self._turns: Latest[_Turn] = Latest(_REMEMBERED)  # by response id
        self._latest = ""  # the id of the response that began last
        self._mcp: Latest[_Turn] = Latest(_REMEMBERED)  # responses of MCP calls in flight, by item id
        self._seen: Latest[None] = Latest(_REMEMBERED)  # keys of what was handled already
        self._jobs: set[_Job] = set()  # not answered yet
        self._queue: deque[_Job] = deque()  # of these, the ones that wait for a worker
        self._busy = 0  # workers, without those whose call has timed out
        self._closed = False

    # --- Events --------------------------------------------------------------------------------------

    def visit_response_created(self, event: ev.ResponseCreated) -> None:
        """Handle ``response.created``: remember which response runs."""
        self._turn(event.response.id or "", begins=True)

    def visit_response_output_item_added(self, event: ev.ResponseOutputItemAdded) -> None:
        """Handle ``response.output_item.added``: note that a call begins."""
        item = event.item
        if isinstance(item, ev.McpCall):
            self._mcp_begins(item.id or "", event.response_id)
        elif isinstance(item, ev.FunctionCall) and (turn := self._turn(event.response_id)):
            turn.announced[item.id or ""] = replace(item, status="incomplete")

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        """Handle ``response.function_call_arguments.done``, the only event some servers send for a call."""
        if turn := self._turn(event.response_id):
            call = turn.announced.get(event.item_id) or ev.FunctionCall(
                id=event.item_id, name="", arguments=""
            )
            turn.announced[event.item_id] = replace(
                call,
                status="completed",
                call_id=event.call_id or call.call_id,
                name=event.name or call.name,  # Beta sends it with the item only
                arguments=event.arguments,
            )

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        """Handle ``response.mcp_call_arguments.done``: note that the server begins an MCP call."""
        self._mcp_begins(event.item_id, event.response_id)

    def visit_response_mcp_call_completed(self, event: ev.ResponseMcpCallCompleted) -> None:
        """Handle ``response.mcp_call.completed``: note the end of an MCP call."""
        self._mcp_ends(event.item_id)

    def visit_response_mcp_call_failed(self, event: ev.ResponseMcpCallFailed) -> None:
        """Handle ``response.mcp_call.failed``: note the end of an MCP call."""
        self._mcp_ends(event.item_id)

    def visit_mcp_list_tools_failed(self, event: ev.McpListToolsFailed) -> None:
        """Handle ``mcp_list_tools.failed``: log that the model lacks these tools."""
        _log.warning("the server could not list the tools of an MCP server (item %r)", event.item_id)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        """Handle ``response.output_item.done``: begin a call, or ask for its approval."""
        self._take(event.item, event.response_id)

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        """Handle ``conversation.item.done``: MCP approvals and results may arrive after their response."""
        item = event.item
        # Items that the user created, such as those of an earlier conversation, are history.
        with self._changed:
            begun = f"mcp {item.id}" in self._seen if isinstance(item, ev.McpCall) else False
        if begun or (isinstance(item, ev.McpApprovalRequest) and self._latest):
            self._take(item, self._latest)

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        """Handle ``response.done``: begin calls not seen before; request the follow-up if it is due."""
        response = event.response
        output = response.output or []
        if response.status not in _ENDED_BADLY:
            for item in output:
                self._take(item, response.id or "")
            if turn := self._turn(response.id or ""):
                for call in list(turn.announced.values()):
                    self._take(call, response.id or "")
        spoken = bool(output) and isinstance(output[-1], ev.Message)
        self._end(response.id or "", response.status or "completed", spoken)

    def visit_response_cancelled(self, event: ev.ResponseCancelled) -> None:
        """Handle ``response.cancelled``, which some servers send instead of ``response.done``."""
        response_id = event.response.id if event.response else event.response_id
        self._end(response_id or "", "cancelled")

    # --- Following the responses: in the thread with the events --------------------------------------

    def _turn(self, response_id: str, begins: bool = False) -> _Turn | None:
        """Return a response's state, making it if needed; ``None`` for an out-of-band response.

        A new one becomes the latest.

        Args:
            response_id: Its id; ``""`` stands for the latest.
            begins: Whether it begins just now, so that an ended one with the same id is another response.
        """
        if not begins:
            response_id = response_id or self._latest
        request = self._session.request_of(response_id)
        if request is not None and request.out_of_band:
            return None
        with self._changed:
            turn = self._turns.get(response_id)
            if turn is None or (begins and turn.status):  # some servers give all the same id, or none
                turn = self._turns.pop("", None)
                if turn is None or begins or turn.status:  # else it runs, and gets its id only now
                    turn = _Turn()
                self._turns[response_id] = turn
                self._latest = response_id
            return turn

    def _take(self, item: ev.Item, response_id: str) -> None:
        """Handle a complete item of a response, if it is a call or an approval request."""
        if not isinstance(item, ev.FunctionCall | ev.McpApprovalRequest | ev.McpCall):
            return
        response_id = response_id or self._latest
        turn = self._turn(response_id)
        if turn is None:
            if self._is_new("out-of-band"):
                _log.warning("not running %r: it was called by an out-of-band response", item.name)
        elif isinstance(item, ev.McpCall):
            self._mcp_begins(item.id or "", response_id)
            self._mcp_result(item, response_id)
        elif isinstance(item, ev.McpApprovalRequest):
            if self._is_new(f"question {item.id}"):
                self._ask(_Job(item, response_id, turn))
        else:
            turn.announced.pop(item.id or "", None)
            if item.status != "incomplete" and self._is_new_call(item, turn):
                self._submit(_Job(item, response_id, turn))

    def _is_new(self, key: str) -> bool:
        with self._changed:
            new = key not in self._seen
            self._seen[key] = None
        return new

    def _is_new_call(self, item: ev.FunctionCall, turn: _Turn) -> bool:
        """Return whether a call is new in its response: some servers restart ``call_id`` with each.

        The item's id identifies it if one of the events lacks the ``call_id``.
        """
        with self._changed:
            new = not any(
                item.call_id == call_id if item.call_id and call_id else item.id == item_id
                for call_id, item_id in turn.calls
            )
            if new:
                turn.calls.append((item.call_id, item.id))
        return new

    def _ask(self, job: _Job) -> None:
        """Handle a request for approval of an MCP call."""
        if self._approve_mcp is not None:
            self._submit(job)
            return
        job.turn.left = True
        _log.warning(
            "the server waits for approval of the MCP tool %r: pass approve_mcp= to ToolRunner, or create an "
            "McpApprovalResponse and request a response yourself",
            job.item.name,
        )

    def _mcp_begins(self, item_id: str, response_id: str) -> None:
        turn = self._turn(response_id)
        if turn is not None and self._is_new(f"mcp {item_id}"):
            with self._changed:
                self._mcp[item_id] = turn
                turn.begun += 1
                turn.mcp = True

    def _mcp_ends(self, item_id: str) -> None:
        with self._changed:
            turn = self._mcp.pop(item_id, None)
            if turn is not None:
                turn.begun -= 1
        if turn is not None:
            self._follow(turn)

    def _mcp_result(self, item: ev.McpCall, response_id: str) -> None:
        """Report how an MCP call ended, if it has."""
        if item.output is None and item.error is None:
            return
        if self._is_new(f"result {item.id}"):
            error = None if item.error is None else str(getattr(item.error, "message", item.error))
            if error is not None:
                _log.warning("the MCP tool %r of server %r failed: %r", item.name, item.server_label, error)
            self._tell(
                ToolResult(
                    item.name,
                    item.arguments,
                    item.output or "",
                    error,
                    response_id=response_id,
                    server_label=item.server_label,
                )
            )
        self._mcp_ends(item.id or "")

    def _end(self, response_id: str, status: str, spoken: bool = False) -> None:
        """Note the end of a response.

        Args:
            spoken: Whether it ended with a message, so that the model has used its MCP calls already.
        """
        turn = self._turn(response_id)
        if turn is None:
            return
        with self._changed:
            turn.status = turn.status or status
            turn.mcp = turn.mcp and not spoken
        self._follow(turn)

    def _follow(self, turn: _Turn) -> None:
        """Request the follow-up, if it is due."""
        with self._changed:
            if not turn.due or self._closed:
                return
            turn.followed = True
        if self._respond:
            self._send(lambda: self._session.response.create(when_idle=True))

    def _send(self, send: Callable[[], object]) -> None:
        try:
            send()
        except ConnectionClosed as closed:
            _log.debug("the session has ended, so no more calls are answered: %s", closed)
            self.close()

    def _tell(self, result: ToolResult) -> None:
        if self._on_call is None:
            return
        try:
            self._on_call(result)
        except Exception:
            _log.warning("the on_call= callback raised an exception", exc_info=True)

    # --- The workers -----------------------------------------------------------------------------------

    def _submit(self, job: _Job) -> None:
        """Start a job now, or queue it until a worker is free."""
        with self._changed:
            if self._closed:
                return
            job.turn.asked = True
            job.turn.open += 1
            self._jobs.add(job)
            if self._busy >= self.tools.workers:
                self._queue.append(job)
                return
            self._busy += 1
        self._start(job)

    def _start(self, job: _Job | None) -> None:
        """Start a worker with a job; if no thread can be started, fail the job and the queued ones."""
        while job is not None:
            # Runs jobs until the queue is empty.  A daemon, so that a hung tool can't keep the program alive.
            worker = threading.Thread(target=self._work, args=(job,), name="realtime_sync-tool", daemon=True)
            try:
                worker.start()
                return
            except RuntimeError as error:  # the system's limit of threads
                _log.warning("could not start a thread for %r: %s", job.item.name, error)
                failing, job = job, self._next()
                if self._claim(failing):
                    self._answer(failing, failed(described(error)))

    def _work(self, job: _Job) -> None:
        following: _Job | None = job
        while following is not None:
            following = self._do(following)

    def _do(self, job: _Job) -> _Job | None:
        """Do a job, and return the next; ``None`` if there is none, or another worker has taken over."""
        with self._changed:
            if job.answered:
                return None  # the runner was closed
            job.began = time.monotonic()
        outcome = self._outcome(job)
        if job.timer is not None:
            job.timer.cancel()
        if not self._claim(job):
            late = "the session or the runner was closed" if self._closed else "it had timed out"
            _log.info("%r ended after %s; its result is discarded", job.item.name, late)
            return None
        try:
            self._answer(job, outcome)
        except BaseException:  # such as SystemExit from on_call, which would only end this worker
            _log.warning("answering the call of %r failed", job.item.name, exc_info=True)
        return self._next()

    def _timeout_of(self, job: _Job) -> float | None:
        is_call = isinstance(job.item, ev.FunctionCall)
        return self.tools.timeout_of(job.item.name) if is_call else self.tools.timeout

    def _outcome(self, job: _Job) -> Outcome:
        try:
            self._limit(job)
            if isinstance(job.item, ev.FunctionCall):
                return self.tools.perform(job.item, job.response_id, lambda: not job.answered)
            assert self._approve_mcp is not None
            return Outcome("", rejection(self._approve_mcp, job.item, job.item.name))
        except BaseException as error:  # even KeyboardInterrupt: Ctrl-C reaches the main thread only
            _log.warning("the call of %r failed", job.item.name, exc_info=True)
            return failed(described(error))

    def _limit(self, job: _Job) -> None:
        """Start the timeout of a job."""
        seconds = self._timeout_of(job)
        with self._changed:
            if seconds is not None and not job.answered:
                # Answers in place of a job that takes too long.  It is a daemon, like this thread.
                job.timer = threading.Timer(seconds, self._expire, (job, seconds))
                job.timer.name = "realtime_sync-tool-timeout"
                job.timer.start()

    def _claim(self, job: _Job) -> bool:
        """Claim the right to answer a job; return False if another thread has it."""
        with self._changed:
            first = not job.answered
            job.answered = True
        return first

    def _next(self) -> _Job | None:
        """Return the next queued job for a worker that has become free; ``None`` if there is none."""
        with self._changed:
            if self._queue:
                return self._queue.popleft()
            self._busy -= 1
            return None

    def _expire(self, job: _Job, seconds: float) -> None:
        if not self._claim(job):
            return
        _log.warning("the call of %r timed out after %g s", job.item.name, seconds)
        self._start(self._next())
        self._answer(job, failed(f"it timed out after {seconds:g} s"))

    def _answer(self, job: _Job, outcome: Outcome) -> None:
        """Send the outcome of a job, and request the follow-up if it was the last."""
        item, turn = job.item, job.turn
        answer: ev.Item
        if isinstance(item, ev.FunctionCall):
            answer = ev.FunctionCallOutput(call_id=item.call_id or item.id or "", output=outcome.output)
        else:
            approved, reason = outcome.error is None, outcome.error
            answer = ev.McpApprovalResponse(
                approval_request_id=item.id or "", approve=approved, reason=reason
            )
        try:
            self._send(lambda: self._session.conversation.item.create(answer))
            with self._changed:
                turn.open -= 1
                turn.rejected += isinstance(item, ev.McpApprovalRequest) and outcome.error is not None
            self._follow(turn)
            self._tell_of(job, outcome)
        finally:
            with self._changed:
                self._jobs.discard(job)
                self._changed.notify_all()

    def _tell_of(self, job: _Job, outcome: Outcome) -> None:
        item = job.item
        if isinstance(item, ev.FunctionCall):
            seconds = time.monotonic() - job.began
            self._tell(
                ToolResult(
                    item.name,
                    item.arguments,
                    outcome.output,
                    outcome.error,
                    seconds,
                    item.call_id or "",
                    job.response_id,
                )
            )

    # --- The end ---------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Return how many calls and MCP approval requests are not answered yet."""
        with self._changed:
            return len(self._jobs)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all calls are answered.  It doesn't run the session: arriving events stay queued.

        Args:
            timeout: Seconds to wait at most; ``None`` (the default) waits without a limit.

        Returns:
            True if all are answered, or after `close`; False if the timeout expired.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout)

    def close(self) -> None:
        """Abandon all calls: begin and answer no more.  It doesn't wait for running functions.

        It may be called several times and from any thread.  The session stays open.
        """
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.answered = True
                if job.timer is not None:
                    job.timer.cancel()
            self._jobs.clear()
            self._changed.notify_all()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
