"""What may be shown of what others say: no secrets, no characters that do harm, no more than is of use.

The one home of this for terminals, logs, exceptions and reprs.  Attributes and events keep what came.
"""

import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from msgspec import Struct, structs

__all__ = [
    "CUT",
    "HIDDEN",
    "LONGEST",
    "LONGEST_SECRET",
    "Redact",
    "Secrets",
    "beginning",
    "is_secret_name",
    "one_line",
    "printable",
    "redactor",
    "without",
    "without_credentials",
    "without_secret_parameters",
    "without_secrets",
]

HIDDEN = "***"
"""The text that is shown in place of a secret."""
LONGEST = 2000
"""Characters that are shown of one text of a peer's."""
LONGEST_SECRET = 16384
"""Characters of a secret at most: no server takes longer headers."""
CUT = "... [cut]"
"""The end of a text of which more came than is shown."""

Redact = Callable[[str], str]
"""A function that returns a text without its secrets."""

# The names of headers and query parameters that carry credentials.  Not Idempotency-Key.
_SECRET_NAME = re.compile(
    r"auth|(?<!idempotency-)key|token|secret|passw|cookie|signature|^sig$", re.IGNORECASE
)
_PARAMETER = re.compile(r"([?&;]([^\s=&;?]*)=)[^\s&;]*")
_SHORTEST = 4  # characters of a secret; shorter words occur by chance
_SHORTEST_ANYWHERE = 12  # the same, in texts of which we don't know whether they are about its session
_EPHEMERAL = r"\bek_[\w-]+"
_FIND_EPHEMERAL = re.compile(_EPHEMERAL)

_S = TypeVar("_S", bound=Struct)


# --- Secrets -----------------------------------------------------------------------------------------


def is_secret_name(name: str) -> bool:
    """Return whether a header or a query parameter of this name carries a credential."""
    return _SECRET_NAME.search(name) is not None


def redactor(pairs: Iterable[tuple[str, str]]) -> Redact:
    """Return a function that redacts the secrets of a request in a text, in case a server repeats them.

    As long as it lives, `one_line` redacts them too, unless they are so short that they may be words.

    Args:
        pairs: Names and values of headers and query parameters.  Secrets are the values of those whose
            names say that they carry credentials, and every ephemeral secret.
    """
    found = frozenset(text for name, value in pairs if is_secret_name(name) for text in _secrets_of(value))
    with _adding:
        known = _live.get(found)
        if known is None:
            known = _live[found] = _Redactor(found)
    return known


class _Redactor:
    """Redacts some secrets, and every ephemeral one.

    Attributes:
        long: Those of them that are no words.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first, because one may be the beginning of another.
        ordered = sorted(secrets, key=len, reverse=True)
        self.long = [text for text in ordered if len(text) >= _SHORTEST_ANYWHERE]
        self._pattern = re.compile("|".join([*map(re.escape, ordered), _EPHEMERAL]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text)


_live: weakref.WeakValueDictionary[frozenset[str], _Redactor] = weakref.WeakValueDictionary()
"""The redactors in use, by their secrets."""
# Lets one thread at a time look for a redactor and add it, so that there is one for the same secrets.
_adding = threading.Lock()


def _without_live(text: str) -> str:
    """Return a text without the secrets of any session or request of this process."""
    for known in [reference() for reference in _live.valuerefs()]:
        text = text if known is None else without(text, known.long)
    return _FIND_EPHEMERAL.sub(HIDDEN, text)


def _secrets_of(value: str) -> set[str]:
    """Return the secrets in a value, without a scheme or cookie names, in all forms that servers repeat."""
    words = re.split(r"[\s;,]+", value)
    if len(words) > 1 and "=" not in words[0]:
        words = words[1:]  # Bearer, Basic
    words += [word.partition("=")[2] for word in words]
    long = {word for word in words if len(word) >= _SHORTEST}
    return {form for word in long for form in (word, quote(word, safe=""), word.replace("/", r"\/"))}


def without(text: str, secrets: Iterable[str | None]) -> str:
    """Return a text without these secrets, however short they are; absent and empty ones are skipped."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text


def without_secret_parameters(text: str) -> str:
    """Return a text without the values of the query parameters in it whose names say that they are secret."""

    def hidden(found: "re.Match[str]") -> str:
        return f"{found[1]}{HIDDEN}" if is_secret_name(unquote(found[2])) else found[0]

    return _PARAMETER.sub(hidden, text)


def without_secrets(struct: _S, redact: Redact) -> _S:
    """Return a copy of a struct, nested structs included, with the secrets in its texts redacted."""
    changes: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str):
            changes[name] = redact(value)
        elif isinstance(value, Struct):
            changes[name] = without_secrets(value, redact)
    return structs.replace(struct, **changes)


def beginning(text: str, redact: Redact, longest: int = LONGEST, *, more: bool = False) -> str:
    """Return the beginning of a text, redacted.  It takes no longer for a longer text.

    Half a secret is a secret too, so one that begins before the cut is redacted whole.

    Args:
        text: The text.
        redact: Redacts secrets in it.
        longest: Characters that are returned at most.
        more: Whether the text was cut already, so that it may end within a secret.
    """
    head = text[: longest + LONGEST_SECRET]
    shown = redact(head)
    if more or len(head) < len(text):  # what comes last may be the beginning of a secret
        shown = shown[:-LONGEST_SECRET]
    return shown[:longest]


# --- Credentials in the settings of an event ----------------------------------------------------------

# Those of MCP servers, and the ephemeral secret.
_CREDENTIAL = re.compile(r'"(?:authorization|headers|client_secret)"\s*:\s*(?=["{\[])')
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[^"{}\[\]]+|[{}\[\]]', re.DOTALL)


def without_credentials(event: str) -> str:
    """Return an event's JSON, or its beginning, without the credentials in its settings."""
    shown, done = [], 0
    while found := _CREDENTIAL.search(event, done):
        shown += [event[done : found.end()], f'"{HIDDEN}"']
        done = _end_of_value(event, found.end())
    return "".join([*shown, event[done:]])


def _end_of_value(text: str, start: int) -> int:
    """Return where a JSON string, object or list ends; the end of the text if it doesn't."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth <= 0:
            return token.end()
    return len(text)


# --- Characters --------------------------------------------------------------------------------------

# What moves the cursor or speaks to the terminal (control characters), begins a line, changes the order of
# letters (bidirectional controls), is no character (half a surrogate pair), or holds text that no one sees
# (tags, annotations).  What joins emoji or letters stays.
_HARMFUL = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f"
)
_FIND_HARMFUL = re.compile(f"[{_HARMFUL}]")
_FIND_IN_A_LINE = re.compile(f"[\t\n{_HARMFUL}]")


def _escaped(character: str) -> str:
    """Return a character as Python's literals have it."""
    return ascii(character)[1:-1]


def printable(text: str, escape: Callable[[str], str] = _escaped) -> str:
    """Return a text of any length and any number of lines, with characters that do harm escaped.

    Each character for itself, so it doesn't matter where a text is cut into deltas.  Line feeds and tabs
    stay.

    Args:
        text: The text.
        escape: Returns what is written for such a character.
    """
    return _FIND_HARMFUL.sub(lambda found: escape(found[0]), text)


def one_line(text: str, longest: int = LONGEST, *, redact: Redact | None = None, more: bool = False) -> str:
    """Return a peer's text as one line to show: redacted, escaped, and cut, which `CUT` then says.

    It takes no longer for a longer text.

    Args:
        text: The text.
        longest: Characters that are shown at most.
        redact: Redacts the secrets of the session in question.  Those of all sessions and requests of this
            process are redacted in any case, if they are long enough to be no words.
        more: Whether the text was cut already.
    """

    def clean(head: str) -> str:
        return _without_live(head if redact is None else redact(head))

    shown = beginning(text, clean, longest + 1, more=more)
    line = _FIND_IN_A_LINE.sub(lambda found: _escaped(found[0]), shown)
    if len(line) <= longest and not more and len(text) <= longest + LONGEST_SECRET:
        return line
    return line[: longest - len(CUT)] + CUT


# --- Log lines ---------------------------------------------------------------------------------------

_LONGEST_LINE = LONGEST + 400  # characters of a line of the log, which has words of ours beside a peer's
_MOST_LINES = 200  # of a traceback


def _clean_record(record: logging.LogRecord) -> bool:
    """Make a record fit to be shown, whatever a peer has put into it; a filter, which lets all pass."""
    text = record.getMessage()
    if (line := one_line(text, _LONGEST_LINE)) != text:
        record.msg, record.args = line, ()
    if record.exc_info and not record.exc_text:
        traceback = logging.Formatter().formatException(record.exc_info)
        lines = traceback.splitlines()[:_MOST_LINES]
        record.exc_text = "\n".join(one_line(line.expandtabs()) for line in lines)
    return True


for _name in ("realtime_sync", "realtime_sync.local"):
    logging.getLogger(_name).addFilter(_clean_record)


class Secrets:
    """The secrets of a session's requests: each connection may have a key of its own."""

    def __init__(self) -> None:
        self._redactors: list[Redact] = []

    def add(self, redact: Redact) -> None:
        """Hide what another function hides, too; of more than two, the first and the last."""
        self._redactors = [*self._redactors[:1], redact]

    def redact(self, text: str) -> str:
        """Return a text without the secrets."""
        for redact in self._redactors:
            text = redact(text)
        return text
