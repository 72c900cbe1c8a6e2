"""Server-sent events."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.local.chat.stream import EventStream


def read(*pieces: bytes) -> list[str]:
    """The data of all events."""
    stream = EventStream()
    found = [data for piece in pieces for data in stream.feed(piece)]
    return found + stream.end()


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data:a\r\n\r\ndata:  b\r\n\r\n", ["a", " b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\ndata\n\n", ["\n"]),
        (b": comment\n\n\n\ndata: a\n: another\n\n", ["a"]),
        (b"event: error\nid: 7\nretry: 1\nother\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: a", ["a"]),
        (b"data: a\n", ["a"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        ("data: \u00e9\U0001f600\n\n".encode(), ["\u00e9\U0001f600"]),
        (b"", []),
    ],
)
def test_events(sent: bytes, data: list[str]) -> None:
    """Each event gives its data, whatever its lines end with, and wherever the stream is cut."""
    assert read(sent) == data
    assert read(*(sent[at : at + 1] for at in range(len(sent)))) == data


LINES = st.lists(st.sampled_from([b"data: x", b"data: \xc3\xa9", b"", b":", b"\n", b"\r", b"\r\n", b"id: 1"]))


@given(LINES, st.lists(st.integers(0, 60)))
def test_cuts(lines: list[bytes], cuts: list[int]) -> None:
    """Wherever a stream is cut, it says the same."""
    whole = b"".join(lines)
    places = [0, *sorted(cuts), len(whole)]
    assert read(*(whole[a:b] for a, b in itertools.pairwise(places))) == read(whole)


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n", b"data:\n" * 10_000])
def test_without_an_end(piece: bytes) -> None:
    """An event that has no end is not read without end."""
    stream = EventStream()
    with pytest.raises(ValueError, match="an event of more than 4194304 bytes"):
        list(map(stream.feed, [piece] * 1000))
