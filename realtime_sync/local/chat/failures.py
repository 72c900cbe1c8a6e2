"""Why an endpoint gave no answer, in words that a person can act on."""

import html
import re
from urllib.parse import urlsplit

from ...events.codec import parse
from ...exceptions import RealtimeError
from ...redaction import Redact, one_line, without_secret_parameters
from .reading import error_in

__all__ = ["EndpointError", "Failures"]

_MOST_SHOWN = 300  # characters of what an endpoint says
_TAGS = re.compile(r"<(?:script|style)\b[^<]*|<[^<>]*>", re.IGNORECASE)
_ADVICE = {
    400: "rejected the request",
    401: "rejected the API key, or needs one",
    403: "does not allow this, with this API key",
    404: "has no model {model}, or base_url is not the beginning of its address (which often ends in /v1)",
    405: "takes no chat completions there: is base_url the beginning of its address (often ending in /v1)?",
    429: "asks to slow down, or has a quota that is used up",
}


class EndpointError(Exception):
    """The endpoint that `ChatResponder` asks did not answer as it should; the text says how."""


class Failures:
    """Makes the errors of one endpoint.

    Args:
        url: The address of its chat completions.
        model: The model that is asked for.
        timeout: Seconds that it has.
        redact: Redacts its secrets in a text.
    """

    def __init__(self, url: str, model: str, timeout: float, redact: Redact) -> None:
        self._url = one_line(without_secret_parameters(url), redact=redact)
        self._model = model
        self._timeout = timeout
        self._redact = redact

    def said(self, text: str, longest: int = _MOST_SHOWN) -> str:
        """Return what an endpoint says as one line that may be shown."""
        return one_line(text, longest, redact=self._redact)

    def rejected(self, status: int, location: str, body: bytes) -> EndpointError:
        """Return the error for an answer other than a success."""
        if 300 <= status < 400:
            target = self.said(_host_of(location))
            return self._error(
                f"redirects to {target} (HTTP {status}), which is not followed: use that as base_url"
            )
        advice = _ADVICE.get(status, "failed").format(model=repr(self.said(self._model)))
        return self._error(f"{advice} (HTTP {status}): {self.explanation(body)}")

    def explanation(self, body: bytes) -> str:
        """Return what an answer gives as its reason."""
        try:
            reason = error_in(parse(body)[0])
        except (ValueError, RecursionError):
            reason = ""
        return self.said(reason or _readable(body)) or "no explanation"

    def lost(self, error: Exception, begun: bool) -> EndpointError:
        """Return the error for a connection that failed; ``begun``: in the midst of the answer."""
        if isinstance(error, TimeoutError):
            more = "more " if begun else ""
            return self._error(f"sent nothing {more}within {self._timeout:g} s (timeout=)")
        reason = self.said(str(error) or type(error).__name__)
        if begun:
            return self.cut(reason)
        down = isinstance(error, RealtimeError | ConnectionError)
        hint = "; is the model's server running at this address?" if down else ""
        return self._error(f"gave no answer: {reason}{hint}")

    def cut(self, reason: str = "the connection was closed") -> EndpointError:
        """Return the error for an answer without an end."""
        return self._error(f"ended in the midst of its answer: {reason}")

    def unreadable(self, data: str) -> EndpointError:
        """Return the error for an event that is not JSON, as the last one of a stream that was cut."""
        return self.cut(f"expected JSON, got {self.said(data)}")

    def endless(self, most: int) -> EndpointError:
        """Return the error for an answer that is too long."""
        return self._error(f"sent an answer of more than {most} bytes")

    def unexpected(self, body: bytes) -> EndpointError:
        """Return the error for an answer that is no chat completion."""
        shown = self.said(_readable(body)) or "nothing"
        return self._error(f"is no chat-completions endpoint: expected an event stream or JSON, got {shown}")

    def reported(self, message: str) -> EndpointError:
        """Return the error that an endpoint reports within its answer."""
        return self._error(f"reports an error: {self.said(message)}")

    def undeclared(self, name: str, declared: list[str]) -> EndpointError:
        """Return the error for a call of a function that the session doesn't have."""
        known = self.said(", ".join(declared)) or "none"
        return EndpointError(
            f"the model {self.said(self._model)} called the function {self.said(name)!r}, which is not "
            f"declared; declared: {known}"
        )

    def _error(self, text: str) -> EndpointError:
        return EndpointError(f"{self._url} {text}")


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or "another path"
    except ValueError:
        return "an invalid address"


def _readable(body: bytes) -> str:
    """Return the beginning of a body as text, without the tags of HTML."""
    text = body[: 20 * _MOST_SHOWN].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        text = html.unescape(_TAGS.sub(" ", text))
    return " ".join(text.split())
