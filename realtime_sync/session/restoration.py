"""Putting what was lost with a connection into the session of another one, before anything else is sent."""

import time
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, structs

from .. import events as ev
from ..events import ClientEvent, ServerEvent
from ..events.codec import decode_messages, encode
from ..events.surrogates import Joiner
from ..exceptions import ConnectionFailed, is_fatal
from ..redaction import Redact, one_line, without_secrets
from ..wire.transport import Transport
from .facts import ItemEntry
from .ledger import Change
from .outbox import Event
from .plan import Plan, Restored

__all__ = ["restore"]

# Seconds to wait for an answer, beginning anew with each: a server says at once that it has taken an item,
# and two seconds are a bad network's round trip with a lost packet in each direction.
_PATIENCE = 2.0
_PREFIX = "event_restored_"
_LONGEST = 200  # characters shown of what a server says

_ANNOUNCED = (
    ev.SessionCreated,
    ev.SessionUpdated,
    ev.TranscriptionSessionCreated,
    ev.TranscriptionSessionUpdated,
)
_UPDATED = (ev.SessionUpdated, ev.TranscriptionSessionUpdated)
_ENTERED = (ev.ConversationItemAdded, ev.ConversationItemCreated, ev.ConversationItemDone)


def restore(
    plan: Plan,
    transport: Transport,
    old: ev.SessionConfig | None,
    redact: Redact,
    deadline: float,
    *,
    waits: bool,
) -> Restored:
    """Restore a session by a new connection, and return what was restored.

    Args:
        plan: What is to be restored.
        transport: The connection, of which nothing was read yet.
        old: The settings that were in force.
        redact: Removes secrets from what the server says.
        deadline: When the server must have begun its session, on the clock of `time.monotonic`.
        waits: Whether the server sends an event before it receives something.

    Raises:
        ConnectionFailed: The connection ended, the server doesn't begin a session, or rejects it, or says
            other things in place of answers.
    """
    return _Restoration(plan, transport, redact, waits=waits).run(old, deadline)


class _Restoration:
    """One try to restore a session.

    What is to be created is answered in the order in which it was sent, by an item or an error.
    """

    def __init__(self, plan: Plan, transport: Transport, redact: Redact, *, waits: bool) -> None:
        self._plan = plan
        self._transport = transport
        self._redact = redact
        self._waits = waits
        self._config: ev.SessionConfig | None = None
        self._waiting: dict[str, ItemEntry | None] = {}  # what is not answered, by event_id; `None`: settings
        self._again: list[ItemEntry] = []  # items that were rejected with the ids that they had
        self._names: dict[ItemEntry, str] = {}  # by the server
        self._gone: list[ItemEntry] = []
        self._lost: list[str] = []
        self._sent = 0
        self._joiner = Joiner()

    def run(self, old: ev.SessionConfig | None, deadline: float) -> Restored:
        """Do it."""
        while self._waits and self._config is None:
            if not self._receive(deadline):
                raise ConnectionFailed("the server began no session before the connect timeout")
        for update in self._plan.updates:
            self._send(update, None)
        for entry, wire in self._plan.items:
            self._send(ev.ConversationItemCreate(item=wire), entry)
        self._settle()
        self._create_without_ids()
        self._settle()
        self._compare(old)
        names = {entry: name for entry, name in self._names.items() if name != entry.id}
        plan = self._plan
        change = Change(self._config, (*plan.gone, *self._gone), names, plan.fates, plan.untranscribed)
        created = tuple(entry for entry, _ in plan.items if entry not in self._gone)
        lost = (*plan.lost, *self._lost)
        return Restored(change, created, plan.rewound, lost, complete=not lost)

    def _send(self, event: Event, entry: ItemEntry | None) -> None:
        self._sent += 1
        event_id = f"{_PREFIX}{self._sent}"
        self._waiting[event_id] = entry
        if isinstance(event, ClientEvent):
            event = structs.replace(event, event_id=event_id)
        else:
            event = {**event, "event_id": event_id}
        try:
            self._transport.offer(encode(event), event)
        except OSError as error:
            raise _broken() from error

    def _settle(self) -> None:
        """Wait until all is answered.

        A server that falls silent counts as having taken the rest: there are those that acknowledge nothing.

        Raises:
            ConnectionFailed: The server goes on to say other things, but answers nothing any more.
        """
        while left := len(self._waiting):
            deadline, talks = time.monotonic() + _PATIENCE, False
            while len(self._waiting) == left and self._receive(deadline):
                talks = True
            if len(self._waiting) == left:
                if talks:
                    raise ConnectionFailed(f"the server left {left} events of the restoration unanswered")
                self._waiting.clear()

    def _receive(self, deadline: float) -> bool:
        """Take what comes next; return False if nothing comes before the deadline."""
        if time.monotonic() >= deadline:  # something may be there at each moment
            return False
        messages = self._transport.receive(deadline)
        for event in decode_messages(messages, _ignore, self._joiner):
            self._take(event)
        if not messages and self._transport.closure is not None:
            raise _broken(self._redact(self._transport.closure.reason)) from self._transport.closure.cause
        return bool(messages)

    def _take(self, event: ServerEvent) -> None:
        if isinstance(event, ev.ErrorEvent):
            self._fail(event.error)
        elif isinstance(event, _ANNOUNCED):
            self._config = event.session
            if isinstance(event, _UPDATED):
                self._answered(None)
        elif isinstance(event, _ENTERED):
            item_id = getattr(event.item, "id", None)
            if isinstance(item_id, str) and item_id not in self._names.values():
                entry = self._answered(item_id)
                if entry is not None:
                    self._names[entry] = item_id

    def _answered(self, item_id: str | None) -> ItemEntry | None:
        """Return the item that is in the conversation now: the one of that id, or else the oldest.

        ``None`` as the id: an update of the settings was taken.
        """
        named = (name for name, entry in self._waiting.items() if entry is not None and entry.id == item_id)
        oldest = (name for name, entry in self._waiting.items() if (entry is None) == (item_id is None))
        name = next(named, None) or next(oldest, None)
        return self._waiting.pop(name) if name is not None else None

    def _fail(self, error: ev.ErrorDetails) -> None:
        details = without_secrets(error, self._redact)
        said = one_line(details.message or details.code or details.type, _LONGEST)
        name = error.event_id if error.event_id else next(iter(self._waiting), None)
        if (self._waits and self._config is None) or is_fatal(error) or error.code == "session_expired":
            raise ConnectionFailed(f"the server rejected the session: {said}", error=details)
        if name not in self._waiting:
            return
        entry = self._waiting.pop(name)
        if entry is None:
            self._lost.append(f"settings: the server rejected them: {said}")
        elif entry in self._again or not self._has_id(entry):
            self._gone.append(entry)
            self._lost.append(f"item {one_line(entry.id)} ({entry.type}): the server rejected it: {said}")
        else:
            self._again.append(entry)

    def _has_id(self, entry: ItemEntry) -> bool:
        return any(getattr(wire, "id", None) for other, wire in self._plan.items if other is entry)

    def _create_without_ids(self) -> None:
        """Create what was rejected once more, with an id of the server's, at its place."""
        before = "root"
        for entry, wire in self._plan.items:
            if entry in self._again:
                wire = structs.replace(wire, id=None)  # type: ignore[type-var]  # one with an id
                self._send(ev.ConversationItemCreate(item=wire, previous_item_id=before), entry)
                self._settle()
            before = self._names.get(entry, before)

    def _compare(self, old: ev.SessionConfig | None) -> None:
        """Note which settings are not what they were."""
        new = self._config
        if old is None or new is None:
            return
        for name, before, now in _differences(old, new):
            self._lost.append(f"setting {name}: it was {_shown(before)}, and is {_shown(now)}")


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Return which settings a server announced differently: their names, and both values."""
    for name in old.__struct_fields__:
        before, now = getattr(old, name), getattr(new, name, None)
        if path + name in ("id", "object", "expires_at", "client_secret") or before == now:
            continue
        if type(before) is type(now) and name in ("audio", "input", "output"):
            yield from _differences(before, now, f"{path}{name}.")
        else:
            yield f"{path}{name}", before, now


def _shown(value: Any) -> str:
    return "not set" if value is UNSET else f"{value!r:.80}"


def _broken(reason: str = "") -> ConnectionFailed:
    return ConnectionFailed(
        f"the new connection was lost before the session was restored{': ' if reason else ''}{reason}"
    )


def _ignore(event: str, places: dict[str, int], frame: bytes) -> None:
    """Leave it to the session to count how a server deviates."""
