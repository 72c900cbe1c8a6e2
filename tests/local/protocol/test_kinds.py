"""What the local server does beside answering: transcription, translation, MCP, pace, the session's end."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from talk import Talk, item_id, kinds, wire
from tones import append, one, silence, tone

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent, SessionConfig, codec
from realtime_sync.local import (
    CallMcpTool,
    DefaultTranscriber,
    Heard,
    Protocol,
    RequestMcpApproval,
    Say,
    ScriptedResponder,
    Segment,
)
from realtime_sync.local.protocol.refusal import Refused

TRANSCRIPTION = "conversation.item.input_audio_transcription"
WHISPER = {"model": "whisper-1"}


class Hearing:
    """Hears the same each time, and remembers what it was given."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.heard: list[Heard] = []

    def transcribe(self, heard: Heard) -> Iterator[str | Segment]:
        self.heard.append(heard)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def transcripts(events: Iterable[ServerEvent]) -> list[Any]:
    return [event for event in events if event.type.startswith(TRANSCRIPTION)]


# --- Transcription ----------------------------------------------------------------------------------


def test_no_transcription_unless_asked() -> None:
    """Without a transcription model, nothing is transcribed."""
    talk = Talk(output_modalities=["text"])
    assert not transcripts(talk.hear(tone(300) + silence(600)))


def test_transcription_of_a_turn() -> None:
    """What was said is given in deltas, then whole, and kept with the item."""
    hearing = Hearing("Good", " morning")
    talk = Talk.to(transcriber=hearing)
    talk.update(
        output_modalities=["text"],
        audio={
            "input": {"transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Names"}}
        },
    )
    events = talk.hear(tone(300) + silence(600))
    first, second, completed = transcripts(events)
    assert (first.delta, second.delta, completed.transcript) == ("Good", " morning", "Good morning")
    item = one(events, ev.InputAudioBufferCommitted).item_id
    assert {event.item_id for event in (first, second, completed)} == {item}
    assert talk.retrieve(item).content[0].transcript == "Good morning"
    assert completed.logprobs is None
    [heard] = hearing.heard
    assert (heard.model, heard.language, heard.prompt) == ("gpt-4o-transcribe", "en", "Names")
    assert heard.audio == talk.retrieve(item).content[0].audio
    assert heard.seconds == pytest.approx(0.8)
    assert isinstance(completed.usage, ev.TranscriptionUsageTokens)
    assert completed.usage.total_tokens == completed.usage.input_tokens + completed.usage.output_tokens > 0


def test_whisper_is_billed_by_time() -> None:
    """A Whisper model's usage is the duration."""
    talk = Talk(audio={"input": {"transcription": WHISPER}}, output_modalities=["text"])
    [*_, completed] = transcripts(talk.hear(tone(300) + silence(600)))
    assert completed.usage == ev.TranscriptionUsageDuration(seconds=0.8)


def test_logprobs_on_request() -> None:
    """Log probabilities come when the session includes them."""
    talk = Talk(audio={"input": {"transcription": WHISPER}}, output_modalities=["text"])
    talk.update(include=["item.input_audio_transcription.logprobs"])
    [*deltas, completed] = transcripts(talk.hear(tone(300) + silence(600)))
    assert [part.token for part in completed.logprobs] == [event.delta for event in deltas]
    assert bytes(completed.logprobs[0].bytes).decode() == deltas[0].delta
    assert deltas[0].logprobs == completed.logprobs[:1]


@pytest.mark.parametrize("pieces", [[ValueError("deaf")], ["So far", ValueError("deaf")], ["a\ud83d"], [42]])
def test_a_transcriber_that_fails(pieces: list[Any]) -> None:
    """An exception in the transcriber fails the transcription; the answer comes all the same."""
    talk = Talk.to(transcriber=Hearing(*pieces))
    talk.update(audio={"input": {"transcription": WHISPER}}, output_modalities=["text"])
    events = talk.hear(tone(300) + silence(600))
    [*_, failed] = transcripts(events)
    assert isinstance(failed, ev.ConversationItemInputAudioTranscriptionFailed)
    assert failed.error.message
    assert one(events, ev.ResponseDone).response.status == "completed"
    for event in events:
        codec.encode(event)


def test_segments() -> None:
    """A transcriber that tells speakers apart gives segments."""
    hearing = Hearing(Segment("Hello. ", "A", 0.0, 0.4), Segment("Hi.", "B", 0.4, 0.8))
    talk = Talk.to(transcriber=hearing)
    talk.update(audio={"input": {"transcription": WHISPER, "turn_detection": None}})
    talk.hear(tone(800))
    events = talk.send("input_audio_buffer.commit") + talk.steps()
    first, second, completed = transcripts(events)
    assert (first.speaker, second.speaker) == ("A", "B")
    assert (second.start, second.end, second.text) == (0.4, 0.8, "Hi.")
    assert first.id != second.id
    assert completed.transcript == "Hello. Hi."


def test_deleted_while_it_is_transcribed() -> None:
    """Of an item that is deleted, no more is said."""
    talk = Talk(audio={"input": {"transcription": WHISPER, "turn_detection": None}})
    talk.hear(tone(800))
    committed = one(talk.send("input_audio_buffer.commit"), ev.InputAudioBufferCommitted)
    talk.send("conversation.item.delete", item_id=committed.item_id)
    assert talk.steps() == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "Zero seconds of audio."),
        (1.0, "One second of audio."),
        (1.23, "One point two seconds of audio."),
        (19.96, "Twenty seconds of audio."),
        (321.5, "Three hundred and twenty-one point five seconds of audio."),
        (5000, "5000 seconds of audio."),
    ],
)
def test_the_default_transcriber(seconds: float, text: str) -> None:
    """It says in words how much it heard."""
    pieces = DefaultTranscriber().transcribe(Heard(b"", "audio/pcm", seconds))
    assert "".join(str(piece) for piece in pieces) == text


# --- Transcription sessions -----------------------------------------------------------------------------


def test_a_transcription_session() -> None:
    """It hears and transcribes, and never answers."""
    talk = Talk.to(session_type="transcription")
    session = wire(talk.opening[0])["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert set(session) == {"type", "id", "object", "expires_at", "audio", "include"}
    assert set(session["audio"]) == {"input"}
    [updated] = talk.send(
        "session.update",
        session={"type": "transcription", "audio": {"input": {"transcription": WHISPER}}},
    )
    assert isinstance(updated, ev.SessionUpdated)
    assert updated.session.audio
    events = talk.hear(tone(300) + silence(600))
    assert [*dict.fromkeys(kinds(events))] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.delta",
        f"{TRANSCRIPTION}.completed",
    ]


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "response.cancel"}, "type"),
        ({"type": "session.close"}, "type"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": []},
            },
            "type",
        ),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {}}, "session.type"),
        ({"type": "session.update", "session": {"type": "transcription", "tools": []}}, "session.tools"),
        (
            {"type": "session.update", "session": {"type": "transcription", "audio": {"output": {}}}},
            "session.audio.output",
        ),
    ],
)
def test_what_a_transcription_session_refuses(event: dict[str, Any], param: str) -> None:
    """What belongs to a conversation is an error there."""
    talk = Talk.to(session_type="transcription")
    assert talk.error(**event).param == param


# --- Translation sessions -------------------------------------------------------------------------------


def translate(talk: Talk, audio: bytes) -> list[ServerEvent]:
    frame = codec.encode(ev.SessionInputAudioBufferAppend(audio=audio))
    return talk.protocol.receive(frame, talk.now) + talk.steps()


def test_a_translation_session() -> None:
    """An utterance comes back in another language, written and spoken, and the end is announced."""
    talk = Talk.to(
        session_type="translation", model="gpt-realtime-translate", transcriber=Hearing("Good", " day")
    )
    session = wire(talk.opening[0])["session"]
    assert (session["type"], session["model"]) == ("translation", "gpt-realtime-translate")
    [updated] = talk.send(
        "session.update",
        session={"audio": {"input": {"transcription": WHISPER}, "output": {"language": "is"}}},
    )
    assert wire(updated)["session"]["audio"]["output"] == {"language": "is"}
    assert translate(talk, silence(1000) + tone(500) + silence(200)) == []
    events = translate(talk, silence(400))
    source = "".join(e.delta for e in events if isinstance(e, ev.SessionInputTranscriptDelta))
    target = "".join(e.delta for e in events if isinstance(e, ev.SessionOutputTranscriptDelta))
    sound = b"".join(e.delta for e in events if isinstance(e, ev.SessionOutputAudioDelta))
    assert (source, target) == ("Good day", "(is) Good day")
    assert len(sound) > 10_000
    assert {wire(event)["elapsed_ms"] for event in events} == {2200}
    assert talk.send("session.close")[-1].type == "session.closed"
    assert talk.protocol.closing == (1000, "")


def test_closing_a_translation_flushes_it() -> None:
    """What was said up to the end is translated before the session is closed."""
    talk = Talk.to(session_type="translation")
    assert translate(talk, tone(500)) == []
    events = talk.send("session.close")
    assert talk.protocol.closing is None
    assert talk.error("session.close").code == "invalid_value"
    events += talk.steps()
    assert events[-1].type == "session.closed"
    assert "session.output_transcript.delta" in kinds(events)
    assert "session.input_transcript.delta" not in kinds(events)
    assert talk.protocol.closing == (1000, "")
    assert talk.send("session.close") == talk.steps() == []


def test_translations_keep_their_order() -> None:
    """Utterances that end at once are translated one after the other."""
    talk = Talk.to(session_type="translation", responder=ScriptedResponder(["one", "two", "three"]))
    events = translate(talk, (tone(300) + silence(600)) * 3)
    text = [e.delta for e in events if isinstance(e, ev.SessionOutputTranscriptDelta)]
    assert text == ["one", "two", "three"]


def test_a_translator_that_fails() -> None:
    """A failure is one error event; the next utterance is translated."""
    script = ScriptedResponder([ValueError("tired"), "again"])
    talk = Talk.to(session_type="translation", responder=script)
    events = translate(talk, (tone(300) + silence(600)) * 2)
    assert "tired" in one(events, ev.ErrorEvent).error.message
    assert one(events, ev.SessionOutputTranscriptDelta).delta == "again"


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.create"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": ""}, "type"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"model": "other"}}, "session.model"),
        ({"type": "session.update", "session": {"instructions": ""}}, "session.instructions"),
        (
            {"type": "session.update", "session": {"audio": {"output": {"voice": "marin"}}}},
            "session.audio.output.voice",
        ),
    ],
)
def test_what_a_translation_session_refuses(event: dict[str, Any], param: str) -> None:
    """What belongs to a conversation is an error there."""
    talk = Talk.to(session_type="translation")
    assert talk.error(**event).param == param


# --- MCP --------------------------------------------------------------------------------------------------

DOCS = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": "https://mcp.example/",
    "allowed_tools": ["search", "read"],
}


def test_mcp_tools_are_listed_once() -> None:
    """A new MCP server's tools are listed, as an item; naming it again lists nothing."""
    talk = Talk()
    [updated] = talk.send("session.update", session={"type": "realtime", "tools": [DOCS]})
    assert isinstance(updated, ev.SessionUpdated)
    events = talk.steps()
    assert kinds(events) == [
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "conversation.item.done",
    ]
    item = one(events, ev.ConversationItemDone).item
    assert [tool.name for tool in item.tools] == ["search", "read"]
    assert talk.retrieve(item.id) == item
    talk.update(tools=[DOCS])
    assert talk.steps() == []


def test_mcp_tools_that_cannot_be_listed() -> None:
    """A server without an address fails, and its item has no tools."""
    talk = Talk(tools=[{name: DOCS[name] for name in ("type", "server_label", "allowed_tools")}])
    events = talk.steps()
    assert kinds(events)[1:3] == ["mcp_list_tools.in_progress", "mcp_list_tools.failed"]
    assert one(events, ev.ConversationItemDone).item.tools == []


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (CallMcpTool("docs", "search", {"q": "x"}, output="found"), "completed"),
        (CallMcpTool("docs", "search", {"q": "x"}, error="no such tool"), "failed"),
    ],
)
def test_an_mcp_call(call: CallMcpTool, end: str) -> None:
    """The server calls a tool itself, between two other items, and shows how it went."""
    talk = Talk(ScriptedResponder([[call, Say("Done.")]]), output_modalities=["text"])
    events = talk.turn()
    done = one(events, ev.ResponseDone).response
    item: Any = done.output[0]
    assert (item.server_label, item.name, item.arguments) == ("docs", "search", '{"q": "x"}')
    assert item.output == call.output
    assert (item.error and item.error.message) == call.error
    assert [kind for kind in dict.fromkeys(kinds(events)) if "mcp" in kind] == [
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        f"response.mcp_call.{end}",
    ]


def test_an_mcp_call_that_is_broken_off() -> None:
    """Cancelled at any point, a call is closed as failed, and its arguments are done once."""
    steps = 0
    while True:
        talk = Talk(ScriptedResponder([CallMcpTool("docs", "search", {"q": "x"}, output="found")]))
        events = talk.send("response.create")
        for _ in range(steps):
            events += talk.protocol.step()
        if not talk.protocol.active:
            break
        events += talk.send("response.cancel")
        found = kinds(events)
        begun = "response.output_item.added" in found
        whole = "response.mcp_call.completed" in found
        assert found.count("response.mcp_call_arguments.done") == begun
        assert found.count("response.mcp_call.failed") == (
            "response.mcp_call.in_progress" in found and not whole
        )
        steps += 1
    assert steps > 4


def test_an_mcp_approval() -> None:
    """A question for approval is an item, and so is its answer."""
    talk = Talk(ScriptedResponder([RequestMcpApproval("docs", "read", {"path": "/"}), "Thank you."]))
    [item] = one(talk.turn(), ev.ResponseDone).response.output
    assert isinstance(item, ev.McpApprovalRequest)
    assert (item.name, item.arguments) == ("read", '{"path": "/"}')
    talk.add({"type": "mcp_approval_response", "approval_request_id": item_id(item), "approve": True})
    assert one(talk.turn(), ev.ResponseDone).response.status == "completed"


# --- Limits, pace and end ---------------------------------------------------------------------------------


def test_rate_limits_go_down() -> None:
    """Each response leaves less of the limits, by what it used."""
    talk = Talk(output_modalities=["text"])
    left = []
    for _ in range(3):
        events = talk.turn()
        limits = {limit.name: limit for limit in one(events, ev.RateLimitsUpdated).rate_limits}
        usage = one(events, ev.ResponseDone).response.usage
        left.append((limits["requests"].remaining, limits["tokens"].remaining, usage.total_tokens))
        assert limits["tokens"].remaining <= limits["tokens"].limit
    assert [requests for requests, _, _ in left] == [9999, 9998, 9997]
    assert left[0][1] - left[1][1] == left[1][2] > 0


def test_fast_by_default() -> None:
    """Unless told otherwise, everything is due at once."""
    talk = Talk()
    talk.turn()
    assert talk.now == 0.0


@pytest.mark.parametrize(("modality", "seconds"), [("audio", 5.0), ("text", 0.4)])
def test_realtime_pace(modality: str, seconds: float) -> None:
    """At a live server's pace, sound takes half as long as it plays, and words come one by one."""
    answer = Say("Ten words take as long as it takes to read.", audio=bytes(480_000))
    talk = Talk.to(responder=ScriptedResponder([answer]), realtime_pace=True)
    talk.turn(output_modalities=[modality])
    assert talk.now == pytest.approx(seconds)


def test_delay() -> None:
    """A delay lies between all pieces, and responses beside each other wait at the same time."""
    talk = Talk.to(delay=1.0, responder=ScriptedResponder(["one", "two"]))
    talk.update(output_modalities=["text"])
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    events = talk.steps()
    assert talk.now == 3.0
    assert len([event for event in events if isinstance(event, ev.ResponseDone)]) == 2


def test_the_end_of_a_session() -> None:
    """After its lifetime a session says that it has expired, and nothing else any more."""
    talk = Talk.to(lifetime=60.0)
    assert talk.protocol.due == 60.0
    talk.send("response.create")
    assert talk.protocol.step(59.0)
    error = one(talk.protocol.step(60.0), ev.ErrorEvent).error
    assert (error.code, error.event_id) == ("session_expired", None)
    assert "60 seconds" in error.message
    assert talk.protocol.closing == (1001, "session expired")
    assert talk.protocol.due is None
    assert talk.protocol.step(61.0) == talk.send("response.create") == []


def test_settings_from_the_start() -> None:
    """Settings of an ephemeral secret hold from the first event on."""
    config = SessionConfig(type="realtime", instructions="Be brief.", tools=[])
    talk = Talk.to(settings=config)
    session = wire(talk.opening[0])["session"]
    assert session["instructions"] == "Be brief."
    assert session["id"].startswith("sess_")
    assert session["audio"]["output"]["voice"] == "marin"
    with pytest.raises(Refused):
        Protocol(settings=SessionConfig(output_modalities=["smell"]))


# --- Limits of memory -----------------------------------------------------------------------------------


def test_a_buffer_that_is_full() -> None:
    """The input buffer has an end: what is beyond is refused, and a commit makes room."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    piece = append(bytes(15 * 1024 * 1024))
    for _ in range(4):
        assert talk.protocol.receive(piece) == []
    [error] = talk.protocol.receive(piece)
    assert isinstance(error, ev.ErrorEvent)
    assert error.error.code == "input_audio_buffer_full"
    assert kinds(talk.send("input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"
    assert talk.protocol.receive(piece) == []


def test_an_append_that_is_too_large() -> None:
    """More than 15 MiB of audio in one event is refused."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    [error] = talk.protocol.receive(append(bytes(15 * 1024 * 1024 + 1)))
    assert isinstance(error, ev.ErrorEvent)
    assert error.error.param == "audio"


def test_a_conversation_that_is_full() -> None:
    """A conversation has an end, too; deleting an item makes room."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    ids = []
    for _ in range(6):
        for _ in range(4):
            talk.protocol.receive(append(bytes(15 * 1024 * 1024)))
        events = talk.send("input_audio_buffer.commit")
        if isinstance(events[0], ev.ErrorEvent):
            assert events[0].error.code == "conversation_full"
            break
        ids.append(one(events, ev.InputAudioBufferCommitted).item_id)
    assert len(ids) == 5
    talk.send("conversation.item.delete", item_id=ids[0])
    assert kinds(talk.send("input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"
