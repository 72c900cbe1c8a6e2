"""A dialogue that a test declares: what the client is expected to ask, and what it is answered."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..events import (
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    InputAudio,
    InputText,
    Item,
    McpApprovalResponse,
    Message,
)
from ..local.protocol.responders import CallFunction, DefaultResponder, Output, Request, Responder, Say
from ..local.protocol.source import is_instant
from ..redaction import one_line
from .readable import difference, name_of, readable
from .record import Recorder

__all__ = ["Dialogue", "Expectation", "Matcher", "Reply", "Turn"]

Matcher = str | re.Pattern[str] | Callable[[str], object]
"""What a text must match: a string equals it, a pattern is found in it, a function accepts it."""

Reply = Output | str | Exception
"""One item of a response (a string is short for ``Say``), or what makes it fail."""


@dataclass(frozen=True)
class Turn:
    """What a client asks a response for.

    Attributes:
        request: What a model would be given.
        new: The client's own items in it that no earlier response has seen.
    """

    request: Request
    new: Sequence[Item]

    @property
    def message(self) -> Message | None:
        """The user's message, the last if there are several."""
        messages = [item for item in self.new if isinstance(item, Message) and item.role == "user"]
        return messages[-1] if messages else None

    @property
    def text(self) -> str | None:
        """The user's text; ``None`` without text, or with audio only."""
        parts = self.message.content if self.message else ()
        texts = [part.text for part in parts if isinstance(part, InputText)]
        return " ".join(texts) if texts else None

    @property
    def audio(self) -> float:
        """The length of the user's audio, in seconds."""
        parts = self.message.content if self.message else ()
        has_audio = any(isinstance(part, InputAudio) for part in parts)
        return self.request.heard_seconds if has_audio else 0.0

    @property
    def function_outputs(self) -> list[str]:
        """What functions returned, in the order in which they were called."""
        calls = [item.call_id for item in self.request.items if isinstance(item, FunctionCall)]
        places = {call_id: place for place, call_id in reversed(list(enumerate(calls)))}  # the first of each
        outputs = [item for item in self.new if isinstance(item, FunctionCallOutput)]
        outputs.sort(key=lambda item: places.get(item.call_id, len(calls)))
        return [item.output for item in outputs]

    @property
    def tools(self) -> list[str]:
        """The names of the functions that the model may call."""
        return [tool.name for tool in self.request.tools if isinstance(tool, FunctionTool)]

    def __str__(self) -> str:
        said = [self._said(item) for item in self.new]
        return one_line(", ".join(said)) or "nothing new, just the request for a response"

    def _said(self, item: Item) -> str:
        if isinstance(item, FunctionCallOutput):
            return f"function_output={readable(item.output)}"
        if item is self.message and self.audio:
            return " ".join(filter(None, [self.text and readable(self.text), f"{self.audio:.2f} s of audio"]))
        if item is self.message and self.text is not None:
            return readable(self.text)
        return readable(item)


class Expectation:
    """One turn of the dialogue.  `replies` says what the client gets; without, it gets an empty response."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self._replies: tuple[Reply, ...] = ()
        self._used = False

    def replies(self, *outputs: Reply) -> None:
        """Answer with these: one item of the response each.

        Args:
            outputs: What a `Responder` returns: `Say` (or just a string), `CallFunction` ...  An exception
                makes the response fail with its message, after the items before it.

        Raises:
            TypeError: Something else was given.
            RuntimeError: The client has been answered already.
        """
        for output in outputs:
            if not isinstance(output, str | Exception | Output):
                raise TypeError(
                    f"expected a str, Say, CallFunction ... or an exception as a reply, got {output!r}"
                )
        if self._used:
            raise RuntimeError(
                "too late: the client has been answered; call replies() before the client asks"
            )
        self._replies = outputs

    def outputs(self) -> Iterator[Output]:
        """Return the replies, as a responder does."""
        self._used = True
        return _outputs(self._replies)

    def differences(self, turn: Turn) -> list[str]:
        """Return why this turn is not the expected one, in lines; empty if it is."""
        lines: list[str] = []
        for name, wanted in self._wanted.items():
            found = _CHECKS[name](wanted, turn)
            if found:
                lines += [f"{name}:", *(f"  {line}" for line in found)]
        return lines

    @property
    def question(self) -> str:
        """What is expected, as text."""
        wanted = [
            _shown(value) if name == "text" else f"{name}={_shown(value)}"
            for name, value in self._wanted.items()
        ]
        return f"expects({', '.join(wanted)})"

    def __str__(self) -> str:
        replies = f".replies({', '.join(map(_shown, self._replies))})" if self._replies else ""
        return f"{self.question}{replies}"


def _outputs(replies: Iterable[Reply]) -> Iterator[Output]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
        yield Say(reply) if isinstance(reply, str) else reply


def _shown(value: object) -> str:
    if isinstance(value, re.Pattern):
        return f"re.compile({value.pattern!r})"
    if isinstance(value, Say):
        return readable(value.text) if value.audio is None else f"Say({readable(value.text)}, audio=...)"
    if isinstance(value, CallFunction):
        return f"CallFunction({value.name!r}, {readable(value.arguments)})"
    return name_of(value) if callable(value) else readable(value)


# --- What can be expected: each returns the lines that say what differs ---------------------------------


def _check_text(wanted: Any, turn: Turn) -> list[str]:
    if turn.text is None:
        return [f"expected {_shown(wanted)}", "received no new text of the user"]
    return _differences(wanted, turn.text)


def _check_audio(wanted: Any, turn: Turn) -> list[str]:
    seconds = turn.audio
    if isinstance(wanted, bool):
        fits = wanted == (seconds > 0)
    elif isinstance(wanted, int | float):
        fits = abs(seconds - wanted) <= max(0.1, wanted / 10)
    else:
        return _differences(wanted, seconds)
    return [] if fits else [f"expected {_shown(wanted)} (seconds)", f"received {seconds:.2f}"]


def _check_function_output(wanted: Any, turn: Turn) -> list[str]:
    return _check_function_outputs([wanted], turn)


def _check_function_outputs(wanted: Any, turn: Turn) -> list[str]:
    outputs = turn.function_outputs
    if len(wanted) != len(outputs):
        return [
            f"expected {len(wanted)}: {_shown(wanted)}",
            f"received {len(outputs)}: {one_line(readable(outputs))}",
        ]
    lines = []
    for one, output in zip(wanted, outputs, strict=True):
        is_text = isinstance(one, str | re.Pattern) or callable(one)
        lines += _differences(one, output if is_text else _parsed(output))
    return lines


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_instructions(wanted: Any, turn: Turn) -> list[str]:
    instructions = turn.request.instructions
    if not isinstance(wanted, str):
        return _differences(wanted, instructions)
    return (
        [] if wanted in instructions else [f"expected {wanted!r} in it", f"received {readable(instructions)}"]
    )


def _check_tools(wanted: Any, turn: Turn) -> list[str]:
    return _differences(sorted(wanted), sorted(turn.tools))


def _check_where(wanted: Any, turn: Turn) -> list[str]:
    return _verdict(wanted, turn.request)


_CHECKS: dict[str, Callable[[Any, Turn], list[str]]] = {
    "text": _check_text,
    "function_output": _check_function_output,
    "function_outputs": _check_function_outputs,
    "audio": _check_audio,
    "instructions": _check_instructions,
    "tools": _check_tools,
    "where": _check_where,
}


def _differences(wanted: Any, received: Any) -> list[str]:
    if isinstance(wanted, re.Pattern):
        found = isinstance(received, str) and wanted.search(received)
        return (
            [] if found else [f"expected to find {wanted.pattern!r} in it", f"received {readable(received)}"]
        )
    if callable(wanted):
        return _verdict(wanted, received)
    return [] if wanted == received else difference(wanted, received)


def _verdict(judge: Callable[[Any], object], received: Any) -> list[str]:
    """Call the test's own function."""
    try:
        answer = judge(received)
    except (
        BaseException
    ) as error:  # an assert, pytest.fail (no Exception), or an error at what it did not expect
        said = [one_line(line) for line in f"{type(error).__name__}: {error}".splitlines()]
    else:
        if answer:
            return []
        said = [f"returned {answer!r}"]
    shown = "the request" if isinstance(received, Request) else one_line(readable(received))
    return [f"{_shown(judge)} was called with {shown}", *said]


# --- The dialogue -----------------------------------------------------------------------------------------


@dataclass
class _Step:
    expectation: Expectation
    received: Turn | None = None
    differences: list[str] = field(default_factory=list)


class Dialogue:
    """A responder that follows the test's expectations, one response each.  Before the first is declared,
    another responder answers.

    After the client did something unexpected, every response fails: what follows could only mislead.

    Args:
        otherwise: Answers while nothing is expected.
        recorder: Knows whose response is asked for, and wakes the waiting test.
    """

    def __init__(self, otherwise: Responder | None, recorder: Recorder) -> None:
        self._otherwise = otherwise or DefaultResponder()
        self._recorder = recorder
        self._steps: list[_Step] = []
        self._done = 0
        self._surplus: Turn | None = None
        self._known: set[tuple[str, str]] = set()
        # Lets one response at a time take its step.  The recorder's, because a test's functions are called
        # under it and may look at both.
        self._lock = recorder.changed

    def add(self, expectation: Expectation) -> None:
        """Expect one more response."""
        with self._lock:
            self._steps.append(_Step(expectation))

    @property
    def instant(self) -> bool:
        """Whether it needs no thread of its own, since it does not wait."""
        return is_instant(self._otherwise)

    @property
    def broken(self) -> bool:
        """Whether the client did something unexpected."""
        return self._surplus is not None or any(step.differences for step in self._steps)

    def respond(self, request: Request) -> Iterable[Output]:
        """Answer as the next step says.

        Raises:
            AssertionError: The client did something unexpected.
        """
        with self._lock:
            turn = Turn(request, self._new(request.items))
            if self._steps:
                return self._next(turn)
        return self._otherwise.respond(request)

    def _next(self, turn: Turn) -> Iterable[Output]:
        if not self.broken:
            self._take(turn)
        if not self.broken:
            return self._steps[self._done - 1].expectation.outputs()
        self._lock.notify_all()
        raise AssertionError(self._headline())

    def _new(self, items: Iterable[Item]) -> list[Item]:
        """Return the client's own items that no earlier response of the session has seen."""
        new, session = [], self._recorder.session
        for item in items:
            item_id = getattr(item, "id", None)
            if _is_clients(item) and (session, item_id) not in self._known:
                new.append(item)
            if item_id:
                self._known.add((session, item_id))
        return new

    def _take(self, turn: Turn) -> None:
        if self._done == len(self._steps):
            self._surplus = turn
            return
        step = self._steps[self._done]
        step.received = turn
        step.differences = step.expectation.differences(turn)
        self._done += not step.differences

    def problem(self) -> str | None:
        """Return what the client did other than expected or left out, by step; ``None`` if all is well."""
        with self._lock:
            if not self.broken and self._done == len(self._steps):
                return None
            return f"{self._headline()}\n\n{self}"

    def _headline(self) -> str:
        number, total = self._done + 1, len(self._steps)
        if self._surplus is not None:
            return f"the client asked for a response after the last of the {total} expected: {self._surplus}"
        step = self._steps[self._done]
        if step.received is not None:
            return f"turn {number} of {total} {step.expectation.question}, but received {step.received}"
        return f"the client asked for {self._done} of the {total} expected responses"

    def __str__(self) -> str:
        """Return all steps, and how far the client got."""
        with self._lock:
            lines = []
            for number, step in enumerate(self._steps, 1):
                lines += self._lines(number, step)
            if self._surplus is not None:
                number = len(self._steps) + 1
                lines += [f"> {number}. nothing expected", f"     received {self._surplus}"]
            return "\n".join(lines)

    def _lines(self, number: int, step: _Step) -> list[str]:
        if step.differences:
            differences = [f"       {line}" for line in step.differences]
            return [f"> {number}. {step.expectation}", f"     received {step.received}", *differences]
        if number == self._done + 1 and not self.broken:
            return [f"> {number}. {step.expectation}", "     not asked for"]
        return [f"  {number}. {step.expectation}"]


def _is_clients(item: Item) -> bool:
    if isinstance(item, Message):
        return item.role != "assistant"
    return isinstance(item, FunctionCallOutput | McpApprovalResponse)
