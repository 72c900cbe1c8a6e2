"""An answer piece by piece."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from realtime_sync.local import CallFunction, Request, Say, ScriptedResponder, Sentence
from realtime_sync.local.protocol.pieces import Aligned, Ended, Pieces, Sound, Speaking, Words, words


class Reader:
    """Says each sentence in as many milliseconds as it has letters, and remembers what it was asked."""

    instant = True

    def __init__(self) -> None:
        self.sentences: list[Sentence] = []

    def speak(self, sentence: Sentence) -> Iterable[bytes]:
        self.sentences.append(sentence)
        yield b"s" * 48 * len(sentence.text)


def pieces_of(*outputs: Any, voice: Any = None) -> list[Any]:
    speaking = None if voice is None else Speaking(voice, "audio/pcm", "marin", 1.2)
    return list(Pieces(ScriptedResponder([list(outputs)]), Request(), speaking))


def test_what_is_written() -> None:
    """A text comes word by word; one that is being written comes as it is written."""
    say, call = Say("Good morning."), CallFunction("f")
    assert pieces_of(say, call) == [say, Words("Good"), Words(" morning."), Ended(), call]
    streamed = Say(iter(["Goo", "d mor", "ning."]))
    assert pieces_of(streamed)[1:-1] == [Words("Goo"), Words("d mor"), Words("ning.")]


def test_what_is_spoken() -> None:
    """Sentence by sentence, its words a little ahead of its audio, in the voice that is wanted."""
    voice = Reader()
    pieces = pieces_of(Say("It is noon. Ring the bell."), voice=voice)
    assert voice.sentences == [
        Sentence("It is noon.", "audio/pcm", "marin", 1.2),
        Sentence("Ring the bell.", "audio/pcm", "marin", 1.2),
    ]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Words)) == "It is noon. Ring the bell."
    assert b"".join(piece.audio for piece in pieces if isinstance(piece, Sound)) == b"s" * 48 * 25
    assert [type(piece) for piece in pieces[1:4]] == [Words, Sound, Words]
    assert sum(piece == Aligned() for piece in pieces) == 2


def test_speaking_begins_before_the_text_is_whole() -> None:
    """The first sentence is spoken while the responder still writes."""
    written: list[str] = []

    def text() -> Iterator[str]:
        for part in ("It is noon. ", "Ring ", "the bell."):
            written.append(part)
            yield part

    pieces = iter(Pieces(ScriptedResponder([Say(text())]), Request(), Speaking(Reader(), "audio/pcm")))
    while not isinstance(next(pieces), Sound):
        pass
    assert len(written) < 3
    assert isinstance(list(pieces)[-1], Ended)
    assert len(written) == 3


def test_what_can_not_be_spoken() -> None:
    """Markup and emoji are in the transcript and not spoken; a text of nothing else needs no voice."""
    voice = Reader()
    pieces = pieces_of(Say("**It is noon.** \U0001f514\n\n\U0001f600"), voice=voice)
    assert [sentence.text for sentence in voice.sentences] == ["It is noon."]
    text = "".join(piece.text for piece in pieces if isinstance(piece, Words))
    assert text == "**It is noon.** \U0001f514\n\n\U0001f600"


@pytest.mark.parametrize("sizes", [[4800], [1] * 4800, [9600, 1], [100, 4700, 4801], []])
def test_chunks(sizes: list[int]) -> None:
    """Whatever a voice gives, it goes out in chunks of 100 ms, and all of it but half a sample."""
    whole = bytes(n % 251 for n in range(sum(sizes)))
    parts = [whole[sum(sizes[:n]) : sum(sizes[: n + 1])] for n in range(len(sizes))]

    class Parts:
        """Gives the parts for the first sentence, and for the second one whole samples."""

        instant = True

        def speak(self, sentence: Sentence) -> Iterable[bytes]:
            return parts if sentence.text == "One." else [b"whole."]

    pieces = pieces_of(Say("One. Two."), voice=Parts())
    made = [piece.audio for piece in pieces if isinstance(piece, Sound)]
    assert b"".join(made) == whole[: len(whole) // 2 * 2] + b"whole."
    assert all(len(chunk) == 4800 for chunk in made[:-2])
    assert all(0 < len(chunk) <= 4800 and len(chunk) % 2 == 0 for chunk in made)


def test_words() -> None:
    """Each has the space before it, and none is lost."""
    assert words(" One  two\n") == [" One", "  two", "\n"]


def test_close_reaches_the_responder_and_the_voice() -> None:
    """What they have returned is closed if it can be, also if they return it afterwards."""

    class Stream:
        def __init__(self, items: list[Any]) -> None:
            self.items, self.closed = iter(items), 0

        def __iter__(self) -> Iterator[Any]:
            return self.items

        def close(self) -> None:
            self.closed += 1

    class Thinks:
        def respond(self, request: Request) -> Stream:
            return answer

    class Speaks:
        def speak(self, sentence: Sentence) -> Stream:
            return audio

    answer, audio = Stream([Say("Yes.")]), Stream([b"ss", b"ss"])
    pieces = Pieces(Thinks(), Request(), Speaking(Speaks(), "audio/pcm"))
    running = iter(pieces)
    while not isinstance(next(running), Sound):
        pass
    pieces.close()
    assert (answer.closed, audio.closed) == (1, 1)
    late = Pieces(Thinks(), Request(), None)
    late.close()
    assert answer.closed == 1
    list(late)
    assert answer.closed == 2


@pytest.mark.parametrize(
    ("responder", "voice", "instant"),
    [(True, True, True), (True, False, False), (False, None, False), (True, None, True)],
)
def test_who_needs_a_thread(responder: bool, voice: bool | None, instant: bool) -> None:
    """An answer is instant if all that make it are."""

    def player(is_it: bool) -> Any:
        return type("Player", (), {"instant": is_it})()

    speaking = None if voice is None else Speaking(player(voice), "audio/pcm")
    assert Pieces(player(responder), Request(), speaking).instant is instant
