"""The local server's protocol against clients that do anything, in any order."""

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from order import Order

from realtime_sync import events as ev
from realtime_sync.events import CLIENT_EVENTS, ServerEvent, codec
from realtime_sync.local import CallFunction, Protocol, Request, Say
from realtime_sync.local.protocol.responders import CallMcpTool, RequestMcpApproval
from realtime_sync.speech.transcribers import Segment

KINDS = [
    ("realtime", "ga"),
    ("transcription", "ga"),
    ("translation", "ga"),
    ("realtime", "beta"),
    ("transcription", "beta"),
]

QUICK = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,  # the same clients each time: what fails here fails everywhere
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=1000, stateful_step_count=60, derandomize=False)

# --- What a client may set and send --------------------------------------------------------------------


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


FUNCTION = {"type": "function", "name": "f", "parameters": {}}
MCP = {"type": "mcp", "server_label": "m", "server_url": "https://m.example", "allowed_tools": ["t"]}
OTHER_MCP = {"type": "mcp", "server_label": "n", "server_url": "https://n.example"}

server_vad = some(
    threshold=one_of(0.5, 0.0, 1.0, 2.0, -1, "loud"),
    prefix_padding_ms=one_of(0, 20, 300, 2000, -5),
    silence_duration_ms=one_of(0, 100, 200, 500, 3000, -1),
    create_response=st.booleans(),
    interrupt_response=st.booleans(),
    idle_timeout_ms=one_of(5000, 30000, None, 4999),
).map(lambda fields: {"type": "server_vad", **fields})
quick_vad = st.fixed_dictionaries(
    {"type": st.just("server_vad"), "silence_duration_ms": one_of(100, 200)},
    optional={
        "create_response": st.booleans(),
        "interrupt_response": st.booleans(),
        "idle_timeout_ms": one_of(5000, 6000),
        "prefix_padding_ms": one_of(0, 40, 1000),
        "threshold": one_of(0.0, 0.3, 1.0),
    },
)
semantic_vad = some(eagerness=one_of("low", "high", "auto", "x"), create_response=st.booleans()).map(
    lambda fields: {"type": "semantic_vad", **fields}
)
turn_detection = quick_vad | server_vad | semantic_vad | one_of(None, {"type": "none"}, {}, "server_vad")
transcription = one_of(None, {}, {"model": "whisper-1"}, {"model": "gpt-4o-transcribe", "language": "en"})
FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma", "mp3": "mp3"}
ga_formats = one_of(*FORMATS.values()).map(lambda name: {"type": name})
voices = one_of("marin", "cedar", None, "nobody")
tools = one_of([], [FUNCTION], [MCP], [MCP, OTHER_MCP, FUNCTION], [{"type": "x"}], None)
limits = one_of(1, 3, 20, "inf", 0, 10**9)
shared = {
    "instructions": one_of("Be brief.", "", None, 5),
    "tools": tools,
    "tool_choice": one_of("auto", "none", "required", {"type": "function", "name": "f"}, "x"),
}
ga_input = some(
    format=ga_formats,
    transcription=transcription,
    noise_reduction=one_of(None, {"type": "near_field"}),
    turn_detection=turn_detection,
)
ga_output = some(
    format=ga_formats, voice=voices, speed=one_of(1.0, 1.5, 9), language=one_of("de", "fr", "", None)
)
ga_settings = some(
    **shared,
    output_modalities=one_of(["text"], ["audio"], ["text", "audio"], []),
    max_output_tokens=limits,
    audio=some(input=ga_input, output=ga_output),
    include=one_of(["item.input_audio_transcription.logprobs"], None),
)
beta_settings = some(
    **shared,
    modalities=one_of(["text"], ["text", "audio"], ["audio"], []),
    max_response_output_tokens=limits,
    input_audio_format=one_of(*FORMATS),
    output_audio_format=one_of(*FORMATS),
    input_audio_transcription=transcription,
    turn_detection=turn_detection,
    voice=voices,
    temperature=one_of(0.8, 9),
)
params = some(
    **shared,
    output_modalities=one_of(["text"], ["audio"]),
    modalities=one_of(["text"], ["text", "audio"]),
    max_output_tokens=limits,
    conversation=one_of("none", "none", "auto", "x"),
    metadata=one_of({"a": "b"}, {}, None),
    input=st.lists(st.integers(0, 30), max_size=2),  # of items, by number
)

good_settings = some(
    modality=one_of("text", "text", "audio"),
    tokens=one_of(3, 10, "inf"),
    tools=one_of([], [FUNCTION], [MCP], [MCP, OTHER_MCP]),
    heard=one_of("pcm16", "pcm16", "g711_ulaw", "g711_alaw"),
    spoken=one_of("pcm16", "g711_ulaw"),
    voice=one_of("marin", "cedar"),
    transcription=one_of(None, {"model": "whisper-1"}, {"model": "gpt-4o-transcribe", "language": "en"}),
    detection=quick_vad | quick_vad | one_of(None, {"type": "semantic_vad", "eagerness": "high"}),
)
"""What any session takes that has such a thing, by names of our own; see `ga` and `beta`."""


def ga(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """Good settings as GA has them."""
    names = {"transcription": "transcription", "detection": "turn_detection"}
    hearing = {name: given[own] for own, name in names.items() if own in given}
    if kind == "translation":
        return {"audio": {"input": {name: hearing[name] for name in hearing if name == "transcription"}}}
    if "heard" in given:
        hearing["format"] = {"type": FORMATS[given["heard"]]}
    made: dict[str, Any] = {"type": kind, "audio": {"input": hearing}}
    if kind == "transcription":
        return made
    speaking = {"voice": given["voice"]} if "voice" in given else {}
    if "spoken" in given:
        speaking["format"] = {"type": FORMATS[given["spoken"]]}
    made["audio"]["output"] = speaking
    if "modality" in given:
        made["output_modalities"] = [given["modality"]]
    names = {"tokens": "max_output_tokens", "tools": "tools"}
    return made | {name: given[own] for own, name in names.items() if own in given}


def beta(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """Good settings as Beta has them."""
    names = {
        "heard": "input_audio_format",
        "transcription": "input_audio_transcription",
        "detection": "turn_detection",
    }
    if kind == "realtime":
        names |= {"spoken": "output_audio_format", "tokens": "max_response_output_tokens"}
        names |= {"tools": "tools", "voice": "voice"}
    made = {name: given[own] for own, name in names.items() if own in given}
    if kind == "realtime" and "modality" in given:
        made["modalities"] = ["text"] if given["modality"] == "text" else ["text", "audio"]
    return made


PARTS: dict[str, list[dict[str, Any]]] = {
    "user": [{"type": "input_text", "text": "hi"}, {"type": "input_audio", "audio": "AAECAwQF"}],
    "system": [{"type": "input_text", "text": "You are kind."}],
    "assistant": [
        {"type": "output_text", "text": "yes"},
        {"type": "text", "text": "yes"},
        {"type": "output_audio", "transcript": "yes"},
    ],
}
messages = st.sampled_from(
    [{"type": "message", "role": role, "content": [part]} for role, parts in PARTS.items() for part in parts]
)
others: st.SearchStrategy[dict[str, Any]] = one_of(
    {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    {"type": "function_call_output", "call_id": "c", "output": "5"},
    {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
    {"type": "mcp_list_tools", "server_label": "m", "tools": []},
    {"type": "message", "role": "user", "content": []},
    {"type": "message", "role": "nobody", "content": []},
    {"type": "banana"},
    {},
)
items = messages | others

WORDS = "realtime message user input_text none audio/pcm function root a session item_id"
words = st.sampled_from(WORDS.split())
json_values = st.recursive(
    words | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = "session item item_id audio response type content role input output metadata event_id"
MORE_NAMES = "audio_end_ms content_index previous_item_id response_id conversation"
fields = st.sampled_from([*NAMES.split(), *MORE_NAMES.split()])
garbage = (
    st.binary(max_size=20)
    | st.text(max_size=20)
    | json_values.map(json.dumps)
    | one_of(
        '{"type": "session.update", "session": {"type": "realtime", "audio": NaN}}', "\ud800", "[" * 2000
    )
)
event_ids = one_of(None, "mine", "e" * 600, "")

# --- Sound ---------------------------------------------------------------------------------------------

SECOND = 48_000
SOUNDS = {
    "silence": bytes(2 * SECOND),
    "silence in mu-law": b"\xff" * (2 * SECOND),
    "tone": (b"\x00\x20" * 40 + b"\x00\xe0" * 40) * (2 * SECOND // 160),
    "tone in mu-law": (b"\x80" * 20 + b"\x00" * 20) * (2 * SECOND // 40),
    "noise": random.Random(0).randbytes(2 * SECOND),
}

# --- What answers in place of a model --------------------------------------------------------------------


class Broken(Exception):
    """A responder's own."""


outputs = one_of(
    Say("Hello there, how are you?"),
    Say(""),
    Say("One."),
    Say("x", audio=bytes(10_001)),
    Say("silent", audio=b""),
    Say("a\ud83d"),
    CallFunction("f", {"a": 1}),
    CallFunction("g"),
    CallFunction("", ""),
    CallMcpTool("m", "t", {"a": "something longer"}, output="done"),
    CallMcpTool("m", "t", error="it failed"),
    CallMcpTool("m", "t"),
    RequestMcpApproval("m", "t", {"a": 1}),
    Broken("no"),
    42,
)
scripts = st.lists(st.lists(outputs, max_size=3), min_size=1, max_size=4)
transcripts = st.lists(
    st.lists(
        one_of("Hel", "lo", " ", "", Segment("Hm.", "A", 0.0, 1.5), Broken("deaf"), 42, "\ud83d"), max_size=3
    ),
    max_size=3,
)


class Script:
    """Gives, and raises, what it is told to, over and over; both a responder and a transcriber."""

    def __init__(self, answers: list[list[Any]]) -> None:
        self._answers = itertools.cycle(answers or [[]])

    def respond(self, request: Request) -> Iterator[Any]:
        return self._next()

    def transcribe(self, heard: object) -> Iterator[Any]:
        return self._next()

    def _next(self) -> Iterator[Any]:
        for answer in next(self._answers):
            if isinstance(answer, Broken):
                raise answer
            yield answer


# --- The client --------------------------------------------------------------------------------------------


class Client(RuleBasedStateMachine):
    """Sends anything, waits any time, and holds the server to every promise."""

    kind = "realtime"
    dialect = "ga"

    def __init__(self) -> None:
        super().__init__()
        self.order = Order(self.kind, self.dialect)
        self.now = 0.0
        self.well = False
        self.items = ["item_none"]
        self.responses = ["resp_none"]
        self.numbers = itertools.count()

    @initialize(
        script=scripts,
        transcript=transcripts,
        delay=one_of(0.0, 0.05),
        realtime_pace=st.booleans(),
        lifetime=one_of(None, None, None, None, 40.0),
    )
    def open(
        self,
        script: list[list[Any]],
        transcript: list[list[Any]],
        delay: float,
        realtime_pace: bool,
        lifetime: float | None,
    ) -> None:
        self.protocol = Protocol(
            responder=Script(script),
            transcriber=Script(transcript),
            session_type=self.kind,
            dialect=self.dialect,
            delay=delay,
            realtime_pace=realtime_pace,
            lifetime=lifetime,
        )
        self.take(self.protocol.start(self.now))

    # --- Both directions

    def send(self, tag: str, event_id: str | None = None, **body: Any) -> None:
        if event_id is None:
            event_id = f"client_{next(self.numbers)}"
        self.receive(json.dumps({"type": tag, "event_id": event_id, **body}))

    def receive(self, frame: bytes | str) -> None:
        if self.protocol.closing is not None:
            assert self.protocol.receive(frame, self.now) == []
            return
        self.well = False
        self.order.sent(codec.decode_client(frame))
        self.take(self.protocol.receive(frame, self.now))
        self.order.answered()
        self.well = True

    def take(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            complaints: list[codec.Deviation] = []
            back = codec.decode(codec.encode(event), report=complaints.append)
            assert type(back) is type(event)
            assert complaints == []
            self.order.received(back)
            self.learn(back)

    def learn(self, event: ServerEvent) -> None:
        """Keep the ids, to use them again: right, wrong, and too late."""
        item_id = event.item.id if hasattr(event, "item") else getattr(event, "item_id", None)
        if item_id and item_id not in self.items:
            self.items.append(item_id)
        if isinstance(event, ev.ResponseCreated):
            self.responses.append(str(event.response.id))

    def item(self, number: int) -> str:
        """The newest come first."""
        return self.items[-1 - number % len(self.items)]

    # --- What a client does

    @rule(new=ga_settings, kind=one_of(None, None, None, None, "realtime", "transcription"))
    def update(self, new: dict[str, Any], kind: str | None) -> None:
        stated = {} if self.kind == "translation" and kind is None else {"type": kind or self.kind}
        self.send("session.update", session={**stated, **new})

    @rule(new=good_settings)
    def update_well(self, new: dict[str, Any]) -> None:
        if self.dialect == "ga":
            self.send("session.update", session=ga(new, self.kind))
        else:
            prefix = "transcription_" if self.kind == "transcription" else ""
            self.send(f"{prefix}session.update", session=beta(new, self.kind))

    @precondition(lambda self: self.dialect == "beta")
    @rule(new=beta_settings, tag=one_of("session.update", "transcription_session.update"))
    def update_beta(self, new: dict[str, Any], tag: str) -> None:
        self.send(tag, session=new)

    @precondition(lambda self: self.kind == "realtime")
    @rule(count=st.integers(0, 12), beside=st.booleans())
    def ask(self, count: int, beside: bool) -> None:
        """A question, and the beginning of the answer."""
        content = [{"type": "input_text", "text": "How are you?"}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.send("response.create", response={"conversation": "none"} if beside else {})
        self.run(count)

    @precondition(lambda self: self.kind == "realtime")
    @rule(item=items, own=st.integers(0, 60), after=st.integers(-40, 40))
    def create_item(self, item: dict[str, Any], own: int, after: int) -> None:
        ids = {"id": self.item(own)} if own < 20 else {"id": "own_" + str(own)} if own < 40 else {}
        place = {} if after < 0 else {"previous_item_id": "root" if after > 30 else self.item(after)}
        self.send("conversation.item.create", item={**item, **ids}, **place)

    @rule(verb=one_of("retrieve", "delete", "delete"), number=st.integers(0, 20))
    def look_up(self, verb: str, number: int) -> None:
        self.send(f"conversation.item.{verb}", item_id=self.item(number))

    @precondition(lambda self: self.kind == "realtime")
    @rule(number=st.integers(0, 5), index=one_of(0, 0, 1, -1), ms=one_of(1, 100, 0, -1, 10**9))
    def truncate(self, number: int, index: int, ms: int) -> None:
        self.send(
            "conversation.item.truncate", item_id=self.item(number), content_index=index, audio_end_ms=ms
        )

    @rule(
        sound=one_of(*SOUNDS),
        size=st.integers(0, SECOND * 2),
        pieces=st.integers(1, 3),
        event_id=event_ids,
    )
    def append(self, sound: str, size: int, pieces: int, event_id: str | None) -> None:
        audio = SOUNDS[sound][:size]
        step = -(-len(audio) // pieces) or 1
        for start in range(0, len(audio), step):
            self.hear(audio[start : start + step], event_id)

    @rule(pcm=st.booleans(), ms=one_of(30, 80, 200, 400), pause=one_of(0, 90, 250, 600, 1500))
    def speak(self, pcm: bool, ms: int, pause: int) -> None:
        """A word, and a pause that may end the turn."""
        rate, kind = (48, "") if pcm else (8, " in mu-law")
        self.hear(SOUNDS[f"tone{kind}"][: ms * rate], None)
        self.hear(SOUNDS[f"silence{kind}"][: pause * rate], None)

    def hear(self, audio: bytes, event_id: str | None) -> None:
        translated = self.kind == "translation"
        event = ev.SessionInputAudioBufferAppend if translated else ev.InputAudioBufferAppend
        self.receive(codec.encode(event(audio=audio, event_id=event_id)))

    @rule(verb=one_of("commit", "clear"))
    def settle_audio(self, verb: str) -> None:
        self.send(f"input_audio_buffer.{verb}")

    @precondition(lambda self: self.kind == "realtime")
    @rule(given=params, event_id=event_ids)
    def respond(self, given: dict[str, Any], event_id: str | None) -> None:
        if "input" in given:
            given = {**given, "input": [self.mention(number) for number in given["input"]]}
        self.send("response.create", event_id, **({"response": given} if given else {}))

    def mention(self, number: int) -> dict[str, Any]:
        """An item of the conversation, or a new one, to answer in place of the conversation."""
        if number > 20:
            return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "So?"}]}
        return {"type": "item_reference", "id": self.item(number)}

    @precondition(lambda self: self.kind == "realtime")
    @rule(number=st.integers(-3, 3))
    def cancel(self, number: int) -> None:
        which = {} if number < 0 else {"response_id": self.responses[-1 - number % len(self.responses)]}
        self.send("response.cancel", **which)

    @rule(frame=garbage)
    def send_garbage(self, frame: bytes | str) -> None:
        self.receive(frame)

    @rule(tag=one_of(*CLIENT_EVENTS), body=st.dictionaries(fields, json_values, max_size=3))
    def send_nonsense(self, tag: str, body: dict[str, Any]) -> None:
        if tag != "session.close":  # it would be the last thing that most of these clients do
            self.receive(json.dumps({**body, "type": tag}))

    @rule(likely=st.integers(0, 9))
    def close(self, likely: int) -> None:
        if not likely:
            self.send("session.close")

    # --- Time

    @rule(seconds=one_of(0.001, 0.02, 0.3, 1.0, 6.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 30))
    def run(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def step(self) -> None:
        if self.protocol.due is not None and self.protocol.closing is None:
            self.now = max(self.now, self.protocol.due)
        self.well = False
        self.take(self.protocol.step(self.now))
        self.order.answered()
        self.well = True

    @invariant()
    def nothing_comes_before_it_is_due(self) -> None:
        if hasattr(self, "protocol"):
            due = self.protocol.due
            if due is None or due > self.now:
                assert self.protocol.step(self.now) == []
                assert self.protocol.due == due

    def teardown(self) -> None:
        if self.well:
            self.finish()
        vars(self).clear()  # hypothesis keeps the machines, which hold a lot of sound

    def finish(self) -> None:
        self.update_well({"detection": None})  # or idle timeouts go on for ever
        for _ in range(3000):
            if self.protocol.due is None or self.protocol.closing is not None:
                break
            self.step()
        else:
            pytest.fail("it never comes to rest")
        self.order.finish()


def client_of(session_type: str, dialect: str) -> type[Client]:
    return type("Client", (Client,), {"kind": session_type, "dialect": dialect})


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_whatever_a_client_does(kind: tuple[str, str]) -> None:
    """No client makes the protocol raise, break the order, or send what can't be read."""
    run_state_machine_as_test(client_of(*kind), settings=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_whatever_many_clients_do(kind: tuple[str, str]) -> None:
    """The same, for minutes, with other clients each time."""
    run_state_machine_as_test(client_of(*kind), settings=LONG)


EMPTY = {"type": "message", "role": "user", "content": []}
TAKE_THE_NEWEST_ID: list[tuple[str, dict[str, Any]]] = [
    ("create_item", {"item": EMPTY, "own": 0, "after": -1}),
]
DELETE_AND_TAKE = [("look_up", {"verb": "delete", "number": 0}), *TAKE_THE_NEWEST_ID]
HEARD: dict[str, Any] = {"detection": None, "transcription": {"model": "whisper-1"}}
UNHEARD: dict[str, Any] = {"transcription": None}
SPEAK: tuple[str, dict[str, Any]] = ("speak", {"pcm": True, "ms": 200, "pause": 600})
COMMITTED = [("update_well", {"new": HEARD}), SPEAK, ("settle_audio", {"verb": "commit"})]
FOUND: dict[str, tuple[str, list[list[Any]], list[tuple[str, dict[str, Any]]]]] = {
    "the id of speech that goes on": (
        "realtime",
        [[]],
        [("speak", {"pcm": True, "ms": 200, "pause": 0}), *TAKE_THE_NEWEST_ID, SPEAK, SPEAK],
    ),
    "the id of what is being transcribed": ("realtime", [["Hel"]], [*COMMITTED, *DELETE_AND_TAKE]),
    "the id of what is being said": (
        "realtime",
        [[Say("One.")]],
        [("ask", {"count": 2, "beside": False}), *DELETE_AND_TAKE],
    ),
    "the id of what is being listed": (
        "realtime",
        [[]],
        [("update_well", {"new": {"tools": [MCP]}}), ("run", {"count": 1}), *DELETE_AND_TAKE],
    ),
    "a source that nobody wants any more": (
        "translation",
        [["Hel", "lo"]],
        [("update_well", {"new": HEARD}), SPEAK, ("run", {"count": 1}), ("update_well", {"new": UNHEARD})],
    ),
    "a transcript that is none": ("translation", [[42]], [("update_well", {"new": HEARD}), SPEAK, SPEAK]),
    "a transcript that can't be sent": (
        "translation",
        [["\ud83d"]],
        [("update_well", {"new": HEARD}), SPEAK, SPEAK],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name: str) -> None:
    """Clients that once broke something, when the random ones don't come upon it."""
    kind, script, doings = FOUND[name]
    client: Any = client_of(kind, "ga")()
    client.open(script=script, transcript=script, delay=0.0, realtime_pace=False, lifetime=None)
    for doing, how in doings:
        getattr(client, doing)(**how)
    client.teardown()


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
@given(frames=st.lists(garbage, max_size=5))
@settings(QUICK, max_examples=15)
def test_any_frame_is_answered(kind: tuple[str, str], frames: list[bytes | str]) -> None:
    """Each frame that is no event, of any bytes, gets one error, and the session goes on."""
    session_type, dialect = kind
    order = Order(session_type, dialect)
    protocol = Protocol(session_type=session_type, dialect=dialect)
    for event in protocol.start():
        order.received(event)
    for frame in frames:
        order.sent(codec.decode_client(frame))
        [event] = protocol.receive(frame)
        order.received(event)
        order.answered()
        assert protocol.closing is None
    order.finish()
