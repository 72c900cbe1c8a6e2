"""`ChatResponder`: thinks by a chat-completions endpoint."""

import contextlib
import http.client
import logging
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from ...endpoint import ApiKey, Endpoint
from ...events import FunctionTool
from ...events.codec import parse
from ...exceptions import RealtimeError
from ...providers import COMPATIBLE
from ...redaction import without_secret_parameters
from ..protocol.responders import CallFunction, Incomplete, Output, Request, Say
from .exchange import Closed, Exchange
from .failures import Failures
from .messages import has_images, messages_of, tools_of
from .reading import Chunks, error_in
from .stream import EventStream
from .thoughts import Thoughts

__all__ = ["SPOKEN", "ChatResponder"]

_log = logging.getLogger("realtime_sync.local")

SPOKEN = (
    "Your answer is read aloud. Use plain, short sentences, as one says them: no markdown, lists, headings, "
    "links, code or emoji, and numbers, dates and units in words."
)
"""The usual ``hint``."""

_PATH = "/chat/completions"
_MOST_BYTES = 16 * 1024 * 1024  # of one answer
_MOST_ERROR = 65536  # bytes of an answer other than a success that are read
_AFTER_END = 2.0  # seconds in which a stream may still say more when the model has finished
_INCOMPLETE = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",  # as some gateways have it
    "content_filter": "content_filter",
}
_BLANK = b"\xef\xbb\xbf \t\r\n"  # and a byte order mark
_WHOLE = (b"{", b"[", b"<")  # what JSON and HTML begin with, and no event does
_ABOUT_IMAGES = re.compile(rb"image|vision|multi-?modal|mmproj", re.IGNORECASE)
_NO_IMAGES = (400, 404, 415, 422, 500)  # what endpoints answer to images that their model doesn't take
_LOST = (OSError, http.client.HTTPException, RealtimeError)  # the last is what `dial` raises


class ChatResponder:
    """Answers by a model behind a chat-completions endpoint: Ollama, llama.cpp, vLLM, LM Studio, a gateway::

        LocalServer(responder=ChatResponder("http://127.0.0.1:11434/v1", "qwen3:4b"))

    An answer is given on as it comes.  Each is asked for on a connection of its own.  What the model only
    thinks (``reasoning_content``, ``<think>...</think>``) is left out.

    Args:
        base_url: The endpoint's address without ``/chat/completions``.
        model: The name that the model has there.
        api_key: The endpoint's key, or a function that returns one for each request; default none.
        hint: Put below the instructions of answers that are spoken; ``""`` = nothing.
        images: Whether the model is shown images.  If the endpoint rejects them, they are left out from then
            on.
        timeout: Seconds from the request to the first data of the answer, and between two of them.  A server
            that first has to load its model may need more than the default 60.
        extra_body: Fields for each request besides or in place of its own, such as ``{"keep_alive": -1}``;
            ``None`` as a value leaves a field out.
        headers: Sent with each request.
        ssl_context: For ``https``; default: the system's certificates.
        proxy: ``"env"`` (default) = as the environment says, ``None`` = no proxy, or the URL of one.
        allow_insecure: Send the key also to another machine without TLS.
        thinks_first: Whether an answer begins with thoughts that no tag opens, as the templates of some
            models have it: what comes is then held back until ``</think>``.  Found out from the first such
            answer, of which the beginning is said.

    Raises:
        ValueError: An argument can't be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: ApiKey | None = None,
        *,
        hint: str = SPOKEN,
        images: bool = True,
        timeout: float = 60.0,
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = "env",
        allow_insecure: bool = False,
        thinks_first: bool = False,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0, got {timeout!r}")
        if not model:
            raise ValueError("model must be the name of a model, got ''")
        self._endpoint = Endpoint(
            base_url.rstrip("/").removesuffix(_PATH),
            provider=COMPATIBLE,
            api_key=api_key or None,
            headers=headers or {},
            query={},
            ssl_context=ssl_context,
            proxy=proxy,
            allow_insecure=allow_insecure,
        )
        self._model = model
        self._hint = hint
        self._timeout = timeout
        self._extra_body = dict(extra_body or {})
        # What was learnt of the endpoint; whichever thread does is right.
        self._images = images
        self._thinks_first = thinks_first

    def __repr__(self) -> str:
        return f"ChatResponder({without_secret_parameters(self._endpoint.base_url)!r}, {self._model!r})"

    def respond(self, request: Request) -> Iterable[Output]:
        """Return the model's answer, as it comes.  Its ``close()`` ends it from any thread."""
        return _Reply(self, request)

    def _body(self, request: Request) -> dict[str, Any]:
        """Return what is posted for a request."""
        spoken = "audio" in request.output_modalities
        body = {
            "model": self._model,
            "messages": messages_of(request, hint=self._hint if spoken else "", images=self._images),
            "stream": True,
            **tools_of(request),
            "max_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            **self._extra_body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _take_no_images(self, reason: str) -> None:
        _log.warning("%r takes no images, which are left out from now on: %s", self, reason)
        self._images = False


class _Reply(Iterator[Output]):
    """One answer: what its iteration gives, until `close` ends that from whichever thread."""

    def __init__(self, responder: ChatResponder, request: Request) -> None:
        self._responder = responder
        self._request = request
        self._timeout = responder._timeout
        self._exchange = Exchange(responder._endpoint)
        self._failures = Failures(
            responder._endpoint.http_url(_PATH), responder._model, self._timeout, self._redact
        )
        self._chunks = Chunks()
        self._begun = False  # data of the answer came
        self._ended = False  # it came to its end
        self._outputs = self._run()

    def __next__(self) -> Output:
        return next(self._outputs)

    def close(self) -> None:
        """End the answer: what waits for more of it gets its end at once."""
        self._exchange.close()

    def _redact(self, text: str) -> str:
        return self._exchange.redact(text)

    def _run(self) -> Iterator[Output]:
        texts = self._said()
        for text in texts:
            whole: Any = chain([text], texts)
            yield Say(whole)
        if self._ended:
            yield from self._calls()

    def _calls(self) -> list[CallFunction]:
        """Return the calls, if all of them are of functions that the session has."""
        tools = [] if self._request.tool_choice == "none" else self._request.tools
        declared = [tool.name for tool in tools if isinstance(tool, FunctionTool)]
        calls = self._chunks.whole_calls()
        for call in calls:
            if call.name not in declared:
                raise self._failures.undeclared(call.name, declared)
        return [CallFunction(call.name, call.arguments) for call in calls]

    # --- The text ----------------------------------------------------------------------------------

    def _said(self) -> Iterator[str]:
        """Give the text without thoughts and without the blanks before it."""
        try:
            begun = False
            for text in self._thought_through():
                text = text if begun else text.lstrip()
                begun = begun or bool(text)
                if text:
                    yield text
            self._ended = True
        except Closed:
            return
        except _LOST as error:
            raise self._failures.lost(error, self._begun) from None
        finally:
            self._exchange.close()

    def _thought_through(self) -> Iterator[str]:
        """Give the text without thoughts.

        Raises:
            Incomplete: The model did not come to an end.
        """
        thoughts = Thoughts(self._responder._thinks_first)
        for chunk in self._read():
            yield thoughts.feed(self._chunks.take(chunk))
        if thoughts.unopened:
            self._responder._thinks_first = True
        if self._chunks.finish == "error":
            raise self._failures.reported("finish_reason is 'error'")
        if reason := _INCOMPLETE.get(self._chunks.finish):
            raise Incomplete(reason)
        yield thoughts.end()

    # --- The chunks --------------------------------------------------------------------------------

    def _read(self) -> Iterator[Any]:
        """Give the chunks of the answer, of which a whole one is one.

        Raises:
            EndpointError: It is no answer, or has no end.
        """
        beginning = self._open()
        if beginning.lstrip(_BLANK)[:1] not in _WHOLE:
            yield from self._events(beginning)
            return
        body = b"".join([beginning, *self._rest(len(beginning))])
        chunk = self._chunk(body.lstrip(_BLANK).decode("utf-8", "replace"))
        if "choices" not in chunk:
            raise self._failures.unexpected(body)
        yield chunk

    def _open(self) -> bytes:
        """Ask for the answer, and return its first bytes."""
        body = self._responder._body(self._request)
        self._exchange.allow(self._timeout)
        answer = self._exchange.post(_PATH, msgspec.json.encode(body))
        if 200 <= answer.status < 300:
            return self._beginning()
        reason = self._reason()
        if answer.status in _NO_IMAGES and has_images(body["messages"]) and _ABOUT_IMAGES.search(reason):
            self._responder._take_no_images(self._failures.explanation(reason))
            return self._open()
        raise self._failures.rejected(answer.status, answer.getheader("Location", ""), reason)

    def _beginning(self) -> bytes:
        """Return the first bytes of the body that say something: blanks may come for as long as it takes."""
        beginning = self._exchange.read()
        while not beginning.strip(_BLANK) and (piece := self._exchange.read()):
            beginning = beginning[-2:] + piece  # which may end in a part of the byte order mark
        return beginning

    def _reason(self) -> bytes:
        """Return the body of an answer other than a success, as far as it comes."""
        body = bytearray()
        with contextlib.suppress(*_LOST):
            while len(body) < _MOST_ERROR and (piece := self._exchange.read()):
                body += piece
        return bytes(body)

    def _rest(self, size: int) -> Iterator[bytes]:
        """Give the rest of the body, of which there were ``size`` bytes."""
        while piece := self._exchange.read():
            size += len(piece)
            if size > _MOST_BYTES:
                raise self._failures.endless(_MOST_BYTES)
            yield piece

    def _events(self, beginning: bytes) -> Iterator[Any]:
        for data in self._data(beginning):
            if data.strip() == "[DONE]":
                return
            if not data.strip():
                continue
            chunk = self._chunk(data)
            self._begun = True
            yield chunk
            self._exchange.allow(min(self._timeout, _AFTER_END) if self._chunks.finish else self._timeout)
        if not self._begun:
            raise self._failures.unexpected(beginning)
        if not self._chunks.finish:
            raise self._failures.cut()

    def _data(self, beginning: bytes) -> Iterator[str]:
        """Give the data of each event."""
        events = EventStream()
        try:
            for piece in chain([beginning], self._rest(len(beginning))):
                yield from events.feed(piece)
        except _LOST:
            if not self._chunks.finish:  # after which nothing of use comes
                raise
        except ValueError as error:
            raise self._failures.cut(str(error)) from None
        yield from events.end()

    def _chunk(self, data: str) -> dict[str, Any]:
        """Return the object that is written in data.

        Raises:
            EndpointError: It is none, or an error.
        """
        try:
            chunk = parse(data.encode())[0]
        except (ValueError, RecursionError):
            chunk = None
        if message := error_in(chunk):
            raise self._failures.reported(message)
        if isinstance(chunk, dict):
            return chunk
        raise self._failures.unreadable(data) if self._begun else self._failures.unexpected(data.encode())
