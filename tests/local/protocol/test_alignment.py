"""Which words belong to which part of the audio."""

import pytest

from realtime_sync.local.protocol.alignment import Alignment

TEXT = "One two. Three four five."


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, ""),
        (300, ""),
        (500, "One"),
        (999, "One"),
        (1000, "One two."),
        (1001, "One two."),
        (1800, "One two. Three"),
        (2999, "One two. Three four"),
        (3000, TEXT),
        (99_999, TEXT),
    ],
)
def test_words_at_a_place(size: int, words: str) -> None:
    """Only whole words count, spread over the audio of their own sentence."""
    alignment = Alignment(48_000)
    alignment.mark(1000, 8)
    alignment.mark(3000, len(TEXT))
    assert alignment.heard(TEXT, size) == words


def test_a_sentence_that_is_being_said() -> None:
    """As long as its length is not known, it is said at fifteen characters a second."""
    alignment = Alignment(1000)
    assert alignment.heard("abcd efgh ijkl mnop", 999) == "abcd efgh ijkl"
    assert alignment.heard("abcd efgh ijkl mnop", 2000) == "abcd efgh ijkl mnop"


def test_sentences_without_audio() -> None:
    """What can't be spoken belongs to the audio before it."""
    alignment = Alignment(1000)
    alignment.mark(1000, 8)
    alignment.mark(1000, 12)
    assert alignment.heard("One two. \u4f60\u597d \u597d", 1000) == "One two. \u4f60\u597d"
