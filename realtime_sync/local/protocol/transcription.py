"""The transcription of one user message, from its first delta to ``completed`` or ``failed``."""

import logging
import math

from msgspec import structs

from ... import events as ev
from ...events import ServerEvent
from ...speech.transcribers import Heard, Segment
from .history import History
from .ids import NEW, Ids
from .refusal import described
from .source import Source

__all__ = ["Listening", "Transcription", "heard", "text_of"]

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


class Listening:
    """Listens to a turn that seems to be over, before that is known.

    Attributes:
        over: It has heard all of it.
        parts: What it has heard so far.
        error: Why it has failed, if it has.
        size: Bytes of audio that it listens to.
    """

    def __init__(self, source: Source[str | Segment], size: int) -> None:
        self.over = False
        self.parts: list[str | Segment] = []
        self.error: BaseException | None = None
        self.size = size
        self._source = source

    @property
    def ready(self) -> bool:
        return self._source.ready

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(map(text_of, self.parts))

    def step(self) -> list[ServerEvent]:
        """Hear some more; nothing of it is sent."""
        try:
            part = self._source.take()
            if part is not None:
                text_of(part)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of the transcriber, any: pytest.fail's is no Exception
            self.error, part = error, None
        if part is None:
            self.over = True
        else:
            self.parts.append(part)
        return []

    def close(self) -> None:
        self.error = None  # whose traceback holds this object
        self._source.close()


class Transcription:
    """One that is under way.  Its owner drops it if its item is deleted.

    Args:
        listening: What hears.
        told: Whether the client is told of it.
        hears: Whether what it tells are the words that were said.

    Attributes:
        item_id: The message's.
        over: It has given all it had.
    """

    def __init__(
        self,
        ids: Ids,
        listening: Listening,
        what: Heard,
        item_id: str,
        history: History,
        *,
        told: bool = True,
        hears: bool = False,
        with_logprobs: bool,
    ) -> None:
        self.over = False
        self._ids = ids
        self._listening = listening
        self._heard = what
        self.item_id = item_id
        self._history = history
        self._told = told
        self._hears = hears
        self._with_logprobs = with_logprobs
        self._sent = 0  # of the parts

    @property
    def ready(self) -> bool:
        """Whether there is something to send, or to hear."""
        return self._has_more() or self._listening.ready

    @property
    def text(self) -> str:
        """What was heard so far."""
        return self._listening.text

    def step(self) -> list[ServerEvent]:
        if not self._has_more():
            self._listening.step()
        events = self._next()
        return events if self._told else []

    def _has_more(self) -> bool:
        return self._listening.over or self._sent < len(self._listening.parts)

    def _next(self) -> list[ServerEvent]:
        listening = self._listening
        if self._sent < len(listening.parts):
            part = listening.parts[self._sent]
            self._sent += 1
            return [self._segment(part) if isinstance(part, Segment) else self._delta(text_of(part))]
        if not listening.over:
            return []
        self.over = True
        error, listening.error = listening.error, None
        if error is None:
            return [self._completed()]
        _log.error("the transcriber failed", exc_info=error)
        return [self._failed(error)]

    def close(self) -> None:
        """End the work, and let go of the audio."""
        self._listening.close()

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
        transcript = self.text
        self._keep(transcript)
        return ev.ConversationItemInputAudioTranscriptionCompleted(
            event_id=NEW,
            item_id=self.item_id,
            content_index=0,
            transcript=transcript,
            logprobs=[_certain(text_of(part)) for part in self._listening.parts]
            if self._with_logprobs
            else None,
            usage=self._usage(transcript),
        )

    def _keep(self, transcript: str) -> None:
        """Put the transcript into the conversation; into the item only if the client wants it."""
        if self._hears:
            self._history.replace(self.item_id, words=transcript)
        item = self._history.item(self.item_id, "retrieve")
        if self._told and isinstance(item, ev.Message) and isinstance(item.content[0], ev.InputAudio):
            part = structs.replace(item.content[0], transcript=transcript)
            self._history.replace(self.item_id, item=structs.replace(item, content=[part]))

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

    def _failed(self, error: BaseException) -> ServerEvent:
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
