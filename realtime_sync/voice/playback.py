"""`Playback`: plays a session's answers, and cuts them off correctly when the user speaks."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from ..events import (
    ConversationItemDeleted,
    InputAudioBufferSpeechStarted,
    OutputAudio,
    ResponseCancelled,
    ResponseContentPartAdded,
    ResponseCreated,
    ResponseDone,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    SemanticVad,
    ServerVad,
    SessionConfig,
    SessionOutputAudioDelta,
    UnknownObject,
)
from ..exceptions import ConnectionClosed
from ..session import Session
from ..session.latest import Latest
from ..sound.formats import bytes_per_second, input_settings, known_format, output_format
from ..visitor import Visitor
from .speakers import AudioOutput, format_of

__all__ = ["Interruption", "Playback"]

_log = logging.getLogger("realtime_sync")

_TICKS = 48  # in a millisecond: a byte of every format is a whole number of them, so that sums are exact
_REMEMBERED = 256  # of responses cut off, and of items that are gone
_SHORTEST_WAIT = 0.005  # seconds; what is left to play may be less
_STALLED = 5.0  # seconds in which a speaker that has something to play plays nothing of it


class Interruption(Struct, frozen=True):
    """What was cut off, and what the server was told.

    Attributes:
        response_id: The response that was playing; if none was, the one that was only on its way.
        item_id: The item whose audio was playing; ``None`` if none was, or it is none of an item
            (translations).
        content_index: The place of that audio in the item's content.
        audio_end_ms: How much of it was heard, in whole milliseconds; 0 if it had not begun.
        played_ms: The same, exactly.
        received_ms: How much of it had come.
        truncated: Whether the server was told where it ended.
        deleted: The items that were not heard at all, and the server was asked to delete.
        cancelled: The response that the server was asked to stop; ``None`` if none ran, or if the server
            stops it by itself.
        event_ids: Of the events sent, in order; an error that answers one has it in ``error.event_id``.
    """

    response_id: str | None = None
    item_id: str | None = None
    content_index: int = 0
    audio_end_ms: int = 0
    played_ms: float = 0.0
    received_ms: float = 0.0
    truncated: bool = False
    deleted: tuple[str, ...] = ()
    cancelled: str | None = None
    event_ids: tuple[str, ...] = ()


class _Part(Struct, eq=False):
    """The audio of one content part.  Lengths are in ticks."""

    response_id: str
    item_id: str | None
    content_index: int
    ticks_per_byte: int
    received: int = 0
    heard: int = 0  # of the segments that are over
    complete: bool = False
    held: bytearray = field(default_factory=bytearray)  # what is not to be written to the speaker yet


class _Segment(Struct):
    """A stretch of what was written to the speaker.  Positions are what it will have played by then."""

    part: _Part
    start: int
    end: int


class _Cut(Struct):
    """What was cut off, and is to be told to the server."""

    part: _Part  # that was playing; if none was, one in place of what was on its way
    cancel: str | None
    unheard: list[str]  # items of the conversation


class Playback(Visitor[None]):
    """Plays the audio of responses, and knows which of it was really heard.

    ::

        session.run(rt.Visitors(Playback(session, Speaker()), MyVisitor()))

    When the user begins to speak (``input_audio_buffer.speech_started``), and by `interrupt`, the speaker
    falls silent at once, the response is cancelled unless the server does that by itself, and the server
    is told how much of which item was heard (``conversation.item.truncate``), so that the model knows
    where it was cut off.  What is still on its way of a response that was cut off is not played.

    Responses are played one after another, also if two come at the same time.  What is said beside the
    conversation (``conversation="none"``) and translations are played as well, and fall silent as well;
    there is nothing to truncate then, and the response beside the conversation is not cancelled.

    Args:
        session: What is cancelled and truncated in.
        speaker: Any `AudioOutput`.  Nobody else may write to it.
        unheard: What becomes of items of which nothing was heard, because they had not begun or were
            queued behind another one: ``"leave"`` them, and the model believes that they were said, or
            ``"delete"`` them from the conversation.
        format: Of the audio, to know how long it lasts; ``None`` = as the session's settings are when a
            response begins.
        on_interrupt: Called with each `Interruption`, by the thread that interrupts.  What it raises is
            logged.

    Attributes:
        speaker: As given.
        interruptions: All there were, in order.
        failure: What the speaker raised first, or ``None``.  It is logged once; the session goes on, and
            what can't be played is not heard.

    All but the ``visit_*`` methods may be called from any thread.

    Raises:
        TypeError: The speaker is none.
        ValueError: ``unheard`` is neither, ``format`` is no format, or ``played_ms`` no finite number.
    """

    def __init__(
        self,
        session: Session,
        speaker: AudioOutput,
        *,
        unheard: Literal["leave", "delete"] = "leave",
        format: str | None = None,  # noqa: A002
        on_interrupt: Callable[[Interruption], object] | None = None,
    ) -> None:
        if unheard not in ("leave", "delete"):
            raise ValueError(f"unheard is 'leave' or 'delete', not {unheard!r:.80}")
        self.interruptions: list[Interruption] = []
        self.failure: Exception | None = None
        self._session = session
        self.speaker = speaker
        self._delete_unheard = unheard == "delete"
        self._format = None if format is None else known_format(format)
        self._on_interrupt = on_interrupt
        # Guards all that follows, between the thread that runs the session and those that interrupt or look.
        # Held while the speaker is written to or cleared, so that no late sound slips in behind a `clear`;
        # never while anything is sent.  Threads that wait for the end are told of interruptions by it.
        self._changed = threading.Condition()
        self._heard = self._end = _position(speaker)  # what it has played, and will have played
        self._segments: deque[_Segment] = deque()  # those that are not heard to their end
        # Of responses that run, or are not heard to their end; by response, item and content index.
        self._parts: dict[tuple[str, str, int], _Part] = {}
        self._last: _Part | None = None  # what was written last
        self._waiting: list[_Part] = []  # until that is complete
        self._running: dict[str, int] = {}  # responses that run, and the ticks of a byte of theirs
        # Responses of which nothing more is to be played, and whether their beginning has still to come here.
        self._cut_off: Latest[bool] = Latest(_REMEMBERED)
        self._gone: Latest[None] = Latest(_REMEMBERED)  # items that were deleted, or are to be
        self._has_warned = False  # that the speaker takes another format
        self._cuts = 0
        self._telling = 0  # interruptions that are being told to the server

    # --- What is playing -----------------------------------------------------------------------------

    @property
    def playing(self) -> tuple[str, int] | None:
        """The item and the content index of what is playing, or was and has more to come."""
        with self._changed:
            self._advance()
            part = self._current()
        return None if part is None or part.item_id is None else (part.item_id, part.content_index)

    @property
    def pending_ms(self) -> float:
        """How much of what has come is still to be heard, in milliseconds."""
        with self._changed:
            self._advance()
            return self._pending / _TICKS

    @property
    def _pending(self) -> int:
        return self._end - self._heard + sum(len(part.held) * part.ticks_per_byte for part in self._waiting)

    def wait_played(self, timeout: float | None = None) -> bool:
        """Wait until all that has come was heard.  This doesn't run the session: nothing comes by it.

        Args:
            timeout: Seconds to wait at most; ``None`` = as long as it takes.

        Returns:
            False if it was not: the time was up, it was interrupted, or the speaker has failed, or plays
            nothing for five seconds.  If it was interrupted, the server has been told by now and the
            `Interruption` is there, unless the time was up before.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            cuts, heard, moved_at = self._cuts, -1, 0.0
            while True:
                self._advance()
                now = time.monotonic()
                if self._heard != heard:
                    heard, moved_at = self._heard, now
                failed = self.failure is not None or self._cuts != cuts
                over = failed or not self._pending or now >= moved_at + _STALLED
                # Who has waited may close the session next: not before the server is told.
                if now >= deadline or (over and not self._telling):
                    return not failed and not self._pending
                left = _STALLED if self._telling else self._pending / _TICKS / 1000
                self._changed.wait(min(max(left, _SHORTEST_WAIT), deadline - now, _STALLED))

    # --- What comes ------------------------------------------------------------------------------------

    def visit_response_created(self, event: ResponseCreated) -> None:
        """``response.created``"""
        response_id = event.response.id or ""
        with self._changed:
            silent = all(part.response_id != response_id for part in self._parts.values())
            if response_id and response_id in self._running and silent:
                return  # it is told twice
            self._stopped(response_id)  # the one before it: some servers call all of them the same
            if self._cut_off.pop(response_id, False):  # then it was this one, before it began
                self._cut_off[response_id] = False
            self._begin(response_id)

    def visit_response_content_part_added(self, event: ResponseContentPartAdded) -> None:
        """``response.content_part.added``"""
        if isinstance(event.part, OutputAudio):
            self._take(event, b"")

    def visit_response_output_audio_delta(self, event: ResponseOutputAudioDelta) -> None:
        """``response.output_audio.delta``"""
        self._take(event, event.delta)

    def _take(self, event: ResponseContentPartAdded | ResponseOutputAudioDelta, audio: bytes) -> None:
        """Play a piece of a part, unless it comes too late."""
        with self._changed:
            late = event.response_id in self._cut_off
            unheard = late and self._delete_unheard and self._is_unheard(event.response_id, event.item_id)
            if unheard:
                self._gone[event.item_id] = None
            elif not late:
                part = self._part(event)
                if audio:
                    self._play(part, audio)
        if unheard:
            self._tell(self._session.conversation.item.delete, event.item_id)

    def visit_session_output_audio_delta(self, event: SessionOutputAudioDelta) -> None:
        """``session.output_audio.delta``"""
        with self._changed:
            last = self._segments[-1].part if self._segments else None
            part = (
                last
                if last and last.item_id is None
                else _Part("", None, 0, self._ticks_now(), complete=True)
            )
            self._play(part, event.delta)

    def visit_response_output_audio_done(self, event: ResponseOutputAudioDone) -> None:
        """``response.output_audio.done``"""
        with self._changed:
            part = self._parts.get((event.response_id, event.item_id, event.content_index))
            if part is not None:
                part.complete = True
                self._play_waiting()

    def visit_response_done(self, event: ResponseDone) -> None:
        """``response.done``"""
        self._over(event.response.id or "")

    def visit_response_cancelled(self, event: ResponseCancelled) -> None:
        """``response.cancelled``"""
        self._over((event.response.id if event.response else event.response_id) or "")

    def visit_conversation_item_deleted(self, event: ConversationItemDeleted) -> None:
        """``conversation.item.deleted``"""
        with self._changed:
            self._gone[event.item_id] = None

    def visit_input_audio_buffer_speech_started(self, event: InputAudioBufferSpeechStarted) -> None:
        """``input_audio_buffer.speech_started``"""
        self._interrupt(by_hand=False)

    def _over(self, response_id: str) -> None:
        """This response is over; without a name, the one that began last."""
        with self._changed:
            self._stopped(response_id or next(reversed(self._running), ""))

    def _stopped(self, response_id: str) -> None:
        """Note that a response runs no more."""
        self._running.pop(response_id, None)
        self._complete(response_id)
        self._play_waiting()
        self._forget()

    def _complete(self, response_id: str) -> None:
        """No more is to come of the parts of this response."""
        for part in self._parts.values():
            if part.response_id == response_id:
                part.complete = True

    def _begin(self, response_id: str) -> None:
        """Note that a response runs, whose sound has the format that is in force now."""
        if response_id not in self._running:
            self._running[response_id] = self._ticks_now()

    def _ticks_now(self) -> int:
        audio_format = self._format or output_format(self._session.config)
        takes = format_of(self.speaker)
        if takes not in (None, audio_format) and not self._has_warned:
            self._has_warned = True
            _log.warning("the speaker takes %s, and the session's sound is %s", takes, audio_format)
        return _TICKS * 1000 // bytes_per_second(audio_format)

    def _part(self, event: ResponseContentPartAdded | ResponseOutputAudioDelta) -> _Part:
        """The part that a piece belongs to.  A new one ends the response's others: it says one by one."""
        self._begin(event.response_id)
        key = (event.response_id, event.item_id, event.content_index)
        if key not in self._parts:
            self._complete(event.response_id)
            ticks = self._running[event.response_id]
            self._parts[key] = _Part(event.response_id, event.item_id or None, event.content_index, ticks)
        return self._parts[key]

    def _play(self, part: _Part, audio: bytes) -> None:
        """Play a piece, when its turn has come."""
        part.received += len(audio) * part.ticks_per_byte
        if part in self._waiting or self._has_to_wait(part):
            part.held += audio
            if part not in self._waiting:
                self._waiting.append(part)
        else:
            self._write(part, audio)

    def _has_to_wait(self, part: _Part) -> bool:
        """Whether a response that runs at the same time is in the middle of saying something.

        In the conversation there is one at a time, whether or not the server says when one is over.
        """
        last = self._last
        if last is None or last.complete or last.response_id == part.response_id:
            return False
        if last.response_id in self._cut_off:
            return False
        return self._is_out_of_band(last.response_id) or self._is_out_of_band(part.response_id)

    def _play_waiting(self) -> None:
        """Play those whose turn has come."""
        while self._waiting and not self._has_to_wait(self._waiting[0]):
            part = self._waiting.pop(0)
            audio, part.held = bytes(part.held), bytearray()
            self._write(part, audio)

    def _write(self, part: _Part, audio: bytes) -> None:
        """Write to the speaker, and note what it is."""
        self._advance()
        self._last = part
        try:
            self.speaker.write(audio)
        except Exception as error:
            self._fail(error)
            return
        if not self._segments or self._segments[-1].part is not part:
            self._segments.append(_Segment(part, self._end, self._end))
        self._end += len(audio) * part.ticks_per_byte
        self._segments[-1].end = self._end

    def _fail(self, error: Exception) -> None:
        """Keep what the speaker raised, and say so once."""
        if self.failure is None:
            self.failure = error
            _log.error("the speaker has failed: %s", error)
            self._changed.notify_all()

    # --- What was heard: under the lock ------------------------------------------------------------------

    def _advance(self) -> None:
        """Look how far the speaker is, and forget what is over."""
        try:
            played = _ticks(self.speaker.played_ms)
        except Exception as error:
            self._fail(error)
            return
        self._heard = max(self._heard, min(played, self._end))
        while self._segments and self._segments[0].end <= self._heard:
            segment = self._segments.popleft()
            segment.part.heard += segment.end - segment.start
            self._forget()
        if not self._segments:  # whatever the speaker has played beside what is ours
            self._heard = self._end = max(self._heard, played)

    def _forget(self) -> None:
        """Forget the parts of responses that are over and were heard to their end."""
        kept = {*self._running, *(part.response_id for part in self._pending_parts())}
        self._parts = {key: part for key, part in self._parts.items() if part.response_id in kept}

    def _pending_parts(self) -> list[_Part]:
        """Those that are not heard as far as they have come."""
        return [*(segment.part for segment in self._segments), *self._waiting]

    def _current(self) -> _Part | None:
        """The part that is playing; if there is nothing to play, the last one that has more to come."""
        if self._segments:
            return self._segments[0].part
        unfinished = (part for part in reversed(self._parts.values()) if not part.complete)
        return next((part for part in unfinished if part.response_id not in self._cut_off), None)

    def _is_unheard(self, response_id: str, item_id: str) -> bool:
        """Whether an item of the conversation is there of which not a millisecond was heard."""
        heard = any(part.heard >= _TICKS for part in self._parts.values() if part.item_id == item_id)
        return not heard and self._is_in_conversation(response_id, item_id)

    def _is_in_conversation(self, response_id: str, item_id: str | None) -> bool:
        return bool(item_id) and item_id not in self._gone and not self._is_out_of_band(response_id)

    def _is_out_of_band(self, response_id: str) -> bool:
        """Whether a response has nothing to do with the conversation."""
        request = self._session.request_of(response_id)
        return request is not None and request.out_of_band

    # --- Interruption ----------------------------------------------------------------------------------

    def interrupt(self) -> Interruption | None:
        """Stop what is playing, and the response that is running, as if the user had spoken.

        Returns:
            What was cut off; ``None`` if there was nothing, for example because it was cut off already.
            It is no error if the session has ended.
        """
        return self._interrupt(by_hand=True)

    def _interrupt(self, *, by_hand: bool) -> Interruption | None:
        with self._changed:
            self._silence()
            cut = self._cut(by_hand)
            self._telling += 1
        try:
            if by_hand and self._session.active_response is None:  # one may have been asked for just now
                self._tell(self._session.response.cancel, if_active=True)
            if cut is None:
                return None
            interruption = self._report(cut)
            self.interruptions.append(interruption)
        finally:
            with self._changed:
                self._telling -= 1
                self._changed.notify_all()
        self._say(interruption)
        return interruption

    def _say(self, interruption: Interruption) -> None:
        """Call ``on_interrupt``."""
        if self._on_interrupt is None:
            return
        try:
            self._on_interrupt(interruption)
        except Exception:
            _log.warning("what is told of interruptions (on_interrupt) failed", exc_info=True)

    def _silence(self) -> None:
        """Clear the speaker, and then look how far it came: now that stands still."""
        try:
            self.speaker.clear()
        except Exception as error:
            self._fail(error)
        self._advance()

    def _cut(self, by_hand: bool) -> _Cut | None:
        """Cut off what there is."""
        running = [name for name in self._running if name not in self._cut_off]
        active = self._session.active_response
        if by_hand and active is not None and active not in self._running and not self._cut_off.get(active):
            running.append(active)  # the session knows of it before its events come here
        # When the user speaks, only what had begun before that is meant: `active` may be the next one.
        cancel = (
            active if active in running and (by_hand or not _server_cancels(self._session.config)) else None
        )
        stopped = [name for name in running if not self._is_out_of_band(name)]
        playing = self._current()
        unheard = self._drop()
        for name in running:
            self._cut_off[name] = name not in self._running
        if playing is None and not stopped:
            return None
        self._cuts += 1
        self._changed.notify_all()
        return _Cut(playing or _Part(stopped[0], None, 0, 1), cancel, unheard)

    def _drop(self) -> list[str]:
        """Forget what is not heard; the items of the conversation to delete, as nothing of them was heard."""
        if self._segments:
            self._segments[0].part.heard += self._heard - self._segments[0].start
        pending = self._pending_parts()
        self._segments.clear()
        self._waiting.clear()
        self._end = self._heard
        unheard: dict[str, None] = {}
        if self._delete_unheard:
            for part in (*pending, *self._parts.values()):
                if part.item_id is not None and self._is_unheard(part.response_id, part.item_id):
                    unheard[part.item_id] = None
        for item_id in unheard:
            self._gone[item_id] = None
        self._forget()
        return list(unheard)

    def _report(self, cut: _Cut) -> Interruption:
        """Tell the server, and say what it was told."""
        session = self._session
        part = cut.part
        end_ms, received_ms = min(part.heard, part.received) // _TICKS, part.received // _TICKS
        told: list[str | None] = []
        if cut.cancel is not None:
            told.append(self._tell(session.response.cancel, cut.cancel, if_active=True))
        truncated = None
        to_its_end = part.complete and end_ms == received_ms
        if end_ms and not to_its_end and self._is_in_conversation(part.response_id, part.item_id):
            truncated = self._tell(
                session.conversation.item.truncate,
                part.item_id,
                content_index=part.content_index,
                audio_end_ms=end_ms,
            )
        told += [truncated, *(self._tell(session.conversation.item.delete, name) for name in cut.unheard)]
        return Interruption(
            response_id=part.response_id or None,
            item_id=part.item_id,
            content_index=part.content_index,
            audio_end_ms=end_ms,
            played_ms=part.heard / _TICKS,
            received_ms=part.received / _TICKS,
            truncated=truncated is not None,
            deleted=tuple(cut.unheard),
            cancelled=cut.cancel,
            event_ids=tuple(event_id for event_id in told if event_id is not None),
        )

    def _tell(self, call: Callable[..., str], *args: object, **options: object) -> str | None:
        """Send; what it was sent as, or ``None`` if the session has ended, which is told elsewhere."""
        try:
            return call(*args, **options)
        except ConnectionClosed:
            return None


def _ticks(ms: float) -> int:
    return round(ms * _TICKS)


def _position(speaker: AudioOutput) -> int:
    """What a speaker has played already."""
    for name in ("write", "clear", "played_ms"):
        if not hasattr(speaker, name):
            raise TypeError(f"a speaker has a {name!r}: {speaker!r:.80} has none")
    played = speaker.played_ms
    try:
        return _ticks(played)
    except (TypeError, ValueError, OverflowError) as error:
        text = (
            f"played_ms of the speaker {speaker!r:.80} is a property that gives a number, not {played!r:.80}"
        )
        raise (TypeError if isinstance(error, TypeError) else ValueError)(text) from error


def _server_cancels(config: SessionConfig | None) -> bool:
    """Whether the server stops its response by itself when the user speaks; if in doubt, it does not."""
    ga = input_settings(config)
    detection = (ga and ga.turn_detection) or (config and config.turn_detection)
    if isinstance(detection, ServerVad | SemanticVad):
        return detection.interrupt_response is not False
    return isinstance(detection, UnknownObject) and detection.data.get("interrupt_response") is not False
