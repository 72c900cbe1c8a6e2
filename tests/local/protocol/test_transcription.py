"""Transcriptions of the user's audio."""

from typing import Any

import pytest
from hearing import WHISPER, Hearing, transcripts
from talk import Talk
from tones import one, silence, tone

from realtime_sync import events as ev
from realtime_sync.events import codec
from realtime_sync.local import Segment


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
