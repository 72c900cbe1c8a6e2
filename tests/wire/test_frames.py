"""`frames`: bytes to messages, without a socket."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import server_frame
from websockets.client import ClientProtocol
from websockets.frames import Frame as Frames
from websockets.protocol import State
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from realtime_sync.events.codec import Binary
from realtime_sync.exceptions import ProtocolError
from realtime_sync.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, build, parse_close

MAX = 100_000
Frame = tuple[int, bytes]


def read_all(reader: FrameReader, pieces: list[bytes]) -> list[Frame]:
    """All messages, then all control frames, that come out of these chunks."""
    messages = itertools.chain.from_iterable(reader.feed(piece) for piece in pieces)
    return [(BINARY, m.payload) if isinstance(m, Binary) else (TEXT, m) for m in messages] + reader.controls


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, MAX])
def test_lengths(size: int) -> None:
    """A message of any length up to the limit is read, however its length is written."""
    payload = bytes(size)
    assert FrameReader(MAX).feed(server_frame(TEXT, payload)) == [payload]
    assert read_all(FrameReader(MAX), [server_frame(BINARY, payload)]) == [(BINARY, payload)]


frames = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=300)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(frames=frames, data=st.data())
def test_any_cut(frames: list[Frame], data: st.DataObject) -> None:
    """However the stream is cut, and messages into fragments, the same messages come out."""
    stream = b""
    for opcode, payload in frames:
        cuts: list[int] = []
        if opcode in (TEXT, BINARY):
            cuts = data.draw(st.lists(st.integers(0, len(payload)), max_size=3))
        edges = [0, *sorted(cuts), len(payload)]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            last = index == len(edges) - 2
            stream += server_frame(opcode if index == 0 else 0, payload[start:stop], final=last)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    reader = FrameReader(MAX)
    assert read_all(reader, pieces) == sorted(frames, key=lambda frame: frame[0] >= CLOSE)
    assert reader.violation is None


def test_control_frames_between_fragments() -> None:
    """A ping between the fragments of a message is read before the message is whole."""
    reader = FrameReader(MAX)
    assert reader.feed(server_frame(TEXT, b"a", final=False) + server_frame(PING, b"p")) == []
    assert reader.controls == [(PING, b"p")]
    assert reader.feed(server_frame(0, b"b")) == [b"ab"]


def test_after_a_close_frame() -> None:
    """Nothing that follows a close frame is looked at, valid or not."""
    reader = FrameReader(MAX)
    close = server_frame(CLOSE, b"\x03\xe8")
    stream = server_frame(TEXT, b"a") + close + server_frame(TEXT, b"b") + b"\xff\xff"
    assert read_all(reader, [stream, stream]) == [(TEXT, b"a"), (CLOSE, b"\x03\xe8")]
    assert reader.violation is None


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        pytest.param(b"\xc1\x00", 1002, id="reserved bit"),
        pytest.param(b"\x83\x00", 1002, id="reserved opcode"),
        pytest.param(b"\x8b\x00", 1002, id="reserved control opcode"),
        pytest.param(b"\x81\x80", 1002, id="masked"),
        pytest.param(b"\x81\xfe", 1002, id="masked, 16-bit length"),
        pytest.param(b"\x81\xff", 1002, id="masked, 64-bit length"),
        pytest.param(b"\x89\x7e\x00\x7e", 1002, id="ping of 126 bytes"),
        pytest.param(b"\x09\x00", 1002, id="ping in fragments"),
        pytest.param(b"\x80\x00", 1002, id="continuation without a start"),
        pytest.param(server_frame(TEXT, b"", final=False) + b"\x81\x00", 1002, id="text within a message"),
        pytest.param(server_frame(TEXT, b"", final=False) + b"\x82\x00", 1002, id="binary within a message"),
        pytest.param(b"\x81\x7f" + (MAX + 1).to_bytes(8, "big"), 1009, id="one byte too many, announced"),
        pytest.param(b"\x82\x7f" + (2**62).to_bytes(8, "big"), 1009, id="2^62 bytes announced"),
        pytest.param(b"\x81\x7f" + (2**64 - 1).to_bytes(8, "big"), 1009, id="an illegal length"),
    ],
)
def test_violations(stream: bytes, code: int) -> None:
    """What RFC 6455 forbids is rejected by its header; messages before it are kept, those after not."""
    good = server_frame(TEXT, b"good")
    reader = FrameReader(MAX)
    assert reader.feed(good + stream + good) == [b"good"]
    assert reader.feed(good) == []
    assert reader.violation is not None
    assert reader.violation.code == code


def test_too_large_in_fragments() -> None:
    """Fragments that add up to more than the limit are rejected."""
    reader = FrameReader(10)
    reader.feed(server_frame(TEXT, b"123456", final=False))
    assert reader.feed(server_frame(0, b"78901")) == []
    assert reader.violation is not None
    assert reader.violation.code == 1009


def test_many_fragments() -> None:
    """100,000 fragments are one message."""
    reader = FrameReader(MAX)
    middle = server_frame(0, b"x", final=False)
    stream = server_frame(TEXT, b"", final=False) + middle * (MAX - 1) + server_frame(0, b"x")
    assert reader.feed(stream) == [b"x" * MAX]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 4000, 4999])
def test_close_codes(code: int) -> None:
    """Codes that may be sent are read with their reason."""
    assert parse_close(code.to_bytes(2, "big") + "süß".encode()) == (code, "süß")


def test_close_without_code() -> None:
    """A close frame without a code reads as 1005."""
    assert parse_close(b"") == (1005, "")
    assert read_all(FrameReader(MAX), [server_frame(CLOSE, b"")]) == [(CLOSE, b"")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_invalid_close_codes(code: int) -> None:
    """Codes that may not be sent are a violation."""
    with pytest.raises(ProtocolError) as caught:
        parse_close(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007)])
def test_malformed_close(payload: bytes, code: int) -> None:
    """Half a code, or a reason that is not UTF-8, is a violation."""
    with pytest.raises(ProtocolError) as caught:
        parse_close(payload)
    assert caught.value.code == code


# --- Against another implementation ---------------------------------------------------------------------


def read_with_websockets(stream: bytes) -> tuple[list[Frame], int | None]:
    """What `websockets` makes of a server's stream: messages and pings, and the code it fails with."""
    protocol = ClientProtocol(parse_uri("ws://localhost"), max_size=MAX, state=State.OPEN)
    protocol.receive_data(stream)
    found: list[Frame] = []
    message: list[Frame] = []
    for event in protocol.events_received():
        assert isinstance(event, Frames)
        if event.opcode >= CLOSE:
            found.append((int(event.opcode), bytes(event.data)))
            continue
        message.append((int(event.opcode), bytes(event.data)))
        if event.fin:
            found.append((message[0][0], b"".join(part for _, part in message)))
            message.clear()
    if protocol.parser_exc is None or "incomplete fragmented message" in str(protocol.parser_exc):
        return found, None  # a server may well close in the middle of a message, and say why
    assert protocol.close_sent is not None
    return found, protocol.close_sent.code


header = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x83, 0x09, 0x8B])
any_frame = st.one_of(
    st.builds(lambda first, payload: bytes([first]) + server_frame(TEXT, payload)[1:], header,
              st.one_of(st.binary(max_size=200), st.sampled_from([bytes(125), bytes(126), bytes(70_000)]))),
    st.just(server_frame(CLOSE, b"\x03\xe8bye")),
    st.just(server_frame(CLOSE, b"\x03\xed")),
    st.binary(max_size=20),
    st.just(b"\x81\x7f" + (MAX + 1).to_bytes(8, "big")),
    st.just(b"\x81\xfe\x00\x01"),
)  # fmt: skip


streams = st.lists(any_frame, max_size=8).map(b"".join)
any_cuts = st.lists(st.floats(0, 1), max_size=5)


@settings(deadline=None, max_examples=150)
@example(stream=b"\x03~", cuts=[])
@given(stream=streams, cuts=any_cuts)
def test_the_same_as_websockets(stream: bytes, cuts: list[float]) -> None:
    """Given the same bytes, `websockets` finds the same messages, or both reject them."""
    check_with_websockets(stream, cuts)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000, derandomize=False)
@given(stream=streams, cuts=any_cuts)
def test_the_same_as_websockets_at_length(stream: bytes, cuts: list[float]) -> None:
    """As above, with many more streams, other ones each time."""
    check_with_websockets(stream, cuts)


def check_with_websockets(stream: bytes, cuts: list[float]) -> None:
    expected, failed = read_with_websockets(stream)
    places = sorted(int(cut * len(stream)) for cut in cuts)
    reader = FrameReader(MAX)
    found = read_all(reader, [stream[a:b] for a, b in itertools.pairwise([0, *places, len(stream)])])
    code = refusal(reader)
    if code is not None and failed is None:  # we judge by the header, they wait for the payload
        _, failed = read_with_websockets(stream + bytes(MAX + 10))
    elif code is None and failed is not None:  # they judge by the first byte, we wait for the length
        read_all(reader, [bytes(10)])
        code = refusal(reader)
    assert (code is None) == (failed is None)  # which of two faults in one frame comes first may differ
    assert without_close(found) == without_close(sorted(expected, key=lambda frame: frame[0] >= CLOSE))


def refusal(reader: FrameReader) -> int | None:
    """The code with which a reader rejects what it was given; ``None``: it doesn't."""
    for opcode, payload in reader.controls:
        if opcode == CLOSE:
            try:
                parse_close(payload)
            except ProtocolError as error:
                return error.code
    return reader.violation.code if reader.violation else None


def without_close(frames: list[Frame]) -> list[Frame]:
    """`websockets` does not return the close frames that it rejects."""
    return [frame for frame in frames if frame[0] != CLOSE]


@settings(deadline=None)
@given(
    opcode=st.sampled_from([TEXT, PING, CLOSE]),
    payload=st.one_of(st.binary(max_size=300), st.sampled_from([bytes(n) for n in (125, 126, 65535, 65536)])),
    mask=st.binary(min_size=4, max_size=4),
    first=st.booleans(),
    last=st.booleans(),
)
def test_frames_are_built_as_websockets_builds_them(
    opcode: int, payload: bytes, mask: bytes, first: bool, last: bool
) -> None:
    """A masked frame reads back, in another implementation, as what went in."""
    if opcode != TEXT:
        payload, first, last = payload[:125], True, True
    stream = StreamReader()
    stream.feed_data(build(opcode, payload, mask, first=first, last=last))
    parsing = Frames.parse(stream.read_exact, mask=True)
    try:
        next(parsing)
    except StopIteration as stop:
        frame = stop.value
    assert (frame.opcode, bytes(frame.data), frame.fin) == (opcode if first else 0, payload, last)
