"""A session of type ``translation``: audio in, and its translation out, as text and as audio."""

from collections.abc import Generator, Iterator
from itertools import chain, zip_longest

from ... import events as ev
from ...events import ClientEvent, ServerEvent, SessionConfig
from ...events.client import MOST_AUDIO
from ...sound.formats import PCM_RATE, bytes_per_second
from ...sound.vad import Detector, Stopped
from ...speech.transcribers import Transcriber
from .ids import NEW
from .jobs import Job, Jobs
from .refusal import Refused, described
from .responders import Request, Responder, Say
from .setting_checks import check_settings
from .settings import configured
from .speech import speech
from .steps import no_steps
from .transcription import heard, text_of
from .writers import slices, words

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

    def __init__(
        self, fresh: SessionConfig, responder: Responder, transcriber: Transcriber, jobs: Jobs
    ) -> None:
        self.config = fresh
        self._fresh = fresh
        self._responder = responder
        self._transcriber = transcriber
        self._jobs = jobs
        self._detector = Detector(_FORMAT, 0.5, _SILENCE_MS)
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
        utterance = _Utterance(self, audio, frames * _FRAME_MS)
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
    def _transcription(self) -> ev.AudioTranscription | None:
        """How what was said is to be transcribed, if the client wants that."""
        assert self.config.audio
        assert self.config.audio.input
        return self.config.audio.input.transcription or None

    def close(self) -> None:
        """Let go of what is in flight, in the middle of it."""
        for utterance in self._utterances:
            utterance.close()

    # --- Translation out ---------------------------------------------------------------------------

    def stepped(self, job: Job, events: list[ServerEvent], now: float) -> None:
        """Note the events of a job: the next may begin when it is over."""
        if job.over:
            self._utterances.pop(0)
            if self._utterances:
                self._jobs.add(self._utterances[0], now)

    def translated(self, audio: bytes, elapsed_ms: int) -> Generator[ServerEvent, None, None]:
        """Yield the translation of an utterance, ``elapsed_ms`` into the session."""
        what = heard(
            audio, _FORMAT, bytes_per_second(_FORMAT), self._transcription or ev.AudioTranscription()
        )
        source = []
        for part in self._transcriber.transcribe(what):
            source.append(text_of(part))
            if self._transcription:  # which the client may change in the middle
                yield ev.SessionInputTranscriptDelta(event_id=NEW, delta=source[-1], elapsed_ms=elapsed_ms)
        assert self.config.audio
        assert self.config.audio.output
        message = ev.Message(role="user", content=[ev.InputText(text="".join(source))])
        request = Request(
            items=[message], language=self.config.audio.output.language or "", heard_seconds=what.seconds
        )
        for output in self._responder.respond(request):
            if isinstance(output, Say):
                yield from _spoken(output, elapsed_ms)


class _Utterance:
    """One translation in flight.  A failure is an error event, and the session goes on."""

    def __init__(self, session: TranslationSession, audio: bytes, elapsed_ms: int) -> None:
        self.over = False
        self.size = len(audio)
        self._steps = session.translated(audio, elapsed_ms)

    def close(self) -> None:
        """Let go of the steps, which hold the audio, and the session."""
        self._steps.close()
        self._steps = no_steps()

    def step(self) -> list[ServerEvent]:
        try:
            return [next(self._steps)]
        except StopIteration:
            self.over = True
            return []
        except Exception as error:  # of the transcriber or the responder, any
            self.over = True
            message = described(error)
            failure = ev.ErrorDetails(type="server_error", code="translation_failed", message=message)
            return [ev.ErrorEvent(event_id=NEW, error=failure)]


def _spoken(say: Say, elapsed_ms: int) -> Iterator[ServerEvent]:
    """Return the words and the audio of an answer, side by side."""
    say.text.encode()  # half a surrogate pair can't be sent
    audio = speech(say.text, _FORMAT) if say.audio is None else say.audio
    chunks = slices(audio, bytes_per_second(_FORMAT) * _FRAME_MS // 1000)
    written = (
        ev.SessionOutputTranscriptDelta(event_id=NEW, delta=word, elapsed_ms=elapsed_ms)
        for word in words(say.text)
    )
    spoken = (
        ev.SessionOutputAudioDelta(
            event_id=NEW, delta=chunk, sample_rate=PCM_RATE, channels=1, format="pcm16", elapsed_ms=elapsed_ms
        )
        for chunk in chunks
    )
    pairs: Iterator[tuple[ServerEvent | None, ServerEvent | None]] = zip_longest(written, spoken)
    return (event for event in chain.from_iterable(pairs) if event is not None)
