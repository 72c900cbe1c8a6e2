"""A random talk of our client with a `DeviantServer`, and what it must come to."""

import json
import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from deviant_server import DeviantServer
from deviant_switches import Switches, drawn
from deviant_truth import Answer, Item, Part, Plan
from scripted import Caller, ScriptedServer

import realtime_sync as rt
from realtime_sync.voice import Conversation, Playback, ToolRunner, Tools

PATIENCE = 20.0  # seconds after which a wait counts as hung
IMPATIENCE = 0.02  # seconds for a request that is never answered
_WORDS = ["ja", "ha", "the", "sea", "is", "blue", "Öl", "水", "and", "so", "😀", "a🌊b", "on", "it", "goes"]


class Line:
    """The listener of many talks, one after another."""

    def __init__(self) -> None:
        self._talks: deque[Talk] = deque()
        self.server = ScriptedServer(self._serve)

    def open(self, talk: "Talk") -> rt.Session:
        self._talks.append(talk)
        self.server.threads.clear()
        self.server.callers.clear()
        return rt.connect(base_url=self.server.url, api_key="")

    def _serve(self, caller: Caller) -> None:
        talk = self._talks.popleft()
        caller.accept()
        caller.text(*talk.tells(talk.server.open()))
        while True:
            opcode, payload = caller.read_message()
            if opcode != 1:
                caller.frame(8, payload)
                return
            talk.frames.append(b"<- " + payload)
            try:
                frames = talk.tells(talk.server.run(json.loads(payload)))
            except Exception as error:
                talk.frames.append(f"the server broke: {error!r}".encode())
                raise
            caller.text(*frames)


class FakeSpeaker:
    """Plays a share of what it is given at once, and the rest never."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._played = 0
        self.written = bytearray()

    def write(self, audio: bytes) -> None:
        self.written += audio
        self._played += int(len(audio) * self._share)

    def clear(self) -> None:
        pass

    @property
    def played_ms(self) -> float:
        return self._played / 48


class Ear(rt.Visitor[None]):
    """Remembers the text that was heard, and the marks of the server."""

    handles_errors = True

    def __init__(self) -> None:
        self.said: list[str] = []
        self.marks: list[str] = []

    def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
        self.said.append(event.delta)

    def visit_response_output_audio_transcript_delta(
        self, event: rt.events.ResponseOutputAudioTranscriptDelta
    ) -> None:
        self.said.append(event.delta)

    def visit_error(self, event: rt.events.ErrorEvent) -> None:
        pass

    def unknown(self, event: rt.UnknownEvent) -> None:
        self.marks.append(event.type)


class Talk:
    """One session from its beginning to its end.

    Attributes:
        frames: All that was said, in the order of the server.
    """

    def __init__(self, seed: int, switches: Switches | None = None, kinds: tuple[str, ...] = ()) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.switches = drawn(self.rng) if switches is None else switches
        self.server = DeviantServer(self.rng, self.switches)
        self.frames: list[bytes] = []
        self.kinds = kinds or tuple(self.rng.choices(kinds_of(self.switches), k=self.rng.randint(1, 4)))
        if self.switches.requests == "swallowed":
            self.kinds += ("swallowed",)
        self.ran: list[tuple[str, int]] = []  # calls
        self.asked: set[str] = set()  # the requests that are not follow-ups

    def tells(self, events: list[dict[str, Any]]) -> list[str]:
        frames = [json.dumps(event) for event in events]
        self.frames += [f"-> {frame}".encode() for frame in frames]
        return frames

    def __str__(self) -> str:
        log = "\n".join(frame.decode() for frame in self.frames)
        return f"seed {self.seed}, {self.switches}, turns {self.kinds}\n{log}"

    # --- The client --------------------------------------------------------------------------------------

    def run(self, line: Line) -> None:
        """Have the talk, and compare what it came to with the server's truth."""
        with line.open(self) as self.session:
            tools = Tools(self._weather)
            self.conversation = Conversation(self.session)
            self.runner = ToolRunner(self.session, tools)
            # If an id is used again, a truncation of what is still to be played would name a later item.
            share = 1.0 if self.switches.item_ids == "restart" else self.rng.choice((0.0, 0.5, 1.0))
            self.speaker = FakeSpeaker(share)
            self.playback = Playback(self.session, self.speaker)
            self.ear = Ear()
            self.visitor = rt.Visitors(self.playback, self.conversation, self.runner, self.ear)
            for kind in self.kinds:
                getattr(self, f"_{kind}")()
                self._settle()
            self._compare()

    def _weather(self, number: int) -> str:
        """Return the weather of a number."""
        self.ran.append(("_weather", number))
        if self._in_tool is not None:
            self._in_tool()
        return f"weather {number}"

    _in_tool: Callable[[], object] | None = None

    def _until(self, condition: Callable[[], object]) -> None:
        self.session.wait_until(lambda: bool(condition()), self.visitor, PATIENCE)

    def _mark(self, sent: str, mark: str) -> None:
        count = self.ear.marks.count(mark)
        self.session.send({"type": sent})
        self._until(lambda: self.ear.marks.count(mark) > count)

    def _settle(self) -> None:
        """Wait until both sides have heard all."""
        assert self.runner.wait(PATIENCE), "the tools did not end"
        self._mark("test.mark", "test.marked")

    def _until_held(self) -> None:
        held = self.held
        self._until(lambda: self.ear.marks.count("test.held") > held)
        self.held += 1

    held = 0

    def _create(self, **options: Any) -> str:
        event_id = self.session.response.create(**options)
        self.asked.add(event_id)
        return event_id

    def _response(self, event_id: str | None = None) -> Any:
        found = self.conversation.wait_for_response(event_id, timeout=PATIENCE, visitor=self.visitor)
        if event_id is not None:
            assert found.event_id in (event_id, None), f"{found} of {found.event_id}, not of {event_id}"
        return found

    def _answer(self) -> Any:
        return self.conversation.wait_for_answer(timeout=PATIENCE, visitor=self.visitor)

    # --- What is said ------------------------------------------------------------------------------------

    def _words(self, most: int = 4) -> list[str]:
        return [f"{word} " for word in self.rng.choices(_WORDS, k=self.rng.randint(1, most))]

    def _spoken(self, count: int = 1, kind: str | None = None) -> list[tuple[str, list[str]]]:
        kinds = [kind or self.rng.choice(("text", "text", "audio")) for _ in range(count)]
        return [(each, self._words()) for each in kinds]

    def _calls(self, count: int) -> list[tuple[str, list[str]]]:
        numbers = [self.rng.randrange(10**9) for _ in range(count)]
        return [("call", ["_weather", json.dumps({"number": number})]) for number in numbers]

    def _plan(self, items: list[tuple[str, list[str]]], **options: Any) -> None:
        self.server.plans.append(Plan(items, **options))

    # --- Turns -------------------------------------------------------------------------------------------

    def _text(self) -> None:
        """The user writes, the model answers."""
        self._plan(self._spoken(self.rng.randint(1, 3)))
        self.session.conversation.item.create(" ".join(self._words()))
        assert self._response(self._create()).status == "completed"

    def _tools(self) -> None:
        """The model calls, once or twice, and answers."""
        before = self._spoken(self.rng.randint(0, 1))
        for _ in range(self.rng.randint(1, 2)):
            waits = self.rng.random() < 0.5 and self.switches.calls == "items"
            self._plan([*before, *self._calls(self.rng.randint(1, 3))], waits_for_outputs=waits)
        self._plan(self._spoken())
        event_id = self._create()
        if self.rng.random() < 0.5:
            assert self._response(event_id).status == "completed"
        answer = self._answer()
        assert answer.status == "completed"
        assert answer.text == self.server.answers[-1].text

    def _tools_and_error(self) -> None:
        """While a tool works, an error comes that has nothing to do with it."""
        self._in_tool = self.session.input_audio_buffer.commit
        self._tools()
        self._in_tool = None

    def _speech(self) -> None:
        """The user speaks, and the server answers by itself."""
        self._plan(self._spoken())
        self.server.speech_fails = self.rng.random() < 0.2
        self._speak()
        assert self._answer().status == "completed"
        self._read()

    def _read(self) -> None:
        """Wait for what the user has said."""
        heard = self.conversation.wait_for_transcript(timeout=PATIENCE, visitor=self.visitor)
        speeches = [item for item in self.server.history if item.wire_id.startswith("speech")]
        assert heard.text == speeches[-1].text, f"{heard.text!r} was said, not {speeches[-1].text!r}"
        assert (heard.content[0].error is not None) == self.server.speech_fails

    def _speak(self) -> None:
        self.server.speech = " ".join(self._words()).strip().replace("  ", " ")
        self.session.input_audio_buffer.append(bytes(480))

    def _cancel(self) -> None:
        """A response is cancelled in its midst, or before it has begun."""
        late = self.switches.begins == "late"
        unseen = self.switches.created == "missing"  # it could not be cancelled when it begins
        self._plan(self._spoken(2), hold=int(unseen) if late else self.rng.randint(0, 2), is_late=late)
        event_id = self._create()
        if not late:
            self._until_held()
        if self.rng.random() < 0.5:
            self.playback.interrupt()
        elif late:
            self.session.response.cancel(if_active=True)
        else:
            self.session.response.cancel()
        if late:
            self.held += 1
        assert self._response(event_id).status == "cancelled"

    def _barge_in(self) -> None:
        """The user speaks in the midst of a response."""
        self._plan(self._spoken(2, "audio"), hold=self.rng.randint(0, 2))
        self._plan(self._spoken())
        event_id = self._create()
        self._until_held()
        self._speak()
        assert self._response(event_id).status == "cancelled"
        assert self._answer().status == "completed"
        self._read()

    def _out_of_band(self) -> None:
        """A response that is not part of the conversation."""
        self._plan(self._spoken())
        event_id = self._create(conversation="none", metadata={"topic": "side"})
        assert self._response(event_id).status == "completed"

    def _parallel(self) -> None:
        """A response of the conversation, and another one out of band, at the same time."""
        self._plan(self._spoken(2), hold=self.rng.randint(0, 2))
        self._plan(self._spoken(2), hold=self.rng.randint(0, 2))
        first = self._create()
        self._until_held()
        second = self._create(conversation="none")
        self._until_held()
        self.session.send({"type": "test.go"})
        for event_id in self.rng.sample((first, second), 2):
            assert self._response(event_id).status == "completed"

    def _queue(self) -> None:
        """Several requests that wait for their turn."""
        names = [self._create(when_idle=True) for _ in range(self.rng.randint(2, 3))]
        for event_id in names:
            assert self._response(event_id).status == "completed"

    def _double(self) -> None:
        """A request while a response is active."""
        self._plan(self._spoken(2), hold=self.rng.randint(0, 2))
        first = self._create()
        self._until_held()
        second = self._create()
        rejected = self._response(second)
        assert (rejected.status, rejected.id) == ("failed", None)
        self.session.send({"type": "test.go"})
        assert self._response(first).status == "completed"

    def _ended(self) -> None:
        """A response ends otherwise."""
        ends = self.rng.choice(("failed", "incomplete"))
        # Whether arguments alone are a whole call is not told before the end.
        calls = self._calls(self.rng.randint(0, self.switches.calls == "items"))
        self._plan([*self._spoken(), *calls], ends=ends)
        assert self._response(self._create()).status == ends

    def _rejected(self) -> None:
        """A request that the server can't fulfil."""
        rejected = self._response(self._create(metadata={"reject": "it"}))
        assert (rejected.status, rejected.id) == ("failed", None)
        assert rejected.reason == "bad metadata"

    def _bad_update(self) -> None:
        """An error that is about something else, before a request."""
        self.session.update(instructions="Be brief.")
        event_id = self._create()
        assert self._response(event_id).status == "completed"

    def _own(self) -> None:
        """The server begins a response by itself."""
        self._plan(self._spoken())
        self.session.send({"type": "test.own"})
        assert self._response().status == "completed"

    def _own_first(self) -> None:
        """The server begins a response by itself in the moment of a request."""
        self._plan(self._spoken())
        self._plan(self._spoken())
        self.server.own_first = True
        when_idle = self.rng.random() < 0.5
        event_id = self._create(when_idle=when_idle)
        asked = self._response(event_id)
        assert asked.status == ("completed" if when_idle else "failed")
        own = self._response()
        assert (own.status, own.event_id) == ("completed", None)
        self.server.plans.clear()

    def _proxy(self) -> None:
        """Something between asks for a response in the midst of ours."""
        # Before its first event the rejection could as well be that of our request.
        self._plan(self._spoken(2), hold=self.rng.randint(1, 2))
        event_id = self._create()
        self._until_held()
        self.session.send({"type": "test.proxy"})
        self.session.send({"type": "test.go"})
        assert self._response(event_id).status == "completed"

    def _no_done(self) -> None:
        """The end of a response is not told, but another one begins."""
        self._plan(self._spoken(), has_done=False)
        first = self._create()
        self._mark("test.mark", "test.marked")
        second = self._create()
        assert self._response(first).done
        assert self._response(second).status == "completed"

    def _delete(self) -> None:
        """An item is deleted."""
        if names := [item.wire_id for item in self.server.history if item.wire_id]:
            self.session.conversation.item.delete(self.rng.choice(names))

    def _insert(self) -> None:
        """An item is put first."""
        self.session.conversation.item.create(" ".join(self._words()), previous_item_id="root")

    def _swallowed(self) -> None:
        """A request that is never answered."""
        self.server.swallows = True
        event_id = self._create()
        with pytest.raises(TimeoutError, match=event_id):
            self.conversation.wait_for_response(event_id, timeout=IMPATIENCE, visitor=self.visitor)

    # --- What it must come to ----------------------------------------------------------------------------

    def _compare(self) -> None:
        assert not self.server.complaints, self.server.complaints
        self._compare_responses()
        self._compare_calls()
        self._compare_items()
        self._compare_audio()
        self._compare_words()
        if self.switches == Switches():
            assert not self.session.deviations, self.session.deviations
            assert not self.conversation.deviations, self.conversation.deviations

    def _compare_responses(self) -> None:
        truth = [(_status(a), a.event_id, a.out_of_band, a.text) for a in self.server.answers]
        found = [
            (r.status if a.plan.has_done else "any", r.event_id, r.out_of_band, _generated(r.items))
            for r, a in zip(self.conversation.responses, self.server.answers, strict=False)
        ]
        assert len(self.conversation.responses) == len(truth), (self.conversation.responses, truth)
        assert found == truth, f"responses\n{found}, not\n{truth}"
        assert all(r.done for r in self.conversation.responses)

    def _compare_calls(self) -> None:
        inside = [answer for answer in self.server.answers if not answer.out_of_band]
        calls = [call for answer in inside for call in answer.calls]
        due = sorted(("_weather", json.loads(call.arguments)["number"]) for call in calls)
        assert sorted(self.ran) == due, f"ran {self.ran}, not {due}"
        outputs = {i.call_id: i.output for i in self.server.history if i.kind == "function_call_output"}
        wanted = {call.call_id: f"weather {json.loads(call.arguments)['number']}" for call in calls}
        if "delete" not in self.kinds:
            assert outputs == wanted, f"outputs {outputs}, not {wanted}"
        follow_ups = [event_id for event_id in self.server.requests if event_id not in self.asked]
        due_follow_ups = sum(1 for answer in inside if answer.status == "completed" and answer.calls)
        assert len(follow_ups) == due_follow_ups, f"{len(follow_ups)} follow-ups, not {due_follow_ups}"

    def _compare_items(self) -> None:
        truth = [_of_truth(item) for item in self.server.history]
        found = [_of_client(item) for item in self.conversation.items]
        assert found == truth, "items\n{}\nnot\n{}".format(
            "\n".join(map(str, found)), "\n".join(map(str, truth))
        )
        transcript, end = re.sub(r"\s+", " ", self.conversation.transcript()), 0
        for item in self.server.history:
            if all(part.cut_ms is None for part in item.parts):
                words = re.sub(r"\s+", " ", item.text).strip()
                assert words in transcript[end:], f"{words!r} is not in {transcript[end:]!r}"
                end = transcript.index(words, end) + len(words)

    def _compare_audio(self) -> None:
        written: dict[int, bytearray] = {}
        for start in range(0, len(self.speaker.written), 4):
            unit = self.speaker.written[start : start + 4]
            written.setdefault(unit[0], bytearray()).extend(unit)
        for answer in self.server.answers:
            heard = bytes(written.pop(answer.number, b""))
            if answer.status != "cancelled":
                assert heard == answer.audio, (
                    f"{len(heard)} bytes of {answer.number}, not {len(answer.audio)}"
                )
            else:
                assert answer.audio.startswith(heard), f"not the beginning of {answer.number} was played"
        numbers = list(self.speaker.written[::4])
        changes = [number for number, before in zip(numbers, [0, *numbers], strict=False) if number != before]
        assert len(changes) == len(set(changes)), f"responses were not played one after another: {changes}"

    def _compare_words(self) -> None:
        if self.switches.texts != "no deltas" and self.switches.repeats == "no":
            found, truth = "".join(self.ear.said), "".join(self.server.said)
            assert found == truth, f"visitors were told {found!r}, not {truth!r}"


def _status(answer: Answer) -> str:
    return answer.status if answer.plan.has_done else "any"


def _generated(items: list[Any]) -> str:
    """The texts of a response's items, cut off or not."""
    texts = ["\n".join(t for p in item.content if (t := p.text or p.generated or "")) for item in items]
    return "\n".join(text for text in texts if text)


def _of_truth(item: Item) -> tuple[Any, ...]:
    if item.kind == "message":
        return item.role, item.text, [(p.cut_ms, _heard(p)) for p in item.parts]
    if item.kind == "function_call":
        return item.name, item.arguments
    return (item.output,)


def _heard(part: Part) -> bytes:
    return part.audio if part.cut_ms is None else part.audio[: part.cut_ms * 48]


def _of_client(item: Any) -> tuple[Any, ...]:
    if item.type == "message":
        return item.role, _generated([item]), [(p.truncated_ms, p.audio) for p in item.content]
    if item.type == "function_call":
        return item.name, item.arguments
    return (item.output,)


def kinds_of(s: Switches) -> list[str]:
    """The turns that a talk with these switches may have."""
    kinds = [
        "text",
        "tools",
        "tools_and_error",
        "speech",
        "out_of_band",
        "queue",
        "ended",
        "rejected",
        "bad_update",
    ]
    # The end of a response without items can't be told from a repeated end of the one before.
    has_ends = s.response_ids != "reused" or s.created == "sent"
    if has_ends:
        kinds.append("cancel")
    if s.item_ids != "restart":
        # A truncation names an item, whose id the next response may have used again.
        kinds += ["barge_in", "delete"] if has_ends else ["delete"]
    if s.names_responses and s.created == "sent":
        # Which of two responses an event belongs to is told by nothing but its id.
        kinds.append("parallel")
    if s.previous in ("right", "root") and s.item_ids != "restart" and s.item_events == "sent":
        kinds.append("insert")  # otherwise nothing says that a missing predecessor means the first place
    if s.created == "sent":
        kinds.append("double")
    if s.own_responses == "yes":
        kinds += ["own", "own_first"] * 2
    if s.proxy == "asks":
        kinds += ["proxy"] * 3
    if s.done == "missing":
        kinds += ["no_done"] * 3
    return kinds
