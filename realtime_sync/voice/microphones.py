"""`Microphone` sends the user's audio from a device, `FileMicrophone` from a file."""

import array
import contextlib
import functools
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ..exceptions import ConnectionClosed
from ..session import Session
from ..sound.conversion import encoded
from ..sound.formats import bytes_of, bytes_per_second, input_format, loudness, sample_rate, silent
from ..sound.problems import OnProblem
from ..sound.resampler import Resampler
from ..sound.vad import DetectorFactory
from .audio import append_to, chunks, decode, is_fast
from .devices import CLOSING, HASTE, Line, check_above_0, check_not_below_0, chosen
from .echo import Chain, Cleaning, EchoMode
from .speakers import AudioOutput
from .turns import LocalTurns, check_no_turn_detection, factory_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FileMicrophone", "Microphone"]

_log = logging.getLogger("realtime_sync")


class Microphone:
    """Send audio from an input device to a session, from `start` to `stop`, on a thread of its own.

    The audio is sent in the session's input format, as the server has announced it when `start` is called.
    The end of the session ends the microphone without an error.

    Args:
        session: An open session.  A translation session receives the audio through
            ``session.translation.append``, any other through ``session.input_audio_buffer.append``.
        device: The device: a part of its name, its index (see `list_devices`), or ``None`` (the default)
            for the system's default.
        block_ms: Milliseconds of audio per event.
        max_seconds: Seconds of audio that may be pending while the network is slow; beyond that the oldest
            is discarded.
        latency: Seconds of audio that the device should buffer itself.
        echo: What to do about a speaker in the same room: ``"off"`` (the default) does nothing, for
            headphones.  ``"cancel"`` takes what the speaker plays out of what is heard, so that the user can
            interrupt by speaking; a delay of up to 0.5 s is found, and followed.  ``"half-duplex"`` sends
            silence while the speaker plays and 0.2 s longer; the user interrupts by other means, such as a
            key and `Assistant.interrupt`.
        speaker: The speaker in the same room, unless ``echo`` is ``"off"``: a `Speaker`, or for
            ``"half-duplex"`` any `AudioOutput`.
        noise_suppression: Whether to suppress noise, by 12 dB; or by 6, 12, 18 or 21 dB.
        gain: Whether to bring speech to an even loudness.
        vad: Finds the turns here, for a server that doesn't, or whose ``turn_detection`` you have set to
            ``None``: only speech is sent, with 0.3 s from before it; at its end it is committed, and a
            response is asked for.  ``True`` takes Silero if it is installed, else a detector by loudness; or
            pass a class of `realtime_sync.sound.vad`, or a function that is called like one.
        threshold: What counts as speech, from 0 to 1; for Silero its probability.
        silence_ms: Milliseconds of silence that end a turn.

    Attributes:
        on_speech: Called when ``vad`` finds that the user begins to speak, on a thread of its own; an
            `Assistant` interrupts then, unless you have set it.
        muted: Whether to send silence.  The server needs it to notice that the user has stopped speaking.
        level: The loudness of the last block in dBFS, muted or not; ``-inf`` before the first.
        dropped: How many blocks were lost because the network or this machine was too slow.

    Raises:
        ImportError: sounddevice is not installed; ``echo="cancel"``, ``noise_suppression`` or ``gain`` is
            used, and pywebrtc-audio isn't; or soxr isn't and the audio has to be converted (`start` raises
            this one).  The message names the extra to install.
        DeviceError: The device is in use (raised by `start`), there is no default device, or PortAudio is
            missing.
        ValueError: ``device`` names no device, or several; ``block_ms`` or ``max_seconds`` is not a finite
            number above 0; ``latency`` is negative or not finite; ``echo`` or ``noise_suppression`` is
            unknown; ``speaker`` is missing; ``threshold`` or ``silence_ms`` is out of range; or ``vad`` is
            used where the server detects turns, too (raised by `start`).
        TypeError: ``device`` is neither an index nor a name nor ``None``; or ``speaker`` can't be used with
            this ``echo``; or ``vad`` is no factory.
    """

    def __init__(
        self,
        session: Session,
        device: int | str | None = None,
        *,
        block_ms: int = 20,
        max_seconds: float = 5.0,
        latency: float = 0.05,
        echo: EchoMode = "off",
        speaker: AudioOutput | None = None,
        noise_suppression: bool | int = False,
        gain: bool = False,
        vad: "DetectorFactory | Literal[True] | None" = None,
        threshold: float = 0.5,
        silence_ms: int = 500,
    ) -> None:
        check_above_0(block_ms=block_ms, max_seconds=max_seconds, silence_ms=silence_ms)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be a number from 0 to 1, got {threshold!r:.80}")
        check_not_below_0(latency=latency)
        self.muted = False
        self.level = -math.inf
        self.dropped = 0
        self.on_speech: Callable[[], object] | None = None
        self._session = session
        self._vad = None if vad is None else factory_of(vad)
        self._threshold = threshold
        self._silence_ms = silence_ms
        self._cleaning = Cleaning(echo, speaker, noise_suppression, gain)
        self._device = chosen(device, "input")
        self._block_ms = block_ms
        self._latency = latency
        self._line: Line | None = None
        self._sender: threading.Thread | None = None
        self._failure: Exception | None = None
        # Hands blocks from PortAudio's thread to the sender; held for a moment only.
        self._changed = threading.Condition()
        # Blocks of the present recording, or the last one, with what its chain knows of each.
        self._blocks: deque[tuple[bytes, Any]] = deque()
        self._most = max(1, int(max_seconds * 1000 / block_ms))
        # Lets one thread at a time start or stop the device.
        self._control = threading.Lock()

    @property
    def failure(self) -> Exception | None:
        """Return why it has stopped by itself, or ``None``; the end of the session is no failure."""
        return self._failure or (self._line.failure if self._line else None)

    def start(self) -> None:
        """Begin to record and to send; do nothing if it does already.

        Raises:
            DeviceError: The device can't be opened or started.
            ImportError: The audio has to be converted, and soxr is not installed.
            ValueError: ``vad`` is used, and the server detects turns as well.
        """
        if self._line is not None and self.failure is None:
            return
        self.stop()  # it has failed
        with self._control:
            if self._line is None:
                self._open()

    def _open(self) -> None:
        audio_format = input_format(self._session.config)
        turns = self._turns(audio_format)
        rate = sample_rate(audio_format)
        block = rate * self._block_ms // 1000
        blocks: deque[tuple[bytes, Any]] = deque(maxlen=self._most)
        chain = self._cleaning.begin(rate, self._latency)
        hear = functools.partial(self._hear, blocks, chain)
        try:
            line = Line("input", self._device, rate, block, self._latency, hear)
        except BaseException:
            chain.close()
            raise
        self._line, self._blocks, self._failure = line, blocks, None
        try:
            resampler = Resampler(line.rate, rate)
            line.start()
        except BaseException:
            self._close_line(HASTE)
            chain.close()
            raise
        # Converts and sends, since PortAudio's thread must not wait for the network.
        self._sender = threading.Thread(
            target=self._run,
            args=(line, blocks, audio_format, resampler, chain, turns),
            name="realtime_sync-microphone",
            daemon=True,
        )
        self._sender.start()

    def _turns(self, audio_format: str) -> LocalTurns | None:
        """Return what finds the turns of a recording, if that is to be done here."""
        if self._vad is None:
            return None
        check_no_turn_detection(self._session)
        detector = self._vad(audio_format, self._threshold, self._silence_ms)
        return LocalTurns(self._session, detector, audio_format, self._speech)

    def stop(self) -> None:
        """Stop recording, and wait until everything recorded so far is sent."""
        with self._control:
            self._close_line()
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def abandon(self) -> None:
        """Stop recording and discard what was not sent yet, without waiting: after Ctrl-C."""
        if not self._control.acquire(timeout=HASTE):
            return  # another thread starts or stops it, and a device is stuck
        try:
            self._close_line(HASTE)
            self._blocks.clear()
            self._sender = None
        finally:
            self._control.release()

    def close(self) -> None:
        """Do the same as `stop`."""
        self.stop()

    def mute(self) -> None:
        """Send silence from now on."""
        self.muted = True

    def unmute(self) -> None:
        """Send the recorded audio again."""
        self.muted = False

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon() if isinstance(error, KeyboardInterrupt) else self.stop()

    def _close_line(self, timeout: float = CLOSING) -> None:
        try:
            if self._line is not None:
                self._line.close(timeout)
        finally:
            with self._changed:
                self._line = None
                self._changed.notify_all()

    def _hear(
        self,
        blocks: deque[tuple[bytes, Any]],
        chain: Chain,
        heard: Any,
        count: int,
        times: Any,
        status: Any,
    ) -> None:
        """Queue a block; called by PortAudio's thread."""
        known = chain.heard()
        with self._changed:
            self.dropped += (len(blocks) == self._most) + bool(status.input_overflow)
            blocks.append((bytes(heard), known))
            self._changed.notify_all()

    # --- The sender thread -----------------------------------------------------------------------------

    def _run(
        self,
        line: Line,
        blocks: deque[tuple[bytes, Any]],
        audio_format: str,
        resampler: Resampler,
        chain: Chain,
        turns: LocalTurns | None,
    ) -> None:
        append = append_to(self._session) if turns is None else turns.append
        try:
            known = None
            while (block := self._next(line, blocks)) is not None:
                audio, known = block
                self._pass(append, resampler.feed(self._heard(audio)), audio_format, chain, known)
            if rest := resampler.finish():
                self._pass(append, rest, audio_format, chain, known)
            if turns is not None:
                turns.finish()
        except ConnectionClosed:
            pass
        except Exception as error:
            self._failure = error
            _log.error("the microphone has stopped because of an error: %s", error)
        finally:
            with self._control:
                if self._line is line:
                    self._close_line()
            chain.close()
            blocks.clear()

    def _next(self, line: Line, blocks: deque[tuple[bytes, Any]]) -> tuple[bytes, Any] | None:
        """Return the next block; ``None`` once the recording was stopped and all of it is sent."""
        with self._changed:
            self._changed.wait_for(lambda: blocks or self._line is not line)
            return blocks.popleft() if blocks else None

    def _heard(self, block: bytes) -> bytes:
        """Return a block from the device as PCM; update `level`."""
        samples = array.array("h", block)
        self.level = loudness(samples)
        return bytes_of(samples)

    def _speech(self) -> None:
        """Tell that the user has begun to speak."""
        if self.on_speech is not None:
            try:
                self.on_speech()
            except ConnectionClosed:
                raise
            except Exception:
                _log.warning("the microphone's on_speech callback raised an exception", exc_info=True)

    def _pass(
        self, append: Callable[[bytes], object], pcm: bytes, audio_format: str, chain: Chain, known: Any
    ) -> None:
        """Send what is heard, clean, or silence if muted."""
        clean = chain.process(pcm, known)
        if clean:
            append(encoded(bytes(len(clean)) if self.muted else clean, audio_format))


# --- Without a device --------------------------------------------------------------------------------


class FileMicrophone:
    """Send an audio file to a session, on a thread of its own, in place of a `Microphone`.

    It sends silence after the file, so that the server's turn detection notices the end of the speech.

    Args:
        session: An open session.
        path: A file in any format that `realtime_sync.voice.audio.decode` reads.
        pace: ``"realtime"`` (the default) sends it as if it were being spoken; ``"fast"`` sends it as fast
            as the server accepts it.
        trailing_silence: Seconds of silence to send after the file.
        block_ms: Milliseconds of audio per event.
        on_problem: Called on that thread, before `finished` is set, with a sentence about a file that is
            damaged or cut short; ``None`` logs it.  See `realtime_sync.voice.audio.decode`.

    Attributes:
        finished: An event that is set once sending has ended: with the last block, by `stop`, by an error,
            or by the end of the session.
        failure: The error that stopped it, or ``None``; the end of the session is none.

    Raises:
        ValueError: ``pace`` is neither ``"realtime"`` nor ``"fast"``, ``trailing_silence`` is negative or
            not finite, or ``block_ms`` is not a finite number above 0.
    """

    def __init__(
        self,
        session: Session,
        path: "str | PathLike[str]",
        *,
        pace: Literal["realtime", "fast"] = "realtime",
        trailing_silence: float = 1.0,
        block_ms: float = 100,
        on_problem: OnProblem = None,
    ) -> None:
        self._fast = is_fast(pace)
        check_not_below_0(trailing_silence=trailing_silence)
        check_above_0(block_ms=block_ms)
        self.finished = threading.Event()
        self.failure: Exception | None = None
        self._session = session
        self._path = path
        self._silence = trailing_silence
        self._block_ms = block_ms
        self._on_problem = on_problem
        self._stop = threading.Event()
        self._sender: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send the file.  Call `stop` before starting again, which sends it from its beginning.

        Raises:
            OSError, ValueError, TypeError, ImportError: The file can't be read; see
                `realtime_sync.voice.audio.decode`.
        """
        if self._sender is not None:
            return
        audio_format = input_format(self._session.config)
        sound = decode(self._path, self._block_ms, audio_format, on_problem=self._on_problem)
        first = next(sound, b"")  # read here, so that a bad file raises its error here
        rest = chunks(silent(self._silence, audio_format), self._block_ms, audio_format)
        self.finished.clear()
        self._stop = threading.Event()
        self.failure = None
        # Waits until the next block is due, while the program goes on.
        self._sender = threading.Thread(
            target=self._run,
            args=(self._stop, first, sound, rest, audio_format),
            name="realtime_sync-file",
            daemon=True,
        )
        self._sender.start()

    def stop(self) -> None:
        """Stop sending, and wait until the thread has ended."""
        self._stop.set()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def abandon(self) -> None:
        """Stop sending, without waiting for the thread to end: after Ctrl-C."""
        self._stop.set()
        self._sender = None

    def close(self) -> None:
        """Do the same as `stop`."""
        self.stop()

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon() if isinstance(error, KeyboardInterrupt) else self.stop()

    def _run(
        self,
        stop: threading.Event,
        first: bytes,
        sound: Generator[bytes, None, None],
        rest: Iterable[bytes],
        audio_format: str,
    ) -> None:
        try:
            with contextlib.closing(sound):  # this ends the decoder
                self._send(stop, itertools.chain([first], sound, rest), audio_format)
        except ConnectionClosed:
            pass
        except Exception as error:
            if self._stop is stop:  # else it was abandoned, and has been started anew
                self.failure = error
            _log.error("sending the file %s stopped because of an error: %s", self._path, error)
        finally:
            if self._stop is stop:
                self.finished.set()

    def _send(self, stop: threading.Event, blocks: Iterable[bytes], audio_format: str) -> None:
        append = append_to(self._session)
        due = time.monotonic()
        for block in blocks:
            if stop.wait(0 if self._fast else max(0.0, due - time.monotonic())):
                return
            append(block)
            due += len(block) / bytes_per_second(audio_format)
