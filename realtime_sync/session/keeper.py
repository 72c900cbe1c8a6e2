"""`Keeper`: what a session keeps of itself, so that it can go on with another connection."""

import logging
from collections.abc import Iterator

from msgspec import structs

from ..events import (
    ClientEvent,
    ConversationItemCreate,
    ConversationItemDelete,
    InputAudioBufferAppend,
    InputAudioBufferCommit,
    ServerEvent,
    SessionConfig,
)
from ..sound.formats import bytes_per_second, input_format
from .facts import ItemEntry
from .ledger import RESTARTED, Change, Ledger
from .mirror import Mirror
from .outbox import Event
from .plan import Plan, Restored, is_cancelled, is_meant, make_plan
from .transcript import items_to_create

__all__ = ["Keeper"]

_log = logging.getLogger("realtime_sync")


class Keeper:
    """Keeps what can be restored of one session.  `Gate` calls it under its lock.

    Args:
        ledger: What is known of the session.
        dialect: That of the session.
        seconds: Of the user's audio of which a copy is kept.

    Attributes:
        appends: How this session appends audio.
    """

    def __init__(self, ledger: Ledger, dialect: str, seconds: float) -> None:
        self._ledger = ledger
        self._dialect = dialect
        self._seconds = seconds
        self._mirror = Mirror("drop", ledger)
        self._as_text: set[ItemEntry] = set()  # speech of the model that was restored: as text
        self._rated: SessionConfig | None = None  # the settings by which that is so many bytes
        self._most = int(seconds * bytes_per_second(input_format(None)))
        self.appends: type[ClientEvent] = InputAudioBufferAppend

    @property
    def keeps_audio(self) -> bool:
        """Whether a copy of the user's audio is kept."""
        return self._seconds > 0

    @property
    def most_audio(self) -> int:
        """Bytes of audio of which a copy is kept, in the session's present format."""
        if self._ledger.config is not self._rated:
            self._rated = self._ledger.config
            self._most = int(self._seconds * bytes_per_second(input_format(self._rated)))
        return self._most

    def note(self, event: ServerEvent) -> None:
        """Learn what items hold, from an event with its facts."""
        if event.facts:
            try:
                self._mirror.visit(event)
            except Exception:  # a bug of ours must not cost the session
                _log.exception("an event of type %r was not mirrored", event.type)

    def plan(self, repeat: bool | None, version: tuple[int, int]) -> Plan:
        """Return what is to be restored; see `make_plan`."""
        return make_plan(self._ledger, self._mirror, self._dialect, repeat, version)

    def settled(self, change: Change) -> Change:
        """Return a change as it is now: what was to be asked for again may have been cancelled since."""
        fates = {
            response: "cancelled" if fate == RESTARTED and is_cancelled(self._ledger, response) else fate
            for response, fate in change.fates.items()
        }
        return structs.replace(change, fates=fates)

    def again(self, restored: Restored) -> Iterator[Event]:
        """Begin with the audio of another connection; return what is to be sent again by it, in order."""
        self._as_text = {entry for entry in restored.items if entry.role == "assistant"}
        ledger, audio = self._ledger, self._ledger.audio
        letters, commits = ledger.requests.outbox.letters(), audio.rewind(restored.rewound)
        place = audio.restart()
        for end in commits:
            yield from map(self.append, audio.copy(place, end))
            place = max(place, end)
            commit = InputAudioBufferCommit(event_id=f"event_recommitted_{place}")
            ledger.sent_event(commit, str(commit.event_id), place).posted = True
            yield commit
        for number, letter in letters.items():
            yield from map(self.append, audio.copy(place, letter.audio))
            place = max(place, letter.audio)
            if is_meant(letter.event, restored.change.gone):
                yield letter.event
            else:
                ledger.requests.drop(number)
        yield from map(self.append, audio.copy(place, audio.appended))

    def append(self, audio: bytes) -> ClientEvent:
        """Return the event that appends audio."""
        return self.appends(audio=audio)  # type: ignore[call-arg]  # both have it

    def truncate(self, item_id: str, event_id: str, audio_end_ms: int) -> list[ClientEvent]:
        """Return what does to an item that was restored as text what truncation does to audio.

        It is deleted, and created anew with the words that were heard, if there are any.  Nothing is returned
        for another item.
        """
        entry = self._ledger.item(item_id)
        if entry is None or entry not in self._as_text:
            return []
        self._as_text.discard(entry)
        for part in entry.parts.values():
            part.asked_ms[event_id] = audio_end_ms
        instead: list[ClientEvent] = [ConversationItemDelete(item_id=entry.id, event_id=event_id)]
        before = "root"
        for other, item in self._mirror.in_order():
            if other is entry:
                for wire in items_to_create([item], self._dialect):
                    name = f"{event_id}_created"
                    instead.append(ConversationItemCreate(item=wire, previous_item_id=before, event_id=name))
                break
            before = other.id or before
        return instead
