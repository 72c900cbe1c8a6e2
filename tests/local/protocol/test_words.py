"""Sessions of a server that knows what was said: responses wait for the words."""

import base64
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hearing import WHISPER, Hearing, transcripts
from talk import Talk, kinds
from tones import one, silence, tone

from realtime_sync import events as ev
from realtime_sync.local import Heard, Protocol, Request, Say, ScriptedResponder, Sentence
from realtime_sync.local.protocol.source import Inline


class Ears(Hearing):
    """A recogniser, or what a server takes for one."""

    hears = True
    instant = True


class Sayer:
    """A voice that takes a millisecond for a letter."""

    instant = True

    def speak(self, sentence: Sentence) -> Iterator[bytes]:
        yield bytes(48 * len(sentence.text))


def talk_with(transcriber: Any, *answers: Any, **settings: Any) -> tuple[Talk, ScriptedResponder]:
    responder = ScriptedResponder(answers or ["Fine."])
    talk = Talk.to(transcriber=transcriber, responder=responder, voice=Sayer())
    talk.update(output_modalities=["text"], **settings)
    return talk, responder


def test_a_turn_is_answered_once_its_words_are_known() -> None:
    """The responder gets the words, and the response begins after the transcript, if that is wanted."""
    settings = {"audio": {"input": {"transcription": WHISPER}}}
    talk, responder = talk_with(Ears("How are", " you?"), **settings)
    events = talk.hear(tone(300) + silence(600))
    assert [request.heard_text for request in responder.requests] == ["How are you?"]
    found = kinds(events)
    assert found.index("response.created") > found.index(transcripts(events)[-1].type)
    assert one(events, ev.ResponseDone).response.status == "completed"


def test_the_client_is_not_told_what_it_does_not_want() -> None:
    """Without transcription in the settings there is no transcript on the wire, and the responder has it."""
    talk, responder = talk_with(Ears("How are you?"))
    events = talk.hear(tone(300) + silence(600))
    assert not transcripts(events)
    item = talk.retrieve(one(events, ev.InputAudioBufferCommitted).item_id)
    assert item.content[0].transcript is None
    [request] = responder.requests
    assert request.items[0].content[0].transcript == "How are you?"  # type: ignore[union-attr]


@pytest.mark.parametrize("words", ["", "  "])
def test_what_is_no_speech_is_not_answered(words: str) -> None:
    """A cough is a message, and nothing is said about it."""
    talk, responder = talk_with(Ears(words))
    events = talk.hear(tone(300) + silence(600))
    assert "input_audio_buffer.committed" in kinds(events)
    assert "response.created" not in kinds(events)
    assert not responder.requests


def test_who_asks_gets_an_answer() -> None:
    """A client that asks for a response itself gets one, whatever was heard."""
    talk, responder = talk_with(Ears(""), audio={"input": {"turn_detection": None}})
    talk.hear(tone(300))
    talk.send("input_audio_buffer.commit")
    assert one(talk.turn(), ev.ResponseDone).response.status == "completed"
    assert len(responder.requests) == 1


@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_response_waits_for_the_words(asked: str) -> None:
    """One that is asked for at once is created at once; the responder begins when the words are there."""
    talk, responder = talk_with(Ears("One", " two"), audio={"input": {"turn_detection": None}})
    talk.hear(tone(300))
    events = talk.send("input_audio_buffer.commit")
    events += talk.steps() if asked == "after" else []
    events += talk.send("response.create")
    assert "response.created" in kinds(events)
    talk.steps()
    assert [request.heard_text for request in responder.requests] == ["One two"]


def test_a_transcriber_that_fails() -> None:
    """The turn is not answered by itself, since nothing is known of it; a response that waits goes on."""
    talk, responder = talk_with(Ears(ValueError("deaf")))
    talk.hear(tone(300) + silence(600))
    assert not responder.requests
    assert one(talk.turn(), ev.ResponseDone).response.status == "completed"


def test_deleted_before_its_words_are_known() -> None:
    """A response that waits for the words of an item that is deleted goes on without."""
    talk, responder = talk_with(Ears("One"), audio={"input": {"turn_detection": None}})
    talk.hear(tone(300))
    committed = one(talk.send("input_audio_buffer.commit"), ev.InputAudioBufferCommitted)
    talk.send("response.create")
    talk.send("conversation.item.delete", item_id=committed.item_id)
    talk.steps()
    assert [request.heard_text for request in responder.requests] == [""]


# --- Listening before the turn is over -------------------------------------------------------------


def test_words_are_known_when_the_turn_is_over() -> None:
    """Listening begins with the first silence, and what was heard counts if it stays silent."""
    ears = Ears("Hello")
    talk, responder = talk_with(ears)
    talk.hear(tone(300) + silence(300))
    assert len(ears.heard) == 1
    talk.hear(silence(400))
    assert len(ears.heard) == 1
    assert [request.heard_text for request in responder.requests] == ["Hello"]


def test_what_was_heard_too_early_does_not_count() -> None:
    """If the speech goes on, all of it is listened to again."""
    ears = Ears("Hello")
    talk, responder = talk_with(ears)
    talk.hear(tone(300) + silence(300))
    talk.hear(tone(300))
    talk.hear(silence(600))
    assert len(ears.heard) == 2
    assert ears.heard[1].seconds > ears.heard[0].seconds + 0.4
    assert len(responder.requests) == 1


@pytest.mark.parametrize("event", ["input_audio_buffer.commit", "input_audio_buffer.clear"])
def test_a_client_that_ends_the_turn_itself(event: str) -> None:
    """What was heard of the buffer is forgotten with it."""
    ears = Ears("Hello")
    talk, _ = talk_with(ears)
    talk.hear(tone(300) + silence(300))
    talk.send(event)
    talk.steps()
    assert len(ears.heard) == (2 if event.endswith("commit") else 1)
    assert not talk.protocol.active


@pytest.mark.parametrize(
    ("words", "silence_ms"), [("What time is it?", 300), ("What time is", 1000), ("It is one and", 1000)]
)
def test_words_that_end_a_sentence_end_the_turn(words: str, silence_ms: int) -> None:
    """With ``semantic_vad`` a turn is over sooner if the words say so."""
    talk, _ = talk_with(Ears(words), audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    for _ in range(2):
        events = talk.hear(tone(300))
        waited = 0
        while "input_audio_buffer.speech_stopped" not in kinds(events):
            events = talk.hear(silence(20))
            waited += 20
        assert silence_ms <= waited <= silence_ms + 40


# --- What was heard of the model ---------------------------------------------------------------------


class Once:
    """Says a text, then tells what it was given."""

    instant = True

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def respond(self, request: Request) -> list[Say]:
        self.requests.append(request)
        return [Say("The first one. The second one.")]


@pytest.mark.parametrize(
    ("end_ms", "words"), [(14, "The first one."), (20, "The first one. The"), (5, "The")]
)
@pytest.mark.parametrize("when", ["after", "while it is said"])
def test_a_truncated_answer_knows_its_words(end_ms: int, words: str, when: str) -> None:
    """The responder is given the words that were heard; on the wire the item has none."""
    responder = Once()
    talk = Talk.to(responder=responder, voice=Sayer())
    events = talk.send("response.create")
    while not (
        talk.protocol.due is None
        or (
            when != "after"
            and "response.output_audio.delta" in kinds(events[-1:])
            and _said(events) >= 28 * 48
        )
    ):
        events += talk.protocol.step(talk.now)
    item_id = one(events, ev.ResponseOutputItemAdded).item.id
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)
    talk.steps()
    talk.turn()
    [item] = responder.requests[1].items
    assert item.content[0].transcript == words  # type: ignore[union-attr]
    assert talk.retrieve(item_id).content[0].transcript is None


def _said(events: list[Any]) -> int:
    return sum(len(event.delta) for event in events if isinstance(event, ev.ResponseOutputAudioDelta))


def test_truncated_twice() -> None:
    """A second truncation, earlier still, leaves fewer words."""
    responder = Once()
    talk = Talk.to(responder=responder, voice=Sayer())
    item_id = one(talk.turn(), ev.ResponseOutputItemAdded).item.id
    for end_ms in (20, 9):
        talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)
    talk.turn()
    assert responder.requests[1].items[0].content[0].transcript == "The first"  # type: ignore[union-attr]


def test_what_the_transcriber_is_given() -> None:
    """Format, length and the client's wishes, also where it wants no transcript."""
    ears = Ears("Hello")
    talk, _ = talk_with(ears, audio={"input": {"format": {"type": "audio/pcmu"}}})
    talk.hear(tone(300, audio_format="audio/pcmu") + silence(600, "audio/pcmu"))
    assert ears.heard[0] == Heard(ears.heard[0].audio, "audio/pcmu", len(ears.heard[0].audio) / 8000)


def test_words_come_in_the_order_in_which_they_were_said() -> None:
    """Also if a later turn is heard sooner."""

    class Slowly(Ears):
        """Hears the longer turn last."""

        def transcribe(self, heard: Heard) -> Iterator[str]:
            long = heard.seconds > 0.5
            yield "Long." if long else "Short."
            yield from [" And longer."] * 5 * long

    settings = {"audio": {"input": {"transcription": WHISPER, "turn_detection": None}}}
    talk, _ = talk_with(Slowly(), **settings)
    events = []
    for ms in (900, 300):
        talk.send("input_audio_buffer.append", audio=base64.b64encode(tone(ms)).decode())
        events += talk.send("input_audio_buffer.commit")
    events += talk.steps()
    assert [event.transcript for event in transcripts(events) if event.type.endswith("completed")] == [
        "Long. And longer. And longer. And longer. And longer. And longer.",
        "Short.",
    ]


# --- What happens before the words are known --------------------------------------------------------


class Later:
    """Runs work when it is told to: a `Runner`."""

    def __init__(self) -> None:
        self.begun: list[Awaited] = []

    def __call__(self, work: Any, close: Any) -> "Awaited":
        self.begun.append(Awaited(work, close))
        return self.begun[-1]


class Awaited(Inline[Any]):
    """Work of `Later`."""

    ready = False
    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


class Waiting(Talk):
    """A client of a server whose transcriber hears what it is told to, when it is told to."""

    def __init__(self, **settings: Any) -> None:
        self.later = Later()
        self.ears = Hearing()
        self.ears.hears = True  # type: ignore[attr-defined]
        self.responder = ScriptedResponder(["Fine."] * 3)
        options: dict[str, Any] = {"background": self.later, "transcriber": self.ears}
        self._open(Protocol(responder=self.responder, **options))
        self.update(output_modalities=["text"], **settings)

    def steps(self) -> list[ev.ServerEvent]:
        """Run what does not wait."""
        events = []
        while self.protocol.due is not None:
            events += self.protocol.step(self.now)
        return events

    def heard(self, number: int, words: str) -> list[ev.ServerEvent]:
        """Let a turn's words be known now."""
        self.ears.pieces = (words,)
        self.later.begun[number].ready = True
        return self.steps()


def test_a_pause_and_more_speech_in_one_piece_of_audio() -> None:
    """What was heard before the last pause does not pass for the whole turn, however audio is cut."""

    class Length(Ears):
        def transcribe(self, heard: Heard) -> Iterator[str]:
            yield f"{heard.seconds:.1f}"

    talk, responder = talk_with(Length())
    talk.hear(tone(300) + silence(300))
    talk.hear(silence(50) + tone(1000) + silence(800))
    assert [request.heard_text for request in responder.requests] == ["2.1"]


def test_speech_that_goes_on_behind_a_sentence() -> None:
    """The silence that ends the turn is again as long as it was, if the sentence was not the last."""
    ears = Ears("It is one.")
    talk, _ = talk_with(ears, audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    talk.hear(tone(300) + silence(260))
    ears.pieces = ("It is one. And",)
    assert "input_audio_buffer.speech_stopped" not in kinds(talk.hear(tone(300) + silence(900)))


@pytest.mark.parametrize(
    "settings", [{"format": {"type": "audio/pcmu"}}, {"transcription": WHISPER}, {"turn_detection": None}]
)
def test_settings_that_come_while_it_listens(settings: dict[str, Any]) -> None:
    """What it has heard with other settings, of a buffer that may be empty now, is forgotten."""
    talk = Waiting(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    talk.hear(tone(300) + silence(300))
    talk.update(tools=[])
    assert not talk.later.begun[0].closed
    talk.update(audio={"input": settings})
    assert talk.later.begun[0].closed
    assert not talk.protocol.active


def test_a_response_that_the_client_asks_for_is_the_only_one() -> None:
    """The turn that waits for its words is answered by it, and no error says that there is one already."""
    talk = Waiting()
    talk.hear(tone(300) + silence(600))
    assert "response.created" in kinds(talk.send("response.create"))
    events = talk.heard(0, "What time is it?")
    assert "error" not in kinds(events)
    assert kinds(events).count("response.done") == 1
    assert [request.heard_text for request in talk.responder.requests] == ["What time is it?"]


@pytest.mark.parametrize("first", ["words", "cough"])
def test_a_cough_behind_a_question(first: str) -> None:
    """The question is answered, whichever is understood first."""
    talk = Waiting()
    talk.hear(tone(300) + silence(600))
    talk.hear(tone(300))
    if first == "words":
        assert "response.created" not in kinds(talk.heard(0, "What time is it?"))
    talk.hear(silence(600))
    events = talk.heard(1, "")
    if first == "cough":
        assert "response.created" not in kinds(events)
        events = talk.heard(0, "What time is it?")
    assert kinds(events).count("response.created") == 1
    assert len(talk.responder.requests) == 1


@pytest.mark.parametrize("end", ["cleared", "deleted"])
def test_a_cough_that_is_taken_back(end: str) -> None:
    """The question before it is answered as soon as the cough is cleared or deleted."""
    talk = Waiting()
    talk.hear(tone(300) + silence(600))
    talk.hear(tone(300))
    if end == "cleared":
        talk.heard(0, "What time is it?")
        events = talk.send("input_audio_buffer.clear")
    else:
        item_id = one(talk.hear(silence(600)), ev.InputAudioBufferCommitted).item_id
        talk.heard(0, "What time is it?")
        events = talk.send("conversation.item.delete", item_id=item_id)
    assert kinds(events)[-1] == "response.created"


def test_a_cough_while_the_model_thinks() -> None:
    """The response is cancelled before anything of it was sent, so there is another one."""
    talk = Waiting()
    talk.responder.instant = False
    talk.hear(tone(300) + silence(600))
    assert "response.created" in kinds(talk.heard(0, "What time is it?"))
    events = talk.hear(tone(300) + silence(600))
    assert one(events, ev.ResponseDone).response.status == "cancelled"
    assert "response.created" in kinds(talk.heard(2, ""))


def test_a_cough_while_the_model_speaks() -> None:
    """It interrupts, and is not answered."""
    talk = Waiting()
    talk.hear(tone(300) + silence(600))
    talk.ears.pieces = ("What time is it?",)
    talk.later.begun[0].ready = True
    events: list[ev.ServerEvent] = []
    while "response.output_item.added" not in kinds(events):
        events += talk.protocol.step(talk.now)
    events = talk.hear(tone(300))
    assert one(events, ev.ResponseDone).response.status == "cancelled"
    talk.hear(silence(600))
    assert "response.created" not in kinds(talk.heard(1, ""))


def test_a_deleted_turn_is_let_go() -> None:
    """Its audio is free as soon as its item is deleted, though its words are not known."""
    talk = Waiting()
    item_id = one(talk.hear(tone(300) + silence(600)), ev.InputAudioBufferCommitted).item_id
    work = weakref.ref(talk.later.begun.pop())
    talk.send("conversation.item.delete", item_id=item_id)
    assert work() is None


def test_the_audio_that_it_listens_to_counts() -> None:
    """It is a copy, and a part of what the session holds."""
    talk = Waiting()
    talk.hear(tone(1000) + silence(300))
    assert talk.protocol.held > 2 * 1300 * 48


def test_input_with_the_id_of_an_item() -> None:
    """A response to what a client gives as its input reads just that."""
    talk = Waiting()
    item_id = talk.say("Old words")
    content = [{"type": "input_text", "text": "New words"}]
    given = {"type": "message", "role": "user", "id": item_id, "content": content}
    talk.turn(input=[given])
    assert [request.last_user_text for request in talk.responder.requests] == ["New words"]


def test_a_transcriber_that_exits() -> None:
    """Whatever it raises fails the transcription, and the session goes on."""

    class Exits(Ears):
        def transcribe(self, heard: Heard) -> Iterator[str]:
            raise SystemExit("enough")

    talk, _ = talk_with(Exits(), audio={"input": {"transcription": WHISPER}})
    [failed] = transcripts(talk.hear(tone(300) + silence(600)))
    assert failed.error.message == "SystemExit: enough"
