"""The order of a response's events, written once."""

from collections.abc import Iterator
from typing import Any, TypeVar

from talk import Talk

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent

E = TypeVar("E", bound=ServerEvent)


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


def answer(talk: Talk) -> Any:
    """Ask for a response, and return its one item."""
    [item] = check_turn(talk.turn()).output or []
    return item
