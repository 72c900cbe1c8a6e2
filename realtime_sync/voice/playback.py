"""`Playback` plays a session's responses, and handles barge-in: it stops them when the user speaks."""

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

_TICKS = 48  # per millisecond: in every format a byte lasts a whole number of ticks, so sums are exact
_REMEMBERED = 256  # interrupted responses, and deleted items
_SHORTEST_WAIT = 0.005  # seconds, even if less is left to play
_STALLED = 5.0  # seconds without progress after which a speaker with pending audio counts as stalled


class Interruption(Struct, frozen=True):
    """Report an interruption: what was cut off, and what was sent to the server.

    Attributes:
        response_id: The response that was playing; if none was, the one whose audio had yet to arrive;
            ``None`` for translations.
        item_id: The item whose audio was playing; ``None`` if none was, and for translations, which belong
            to no item.
        content_index: The index of that audio in the item's content.
        audio_end_ms: How much of it was played, in whole milliseconds; 0 if it had not begun.
        played_ms: The same length with its fraction, in milliseconds.
        received_ms: How much of it had been received, in milliseconds.
        truncated: Whether ``conversation.item.truncate`` was sent.
        deleted: The ids of the items of which nothing was played and that the server was asked to delete.
        cancelled: The id of the response that the server was asked to cancel; ``None`` if none was running,
            or if the server cancels it by itself.
        event_ids: The ids of the events sent, in order.  If the server rejects one, its error has that id
            as ``error.event_id``.
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
    """Hold the audio of one content part.  Lengths are in ticks."""

    response_id: str
    item_id: str | None
    content_index: int
    ticks_per_byte: int
    received: int = 0
    heard: int = 0  # the length of the segments that were played to their end
    complete: bool = False
    held: bytearray = field(default_factory=bytearray)  # audio that is not to be written to the speaker yet


class _Segment(Struct):
    """Mark a range of the audio written to the speaker, in ticks from the first that it ever played."""

    part: _Part
    start: int
    end: int


class _Cut(Struct):
    """Describe an interruption of which the server is yet to be informed."""

    part: _Part  # the part that was playing; if none was, a placeholder for audio that has yet to arrive
    cancel: str | None
    unheard: list[str]  # ids of items of the conversation


class Playback(Visitor[None]):
    """Play the audio of responses, and keep track of how much of each was really played.

    ::

        session.run(rt.Visitors(Playback(session, Speaker()), MyVisitor()))

    On barge-in (``input_audio_buffer.speech_started``), and when you call `interrupt`, the speaker falls
    silent at once.  The response is cancelled, unless the server does that by itself, and the server is
    told how much of the item was played (``conversation.item.truncate``), so that the model knows where it
    was cut off.  Audio that still arrives for the interrupted response is discarded.

    Responses are played one after another, even if two arrive at the same time.  Out-of-band responses
    (``conversation="none"``) and translations are played, and interrupted, as well; they are not truncated,
    and an out-of-band response is not cancelled.

    All methods except ``visit_*`` may be called from any thread.

    Args:
        session: The session whose responses are played.
        speaker: Any `AudioOutput`.  Only this `Playback` may write to it.
        unheard: What to do on an interruption with items of which nothing was played, because they had not
            begun or were queued: ``"leave"`` (the default) keeps them, and the model believes that they
            were said; ``"delete"`` deletes them from the conversation.
        format: The format of the audio: ``"audio/pcm"``, ``"audio/pcmu"`` or ``"audio/pcma"``.  It
            determines how long the audio lasts.  ``None`` (the default) takes it from the session's
            settings when a response begins.
        on_interrupt: Called with each `Interruption`, in the thread that interrupts.  An exception that it
            raises is logged.

    Attributes:
        speaker: The speaker passed as ``speaker``.
        interruptions: All interruptions, in order.
        failure: The first exception that the speaker raised, or ``None``.  It is logged once; the session
            goes on, and audio that can't be played counts as not played.

    Raises:
        TypeError: ``speaker`` lacks one of ``write``, ``clear`` and ``played_ms``, or ``played_ms`` is no
            number.
        ValueError: ``unheard`` is neither ``"leave"`` nor ``"delete"``, ``format`` is unknown, or
            ``played_ms`` is not finite.
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
            raise ValueError(f"unheard must be 'leave' or 'delete', got {unheard!r:.80}")
        self.interruptions: list[Interruption] = []
        self.failure: Exception | None = None
        self._session = session
        self.speaker = speaker
        self._delete_unheard = unheard == "delete"
        self._format = None if format is None else known_format(format)
        self._on_interrupt = on_interrupt
        # Guards all that follows, between the thread that runs the session and those that interrupt or read.
        # Held while the speaker is written to or cleared, so that no late audio slips in after a `clear`;
        # never while anything is sent.  It also wakes the threads in `wait_played` on an interruption.
        self._changed = threading.Condition()
        self._heard = self._end = _position(speaker)  # ticks that it has played, and will have played
        self._segments: deque[_Segment] = deque()  # segments that were not played to their end
        # Parts of responses that run or were not played to their end, by response, item and content index.
        self._parts: dict[tuple[str, str, int], _Part] = {}
        self._last: _Part | None = None  # the part that was written last
        self._waiting: list[_Part] = []  # parts to be played once that is complete
        self._running: dict[str, int] = {}  # running responses, with the ticks per byte of their audio
        # Interrupted responses, and whether their response.created has yet to arrive.
        self._cut_off: Latest[bool] = Latest(_REMEMBERED)
        self._gone: Latest[None] = Latest(_REMEMBERED)  # items that were deleted, or are about to be
        self._has_warned = False  # whether a mismatch of formats was logged
        self._cuts = 0
        self._telling = 0  # interruptions of which the server is being informed

    # --- State ---------------------------------------------------------------------------------------

    @property
    def playing(self) -> tuple[str, int] | None:
        """Return the item id and the content index of the audio that is playing, or ``None``.

        Between two chunks of the same audio it is still playing.
        """
        with self._changed:
            self._advance()
            part = self._current()
        return None if part is None or part.item_id is None else (part.item_id, part.content_index)

    @property
    def pending_ms(self) -> float:
        """Return how much of the received audio is still to be played, in milliseconds."""
        with self._changed:
            self._advance()
            return self._pending / _TICKS

    @property
    def _pending(self) -> int:
        return self._end - self._heard + sum(len(part.held) * part.ticks_per_byte for part in self._waiting)

    def wait_played(self, timeout: float | None = None) -> bool:
        """Wait until all received audio was played.  This doesn't run the session, so no audio is added.

        Args:
            timeout: Seconds to wait at most; ``None`` (the default) waits without a limit.

        Returns:
            True if all was played.  False if the timeout expired, an interruption came, or the speaker
            failed or played nothing for five seconds.  After an interruption the server has been informed
            and the `Interruption` is in `interruptions`, unless the timeout expired before.
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
                # The caller may close the session next, so first let the server be informed.
                if now >= deadline or (over and not self._telling):
                    return not failed and not self._pending
                left = _STALLED if self._telling else self._pending / _TICKS / 1000
                self._changed.wait(min(max(left, _SHORTEST_WAIT), deadline - now, _STALLED))

    # --- Events ----------------------------------------------------------------------------------------

    def visit_response_created(self, event: ResponseCreated) -> None:
        """Handle ``response.created``."""
        response_id = event.response.id or ""
        with self._changed:
            silent = all(part.response_id != response_id for part in self._parts.values())
            if response_id and response_id in self._running and silent:
                return  # announced twice
            self._stopped(response_id)  # the previous one: some servers give all responses the same id
            if self._cut_off.pop(response_id, False):  # this one was interrupted before it began
                self._cut_off[response_id] = False
            self._begin(response_id)

    def visit_response_content_part_added(self, event: ResponseContentPartAdded) -> None:
        """Handle ``response.content_part.added``."""
        if isinstance(event.part, OutputAudio):
            self._take(event, b"")

    def visit_response_output_audio_delta(self, event: ResponseOutputAudioDelta) -> None:
        """Handle ``response.output_audio.delta``."""
        self._take(event, event.delta)

    def _take(self, event: ResponseContentPartAdded | ResponseOutputAudioDelta, audio: bytes) -> None:
        """Play a delta, unless its response was interrupted."""
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
        """Handle ``session.output_audio.delta``."""
        with self._changed:
            last = self._segments[-1].part if self._segments else None
            part = (
                last
                if last and last.item_id is None
                else _Part("", None, 0, self._ticks_now(), complete=True)
            )
            self._play(part, event.delta)

    def visit_response_output_audio_done(self, event: ResponseOutputAudioDone) -> None:
        """Handle ``response.output_audio.done``."""
        with self._changed:
            part = self._parts.get((event.response_id, event.item_id, event.content_index))
            if part is not None:
                part.complete = True
                self._play_waiting()

    def visit_response_done(self, event: ResponseDone) -> None:
        """Handle ``response.done``."""
        self._over(event.response.id or "")

    def visit_response_cancelled(self, event: ResponseCancelled) -> None:
        """Handle ``response.cancelled``."""
        self._over((event.response.id if event.response else event.response_id) or "")

    def visit_conversation_item_deleted(self, event: ConversationItemDeleted) -> None:
        """Handle ``conversation.item.deleted``."""
        with self._changed:
            self._gone[event.item_id] = None

    def visit_input_audio_buffer_speech_started(self, event: InputAudioBufferSpeechStarted) -> None:
        """Handle ``input_audio_buffer.speech_started``."""
        self._interrupt(by_hand=False)

    def _over(self, response_id: str) -> None:
        """Mark a response as ended; without an id, the one that began last."""
        with self._changed:
            self._stopped(response_id or next(reversed(self._running), ""))

    def _stopped(self, response_id: str) -> None:
        """Mark a response as no longer running."""
        self._running.pop(response_id, None)
        self._complete(response_id)
        self._play_waiting()
        self._forget()

    def _complete(self, response_id: str) -> None:
        """Mark all parts of a response as complete."""
        for part in self._parts.values():
            if part.response_id == response_id:
                part.complete = True

    def _begin(self, response_id: str) -> None:
        """Mark a response as running, with the session's present audio format."""
        if response_id not in self._running:
            self._running[response_id] = self._ticks_now()

    def _ticks_now(self) -> int:
        audio_format = self._format or output_format(self._session.config)
        takes = format_of(self.speaker)
        if takes not in (None, audio_format) and not self._has_warned:
            self._has_warned = True
            _log.warning("the speaker expects %s audio, but the session sends %s", takes, audio_format)
        return _TICKS * 1000 // bytes_per_second(audio_format)

    def _part(self, event: ResponseContentPartAdded | ResponseOutputAudioDelta) -> _Part:
        """Return the part that a delta belongs to.  A new part completes the response's earlier ones."""
        self._begin(event.response_id)
        key = (event.response_id, event.item_id, event.content_index)
        if key not in self._parts:
            self._complete(event.response_id)
            ticks = self._running[event.response_id]
            self._parts[key] = _Part(event.response_id, event.item_id or None, event.content_index, ticks)
        return self._parts[key]

    def _play(self, part: _Part, audio: bytes) -> None:
        """Write a delta to the speaker, or hold it while another response has to finish first."""
        part.received += len(audio) * part.ticks_per_byte
        if part in self._waiting or self._has_to_wait(part):
            part.held += audio
            if part not in self._waiting:
                self._waiting.append(part)
        else:
            self._write(part, audio)

    def _has_to_wait(self, part: _Part) -> bool:
        """Return whether another running response is in the middle of a part, which goes first.

        Only one response at a time runs in the conversation, whether or not the server sends its end, so
        one of the two must be out-of-band.
        """
        last = self._last
        if last is None or last.complete or last.response_id == part.response_id:
            return False
        if last.response_id in self._cut_off:
            return False
        return self._is_out_of_band(last.response_id) or self._is_out_of_band(part.response_id)

    def _play_waiting(self) -> None:
        """Write the held parts that no longer have to wait."""
        while self._waiting and not self._has_to_wait(self._waiting[0]):
            part = self._waiting.pop(0)
            audio, part.held = bytes(part.held), bytearray()
            self._write(part, audio)

    def _write(self, part: _Part, audio: bytes) -> None:
        """Write to the speaker, and record which part the audio belongs to."""
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
        """Keep the first exception of the speaker, and log it once."""
        if self.failure is None:
            self.failure = error
            _log.error("the speaker has failed: %s", error)
            self._changed.notify_all()

    # --- What was played: call these under the lock ------------------------------------------------------

    def _advance(self) -> None:
        """Read the speaker's position, and forget the segments that were played."""
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
        if not self._segments:  # the speaker may have played audio that is not ours
            self._heard = self._end = max(self._heard, played)

    def _forget(self) -> None:
        """Forget the parts of responses that have ended and were played to their end."""
        kept = {*self._running, *(part.response_id for part in self._pending_parts())}
        self._parts = {key: part for key, part in self._parts.items() if part.response_id in kept}

    def _pending_parts(self) -> list[_Part]:
        """Return the parts with received audio that was not played yet."""
        return [*(segment.part for segment in self._segments), *self._waiting]

    def _current(self) -> _Part | None:
        """Return the part that is playing; if no audio is pending, the last incomplete one."""
        if self._segments:
            return self._segments[0].part
        unfinished = (part for part in reversed(self._parts.values()) if not part.complete)
        return next((part for part in unfinished if part.response_id not in self._cut_off), None)

    def _is_unheard(self, response_id: str, item_id: str) -> bool:
        """Return whether an item is in the conversation and less than a millisecond of it was played."""
        heard = any(part.heard >= _TICKS for part in self._parts.values() if part.item_id == item_id)
        return not heard and self._is_in_conversation(response_id, item_id)

    def _is_in_conversation(self, response_id: str, item_id: str | None) -> bool:
        return bool(item_id) and item_id not in self._gone and not self._is_out_of_band(response_id)

    def _is_out_of_band(self, response_id: str) -> bool:
        """Return whether a response is known to be out-of-band."""
        request = self._session.request_of(response_id)
        return request is not None and request.out_of_band

    # --- Interruption ----------------------------------------------------------------------------------

    def interrupt(self) -> Interruption | None:
        """Stop the audio that is playing and the response that is running, as if the user had spoken.

        It raises no error if the session has ended.

        Returns:
            The interruption; ``None`` if there was nothing to interrupt, for example because that was done
            already.
        """
        return self._interrupt(by_hand=True)

    def _interrupt(self, *, by_hand: bool) -> Interruption | None:
        with self._changed:
            self._silence()
            cut = self._cut(by_hand)
            self._telling += 1
        try:
            if by_hand and self._session.active_response is None:  # one may have been requested just now
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
            _log.warning("the on_interrupt= callback raised an exception", exc_info=True)

    def _silence(self) -> None:
        """Clear the speaker, and then read its position, which no longer changes."""
        try:
            self.speaker.clear()
        except Exception as error:
            self._fail(error)
        self._advance()

    def _cut(self, by_hand: bool) -> _Cut | None:
        """Interrupt whatever is playing or running; return ``None`` if there is nothing."""
        running = [name for name in self._running if name not in self._cut_off]
        active = self._session.active_response
        if by_hand and active is not None and active not in self._running and not self._cut_off.get(active):
            running.append(active)  # the session knows of it before its events arrive here
        # Barge-in affects only a response that began before it: `active` may already be the next one.
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
        """Discard all pending audio; return the ids of the items to delete, of which nothing was played."""
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
        """Inform the server of an interruption, and return the report of it."""
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
        """Send an event and return its id; ``None`` if the session has ended, which is reported elsewhere."""
        try:
            return call(*args, **options)
        except ConnectionClosed:
            return None


def _ticks(ms: float) -> int:
    return round(ms * _TICKS)


def _position(speaker: AudioOutput) -> int:
    """Check a speaker, and return what it has played already, in ticks."""
    for name in ("write", "clear", "played_ms"):
        if not hasattr(speaker, name):
            raise TypeError(f"speaker must have a {name!r} attribute; {speaker!r:.80} has none")
    played = speaker.played_ms
    try:
        return _ticks(played)
    except (TypeError, ValueError, OverflowError) as error:
        text = f"played_ms of a speaker must be a finite number, got {played!r:.80} from {speaker!r:.80}"
        raise (TypeError if isinstance(error, TypeError) else ValueError)(text) from error


def _server_cancels(config: SessionConfig | None) -> bool:
    """Return whether the server cancels its response by itself on barge-in; if unknown, it does not."""
    ga = input_settings(config)
    detection = (ga and ga.turn_detection) or (config and config.turn_detection)
    if isinstance(detection, ServerVad | SemanticVad):
        return detection.interrupt_response is not False
    return isinstance(detection, UnknownObject) and detection.data.get("interrupt_response") is not False
