"""`Tools` holds the Python functions that the model may call::

    tools = Tools()

    @tools.function
    def get_weather(city: str, days: Annotated[int, Meta(ge=1, le=7)] = 1) -> Forecast:
        \"""The weather in a city.\"""
        ...

    session.update(tools=tools.definitions)

`ToolRunner` runs the calls that the model makes in a session.
"""

import inspect
import logging
import math
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, overload

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .. import events as ev
from .signature import Signature, unfinished_kind

__all__ = ["AnyTool", "Approve", "Outcome", "ToolCall", "Tools", "described", "failed", "rejection"]

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


AnyTool = Callable[..., Any] | ev.McpTool | Mapping[str, Any]
"""A function, or a tool that the server runs by itself."""


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
    """Hold the functions that the model may call, and the tools that the server runs.

    ``len(tools)`` counts the functions, ``name in tools`` looks one up, and iterating gives their names.

    Args:
        functions: The first functions; `function` adds more.  With them, in any order, the tools that the
            server runs by itself: an `events.McpTool` for each MCP server, or a dict with the ``type`` of
            any such tool, which is sent as it is.
        workers: How many calls a `ToolRunner` runs at the same time; at least 1.
        timeout: Seconds that a call may take, approval included, unless `function` sets another limit;
            ``None`` sets no limit.

    Attributes:
        workers, timeout: The values passed as ``workers`` and ``timeout``.

    Raises:
        ValueError: ``workers`` is not a whole number of at least 1, ``timeout`` is not above 0, two
            functions have the same name, or two MCP servers the same ``server_label``.
        TypeError: One of the functions can't be a tool; see `function`.
    """

    def __init__(self, *functions: AnyTool, workers: int = 4, timeout: float | None = 30.0) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1, got {workers!r:.80}")
        self.workers = workers
        self.timeout = _checked(timeout)
        self._functions: dict[str, _Function] = {}
        self._served: list[ev.McpTool | dict[str, Any]] = []
        # The calls that have not returned: which function, and when its time is up.
        self._running: dict[object, tuple[str | None, float]] = {}
        for tool in functions:
            if isinstance(tool, ev.McpTool | Mapping):
                self._serve(tool)
            else:
                self.function(tool)

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
        a parameter, ``Annotated[int, "..."]`` describes it; the docstring (``Args:``, ``:param name:``, or
        NumPy's ``Parameters``) describes the others.  Other metadata, such as ``pydantic.Field(ge=1)``, is
        rejected, since it would have no effect.  The model's arguments are checked and converted before the
        call.  Unknown arguments are rejected; unknown fields of an object within an argument are ignored.

        A `ToolRunner` calls the function in a thread.  The model reads its result: a ``str`` as it is, any
        other value as JSON, so ``None`` becomes ``null``.  What JSON doesn't know is converted: pydantic's
        models (``model_dump``), NumPy's values (``tolist``), mappings, collections, and paths and others that
        have a text of their own.  If that fails, the model reads that the function has run.  If the function
        raises an exception, the model reads ``{"error": "ValueError: ..."}``.

        Args:
            function: A plain function or a bound method; not one behind whose decorators is an
                ``async def`` or a generator.
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
        if approve is not None and (kind := unfinished_kind(approve)):
            raise TypeError(f"{function.__qualname__}: approve= must be a plain function, got {kind}")
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

    def _serve(self, tool: ev.McpTool | Mapping[str, Any]) -> None:
        """Add a tool that the server runs."""
        served = tool if isinstance(tool, ev.McpTool) else dict(tool)
        kind, label = _kind_and_label(served)
        if not isinstance(kind, str) or kind == "function":
            raise TypeError(
                "a tool given as a dict must have the type of one that the server runs, such as 'mcp', got "
                f"{kind!r:.80}; give a function as itself"
            )
        if label is not None and (kind, label) in map(_kind_and_label, self._served):
            raise ValueError(f"an MCP server labelled {label!r} exists already; give it another server_label")
        self._served.append(served)

    @property
    def definitions(self) -> list[ev.FunctionTool | ev.McpTool | dict[str, Any]]:
        """Return all tools' definitions for the server: ``session.update(tools=tools.definitions)``."""
        return [*(function.definition for function in self._functions.values()), *self._served]

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

    @contextmanager
    def running(self, name: str | None, seconds: float | None) -> Iterator[None]:
        """Count a call as running while this lasts.

        Args:
            name: The function; ``None`` is the approval of MCP calls.
            seconds: The seconds that the call may take; ``None`` sets no limit.
        """
        call = object()
        self._running[call] = name, math.inf if seconds is None else time.monotonic() + seconds
        try:
            yield
        finally:
            del self._running[call]

    def late(self, name: str | None) -> int:
        """Return how many calls of a function, in all sessions, are past their timeout and still run."""
        now = time.monotonic()
        return sum(of == name and until <= now for of, until in list(self._running.values()))


def _kind_and_label(tool: ev.McpTool | dict[str, Any]) -> tuple[object, object]:
    """Return the ``type`` and the ``server_label`` of a tool that the server runs."""
    if isinstance(tool, ev.McpTool):
        return tool.type, tool.server_label
    return tool.get("type"), tool.get("server_label")


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
        _check_finished(verdict)
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
        return Outcome(msgspec.json.encode(value, enc_hook=_plain).decode())
    except KeyboardInterrupt:
        raise
    except _Unfinished as error:
        _log.warning("the function %s %s", name, error)
        return failed(f"the function {error}")
    except BaseException as error:  # the result's own code may raise anything
        _log.warning("the result of the function %s can't be encoded as JSON: %s", name, _text(error))
        return failed(
            "the function has run, so don't repeat the call; only its result can't be encoded as JSON: "
            f"{_text(error)}"
        )


class _Unfinished(Exception):
    """The function has not done its work: it returned what would do it."""


def _plain(value: Any) -> Any:
    """Convert a result that msgspec doesn't know, or a part of one, to one that it does."""
    _check_finished(value)
    converted = _converted(value)
    if type(converted) is type(value):  # or it would go on like this
        raise TypeError(f"got an object of type {type(value).__name__}")
    return converted


def _converted(value: Any) -> Any:
    """Return what a value offers itself, by its class: a mock has any attribute; else the value."""
    for kind in (str, int, float):  # classes derived from them
        if isinstance(value, kind):
            return kind(value)
    offers: Any = type(value)
    if hasattr(offers, "model_dump"):  # pydantic's models
        return value.model_dump(mode="json")
    if hasattr(offers, "tolist"):  # NumPy's scalars and arrays, and those like them
        return value.tolist()
    if hasattr(offers, "keys"):  # a mapping, a database's row, a table of columns
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    if offers.__str__ is not object.__str__:  # a path, a fraction, an address
        return str(value)
    return value


def _check_finished(value: Any) -> None:
    """Raise `_Unfinished` for a coroutine, a generator and the like; close it, since nobody else will."""
    if not (inspect.isawaitable(value) or isinstance(value, Generator | AsyncGenerator)):
        return
    if isinstance(value, Coroutine | Generator):
        with suppress(Exception):
            value.close()
    raise _Unfinished(
        f"returned a {type(value).__name__}, which has not run; it must be a plain function that returns"
    )


def described(error: BaseException) -> str:
    """Return an exception as text: its type, and its message if it has one."""
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its own __str__ fails
        return ""
