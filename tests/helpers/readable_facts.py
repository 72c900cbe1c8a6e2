"""Facts in a few words each, so that what the ledger makes of events can be written as a table.

An entry is shown by the id that it had when a fact told of it first, ``?`` if it had none; each further entry
with the same id has one more ``'``.  A part is shown as ``item[index]``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.session import facts
from realtime_sync.session.facts import Fact, ItemEntry, PartEntry, Request, ResponseEntry, Sent
from realtime_sync.session.ledger import Ledger
from realtime_sync.session.requests import Pending

Step = ServerEvent | Callable[[Ledger], object]
"""An event that comes, or something that the session tells the ledger."""

# --- What is sent --------------------------------------------------------------------------------------


def asks(event_id: str, *, out_of_band: bool = False) -> Step:
    """The user sends ``response.create``."""
    return lambda ledger: ledger.requests.note_asked(Request(event_id, out_of_band))


def asks_when_idle(event_id: str) -> Step:
    """The user sends it with ``when_idle=True``."""
    return lambda ledger: ledger.responses.ask_when_idle(pending(event_id))


def pending(event_id: str) -> Pending:
    return Pending(ev.ResponseCreate(event_id=event_id), event_id.encode())


def cancels(event_id: str = "c1", response: str | None = None) -> Step:
    """The user sends ``response.cancel`` with ``if_active=True``."""
    return lambda ledger: ledger.responses.may_cancel(event_id, response)


def sends(kind: str, event_id: str, **fields: Any) -> Step:
    """The user sends another event."""
    return lambda ledger: ledger.sent(Sent(kind, event_id, **fields))


def allows(rounds: int) -> Step:
    """The session has a limit of rounds."""
    return lambda ledger: setattr(ledger.responses, "max_rounds", rounds)


# --- What it comes to ----------------------------------------------------------------------------------


def play(ledger: Ledger, *steps: Step) -> list[Fact]:
    """Do all steps and return the facts."""
    found: list[Fact] = []
    for step in steps:
        if isinstance(step, ServerEvent):
            found += ledger.note(step) or ()
        else:
            step(ledger)
    return found


def said(*steps: Step, only: str = "", ledger: Ledger | None = None) -> list[str]:
    """Return what a ledger says of these.

    Args:
        only: The first words of the facts to be shown, such as ``"began ended"``; else all are.
        ledger: The ledger; else a new one.
    """
    ledger, names, lines = ledger or Ledger(), Names(), []
    for step in steps:  # each at once, as an entry's id and request may change later
        lines += [names.line(fact) for fact in play(ledger, step)]
    return [line for line in lines if not only or line.split()[0] in only.split()]


def row(name: str, *steps: Step, then: list[str], counted: str | None = "") -> Any:
    """Return a row of a table for `check`, with a name."""
    return pytest.param(steps, then, counted, id=name)


def check(steps: tuple[Step, ...], then: list[str], counted: str | None, only: str = "") -> Ledger:
    """Check what a new ledger says of these steps, and return it.

    Args:
        steps: The steps.
        then: The facts, in words.
        counted: The deviations that it counts, in alphabetical order; ``None`` = any.
        only: The first words of the facts that are compared; else all are.
    """
    ledger = Ledger()
    assert said(*steps, only=only, ledger=ledger) == then
    if counted is not None:
        assert ", ".join(sorted(ledger.deviations)) == counted
    return ledger


def readable(told: Iterable[Fact]) -> list[str]:
    """Return facts in words."""
    names = Names()
    return [names.line(fact) for fact in told]


def place(order: list[ItemEntry], fact: facts.ItemPlaced) -> int:
    """Do with a list of items what a fact says, and return the item's index in it."""
    if fact.item in order:
        order.remove(fact.item)
    index = 0 if fact.after is None else order.index(fact.after) + 1
    order.insert(index, fact.item)
    return index


class Names:
    """Names of entries, and the words for each fact."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[object, str]] = {}
        self.order: list[ItemEntry] = []

    def of(self, entry: ResponseEntry | ItemEntry) -> str:
        if id(entry) not in self.known:
            base = entry.id or "?"
            same = sum(name.rstrip("'") == base for _, name in self.known.values())
            self.known[id(entry)] = entry, base + "'" * same
        return self.known[id(entry)][1]

    def part(self, part: PartEntry) -> str:
        return f"{self.of(part.item)}[{part.index}]"

    def line(self, fact: Fact) -> str:
        say: Callable[[Any], str] | None = getattr(self, fact.handler, None)
        return say(fact) if say is not None else f"{type(fact).__name__}: not known here"

    # --- Responses

    def on_response_began(self, fact: facts.ResponseBegan) -> str:
        request = fact.response.request
        return f"began {self.of(fact.response)}" + (f" for {request.event_id}" if request else "")

    def on_response_ended(self, fact: facts.ResponseEnded) -> str:
        items = ",".join(self.of(item) for item in fact.items)
        line = f"ended {self.of(fact.response)} {fact.status}" + (f" with {items}" if items else "")
        line += " and goes on" if fact.goes_on else ""
        line += " again" if fact.repeated else ""
        return line + (f": {fact.reason}" if fact.reason else "")

    # --- What was sent

    def on_rejected(self, fact: facts.Rejected) -> str:
        return f"rejected {fact.sent.type or 'event'} {fact.sent.event_id}"

    def on_error(self, fact: facts.Error) -> str:
        kind = fact.error.code or fact.error.type
        return "error" if kind == "invalid_request_error" else f"error {kind}"

    def on_settings(self, fact: facts.Settings) -> str:
        return "settings"

    # --- Items

    def on_item_made(self, fact: facts.ItemMade) -> str:
        return f"made {self.of(fact.item)}" + (f" in {self.of(fact.response)}" if fact.response else "")

    def on_item_named(self, fact: facts.ItemNamed) -> str:
        return f"named {self.of(fact.item)} {fact.item.id}"

    def on_item_told(self, fact: facts.ItemTold) -> str:
        return f"told {self.of(fact.item)}"

    def on_item_status(self, fact: facts.ItemStatus) -> str:
        return f"status {self.of(fact.item)} {fact.status}"

    def on_item_done(self, fact: facts.ItemDone) -> str:
        return f"done {self.of(fact.item)}"

    def on_item_placed(self, fact: facts.ItemPlaced) -> str:
        return f"placed {self.of(fact.item)} {place(self.order, fact)}"

    def on_item_deleted(self, fact: facts.ItemDeleted) -> str:
        self.order.remove(fact.item)
        return f"{'forgotten' if fact.forgotten else 'deleted'} {self.of(fact.item)}"

    def on_item_truncated(self, fact: facts.ItemTruncated) -> str:
        return f"truncated {self.part(fact.part)} {fact.audio_end_ms}"

    # --- Content

    def on_part(self, fact: facts.Part) -> str:
        return f"part {self.part(fact.part)}" + (" whole" if fact.whole else "")

    def on_text(self, fact: facts.Text) -> str:
        return f"text {self.part(fact.part)} {'=' if fact.whole else '+'} {fact.text}"

    def on_transcript(self, fact: facts.Transcript) -> str:
        return f"words {self.part(fact.part)} {'=' if fact.whole else '+'} {fact.text}"

    def on_segment(self, fact: facts.Segment) -> str:
        return f"segment {self.part(fact.part)} {fact.event.text}"

    def on_transcribed(self, fact: facts.Transcribed) -> str:
        return f"transcribed {self.part(fact.part)}" + (f": {fact.error.message}" if fact.error else "")

    def on_audio(self, fact: facts.Audio) -> str:
        return f"audio {self.part(fact.part)} {len(fact.audio)}"

    def on_audio_done(self, fact: facts.AudioDone) -> str:
        return f"silence {self.part(fact.part)}"

    def on_translation(self, fact: facts.Translation) -> str:
        return f"translation {len(fact.audio)}"

    # --- Calls

    def on_arguments(self, fact: facts.Arguments) -> str:
        return f"arguments {self.of(fact.item)} {'=' if fact.whole else '+'} {fact.text}"

    def on_call_made(self, fact: facts.CallMade) -> str:
        return f"call {fact.call.call_id or '?'} {fact.call.name or '?'} {fact.call.arguments}"

    def on_approval_asked(self, fact: facts.ApprovalAsked) -> str:
        return f"approval {fact.request.id}" + (" and goes on" if fact.goes_on else "")

    def on_mcp_call(self, fact: facts.McpCall) -> str:
        return f"mcp {self.of(fact.item)} {'ended' if fact.ended else 'began'}"

    def on_mcp_result(self, fact: facts.McpResult) -> str:
        return f"result {fact.call.id} {fact.call.output}"

    # --- The user

    def on_speech_started(self, fact: facts.SpeechStarted) -> str:
        return f"speaks {fact.item_id} {fact.audio_ms}"

    def on_speech_stopped(self, fact: facts.SpeechStopped) -> str:
        return f"pauses {fact.item_id} {fact.audio_ms}"

    def on_committed(self, fact: facts.Committed) -> str:
        return f"committed {self.of(fact.item)}"
