"""Where a text can be cut into what is spoken in one breath."""

# The marks of Chinese are meant.
# ruff: noqa: RUF001

import pytest
from growth import Work, growth
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.speech.sentences import Sentences, ends_sentence
from realtime_sync.speech.speakable import speakable

PARTS = ["<think>", "</think>", "```", "Dr. ", "e.g. ", "word ", "End. ", ", ", "\n", "。", "a" * 99]
WRITTEN = (
    st.text(alphabet='ab .!?,\n`<>/think。」"*1A') | st.text() | st.lists(st.sampled_from(PARTS)).map("".join)
)


def pieces_of(*deltas: str) -> list[str]:
    """What a text is cut into, given in deltas."""
    sentences = Sentences()
    found = [piece for delta in deltas for piece in sentences.feed(delta)]
    return found + sentences.finish()


@pytest.mark.parametrize(
    "pieces",
    [
        ["Yes."],
        ["Good morning.", " How are you?", " Fine!"],
        ['He said "Stop."', " (He did.)", " **Bold.**", " Really?!", " Well..."],
        ["Dr. Smith of the U.S. Army has 3.14 cats e.g. at 5 p.m. every day.", " True."],
        ["J. S. Bach wrote it in 1721.", " So it is."],
        ["1. Salt.", "\n2. Pepper."],
        ["# Soup", "\n\nCook it", "\n- with salt", "\n- and leek"],
        ["A line that is broken\nby its writer ends here.", "\nAnother."],
        ["你好。", "「再见！」", "然后呢？"],
        ["Here it is:", "\n```python\na. b. c\n\nd\n```", "\nDone."],
        ["<think>Hm. So? Yes.\n</think>", "It is four."],
        ["No end"],
        [" \n "],
        [],
    ],
)
def test_where_it_is_cut(pieces: list[str]) -> None:
    """Sentences and lines are pieces, code and thoughts too; a dot alone is not an end."""
    assert pieces_of("".join(pieces)) == pieces


def test_the_first_piece_ends_at_a_comma() -> None:
    """Speaking begins soon: at a comma, if forty characters are there; later commas do not matter."""
    first = "The weather in the north of the country, which is wet,"
    assert pieces_of(f"{first} is bad. {first} is worse.") == [
        "The weather in the north of the country,", " which is wet, is bad.", f" {first} is worse.",
    ]  # fmt: skip
    assert pieces_of("<think>x</think>", first) == ["<think>x</think>", first[:40], first[40:]]
    assert pieces_of("Well, it is so, and so, and so.") == ["Well, it is so, and so, and so."]


def test_a_sentence_without_end() -> None:
    """It ends at a space, and where there is none, anywhere."""
    pieces = pieces_of("word " * 200)
    assert [len(piece) for piece in pieces] == [254, 250, 250, 246]
    assert all(piece.startswith(" ") for piece in pieces[1:])
    assert [len(piece) for piece in pieces_of("a" * 1200)] == [500, 500, 200]


def test_a_sentence_comes_as_soon_as_it_is_complete() -> None:
    """The space behind it is enough."""
    sentences = Sentences()
    assert sentences.feed("It is so.") == []
    assert sentences.feed(" ") == ["It is so."]
    assert sentences.feed("So") == []
    assert sentences.finish() == [" So"]


def test_it_can_be_used_again() -> None:
    """What is fed after the end is a new text, whatever the last one left open."""
    sentences = Sentences()
    for _ in range(2):
        assert sentences.feed("Once. <think>never closed. a<thi") == ["Once."]
        assert sentences.finish() == [" <think>never closed. a<thi"]
    assert sentences.feed("Yes. ") == ["Yes."]


@given(WRITTEN, st.integers(1, 7))
def test_nothing_is_lost(text: str, size: int) -> None:
    """Joined, the pieces are the text, none is empty, and it makes no difference how it came."""
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    assert "" not in pieces
    assert pieces_of(*(text[start : start + size] for start in range(0, len(text), size))) == pieces


@given(WRITTEN)
def test_only_a_block_is_long(text: str) -> None:
    """What is to be spoken is never much longer than a long sentence."""
    assert all(len(speakable(piece)) <= 500 for piece in pieces_of(text))


@pytest.mark.parametrize(
    "part", ["a", ".", "<think>", "<", "<thi", "`", "```", "。", "」", " ", "\n", "a. ", "a,"]
)
@pytest.mark.parametrize("size", [3, 1_000_000])
def test_time_is_linear(part: str, size: int) -> None:
    """The time grows no faster than the text, whatever is in it and however it comes."""

    def prepare(n: int) -> Work:
        text = part * n
        deltas = [text[start : start + size] for start in range(0, len(text), size)]
        return lambda: pieces_of(*deltas)

    found = growth(prepare, 6000 // len(part))
    assert found.is_linear, found


@pytest.mark.parametrize("text", ["a" * 500_000, "." * 500_000, "a." * 250_000, "and " * 100_000])
def test_a_long_text_is_judged_by_its_end(text: str) -> None:
    """Any length is taken."""
    assert not ends_sentence(text) or text.endswith("a.")


@pytest.mark.parametrize(
    "text",
    ["It is so.", "Is it?", "Stop!", '"Stop."', "I think so.", "No.", "At 5 p.m.", "你好。", "When?", "Hi. "],
)
def test_what_ends_a_sentence(text: str) -> None:
    """A mark at the end, with or without a quote behind it."""
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "It is", "It is,", "I went and.", "So, um.", "I saw Dr.", "Well...", "Hm…", "in the.", "."],
)
def test_what_does_not_end_a_sentence(text: str) -> None:
    """No mark, dots that trail off, or a word that something has to follow."""
    assert not ends_sentence(text)
