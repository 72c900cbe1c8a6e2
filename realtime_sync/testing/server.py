"""`RealtimeServer`: a local server that a test talks to, looks at, and tells what to answer."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..events import ClientEvent, ErrorEvent, ServerEvent, UnknownEvent
from ..local import LocalServer, Request
from ..local.options import ServerOptions
from ..spelling import check_options
from .dialogue import Dialogue, Expectation, Matcher
from .readable import event_lines, name_of
from .record import Received, Record, Recorder, audio_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["RealtimeServer"]

_C = TypeVar("_C", bound=ClientEvent | UnknownEvent)
_S = TypeVar("_S", bound=ServerEvent)

TIMEOUT = 5.0
"""Seconds that a test waits by default; what it waits for takes milliseconds."""


class RealtimeServer(LocalServer):
    """A `LocalServer` that remembers what it received and sent, and can hold a client to a dialogue::

        with RealtimeServer() as server:
            server.expects("What is the weather?").replies("It is 7 degrees.")
            my_program.main(base_url=server.http_url)

    Leaving ``with`` stops it and then calls `check`, unless an exception is on its way.  In pytest it is
    the fixture ``realtime_server``, and the arguments are those of ``@pytest.mark.realtime_server(...)``.

    Everything is kept as long as the server object, audio too: it is made for tests, not to run long.

    Args:
        host, port, responder, transcriber, delay, realtime_pace, api_key, allowed_hosts, ssl_context, faults,
            sunset_beta, lifetime, ping_interval, ping_timeout, max_memory: As for `LocalServer`.  The
            responder answers while nothing is expected.

    Attributes:
        api_key: The only key that is accepted, or ``None``.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: "Unpack[ServerOptions]") -> None:
        check_options("RealtimeServer", options, ServerOptions, "host", "port")
        self.api_key = options.get("api_key")
        self._recorder = Recorder()
        self._dialogue = Dialogue(options.get("responder"), self._recorder)
        options["responder"] = self._dialogue
        super().__init__(host, port, observer=self._recorder, **options)

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.stop()
        if error is None:
            self.check()

    # --- The dialogue ------------------------------------------------------------------------------

    def expects(
        self,
        text: Matcher | None = None,
        *,
        function_output: Matcher | Mapping[str, Any] | Sequence[Any] | float | None = None,
        function_outputs: Sequence[Any] | None = None,
        audio: float | Callable[[float], object] | None = None,
        instructions: Matcher | None = None,
        tools: Sequence[str] | None = None,
        where: Callable[[Request], object] | None = None,
    ) -> Expectation:
        """Expect the client to ask for one more response, after it has sent this since the last one.

        Call it once for each response, in order, before the client asks.  An argument that is left out
        allows anything.  Instead of a string, which must be equal, there may be a compiled regular
        expression to be found in it, a function that says whether it is right (or asserts it), or any
        object with an ``==`` of its own, like ``unittest.mock.ANY`` and ``pytest.approx(7)``.

        Args:
            text: What the user wrote: the last message's text.
            function_output: What the only function that was called returned.  A string is compared with
                the text; a dict, a list or a number with the JSON in it.
            function_outputs: The same for several, in the order of their calls.
            audio: Seconds that the user spoke, to within a tenth (at least 0.1 s); ``True`` = any.
            instructions: What the instructions contain.
            tools: The names of all functions that the model is offered, in any order.
            where: Says whether the whole `Request` is right.

        Returns:
            The expectation; its `replies <Expectation.replies>` says what the client gets.
        """
        wanted = {
            "text": text,
            "function_output": function_output,
            "function_outputs": function_outputs,
            "audio": audio,
            "instructions": instructions,
            "tools": tools,
            "where": where,
        }
        expectation = Expectation(wanted)
        self._dialogue.add(expectation)
        return expectation

    def check(self) -> None:
        """Make sure that the client did what was expected, all of it and no more.

        Raises:
            AssertionError: It did not.  The message compares the turns one by one, and lists what the server
                received.
        """
        __tracebackhide__ = True
        problem = self._dialogue.problem()
        if problem is not None:
            raise AssertionError(f"{problem}\n\n{self._heard()}")

    # --- What happened -----------------------------------------------------------------------------

    @property
    def sessions(self) -> list[str]:
        """The ids of all sessions so far, in the order in which they were opened."""
        return list(self.records)

    @property
    def records(self) -> dict[str, Record]:
        """What each session received and sent, by its id."""
        with self._recorder.changed:
            return dict(self._recorder.records)

    @property
    def received(self) -> list[Received]:
        """What all clients sent so far, in order."""
        with self._recorder.changed:
            return list(self._recorder.received_by_all)

    @property
    def sent(self) -> list[ServerEvent]:
        """What the server sent so far, session by session."""
        return [event for record in self.records.values() for event in list(record.sent)]

    @property
    def audio_received(self) -> bytes:
        """The audio that all clients appended so far."""
        return audio_of(self.received)

    @property
    def closed(self) -> dict[str, int]:
        """The close codes of the sessions that have ended, by their ids."""
        return {name: record.code for name, record in self.records.items() if record.code is not None}

    def received_of(self, *kinds: type[_C]) -> list[_C]:
        """The client events of these types so far."""
        return [event for event in self.received if isinstance(event, kinds)]

    def sent_of(self, *kinds: type[_S]) -> list[_S]:
        """The server events of these types so far."""
        return [event for event in self.sent if isinstance(event, kinds)]

    # --- Waiting -----------------------------------------------------------------------------------

    @overload
    def wait_for(self, what: type[_C], timeout: float = TIMEOUT, *, count: int = 1) -> _C: ...
    @overload
    def wait_for(
        self, what: Callable[[Received], object], timeout: float = TIMEOUT, *, count: int = 1
    ) -> Received: ...
    def wait_for(self, what: Any, timeout: float = TIMEOUT, *, count: int = 1) -> Any:
        """Wait until the server has received such an event.  One that it has already received counts.

        Args:
            what: A type of client event, or a function that says whether an event is the right one.
            timeout: Seconds.
            count: How many of them.

        Returns:
            The last of the ``count`` events.

        Raises:
            AssertionError: They did not come in time, or the client did something unexpected.
                The message lists what the server received.
        """
        __tracebackhide__ = True
        fits = (lambda event: isinstance(event, what)) if isinstance(what, type) else what
        found: list[Received] = []
        seen = 0

        def enough() -> bool:
            nonlocal seen
            events = self._recorder.received_by_all[seen:]
            seen += len(events)
            found.extend(filter(fits, events))
            return len(found) >= count

        self._wait(enough, timeout, f"{count} of {name_of(what)}")
        return found[count - 1]

    def wait_until(self, condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
        """Wait until something is true, checking at everything that the server receives or sends::

            server.wait_until(lambda: len(server.audio_received) >= 48_000)

        Raises:
            AssertionError: It is not within ``timeout`` seconds, or the client did something unexpected.
        """
        __tracebackhide__ = True
        self._wait(condition, timeout, name_of(condition))

    def wait_closed(self, timeout: float = TIMEOUT) -> None:
        """Wait until there was a session and all have ended; `closed` has their codes.

        Raises:
            AssertionError: A session is still open after ``timeout`` seconds, or no session was opened.
        """
        __tracebackhide__ = True
        self._wait(lambda: self.records and len(self.closed) == len(self.records), timeout, "the end")

    def _wait(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        __tracebackhide__ = True
        met: object = False

        def settled() -> bool:
            nonlocal met
            met = condition()
            return bool(met) or self._dialogue.broken

        self._recorder.wait(settled, timeout)
        if met:  # not asked again: it may be true for a moment only
            return
        if self._dialogue.broken:
            self.check()
        raise AssertionError(f"waited {timeout:g} s for {what}\n\n{self._heard()}")

    def summary(self) -> str:
        """Return how far the dialogue got, and what the server received: text for a person."""
        return "\n\n".join(filter(None, [str(self._dialogue), self._heard()]))

    def _heard(self) -> str:
        if not self.records:
            return "No session was opened with the server."
        lines = []
        for name, record in self.records.items():
            end = "" if record.code is None else f", closed with {record.code}"
            lines.append(f"The server received in session {name}{end}:")
            lines += [f"  {line}" for line in event_lines(list(record.received))] or ["  nothing"]
            errors = event_lines(event for event in list(record.sent) if isinstance(event, ErrorEvent))
            if errors:
                lines += ["and answered with errors:", *(f"  {line}" for line in errors)]
        return "\n".join(lines)
