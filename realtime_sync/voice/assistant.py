"""`Assistant`: a session with ears, a mouth, hands and a memory."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ..events import (
    InputAudioBufferSpeechStarted,
    ResponseCreated,
    ServerEvent,
    SessionConfig,
)
from ..exceptions import RealtimeError
from ..session import Session, facts
from ..session.listener import Listener
from ..sound.formats import BETA_FORMATS, PCM, PCM_RATE, output_format
from ..visitor import Visitor, Visitors
from .conversation import Conversation
from .microphones import Microphone
from .playback import Interruption, Playback
from .speakers import AudioOutput, format_of
from .tool_runner import ApproveMcp, ToolResult, ToolRunner
from .tools import AnyTool, Tools

__all__ = ["Assistant", "AudioInput"]

_E = TypeVar("_E", bound=ServerEvent)
_NEWS = (InputAudioBufferSpeechStarted, ResponseCreated)  # after these the old audio needn't be waited for
_SHORTEST = 0.005  # seconds to wait, even if less is left to play


class AudioInput(Protocol):
    """Define a microphone: any object that sends user audio to the session between `start` and `stop`.

    If it has a method ``abandon`` as well, that is called before `stop` when Ctrl-C ends `Assistant.run`: it
    should stop without waiting for anything, such as a network that is down.
    """

    def start(self) -> None:
        """Begin to send audio."""
        ...

    def stop(self) -> None:
        """Stop sending.  It may be called several times, and without `start`."""
        ...


class Assistant:
    """Join the parts of `realtime_sync.voice` into a voice assistant.

    ::

        with rt.connect(model="gpt-realtime-2.1") as session:
            Assistant(session, microphone=Microphone(session), speaker=Speaker()).run()

    The user may interrupt at any time (barge-in): the audio stops, and the server is told how much was
    played.

    The constructor sends instructions, tools and settings to the server at once, so the assistant can speak
    first: call ``session.response.create()`` before `run`.

    Args:
        session: An open session.  You open and close it.
        tools: The functions that the model may call, and an `events.McpTool` for each MCP server that it may
            use, as `Tools` or a list.  The functions run on threads of their own, MCP tools on the server.
        microphone: Started and stopped by `run`.  One that finds the turns itself (``vad=``) interrupts, too.
            ``None`` (the default): you send the audio, or text.
        speaker: Plays the responses.  ``None`` (the default): you play them, or they are text.
        instructions: The instructions for the model; ``None`` (the default) keeps the session's.
        transcription: The model that transcribes the user's speech for `conversation`; ``None`` keeps the
            session's setting.
        approve_mcp: Called before each MCP call, on a thread of its own: ``True`` allows it; ``False``, or a
            text with the reason, rejects it.
        on_call: Called with the `ToolResult` of each call that has ended; see `ToolRunner`.
        on_interrupt: Called with each `Interruption`; see `Playback`.
        visitors: Your own visitors; each sees every event, after the assistant's parts.
        conversation: A `Conversation` to use instead of the default one, which keeps no audio.
        playback: A `Playback` to use instead of the default one; excludes ``speaker`` and
            ``on_interrupt``.
        tool_runner: A `ToolRunner` to use instead of the default one; excludes ``tools``, ``approve_mcp``
            and ``on_call``.
        idle_timeout: Seconds in which nobody speaks, nothing is played and no tool runs, after which the
            session is closed normally; ``None`` (the default) = never.  See `Session.close_when_idle`.
        settings: Further settings, as for `Session.update`.

    Attributes:
        session, microphone, speaker, tools: The objects it was made with; ``tools`` as `Tools`.
        conversation: The `Conversation`.
        playback: The `Playback`; ``None`` without a speaker.
        tool_runner: The `ToolRunner`.
        visitor: The `Visitors` that `run` passes the events to.

    Raises:
        TypeError: The microphone, the speaker, a tool or a visitor is of the wrong kind, or an argument was
            passed along with the part that excludes it.
        ValueError: The speaker's ``played_ms`` is not finite, or two tools have the same name or label.
        ConnectionClosed: The session has ended.
    """

    def __init__(
        self,
        session: Session,
        *,
        tools: Tools | Sequence[AnyTool] | None = None,
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
        idle_timeout: float | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(visitors, Visitor):
            raise TypeError(f"visitors must be a list of visitors, got {visitors!r:.80}")
        if playback is not None and (speaker is not None or on_interrupt):
            raise TypeError("playback= excludes speaker= and on_interrupt=; pass these to the Playback")
        if tool_runner is not None and (tools is not None or approve_mcp or on_call):
            raise TypeError(
                "tool_runner= excludes tools=, approve_mcp= and on_call=; pass these to the ToolRunner"
            )
        for name in ("start", "stop"):
            if microphone is not None and not callable(getattr(microphone, name, None)):
                raise TypeError(f"microphone must have a {name!r} method; {microphone!r:.80} has none")
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
        # Playback first: nothing may delay the moment at which the audio stops.
        parts = [self.playback, self.conversation, self.tool_runner, self._errors, *visitors]
        self.visitor = Visitors(*(part for part in parts if part is not None))
        if isinstance(microphone, Microphone) and microphone.on_speech is None:
            microphone.on_speech = self.interrupt
        self._tell()
        if idle_timeout is not None:
            session.close_when_idle(idle_timeout, is_busy=self._is_busy)

    def _is_busy(self) -> bool:
        """Return whether a tool runs, or something is being played."""
        return self.tool_runner.pending > 0 or (self.playback is not None and self.playback.pending_ms > 0)

    def run(
        self, until: type[_E] | tuple[type[_E], ...] | None = None, timeout: float | None = None
    ) -> _E | None:
        """Listen and answer, until the session ends or an event of a given type arrives.

        It returns once the audio received by then was played; the user may interrupt meanwhile.  Call it
        again to continue.  Ctrl-C or an error ends it at once, and drops the follow-ups of tool calls as
        `interrupt` does.

        Args:
            until: The event type, or types, to stop at; see `Session.run`.  Pending audio is played to its
                end, unless the user speaks or the next response begins.
            timeout: Seconds for all of it, playing included; ``None`` (the default) sets no limit.

        Returns:
            The event of a type in ``until``; ``None`` if the session ended or the timeout expired.

        Raises:
            ConnectionClosed: The session did not end normally.
            RealtimeError: The server rejected the settings, in an error that names their event.
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
        except BaseException as error:
            self.tool_runner.withdraw()
            if isinstance(error, KeyboardInterrupt):
                getattr(self.microphone, "abandon", _nothing)()
            raise
        finally:
            if self.microphone is not None:
                self.microphone.stop()
            if self.session.closed:
                self.tool_runner.close()

    def _play_out(self, playback: Playback, deadline: float | None) -> None:
        """Play the pending audio, and keep running the session, since the user may interrupt."""
        while not self.session.closed:
            pending = playback.pending_ms
            left = min(pending / 1000, _left(deadline))
            if left <= 0 or playback.failure is not None:
                return
            news = self.session.run(self.visitor, _NEWS, max(left, _SHORTEST))
            if news is not None or playback.pending_ms >= pending:  # the latter: the speaker stands still
                return
        left = _left(deadline)
        playback.wait_played(None if left == math.inf else left)

    def interrupt(self) -> Interruption | None:
        """Stop the present response, as if the user had spoken.  It may be called from any thread.

        It also drops follow-ups of tool calls that have not begun; the calls are answered all the same.

        Returns:
            The interruption; ``None`` if there was nothing to interrupt, or no speaker.  See
            `Playback.interrupt`.
        """
        self.tool_runner.withdraw()
        if self.playback is not None:
            return self.playback.interrupt()
        self.session.response.cancel(if_active=True)
        return None

    def _tell(self) -> None:
        """Send the settings, unless these were sent: tools may be new, or settings may have been rejected."""
        changes = self._changes()
        if changes and (self._errors.settings is None or changes != self._told):
            self._told, self._errors.settings = changes, self.session.update(**changes)

    def _changes(self) -> dict[str, Any]:
        """Return the settings for the server, in the session's dialect."""
        changes: dict[str, Any] = {}
        if self._instructions is not None:
            changes["instructions"] = self._instructions
        if definitions := self.tools.definitions:
            changes["tools"] = definitions
        in_dialect = _beta if self.session.dialect == "beta" else _ga
        changes |= in_dialect(self._transcription, self._format)
        return _merged(changes, self._settings)


def _nothing() -> None:
    """Do nothing, as a microphone without ``abandon``."""


def _format_to_set(speaker: AudioOutput | None, config: SessionConfig | None) -> str | None:
    """Return the speaker's audio format, if the session's output has another one."""
    wanted = format_of(speaker)
    return wanted if wanted != output_format(config) else None


def _merged(settings: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings overridden by others, merging nested objects."""
    merged = dict(settings)
    for name, value in more.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            value = _merged(inner, value)
        merged[name] = value
    return merged


def _left(deadline: float | None) -> float:
    """Return the seconds until a deadline, never less than 0."""
    return math.inf if deadline is None else max(0.0, deadline - time.monotonic())


def _ga(transcription: str | None, audio_format: str | None) -> dict[str, Any]:
    audio: dict[str, Any] = {}
    if transcription is not None:
        audio["input"] = {"transcription": {"model": transcription}}
    if audio_format is not None:
        rate = {"rate": PCM_RATE} if audio_format == PCM else {}
        audio["output"] = {"format": {"type": audio_format, **rate}}
    return {"audio": audio} if audio else {}


def _beta(transcription: str | None, audio_format: str | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if transcription is not None:
        changes["input_audio_transcription"] = {"model": transcription}
    if audio_format is not None:
        changes["output_audio_format"] = BETA_FORMATS[audio_format]
    return changes


class _Errors(Listener):
    """End the run if the server rejects the settings.

    Attributes:
        settings: The id of the event that sent them.
    """

    settings: str | None = None

    def on_rejected(self, fact: facts.Rejected) -> None:
        # An error that names no event may be about another one: not sure enough to end a talk.
        if fact.sent.event_id == self.settings and fact.error.event_id is not None:
            self.settings = None  # the next run sends them again
            raise RealtimeError(f"the server rejected the assistant's settings: {fact.error.message}")
