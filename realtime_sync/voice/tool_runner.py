"""`ToolRunner`: runs the functions that the model calls in a session, on threads of their own."""

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
from .tools import Outcome, Tools, described, failed, refusal

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ApproveMcp", "ToolResult", "ToolRunner"]

_log = logging.getLogger("realtime_sync")
_ENDED_BADLY = {"cancelled", "failed", "incomplete"}
_REMEMBERED = 1024  # of responses, and of calls

ApproveMcp = Callable[[ev.McpApprovalRequest], bool | str]
"""Says whether an MCP server's tool may be called: ``True``; ``False``, or a text that says why not."""


class ToolResult(Struct, frozen=True):
    """A call that has ended, for display.

    Attributes:
        name: The function's name, as the model gave it.
        arguments: JSON text, as the model wrote it.
        output: What the model gets to read.
        error: Why it failed, or ``None``.
        seconds: From the beginning of the call to its end.
        call_id, response_id: The server's names for it; ``""`` if there is none.
        server_label: The MCP server that ran it; ``None`` for a function of ours.
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
    """A response: what it asked for, and how far that is.

    Attributes:
        open: Calls and questions that are not answered yet.
        asked: There were some.
        mcp: There were MCP calls, and as far as is known the model has not spoken after them.
        begun: MCP calls that the server still runs, or wants to.
        refused: Questions answered with no, whose MCP calls need not end.
        left: There were questions that nobody here answers.
        status: How the response ended; ``""`` as long as it runs.
        followed: The next response was asked for.
        told: Calls whose item is still to come, by its id; ``"incomplete"`` until their arguments are known.
        calls: Those that were taken, by ``call_id`` and item id.
    """

    open: int = 0
    asked: bool = False
    mcp: bool = False
    begun: int = 0
    refused: int = 0
    left: bool = False
    status: str = ""
    followed: bool = False
    told: Latest[ev.FunctionCall] = field(default_factory=lambda: Latest(_REMEMBERED))
    calls: deque[tuple[str | None, str | None]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def due(self) -> bool:
        """All is answered, and the model may go on."""
        ended_well = self.status != "" and self.status not in _ENDED_BADLY
        settled = self.open == 0 and self.begun <= self.refused
        return ended_well and settled and (self.asked or self.mcp) and not self.left and not self.followed


class _Job(Struct, eq=False):
    """One call, or one question about an MCP call, on its way.  ``answered``: or given up."""

    item: ev.FunctionCall | ev.McpApprovalRequest
    response_id: str
    turn: _Turn
    answered: bool = False
    began: float = 0.0
    timer: threading.Timer | None = None


class ToolRunner(Visitor[None]):
    """Runs the functions that the model calls in a session, and says which MCP tools the server may run.

    A visitor: give it the session's events, with others in `Visitors`.  A slow function never holds them
    up, for each call runs in a thread of its own, ``tools.workers`` of them at a time.  When all calls of a
    response are answered and the response has ended, it asks for the next one, once
    (``session.response.create(when_idle=True)``).

    * A call that fails in any way (no such function, arguments that don't fit, an exception, a refused
      approval, a timeout) is answered with ``{"error": "..."}`` and logged.  What a function returns after
      its timeout is thrown away; its thread can't be stopped, but takes no other call's place.
    * A response that ended cancelled, failed or incomplete gets the outputs of what was called, but no
      response is asked for: as a rule the user has interrupted, and will be answered.
    * What a response beside the conversation (``conversation="none"``) calls is left to you, since its
      calls are not in the conversation and can't be answered there.
    * MCP tools are run by the server, which doesn't go on by itself after them either: the next response is
      asked for when they have ended, unless the same response has gone on to speak.
    * Where a server asks for approval, ``approve_mcp`` is asked, in a thread, and has ``tools.timeout``
      seconds to answer; then it is a no.  Without it the question is left to you, and so is the next
      response; a warning in the log says so.
    * Anything sent after the session's end is thrown away.

    Args:
        session: Where to answer.
        tools: The functions.  That the server knows them is up to you:
            ``session.update(tools=tools.definitions)``.
        approve_mcp: Says of an `events.McpApprovalRequest` whether the tool may run: ``True``, ``False``,
            or a text that says why not.
        respond: Whether to ask for the next response.
        on_call: Told of every call that was answered, MCP calls too, in the thread where it was.

    Attributes:
        tools: As given.

    Raises:
        TypeError: ``tools`` is something else.
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
            raise TypeError(f"expected Tools(function, ...), not {tools!r:.80}")
        self._session = session
        self.tools = tools
        self._approve_mcp = approve_mcp
        self._respond = respond
        self._on_call = on_call
        # Guards all that follows, between the thread with the events, the workers and the timers; never held
        # while sending or calling anybody.  Those in `wait` wait on it.
        self._changed = threading.Condition()
        self._turns: Latest[_Turn] = Latest(_REMEMBERED)  # by response id
        self._latest = ""  # the response that began last
        self._mcp: Latest[_Turn] = Latest(_REMEMBERED)  # MCP calls that are not over, by item id
        self._seen: Latest[None] = Latest(_REMEMBERED)  # what was dealt with
        self._jobs: set[_Job] = set()  # not answered yet
        self._queue: deque[_Job] = deque()  # of these, what waits for a worker
        self._busy = 0  # workers, without those whose call has timed out
        self._closed = False

    # --- What the server says ------------------------------------------------------------------------

    def visit_response_created(self, event: ev.ResponseCreated) -> None:
        """Remember which response runs."""
        self._turn(event.response.id or "", begins=True)

    def visit_response_output_item_added(self, event: ev.ResponseOutputItemAdded) -> None:
        """Note that a call begins."""
        item = event.item
        if isinstance(item, ev.McpCall):
            self._mcp_begins(item.id or "", event.response_id)
        elif isinstance(item, ev.FunctionCall) and (turn := self._turn(event.response_id)):
            turn.told[item.id or ""] = replace(item, status="incomplete")

    def visit_response_function_call_arguments_done(
        self, event: ev.ResponseFunctionCallArgumentsDone
    ) -> None:
        """Note a call: there are servers that tell of it nowhere else."""
        if turn := self._turn(event.response_id):
            call = turn.told.get(event.item_id) or ev.FunctionCall(id=event.item_id, name="", arguments="")
            turn.told[event.item_id] = replace(
                call,
                status="completed",
                call_id=event.call_id or call.call_id,
                name=event.name or call.name,  # Beta says it with the item only
                arguments=event.arguments,
            )

    def visit_response_mcp_call_arguments_done(self, event: ev.ResponseMcpCallArgumentsDone) -> None:
        """Note that the server begins an MCP call."""
        self._mcp_begins(event.item_id, event.response_id)

    def visit_response_mcp_call_completed(self, event: ev.ResponseMcpCallCompleted) -> None:
        """Note the end of an MCP call."""
        self._mcp_ends(event.item_id)

    def visit_response_mcp_call_failed(self, event: ev.ResponseMcpCallFailed) -> None:
        """Note the end of an MCP call."""
        self._mcp_ends(event.item_id)

    def visit_mcp_list_tools_failed(self, event: ev.McpListToolsFailed) -> None:
        """Log it: the model does without these tools."""
        _log.warning("the server could not list the tools of an MCP server (item %r)", event.item_id)

    def visit_response_output_item_done(self, event: ev.ResponseOutputItemDone) -> None:
        """Begin a call, or ask about one."""
        self._take(event.item, event.response_id)

    def visit_conversation_item_done(self, event: ev.ConversationItemDone) -> None:
        """Ask about an MCP call, or note its end: both may come after the response."""
        item = event.item
        # What the user has put into the conversation, such as the items of an earlier one, is history.
        with self._changed:
            begun = f"mcp {item.id}" in self._seen if isinstance(item, ev.McpCall) else False
        if begun or (isinstance(item, ev.McpApprovalRequest) and self._latest):
            self._take(item, self._latest)

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        """Begin what was missed, and ask for the next response if all is answered."""
        response = event.response
        output = response.output or []
        if response.status not in _ENDED_BADLY:
            for item in output:
                self._take(item, response.id or "")
            if turn := self._turn(response.id or ""):
                for call in list(turn.told.values()):
                    self._take(call, response.id or "")
        spoken = bool(output) and isinstance(output[-1], ev.Message)
        self._end(response.id or "", response.status or "completed", spoken)

    def visit_response_cancelled(self, event: ev.ResponseCancelled) -> None:
        """The same as ``response.done`` with that status, from some servers."""
        response_id = event.response.id if event.response else event.response_id
        self._end(response_id or "", "cancelled")

    # --- What becomes of it: in the thread with the events -------------------------------------------

    def _turn(self, response_id: str, begins: bool = False) -> _Turn | None:
        """A response by its id (``""``: the latest), perhaps new; ``None`` for one beside the conversation.

        One that is new is the latest from then on.

        Args:
            begins: It begins just now, so it is another one than any of that name that has ended.
        """
        if not begins:
            response_id = response_id or self._latest
        request = self._session.request_of(response_id)
        if request is not None and request.out_of_band:
            return None
        with self._changed:
            turn = self._turns.get(response_id)
            if turn is None or (begins and turn.status):  # some servers name all alike, or none
                turn = self._turns.pop("", None)
                if turn is None or begins or turn.status:  # else it runs, and is named only now
                    turn = _Turn()
                self._turns[response_id] = turn
                self._latest = response_id
            return turn

    def _take(self, item: ev.Item, response_id: str) -> None:
        """An item of a response is complete."""
        if not isinstance(item, ev.FunctionCall | ev.McpApprovalRequest | ev.McpCall):
            return
        response_id = response_id or self._latest
        turn = self._turn(response_id)
        if turn is None:
            if self._is_new("beside"):
                _log.warning("%r was called beside the conversation: such calls are not run", item.name)
        elif isinstance(item, ev.McpCall):
            self._mcp_begins(item.id or "", response_id)
            self._mcp_result(item, response_id)
        elif isinstance(item, ev.McpApprovalRequest):
            if self._is_new(f"question {item.id}"):
                self._ask(_Job(item, response_id, turn))
        else:
            turn.told.pop(item.id or "", None)
            if item.status != "incomplete" and self._is_new_call(item, turn):
                self._submit(_Job(item, response_id, turn))

    def _is_new(self, key: str) -> bool:
        with self._changed:
            new = key not in self._seen
            self._seen[key] = None
        return new

    def _is_new_call(self, item: ev.FunctionCall, turn: _Turn) -> bool:
        """Whether it was not taken yet in this response: some servers count the calls of each anew.

        The item's own id tells where the server once leaves out the ``call_id``.
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
        """The server asks about an MCP call."""
        if self._approve_mcp is not None:
            self._submit(job)
            return
        job.turn.left = True
        _log.warning(
            "the server waits for approval of the MCP tool %r: give ToolRunner an approve_mcp=, or answer "
            "with an McpApprovalResponse and ask for a response yourself",
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
        """Tell how an MCP call ended, if it has."""
        if item.output is None and item.error is None:
            return
        if self._is_new(f"result {item.id}"):
            error = None if item.error is None else str(getattr(item.error, "message", item.error))
            if error is not None:
                _log.warning("the MCP tool %r of %r failed: %r", item.name, item.server_label, error)
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
        """A response has ended.  ``spoken``: with words, so that MCP calls before them were made use of."""
        turn = self._turn(response_id)
        if turn is None:
            return
        with self._changed:
            turn.status = turn.status or status
            turn.mcp = turn.mcp and not spoken
        self._follow(turn)

    def _follow(self, turn: _Turn) -> None:
        """Ask for the next response, if it is time."""
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
            _log.debug("nothing more can be answered: %s", closed)
            self.close()

    def _tell(self, result: ToolResult) -> None:
        if self._on_call is None:
            return
        try:
            self._on_call(result)
        except Exception:
            _log.warning("what is told of calls (on_call) failed", exc_info=True)

    # --- The workers -----------------------------------------------------------------------------------

    def _submit(self, job: _Job) -> None:
        """Have a job done: now, or when a worker is free."""
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
        """Have a new worker begin with a job; if there can be none, it has failed, and so has what waits."""
        while job is not None:
            # Runs jobs until none waits.  A daemon, so that a hung tool doesn't keep the program from ending.
            worker = threading.Thread(target=self._work, args=(job,), name="realtime_sync-tool", daemon=True)
            try:
                worker.start()
                return
            except RuntimeError as error:  # the system gives us no more threads
                _log.warning("%r could not be begun: %s", job.item.name, error)
                failing, job = job, self._next()
                if self._claim(failing):
                    self._answer(failing, failed(described(error)))

    def _work(self, job: _Job) -> None:
        following: _Job | None = job
        while following is not None:
            following = self._do(following)

    def _do(self, job: _Job) -> _Job | None:
        """Do a job, and give the next; ``None`` if there is none, or another worker has taken over."""
        with self._changed:
            if job.answered:
                return None  # closed
            job.began = time.monotonic()
        outcome = self._outcome(job)
        if job.timer is not None:
            job.timer.cancel()
        if not self._claim(job):
            late = "the session or the runner was closed" if self._closed else "it had timed out"
            _log.info("%r ended after %s; what it gave is thrown away", job.item.name, late)
            return None
        try:
            self._answer(job, outcome)
        except BaseException:  # SystemExit from on_call, say: it would end nothing but this worker
            _log.warning("the answer to %r failed", job.item.name, exc_info=True)
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
            return Outcome("", refusal(self._approve_mcp, job.item, job.item.name))
        except BaseException as error:  # even KeyboardInterrupt: Ctrl-C goes to the main thread only
            _log.warning("%r failed", job.item.name, exc_info=True)
            return failed(described(error))

    def _limit(self, job: _Job) -> None:
        """Begin to count the time that a job may take."""
        seconds = self._timeout_of(job)
        with self._changed:
            if seconds is not None and not job.answered:
                # Answers in place of a job that takes too long.  A daemon, as this thread is.
                job.timer = threading.Timer(seconds, self._expire, (job, seconds))
                job.timer.name = "realtime_sync-tool-timeout"
                job.timer.start()

    def _claim(self, job: _Job) -> bool:
        """Be the one who answers a job; false if somebody is already."""
        with self._changed:
            first = not job.answered
            job.answered = True
        return first

    def _next(self) -> _Job | None:
        """What waits, for the worker that has become free."""
        with self._changed:
            if self._queue:
                return self._queue.popleft()
            self._busy -= 1
            return None

    def _expire(self, job: _Job, seconds: float) -> None:
        if not self._claim(job):
            return
        _log.warning("%r timed out after %g s", job.item.name, seconds)
        self._start(self._next())
        self._answer(job, failed(f"it timed out after {seconds:g} s"))

    def _answer(self, job: _Job, outcome: Outcome) -> None:
        """Send what a job came to, and ask for the next response if it was the last."""
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
                turn.refused += isinstance(item, ev.McpApprovalRequest) and outcome.error is not None
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
        """How many calls, and questions about MCP calls, are not answered yet."""
        with self._changed:
            return len(self._jobs)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all calls that were begun are answered.

        It takes no events: what the server says meanwhile is queued as usual.

        Args:
            timeout: Seconds to wait at most; ``None`` = as long as it takes.

        Returns:
            Whether they are; true after `close`.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout)

    def close(self) -> None:
        """Begin no more calls and answer none.  Doesn't wait for the functions that run.

        May be called any number of times, from any thread.  The session is left as it is.
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
