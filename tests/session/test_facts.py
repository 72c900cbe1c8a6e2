"""`facts`: the vocabulary of what the ledger tells."""

import msgspec
import pytest
from readable_facts import readable

from realtime_sync.events import ErrorDetails
from realtime_sync.session import facts
from realtime_sync.session.facts import Fact, ItemEntry, PartEntry, Request, ResponseEntry
from realtime_sync.session.listener import Listener

FACTS = Fact.__subclasses__()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_each_fact_has_its_handler(fact: type[Fact]) -> None:
    """A fact is handled by the method that has its name, in small letters: a listener may define it."""
    words = "".join(" " + letter if letter.isupper() else letter for letter in fact.__name__).lower().split()
    assert fact.handler == "on_" + "_".join(words)
    assert type("Mine", (Listener,), {fact.handler: lambda self, fact: None})


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_each_fact_says_what_it_means(fact: type[Fact]) -> None:
    """Each has a docstring of its own, since listeners of the user's read these."""
    assert fact.__doc__ != Fact.__doc__


def test_facts_are_fixed() -> None:
    """Nobody who is told a fact can change it for the next one who is told."""
    fact = facts.SpeechStarted("i", 10)
    with pytest.raises(AttributeError):
        fact.audio_ms = 20  # type: ignore[misc]
    error = facts.Error(ErrorDetails(type="t", message="m"))
    assert readable([fact, error]) == ["speaks i 10", "error t"]


@pytest.mark.parametrize("make", [ResponseEntry, ItemEntry, lambda name: PartEntry(ItemEntry(name), 0)])
def test_entries_are_themselves(make: type) -> None:
    """Two entries that look alike are different ones, and can be keys: servers use ids again."""
    one, other = make("same"), make("same")
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize(
    ("request_", "out_of_band", "outside"),
    [
        (None, False, False),
        (None, True, False),
        (Request("e"), False, False),
        (Request("e", True), True, True),
    ],
)
def test_outside_for_certain(request_: Request | None, out_of_band: bool, outside: bool) -> None:
    """Only what was requested so is out-of-band for certain; else it is a guess."""
    response = ResponseEntry("r", request=request_, out_of_band=out_of_band)
    assert response.is_outside is outside
    assert not msgspec.structs.replace(response, request=None).is_outside
