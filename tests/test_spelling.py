"""`spelling`: the name that a misspelt one was meant to be."""

from typing import TypedDict

import pytest

from realtime_sync.spelling import check_options, nearest

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


class Options(TypedDict, total=False):
    """The options of some function."""

    voice: str
    model: str


def test_declared_options_pass() -> None:
    """The options of the table, and the other arguments of the function, are accepted."""
    check_options("speak", ["voice", "model", "text"], Options, "text")


def test_an_unknown_option_is_rejected() -> None:
    """The error names the function, the option, and the nearest one of those that exist."""
    with pytest.raises(TypeError, match=r"^speak\(\) has no option 'txt'; did you mean 'text'\?$"):
        check_options("speak", ["voice", "txt"], Options, "text")
