"""`sound.wav_header`: what a header says, and what of it is true."""

import contextlib
import io
import struct
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wav_files import KINDS, Watched, check_tone, chunk, cut, fmt, packed, read, riff, sine, tone

from realtime_sync.sound.formats import PCMU, samples_of
from realtime_sync.sound.wav_header import UnsupportedAudio, header_bytes, read_header
from realtime_sync.sound.wav_samples import Layout
from realtime_sync.voice import audio


def test_extensible() -> None:
    """WAVE_FORMAT_EXTENSIBLE, which programs write for floats and many channels, says its encoding later."""
    guid = struct.pack("<H", 3) + bytes.fromhex("000000001000800000aa00389b71")
    head = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 24_000, 192_000, 8, 32, 22, 32, 3)
    data = struct.pack("<4f", 0.5, 0.25, -0.5, -0.25)
    file = riff(chunk(b"fmt ", head + guid), chunk(b"data", data))
    assert list(samples_of(read(file))) == [12_288, -12_288]


def test_fewer_bits_than_bytes() -> None:
    """Twelve bits in two bytes are the upper twelve, as the format has it."""
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 24_000, 48_000, 2, 12))
    assert read(riff(head, chunk(b"data", b"\xf0\x7f"))) == b"\xf0\x7f"


@pytest.mark.parametrize("head", [fmt(), chunk(b"LIST", b"INFOodd") + fmt()], ids=["", "tagged"])
@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_F000])
def test_size_not_known(size: int, head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A WAV from a pipe says nothing true about its length; it is read to its end, without a complaint."""
    sound = sine()
    so_far = len(riff(head, chunk(b"data", b"")))
    for whole in (0, 8, so_far - 8, so_far, 0x7FFF_F024, 0xFFFF_FFFF):
        assert read(riff(head, chunk(b"data", sound, size), size=whole)) == sound
    assert not caplog.records


def test_nothing_was_recorded(tmp_path: Path) -> None:
    """Where the file as a whole counts what follows an empty recording, that is no sound."""
    path = tmp_path / "a.wav"
    path.write_bytes(riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFOodd")))
    assert audio.read_wav(path) == b""
    assert audio.wav_duration(path) == 0


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize(("encoding", "width"), [kind for kind in KINDS if kind[0] in (1, 3)])
def test_bits_that_do_not_fit(encoding: int, width: int, frame: int, channels: int) -> None:
    """Where a header gives a sample fewer bytes than its bits take, the bits are right."""
    data = chunk(b"data", b"".join(packed(value, encoding, width) * channels for value in tone()))
    frame = min(frame, width * channels)
    check_tone(read(riff(fmt(encoding, width, channels, frame=frame), data)))


def test_bits_of_g711() -> None:
    """Mu-law has one byte a sample, also where the header counts the bits that it stands for."""
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 16))
    sound = sine(PCMU)
    assert read(riff(head, chunk(b"data", sound)), PCMU) == sound


def test_other_chunks() -> None:
    """Chunks before and after the sound are passed over, with the byte that pads an odd one."""
    notes = chunk(b"LIST", b"INFOodd")
    sound = sine()
    file = riff(notes, fmt(), chunk(b"fact", bytes(4)), notes, chunk(b"data", sound), notes)
    assert read(file) == sound


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"ID3\x04 surely an MP3, then", "is not a WAV file"),
        (b"RIFF", "is not a WAV file"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "is not a WAV file"),
        (riff(), "no chunk 'fmt'"),
        (riff(fmt()), "no chunk 'data'"),
        (riff(chunk(b"data", bytes(100))), "no chunk 'fmt'"),
        (riff(chunk(b"LIST", b"", 0xFFFF_FFFF)), "no chunk 'fmt'"),
        (riff(chunk(b"fmt ", bytes(10))), "cut short"),
        (riff(fmt())[:30], "cut short"),
        (riff(fmt(rate=0), chunk(b"data", bytes(100))), "0 samples a second"),
        (riff(fmt(rate=2**30), chunk(b"data", bytes(100))), "1073741824 samples a second"),
        (riff(fmt(channels=0), chunk(b"data", bytes(100))), "0 channels"),
        (riff(fmt(channels=9999), chunk(b"data", bytes(100))), "9999 channels"),
        (riff(fmt(channels=2, frame=5), chunk(b"data", bytes(100))), "5 bytes each"),
        (riff(fmt(width=0), chunk(b"data", bytes(100))), "unsupported encoding 1 with 0 bits"),
        (riff(fmt(width=8), chunk(b"data", bytes(100))), "encoding 1 with 64 bits"),
        (riff(fmt(3, 2), chunk(b"data", bytes(100))), "encoding 3 with 16 bits"),
        (riff(fmt(2, 1), chunk(b"data", bytes(100))), "encoding 2 .*ffmpeg"),
    ],
)
def test_bad_wav(data: bytes, says: str, tmp_path: Path) -> None:
    """What is no WAV, or a broken one, is a `ValueError` that names the file and says what is wrong."""
    path = tmp_path / "sound.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"sound.wav.*{says}"):
        audio.read_wav(path)
    with pytest.raises(ValueError, match=says):
        audio.wav_duration(path)


@pytest.mark.parametrize("data", [riff(fmt(), chunk(b"data", b"")), riff(fmt(), chunk(b"data", b"\x01"))])
def test_wav_without_a_sample(data: bytes) -> None:
    """A WAV file in which nothing was recorded is no audio, and no error."""
    assert read(data) == b""


@given(st.integers(0, 50), st.binary(min_size=1, max_size=8), st.integers(0, 144))
def test_broken_wav(position: int, garbage: bytes, length: int) -> None:
    """Whatever is wrong in a file, it is audio or a `ValueError`."""
    file = riff(fmt(), chunk(b"data", bytes(range(100))))[:length]
    with contextlib.suppress(ValueError):
        assert len(cut(file[:position] + garbage + file[position + len(garbage) :])) % 2 == 0


def test_header_takes_no_memory() -> None:
    """However long a file says it is, little is asked of the system at once."""
    file = Watched(riff(chunk(b"JUNK", b"", 2**31), fmt(), chunk(b"data", b"", 2**31 - 2**17)))
    with pytest.raises(ValueError, match="no chunk 'fmt'"):
        audio.read_wav(file)
    rest = Watched(riff(fmt(rate=768_000, channels=200), chunk(b"data", b"", 2**31 - 2**17)))
    assert list(audio.wav_chunks(rest, ms=3_600_000)) == []
    assert max(file.asked + rest.asked) <= 1 << 16


# --- As programs write it ----------------------------------------------------------------------------

PLAIN = [0, 1, -1, 18, 255, -256, 12_345, -12_345, 32_767, -32_768]


def integers(width: int, order: Literal["little", "big"], shift: int) -> bytes:
    """The samples as integers of this many bytes, moved up by this many bits."""
    return b"".join((value << shift).to_bytes(width, order, signed=True) for value in PLAIN)


def floats(code: str) -> bytes:
    return struct.pack(f"{code[0]}{len(PLAIN)}{code[1]}", *(value / 32_768 for value in PLAIN))


S16, S24, S32 = integers(2, "little", 0), integers(3, "little", 8), integers(4, "little", 16)
S16_BE, S24_BE, S32_BE = integers(2, "big", 0), integers(3, "big", 8), integers(4, "big", 16)
S24_IN_LOWER = integers(4, "little", 8)
RIFF, RIFX = "52494646 00000000 57415645 666d7420", "52494658 00000000 57415645 666d7420"
GUID = "0000 0000 1000 8000 00aa 0038 9b71"
FACT, FACT_BE = "66616374 04000000 0a000000", "66616374 00000004 0000000a"
LIST = "4c495354 1a000000 494e464f 49534654 0e000000 4c61766635392e32372e31303000"
# What the programs wrote before the data and its size, taken from their files, and the samples after it.
WRITTEN = {
    "arecord -f S16_LE": (f"{RIFF} 10000000 0100 0100 c05d0000 80bb0000 0200 1000", S16),
    "arecord -f S24_LE": (f"{RIFF} 10000000 0100 0100 c05d0000 00770100 0400 1800", S24_IN_LOWER),
    "arecord -f S24_LE, upper byte not set": (
        f"{RIFF} 10000000 0100 0100 c05d0000 00770100 0400 1800",
        b"".join(S24_IN_LOWER[start : start + 3] + b"\0" for start in range(0, len(S24_IN_LOWER), 4)),
    ),
    "arecord -f S24_3LE": (f"{RIFF} 10000000 0100 0100 c05d0000 40190100 0300 1800", S24),
    "arecord -f S32_LE": (f"{RIFF} 10000000 0100 0100 c05d0000 00770100 0400 2000", S32),
    "arecord -f FLOAT_LE": (f"{RIFF} 10000000 0300 0100 c05d0000 00770100 0400 2000", floats("<f")),
    "sox -b 24": (
        f"{RIFF} 28000000 feff 0100 c05d0000 40190100 0300 1800 1600 1800 04000000 0100 {GUID} {FACT}",
        S24,
    ),
    "sox -b 32": (
        f"{RIFF} 28000000 feff 0100 c05d0000 00770100 0400 2000 1600 2000 04000000 0100 {GUID} {FACT}",
        S32,
    ),
    "24 bits in 32, extensible": (
        f"{RIFF} 28000000 feff 0100 c05d0000 00770100 0400 2000 1600 1800 04000000 0100 {GUID}",
        S32,
    ),
    "sox -B": (f"{RIFX} 00000010 0001 0001 00005dc0 0000bb80 0002 0010", S16_BE),
    "sox -B -b 24": (
        f"{RIFX} 00000028 fffe 0001 00005dc0 00011940 0003 0018 0016 0018 00000004 0001 {GUID} {FACT_BE}",
        S24_BE,
    ),
    "sox -B -b 32": (
        f"{RIFX} 00000028 fffe 0001 00005dc0 00017700 0004 0020 0016 0020 00000004 0001 {GUID} {FACT_BE}",
        S32_BE,
    ),
    "sox -B -e float": (
        f"{RIFX} 00000012 0003 0001 00005dc0 00017700 0004 0020 0000 {FACT_BE}",
        floats(">f"),
    ),
    "sox -B -e float -b 64": (
        f"{RIFX} 00000012 0003 0001 00005dc0 0002ee00 0008 0040 0000 {FACT_BE}",
        floats(">d"),
    ),
    "as arecord -f S24_LE, in big-endian": (
        f"{RIFX} 00000010 0001 0001 00005dc0 00017700 0004 0018",
        integers(4, "big", 8),
    ),
    "ffmpeg": (f"{RIFF} 10000000 0100 0100 c05d0000 80bb0000 0200 1000 {LIST}", S16),
    "ffmpeg -c:a pcm_s24le": (
        f"{RIFF} 28000000 feff 0100 c05d0000 40190100 0300 1800 1600 1800 04000000 0100 {GUID} {LIST}",
        S24,
    ),
}


@pytest.mark.parametrize("size", ["known", "not known"])
@pytest.mark.parametrize("name", WRITTEN)
def test_what_programs_write(name: str, size: str) -> None:
    """Every sample comes out exactly, of each way in which arecord, sox and ffmpeg write PCM and floats."""
    text, data = WRITTEN[name]
    head = bytes.fromhex(text)
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    number = (len(data) if size == "known" else 0x7FFF_F000).to_bytes(4, order)
    assert list(samples_of(read(head + b"data" + number + data))) == PLAIN


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
@pytest.mark.parametrize(
    ("whole", "size"), [(0, 0), (None, None), (1 << 63, 1 << 63), (2**64 - 1, 2**64 - 1)]
)
def test_sizes_of_64_bits(whole: int | None, size: int | None, kind: bytes) -> None:
    """A file whose sizes need 64 bits, as ``ffmpeg -rf64 always`` writes it: known, or not as in a pipe."""
    tail = fmt() + bytes.fromhex(LIST)
    behind = chunk(b"LIST", b"INFOodd") if whole is None else b""
    whole = 4 + 36 + len(tail) + 8 + len(S16) + len(behind) if whole is None else whole
    size = len(S16) if size is None else size
    ds64 = chunk(b"ds64", struct.pack("<QQQI", whole, size, len(S16) // 2, 0))
    data = chunk(b"data", S16, 0xFFFF_FFFF)
    assert list(samples_of(read(kind + b"\xff" * 4 + b"WAVE" + ds64 + tail + data + behind))) == PLAIN


def test_cut_of_64_bits() -> None:
    """A file of 64-bit sizes that was cut short is told, as any other."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 2**33 + 72, 2**33, 2**32, 0))
    file = b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + fmt() + chunk(b"data", S16, 0xFFFF_FFFF)
    problems: list[str] = []
    assert audio.read_wav(io.BytesIO(file), on_problem=problems.append) == S16
    assert problems == ["the stream is cut short: its header promises 178956.97 s, got 0.00 s"]


def test_ds64_that_is_none() -> None:
    """Without its chunk ``ds64``, or with one that is cut, such a file is read to its end."""
    for ds64 in (b"", chunk(b"ds64", bytes(7))):
        file = b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + fmt() + chunk(b"data", S16, 0xFFFF_FFFF)
        assert read(file) == S16


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("encoding", "frame", "bits"),
    [(2, 256, 4), (17, 256, 4), (49, 65, 0), (85, 1, 0), (255, 1, 16), (8192, 1, 16), (1, 2, 8), (1, 8, 64)],
    ids=["MS ADPCM", "IMA ADPCM", "GSM", "MP3", "AAC", "AC3", "8 bits in 16", "64 bits"],
)
def test_what_is_not_read(encoding: int, frame: int, bits: int, order: str) -> None:
    """An encoding that is not read here is an error, not noise; in big-endian ffmpeg isn't asked."""
    head = fmt(encoding, frame=frame, bits=bits, order=order)
    file = riff(head, chunk(b"data", bytes(1000), order=order), order=order)
    says = f"unsupported encoding {encoding} with {bits} bits"
    with pytest.raises(ValueError, match=says) as caught:
        read(file)
    assert isinstance(caught.value, UnsupportedAudio) is (order == "<")


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_arecord_with_channels(channels: int) -> None:
    """24 bits in four bytes are the lower three in each channel."""
    data = b"".join((value << 8).to_bytes(4, "little", signed=True) * channels for value in PLAIN)
    head = fmt(width=4, channels=channels, bits=24)
    assert list(samples_of(read(riff(head, chunk(b"data", data))))) == PLAIN


def test_header_is_read_back() -> None:
    """What is written before the audio says what was meant, with its size or without."""
    for layout in (Layout(1, 2, 44_100, 3, 3), Layout(7, 1, 8000, 1, 1), Layout(6, 3, 8000, 1, 1)):
        for size in (None, 6 * layout.frame):
            file = io.BytesIO(header_bytes(layout, size) + bytes(100))
            assert read_header(file, "it") == (layout, size)
