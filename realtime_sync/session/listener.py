"""`Listener`: a visitor that is called with facts."""

from typing import Any

from ..events import ServerEvent
from ..spelling import nearest
from ..visitor import Visitor
from .facts import Fact, Facts
from .ledger import Ledger

__all__ = ["Listener"]

_HANDLERS = {fact.handler for fact in Fact.__subclasses__()}


class Listener(Visitor[None]):
    """A visitor that is called with facts: define ``on_text``, ``on_response_ended``, and so on.

    ``visit_*`` methods work as in every visitor; they are called after the facts of their event.

    Args:
        has_session: Whether there is a session whose events it sees.  Events from elsewhere are then taken to
            be of responses in the conversation, if nothing says otherwise.

    Raises:
        TypeError: At class definition: an ``on_*`` method fits no fact.
    """

    handles_errors = False
    _has_visits = False
    _has_session = False
    _ledger: Ledger | None = None  # understands events that no session has understood
    _previous: ServerEvent | None = None

    def __init__(self, *, has_session: bool = False) -> None:
        self._has_session = has_session

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if name.startswith("on_") and name not in _HANDLERS:
                raise TypeError(
                    f"{cls.__name__}.{name} handles no fact; did you mean {nearest(name, _HANDLERS)}?"
                )
            if name.startswith("visit_") and getattr(cls, name) is not getattr(Visitor, name, None):
                cls._has_visits = True

    def visit(self, event: ServerEvent) -> None:
        """Call the methods for the facts of an event, then the one for the event itself."""
        if event is self._previous:
            return  # received directly, and again from a visitor that forwards its events to this one
        self._previous = event
        facts = event.facts
        if facts is None:
            facts = self._ledger.note(event) if self._ledger is not None else self._first(event)
        for fact in facts or ():
            handle = getattr(self, fact.handler, None)
            if handle is not None:
                handle(fact)
        if self._has_visits:
            super().visit(event)

    def _first(self, event: ServerEvent) -> Facts | None:
        """Understand the first event that comes from no session, such as one that you have decoded."""
        self._ledger = Ledger(has_requests=self._has_session)
        return self._ledger.note(event)
