"""The local server's protocol, without sockets."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talk import Talk, item_id, kinds, wire

from realtime_sync import events as ev
from realtime_sync.events import CLIENT_EVENTS, ServerEvent, codec
from realtime_sync.local import (
    CallFunction,
    DefaultResponder,
    Protocol,
    Request,
    Say,
    ScriptedResponder,
)
from realtime_sync.local.protocol.speech import speech
from realtime_sync.sound.formats import _to_a_law, _to_mu_law

E = TypeVar("E", bound=ServerEvent)

RATES = [("audio/pcm", 48_000), ("audio/pcmu", 8000), ("audio/pcma", 8000)]
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


# --- The order of a response, written once --------------------------------------------------------


class Checker:
    """Reads the events of one response in the order in which they may come, and compares them."""

    def __init__(self, events: list[ServerEvent], *, beside: bool = False) -> None:
        self.events = list(events)
        self.beside = beside
        self.items: list[Any] = []

    def check(self) -> ev.Response:
        """All of it; returns the response as ``response.done`` has it."""
        assert len({event.event_id for event in self.events}) == len(self.events)
        created = self.take(ev.ResponseCreated).response
        assert (created.status, created.output, created.usage) == ("in_progress", [], None)
        self.id = created.id
        while isinstance(self.events[0], ev.ResponseOutputItemAdded):
            self.item()
        self.take(ev.RateLimitsUpdated)
        done = self.take(ev.ResponseDone).response
        assert self.events == []
        assert (done.id, done.output) == (created.id, self.items)
        assert (done.conversation_id is None) == self.beside
        assert done.conversation_id == created.conversation_id
        check_usage(done.usage)
        return done

    def take(self, kind: type[E]) -> E:
        event = self.events.pop(0)
        assert type(event) is kind
        assert isinstance(event, kind)
        if hasattr(event, "response_id"):
            assert event.response_id == self.id
        return event

    def take_all(self, *wanted: type[ServerEvent]) -> Iterator[ServerEvent]:
        while isinstance(self.events[0], wanted):
            yield self.take(type(self.events[0]))

    def item(self) -> None:
        added = self.take(ev.ResponseOutputItemAdded)
        assert added.output_index == len(self.items)
        item: Any = added.item
        assert item.status == "in_progress"
        if not self.beside:
            entered = self.take(ev.ConversationItemAdded)
            assert entered.item == item
        whole: Any = self.call(item) if isinstance(item, ev.FunctionCall) else self.message(item)
        done: Any = self.take(ev.ResponseOutputItemDone).item
        assert done.id == item.id
        assert done.status in ("completed", "incomplete")
        assert (done.arguments if isinstance(done, ev.FunctionCall) else done.content) == whole
        if not self.beside:
            left = self.take(ev.ConversationItemDone)
            assert (left.item, left.previous_item_id) == (done, entered.previous_item_id)
        self.items.append(done)

    def message(self, item: ev.Message) -> list[Any]:
        assert item.content == []
        part = self.take(ev.ResponseContentPartAdded).part
        if isinstance(part, ev.Text):
            text = "".join(e.delta for e in self.take_all(ev.ResponseOutputTextDelta))  # type: ignore[attr-defined]
            assert self.take(ev.ResponseOutputTextDone).text == text
            assert self.take(ev.ResponseContentPartDone).part == ev.Text(text=text)
            return [ev.OutputText(text=text)]
        assert part == ev.Audio(transcript="")
        deltas = list(self.take_all(ev.ResponseOutputAudioTranscriptDelta, ev.ResponseOutputAudioDelta))
        text = "".join(e.delta for e in deltas if isinstance(e, ev.ResponseOutputAudioTranscriptDelta))
        self.take(ev.ResponseOutputAudioDone)
        assert self.take(ev.ResponseOutputAudioTranscriptDone).transcript == text
        assert self.take(ev.ResponseContentPartDone).part == ev.Audio(transcript=text)
        return [ev.OutputAudio(transcript=text)]

    def call(self, item: ev.FunctionCall) -> str:
        assert item.arguments == ""
        assert item.call_id
        deltas = self.take_all(ev.ResponseFunctionCallArgumentsDelta)
        arguments = "".join(e.delta for e in deltas)  # type: ignore[attr-defined]
        done = self.take(ev.ResponseFunctionCallArgumentsDone)
        assert (done.arguments, done.name, done.call_id) == (arguments, item.name, item.call_id)
        return arguments


def check_usage(usage: ev.Usage | None) -> None:
    assert usage
    given, made = usage.input_token_details, usage.output_token_details
    assert given
    assert made
    assert usage.input_tokens == given.text_tokens + given.audio_tokens + given.image_tokens
    assert usage.output_tokens == made.text_tokens + made.audio_tokens
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def check_turn(events: list[ServerEvent], *, beside: bool = False) -> ev.Response:
    return Checker(events, beside=beside).check()


def audio_of(events: list[ServerEvent]) -> bytes:
    return b"".join(e.delta for e in events if isinstance(e, ev.ResponseOutputAudioDelta))


TURNS: list[tuple[str, dict[str, Any]]] = [
    ("What is new?", {"output_modalities": ["text"]}),
    ("Hi", {"output_modalities": ["audio"]}),
    ('call weather {"city": "Reykjavik"}', {"tools": [WEATHER]}),
]


@pytest.mark.parametrize(("text", "params"), TURNS)
@pytest.mark.parametrize("beside", [False, True])
def test_a_whole_turn(text: str, params: dict[str, Any], beside: bool) -> None:
    """Every kind of answer streams in the legal order, in the conversation and beside it."""
    talk = Talk()
    talk.say(text)
    events = talk.turn(**params, conversation="none" if beside else "auto")
    response = check_turn(events, beside=beside)
    assert (response.status, response.status_details) == ("completed", None)
    assert len(talk.order()) == (1 if beside else 2)


@pytest.mark.parametrize(("text", "params"), TURNS)
@pytest.mark.parametrize("beside", [False, True])
def test_cancel_anywhere(text: str, params: dict[str, Any], beside: bool) -> None:
    """A response cancelled after any number of steps closes everything it had opened."""
    steps = 0
    while True:
        talk = Talk()
        talk.say(text)
        conversation = "none" if beside else "auto"
        events = talk.send("response.create", response={**params, "conversation": conversation})
        created = events[0]
        assert isinstance(created, ev.ResponseCreated)
        for _ in range(steps):
            events += talk.protocol.step()
        if not talk.protocol.active:
            break
        item_was_done = "response.output_item.done" in kinds(events)
        events += talk.send("response.cancel", response_id=created.response.id)
        response = check_turn(events, beside=beside)
        assert response.status == "cancelled"
        details = ev.ResponseStatusDetails(type="cancelled", reason="client_cancelled")
        assert response.status_details == details
        for item in response.output or []:
            assert item.status == ("completed" if item_was_done else "incomplete")  # type: ignore[union-attr]
        assert talk.protocol.step() == []
        check_turn(talk.turn(output_modalities=["text"]))
        steps += 1
    assert steps > 5


def test_several_items() -> None:
    """One response may say something and call functions; each item has its place."""
    script = ScriptedResponder([[Say("One moment."), CallFunction("a"), CallFunction("b", {"x": 1})]])
    talk = Talk(script, output_modalities=["text"])
    response = check_turn(talk.turn())
    assert [type(item).__name__ for item in response.output or []] == [
        "Message",
        "FunctionCall",
        "FunctionCall",
    ]
    assert len(talk.order()) == 3


def test_the_audio_is_kept() -> None:
    """The audio of an answer comes in deltas, and whole from retrieve, and nowhere else."""
    talk = Talk()
    talk.say("Hello")
    events = talk.turn()
    assert len(audio_of(events)) > 48_000
    [item] = check_turn(events).output or []
    kept = talk.retrieve(item_id(item))
    assert kept.content[0].audio == audio_of(events)
    assert kept.content[0].transcript == item.content[0].transcript  # type: ignore[union-attr]


def test_deltas_are_small_and_interleaved() -> None:
    """Audio comes in pieces of at most 100 ms; the words come along with it."""
    talk = Talk()
    talk.say("Hello there")
    deltas = [e for e in talk.turn() if e.type.endswith("delta")]
    assert all(len(e.delta) <= 4800 for e in deltas if isinstance(e, ev.ResponseOutputAudioDelta))
    assert len(set(kinds(deltas[:2]))) == 2


def test_a_responder_that_fails() -> None:
    """An exception in the responder fails the response, closes what is open, and nothing else."""

    class Broken:
        def respond(self, request: Request) -> Iterator[Say]:
            yield Say("So far, so good.")
            raise ZeroDivisionError("oh no")

    talk = Talk(Broken(), output_modalities=["text"])
    response = check_turn(talk.turn())
    assert response.status == "failed"
    assert response.status_details
    assert response.status_details.error
    assert response.status_details.error.message == "ZeroDivisionError: oh no"
    assert check_turn(talk.turn()).status == "failed"


@pytest.mark.parametrize("answer", [[42], RuntimeError("no")])
def test_a_responder_that_answers_nonsense(answer: Any) -> None:
    """What is no answer fails the response too."""
    talk = Talk(ScriptedResponder([answer]))
    assert check_turn(talk.turn()).status == "failed"


@pytest.mark.parametrize("config", [{"output_modalities": ["text"]}, {"output_modalities": ["audio"]}])
@pytest.mark.parametrize(
    "answer",
    [
        Say("a\ud83d"),
        CallFunction("a\ud83d"),
        CallFunction("f", '{"a": "\ud83d"}'),
        ValueError("a\ud83d"),
    ],
    ids=["text", "name", "arguments", "exception"],
)
def test_what_the_wire_cannot_carry(answer: Any, config: dict[str, Any]) -> None:
    """Half a surrogate pair from a responder fails the response, and every event can still be sent."""
    talk = Talk(ScriptedResponder([answer, "whole again"]), **config)
    failed, completed = talk.turn(), talk.turn()
    assert check_turn(failed).status == "failed"
    assert check_turn(completed).status == "completed"
    for event in failed + completed:
        codec.encode(event)


def test_the_token_limit() -> None:
    """A response that reaches max_output_tokens ends as incomplete."""
    talk = Talk(output_modalities=["text"])
    talk.say("Tell me all about it")
    response = check_turn(talk.turn(max_output_tokens=5))
    assert response.status == "incomplete"
    assert response.status_details == ev.ResponseStatusDetails(type="incomplete", reason="max_output_tokens")
    assert response.usage
    assert 5 <= response.usage.output_tokens <= 7


def test_one_response_at_a_time() -> None:
    """A second response in the conversation is refused, one beside it is not."""
    talk = Talk(output_modalities=["text"])
    first = talk.send("response.create")
    assert talk.error("response.create").code == "conversation_already_has_active_response"
    second = talk.send("response.create", response={"conversation": "none", "metadata": {"which": "2"}})
    events = first + second + talk.steps()
    ids = [e.response.id for e in (*first, *second) if isinstance(e, ev.ResponseCreated)]
    assert ids[0] != ids[1]
    for response_id in ids:
        own = [e for e in events if response_id in (getattr(e, "response_id", None), wire_response(e))]
        assert own[-1].type == "response.done"


def wire_response(event: ServerEvent) -> str | None:
    return event.response.id if isinstance(event, ev.ResponseCreated | ev.ResponseDone) else None


def test_cancel_without_id() -> None:
    """A cancel without an id means the response in the conversation; without one it is refused."""
    talk = Talk()
    assert talk.error("response.cancel").code == "response_cancel_not_active"
    talk.send("response.create", response={"conversation": "none"})
    assert talk.error("response.cancel").code == "response_cancel_not_active"
    assert talk.error("response.cancel", response_id="resp_none").code == "response_cancel_not_active"
    assert talk.protocol.active
    talk.steps()
    assert talk.protocol.step() == []


def test_overrides_for_one_response() -> None:
    """A response may have its own settings and input; the session keeps its own."""
    script = ScriptedResponder(["one", "two"])
    talk = Talk(script, instructions="Be kind.", tools=[])
    old = talk.say("old")
    response = check_turn(
        talk.turn(
            instructions="Be quick.",
            tools=[WEATHER],
            output_modalities=["text"],
            metadata={"a": "b"},
            audio={"output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"}},
            input=[
                {"type": "item_reference", "id": old},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "new"}]},
            ],
        )
    )
    assert response.metadata == {"a": "b"}
    assert response.output_modalities == ["text"]
    assert response.audio == ev.AudioConfig(
        output=ev.AudioOutputConfig(format=ev.AudioFormat(type="audio/pcmu"), voice="cedar")
    )
    asked = script.requests[0]
    assert (asked.instructions, asked.last_user_text, len(asked.items)) == ("Be quick.", "new", 2)
    assert asked.declares("weather")
    talk.turn()
    asked = script.requests[1]
    assert (asked.instructions, asked.output_modalities, asked.declares("weather")) == (
        "Be kind.",
        ["audio"],
        False,
    )


def test_empty_input_clears_the_context() -> None:
    """`input: []` gives the model nothing of the conversation."""
    script = ScriptedResponder(["x"])
    talk = Talk(script)
    talk.say("secret")
    talk.turn(input=[])
    assert (script.requests[0].items, script.requests[0].last_user_text) == ([], "")


@pytest.mark.parametrize(("kind", "rate"), RATES)
def test_output_formats(kind: str, rate: int) -> None:
    """Speech comes in the session's format, about 60 ms per character."""
    talk = Talk(ScriptedResponder(["x" * 50]), audio={"output": {"format": {"type": kind}}})
    assert len(audio_of(talk.turn())) == 3 * rate


def test_own_audio() -> None:
    """A responder may bring the sound itself."""
    talk = Talk(ScriptedResponder([Say("x", audio=b"\x01\x02" * 5000)]))
    assert audio_of(talk.turn()) == b"\x01\x02" * 5000


# --- Session -----------------------------------------------------------------------------------------


def test_the_session_opens_with_one_event() -> None:
    """session.created carries the whole default session, and is alone."""
    [event] = Talk().opening
    assert isinstance(event, ev.SessionCreated)
    session = wire(event)["session"]
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert session["id"].startswith("sess_")
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
            "idle_timeout_ms": None,
        },
    }
    assert session["audio"]["output"]["voice"] == "marin"


def test_other_kinds_of_sessions() -> None:
    """A kind of session that isn't there is the programmer's mistake, not the client's."""
    with pytest.raises(ValueError, match="banana"):
        Protocol(session_type="banana")
    with pytest.raises(ValueError, match="banana"):
        Protocol(dialect="banana")


def test_the_same_frames_give_the_same_events() -> None:
    """The protocol has no clock and no chance in it."""

    def run() -> list[bytes]:
        talk = Talk()
        talk.say("Hello")
        return [codec.encode(event) for event in talk.opening + talk.turn()]

    assert run() == run()


def test_update_merges_by_presence() -> None:
    """What an update leaves out stays, also within audio; the answer is the whole session."""
    talk = Talk(instructions="Be brief.")
    vad = {"type": "server_vad", "threshold": 0.25}
    session = talk.update(audio={"input": {"turn_detection": vad}, "output": {"speed": 1.5}})
    assert session["instructions"] == "Be brief."
    assert session["audio"]["input"]["turn_detection"] == {
        **vad,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
        "idle_timeout_ms": None,
    }
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.5,
    }
    assert talk.update() == session


def test_null_clears() -> None:
    """A null brings a field back to what a session starts with, and turns turn detection off."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    fresh = talk.update()
    assert fresh["audio"]["input"]["turn_detection"] is None
    talk.update(
        tools=[WEATHER], tracing="auto", audio={"input": {"turn_detection": {"type": "semantic_vad"}}}
    )
    assert talk.update(tools=None, tracing=None, audio={"input": {"turn_detection": None}}) == fresh


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": None}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"model": "other"}, "cannot_update_model", "session.model"),
        ({"foo": 1}, "unknown_parameter", "session.foo"),
        ({"voice": "cedar"}, "unknown_parameter", "session.voice"),
        ({"id": "sess_mine"}, "unknown_parameter", "session.id"),
        ({"audio": {"input": {"bar": 1}}}, "unknown_parameter", "session.audio.input.bar"),
        ({"tools": [WEATHER, {**WEATHER, "x": 1}]}, "unknown_parameter", "session.tools[1].x"),
        ({"tools": [{"type": "banana"}]}, "invalid_value", "session.tools[0].type"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[].name"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
        ({"audio": "loud"}, "invalid_type", "session.audio"),
        ({"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
        ({"tool_choice": {"type": "x"}}, "invalid_value", "session.tool_choice.type"),
        ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
        (
            {"audio": {"input": {"format": {"type": "pcm16"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        ({"audio": {"output": {"speed": 2}}}, "invalid_value", "session.audio.output.speed"),
        (
            {"audio": {"input": {"turn_detection": {"type": "psychic_vad"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
    ],
)
def test_updates_that_are_refused(session: dict[str, Any], code: str, param: str) -> None:
    """A wrong update names the field, and changes nothing."""
    talk = Talk()
    before = talk.update()
    if session and "type" not in session:
        session = {"type": "realtime", "instructions": "changed", **session}
    error = talk.error("session.update", session=session)
    assert (error.code, error.param) == (code, param)
    assert talk.update() == before


def test_voice_is_settled_once_heard() -> None:
    """The voice can change until audio was spoken, then never, not even for one response."""
    talk = Talk()
    talk.update(audio={"output": {"voice": "cedar"}})
    talk.turn(output_modalities=["text"])
    talk.update(audio={"output": {"voice": "marin"}})
    talk.turn()
    other = {"audio": {"output": {"voice": "cedar"}}}
    error = talk.error("session.update", session={"type": "realtime", **other})
    assert (error.code, error.param) == ("cannot_update_voice", "session.audio.output.voice")
    error = talk.error("response.create", response=other)
    assert (error.code, error.param) == ("cannot_update_voice", "response.audio.output.voice")
    talk.update(audio={"output": {"voice": "marin"}})


# --- Frames that can't be obeyed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"hello", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"type": "response.create", "response": {"metadata": {"a": NaN}}}', "invalid_json", None),
        (b'{"type": "response.create", "x": "\xff"}', "invalid_json", None),
        (b"{}", "missing_required_parameter", "type"),
        (b'{"type": "response.destroy"}', "invalid_value", "type"),
        (b'{"type": "output_audio_buffer.clear"}', "invalid_value", "type"),
        (b'{"type": "session.close"}', "invalid_value", "type"),
        (b'{"type": "session.update"}', "missing_required_parameter", "session"),
        (b'{"type": "response.cancel", "event_id": 5}', "invalid_type", "event_id"),
        (b'{"type": "response.create", "foo": 5}', "unknown_parameter", "foo"),
        (b'{"type": "response.create", "response": {"foo": 5}}', "unknown_parameter", "response.foo"),
        (
            b'{"type": "response.create", "response": {"conversation": "x"}}',
            "invalid_value",
            "response.conversation",
        ),
        (
            b'{"type": "response.create", "response": {"audio": {"input": {}}}}',
            "unknown_parameter",
            "response.audio.input",
        ),
        (b'{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        (b'{"type": "input_audio_buffer.append", "audio": "a*b"}', "invalid_value", "audio"),
        (b'{"type": "conversation.item.delete", "item_id": 7}', "invalid_type", "item_id"),
    ],
)
def test_frames_that_are_refused(frame: bytes, code: str, param: str | None) -> None:
    """Any other nonsense is one error that names code and field; the session goes on."""
    talk = Talk()
    [event] = talk.protocol.receive(frame)
    assert isinstance(event, ev.ErrorEvent)
    assert (event.error.code, event.error.param) == (code, param)
    assert not talk.protocol.active
    check_turn(talk.turn())


def test_an_error_names_the_unknown_events_id() -> None:
    """The event_id comes back even for an event that nobody knows."""
    assert Talk().error("response.destroy").code == "invalid_value"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = "session item item_id audio response type content role input output tools metadata format id"
MORE_NAMES = "audio_end_ms content_index previous_item_id conversation tool_choice voice"
WORDS = "realtime message user input_text none audio/pcm function root a"
fields = st.sampled_from([*NAMES.split(), *MORE_NAMES.split()])
words = st.sampled_from(WORDS.split())
likely = st.recursive(
    words | json_values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)
frames_of_any_kind = st.lists(
    st.tuples(st.sampled_from(sorted(CLIENT_EVENTS)), st.dictionaries(fields, likely, max_size=3))
)


@given(frames_of_any_kind)
@settings(deadline=None, max_examples=80)
def test_nothing_a_client_sends_raises(frames: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever comes, the answers are events that the codec takes back without a complaint."""
    talk = Talk()
    complaints: list[codec.Deviation] = []
    for tag, body in frames:
        for event in talk.protocol.receive(json.dumps({**body, "type": tag})) + talk.protocol.step():
            assert type(codec.decode(codec.encode(event), report=complaints.append)) is type(event)
    assert complaints == []


# --- Conversation -------------------------------------------------------------------------------------


def test_items_go_where_they_are_sent() -> None:
    """An item goes to the end, to the root or after another; the events name the one before."""
    talk = Talk()
    b = talk.say("b")
    d = talk.say("d")
    a = talk.say("a", previous_item_id="root")
    c = talk.say("c", previous_item_id=b)
    assert talk.order() == [a, b, c, d]
    item = {"type": "message", "role": "system", "content": []}
    for previous, expected in ((None, d), ("root", None), (b, b)):
        added = talk.send("conversation.item.create", item=item, previous_item_id=previous)[0]
        assert isinstance(added, ev.ConversationItemAdded)
        assert added.previous_item_id == expected


def test_created_items_are_completed() -> None:
    """The server gives id, object and status where the client gave none, and keeps what it gave."""
    talk = Talk()
    kept = talk.retrieve(talk.add({"type": "function_call_output", "call_id": "c", "output": "5"}))
    assert (kept.object, kept.status, kept.output) == ("realtime.item", "completed", "5")
    own = {
        "id": "mine",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "t"}],
    }
    assert talk.add(own) == "mine"
    assert talk.retrieve("mine").content == [ev.OutputText(text="t")]


def test_audio_only_on_request() -> None:
    """Events leave a message's audio out; retrieve gives it."""
    talk = Talk()
    part = {"type": "input_audio", "audio": "AAEC", "transcript": "um"}
    item = {"type": "message", "role": "user", "content": [part]}
    for event in talk.send("conversation.item.create", item=item):
        assert wire(event)["item"]["content"] == [{"type": "input_audio", "transcript": "um"}]
    [kept] = talk.order()
    [whole] = talk.retrieve(kept).content
    assert (whole.audio, whole.transcript) == (b"\0\1\2", "um")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "banana"}, "invalid_value", "item.type"),
        ({"role": "user"}, "missing_required_parameter", "item.type"),
        ({"type": "item_reference", "id": "x"}, "invalid_value", "item.type"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        ({"type": "message", "role": "pope", "content": []}, "invalid_value", "item.role"),
        (
            {"type": "message", "role": "user", "content": [{"type": "output_text", "text": ""}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": ""}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "txt": ""}]},
            "unknown_parameter",
            "item.content[0].txt",
        ),
        (
            {"type": "message", "role": "user", "content": [], "id": "taken"},
            "item_create_duplicate_item_id",
            "item.id",
        ),
    ],
)
def test_items_that_are_refused(item: dict[str, Any], code: str, param: str) -> None:
    """An item that makes no sense is refused, and is not in the conversation."""
    talk = Talk()
    talk.add({"id": "taken", "type": "message", "role": "user", "content": []})
    error = talk.error("conversation.item.create", item=item)
    assert (error.code, error.param) == (code, param)
    assert talk.order() == ["taken"]


def test_ids_that_nobody_has() -> None:
    """An unknown item id is refused by every event that takes one."""
    talk = Talk()
    for verb in ("retrieve", "delete"):
        error = talk.error(f"conversation.item.{verb}", item_id="x")
        assert (error.code, error.param) == (f"item_{verb}_invalid_item_id", "item_id")
    error = talk.error("conversation.item.truncate", item_id="x", content_index=0, audio_end_ms=1)
    assert (error.code, error.param) == ("item_truncate_invalid_item_id", "item_id")
    item = {"type": "message", "role": "user", "content": []}
    error = talk.error("conversation.item.create", item=item, previous_item_id="x")
    assert error.param == "previous_item_id"
    error = talk.error("response.create", response={"input": [{"type": "item_reference", "id": "x"}]})
    assert error.param == "response.input[0].id"


def test_delete() -> None:
    """A deleted item is gone, and the model no longer reads it."""
    script = ScriptedResponder(["x"])
    talk = Talk(script)
    a, b = talk.say("a"), talk.say("b")
    [event] = talk.send("conversation.item.delete", item_id=b)
    assert isinstance(event, ev.ConversationItemDeleted)
    assert event.item_id == b
    assert talk.order() == [a]
    talk.turn()
    assert script.requests[0].last_user_text == "a"


def test_delete_what_is_being_written() -> None:
    """An item deleted while it is written is still closed for the response, not for the conversation."""
    talk = Talk(output_modalities=["text"])
    events = talk.send("response.create") + talk.protocol.step()
    added = next(e for e in events if isinstance(e, ev.ResponseOutputItemAdded))
    talk.send("conversation.item.delete", item_id=item_id(added.item))
    events += talk.steps()
    assert "response.output_item.done" in kinds(events)
    assert "conversation.item.done" not in kinds(events)
    assert talk.order() == []


def test_truncate() -> None:
    """Truncating cuts the audio, takes the transcript away, and says so."""
    talk = Talk(ScriptedResponder(["x" * 50]))
    [item] = check_turn(talk.turn()).output or []
    ids = {"item_id": item_id(item), "content_index": 0}
    [event] = talk.send("conversation.item.truncate", **ids, audio_end_ms=1500)
    assert isinstance(event, ev.ConversationItemTruncated)
    assert (event.item_id, event.content_index, event.audio_end_ms) == (item_id(item), 0, 1500)
    [part] = talk.retrieve(item_id(item)).content
    assert (len(part.audio), part.transcript) == (72_000, None)
    for wrong in (0, -1, 1501, 10**30):
        assert talk.error("conversation.item.truncate", **ids, audio_end_ms=wrong).param == "audio_end_ms"
    assert talk.retrieve(item_id(item)).content == [part]


def test_truncate_only_the_assistants_audio() -> None:
    """Text, other parts and other people's messages can't be truncated."""
    talk = Talk(output_modalities=["text"])
    [item] = check_turn(talk.turn()).output or []
    for target, index in ((item_id(item), 0), (item_id(item), 1), (item_id(item), -1), (talk.say("x"), 0)):
        talk.error("conversation.item.truncate", item_id=target, content_index=index, audio_end_ms=1)


# --- The user's audio ---------------------------------------------------------------------------------


def append(talk: Talk, audio: bytes) -> None:
    frame = codec.encode(ev.InputAudioBufferAppend(audio=audio))
    assert talk.protocol.receive(frame) == []


@pytest.mark.parametrize(("kind", "rate"), RATES)
def test_commit(kind: str, rate: int) -> None:
    """100 ms of audio become a user message, in pieces or in one; the answer says how long it was."""
    talk = Talk(
        audio={"input": {"format": {"type": kind}, "turn_detection": None}}, output_modalities=["text"]
    )
    before = talk.say("Listen")
    append(talk, bytes(rate // 10 - 1))
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"
    append(talk, bytes(1))
    committed, added, done = talk.send("input_audio_buffer.commit")
    assert isinstance(committed, ev.InputAudioBufferCommitted)
    assert isinstance(added, ev.ConversationItemAdded)
    assert isinstance(done, ev.ConversationItemDone)
    assert committed.previous_item_id == added.previous_item_id == before
    assert committed.item_id == item_id(added.item)
    assert isinstance(added.item, ev.Message)
    assert wire(added)["item"]["role"] == "user"
    assert wire(added)["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert talk.retrieve(committed.item_id).content[0].audio == bytes(rate // 10)
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"
    [item] = check_turn(talk.turn()).output or []
    assert item.content[0].text == "I heard 0.1 seconds of audio."  # type: ignore[union-attr]


def test_clear() -> None:
    """Clearing throws the buffer away."""
    talk = Talk()
    append(talk, bytes(48_000))
    assert kinds(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert talk.error("input_audio_buffer.commit").code == "input_audio_buffer_commit_empty"


# --- The default responder and its voice ----------------------------------------------------------------


def answer(talk: Talk) -> Any:
    [item] = check_turn(talk.turn()).output or []
    return item


def test_answers_mention_the_question() -> None:
    """Each question gets its own answer, always the same."""
    talk = Talk(output_modalities=["text"])
    talk.say("Why is the sky blue?")
    first = answer(talk).content[0].text
    assert "Why is the sky blue?" in first
    assert len(first.split()) > 8
    talk.say("And the grass green?")
    assert "And the grass green?" in answer(talk).content[0].text


def test_call_on_request() -> None:
    """`call NAME {json}` calls a declared function, and its result is quoted."""
    talk = Talk(tools=[WEATHER], output_modalities=["text"])
    talk.say('call weather {"city": "Oslo"}')
    call = answer(talk)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    talk.add({"type": "function_call_output", "call_id": call.call_id, "output": "rain, 7 degrees"})
    assert "rain, 7 degrees" in answer(talk).content[0].text
    talk.say("call weather")
    assert answer(talk).arguments == "{}"


def test_no_call_of_what_is_not_declared() -> None:
    """A function that is not declared, or must not be called, is not called."""
    talk = Talk(tools=[WEATHER], output_modalities=["text"])
    talk.say("call tides")
    assert isinstance(answer(talk), ev.Message)
    talk.update(tool_choice="none")
    talk.say("call weather")
    assert isinstance(answer(talk), ev.Message)


def test_nothing_said() -> None:
    """Asked without a message, the default responder still answers."""
    assert list(DefaultResponder().respond(Request()))


def test_a_script_that_is_used_up() -> None:
    """A script answers in order, keeps what it was asked, and fails when it is used up."""
    script = ScriptedResponder(["one"])
    talk = Talk(script, output_modalities=["text"])
    talk.say("hello")
    assert answer(talk).content[0].text == "one"
    assert check_turn(talk.turn()).status == "failed"
    assert [request.last_user_text for request in script.requests] == ["hello", "hello"]


def test_g711() -> None:
    """Silence and the loudest samples are encoded as G.711 has them, and louder stays louder."""
    assert [_to_mu_law(s) for s in (0, 32767, -32768)] == [0xFF, 0x80, 0x00]
    assert [_to_a_law(s) for s in (0, 32767, -32768)] == [0xD5, 0xAA, 0x2A]
    loudness = [0x7F - (_to_mu_law(s) & 0x7F) for s in range(32768)]
    assert loudness == sorted(loudness)
    loudness = [(_to_a_law(s) ^ 0x55) & 0x7F for s in range(32768)]
    assert loudness == sorted(loudness)


def test_speech_can_be_heard() -> None:
    """The sound is not silence, and has no jump where seconds are joined."""
    sound = memoryview(speech("x" * 40, "audio/pcm")).cast("h")
    assert max(sound) > 2000
    assert max(abs(b - a) for a, b in pairwise(sound)) < 500
