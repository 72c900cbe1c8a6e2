"""`AskedSettings`: what a program has changed of the session's settings, to be asked for again elsewhere."""

from typing import Any

import msgspec

from ..events.codec import encode
from .latest import Latest
from .outbox import Event

__all__ = ["AskedSettings"]

_MOST = 256  # updates that the server is yet to answer; older ones count as answered
_NESTED = ("audio", "input", "output")  # objects that an update changes in part; others it replaces


class AskedSettings:
    """The updates of one session, merged in the order in which they were sent."""

    def __init__(self) -> None:
        self._merged: dict[str, dict[str, Any]] = {}  # by the update's type
        self._sent: Latest[str, dict[str, Any]] = Latest(_MOST + 1)  # not answered yet, by event_id

    def sent(self, event_id: str, event: Event) -> None:
        """Note an update that is sent."""
        self._sent.pop(event_id, None)
        self._sent[event_id] = msgspec.json.decode(encode(event))
        if len(self._sent) > _MOST:
            self._merge(next(iter(self._sent)))

    def confirmed(self, event_id: str) -> None:
        """Note that the server has taken an update, and so all before it."""
        while event_id in self._sent:
            self._merge(next(iter(self._sent)))

    def rejected(self, event_id: str) -> None:
        """Note that the server has rejected an update."""
        self._sent.pop(event_id, None)

    def events(self) -> list[dict[str, Any]]:
        """Return the updates that ask for all that is in force, without ids."""
        return [{"type": kind, "session": session} for kind, session in self._merged.items()]

    def _merge(self, event_id: str) -> None:
        event = self._sent.pop(event_id)
        session = event.get("session")
        if isinstance(session, dict):
            self._merged[event["type"]] = _merged(self._merged.get(event["type"], {}), session)


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return settings with changes, as a new dict: those that were returned before stay as they are."""
    return settings | {
        name: _merged(settings[name], value) if _changes_in_part(name, settings, value) else value
        for name, value in changes.items()
    }


def _changes_in_part(name: str, settings: dict[str, Any], value: Any) -> bool:
    return name in _NESTED and isinstance(settings.get(name), dict) and isinstance(value, dict)
