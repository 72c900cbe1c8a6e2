"""Appending a sound file to a session: seconds of audio per second, from a file on disk to a server.

`stream_file` reads a WAV file of ten minutes, makes of it what the session takes and sends it in events of
100 ms, in a process of its own on one processor, to a server on another that only counts.  The time runs from
the call until the server's word that all has arrived; the modules that conversion needs were loaded before.
"""

import array
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from common import child, interleaved, machine, options, pin, server, spread, table

SECONDS = 600
CHUNKS = SECONDS * 10
GOAL = 200
PCM, PCMU = "audio/pcm", "audio/pcmu"
# What the file is: rate, and options of `write_wav`; and what the session takes.
CASES: dict[str, tuple[dict[str, int], str, str]] = {
    "24 kHz, 16 bits, as it is": ({}, PCM, PCM),
    "24 kHz, 24 bits, stereo": ({"width": 3, "channels": 2}, PCM, PCM),
    "44.1 kHz, 16 bits, stereo, resampled": ({"rate": 44_100, "channels": 2}, PCM, PCM),
    "24 kHz, 16 bits, resampled, to mu-law": ({}, PCM, PCMU),
    "8 kHz, mu-law, as it is": ({}, PCMU, PCMU),
}
Figures = tuple[float, float]
"""Seconds, and the processor seconds of the client meanwhile."""


def make(folder: Path) -> dict[str, Path]:
    """The files, by case."""
    from realtime_sync.voice import audio

    second = array.array("h", (round(9000 * math.sin(0.1 * n)) for n in range(24_000))).tobytes()
    paths = {}
    for number, (name, (layout, written, _)) in enumerate(CASES.items()):
        paths[name] = folder / f"{number}.wav"
        with audio.WavWriter(paths[name], written, **layout) as writer:  # type: ignore[arg-type]
            piece = audio.to_format(second, PCM, written)
            for _ in range(SECONDS):
                writer.write(piece)
    return paths


def measure(url: str, path: str, audio_format: str) -> Figures:
    import realtime_sync as rt
    from realtime_sync.voice import audio

    audio.to_format(bytes(480), PCM, PCMU)  # loads soxr and NumPy
    session = rt.connect(base_url=f"{url}?{urlencode({'at': CHUNKS})}")
    started, busy = time.perf_counter(), time.process_time()
    sent = audio.stream_file(session, path, format=audio_format, progress=False)
    while not isinstance(session.next_event(timeout=60), rt.events.ResponseOutputTextDelta):
        pass
    figures = time.perf_counter() - started, time.process_time() - busy
    assert abs(sent - SECONDS) < 0.01, sent
    return figures


def main() -> None:
    settings = options()
    print(machine())
    with tempfile.TemporaryDirectory() as folder, server("sink.py") as (url, _):
        paths = make(Path(folder))

        def run(name: str) -> Figures:
            seconds, busy = child("stream_file.py", "child", url, str(paths[name]), CASES[name][2])
            return seconds, busy

        figures = interleaved(list(CASES), settings.runs, run)
    rows = [
        [
            name,
            spread([SECONDS / seconds for seconds, _ in values], 0),
            str(GOAL),
            spread([seconds / CHUNKS * 1e6 for seconds, _ in values], 0),
            spread([busy / seconds * 100 for seconds, busy in values], 0),
        ]
        for name, values in figures.items()
    ]
    header = ["file", "x real time", "goal, at least", "us per 100 ms", "client's processor, %"]
    table(f"`stream_file`, {SECONDS} s of WAV, to a session on loopback", header, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, url, path, audio_format = sys.argv
        pin(0)
        print(json.dumps(measure(url, path, audio_format)), flush=True)
        os._exit(0)
    main()
