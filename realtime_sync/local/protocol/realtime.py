"""A session of type ``realtime`` or ``transcription``: a conversation, an input buffer, and responses."""

import functools
from collections.abc import Iterator

from msgspec import UNSET, structs

from ... import events as ev
from ...events import ClientEvent, ServerEvent, SessionConfig
from ...sound.vad import Started, Stopped
from ...speech.sentences import ends_sentence
from ...speech.transcribers import Heard
from .answer import Answer
from .checks import check_item
from .history import History, Kept, completed, id_of, part_of, without_audio
from .ids import NEW, Ids
from .input_buffer import InputAudioBuffer
from .jobs import Job, Jobs
from .listing import Listing
from .meter import RateLimits
from .models import Models
from .refusal import Refused
from .setting_checks import check_settings
from .settings import cleared, configured, format_of, input_of, output_of, rate_of
from .transcription import Listening, Transcription, heard
from .writers import AudioWriter

__all__ = ["ConversationSession"]

_MOST_JOBS = 100  # at which no more out-of-band responses begin
_ID_BYTES = 150  # that one id takes in memory


class ConversationSession:
    """Answers each event of the client in such a session.

    Attributes:
        config: The settings.
        due: When `wake` is to be called, because the user has been silent for too long.
    """

    def __init__(self, ids: Ids, fresh: SessionConfig, models: Models, jobs: Jobs) -> None:
        self.config = fresh
        self.due: float | None = None
        self.conversation_id = ids("conv")
        self._made_ids: set[str] = set()
        self._ids = _remembered(ids, self._made_ids)
        self._empty = cleared(fresh)
        self._models = models
        self._jobs = jobs
        self._history = History()
        self._limits = RateLimits()
        self._buffer = InputAudioBuffer(input_of(fresh), models.detector)
        self._early: Listening | None = None  # to speech that seems to be over
        self._transcriptions: dict[str, Transcription] = {}  # by their items, in order; one after another
        self._unanswered: set[Transcription] = set()  # whose words decide whether there is a response
        self._owed = False  # words that are known have no response yet
        self._answer: Answer | None = None  # in flight in the conversation
        self._spoken = False  # the model's voice has been heard
        self._said = 0  # bytes of it, in the running response
        self._silent_from = 0  # position in the input, in ms, at which the last response was over
        self._listed: set[str] = set()  # MCP servers whose tools were listed

    @property
    def held(self) -> int:
        """About how many bytes of memory it holds."""
        asked = sum(job.size for job in self._jobs if isinstance(job, Answer | Listening))
        return self._history.size + len(self._buffer) + asked + len(self._made_ids) * _ID_BYTES

    @property
    def items(self) -> list[ev.Item]:
        """The conversation as it is now, with its audio."""
        return [self._so_far(kept.id, kept.item) for kept in self._history.all()]

    def _so_far(self, item_id: str, item: ev.Item) -> ev.Item:
        """Return an item of the conversation; of one that is being written, what was sent of it."""
        writer = self._answer.writing(item_id) if self._answer else None
        return writer.so_far() if writer else item

    def close(self) -> None:
        """Let go of what is in flight, in the middle of it."""
        for job in (*self._jobs, *self._transcriptions.values()):
            job.close()

    def obey(self, event: ClientEvent, now: float, size: int) -> list[ServerEvent]:
        """Answer an event that came in ``size`` bytes.

        Raises:
            Refused: It is rejected.
        """
        match event:
            case ev.SessionUpdate():
                self.configure(event.session, now)
                return [ev.SessionUpdated(event_id=NEW, session=self.config)]
            case ev.ConversationItemRetrieve():
                item = self._so_far(event.item_id, self._history.item(event.item_id, "retrieve"))
                return [ev.ConversationItemRetrieved(event_id=NEW, item=item)]
            case ev.ConversationItemDelete():
                self._history.delete(event.item_id)
                deleted = ev.ConversationItemDeleted(event_id=NEW, item_id=event.item_id)
                return [deleted, *self._forget(event.item_id, now)]
            case ev.InputAudioBufferAppend():
                return self._append(event.audio, now)
            case ev.InputAudioBufferCommit():
                self._history.check_room()
                item_id = self._buffer.item_id
                audio = self._buffer.commit()
                self._drop_early()
                return self._commit(audio, item_id, now)
            case ev.InputAudioBufferClear():
                self._buffer.clear()
                self._drop_early()
                return [ev.InputAudioBufferCleared(event_id=NEW), *self._respond_if_said(now)]
        if self.config.type == "realtime":
            match event:
                case ev.ConversationItemCreate():
                    return self._create_item(event.item, event.previous_item_id, size)
                case ev.ConversationItemTruncate():
                    return self._truncate(event)
                case ev.ResponseCreate():
                    return self._respond(event.response or ev.ResponseCreateParams(), now, size)
                case ev.ResponseCancel():
                    return self._cancel(event.response_id, now)
        # Playback on the server's side (WebRTC, SIP), translation, Beta
        raise Refused("invalid_value", f"{event.type!r} is not for this kind of session", "type")

    # --- Settings ----------------------------------------------------------------------------------

    def configure(self, new: SessionConfig, now: float) -> None:
        """Apply new settings over the present ones.

        Raises:
            Refused: They are not what the specification allows, or come too late.
        """
        before, self.config = self.config, self._configured(new, self._empty, "session")
        self._buffer.configure(input_of(self.config))
        if input_of(before) != input_of(self.config):
            self._drop_early()  # which may be to another format, or in another language
        if not self._idle_timeout:
            self.due = None
        for tool in self.config.tools or ():
            if isinstance(tool, ev.McpTool) and tool.server_label not in self._listed:
                self._listed.add(tool.server_label)
                self._jobs.add(Listing(self._ids, tool, self._history), now)

    def _configured(
        self, new: SessionConfig | ev.ResponseCreateParams, empty: SessionConfig, at: str
    ) -> SessionConfig:
        """The settings with ``new`` over them, where null stands for the value in ``empty``."""
        check_settings(new, at, self.config.type or "")
        made = configured(self.config, new, empty)
        if self._spoken and output_of(made).voice != output_of(self.config).voice:
            message = "the voice can't be changed after the model has spoken"
            raise Refused("cannot_update_voice", message, f"{at}.audio.output.voice")
        return made

    @property
    def _detection(self) -> ev.ServerVad | ev.SemanticVad | None:
        detection = input_of(self.config).turn_detection
        return detection if isinstance(detection, ev.ServerVad | ev.SemanticVad) else None

    @property
    def _idle_timeout(self) -> int:
        """Milliseconds; 0 without one."""
        detection = self._detection
        return (detection.idle_timeout_ms or 0) if isinstance(detection, ev.ServerVad) else 0

    # --- Conversation ------------------------------------------------------------------------------

    def _create_item(self, item: ev.Item, after: str | None, size: int) -> list[ServerEvent]:
        check_item(item, "item")
        self._history.check_room()
        rate = rate_of(input_of(self.config))
        if isinstance(item, ev.Message) and item.role == "assistant":
            rate = rate_of(output_of(self.config))
        own_id = id_of(item)
        if own_id in self._made_ids:  # it may be deleted and still be written, or not be there yet
            raise Refused(
                "item_create_duplicate_item_id", f"{own_id!r} is an id that the server has made", "item.id"
            )
        item_id = own_id or self._ids("item")
        return self._add(Kept(item_id, completed(item, item_id), rate, size), after)

    def _add(self, kept: Kept, after: str | None = None) -> list[ServerEvent]:
        """Put a finished item into the conversation."""
        previous = self._history.add(kept, after)
        item = without_audio(kept.item)
        return [
            ev.ConversationItemAdded(event_id=NEW, previous_item_id=previous, item=item),
            ev.ConversationItemDone(event_id=NEW, previous_item_id=previous, item=item),
        ]

    def _truncate(self, event: ev.ConversationItemTruncate) -> list[ServerEvent]:
        item = self._history.item(event.item_id, "truncate")
        rate = self._history.known(event.item_id).rate
        writer = self._answer.writing(event.item_id) if self._answer else None
        if isinstance(writer, AudioWriter) and event.content_index == 0:
            writer.truncate(_within(event.audio_end_ms, writer.said, rate))
        else:
            part = part_of(item, event.content_index)
            if not (
                isinstance(item, ev.Message) and item.role == "assistant" and isinstance(part, ev.OutputAudio)
            ):
                message = "only audio of an assistant message can be truncated"
                raise Refused("invalid_value", message, "item_id")
            audio = part.audio or b""
            content = list(item.content)
            size = _within(event.audio_end_ms, len(audio), rate)
            content[event.content_index] = ev.OutputAudio(audio=audio[:size])
            words = self._history.known(event.item_id).heard(size)
            self._history.replace(event.item_id, item=structs.replace(item, content=content), words=words)
        return [
            ev.ConversationItemTruncated(
                event_id=NEW,
                item_id=event.item_id,
                content_index=event.content_index,
                audio_end_ms=event.audio_end_ms,
            )
        ]

    # --- Audio in ----------------------------------------------------------------------------------

    def _append(self, audio: bytes, now: float) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        for found in self._buffer.append(audio):
            match found:
                case Started():
                    events += self._speech_started(found.sample, now)
                case Stopped():
                    events += self._speech_stopped(found.sample, now)
                case _:  # more was said than what has been listened to
                    self._drop_early()
        if self._models.hears and self._early is None and self._buffer.pauses:
            self._early = self._listening(self._buffer.so_far())  # so that the words are known in time
            self._jobs.add(self._early, now)
        return events

    def _drop_early(self) -> None:
        early, self._early = self._early, None
        if early is not None:
            self._jobs.remove(early)
            early.close()
            self._buffer.end_as_set()

    def _listening(self, audio: bytes) -> Listening:
        return Listening(self._models.transcription(self._heard(audio)), len(audio))

    def _heard(self, audio: bytes) -> Heard:
        side = input_of(self.config)
        return heard(audio, format_of(side), rate_of(side), side.transcription or ev.AudioTranscription())

    def _speech_started(self, sample: int, now: float) -> list[ServerEvent]:
        item_id = self._ids("item")
        start_ms = self._buffer.begin_turn(sample, item_id)
        events: list[ServerEvent] = [
            ev.InputAudioBufferSpeechStarted(event_id=NEW, audio_start_ms=start_ms, item_id=item_id)
        ]
        if self._detection and self._detection.interrupt_response and self._answer:
            self._owed = self._models.hears and not self._answer.begun
            events += self._break_off(self._answer, "turn_detected", now)
        self.due = None  # the user is no longer silent
        return events

    def _speech_stopped(self, sample: int, now: float) -> list[ServerEvent]:
        item_id = self._buffer.item_id or self._ids("item")
        stopped = ev.InputAudioBufferSpeechStopped(
            event_id=NEW, audio_end_ms=self._buffer.ms(sample), item_id=item_id
        )
        early, self._early = self._early, None
        events = self._commit(self._buffer.end_turn(sample), item_id, now, early)
        return [stopped, *events, *self._respond_by_itself(now, item_id)]

    def _commit(
        self, audio: bytes, item_id: str | None, now: float, early: Listening | None = None
    ) -> list[ServerEvent]:
        """Make audio a user message, which ``early`` has listened to already."""
        item_id = item_id or self._ids("item")
        side = input_of(self.config)
        if self._history.full:  # a turn by voice can't be rejected; it is kept without its audio
            audio = b""
        item = completed(ev.Message(role="user", content=[ev.InputAudio(audio=audio)]), item_id)
        committed = ev.InputAudioBufferCommitted(
            event_id=NEW, previous_item_id=self._history.last_id, item_id=item_id
        )
        events = self._add(Kept(item_id, item, rate_of(side), len(audio)))
        if early is not None:
            self._jobs.remove(early)
        if side.transcription or self._models.hears:
            job = Transcription(
                self._ids,
                early or self._listening(audio),
                self._heard(audio),
                item_id,
                self._history,
                told=bool(side.transcription),
                hears=self._models.hears,
                with_logprobs="item.input_audio_transcription.logprobs" in (self.config.include or ()),
            )
            self._transcriptions[item_id] = job
            if len(self._transcriptions) == 1:  # else its words come after those of the ones before
                self._jobs.add(job, now)
        return [committed, *events]

    def _respond_by_itself(self, now: float, item_id: str) -> list[ServerEvent]:
        """Answer the turn that is over, if the settings say so."""
        if self.config.type != "realtime" or not (self._detection and self._detection.create_response):
            return []
        if self._models.hears:  # what is no speech is not answered
            self._unanswered.add(self._transcriptions[item_id])
            return []
        return self._respond_to_turn(now)

    def _respond_if_said(self, now: float) -> list[ServerEvent]:
        """Answer the turns that are over, once all their words are known, if there are any.

        Not while the user interrupts: what follows may be a cough, and those words are then still answered.
        """
        interrupted = self._buffer.item_id and self._detection and self._detection.interrupt_response
        if self._unanswered or not self._owed or interrupted:
            return []
        return self._respond_to_turn(now)

    def _respond_to_turn(self, now: float) -> list[ServerEvent]:
        self._owed = False
        try:
            return self._respond(ev.ResponseCreateParams(), now)
        except Refused as refusal:  # an earlier response is in flight, and must not be interrupted
            return [refusal.event(None)]

    def _forget(self, item_id: str, now: float) -> list[ServerEvent]:
        """Let go of what transcribes an item that is deleted; return what follows from that."""
        job = self._transcriptions.get(item_id)
        if job is None:
            return []
        self._end_transcription(job, now)
        self._unanswered.discard(job)
        return self._respond_if_said(now)

    def wake(self, now: float) -> list[ServerEvent]:
        """Continue without the user, who has said nothing for the idle timeout."""
        self.due = None
        if self._answer or self._buffer.item_id:
            return []
        item_id, end_ms = self._ids("item"), self._buffer.end_ms
        silence_ms = min(end_ms - self._silent_from, self._idle_timeout)
        start_ms, audio = self._buffer.since(end_ms - silence_ms)
        triggered = ev.InputAudioBufferTimeoutTriggered(
            event_id=NEW, audio_start_ms=start_ms, audio_end_ms=end_ms, item_id=item_id
        )
        return [triggered, *self._commit(audio, item_id, now), *self._respond(ev.ResponseCreateParams(), now)]

    # --- Responses ---------------------------------------------------------------------------------

    def _respond(self, params: ev.ResponseCreateParams, now: float, size: int = 0) -> list[ServerEvent]:
        out_of_band = params.conversation == "none"
        if not out_of_band and params.conversation not in (UNSET, None, "auto"):
            raise Refused(
                "invalid_value",
                f"expected 'auto' or 'none', got {params.conversation!r:.100}",
                "response.conversation",
            )
        if self._answer and not out_of_band:
            message = f"response {self._answer.id!r} is in flight in the conversation"
            raise Refused("conversation_already_has_active_response", message)
        if out_of_band and len(self._jobs) >= _MOST_JOBS:
            raise Refused(
                "too_many_responses", f"{_MOST_JOBS} responses and transcriptions are in flight already"
            )
        settings = self._configured(params, self.config, "response")
        answer = Answer(
            self._ids,
            self._models,
            settings,
            functools.partial(self._heard_all, self._given(params)),
            self._limits,
            history=None if out_of_band else self._history,
            conversation_id=None if out_of_band else self.conversation_id,
            metadata=params.metadata or None,
            size=size,
        )
        if not out_of_band:
            self._answer, self._said, self.due = answer, 0, None
            self._unanswered.clear()
            self._owed = False
        self._jobs.add(answer, now)
        return [ev.ResponseCreated(event_id=NEW, response=answer.response("in_progress"))]

    def _given(self, params: ev.ResponseCreateParams) -> list[Kept]:
        """Return what is to be answered: the conversation, or what the client gives in its place."""
        if params.input is UNSET or params.input is None:
            return self._history.all()
        return list(self._referred(params.input))

    def _heard_all(self, given: list[Kept]) -> list[Kept] | None:
        """Return what is given, with the words of what the user said; ``None``: not all is known yet."""
        if not self._models.hears:
            return given
        if any(kept.id in self._transcriptions for kept in given):
            return None
        return [self._history.find(kept.id) or kept for kept in given]

    def _referred(self, items: list[ev.Item]) -> Iterator[Kept]:
        rate = rate_of(input_of(self.config))
        for index, item in enumerate(items):
            at = f"response.input[{index}]"
            if isinstance(item, ev.ItemReference):
                found = self._history.find(item.id)
                if found is None:
                    raise Refused("invalid_value", f"unknown item {item.id!r}", f"{at}.id")
                yield found
            else:
                check_item(item, at)
                yield Kept("", item, rate)  # whose id, if it has one, says nothing here

    def _cancel(self, response_id: str | None, now: float) -> list[ServerEvent]:
        for answer in self._jobs:
            if isinstance(answer, Answer) and (
                answer.id == response_id or (response_id is None and answer is self._answer)
            ):
                return self._break_off(answer, "client_cancelled", now)
        raise Refused("response_cancel_not_active", "no such response is in flight", "response_id")

    def _break_off(self, answer: Answer, reason: str, now: float) -> list[ServerEvent]:
        self._jobs.remove(answer)
        events = answer.cancel(reason)
        self._over(answer, now)
        return events

    def stepped(self, job: Job, events: list[ServerEvent], now: float) -> list[ServerEvent]:
        """Note the events of a job; return what follows from them."""
        if isinstance(job, Answer):
            self._answered(job, events, now)
        elif isinstance(job, Transcription) and job.over:
            return self._transcribed(job, now)
        elif isinstance(job, Listening) and job is self._early and self._is_whole(job):
            self._buffer.end_soon()
        return []

    def _is_whole(self, listening: Listening) -> bool:
        """Return whether the words say that the turn is over, and count for that."""
        is_semantic = isinstance(self._detection, ev.SemanticVad)
        return is_semantic and listening.over and ends_sentence(listening.text)

    def _end_transcription(self, job: Transcription, now: float) -> None:
        """Let go of one that is over, or whose item is gone, and let the next one begin."""
        del self._transcriptions[job.item_id]
        job.close()  # now: it holds the audio
        self._jobs.remove(job)
        following = next(iter(self._transcriptions.values()), None)
        if following is not None and following not in self._jobs:
            self._jobs.add(following, now)

    def _transcribed(self, job: Transcription, now: float) -> list[ServerEvent]:
        """Answer the turn whose words are known now, if it is to be answered and has any."""
        self._end_transcription(job, now)
        if job not in self._unanswered:
            return []
        self._unanswered.remove(job)
        self._owed = self._owed or bool(job.text.strip())
        return self._respond_if_said(now)

    def _answered(self, job: Answer, events: list[ServerEvent], now: float) -> None:
        said = sum(len(event.delta) for event in events if isinstance(event, ev.ResponseOutputAudioDelta))
        self._spoken = self._spoken or said > 0
        if job is self._answer:
            self._said += said
        if job.over:
            self._over(job, now)

    def _over(self, answer: Answer, now: float) -> None:
        """Note the end of a response.  Once it has been played, the user has the idle timeout to speak."""
        if answer is not self._answer:
            return
        self._answer = None
        if self._idle_timeout:
            playing = self._said / answer.rate
            self._silent_from = self._buffer.end_ms + int(playing * 1000)
            self.due = now + playing + self._idle_timeout / 1000


def _remembered(ids: Ids, made: set[str]) -> Ids:
    """Return a maker of the same ids that puts them into ``made``, so that no client may use them."""

    def make(prefix: str) -> str:
        new = ids(prefix)
        made.add(new)
        return new

    return make


def _within(end_ms: int, size: int, rate: int) -> int:
    """Return the number of bytes of ``end_ms``.

    Raises:
        Refused: It is not within the audio.
    """
    length = size * 1000 // rate
    if not 0 < end_ms <= length:
        message = f"expected 1 to {length} ms, the length of the audio; got {end_ms}"
        raise Refused("invalid_value", message, "audio_end_ms")
    return end_ms * rate // 1000
