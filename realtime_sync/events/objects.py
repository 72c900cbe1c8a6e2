"""The objects that events carry: sessions, items, content parts, responses, usage, tools.

One struct serves both directions and both dialects (GA and the older Beta).  How absence is read:

* No default: the specification requires the field.  A server that leaves it out is a counted
  deviation, and the field reads as its type's zero.
* ``= None``: absent.  Written only when set.
* ``NULL``: absent reads as ``None`` and is written as ``null``, as the real server does.
* ``TEXT``, ``COUNT``, ``SECONDS``: absent reads as ``""``, ``0``, ``0.0`` and is written.
* ``= UNSET``: configuration, where absent ("leave as it is") and ``None`` ("clear") differ.
  ``UNSET`` is false, so ``if config.tracing:`` is enough to read one.

Enumerations that a server sends are plain ``str``: a new value is no error.
"""

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, UnsetType, field

__all__ = [
    "Audio",
    "AudioConfig",
    "AudioFormat",
    "AudioInputConfig",
    "AudioOutputConfig",
    "AudioTranscription",
    "CachedTokenDetails",
    "ClientSecret",
    "ContentPart",
    "Conversation",
    "CustomVoice",
    "ErrorDetails",
    "FunctionCall",
    "FunctionCallOutput",
    "FunctionTool",
    "InputAudio",
    "InputFile",
    "InputImage",
    "InputText",
    "InputTokenDetails",
    "Item",
    "ItemReference",
    "LogProb",
    "McpApprovalFilter",
    "McpApprovalRequest",
    "McpApprovalResponse",
    "McpCall",
    "McpCallError",
    "McpHttpError",
    "McpListTools",
    "McpListedTool",
    "McpProtocolError",
    "McpTool",
    "McpToolExecutionError",
    "McpToolFilter",
    "Message",
    "NoiseReduction",
    "OutputAudio",
    "OutputText",
    "OutputTokenDetails",
    "Prompt",
    "PromptCacheBreakpoint",
    "PromptVariable",
    "RateLimit",
    "Reasoning",
    "Response",
    "ResponseCreateParams",
    "ResponseError",
    "ResponseStatusDetails",
    "RetentionRatio",
    "SemanticVad",
    "ServerVad",
    "SessionConfig",
    "Text",
    "TokenLimits",
    "Tool",
    "ToolChoice",
    "ToolChoiceFunction",
    "ToolChoiceMcp",
    "Tracing",
    "TranscriptionError",
    "TranscriptionLanguage",
    "TranscriptionTokenDetails",
    "TranscriptionUsage",
    "TranscriptionUsageDuration",
    "TranscriptionUsageTokens",
    "Truncation",
    "TurnDetection",
    "UnknownObject",
    "Usage",
]

# A default made by a factory is always written, a plain default never (msgspec's omit_defaults).
NULL: None = field(default_factory=lambda: None)
TEXT: str = field(default_factory=str)
COUNT: int = field(default_factory=int)
SECONDS: float = field(default_factory=float)


class _Object(Struct, omit_defaults=True, repr_omit_defaults=True, kw_only=True):
    """Base of all wire objects: built by keyword, written without its absent fields."""


class _Tagged(_Object, kw_only=True):
    """Base of the objects that come in several kinds, each with a struct of its own."""

    @property
    def type(self) -> str:
        """The wire's ``type``, for example ``"function_call"``."""
        return str(self.__struct_config__.tag)


class UnknownObject:
    """A part of an event for which this version has no struct: an item, content part, tool, ...

    It takes the place of the typed object and is written back as it came.

    Attributes:
        data: The JSON value as Python objects (usually a ``dict``; ``{}`` when the part was absent).
        type: The ``type`` that the value names, or ``""``.
    """

    __slots__ = ("data",)
    __match_args__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    @property
    def type(self) -> str:
        kind = self.data.get("type") if isinstance(self.data, dict) else None
        return kind if isinstance(kind, str) else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnknownObject) and other.data == self.data

    __hash__ = None  # type: ignore[assignment]  # it holds a mutable value

    def __repr__(self) -> str:
        return f"UnknownObject({self.data!r})"


# --- Content parts -----------------------------------------------------------------------------


class PromptCacheBreakpoint(_Object, kw_only=True):
    """The end of a prompt prefix that the server may cache, in an input part; ``mode`` is ``"explicit"``."""

    mode: str


class InputText(_Tagged, tag="input_text", kw_only=True):
    """Text in a user or system `Message`, or the value of a variable of a `Prompt`."""

    text: str = TEXT
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class InputAudio(_Tagged, tag="input_audio", kw_only=True):
    """Speech in a user `Message`.

    ``audio`` is raw bytes in the session's input format (default: 24 kHz mono 16-bit PCM).  Servers
    leave it out of every event but ``conversation.item.retrieved``.  ``transcript`` comes from input
    transcription; the model never reads it.
    """

    audio: bytes | None = None
    transcript: str | None = None


class InputImage(_Tagged, tag="input_image", kw_only=True):
    """A picture in a user `Message`, or the value of a variable of a `Prompt`.

    ``image_url`` is a ``data:`` URI with PNG or JPEG (prompt variables also take a web address or a
    ``file_id``).  ``detail`` is ``"auto"`` (the default), ``"low"`` or ``"high"``.
    """

    image_url: str | UnsetType | None = UNSET
    file_id: str | UnsetType | None = UNSET
    detail: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class InputFile(_Tagged, tag="input_file", kw_only=True):
    """A file as the value of a variable of a `Prompt`: by id, by address, or inline in ``file_data``."""

    file_id: str | UnsetType | None = UNSET
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class OutputText(_Tagged, tag="output_text", kw_only=True):
    """Text in an assistant `Message`."""

    text: str = TEXT


class OutputAudio(_Tagged, tag="output_audio", kw_only=True):
    """Speech in an assistant `Message`: raw bytes in the session's output format, and the transcript.

    Events leave ``audio`` out, except ``conversation.item.retrieved``: the audio itself comes in
    ``response.output_audio.delta``.
    """

    audio: bytes | None = None
    transcript: str | None = None


class Text(OutputText, tag="text", kw_only=True):
    """Text in a ``response.content_part.*`` event, and everywhere in the Beta dialect."""


class Audio(OutputAudio, tag="audio", kw_only=True):
    """Speech in a ``response.content_part.*`` event, and everywhere in the Beta dialect."""


class ItemReference(_Tagged, tag="item_reference", kw_only=True):
    """Points at an item of the conversation by ``id``, in the ``input`` of ``response.create``."""

    id: str


# msgspec can't hold a class of ours in a union of tagged structs, so the alias that the decoder sees
# leaves UnknownObject out, and the codec puts one there when no tag fits.  Type checkers see it.
if TYPE_CHECKING:
    ContentPart = (
        InputText | InputAudio | InputImage | OutputText | OutputAudio | ItemReference | UnknownObject
    )
    PromptVariable = str | InputText | InputImage | InputFile | UnknownObject
else:
    ContentPart = (
        InputText | InputAudio | InputImage | OutputText | OutputAudio | Text | Audio | ItemReference
    )
    PromptVariable = str | InputText | InputImage | InputFile


# --- Items -------------------------------------------------------------------------------------


class _Item(_Tagged, kw_only=True):
    """The fields that all items share; the server makes the ``id`` unless the client gives one."""

    id: str | None = None
    object: str | None = None


class Message(_Item, tag="message", kw_only=True):
    """Something said by ``role``: ``"user"``, ``"assistant"`` or ``"system"``.

    Users send `InputText`, `InputAudio` and `InputImage`; the system sends `InputText`; the
    assistant answers with `OutputText` and `OutputAudio` (Beta: `Text` and `Audio`).
    ``status`` is ``"in_progress"``, ``"completed"`` or ``"incomplete"``.
    """

    status: str | None = None
    role: str
    content: list[ContentPart]


class FunctionCall(_Item, tag="function_call", kw_only=True):
    """The model asks for a function to be run.  ``arguments`` is JSON text, often still unchecked.

    Answer with a `FunctionCallOutput` that carries the same ``call_id``, then ``response.create``.
    """

    status: str | None = None
    call_id: str | None = None
    name: str
    arguments: str


class FunctionCallOutput(_Item, tag="function_call_output", kw_only=True):
    """The client's answer to a `FunctionCall`.  ``output`` is any text, usually JSON."""

    status: str | None = None
    call_id: str
    output: str


class McpApprovalRequest(_Item, tag="mcp_approval_request", kw_only=True):
    """The server asks whether a tool of an MCP server may run.  ``arguments`` is JSON text."""

    server_label: str
    name: str
    arguments: str


class McpApprovalResponse(_Item, tag="mcp_approval_response", kw_only=True):
    """The client's answer to the `McpApprovalRequest` whose id is ``approval_request_id``."""

    approval_request_id: str
    approve: bool
    reason: str | None = NULL


class McpListedTool(_Object, kw_only=True):
    """One tool of an MCP server, in `McpListTools`.  ``input_schema`` is JSON Schema."""

    name: str
    description: str | None = NULL
    input_schema: dict[str, Any]
    annotations: dict[str, Any] | None = NULL


class McpListTools(_Item, tag="mcp_list_tools", kw_only=True):
    """The tools of the MCP server ``server_label``, listed by the Realtime server."""

    server_label: str
    tools: list[McpListedTool]


class McpProtocolError(_Tagged, tag="protocol_error", kw_only=True):
    """The ``error`` of an `McpCall`: the server broke the MCP protocol.  ``code`` is JSON-RPC's."""

    code: int
    message: str


class McpToolExecutionError(_Tagged, tag="tool_execution_error", kw_only=True):
    """The ``error`` of an `McpCall`: the tool ran and failed."""

    message: str


class McpHttpError(_Tagged, tag="http_error", kw_only=True):
    """The ``error`` of an `McpCall`: the server answered with the HTTP status ``code``."""

    code: int
    message: str


if TYPE_CHECKING:
    McpCallError = McpProtocolError | McpToolExecutionError | McpHttpError | UnknownObject
else:
    McpCallError = McpProtocolError | McpToolExecutionError | McpHttpError


class McpCall(_Item, tag="mcp_call", kw_only=True):
    """A tool of an MCP server, run by the Realtime server itself.  ``arguments`` is JSON text.

    While it runs both ``output`` and ``error`` are ``None``; afterwards one of them is set.
    """

    server_label: str
    name: str
    arguments: str
    approval_request_id: str | None = NULL
    output: str | None = NULL
    error: McpCallError | None = NULL


if TYPE_CHECKING:
    Item = (
        Message
        | FunctionCall
        | FunctionCallOutput
        | McpApprovalRequest
        | McpApprovalResponse
        | McpListTools
        | McpCall
        | ItemReference
        | UnknownObject
    )
else:
    Item = (
        Message
        | FunctionCall
        | FunctionCallOutput
        | McpApprovalRequest
        | McpApprovalResponse
        | McpListTools
        | McpCall
        | ItemReference
    )


# --- Configuration: what session.update and response.create carry -------------------------------


class AudioFormat(_Object, kw_only=True):
    """An audio encoding, in `AudioInputConfig` and `AudioOutputConfig` (GA).  All are mono.

    ``type`` is ``"audio/pcm"`` (16-bit little-endian at ``rate`` = 24000 Hz), ``"audio/pcmu"`` or
    ``"audio/pcma"`` (G.711 at 8000 Hz, no ``rate``).  Beta names them ``"pcm16"``, ``"g711_ulaw"``
    and ``"g711_alaw"`` in a plain string.
    """

    type: str
    rate: int | UnsetType = UNSET


class AudioTranscription(_Object, kw_only=True):
    """Transcription of the user's audio by a second ``model``, billed on its own.

    ``language`` is an ISO-639-1 code, ``languages`` several; ``prompt`` and ``keywords`` guide the
    transcriber; ``delay`` (``"minimal"`` ... ``"xhigh"``) trades latency for accuracy.
    """

    model: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    languages: list[str] | UnsetType | None = UNSET
    keywords: list[str] | UnsetType | None = UNSET
    prompt: str | UnsetType | None = UNSET
    delay: str | UnsetType | None = UNSET


class NoiseReduction(_Object, kw_only=True):
    """The noise filter before voice detection and the model: ``"near_field"`` or ``"far_field"``."""

    type: str | UnsetType | None = UNSET


class ServerVad(_Tagged, tag="server_vad", kw_only=True):
    """Turn detection by loudness.

    Attributes:
        threshold: Loudness that counts as speech, 0.0 to 1.0 (server's default 0.5).
        prefix_padding_ms: Audio kept from before the detected start (default 300 ms).
        silence_duration_ms: Silence that ends a turn (default 500 ms).
        create_response: Whether the server begins a response when the turn ends (default true).
        interrupt_response: Whether speech cancels the active response (default true).
        idle_timeout_ms: Silence after a response that ends the turn (5000 to 30000 ms); announced by
            ``input_audio_buffer.timeout_triggered``.
    """

    threshold: float | UnsetType | None = UNSET
    prefix_padding_ms: int | UnsetType | None = UNSET
    silence_duration_ms: int | UnsetType | None = UNSET
    create_response: bool | UnsetType | None = UNSET
    interrupt_response: bool | UnsetType | None = UNSET
    idle_timeout_ms: int | UnsetType | None = UNSET


class SemanticVad(_Tagged, tag="semantic_vad", kw_only=True):
    """Turn detection by what is said: waits while the sentence sounds unfinished.

    ``eagerness`` is ``"low"``, ``"medium"``, ``"high"`` or ``"auto"`` (the default, = medium).
    """

    eagerness: str | UnsetType | None = UNSET
    create_response: bool | UnsetType | None = UNSET
    interrupt_response: bool | UnsetType | None = UNSET


class CustomVoice(_Object, kw_only=True):
    """A voice made for an account, by its id (``voice_...``)."""

    id: str


if TYPE_CHECKING:
    TurnDetection = ServerVad | SemanticVad | UnknownObject
else:
    TurnDetection = ServerVad | SemanticVad


class AudioInputConfig(_Object, kw_only=True):
    """The settings of the user's audio (GA).  ``turn_detection=None`` means push-to-talk."""

    format: AudioFormat | UnsetType | None = UNSET
    transcription: AudioTranscription | UnsetType | None = UNSET
    noise_reduction: NoiseReduction | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET


class AudioOutputConfig(_Object, kw_only=True):
    """The settings of the model's audio (GA).

    ``voice`` can't change once the model has spoken; ``speed`` is 0.25 to 1.5 (default 1.0).
    ``language`` is the target of a translation session.
    """

    format: AudioFormat | UnsetType | None = UNSET
    voice: str | CustomVoice | UnsetType | None = UNSET
    speed: float | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET


class AudioConfig(_Object, kw_only=True):
    """The two directions of a session's audio (GA); responses set ``output`` only."""

    input: AudioInputConfig | UnsetType | None = UNSET
    output: AudioOutputConfig | UnsetType | None = UNSET


class FunctionTool(_Tagged, tag="function", kw_only=True):
    """A function that the model may ask the client to run.  ``parameters`` is JSON Schema."""

    name: str
    description: str | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET


class McpToolFilter(_Object, kw_only=True):
    """Selects tools of an MCP server by name, or those that only read."""

    tool_names: list[str] | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET


class McpApprovalFilter(_Object, kw_only=True):
    """Which tools of an `McpTool` ``always`` and which ``never`` need the client's approval."""

    always: McpToolFilter | UnsetType = UNSET
    never: McpToolFilter | UnsetType = UNSET


class McpTool(_Tagged, tag="mcp", kw_only=True):
    """The tools of a remote MCP server, called by the Realtime server itself.

    One of ``server_url``, ``connector_id`` and ``tunnel_id`` is its address.  ``authorization``
    and ``headers`` are secrets: they are not in the repr.
    """

    server_label: str
    server_url: str | UnsetType = UNSET
    connector_id: str | UnsetType = UNSET
    tunnel_id: str | UnsetType = UNSET
    authorization: str | UnsetType = UNSET
    server_description: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    allowed_tools: list[str] | McpToolFilter | UnsetType | None = UNSET
    allowed_callers: list[str] | UnsetType | None = UNSET
    require_approval: str | McpApprovalFilter | UnsetType | None = UNSET
    defer_loading: bool | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"McpTool(server_label={self.server_label!r}, server_url={self.server_url!r}, ...)"


class ToolChoiceFunction(_Tagged, tag="function", kw_only=True):
    """A ``tool_choice`` that makes the model call the function ``name``."""

    name: str


class ToolChoiceMcp(_Tagged, tag="mcp", kw_only=True):
    """A ``tool_choice`` that makes the model call a tool of the MCP server ``server_label``."""

    server_label: str
    name: str | UnsetType | None = UNSET


if TYPE_CHECKING:
    Tool = FunctionTool | McpTool | UnknownObject
    ToolChoice = str | ToolChoiceFunction | ToolChoiceMcp | UnknownObject
else:
    Tool = FunctionTool | McpTool
    ToolChoice = str | ToolChoiceFunction | ToolChoiceMcp


class Tracing(_Object, kw_only=True):
    """How the trace of a session is named and grouped on the server's dashboard."""

    workflow_name: str | UnsetType = UNSET
    group_id: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class TokenLimits(_Object, kw_only=True):
    """The limits of a `RetentionRatio`: most conversation tokens kept after instructions and tools."""

    post_instructions: int | UnsetType = UNSET


class RetentionRatio(_Tagged, tag="retention_ratio", kw_only=True):
    """A ``truncation``: when the context is full, keep this share (0.0 to 1.0) of its tokens."""

    retention_ratio: float
    token_limits: TokenLimits | UnsetType = UNSET


if TYPE_CHECKING:
    Truncation = str | RetentionRatio | UnknownObject
else:
    Truncation = str | RetentionRatio


class Reasoning(_Object, kw_only=True):
    """``effort`` of a reasoning model: ``"minimal"``, ``"low"``, ``"medium"``, ``"high"``, ``"xhigh"``."""

    effort: str | UnsetType | None = UNSET


class Prompt(_Object, kw_only=True):
    """A prompt that is stored on the server, with the values of its variables."""

    id: str
    version: str | UnsetType | None = UNSET
    variables: dict[str, PromptVariable] | UnsetType | None = UNSET


class ClientSecret(_Object, kw_only=True):
    """A short-lived key (``ek_...``) for browsers and phones.  ``expires_at``: Unix seconds.

    The value is a secret: it is not in the repr.
    """

    value: str
    expires_at: int

    def __repr__(self) -> str:
        return f"ClientSecret(value='***', expires_at={self.expires_at})"


class SessionConfig(_Object, kw_only=True):
    """A session's settings, in ``session.update``, ``session.created`` and ``session.updated``.

    Which fields are used follows from the kind of session (``type``) and the dialect; fields that a kind
    does not use stay ``UNSET``.

    Attributes:
        type: ``"realtime"``, ``"transcription"`` or ``"translation"`` (GA; Beta has none).
        id, object, expires_at: Set by the server; ``expires_at`` is in Unix seconds.
        output_modalities: ``["audio"]`` (default, with transcript) or ``["text"]``.
        audio: Formats, voice, transcription, noise reduction, turn detection.
        include: Extra output, for example ``"item.input_audio_transcription.logprobs"``.
        max_output_tokens: The most tokens of one response, 1 to 4096, or ``"inf"``.
        tool_choice: ``"auto"``, ``"none"``, ``"required"`` or one tool.
        tracing: ``"auto"``, a `Tracing`, or ``None`` for off.
        truncation: ``"auto"``, ``"disabled"`` or a `RetentionRatio`.

    The Beta dialect has the audio settings flat in the session: ``modalities``, ``voice``,
    ``input_audio_format``, ``output_audio_format``, ``input_audio_transcription``,
    ``turn_detection``, ``input_audio_noise_reduction``, ``speed``, ``temperature`` (0.6 to 1.2) and
    ``max_response_output_tokens``.
    """

    type: str | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    object: str | UnsetType | None = UNSET
    expires_at: int | UnsetType | None = UNSET
    model: str | UnsetType | None = UNSET
    output_modalities: list[str] | UnsetType | None = UNSET
    instructions: str | UnsetType | None = UNSET
    audio: AudioConfig | UnsetType | None = UNSET
    include: list[str] | UnsetType | None = UNSET
    tracing: str | Tracing | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    tool_choice: ToolChoice | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET
    reasoning: Reasoning | UnsetType | None = UNSET
    max_output_tokens: int | str | UnsetType | None = UNSET
    truncation: Truncation | UnsetType | None = UNSET
    prompt: Prompt | UnsetType | None = UNSET
    # Beta
    modalities: list[str] | UnsetType | None = UNSET
    voice: str | CustomVoice | UnsetType | None = UNSET
    input_audio_format: str | UnsetType | None = UNSET
    output_audio_format: str | UnsetType | None = UNSET
    input_audio_transcription: AudioTranscription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    input_audio_noise_reduction: NoiseReduction | UnsetType | None = UNSET
    speed: float | UnsetType | None = UNSET
    temperature: float | UnsetType | None = UNSET
    max_response_output_tokens: int | str | UnsetType | None = UNSET
    client_secret: ClientSecret | UnsetType | None = UNSET


class ResponseCreateParams(_Object, kw_only=True):
    """What ``response.create`` may override for one response; the rest comes from the session.

    Attributes:
        conversation: ``"auto"`` (default) or ``"none"`` for an out-of-band response.
        input: Items to use in place of the conversation; ``[]`` for none.
        metadata: Up to 16 pairs of strings, returned with the response.

    The others are as in `SessionConfig`.  ``modalities``, ``voice``, ``output_audio_format`` and
    ``temperature`` belong to the Beta dialect.
    """

    output_modalities: list[str] | UnsetType | None = UNSET
    instructions: str | UnsetType | None = UNSET
    audio: AudioConfig | UnsetType | None = UNSET
    tools: list[Tool] | UnsetType | None = UNSET
    tool_choice: ToolChoice | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET
    reasoning: Reasoning | UnsetType | None = UNSET
    max_output_tokens: int | str | UnsetType | None = UNSET
    conversation: str | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    prompt: Prompt | UnsetType | None = UNSET
    input: list[Item] | UnsetType | None = UNSET
    # Beta
    modalities: list[str] | UnsetType | None = UNSET
    voice: str | CustomVoice | UnsetType | None = UNSET
    output_audio_format: str | UnsetType | None = UNSET
    temperature: float | UnsetType | None = UNSET


# --- Responses ----------------------------------------------------------------------------------


class CachedTokenDetails(_Object, kw_only=True):
    """Cached input tokens by modality, in `InputTokenDetails`."""

    text_tokens: int = COUNT
    image_tokens: int = COUNT
    audio_tokens: int = COUNT


class InputTokenDetails(_Object, kw_only=True):
    """Input tokens of a `Usage` by modality.  ``cached_tokens`` are part of them, not in addition."""

    cached_tokens: int = COUNT
    text_tokens: int = COUNT
    image_tokens: int = COUNT
    audio_tokens: int = COUNT
    cached_tokens_details: CachedTokenDetails | None = None


class OutputTokenDetails(_Object, kw_only=True):
    """Output tokens of a `Usage` by modality."""

    text_tokens: int = COUNT
    audio_tokens: int = COUNT


class Usage(_Object, kw_only=True):
    """The tokens that a `Response` cost, as they are billed.  Input counts the whole context."""

    total_tokens: int = COUNT
    input_tokens: int = COUNT
    output_tokens: int = COUNT
    input_token_details: InputTokenDetails | None = None
    output_token_details: OutputTokenDetails | None = None


class ResponseError(_Object, kw_only=True):
    """Why a `Response` ended with status ``"failed"``."""

    type: str | None = None
    code: str | None = None
    message: str | None = None


class ResponseStatusDetails(_Object, kw_only=True):
    """Why a `Response` ended as it did.

    ``reason`` is ``"turn_detected"`` or ``"client_cancelled"`` for a cancelled response,
    ``"max_output_tokens"`` or ``"content_filter"`` for an incomplete one.
    """

    type: str | None = None
    reason: str | None = None
    error: ResponseError | None = None


class Response(_Object, kw_only=True):
    """One answer of the model, in ``response.created`` (empty) and ``response.done`` (whole).

    Attributes:
        status: ``"in_progress"``, ``"completed"``, ``"cancelled"``, ``"failed"``, ``"incomplete"``.
        output: The items that it made, without audio bytes.
        conversation_id: ``None`` for an out-of-band response.
        usage: ``None`` until it is done.

    ``modalities``, ``voice``, ``output_audio_format`` and ``temperature`` belong to Beta.
    """

    object: str | None = None
    id: str | None = None
    status: str | None = None
    status_details: ResponseStatusDetails | None = NULL
    output: list[Item] | None = None
    conversation_id: str | None = NULL
    output_modalities: list[str] | None = None
    max_output_tokens: int | str | None = None
    audio: AudioConfig | None = None
    usage: Usage | None = NULL
    metadata: dict[str, str] | None = NULL
    # Beta
    modalities: list[str] | None = None
    voice: str | CustomVoice | None = None
    output_audio_format: str | None = None
    temperature: float | None = None


# --- Smaller things -----------------------------------------------------------------------------


class Conversation(_Object, kw_only=True):
    """The default conversation of a session, in ``conversation.created``."""

    id: str | None = None
    object: str | None = None


class ErrorDetails(_Object, kw_only=True):
    """What went wrong, in the ``error`` event.

    ``event_id`` is the client event that caused it, ``param`` the field at fault, if known.
    """

    type: str
    code: str | None = NULL
    message: str
    param: str | None = NULL
    event_id: str | None = NULL


class TranscriptionError(_Object, kw_only=True):
    """Why input transcription failed, in ``conversation.item.input_audio_transcription.failed``."""

    type: str | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None


class LogProb(_Object, kw_only=True):
    """A token of an input transcription: text, UTF-8 bytes, and log probability (0.0 = certain)."""

    token: str
    logprob: float
    bytes: list[int]


class TranscriptionLanguage(_Object, kw_only=True):
    """A language that a transcription found in the audio, as an ISO-639-1 ``code``."""

    code: str


class TranscriptionTokenDetails(_Object, kw_only=True):
    """Input tokens of a transcription by modality, in `TranscriptionUsageTokens`."""

    text_tokens: int = COUNT
    audio_tokens: int = COUNT


class TranscriptionUsageTokens(_Tagged, tag="tokens", kw_only=True):
    """What an input transcription cost, for models billed by tokens."""

    input_tokens: int
    input_token_details: TranscriptionTokenDetails | None = None
    output_tokens: int
    total_tokens: int


class TranscriptionUsageDuration(_Tagged, tag="duration", kw_only=True):
    """What an input transcription cost, for models billed by ``seconds`` of audio."""

    seconds: float


if TYPE_CHECKING:
    TranscriptionUsage = TranscriptionUsageTokens | TranscriptionUsageDuration | UnknownObject
else:
    TranscriptionUsage = TranscriptionUsageTokens | TranscriptionUsageDuration


class RateLimit(_Object, kw_only=True):
    """A limit of the account, in ``rate_limits.updated``: ``name`` is ``"requests"`` or ``"tokens"``.

    ``remaining`` of ``limit`` are left; after ``reset_seconds`` it is full again.
    """

    name: str = TEXT
    limit: int = COUNT
    remaining: int = COUNT
    reset_seconds: float = SECONDS
