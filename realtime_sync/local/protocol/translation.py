"""A session of type ``translation``: audio in, and its translation out, as text and as audio."""

from collections.abc import Generator

from ... import events as ev
from ...events import ClientEvent, ServerEvent, SessionConfig
from ...events.client import MOST_AUDIO
from ...sound.formats import PCM_RATE, bytes_per_second
from ...sound.vad import Stopped
from ...speech.transcribers import Heard, Segment
from .ids import NEW
from .jobs import Job, Jobs
from .models import Models
from .pieces import Piece, Sound, Speaking, Words
from .refusal import Refused, described
from .responders import Request
from .setting_checks import check_settings
from .settings import configured
from .source import Source
from .steps import no_steps
from .transcription import heard, text_of

__all__ = ["TranslationSession"]

_FORMAT = "audio/pcm"
_FRAME_MS = 200  # what positions are counted in
_MOST_BYTES = 64 * 1024 * 1024  # of what is not translated yet
_SILENCE_MS = 500  # that ends an utterance


class TranslationSession:
    """Answers each event of the client in such a session.

    It translates an utterance when it is over.  The transcriber turns it into text, and the responder is
    asked for the translation, with `Request.language` set.

    Attributes:
        config: The settings.
        due: ``None``: it has no timeout.
        finished: The client has closed the session, and nothing is left to be sent.
    """

    due: float | None = None

    def __init__(self, fresh: SessionConfig, models: Models, jobs: Jobs) -> None:
        self.config = fresh
        self._fresh = fresh
        self._models = models
        self._jobs = jobs
        self._detector = models.detector(_FORMAT, 0.5, _SILENCE_MS)
        self._speech = bytearray()  # the utterance so far, with some of the silence before it
        self._taken = 0  # bytes of audio in all
        self._utterances: list[_Utterance] = []  # in order: one is translated after the other
        self._closing = False

    def obey(self, event: ClientEvent, now: float, size: int) -> list[ServerEvent]:
        """Answer an event.

        Raises:
            Refused: It is rejected.
        """
        if self._closing:
            raise Refused("invalid_value", "the session is closing", "type")
        match event:
            case ev.SessionUpdate():
                self.configure(event.session, now)
                return [ev.SessionUpdated(event_id=NEW, session=self.config)]
            case ev.SessionInputAudioBufferAppend():
                self._append(event.audio, now)
                return []
            case ev.SessionClose():
                self._close(now)
                return []
        raise Refused("invalid_value", f"{event.type!r} is not for a translation session", "type")

    def configure(self, new: SessionConfig, now: float) -> None:
        """Take new settings over the present ones.

        Raises:
            Refused: They are not what the specification allows.
        """
        check_settings(new, "session", "translation")
        self.config = configured(self.config, new, self._fresh)

    def wake(self, now: float) -> list[ServerEvent]:
        return []

    @property
    def held(self) -> int:
        """Bytes of audio that are not translated yet."""
        return sum(utterance.size for utterance in self._utterances) + len(self._speech)

    # --- Audio in ----------------------------------------------------------------------------------

    def _append(self, audio: bytes, now: float) -> None:
        if len(audio) > MOST_AUDIO:
            raise Refused(
                "invalid_value", f"expected at most {MOST_AUDIO} bytes of audio, got {len(audio)}", "audio"
            )
        if self.held + len(audio) > _MOST_BYTES:
            raise Refused(
                "input_audio_buffer_full", f"more than {_MOST_BYTES} bytes of audio wait to be translated"
            )
        self._speech += audio
        base = self._taken + len(audio) - len(self._speech)  # position of the first byte held
        self._taken += len(audio)
        for found in self._detector.feed(audio):
            if isinstance(found, Stopped):
                end = min(found.sample * 2 - base, len(self._speech))
                self._translate(bytes(self._speech[:end]), now)
                del self._speech[:end]
                base += end
        if not self._detector.speaking:
            spare = len(self._speech) - bytes_per_second(_FORMAT) // 2
            del self._speech[: max(spare, 0) // 2 * 2]  # whole samples

    def _translate(self, audio: bytes, now: float) -> None:
        frames = -(-self._taken * 1000 // bytes_per_second(_FORMAT) // _FRAME_MS)
        utterance = _Utterance(self, self._models, audio, frames * _FRAME_MS)
        self._utterances.append(utterance)
        if len(self._utterances) == 1:
            self._jobs.add(utterance, now)

    def _close(self, now: float) -> None:
        self._closing = True
        if self._detector.speaking:
            self._translate(bytes(self._speech), now)
            self._speech.clear()

    @property
    def finished(self) -> bool:
        return self._closing and not self._utterances

    @property
    def transcription(self) -> ev.AudioTranscription | None:
        """How what was said is to be transcribed, if the client wants that."""
        assert self.config.audio
        assert self.config.audio.input
        return self.config.audio.input.transcription or None

    def close(self) -> None:
        """Let go of what is in flight, in the middle of it."""
        for utterance in self._utterances:
            utterance.close()

    # --- Translation out ---------------------------------------------------------------------------

    def stepped(self, job: Job, events: list[ServerEvent], now: float) -> list[ServerEvent]:
        """Note the events of a job: the next may begin when it is over."""
        if job.over:
            self._utterances.pop(0)
            if self._utterances:
                self._jobs.add(self._utterances[0], now)
        return []

    @property
    def language(self) -> str:
        """The language to translate into."""
        assert self.config.audio
        assert self.config.audio.output
        return self.config.audio.output.language or ""


class _Utterance:
    """One translation in flight.  A failure is an error event, and the session goes on."""

    def __init__(self, session: TranslationSession, models: Models, audio: bytes, elapsed_ms: int) -> None:
        self.over = False
        self.size = len(audio)
        self._models = models
        self._elapsed_ms = elapsed_ms
        self._source: Source[str | Segment | Piece] | None = None  # of what comes next
        self._steps = self._run(session, audio)

    @property
    def ready(self) -> bool:
        return self._source is None or self._source.ready

    def close(self) -> None:
        """Let go of the steps, which hold the audio, and the session; end what is made for it."""
        if self._source is not None:
            self._source.close()
        self._steps.close()
        self._steps = no_steps()

    def step(self) -> list[ServerEvent]:
        try:
            return next(self._steps)
        except StopIteration:
            self.over = True
            return []
        except Exception as error:  # of the transcriber, the responder or the voice, any
            self.over = True
            message = described(error)
            failure = ev.ErrorDetails(type="server_error", code="translation_failed", message=message)
            return [ev.ErrorEvent(event_id=NEW, error=failure)]

    def _run(self, session: TranslationSession, audio: bytes) -> Generator[list[ServerEvent], None, None]:
        """Yield the events; before each time that something is taken, so that it can be waited for."""
        what = heard(
            audio, _FORMAT, bytes_per_second(_FORMAT), session.transcription or ev.AudioTranscription()
        )
        listening = self._source = self._models.transcription(what)
        yield []
        source = []
        while (part := listening.take()) is not None:
            source.append(text_of(part))
            # The client may change its mind in the middle.
            yield self._transcribed(source[-1]) if session.transcription else []
        speaking = Speaking(self._models.voice, _FORMAT)
        pieces = self._source = self._models.answer(
            _request("".join(source), what, session.language), speaking
        )
        yield []
        while (piece := pieces.take()) is not None:
            yield self._translated(piece)

    def _transcribed(self, text: str) -> list[ServerEvent]:
        return [ev.SessionInputTranscriptDelta(event_id=NEW, delta=text, elapsed_ms=self._elapsed_ms)]

    def _translated(self, piece: Piece) -> list[ServerEvent]:
        if isinstance(piece, Words):
            piece.text.encode()  # half a surrogate pair can't be sent
            return [
                ev.SessionOutputTranscriptDelta(event_id=NEW, delta=piece.text, elapsed_ms=self._elapsed_ms)
            ]
        if not isinstance(piece, Sound):
            return []
        return [
            ev.SessionOutputAudioDelta(
                event_id=NEW,
                delta=piece.audio,
                sample_rate=PCM_RATE,
                channels=1,
                format="pcm16",
                elapsed_ms=self._elapsed_ms,
            )
        ]


def _request(text: str, what: Heard, language: str) -> Request:
    message = ev.Message(role="user", content=[ev.InputText(text=text)])
    return Request(items=[message], language=language, heard_seconds=what.seconds)
