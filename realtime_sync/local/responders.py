"""What answers in place of a model: a `Responder` reads a `Request` and gives `Say` and `CallFunction`.

A responder decides *what* is answered; whether it is written or spoken, and in which pieces it is
streamed, is the protocol's affair.  Write one by giving any class a ``respond`` method::

    class Shout:
        def respond(self, request: Request) -> Iterable[Output]:
            yield Say(request.last_user_text.upper())
"""

import array
import functools
import json
import math
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..events import FunctionCallOutput, FunctionTool, InputText, Item, Message, Tool, ToolChoice

__all__ = [
    "CallFunction",
    "DefaultResponder",
    "Output",
    "Request",
    "Responder",
    "Say",
    "ScriptedResponder",
    "bytes_per_second",
    "speech",
]


@dataclass(frozen=True)
class Say:
    """An assistant message: written, or spoken with ``text`` as its transcript.

    ``audio`` takes the place of the made-up speech: raw bytes in the response's output format.
    """

    text: str
    audio: bytes | None = None


@dataclass(frozen=True)
class CallFunction:
    """A function call.  ``arguments`` is a mapping, or JSON text sent as it is (even if it is wrong)."""

    name: str
    arguments: Mapping[str, Any] | str = "{}"

    @property
    def json(self) -> str:
        """The arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))


Output = Say | CallFunction


@dataclass(frozen=True)
class Request:
    """What a model would be given to answer.

    Attributes:
        items: The conversation, oldest first, or the ``input`` of ``response.create``.
        instructions, tools, tool_choice: In force for this response.
        output_modalities: ``["audio"]`` or ``["text"]``.
        heard_seconds: The length of the audio in the last user message, 0.0 if it has none.
    """

    items: Sequence[Item] = ()
    instructions: str = ""
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = "auto"
    output_modalities: Sequence[str] = ("audio",)
    heard_seconds: float = 0.0

    @property
    def last_user_text(self) -> str:
        """The text of the last user message; ``""`` if there is none, or it has only sound."""
        for item in reversed(self.items):
            if isinstance(item, Message) and item.role == "user":
                return " ".join(part.text for part in item.content if isinstance(part, InputText))
        return ""

    def declares(self, name: str) -> bool:
        """Whether a function of this name is among the tools."""
        return any(isinstance(tool, FunctionTool) and tool.name == name for tool in self.tools)


class Responder(Protocol):
    """Answers in place of a model."""

    def respond(self, request: Request) -> Iterable[Output]:
        """Give the items of one response, in order; a generator is asked for each when it is due.

        One responder serves all sessions of a server, each from a thread of its own.  An exception
        makes the response fail (``response.done`` with status ``"failed"``) and nothing else.
        """
        ...


class DefaultResponder:
    """Answers every question about itself, the same way each time.

    * Text gets two sentences that quote it; sound gets its length in words.
    * The result of a function gets a sentence that quotes it.
    * ``call NAME {"some": "arguments"}`` makes it call the function, if that is among the tools.
    """

    def respond(self, request: Request) -> Iterable[Output]:
        if request.items and isinstance(request.items[-1], FunctionCallOutput):
            return [Say(f"The function answered: {request.items[-1].output}")]
        text = request.last_user_text.strip()
        call = re.fullmatch(r"call\s+(\S+)\s*(.*)", text, re.DOTALL)
        if call and request.declares(call[1]) and request.tool_choice != "none":
            return [CallFunction(call[1], call[2] or "{}")]
        return [Say(self._answer(text, request.heard_seconds))]

    def _answer(self, text: str, heard_seconds: float) -> str:
        if text:
            return f'You said "{text}" to a local server. It knows nothing, but it can count: {_count(text)}.'
        if heard_seconds:
            return f"I heard {heard_seconds:.1f} seconds of audio."
        return "Hello! You have not said anything yet."


def _count(text: str) -> str:
    words = len(text.split())
    return f"{words} word" if words == 1 else f"{words} words"


Scripted = Output | str | Exception | Sequence[Output]


class ScriptedResponder:
    """Gives answers prepared beforehand, one per response, in order.

    Each answer is an output, a list of outputs, a string (short for ``Say``), or an exception to raise.

    Attributes:
        requests: Every `Request` it was asked, for a test to look at.
    """

    def __init__(self, answers: Iterable[Scripted]) -> None:
        self._answers = deque(answers)
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Iterable[Output]:
        self.requests.append(request)
        try:
            answer = self._answers.popleft()
        except IndexError:
            raise RuntimeError("the script has no answer left for this response") from None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return [Say(answer)]
        return [answer] if isinstance(answer, Say | CallFunction) else answer


# --- Speech ---------------------------------------------------------------------------------------

_SECONDS_PER_CHARACTER = 0.06
"""About as fast as people talk."""

_RATES = {"audio/pcm": 48_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}


def bytes_per_second(audio_format: str) -> int:
    """How many bytes one second of sound takes.

    Raises:
        KeyError: It is not one of the three formats.
    """
    return _RATES[audio_format]


def speech(text: str, audio_format: str) -> bytes:
    """Sound as long as it would take to say ``text``: a soft tone in syllables, always the same."""
    second = _second(audio_format)
    samples = round(len(text) * _SECONDS_PER_CHARACTER * _sample_rate(audio_format))
    length = samples * len(second) // _sample_rate(audio_format)
    return (second * (length // len(second) + 1))[:length]


def _sample_rate(audio_format: str) -> int:
    return 24_000 if audio_format == "audio/pcm" else bytes_per_second(audio_format)


@functools.cache
def _second(audio_format: str) -> bytes:
    """One second of the tone; it starts and ends in silence, so that seconds can be joined."""
    samples = _tone(_sample_rate(audio_format))
    encode = _ENCODERS.get(audio_format)
    if encode is not None:
        return bytes(encode(sample) for sample in samples)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _tone(rate: int) -> "array.array[int]":
    """One second of 220 Hz, swelling and fading five times."""
    turn = 2 * math.pi / rate
    return array.array(
        "h",
        (
            round(3000 * math.sin(220 * turn * n) * math.sin(2.5 * turn * n) ** 2)  # 5 swells a second
            for n in range(rate)
        ),
    )


def _mu_law(sample: int) -> int:
    """A 16-bit sample as G.711 mu-law: sign, three bits of exponent, four of mantissa, all inverted."""
    magnitude = min(abs(sample), 32_635) + 132  # the bias makes every exponent's range start at a power of 2
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) & 0xFF


def _a_law(sample: int) -> int:
    """A 16-bit sample as G.711 A-law: like mu-law without the bias, every second bit inverted."""
    magnitude = ~sample if sample < 0 else sample
    exponent = max(magnitude.bit_length() - 8, 0)
    mantissa = (magnitude >> max(exponent + 3, 4)) & 0x0F
    return ((0 if sample < 0 else 0x80) | exponent << 4 | mantissa) ^ 0x55


_ENCODERS: dict[str, Callable[[int], int]] = {"audio/pcmu": _mu_law, "audio/pcma": _a_law}
