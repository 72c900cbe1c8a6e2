"""What hears, thinks and speaks in a server's sessions."""

from dataclasses import dataclass, field

from ...sound.vad import DetectorFactory, EnergyDetector
from ...speech.transcribers import DefaultTranscriber, Heard, Segment, Transcriber
from ...speech.voices import Voice
from .pieces import Piece, Pieces, Speaking
from .responders import DefaultResponder, Request, Responder
from .source import Inline, Opened, Runner, Source, is_instant
from .tones import ToneVoice

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
        opened = Opened()
        return run(lambda: opened.add(self.transcriber.transcribe(heard)), opened.close)
