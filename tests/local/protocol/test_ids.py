"""How events and items get their ids."""

from typing import Any

from talk import Talk

from realtime_sync.local.protocol.ids import numbered


def test_ids_count() -> None:
    """Ids count over all prefixes, and each maker begins anew."""
    ids = numbered()
    assert [ids("item"), ids("event"), ids("item")] == ["item_000001", "event_000002", "item_000003"]
    assert numbered()("item") == "item_000001"


def test_every_event_has_an_id() -> None:
    """Each event that leaves the protocol has got an id of its own."""
    talk = Talk()
    events: list[Any] = talk.opening + talk.send("nonsense") + talk.turn()
    ids = [event.event_id for event in events]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_ids_that_the_caller_makes() -> None:
    """A session takes its ids from the maker that it was given, with the prefixes of the wire."""
    asked: list[str] = []

    def make(prefix: str) -> str:
        asked.append(prefix)
        return f"{prefix}_{len(asked)}_mine"

    talk = Talk.to(ids=make)
    created: Any = talk.opening[0]
    assert created.session.id.endswith("_mine")
    talk.turn(output_modalities=["text"])
    assert {"sess", "event", "conv", "resp", "item"} <= {*asked}
