"""The Beta dialect at the edge of the local server's protocol."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from samples import ALL_SERVER, SERVER

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent, SessionConfig, codec
from realtime_sync.local import Protocol
from realtime_sync.local.protocol.beta import beta_param, beta_session, from_beta, ga_session, to_beta
from realtime_sync.local.protocol.refusal import Refused

PCM = {"type": "audio/pcm", "rate": 24000}


def wire(event: Any) -> Any:
    return json.loads(codec.encode(event))


def sent(frame: dict[str, Any]) -> dict[str, Any]:
    """What a Beta client's frame is in GA."""
    event = codec.decode_client(json.dumps(frame))
    assert isinstance(event, ev.ClientEvent)
    return wire(from_beta(event))  # type: ignore[no-any-return]


def received(frame: dict[str, Any]) -> list[dict[str, Any]]:
    """What a GA server's frame is in Beta."""
    return [wire(event) for event in to_beta(codec.decode(json.dumps(frame)))]


def refused(frame: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(Refused) as caught:
        sent(frame)
    return caught.value.code, caught.value.param


# --- Settings ----------------------------------------------------------------------------------------

SETTINGS = [
    ({"modalities": ["text", "audio"]}, {"output_modalities": ["audio"]}),
    ({"modalities": ["audio", "text"]}, {"output_modalities": ["audio"]}),
    ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
    ({"modalities": None}, {"output_modalities": None}),
    ({"instructions": "Be brief."}, {"instructions": "Be brief."}),
    ({"voice": "sage"}, {"audio": {"output": {"voice": "sage"}}}),
    ({"voice": None}, {"audio": {"output": {"voice": None}}}),
    ({"speed": 1.25}, {"audio": {"output": {"speed": 1.25}}}),
    ({"output_audio_format": "pcm16"}, {"audio": {"output": {"format": PCM}}}),
    ({"output_audio_format": "g711_alaw"}, {"audio": {"output": {"format": {"type": "audio/pcma"}}}}),
    ({"input_audio_format": "g711_ulaw"}, {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}),
    ({"input_audio_format": None}, {"audio": {"input": {"format": None}}}),
    (
        {"input_audio_transcription": {"model": "whisper-1"}},
        {"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
    ),
    ({"input_audio_transcription": None}, {"audio": {"input": {"transcription": None}}}),
    (
        {"input_audio_noise_reduction": {"type": "near_field"}},
        {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
    ),
    (
        {"turn_detection": {"type": "server_vad", "threshold": 0.3}},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.3}}}},
    ),
    ({"turn_detection": None}, {"audio": {"input": {"turn_detection": None}}}),
    ({"max_response_output_tokens": 7}, {"max_output_tokens": 7}),
    ({"max_response_output_tokens": None}, {"max_output_tokens": None}),
    ({"temperature": 0.6}, {"temperature": 0.6}),
    ({"tools": [], "tool_choice": "none"}, {"tools": [], "tool_choice": "none"}),
    ({"tracing": None, "truncation": "disabled"}, {"tracing": None, "truncation": "disabled"}),
    ({}, {}),
]


@pytest.mark.parametrize(("flat", "nested"), SETTINGS, ids=lambda value: json.dumps(value)[:40])
def test_settings_are_nested(flat: dict[str, Any], nested: dict[str, Any]) -> None:
    """Each of Beta's flat settings has its place in GA; absent stays absent, null stays null."""
    frame = {"type": "session.update", "event_id": "mine", "session": flat}
    ga = {"type": "session.update", "event_id": "mine", "session": {"type": "realtime", **nested}}
    assert sent(frame) == ga


SIDE_BY_SIDE = {
    "modalities": st.sampled_from([["text"], ["text", "audio"]]),
    "instructions": st.text(max_size=5),
    "voice": st.sampled_from(["sage", ev.CustomVoice(id="voice_1")]),
    "input_audio_format": st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"]),
    "output_audio_format": st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"]),
    "input_audio_transcription": st.just(ev.AudioTranscription(model="whisper-1")),
    "turn_detection": st.sampled_from([ev.ServerVad(threshold=0.3), ev.SemanticVad(eagerness="low")]),
    "input_audio_noise_reduction": st.just(ev.NoiseReduction(type="far_field")),
    "speed": st.floats(0.25, 1.5),
    "temperature": st.floats(0.6, 1.2),
    "max_response_output_tokens": st.integers(1, 4096) | st.just("inf"),
    "tools": st.just([ev.FunctionTool(name="f")]),
    "tool_choice": st.sampled_from(["auto", "required"]),
    "include": st.just(["item.input_audio_transcription.logprobs"]),
    "tracing": st.just("auto"),
    "truncation": st.sampled_from(["auto", ev.RetentionRatio(retention_ratio=0.5)]),
    "prompt": st.just(ev.Prompt(id="pmpt_1")),
    "model": st.just("gpt-realtime"),
}


@settings(deadline=None, max_examples=40)
@given(
    st.fixed_dictionaries(
        {}, optional={name: st.just(None) | values for name, values in SIDE_BY_SIDE.items()}
    )
)
def test_settings_come_back(fields: dict[str, Any]) -> None:
    """What a Beta client sets is what it is shown: no setting is lost, changed or made up on the way."""
    flat = SessionConfig(**fields)
    assert beta_session(ga_session(flat)) == flat


@pytest.mark.parametrize("name", ["session.created", "session.updated"])
def test_session_is_announced_flat(name: str) -> None:
    """A session is shown in Beta's fields, all of them, and in no other."""
    [event] = received(json.loads(SERVER[name]))
    assert event["type"] == name
    session = event["session"]
    assert session.keys() - {"truncation"} == {
        "id", "object", "expires_at", "model", "modalities", "instructions", "voice", "input_audio_format",
        "output_audio_format", "input_audio_transcription", "turn_detection", "input_audio_noise_reduction",
        "speed", "tracing", "tools", "tool_choice", "temperature", "max_response_output_tokens", "prompt",
        "include",
    }  # fmt: skip
    assert session["temperature"] == 0.8


def test_temperature_is_remembered() -> None:
    """A temperature that was set is the one that is shown."""
    session = {"type": "realtime", "temperature": 1.1}
    [event] = received({"type": "session.updated", "event_id": "event_1", "session": session})
    assert event["session"] == {"temperature": 1.1}


@pytest.mark.parametrize(
    ("setting", "code", "param"),
    [
        ({"modalities": ["audio"]}, "invalid_value", "session.modalities"),
        ({"modalities": []}, "invalid_value", "session.modalities"),
        ({"modalities": ["text", "text"]}, "invalid_value", "session.modalities"),
        ({"input_audio_format": "audio/pcm"}, "invalid_value", "session.input_audio_format"),
        ({"output_audio_format": "mp3"}, "invalid_value", "session.output_audio_format"),
        ({"temperature": 0.5}, "invalid_value", "session.temperature"),
        ({"temperature": 1.3}, "invalid_value", "session.temperature"),
        ({"type": "realtime"}, "unknown_parameter", "session.type"),
        ({"id": "sess_1"}, "unknown_parameter", "session.id"),
        ({"output_modalities": ["text"]}, "unknown_parameter", "session.output_modalities"),
        ({"audio": None}, "unknown_parameter", "session.audio"),
        ({"max_output_tokens": 5}, "unknown_parameter", "session.max_output_tokens"),
        ({"reasoning": {"effort": "low"}}, "unknown_parameter", "session.reasoning"),
        ({"parallel_tool_calls": True}, "unknown_parameter", "session.parallel_tool_calls"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], code: str, param: str) -> None:
    """GA's fields are unknown in Beta, and Beta's take Beta's values."""
    assert refused({"type": "session.update", "session": setting}) == (code, param)


def test_secret_is_ignored() -> None:
    """Beta's schema has the secret among the settings; sending it does nothing."""
    secret = {"value": "ek_1", "expires_at": 1}
    assert sent({"type": "session.update", "session": {"client_secret": secret}})["session"] == {
        "type": "realtime"
    }


# --- Transcription sessions --------------------------------------------------------------------------


def test_transcription_session_is_updated() -> None:
    """Beta's transcription sessions have an update event of their own."""
    session = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}}
    assert sent({"type": "transcription_session.update", "event_id": "mine", "session": session}) == {
        "type": "session.update",
        "event_id": "mine",
        "session": {
            "type": "transcription",
            "audio": {"input": {"format": PCM, "transcription": {"model": "whisper-1"}}},
        },
    }


@pytest.mark.parametrize("field", ["voice", "instructions", "modalities", "temperature", "audio", "model"])
def test_transcription_session_does_not_answer(field: str) -> None:
    """A transcription session has no settings for answers."""
    frame = {"type": "transcription_session.update", "session": {field: None}}
    assert refused(frame) == ("unknown_parameter", f"session.{field}")


@pytest.mark.parametrize("verb", ["created", "updated"])
def test_transcription_session_is_announced(verb: str) -> None:
    """A transcription session is shown flat, by its own events."""
    hearing = {"format": {"type": "audio/pcma"}, "transcription": None, "turn_detection": None}
    session = {
        "type": "transcription",
        "id": "sess_1",
        "object": "realtime.transcription_session",
        "audio": {"input": hearing},
        "include": None,
    }
    assert received({"type": f"session.{verb}", "event_id": "event_1", "session": session}) == [
        {
            "type": f"transcription_session.{verb}",
            "event_id": "event_1",
            "session": {
                "id": "sess_1",
                "object": "realtime.transcription_session",
                "input_audio_format": "g711_alaw",
                "input_audio_transcription": None,
                "turn_detection": None,
                "include": None,
            },
        }
    ]


# --- Responses ---------------------------------------------------------------------------------------


def test_response_settings_are_nested() -> None:
    """What a Beta client sets for one response is what GA knows."""
    flat = {
        "modalities": ["text", "audio"],
        "voice": "sage",
        "output_audio_format": "g711_ulaw",
        "temperature": 0.7,
        "max_output_tokens": 20,
        "conversation": "none",
        "metadata": {"a": "b"},
        "input": [{"type": "item_reference", "id": "item_1"}],
    }
    assert sent({"type": "response.create", "response": flat})["response"] == {
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "sage", "format": {"type": "audio/pcmu"}}},
        "temperature": 0.7,
        "max_output_tokens": 20,
        "conversation": "none",
        "metadata": {"a": "b"},
        "input": [{"type": "item_reference", "id": "item_1"}],
    }


@pytest.mark.parametrize("response", [None, {}])
def test_response_without_settings(response: Any) -> None:
    """A response that sets nothing sets nothing in GA either."""
    event = from_beta(ev.ResponseCreate(response=None if response is None else ev.ResponseCreateParams()))
    assert wire(event).get("response") == response


@pytest.mark.parametrize(
    ("setting", "code", "param"),
    [
        ({"modalities": ["audio"]}, "invalid_value", "response.modalities"),
        ({"output_audio_format": "pcm"}, "invalid_value", "response.output_audio_format"),
        ({"temperature": 2}, "invalid_value", "response.temperature"),
        ({"output_modalities": ["text"]}, "unknown_parameter", "response.output_modalities"),
        ({"audio": {}}, "unknown_parameter", "response.audio"),
        (
            {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text"}]}]},
            "invalid_value",
            "response.input[0].content[0].type",
        ),
    ],
)
def test_wrong_response_settings_are_refused(setting: dict[str, Any], code: str, param: str) -> None:
    """A response takes Beta's fields and values only."""
    assert refused({"type": "response.create", "response": setting}) == (code, param)


def test_response_is_flat() -> None:
    """A response is shown in Beta's fields."""
    [event] = received(json.loads(SERVER["response.done"]))
    response = event["response"]
    assert response["output"][0]["content"] == [
        {"type": "audio", "transcript": "Loud and clear! I can hear you."}
    ]
    flat = {"modalities": ["text", "audio"], "voice": "marin", "output_audio_format": "pcm16"}
    assert flat.items() <= response.items()
    assert response["temperature"] == 0.8
    assert response["max_output_tokens"] == 4096
    assert not response.keys() & {"audio", "output_modalities"}


# --- Items -------------------------------------------------------------------------------------------


def message(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)}


def created(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": item}


BETA_SPEECH = [{"type": "text", "text": "A cat."}, {"type": "audio", "audio": "AAA=", "transcript": "Cat."}]
GA_SPEECH = [
    {"type": "output_text", "text": "A cat."},
    {"type": "output_audio", "audio": "AAA=", "transcript": "Cat."},
]


def test_assistant_content_from_beta() -> None:
    """The assistant's parts have GA's types once they are inside."""
    assert sent(created(message("assistant", *BETA_SPEECH)))["item"]["content"] == GA_SPEECH


def test_assistant_content_to_beta() -> None:
    """The assistant's parts have Beta's types when they come out."""
    item = message("assistant", *GA_SPEECH)
    [event] = received({"type": "conversation.item.retrieved", "event_id": "event_1", "item": item})
    assert event["item"]["content"] == BETA_SPEECH


@pytest.mark.parametrize(
    "item",
    [
        message("user", {"type": "input_text", "text": "Hi."}, {"type": "input_audio", "audio": "AAA="}),
        message("system", {"type": "input_text", "text": "Be brief."}),
        message("user", {"type": "text", "text": "for the checks to refuse"}),
        {"type": "function_call_output", "call_id": "call_1", "output": "{}"},
    ],
)
def test_other_items_are_the_same(item: dict[str, Any]) -> None:
    """Everything but what the assistant says is the same in both."""
    assert sent(created(item))["item"] == item


@pytest.mark.parametrize("part", GA_SPEECH)
def test_ga_content_is_refused(part: dict[str, Any]) -> None:
    """GA's content types have no meaning in Beta."""
    item = message("assistant", BETA_SPEECH[0], part)
    assert refused(created(item)) == ("invalid_value", "item.content[1].type")


# --- Events ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ga", "beta"),
    [
        ("response.output_text.delta", "response.text.delta"),
        ("response.output_text.done", "response.text.done"),
        ("response.output_audio.delta", "response.audio.delta"),
        ("response.output_audio.done", "response.audio.done"),
        ("response.output_audio_transcript.delta", "response.audio_transcript.delta"),
        ("response.output_audio_transcript.done", "response.audio_transcript.done"),
        ("conversation.item.added", "conversation.item.created"),
    ],
)
def test_older_names(ga: str, beta: str) -> None:
    """Seven events have another name, and otherwise the same content."""
    frame = json.loads(SERVER[ga])
    assert received(frame) == [frame | {"type": beta}]


@pytest.mark.parametrize(
    "name",
    [
        "conversation.item.done",
        "input_audio_buffer.timeout_triggered",
        "session.closed",
        "session.output_audio.delta",
    ],
)
def test_events_that_beta_has_not(name: str) -> None:
    """What only GA tells is not told."""
    assert received(json.loads(SERVER[name])) == []


@pytest.mark.parametrize("type_", ["session.close", "session.input_audio_buffer.append"])
def test_client_events_that_beta_has_not(type_: str) -> None:
    """Translation came after Beta."""
    assert refused({"type": type_, "audio": ""}) == ("invalid_value", "type")


GA_ONLY = {
    "output_text", "output_audio", "output_modalities", "audio/pcm", "audio/pcmu", "audio/pcma",
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_SERVER)
def test_every_event_translates(name: str) -> None:
    """Whatever the protocol sends becomes a Beta event that decodes as what it is."""
    event: ServerEvent = codec.decode(ALL_SERVER[name])
    for translated in to_beta(event):
        report: list[codec.Deviation] = []
        assert codec.decode(codec.encode(translated), report=report.append) == translated
        assert not report
        assert translated.event_id == event.event_id
        assert not GA_ONLY & set(_strings(wire(translated)))


def _strings(value: Any) -> list[str]:
    """All keys and strings in a value, at any depth."""
    if isinstance(value, dict):
        return [*value, *(text for part in value.values() for text in _strings(part))]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return [value] if isinstance(value, str) else []


# --- Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ga", "beta"),
    [
        ("session.output_modalities[0]", "session.modalities[0]"),
        ("session.audio.input.format.type", "session.input_audio_format"),
        ("session.audio.input.format", "session.input_audio_format"),
        ("session.audio.input.transcription.model", "session.input_audio_transcription.model"),
        ("session.audio.input.noise_reduction.type", "session.input_audio_noise_reduction.type"),
        ("session.audio.input.turn_detection.threshold", "session.turn_detection.threshold"),
        ("session.audio.output.voice", "session.voice"),
        ("session.audio.output.speed", "session.speed"),
        ("session.max_output_tokens", "session.max_response_output_tokens"),
        ("session.type", "type"),
        ("response.audio.output.voice", "response.voice"),
        ("response.audio.output.format.rate", "response.output_audio_format"),
        ("response.output_modalities", "response.modalities"),
        ("response.max_output_tokens", "response.max_output_tokens"),
        ("session.output_modalities_of_another_kind", "session.output_modalities_of_another_kind"),
        ("session.tools[0].type", "session.tools[0].type"),
        ("item.content[0].type", "item.content[0].type"),
        ("item_id", "item_id"),
        ("", ""),
    ],
)
def test_error_params(ga: str, beta: str) -> None:
    """An error names the field as a Beta client wrote it."""
    assert beta_param(ga) == beta


def test_absent_is_not_null() -> None:
    """A setting that isn't there stays out of the way."""
    assert ga_session(SessionConfig()) == SessionConfig()
    assert beta_session(SessionConfig()) == SessionConfig()
    assert beta_session(SessionConfig(audio=None)).voice is UNSET


# --- A whole session ---------------------------------------------------------------------------------


class Talk:
    """A Beta client of one protocol."""

    def __init__(self, **options: Any) -> None:
        self.protocol = Protocol(dialect="beta", **options)
        self.opening = [wire(event) for event in self.protocol.start()]

    def send(self, type: str, **fields: Any) -> list[dict[str, Any]]:  # noqa: A002  # the wire's name
        frame = json.dumps({"type": type, "event_id": "mine", **fields})
        return [wire(event) for event in self.protocol.receive(frame)]

    def update(self, **settings: Any) -> dict[str, Any]:
        [event] = self.send("session.update", session=settings)
        return event["session"]  # type: ignore[no-any-return]

    def error(self, type: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        [event] = self.send(type, **fields)
        assert event["error"]["event_id"] == "mine"
        return event["error"]  # type: ignore[no-any-return]

    def turn(self, **params: Any) -> list[dict[str, Any]]:
        events = self.send("response.create", response=params)
        while self.protocol.active:
            events += [wire(event) for event in self.protocol.step()]
        return events


def test_opening() -> None:
    """A session begins with its settings and its conversation."""
    session, conversation = Talk(model="gpt-realtime").opening
    assert session["type"] == "session.created"
    flat = {
        "object": "realtime.session",
        "model": "gpt-realtime",
        "modalities": ["text", "audio"],
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "max_response_output_tokens": "inf",
        "temperature": 0.8,
    }
    assert flat.items() <= session["session"].items()
    assert conversation["type"] == "conversation.created"
    assert conversation["conversation"]["id"]


def test_settings_are_merged() -> None:
    """An update changes what it names, null brings the default back, and all is shown."""
    talk = Talk()
    before = talk.opening[0]["session"]
    changed = {
        "voice": "sage",
        "modalities": ["text"],
        "temperature": 1.1,
        "output_audio_format": "g711_ulaw",
    }
    assert talk.update(**changed) == before | changed
    assert talk.update(instructions="Be brief.") == before | changed | {"instructions": "Be brief."}
    assert talk.update(temperature=None, modalities=None, voice=None)["temperature"] == 0.8
    assert talk.protocol.session.output_modalities == ["audio"]


@pytest.mark.parametrize(
    ("modalities", "part", "delta"),
    [(["text"], "text", "response.text.delta"), (["text", "audio"], "audio", "response.audio.delta")],
)
def test_turn(modalities: list[str], part: str, delta: str) -> None:
    """A turn is told by Beta's events alone, in Beta's order."""
    talk = Talk()
    talk.update(modalities=modalities)
    content = [{"type": "input_text", "text": "Hi."}]
    [created_item] = talk.send(
        "conversation.item.create", item={"type": "message", "role": "user", "content": content}
    )
    assert created_item["type"] == "conversation.item.created"
    events = talk.turn()
    names = [event["type"] for event in events]
    assert names[:4] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
    ]
    assert delta in names
    assert names[-1] == "response.done"
    assert not [name for name in names if "output_text" in name or "output_audio" in name]
    response = events[-1]["response"]
    assert response["modalities"] == modalities
    assert [made["type"] for made in response["output"][0]["content"]] == [part]
    assert events[2]["previous_item_id"] == created_item["item"]["id"]


@pytest.mark.parametrize(
    ("setting", "code", "param"),
    [
        ({"voice": "nobody"}, "invalid_value", "session.voice"),
        ({"speed": 9}, "invalid_value", "session.speed"),
        ({"max_response_output_tokens": 0}, "invalid_value", "session.max_response_output_tokens"),
        ({"turn_detection": {"type": "magic"}}, "invalid_value", "session.turn_detection.type"),
        ({"turn_detection": {"type": "server_vad", "threshold": 7}}, "invalid_value",
         "session.turn_detection.threshold"),
        ({"input_audio_format": "mp3"}, "invalid_value", "session.input_audio_format"),
        ({"max_output_tokens": 5}, "unknown_parameter", "session.max_output_tokens"),
        ({"output_modalities": ["text"]}, "unknown_parameter", "session.output_modalities"),
        ({"colour": "red"}, "unknown_parameter", "session.colour"),
        ({"voice": 5}, "invalid_type", "session.voice"),
    ],
)  # fmt: skip
def test_errors_name_what_the_client_wrote(setting: dict[str, Any], code: str, param: str) -> None:
    """What is rejected is named as the client spelled it, and nothing changes."""
    talk = Talk()
    error = talk.error("session.update", session=setting)
    assert (error["code"], error["param"]) == (code, param)
    assert param in error["message"]
    assert "audio." not in error["message"]
    assert talk.update() == talk.opening[0]["session"]


def test_temperature_of_a_response() -> None:
    """A response is shown with the temperature it was made with."""
    talk = Talk()
    talk.update(temperature=0.7, modalities=["text"])
    assert talk.turn()[-1]["response"]["temperature"] == 0.7
    assert talk.turn(temperature=0.9)[-1]["response"]["temperature"] == 0.9


def test_transcription_session() -> None:
    """A transcription session has its own events, and can't be updated as another kind."""
    talk = Talk(session_type="transcription")
    assert talk.opening[0]["type"] == "transcription_session.created"
    session = {"input_audio_format": "g711_alaw", "turn_detection": None}
    [updated] = talk.send("transcription_session.update", session=session)
    assert updated["type"] == "transcription_session.updated"
    assert session.items() <= updated["session"].items()
    error = talk.error("session.update", session={"instructions": "Be brief."})
    assert (error["code"], error["param"]) == ("invalid_value", "type")
