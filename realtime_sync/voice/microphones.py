"""What sends the user's sound: `Microphone` from a device, `FileMicrophone` from a file."""

import array
import contextlib
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from ..exceptions import ConnectionClosed
from ..session import Session
from ..sound.conversion import encoded
from ..sound.formats import bytes_of, bytes_per_second, input_format, loudness, sample_rate, silence
from ..sound.resampler import Resampler
from .audio import append_to, chunks, decode, is_fast
from .devices import Line, check_above_0, check_not_below_0, chosen

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FileMicrophone", "Microphone"]

_log = logging.getLogger("realtime_sync")


class Microphone:
    """Sends what a sound device hears, from `start` to `stop`, to a session's input.

    In the session's own format, as the server has announced it by `start`.  The end of the session ends it
    quietly.

    Args:
        session: An open one.  A translation session is fed with ``session.translation.append``.
        device: A part of its name, its index (see `list_devices`), or ``None`` for the system's default.
        block_ms: Milliseconds that are sent at once.
        max_seconds: How much may wait to be sent while the network is slow; then the oldest is dropped.
        latency: Seconds of sound that the device should hold itself.

    Attributes:
        muted: True sends silence, so that the server still hears that the user has stopped speaking.
        level: How loud the last block was, in dBFS, muted or not.
        dropped: How many blocks were lost: because the network, or this machine, was too slow.

    Raises:
        ImportError, DeviceError, ValueError, TypeError: As by `Speaker`; by `start` too.
    """

    def __init__(
        self,
        session: Session,
        device: int | str | None = None,
        *,
        block_ms: int = 20,
        max_seconds: float = 5.0,
        latency: float = 0.05,
    ) -> None:
        check_above_0(block_ms=block_ms, max_seconds=max_seconds)
        check_not_below_0(latency=latency)
        self.muted = False
        self.level = -math.inf
        self.dropped = 0
        self._session = session
        self._device = chosen(device, "input")
        self._block_ms = block_ms
        self._latency = latency
        self._line: Line | None = None
        self._sender: threading.Thread | None = None
        self._failure: Exception | None = None
        # Hands blocks from PortAudio's thread to the sender; held for a moment only.
        self._changed = threading.Condition()
        self._blocks: deque[bytes] = deque(maxlen=max(1, int(max_seconds * 1000 / block_ms)))
        self._stopped = True
        # Lets one thread at a time start, stop or end it.
        self._control = threading.Lock()

    @property
    def failure(self) -> Exception | None:
        """Why it sends no more, if it has stopped by itself and the session has not ended."""
        return self._failure or (self._line.failure if self._line else None)

    def start(self) -> None:
        """Begin to listen and to send."""
        if self._line is not None and self.failure is None:
            return
        self.stop()  # what has failed
        with self._control:
            if self._line is None:
                self._open()

    def _open(self) -> None:
        audio_format = input_format(self._session.config)
        rate = sample_rate(audio_format)
        block = rate * self._block_ms // 1000
        line = Line("input", self._device, rate, block, self._latency, self._hear)
        self._line, self._failure, self._stopped = line, None, False
        try:
            resampler = Resampler(line.rate, rate)
            line.start()
        except BaseException:
            self._close_line()
            raise
        # Converts and sends, since PortAudio's thread must not wait for the network.
        self._sender = threading.Thread(
            target=self._run,
            args=(line, audio_format, resampler),
            name="realtime_sync-microphone",
            daemon=True,
        )
        self._sender.start()

    def stop(self) -> None:
        """Listen no more, and send what was heard until now."""
        with self._control:
            self._close_line()
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def mute(self) -> None:
        """Send silence from now on."""
        self.muted = True

    def unmute(self) -> None:
        """Send what is heard again."""
        self.muted = False

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _hear(self, heard: Any, count: int, times: Any, status: Any) -> None:
        """Take a block, in PortAudio's thread."""
        with self._changed:
            full = len(self._blocks) == self._blocks.maxlen
            self.dropped += full + bool(status.input_overflow)
            self._blocks.append(bytes(heard))
            self._changed.notify_all()

    # --- The sender thread -----------------------------------------------------------------------------

    def _run(self, line: Line, audio_format: str, resampler: Resampler) -> None:
        append = append_to(self._session)
        try:
            more = True
            while more:
                block = self._next()
                more = block is not None
                pcm = resampler.finish() if block is None else resampler.feed(self._heard(block))
                if pcm:
                    append(encoded(pcm, audio_format))
        except ConnectionClosed:
            pass
        except Exception as error:
            self._failure = error
            _log.error("the microphone has stopped: %s", error)
        finally:
            with self._control:
                if self._line is line:
                    self._close_line()
            self._blocks.clear()

    def _next(self) -> bytes | None:
        """The next block; ``None`` when it was stopped and all is sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._stopped)
            return self._blocks.popleft() if self._blocks else None

    def _heard(self, block: bytes) -> bytes:
        """A block of the device's as PCM; silence if it is muted."""
        samples = array.array("h", block)
        self.level = loudness(samples)
        return bytes(len(block)) if self.muted else bytes_of(samples)


# --- Without a device --------------------------------------------------------------------------------


class FileMicrophone:
    """Sends a sound file to a session's input, on a thread of its own, in place of a `Microphone`.

    After it comes silence, so that the server's turn detection hears that the user has stopped speaking.

    Args:
        session: An open one.
        path: A file of any kind that `realtime_sync.voice.audio.decode` reads.
        pace: ``"realtime"``: as if it were spoken now; ``"fast"``: as fast as the server takes it.
        trailing_silence: Seconds of silence.
        block_ms: Milliseconds that are sent at once.

    Attributes:
        finished: Set when nothing more is sent: all was, it was stopped, it failed, or the session has ended.
        failure: Why it has stopped in the middle, if that was none of these.

    Raises:
        ValueError: ``pace`` is neither, ``trailing_silence`` is below 0, or ``block_ms`` is not above it.
    """

    def __init__(
        self,
        session: Session,
        path: "str | PathLike[str]",
        *,
        pace: Literal["realtime", "fast"] = "realtime",
        trailing_silence: float = 1.0,
        block_ms: float = 100,
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
        self._stop = threading.Event()
        self._sender: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send the file; again only after `stop`, and then from its beginning.

        Raises:
            OSError, ValueError, TypeError, ImportError: The file can't be read; see
                `realtime_sync.voice.audio.decode`.
        """
        if self._sender is not None:
            return
        audio_format = input_format(self._session.config)
        sound = decode(self._path, self._block_ms, audio_format)
        first = next(sound, b"")  # here, so that what is wrong with the file is raised here
        rest = chunks(silence(self._silence, audio_format), self._block_ms, audio_format)
        self.finished.clear()
        self._stop.clear()
        self.failure = None
        # Waits until it is time for the next piece, while the program goes on.
        self._sender = threading.Thread(
            target=self._run,
            args=(first, sound, rest, audio_format),
            name="realtime_sync-file",
            daemon=True,
        )
        self._sender.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.join()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(
        self,
        first: bytes,
        sound: Generator[bytes, None, None],
        rest: Iterable[bytes],
        audio_format: str,
    ) -> None:
        try:
            with contextlib.closing(sound):  # which ends what decodes it
                self._send(itertools.chain([first], sound, rest), audio_format)
        except ConnectionClosed:
            pass
        except Exception as error:
            self.failure = error
            _log.error("the file %s was not sent to its end: %s", self._path, error)
        finally:
            self.finished.set()

    def _send(self, pieces: Iterable[bytes], audio_format: str) -> None:
        append = append_to(self._session)
        due = time.monotonic()
        for piece in pieces:
            if self._stop.wait(0 if self._fast else max(0.0, due - time.monotonic())):
                return
            append(piece)
            due += len(piece) / bytes_per_second(audio_format)
