"""Clean what a microphone hears: the speaker's echo, noise, and how loud it is.

All but `HalfDuplex` needs ``pip install realtime-sync[aec]``.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from .alignment import Reference
from .devices import SAMPLE_WIDTH
from .speakers import AudioOutput

__all__ = ["NOISE_LEVELS", "Canceller", "Chain", "Cleaning", "EchoMode", "HalfDuplex", "can_cancel"]

EchoMode = Literal["cancel", "half-duplex", "off"]

NOISE_LEVELS = (6, 12, 18, 21)
"""The decibels that noise can be suppressed by."""
_FRAME = 0.01  # seconds; WebRTC's audio processing takes such frames
_ROOM = 0.2  # seconds that a room goes on sounding
_LEARNING = 1.5  # seconds of the speaker's sound after which an echo canceller knows the room
_AUDIBLE = 100  # the peak of a frame, of 32768, below which it has no echo worth the name
_ECHO = 0.5  # seconds for which the echo of a frame may last, with the delay of the devices


class Chain(Protocol):
    """Define what the audio of one recording goes through."""

    def heard(self) -> Any:
        """Return what is to be known of a block in the moment in which it comes; the device's thread asks."""
        ...

    def process(self, pcm: bytes, heard: Any) -> bytes:
        """Return clean audio; it may be some milliseconds behind.

        Args:
            pcm: 16 bits a sample, in the chain's rate, from the block.
            heard: What `heard` returned for the block.
        """
        ...

    def close(self) -> None:
        """Let go of the speaker."""
        ...


class _Nothing:
    """Leave the audio as it is."""

    def heard(self) -> None: ...

    def process(self, pcm: bytes, heard: None) -> bytes:
        return pcm

    def close(self) -> None: ...


class HalfDuplex:
    """Replace the audio by silence while a speaker plays, and while its sound lasts in the room.

    Args:
        speaker: Any `AudioOutput`: it plays when its ``played_ms`` moves.
        latency: Seconds of audio that the microphone's device buffers.
    """

    def __init__(self, speaker: AudioOutput, latency: float) -> None:
        self._speaker = speaker
        self._clock = _clock_of(speaker)
        self._tail = latency + _ROOM
        self._played = speaker.played_ms
        self._until = self._clock()

    def heard(self) -> bool:
        """Return whether the block may have sound of the speaker in it."""
        now, played = self._clock(), self._speaker.played_ms
        if played != self._played:
            self._played, self._until = played, now + self._tail
        return now < self._until

    def process(self, pcm: bytes, heard: bool) -> bytes:
        """Return the audio, or silence in place of it."""
        return bytes(len(pcm)) if heard else pcm

    def close(self) -> None:
        """Do nothing."""


class Canceller:
    """Process audio by WebRTC: cancel the echo of a reference, suppress noise, adjust the gain.

    Until the speaker has been heard for 1.5 s, it may not know the room yet: so long it returns silence while
    the speaker plays.  For one thread at a time, except `heard`.

    Args:
        rate: Samples per second.
        reference: What the speaker plays; ``None`` = no echo is to be cancelled.
        noise: Decibels by which noise is suppressed: 6, 12, 18 or 21; 0 = not at all.
        gain: Whether to bring speech to an even loudness.
        clock: Returns the time in seconds, as for the reference.

    Raises:
        ImportError: pywebrtc-audio is not installed; the message names the extra.
    """

    def __init__(
        self,
        rate: int,
        reference: Reference | None,
        *,
        noise: int = 0,
        gain: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._numpy, webrtc = _libraries()
        self._webrtc = webrtc.AudioProcessor(
            sample_rate=rate,
            echo_cancellation=reference is not None,
            noise_suppression=noise > 0,
            ns_level=NOISE_LEVELS.index(noise) if noise else 0,
            auto_gain_control=gain,
        )
        self._reference = reference
        self._rate = rate
        self._frame = int(rate * _FRAME) * SAMPLE_WIDTH  # bytes
        self._rest = b""
        self._unknown = int(_LEARNING * rate)  # samples of the speaker that it is still to learn from
        self._sounding = 0  # samples for which the last sound of the speaker may still be heard
        self.heard = clock
        """Return when a block comes."""

    def process(self, pcm: bytes, heard: float) -> bytes:
        """Return clean audio, up to 10 ms behind.

        Args:
            pcm: Samples of 16 bits.
            heard: When they came.
        """
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % self._frame
        pcm, self._rest = pcm[:whole], pcm[whole:]
        if not pcm:
            return b""
        first = heard - (len(pcm) + len(self._rest)) / SAMPLE_WIDTH / self._rate
        near = self._numpy.frombuffer(pcm, "<i2")
        if self._reference is None:
            return bytes(self._webrtc.process(near).astype("<i2").tobytes())
        far = self._numpy.frombuffer(self._reference.read(len(near), first), "<i2")
        clean = self._webrtc.process(near, far)
        return bytes(len(pcm)) if self._learns(far) else bytes(clean.astype("<i2").tobytes())

    def _learns(self, far: Any) -> bool:
        """Return whether the canceller may not know the room yet, and the speaker may be heard."""
        if not self._unknown:
            return False
        if max(far.max(), -int(far.min())) > _AUDIBLE:
            self._unknown = max(0, self._unknown - len(far))
            self._sounding = int(_ECHO * self._rate)
        else:
            self._sounding = max(0, self._sounding - len(far))
        return self._sounding > 0

    def close(self) -> None:
        """Let go of the speaker."""
        if self._reference is not None:
            self._reference.close()


class Cleaning:
    """Make the chain of each recording, from the arguments of a `Microphone`; see there.

    Raises:
        ValueError: ``echo`` or ``noise_suppression`` is none of those that exist, or the speaker is missing.
        TypeError: The speaker can't be used with this ``echo``.
        ImportError: pywebrtc-audio is needed, and not installed; the message names the extra.
    """

    def __init__(
        self,
        echo: EchoMode = "off",
        speaker: AudioOutput | None = None,
        noise_suppression: bool | int = False,
        gain: bool = False,
    ) -> None:
        _check(echo, speaker)
        self._echo = echo
        self._speaker: Any = speaker
        self._noise = _decibels(noise_suppression)
        self._gain = gain
        self._webrtc = echo == "cancel" or bool(self._noise) or gain
        if self._webrtc:
            _libraries()

    def begin(self, rate: int, latency: float) -> Chain:
        """Return the chain of a recording.

        Args:
            rate: Its samples per second.
            latency: Seconds of audio that the device buffers.

        Raises:
            ImportError: The speaker's device has another rate, and soxr is not installed.
        """
        half = HalfDuplex(self._speaker, latency) if self._echo == "half-duplex" else None
        if not self._webrtc:
            return half or _Nothing()
        cancels = self._echo == "cancel"
        reference = Reference(self._speaker, rate, latency) if cancels else None
        clock = _clock_of(self._speaker) if cancels else time.monotonic
        clean = Canceller(rate, reference, noise=self._noise, gain=self._gain, clock=clock)
        return clean if half is None else _Both(half, clean)


class _Both:
    """Keep the speaker's sound out, and clean the rest."""

    def __init__(self, half: HalfDuplex, clean: Canceller) -> None:
        self._half, self._clean = half, clean
        self.close = clean.close

    def heard(self) -> tuple[bool, float]:
        return self._half.heard(), self._clean.heard()

    def process(self, pcm: bytes, heard: tuple[bool, float]) -> bytes:
        return self._clean.process(self._half.process(pcm, heard[0]), heard[1])


def _check(echo: str, speaker: object) -> None:
    if echo not in ("cancel", "half-duplex", "off"):
        raise ValueError(f"echo must be 'cancel', 'half-duplex' or 'off', got {echo!r:.80}")
    if echo == "off":
        return
    if speaker is None:
        raise ValueError(f"echo={echo!r} needs speaker=, the speaker whose echo the microphone hears")
    needed = ("tap", "rate", "latency", "clock") if echo == "cancel" else ("played_ms",)
    for name in needed:
        if not hasattr(speaker, name):
            raise TypeError(
                f"echo={echo!r} needs a speaker with {name!r}, such as a Speaker; {speaker!r:.80} has none"
            )


def _decibels(noise_suppression: bool | int) -> int:
    """Return by how many decibels noise is to be suppressed."""
    if isinstance(noise_suppression, bool):
        return 12 if noise_suppression else 0
    if noise_suppression not in NOISE_LEVELS:
        known = ", ".join(map(str, NOISE_LEVELS))
        raise ValueError(
            f"noise_suppression must be True, False or one of {known} (dB), got {noise_suppression!r:.80}"
        )
    return noise_suppression


def _clock_of(speaker: Any) -> Callable[[], float]:
    clock: Callable[[], float] = getattr(speaker, "clock", time.monotonic)
    return clock


def can_cancel() -> bool:
    """Return whether what ``echo="cancel"`` needs is installed."""
    try:
        _libraries()
    except ImportError:
        return False
    return True


def _libraries() -> tuple[Any, Any]:
    """Return NumPy and pywebrtc-audio.

    Raises:
        ImportError: One is not installed; the message names the extra.
    """
    try:
        import numpy
        import pywebrtc_audio
    except ImportError as error:
        raise ImportError(
            "echo cancellation, noise suppression and automatic gain need pywebrtc-audio: "
            f'pip install "realtime-sync[aec]" ({error})',
            name=error.name,
        ) from error
    return numpy, pywebrtc_audio
