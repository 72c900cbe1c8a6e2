"""The assistant as a whole: speech in, tools, an interruption, and a conversation that reads right."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import CallFunction, CallMcpTool, RequestMcpApproval, Say
from realtime_sync.speech.transcribers import Heard
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import (
    Assistant,
    ClockedSpeaker,
    Conversation,
    Interruption,
    Playback,
    ToolResult,
    ToolRunner,
    Tools,
)
from realtime_sync.voice.audio import read_wav

DATA = Path(__file__).parent.parent / "data"
SILENCE = bytes(48_000)  # a second: the turn is over
FORECAST = "In Oslo it is seven degrees and it rains, as it did yesterday and as it will tomorrow. " * 3


class Hears:
    """Transcribes what was said in the order in which it is said."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)

    def transcribe(self, heard: Heard) -> Iterable[str]:
        return [self._texts.pop(0)]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class User(rt.Visitor[None]):
    """Says the question when the session is set up, breaks in when it has heard enough, and leaves."""

    def __init__(self, session: rt.Session, clock: Clock) -> None:
        self.session = session
        self.clock = clock
        self.heard = 0
        self.events: list[rt.ServerEvent] = []

    def visit(self, event: rt.ServerEvent) -> None:
        self.events.append(event)
        super().visit(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def visit_session_updated(self, event: ev.SessionUpdated) -> None:
        self.say("question.wav")

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
        before, self.heard = self.heard, self.heard + len(event.delta)
        if before < 96_000 <= self.heard:  # two seconds were sent
            self.clock.now += 1.25  # of which this was played
            self.say("interrupt.wav")

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        if "All right" in str(event.response.output):
            self.clock.now += 60.0  # all of it was played
            self.session.close()

    def say(self, name: str) -> None:
        self.session.input_audio_buffer.append(read_wav(DATA / name) + SILENCE)


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    hears = Hears("What is the weather in Oslo?", "Stop, wait a moment.")
    with RealtimeServer(transcriber=hears, delay=0.01) as server:
        yield server


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_a_whole_talk(server: RealtimeServer, dialect: Any) -> None:
    """A spoken question, a tool, an answer that the user cuts short, and the server knows where."""
    server.expects(audio=lambda seconds: seconds > 1, tools=["get_weather"]).replies(
        CallFunction("get_weather", {"city": "Oslo"})
    )
    server.expects(function_output={"degrees": 7}).replies(FORECAST)
    server.expects(audio=lambda seconds: seconds > 1).replies("All right.")
    tools = Tools()

    @tools.function
    def get_weather(city: str) -> dict[str, int]:
        """The weather in a city."""
        assert city == "Oslo"
        return {"degrees": 7}

    clock = Clock()
    speaker = ClockedSpeaker(clock=clock)
    with rt.connect(base_url=server.url, dialect=dialect) as session:
        user = User(session, clock)
        called: list[ToolResult] = []
        cut: list[Interruption] = []
        assistant = Assistant(
            session,
            tools=tools,
            speaker=speaker,
            instructions="Be brief.",
            visitors=[user],
            on_call=called.append,
            on_interrupt=cut.append,
        )
        assistant.run(timeout=30)

    assert not user.of(ev.ErrorEvent)
    assert len(user.of(ev.InputAudioBufferSpeechStarted)) == 2
    assert assistant.playback is not None
    [interruption] = assistant.playback.interruptions
    assert cut == [interruption]
    assert [call.name for call in called] == ["get_weather"]
    [truncated] = user.of(ev.ConversationItemTruncated)
    assert (truncated.item_id, truncated.audio_end_ms) == (interruption.item_id, 1250)
    assert interruption.audio_end_ms == 1250
    statuses = [event.response.status for event in user.of(ev.ResponseDone)]
    assert statuses == ["completed", "cancelled", "completed"]
    heard, rest = assistant.conversation.items[3].text, FORECAST
    assert rest.startswith(heard.rstrip(" ."))
    assert 0 < len(heard) < len(FORECAST) / 4
    lines = assistant.conversation.transcript().splitlines()
    assert lines[0] == "User: What is the weather in Oslo?"
    assert lines[-2:] == ["User: Stop, wait a moment.", "Assistant: All right."]
    assert "get_weather" in lines[1]
    assert "1.2 s" in lines[2] or "1.3 s" in lines[2]


class Ends(rt.Visitor[None]):
    """Closes the session when a response without calls is done."""

    def __init__(self, session: rt.Session) -> None:
        self.session = session

    def visit_response_done(self, event: ev.ResponseDone) -> None:
        if all(isinstance(item, ev.Message) for item in event.response.output or []):
            self.session.close()


class Microphone:
    """Is started and stopped, and says which."""

    def __init__(self, session: rt.Session | None = None) -> None:
        self.session = session
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")
        if self.session is not None:
            self.session.conversation.item.create("Hello")
            self.session.response.create(when_idle=True)

    def stop(self) -> None:
        self.calls.append("stop")


def test_parts(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """The microphone is started and stopped; the parts can be looked at, and replaced."""
    realtime_server.expects("Hello").replies("Hi.")
    microphone = Microphone(realtime_session)
    conversation = Conversation(realtime_session)
    assistant = Assistant(
        realtime_session,
        microphone=microphone,
        conversation=conversation,
        output_modalities=["text"],
        visitors=[Ends(realtime_session)],
    )
    assistant.run(timeout=DEADLINE)
    assert microphone.calls == ["start", "stop"]
    assert assistant.conversation is conversation
    assert conversation.transcript() == "User: Hello\nAssistant: Hi."
    assert assistant.playback is None


def test_run_again(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """A run can end at an event, or in time; the next one goes on, with tools, and sets nothing."""
    realtime_server.expects("Hello").replies(CallFunction("hello", {}))
    realtime_server.expects(function_output="hi").replies("Hi.")
    tools = Tools()
    tools.function(hello)
    assistant = Assistant(realtime_session, tools=tools)
    realtime_session.conversation.item.create("Hello")
    assert assistant.run(until=ev.SessionUpdated, timeout=DEADLINE) is not None
    realtime_session.response.create()
    for _ in range(2):
        assert assistant.run(until=ev.ResponseDone, timeout=DEADLINE) is not None
    assert assistant.run(until=ev.ResponseDone, timeout=0) is None
    assert len(realtime_server.received_of(ev.SessionUpdate)) == 1


def hello() -> str:
    """Says hi."""
    return "hi"


def test_it_speaks_first(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """What is asked for before the run is asked with its instructions and tools."""
    realtime_server.expects(instructions="You are a pirate.", tools=["hello"]).replies("Ahoy!")
    assistant = Assistant(realtime_session, tools=[hello], instructions="You are a pirate.")
    realtime_session.response.create()
    assert assistant.conversation.wait_for_answer(timeout=DEADLINE).text == "Ahoy!"


def test_tools_that_come_later(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """The server is told of tools that were added before a run."""
    realtime_server.expects("Hello", tools=["hello"]).replies("Hi.")
    tools = Tools()
    assistant = Assistant(realtime_session, tools=tools, transcription=None)
    tools.function(hello)
    assistant.run(until=ev.SessionUpdated, timeout=DEADLINE)
    realtime_session.conversation.item.create("Hello")
    realtime_session.response.create()
    assistant.run(until=ev.ResponseDone, timeout=DEADLINE)
    assert len(realtime_server.received_of(ev.SessionUpdate)) == 1


def test_parts_of_ones_own(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """A playback and a tool runner that are given are used, and what they were made of."""
    realtime_server.expects("Hello", tools=["hello"]).replies(CallFunction("hello", {}))
    realtime_server.expects(function_output="hi").replies("Hi.")
    playback = Playback(realtime_session, ClockedSpeaker("audio/pcmu"), unheard="delete")
    results: list[ToolResult] = []
    runner = ToolRunner(realtime_session, Tools(hello), on_call=results.append)
    assistant = Assistant(realtime_session, playback=playback, tool_runner=runner)
    assert (assistant.playback, assistant.speaker) == (playback, playback.speaker)
    assert (assistant.tool_runner, assistant.tools) == (runner, runner.tools)
    realtime_session.conversation.item.create("Hello")
    realtime_session.response.create()
    for _ in range(2):
        assistant.run(until=ev.ResponseDone, timeout=DEADLINE)
    assert [result.name for result in results] == ["hello"]
    assert playback.pending_ms == 0
    assert playback.speaker.played_ms > 0
    [update] = realtime_server.received_of(ev.SessionUpdate)
    assert update.session.audio
    assert update.session.audio.output == ev.AudioOutputConfig(format=ev.AudioFormat(type="audio/pcmu"))


def test_parts_that_make_no_sense(realtime_session: rt.Session) -> None:
    """What is given twice, or is no part, is rejected with what to do."""
    playback = Playback(realtime_session, ClockedSpeaker())
    runner = ToolRunner(realtime_session, Tools())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"playback": playback, "speaker": ClockedSpeaker()}, "playback= excludes"),
        ({"tool_runner": runner, "tools": [hello]}, "tool_runner= excludes"),
        ({"tool_runner": runner, "tools": Tools()}, "tool_runner= excludes"),
        ({"speaker": "loud"}, "speaker must have a 'write'"),
        ({"tools": ["hello"]}, "a plain function"),
        ({"visitors": rt.Visitor()}, "visitors must be a list"),
        ({"visitors": ["me"]}, "expected a visitor"),
    ]
    for options, text in wrong:
        with pytest.raises(TypeError, match=text):
            Assistant(realtime_session, **options)


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_settings(realtime_server: RealtimeServer, dialect: Any) -> None:
    """What the assistant and the user set is sent together, in the session's dialect."""
    speaker = ClockedSpeaker("audio/pcmu")
    if dialect == "beta":
        more: dict[str, Any] = {"voice": "sage"}
    else:
        more = {"audio": {"input": {"turn_detection": None}, "output": {"voice": "sage"}}}
    with rt.connect(base_url=realtime_server.url, dialect=dialect) as session:
        Assistant(session, speaker=speaker, instructions="Be brief.", **more).run(
            until=ev.SessionUpdated, timeout=DEADLINE
        )
    [update] = realtime_server.received_of(ev.SessionUpdate)
    settings = update.session
    assert settings.instructions == "Be brief."
    if dialect == "beta":
        assert (settings.voice, settings.output_audio_format) == ("sage", "g711_ulaw")
        assert settings.input_audio_transcription == ev.AudioTranscription(model="gpt-4o-mini-transcribe")
        return
    assert settings.audio
    assert settings.audio.output == ev.AudioOutputConfig(
        voice="sage", format=ev.AudioFormat(type="audio/pcmu")
    )
    assert settings.audio.input == ev.AudioInputConfig(
        turn_detection=None, transcription=ev.AudioTranscription(model="gpt-4o-mini-transcribe")
    )


@pytest.mark.parametrize("dialect", ["ga", "beta"])
@pytest.mark.parametrize("own", [8, "s16le", ["s16le"]])
def test_a_speaker_s_own_format(realtime_server: RealtimeServer, dialect: Any, own: Any) -> None:
    """What a speaker of the user's calls its format is no setting, unless it is one of the three."""
    speaker = ClockedSpeaker()
    speaker.format = own
    with rt.connect(base_url=realtime_server.url, dialect=dialect) as session:
        assistant = Assistant(session, speaker=speaker, instructions="Be brief.", transcription=None)
        assistant.run(until=ev.SessionUpdated, timeout=DEADLINE)
    [update] = realtime_server.received_of(ev.SessionUpdate)
    assert not update.session.audio
    assert not update.session.output_audio_format


def test_nothing_to_set(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """Without anything to set, nothing is sent."""
    realtime_server.expects("Hello").replies("Hi.")
    assistant = Assistant(realtime_session, transcription=None, microphone=Microphone(realtime_session))
    assistant.run(until=ev.ResponseDone, timeout=DEADLINE)
    assert not realtime_server.received_of(ev.SessionUpdate)


def test_settings_that_are_refused(realtime_session: rt.Session) -> None:
    """Refused settings end the run, which would go on with others than were meant."""
    microphone = Microphone()
    assistant = Assistant(realtime_session, microphone=microphone, output_modalities=["smell"])
    with pytest.raises(rt.RealtimeError, match="rejected the assistant's settings"):
        assistant.run(timeout=DEADLINE)
    assert microphone.calls == ["start", "stop"]


def test_other_errors(realtime_session: rt.Session, caplog: pytest.LogCaptureFixture) -> None:
    """Another error is in the log, and the run goes on."""
    realtime_session.conversation.item.delete("item_of_nobody")
    realtime_session.response.create(conversation="none")
    Assistant(realtime_session).run(until=ev.ResponseDone, timeout=DEADLINE)
    assert "the server reports an error" in caplog.text


def test_interrupt_without_a_speaker() -> None:
    """`interrupt` cancels the response, from any thread, also where nothing plays."""
    with RealtimeServer(delay=0.01) as server, rt.connect(base_url=server.url) as session:
        server.expects("Hello").replies(Say("Once upon a time " * 50))

        class Interrupts(rt.Visitor[None]):
            def visit_response_content_part_added(self, event: ev.ResponseContentPartAdded) -> None:
                thread = threading.Thread(target=assistant.interrupt)
                thread.start()
                thread.join(DEADLINE)

        assistant = Assistant(session, microphone=Microphone(session), visitors=[Interrupts()])
        end = assistant.run(until=ev.ResponseDone, timeout=DEADLINE)
    assert end is not None
    assert end.response.status == "cancelled"


def test_approval_of_mcp_tools(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """`approve_mcp` is asked, its answer is sent, and the model goes on."""
    realtime_server.expects("Hello").replies(RequestMcpApproval("docs", "search", {"q": "x"}))
    realtime_server.expects().replies("I may.")
    asked: list[str] = []

    def approve(request: ev.McpApprovalRequest) -> bool:
        asked.append(request.name)
        return True

    assistant = Assistant(
        realtime_session,
        approve_mcp=approve,
        microphone=Microphone(realtime_session),
        visitors=[Ends(realtime_session)],
    )
    assistant.run(timeout=DEADLINE)
    assert asked == ["search"]


def test_the_user_breaks_in_on_the_rest(server: RealtimeServer) -> None:
    """While the rest of an answer plays, after `until`, the user is still heard, and the server told."""
    server.expects("Hello").replies(FORECAST)
    server.expects(audio=lambda seconds: seconds > 1).replies("All right.")
    clock = Clock()
    with rt.connect(base_url=server.url) as session:

        class Waits(rt.Visitor[None]):
            def visit_response_done(self, event: ev.ResponseDone) -> None:
                if not clock.now:  # only the first time
                    clock.now = 1.0
                    session.input_audio_buffer.append(read_wav(DATA / "interrupt.wav") + SILENCE)

        assistant = Assistant(
            session,
            speaker=ClockedSpeaker(clock=clock),
            microphone=Microphone(session),
            visitors=[Waits()],
        )
        end = assistant.run(until=ev.ResponseDone, timeout=DEADLINE)
        assert end is not None
        assert end.response.status == "completed"
        assert assistant.playback is not None
        [interruption] = assistant.playback.interruptions
        assert (interruption.truncated, interruption.audio_end_ms) == (True, 1000)
        session.run(assistant.visitor, until=ev.ResponseDone, timeout=DEADLINE)


@pytest.mark.parametrize("timeout", [0.01, DEADLINE])
def test_the_rest_in_vain(server: RealtimeServer, timeout: float) -> None:
    """`run` waits no longer than its timeout, and not at all for a speaker that stands still."""
    with rt.connect(base_url=server.url) as session:
        assistant = Assistant(session, speaker=ClockedSpeaker(clock=Clock()), output_modalities=["audio"])
        server.expects("Hello").replies("Hi.")
        session.conversation.item.create("Hello")
        session.response.create()
        end = assistant.run(until=ev.ResponseDone, timeout=timeout)
        assert (end is None) == (timeout < 1)
        if end is None:
            session.run(assistant.visitor, until=ev.ResponseDone, timeout=DEADLINE)
        assert assistant.playback is not None
        assert assistant.playback.pending_ms > 0


def test_settings_are_tried_again(realtime_session: rt.Session) -> None:
    """Refused settings are sent with the next run too: it doesn't go on without them."""
    assistant = Assistant(realtime_session, output_modalities=["smell"])
    for _ in range(2):
        with pytest.raises(rt.RealtimeError, match="rejected the assistant's settings"):
            assistant.run(timeout=DEADLINE)


def test_no_microphone(realtime_session: rt.Session) -> None:
    """What can't be started and stopped is no microphone, and that is said at once."""
    with pytest.raises(TypeError, match="microphone must have a 'start' method"):
        Assistant(realtime_session, microphone="built-in")  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("dialect", ["ga", "beta"])
@pytest.mark.parametrize("functions", [[hello], []])
def test_functions_and_mcp_tools(realtime_server: RealtimeServer, dialect: Any, functions: list[Any]) -> None:
    """Functions and MCP tools are given together, or MCP tools alone, and the server gets them together."""
    docs = ev.McpTool(server_label="docs", server_url="https://example.com/mcp", allowed_tools=["find"])
    mail = {"type": "mcp", "server_label": "mail", "connector_id": "connector_gmail"}
    calls = [CallFunction(function.__name__, {}) for function in functions]
    realtime_server.expects("Hello").replies(*calls, CallMcpTool("docs", "find", {}, output="blue"))
    realtime_server.expects().replies("Blue.")
    called: list[ToolResult] = []
    with rt.connect(base_url=realtime_server.url, dialect=dialect) as session:
        assistant = Assistant(session, tools=[docs, *functions, mail], on_call=called.append)
        assistant.run(until=ev.SessionUpdated, timeout=DEADLINE)
        session.conversation.item.create("Hello")
        session.response.create()
        assistant.conversation.wait_for_answer(timeout=DEADLINE, visitor=assistant.tool_runner)
    assert {(call.server_label, call.output) for call in called} == {
        ("docs", "blue"),
        *[(None, "hi")][: len(calls)],
    }
    [update] = realtime_server.received_of(ev.SessionUpdate)
    assert isinstance(update.session.tools, list)
    labels = [getattr(tool, "server_label", None) for tool in update.session.tools]
    assert labels == [*[None] * len(functions), "docs", "mail"]
    assert len(assistant.tools) == len(functions)
