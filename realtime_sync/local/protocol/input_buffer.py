"""The input audio buffer: what the client has appended, and the speech that is found in it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ... import events as ev
from ...events.client import MOST_AUDIO
from ...sound.formats import sample_rate
from ...sound.vad import Detector, DetectorFactory, EnergyDetector, Started, Stopped
from .refusal import Refused
from .settings import format_of, rate_of

__all__ = ["MOST_BYTES", "InputAudioBuffer", "Spoken"]

MOST_BYTES = 64 * 1024 * 1024  # held, uncommitted: 23 minutes of PCM
_LEAST_MS = 100  # that can be committed
_SILENCE_KEPT_MS = 60_000  # of silence that is not committed; more than a turn's padding or an idle timeout
_PAUSE_MS = 250  # of silence, at which a turn may be over
_BLOCK_MS = 100  # examined in one go; less than a pause, so that none hides within one
_SHORTEST_MS = 300  # of silence behind words that end a sentence, in ``semantic_vad``
_SILENCE_MS = {"low": 2000, "medium": 1000, "auto": 1000, "high": 500}
"""Silence that ends a turn in ``semantic_vad``, by eagerness.  What is said is not understood here, so
this is a quarter of the longest that OpenAI's documentation names.  Words that end a sentence shorten it."""


@dataclass(frozen=True)
class Spoken:
    """There was speech in the turn that goes on, and no pause since."""


class InputAudioBuffer:
    """The buffer of one session.  Positions are in milliseconds of all audio appended in the session.

    Attributes:
        item_id: Of the message that will hold the speech going on; for the session's use.
    """

    def __init__(
        self,
        settings: ev.AudioInputConfig,
        detector: DetectorFactory = EnergyDetector,
    ) -> None:
        self._make_detector = detector
        self._bytes = bytearray()
        self._origin = 0.0  # the position, in ms, where the present format came into force
        self._start = 0  # samples since then, of the first byte held
        self._floor = 0  # samples since then, up to which audio was committed or cleared
        self.item_id: str | None = None
        self._settings = ev.AudioInputConfig()
        self._detector: Detector | None = None
        self.configure(settings)

    def configure(self, settings: ev.AudioInputConfig) -> None:
        """Take the session's settings.  A new format empties the buffer; a turn in progress goes on."""
        old, self._settings = self._settings, settings
        if old.format != settings.format:
            self._origin = self.end_ms if old.format else 0.0
            self._bytes.clear()
            self._start = self._floor = 0
            self._rate = sample_rate(format_of(settings))
            self._width = rate_of(settings) // self._rate
            self._listen()
        elif self._detector is not None and self._wanted():
            self.end_as_set()
        elif bool(old.turn_detection) != bool(settings.turn_detection):
            item_id = self.item_id
            self._listen()
            self.item_id = item_id  # of speech that is now the client's to commit

    def _wanted(self) -> tuple[float, int] | None:
        """Return the threshold and the silence in ms for detecting turns; ``None``: they are not detected."""
        detection = self._settings.turn_detection
        if isinstance(detection, ev.ServerVad):
            return detection.threshold or 0.0, detection.silence_duration_ms or 0
        if isinstance(detection, ev.SemanticVad):
            return 0.5, _SILENCE_MS[detection.eagerness or "auto"]
        return None

    def _listen(self) -> None:
        """Look for speech from here on."""
        self.item_id = None
        self._listening_from = self._end
        wanted = self._wanted()
        self._detector = self._make_detector(format_of(self._settings), *wanted) if wanted else None

    def __len__(self) -> int:
        """The bytes held."""
        return len(self._bytes)

    # --- Positions ---------------------------------------------------------------------------------

    @property
    def _end(self) -> int:
        return self._start + len(self._bytes) // self._width

    def ms(self, sample: int) -> int:
        """Return the position of a sample that `append` found."""
        return int(self._origin + sample * 1000 / self._rate)

    @property
    def end_ms(self) -> int:
        """The position of the end: how much was appended in the session."""
        return self.ms(self._end)

    @property
    def bytes_per_second(self) -> int:
        return self._rate * self._width

    # --- Audio in ----------------------------------------------------------------------------------

    def append(self, audio: bytes) -> Iterator[Started | Stopped | Spoken]:
        """Take audio; yield what is found in it, each to be handled before the next is asked for.

        Raises:
            Refused: It is too much.  Nothing was taken.
        """
        if len(audio) > MOST_AUDIO:
            message = f"expected at most {MOST_AUDIO} bytes of audio, got {len(audio)}"
            raise Refused("invalid_value", message, "audio")
        if len(self._bytes) + len(audio) > MOST_BYTES:
            raise Refused(
                "input_audio_buffer_full", f"the buffer holds at most {MOST_BYTES} bytes: commit or clear it"
            )
        self._bytes += audio
        return self._found(audio)

    def _found(self, audio: bytes) -> Iterator[Started | Stopped | Spoken]:
        if self._detector is None:
            return
        base, size = self._listening_from, self.bytes_per_second * _BLOCK_MS // 1000
        for start in range(0, len(audio), size):
            for found in self._detector.feed(audio[start : start + size]):
                yield type(found)(base + found.sample)
            if self._detector.speaking and not self.pauses:
                yield Spoken()
        if not self._detector.speaking:
            self._drop(self._end - _SILENCE_KEPT_MS * self._rate // 1000)

    @property
    def pauses(self) -> bool:
        """Whether there is a silence at the end of a turn that goes on, which may be the end of the turn."""
        return getattr(self._detector, "quiet_ms", 0) >= _PAUSE_MS

    def so_far(self) -> bytes:
        """Return the audio of the turn that goes on."""
        return bytes(self._bytes)

    def end_soon(self) -> None:
        """End the turn that goes on with the next audio, if that is silent too."""
        if self._detector is not None and (wanted := self._wanted()):
            self._detector.adjust(wanted[0], min(wanted[1], _SHORTEST_MS))

    def end_as_set(self) -> None:
        """End the turn as the settings say: what `end_soon` has changed does not hold any longer."""
        if self._detector is not None and (wanted := self._wanted()):
            self._detector.adjust(*wanted)

    def _drop(self, sample: int) -> None:
        """Discard what came before a sample."""
        count = min(max(sample - self._start, 0), len(self._bytes) // self._width)
        del self._bytes[: count * self._width]
        self._start += count

    @property
    def padding_ms(self) -> int:
        """The padding in ms before detected speech that belongs to it."""
        detection = self._settings.turn_detection
        return (detection.prefix_padding_ms or 0) if isinstance(detection, ev.ServerVad) else 300

    def begin_turn(self, sample: int, item_id: str) -> int:
        """Begin a turn with this sample.  Return the position of the padding before it."""
        self.item_id = item_id
        self._drop(max(sample - self.padding_ms * self._rate // 1000, self._floor))
        return self.ms(self._start)

    # --- Audio out ---------------------------------------------------------------------------------

    def end_turn(self, sample: int) -> bytes:
        """Take the audio of the speech that stopped at this sample."""
        self.end_as_set()
        return self._take((sample - self._start) * self._width)

    def commit(self) -> bytes:
        """Take all of it, as the client asks.

        Raises:
            Refused: There is less than 100 ms.
        """
        length = len(self._bytes) * 1000 / self.bytes_per_second
        if length < _LEAST_MS:
            message = f"expected at least {_LEAST_MS} ms of audio, the buffer holds {length:.2f} ms"
            raise Refused("input_audio_buffer_commit_empty", message)
        return self._take_all()

    def clear(self) -> None:
        """Discard all of it, with the speech in progress."""
        self._take_all()

    def since(self, position_ms: float) -> tuple[int, bytes]:
        """Take what came from a position on.  Return the position where it really begins, and the audio."""
        self._drop(int((position_ms - self._origin) * self._rate / 1000))
        return self.ms(self._start), self._take_all()

    def _take_all(self) -> bytes:
        audio = self._take(len(self._bytes))
        self._listen()
        return audio

    def _take(self, size: int) -> bytes:
        audio = bytes(self._bytes[:size])
        del self._bytes[:size]
        self._start += len(audio) // self._width
        self._floor = self._start
        self.item_id = None
        return audio
