"""The transcription of one user message, from its first delta to ``completed`` or ``failed``."""

import logging
import math
from collections.abc import Generator

from msgspec import structs

from ... import events as ev
from ...events import ServerEvent
from ...speech.transcribers import Heard, Segment, Transcriber
from .history import History
from .ids import NEW, Ids
from .refusal import described
from .steps import no_steps

__all__ = ["Transcription", "heard", "text_of"]

_log = logging.getLogger("realtime_sync.local")

_TOKENS_PER_SECOND = 10
_BILLED_BY_TIME = "whisper"  # models with this in their name


def heard(audio: bytes, audio_format: str, rate: int, config: ev.AudioTranscription) -> Heard:
    """Return what a transcriber is given."""
    return Heard(
        audio=audio,
        audio_format=audio_format,
        seconds=len(audio) / rate,
        model=config.model or None,
        language=config.language or None,
        prompt=config.prompt or None,
    )


def text_of(part: str | Segment) -> str:
    """Return the text of what a transcriber returned.

    Raises:
        TypeError: It is not text.
        UnicodeEncodeError: It holds half a surrogate pair, which can't be sent.
    """
    text = part.text if isinstance(part, Segment) else part
    if not isinstance(text, str):
        raise TypeError(f"expected str or Segment of a transcriber, got {type(part).__name__}")
    text.encode()
    return text


class Transcription:
    """One that is under way.  Its owner drops it if its item is deleted.

    Attributes:
        item_id: The message's.
        over: It has given all it had.
    """

    def __init__(
        self,
        ids: Ids,
        transcriber: Transcriber,
        what: Heard,
        item_id: str,
        history: History,
        *,
        with_logprobs: bool,
    ) -> None:
        self.over = False
        self._ids = ids
        self._heard = what
        self.item_id = item_id
        self._history = history
        self._with_logprobs = with_logprobs
        self._text: list[str] = []
        self._steps = self._run(transcriber)

    def step(self) -> list[ServerEvent]:
        try:
            return [next(self._steps)]
        except StopIteration:
            self.over = True
            return [self._completed()]
        except Exception as error:  # of the transcriber, any
            _log.exception("the transcriber failed")
            self.over = True
            return [self._failed(error)]

    def close(self) -> None:
        """Let go of the steps, which hold the audio, and this object."""
        self._steps.close()
        self._steps = no_steps()

    def _run(self, transcriber: Transcriber) -> Generator[ServerEvent, None, None]:
        for part in transcriber.transcribe(self._heard):
            text = text_of(part)
            self._text.append(text)
            yield self._segment(part) if isinstance(part, Segment) else self._delta(text)

    def _delta(self, text: str) -> ServerEvent:
        return ev.ConversationItemInputAudioTranscriptionDelta(
            event_id=NEW,
            item_id=self.item_id,
            content_index=0,
            delta=text,
            logprobs=[_certain(text)] if self._with_logprobs else None,
        )

    def _segment(self, segment: Segment) -> ServerEvent:
        return ev.ConversationItemInputAudioTranscriptionSegment(
            event_id=NEW,
            item_id=self.item_id,
            content_index=0,
            text=segment.text,
            id=self._ids("seg"),
            speaker=segment.speaker,
            start=segment.start,
            end=segment.end,
        )

    def _completed(self) -> ServerEvent:
        transcript = "".join(self._text)
        self._keep(transcript)
        return ev.ConversationItemInputAudioTranscriptionCompleted(
            event_id=NEW,
            item_id=self.item_id,
            content_index=0,
            transcript=transcript,
            logprobs=[_certain(text) for text in self._text] if self._with_logprobs else None,
            usage=self._usage(transcript),
        )

    def _keep(self, transcript: str) -> None:
        """Put the transcript into the conversation."""
        item = self._history.item(self.item_id, "retrieve")
        if isinstance(item, ev.Message) and isinstance(item.content[0], ev.InputAudio):
            part = structs.replace(item.content[0], transcript=transcript)
            self._history.replace(self.item_id, structs.replace(item, content=[part]))

    def _usage(self, transcript: str) -> ev.TranscriptionUsage:
        if _BILLED_BY_TIME in (self._heard.model or ""):
            return ev.TranscriptionUsageDuration(seconds=round(self._heard.seconds, 1))
        given = math.ceil(self._heard.seconds * _TOKENS_PER_SECOND)
        made = math.ceil(len(transcript) / 4)
        return ev.TranscriptionUsageTokens(
            input_tokens=given,
            input_token_details=ev.TranscriptionTokenDetails(text_tokens=0, audio_tokens=given),
            output_tokens=made,
            total_tokens=given + made,
        )

    def _failed(self, error: Exception) -> ServerEvent:
        message = described(error)
        return ev.ConversationItemInputAudioTranscriptionFailed(
            event_id=NEW,
            item_id=self.item_id,
            content_index=0,
            error=ev.TranscriptionError(
                type="transcription_error", code="transcriber_failed", message=message
            ),
        )


def _certain(text: str) -> ev.LogProb:
    return ev.LogProb(token=text, logprob=0.0, bytes=list(text.encode()))
