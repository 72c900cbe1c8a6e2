"""A Realtime server that differs from the specification in any way, and knows the truth of what was said.

It is a machine without a socket: `DeviantServer.receive` takes a client's event and returns what the server
says to it, and `step` what it says next by itself.  It shares no code with the package: it is the oracle.
"""

import base64
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from deviant_switches import Switches
from deviant_truth import Answer, Item, Part, Plan
from deviant_wire import BUSY, Event, Wire

Burst = list[Event]


@dataclass
class _Stream:
    bursts: Iterator[Burst]
    is_blocked: Callable[[], bool]
    is_new: bool = False  # its first burst comes before all others: responses begin in the order of requests


class DeviantServer:
    """One session of a server.

    Attributes:
        plans: How the next responses go; without one, they are short texts.
        speech: What the user says next: the next ``input_audio_buffer.append`` is taken for it.
        speech_fails: That can't be transcribed.
        history: The items in the conversation, in order.
        answers: The responses that ran, in the order in which they began.
        requests: The event_ids of all ``response.create``, in order.
        said: The text of all deltas, in wire order.
        complaints: What the client did wrong.
        own_first: Begin a response without being asked in the moment of the next request.
        swallows: Never answer the next request.
    """

    def __init__(self, rng: random.Random, switches: Switches) -> None:
        self.random = rng
        self.switches = switches
        self.plans: deque[Plan] = deque()
        self.speech: str | None = None
        self.speech_fails = False
        self.history: list[Item] = []
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.own_first = False
        self.swallows = False
        self._wire = Wire(rng, switches)
        self._streams: list[_Stream] = []
        self._active: Answer | None = None  # in the conversation
        self._late: list[Answer] = []  # that begin with the client's next event
        self._counts: Counter[str] = Counter()

    # --- Both directions ---------------------------------------------------------------------------------

    def open(self) -> list[Event]:
        detection = {"type": "server_vad", "interrupt_response": True, "create_response": True}
        audio = {
            "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": detection},
            "output": {"format": {"type": "audio/pcm", "rate": 24000}},
        }
        session = {"type": "realtime", "id": "sess_1", "object": "realtime.session", "audio": audio}
        return self._write([{"type": "session.created", "session": session}])

    def receive(self, event: Event) -> list[Event]:
        """What the server says at once."""
        late, self._late = self._late, []
        name = "_" + event["type"].replace(".", "_")
        events = self._write(getattr(self, name)(event))
        for answer in late:
            self._start(answer)
        return events

    def step(self) -> list[Event] | None:
        """What it says next; ``None`` if it waits for the client."""
        able = [stream for stream in self._streams if not stream.is_blocked()]
        if not able:
            return None
        stream = next((stream for stream in able if stream.is_new), None) or self.random.choice(able)
        stream.is_new = False
        burst = next(stream.bursts, None)
        if burst is None:
            self._streams.remove(stream)
            return []
        return self._write(burst)

    def run(self, event: Event) -> list[Event]:
        """All that it says to an event until it waits for the client."""
        events = self.receive(event)
        while (more := self.step()) is not None:
            events += more
        return events

    def _write(self, burst: Burst) -> list[Event]:
        return [written for event in burst for written in self._wire.write(event)]

    def _new(self, what: str) -> str:
        self._counts[what] += 1
        return f"{what}_{self._counts[what]}"

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    # --- Of the test: not of the protocol ----------------------------------------------------------------

    def _test_mark(self, event: Event) -> Burst:
        return [{"type": "test.marked"}]

    def _test_go(self, event: Event) -> Burst:
        for answer in self.answers:
            answer.held = False
        return []

    def _test_speak(self, event: Event) -> Burst:
        self._streams.append(_Stream(self._hear(event["text"].strip()), lambda: False))
        return []

    def _test_own(self, event: Event) -> Burst:
        if self._active is None:
            self._begin(None)
        return []

    def _test_proxy(self, event: Event) -> Burst:
        """Something between asks for a response while one is active."""
        assert self._active is not None
        return [_error(BUSY, "a response is active", None)]

    # --- Requests for responses --------------------------------------------------------------------------

    def _response_create(self, event: Event) -> Burst:
        event_id, params = event["event_id"], event.get("response") or {}
        self.requests.append(event_id)
        if self.swallows:
            return []
        if "reject" in (params.get("metadata") or {}):
            return [_error("invalid_value", "bad metadata", event_id, "response.metadata")]
        out_of_band = params.get("conversation") == "none"
        told: Burst = []
        if self.own_first and not out_of_band:
            self.own_first = False
            self._begin(None)
            if self._chance(0.5):  # it has begun before the request is read
                told = next(self._streams[-1].bursts)
                self._streams[-1].is_new = False
        if self._active is not None and not out_of_band:
            return [*told, _error(BUSY, f"{self._active.wire_id} is active", event_id)]
        self._begin(event_id, out_of_band)
        return []

    def _begin(self, event_id: str | None, out_of_band: bool = False) -> None:
        plan = self.plans.popleft() if self.plans else Plan([("text", ["yes "])])
        number = len(self.answers) + 1
        plan.has_done |= out_of_band  # the next response doesn't end it
        answer = Answer(number, self._response_id(number), plan, event_id, out_of_band)
        self.answers.append(answer)
        if not out_of_band:
            self._active = answer
        if plan.is_late:
            self._late.append(answer)
        else:
            self._start(answer)

    def _response_id(self, number: int) -> str | None:
        ids = {"empty": "", "null": None, "absent": None, "reused": "resp_0"}
        return ids.get(self.switches.response_ids, f"resp_{number}")

    def _start(self, answer: Answer) -> None:
        answer.begun = True
        self._streams.append(_Stream(self._respond(answer), lambda: answer.is_blocked, is_new=True))

    def _response_cancel(self, event: Event) -> Burst:
        wanted = event.get("response_id")
        running = (
            [a for a in self.answers if not a.over and wanted == a.wire_id] if wanted else [self._active]
        )
        answer = running[-1] if running else None
        if answer is None or answer.over or not answer.begun:
            return [_error("response_cancel_not_active", "no active response", event["event_id"])]
        self._stop(answer, "cancelled", "client_cancelled")
        return []

    def _stop(self, answer: Answer, status: str, reason: str) -> None:
        answer.stop = answer.stop or (status, reason)
        answer.held = False
        answer.awaited.clear()

    # --- Responses ---------------------------------------------------------------------------------------

    def _wire_response(self, answer: Answer, output: list[Event]) -> Event:
        conversation = None if answer.out_of_band else "conv_1"
        response: Event = {
            "object": "realtime.response",
            "id": answer.wire_id,
            "status": answer.status,
            "output": output,
            "conversation_id": conversation,
        }
        if answer.status in ("cancelled", "incomplete"):
            response["status_details"] = {"type": answer.status, "reason": answer.reason}
        if answer.status == "failed":
            error = {"type": "server_error", "code": "server_error", "message": answer.reason}
            response["status_details"] = {"type": "failed", "error": error}
        if self.switches.response_ids == "absent":
            del response["id"]
        return response

    def _respond(self, answer: Answer) -> Iterator[Burst]:
        created = self._wire_response(answer, [])
        if self.switches.response_ids == "late":
            created["id"] = ""
        yield self._hold(answer, [{"type": "response.created", "response": created}])
        for index, (kind, deltas) in enumerate(answer.plan.items):
            if answer.stop:
                break
            yield from (self._call if kind == "call" else self._message)(answer, index, kind, deltas)
        self._end(answer)
        yield self._done(answer)

    def _end(self, answer: Answer) -> None:
        reasons = {"failed": "out of order", "incomplete": "max_output_tokens"}
        status, reason = answer.stop or (answer.plan.ends, reasons.get(answer.plan.ends))
        answer.status, answer.reason = status, reason
        if self._active is answer:
            self._active = None

    def _done(self, answer: Answer) -> Burst:
        if not answer.plan.has_done:
            return []
        output = [_wire_item(item, self._id_at_end(item)) for item in answer.items]
        if self.switches.output == "empty":
            output = []
        elif self.switches.calls == "arguments":
            output = [item for item in output if item["type"] != "function_call"]
        response = self._wire_response(answer, output)
        events: Burst = [{"type": "response.done", "response": response}]
        if answer.status == "cancelled" and self.switches.cancelled != "done":
            cancelled = {"type": "response.cancelled", "response_id": answer.wire_id}
            events = [cancelled] if self.switches.cancelled == "cancelled" else [*events, cancelled]
        return events

    def _hold(self, answer: Answer, burst: Burst) -> Burst:
        """The burst, and perhaps the announcement that the response waits behind it."""
        if answer.deltas == answer.plan.hold and not answer.stop:
            answer.held, answer.plan.hold = True, None
            burst.append({"type": "test.held"})
        return burst

    def _told(self, answer: Answer, burst: Burst) -> Burst:
        """The deltas of a response, of which one more was told."""
        answer.deltas += 1
        return self._hold(answer, burst)

    # --- Items of responses ------------------------------------------------------------------------------

    def _item_id(self, answer: Answer) -> str:
        if self.switches.item_ids == "restart":
            return f"item_{len(answer.items)}"
        return self._new("item")

    def _id_at_end(self, item: Item) -> str:
        return f"{item.wire_id}_end" if self.switches.parts == "new id" else item.wire_id

    def _of(self, answer: Answer, index: int, kind: str, **more: Any) -> Event:
        event = {"type": f"response.{kind}", "response_id": answer.wire_id, "output_index": index, **more}
        if self.switches.response_ids == "absent":
            del event["response_id"]
        return event

    def _enter(self, answer: Answer, index: int, item: Item) -> Burst:
        """An item begins, and enters the conversation."""
        answer.items.append(item)
        burst = [self._of(answer, index, "output_item.added", item=_wire_item(item))]
        if not answer.out_of_band:
            burst.insert(self.switches.added == "after", self._append(item, own=True))
        return burst

    def _leave(self, answer: Answer, index: int, item: Item) -> Burst:
        """An item is complete."""
        item.status = "incomplete" if answer.stop else "completed"
        done = _wire_item(item, self._id_at_end(item))
        burst = [self._of(answer, index, "output_item.done", item=done)]
        if not answer.out_of_band:
            burst.append(self._placed("conversation.item.done", item, own=True))
        return burst

    def _message(self, answer: Answer, index: int, kind: str, deltas: list[str]) -> Iterator[Burst]:
        item = Item(self._item_id(answer), "message", "assistant")
        yield self._enter(answer, index, item)
        part = Part(kind)
        item.parts.append(part)
        where = {"item_id": item.wire_id, "content_index": 0}
        yield [self._of(answer, index, "content_part.added", part=_wire_part(part, whole=False), **where)]
        for delta in deltas:
            if answer.stop:
                break
            yield self._told(answer, list(self._delta(answer, index, part, delta, where)))
        yield self._part_done(answer, index, part, where)
        yield self._leave(answer, index, item)

    def _delta(self, answer: Answer, index: int, part: Part, delta: str, where: Event) -> Iterator[Event]:
        part.text += delta
        self.said.append(delta)
        name = "output_text.delta" if part.kind == "text" else "output_audio_transcript.delta"
        for piece in _cut(delta) if self.switches.surrogates == "cut" else [delta]:
            yield self._of(answer, index, name, delta=piece, **where)
        if part.kind == "audio":
            # Each four bytes say where they belong.
            audio = bytes([answer.number, index, answer.deltas & 0xFF, 0]) * (12 * self.random.randint(1, 20))
            part.audio += audio
            encoded = base64.b64encode(audio).decode()
            yield self._of(answer, index, "output_audio.delta", delta=encoded, **where)

    def _part_done(self, answer: Answer, index: int, part: Part, where: Event) -> Burst:
        if part.kind == "text":
            burst = [self._of(answer, index, "output_text.done", text=part.text, **where)]
        else:
            said = self._of(answer, index, "output_audio_transcript.done", transcript=part.text, **where)
            burst = [self._of(answer, index, "output_audio.done", **where), said]
            self.random.shuffle(burst)
        return [*burst, self._of(answer, index, "content_part.done", part=_wire_part(part), **where)]

    def _call(self, answer: Answer, index: int, kind: str, deltas: list[str]) -> Iterator[Burst]:
        name, arguments = deltas
        alone = self.switches.calls == "arguments"
        item = Item("" if alone else self._item_id(answer), "function_call", name=name)
        item.call_id = self._new("call")
        where = {"item_id": item.wire_id, "call_id": item.call_id}
        done = self._of(
            answer, index, "function_call_arguments.done", name=name, arguments=arguments, **where
        )
        if alone:
            item.arguments, item.status = arguments, "completed"
            answer.items.append(item)
            if not answer.out_of_band:
                self.history.append(item)
            yield self._told(answer, [done])
            return
        yield self._enter(answer, index, item)
        middle = len(arguments) // 2
        for piece in (arguments[:middle], arguments[middle:]):
            if answer.stop:
                break
            item.arguments += piece
            delta = self._of(answer, index, "function_call_arguments.delta", delta=piece, **where)
            yield self._told(answer, [delta])
        complete = item.arguments == arguments
        yield [done] if complete and not answer.stop else []
        yield self._leave(answer, index, item)
        if answer.plan.waits_for_outputs and not answer.stop and self._output_of(item.call_id) is None:
            answer.awaited.add(item.call_id)

    # --- Items in the conversation -----------------------------------------------------------------------

    def _append(self, item: Item, own: bool = False) -> Event:
        self.history.append(item)
        return self._placed("conversation.item.added", item, own)

    def _placed(self, kind: str, item: Item, own: bool = False) -> Event:
        index = next(i for i, each in enumerate(self.history) if each is item)
        previous = self.history[index - 1].wire_id if index else None
        return {"type": kind, "previous_item_id": previous, "item": _wire_item(item), "own": own}

    def _find(self, item_id: str) -> Item | None:
        """Return the latest item with this id, or with this one at its end."""
        items = reversed(self.history)
        return next((item for item in items if item_id in (item.wire_id, self._id_at_end(item))), None)

    def _output_of(self, call_id: str) -> Item | None:
        outputs = (item for item in self.history if item.kind == "function_call_output")
        return next((item for item in outputs if item.call_id == call_id), None)

    def _conversation_item_create(self, event: Event) -> Burst:
        wire = event["item"]
        item = Item(wire.get("id") or self._new("user"), wire["type"], wire.get("role"), status="completed")
        if item.kind == "message":
            item.parts = [Part("input_text", content["text"]) for content in wire["content"]]
        else:
            item.call_id, item.output = wire["call_id"], wire["output"]
            self._judge_output(item)
        self.history.append(item)
        if event.get("previous_item_id") == "root":
            self.history.remove(item)
            self.history.insert(0, item)
        return [self._placed("conversation.item.added", item), self._placed("conversation.item.done", item)]

    def _judge_output(self, output: Item) -> None:
        calls = [item for item in self.history if item.kind == "function_call"]
        if output.call_id not in [call.call_id for call in calls]:
            self.complaints.append(f"an output for {output.call_id!r}, which is not called")
        if self._output_of(output.call_id) is not None:
            self.complaints.append(f"a second output for {output.call_id!r}")
        for answer in self.answers:
            answer.awaited.discard(output.call_id)

    def _conversation_item_delete(self, event: Event) -> Burst:
        item = self._find(event["item_id"])
        if item is None:
            return [_error("item_delete_invalid_item_id", "no such item", event["event_id"])]
        self.history.remove(item)
        return [{"type": "conversation.item.deleted", "item_id": event["item_id"]}]

    def _conversation_item_truncate(self, event: Event) -> Burst:
        item, index, end = self._find(event["item_id"]), event["content_index"], event["audio_end_ms"]
        part = item.parts[index] if item is not None and index < len(item.parts) else None
        if part is None or not 0 < end <= len(part.audio) // 48:
            self.complaints.append(f"truncate {event} is wrong for {item}")
            return [_error("invalid_truncate", "can't be truncated there", event["event_id"])]
        part.cut_ms = end
        if self.switches.truncate == "unanswered":
            return []
        told = {"item_id": event["item_id"], "content_index": index, "audio_end_ms": end}
        return [{"type": "conversation.item.truncated", **told}]

    # --- The session and the user's speech ---------------------------------------------------------------

    def _session_update(self, event: Event) -> Burst:
        return [_error("invalid_value", "Invalid session type", event["event_id"], "session.type")]

    def _input_audio_buffer_commit(self, event: Event) -> Burst:
        return [_error("input_audio_buffer_commit_empty", "the buffer is empty", event["event_id"])]

    def _input_audio_buffer_append(self, event: Event) -> Burst:
        if self.speech is not None:
            speech, self.speech = self.speech, None
            self._streams.append(_Stream(self._hear(speech), lambda: False))
        return []

    def _hear(self, speech: str) -> Iterator[Burst]:
        item = Item(self._new("speech"), "message", "user", status="completed")
        yield [{"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": item.wire_id}]
        yield from self._fall_silent()
        yield [{"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 200, "item_id": item.wire_id}]
        item.parts = [Part("input_audio")]
        committed: Event = {"type": "input_audio_buffer.committed", "item_id": item.wire_id}
        when = self.switches.transcripts
        if when == "first":
            yield [event for burst in self._transcribe(item, speech) for event in burst]
        yield from self._fall_silent()  # what was requested meanwhile
        committed["previous_item_id"] = self.history[-1].wire_id if self.history else None
        if when != "first":
            answers = len(self.answers)
            late = when == "late"
            # Late is: behind the response to it.
            blocked = lambda: late and (len(self.answers) == answers or self._active is not None)  # noqa: E731
            self._streams.append(_Stream(self._transcribe(item, speech), blocked))
        entered = self._append(item)
        self._begin(None)
        yield [committed, entered, self._placed("conversation.item.done", item)]

    def _fall_silent(self) -> Iterator[Burst]:
        while self._active is not None:
            self._stop(self._active, "cancelled", "turn_detected")
            yield []

    def _transcribe(self, item: Item, speech: str) -> Iterator[Burst]:
        name = "conversation.item.input_audio_transcription."
        where = {"item_id": item.wire_id, "content_index": 0}
        if self.speech_fails:
            error = {"type": "server_error", "code": "audio_unintelligible", "message": "unclear"}
            yield [{"type": f"{name}failed", "error": error, **where}]
            return
        if self.switches.texts != "no deltas":
            for word in speech.split(" "):
                yield [{"type": f"{name}delta", "delta": f"{word} ", **where}]
        item.parts[0].text = speech
        usage = {"type": "duration", "seconds": 0.2}
        yield [{"type": f"{name}completed", "transcript": speech, "usage": usage, **where}]


# --- Helpers ---------------------------------------------------------------------------------------------


def _error(code: str, message: str, event_id: str | None, param: str | None = None) -> Event:
    details = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
    return {"type": "error", "error": {**details, "event_id": event_id}}


def _cut(text: str) -> list[str]:
    """A text as pieces of UTF-16, of which one ends in the midst of a surrogate pair if it has any."""
    for index, character in enumerate(text):
        if character > "\uffff":
            pair = ord(character) - 0x10000
            high, low = chr(0xD800 + (pair >> 10)), chr(0xDC00 + (pair & 0x3FF))
            return [text[:index] + high, low + text[index + 1 :]]
    return [text]


def _wire_part(part: Part, whole: bool = True) -> Event:
    if part.kind in ("text", "input_text"):
        kind = "output_text" if part.kind == "text" else part.kind
        return {"type": kind, "text": part.text if whole else ""}
    if part.kind == "input_audio":
        return {"type": "input_audio", "transcript": part.text or None}
    return {"type": "output_audio", "transcript": part.text if whole else ""}


def _wire_item(item: Item, item_id: str | None = None) -> Event:
    wire: Event = {"id": item.wire_id if item_id is None else item_id, "type": item.kind}
    if item.kind == "message":
        return {
            **wire,
            "status": item.status,
            "role": item.role,
            "content": [_wire_part(part) for part in item.parts],
        }
    if item.kind == "function_call":
        call = {"name": item.name, "call_id": item.call_id, "arguments": item.arguments}
        return {**wire, "status": item.status, **call}
    return {**wire, "status": "completed", "call_id": item.call_id, "output": item.output}
