"""The Beta dialect at the edge of the protocol, which itself knows GA only.

`from_beta` makes a client's event the GA one, `to_beta` makes a server's event the Beta one, and
`beta_param` spells the path in an error as the client knows it.  All are pure.

What a session or a response sets is carried over by presence: what is absent stays ``UNSET``, what is
``None`` stays ``None``.
"""

from typing import Any, TypeVar

from msgspec import UNSET, UnsetType, structs

from ... import events as ev
from ...events import SERVER_EVENTS, ClientEvent, ServerEvent, SessionConfig
from ...sound.formats import BETA_FORMATS, GA_FORMATS, PCM_RATE
from .refusal import Refused, unknown, unknown_kind

__all__ = ["beta_param", "beta_session", "from_beta", "ga_session", "to_beta"]

_TEMPERATURE = 0.8
"""Announced where the client sets none.  GA models have no temperature, so it changes nothing."""


_SHARED = {"instructions", "tools", "tool_choice", "temperature", "prompt"}
_HEARING = {
    "input_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
}
_SPEAKING = {"modalities", "voice", "output_audio_format"}
_ACCEPTED: dict[str, set[str]] = {
    "session.update": {
        *_SHARED, *_HEARING, *_SPEAKING, "speed", "max_response_output_tokens", "model", "include", "tracing",
        "truncation", "client_secret",
    },
    "transcription_session.update": {*_HEARING, "include"},
    "response.create": {
        *_SHARED, *_SPEAKING, "max_output_tokens", "conversation", "metadata", "input",
    },
}  # fmt: skip
"""What Beta lets a client set.  ``client_secret`` is in its schema, and means nothing."""

# --- From the client ---------------------------------------------------------------------------------


def from_beta(event: ClientEvent) -> ClientEvent:
    """A Beta client's event as the GA one.

    Raises:
        Refused: It holds what Beta hasn't, or a value that Beta doesn't know.
    """
    match event:
        case ev.SessionUpdate():
            return structs.replace(event, session=_given_session(event.session, event.type, "realtime"))
        case ev.TranscriptionSessionUpdate():
            session = _given_session(event.session, event.type, "transcription")
            return ev.SessionUpdate(event_id=event.event_id, session=session)
        case ev.ConversationItemCreate():
            return structs.replace(event, item=_from_item(event.item, "item"))
        case ev.ResponseCreate() if event.response:
            return structs.replace(event, response=_ga_params(event.response))
        case ev.SessionInputAudioBufferAppend() | ev.SessionClose():
            raise Refused("invalid_value", f"unknown client event {event.type!r}", "type")
    return event


def ga_session(flat: SessionConfig, at: str = "session") -> SessionConfig:
    """Beta's flat settings as GA has them, without a ``type``.

    Raises:
        Refused: A value is not one of Beta's; ``at`` begins the path of its ``param``.
    """
    return SessionConfig(
        model=flat.model,
        output_modalities=_output_modalities(flat.modalities, at),
        instructions=flat.instructions,
        audio=_audio(_ga_input(flat, at), _ga_output(flat, at, flat.speed)),
        include=flat.include,
        tracing=flat.tracing,
        tools=flat.tools,
        tool_choice=flat.tool_choice,
        max_output_tokens=flat.max_response_output_tokens,
        truncation=flat.truncation,
        prompt=flat.prompt,
        temperature=_checked_temperature(flat.temperature, at),
    )


def _given_session(flat: SessionConfig, event: str, kind: str) -> SessionConfig:
    _refuse_strays(flat, event, "session")
    return structs.replace(ga_session(flat), type=kind)


def _ga_params(flat: ev.ResponseCreateParams) -> ev.ResponseCreateParams:
    _refuse_strays(flat, "response.create", "response")
    made = structs.replace(
        flat,
        output_modalities=_output_modalities(flat.modalities, "response"),
        audio=_audio(UNSET, _ga_output(flat, "response", UNSET)),
        temperature=_checked_temperature(flat.temperature, "response"),
        modalities=UNSET,
        voice=UNSET,
        output_audio_format=UNSET,
    )
    if flat.input:
        made.input = [_from_item(item, f"response.input[{at}]") for at, item in enumerate(flat.input)]
    return made


def _refuse_strays(flat: SessionConfig | ev.ResponseCreateParams, event: str, at: str) -> None:
    for name in flat.__struct_fields__:
        if name not in _ACCEPTED[event] and getattr(flat, name) is not UNSET:
            raise unknown(f"{at}.{name}")


def _output_modalities(modalities: list[str] | UnsetType | None, at: str) -> list[str] | UnsetType | None:
    if modalities is None or modalities is UNSET:
        return modalities
    if modalities == ["text"]:
        return ["text"]
    if sorted(modalities) == ["audio", "text"]:
        return ["audio"]
    message = "expected ['text'] or ['text', 'audio']"
    raise Refused("invalid_value", message, f"{at}.modalities")


def _ga_input(flat: SessionConfig, at: str) -> ev.AudioInputConfig:
    return ev.AudioInputConfig(
        format=_ga_format(flat.input_audio_format, f"{at}.input_audio_format"),
        transcription=flat.input_audio_transcription,
        noise_reduction=flat.input_audio_noise_reduction,
        turn_detection=flat.turn_detection,
    )


def _ga_output(
    flat: SessionConfig | ev.ResponseCreateParams, at: str, speed: float | UnsetType | None
) -> ev.AudioOutputConfig:
    audio_format = _ga_format(flat.output_audio_format, f"{at}.output_audio_format")
    return ev.AudioOutputConfig(format=audio_format, voice=flat.voice, speed=speed)


def _ga_format(name: str | UnsetType | None, at: str) -> ev.AudioFormat | UnsetType | None:
    if name is UNSET or name is None:
        return name
    if name not in GA_FORMATS:
        raise Refused("invalid_value", "expected one of 'pcm16', 'g711_ulaw', 'g711_alaw'", at)
    return ev.AudioFormat(type=GA_FORMATS[name], rate=PCM_RATE if name == "pcm16" else UNSET)


def _audio(
    hearing: ev.AudioInputConfig | UnsetType, speaking: ev.AudioOutputConfig
) -> ev.AudioConfig | UnsetType:
    """Return both sides, without one that sets nothing."""
    given = hearing if hearing != ev.AudioInputConfig() else UNSET
    spoken = speaking if speaking != ev.AudioOutputConfig() else UNSET
    return UNSET if given is UNSET and spoken is UNSET else ev.AudioConfig(input=given, output=spoken)


def _checked_temperature(temperature: float | UnsetType | None, at: str) -> float | UnsetType | None:
    if isinstance(temperature, int | float) and not 0.6 <= temperature <= 1.2:
        raise Refused("invalid_value", "expected a number from 0.6 to 1.2", f"{at}.temperature")
    return temperature


def _from_item(item: ev.Item, at: str) -> ev.Item:
    """Return the part as Beta has it: only what the assistant says has another type there."""
    if not isinstance(item, ev.Message) or item.role != "assistant":
        return item
    content = [_from_part(part, f"{at}.content[{index}]") for index, part in enumerate(item.content)]
    return structs.replace(item, content=content)


def _from_part(part: ev.ContentPart, at: str) -> ev.ContentPart:
    if isinstance(part, ev.Text):
        return ev.OutputText(text=part.text)
    if isinstance(part, ev.Audio):
        return ev.OutputAudio(audio=part.audio, transcript=part.transcript)
    if isinstance(part, ev.OutputText | ev.OutputAudio):
        raise unknown_kind(part, at)
    return part


# --- To the client -----------------------------------------------------------------------------------


def to_beta(event: ServerEvent) -> list[ServerEvent]:
    """Return a GA server event as Beta has it; an empty list where Beta has no such event."""
    renamed = _RENAMED.get(type(event))
    if renamed is not None:
        return [renamed(**structs.asdict(event))]
    if isinstance(event, _NOT_IN_BETA):
        return []
    match event:
        case ev.SessionCreated() | ev.SessionUpdated():
            return [_to_session_event(event)]
        case ev.ResponseCreated() | ev.ResponseDone():
            return [structs.replace(event, response=_to_response(event.response))]
        case ev.ResponseCancelled() if event.response:
            return [structs.replace(event, response=_to_response(event.response))]
        case ev.ConversationItemAdded():
            fields: dict[str, Any] = structs.asdict(event) | {"item": _to_item(event.item)}
            return [ev.ConversationItemCreated(**fields)]
        case (
            ev.ConversationItemCreated()
            | ev.ConversationItemRetrieved()
            | ev.ResponseOutputItemAdded()
            | ev.ResponseOutputItemDone()
        ):
            return [structs.replace(event, item=_to_item(event.item))]
        case ev.ResponseContentPartAdded() | ev.ResponseContentPartDone():
            return [structs.replace(event, part=_to_part(event.part))]
    return [event]


_RENAMED = {
    parent: cls
    for cls in SERVER_EVENTS.values()
    for parent in cls.__bases__
    if parent in SERVER_EVENTS.values()
}
"""The Beta event of each GA event that only has another name: it is a subclass of that."""

_NOT_IN_BETA = (
    ev.ConversationItemDone,
    ev.InputAudioBufferTimeoutTriggered,
    ev.InputAudioBufferDtmfEventReceived,
    ev.SessionClosed,
    ev.SessionInputTranscriptDelta,
    ev.SessionOutputTranscriptDelta,
    ev.SessionOutputAudioDelta,
)


def beta_session(session: SessionConfig) -> SessionConfig:
    """Return GA settings in Beta's flat shape, without what Beta has no field for."""
    audio = session.audio or ev.AudioConfig()
    hearing, speaking = audio.input or ev.AudioInputConfig(), audio.output or ev.AudioOutputConfig()
    flat = SessionConfig(
        id=session.id,
        object=session.object,
        expires_at=session.expires_at,
        input_audio_format=_beta_format(hearing.format),
        input_audio_transcription=hearing.transcription,
        input_audio_noise_reduction=hearing.noise_reduction,
        turn_detection=hearing.turn_detection,
        include=session.include,
        client_secret=session.client_secret,
    )
    if session.type == "transcription":
        return flat
    return structs.replace(
        flat,
        model=session.model,
        modalities=_modalities(session.output_modalities),
        instructions=session.instructions,
        voice=speaking.voice,
        output_audio_format=_beta_format(speaking.format),
        speed=speaking.speed,
        tracing=session.tracing,
        tools=session.tools,
        tool_choice=session.tool_choice,
        max_response_output_tokens=session.max_output_tokens,
        truncation=session.truncation,
        prompt=session.prompt,
        temperature=session.temperature,
    )


def _to_session_event(event: ev.SessionCreated | ev.SessionUpdated) -> ServerEvent:
    flat = beta_session(event.session)
    if event.session.type == "transcription":
        created = isinstance(event, ev.SessionCreated)
        kind = ev.TranscriptionSessionCreated if created else ev.TranscriptionSessionUpdated
        return kind(event_id=event.event_id, session=flat)
    flat.temperature = flat.temperature or _TEMPERATURE
    return structs.replace(event, session=flat)


def _to_response(response: ev.Response) -> ev.Response:
    speaking = (response.audio.output if response.audio else None) or ev.AudioOutputConfig()
    return structs.replace(
        response,
        output=None if response.output is None else [_to_item(item) for item in response.output],
        modalities=_modalities(response.output_modalities),
        voice=speaking.voice or None,
        output_audio_format=_beta_format(speaking.format) or None,
        temperature=response.temperature or _TEMPERATURE,
        output_modalities=None,
        audio=None,
    )


_Given = TypeVar("_Given")


def _modalities(output: _Given) -> list[str] | _Given:
    return ["text", "audio"] if output == ["audio"] else output


def _beta_format(audio_format: ev.AudioFormat | UnsetType | None) -> str | UnsetType | None:
    if isinstance(audio_format, ev.AudioFormat):
        return BETA_FORMATS.get(audio_format.type, audio_format.type)
    return audio_format


def _to_item(item: ev.Item) -> ev.Item:
    if not isinstance(item, ev.Message):
        return item
    return structs.replace(item, content=[_to_part(part) for part in item.content])


def _to_part(part: ev.ContentPart) -> ev.ContentPart:
    if type(part) is ev.OutputText:
        return ev.Text(text=part.text)
    if type(part) is ev.OutputAudio:
        return ev.Audio(audio=part.audio, transcript=part.transcript)
    return part


# --- Errors ------------------------------------------------------------------------------------------

_PARAMS = [
    ("audio.input.format", "input_audio_format", False),
    ("audio.input.transcription", "input_audio_transcription", True),
    ("audio.input.noise_reduction", "input_audio_noise_reduction", True),
    ("audio.input.turn_detection", "turn_detection", True),
    ("audio.output.format", "output_audio_format", False),
    ("audio.output.voice", "voice", True),
    ("audio.output.speed", "speed", True),
    ("output_modalities", "modalities", True),
]
"""A GA path, Beta's, and whether what is below it keeps its name: a format is a plain string in Beta."""


def beta_param(path: str) -> str:
    """The path of a GA field in Beta's spelling; other paths are as they were.

    Only for what is refused after `from_beta`: what was refused before is spelled as the client did.
    """
    if path == "session.type":
        return "type"  # in Beta the event alone says which kind of session it is for
    if path == "session.max_output_tokens":
        return "session.max_response_output_tokens"
    head, _, rest = path.partition(".")
    if head not in ("session", "response"):
        return path
    for ga, beta, deep in _PARAMS:
        below = rest.removeprefix(ga)
        if rest.startswith(ga) and below[:1] in ("", ".", "["):
            return f"{head}.{beta}{below if deep else ''}"
    return path
