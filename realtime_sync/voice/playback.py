"""`Playback` plays a session's responses, and handles barge-in: it stops them when the user speaks."""

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from ..events import OutputAudio, SemanticVad, ServerVad, SessionConfig, UnknownObject
from ..exceptions import ConnectionClosed
from ..session import Session, facts
from ..session.facts import ItemEntry, PartEntry, ResponseEntry
from ..session.latest import Latest
from ..session.listener import Listener
from ..sound.formats import bytes_per_second, input_settings, known_format, output_format
from .speakers import AudioOutput, format_of

__all__ = ["Interruption", "Playback"]

_log = logging.getLogger("realtime_sync")

_TICKS = 48  # per millisecond: in every format a byte lasts a whole number of ticks, so sums are exact
_REMEMBERED = 256  # interrupted responses, and deleted items
_MOST_PARTS = 4096  # of responses that run or were not played to their end; the oldest are forgotten
_MOST_INTERRUPTIONS = 1000
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
    """Hold the audio of one content part; ``entry`` is ``None`` for a translation.  Lengths are in ticks."""

    entry: PartEntry | None
    response: ResponseEntry | None
    ticks_per_byte: int
    received: int = 0
    heard: int = 0  # the length of the segments that were played to their end
    complete: bool = False
    held: bytearray = field(default_factory=bytearray)  # audio that is not to be written to the speaker yet

    @property
    def item(self) -> ItemEntry | None:
        return None if self.entry is None else self.entry.item


class _Segment(Struct):
    """Mark a range of the audio written to the speaker, in ticks from the first that it ever played."""

    part: _Part
    start: int
    end: int


class _Cut(Struct):
    """Describe an interruption of which the server is yet to be informed."""

    part: _Part  # the part that was playing; if none was, a placeholder for audio that has yet to arrive
    cancel: str | None
    unheard: list[ItemEntry]  # items of the conversation


class Playback(Listener):
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

    All methods except ``visit`` and ``on_*`` may be called from any thread.

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
        interruptions: The interruptions, in order; of more than 1000 the last.
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
        super().__init__(has_session=True)
        self._session = session
        self.speaker = speaker
        self._delete_unheard = unheard == "delete"
        self._format = None if format is None else known_format(format)
        self._on_interrupt = on_interrupt
        # Guards all that follows, between the thread that runs the session and those that interrupt or read.
        # Held while the speaker is written to or cleared, so that no late audio slips in after a `clear`;
        # never while anything is sent.  It also wakes the threads in `wait_played` on an interruption.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._heard = self._end = _position(speaker)  # ticks that it has played, and will have played
        self._segments: deque[_Segment] = deque()  # segments that were not played to their end
        # Parts of responses that run or were not played to their end.
        self._parts: Latest[PartEntry, _Part] = Latest(_MOST_PARTS)
        self._swept = 0  # how many of them there were when those of others were forgotten last
        # The newest part of each running response; all others are complete.
        self._newest: Latest[ResponseEntry, _Part] = Latest(_REMEMBERED)
        self._last: _Part | None = None  # the part that was written last
        self._waiting: OrderedDict[_Part, None] = OrderedDict()  # parts to be played once that is complete
        self._held = 0  # ticks of their audio
        # Running responses, with the ticks per byte of their audio.
        self._running: Latest[ResponseEntry, int] = Latest(_REMEMBERED)
        self._cut_off: Latest[ResponseEntry, None] = Latest(_REMEMBERED)  # interrupted responses
        self._gone: Latest[ItemEntry, None] = Latest(_REMEMBERED)  # items that are about to be deleted
        self._begun: Latest[ItemEntry, None] = Latest(_MOST_PARTS)  # items of which a millisecond was played
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
        entry = None if part is None else part.entry
        return None if entry is None or not entry.item.id else (entry.item.id, entry.index)

    @property
    def pending_ms(self) -> float:
        """Return how much of the received audio is still to be played, in milliseconds."""
        with self._changed:
            self._advance()
            return self._pending / _TICKS

    @property
    def _pending(self) -> int:
        return self._end - self._heard + self._held

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

    # --- What the server does --------------------------------------------------------------------------

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        """Expect the audio of a response, in the session's present format."""
        with self._changed:
            self._running[fact.response] = self._ticks_now()
            if fact.response.unwanted:
                self._cut_off[fact.response] = None

    def on_part(self, fact: facts.Part) -> None:
        """Expect the audio of a part."""
        if isinstance(fact.content, OutputAudio) and fact.part.item.response in self._running:
            self._take(fact.part, b"")

    def on_audio(self, fact: facts.Audio) -> None:
        """Play a chunk."""
        self._take(fact.part, fact.audio)

    def _take(self, entry: PartEntry, audio: bytes) -> None:
        """Play a chunk, unless its response was interrupted."""
        item, response = entry.item, entry.item.response
        if response is None:
            return
        with self._lock:  # not by way of the condition, which costs two calls for each chunk
            late = response in self._cut_off
            unheard = late and self._delete_unheard and self._is_unheard(item)
            if unheard:
                self._gone[item] = None
            elif not late:
                part = self._parts.get(entry) or self._new_part(entry, response)
                if audio:
                    self._play(part, audio)
        if unheard:
            self._tell(self._session.conversation.item.delete, item.id)

    def on_translation(self, fact: facts.Translation) -> None:
        """Play a chunk of a translation."""
        with self._changed:
            last = self._segments[-1].part if self._segments else None
            if last is None or last.entry is not None:
                last = _Part(None, None, self._ticks_now(), complete=True)
            self._play(last, fact.audio)

    def on_audio_done(self, fact: facts.AudioDone) -> None:
        """Play what waits for this part."""
        with self._changed:
            part = self._parts.get(fact.part)
            if part is not None:
                part.complete = True
                self._play_waiting()

    def on_response_restarted(self, fact: facts.ResponseRestarted) -> None:
        """Discard what was received of a response: it is made again."""
        response = fact.response
        with self._changed:
            self._complete(response)
            self._running.pop(response, None)
            self._cut_off.pop(response, None)
            for part in [part for part in self._waiting if part.response is response]:
                del self._waiting[part]
                self._held -= len(part.held) * part.ticks_per_byte
            if any(segment.part.response is response for segment in self._segments):
                self._silence()
                self._drop()
            self._play_waiting()

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        """Play what waits for this response."""
        with self._changed:
            self._running.pop(fact.response, None)
            self._complete(fact.response)
            self._play_waiting()
            self._forget_some()

    def on_speech_started(self, fact: facts.SpeechStarted) -> None:
        """Fall silent."""
        self._interrupt(by_hand=False)

    def _complete(self, response: ResponseEntry) -> None:
        """Mark all parts of a response as complete, of which only the newest may not be."""
        part = self._newest.pop(response, None)
        if part is not None:
            part.complete = True

    def _ticks_now(self) -> int:
        audio_format = self._format or output_format(self._session.config)
        takes = format_of(self.speaker)
        if takes not in (None, audio_format) and not self._has_warned:
            self._has_warned = True
            _log.warning("the speaker expects %s audio, but the session sends %s", takes, audio_format)
        return _TICKS * 1000 // bytes_per_second(audio_format)

    def _new_part(self, entry: PartEntry, response: ResponseEntry) -> _Part:
        """Return a new part, which completes the response's earlier ones."""
        self._complete(response)
        ticks = self._running.get(response) or self._ticks_now()
        part = self._parts[entry] = _Part(entry, response, ticks, complete=response not in self._running)
        if not part.complete:
            self._newest[response] = part
        return part

    def _play(self, part: _Part, audio: bytes) -> None:
        """Write a delta to the speaker, or hold it while another response has to finish first."""
        part.received += len(audio) * part.ticks_per_byte
        if part is self._last and not self._waiting:
            self._write(part, audio)
        elif part in self._waiting or self._has_to_wait(part):
            part.held += audio
            self._held += len(audio) * part.ticks_per_byte
            self._waiting[part] = None
        else:
            self._write(part, audio)

    def _has_to_wait(self, part: _Part) -> bool:
        """Return whether another response that runs has begun to play, which goes first.

        Only one response at a time runs in the conversation, whether or not the server sends its end, so
        one of the two must be out-of-band.
        """
        last = self._last.response if self._last is not None else None
        if last is None or part.response is None or last is part.response or last in self._cut_off:
            return False
        return last in self._running and (last.out_of_band or part.response.out_of_band)

    def _play_waiting(self) -> None:
        """Write the held parts that no longer have to wait."""
        while self._waiting and not self._has_to_wait(next(iter(self._waiting))):
            part, _ = self._waiting.popitem(last=False)
            audio, part.held = bytes(part.held), bytearray()
            self._held -= len(audio) * part.ticks_per_byte
            self._write(part, audio)

    def _write(self, part: _Part, audio: bytes) -> None:
        """Write to the speaker, and record which part the audio belongs to."""
        self._advance()
        self._last = part
        if part.response is not None:
            part.response.played = True
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
            played = round(self.speaker.played_ms * _TICKS)
        except Exception as error:
            self._fail(error)
            return
        self._heard = max(self._heard, min(played, self._end))
        forgets = False
        while self._segments and self._segments[0].end <= self._heard:
            segment = self._segments.popleft()
            self._count_played(segment.part, segment.end - segment.start)
            forgets = True
        if forgets:
            self._forget_some()
        if not self._segments:  # the speaker may have played audio that is not ours
            self._heard = self._end = max(self._heard, played)

    def _count_played(self, part: _Part, ticks: int) -> None:
        part.heard += ticks
        if part.item is not None and part.heard >= _TICKS:
            self._begun[part.item] = None

    def _forget_some(self) -> None:
        """Forget what need not be kept once that may be half of it, so that to look for it costs little."""
        is_over = not (self._running or self._segments or self._waiting)
        if is_over or len(self._parts) > 2 * self._swept:
            self._forget()

    def _forget(self) -> None:
        """Forget the parts of responses that have ended and were played to their end."""
        kept = {*self._running, *(part.response for part in self._pending_parts())}
        for entry in [entry for entry, part in self._parts.items() if part.response not in kept]:
            del self._parts[entry]
            self._begun.pop(entry.item, None)
        self._swept = len(self._parts)

    def _pending_parts(self) -> list[_Part]:
        """Return the parts with received audio that was not played yet."""
        return [*(segment.part for segment in self._segments), *self._waiting]

    def _current(self) -> _Part | None:
        """Return the part that is playing; if no audio is pending, the last incomplete one."""
        if self._segments:
            return self._segments[0].part
        unfinished = (part for part in reversed(self._newest.values()) if not part.complete)
        return next((part for part in unfinished if part.response not in self._cut_off), None)

    def _is_unheard(self, item: ItemEntry) -> bool:
        """Return whether an item is in the conversation and less than a millisecond of it was played."""
        return item not in self._begun and self._is_in_conversation(item)

    def _is_in_conversation(self, item: ItemEntry | None) -> bool:
        if item is None or not item.id or item.deleted or item in self._gone:
            return False
        return item.response is not None and not item.response.out_of_band

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
            del self.interruptions[:-_MOST_INTERRUPTIONS]
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
        running = [response for response in self._running if response not in self._cut_off]
        active = self._session.ledger.responses.active
        if by_hand and active is not None and active not in self._running and active not in self._cut_off:
            running.append(active)  # the session knows of it before its events arrive here
        # Barge-in affects only a response that began before it: `active` may already be the next one.
        cancels = by_hand or not _server_cancels(self._session.config)
        cancel = active.id if active is not None and active in running and cancels else None
        stopped = [response for response in running if not response.out_of_band]
        playing = self._current()
        unheard = self._drop()
        for response in running:
            self._cut_off[response] = None
        if playing is None and not stopped:
            return None
        self._cuts += 1
        self._changed.notify_all()
        return _Cut(playing or _Part(None, stopped[0], 1), cancel, unheard)

    def _drop(self) -> list[ItemEntry]:
        """Discard all pending audio; return the items to delete, of which nothing was played."""
        self._forget()
        if self._segments:
            self._count_played(self._segments[0].part, self._heard - self._segments[0].start)
        pending = self._pending_parts()
        self._segments.clear()
        self._waiting.clear()
        self._held = 0
        self._end = self._heard
        unheard: dict[ItemEntry, None] = {}
        if self._delete_unheard:
            for part in (*pending, *self._parts.values()):
                if part.item is not None and self._is_unheard(part.item):
                    unheard[part.item] = None
        self._gone.update(unheard)
        self._forget()
        return list(unheard)

    def _report(self, cut: _Cut) -> Interruption:
        """Inform the server of an interruption, and return the report of it."""
        session = self._session
        part = cut.part
        end_ms, received_ms = min(part.heard, part.received) // _TICKS, part.received // _TICKS
        told: list[str | None] = []
        if cut.cancel is not None:
            told.append(self._tell(session.response.cancel, cut.cancel or None, if_active=True))
        truncated = None
        to_its_end = part.complete and end_ms == received_ms
        entry, item_id = part.entry, part.item.id if part.item is not None else None
        if entry is not None and end_ms and not to_its_end and self._is_in_conversation(entry.item):
            truncated = self._tell(
                session.conversation.item.truncate,
                item_id,
                content_index=entry.index,
                audio_end_ms=end_ms,
            )
        deleted = tuple(item.id for item in cut.unheard)
        told += [truncated, *(self._tell(session.conversation.item.delete, name) for name in deleted)]
        return Interruption(
            response_id=(part.response.id if part.response is not None else None) or None,
            item_id=item_id or None,
            content_index=entry.index if entry is not None else 0,
            audio_end_ms=end_ms,
            played_ms=part.heard / _TICKS,
            received_ms=part.received / _TICKS,
            truncated=truncated is not None,
            deleted=deleted,
            cancelled=cut.cancel,
            event_ids=tuple(event_id for event_id in told if event_id is not None),
        )

    def _tell(self, call: Callable[..., str], *args: object, **options: object) -> str | None:
        """Send an event and return its id; ``None`` if the session has ended, which is reported elsewhere."""
        try:
            return call(*args, **options)
        except ConnectionClosed:
            return None


def _position(speaker: AudioOutput) -> int:
    """Check a speaker, and return what it has played already, in ticks."""
    for name in ("write", "clear", "played_ms"):
        if not hasattr(speaker, name):
            raise TypeError(f"speaker must have a {name!r} attribute; {speaker!r:.80} has none")
    played = speaker.played_ms
    try:
        return round(played * _TICKS)
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
