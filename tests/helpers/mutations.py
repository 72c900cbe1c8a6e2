"""Inputs that are nearly right: JSON, bytes and frames with something wrong in them."""

import json
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

__all__ = ["bent", "broken", "chopped", "encoded", "frames"]

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 2**31, 2**63, 10**30, float("nan"), float("inf")),
    *("", "a", "0", "root", "null", "AAA", "AAAA", "====", "x" * 5000, "\0", "\u202e\x1b[2J\r\n"),
    *("\ud83d", "\udc00x", [], {}, [[]], [None], {"": None}, {"type": None}, {"type": "message"}),
    {"id": "item_1", "type": "function_call"},
)
_ODD = [json.dumps(value) for value in _VALUES]  # as text, so that each use is a new object
_SMALL = 1000  # characters of what may be multiplied: a few times that would fill the memory
_DEEP = 3000  # levels of nesting, beyond what any decoder of JSON descends
_PIECES = (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b";", b",", b"=", b"\xff", b"\xc3\x28", b"%0d%0a")
_NUMBERS = (b"0", b"-1", b"+1", b"1", b"0x10", b"f" * 16, b"18446744073709551616", b"1e3", b"\xb2", b"")


# --- JSON ---------------------------------------------------------------------------------------------


def bent(value: Any, draw: Random) -> Any:
    """Return JSON with up to four changes, each at any depth; the value itself may be changed too."""
    holder = [value]
    for _ in range(draw.randint(0, 4)):
        _bend(holder, draw)
    return holder[0]


def _bend(holder: list[Any], draw: Random) -> None:
    places = list(_places(holder))
    owner, key = draw.choice(places)
    change = draw.randrange(7)
    if change == 0 and isinstance(owner, dict):
        del owner[key]
    elif change == 1 and isinstance(owner, dict):
        owner[draw.choice(("type", "id", "item_id", "x", "", "delta"))] = owner.pop(key)
    elif change == 2:
        other, there = draw.choice(places)  # a copy, or the value would hold itself
        owner[key] = json.loads(json.dumps(other[there]))
    elif change == 3:
        times = 300 if _is_small(owner[key]) else 1
        owner[key] = draw.choice(([owner[key]], {"type": owner[key]}, [owner[key]] * times))
    elif change == 4 and isinstance(owner[key], str):
        text = owner[key]
        times = 200 if _is_small(text) else 1
        owner[key] = draw.choice((text + "\ud800", text * times, text[:-1], "\x07" + text))
    else:
        owner[key] = json.loads(draw.choice(_ODD))


def _is_small(value: Any) -> bool:
    return len(json.dumps(value)) < _SMALL


def _places(value: Any) -> Any:
    """Yield every place in a value, as the list or dict that holds it and the key."""
    inside: Any = enumerate(value) if isinstance(value, list) else value.items()
    for key, inner in inside:
        yield value, key
        if isinstance(inner, list | dict):
            yield from _places(inner)


def encoded(value: Any, draw: Random) -> bytes:
    """Return JSON as text that is now and then no JSON, or not UTF-8."""
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7)
    if draw.random() < 0.02:
        text = text.replace("null", "[" * _DEEP + "]" * _DEEP, 1)
    data = text.encode("utf-8", "surrogatepass")
    return broken(data, draw) if draw.random() < 0.1 else data


# --- Bytes --------------------------------------------------------------------------------------------


def broken(data: bytes, draw: Random, most: int = 3) -> bytes:
    """Return bytes with up to ``most`` changes."""
    for _ in range(draw.randint(1, most)):
        data = _break(data, draw)
    return data


def _break(data: bytes, draw: Random) -> bytes:
    start = draw.randint(0, len(data))
    end = min(len(data), start + draw.choice((1, 1, 4, 20, 400)))
    change = draw.randrange(7)
    if change == 0:
        return data[:start]
    if change == 1:
        return data[:start] + data[end:]
    if change == 2:
        return data[:end] + data[start:end] * draw.choice((1, 2, 100)) + data[end:]
    if change == 3:
        return data[:start] + draw.randbytes(end - start) + data[end:]
    if change == 4:
        return data[:start] + draw.choice(_PIECES) + data[start:]
    if change == 5 and (digits := [at for at, byte in enumerate(data) if 48 <= byte < 58]):
        at = draw.choice(digits)
        return data[:at] + draw.choice(_NUMBERS) + data[at + 1 :]
    return data[:start] + bytes(byte ^ 1 << draw.randrange(8) for byte in data[start:end]) + data[end:]


def chopped(data: bytes, draw: Random) -> list[bytes]:
    """Return bytes in up to four parts, to be sent one after the other."""
    cuts = sorted(draw.randint(0, len(data)) for _ in range(draw.randrange(4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# --- WebSocket ----------------------------------------------------------------------------------------


def frames(payloads: Sequence[bytes], draw: Random, *, masked: bool) -> bytes:
    """Return frames, of which some break the protocol; ``masked`` is right for clients, wrong for servers."""
    data = b"".join(_message(payload, draw, masked) for payload in payloads)
    return broken(data, draw, 1) if draw.random() < 0.2 else data


def _message(payload: bytes, draw: Random, masked: bool) -> bytes:
    if draw.random() < 0.5:
        return _frame(1, payload, draw, masked)
    if draw.random() < 0.4:
        return _fragments(payload, draw, masked)
    return _odd_frame(payload, draw, masked)


def _fragments(payload: bytes, draw: Random, masked: bool) -> bytes:
    """A message in fragments, with control frames between them, and perhaps without its end."""
    parts = [*chopped(payload, draw), b""]
    data = b""
    for number, part in enumerate(parts):
        data += _frame(1 if number == 0 else 0, part, draw, masked, final=number == len(parts) - 1)
        if draw.random() < 0.3:
            data += _frame(draw.choice((9, 10)), draw.randbytes(draw.randrange(126)), draw, masked)
    return data[: draw.choice((len(data), len(data) - 2))]


def _odd_frame(payload: bytes, draw: Random, masked: bool) -> bytes:
    """A control frame, or a frame whose head is wrong in some way."""
    control = draw.choice(
        (b"", b"\x03", b"\x03\xe8", b"\x00\x00", b"\x03\xed", b"\x0f\xa0\xff", draw.randbytes(130))
    )
    opcode = draw.choice((0, 1, 2, 3, 8, 8, 9, 9, 10, 11, 15))
    return _frame(
        opcode,
        control if opcode >= 8 else payload,
        draw,
        masked is not (draw.random() < 0.1),
        final=draw.random() < 0.8,
        reserved=draw.choice((0, 0, 0, 0x40, 0x70)),
        length=draw.choice((None, None, None, 0, 126, 2**16, 2**26, 2**31, 2**63 - 1, 2**64 - 1)),
    )


def _frame(
    opcode: int,
    payload: bytes,
    draw: Random,
    masked: bool,
    *,
    final: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    size, mask = len(payload) if length is None else length, 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    if size < 126 and draw.random() < 0.98:
        head += bytes([mask | size])
    elif size < 65_536 and draw.random() < 0.98:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    return head + bytes(4 if masked else 0) + payload  # masked with zeros
