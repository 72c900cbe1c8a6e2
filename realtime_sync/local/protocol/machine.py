"""One Realtime session from the server's side, as a pure state machine.

No socket, no thread, no clock, no chance: the same frames at the same times give the same events.
Three verbs:

* `Protocol.start` once, first: the events that open the session.
* `Protocol.receive` for every frame of the client: the events that answer it at once.
* `Protocol.step` at the time `Protocol.due`: the next events of what is in flight.  What is received
  between two steps takes effect between them, a cancel too.

Time is passed in as ``now``: seconds of any clock that doesn't go back.  Once `Protocol.closing` is set,
the session has ended and the caller closes the connection with that code and reason.

Whatever a client sends, nothing is raised: a frame that is rejected gives one ``error`` event,
changes nothing, and the session goes on.  Send events in the order in which they are returned.

Structs are never changed once they were put in an event or in the history, only replaced, so events
can share them.
"""

from typing import Any

import msgspec
from msgspec import structs

from ... import events as ev
from ...events import ServerEvent, SessionConfig
from ...events.codec import Deviation, decode_client
from ...sound.vad import DetectorFactory
from ...speech.transcribers import Transcriber
from ...speech.voices import Voice
from .beta import beta_param, from_beta, to_beta
from .checks import checked
from .ids import NEW, Ids, numbered
from .jobs import Jobs
from .models import Models
from .realtime import ConversationSession
from .refusal import Refused, missing
from .responders import Responder
from .settings import fresh_session
from .source import Runner
from .translation import TranslationSession

__all__ = ["Protocol"]

_EXPIRED = 1001
_NORMAL = 1000


class Protocol:
    """One session.

    Args:
        responder: Answers in place of a model.
        transcriber: Transcribes in place of a model.
        voice: Speaks in place of a model.
        detector: Makes what finds the turns in audio; see `realtime_sync.sound.vad.Detector`.
        background: Runs what may wait; by default everything is done within `step`.
        model: The model the client asked for; only announced.  ``None``: it asked for none, so a default is
            announced until an update names one.
        session_type: ``"realtime"``, ``"transcription"`` or ``"translation"``.
        dialect: ``"ga"`` or ``"beta"``.
        settings: Laid over what a session begins with, for example those an ephemeral secret was made for.
        expires_at: Announced, in Unix seconds.
        lifetime: Seconds after which the session expires (``session_expired``).
        delay: Seconds between two deltas of a response.
        realtime_pace: Whether to take as long over a response as a live server would.
        ids: Makes ids; counts by default.

    Raises:
        ValueError: The kind of session or the dialect is unknown.
        Refused: The settings are not what the specification allows.

    Attributes:
        closing: Close code and reason, once the session has ended.
    """

    def __init__(
        self,
        *,
        responder: Responder | None = None,
        transcriber: Transcriber | None = None,
        voice: Voice | None = None,
        detector: DetectorFactory | None = None,
        background: Runner | None = None,
        model: str | None = None,
        session_type: str = "realtime",
        dialect: str = "ga",
        settings: SessionConfig | None = None,
        expires_at: int | None = None,
        lifetime: float | None = None,
        delay: float = 0.0,
        realtime_pace: bool = False,
        ids: Ids | None = None,
    ) -> None:
        if session_type not in ("realtime", "transcription", "translation"):
            raise ValueError(
                f"unknown session_type {session_type!r}; expected one of realtime, transcription, translation"
            )
        if dialect not in ("ga", "beta"):
            raise ValueError(f"unknown dialect {dialect!r}; expected ga or beta")
        self.closing: tuple[int, str] | None = None
        self._dialect = dialect
        self._ids = ids or numbered()
        self._jobs = Jobs(delay, realtime_pace)
        self._lifetime = lifetime
        self._expires: float | None = None
        fresh = fresh_session(session_type, self._ids("sess"), model, expires_at)
        chosen: dict[str, Any] = {
            "responder": responder,
            "transcriber": transcriber,
            "voice": voice,
            "detector": detector,
            "background": background,
        }
        models = Models(**{name: value for name, value in chosen.items() if value is not None})
        self._session: ConversationSession | TranslationSession
        if session_type == "translation":
            self._session = TranslationSession(fresh, models, self._jobs)
        else:
            self._session = ConversationSession(self._ids, fresh, models, self._jobs)
        if settings is not None:
            self._session.configure(settings, 0.0)
        self._model = model or (settings.model if settings else None) or None  # that the client has named
        self._settings_size = self._measured()

    @property
    def active(self) -> bool:
        """Whether something is in flight: `step` will return events, now or later."""
        return bool(self._jobs)

    @property
    def due(self) -> float | None:
        """When `step` must be called next; ``None``: not before the client has sent something."""
        if self.closing:
            return None
        times = (self._jobs.due, self._session.due, self._expires)
        return min((time for time in times if time is not None), default=None)

    @property
    def held(self) -> int:
        """About how many bytes the session holds: its conversation, its audio, its settings."""
        return self._session.held + self._settings_size

    @property
    def session(self) -> SessionConfig:
        """The session's settings, in the terms of GA."""
        return self._session.config

    @property
    def items(self) -> list[ev.Item]:
        """The conversation as it is now, with its audio, in the terms of GA; a translation has none."""
        return self._session.items if isinstance(self._session, ConversationSession) else []

    def start(self, now: float = 0.0) -> list[ServerEvent]:
        """Open the session.  Return its first events."""
        if self._lifetime is not None:
            self._expires = now + self._lifetime
        events: list[ServerEvent] = [ev.SessionCreated(event_id=NEW, session=self.session)]
        if (
            self._dialect == "beta"
            and isinstance(self._session, ConversationSession)
            and self.session.type == "realtime"
        ):
            conversation = ev.Conversation(id=self._session.conversation_id, object="realtime.conversation")
            events.append(ev.ConversationCreated(event_id=NEW, conversation=conversation))
        return self._stamped(events)

    def receive(self, frame: bytes | str, now: float = 0.0) -> list[ServerEvent]:
        """Take one frame of the client and give what answers it now."""
        if self.closing:
            return []
        event_id = None
        try:
            deviations: list[Deviation] = []
            event = decode_client(frame, report=deviations.append)
            event_id = event.event_id or None
            event = checked(event, deviations, frame, self._dialect)
            if self._dialect == "beta":
                event = from_beta(event)
            if isinstance(event, ev.SessionUpdate):
                self._check_update(event.session)
            events = self._session.obey(event, now, len(frame))
            if isinstance(event, ev.SessionUpdate):
                self._model = self._model or event.session.model or None
                self._settings_size = self._measured()
        except Refused as refusal:
            events = [refusal.event(event_id)]
        return self._stamped(events + self._farewell())

    def close(self) -> None:
        """Let go of what is in flight, so that the memory is free as soon as nobody uses the session."""
        self._session.close()

    def _measured(self) -> int:
        """Return about how many bytes the settings take, which costs what announcing them does."""
        return len(msgspec.json.encode(self.session, enc_hook=repr))

    def _check_update(self, new: SessionConfig) -> None:
        """Reject an update that would change the kind of the session, or the model that was named."""
        kind = self.session.type
        if not new.type and kind != "translation":
            raise missing("session.type")
        if new.type and new.type != kind:
            raise Refused(
                "invalid_value",
                f"expected {kind!r}, the kind of this session; got {new.type!r:.100}",
                "session.type",
            )
        if new.model and self._model and new.model != self._model:
            message = f"the model of a session can't be changed: expected {self._model!r:.100}"
            raise Refused("cannot_update_model", f"{message}, got {new.model!r:.100}", "session.model")

    def step(self, now: float = 0.0) -> list[ServerEvent]:
        """Take the next step of what is in flight, and return its events; ``[]`` when nothing is due.

        Several things (out-of-band responses, transcriptions) take turns.
        """
        if self.closing:
            return []
        if self._expires is not None and now >= self._expires:
            return self._stamped([self._expire()])
        if self._session.due is not None and now >= self._session.due:
            return self._stamped(self._session.wake(now))
        job, events = self._jobs.step(now)
        if job is not None:
            events += self._session.stepped(job, events, now)
        return self._stamped(events + self._farewell())

    def _farewell(self) -> list[ServerEvent]:
        """Return the last event of a session that the client has closed, once all else is sent."""
        if not isinstance(self._session, TranslationSession) or not self._session.finished:
            return []
        self.closing = (_NORMAL, "")
        return [ev.SessionClosed(event_id=NEW)]

    def _expire(self) -> ServerEvent:
        self.closing = (_EXPIRED, "session expired")
        error = ev.ErrorDetails(
            type="invalid_request_error",
            code="session_expired",
            message=f"Your session hit the maximum duration of {self._lifetime or 0:g} seconds.",
        )
        return ev.ErrorEvent(event_id=NEW, error=error)

    def _stamped(self, events: list[ServerEvent]) -> list[ServerEvent]:
        """The events as they are sent: in the client's dialect, each with an id."""
        if self._dialect == "beta":
            events = [beta for event in events for beta in to_beta(_respelt(event))]
        for event in events:
            event.event_id = self._ids("event")
        return events


def _respelt(event: ServerEvent) -> ServerEvent:
    """An error with the field at fault as a Beta client knows it; an unknown field is as it was written."""
    if not isinstance(event, ev.ErrorEvent) or event.error.param is None:
        return event
    if event.error.code == "unknown_parameter":
        return event
    param = beta_param(event.error.param)
    message = event.error.message.replace(event.error.param, param)
    return structs.replace(event, error=structs.replace(event.error, param=param, message=message))
