"""How many words recognisers get wrong, of people who speak: without noise, and with pink noise at 10 dB.

The recordings are those of Debian's package pocketsphinx-testdata and two in moonshine-voice's wheel.
"""

import argparse
import string
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import moonshine_voice
import numpy as np

from realtime_sync.sound.conversion import resample
from realtime_sync.sound.wav import read_wav
from realtime_sync.speech.moonshine import MoonshineTranscriber
from realtime_sync.speech.transcribers import Heard, Transcriber
from realtime_sync.speech.whisper import WhisperTranscriber

GOALS = {"clean": 5.0, "pink, 10 dB": 12.0}
RECOGNISERS = {"moonshine": lambda: MoonshineTranscriber(4), "whisper": lambda: WhisperTranscriber(at_once=2)}
SPHINX = Path("/usr/share/pocketsphinx/test/data")
MOONSHINE = Path(moonshine_voice.__file__).parent / "assets"
SAID = {
    "goforward.raw": "go forward ten meters",
    "something.raw": "go somewhere and do something",
    "numbers.raw": "thirty three four six ninety two",
}
BECKETT = "ever tried ever failed no matter try again fail again fail better"
CITIES = """it was the best of times it was the worst of times it was the age of wisdom it was the age of
foolishness it was the epoch of belief it was the epoch of incredulity it was the season of light it
was the season of darkness it was the spring of hope it was the winter of despair we had everything
before us we had nothing before us we were all going direct to heaven we were all going direct the
other way in short the period was so far like the present period that some of its noisiest
authorities insisted on its being received for good or for evil in the superlative degree of
comparison only"""
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SPELLED = {"mr": "mister", "metres": "meters", "33": "thirty three", "692": "six ninety two"}
SPELLED |= {str(number): word for number, word in enumerate(DIGITS)}


def recordings(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Yield audio as a session's PCM, and what is said in it."""
    for name, said in SAID.items():
        yield resample((folder / name).read_bytes(), 16_000, 24_000), said
    for listing in ("cards/cards.transcription", "librivox/transcription"):
        for line in (folder / listing).read_text().splitlines():
            said, _, name = line.replace("<s>", "").partition("</s>")
            yield read_wav((folder / listing).parent / f"{name.strip(' ()')}.wav"), said
    yield read_wav(MOONSHINE / "beckett.wav"), BECKETT
    yield read_wav(MOONSHINE / "two_cities.wav"), CITIES


def noisy(pcm: bytes, decibels: float, random: np.random.Generator) -> bytes:
    """Add pink noise, so many decibels below the audio."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(samples))
    noise *= samples.std() / noise.std() / 10 ** (decibels / 20)
    return (samples + noise).clip(-32768, 32767).astype("<i2").tobytes()


def words(text: str) -> list[str]:
    """Return the words of a text, spelled alike whoever wrote it."""
    bare = text.lower().replace("-", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(SPELLED.get(word, word) for word in bare.split()).split()


def errors(said: list[str], heard: list[str]) -> int:
    """Return how many words have to be changed, added and removed to get from one to the other."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        diagonal, row[0] = row[0], number
        for at, other in enumerate(heard, 1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (word != other))
    return row[-1]


def transcript(transcriber: Transcriber, pcm: bytes) -> str:
    return "".join(map(str, transcriber.transcribe(Heard(pcm, "audio/pcm", len(pcm) / 48_000))))


def measure(name: str, talks: list[tuple[bytes, str]], show: bool) -> None:
    """Print a recogniser's rows of the table."""
    transcriber = RECOGNISERS[name]()
    transcriber.warm_up()
    random = np.random.default_rng(7)
    rows = {"clean": talks, "pink, 10 dB": [(noisy(pcm, 10, random), said) for pcm, said in talks]}
    for condition, row in rows.items():
        began = time.monotonic()
        alone = [transcript(transcriber, pcm) for pcm, _ in row]
        seconds = time.monotonic() - began
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda talk: transcript(transcriber, talk[0]), row))
        differ = sum(one != other for one, other in zip(alone, together, strict=True))
        wrong = sum(errors(words(said), words(heard)) for (_, said), heard in zip(row, alone, strict=True))
        count = sum(len(words(said)) for _, said in row)
        length = sum(len(pcm) for pcm, _ in row) / 48_000
        print(
            f"| {name} | {condition} | {100 * wrong / count:.1f} % of {count} words "
            f"| {GOALS[condition]:.0f} % | {seconds / length:.3f} | {differ} of {len(together)} |",
            flush=True,
        )
        for (_, said), heard in zip(row, alone, strict=True) if show else ():
            if words(said) != words(heard):
                print(f"    {' '.join(words(said))}\n    {' '.join(words(heard))}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(RECOGNISERS), metavar="recogniser")
    parser.add_argument("--folder", type=Path, default=SPHINX, help="of pocketsphinx-testdata")
    parser.add_argument("--show", action="store_true", help="what was heard wrong, too")
    given = parser.parse_args()
    talks = list(recordings(given.folder))
    print("| recogniser | noise | wrong | goal | seconds per second | differ with 4 threads |")
    print("|---|---|---|---|---|---|")
    for name in given.names:
        measure(name, talks, given.show)


if __name__ == "__main__":
    main()
