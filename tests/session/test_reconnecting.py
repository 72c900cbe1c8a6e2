"""A session that outlives its connection: what goes on, what the program sees, and what is lost."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted import DEADLINE
from threads import wait_until

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import CallFunction, Heard, LocalServer, Request, Say
from realtime_sync.voice import Conversation, Playback, ToolRunner, Tools

Open = Callable[..., rt.Session]
SILENCE, SPEECH = bytes(4800), (b"\x00\x30\x00\xd0" * 1200)  # a tenth of a second each


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sessions that reconnect, and closes them."""
    sessions = []

    def open_session(server: LocalServer, **options: Any) -> rt.Session:
        options = {"reconnect": True, **options}
        sessions.append(rt.connect("m", base_url=server.url, api_key="k", **options))
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.close()


def lose(session: rt.Session) -> None:
    """Lose the connection of a session, as a network does."""
    session._reader.gate.line.transport.kill()


def reconnected(session: rt.Session) -> rt.Reconnected:
    """Take events up to the one that tells of the new connection."""
    event = session.run(rt.Visitor[None](), until=rt.Reconnected, timeout=DEADLINE)
    assert event is not None
    return event


class Answers:
    """A responder that keeps the history that it is given, and answers with what a test says."""

    def __init__(self, *answers: Any) -> None:
        self.answers = iter([*answers, *["I see."] * 100])
        self.history: list[Any] = []

    def respond(self, request: Request) -> Any:
        self.history = list(request.items)
        answer = next(self.answers)
        outputs = answer if isinstance(answer, list) else [answer]
        return [Say(output) if isinstance(output, str) else output for output in outputs]


def words(items: list[Any]) -> list[str]:
    """What the messages among items say."""
    texts = []
    for item in items:
        for part in getattr(item, "content", []) or []:
            texts.append(getattr(part, "text", None) or getattr(part, "transcript", None) or f"<{part.type}>")
    return texts


# --- One conversation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_a_talk_goes_on(opened: Open, dialect: str) -> None:
    """The new session has the settings and all items, with their ids; the program sees one event of it."""
    answers = Answers("Blue.", "Rayleigh.")
    with LocalServer(responder=answers) as server:
        session = opened(server, dialect=dialect)
        conversation = Conversation(session)
        text: Any = {"modalities": ["text"]} if dialect == "beta" else {"output_modalities": ["text"]}
        session.update(instructions="Be brief.", **text)
        session.conversation.item.create("What colour is the sky?")
        assert conversation.wait_for_response(session.response.create(), timeout=DEADLINE).text == "Blue."
        before, first_id = [item.id for item in conversation.items], session.id
        lose(session)
        session.conversation.item.create("Why?")
        told: list[str] = []
        seen = rt.Visitors(conversation, _Types(told))
        answer = conversation.wait_for_response(session.response.create(), timeout=DEADLINE, visitor=seen)
        assert answer.text == "Rayleigh."
        assert [item.id for item in conversation.items][: len(before)] == before
        assert words(answers.history) == ["What colour is the sky?", "Blue.", "Why?"]
        assert session.config is not None
        assert session.config.instructions == "Be brief."
        assert session.id not in (None, first_id)
        assert session.stats.reconnects == 1
        assert told.count("reconnected") == 1
        assert "session.created" not in told
        assert told[0] == "reconnected"  # nothing of what was restored comes again


class _Types(rt.Visitor[None]):
    def __init__(self, types: list[str]) -> None:
        self.types = types

    def default(self, event: rt.ServerEvent) -> None:
        self.types.append(event.type)


def test_the_event(opened: Open) -> None:
    """`Reconnected` says why the old connection ended, how long that took, and that nothing was lost."""
    with LocalServer() as server:
        session = opened(server)
        lose(session)
        event = reconnected(session)
        assert isinstance(event.cause, rt.ConnectionClosed)
        assert event.cause.code == 1006
        assert event.attempts == 1
        assert event.seconds >= 0
        assert event.session_id == session.id
        assert event.restored
        assert event.lost == []
        assert event.type == "reconnected"


def test_without_it(opened: Open) -> None:
    """By default a session ends with its connection."""
    with LocalServer() as server:
        session = opened(server, reconnect=False)
        lose(session)
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.run(rt.Visitor[None](), timeout=DEADLINE)
        assert caught.value.attempts == ()


def test_not_after_close(opened: Open) -> None:
    """A session that the user closes, or the server normally, is over."""
    with LocalServer() as server:
        session = opened(server)
        session.close()
        assert [event.type for event in session][1:] == []
        assert session.stats.reconnects == 0


def test_again_and_again(opened: Open) -> None:
    """A connection that is lost twenty times costs nothing of the conversation."""
    answers = Answers()
    with LocalServer(responder=answers) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        for number in range(20):
            session.conversation.item.create(f"number {number}")
            lose(session)
            assert conversation.wait_for_response(session.response.create(), timeout=DEADLINE).text
        said = words(answers.history)
        assert [word for word in said if word.startswith("number")] == [f"number {n}" for n in range(20)]
        assert session.stats.reconnects == 20


# --- Responses -----------------------------------------------------------------------------------------


def test_a_response_is_repeated(opened: Open) -> None:
    """A response that ran is asked for again: waits for it end by its replacement, and no word is doubled."""
    with LocalServer(responder=Answers(Say("one two three four five six"), "seven"), delay=0.02) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        session.conversation.item.create("Count.")
        request = session.response.create()
        session.run(conversation, until=ev.ResponseOutputTextDelta, timeout=DEADLINE)
        lose(session)
        answer = conversation.wait_for_response(request, timeout=DEADLINE)
        assert (answer.status, answer.text) == ("completed", "seven")
        assert [item.text for item in conversation.items] == ["Count.", "seven"]
        assert len(conversation.responses) == 1


def test_a_response_is_not_repeated(opened: Open) -> None:
    """With repeat_responses=False a response that ran is lost, and what there is of it stays."""
    with LocalServer(responder=Answers(Say("one two three four five six")), delay=0.02) as server:
        session = opened(server, reconnect=rt.Reconnect(repeat_responses=False))
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        request = session.response.create()
        session.run(conversation, until=ev.ResponseOutputTextDelta, timeout=DEADLINE)
        lose(session)
        answer = conversation.wait_for_response(request, timeout=DEADLINE)
        assert answer.status == "lost"
        assert answer.reason == "the connection was lost while it ran"
        assert "one" in answer.text
        assert session.active_response is None
        assert conversation.wait_for_response(session.response.create(), timeout=DEADLINE).text == "I see."


class Ear:
    """A speaker that plays nothing by itself, and counts what it is given."""

    def __init__(self) -> None:
        self.played_ms = 0.0
        self.written = self.cleared = 0

    def write(self, audio: bytes) -> None:
        self.written += len(audio)

    def clear(self) -> None:
        self.cleared += 1


def test_a_response_that_was_played(opened: Open) -> None:
    """A response of which something was played is not repeated by default: the user has heard it."""
    with LocalServer(responder=Answers(Say("one two three four", SPEECH * 20)), delay=0.02) as server:
        session = opened(server)
        conversation, ear = Conversation(session), Ear()
        both = rt.Visitors(Playback(session, ear), conversation)
        request = session.response.create()
        session.run(both, until=ev.ResponseOutputAudioDelta, timeout=DEADLINE)
        assert ear.written
        lose(session)
        answer = conversation.wait_for_response(request, timeout=DEADLINE, visitor=both)
        assert answer.status == "lost"


def test_a_response_that_was_not_begun(opened: Open) -> None:
    """What waits for a response to end goes out after it, by whichever connection."""
    with LocalServer(responder=_Counts(), delay=0.02) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        first, second = session.response.create(), session.response.create(when_idle=True)
        lose(session)
        assert conversation.wait_for_response(first, timeout=DEADLINE).text == "first"
        assert conversation.wait_for_response(second, timeout=DEADLINE).text == "second"


class _Counts:
    """A responder that says how many answers there are with its own."""

    def respond(self, request: Request) -> Any:
        before = sum(getattr(item, "role", "") == "assistant" for item in request.items)
        return [Say(("first", "second")[before])]


def test_a_cancelled_response(opened: Open) -> None:
    """A response whose cancellation was asked for is not repeated."""
    with LocalServer(responder=Answers(Say("one two three four five six")), delay=0.02) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        request = session.response.create()
        session.run(conversation, until=ev.ResponseOutputTextDelta, timeout=DEADLINE)
        lose(session)
        session.response.cancel(if_active=True)
        answer = conversation.wait_for_response(request, timeout=DEADLINE)
        assert answer.status == "cancelled"


# --- Tools ---------------------------------------------------------------------------------------------


def test_a_tool_that_runs(opened: Open) -> None:
    """A tool that runs when the connection is lost is not run again; its output follows its call."""
    running, goes_on, runs = threading.Event(), threading.Event(), itertools.count(1)

    def look(place: str) -> str:
        """Look."""
        next(runs)
        running.set()
        assert goes_on.wait(DEADLINE)
        return f"nothing at {place}"

    answers = Answers([CallFunction("look", {"place": "home"})], "Nothing is there.")
    with LocalServer(responder=answers) as server:
        session = opened(server)
        conversation = Conversation(session)
        runner = ToolRunner(session, Tools(look))
        session.update(output_modalities=["text"], tools=runner.tools.definitions)
        session.conversation.item.create("Look!")
        session.response.create()
        both = rt.Visitors(conversation, runner)
        session.wait_until(running.is_set, both, DEADLINE)
        lose(session)
        wait_until(lambda: session.stats.reconnects == 1)
        goes_on.set()
        assert conversation.wait_for_answer(timeout=DEADLINE, visitor=both).text == "Nothing is there."
        assert next(runs) == 2
        kinds = [item.type for item in answers.history]
        assert kinds == ["message", "function_call", "function_call_output"]
        assert conversation.transcript().splitlines()[1] == (
            'Tool: look({"place": "home"}) -> nothing at home'
        )


# --- Speech --------------------------------------------------------------------------------------------


def test_a_sentence_goes_on(opened: Open) -> None:
    """Audio that was not committed is sent again, and what is appended meanwhile follows it."""
    heard: list[bytes] = []
    with LocalServer(responder=Answers(), transcriber=_Hears(heard)) as server:
        session = opened(server)
        conversation = Conversation(session)
        audio = {"input": {"turn_detection": None, "transcription": {"model": "m"}}}
        session.update(output_modalities=["text"], audio=audio)
        session.run(conversation, until=ev.SessionUpdated, timeout=DEADLINE)
        blocks = [bytes([number]) * 4800 for number in range(1, 9)]
        for number, block in enumerate(blocks):
            session.input_audio_buffer.append(block)
            if number == 3:
                lose(session)
        session.input_audio_buffer.commit()
        item = conversation.wait_for_transcript(timeout=DEADLINE)
        assert item.text == "heard"
        assert heard == [b"".join(blocks)]


class _Hears:
    """A transcriber that keeps what it hears."""

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def transcribe(self, heard: Heard) -> Any:
        self.heard.append(heard.audio)
        return ["heard"]


def test_a_turn_that_is_answered_by_the_server(opened: Open) -> None:
    """A turn of speech that the server took just before the connection was lost is answered all the same."""
    with LocalServer(responder=Answers(Say("Yes."), Say("Yes.")), delay=0.05) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.update(output_modalities=["text"])
        for block in [SPEECH] * 10 + [SILENCE] * 10:
            session.input_audio_buffer.append(block)
        session.run(conversation, until=ev.InputAudioBufferCommitted, timeout=DEADLINE)
        lose(session)
        assert conversation.wait_for_answer(timeout=DEADLINE).text == "Yes."
        assert [item.role for item in conversation.items] == ["user", "assistant"]


def test_speech_without_a_transcript(opened: Open) -> None:
    """Speech that was not transcribed is restored as audio while it is kept; else it is lost, and said."""
    answers = Answers()
    with LocalServer(responder=answers) as server:
        for seconds, kept in ((30, True), (0.1, False)):
            session = opened(server, reconnect=rt.Reconnect(audio_buffer=seconds))
            conversation = Conversation(session)
            session.update(output_modalities=["text"], audio={"input": {"turn_detection": None}})
            session.input_audio_buffer.append(SPEECH * 3)
            session.input_audio_buffer.commit()
            conversation.wait_for_item(timeout=DEADLINE)
            lose(session)
            event = session.run(conversation, until=rt.Reconnected, timeout=DEADLINE)
            assert event is not None
            session.conversation.item.create("next")
            conversation.wait_for_response(session.response.create(), timeout=DEADLINE)
            types = [part.type for item in answers.history for part in item.content]
            assert types == ["input_audio", "input_text"][1 - kept :]
            assert len(conversation.items) == 2 + kept
            assert event.restored is kept
            assert ["300 ms of the user's speech" in text for text in event.lost] == [True] * (not kept)


def test_a_truncation_of_what_was_restored(opened: Open) -> None:
    """Speech that was restored as text can still be cut off: the server keeps the words that were heard."""
    answers = Answers(Say("one two three four", SPEECH * 10))
    with LocalServer(responder=answers) as server:
        session = opened(server)
        conversation = Conversation(session)
        session.response.create()
        conversation.wait_for_answer(timeout=DEADLINE)
        [item] = conversation.items
        lose(session)
        session.run(conversation, until=rt.Reconnected, timeout=DEADLINE)
        session.conversation.item.truncate(item.id, audio_end_ms=500)
        session.conversation.item.create("next")
        conversation.wait_for_response(session.response.create(), timeout=DEADLINE)
        assert words(answers.history) == ["one two", "next"]
        assert [each.text for each in conversation.items][:2] == ["one two", "next"]


# --- Starting from an earlier conversation --------------------------------------------------------------


def test_an_earlier_conversation(opened: Open) -> None:
    """A session can begin with the items of another one."""
    answers = Answers()
    with LocalServer(responder=answers) as server:
        first = opened(server)
        conversation = Conversation(first)
        first.update(output_modalities=["text"])
        first.conversation.item.create("Remember the sea.")
        conversation.wait_for_response(first.response.create(), timeout=DEADLINE)
        items = json.loads(json.dumps(words(conversation.to_items())))
        second = opened(server, conversation=conversation.to_items())
        again = Conversation(second)
        second.update(output_modalities=["text"])
        again.wait_for_response(second.response.create(), timeout=DEADLINE)
        assert words(answers.history) == items
