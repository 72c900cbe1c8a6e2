"""What a response costs, in tokens."""

import math

import msgspec

from ... import events as ev
from ...events import ServerEvent, SessionConfig
from .history import Kept, audio_length
from .ids import NEW
from .settings import output_of, rate_of

__all__ = ["Meter", "RateLimits"]

_CHARACTERS_PER_TOKEN = 4
_HEARD_TOKENS_PER_SECOND = 10
_SPOKEN_TOKENS_PER_SECOND = 20
_TOKENS_PER_IMAGE = 85
_LIMITS = {"requests": 10_000, "tokens": 4_000_000}
_RESET_SECONDS = 60.0  # until a limit that is used up is whole again


class Meter:
    """What a response costs.  The numbers are invented, but they add up."""

    def __init__(self, settings: SessionConfig, given: list[Kept]) -> None:
        self._spoken_rate = rate_of(output_of(settings))
        tools = b"".join(msgspec.json.encode(tool, enc_hook=repr) for tool in settings.tools or ())
        self._read = len(settings.instructions or "") + len(tools)
        self._heard = 0.0
        self._seen = 0
        for kept in given:
            self._take(kept)
        self._written = 0
        self._spoken = 0

    def _take(self, kept: Kept) -> None:
        item = kept.item
        if isinstance(item, ev.Message):
            self._heard += audio_length(item) / kept.rate
            for part in item.content:
                self._seen += isinstance(part, ev.InputImage)
                if isinstance(part, ev.InputText | ev.OutputText):
                    self._read += len(part.text)
                elif isinstance(part, ev.OutputAudio):
                    self._read += len(part.transcript or "")
        elif isinstance(item, ev.FunctionCall):
            self._read += len(item.name) + len(item.arguments)
        elif isinstance(item, ev.FunctionCallOutput):
            self._read += len(item.output)
        elif isinstance(item, ev.McpCall):
            self._read += len(item.arguments) + len(item.output or "")

    def count(self, event: ServerEvent) -> None:
        """Count a delta."""
        if isinstance(event, ev.ResponseOutputAudioDelta):
            self._spoken += len(event.delta)
        elif isinstance(
            event,
            ev.ResponseOutputTextDelta
            | ev.ResponseOutputAudioTranscriptDelta
            | ev.ResponseFunctionCallArgumentsDelta
            | ev.ResponseMcpCallArgumentsDelta,
        ):
            self._written += len(event.delta)

    @property
    def output_tokens(self) -> int:
        return self._text_tokens(self._written) + self._spoken_tokens()

    def read(self) -> ev.Usage:
        heard = math.ceil(self._heard * _HEARD_TOKENS_PER_SECOND)
        details = ev.InputTokenDetails(
            text_tokens=self._text_tokens(self._read),
            audio_tokens=heard,
            image_tokens=self._seen * _TOKENS_PER_IMAGE,
            cached_tokens_details=ev.CachedTokenDetails(),
        )
        input_tokens = details.text_tokens + details.audio_tokens + details.image_tokens
        return ev.Usage(
            total_tokens=input_tokens + self.output_tokens,
            input_tokens=input_tokens,
            output_tokens=self.output_tokens,
            input_token_details=details,
            output_token_details=ev.OutputTokenDetails(
                text_tokens=self._text_tokens(self._written), audio_tokens=self._spoken_tokens()
            ),
        )

    def _text_tokens(self, characters: int) -> int:
        return math.ceil(characters / _CHARACTERS_PER_TOKEN)

    def _spoken_tokens(self) -> int:
        return math.ceil(self._spoken * _SPOKEN_TOKENS_PER_SECOND / self._spoken_rate)


class RateLimits:
    """What is left of a session's rate limits.  It only goes down: a session under test is short."""

    def __init__(self) -> None:
        self._left = dict(_LIMITS)

    def spend(self, tokens: int) -> ServerEvent:
        """Count a response, and return the event that tells what is left."""
        for name, spent in (("requests", 1), ("tokens", tokens)):
            self._left[name] = max(self._left[name] - spent, 0)
        limits = [
            ev.RateLimit(
                name=name,
                limit=limit,
                remaining=self._left[name],
                reset_seconds=round(_RESET_SECONDS * (1 - self._left[name] / limit), 3),
            )
            for name, limit in _LIMITS.items()
        ]
        return ev.RateLimitsUpdated(event_id=NEW, rate_limits=limits)
