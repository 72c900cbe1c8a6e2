"""Transcripts on stdout: text, SRT, WebVTT or JSON."""

import json
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..redaction import printable
from .screen import sentence
from .streams import is_terminal

__all__ = ["FORMATS", "Cue", "Writer", "clock"]

_SHORTEST = 0.001  # seconds; a cue must end after its start


class Cue(Struct, frozen=True):
    """What was said from ``start`` to ``end``, in seconds of the file.

    ``complete`` is false if more was said, whose transcript is missing.
    """

    start: float
    end: float
    text: str
    speaker: str = ""
    complete: bool = True

    @property
    def words(self) -> str:
        """The text, with a mark where the rest is missing."""
        return self.text if self.complete else f"{self.text} […]"


def clock(seconds: float, point: str = ".") -> str:
    """Return a time as hours, minutes, seconds and milliseconds: ``01:02:03.004``."""
    whole, ms = divmod(round(max(seconds, 0) * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{ms:03}"


class Writer:
    """Writes the transcripts of files, one after another, as text: a line a turn.

    Args:
        several: Whether there is more than one file.
    """

    def __init__(self, several: bool) -> None:
        self._several = several
        self._count = 0

    def add(self, path: str, cues: Sequence[Cue], seconds: float) -> None:
        """Write what was said in a file.

        Args:
            path: The file.
            cues: What was said in it.
            seconds: Length of its audio.
        """
        clean = sentence if is_terminal(sys.stdout) else _for_a_file
        cues = [replace(cue, text=clean(cue.text), speaker=clean(cue.speaker)) for cue in cues]
        self.write(path, [cue for cue in cues if cue.text], seconds)
        self._count += 1

    def write(self, path: str, cues: Sequence[Cue], seconds: float) -> None:
        """Write cues that say something, in one line each."""
        if self._several:
            print(f"\n==> {path} <==" if self._count else f"==> {path} <==")
        for cue in cues:
            print(_spoken(cue), flush=True)

    def end(self) -> None:
        """Write what comes after the last file."""


class _Subtitles(Writer):
    """What both kinds have in common.  Several files are one film: each begins where the last one ended.

    A cue ends by the end of its file, so that it doesn't overlap those of the next one.
    """

    _shown = 0
    _start = 0.0

    def write(self, path: str, cues: Sequence[Cue], seconds: float) -> None:
        for cue in cues:
            self._shown += 1
            start = max(min(cue.start, seconds - _SHORTEST), 0.0)
            end = max(min(cue.end, seconds), start + _SHORTEST)
            self.show(self._start + start, self._start + end, cue)
        self._start += seconds

    def show(self, start: float, end: float, cue: Cue) -> None:
        raise NotImplementedError


class _Srt(_Subtitles):
    def show(self, start: float, end: float, cue: Cue) -> None:
        text = _spoken(cue).replace("-->", "->")  # for which SRT has no escape
        print(f"{self._shown}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n", flush=True)


class _Vtt(_Subtitles):
    def write(self, path: str, cues: Sequence[Cue], seconds: float) -> None:
        if not self._count:
            print("WEBVTT\n")
        super().write(path, cues, seconds)

    def show(self, start: float, end: float, cue: Cue) -> None:
        voice = f"<v {_escaped(cue.speaker)}>" if cue.speaker else ""
        print(f"{clock(start)} --> {clock(end)}\n{voice}{_escaped(cue.words)}\n", flush=True)


class _Json(Writer):
    """One list for all files.  The times are those in each file."""

    def __init__(self, several: bool) -> None:
        super().__init__(several)
        self._said: list[dict[str, Any]] = []

    def write(self, path: str, cues: Sequence[Cue], seconds: float) -> None:
        for cue in cues:
            said = {
                "file": path,
                "start": round(cue.start, 3),
                "end": round(cue.end, 3),
                "text": cue.text,
            }
            by = {"speaker": cue.speaker} if cue.speaker else {}
            part = {} if cue.complete else {"complete": False}
            self._said.append({**said, **by, **part})

    def end(self) -> None:
        if self._count:
            whole = json.dumps(self._said, ensure_ascii=False, indent=2)
            # No terminal is moved by the escapes of JSON, and nothing is lost.
            print(printable(whole, lambda character: json.dumps(character)[1:-1]))


def _for_a_file(text: str) -> str:
    """Return what is said in one line.  What only orders letters stays: it is part of how some languages are
    written, and a player of subtitles knows it.
    """
    return " ".join("".join(" " if unicodedata.category(char) == "Cc" else char for char in text).split())


def _spoken(cue: Cue) -> str:
    return f"{cue.speaker}: {cue.words}" if cue.speaker else cue.words


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMATS = {"text": Writer, "srt": _Srt, "vtt": _Vtt, "json": _Json}
"""What writes each format."""
