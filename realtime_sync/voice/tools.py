"""`Tools` holds the Python functions that the model may call::

    tools = Tools()

    @tools.function
    def get_weather(city: str, days: Annotated[int, Meta(ge=1, le=7)] = 1) -> Forecast:
        \"""The weather in a city.\"""
        ...

    session.update(tools=tools.definitions)

`ToolRunner` runs the calls that the model makes in a session.
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

__all__ = ["Approve", "Outcome", "ToolCall", "Tools", "described", "failed", "rejection"]

_log = logging.getLogger("realtime_sync")
_F = TypeVar("_F", bound=Callable[..., Any])
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolCall(Struct, frozen=True):
    """Describe a pending call, for its approval.

    Attributes:
        call_id, item_id, response_id: The server's ids for it; ``""`` in `Tools.call`.
        name: The function's name.
        arguments: The function's arguments by name: converted, and completed with the defaults.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    response_id: str = ""
    item_id: str = ""


Approve = Callable[[ToolCall], bool | str]
"""A callback to decide on a call: ``True`` allows it; ``False``, or the reason as text, rejects it."""


class _Function(Struct, frozen=True):
    """One of the `Tools`."""

    function: Callable[..., Any]
    signature: Signature
    definition: ev.FunctionTool
    timeout: float | None
    approve: Approve | None


class Outcome(Struct, frozen=True):
    """Hold the result of a call: the text for the model, and the error if it failed."""

    output: str
    error: str | None = None


class Tools:
    """Hold the functions that the model may call.

    ``len(tools)`` counts them, ``name in tools`` looks one up, and iterating gives their names.

    Args:
        functions: The first functions; `function` adds more.
        workers: How many calls a `ToolRunner` runs at the same time; at least 1.
        timeout: Seconds that a call may take, approval included, unless `function` sets another limit;
            ``None`` sets no limit.

    Attributes:
        workers, timeout: The values passed as ``workers`` and ``timeout``.

    Raises:
        ValueError: ``workers`` is not a whole number of at least 1, ``timeout`` is not above 0, or two
            functions have the same name.
        TypeError: One of the functions can't be a tool; see `function`.
    """

    def __init__(
        self, *functions: Callable[..., Any], workers: int = 4, timeout: float | None = 30.0
    ) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1, got {workers!r:.80}")
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
        """Let the model call a function.  Use it as a decorator, with or without arguments.

        All parameters need annotations: ``str``, ``int``, ``float``, ``bool``, ``Literal``, enums, lists,
        dicts, dataclasses, ``TypedDict``, ``NamedTuple``, msgspec structs, and any other type that msgspec
        reads from JSON.  ``Annotated[int, msgspec.Meta(description="...", ge=1)]`` describes and constrains
        a parameter; the docstring (``Args:``, ``:param name:``, or NumPy's ``Parameters``) describes the
        others.  The model's arguments are checked and converted before the call.  Unknown arguments are
        rejected; unknown fields of an object within an argument are ignored.

        A `ToolRunner` calls the function in a thread.  The model reads its result: a ``str`` as it is, any
        other value as JSON, so ``None`` becomes ``null``.  If the function raises an exception, the model
        reads ``{"error": "ValueError: ..."}``.

        Args:
            function: A plain function or a bound method.
            name: The name that the model calls; ``None`` (the default) uses the function's own.
            description: What the model is told about it; ``None`` (the default) uses the docstring's first
                paragraph.
            timeout: Seconds that a call may take, approval included; ``None`` sets no limit.  The default
                is the timeout of the `Tools`.
            approve: Called before each call, in the same thread, with a `ToolCall`.  Any result but
                ``True`` rejects the call; a text is the reason, which the model reads.  ``None`` (the
                default) approves every call.

        Returns:
            The function, unchanged.

        Raises:
            TypeError: The function can't be a tool, or ``approve`` is not callable; the message says why,
                and what to do.
            ValueError: A function of this name exists already, or ``timeout`` is not above 0.
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
            raise TypeError(f"{function.__qualname__}: approve= must be callable, got {approve!r:.80}")
        name = function.__name__ if name is None else name
        if not _NAME.fullmatch(name):
            raise TypeError(
                f"{function.__qualname__}: invalid tool name {name!r}; pass a name= of 1 to 64 letters "
                "(a to z), digits, '_' and '-'"
            )
        if name in self._functions:
            raise ValueError(f"a tool named {name!r} exists already; pass another name=")
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
        """Return the functions' definitions for the server: ``session.update(tools=tools.definitions)``."""
        return [function.definition for function in self._functions.values()]

    def call(self, name: str, arguments: str = "") -> str:
        """Call a function as the model would, in this thread, without a session and without a timeout.

        Args:
            name: The function's name.
            arguments: The arguments as JSON text; ``""`` stands for no arguments.

        Returns:
            The text that the model would read.  An error is not raised but logged, and returned as
            ``{"error": "..."}``.
        """
        return self.perform(ev.FunctionCall(name=name, arguments=arguments)).output

    def perform(
        self, item: ev.FunctionCall, response_id: str = "", wanted: Callable[[], bool] = lambda: True
    ) -> Outcome:
        """Call a function for the model, and return the outcome, whether it succeeded or failed.

        Args:
            item: The call, as the model made it.
            response_id: The response that made it, for the `ToolCall`.
            wanted: Asked after the approval; if it returns False, the function is not called.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and this is the main thread.  It raises nothing else.
        """
        tool = self._functions.get(item.name)
        if tool is None:
            _log.warning("the model called %r, but no function has that name", item.name)
            return failed(f"unknown function {item.name!r}; expected one of: {', '.join(self) or '(none)'}")
        try:
            arguments = tool.signature.read(item.arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a type's own code may raise anything
            problem = _text(error) or type(error).__name__
            _log.warning("the model called %s with invalid arguments", item.name)
            _log.debug("the problem with the arguments: %r; they are %r", problem, item.arguments)
            return failed(f"invalid arguments: {problem}")
        call = ToolCall(item.call_id or "", item.name, arguments, response_id, item.id or "")
        rejected = None if tool.approve is None else rejection(tool.approve, call, item.name)
        if rejected is not None:
            return failed(f"the call was rejected: {rejected}")
        return _result(tool, arguments) if wanted() else failed("the call was abandoned")

    def timeout_of(self, name: str) -> float | None:
        """Return the seconds that a call of this function may take; ``None`` if there is no limit."""
        tool = self._functions.get(name)
        return self.timeout if tool is None else tool.timeout


def _checked(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if not timeout > 0:
        raise ValueError(f"timeout must be a number of seconds above 0, or None, got {timeout!r}")
    return min(timeout, threading.TIMEOUT_MAX)  # which is centuries


def failed(error: str) -> Outcome:
    """Return the outcome of a call that failed with this error."""
    error = _sendable(error)
    return Outcome(msgspec.json.encode({"error": error}).decode(), error)


def _sendable(text: str) -> str:
    """Return the text without unpaired surrogates, which can't be sent."""
    return str.encode(text, "utf-8", "replace").decode()  # str's own, whatever a subclass makes of it


def rejection(approve: Callable[[Any], bool | str], question: Any, name: str) -> str | None:
    """Ask an approval callback; return ``None`` if it approves, otherwise the reason.

    Args:
        approve: The callback.
        question: Its argument, such as a `ToolCall`.
        name: The name of the tool, for the log.
    """
    try:
        verdict = approve(question)
    except KeyboardInterrupt:
        raise
    except BaseException:
        _log.warning("the approval callback for %r raised, so the call is rejected", name, exc_info=True)
        return "its approval failed"
    if isinstance(verdict, str):
        reason = _sendable(verdict)
        _log.warning("the call of %r was rejected: %s", name, reason)
        return reason
    if verdict is True:
        return None
    _log.warning("the call of %r was rejected", name)
    return "it was not approved"


def _result(tool: _Function, arguments: dict[str, Any]) -> Outcome:
    """Call the function, and encode its result for the model."""
    name = tool.definition.name
    try:
        value = tool.function(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit as well: it would only end this thread
        _log.warning("the function %s raised an exception", name, exc_info=True)
        return failed(described(error))
    if isinstance(value, str):
        return Outcome(_sendable(value))
    try:
        return Outcome(msgspec.json.encode(value).decode())
    except Exception as error:
        _log.warning("the result of the function %s can't be encoded as JSON: %s", name, _text(error))
        return failed(f"the result can't be encoded as JSON: {_text(error)}")


def described(error: BaseException) -> str:
    """Return an exception as text: its type, and its message if it has one."""
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its own __str__ fails
        return ""
