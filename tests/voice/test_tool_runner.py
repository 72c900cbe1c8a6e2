"""`ToolRunner`: the calls of a session are run, answered and followed up, whatever the server sends."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import pytest
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer, idle
from threads import wait_until
from tool_types import add, pick

import realtime_sync as rt
from realtime_sync.local import CallFunction, CallMcpTool, Request, RequestMcpApproval, Say
from realtime_sync.local.faults import Duplicate
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import ToolCall, ToolResult, ToolRunner, Tools

ev = rt.events


# --- Running the calls of a session ---------------------------------------------------------------------


class Spectator(rt.Visitor[None]):
    """Counts the responses, and does at some events what a test wants."""

    def __init__(self) -> None:
        self.ended: list[str | None] = []
        self.said: list[str] = []
        self.on_text: Callable[[], object] = lambda: None
        self.on_done: Callable[[], object] = lambda: None

    def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
        self.on_text()

    def visit_response_output_text_done(self, event: rt.events.ResponseOutputTextDone) -> None:
        self.said.append(event.text)

    def visit_response_done(self, event: rt.events.ResponseDone) -> None:
        self.ended.append(event.response.status)
        self.on_done()


class Talk:
    """A session in which tools are run."""

    def __init__(self, server: RealtimeServer, session: rt.Session, runner: ToolRunner) -> None:
        self.server = server
        self.session = session
        self.runner = runner
        self.spectator = Spectator()

    def until(self, responses: int) -> None:
        """Dispatch events until this number of responses has ended."""
        visitors = rt.Visitors(self.runner, self.spectator)
        self.session.wait_until(lambda: len(self.spectator.ended) >= responses, visitors, DEADLINE)

    def ask(self, responses: int = 1, text: str = "Go") -> None:
        """Send a message, and wait for this number of responses."""
        self.session.conversation.item.create(text)
        self.session.response.create()
        self.until(len(self.spectator.ended) + responses)

    @property
    def outputs(self) -> list[str]:
        """What functions gave, as the server received it."""
        return [item.output for item in self.items(ev.FunctionCallOutput)]

    def items(self, kind: Any) -> list[Any]:
        received = self.server.received_of(ev.ConversationItemCreate)
        return [event.item for event in received if isinstance(event.item, kind)]

    @property
    def asked(self) -> int:
        """How often a response was asked for."""
        return len(self.server.received_of(ev.ResponseCreate))

    def finish(self) -> None:
        """Let everything be answered and arrive."""
        assert self.runner.wait(DEADLINE)
        self.session.close()
        self.server.wait_closed()
        join_workers()


def workers() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "realtime_sync-tool" or isinstance(thread, threading.Timer)
    ]


def join_workers() -> None:
    for thread in workers():
        thread.join(DEADLINE)
    assert not workers()


@contextmanager
def talking(
    tools: Tools, dialect: Literal["ga", "beta"] = "ga", server: RealtimeServer | None = None, **options: Any
) -> Iterator[Talk]:
    """A session whose server has these tools.  At the end no thread is left, and all was as expected."""
    with server or RealtimeServer() as server:
        session = rt.connect("gpt-realtime", base_url=server.url, dialect=dialect)
        with session, ToolRunner(session, tools, **options) as runner:
            if dialect == "beta":
                session.update(modalities=["text"], tools=tools.definitions)
            else:
                session.update(output_modalities=["text"], tools=tools.definitions)
            yield Talk(server, session, runner)
        join_workers()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hung tools wait for; it comes at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()
    join_workers()


@pytest.fixture
def tools() -> Tools:
    tools = Tools()
    tools.function(add)
    tools.function(lambda: 1 / 0, name="fail")
    return tools


def test_tools_only(tools: Tools, realtime_session: rt.Session) -> None:
    """A runner takes `Tools`, and rejects a list of functions with what to pass instead."""
    assert ToolRunner(realtime_session, tools).tools is tools
    with pytest.raises(TypeError, match=r"tools must be Tools\(function, ...\), got \[<function add"):
        ToolRunner(realtime_session, [add])  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_round_trip(dialect: Literal["ga", "beta"], tools: Tools) -> None:
    """Two calls in one response: both outputs, then one response.create; in the Beta dialect too."""
    with talking(tools, dialect) as talk:
        talk.server.expects("Go", tools=["add", "fail"]).replies(
            CallFunction("add", {"a": 1, "b": 2}), CallFunction("add", {"a": 10})
        )
        talk.server.expects(function_outputs=[3, 10]).replies("3 and 10.")
        talk.ask(responses=2)
        assert talk.spectator.said == ["3 and 10."]
        talk.finish()
        assert talk.asked == 2


def test_turn_after_turn(tools: Tools) -> None:
    """Calls may follow calls, also in one worker; each response with calls is followed by one."""
    tools.workers = 1
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}))
        talk.server.expects(function_output=1).replies("So far 1.", CallFunction("add", {"a": 2}))
        talk.server.expects(function_output=2).replies("2.")
        talk.server.expects("And?").replies("No more.")
        talk.ask(responses=3)
        talk.ask(text="And?")
        talk.finish()
        assert talk.asked == 4
        assert talk.spectator.said == ["So far 1.", "2.", "No more."]


def test_errors_are_answers(tools: Tools) -> None:
    """A wrong name, wrong arguments and an exception are outputs, and the session goes on."""
    with talking(tools) as talk:
        talk.server.expects().replies(
            CallFunction("sub", {"a": 1}), CallFunction("add", '{"a":'), CallFunction("fail")
        )
        talk.server.expects(
            function_outputs=[
                {"error": "unknown function 'sub'; expected one of: add, fail"},
                {"error": "invalid arguments: Input data was truncated"},
                {"error": "ZeroDivisionError: division by zero"},
            ]
        ).replies("Sorry.")
        talk.ask(responses=2)
        talk.finish()
        assert talk.asked == 2


def test_slow_tool(release: threading.Event) -> None:
    """While a tool works, events are handled and other responses made; its own follows when it is done."""
    tools = Tools()
    tools.function(lambda: str(release.wait(DEADLINE)), name="wait")
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("wait"))
        talk.server.expects("Hello?").replies("Still waiting.")
        talk.server.expects(function_output="True").replies("Done.")
        talk.ask()
        talk.ask(text="Hello?")
        assert talk.spectator.said == ["Still waiting."]
        assert talk.runner.pending == 1
        assert not talk.runner.wait(0)
        release.set()
        talk.until(responses=3)
        talk.finish()
        assert talk.runner.pending == 0
        assert talk.asked == 3


def test_waits_its_turn(release: threading.Event) -> None:
    """A response that is asked for after calls waits until no other runs."""
    tools = Tools()
    tools.function(lambda: str(release.wait(DEADLINE)), name="wait")
    with talking(tools, server=RealtimeServer(delay=0.005)) as talk:
        talk.server.expects("Go").replies(CallFunction("wait"))
        talk.server.expects("Hello?").replies("Words. " * 20)
        talk.server.expects(function_output="True").replies("Done.")
        talk.ask()

        def answer() -> None:  # in the middle of a response
            release.set()
            assert talk.runner.wait(DEADLINE)

        talk.spectator.on_text = answer
        talk.ask(text="Hello?", responses=2)
        talk.finish()
        errors = talk.server.sent_of(ev.ErrorEvent)
        assert [error.error.code for error in errors] in (
            [],  # it was known in time that one runs
            ["conversation_already_has_active_response"],
        )
        assert talk.spectator.ended == ["completed"] * 3


def test_timeout(release: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """After its timeout a call is answered with an error, and its later result is discarded."""
    tools = Tools()
    tools.function(lambda: release.wait(DEADLINE), name="hang", timeout=0.05)
    results: list[ToolResult] = []
    with talking(tools, on_call=results.append) as talk:
        talk.server.expects("Go").replies(CallFunction("hang"))
        talk.server.expects(function_output={"error": "it timed out after 0.05 s"}).replies("Sorry.")
        with caplog.at_level(logging.INFO, "realtime_sync"):
            talk.ask(responses=2)
            release.set()
            talk.finish()
        assert len(talk.outputs) == 1
        assert talk.asked == 2
    assert [result.error for result in results] == ["it timed out after 0.05 s"]
    said = [record.getMessage() for record in caplog.records]
    assert "the call of 'hang' timed out after 0.05 s" in said
    assert "'hang' ended after it had timed out; its result is discarded" in said


def test_hung_tools_do_not_starve(release: threading.Event) -> None:
    """A tool that hangs gives its place to the next, even if there is only one."""
    tools = Tools(workers=1, timeout=0.05)
    tools.function(lambda: release.wait(DEADLINE), name="hang")
    tools.function(lambda: "quick", name="quick", timeout=None)
    with talking(tools) as talk:
        talk.server.expects("Go").replies(
            CallFunction("hang"), CallFunction("hang"), CallFunction("quick"), CallFunction("quick")
        )
        late = {"error": "it timed out after 0.05 s"}
        talk.server.expects(function_outputs=[late, late, "quick", "quick"]).replies("So it is.")
        talk.ask(responses=2)
        assert all(thread.daemon for thread in workers()), "they must not keep the program from ending"
        release.set()
        talk.finish()
        assert talk.asked == 2


def test_bounded_concurrency() -> None:
    """So many calls run at the same time, and no more."""
    pair, lock = threading.Barrier(2), threading.Lock()
    running = most = 0

    def meet() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(DEADLINE)
        pair.wait(DEADLINE)
        with lock:
            running -= 1
        pair.wait(DEADLINE)

    tools = Tools(workers=2)
    tools.function(meet)
    with talking(tools) as talk:
        talk.server.expects("Go").replies(*[CallFunction("meet")] * 6)
        talk.server.expects(function_outputs=[None] * 6).replies("Well met.")
        talk.ask(responses=2)
        talk.finish()
    assert most == 2


def test_approval_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal with its reason is the output; the function isn't called, and knows nothing of it."""
    seen: list[ToolCall] = []
    tools = Tools()

    def approve(call: ToolCall) -> str:
        seen.append(call)
        return "not on Sundays"

    tools.function(add, approve=approve)
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}))
        talk.server.expects(function_output={"error": "the call was rejected: not on Sundays"}).replies("No.")
        talk.ask(responses=2)
        talk.finish()
        [done] = talk.server.sent_of(ev.ResponseFunctionCallArgumentsDone)
    assert seen == [ToolCall(done.call_id, "add", {"a": 1, "b": 0}, done.response_id, done.item_id)]
    assert "the call of 'add' was rejected: not on Sundays" in caplog.text


def test_late_approval(release: threading.Event) -> None:
    """An approval that comes after the timeout lets nothing happen."""
    called: list[int] = []
    tools = Tools(timeout=0.05)

    def act(number: int) -> None:
        called.append(number)

    tools.function(act, approve=lambda call: release.wait(DEADLINE))
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("act", {"number": 1}))
        talk.server.expects(function_output={"error": "it timed out after 0.05 s"}).replies("No.")
        talk.ask(responses=2)
        release.set()
        talk.finish()
    assert not called


def test_on_call(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    """Every call that has ended is told, with what the model wrote and read; a fault there harms nothing."""
    results: list[ToolResult] = []

    def show(result: ToolResult) -> None:
        results.append(result)
        raise RuntimeError("nothing to write on")

    with talking(tools, on_call=show) as talk:
        talk.server.expects("Go").replies(CallFunction("add", '{"a" : 1}'), CallFunction("fail"))
        talk.server.expects().replies("Fine.")
        talk.ask(responses=2)
        talk.finish()
        calls = talk.server.sent_of(ev.ResponseFunctionCallArgumentsDone)
    one, two = sorted(results, key=lambda result: result.name)
    assert (one.name, one.arguments, one.output, one.error) == ("add", '{"a" : 1}', "1", None)
    assert (one.call_id, one.response_id) == (calls[0].call_id, calls[0].response_id)
    assert one.seconds >= 0
    error = "ZeroDivisionError: division by zero"
    assert (two.name, two.output, two.error) == (
        "fail",
        json.dumps({"error": error}, separators=(",", ":")),
        error,
    )
    assert (
        len([record for record in caplog.records if "on_call= callback raised" in record.getMessage()]) == 2
    )


def test_no_response(tools: Tools) -> None:
    """``respond=False``: the output is sent, and the rest is up to the user."""
    with talking(tools, respond=False) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}))
        talk.server.expects("Well?", function_output=1).replies("1.")
        talk.ask()
        assert talk.runner.wait(DEADLINE)
        talk.ask(text="Well?")
        talk.finish()
        assert talk.asked == 2


def test_ctrl_c_in_a_worker() -> None:
    """A tool that raises KeyboardInterrupt has failed like any other."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    tools = Tools()
    tools.function(interrupt)
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("interrupt"))
        talk.server.expects(function_output={"error": "KeyboardInterrupt"}).replies("Oh.")
        talk.ask(responses=2)
        talk.finish()


def test_workers_survive() -> None:
    """Nothing that is raised takes a worker away: each call is answered, and the next is run."""

    def leave(result: ToolResult) -> None:
        raise SystemExit

    tools = Tools(workers=1, timeout=None)
    tools.function(pick)
    tools.function(add)
    with talking(tools, on_call=leave) as talk:
        picked = [CallFunction("pick", {"it": {"why": why}}) for why in ("mute", "exit", "ctrl-c")]
        talk.server.expects("Go").replies(*picked, CallFunction("add", {"a": 1}))
        wrong = {"error": "invalid arguments: Mute"}, {"error": "invalid arguments: not today"}
        talk.server.expects(function_outputs=[*wrong, {"error": "KeyboardInterrupt"}, 1]).replies("Oh.")
        talk.ask(responses=2)
        talk.finish()
        assert talk.asked == 2


@pytest.mark.parametrize("name", ["realtime_sync-tool", "realtime_sync-tool-timeout"])
def test_no_more_threads(name: str, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread for a call or its timeout, it has failed, and later ones may work."""
    start = threading.Thread.start
    short = True

    def start_if_possible(thread: threading.Thread) -> None:
        if short and thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)
    tools.workers = 1
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}), CallFunction("add", {"a": 2}))
        failed = {"error": "RuntimeError: can't start new thread"}
        talk.server.expects(function_outputs=[failed, failed]).replies("Oh.")
        talk.server.expects("Again").replies(CallFunction("add", {"a": 3}))
        talk.server.expects(function_output=3).replies("3.")
        talk.ask(responses=2)
        short = False
        talk.ask(responses=2, text="Again")
        talk.finish()
        assert talk.asked == 4


def test_interruption(release: threading.Event) -> None:
    """A cancelled response gets the output of what it called, and no response is asked for."""
    tools = Tools()
    tools.function(lambda: str(release.wait(DEADLINE)), name="wait")
    with talking(tools, server=RealtimeServer(delay=0.002)) as talk:
        talk.server.expects("Go").replies(CallFunction("wait"), Say("Words. " * 500))
        talk.spectator.on_text = lambda: talk.session.response.cancel(if_active=True)
        talk.ask()
        assert talk.spectator.ended == ["cancelled"]
        release.set()
        talk.finish()
        assert talk.outputs == ["True"]
        assert talk.asked == 1


def test_failed_response(tools: Tools) -> None:
    """So does one that failed."""
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}), RuntimeError("overloaded"))
        talk.ask()
        assert talk.spectator.ended == ["failed"]
        talk.finish()
        assert talk.outputs == ["1"]
        assert talk.asked == 1


def test_repeated_events(tools: Tools) -> None:
    """A server that says everything twice has each call run once, and is asked once for the next response."""
    with talking(tools, server=RealtimeServer(faults=[Duplicate(1)])) as talk:
        talk.server.expects("Go").replies(CallFunction("add", {"a": 1}), CallFunction("add", {"a": 2}))
        talk.server.expects(function_outputs=[1, 2]).replies(CallMcpTool("docs", "read", output="text"))
        talk.server.expects().replies("1 and 2.")
        talk.ask(responses=6)
        talk.finish()
        assert len(talk.outputs) == 2
        assert talk.asked == 3


def test_out_of_band(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    """Calls of an out-of-band response are not run: their outputs can't be added to the conversation."""
    with talking(tools) as talk:
        for _ in range(2):
            talk.server.expects().replies(CallFunction("add", {"a": 1}), RequestMcpApproval("docs", "ask"))
        talk.session.conversation.item.create("Go")
        for _ in range(2):
            talk.session.response.create(conversation="none")
        talk.until(responses=2)
        talk.finish()
        assert not talk.outputs
        assert talk.asked == 2
    assert caplog.text.count("called by an out-of-band response") == 1


def test_close_with_a_hung_tool(release: threading.Event) -> None:
    """Closing doesn't wait for tools; nothing more is begun or answered, and no other thread is left."""
    began = threading.Event()

    def hang() -> None:
        began.set()
        release.wait(DEADLINE)

    tools = Tools(workers=1)
    tools.function(hang)
    with talking(tools) as talk:
        talk.server.expects("Go").replies(CallFunction("hang"), CallFunction("hang"))
        talk.server.expects("Again").replies(CallFunction("hang"), CallMcpTool("docs", "read", output="text"))
        talk.ask()
        assert began.wait(DEADLINE)
        assert talk.runner.pending == 2
        talk.runner.close()
        assert talk.runner.pending == 0
        assert talk.runner.wait()
        for timer in [thread for thread in workers() if isinstance(thread, threading.Timer)]:
            timer.join(DEADLINE)
        assert len(workers()) == 1
        began.clear()
        talk.ask(text="Again")
        release.set()
        join_workers()
        talk.finish()
        assert not began.is_set()
        assert not talk.outputs
        assert talk.asked == 2


NOT_RUN = "it was not run: the session or the runner was closed"


def test_a_tool_that_never_returns(release: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """It takes a bounded number of threads; then its calls fail at once, others run, and it is said once."""
    tools = Tools(workers=2, timeout=0.02)
    tools.function(lambda: release.wait(DEADLINE), name="hang")
    tools.function(lambda: "quick", name="quick", timeout=None)
    results: list[ToolResult] = []
    with talking(tools, max_rounds=None, on_call=results.append) as talk:
        for number in range(12):
            talk.server.expects(str(number)).replies(CallFunction("hang"), CallFunction("quick"))
            talk.server.expects().replies("So it is.")
            talk.ask(responses=2, text=str(number))
        wait_until(lambda: len(workers()) == 4)  # those that have answered are ending
        errors = [result.error for result in results if result.name == "hang"]
        assert errors[:4] == ["it timed out after 0.02 s"] * 4
        assert errors[4:] == ["it was not run: 4 earlier calls of it have not returned"] * 8
        assert [result.output for result in results if result.name == "quick"] == ["quick"] * 12
        assert all(result.sent for result in results)
        release.set()
        join_workers()
        talk.server.expects("Again").replies(CallFunction("hang"))
        talk.server.expects(function_output=True).replies("It works.")
        talk.ask(responses=2, text="Again")
    said = [
        record.getMessage() for record in caplog.records if "further ones are not run" in record.getMessage()
    ]
    assert said == [
        "4 calls of 'hang' have timed out and not returned: until one does, further ones are not run"
    ]


def test_an_approval_that_never_returns(release: threading.Event) -> None:
    """The approvals of MCP calls are bounded in the same way: further ones are rejected at once."""
    tools = Tools(workers=1, timeout=0.02)
    with talking(tools, approve_mcp=lambda request: release.wait(DEADLINE), max_rounds=None) as talk:
        for number in range(4):
            talk.server.expects(str(number)).replies(RequestMcpApproval("docs", "read"))
            talk.server.expects().replies("So it is.")
            talk.ask(responses=2, text=str(number))
        wait_until(lambda: len(workers()) == 2)  # those that have answered are ending
        release.set()
        reasons = [item.reason for item in talk.items(ev.McpApprovalResponse)]
        assert reasons[:2] == ["it timed out after 0.02 s"] * 2
        assert reasons[2:] == ["it was not run: 2 earlier calls of it have not returned"] * 2


def test_session_closed_while_a_tool_runs(release: threading.Event) -> None:
    """The workers stop quietly, and what waited isn't begun; both are reported as not sent."""
    called: list[str] = []
    began = threading.Event()

    def hang(name: str) -> str:
        called.append(name)
        began.set()
        release.wait(DEADLINE)
        return name

    tools = Tools(workers=1)
    tools.function(hang)
    results: list[ToolResult] = []
    with talking(tools, on_call=results.append) as talk:
        talk.server.expects("Go").replies(
            CallFunction("hang", {"name": "one"}), CallFunction("hang", {"name": "two"})
        )
        talk.ask()
        assert began.wait(DEADLINE)
        talk.session.close()
        release.set()
        assert talk.runner.wait(DEADLINE)
        join_workers()
        assert called == ["one"]
    not_run, one = results
    assert (one.output, one.error, one.sent) == ("one", None, False)
    assert (not_run.arguments, not_run.error) == ('{"name": "two"}', NOT_RUN)
    assert (json.loads(not_run.output), not_run.sent, not_run.seconds) == ({"error": NOT_RUN}, False, 0)


# --- MCP -----------------------------------------------------------------------------------------------


def answered(approve: bool, reason: str | None) -> Callable[[Request], bool]:
    def is_it(request: Request) -> bool:
        answer = request.items[-1]
        assert isinstance(answer, ev.McpApprovalResponse)
        return (answer.approve, answer.reason) == (approve, reason)

    return is_it


@pytest.mark.parametrize(
    ("verdict", "approve", "reason"),
    [(True, True, None), (False, False, "it was not approved"), ("no web today", False, "no web today")],
)
def test_mcp_approval(verdict: bool | str, approve: bool, reason: str | None) -> None:
    """The callback's answer goes to the server, and then the next response is asked for."""
    questions: list[rt.events.McpApprovalRequest] = []

    def decide(question: rt.events.McpApprovalRequest) -> bool | str:
        questions.append(question)
        return verdict

    with talking(Tools(), approve_mcp=decide) as talk:
        talk.server.expects("Go").replies(RequestMcpApproval("docs", "search", {"query": "sky"}))
        talk.server.expects(where=answered(approve, reason)).replies("Good.")
        talk.ask(responses=2)
        talk.finish()
        assert talk.asked == 2
    [question] = questions
    assert (question.server_label, question.name) == ("docs", "search")
    assert json.loads(question.arguments) == {"query": "sky"}


def test_mcp_approval_and_calls(tools: Tools) -> None:
    """Questions count like calls: one response follows when all is answered."""
    with talking(tools, approve_mcp=lambda question: True) as talk:
        talk.server.expects("Go").replies(
            RequestMcpApproval("docs", "search"),
            CallFunction("add", {"a": 1}),
            RequestMcpApproval("docs", "read"),
        )
        talk.server.expects(function_output=1).replies("Good.")
        talk.ask(responses=2)
        talk.finish()
        assert talk.asked == 2
        assert len(talk.items(ev.McpApprovalResponse)) == 2


def test_mcp_approval_in_time(release: threading.Event) -> None:
    """Who doesn't answer in time has said no."""
    with talking(Tools(timeout=0.05), approve_mcp=lambda question: release.wait(DEADLINE)) as talk:
        talk.server.expects("Go").replies(RequestMcpApproval("docs", "search"))
        talk.server.expects(where=answered(False, "it timed out after 0.05 s")).replies("Then not.")
        talk.ask(responses=2)
        release.set()
        talk.finish()
        assert len(talk.items(ev.McpApprovalResponse)) == 1


def test_mcp_approval_left_to_the_user(tools: Tools, caplog: pytest.LogCaptureFixture) -> None:
    """Without a callback the question stays open, the log says so, and no response is asked for."""
    with talking(tools) as talk:
        talk.server.expects("Go").replies(RequestMcpApproval("docs", "search"), CallFunction("add", {"a": 1}))
        talk.ask()
        talk.finish()
        assert not talk.items(ev.McpApprovalResponse)
        assert talk.outputs == ["1"]
        assert talk.asked == 1
    assert "'search': pass approve_mcp= to ToolRunner" in caplog.text


def test_mcp_calls() -> None:
    """MCP calls that end a response are followed by one; those that the model has made use of are not."""
    results: list[ToolResult] = []
    with talking(Tools(), on_call=results.append) as talk:
        talk.server.expects("Go").replies(CallMcpTool("docs", "search", {"query": "sky"}, output="blue"))
        talk.server.expects().replies(CallMcpTool("docs", "read", error="no such page"), "It is blue.")
        talk.ask(responses=2)
        talk.finish()
        assert talk.asked == 2
    assert [(it.server_label, it.name, it.output, it.error) for it in results] == [
        ("docs", "search", "blue", None),
        ("docs", "read", "", "no such page"),
    ]
    assert json.loads(results[0].arguments) == {"query": "sky"}


# --- What servers do, frame by frame ----------------------------------------------------------------------

CALL = ev.FunctionCall(id="item_1", call_id="call_1", name="add", arguments='{"a": 1}', status="completed")
BEGUN = msgspec.structs.replace(CALL, arguments="", status="in_progress")
UNFINISHED = msgspec.structs.replace(CALL, status="incomplete")
NO_CALL_ID = msgspec.structs.replace(CALL, call_id=None)
QUESTION = ev.McpApprovalRequest(id="mcpr_1", server_label="docs", name="search", arguments="{}")
MCP_CALL = ev.McpCall(id="mcp_1", server_label="docs", name="search", arguments="{}")
MCP_DONE = msgspec.structs.replace(MCP_CALL, output="blue")
MCP_FAILED = msgspec.structs.replace(MCP_CALL, error=ev.McpToolExecutionError(message="no such page"))
BROKEN_OFF = ev.Response(id="resp_1", status="cancelled")
LAST = ev.RateLimitsUpdated(event_id="last", rate_limits=[])


def created(response_id: str = "resp_1") -> rt.ServerEvent:
    return ev.ResponseCreated(event_id="e", response=ev.Response(id=response_id, status="in_progress"))


def item_added(item: rt.events.Item) -> rt.ServerEvent:
    return ev.ResponseOutputItemAdded(event_id="e", response_id="resp_1", output_index=0, item=item)


def item_done(item: rt.events.Item, response_id: str = "resp_1") -> rt.ServerEvent:
    return ev.ResponseOutputItemDone(event_id="e", response_id=response_id, output_index=0, item=item)


def kept(item: rt.events.Item) -> rt.ServerEvent:
    return ev.ConversationItemDone(event_id="e", item=item)


def done(
    *output: rt.events.Item, status: str | None = "completed", response_id: str | None = "resp_1"
) -> rt.ServerEvent:
    response = ev.Response(id=response_id, status=status, output=list(output) or None)
    return ev.ResponseDone(event_id="e", response=response)


def arguments_done(name: str = "add", call_id: str = "call_1") -> rt.ServerEvent:
    return ev.ResponseFunctionCallArgumentsDone(
        event_id="e",
        response_id="resp_1",
        item_id="item_1",
        output_index=0,
        call_id=call_id,
        name=name,
        arguments='{"a": 1}',
    )


def mcp_ended(kind: Any = ev.ResponseMcpCallCompleted) -> rt.ServerEvent:
    return kind(event_id="e", item_id="mcp_1", output_index=0)  # type: ignore[no-any-return]


def sent_for(open_session: Open, tools: Tools, *events: rt.ServerEvent, **options: Any) -> list[str]:
    """What a session sends when a server says these events: types of events, or of items that are created."""
    sent: list[str] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, *(rt.encode(event).decode() for event in (*events, LAST)))
        while (message := caller.read_message())[0] == 1:
            event = json.loads(message[1])
            item = event.get("item", {})
            assert item.get("call_id", "call_1") in ("call_1", "item_1")
            sent.append(item.get("type", event["type"]))
        caller.frame(*message)

    with ScriptedServer(script) as server:
        session = open_session(server)
        with ToolRunner(session, tools, **options) as runner:
            session.run(runner, until=ev.RateLimitsUpdated, timeout=DEADLINE)
            assert runner.wait(DEADLINE)
        session.close()
    join_workers()
    return sent


OUTPUT, APPROVAL, NEXT = "function_call_output", "mcp_approval_response", "response.create"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # the usual order; without response.created; the item only in response.done; twice; no status
        ([created(), item_done(CALL), done(CALL)], [OUTPUT, NEXT]),
        ([item_done(CALL), done(CALL)], [OUTPUT, NEXT]),
        ([created(), done(CALL)], [OUTPUT, NEXT]),
        ([created(), item_done(CALL), item_done(CALL), done(CALL), done(CALL)], [OUTPUT, NEXT]),
        ([created(), item_done(CALL), done(status=None)], [OUTPUT, NEXT]),
        # ids are missing
        ([created(), item_done(CALL, ""), done(CALL, response_id=None)], [OUTPUT, NEXT]),
        ([created(), item_done(NO_CALL_ID), done()], [OUTPUT, NEXT]),
        # ids are there, and then are not
        ([created(), item_done(CALL), done(CALL, response_id=None)], [OUTPUT, NEXT]),
        ([created(), item_done(CALL, ""), done(CALL)], [OUTPUT, NEXT]),
        ([item_done(CALL, ""), done(CALL)], [OUTPUT, NEXT]),
        ([created(), item_done(NO_CALL_ID), done(CALL)], [OUTPUT, NEXT]),
        ([created(), item_done(CALL), done(NO_CALL_ID)], [OUTPUT, NEXT]),
        # no item, only its arguments; and what is told with them
        ([created(), arguments_done(), done()], [OUTPUT, NEXT]),
        ([created(), item_added(BEGUN), arguments_done("", ""), done()], [OUTPUT, NEXT]),
        ([created(), arguments_done(), item_done(CALL), arguments_done(), done(CALL)], [OUTPUT, NEXT]),
        ([created(), item_added(BEGUN), done()], []),
        ([created(), arguments_done(), item_done(UNFINISHED), done()], []),
        ([created(), arguments_done(), done(status="cancelled")], []),
        # broken off
        ([created(), item_done(UNFINISHED), done()], []),
        ([created(), done(CALL, status="cancelled")], []),
        ([item_done(CALL), ev.ResponseCancelled(event_id="e", response_id="resp_1"), done(CALL)], [OUTPUT]),
        ([item_done(CALL), ev.ResponseCancelled(event_id="e", response=BROKEN_OFF), done(CALL)], [OUTPUT]),
        ([created(), item_done(CALL), done(status="incomplete")], [OUTPUT]),
        # not ended yet; nothing called
        ([created(), item_done(CALL)], [OUTPUT]),
        ([created(), item_done(ev.Message(role="assistant", content=[])), done()], []),
        # questions: as part of the response, or behind it; history is none
        ([created(), item_done(QUESTION), kept(QUESTION), done(QUESTION)], [APPROVAL, NEXT]),
        ([created(), kept(QUESTION)], [APPROVAL]),
        ([created(), done(), kept(QUESTION)], [APPROVAL, NEXT]),
        ([created(), done(QUESTION)], [APPROVAL, NEXT]),
        ([kept(QUESTION), kept(MCP_DONE), kept(CALL)], []),
        # MCP calls: they end behind the response, in the item, or in an event
        ([created(), item_added(MCP_CALL), done(MCP_CALL)], []),
        ([created(), item_added(MCP_CALL), done(MCP_CALL), mcp_ended()], [NEXT]),
        ([created(), item_added(MCP_CALL), done(MCP_CALL), mcp_ended(ev.ResponseMcpCallFailed)], [NEXT]),
        ([created(), item_added(MCP_CALL), mcp_ended(), item_done(MCP_DONE), done(MCP_CALL)], [NEXT]),
        ([created(), done(MCP_CALL), kept(MCP_DONE), mcp_ended()], [NEXT]),
        ([created(), done(MCP_DONE)], [NEXT]),
        ([mcp_ended()], []),
        ([created(), item_added(MCP_CALL), item_done(CALL), done()], [OUTPUT]),
        ([created(), item_added(MCP_CALL), done(status="cancelled"), mcp_ended()], []),
    ],
)
def test_order_of_events(
    events: list[rt.ServerEvent], expected: list[str], tools: Tools, open_session: Open
) -> None:
    """Whatever a server says in which order: each thing is answered once, and one response asked for."""
    assert sent_for(open_session, tools, *events, approve_mcp=lambda question: True) == expected


def test_call_ids_of_each_response(tools: Tools, open_session: Open) -> None:
    """Servers may number the calls of each response anew."""
    events = [item_done(CALL), done(), item_done(CALL, "resp_2"), done(response_id="resp_2")]
    assert sent_for(open_session, tools, *events, respond=False) == [OUTPUT, OUTPUT]


@pytest.mark.parametrize("name", ["", "add"])
def test_call_without_an_item(name: str, tools: Tools, open_session: Open) -> None:
    """A call of which only the arguments are told is run like any; Beta says its name at its beginning."""
    results: list[ToolResult] = []
    begun = [] if name else [item_added(BEGUN)]
    sent_for(open_session, tools, created(), *begun, arguments_done(name), done(), on_call=results.append)
    assert [(it.name, it.call_id, it.output) for it in results] == [("add", "call_1", "1")]


@pytest.mark.parametrize("response_id", ["resp_1", None])
def test_responses_that_are_named_alike(response_id: str | None, tools: Tools, open_session: Open) -> None:
    """Where a server names all responses alike, or none, the calls of each are run and followed."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        begins = ev.ResponseCreated(event_id="e", response=ev.Response(id=response_id))
        for _ in range(3):
            assert caller.read_event()["type"] == "response.create"
            for event in (begins, item_done(CALL, response_id or ""), done(CALL, response_id=response_id)):
                caller.text(rt.encode(event).decode())
            assert caller.read_event()["item"]["type"] == OUTPUT
        assert caller.read_event()["type"] == "response.create"
        caller.text(rt.encode(LAST).decode())
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        with ToolRunner(session, tools) as runner:
            session.response.create()
            session.run(runner, until=ev.RateLimitsUpdated, timeout=DEADLINE)
            assert runner.wait(DEADLINE)
        session.close()
    join_workers()


def test_refused_mcp_call_is_not_waited_for(tools: Tools, open_session: Open) -> None:
    """A rejected MCP call never ends, so the follow-up is requested without waiting for it."""
    events = [created(), item_added(MCP_CALL), item_done(QUESTION), done(MCP_CALL, QUESTION)]
    assert sent_for(open_session, tools, *events, approve_mcp=lambda question: False) == [APPROVAL, NEXT]
    assert sent_for(open_session, tools, *events, approve_mcp=lambda question: True) == [APPROVAL]


def test_approved_mcp_call_runs_first(open_session: Open) -> None:
    """After an approval the server runs the tool, as OpenAI's does; its end brings the next response."""

    class Marker(rt.Visitor[None]):
        def visit_response_mcp_call_in_progress(self, event: rt.events.ResponseMcpCallInProgress) -> None:
            assert runner.wait(DEADLINE)
            session.input_audio_buffer.clear()

    def script(caller: Caller) -> None:
        def say(*events: rt.ServerEvent) -> None:
            caller.text(*(rt.encode(event).decode() for event in events))

        caller.accept()
        caller.text(CREATED)
        arguments = ev.ResponseMcpCallArgumentsDone(
            event_id="e", response_id="resp_1", item_id="mcp_1", output_index=0, arguments="{}"
        )
        say(created(), arguments, done(), kept(QUESTION))
        answer = caller.read_event()["item"]
        assert (answer["approval_request_id"], answer["approve"]) == ("mcpr_1", True)
        say(ev.ResponseMcpCallInProgress(event_id="e", item_id="mcp_1", output_index=0))
        assert caller.read_event()["type"] == "input_audio_buffer.clear"  # and nothing before it
        say(mcp_ended(), item_done(MCP_DONE), kept(MCP_DONE), LAST)
        assert caller.read_event()["type"] == "response.create"
        caller.serve_until_closed()

    results: list[ToolResult] = []
    with ScriptedServer(script) as server:
        session = open_session(server)
        runner = ToolRunner(session, Tools(), approve_mcp=lambda question: True, on_call=results.append)
        session.run(rt.Visitors(runner, Marker()), until=ev.RateLimitsUpdated, timeout=DEADLINE)
        session.close()
    assert [result.output for result in results] == ["blue"]


def test_mcp_failures_are_logged(tools: Tools, open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
    """MCP servers that don't list their tools, and tools that fail, are in the log."""
    failed = ev.McpListToolsFailed(event_id="e", item_id="mcpl_1")
    sent_for(open_session, tools, failed, created(), item_done(MCP_FAILED), done())
    assert "could not list the tools of an MCP server (item 'mcpl_1')" in caplog.text
    assert "the MCP tool 'search' of server 'docs' failed: 'no such page'" in caplog.text


def test_long_sessions_are_bounded(tools: Tools, open_session: Open) -> None:
    """What is remembered of responses and calls does not grow for ever."""
    events = [
        event for number in range(2000) for event in (created(f"r{number}"), done(response_id=f"r{number}"))
    ]
    with ScriptedServer(idle) as server:
        session = open_session(server)
        runner = ToolRunner(session, tools)
        for event in events:
            runner.visit(event)
        session.close()
    assert len(runner._turns) == 1024


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ({"count": 3}, "3"),
        ({}, "1"),
        (None, "1"),
        ("", "1"),
        ("null", "1"),
        ([3], None),
        ([], None),
        (3, None),
        (False, None),
        ("[3]", None),
    ],
)
def test_arguments_that_are_no_text(arguments: Any, output: str | None, open_session: Open) -> None:
    """A function never runs with its defaults in place of arguments that came in another form."""
    ran: list[int] = []

    def order(count: int = 1) -> int:
        ran.append(count)
        return count

    call = msgspec.structs.replace(CALL, name="order", arguments=arguments)
    alone = msgspec.structs.replace(arguments_done("order"), arguments=arguments)
    for events in ([item_done(call), done()], [done(call)], [created(), alone, done()]):
        results: list[ToolResult] = []
        ran.clear()
        assert sent_for(open_session, Tools(order), *events, on_call=results.append) == [OUTPUT, NEXT]
        [result] = results
        assert ran == ([] if output is None else [int(output)])
        if output is None:
            assert (result.error or "").startswith("invalid arguments: ")
        else:
            assert result.output == output


# --- The end, while calls are running or queued ----------------------------------------------------------


def call_of(function: str, number: int, **arguments: str) -> ev.FunctionCall:
    text = json.dumps(arguments)
    return ev.FunctionCall(id=f"item_{number}", call_id=f"call_{number}", name=function, arguments=text)


class Ending:
    """A server that makes calls, and resets the connection once ``now`` is set, if it is to."""

    def __init__(self, *calls: ev.FunctionCall, resets: bool) -> None:
        self._calls = calls
        self._resets = resets
        self.now = threading.Event()

    def __call__(self, caller: Caller) -> None:
        caller.accept()
        events = [created(), *map(item_done, self._calls), done(*self._calls), LAST]
        caller.text(CREATED, *(rt.encode(event).decode() for event in events))
        if self._resets and self.now.wait(DEADLINE):
            caller.reset()
        else:
            caller.serve_until_closed()


@pytest.mark.parametrize("how", ["reset", "session", "runner", "Ctrl-C", "error"])
def test_every_call_is_told_at_the_end(how: str, release: threading.Event, open_session: Open) -> None:
    """However it ends while three calls run and two wait: each is told once, and none as sent."""
    began = threading.Barrier(4)

    def work(name: str) -> str:
        began.wait(DEADLINE)
        release.wait(DEADLINE)
        return {"one": "1"}[name]

    tools = Tools(workers=3)
    tools.function(work)
    tools.function(lambda: "never", name="last")
    calls = [call_of("work", number, name=name) for number, name in enumerate(("one", "two", "three"))]
    ending = Ending(*calls, call_of("last", 4), call_of("last", 5), resets=how == "reset")
    results: list[ToolResult] = []
    with ScriptedServer(ending) as server, open_session(server) as session:
        runner = ToolRunner(session, tools, on_call=results.append)
        with (
            pytest.raises(KeyboardInterrupt) if how == "Ctrl-C" else pytest.raises(ZeroDivisionError),
            runner,
        ):
            session.run(runner, until=ev.RateLimitsUpdated, timeout=DEADLINE)
            began.wait(DEADLINE)
            if how == "Ctrl-C":
                raise KeyboardInterrupt
            if how == "reset":
                ending.now.set()
                wait_until(lambda: session.closed)
            elif how != "error":
                session.close() if how == "session" else runner.close()
            if how != "error":
                release.set()
                join_workers()
            raise ZeroDivisionError
        release.set()
        join_workers()
        assert (runner.pending, runner.wait()) == (0, True)
    assert not any(result.sent for result in results)
    told = sorted((result.name, result.error or result.output) for result in results)
    errors = [("work", "KeyError: 'three'"), ("work", "KeyError: 'two'")]
    assert told == [("last", NOT_RUN), ("last", NOT_RUN), ("work", "1"), *errors]


def test_calls_that_come_after_the_end(open_session: Open) -> None:
    """A call that is dispatched when the session has ended is not run, and is told."""
    called: list[str] = []
    tools = Tools()
    tools.function(lambda: called.append("x"), name="note")
    results: list[ToolResult] = []
    ending = Ending(call_of("note", 1), resets=True)
    with ScriptedServer(ending) as server:
        session = open_session(server)
        session.wait_for_first_event(DEADLINE)
        wait_until(lambda: session.stats.events_in == 5)
        ending.now.set()
        wait_until(lambda: session.closed)
        runner = ToolRunner(session, tools, on_call=results.append)
        session.run(runner, until=ev.RateLimitsUpdated, timeout=DEADLINE)
    assert not called
    assert [(result.call_id, result.error, result.sent) for result in results] == [("call_1", NOT_RUN, False)]
