"""`InputAudio` against a model that keeps every byte: places, the copy, turns, and what is missing."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.session.facts import ItemEntry
from realtime_sync.session.input_audio import InputAudio

_KEPT = 40

Step = tuple[str, int]
_STEPS = st.tuples(
    st.sampled_from(
        ["append", "unkept", "malformed", "began", "ended", "committed", "by us", "cleared", "lost"]
    ),
    st.integers(min_value=0, max_value=30),
)


class Model:
    """The same, with all audio ever appended and a set of what is in the server's buffer."""

    def __init__(self) -> None:
        self.all = b""
        self.broken = 0  # what comes before has a gap behind it, so that none of it is kept
        self.emptied = 0
        self.base = 0
        self.speaks = False
        self.turns: dict[ItemEntry, tuple[int, int]] = {}


def place(model: Model, share: int) -> int:
    """A place in what the connection has: servers tell of no other."""
    return model.base + (len(model.all) - model.base) * share // 30


def take(audio: InputAudio, model: Model, step: Step) -> None:
    """Do one step with both."""
    name, number = step
    if name in ("append", "unkept", "malformed"):
        chunk = bytes((len(model.all) + each) % 251 for each in range(number))
        audio.append(number, {"append": chunk, "unkept": None, "malformed": chunk + b"!"}[name])
        model.all += chunk
        model.broken = len(model.all) if name != "append" and number else model.broken
    elif name == "began":
        audio.speech_began(place(model, number))
        model.speaks = True
    elif name == "ended":
        audio.speech_ended(place(model, number))
        model.speaks = False
    elif name in ("committed", "by us"):
        item, before = ItemEntry("item"), audio.emptied
        audio.committed(item, place(model, number) if name == "by us" else None)
        model.speaks, model.emptied = False, audio.emptied
        if name == "by us":
            model.turns[item] = before, max(before, place(model, number))
            assert audio.emptied == model.turns[item][1]
        assert before <= audio.emptied <= len(model.all)
    elif name == "cleared":
        audio.cleared(place(model, number))
        model.emptied, model.speaks = max(model.emptied, place(model, number)), False
    else:
        again = audio.restart()
        assert again == max(model.emptied, first_kept(audio, model))
        assert again + sum(map(len, audio.copy(again, audio.appended))) == audio.appended
        model.base = model.emptied = again
        model.speaks = False


def first_kept(audio: InputAudio, model: Model) -> int:
    """Where the copy begins, by what it says it lacks of all audio."""
    first = audio.missing(0)
    assert first >= model.broken
    assert len(model.all) - first >= min(_KEPT, len(model.all) - model.broken)  # as much as promised
    return first


@given(st.lists(_STEPS, max_size=40))
def test_as_the_model(steps: list[Step]) -> None:
    """Whatever comes in whatever order, places are right and each byte sent again is the right one."""
    audio, model = InputAudio(), Model()
    audio.kept = _KEPT
    for step in steps:
        take(audio, model, step)
        first = first_kept(audio, model)
        assert b"".join(audio.copy(0, audio.appended)) == model.all[first:]
        assert (audio.appended, audio.emptied, audio.base) == (len(model.all), model.emptied, model.base)
        assert audio.speaks is model.speaks
        assert audio.emptied <= audio.appended
        assert audio.base <= audio.confirmed <= audio.appended
        for item, (begin, end) in model.turns.items():
            assert audio.turn_size(item) == end - begin
            assert audio.of_turn(item) == (model.all[begin:end] if first <= begin < end else None)


@given(st.lists(st.integers(min_value=0, max_value=20), max_size=9), st.integers(0, 200), st.integers(0, 200))
def test_a_copy_of_a_part(sizes: list[int], begin: int, end: int) -> None:
    """A copy between two places has what was appended between them, whatever the chunks were."""
    audio, whole = InputAudio(), bytes(range(sum(sizes)))
    audio.kept, place = 1000, 0
    for size in sizes:
        audio.append(size, whole[place : place + size])
        place += size
    assert b"".join(audio.copy(begin, end)) == whole[begin:end]


def test_a_turn_of_a_server() -> None:
    """A turn that the server has detected is the audio from where speech began to where it ended."""
    audio, item = InputAudio(), ItemEntry("item_1")
    audio.kept = 1000
    audio.append(100, bytes(range(100)))
    audio.speech_began(20)
    audio.speech_ended(70)
    assert (audio.speaks, audio.confirmed) == (False, 70)
    audio.committed(item, None)
    assert audio.of_turn(item) == bytes(range(20, 70))
    assert audio.restart() == 70  # what comes behind it was not committed


def test_a_turn_while_the_user_speaks() -> None:
    """A server that commits without having told where speech ended has taken what it is known to have."""
    audio, item = InputAudio(), ItemEntry("item_1")
    audio.kept = 1000
    audio.append(100, bytes(100))
    audio.speech_began(20)
    audio.confirm(60)
    audio.committed(item, None)
    assert (audio.turn_size(item), audio.emptied) == (40, 60)


@pytest.mark.parametrize("place", [-5, 10**9])
@pytest.mark.parametrize(
    "tell",
    [InputAudio.speech_began, InputAudio.speech_ended, InputAudio.confirm],
    ids=lambda each: each.__name__,
)
def test_impossible_places(tell: Callable[[InputAudio, int], None], place: int) -> None:
    """A server that tells of audio that it never got, or of a time before all, makes no place wrong."""
    audio, item = InputAudio(), ItemEntry("item_1")
    audio.kept = 1000
    audio.append(100, bytes(100))
    tell(audio, place)
    audio.committed(item, None)
    assert 0 <= audio.emptied <= audio.confirmed <= 100
    assert 0 <= audio.turn_size(item) <= 100


def test_nothing_kept() -> None:
    """With nothing to keep there is no copy, and all that was appended is missing."""
    audio = InputAudio()
    audio.append(100, bytes(100))
    assert (audio.missing(30), audio.restart(), list(audio.copy(0, 100))) == (70, 100, [])


def test_when_it_was_appended() -> None:
    """How much was appended at a moment is known from below: nothing before the first, then more and more."""
    audio = InputAudio()
    audio.kept = 1000
    assert audio.appended_at(1e12) == 0
    audio.append(100, bytes(100))
    assert audio.appended_at(-1.0) == 0
    assert audio.appended_at(1e12) == 0  # the mark of the one chunk is where it began
