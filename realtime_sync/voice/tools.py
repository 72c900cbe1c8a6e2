"""`Tools`: Python functions that the model may call::

    tools = Tools()

    @tools.function
    def get_weather(city: str, days: Annotated[int, Meta(ge=1, le=7)] = 1) -> Forecast:
        \"""The weather in a city.\"""
        ...

    session.update(tools=tools.definitions)

`ToolRunner` runs what the model calls in a session.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .. import events as ev
from .signature import Signature

__all__ = ["Approve", "Outcome", "ToolCall", "Tools", "described", "failed", "refusal"]

_log = logging.getLogger("realtime_sync")
_F = TypeVar("_F", bound=Callable[..., Any])
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolCall(Struct, frozen=True):
    """A call that awaits approval.

    Attributes:
        call_id, item_id, response_id: The server's names for it; ``""`` in `Tools.call`.
        name: The function's name.
        arguments: What the function will get, by the names of its parameters: converted, with defaults.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    response_id: str = ""
    item_id: str = ""


Approve = Callable[[ToolCall], bool | str]
"""Says whether a function may be called now: ``True``; ``False``, or a text that says why not."""


class _Function(Struct, frozen=True):
    """One of the `Tools`."""

    function: Callable[..., Any]
    signature: Signature
    definition: ev.FunctionTool
    timeout: float | None
    approve: Approve | None


class Outcome(Struct, frozen=True):
    """What a call came to: the text for the model, and why it failed if it did."""

    output: str
    error: str | None = None


class Tools:
    """The functions that the model may call.

    Args:
        functions: The first of them; more are added by `function`.
        workers: How many calls a `ToolRunner` runs at the same time.
        timeout: Seconds that a call may take, approval included, unless its function says otherwise;
            ``None`` = as long as it takes.

    ``len(tools)``, ``name in tools`` and iterating tell the names.

    Raises:
        ValueError: ``workers`` is less than 1, ``timeout`` not more than 0, or two functions have one name.
        TypeError: One of the functions can't be a tool; see `function`.
    """

    def __init__(
        self, *functions: Callable[..., Any], workers: int = 4, timeout: float | None = 30.0
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1, not {workers!r:.80}")
        self.workers = workers
        self.timeout = _checked(timeout)
        self._functions: dict[str, _Function] = {}
        for function in functions:
            self.function(function)

    def __len__(self) -> int:
        return len(self._functions)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._functions))

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    @overload
    def function(
        self,
        function: _F,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | UnsetType | None = UNSET,
        approve: Approve | None = None,
    ) -> _F: ...
    @overload
    def function(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | UnsetType | None = UNSET,
        approve: Approve | None = None,
    ) -> Callable[[_F], _F]: ...
    def function(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | UnsetType | None = UNSET,
        approve: Approve | None = None,
    ) -> Any:
        """Let the model call a function; a decorator, with or without arguments, that leaves it as it is.

        Its parameters need annotations: ``str``, ``int``, ``float``, ``bool``, ``Literal``, enums, lists,
        dicts, dataclasses, ``TypedDict``, ``NamedTuple``, msgspec structs, and whatever else msgspec reads
        from JSON.  ``Annotated[int, msgspec.Meta(description="...", ge=1)]`` says more about one; the
        docstring (``Args:``, ``:param name:``, or NumPy's ``Parameters``) describes those that are not
        described so.  What the model gives is checked and converted before the call, and refused if it has
        an argument too many (but fields too many of an object in it are left out).

        The function is called in a thread of a `ToolRunner`.  The model reads what it returns: a ``str``
        as it is, anything else as JSON, so ``None`` is ``null``.  What it raises, the model reads as
        ``{"error": "ValueError: ..."}``.

        Args:
            function: A plain function or a bound method.
            name: What the model calls it; the function's own name if missing.
            description: What the model is told about it; the docstring's first paragraph if missing.
            timeout: Seconds that a call may take, approval included; ``None`` = as long as it takes; that of
                the `Tools` if missing.
            approve: Asked before each call, in the same thread, with a `ToolCall`.  Anything but ``True`` is
                a refusal; a text is the reason, which the model reads.

        Raises:
            TypeError: The function can't be called by the model; the text says why, and what to do.
            ValueError: There is a function of this name already, or ``timeout`` is not more than 0.
        """
        if function is None:
            return lambda function: self._add(function, name, description, timeout, approve)
        return self._add(function, name, description, timeout, approve)

    def _add(
        self,
        function: _F,
        name: str | None,
        description: str | None,
        timeout: float | UnsetType | None,
        approve: Approve | None,
    ) -> _F:
        signature = Signature.of(function)
        if approve is not None and not callable(approve):
            raise TypeError(f"{function.__qualname__}: approve= takes a function, not {approve!r:.80}")
        name = function.__name__ if name is None else name
        if not _NAME.fullmatch(name):
            raise TypeError(
                f"{function.__qualname__}: a tool can't be named {name!r}; give it a name= of 1 to 64 "
                "letters (a to z), digits, '_' and '-'"
            )
        if name in self._functions:
            raise ValueError(f"there is a tool named {name!r} already; give this one another name=")
        definition = ev.FunctionTool(
            name=name,
            description=(signature.description if description is None else description) or UNSET,
            parameters=signature.parameters,
        )
        seconds = self.timeout if timeout is UNSET else _checked(timeout)
        self._functions[name] = _Function(function, signature, definition, seconds, approve)
        return function

    @property
    def definitions(self) -> list[ev.FunctionTool]:
        """What the server has to know: ``session.update(tools=tools.definitions)``."""
        return [function.definition for function in self._functions.values()]

    def call(self, name: str, arguments: str = "") -> str:
        """Call a function as the model would, here and now, without a session and without a timeout.

        Args:
            name: The function's name.
            arguments: JSON text; ``""`` for none.

        Returns:
            What the model would read.  An error too is returned, as ``{"error": "..."}``, and logged.
        """
        return self.perform(ev.FunctionCall(name=name, arguments=arguments)).output

    def perform(
        self, item: ev.FunctionCall, response_id: str = "", wanted: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Call a function for the model.  ``wanted`` says, after the approval, whether it is still to be.

        Raises nothing, but for a Ctrl-C, which may be meant for this thread.
        """
        tool = self._functions.get(item.name)
        if tool is None:
            _log.warning("the model called %r, but there is no such function", item.name)
            return failed(f"there is no function {item.name!r}; there are: {', '.join(self) or 'none'}")
        try:
            arguments = tool.signature.read(item.arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a type's own code may raise anything
            problem = _text(error) or type(error).__name__
            _log.warning("the model called %s with arguments that don't fit", item.name)
            _log.debug("what is wrong with them: %r; they are %r", problem, item.arguments)
            return failed(f"the arguments are wrong: {problem}")
        call = ToolCall(item.call_id or "", item.name, arguments, response_id, item.id or "")
        refused = None if tool.approve is None else refusal(tool.approve, call, item.name)
        if refused is not None:
            return failed(f"the call was refused: {refused}")
        return _result(tool, arguments) if wanted() else failed("the call is not wanted any more")

    def timeout_of(self, name: str) -> float | None:
        """Seconds that a call of this function may take."""
        tool = self._functions.get(name)
        return self.timeout if tool is None else tool.timeout


def _checked(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, or None, not {timeout!r}")
    return min(timeout, threading.TIMEOUT_MAX)  # which is centuries


def failed(error: str) -> Outcome:
    error = _sendable(error)
    return Outcome(msgspec.json.encode({"error": error}).decode(), error)


def _sendable(text: str) -> str:
    """The text without halves of surrogate pairs, which can't be sent."""
    return str.encode(text, "utf-8", "replace").decode()  # str's own, whatever a subclass makes of it


def refusal(approve: Callable[[Any], bool | str], question: Any, name: str) -> str | None:
    """Ask the user's function; why it doesn't approve, or ``None`` if it does."""
    try:
        verdict = approve(question)
    except KeyboardInterrupt:
        raise
    except BaseException:
        _log.warning("asking whether %r may be called failed, so it may not", name, exc_info=True)
        return "it could not be approved"
    if isinstance(verdict, str):
        reason = _sendable(verdict)
        _log.warning("%r was not approved: %s", name, reason)
        return reason
    if verdict is True:
        return None
    _log.warning("%r was not approved", name)
    return "it was not approved"


def _result(tool: _Function, arguments: dict[str, Any]) -> Outcome:
    """Call the function and write down what it returned."""
    name = tool.definition.name
    try:
        value = tool.function(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit as well: it would end nothing but this thread
        _log.warning("the function %s failed", name, exc_info=True)
        return failed(described(error))
    if isinstance(value, str):
        return Outcome(_sendable(value))
    try:
        return Outcome(msgspec.json.encode(value).decode())
    except Exception as error:
        _log.warning("what the function %s returned can't be written as JSON: %s", name, _text(error))
        return failed(f"the result can't be written as JSON: {_text(error)}")


def described(error: BaseException) -> str:
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its own __str__ fails
        return ""
