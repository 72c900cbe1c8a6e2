""""""

import array
import atexit
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from fake_devices import Fake
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DEADLINE
from tones import silence, tone

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.sound.formats import PCM, PCMA, PCMU, bytes_of, bytes_per_sample, sample_rate, samples_of
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import level, read_wav
from realtime_sync.voice.devices import DeviceError
from realtime_sync.voice.playback import Playback
from realtime_sync.voice.speakers import ClockedSpeaker, FileSpeaker, Speaker

# --- Speakers ----------------------------------------------------------------------------------------

FORMATS = [PCM, PCMU, PCMA]
_WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 500)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 400)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("audio_format", FORMATS)
@settings(deadline=None, max_examples=60)
@given(_WRITES, st.floats(0, 1e6))
def test_clocked_speaker_agrees_with_a_model(
    audio_format: str, steps: list[tuple[str, int]], start: float
) -> None:
    """Sample by sample: what is written is heard in its turn, what is cleared is not, gaps don't count."""
    clock = Clock()
    clock.now = start
    speaker = ClockedSpeaker(audio_format, clock=clock)
    width, rate = bytes_per_sample(audio_format), sample_rate(audio_format)
    queued = heard = odd = ticks = 0
    for kind, amount in steps:
        if kind == "write":
            speaker.write(bytes(amount))
            odd += amount
            queued += odd // width
            odd %= width
        elif kind == "clear":
            speaker.clear()
            queued = odd = 0
        else:
            ticks += amount
            clock.now = start + ticks / rate
            played = min(amount, queued)
            queued, heard = queued - played, heard + played
        assert speaker.played_ms == heard * 1000 / rate


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("gaps", [False, True])
def test_file_speaker(tmp_path: Path, audio_format: str, gaps: bool) -> None:
    """The file has what was played, and the rest when it is closed; the silence between, if wanted."""
    clock = Clock()
    sound = tone(600, audio_format=audio_format)
    ms = len(sound) // 600
    nothing = silence(100, audio_format) if gaps else b""
    path = tmp_path / "heard.wav"
    with FileSpeaker(path, audio_format, gaps=gaps, clock=clock) as speaker:
        clock.pass_by(100)
        speaker.write(sound[: 200 * ms])
        clock.pass_by(50)
        speaker.write(sound[200 * ms :])
        clock.pass_by(250)
        speaker.clear()
        assert speaker.played_ms == 300
        clock.pass_by(100)
        assert speaker.played_ms == 300
        speaker.write(sound)
        clock.pass_by(700)
        speaker.write(sound)
        clock.pass_by(100)
    assert speaker.played_ms == 300 + 600 + 600
    expected = nothing + sound[: 300 * ms] + nothing + sound + nothing + sound
    assert read_wav(path, audio_format) == expected
    speaker.close()
    with pytest.raises(ValueError, match="closed"):
        speaker.write(sound)


def test_half_a_sample(tmp_path: Path) -> None:
    """Pieces may end in the middle of a sample."""
    clock = Clock()
    path = tmp_path / "heard.wav"
    with FileSpeaker(path, clock=clock) as speaker:
        for size in (1, 3, 5, 6):
            speaker.write(bytes(range(size)))
            clock.pass_by(1 / 24)
    assert read_wav(path) == b"\0\0\1\2\0\1\2\3\4\0\1\2\3\4\5"[:14]


def test_clocked_speaker_closes() -> None:
    """It may be used in ``with``, like the others."""
    with ClockedSpeaker() as speaker:
        speaker.write(silence(10))
    with pytest.raises(ValueError, match="unknown audio format"):
        ClockedSpeaker("audio/mp3")


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["latency", "jitter_ms", "max_seconds"])
def test_speaker_s_numbers(fake: Fake, name: str, value: float) -> None:
    """An invalid length is rejected with the argument's name, before any device is opened."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        Speaker(**options)
    assert not fake.streams


# --- Speaker -------------------------------------------------------------------------------------------


def test_plays(fake: Fake, clock: Clock) -> None:
    """What is written is played, in order and nothing between, once the jitter buffer is full."""
    sound = tone(200)
    with Speaker(jitter_ms=60, latency=0.02, clock=clock) as speaker:
        options = fake.stream.options
        wanted = {"samplerate": 24_000, "channels": 1, "dtype": "int16", "latency": 0.02, "blocksize": 0}
        assert {name: options[name] for name in wanted} == wanted
        speaker.write(sound[: 59 * 48])
        assert fake.stream.play(480) == silence(20)
        speaker.write(sound[59 * 48 :])
        assert b"".join(fake.stream.play(480) for _ in range(11)) == sound + silence(20)
        assert speaker.underruns == 0
    assert fake.stream.closed.is_set()
    speaker.close()
    with pytest.raises(ValueError, match="closed"):
        speaker.write(sound)


def test_tap(fake: Fake, clock: Clock) -> None:
    """A listener gets all that goes to the device, also silence, until it ends that."""
    got: list[tuple[bytes, float]] = []
    with Speaker(jitter_ms=0, latency=0.02, clock=clock) as speaker:
        assert (speaker.rate, speaker.latency, speaker.clock) == (24_000, 0.02, clock)
        untap = speaker.tap(lambda samples, at: got.append((samples, at)))
        given = [fake.stream.play(480)]
        speaker.write(tone(50))
        clock.pass_by(20)
        given.append(fake.stream.play(480))
        speaker.clear()
        given.append(fake.stream.play(480))
        untap()
        fake.stream.play(480)
    assert given == [silence(20), tone(20), silence(20)]
    assert got == [(block, clock.now - 0.02 * (n == 0)) for n, block in enumerate(given)]


def test_little_sound(fake: Fake, clock: Clock) -> None:
    """What is shorter than the jitter buffer is played after as long a wait."""
    with Speaker(jitter_ms=60, clock=clock) as speaker:
        clock.pass_by(500)
        speaker.write(tone(10))
        clock.pass_by(59)
        assert fake.stream.play(240) == silence(10)
        clock.pass_by(1.1)
        assert fake.stream.play(240) == tone(10)


def test_what_was_heard(fake: Fake, clock: Clock) -> None:
    """Audio counts once the device reports it as played; silence never counts."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        assert speaker.played_ms == 0
        fake.stream.play(480)
        speaker.write(tone(30))
        fake.stream.play(480, delay=0.1)
        assert speaker.played_ms == 0
        clock.pass_by(100)
        assert speaker.played_ms == 0
        clock.pass_by(15)
        assert speaker.played_ms == 15
        fake.stream.play(480, delay=0.1)
        clock.pass_by(5)
        assert speaker.played_ms == 20
        clock.pass_by(99)
        assert speaker.played_ms == 24
        clock.pass_by(100)
        assert speaker.played_ms == 30


@pytest.mark.parametrize("delay", [0.0, -1.0, 1e6])
def test_devices_that_know_no_time(fake: Fake, clock: Clock, delay: float) -> None:
    """If the system doesn't report when samples are played, the stream's latency is used."""
    with Speaker(jitter_ms=0, latency=0.2, clock=clock) as speaker:
        speaker.write(tone(10))
        fake.stream.play(240, delay=delay)
        clock.pass_by(200)
        assert speaker.played_ms == 0
        clock.pass_by(4)
        assert speaker.played_ms == 4


def test_an_hour(fake: Fake, clock: Clock) -> None:
    """Played samples are forgotten even if played_ms is never read."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        for _ in range(1000):
            speaker.write(tone(10))
            fake.stream.play(240, delay=0.05)
            clock.pass_by(10)
        assert len(speaker._flying) < 10
        assert len(speaker._buffer) == 0


def test_forgotten(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A speaker left open is closed when the program ends, before PortAudio is."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", at_exit.remove)
    with Speaker():
        assert len(at_exit) == 1
    assert not at_exit
    Speaker()
    at_exit[0]()
    assert fake.stream.closed.is_set()


def test_clear(fake: Fake, clock: Clock) -> None:
    """What waits is dropped; what the device has counts as heard, and then the count stands still."""
    with Speaker(jitter_ms=60, clock=clock) as speaker:
        speaker.write(tone(500) + b"\0")
        fake.stream.play(480, delay=0.1)
        speaker.clear()
        assert speaker.played_ms == 20
        clock.pass_by(1000)
        assert fake.stream.play(480) == silence(20)
        assert speaker.played_ms == 20
        speaker.write(tone(100))
        assert fake.stream.play(480, delay=0.1) == tone(100)[:960]
        assert speaker.played_ms == 20
        clock.pass_by(200)
        assert speaker.played_ms == 40
        assert speaker.underruns == 0


def test_underruns(fake: Fake, clock: Clock) -> None:
    """Audio that stops and soon goes on was an underrun; the next sentence is none."""
    with Speaker(jitter_ms=20, clock=clock) as speaker:
        speaker.write(tone(30))
        fake.stream.play(480)
        fake.stream.play(480)
        clock.pass_by(600)
        speaker.write(tone(40))
        assert speaker.underruns == 0
        for _ in range(3):
            fake.stream.play(480)
        clock.pass_by(300)
        speaker.write(tone(10))
        assert speaker.underruns == 1
        assert fake.stream.play(480) == bytes(960), "it waits for more again"
        speaker.write(tone(30))
        fake.stream.play(480, underflow=True)
        assert speaker.underruns == 2


def test_bound(fake: Fake, clock: Clock) -> None:
    """There is a bound to what waits; beyond it nothing is taken."""
    with Speaker(max_seconds=1, jitter_ms=0, clock=clock) as speaker:
        speaker.write(tone(1000))
        with pytest.raises(BufferError, match="1 s of audio are pending"):
            speaker.write(tone(10))
        fake.stream.play(24_000)
        speaker.write(tone(10))


@pytest.mark.parametrize("audio_format", [PCMU, PCMA])
def test_other_formats(fake: Fake, clock: Clock, audio_format: str) -> None:
    """G.711 is decoded, and played at its own rate."""
    sound = tone(100, audio_format=audio_format)
    with Speaker(format=audio_format, jitter_ms=0, clock=clock) as speaker:
        assert fake.stream.options["samplerate"] == 8000
        speaker.write(sound)
        assert fake.stream.play(800) == samples_of(sound, audio_format).tobytes()
        clock.pass_by(1000)
        assert speaker.played_ms == 100
    with pytest.raises(ValueError, match="unknown audio format"):
        Speaker(format="audio/mp3")


def test_other_rates(fake: Fake, clock: Clock) -> None:
    """For a device that can't play at 24 kHz the audio is converted, and the count is right all the same."""
    fake.rates = {48_000}
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        assert fake.stream.options["samplerate"] == 48_000
        for heard in (0, 200):
            speaker.write(tone(200))
            sound = fake.stream.play(4800, delay=0.01)
            clock.pass_by(60)
            assert speaker.played_ms == heard + 50
            clock.pass_by(40)
            sound += fake.stream.play(9600, delay=0.01)
            assert len(sound.rstrip(b"\0")) > 199 * 96, "to its end"
            assert level(sound[:19_000]) == pytest.approx(-20, abs=0.5)
            clock.pass_by(99)
            assert heard + 180 < speaker.played_ms < heard + 200
            clock.pass_by(1000)
            assert speaker.played_ms == heard + 200
        speaker.write(tone(10))  # which is all in the resampler
        with speaker._writing:  # another thread writes more: the device doesn't wait for it
            assert fake.stream.play(480, delay=0.01) == bytes(960)
        assert fake.stream.play(480, delay=0.01) != bytes(960)
        assert speaker.played_ms == 400
        clock.pass_by(20)
        speaker.write(tone(500))
        fake.stream.play(4800)
        speaker.clear()
        assert speaker.played_ms == 510
        fake.stream.play(4800)


def test_soxr_missing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """If audio has to be converted and soxr is missing, the error names the extra."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    fake.rates = {48_000}
    with pytest.raises(ImportError, match=r"realtime-sync\[audio\]"):
        Speaker()
    assert fake.stream.closed.is_set()


def test_unplugged(fake: Fake, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A device that goes away is a failure that is logged once; one that is stopped is none."""
    with Speaker("pro", clock=clock) as speaker:
        speaker.stop()
        assert speaker.failure is None
        speaker.start()
        speaker.start()
        fake.stream.unplug()
        with pytest.raises(DeviceError, match="'USB Headset Pro' has stopped by itself"):
            speaker.write(tone(10))
        assert isinstance(speaker.failure, DeviceError)
    assert len(caplog.records) == 1


def test_stopped_for_a_while(fake: Fake, clock: Clock) -> None:
    """What is not played when it is stopped is played when it goes on."""
    with Speaker(jitter_ms=0, clock=clock) as speaker:
        speaker.write(tone(100))
        first = fake.stream.play(480)
        speaker.stop()
        speaker.write(tone(100))
        speaker.start()
        assert first + fake.stream.play(4320) == tone(100) * 2


_DOINGS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1000)),
        st.tuples(st.just("play"), st.integers(1, 600)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 100)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(_DOINGS, st.integers(0, 30), st.sampled_from([24_000, 48_000]))
def test_whatever_happens(doings: list[tuple[str, int]], jitter_ms: int, rate: int) -> None:
    """It plays what was written and no more; the count never falls; in the end all was played or dropped."""
    with pytest.MonkeyPatch.context() as patch:
        fake, clock = Fake(), Clock()
        fake.rates = {rate}
        patch.setitem(sys.modules, "sounddevice", fake)
        speaker = Speaker(jitter_ms=jitter_ms, clock=clock)
        last = written = 0.0
        sample = 0
        given_out: list[int] = []
        for kind, amount in doings:
            if kind == "write":
                speaker.write(bytes_of(range(sample + 1, sample + amount + 1)))
                sample += amount
                written += amount / 24
            elif kind == "play":
                given_out += array.array("h", fake.stream.play(amount, delay=0.03))
            elif kind == "time":
                clock.pass_by(amount)
            else:
                speaker.clear()
                written = speaker.played_ms
            assert last <= speaker.played_ms <= written + 1e-6
            last = speaker.played_ms
        if rate == 24_000:
            heard = [value for value in given_out if value]
            assert heard == sorted(set(heard))
        clock.pass_by(1000)
        for _ in range(3):
            fake.stream.play(len(doings) * 3000)
            clock.pass_by(1000_000)
        assert speaker.played_ms == pytest.approx(written)
        speaker.close()


def test_interruption(fake: Fake, clock: Clock) -> None:
    """Cut off on a device, the server accepts what was played."""
    server = RealtimeServer(responder=ScriptedResponder([Say("", tone(2000))]))
    with server, rt.connect(base_url=server.url) as session, Speaker(clock=clock) as speaker:
        playback = Playback(session, speaker)
        session.response.create()
        session.run(playback, until=ev.ResponseDone, timeout=DEADLINE)
        for _ in range(20):
            fake.stream.play(480, delay=0.02)
            clock.pass_by(20)
        interruption = playback.interrupt()
        assert interruption is not None
        assert interruption.audio_end_ms == 400
        truncated = session.run(playback, until=ev.ConversationItemTruncated, timeout=DEADLINE)
        assert truncated is not None
        assert truncated.audio_end_ms == 400
