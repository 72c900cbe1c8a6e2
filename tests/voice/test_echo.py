"""What a microphone's audio goes through: echo cancellation, half-duplex, noise suppression, gain."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import Clock
from fake_devices import Fake
from room import Room, decibels
from tones import tone

from realtime_sync.voice import ClockedSpeaker, Speaker, read_wav
from realtime_sync.voice.echo import Canceller, Chain, Cleaning, HalfDuplex
from realtime_sync.voice.microphones import Microphone

SPEECH = read_wav(Path(__file__).parents[1] / "data" / "question.wav")
RATE = 24_000


@pytest.fixture
def speaker(fake: Fake, clock: Clock) -> Iterator[Speaker]:
    with Speaker(clock=clock) as speaker:
        yield speaker


# --- Arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"echo": "some"}, ValueError, "echo must be 'cancel', 'half-duplex' or 'off', got 'some'"),
        ({"echo": "cancel"}, ValueError, "echo='cancel' needs speaker="),
        ({"echo": "half-duplex"}, ValueError, "echo='half-duplex' needs speaker="),
        ({"echo": "cancel", "speaker": ClockedSpeaker()}, TypeError, "needs a speaker with 'tap', such as"),
        ({"echo": "half-duplex", "speaker": "loud"}, TypeError, "needs a speaker with 'played_ms'"),
        ({"noise_suppression": 7}, ValueError, "True, False or one of 6, 12, 18, 21"),
    ],
)
def test_arguments(fake: Fake, options: dict[str, Any], error: type[Exception], problem: str) -> None:
    """What can't be is rejected when the microphone is made, with what was expected."""
    session: Any = None
    with pytest.raises(error, match=problem):
        Microphone(session, **options)


@pytest.mark.parametrize("options", [{"echo": "cancel"}, {"noise_suppression": 18}, {"gain": True}])
def test_missing(
    fake: Fake, speaker: Speaker, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library, the error names the extra, when the microphone is made."""
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    session: Any = None
    with pytest.raises(ImportError, match=r"realtime-sync\[aec\]"):
        Microphone(session, speaker=speaker, **options)


# --- Half-duplex -----------------------------------------------------------------------------------------


def test_half_duplex() -> None:
    """While the speaker plays, and for its tail, silence is sent; before and after, what is heard."""
    clock = Clock()
    speaker = ClockedSpeaker(clock=clock)
    speaker.write(tone(100))
    clock.pass_by(200)
    vars(speaker)["clock"] = clock  # as a `Speaker` has it
    chain: Any = HalfDuplex(speaker, 0.05)
    sent = []
    for n in range(40):
        if n == 5:
            speaker.write(tone(200))
        sent.append(chain.process(tone(20), chain.heard()) == tone(20))
        clock.pass_by(20)
    chain.close()
    assert sent == [True] * 6 + [False] * 22 + [True] * 12  # the 200 ms, and 250 ms more


def test_half_duplex_with_gain(fake: Fake, clock: Clock, speaker: Speaker) -> None:
    """Half-duplex goes with the rest of the processing."""
    pytest.importorskip("pywebrtc_audio")
    chain = Cleaning("half-duplex", speaker, noise_suppression=6, gain=True).begin(RATE, 0.05)
    speaker.write(SPEECH)
    clean = b""
    for _ in range(30):
        fake.stream.play(480)
        clock.pass_by(20)
        clean += chain.process(tone(20), chain.heard())
    assert any(clean[:960])
    assert not any(clean[10 * 960 :])
    chain.close()


# --- WebRTC ----------------------------------------------------------------------------------------------


@pytest.fixture(name="webrtc")
def _webrtc() -> None:
    pytest.importorskip("pywebrtc_audio")


class _Ear:
    """Takes the place of the microphone's device: its blocks go through a chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.plain = self.clean = b""

    def hear(self, audio: bytes) -> None:
        self.plain += audio
        self.clean += self.chain.process(audio, self.chain.heard())


@pytest.mark.usefixtures("webrtc")
@pytest.mark.parametrize("delay", [0.03, 0.3])
def test_cancel(fake: Fake, clock: Clock, speaker: Speaker, delay: float) -> None:
    """What the speaker plays is not in what the microphone sends, and the user is, also at the same time."""
    ear: Any = _Ear(Cleaning("cancel", speaker).begin(RATE, 0.05))
    room = Room(clock, delay=delay)
    speaker.write(SPEECH * 3)
    room.run(fake.stream, ear, 4.5)
    assert decibels(ear.plain) > -35
    assert decibels(ear.clean[3 * 48_000 :]) < -55
    before = len(ear.clean)
    speaker.write(SPEECH * 2)
    room.run(fake.stream, ear, 2, np.frombuffer(tone(500), "<i2").astype(float), at=1)
    said = ear.clean[before + 48_000 : before + 72_000]
    assert decibels(said) > -32
    assert decibels(ear.clean[before : before + 48_000]) < -55
    ear.chain.close()


@pytest.mark.usefixtures("webrtc")
def test_at_first(fake: Fake, clock: Clock, speaker: Speaker) -> None:
    """The user is heard before the speaker speaks; but not, while it does, before the echo is known."""
    ear: Any = _Ear(Cleaning("cancel", speaker).begin(RATE, 0.05))
    voice = np.frombuffer(tone(500), "<i2").astype(float)
    Room(clock).run(fake.stream, ear, 1, voice)
    assert decibels(ear.clean[:24_000]) > -25
    ear.clean = b""
    speaker.write(SPEECH)
    Room(clock).run(fake.stream, ear, 1, voice, at=0.5)
    assert not any(ear.clean[24_000:])


@pytest.mark.usefixtures("webrtc")
def test_closed(fake: Fake, speaker: Speaker) -> None:
    """A chain that is closed lets go of the speaker."""
    chain = Cleaning("cancel", speaker).begin(RATE, 0.05)
    assert len(speaker._taps) == 1
    chain.close()
    assert not speaker._taps


@pytest.mark.usefixtures("webrtc")
def test_noise() -> None:
    """Noise is suppressed, the more the higher the level, in blocks of any length."""
    noise = np.random.default_rng(1).normal(0, 500, RATE * 2).astype("<i2").tobytes()
    left = []
    for level in (6, 12, 21):
        canceller = Canceller(RATE, None, noise=level)
        clean = b"".join(canceller.process(noise[n : n + 500], 0.0) for n in range(0, len(noise), 500))
        assert len(noise) - len(clean) < 480
        left.append(decibels(clean[48_000:]))
        canceller.close()
    assert decibels(noise) - 4 > left[0] > left[1] > left[2]


@pytest.mark.usefixtures("webrtc")
@pytest.mark.parametrize("rate", [8000, 24_000])
def test_gain(rate: int) -> None:
    """Quiet speech becomes louder."""
    speech = (np.frombuffer(SPEECH, "<i2")[:: RATE // rate] // 30).astype("<i2").tobytes() * 4
    canceller = Canceller(rate, None, gain=True)
    clean = b"".join(
        canceller.process(speech[n : n + rate // 25], 0.0) for n in range(0, len(speech), rate // 25)
    )
    assert decibels(clean[-2 * rate :]) > decibels(speech[-2 * rate :]) + 6
    assert canceller.process(b"", 0.0) == b""
