"""What can be answered without a model: the time, counting, which function is meant, and what this is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ...clock import now
from ...events import FunctionTool
from ...speech.transcribers import in_words

__all__ = ["function_meant", "small_talk"]

_SELF = (
    "I am the local server of realtime underscore sync. I have no language model: I repeat what I hear, "
    "tell the time, count, and call your functions."
)
_MOST_NUMBERS = 100  # that are counted
_VERBS = {
    "get", "set", "find", "fetch", "look", "up", "search", "call", "make", "do", "run", "the", "a", "of",
    "in", "for", "current", "is", "what", "tool", "function",
}  # fmt: skip
"""Words in names of functions that say nothing about their subject."""
_PLACES = "in|for|of|at|to|from|about|near|with|named|called"
_NUMBER = r"-?\d+(?:\.\d+)?"


def small_talk(text: str) -> str | None:
    """Return the answer to what a person says; ``None``: there is none without a model."""
    asked = text.lower()
    if re.search(r"\bcount\b", asked) and (counted := _counted(asked)):
        return counted
    if re.search(r"\b(what|tell|know|have)\b.*\btime\b", asked):
        return f"It is {_time(datetime.fromtimestamp(now()))}."
    if re.search(r"\b(what|which)\b.*\b(day|date)\b", asked):
        return f"It is {datetime.fromtimestamp(now()):%A, %B} {datetime.fromtimestamp(now()).day}."
    if re.search(r"\b(who|what) (are you|is this)\b", asked):
        return _SELF
    return None


def _time(moment: datetime) -> str:
    """Return the time as it is said: ``nine oh five``."""
    hour = in_words((moment.hour - 1) % 12 + 1)
    if moment.minute == 0:
        return f"{hour} o'clock"
    return f"{hour} {'oh ' if moment.minute < 10 else ''}{in_words(moment.minute)}"


def _counted(asked: str) -> str | None:
    """Return the numbers that are to be counted."""
    numbers = [number for number in map(_number, re.findall(r"[a-z-]+|\d+", asked)) if number is not None]
    if not numbers:
        return None
    first, last = (numbers[0], numbers[1]) if len(numbers) > 1 else (1, numbers[0])
    step = 1 if first <= last else -1
    counted = range(first, last + step, step)[:_MOST_NUMBERS]
    return f"{', '.join(map(in_words, counted))}.".capitalize()


_WORDS = {in_words(number): number for number in range(_MOST_NUMBERS + 1)}


def _number(word: str) -> int | None:
    return int(word[:9]) if word.isdecimal() else _WORDS.get(word)


# --- Functions ------------------------------------------------------------------------------------------


def function_meant(text: str, tools: Iterable[object]) -> tuple[str, dict[str, Any], list[str]] | None:
    """Return the function whose name shares most words with a text, if any does.

    Returns:
        Its name, the arguments that the text has for it, and the names of those that it lacks.
    """
    said = set(re.findall(r"\w+", text.lower()))
    functions = [tool for tool in tools if isinstance(tool, FunctionTool) and tool.name]
    best = max(functions, key=lambda tool: len(_subject(tool.name) & said), default=None)
    if best is None or not _subject(best.name) & said:
        return None
    subject = _subject(best.name)
    parameters = best.parameters if isinstance(best.parameters, Mapping) else {}
    properties = parameters.get("properties")
    values = {
        name: value
        for name, schema in (properties if isinstance(properties, Mapping) else {}).items()
        if (value := _value(text, schema if isinstance(schema, Mapping) else {}, subject)) is not None
    }
    required = parameters.get("required")
    missing = [name for name in required if name not in values] if isinstance(required, Sequence) else []
    return best.name, values, missing


def _subject(name: str) -> set[str]:
    """Return the words of a function's name that say what it is about: ``weather`` of ``get_weather``."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ")
    return set(apart.lower().split()) - _VERBS


def _value(text: str, schema: Mapping[str, Any], subject: set[str]) -> Any:
    """Return what a text says for a parameter of a function; ``None``: nothing."""
    choices = schema.get("enum")
    if isinstance(choices, Sequence) and not isinstance(choices, str):
        return next((choice for choice in choices if str(choice).lower() in text.lower()), None)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        found = re.search(_NUMBER, text)
        return None if found is None else (int if kind == "integer" else float)(float(found[0]))
    return _name(text, subject) if kind == "string" else None


def _name(text: str, subject: set[str]) -> str | None:
    """Return what stands behind a preposition, rather a name than another word: ``Oslo``."""
    found = re.findall(rf"\b(?:{_PLACES})\s+((?:(?!\b(?:{_PLACES})\b)[^.,;?!])+)", text, re.IGNORECASE)
    names = [re.sub(r"^(the|a|an)\s+", "", name.strip(), flags=re.IGNORECASE) for name in found]
    names = [name for name in names if name and not set(name.lower().split()) <= subject]
    return next((name for name in names if name[0].isupper()), names[-1] if names else None)
