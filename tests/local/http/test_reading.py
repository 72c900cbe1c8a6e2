"""Bodies of requests, framed well and badly."""

import io

import pytest

from realtime_sync.local.http.answers import Declined
from realtime_sync.local.http.reading import read_body

CHUNKED = {"transfer-encoding": "Chunked"}


@pytest.mark.parametrize(
    ("headers", "sent", "body"),
    [
        ({}, b"the next request", b""),
        ({"content-length": "0"}, b"more", b""),
        ({"content-length": "3"}, b"abcd", b"abc"),
        ({"content-length": "99999999999"}, b"x" * 100, b"x" * 11),
        (CHUNKED, b"3\r\nabc\r\n1;name=value\r\nd\r\n0\r\n\r\n", b"abcd"),
        (CHUNKED, b"00A \n0123456789\n0\nTrailer: 1\n\n", b"0123456789"),
        (CHUNKED, b"8\r\n01234567\r\nffffff\r\n" + b"x" * 100, b"01234567xxx"),
    ],
)
def test_a_body(headers: dict[str, str], sent: bytes, body: bytes) -> None:
    """A body is read to its end and no further, or a byte further than its limit."""
    assert read_body(io.BytesIO(sent), headers, 10) == body


@pytest.mark.parametrize(
    ("headers", "sent", "says"),
    [
        ({"content-length": "-5"}, b"", "a number as Content-Length, got '-5'"),
        ({"content-length": "5, 5"}, b"12345", "a number as Content-Length, got '5, 5'"),
        ({"content-length": "\u0665"}, b"12345", "a number as Content-Length"),
        ({"content-length": "9" * 5000}, b"", "a number as Content-Length"),
        ({"content-length": "5"}, b"123", "5 more bytes, got 3"),
        ({"transfer-encoding": "gzip, chunked"}, b"", "Transfer-Encoding: chunked, or Content-Length"),
        (
            {"content-length": "5", **CHUNKED},
            b"5\r\n12345\r\n0\r\n\r\n",
            "or Content-Length; got 'Chunked' and '5'",
        ),
        (CHUNKED, b"", "the length of a chunk"),
        (CHUNKED, b"zz\r\n", "in hexadecimal digits, got b'zz"),
        (CHUNKED, b"-5\r\n12345\r\n", "the length of a chunk"),
        (CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n", "the length of a chunk"),
        (CHUNKED, b"1_0\r\n0123456789\r\n0\r\n\r\n", "the length of a chunk"),
        (CHUNKED, b"2" + b" " * 1_000_000, "the length of a chunk"),
        (CHUNKED, b"f" * 1_000_000, "the length of a chunk"),
        (CHUNKED, b"5\r\n123", "5 more bytes, got 3"),
        (CHUNKED, b"2\r\n123\r\n", "a line break behind a chunk of 2 bytes"),
    ],
)
def test_a_body_that_is_wrong(headers: dict[str, str], sent: bytes, says: str) -> None:
    """What isn't framed as HTTP demands, or is cut off, is a 400 that says what was expected, in short."""
    source = io.BytesIO(sent)
    with pytest.raises(Declined) as refused:
        read_body(source, headers, 10)
    assert (refused.value.status, refused.value.code) == (400, "invalid_body")
    assert says in str(refused.value)
    assert len(str(refused.value)) < 500
    assert source.tell() < 1000
