"""`spelling`: the name that a misspelt one was meant to be."""

import pytest

from realtime_sync.spelling import nearest

KNOWN = ["voice", "model", "instructions", "output_modalities"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("voise", "voice"),
        ("Model", "model"),
        ("instruction", "instructions"),
        ("modalities", "output_modalities"),
        ("voice", "voice"),
    ],
)
def test_the_nearest_name(name: str, meant: str) -> None:
    """The known name that shares most with the misspelt one is returned."""
    assert nearest(name, KNOWN) == meant


@pytest.mark.parametrize("name", ["", "zzz", "ключ"])
def test_there_is_always_a_suggestion(name: str) -> None:
    """Even a name that is like none of them gets one, so that messages need no second form."""
    assert nearest(name, KNOWN) in KNOWN


def test_any_iterable_of_names() -> None:
    """The known names may be the keys of a table, or made on the way."""
    assert nearest("voise", dict.fromkeys(KNOWN)) == "voice"
    assert nearest("voise", (name for name in KNOWN)) == "voice"
