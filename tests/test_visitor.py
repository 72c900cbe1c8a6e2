"""`Visitor`: dispatch by name, and mistakes found when a class is defined."""

import inspect
from typing import Any

import pytest
import samples

from realtime_sync import Reconnected, Visitor, decode, events
from realtime_sync.events import SERVER_EVENTS, ServerEvent, UnknownEvent


class Namer(Visitor[str]):
    """Returns which method was called, from the default."""

    def default(self, event: ServerEvent) -> str:
        return f"default {event.type}"

    def unknown(self, event: UnknownEvent) -> str:
        return f"unknown {event.type}"


HANDLERS = sorted({cls.handler for cls in SERVER_EVENTS.values()})


@pytest.mark.parametrize("tag", SERVER_EVENTS)
def test_every_event_reaches_its_method(tag: str) -> None:
    """An event calls the method named after it, or after its GA name, and gives its result back."""
    event = decode(samples.SERVER[tag])
    name = "visit_" + tag.replace(".", "_")
    for handler in {name, event.handler}:
        visitor_class: type[Visitor[str]] = type("V", (Visitor,), {handler: lambda self, event: event.type})
        assert visitor_class().visit(event) == tag
        assert event.accept(visitor_class()) == tag


@pytest.mark.parametrize("tag", SERVER_EVENTS)
def test_default(tag: str) -> None:
    """An event whose method is not overridden goes to `default`, which returns nothing."""
    event = decode(samples.SERVER[tag])
    assert event.accept(Namer()) == f"default {tag}"
    assert Visitor[str]().visit(event) is None


def test_unknown() -> None:
    """A new event goes to `unknown`, and from there to `default`."""

    class Catcher(Visitor[str]):
        def default(self, event: ServerEvent) -> str:
            return f"caught {event.type}"

    event = decode('{"type":"brand.new"}')
    assert event.accept(Namer()) == "unknown brand.new"
    assert event.accept(Catcher()) == "caught brand.new"
    assert event.accept(Visitor[str]()) is None


def test_methods_are_explicit() -> None:
    """There is one method for each event, typed with its struct and documented with its tag.

    One more is for the event that no server sends.
    """
    methods = {name: method for name, method in vars(Visitor).items() if name.startswith("visit_")}
    assert sorted(methods) == sorted([*HANDLERS, Reconnected.handler])
    for tag, cls in SERVER_EVENTS.items():
        if cls.handler == "visit_" + tag.replace(".", "_"):
            signature = inspect.signature(methods[cls.handler])
            assert signature.parameters["event"].annotation is cls
            assert tag in methods[cls.handler].__doc__


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("visit_respons_done", "visit_response_done"),
        ("visit_response_output_text_deltas", "visit_response_output_text_delta"),
        ("visit_response_text_dlta", "visit_response_text_delta"),
        ("visit_", "visit_error"),
    ],
)
def test_a_misspelt_method(name: str, meant: str) -> None:
    """A method that handles no event is a `TypeError` when the class is defined, naming the nearest."""
    with pytest.raises(TypeError, match=f"V.{name} handles no event; did you mean {meant}"):
        type("V", (Visitor,), {name: lambda self, event: None})


def test_a_misspelt_method_of_a_mixin() -> None:
    """Methods that come from another base class are checked too."""

    class Mixin:
        def visit_nothing(self, event: Any) -> None: ...

    with pytest.raises(TypeError, match="visit_nothing handles no event"):
        type("V", (Mixin, Visitor), {})


def test_a_coroutine() -> None:
    """An ``async`` method is rejected, since it would never be awaited."""

    async def method(self: Any, event: Any) -> None: ...

    with pytest.raises(TypeError, match="visit_error is 'async'"):
        type("V", (Visitor,), {"visit_error": method})


TEXT = decode(samples.SERVER["response.text.delta"])


def test_both_spellings() -> None:
    """One class can't define an event's method under both its names."""
    with pytest.raises(TypeError, match="which are one event"):

        class Both(Visitor[None]):
            def visit_response_text_delta(self, event: events.ResponseOutputTextDelta) -> None: ...

            def visit_response_output_text_delta(self, event: events.ResponseOutputTextDelta) -> None: ...


def test_spellings_in_subclasses() -> None:
    """Whichever name a subclass uses, it overrides the other name too."""

    class Beta(Visitor[str]):
        def visit_response_text_delta(self, event: events.ResponseOutputTextDelta) -> str:
            return "beta"

    class Ga(Beta):
        def visit_response_output_text_delta(self, event: events.ResponseOutputTextDelta) -> str:
            return "ga, above " + str(super().visit_response_output_text_delta(event))

    class BetaAgain(Ga):
        def visit_response_text_delta(self, event: events.ResponseOutputTextDelta) -> str:
            return "beta again"

    class Nothing(BetaAgain):
        pass

    made = [visitor.visit(TEXT) for visitor in (Beta(), Ga(), BetaAgain(), Nothing())]
    assert made == ["beta", "ga, above beta", "beta again", "beta again"]
