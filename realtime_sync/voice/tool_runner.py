"""`ToolRunner` runs the functions that the model calls in a session, on threads of their own."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct, UnsetType

from .. import events as ev
from ..exceptions import ConnectionClosed
from ..session import Session, facts
from ..session.facts import ResponseEntry
from ..session.latest import Latest
from ..session.listener import Listener
from .tools import Outcome, Tools, described, failed, rejection

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ApproveMcp", "ToolResult", "ToolRunner"]

_log = logging.getLogger("realtime_sync")
_REMEMBERED = 1024  # responses

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
        sent: Whether the output was sent.  False if the session or the runner had ended before: the model
            doesn't know it.  Always true for MCP calls, which the server runs.
    """

    name: str
    arguments: str
    output: str
    error: str | None = None
    seconds: float = 0.0
    call_id: str = ""
    response_id: str = ""
    server_label: str | None = None
    sent: bool = True


class _Turn(Struct, eq=False):
    """Hold the state of a response: its calls, and which of them are pending.

    Attributes:
        open: The number of calls and approval requests that are not answered yet.
        begun: The number of MCP calls that the server runs, or is waiting to run.
        rejected: The number of rejected approval requests; their MCP calls may never end.
        left: Whether there were approval requests that this runner leaves to the user.
        goes_on: Whether the response has ended, and the model goes on after it.
        followed: Whether the follow-up was requested, or is not wanted.
        dropped: Whether it is not wanted.
    """

    response: ResponseEntry
    open: int = 0
    begun: int = 0
    rejected: int = 0
    left: bool = False
    goes_on: bool = False
    followed: bool = False
    dropped: bool = False

    @property
    def due(self) -> bool:
        """Return whether all calls are answered and the follow-up is to be requested."""
        settled = self.open == 0 and self.begun <= self.rejected
        return self.goes_on and settled and not self.left and not self.followed


class _Job(Struct, eq=False):
    """Hold a call or an MCP approval request in flight.

    Attributes:
        answered: Whether a thread has claimed to answer it, or it is not to be run any more.
        began: When it was begun (``time.monotonic()``); 0 if it was not.
    """

    item: ev.FunctionCall | ev.McpApprovalRequest
    response: ResponseEntry
    turn: _Turn
    answered: bool = False
    began: float = 0.0
    timer: threading.Timer | None = None


class ToolRunner(Listener):
    """Run the functions that the model calls in a session, and decide which MCP calls the server may run.

    It is a visitor: pass it the session's events, alone or among `Visitors`.  A slow function doesn't delay
    them, since each call runs in a thread of its own, at most ``tools.workers`` at a time.  Once all calls
    of a response are answered and the response has ended, it requests the follow-up, once
    (``session.response.create(when_idle=True)``).

    * A call that fails in any way (an unknown function, invalid arguments, an exception, a rejected
      approval, a timeout) is answered with ``{"error": "..."}`` and logged.  The result of a function that
      returns after its timeout is discarded; its thread can't be stopped, but another one takes its place.
      While twice ``tools.workers`` calls of a function are late, further ones are not run but answered with
      an error, so that a function that never returns doesn't take ever more threads.
    * If a response ends cancelled, failed or incomplete, its calls are answered, but no follow-up is
      requested: usually the user has interrupted it and will get a response anyway.
    * Calls of an out-of-band response (``conversation="none"``) are left to you: they are not in the
      conversation, so their outputs can't be added there.
    * After ``max_rounds`` rounds of tool calls in a row, in which the user has neither spoken nor written,
      no follow-up is requested any more, and it is logged: waits for the answer end, with that as the
      ``reason``.  A ``tool_choice`` of the session that forces calls doesn't hold for follow-ups: they are
      requested with ``"auto"``.
    * The server runs MCP tools itself, but doesn't continue after them by itself either: the follow-up is
      requested once they have ended, unless the same response goes on to a message.
    * If a server requests approval for an MCP call, ``approve_mcp`` is called in a thread and has
      ``tools.timeout`` seconds; after that the call is rejected.  Without ``approve_mcp``, the approval and
      the follow-up are left to you, and a warning is logged.
    * After the end of the session, or `close`, nothing is begun or sent any more.  ``on_call`` still gets
      each call, with ``sent=False``: running ones when they end, others with an error that says that they
      were not run.

    Args:
        session: The session whose calls are answered.
        tools: The functions.  Announce them to the server yourself:
            ``session.update(tools=tools.definitions)``.
        approve_mcp: Called with each `events.McpApprovalRequest`: ``True`` allows the call; ``False``, or a
            text with the reason, rejects it.
        respond: Whether to request follow-ups; true by default.
        max_rounds: Rounds of tool calls, since the user last spoke or wrote, after which no follow-up is
            requested; 16 by default, ``None`` sets no limit.
        on_call: Called once with the `ToolResult` of each call that has ended or is not going to be run, MCP
            calls included, in the thread that answered or dropped it.  An exception that it raises is logged.

    Attributes:
        tools: The functions passed as ``tools``.

    Raises:
        TypeError: ``tools`` is not a `Tools`.
        ValueError: ``max_rounds`` is not a whole number of at least 1.
    """

    def __init__(
        self,
        session: Session,
        tools: Tools,
        *,
        approve_mcp: ApproveMcp | None = None,
        respond: bool = True,
        max_rounds: int | None = 16,
        on_call: Callable[[ToolResult], object] | None = None,
    ) -> None:
        if not isinstance(tools, Tools):
            raise TypeError(f"tools must be Tools(function, ...), got {tools!r:.80}")
        if max_rounds is not None and (not isinstance(max_rounds, int) or max_rounds < 1):
            raise ValueError(
                f"max_rounds must be a whole number of at least 1, or None, got {max_rounds!r:.80}"
            )
        if respond:
            session.ledger.responses.max_rounds = max_rounds
        super().__init__(has_session=True)
        self._session = session
        self.tools = tools
        self._approve_mcp = approve_mcp
        self._respond = respond
        self._on_call = on_call
        # Guards all that follows, between the thread with the events, the workers and the timers; never held
        # while sending or calling the user's functions.  It also wakes the threads in `wait`.
        self._changed = threading.Condition()
        self._turns: Latest[ResponseEntry, _Turn] = Latest(_REMEMBERED)
        self._has_warned = False  # whether calls of an out-of-band response were logged
        # The responses that were followed up, by the ids of the requests for that.
        self._follow_ups: Latest[str, ResponseEntry] = Latest(_REMEMBERED)
        self._jobs: dict[_Job, None] = {}  # not answered yet, in their order
        self._queue: deque[_Job] = deque()  # of these, the ones that wait for a worker
        self._busy = 0  # workers, without those whose call has timed out
        self._said: set[str | None] = set()  # functions of which the log says that their calls don't return
        self._closed = False

    # --- What the server does: in the thread with the events -------------------------------------------

    def on_call_made(self, fact: facts.CallMade) -> None:
        """Begin a call."""
        response = fact.item.response
        if response is None:
            return
        if not response.out_of_band:
            self._submit(_Job(fact.call, response, self._turn(response)))
        elif not self._has_warned:
            self._has_warned = True
            _log.warning("not running %r: it was called by an out-of-band response", fact.call.name)

    def on_approval_asked(self, fact: facts.ApprovalAsked) -> None:
        """Handle a request for approval of an MCP call."""
        if fact.response.out_of_band:
            return
        job = _Job(fact.request, fact.response, self._turn(fact.response))
        job.turn.goes_on = job.turn.goes_on or fact.goes_on
        if self._approve_mcp is not None:
            self._submit(job)
            return
        job.turn.left = True
        _log.warning(
            "the server waits for approval of the MCP tool %r: pass approve_mcp= to ToolRunner, or create an "
            "McpApprovalResponse and request a response yourself",
            job.item.name,
        )

    def on_mcp_call(self, fact: facts.McpCall) -> None:
        """Note the beginning or the end of an MCP call."""
        turn = self._turn(fact.response)
        with self._changed:
            turn.begun += -1 if fact.ended else 1
        self._follow(turn)

    def on_mcp_result(self, fact: facts.McpResult) -> None:
        """Report how an MCP call ended."""
        call = fact.call
        error = None if call.error is None else str(getattr(call.error, "message", call.error))
        if error is not None:
            _log.warning("the MCP tool %r of server %r failed: %r", call.name, call.server_label, error)
        self._tell(
            ToolResult(
                call.name,
                call.arguments,
                call.output or "",
                error,
                response_id=fact.response.id,
                server_label=call.server_label,
            )
        )

    def on_mcp_tools_failed(self, fact: facts.McpToolsFailed) -> None:
        """Log that the model lacks the tools of an MCP server."""
        _log.warning("the server could not list the tools of an MCP server (item %r)", fact.item_id)

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        """Request the follow-up, if the model goes on and all is answered."""
        if fact.response.out_of_band or fact.repeated:
            return
        turn = self._turn(fact.response)
        turn.goes_on = fact.goes_on
        if fact.status == "completed" and fact.reason is not None:
            _log.warning("the model is not asked to go on: %s", fact.reason)
        self._follow(turn)

    def _turn(self, response: ResponseEntry) -> _Turn:
        with self._changed:
            turn = self._turns.get(response)
            if turn is None:
                turn = self._turns[response] = _Turn(response)
            return turn

    def _follow(self, turn: _Turn) -> None:
        """Request the follow-up, if it is due."""
        with self._changed:
            if not turn.due or self._closed:
                return
            turn.followed = True
        if self._respond:
            self._send(lambda: self._request(turn))

    def _request(self, turn: _Turn) -> None:
        """Request a follow-up, with ``"auto"`` if the session forces calls: these would never end."""
        choice = getattr(self._session.config, "tool_choice", None)
        forced = choice == "required" or not isinstance(choice, str | UnsetType | None)
        params: dict[str, Any] = {"tool_choice": "auto"} if forced else {}
        event_id = self._session.response.create(when_idle=True, **params)
        with self._changed:
            dropped = turn.dropped
            if not dropped:
                self._follow_ups[event_id] = turn.response
        if dropped:  # in the very moment
            turn.response.withdrawn = self._session.response.withdraw(event_id)
            if not turn.response.withdrawn:
                self._session.response.cancel(if_active=True)
            self._session.wake_up()

    def withdraw(self) -> None:
        """Request no follow-up to responses that have begun, and take back those that are pending.

        Calls are run and answered all the same.
        """
        responses = self._session.ledger.responses
        for response in (responses.active, responses.latest):  # its events may not have come here yet
            if response is not None and not response.out_of_band:
                self._turn(response)
        with self._changed:
            for response, turn in self._turns.items():
                response.withdrawn = response.withdrawn or not turn.followed
                turn.followed = turn.dropped = True
            pending = dict(self._follow_ups)
            self._follow_ups.clear()
        for event_id, response in pending.items():
            response.withdrawn = self._session.response.withdraw(event_id)
        self._session.wake_up()

    def _send(self, send: Callable[[], object]) -> bool:
        """Send something, unless the runner is closed; return whether it was sent."""
        if self._closed:
            return False
        try:
            send()
        except ConnectionClosed as closed:
            _log.debug("the session has ended, so no more calls are answered: %s", closed)
            self.close()
            return False
        return True

    def _tell(self, result: ToolResult) -> None:
        if self._on_call is None:
            return
        try:
            self._on_call(result)
        except Exception:
            _log.warning("the on_call= callback raised an exception", exc_info=True)

    # --- The workers -----------------------------------------------------------------------------------

    def _submit(self, job: _Job) -> None:
        """Start a job now, or queue it until a worker is free; drop it if it can't be answered any more."""
        with self._changed:
            dropped = self._closed or self._session.closed
            starts = self._busy < self.tools.workers
            if not dropped:
                job.turn.open += 1
                self._jobs[job] = None
                if starts:
                    self._busy += 1
                else:
                    self._queue.append(job)
        if dropped:
            self._drop(job)
        elif starts:
            self._start(job)

    def _drop(self, job: _Job) -> None:
        """Report a job that is not run because of the end."""
        self._tell_of(job, failed("it was not run: the session or the runner was closed"), sent=False)

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
        outcome = self._refusal(job) or self._outcome(job)
        if job.timer is not None:
            job.timer.cancel()
        if not self._claim(job):
            _log.info("%r ended after it had timed out; its result is discarded", job.item.name)
            return None
        try:
            self._answer(job, outcome)
        except BaseException:  # such as SystemExit from on_call, which would only end this worker
            _log.warning("answering the call of %r failed", job.item.name, exc_info=True)
        return self._next()

    def _timeout_of(self, job: _Job) -> float | None:
        is_call = isinstance(job.item, ev.FunctionCall)
        return self.tools.timeout_of(job.item.name) if is_call else self.tools.timeout

    def _refusal(self, job: _Job) -> Outcome | None:
        """Return the error of a job that is not to be run, since too many before it have not returned."""
        function = _function_of(job)
        late = self.tools.late(function)
        if late < 2 * self.tools.workers:
            return None
        with self._changed:
            first = function not in self._said
            self._said.add(function)
        if first:
            text = "%d calls of %r have timed out and not returned: until one does, further ones are not run"
            _log.warning(text, late, job.item.name)
        return failed(f"it was not run: {late} earlier calls of it have not returned")

    def _outcome(self, job: _Job) -> Outcome:
        try:
            with self.tools.running(_function_of(job), self._timeout_of(job)):
                self._limit(job)
                if isinstance(job.item, ev.FunctionCall):
                    return self.tools.perform(job.item, job.response.id, lambda: self._is_wanted(job))
                assert self._approve_mcp is not None
                return Outcome("", rejection(self._approve_mcp, job.item, job.item.name))
        except BaseException as error:  # even KeyboardInterrupt: Ctrl-C reaches the main thread only
            _log.warning("the call of %r failed", job.item.name, exc_info=True)
            return failed(described(error))

    def _is_wanted(self, job: _Job) -> bool:
        return not (job.answered or self._closed)

    def _limit(self, job: _Job) -> None:
        """Start the timeout of a job."""
        seconds = self._timeout_of(job)
        with self._changed:
            if seconds is not None and self._is_wanted(job):
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
            sent = self._send(lambda: self._session.conversation.item.create(answer))
            with self._changed:
                turn.open -= 1
                turn.rejected += isinstance(item, ev.McpApprovalRequest) and outcome.error is not None
            self._follow(turn)
            self._tell_of(job, outcome, sent=sent)
        finally:
            with self._changed:
                self._jobs.pop(job, None)
                self._changed.notify_all()

    def _tell_of(self, job: _Job, outcome: Outcome, *, sent: bool) -> None:
        item = job.item
        if isinstance(item, ev.FunctionCall):
            seconds = time.monotonic() - job.began if job.began else 0.0
            self._tell(
                ToolResult(
                    item.name,
                    item.arguments,
                    outcome.output,
                    outcome.error,
                    seconds,
                    item.call_id or "",
                    job.response.id,
                    sent=sent,
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
        """Begin and answer no more calls.  It doesn't wait for running functions.

        ``on_call`` gets the calls that were not begun at once, in this thread, and running ones when they
        have ended.  It may be called several times and from any thread.  The session stays open.
        """
        with self._changed:
            self._closed = True
            dropped = [job for job in self._jobs if not (job.began or job.answered)]
            for job in self._jobs:
                if job.timer is not None:
                    job.timer.cancel()
            for job in dropped:
                job.answered = True
            self._jobs.clear()
            self._queue.clear()
            self._changed.notify_all()
        self.withdraw()  # those who wait for the answer wait no longer
        for job in dropped:
            self._drop(job)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _function_of(job: _Job) -> str | None:
    """Return the name of the function that a job calls; ``None`` for an MCP approval request."""
    return job.item.name if isinstance(job.item, ev.FunctionCall) else None
