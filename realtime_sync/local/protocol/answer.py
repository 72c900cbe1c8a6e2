"""One response, from ``response.created`` to ``response.done``."""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from msgspec import UNSET

from ... import events as ev
from ...events import ServerEvent, SessionConfig
from .history import History, Kept, audio_length, without_audio
from .ids import NEW, Ids
from .meter import Meter, RateLimits
from .models import Models
from .pieces import Ended, Part, Piece, Speaking
from .refusal import described
from .responders import (
    CallFunction,
    CallMcpTool,
    Incomplete,
    Output,
    Request,
    RequestMcpApproval,
    Say,
)
from .settings import format_of, output_of, rate_of
from .source import Source
from .steps import no_steps
from .writers import AudioWriter, CallWriter, McpApprovalWriter, McpCallWriter, TextWriter, Writer

__all__ = ["Answer"]

_log = logging.getLogger("realtime_sync.local")


class Answer:
    """One running response.  `step` whenever it is `ready` until it is `over`, or `cancel` at any moment.

    Args:
        given: Returns what is to be answered, once it is known: ``None`` until then.

    Attributes:
        id: ``resp_...``
        history: Where its items go; ``None`` if it is out-of-band.
        over: It has returned its ``response.done``.
        rate: Bytes per second of its audio.
        size: Bytes of the event that asked for it.
    """

    def __init__(
        self,
        ids: Ids,
        models: Models,
        settings: SessionConfig,
        given: Callable[[], list[Kept] | None],
        limits: RateLimits,
        *,
        history: History | None,
        conversation_id: str | None,
        metadata: dict[str, str] | None,
        size: int = 0,
    ) -> None:
        self.id = ids("resp")
        self.history = history
        self.over = False
        self.size = size
        self._ids = ids
        self._settings = settings
        self._conversation_id = conversation_id
        self._metadata = metadata
        self._models = models
        self._given = given
        self._usage = Meter(settings, [])
        self._limits = limits
        self._pieces: Source[Piece] | None = None  # what the responder and the voice have made of it
        self._made: list[ev.Item] = []
        self._writer: Writer | None = None
        self.rate = rate_of(output_of(settings))
        self._steps = self._run()

    @property
    def ready(self) -> bool:
        """Whether `step` returns at once."""
        return self._given() is not None if self._pieces is None else self._pieces.ready

    @property
    def begun(self) -> bool:
        """Whether there is something of it."""
        return self._writer is not None or bool(self._made)

    def step(self) -> list[ServerEvent]:
        """Return the next events."""
        try:
            events = next(self._steps)
            if self.over:
                self.close()
            return events
        except KeyboardInterrupt:
            raise
        except Incomplete as end:
            self.close()
            return self._finish("incomplete", end.reason)
        except BaseException as error:  # of the responder, any: pytest.fail's is no Exception
            # An assertion is reported by its test; its traceback would show the server's code only.
            _log.error("the responder failed: %s", error, exc_info=not isinstance(error, AssertionError))
            self.close()
            message = described(error)
            failure = ev.ResponseError(type="server_error", code="responder_failed", message=message)
            return self._finish("failed", error=failure)

    def close(self) -> None:
        """Let go of the steps, which hold all that was asked, and this object; end what is made for it."""
        if self._pieces is not None:
            self._pieces.close()
        self._steps.close()
        self._steps = no_steps()
        self._given = list

    def writing(self, item_id: str) -> Writer | None:
        """Return what is writing this item now, if it is an item of this response in progress."""
        return self._writer if self._writer is not None and self._writer.item_id == item_id else None

    def cancel(self, reason: str) -> list[ServerEvent]:
        """Cancel the response: close what is open, and return its last events."""
        self.close()
        return self._finish("cancelled", reason)

    def response(self, status: str, details: ev.ResponseStatusDetails | None = None) -> ev.Response:
        """Return the response as it is now."""
        output = output_of(self._settings)
        return ev.Response(
            object="realtime.response",
            id=self.id,
            status=status,
            status_details=details,
            output=list(self._made),
            conversation_id=self._conversation_id,
            output_modalities=self._settings.output_modalities or None,
            max_output_tokens=self._settings.max_output_tokens or None,
            audio=ev.AudioConfig(output=ev.AudioOutputConfig(format=output.format, voice=output.voice)),
            usage=None if status == "in_progress" else self._usage.read(),
            metadata=self._metadata,
            temperature=self._settings.temperature or None,  # Beta's
        )

    def _run(self) -> Generator[list[ServerEvent], None, None]:
        limit = self._settings.max_output_tokens
        most = limit if isinstance(limit, int) else math.inf
        pieces = self._begin_pieces()
        while (piece := (yield from _next(pieces))) is not None:
            for events in self._written(piece):
                for event in events:
                    self._usage.count(event)
                yield events
                if self._writer is not None and self._usage.output_tokens >= most:
                    yield self._finish("incomplete", "max_output_tokens")
                    return
        yield self._finish("completed")

    def _begin_pieces(self) -> Source[Piece]:
        """Let the responder begin."""
        given = self._given() or []
        self._usage = Meter(self._settings, given)
        speaking = None if self._settings.output_modalities == ["text"] else self._speaking()
        self._pieces = self._models.answer(_request(self._settings, given), speaking)
        return self._pieces

    def _speaking(self) -> Speaking:
        output = output_of(self._settings)
        name = output.voice if isinstance(output.voice, str) else None
        return Speaking(self._models.voice, format_of(output), name, output.speed or 1.0)

    def _written(self, piece: Piece) -> Iterator[list[ServerEvent]]:
        """Yield the events that a piece is sent in."""
        if not isinstance(piece, Part):
            writer = self._writer_of(piece)
            yield self._begin(writer)
            yield from ([delta] for delta in writer.deltas())
            if not isinstance(piece, Say):
                yield self._end(writer, "completed")
            return
        assert self._writer is not None
        if isinstance(piece, Ended):
            yield self._end(self._writer, "completed")
        elif (event := self._writer.write(piece)) is not None:
            yield [event]

    def _writer_of(self, output: Output) -> Writer:
        item_id, index = self._ids("item"), len(self._made)
        if isinstance(output, CallFunction):
            return CallWriter(self.id, item_id, index, output, self._ids("call"))
        if isinstance(output, CallMcpTool):
            return McpCallWriter(self.id, self._ids("mcp"), index, output)
        if isinstance(output, RequestMcpApproval):
            return McpApprovalWriter(self.id, self._ids("mcpr"), index, output)
        if not isinstance(output, Say):
            raise TypeError(f"expected Say, CallFunction ... of a responder, got {type(output).__name__}")
        if self._settings.output_modalities == ["text"]:
            return TextWriter(self.id, item_id, index, output)
        return AudioWriter(self.id, item_id, index, output, self.rate)

    def _begin(self, writer: Writer) -> list[ServerEvent]:
        self._writer = writer
        item = writer.item("in_progress")
        events: list[ServerEvent] = [
            ev.ResponseOutputItemAdded(
                event_id=NEW, response_id=self.id, output_index=writer.output_index, item=item
            )
        ]
        if self.history is not None:
            previous = self.history.add(Kept(writer.item_id, item, self.rate))
            events.append(ev.ConversationItemAdded(event_id=NEW, previous_item_id=previous, item=item))
        return events + writer.opening()

    def _end(self, writer: Writer, status: str) -> list[ServerEvent]:
        self._writer = None
        whole = writer.item(status)
        item = without_audio(whole)
        self._made.append(item)
        events = writer.closing(status)
        events.append(
            ev.ResponseOutputItemDone(
                event_id=NEW, response_id=self.id, output_index=writer.output_index, item=item
            )
        )
        # The client may have deleted the item in the meantime.
        if self.history is not None and self.history.find(writer.item_id):
            alignment = writer.alignment if isinstance(writer, AudioWriter) else None
            self.history.replace(
                writer.item_id,
                item=writer.kept(whole),
                size=writer.size,
                words=writer.words,
                alignment=alignment,
            )
            previous = self.history.previous(writer.item_id)
            events.append(ev.ConversationItemDone(event_id=NEW, previous_item_id=previous, item=item))
        return events

    def _finish(
        self, status: str, reason: str | None = None, error: ev.ResponseError | None = None
    ) -> list[ServerEvent]:
        self.over = True
        events = self._end(self._writer, "incomplete") if self._writer else []
        details = None
        if status != "completed":
            details = ev.ResponseStatusDetails(type=status, reason=reason, error=error)
        response = self.response(status, details)
        assert response.usage
        limits = self._limits.spend(response.usage.total_tokens)
        return [*events, limits, ev.ResponseDone(event_id=NEW, response=response)]


def _next(pieces: Source[Piece]) -> Generator[list[ServerEvent], None, Piece | None]:
    """Wait for the next piece, and return it."""
    while not pieces.ready:
        yield []
    return pieces.take()


def _request(settings: SessionConfig, given: list[Kept]) -> Request:
    limit, parallel = settings.max_output_tokens, settings.parallel_tool_calls
    return Request(
        items=[kept.with_words() for kept in given],
        instructions=settings.instructions or "",
        tools=settings.tools or [],
        tool_choice=settings.tool_choice or "auto",
        output_modalities=settings.output_modalities or [],
        **_heard(given),
        max_output_tokens=limit if isinstance(limit, int) else None,
        temperature=None if settings.temperature is UNSET else settings.temperature,
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
    )


def _heard(given: Sequence[Kept]) -> dict[str, Any]:
    """Return what is known of the audio in the last message of the user."""
    for kept in reversed(given):
        if isinstance(kept.item, ev.Message) and kept.item.role == "user":
            return {"heard_seconds": audio_length(kept.item) / kept.rate, "heard_text": kept.words or ""}
    return {}
