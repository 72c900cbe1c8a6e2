"""Leaving out what a model thinks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.local.chat.thoughts import Thoughts


def said(*deltas: str, first: bool = False) -> list[str]:
    """What is to be said after each delta and at the end."""
    thoughts = Thoughts(first)
    return [thoughts.feed(delta) for delta in deltas] + [thoughts.end()]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("<think>Hm.</think>Hello", "Hello"),
        ("One <think>Hm.</think>two <thinking>Hm</thinking>three", "One two three"),
        ("Hello <think>without an end", "Hello "),
        ("Hm. So:</think>Hello", "Hello"),
        ("1 < 2 and <b> and <thinker> and <", "1 < 2 and <b> and <thinker> and <"),
        ("a<<think>b</think>c", "a<c"),
        ("<think>a<think>b</think>c", "c"),
        ("<think>a</thin", ""),
        ("", ""),
    ],
)
def test_whole(text: str, spoken: str) -> None:
    """Thoughts are left out, and nothing else is."""
    assert "".join(said(text)) == spoken


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<thinking>", "<", "a", "think>", "</"])).map("".join),
    st.booleans(),
    st.sets(st.integers(0, 80)),
)
def test_cuts(text: str, first: bool, cuts: set[int]) -> None:
    """Deltas make no difference, but that an end without a beginning comes too late for what was said."""
    places = [0, *sorted(cuts), len(text)]
    deltas = [text[a:b] for a, b in itertools.pairwise(places)]
    whole, thoughts = Thoughts(first), Thoughts(first)
    expected = whole.feed(text) + whole.end()
    spoken = "".join(map(thoughts.feed, deltas)) + thoughts.end()
    assert thoughts.unopened == whole.unopened
    assert spoken.endswith(expected) if whole.unopened else spoken == expected


def test_nothing_waits() -> None:
    """What can't be a tag is said at once, a plain < with what follows it."""
    assert said("Hello", " 1 <", " 2", " <thin", "gs>") == ["Hello", " 1 ", "< 2", " ", "<things>", ""]


def test_thoughts_first() -> None:
    """A text that begins with thoughts is held back until they end; it is all said if they don't."""
    assert said("Hm", ". </thi", "nk>Hello", first=True) == ["", "", "Hello", ""]
    assert said("Hel", "lo <", first=True) == ["", "", "Hello <"]
    assert said("Hello <think>hm</think>there", first=True) == ["Hello there", ""]


def test_unopened() -> None:
    """It is noticed that thoughts end which no tag had opened."""
    for text, unopened in (("hm</think>a", True), ("<think>hm</think>a", False), ("a", False)):
        thoughts = Thoughts()
        thoughts.feed(text)
        assert thoughts.unopened == unopened
