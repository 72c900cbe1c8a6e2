"""`AskedSettings`: what a program has changed of the session's settings, to be asked for again elsewhere."""

from collections.abc import Mapping
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
        while self._sent:
            oldest = next(iter(self._sent))
            self._merge(oldest)
            if oldest == event_id:
                return

    def rejected(self, event_id: str) -> None:
        """Note that the server has rejected an update."""
        self._sent.pop(event_id, None)

    def events(self) -> list[dict[str, Any]]:
        """Return the updates that ask for all that is in force, without ids."""
        return [{"type": kind, "session": dict(session)} for kind, session in self._merged.items()]

    def _merge(self, event_id: str) -> None:
        event = self._sent.pop(event_id)
        session = event.get("session")
        if isinstance(session, dict):
            _merge(self._merged.setdefault(event["type"], {}), session)


def _merge(settings: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        inner = settings.get(name)
        if name in _NESTED and isinstance(inner, dict) and isinstance(value, Mapping):
            _merge(inner, value)
        else:
            settings[name] = dict(value) if isinstance(value, Mapping) else value
