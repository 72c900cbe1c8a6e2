"""What an endpoint's chunks say: text, calls, and how it ended, in all the ways in which endpoints differ."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Called", "Chunks", "error_in"]

_REASONS = ("message", "detail", "code", "type")  # fields of an error, the best first


@dataclass
class Called:
    """A call as the model makes it.  ``arguments`` is JSON text, unchecked."""

    id: str
    name: str
    arguments: str


class Chunks:
    """Reads chunks in order, and whole answers, which look nearly the same.

    Attributes:
        finish: The ``finish_reason``; ``""`` until there is one.
        calls: The function calls so far.
    """

    def __init__(self) -> None:
        self.finish = ""
        self.calls: list[Called] = []
        self._arguments: list[list[str]] = []  # of each call, in deltas
        self._at: dict[Any, int] = {}  # where in these a call is, by its index or its id

    def take(self, chunk: Any) -> str:
        """Take a chunk, and return the text that it adds."""
        choice = _first(chunk)
        if reason := choice.get("finish_reason"):
            self.finish = str(reason)
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return ""
        for call in _objects(delta.get("tool_calls")):
            self._take_call(call)
        return _text(delta.get("content")) or _text(delta.get("refusal"))

    def whole_calls(self) -> list[Called]:
        """Return the calls with all of their arguments."""
        for call, arguments in zip(self.calls, self._arguments, strict=True):
            call.arguments = "".join(arguments).strip() or "{}"
        return self.calls

    def _take_call(self, delta: dict[str, Any]) -> None:
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, name = _text(delta.get("id")), _text(function.get("name"))
        at = self._place(delta.get("index"), call_id, name)
        call = self.calls[at]
        call.id, call.name = call.id or call_id, call.name or name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            self._arguments[at].append(arguments)
        elif arguments is not None:
            self._arguments[at].append(json.dumps(arguments))

    def _place(self, index: Any, call_id: str, name: str) -> int:
        """Return which call a delta belongs to; of a new one, the next.

        Some endpoints leave out the index or the id, some number all calls 0, and some give each delta an
        id of its own, so only an id with a name is a new call's.
        """
        key = index if isinstance(index, int) else call_id
        at = self._at.get(key) if key != "" else None
        if at is not None and not (name and call_id and self.calls[at].id not in ("", call_id)):
            return at
        if key == "" and not name and self.calls:
            return len(self.calls) - 1
        if key != "":
            self._at[key] = len(self.calls)
        self.calls.append(Called("", "", ""))
        self._arguments.append([])
        return len(self.calls) - 1


def _first(chunk: Any) -> dict[str, Any]:
    """Return the first choice of a chunk; an empty one if it has none, as the chunk with the usage."""
    choices = _objects(chunk.get("choices")) if isinstance(chunk, dict) else iter(())
    return next((choice for choice in choices if choice.get("index") in (0, None)), {})


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def _text(value: Any) -> str:
    """Return a text, or the texts of a list of parts, without those that the model only thinks."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in _objects(value) if part.get("type") == "text")
    return value if isinstance(value, str) else ""


def error_in(answer: Any) -> str:
    """Return the error's message in an endpoint's JSON; ``""`` if it is none."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        return ""
    error = answer.get("error")
    if not error and "choices" not in answer:
        error = answer.get("detail") or ("message" in answer and answer)
    if isinstance(error, dict):
        error = next((error[name] for name in _REASONS if error.get(name)), error)
    return error if isinstance(error, str) else json.dumps(error) if error else ""
