"""`Conversation`: it mirrors the server's conversation, whatever the server does."""

import array
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import samples
from conversation_events import (
    added,
    at,
    created,
    done,
    ids,
    message,
    sound,
    spoken,
    texts,
    told,
    truncated,
    wire,
)
from conversation_model import MOST_INDEX, Model
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer
from talk import Talk
from talkers import Talkers

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import SERVER_EVENTS, ServerEvent
from realtime_sync.local import CallFunction, CallMcpTool, Heard, LocalServer, Request, Say
from realtime_sync.local.faults import Duplicate, Fault, Reorder, SendMalformed, SendUnknown
from realtime_sync.session.ledger import Ledger
from realtime_sync.sound.formats import bytes_of
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import Conversation, ConversationItem, ToolRunner, Tools

SKY = "The sky is blue because air scatters blue light more than red light."
SOUND = bytes(range(250)) * 96  # half a second
TONE = bytes_of(
    array.array("h", (round(6000 * math.sin(2 * math.pi * 200 * n / 24_000)) for n in range(14_400))),
    "audio/pcm",
)  # 600 ms that a voice detector takes for speech
SILENCE = bytes(48_000)
DIALECTS = ["ga", "beta"]


# --- With the local server ---------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_written_turn(talk: Talkers, dialect: str) -> None:
    """A question and its answer are there, in order, with their texts and states."""
    session = talk(SKY, dialect=dialect)
    if dialect == "beta":
        session.update(modalities=["text"])
    else:
        session.update(output_modalities=["text"])
    conversation = Conversation(session)
    session.conversation.item.create("Why is the sky blue?")
    event_id = session.response.create(metadata={"topic": "sky"})
    response = conversation.wait_for_response(event_id, timeout=DEADLINE)
    question, answer = conversation.items
    assert texts(conversation) == [("user", "Why is the sky blue?"), ("assistant", SKY)]
    assert (question.status, answer.status) == ("completed", "completed")
    assert question.done
    assert answer.done
    assert question.in_conversation
    assert answer.response_id == response.id
    assert conversation.responses == [response]
    assert response.items == [answer]
    assert (response.text, response.audio, response.function_calls) == (SKY, b"", [])
    assert (response.status, response.reason, response.event_id) == ("completed", None, event_id)
    assert response.metadata == {"topic": "sky"}
    assert response.usage is not None
    assert conversation.response(str(response.id)) is response
    assert conversation.item(answer.id) is answer
    assert isinstance(answer.wire, ev.Message)
    assert [part.kind for part in answer.content] == ["text"]
    assert conversation.transcript() == f"User: Why is the sky blue?\nAssistant: {SKY}"
    assert not conversation.deviations


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("audio", ["keep", "drop", "callback"])
def test_a_spoken_turn(talk: Talkers, dialect: str, audio: Any) -> None:
    """Audio is kept, dropped or handed on as it comes; its length and the words are known all the same."""
    heard: list[tuple[ConversationItem, bytes]] = []
    session = talk([Say(SKY, SOUND), Say("So it is.", SOUND[:4800])], dialect=dialect)
    sink = (lambda item, chunk: heard.append((item, chunk))) if audio == "callback" else audio
    conversation = Conversation(session, audio=sink)
    session.response.create()
    response = conversation.wait_for_response(timeout=DEADLINE)
    first, second = response.items
    assert response.text == f"{SKY}\nSo it is."
    assert [part.received_ms for item in response.items for part in item.content] == [500, 100]
    assert [part.transcript for part in first.content] == [SKY]
    assert response.audio == (SOUND + SOUND[:4800] if audio == "keep" else b"")
    assert (first.audio, second.audio) == ((SOUND, SOUND[:4800]) if audio == "keep" else (b"", b""))
    if audio == "callback":
        assert b"".join(chunk for item, chunk in heard if item is first) == SOUND
        assert b"".join(chunk for item, chunk in heard if item is second) == SOUND[:4800]
    assert not conversation.deviations


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool(talk: Talkers, dialect: str) -> None:
    """A call knows its output, and both are in the transcript in one line."""
    session = talk(CallFunction("get_weather", {"city": "Oslo"}), "Seven degrees.", dialect=dialect)
    conversation = Conversation(session)
    session.response.create()
    [call] = conversation.wait_for_response(timeout=DEADLINE).function_calls
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "get_weather",
        {"city": "Oslo"},
    )
    assert call.output is None
    assert call.call_id
    assert conversation.transcript() == 'Tool: get_weather({"city": "Oslo"})'
    session.conversation.item.create(ev.FunctionCallOutput(call_id=call.call_id, output='{"degrees": 7}'))
    session.response.create()
    conversation.wait_for_response(timeout=DEADLINE)
    assert call.output == '{"degrees": 7}'
    assert [item.type for item in conversation.items] == ["function_call", "function_call_output", "message"]
    assert conversation.items[1].output == '{"degrees": 7}'
    assert conversation.transcript() == (
        'Tool: get_weather({"city": "Oslo"}) -> {"degrees": 7}\nAssistant: Seven degrees.'
    )
    session.conversation.item.delete(conversation.items[1].id)
    session.run(conversation, until=ev.ConversationItemDeleted, timeout=DEADLINE)
    assert call.output is None


def test_tools_of_mcp_servers(talk: Talkers) -> None:
    """What a tool of an MCP server was asked and gave, or why it failed, is known as of other tools."""
    calls = [
        CallMcpTool("docs", "find", {"q": "x"}, output="here"),
        CallMcpTool("docs", "find", "{}", error="none"),
    ]
    session = talk(calls)
    conversation = Conversation(session)
    session.response.create()
    response = conversation.wait_for_response(timeout=DEADLINE)
    assert [(item.type, item.name, item.status) for item in response.items] == [
        ("mcp_call", "find", "completed"),
        ("mcp_call", "find", "failed"),
    ]
    assert conversation.transcript() == 'Tool: find({"q": "x"}) -> here\nTool: find({}) -> error: none'
    assert conversation.to_items() == []
    assert not conversation.deviations


class Interrupter(rt.Visitor[None]):
    """Play a user who interrupts the response, and truncate it to what was played."""

    def __init__(self, session: rt.Session) -> None:
        self.session = session
        self.heard = 0

    def visit_session_updated(self, event: ev.SessionUpdated) -> None:
        self.say()

    def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
        self.heard += 1
        self.item_id = event.item_id
        if self.heard == 10:
            self.say()

    def visit_input_audio_buffer_speech_started(self, event: ev.InputAudioBufferSpeechStarted) -> None:
        if self.heard:
            self.session.conversation.item.truncate(self.item_id, audio_end_ms=400)

    def say(self) -> None:
        self.session.input_audio_buffer.append(TONE + SILENCE)


class Hears:
    """Understands what it is told to."""

    def __init__(self, *texts: str) -> None:
        self._texts = iter(texts)

    def transcribe(self, heard: Heard) -> list[str]:
        return next(self._texts).split("|")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_interruption(talk: Talkers, dialect: str) -> None:
    """A response that the user interrupts ends at the word up to which it was played."""
    hears = Hears("Why is |the sky blue?", "Stop.")
    long = " ".join([SKY] * 40)  # the server is not done with it when it hears the user, however late that is
    session = talk(long, CallFunction("stop"), dialect=dialect, delay=0.01, transcriber=hears)
    conversation = Conversation(session)
    if dialect == "beta":
        session.update(input_audio_transcription={"model": "whisper-1"})
    else:
        session.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    visitor = rt.Visitors(conversation, Interrupter(session))
    cut = conversation.wait_for_response(timeout=DEADLINE, visitor=visitor)
    conversation.wait_for_response(timeout=DEADLINE, visitor=visitor)
    for _ in ("the question", "the interruption"):
        conversation.wait_for_transcript(timeout=DEADLINE, visitor=visitor)
    # The server may be told of the truncation after it has begun, or even ended, the next response.
    session.wait_until(lambda: cut.items[0].content[0].truncated_ms is not None, visitor, DEADLINE)
    assert (cut.status, cut.reason, cut.event_id) == ("cancelled", "turn_detected", None)
    [item] = cut.items
    [part] = item.content
    assert item.status == "incomplete"
    assert part.truncated_ms == 400
    assert len(item.audio) == 19_200
    assert part.received_ms >= 1000
    heard = item.text
    assert part.generated is not None
    assert 0 < len(heard) < len(part.generated)
    assert part.generated.startswith(f"{heard} ")
    assert conversation.transcript().splitlines() == [
        "User: Why is the sky blue?",
        f"Assistant: {heard} [cut off after 0.4 s]",
        "User: Stop.",
        "Tool: stop({})",
    ]
    session.conversation.item.retrieve(item.id)
    session.run(conversation, until=ev.ConversationItemRetrieved, timeout=DEADLINE)
    assert item.text == heard
    assert not conversation.deviations


@pytest.mark.parametrize("dialect", DIALECTS)
def test_order(talk: Talkers, dialect: str) -> None:
    """Items are where the client put them: first, in between, last; and gone when deleted."""
    session = talk("An answer.", dialect=dialect)
    conversation = Conversation(session)
    create = session.conversation.item.create

    def item(text: str) -> dict[str, Any]:
        content = [{"type": "input_text", "text": text}]
        return {"id": f"item_{text}", "type": "message", "role": "user", "content": content}

    create(item("b"))
    create(item("a"), previous_item_id="root")
    create(item("d"))
    create(item("c"), previous_item_id="item_b")
    for name in "badc":
        assert conversation.wait_for_item(timeout=DEADLINE).text == name
    assert ids(conversation) == ["item_a", "item_b", "item_c", "item_d"]
    session.response.create()
    conversation.wait_for_response(timeout=DEADLINE)
    session.conversation.item.delete("item_b")
    create(item("0"), previous_item_id="root")
    conversation.wait_for_item("item_0", timeout=DEADLINE)
    assert [item.text for item in conversation.items] == ["0", "a", "c", "d", "An answer."]
    deleted = conversation.item("item_b")
    assert deleted is not None
    assert not deleted.in_conversation
    create(item("b"))
    assert [conversation.wait_for_item(timeout=DEADLINE).text for _ in range(2)] == ["An answer.", "b"]
    assert [item.text for item in conversation.items] == ["0", "a", "c", "d", "An answer.", "b"]
    assert not conversation.deviations


@pytest.mark.parametrize("dialect", DIALECTS)
def test_out_of_band(talk: Talkers, dialect: str) -> None:
    """The items of an out-of-band response belong to it, and are not in the conversation."""
    session = talk("A greeting.", "Hello.", dialect=dialect)
    conversation = Conversation(session)
    session.conversation.item.create("Hi")
    beside = session.response.create(conversation="none")
    first = conversation.wait_for_response(beside, timeout=DEADLINE)
    second = conversation.wait_for_response(session.response.create(), timeout=DEADLINE)
    assert first.out_of_band
    assert not second.out_of_band
    assert first.text == "A greeting."
    assert texts(conversation) == [("user", "Hi"), ("assistant", "Hello.")]
    assert conversation.item(first.items[0].id) is first.items[0]
    assert not first.items[0].in_conversation
    assert first.items[0].done


def test_out_of_band_while_another_runs(talk: Talkers) -> None:
    """Responses that run at the same time don't mix."""
    session = talk(SKY, " ".join(["other"] * 14), "third", delay=0.001)
    conversation = Conversation(session)
    first, second = session.response.create(), session.response.create(conversation="none")
    assert conversation.wait_for_response(second, timeout=DEADLINE).text == " ".join(["other"] * 14)
    assert conversation.wait_for_response(first, timeout=DEADLINE).text == SKY
    assert texts(conversation) == [("assistant", SKY)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("audio", ["keep", "drop", "callback"])
def test_retrieved(talk: Talkers, dialect: str, audio: Any) -> None:
    """Retrieving brings the user's audio; what the model said is not handed on twice."""
    heard = bytearray()
    session = talk(Say("Yes.", SOUND[:4800]), dialect=dialect)
    sink = (lambda item, chunk: heard.extend(chunk)) if audio == "callback" else audio
    conversation = Conversation(session, audio=sink)
    if dialect == "beta":
        session.update(turn_detection=None)
    else:
        session.update(audio={"input": {"turn_detection": None}})
    session.input_audio_buffer.append(SOUND)
    session.input_audio_buffer.commit()
    session.response.create()
    conversation.wait_for_response(timeout=DEADLINE)
    assert conversation.transcript() == "User: [audio]\nAssistant: Yes."
    for item in conversation.items:
        session.conversation.item.retrieve(item.id)
        session.run(conversation, until=ev.ConversationItemRetrieved, timeout=DEADLINE)
    assert [item.content[0].received_ms for item in conversation.items] == [500, 100]
    kept = [SOUND, SOUND[:4800]] if audio == "keep" else [b"", b""]
    assert [item.audio for item in conversation.items] == kept
    assert all("audio=b" not in repr(item.wire) for item in conversation.items)
    if audio == "callback":
        assert bytes(heard) == SOUND[:4800] + SOUND
    assert not conversation.deviations


@pytest.mark.parametrize("named", ["audio/pcmu", "g711_alaw"])
def test_the_format_counts(talk: Talkers, named: str) -> None:
    """Milliseconds are those of the format in force, in either dialect, and of the response's own."""
    beta = named == "g711_alaw"
    session = talk(*[Say("Yes.", bytes(8000))] * 2, dialect="beta" if beta else "ga")
    conversation = Conversation(session)
    if beta:
        session.update(output_audio_format=named)
    else:
        session.update(audio={"output": {"format": {"type": named}}})
    session.response.create()
    [part] = conversation.wait_for_response(timeout=DEADLINE).items[0].content
    assert part.received_ms == 1000
    session.conversation.item.truncate(conversation.items[0].id, audio_end_ms=250)
    session.run(conversation, until=ev.ConversationItemTruncated, timeout=DEADLINE)
    assert len(part.audio) == 2000
    if beta:
        session.response.create(output_audio_format="pcm16")
    else:
        session.response.create(audio={"output": {"format": {"type": "audio/pcm", "rate": 24_000}}})
    [part] = conversation.wait_for_response(timeout=DEADLINE).items[0].content
    assert part.received_ms == 8000 * 1000 // 48_000
    assert not conversation.deviations


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "fault", [Duplicate(1), Duplicate(3), Reorder(), SendMalformed(1), SendUnknown(2)], ids=repr
)
def test_faults(talk: Talkers, dialect: str, fault: Fault) -> None:
    """Repeated, reordered, broken and unknown events leave the conversation as it is."""
    answers = [[Say(SKY, SOUND), CallFunction("look")], Say("Not so.", SOUND), "Beside."]
    session = talk(*answers, dialect=dialect, faults=[fault], delay=0.0005)
    conversation = Conversation(session)
    session.conversation.item.create("Why?")
    created, conversed = session.response.create(), []
    conversed.append(conversation.wait_for_response(created, timeout=DEADLINE))
    events = session.response.create(), session.response.create(conversation="none")
    conversed += [conversation.wait_for_response(each, timeout=DEADLINE) for each in events]
    assert [response.status for response in conversed] == ["completed"] * 3
    assert [response.text for response in conversed] in (
        [SKY, "Not so.", "Beside."],
        [SKY, "Beside.", "Not so."],
    )
    assert texts(conversation)[:2] == [("user", "Why?"), ("assistant", SKY)]
    assert conversation.items[1].audio == SOUND
    assert conversation.items[2].arguments == "{}"
    assert len(conversation.items) == 4
    assert (conversation.deviations.total() > 0) == isinstance(fault, Duplicate | SendMalformed)


# --- Waiting -----------------------------------------------------------------------------------------


class Broken:
    """A model that fails in the middle."""

    def respond(self, request: Request) -> Iterator[Say]:
        yield Say("Well.")
        raise RuntimeError("out of order")


@pytest.mark.parametrize("named", [True, False])
def test_a_failed_response_ends_the_wait(named: bool) -> None:
    """A response that fails is returned, with its reason and what there was of it."""
    with LocalServer(responder=Broken()) as server, rt.connect(base_url=server.url) as session:
        conversation = Conversation(session)
        event_id = session.response.create()
        response = conversation.wait_for_response(event_id if named else None, timeout=DEADLINE)
    assert (response.status, response.text, response.event_id) == ("failed", "Well.", event_id)
    assert "out of order" in str(response.reason)
    assert response.error is not None
    assert "failed (" in repr(response)


def test_an_incomplete_and_a_cancelled_response(talk: Talkers) -> None:
    """A response that is broken off is returned too; its item is incomplete, and marked so."""
    session = talk(SKY, SKY, delay=0.005)
    conversation = Conversation(session)
    session.response.create(max_output_tokens=5)
    incomplete = conversation.wait_for_response(timeout=DEADLINE)
    assert (incomplete.status, incomplete.reason) == ("incomplete", "max_output_tokens")
    assert conversation.transcript().endswith(" [incomplete]")
    event_id = session.response.create()
    session.run(conversation, until=ev.ResponseOutputAudioDelta, timeout=DEADLINE)
    session.response.cancel()
    cancelled = conversation.wait_for_response(event_id, timeout=DEADLINE)
    assert (cancelled.status, cancelled.reason) == ("cancelled", "client_cancelled")
    assert [item.status for item in conversation.items] == ["incomplete"] * 2


@pytest.mark.parametrize("named", [True, False])
def test_a_refused_request_ends_the_wait(talk: Talkers, named: bool) -> None:
    """A rejected response.create counts as a failed response without an id."""
    session = talk(SKY, delay=0.004)
    conversation = Conversation(session)
    session.response.create()
    refused = session.response.create()
    response = conversation.wait_for_response(refused if named else None, timeout=DEADLINE)
    assert (response.id, response.status, response.event_id) == (None, "failed", refused)
    assert response.done
    assert isinstance(response.error, ev.ErrorDetails)
    assert response.error.code == "conversation_already_has_active_response"
    assert response.reason == response.error.message
    assert response not in conversation.responses
    assert conversation.wait_for_response(timeout=DEADLINE).text == SKY
    wrong = session.response.create(conversation="what?")
    assert conversation.wait_for_response(wrong if named else None, timeout=DEADLINE).status == "failed"


def test_each_is_returned_once(talk: Talkers) -> None:
    """Without an id a wait gives what no other has given; with one it gives that, again and again."""
    session = talk("one", "two", "three")
    conversation = Conversation(session)
    events = []
    for _ in range(3):
        events.append(session.response.create(when_idle=True))
    second = conversation.wait_for_response(events[1], timeout=DEADLINE)
    assert second.text == "two"
    assert conversation.wait_for_response(timeout=DEADLINE).text == "one"
    assert conversation.wait_for_response(timeout=DEADLINE).text == "three"
    assert conversation.wait_for_response(events[1], timeout=0) is second
    assert [conversation.wait_for_item(timeout=DEADLINE).text for _ in range(3)] == ["one", "two", "three"]
    with pytest.raises(TimeoutError):
        conversation.wait_for_item(timeout=0)
    with pytest.raises(TimeoutError):
        conversation.wait_for_response(timeout=0)


def test_a_deleted_item_ends_the_wait(talk: Talkers) -> None:
    """A deleted item is returned to a wait that names it, so that the wait ends."""
    session = talk(SKY, delay=0.004)
    conversation = Conversation(session)
    session.response.create()
    begun = session.run(conversation, until=ev.ConversationItemAdded, timeout=DEADLINE)
    assert begun is not None
    [item] = conversation.items
    assert not item.done
    session.conversation.item.delete(item.id)
    assert conversation.wait_for_item(item.id, timeout=DEADLINE) is item
    assert not item.in_conversation
    conversation.wait_for_response(timeout=DEADLINE)
    assert conversation.items == []  # what still came of it didn't bring it back
    assert item.text == SKY


def test_no_wait_outlives_the_session(talk: Talkers) -> None:
    """When the session is over, so is every wait; what had ended before is still returned."""
    session = talk("one")
    conversation = Conversation(session)
    session.response.create()
    session.run(conversation, until=ev.ResponseDone, timeout=DEADLINE)
    session.close()
    assert conversation.wait_for_response(timeout=DEADLINE).text == "one"
    with pytest.raises(rt.ConnectionClosed):
        conversation.wait_for_response(timeout=DEADLINE)
    with pytest.raises(rt.ConnectionClosed):
        conversation.wait_for_item("nothing", timeout=DEADLINE)


def test_no_session_to_wait_in() -> None:
    """Without a session nothing can be waited for, and the error says what to do."""
    with pytest.raises(RuntimeError, match=r"Conversation\(session\)"):
        Conversation().wait_for_item()
    with pytest.raises(RuntimeError, match=r"Conversation\(session\)"):
        Conversation().wait_for_response()


def test_waiting_while_another_thread_runs(talk: Talkers) -> None:
    """Threads may wait while another runs the session; each gets a response of its own."""
    session = talk(*(str(number) for number in range(6)))
    conversation = Conversation(session)
    for _ in range(6):
        session.response.create(when_idle=True)
    got: list[str] = []

    def wait() -> None:
        got.append(conversation.wait_for_response(timeout=DEADLINE).text)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(got) == [str(number) for number in range(6)]


def test_waiting_in_a_handler(talk: Talkers) -> None:
    """A handler may wait; the events go on to the visitor that the session is run with."""
    session = talk("one", "two")
    conversation = Conversation(session)
    got: list[str] = []

    class Asks(rt.Visitor[None]):
        def visit_session_created(self, event: ev.SessionCreated) -> None:
            for _ in range(2):
                got.append(conversation.wait_for_response(session.response.create(), timeout=DEADLINE).text)
            session.close()

    session.run(rt.Visitors(conversation, Asks()), timeout=DEADLINE)
    assert got == ["one", "two"]


def error(**fields: Any) -> str:
    return json.dumps({"type": "error", "event_id": "", "error": {"type": "t", "message": "no", **fields}})


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("fields", [{}, {"code": "conversation_already_has_active_response"}], ids=str)
def test_an_error_that_names_nothing(open_session: Open, named: bool, fields: dict[str, Any]) -> None:
    """While no response runs, an error without an event_id ends the wait for a response."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        caller.text(error(**fields))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation = Conversation(session)
        event_id = session.response.create()
        response = conversation.wait_for_response(event_id if named else None, timeout=DEADLINE)
        assert (response.id, response.status, response.reason) == (None, "failed", "no")
        session.close()


def test_an_error_about_something_else(open_session: Open) -> None:
    """An error that names another event, or that comes while the response runs, ends no wait."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        caller.read_event()
        begun = {"id": "r", "status": "in_progress", "conversation_id": "c"}
        caller.text(
            error(event_id="another"),
            json.dumps({"type": "response.created", "event_id": "", "response": begun}),
            error(),
            error(code="conversation_already_has_active_response"),
            json.dumps(
                {"type": "response.done", "event_id": "", "response": {**begun, "status": "completed"}}
            ),
        )
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        session = open_session(server)
        conversation = Conversation(session)
        event_id = session.response.create()
        session.response.create()  # this one is rejected
        response = conversation.wait_for_response(event_id, timeout=DEADLINE)
        assert (response.id, response.status) == ("r", "completed")
        session.close()


def test_rejections_are_forgotten() -> None:
    """A server that sends errors without end fills no memory."""
    conversation = Conversation()
    for number in range(2000):
        conversation.visit(rt.decode(error(event_id=f"e{number}")))
    assert len(conversation._answers) < 1000
    assert conversation._answers.keys() >= {"e1999"}


# --- Servers of all sorts ----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", SERVER_EVENTS)
def test_every_event(tag: str) -> None:
    """Every event there is can be taken in alone, and twice."""
    event = rt.decode(samples.SERVER[tag])
    told(event)
    told(event, event)
    told(created("resp_001"), event, added(message("item_001")), event, done("resp_001"), event)


def test_without_item_events() -> None:
    """A server that sends no conversation.item events is believed on what its responses make."""
    conversation = told(
        wire("input_audio_buffer.committed", item_id="u", previous_item_id=None),
        created(),
        wire("response.output_item.added", **at(), item=message("i", role="assistant", status="in_progress")),
        wire("response.content_part.added", **at(), part={"type": "text", "text": ""}),
        wire("response.output_text.delta", **at(), delta="Hel"),
        wire("response.output_text.delta", **at(), delta="lo"),
        wire("response.output_item.done", **at(), item=message("i", role="assistant")),
        done(),
        wire("input_audio_buffer.committed", item_id="v", previous_item_id="i"),
    )
    assert ids(conversation) == ["u", "i", "v"]
    assert texts(conversation) == [("user", ""), ("assistant", "Hello"), ("user", "")]
    assert not conversation.deviations


def test_without_a_session_in_doubt() -> None:
    """A response that names no conversation is beside it, until an item event says otherwise."""
    item = message("i", "Hello", role="assistant")
    events = [created(conversation=None), wire("response.output_item.added", **at(), item=item)]
    conversation = told(*events)
    assert conversation.items == []
    assert conversation.responses[0].out_of_band
    assert [item.id for item in conversation.responses[0].items] == ["i"]
    conversation.visit(added(item))
    assert ids(conversation) == ["i"]
    assert not conversation.responses[0].out_of_band
    assert ids(told(*events, done(conversation_id="conv"), added(item))) == ["i"]
    assert told(*events, done()).items == []


def test_no_created_and_no_added() -> None:
    """response.done alone says which items there are, what they hold and how it ended."""
    output = [
        message("j", "one", role="assistant"),
        message("i", "two", role="assistant", status="incomplete"),
    ]
    status = {"reason": "max_output_tokens"}
    conversation = told(
        spoken("?", "k", output_index=2),
        wire("response.output_text.done", **at("i"), text="t"),
        done(status="incomplete", conversation_id="conv", output=output, status_details=status),
    )
    [response] = conversation.responses
    assert [item.id for item in response.items] == ["j", "i", "k"]
    assert [item.status for item in response.items] == ["completed", "incomplete", "incomplete"]
    assert [item.text for item in response.items] == ["one", "two", "?"]
    assert all(item.done for item in response.items)
    assert ids(conversation) == ["j", "i"]
    assert response.reason == "max_output_tokens"


@pytest.mark.parametrize(
    "event",
    [
        wire("response.cancelled", response_id="r"),
        wire("response.cancelled", response={"id": "r", "status": "cancelled"}),
        wire("response.cancelled", response={"id": "r"}),
        wire("response.cancelled", response={"status": "cancelled"}),
        wire("response.cancelled"),
        done(None, "cancelled"),
    ],
    ids=str,
)
def test_cancelled(event: ServerEvent) -> None:
    """However a server says that a response was cancelled, it is."""
    conversation = told(created(), spoken("We"), event)
    [response] = conversation.responses
    assert (response.status, response.done, response.text) == ("cancelled", True, "We")
    assert response.items[0].status == "incomplete"
    conversation.visit(done(status="cancelled", usage={"total_tokens": 3}))
    conversation.visit(wire("response.cancelled", response_id="r"))
    assert (response.status, conversation.usage.total_tokens) == ("cancelled", 3)


def test_failed_with_an_error() -> None:
    """A failed response gives the error's text as its reason."""
    details = {"type": "failed", "error": {"type": "server_error", "code": "busy", "message": None}}
    [response] = told(done(status="failed", status_details=details)).responses
    assert (response.status, response.reason) == ("failed", "busy")


def test_wrong_options() -> None:
    """What is no session, or no dialect, is refused with what was expected."""
    wrong: Any = "wss://localhost"
    with pytest.raises(TypeError, match="session must be a Session or None, got 'wss://localhost'"):
        Conversation(wrong)
    with pytest.raises(ValueError, match="dialect must be 'ga', 'beta' or None, got 'alpha'"):
        Conversation().to_items(dialect="alpha")


def test_usage() -> None:
    """What all responses cost is added up, each once, number by number."""
    usage = {
        "total_tokens": 10,
        "input_tokens": 7,
        "input_token_details": {"text_tokens": 7, "cached_tokens_details": {"text_tokens": 2}},
    }
    conversation = told(
        done("a", usage=usage),
        done("a", usage=usage),
        done("b", usage={"total_tokens": 1, "output_token_details": {"audio_tokens": 5}}),
        done("c", usage=usage),
        done("d"),
    )
    total = conversation.usage
    assert (total.total_tokens, total.input_tokens, total.output_tokens) == (21, 14, 0)
    assert total.input_token_details
    assert total.input_token_details.text_tokens == 14
    assert total.input_token_details.cached_tokens_details
    assert total.input_token_details.cached_tokens_details.text_tokens == 4
    assert total.output_token_details
    assert total.output_token_details.audio_tokens == 5
    assert Conversation().usage == ev.Usage()


def transcribed(kind: str, item: str = "u", **fields: Any) -> ServerEvent:
    kind = f"conversation.item.input_audio_transcription.{kind}"
    return wire(kind, **{"item_id": item, "content_index": 0, **fields})


def test_transcripts() -> None:
    """What the user said is there, also if the transcript comes before its item, and stays."""
    item = message("u")
    item["content"] = [{"type": "input_audio", "transcript": None}]
    segment: dict[str, Any] = {"id": "s", "text": "Good", "speaker": "A", "start": 0.0, "end": 1.0}
    conversation = told(
        transcribed("delta", delta="Good "),
        transcribed("delta", delta="mor"),
        transcribed("segment", **segment),
    )
    assert conversation.items == []
    held = conversation.item("u")
    assert held is not None
    assert (held.text, held.status) == ("Good mor", None)
    conversation.visit(added(item))
    assert conversation.items == [held]
    assert conversation.transcript() == "User: Good mor"
    conversation.visit(transcribed("completed", transcript="Good morning."))
    conversation.visit(wire("conversation.item.done", item=item))
    assert conversation.transcript() == "User: Good morning."
    [part] = held.content
    assert [segment.speaker for segment in part.segments] == ["A"]
    assert part.error is None
    assert "Good morning." in repr(held)
    assert "Good morning." in repr(part)
    assert not conversation.deviations


def test_no_transcript() -> None:
    """Speech that could not be transcribed says why; silence is an empty transcript, and no gap."""
    failed = told(transcribed("failed", error={"code": "too_loud"}), added(message("u")))
    assert failed.items[0].content[0].error == ev.TranscriptionError(code="too_loud")
    assert failed.transcript() == "User: [audio]"
    silent = told(transcribed("completed", transcript=""), added(message("u")))
    assert silent.items[0].content[0].transcript == ""
    assert silent.transcript() == ""


ABSURD = [-1, MOST_INDEX, 10**9, 2**63]


@pytest.mark.parametrize("index", ABSURD)
def test_absurd_indexes(index: int) -> None:
    """What has no place is not kept, and counted; the rest goes on."""
    part = {"type": "text", "text": "x"}
    conversation = told(
        created(),
        spoken("x", content_index=index),
        sound(b"xx", content_index=index),
        wire("response.output_text.done", **at(index=index), text="x"),
        wire("response.content_part.added", **at(index=index), part=part),
        wire("response.content_part.done", **at(index=index), part=part),
        transcribed("delta", "i", content_index=index, delta="x"),
        transcribed("completed", "u", content_index=index, transcript="x"),
        truncated(100, index=index),
        wire("response.output_item.added", response_id="r", output_index=index, item=message("j", "far")),
        spoken("near", output_index=index),
        spoken("er", output_index=index),
        wire("response.mcp_call_arguments.delta", **at("m", output=index), delta="{}"),
        truncated(-5),
        truncated(index),
    )
    assert [(item.id, item.text) for item in conversation.responses[0].items] == [
        ("i", ""),
        ("j", "far"),
        ("m", ""),
    ]
    [near] = conversation.items[0].content
    assert near.generated == "nearer"
    counted = conversation.deviations
    assert counted["response.output_audio_transcript.delta: index out of range"] == 3
    assert counted["response.output_audio.delta: index out of range"] == 1
    assert counted["response.output_item.added: index out of range"] == 1
    assert counted["response.mcp_call_arguments.delta: index out of range"] == 1
    assert counted["conversation.item.input_audio_transcription.delta: index out of range"] == 1
    assert counted["conversation.item.truncated: unknown part"] == 1
    out_of_range = "conversation.item.truncated: milliseconds out of range"
    assert counted[out_of_range] == (2 if index in (-1, 2**63) else 1)


def test_nothing_was_announced() -> None:
    """Deltas of unknown items and responses are kept, and counted."""
    arguments = {"call_id": "c", "delta": "{"}
    conversation = told(
        wire("response.output_text.delta", **at("t"), delta="Hi"),
        sound(b"abcd", "s", content_index=1),
        wire("response.function_call_arguments.delta", **at("f"), **arguments),
        wire("response.function_call_arguments.done", **at("f"), call_id="c", name="go", arguments="{}"),
        wire("response.mcp_call_arguments.done", **at("m"), arguments="[]"),
        wire("conversation.item.done", item=message("d", "D")),
        wire("response.output_item.done", **at("e"), item=message("e", "E")),
        wire("response.mcp_call.failed", output_index=0, item_id="m"),
        wire("mcp_list_tools.failed", item_id="l"),
        wire("conversation.item.deleted", item_id="x"),
        truncated(5, "x"),
        wire("conversation.item.retrieved", item=message("y", "Y")),
    )
    [response] = conversation.responses
    assert [item.id for item in response.items] == ["t", "s", "f", "m", "e"]
    assert [item.type for item in response.items] == [
        "message",
        "message",
        "function_call",
        "mcp_call",
        "message",
    ]
    text, heard, call, mcp, _ = response.items
    assert (text.text, text.role, heard.audio, call.arguments, mcp.arguments) == (
        "Hi",
        "assistant",
        b"abcd",
        "{}",
        "[]",
    )
    assert (call.name, call.call_id, mcp.status) == ("go", "c", "failed")
    assert ids(conversation) == ["d", "y"]
    assert conversation.deviations == {
        "response.output_text.delta: unknown response": 1,
        "response.output_text.delta: unknown item": 1,
        "response.output_text.delta: unknown part": 1,
        "response.output_audio.delta: unknown item": 1,
        "response.output_audio.delta: unknown part": 1,
        "response.function_call_arguments.delta: unknown item": 1,
        "response.mcp_call_arguments.done: unknown item": 1,
        "conversation.item.done: not added": 1,
        "response.output_item.done: not added": 1,
        "mcp_list_tools.failed: unknown item": 1,
        "conversation.item.deleted: unknown item": 1,
        "conversation.item.truncated: unknown item": 1,
        "conversation.item.retrieved: unknown item": 1,
    }


def test_without_ids() -> None:
    """What names no item belongs to the response's last, or nowhere; what names no response to the last."""
    item = message("i", role="assistant", status="in_progress")
    conversation = told(
        spoken("lost", ""),
        created(),
        spoken("lost", ""),
        wire("response.output_item.added", **at(), item=item),
        wire("response.output_item.added", **at(), item={"type": "message", "role": "user", "content": []}),
        spoken("Hel", ""),
        spoken("lo", ""),
        spoken("alone", "a", response_id=""),
        wire("conversation.item.added", item={"type": "hologram"}),
        wire("conversation.item.added", item=["hologram"]),
        wire("conversation.item.added", item={"type": "hologram", "id": "h"}),
        wire("conversation.item.done", item={}),
        wire("conversation.item.retrieved", item={}),
        wire("input_audio_buffer.committed"),
        transcribed("delta", "", delta="x"),
        wire("response.done"),
    )
    assert [(item.id, item.text) for item in conversation.responses[0].items] == [
        ("i", "lostlostHello"),
        ("a", "alone"),
    ]
    assert ids(conversation) == ["i", "a", "h", ""]
    assert (conversation.items[3].role, conversation.items[3].text) == ("user", "x")
    assert conversation.items[2].type == "hologram"
    assert conversation.responses[0].status == "in_progress"
    assert sum(count for kind, count in conversation.deviations.items() if "item without id" in kind) == 7


def test_responses_without_ids() -> None:
    """Responses that have no id are told apart by when they begin and end; an end of nothing is none."""
    conversation = told(
        created("", text="1"),
        spoken("one", "i", response_id=""),
        done("", "completed"),
        created(""),
        spoken("two", "j", response_id=""),
        done(None, "failed"),
        done(None, "completed"),
    )
    assert [(each.text, each.status) for each in conversation.responses] == [
        ("one", "completed"),
        ("two", "failed"),
    ]


def test_one_id_for_all_responses() -> None:
    """Responses that have all the same id are told apart in the same way."""
    conversation = told(
        created("r"),
        spoken("one", "i"),
        done("r", "completed"),
        created("r"),
        spoken("two", "j"),
        done("r", "failed"),
    )
    assert [(each.text, each.status) for each in conversation.responses] == [
        ("one", "completed"),
        ("two", "failed"),
    ]
    assert conversation.response("r") is conversation.responses[1]


def test_an_item_of_another_response() -> None:
    """Each response has items of its own, even if the ids are the same; an ended one takes no other's."""
    item = message("i", "x", role="assistant")
    conversation = told(
        created("r", None),
        created("s", None),
        created("s", None),
        wire("response.output_item.added", **at(), item=item),
        wire("response.output_item.added", **at(response="s"), item=item),
        done("s", output=[item]),
    )
    assert [len(response.items) for response in conversation.responses] == [1, 1]
    other = {**item, "id": "j"}
    conversation.visit(wire("response.output_item.added", **at(output=1), item=other))
    conversation.visit(done("s", output=[item, other]))
    assert [len(response.items) for response in conversation.responses] == [2, 1]
    assert conversation.deviations == {
        "response.created: repeated": 1,
        "response.output_item.added: item id used again": 1,
        "response.done: item of another response": 1,
    }


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("in_items", [True, False])
def test_item_ids_that_are_used_again(announced: bool, in_items: bool) -> None:
    """Where the items of each response are numbered anew, nothing is lost of the earlier ones."""
    conversation = Conversation()
    for response, text in (("r", "First."), ("s", "Second."), ("t", "Third.")):
        item = message("item_0", text, role="assistant")
        begun = message("item_0", role="assistant", status="in_progress")
        events = [created(response)]
        if announced:
            events.append(wire("response.output_item.added", **at(response=response), item=begun))
        if in_items:
            events.append(added(begun))
        events += [
            wire("response.output_text.delta", **at("item_0", response=response), delta=text[:3]),
            wire("response.output_text.delta", **at("item_0", response=response), delta=text[3:]),
            wire("response.output_item.done", **at(response=response), item=item),
            done(response, output=[item]),
        ]
        for event in events:
            conversation.visit(event)
        assert conversation.responses[-1].items == [conversation.item("item_0")]
    assert [response.text for response in conversation.responses] == ["First.", "Second.", "Third."]
    assert texts(conversation) == [("assistant", "First."), ("assistant", "Second."), ("assistant", "Third.")]
    assert sum(conversation.deviations[kind] for kind in conversation.deviations if "item id" in kind) == 2


def test_what_is_late_undoes_nothing() -> None:
    """An item that is finished stays so, whatever comes late or again."""
    item = message("i", "Hello", role="assistant")
    begun = message("i", role="assistant", status="in_progress")
    conversation = told(
        created(),
        wire("conversation.item.created", item=begun),
        wire("conversation.item.done", item=item),
        wire("conversation.item.done", item=item),
        added(begun),
    )
    [held] = conversation.items
    assert (held.status, held.text, held.done) == ("completed", "Hello", True)
    conversation.visit(wire("conversation.item.deleted", item_id="i"))
    conversation.visit(wire("conversation.item.done", item=item))
    conversation.visit(wire("response.output_item.done", **at(), item=item))
    assert conversation.items == []
    conversation.visit(added(message("i", "new")))
    assert texts(conversation) == [("user", "new")]


def test_an_output_before_its_call() -> None:
    """A call and its output find each other in any order."""
    call = {"id": "c", "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    output = {"id": "o", "type": "function_call_output", "call_id": "1", "output": "x"}
    conversation = told(added(output), added(call, "o"))
    assert conversation.items[1].output == "x"
    assert conversation.transcript() == "Tool: f({}) -> x"


def test_repeated_events() -> None:
    """An event that comes twice in a row, with the same id, is taken once; without ids nothing is skipped."""
    twice = [spoken("ha", event_id="e1"), spoken("ha", event_id="e1")]
    conversation = told(created(), *twice, spoken("ha", event_id="e2"))
    assert conversation.responses[0].text == "haha"
    assert conversation.deviations["response.output_audio_transcript.delta: repeated"] == 1
    assert told(created(), spoken("ha"), spoken("ha")).responses[0].text == "haha"


def test_one_id_for_all_events() -> None:
    """A server whose events all have the same id repeats nothing."""
    conversation = told(
        created(), spoken("ha", event_id="e"), spoken("ho", event_id="e"), spoken("ho", event_id="e")
    )
    assert conversation.responses[0].text == "hahoho"


def test_deviations_are_kinds() -> None:
    """However much a server gets wrong, the kinds are few."""
    conversation = Conversation()
    for number in range(500):
        conversation.visit(spoken("x", f"i{number}", response_id=f"r{number}"))
        conversation.visit(done(f"s{number}", output=[{}]))
    assert len(conversation.deviations) < 10


def test_what_becomes_of_sound_is_a_choice_of_three() -> None:
    """Anything else is an error that names them."""
    with pytest.raises(ValueError, match="'keep', 'drop' or a function"):
        Conversation(audio="save")  # type: ignore[arg-type]


def test_an_error_of_the_callback_comes_out() -> None:
    """What the user's function raises comes out; the chunk is counted, and the next one is handed on."""
    heard = []

    def sink(item: ConversationItem, chunk: bytes) -> None:
        heard.append(chunk)
        raise OSError("disk full")

    conversation = told(created(), audio=sink)
    for chunk in (b"ab", b"cd"):
        with pytest.raises(OSError, match="disk full"):
            conversation.visit(sound(chunk))
    assert heard == [b"ab", b"cd"]
    assert conversation.items[0].audio == b""


# --- Against models ----------------------------------------------------------------------------------

ITEMS = st.sampled_from(["a", "b", "c", "d"])
RESPONSES = st.sampled_from(["r", "s"])
PLACES = {"a": ("r", 0), "b": ("r", 1), "c": ("s", 0), "d": ("s", 1)}  # what makes each item, and where
INDEXES = st.sampled_from([0, 0, 0, 1, 2, -1, 999, 1000, 10**9])
TEXT = st.sampled_from(["", "one", " two", " three"])
PREVIOUS = st.sampled_from(["a", "b", "c", "d", "unknown"])
STATUSES = st.sampled_from(["in_progress", "completed", "incomplete"])
PART_TYPES = st.sampled_from(["output_text", "output_audio"])
PARTS = st.lists(
    st.builds(lambda kind, text: {"type": kind, "text": text, "transcript": text}, PART_TYPES, TEXT),
    max_size=2,
)
MESSAGES = st.builds(
    lambda item_id, status, content: {
        **message(item_id, role="assistant", status=status),
        "content": content,
    },
    ITEMS,
    STATUSES,
    PARTS,
)
OF_ITEM = {"item_id": ITEMS, "content_index": INDEXES}
INPUT = "conversation.item.input_audio_transcription"
CHUNKS = st.sampled_from(["", "AAAA" * 16, "////" * 64])  # 48 and 192 bytes


def kind_of(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(name), **fields})


def in_place(fields: dict[str, Any]) -> dict[str, Any]:
    """The event of a response with that response, and the item's place in it unless that is absurd."""
    response, index = PLACES[fields.get("item_id") or fields["item"]["id"]]
    return {**fields, "response_id": response, "output_index": fields["output_index"] or index}


def of_response(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    absurd = st.sampled_from([0, 0, 0, -1, 1000, 10**9])
    return kind_of(name, output_index=absurd, **fields).map(in_place)


def all_of_one(response: dict[str, Any]) -> dict[str, Any]:
    """The same, with all items of its own, each at its place; or with none."""
    found = {item["id"]: item for item in response["output"]}
    own = [item_id for item_id, (owner, _) in PLACES.items() if owner == response["id"]]
    output = [found.get(item_id) or message(item_id, role="assistant") for item_id in own]
    return {**response, "output": output if found.keys() & set(own) else []}


HOSTILE = st.one_of(
    kind_of("conversation.item.added", item=MESSAGES, previous_item_id=PREVIOUS),
    kind_of("conversation.item.created", item=MESSAGES, previous_item_id=PREVIOUS),
    kind_of("conversation.item.done", item=MESSAGES, previous_item_id=PREVIOUS),
    kind_of("conversation.item.deleted", item_id=ITEMS),
    kind_of("conversation.item.truncated", **OF_ITEM, audio_end_ms=st.sampled_from([-1, 0, 1, 3, 10**9])),
    kind_of(f"{INPUT}.delta", **OF_ITEM, delta=TEXT),
    kind_of(f"{INPUT}.completed", **OF_ITEM, transcript=TEXT),
    kind_of(
        "response.created",
        response=st.fixed_dictionaries({"id": RESPONSES, "conversation_id": st.sampled_from([None, "conv"])}),
    ),
    kind_of(
        "response.done",
        response=st.fixed_dictionaries(
            {
                "id": RESPONSES,
                "status": st.sampled_from(["completed", "failed", "cancelled", "incomplete"]),
                "conversation_id": st.sampled_from([None, "conv"]),
                "output": st.lists(MESSAGES, max_size=2),
            }
        ).map(all_of_one),
    ),
    kind_of("response.cancelled", response_id=RESPONSES),
    of_response("response.output_item.added", item=MESSAGES),
    of_response("response.output_item.done", item=MESSAGES),
    of_response(
        "response.content_part.added",
        **OF_ITEM,
        part=st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    ),
    of_response("response.output_text.delta", **OF_ITEM, delta=TEXT),
    of_response("response.text.delta", **OF_ITEM, delta=TEXT),
    of_response("response.output_text.done", **OF_ITEM, text=TEXT),
    of_response("response.output_audio.delta", **OF_ITEM, delta=CHUNKS),
    of_response("response.audio.delta", **OF_ITEM, delta=CHUNKS),
    of_response("response.output_audio_transcript.delta", **OF_ITEM, delta=TEXT),
    of_response("response.output_audio_transcript.done", **OF_ITEM, transcript=TEXT),
)
LOGS = st.lists(st.tuples(HOSTILE, st.integers(1, 2)), max_size=40)


def agree_on(log: list[tuple[dict[str, Any], int]]) -> None:
    """Tell both of the events, some of them twice, and compare all there is."""
    conversation, model = Conversation(), Model()
    for number, (fields, times) in enumerate(log):
        event = rt.decode(json.dumps({**fields, "event_id": f"e{number}"}))
        for _ in range(times):
            conversation.visit(event)
            model.read(event)
        assert ids(conversation) == [name.partition("#")[0] for name in model.order]
    assert set(conversation._items) == model.known
    assert [each.id for each in conversation.responses] == [name.partition("~")[0] for name in model.statuses]
    for each, status in zip(conversation.responses, model.statuses.values(), strict=True):
        assert each.status == status or status == "unsaid"
    items = dict(zip(model.order, conversation.items, strict=True))
    for name in {*model.known, *model.order}:
        item = items.get(name) or conversation.item(name)
        assert item is not None
        assert (item.response_id or "") == model.owner.get(name, "").partition("~")[0]
        assert item.in_conversation == (name in model.order)
        assert sorted(item._parts) == sorted(index for key, index in model.sound if key == name)
        for index, part in item._parts.items():
            key = name, index
            assert part.text == model.written.get(key, "")
            assert part.generated == model.spoken.get(key)
            assert part.audio == model.audio(key)
    conversation.transcript()
    conversation.to_items()


@given(log=LOGS)
@settings(max_examples=60, deadline=None)
def test_agrees_with_a_simple_model(log: list[tuple[dict[str, Any], int]]) -> None:
    """Whatever comes, in whatever order, it is never an exception, and a plain model comes to the same."""
    agree_on(log)


@pytest.mark.slow
@given(log=st.lists(st.tuples(HOSTILE, st.integers(1, 2)), max_size=200))
@settings(max_examples=5000, deadline=None, derandomize=False)
def test_agrees_with_a_simple_model_at_length(log: list[tuple[dict[str, Any], int]]) -> None:
    """The same, with longer logs and many more of them, others in each run."""
    agree_on(log)


Step = Callable[["Server"], None]


class Server:
    """The local server's protocol, of which a conversation is told what it says."""

    def __init__(self, loses: frozenset[str], repeats: bool) -> None:
        self.conversation = Conversation()
        self.talk = Talk(self, audio={"input": {"transcription": {"model": "whisper-1"}}})
        self.loses = loses
        self.repeats = repeats
        self.answers: list[list[Any]] = []
        self.hear(self.talk.opening)

    def respond(self, request: Request) -> list[Any]:
        return self.answers.pop(0) if self.answers else []

    def hear(self, events: list[ServerEvent]) -> None:
        for event in events:
            if event.type not in self.loses:
                for _ in range(1 + self.repeats):
                    self.conversation.visit(event)

    def ids(self) -> list[str]:
        return self.talk.order()

    def some_id(self, number: int) -> str | None:
        known = self.ids()
        return known[number % len(known)] if known else None

    def create(self, number: int, first: bool) -> None:
        content = [{"type": "input_text", "text": f"text {number}"}]
        item = {"type": "message", "role": "user", "content": content}
        after = "root" if first else self.some_id(number)
        self.hear(self.talk.send("conversation.item.create", item=item, previous_item_id=after))

    def answer(self, outputs: list[Any], beside: bool, part: int, by_voice: bool) -> None:
        """A response that the client, or the user, breaks off after some steps."""
        self.answers.append(outputs)
        params = {"conversation": "none"} if beside else {}
        begun = self.talk.send("response.create", response=params)
        self.hear(begun)
        for _ in range(part):
            if self.talk.protocol.due is not None and self.talk.protocol.active:
                self.talk.now = max(self.talk.now, self.talk.protocol.due)
                self.hear(self.talk.protocol.step(self.talk.now))
        if by_voice:
            self.speak([])
        [response_id] = [event.response.id for event in begun if isinstance(event, ev.ResponseCreated)]
        self.hear(self.talk.send("response.cancel", response_id=response_id))

    def speak(self, outputs: list[Any]) -> None:
        """A turn of the user's, which is answered."""
        self.answers.append(outputs)
        self.hear(self.talk.hear(TONE + SILENCE))

    def delete(self, number: int) -> None:
        if item_id := self.some_id(number):
            self.hear(self.talk.send("conversation.item.delete", item_id=item_id))

    def truncate(self, number: int, ms: int) -> None:
        if item_id := self.some_id(number):
            fields = {"item_id": item_id, "content_index": 0, "audio_end_ms": ms}
            self.hear(self.talk.send("conversation.item.truncate", **fields))

    def check(self) -> None:
        """The conversation is what the server has."""
        assert ids(self.conversation) == self.ids()
        for item in self.conversation.items:
            theirs = self.talk.retrieve(item.id)
            assert (item.type, item.done) == (theirs.type if hasattr(theirs, "type") else item.type, True)
            if isinstance(theirs, ev.FunctionCall):
                assert (item.name, item.arguments, item.call_id) == (
                    theirs.name,
                    theirs.arguments,
                    theirs.call_id,
                )
                continue
            [part], [their] = item.content, theirs.content
            assert item.status == theirs.status
            if isinstance(their, ev.InputAudio):
                assert part.transcript == their.transcript
            elif isinstance(their, ev.OutputAudio):
                assert part.audio == their.audio
                if part.truncated_ms is None:
                    assert part.transcript == their.transcript
            else:
                assert part.text == their.text


OUTPUTS = st.lists(
    st.sampled_from([Say("Yes."), Say(SKY, SOUND), Say("No, not quite."), CallFunction("f", {"a": [1, 2]})]),
    max_size=3,
)
STEPS = st.one_of(
    st.builds(
        lambda number, first: lambda server: server.create(number, first), st.integers(0, 9), st.booleans()
    ),
    st.builds(
        lambda *how: lambda server: server.answer(*how),
        OUTPUTS,
        st.booleans(),
        st.integers(0, 60),
        st.booleans(),
    ),
    st.builds(lambda outputs: lambda server: server.speak(outputs), OUTPUTS),
    st.builds(lambda number: lambda server: server.delete(number), st.integers(0, 9)),
    st.builds(
        lambda number, ms: lambda server: server.truncate(number, ms),
        st.integers(0, 9),
        st.sampled_from([1, 50, 100, 350]),
    ),
)
# Each may be lost, since something else says the same.
REDUNDANT = st.frozensets(
    st.sampled_from(
        [
            "response.created",
            "response.output_item.added",
            "response.output_item.done",
            "response.content_part.added",
            "response.content_part.done",
            "input_audio_buffer.committed",
            "conversation.item.input_audio_transcription.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.delta",
            "response.output_audio_transcript.done",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.added",
        ]
    ),
    max_size=1,
)
EVENTFUL = {"steps": st.lists(STEPS, max_size=12), "loses": REDUNDANT, "repeats": st.booleans()}


def agrees_with_the_server(steps: list[Step], loses: frozenset[str], repeats: bool) -> None:
    server = Server(loses, repeats)
    for step in steps:
        step(server)
    server.check()


@given(**EVENTFUL)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_server(steps: list[Step], loses: frozenset[str], repeats: bool) -> None:
    """After any talk it holds what the server holds, also if events came twice or one kind never came."""
    agrees_with_the_server(steps, loses, repeats)


@pytest.mark.slow
@given(**EVENTFUL)
@settings(max_examples=3000, deadline=None, derandomize=False)
def test_agrees_with_the_server_at_length(steps: list[Step], loses: frozenset[str], repeats: bool) -> None:
    """The same, with many more talks, others in each run."""
    agrees_with_the_server(steps, loses, repeats)


# --- Waiting for what was said, and for the last word ---------------------------------------------------


def test_wait_for_transcript(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """What the user said is waited for until it is written down, in turn or by its id."""
    conversation = Conversation(realtime_session)
    audio = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}
    realtime_session.update(audio=audio)
    for _ in range(3):
        realtime_session.input_audio_buffer.append(bytes(24_000))
        realtime_session.input_audio_buffer.commit()
    first = conversation.wait_for_transcript(timeout=DEADLINE)
    assert first.content[0].transcribed
    assert first.text == "Zero point five seconds of audio."
    realtime_session.wait_until(lambda: len(conversation.items) == 3, conversation, DEADLINE)
    third = conversation.wait_for_transcript(conversation.items[2].id, timeout=DEADLINE)
    assert third is conversation.items[2]
    assert conversation.wait_for_transcript(timeout=DEADLINE) is conversation.items[1]
    with pytest.raises(TimeoutError):
        conversation.wait_for_transcript(timeout=0.01)
    assert conversation.wait_for_item(timeout=DEADLINE) is first


def test_wait_for_a_transcript_that_fails() -> None:
    """One that can't be made ends the wait too."""

    class Deaf:
        def transcribe(self, heard: Heard) -> list[str]:
            raise ValueError("nothing to hear")

    with RealtimeServer(transcriber=Deaf()) as server, rt.connect(base_url=server.url) as session:
        conversation = Conversation(session)
        session.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
        session.input_audio_buffer.append(bytes(24_000))
        session.input_audio_buffer.commit()
        item = conversation.wait_for_transcript(timeout=DEADLINE)
    assert item.content[0].error is not None


def test_wait_for_answer(realtime_server: RealtimeServer, realtime_session: rt.Session) -> None:
    """With tools, the answer is the response after those that only call them, and not one beside."""
    realtime_server.expects("Hello").replies(CallFunction("greet", {}))
    realtime_server.expects(function_output="hi").replies("Hi.")
    realtime_server.expects().replies(ValueError("no more"))
    tools = Tools()
    tools.function(lambda: "hi", name="greet")
    conversation = Conversation(realtime_session)
    runner = ToolRunner(realtime_session, tools)
    realtime_session.update(tools=tools.definitions, output_modalities=["text"])
    realtime_session.conversation.item.create("Hello")
    realtime_session.response.create()
    both = rt.Visitors(conversation, runner)
    assert conversation.wait_for_answer(visitor=both, timeout=DEADLINE).text == "Hi."
    with pytest.raises(TimeoutError):
        conversation.wait_for_answer(timeout=0.01)
    realtime_session.response.create()
    assert conversation.wait_for_answer(timeout=DEADLINE).status == "failed"


class Forwards(rt.Visitor[None]):
    """Hands its events on."""

    def __init__(self, *visitors: rt.Visitor[None]) -> None:
        self.visitors = visitors

    def visit(self, event: rt.ServerEvent) -> None:
        for visitor in self.visitors:
            visitor.visit(event)


@pytest.mark.parametrize("way", ["alone", "both", "nested", "forwarded"])
def test_wait_with_a_visitor(realtime_server: RealtimeServer, realtime_session: rt.Session, way: str) -> None:
    """A visitor sees the events of a wait, and so does the conversation, once, however it is told."""
    realtime_server.expects("Hello").replies("Hi.")
    conversation, count = Conversation(realtime_session), Counting()
    visitor: rt.Visitor[Any] = {
        "alone": count,
        "both": rt.Visitors(conversation, count),
        "nested": rt.Visitors(rt.Visitors(count), rt.Visitors(conversation)),
        "forwarded": Forwards(conversation, count),
    }[way]
    realtime_session.conversation.item.create("Hello")
    realtime_session.response.create(output_modalities=["text"])
    assert conversation.wait_for_answer(visitor=visitor, timeout=DEADLINE).text == "Hi."
    assert count.seen["response.done"] == 1
    assert not conversation.deviations
    with pytest.raises(TypeError, match="expected a visitor"):
        conversation.wait_for_answer(visitor=Counting)  # type: ignore[arg-type]  # the class
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        conversation.wait_for_answer(timeout=0.01)


class Counting(rt.Visitor[None]):
    """Counts what it sees."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def default(self, event: rt.ServerEvent) -> None:
        self.seen[event.type] += 1


def test_wait_for_answer_after_mcp_calls(
    realtime_server: RealtimeServer, realtime_session: rt.Session
) -> None:
    """MCP calls that the model has not spoken after are no answer: the runner asks for one."""
    realtime_server.expects("Hello").replies(CallMcpTool("docs", "find", {}, output="blue"))
    realtime_server.expects().replies(CallMcpTool("docs", "find", {}, error="no more"), "It is blue.")
    conversation = Conversation(realtime_session)
    both = rt.Visitors(conversation, ToolRunner(realtime_session, Tools()))
    realtime_session.update(output_modalities=["text"])
    realtime_session.conversation.item.create("Hello")
    realtime_session.response.create()
    answer = conversation.wait_for_answer(visitor=both, timeout=DEADLINE)
    assert [item.type for item in answer.items] == ["mcp_call", "message"]
    assert answer.text == "It is blue."


def test_a_conversation_that_begins_to_listen_late() -> None:
    """What is put after an item that was there before a conversation listened is at its end."""
    ledger, conversation = Ledger(), Conversation()
    early = [added(message("a")), added(message("b"), "a")]
    late = [added(message("d"), "b"), added(message("c"), "a"), added(message("e"), "d")]
    for event in (*early, *late):
        event.__dict__["facts"] = ledger.note(event)
    for event in late:
        conversation.visit(event)
    assert [item.id for item in conversation.items] == ["d", "e", "c"]
