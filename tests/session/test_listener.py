"""`Listener`: a visitor that is called with facts."""

from typing import Any

import pytest
import response_script
import samples
from conversation_events import created, done, written
from readable_facts import readable
from response_script import ResponseScript
from scripted import DEADLINE

import realtime_sync as rt
from realtime_sync.session import facts
from realtime_sync.session.ledger import Ledger
from realtime_sync.session.listener import Listener


class Notes(Listener):
    """Writes down what it is called with."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_text(self, fact: facts.Text) -> None:
        self.notes.append(fact.text)

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.notes.append(f"began {fact.response.id}")

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        self.notes.append(f"ended {fact.response.id}")


class AndEvents(Notes):
    """Sees the events, too."""

    def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
        self.notes.append(f"event {event.delta}")

    def visit_response_created(self, event: rt.events.ResponseCreated) -> None:
        self.notes.append("event created")


class Defaults(Notes):
    """Sees all events."""

    def default(self, event: rt.ServerEvent) -> None:
        self.notes.append(event.type)


def visited(listener: Any, *events: rt.ServerEvent) -> Any:
    for event in events:
        assert listener.visit(event) is None
    return listener.notes


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_respons_ended", "on_response_ended"),
        ("on_response_end", "on_response_ended"),
        ("on_Text", "on_text"),
        ("on_speech_start", "on_speech_started"),
        ("on_calls_made", "on_call_made"),
    ],
)
def test_a_misspelt_method(name: str, meant: str) -> None:
    """A method for no fact is an error when the class is defined; the message names the nearest right one."""
    with pytest.raises(TypeError, match=rf"^Mine\.{name} handles no fact; did you mean {meant}\?$"):
        type("Mine", (Listener,), {name: lambda self, fact: None})


def test_a_misspelt_method_for_an_event() -> None:
    """The names of a visitor's methods are checked as in every visitor, in a subclass of a subclass, too."""
    with pytest.raises(TypeError, match=r"handles no event; did you mean visit_response_done\?"):
        type("Mine", (AndEvents,), {"visit_respons_done": lambda self, event: None})
    with pytest.raises(TypeError, match=r"handles no fact; did you mean on_text\?"):
        type("Mine", (AndEvents,), {"on_txt": lambda self, event: None})


def test_facts_come_first() -> None:
    """The methods for facts are called before the one for their event."""
    notes = visited(AndEvents(), created(), written("a"), done())
    assert notes == ["began r", "event created", "a", "event a", "ended r"]


def test_a_subclass_of_one_that_sees_events() -> None:
    """What a class sees its subclasses see; what a subclass sees its base does not."""
    below = type("Below", (AndEvents,), {})
    assert "event a" in visited(below(), created(), written("a"))
    assert "event a" not in visited(Notes(), created(), written("a"))


def test_a_session_understands_for_all(script: ResponseScript, session: rt.Session) -> None:
    """A listener takes the facts that the session put on its events, and understands nothing again."""
    session.response.create()
    script.send(response_script.created("r1"))
    [_, event] = [session.next_event(DEADLINE) for _ in range(2)]
    first, second = Entries(), Entries()
    first.visit(event)
    second.visit(event)
    assert first.seen[0] is second.seen[0] is session.ledger.responses.get("r1")


class Entries(Listener):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.seen.append(fact.response)


def test_events_of_no_session() -> None:
    """Events that nothing has understood are understood by the listener itself, in its own ledger."""
    listener = Notes()
    assert visited(listener, created(), written("a"), done()) == ["began r", "a", "ended r"]
    assert visited(listener, created("s"))[3:] == ["began s"]
    assert visited(Notes(), written("b")) == ["began r", "b"]


def test_what_is_dealt_with_has_no_facts() -> None:
    """An event that its session has understood as nothing tells nothing, and is not understood again."""
    event = created()
    event.__dict__["facts"] = ()
    assert visited(Notes(), event) == []


def test_a_method_that_raises() -> None:
    """An error of a method comes out of `visit`."""

    class Broken(Listener):
        def on_response_began(self, fact: facts.ResponseBegan) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken().visit(created())


@pytest.mark.parametrize("tag", samples.SERVER)
def test_every_event(tag: str) -> None:
    """A listener takes every event; what it is told is what a ledger says that sees no requests."""
    event = rt.decode(samples.SERVER[tag])
    told: list[facts.Fact] = []
    handlers = {fact.handler: lambda self, fact: told.append(fact) for fact in facts.Fact.__subclasses__()}
    listener = type("All", (Listener,), handlers)()
    listener.visit(event)
    assert readable(told) == readable(Ledger(has_requests=False).note(event) or ())
