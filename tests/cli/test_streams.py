"""The three standard streams, as files, pipes and terminals."""

import io
import sys

import pytest
from command import Terminal, streams

from realtime_sync.cli import streams as our_streams


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "utf-16"])
def test_files_and_pipes_get_utf_8(encoding: str) -> None:
    """What is no terminal gets UTF-8, whatever the locale says; half a surrogate pair becomes an escape."""
    out, err = io.BytesIO(), io.BytesIO()
    with streams(
        stdout=io.TextIOWrapper(out, encoding=encoding), stderr=io.TextIOWrapper(err, encoding=encoding)
    ):
        our_streams.prepare()
        print("你好 \ud83d")
        print("déjà", file=sys.stderr, flush=True)
        sys.stdout.flush()
        assert (out.getvalue(), err.getvalue()) == ("你好 \\ud83d\n".encode(), "déjà\n".encode())


def test_a_terminal_keeps_its_encoding() -> None:
    """A terminal gets its own encoding, and escapes for what that doesn't have."""
    out = io.BytesIO()
    with streams(stdout=Terminal(out, encoding="cp1252")):
        our_streams.prepare()
        print("é 你", flush=True)
        assert out.getvalue() == "é \\u4f60\n".encode("cp1252")


def test_other_streams_are_left_alone() -> None:
    """A stream that is none of Python's own, or a closed one, stops no command."""
    own = io.StringIO()
    with streams(stdout=own):
        our_streams.prepare()
        print("fine")
    assert own.getvalue() == "fine\n"
    closed = io.StringIO()
    closed.close()
    with streams(stdin=closed):
        assert not our_streams.is_dialogue()
        assert our_streams.text() == ""
    with streams(stdin=None):
        assert list(our_streams.lines()) == []


@pytest.mark.parametrize(
    ("stdin", "text"),
    [
        ("über\r\nalles\n".encode(), "über\r\nalles\n"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        (b"\xff\xfe binary \x00", "\ufffd\ufffd binary \x00"),
        (b"", ""),
    ],
)
def test_text(stdin: bytes, text: str) -> None:
    """Piped text is UTF-8, whatever the locale says, and other bytes are no reason to fail."""
    with streams(stdin=io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii")):
        assert our_streams.text() == text


def test_text_is_bounded() -> None:
    """A pipe that does not end is not read for ever."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            assert isinstance(buffer, memoryview)
            buffer[:] = b"y" * len(buffer)
            return len(buffer)

    def first() -> str:
        return next(our_streams.lines())

    for read in (our_streams.text, first):
        with (
            streams(stdin=io.TextIOWrapper(io.BufferedReader(Endless()))),
            pytest.raises(ValueError, match="at most 8388608 bytes"),
        ):
            read()


def test_lines() -> None:
    """Lines that are blank are left out, and the last one needs no end."""
    with streams(stdin=io.TextIOWrapper(io.BytesIO(b"one\n\n \r\n two \r\nthree"))):
        assert list(our_streams.lines()) == ["one", "two", "three"]


def test_text_that_is_typed() -> None:
    """A person at the terminal is waited for only if that is asked for."""
    with streams(stdin=Terminal(io.BytesIO(b"typed\n"))):
        assert our_streams.text() == ""
        assert our_streams.text(typed=True) == "typed\n"
