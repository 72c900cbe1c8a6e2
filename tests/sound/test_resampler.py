"""`sound.resampler`: a stream at another rate."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from wav_files import (
    QUESTION,
    read,
    tone,
    wav_of,
)

import realtime_sync as rt
from realtime_sync.sound.formats import (
    PCM,
    PCMU,
    bytes_of,
    samples_of,
)
from realtime_sync.sound.resampler import Resampler, floats
from realtime_sync.voice import audio


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 24_000), (24_000, 8000), (44_100, 24_000)])
def test_pieces_make_no_difference(from_rate: int, to_rate: int) -> None:
    """A stream is resampled the same in any pieces, and so is the next one after it was finished."""
    sound = bytes_of([round(value * 32_767) for value in tone(from_rate)])
    resampler = Resampler(from_rate, to_rate)
    whole = resampler.feed(sound) + resampler.finish()
    pieces = [resampler.feed(sound[start : start + 98]) for start in range(0, len(sound), 98)]
    assert b"".join(pieces) + resampler.finish() == whole
    assert len(whole) == pytest.approx(len(sound) * to_rate / from_rate, abs=2)


def test_silence_stays_silent() -> None:
    """Nothing is added to a sound, and what is too loud for a moment is clipped and not turned around."""
    resampler = Resampler(44_100, 24_000)
    assert not any(resampler.feed(bytes(8820)) + resampler.finish())
    square = bytes_of(([32_767] * 50 + [-32_768] * 50) * 20)
    samples = samples_of(resampler.feed(square) + resampler.finish())
    assert {min(samples), max(samples)} == {-32_768, 32_767}
    steps = sum(abs(after - before) > 40_000 for before, after in itertools.pairwise(samples))
    assert steps <= 40


def test_equal_rates_need_nothing() -> None:
    """Where nothing is resampled, soxr and NumPy are not loaded."""
    code = (
        "import sys; from realtime_sync.voice import audio\n"
        f"sound = audio.read_wav({str(QUESTION)!r})\n"
        "assert len(sound) > 48_000; audio.to_format(b'1', audio.PCMU, audio.PCMA)\n"
        "print('numpy' in sys.modules, 'soxr' in sys.modules, 'tqdm' in sys.modules)"
    )
    root = Path(rt.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False"] * 3


@pytest.fixture
def no_soxr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)  # its import fails, as if it were not installed


@pytest.mark.usefixtures("no_soxr")
def test_soxr_is_missing(tmp_path: Path) -> None:
    """Without soxr, what needs it names the extra before anything is written or sent."""
    needed = pytest.raises(ImportError, match=r"realtime-sync\[audio\]")
    with needed:
        read(wav_of(tone(8000), rate=8000))
    with needed:
        audio.to_format(b"12", PCM, PCMU)
    with needed:
        audio.write_wav(tmp_path / "a.wav", b"", rate=8000)
    assert not list(tmp_path.iterdir())


def test_samples_as_models_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are numbers from -1 to 1; without NumPy, the message names the extra."""
    assert floats(bytes_of([0, 16_384, -32_768])).tolist() == [0.0, 0.5, -1.0]
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r'pip install "realtime-sync\[audio\]"'):
        floats(b"")
