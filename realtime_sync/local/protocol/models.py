"""What hears, thinks and speaks in a server's sessions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...sound.vad import DetectorFactory, EnergyDetector
from ...speech.transcribers import DefaultTranscriber, Heard, Segment, Transcriber
from ...speech.voices import Voice
from .pieces import Piece, Pieces, Speaking
from .responders import DefaultResponder, Request, Responder
from .source import Inline, Runner, Source, is_instant, let_go
from .speech import ToneVoice

__all__ = ["Models"]


@dataclass(frozen=True)
class Models:
    """What takes the place of a model.

    Attributes:
        responder: Thinks.
        transcriber: Hears.
        voice: Speaks.
        detector: Makes what finds the turns in audio, of its format, a threshold and the silence in ms that
            ends a turn.
        background: Runs what may wait.
    """

    responder: Responder = field(default_factory=DefaultResponder)
    transcriber: Transcriber = field(default_factory=DefaultTranscriber)
    voice: Voice = field(default_factory=ToneVoice)
    detector: DetectorFactory = EnergyDetector
    background: Runner = Inline

    @property
    def hears(self) -> bool:
        """Whether the transcriber knows what was said, so that responses wait for it."""
        return bool(getattr(self.transcriber, "hears", False))

    def answer(self, request: Request, speaking: Speaking | None) -> Source[Piece]:
        """Let the responder answer."""
        pieces = Pieces(self.responder, request, speaking)
        run: Runner = Inline if pieces.instant else self.background
        return run(lambda: pieces, pieces.close)

    def transcription(self, heard: Heard) -> Source[str | Segment]:
        """Let the transcriber listen."""
        run: Runner = Inline if is_instant(self.transcriber) else self.background
        work = _Listening(self.transcriber, heard)
        return run(work.begin, work.close)


class _Listening:
    """A transcriber at work, which may be told to end early."""

    def __init__(self, transcriber: Transcriber, heard: Heard) -> None:
        self._transcriber = transcriber
        self._heard = heard
        self._items: Any = None

    def begin(self) -> Iterable[str | Segment]:
        self._items = self._transcriber.transcribe(self._heard)
        return self._items  # type: ignore[no-any-return]

    def close(self) -> None:
        let_go(self._items)
