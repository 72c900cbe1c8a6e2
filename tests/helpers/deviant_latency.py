"""A random talk in simulated time: what a session's ledger makes of it while events of both sides cross.

Frames take their time each way (0 to 300 ms, with jitter, never overtaking each other), the server speaks at
its own pace, and the client acts whenever it likes, so that requests cross with responses, cancellations with
ends, speech with all of them.  There is no socket, no thread and no clock.
"""

import heapq
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

from deviant_server import DeviantServer
from deviant_switches import OPTIONS, Switches, clash, drawn
from deviant_truth import Item, Plan
from lines import no_line
from readable_facts import place

from realtime_sync import events as ev
from realtime_sync.events import codec
from realtime_sync.session import facts
from realtime_sync.session.facts import ItemEntry, PartEntry, ResponseEntry
from realtime_sync.session.gate import Gate

_LONGEST_LATENCY = 300.0  # milliseconds, each way
_SLOWEST_STEP = 40.0  # milliseconds between two bursts of the server
_WORDS = ["ja", "ha", "the", "sea", "is", "blue", "Öl", "水", "😀", "a🌊b"]
_ACTIONS = (
    *("write", "ask", "ask", "ask_when_idle", "ask_when_idle", "ask_out_of_band"),
    *("cancel", "speak", "own", "update", "insert", "delete"),
)
_CROSSING = {  # switches with which no client could tell what crosses, and why
    "response_ids": "which of two responses an event belongs to is told by nothing but its id",
    "item_ids": "the same for an item",
    "created": "the order in which responses began is not told",
    "done": "a response without an end is ended by the next, which may be out of band",
    "errors": "whether a response or a nameless rejection answers a request in flight is not told",
    "calls": "whether arguments alone are a whole call is not told if the response is cancelled",
    "conversation_ids": "a response that the server began by itself is not told from one out of band",
    "proxy": "a rejection of its request is not told from that of ours",
    "begins": "that is what crossing does",
    "truncate": "nothing is played here",
    "requests": "what is never answered is taken for answered by the next response",
}


def crossing(rng: random.Random) -> Switches:
    """Deviations that a client can cope with while events cross."""
    while True:
        switches = drawn(rng)
        if all(getattr(switches, name) == OPTIONS[name][0] for name in _CROSSING):
            assert clash(switches) is None
            return switches


class View:
    """What the facts of a ledger come to.

    Attributes:
        items: The items in the conversation, in order.
        texts: The text of each part.
        arguments, outputs: Those of each call, and of each item that answers one.
        responses: The responses in the order in which they began, with how they ended.
        rejected: The event_ids of what was rejected.
    """

    def __init__(self) -> None:
        self.items: list[ItemEntry] = []
        self.texts: dict[int, str] = {}
        self.arguments: dict[int, str] = {}
        self.outputs: dict[int, str] = {}
        self.responses: dict[int, tuple[ResponseEntry, str]] = {}
        self.rejected: list[str] = []
        self._kept: list[object] = []  # an id() holds as long as its object

    def take(self, fact: Any) -> None:
        self._kept.append(fact)
        getattr(self, fact.handler, lambda fact: None)(fact)

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.responses[id(fact.response)] = fact.response, "in_progress"

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        if not fact.repeated:
            self.responses[id(fact.response)] = fact.response, fact.status

    def on_rejected(self, fact: facts.Rejected) -> None:
        self.rejected.append(fact.sent.event_id)

    def on_item_told(self, fact: facts.ItemTold) -> None:
        if isinstance(fact.wire, ev.FunctionCallOutput):
            self.outputs[id(fact.item)] = fact.wire.output
        elif isinstance(fact.wire, ev.FunctionCall) and fact.wire.arguments:
            self.arguments[id(fact.item)] = fact.wire.arguments

    def on_arguments(self, fact: facts.Arguments) -> None:
        before = "" if fact.whole else self.arguments.get(id(fact.item), "")
        self.arguments[id(fact.item)] = before + fact.text

    def on_item_placed(self, fact: facts.ItemPlaced) -> None:
        place(self.items, fact)

    def on_item_deleted(self, fact: facts.ItemDeleted) -> None:
        self.items = [item for item in self.items if item is not fact.item]

    def on_text(self, fact: facts.Text | facts.Transcript) -> None:
        self._write(fact.part, fact.text, fact.whole)

    on_transcript = on_text

    def on_part(self, fact: facts.Part) -> None:
        text = getattr(fact.content, "text", None) or getattr(fact.content, "transcript", None) or ""
        if fact.whole or not self.texts.get(id(fact.part)):
            self._write(fact.part, text, whole=True)

    def _write(self, part: PartEntry, text: str, whole: bool) -> None:
        if not whole:
            self.texts[id(part)] = self.texts.get(id(part), "") + text
        elif text or id(part) not in self.texts:
            self.texts[id(part)] = text

    def text(self, item: ItemEntry) -> str:
        parts = (item.parts[index] for index in sorted(item.parts))
        return "\n".join(text for part in parts if (text := self.texts.get(id(part))))


class CrossingTalk:
    """One session in simulated time.

    Attributes:
        log: All frames, with the time at which they came, in milliseconds.
        crosses: Whether the client acts at any time; if not, only once all is quiet.
        is_unclear: No client could know what was answered.
    """

    def __init__(self, seed: int, switches: Switches | None = None, *, crosses: bool = True) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.switches = switches or (crossing(self.rng) if crosses else drawn(self.rng))
        self.crosses = crosses
        self.server = DeviantServer(self.rng, self.switches)
        self.view = View()
        self.log: list[str] = []
        self.gate = Gate(lambda event, payload: self._carry_up(payload), no_line())
        self.is_unclear = False
        self.ran: list[str] = []  # calls, by their call_id
        self._open: dict[int, int] = {}  # calls without an output, of each response
        self._followed: set[int] = set()
        self._stopped = 0  # responses with calls that are not followed up
        self._ended: dict[int, facts.ResponseEnded] = {}
        self._asked: set[str] = set()
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._latency = self.rng.uniform(0, _LONGEST_LATENCY), self.rng.uniform(0, _LONGEST_LATENCY)
        self._arrivals = [0.0, 0.0]
        self._steps = 0  # that are due
        self._begun: dict[int, float] = {}  # when the server's own responses began

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}, {self.switches}, latency {self._latency}", *self.log])

    # --- Time --------------------------------------------------------------------------------------------

    def _after(self, delay: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + delay, next(self._numbers), do))

    def _carry(self, way: int, do: Callable[[], None]) -> None:
        """Let something arrive at the other side, behind what was sent before."""
        latency = self._latency[way]
        arrival = self._now + self.rng.uniform(latency / 2, latency)
        self._arrivals[way] = max(self._arrivals[way], arrival)
        heapq.heappush(self._events, (self._arrivals[way], next(self._numbers), do))

    def run(self) -> None:
        """Have the talk to its end, and compare what it came to with the server's truth."""
        self._carry_down(self.server.open())
        for _ in range(self.rng.randint(2, 8)):
            action = getattr(self, f"_{self.rng.choice(_ACTIONS)}")
            self._after(self.rng.uniform(0, 1500), action)
            if not self.crosses:
                self._go_on()
        self._go_on()
        if self.switches.done == "missing":  # another response ends the last one
            self._now += 1
            self.server.plans.clear()
            self._asked.add(self._send(ev.ResponseCreate()))
            self._go_on()
        self.gate.close()
        if not self.is_unclear:
            self._compare()

    def _go_on(self) -> None:
        while self._events:
            self._now, _, do = heapq.heappop(self._events)
            do()

    # --- The wire ----------------------------------------------------------------------------------------

    def _carry_up(self, payload: bytes) -> None:
        event = json.loads(payload)
        self.log.append(f"{self._now:6.0f} <<  {payload.decode()}")
        sent_at = self._now
        self._carry(0, lambda: self._hear(event, sent_at))

    def _hear(self, event: dict[str, Any], sent_at: float) -> None:
        self.is_unclear |= event["type"] == "response.create" and self._is_unclear(sent_at)
        self.log.append(f"{self._now:6.0f} <-  {event['type']} {event.get('event_id')}")
        self._carry_down(self.server.receive(event))
        self._step_soon()

    def _step_soon(self) -> None:
        if not self._steps:
            self._steps += 1
            self._after(self.rng.uniform(0, _SLOWEST_STEP), self._step)

    def _step(self) -> None:
        self._steps -= 1
        events = self.server.step()
        self._note_own()
        if events is not None:
            self._carry_down(events)
            self._step_soon()

    def _note_own(self) -> None:
        for answer in self.server.answers:
            if answer.event_id is None:
                self._begun.setdefault(answer.number, self._now)

    def _is_unclear(self, sent_at: float) -> bool:
        """Whether nothing says if the server's own response answers a request that arrives now.

        The request was sent before that response was seen, and it is over already, so that the request is not
        rejected.
        """
        own = [answer for answer in self.server.answers if answer.number in self._begun and answer.over]
        longest = _SLOWEST_STEP + _LONGEST_LATENCY
        return any(self._begun[answer.number] + longest >= sent_at for answer in own)

    def _carry_down(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            frame = json.dumps(event)
            self._carry(1, lambda frame=frame: self._take(frame))  # type: ignore[misc]

    def _take(self, frame: str) -> None:
        self.log.append(f"{self._now:6.0f} ->  {frame}")
        for event in self.gate.note([codec.decode(frame.encode())]):
            for fact in event.__dict__["facts"]:
                self.view.take(fact)
                if isinstance(fact, facts.CallMade) and not fact.item.response.out_of_band:  # type: ignore[union-attr]
                    self._call(fact)
                elif isinstance(fact, facts.ResponseEnded) and not fact.repeated:
                    self._ended[id(fact.response)] = fact
                    # The client had cancelled it before it began, so it is not to go on.
                    is_called = fact.status == "completed" and id(fact.response) in self._open
                    self._stopped += fact.response.unwanted and is_called
                    self._follow(fact.response)

    # --- The client --------------------------------------------------------------------------------------

    def _send(self, event: ev.ClientEvent) -> str:
        event.event_id = f"c{next(self._numbers)}"
        self.gate.sent(event, event.event_id)
        self._carry_up(codec.encode(event))
        return event.event_id

    def _call(self, fact: facts.CallMade) -> None:
        self.ran.append(fact.call.call_id or "")
        key = id(fact.item.response)
        self._open[key] = self._open.get(key, 0) + 1
        self._after(self.rng.uniform(0, 300), lambda: self._answer(fact))

    def _answer(self, fact: facts.CallMade) -> None:
        output = f"weather {json.loads(fact.call.arguments)['number']}"
        item = ev.FunctionCallOutput(call_id=fact.call.call_id or "", output=output)
        self._send(ev.ConversationItemCreate(item=item))
        assert fact.item.response is not None
        self._open[id(fact.item.response)] -= 1
        self._follow(fact.item.response)

    def _follow(self, response: ResponseEntry) -> None:
        """Ask for the follow-up if it is due."""
        ended = self._ended.get(id(response))
        if ended is None or not ended.goes_on or self._open.get(id(response)) or response.out_of_band:
            return
        if id(response) not in self._followed:
            self._followed.add(id(response))
            self._when_idle()

    def _when_idle(self) -> str:
        event = ev.ResponseCreate(event_id=f"c{next(self._numbers)}")
        payload = codec.encode(event)
        if self.gate.ask_when_idle(payload, event, str(event.event_id)).line:
            self._carry_up(payload)
        return str(event.event_id)

    def _words(self) -> list[str]:
        return [f"{word} " for word in self.rng.choices(_WORDS, k=self.rng.randint(1, 4))]

    def _plan(self) -> None:
        items = [("text", self._words()) for _ in range(self.rng.randint(0, 2))]
        calls = self.rng.choice((0, 0, 1, 2))
        numbers = [self.rng.randrange(10**9) for _ in range(calls)]
        items += [("call", ["_weather", json.dumps({"number": number})]) for number in numbers]
        ends = self.rng.choice(("completed", "completed", "completed", "failed", "incomplete"))
        if calls and self.switches.calls == "arguments":
            ends = "completed"  # otherwise it is not told that the arguments alone are a whole call
        has_done = bool(calls) or self.switches.done == "sent" or self.rng.random() < 0.5
        self.server.plans.append(Plan(items or [("text", self._words())], ends=ends, has_done=has_done))

    def _write(self) -> None:
        item = ev.Message(role="user", content=[ev.InputText(text=" ".join(self._words()))])
        self._send(ev.ConversationItemCreate(item=item))

    def _ask(self) -> None:
        self._plan()
        self._asked.add(self._send(ev.ResponseCreate()))

    def _ask_when_idle(self) -> None:
        self._plan()
        self._asked.add(self._when_idle())

    def _ask_out_of_band(self) -> None:
        if self.switches.done == "missing" and not self.switches.names_responses:
            return  # what waits for an end may begin beside it, and nothing tells the two apart
        self._plan()
        self._asked.add(self._send(ev.ResponseCreate(response=ev.ResponseCreateParams(conversation="none"))))

    def _cancel(self) -> None:
        event = ev.ResponseCancel(event_id=f"c{next(self._numbers)}")
        if self.gate.may_cancel(event, str(event.event_id)):
            self.gate.sent(event, str(event.event_id))
            self._carry_up(codec.encode(event))

    def _speak(self) -> None:
        self._plan()
        event = {"type": "test.speak", "text": " ".join(self._words()), "event_id": f"c{next(self._numbers)}"}
        self._carry_up(json.dumps(event).encode())

    def _own(self) -> None:
        """The server begins a response by itself, unless one is active."""
        self._plan()
        self._carry_up(json.dumps({"type": "test.own", "event_id": f"c{next(self._numbers)}"}).encode())

    def _insert(self) -> None:
        s = self.switches
        if s.previous in ("right", "root") and s.item_ids == "own" and s.item_events == "sent":
            item = ev.Message(role="user", content=[ev.InputText(text=" ".join(self._words()))])
            self._send(ev.ConversationItemCreate(item=item, previous_item_id="root"))

    def _delete(self) -> None:
        names = [item.id for item in self.view.items if item.done and item.id and item.type == "message"]
        if names and self.switches.item_ids == "own":
            self._send(ev.ConversationItemDelete(item_id=self.rng.choice(names)))

    def _update(self) -> None:
        self._send(ev.SessionUpdate(session=ev.SessionConfig(instructions="Be brief.")))

    # --- What it must come to ----------------------------------------------------------------------------

    def _compare(self) -> None:
        assert not self.server.complaints, self.server.complaints
        truth = [
            (answer.event_id, answer.out_of_band, answer.status if answer.plan.has_done else "any")
            for answer in self.server.answers
        ]
        responses = [
            (r.request and r.request.event_id, r.out_of_band, s if wanted != "any" or not r.done else "any")
            for (r, s), (_, _, wanted) in zip(self.view.responses.values(), truth, strict=False)
        ]
        assert len(self.view.responses) == len(truth), f"{list(self.view.responses.values())}, not {truth}"
        assert responses == truth, f"responses\n{responses}, not\n{truth}"
        texts = [
            "\n".join(filter(None, map(self.view.text, r.items))) for r, _ in self.view.responses.values()
        ]
        assert texts == [a.text for a in self.server.answers], (
            f"{texts} {[a.text for a in self.server.answers]}"
        )
        due = [
            call.call_id for answer in self.server.answers if not answer.out_of_band for call in answer.calls
        ]
        assert sorted(self.ran) == sorted(due), f"called {self.ran}, not {due}"
        outputs = [item.call_id for item in self.server.history if item.kind == "function_call_output"]
        assert sorted(outputs) == sorted(due), f"answered {outputs}, not {due}"
        assert not self.gate.pending(), f"never sent: {self.gate.pending()}"
        self._compare_requests()
        history = [_of_truth(item) for item in self.server.history]
        items = [self._of_view(item) for item in self.view.items]
        assert items == history, f"items\n{items}, not\n{history}"

    def _compare_requests(self) -> None:
        """Each request was answered or rejected, once."""
        answered = [answer.event_id for answer in self.server.answers if answer.event_id]
        rejected = [event_id for event_id in self.view.rejected if event_id in self.server.requests]
        assert len({*answered, *rejected}) == len(answered) + len(rejected), f"{answered} {rejected}"
        missing = self._asked - {*answered, *rejected}
        assert not missing, f"neither answered nor rejected: {missing}"
        follow_ups = {*answered, *rejected} - self._asked
        due = [a for a in self.server.answers if a.status == "completed" and a.calls and not a.out_of_band]
        wanted = len(due) - self._stopped
        assert len(follow_ups) == wanted, f"follow-ups {follow_ups}, not {wanted}"

    def _of_view(self, item: ItemEntry) -> tuple[str | None, ...]:
        if item.type == "message":
            return item.role, self.view.text(item)
        if item.type == "function_call":
            return item.name, self.view.arguments.get(id(item), "")
        return (self.view.outputs.get(id(item)),)


def _of_truth(item: Item) -> tuple[str | None, ...]:
    if item.kind == "message":
        return item.role, item.text
    return (item.name, item.arguments) if item.kind == "function_call" else (item.output,)
