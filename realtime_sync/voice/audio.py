"""Audio from files into sessions, and from one format of the wire to another.

    for chunk in wav_chunks("question.wav"):
        session.input_audio_buffer.append(chunk)

is what `stream_file` does, with the session's own format, at either pace.  A file may be of any length:
what reads or writes one holds a fraction of a second of it, except the functions that return all of it.
"""
# What the wire calls `format` is called so here.
# ruff: noqa: A002

import contextlib
import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET

from ..events import SemanticVad, ServerVad
from ..sound.conversion import chunks, level, resample, to_format
from ..sound.files import decode, read_audio
from ..sound.formats import (
    PCM,
    PCMA,
    PCMU,
    duration,
    input_format,
    input_settings,
    sample_rate,
    silence,
    silent,
    size_of,
)
from ..sound.problems import OnProblem
from ..sound.wav import FilePath, WavWriter, read_wav, wav_chunks, wav_duration, write_wav

if TYPE_CHECKING:
    from ..session import Session

__all__ = [
    "PCM",
    "PCMA",
    "PCMU",
    "WavWriter",
    "append_to",
    "chunks",
    "decode",
    "duration",
    "is_fast",
    "level",
    "read_audio",
    "read_wav",
    "resample",
    "sample_rate",
    "silence",
    "size_of",
    "stream_file",
    "to_format",
    "wav_chunks",
    "wav_duration",
    "write_wav",
]

_log = logging.getLogger("realtime_sync")

_NAP = 0.1  # seconds after which a wait looks whether the session has ended
_PAUSE = 0.5  # seconds of silence that end a turn, where the server doesn't say how many
_SEMANTIC_PAUSES = {"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0}  # OpenAI's longest waits
_MARGIN = 0.5  # seconds of silence beyond these: the end of a file may be quiet, and servers count in frames


def stream_file(
    session: "Session",
    path: FilePath,
    pace: Literal["fast", "realtime"] = "fast",
    *,
    chunk_ms: float = 100,
    format: str | None = None,
    progress: bool | None = None,
    end_with_silence: bool | float = False,
    commit: bool = False,
    on_problem: OnProblem = None,
) -> float:
    """Append an audio file to a session's input, and return how many seconds of the file were sent.

    The file is of any kind that `decode` reads; it is sent in the format that the session takes, to a
    translation session with ``session.translation.append``.

    By default nothing follows the file, so that several may make up one turn.  Then a server that detects
    turns still waits for the speaker to go on, and one that doesn't waits for a commit.  To end the turn
    whichever way the session takes::

        stream_file(session, "question.wav", end_with_silence=True, commit=True)

    Args:
        session: An open one.
        path: The file.
        pace: ``"fast"``: as fast as the server takes it.  ``"realtime"``: as if it were spoken now, each
            chunk when its time has come by the clock, so that no lateness adds up.
        chunk_ms: Milliseconds of audio in one event.
        format: `PCM`, `PCMU` or `PCMA`; ``None`` = the session's, as the server announced it last.  Say it if
            you have changed it with ``session.update`` and not waited for ``session.updated``.
        progress: A bar on the terminal; ``None`` = if there is a terminal, and tqdm.
        end_with_silence: Seconds of silence to send behind the file.  True = what the turn detection that
            the session announced last needs to find the end of the turn: half a second more than its
            ``silence_duration_ms`` (500 ms unless announced), or than the 2, 4 or 8 seconds that semantic
            detection waits at most; none if turn detection is off.  The silence does not count in what is
            returned.
        commit: True commits the input at the end if the session announced last that turn detection is off,
            and logs so (at INFO).  Where the server detects turns it commits by itself, and nothing is
            committed here; nor if there was no audio.
        on_problem: Called with a sentence if the file is damaged or cut short, after what there is of it was
            sent; ``None`` logs the sentence as a warning.  See `decode`.

    Raises:
        OSError, TypeError: The file can't be read; see `decode`.
        ValueError: The same, or ``pace`` or ``end_with_silence`` is invalid, or ``commit`` is True for a
            translation session, which has no commit.
        ImportError: The extra ``audio`` is needed, and missing.  Nothing was sent.
        ConnectionClosed: The session is over, or ended meanwhile.
    """
    fast = is_fast(pace)
    if commit and _translates(session):
        raise ValueError("commit=True is not supported by a translation session, which has no commit event")
    audio_format = format or input_format(session.config)
    pause = _pause(session, end_with_silence)
    with (
        contextlib.closing(decode(path, chunk_ms, audio_format, on_problem=on_problem)) as file,
        _bar(path, progress) as show,
    ):
        audio = itertools.chain(file, chunks(silent(pause, audio_format), chunk_ms, audio_format))
        sent = _send(session, audio, audio_format, fast, show)
    if commit and sent and _turn_detection(session) is None:
        session.input_audio_buffer.commit()
        _log.info("committed %.2f s of input: the session does not detect turns", sent)
    return sent - round(pause * sample_rate(audio_format)) / sample_rate(audio_format)


def is_fast(pace: str) -> bool:
    """Return whether a pace is the fast one.

    Raises:
        ValueError: It is neither ``"fast"`` nor ``"realtime"``.
    """
    if pace not in ("fast", "realtime"):
        raise ValueError(f"unknown pace {pace!r:.80}; expected 'fast' or 'realtime'")
    return pace == "fast"


def append_to(session: "Session") -> Callable[[bytes], str]:
    """Return the method that appends to the input of this kind of session."""
    return session.translation.append if _translates(session) else session.input_audio_buffer.append


def _translates(session: "Session") -> bool:
    return session.config is not None and session.config.type == "translation"


def _turn_detection(session: "Session") -> Any:
    """Return the turn detection that a session announced, in either dialect.

    ``None`` = it is off, `UNSET` = the server did not say.
    """
    ga, config = input_settings(session.config), session.config
    if ga is not None and ga.turn_detection is not UNSET:
        return ga.turn_detection
    return config.turn_detection if config is not None else UNSET


def _pause(session: "Session", wanted: bool | float) -> float:
    """Return how many seconds of silence are to follow a file.

    Raises:
        ValueError: It is not a number of seconds.
    """
    if not 0 <= wanted < math.inf:
        raise ValueError(f"end_with_silence must be True, False or seconds of 0 or more, got {wanted!r:.80}")
    if not isinstance(wanted, bool):
        return wanted
    detection = _turn_detection(session)
    if not wanted or (detection is None and not _translates(session)):
        return 0.0
    pause: float | None = None
    if isinstance(detection, ServerVad) and isinstance(detection.silence_duration_ms, int):
        pause = detection.silence_duration_ms / 1000
    elif isinstance(detection, SemanticVad):
        pause = _SEMANTIC_PAUSES.get(str(detection.eagerness), _SEMANTIC_PAUSES["auto"])
    return (_PAUSE if pause is None else pause) + _MARGIN


def _send(
    session: "Session",
    audio: Iterable[bytes],
    format: str,
    fast: bool,
    show: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> float:
    """Append chunks, each at its time, show how many seconds are sent, and return how many it was in all."""
    append = append_to(session)
    size = 0
    start = None
    for chunk in audio:
        start = clock() if start is None else start
        due = start if fast else start + duration(size, format)
        while (left := due - clock()) > 0 and not session.closed:
            wait(min(left, _NAP))
        append(chunk)
        size += len(chunk)
        show(duration(size, format))
    return duration(size, format)


# --- The progress bar --------------------------------------------------------------------------------


@contextlib.contextmanager
def _bar(path: FilePath, wanted: bool | None) -> Iterator[Callable[[float], object]]:
    """Give a function that shows how many seconds are done, on a progress bar if there is to be one."""
    tqdm = _tqdm(wanted)
    if tqdm is None:
        yield lambda seconds: None
        return
    total = _known_duration(path)
    layout = "{desc}: {n:.1f} s [{elapsed}]"
    if total:
        layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s [{elapsed}]"
    with tqdm(total=total, desc=os.path.basename(path), bar_format=layout) as bar:

        def show(seconds: float) -> None:
            bar.n = min(seconds, total or seconds)  # adding up would go a trifle beyond the end
            bar.update(0)

        yield show


def _tqdm(wanted: bool | None) -> Any:
    """Return the class of progress bars; ``None`` if there is to be no bar."""
    if not (wanted or (wanted is None and sys.stderr is not None and sys.stderr.isatty())):
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError as error:
        if not wanted:
            return None
        text = f'a progress bar needs tqdm: pip install "realtime-sync[audio]" ({error})'
        raise ImportError(text) from error
    # Its monitor is a thread that would outlive the bar, and there is no need for it.
    return type("Bar", (tqdm,), {"monitor_interval": 0})


def _known_duration(path: FilePath) -> float | None:
    """Return the seconds that a file lasts, if that can be known before it is read."""
    try:
        return wav_duration(path) if os.path.isfile(path) else None
    except ValueError:
        return None
