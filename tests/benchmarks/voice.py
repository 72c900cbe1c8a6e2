"""A voice on your own machine, measured through the local server: words, delays, interruptions, memory.

Needs the extras local and speech, and Debian's package pocketsphinx-testdata: people who speak.  The server
is a process of its own; the talkers send audio as microphones do, in real time.  The machine should be idle.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from recognisers import SPHINX, errors, noisy, recordings, words

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.cli.main import main as command

CHUNK = 960  # bytes: 20 ms
RATE = 48_000  # bytes per second
PATIENCE = 30.0
Talks = list[tuple[bytes, str]]


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Run `serve --speech`; yield its address and its process id."""
    arguments = [sys.executable, "-m", "realtime_sync", "serve", "--port", "0", "--speech", "--realtime-pace"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


def resident(pid: int) -> float:
    """Return the MiB of memory that a process uses."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


# --- Words -----------------------------------------------------------------------------------------------


def transcribed(url: str, pcm: bytes) -> str:
    """Return what the command `transcribe` writes of an audio file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24_000)
            file.writeframes(pcm)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert command(["transcribe", "--base-url", url, str(path)]) == 0
    return out.getvalue()


def word_errors(url: str, talks: Talks) -> float:
    """Return the word error rate in percent."""
    pairs = [(words(said), words(transcribed(url, pcm))) for pcm, said in talks]
    return 100 * sum(errors(*pair) for pair in pairs) / sum(len(said) for said, _ in pairs)


# --- Delays ----------------------------------------------------------------------------------------------


@dataclass
class Delays:
    """Seconds of each turn: from the last word on, from the commit on, of an interruption."""

    committed: list[float] = field(default_factory=list)
    transcript: list[float] = field(default_factory=list)
    first_audio: list[float] = field(default_factory=list)
    interrupted: list[float] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)
    unanswered: int = 0


class Talker:
    """A user who speaks, listens to the answer, and sometimes interrupts it."""

    def __init__(self, session: rt.Session, delays: Delays) -> None:
        self._session = session
        self._delays = delays
        self._due = time.monotonic()
        self._at: dict[str, float] = {}

    def turn(self, speech: bytes) -> None:
        """Say something, and wait until the answer begins."""
        self._at.clear()
        self._due = max(self._due, time.monotonic())
        spoken = self._say(speech)
        deadline = spoken + PATIENCE
        while "audio" not in self._at and time.monotonic() < deadline:
            self._say(bytes(CHUNK))
        if "audio" not in self._at:
            self._delays.unanswered += 1
            return
        committed = self._at["committed"]
        self._delays.committed.append(committed - spoken)
        self._delays.transcript.append(max(self._at["transcript"] - committed, 0.0))
        self._delays.first_audio.append(self._at["audio"] - committed)

    def interrupt(self, speech: bytes) -> None:
        """Speak into the answer, which was begun, until it is cancelled; then let the turn end."""
        for name in ("started", "done"):
            self._at.pop(name, None)
        began = self._due
        for start in range(0, len(speech), CHUNK):
            self._say(speech[start : start + CHUNK])
            if "started" in self._at and "done" in self._at:
                break
        if "started" in self._at and "done" in self._at:
            self._delays.interrupted.append(self._at["done"] - began)
        self.finish()

    def cancel(self) -> None:
        """Cancel the answer, which was begun."""
        self._at.pop("done", None)
        asked = time.monotonic()
        self._session.response.cancel(if_active=True)
        while "done" not in self._at and time.monotonic() < asked + PATIENCE:
            self._say(bytes(CHUNK))
        if "done" in self._at:  # else it was over already, and nothing was cancelled
            self._delays.cancelled.append(self._at["done"] - asked)

    def finish(self) -> None:
        """Be silent until nothing more is said."""
        for _ in range(100):
            self._say(bytes(CHUNK))

    def _say(self, audio: bytes) -> float:
        """Send audio in real time, handling what comes meanwhile.  Return when its end was sent."""
        for start in range(0, len(audio), CHUNK):
            self._session.input_audio_buffer.append(audio[start : start + CHUNK])
            self._due += CHUNK / RATE
            self._take_until(self._due)
        return self._due

    def _take_until(self, deadline: float) -> None:
        while True:
            try:
                event = self._session.next_event(timeout=max(deadline - time.monotonic(), 0.0))
            except TimeoutError:
                return
            name = _NAMES.get(type(event))
            if name is not None:
                self._at.setdefault(name, time.monotonic())


_NAMES: dict[type[Any], str] = {
    ev.InputAudioBufferSpeechStarted: "started",
    ev.InputAudioBufferCommitted: "committed",
    ev.ConversationItemInputAudioTranscriptionCompleted: "transcript",
    ev.ResponseOutputAudioDelta: "audio",
    ev.ResponseDone: "done",
}


def trimmed(pcm: bytes) -> bytes:
    """Return speech from its first to its last word."""
    samples = np.frombuffer(pcm, "<i2")
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1].tobytes()


def talk(url: str, turns: list[bytes], delays: Delays, ready: threading.Barrier) -> None:
    with rt.connect("any", base_url=url, api_key="local") as session:
        transcription = ev.AudioTranscription(model="any")
        session.update(audio=ev.AudioConfig(input=ev.AudioInputConfig(transcription=transcription)))
        talker = Talker(session, delays)
        ready.wait()
        for number, speech in enumerate(turns):
            talker.turn(speech)
            if number % 2:
                talker.cancel()
            else:
                talker.interrupt(turns[number - 1])
            talker.finish()


def delays_of(url: str, sessions: int, turns: list[bytes]) -> Delays:
    """Return the delays of some sessions that talk at once."""
    delays, ready = Delays(), threading.Barrier(sessions)
    threads = [
        threading.Thread(target=talk, args=(url, turns[n:] + turns[:n], delays, ready))
        for n in range(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return delays


def shown(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "-"
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return f"{1000 * statistics.median(seconds):.0f} / {1000 * cuts[18]:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=SPHINX, help="of pocketsphinx-testdata")
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--no-words", action="store_true", help="leave out the word error rates")
    given = parser.parse_args()
    talks = list(recordings(given.folder))
    short = [trimmed(pcm) for pcm, _ in talks if len(pcm) < 5 * RATE][: given.turns]
    with serving() as (url, pid):
        if not given.no_words:
            random = np.random.default_rng(7)
            print("| noise | words wrong, by `transcribe` | goal |\n|---|---|---|")
            print(f"| none | {word_errors(url, talks):.1f} % | 5 % |", flush=True)
            with_noise = [(noisy(pcm, 10, random), said) for pcm, said in talks]
            print(f"| pink, 10 dB | {word_errors(url, with_noise):.1f} % | 12 % |\n", flush=True)
        print(
            "| sessions at once | last word to commit | commit to transcript | commit to first audio "
            "| interrupting word to answer cancelled | cancel to its end | without an answer | MiB |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        delays_of(url, 1, short[:1])  # warms up
        for sessions in given.sessions:
            delays = delays_of(url, sessions, short)
            row = [
                delays.committed,
                delays.transcript,
                delays.first_audio,
                delays.interrupted,
                delays.cancelled,
            ]
            columns = " | ".join(map(shown, row))
            of = sessions * len(short)
            print(
                f"| {sessions} | {columns} | {delays.unanswered} of {of} | {resident(pid):.0f} |", flush=True
            )
        print("\nDelays: p50 / p95 in milliseconds.")


if __name__ == "__main__":
    main()
