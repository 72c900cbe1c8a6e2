"""`Assistant`: a session with ears, a mouth, hands and a memory."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ..events import (
    ErrorEvent,
    InputAudioBufferSpeechStarted,
    ResponseCreated,
    ServerEvent,
    SessionConfig,
)
from ..exceptions import RealtimeError
from ..session import Session
from ..sound.formats import BETA_FORMATS, PCM, output_format
from ..visitor import Visitor, Visitors
from .conversation import Conversation
from .playback import Interruption, Playback
from .speakers import AudioOutput, format_of
from .tool_runner import ApproveMcp, ToolResult, ToolRunner
from .tools import Tools

__all__ = ["Assistant", "AudioInput"]

_E = TypeVar("_E", bound=ServerEvent)
_NEWS = (InputAudioBufferSpeechStarted, ResponseCreated)  # after which nobody waits for the old to be played
_SHORTEST = 0.005  # seconds of a wait; what is left to play may be less


class AudioInput(Protocol):
    """A microphone: anything that sends the user's sound to the session between `start` and `stop`."""

    def start(self) -> None:
        """Begin to send."""
        ...

    def stop(self) -> None:
        """Send no more.  May be called again, and without `start`."""
        ...


class Assistant:
    """A voice assistant in one object: the parts of `realtime_sync.voice`, joined.

    ::

        with rt.connect(model="gpt-realtime-2.1") as session:
            Assistant(session, microphone=Microphone(session), speaker=Speaker()).run()

    The user may speak whenever they like: what plays stops, and the server learns how much was heard.

    The server is told of instructions, tools and settings at once, so that the assistant can speak first:
    ``session.response.create()``, and then `run`.

    Args:
        session: Yours to open and to close.
        tools: What the model may call, `Tools` or a list of functions.  They run on threads of their own.
        microphone: Started and stopped by `run`; ``None`` = you send the sound, or text.
        speaker: Plays the answers; ``None`` = you do, or they are in text.
        instructions: For the model; ``None`` = as the session has them.
        transcription: The model that writes down what the user says, for `conversation` to have;
            ``None`` = leave that as the session has it.
        approve_mcp: Asked before a tool of an MCP server is used, on a thread of its own; true allows it, and
            a text forbids it and says why.
        on_call: Told of each call that has ended, to show it; see `ToolRunner`.
        on_interrupt: Told of each interruption; see `Playback`.
        visitors: Yours; each sees every event, after the assistant's own parts.
        conversation: To be kept in place of one of the assistant's own, which keeps no sound.
        playback: In place of one of the assistant's own, and of ``speaker`` and ``on_interrupt``.
        tool_runner: In place of one of the assistant's own, and of ``tools``, ``approve_mcp`` and
            ``on_call``.
        settings: More of what `Session.update` takes.

    Raises:
        TypeError: The microphone, the speaker or a visitor is none; a part is given, and what it replaces.
        ValueError: The speaker's ``played_ms`` is no finite number, or two tools have one name.
        ConnectionClosed: The session is over.

    Attributes:
        conversation: What was said (`Conversation`).
        playback: What plays (`Playback`); ``None`` without a speaker.
        tool_runner: What runs the tools (`ToolRunner`).
        visitor: All of them, as `run` hands the events to them.
    """

    def __init__(
        self,
        session: Session,
        *,
        tools: Tools | Sequence[Callable[..., Any]] | None = None,
        microphone: AudioInput | None = None,
        speaker: AudioOutput | None = None,
        instructions: str | None = None,
        transcription: str | None = "gpt-4o-mini-transcribe",
        approve_mcp: ApproveMcp | None = None,
        on_call: Callable[[ToolResult], object] | None = None,
        on_interrupt: Callable[[Interruption], object] | None = None,
        visitors: Sequence[Visitor[Any]] = (),
        conversation: Conversation | None = None,
        playback: Playback | None = None,
        tool_runner: ToolRunner | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(visitors, Visitor):
            raise TypeError(f"visitors is a list of them, not {visitors!r:.80}")
        if playback is not None and (speaker is not None or on_interrupt):
            raise TypeError("with playback=, speaker and on_interrupt are to be given to that")
        if tool_runner is not None and (tools is not None or approve_mcp or on_call):
            raise TypeError("with tool_runner=, tools, approve_mcp and on_call are to be given to that")
        for name in ("start", "stop"):
            if microphone is not None and not callable(getattr(microphone, name, None)):
                raise TypeError(f"a microphone needs a method {name!r}: {microphone!r:.80} has none")
        self.session = session
        self.microphone = microphone
        if playback is None and speaker is not None:
            playback = Playback(session, speaker, on_interrupt=on_interrupt)
        if tool_runner is None:
            tools = tools if isinstance(tools, Tools) else Tools(*tools or ())
            tool_runner = ToolRunner(session, tools, approve_mcp=approve_mcp, on_call=on_call)
        self.conversation = conversation or Conversation(session, audio="drop")
        self.playback = playback
        self.speaker = playback.speaker if playback is not None else None
        self.tool_runner = tool_runner
        self.tools = tool_runner.tools
        self._settings = settings
        self._instructions = instructions
        self._transcription = transcription
        self._format = _format_to_set(self.speaker, session.config)
        self._told: dict[str, Any] = {}
        self._errors = _Errors()
        # The sound first: nothing may delay the moment at which it stops.
        parts = [self.playback, self.conversation, self.tool_runner, self._errors, *visitors]
        self.visitor = Visitors(*(part for part in parts if part is not None))
        self._tell()

    def run(
        self, until: type[_E] | tuple[type[_E], ...] | None = None, timeout: float | None = None
    ) -> _E | None:
        """Listen and answer, until the session ends.

        Returns when all was played that had come by then; the user may break in meanwhile.  Ctrl-C ends it
        at once, and so does an error.  It may be called again, to go on.

        Args:
            until: As in `Session.run`.  What plays then is played to its end, unless the user speaks, or
                the next response begins.
            timeout: Seconds for all of it, after which nothing is waited for.

        Returns:
            What `Session.run` returns.

        Raises:
            ConnectionClosed: The session did not end normally.
            RealtimeError: The server refused the settings.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._tell()
        try:
            if self.microphone is not None:
                self.microphone.start()
            end = self.session.run(self.visitor, until, timeout)
            if self.playback is not None:
                self._play_out(self.playback, deadline)
            return end
        finally:
            if self.microphone is not None:
                self.microphone.stop()

    def _play_out(self, playback: Playback, deadline: float | None) -> None:
        """Let the rest be heard, and run the session on, since the user may break in."""
        while not self.session.closed:
            pending = playback.pending_ms
            left = min(pending / 1000, _left(deadline))
            if left <= 0 or playback.failure is not None:
                return
            news = self.session.run(self.visitor, _NEWS, max(left, _SHORTEST))
            if news is not None or playback.pending_ms >= pending:  # or the speaker stands still
                return
        left = _left(deadline)
        playback.wait_played(None if left == math.inf else left)

    def interrupt(self) -> Interruption | None:
        """Stop what is being said, as if the user had spoken.  From any thread.

        Returns:
            What was cut off, if it was; see `Playback.interrupt`.
        """
        if self.playback is not None:
            return self.playback.interrupt()
        self.session.response.cancel(if_active=True)
        return None

    def _tell(self) -> None:
        """Tell the server what is to be, unless it was told: tools may be new, and settings were refused."""
        changes = self._changes()
        if changes and (self._errors.settings is None or changes != self._told):
            self._told, self._errors.settings = changes, self.session.update(**changes)

    def _changes(self) -> dict[str, Any]:
        """What to tell the server, in the session's dialect."""
        changes: dict[str, Any] = {}
        if self._instructions is not None:
            changes["instructions"] = self._instructions
        if self.tools:
            changes["tools"] = self.tools.definitions
        in_dialect = _beta if self.session.dialect == "beta" else _ga
        changes |= in_dialect(self._transcription, self._format)
        return _merged(changes, self._settings)


def _format_to_set(speaker: AudioOutput | None, config: SessionConfig | None) -> str | None:
    """The format that the speaker takes, if the session gives another one."""
    wanted = format_of(speaker)
    return wanted if wanted != output_format(config) else None


def _merged(settings: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them, those of inner objects one by one."""
    merged = dict(settings)
    for name, value in more.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            value = _merged(inner, value)
        merged[name] = value
    return merged


def _left(deadline: float | None) -> float:
    """Seconds, never less than 0."""
    return math.inf if deadline is None else max(0.0, deadline - time.monotonic())


def _ga(transcription: str | None, audio_format: str | None) -> dict[str, Any]:
    audio: dict[str, Any] = {}
    if transcription is not None:
        audio["input"] = {"transcription": {"model": transcription}}
    if audio_format is not None:
        rate = {"rate": 24_000} if audio_format == PCM else {}
        audio["output"] = {"format": {"type": audio_format, **rate}}
    return {"audio": audio} if audio else {}


def _beta(transcription: str | None, audio_format: str | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if transcription is not None:
        changes["input_audio_transcription"] = {"model": transcription}
    if audio_format is not None:
        changes["output_audio_format"] = BETA_FORMATS[audio_format]
    return changes


class _Errors(Visitor[None]):
    """Ends the run if the server refuses the settings.

    Attributes:
        settings: The event that sent them.
    """

    handles_errors = False
    settings: str | None = None

    def visit_error(self, event: ErrorEvent) -> None:
        error = event.error
        if error.event_id is not None and error.event_id == self.settings:
            self.settings = None  # the next run tries again
            raise RealtimeError(f"the server refused the assistant's settings: {error.message}")
