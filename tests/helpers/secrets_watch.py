"""The secrets that tests use, and a watch over all tests that none of them is shown.

`conftest` sets it up for the whole run.  It looks at each log record of the package, each error of the
package at the end of its life, each `Client` and `Session` as they show themselves, each error that the
local server answers with, and the beginning of each event that is sent.
"""

import base64
import contextlib
import functools
import logging
import os
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

import realtime_sync as rt
from realtime_sync.local.http.answers import HttpAnswer
from realtime_sync.wire.transport import Transport

__all__ = [
    "API_KEY",
    "CLIENT_SECRET",
    "PROXY_LOGIN",
    "PROXY_PASSWORD",
    "PROXY_TOKEN",
    "WEBHOOK_SECRET",
    "Watch",
    "secrets_in",
    "shown",
    "watch",
]

API_KEY = "sk-test-Zm9yIG5vYm9keQ"
CLIENT_SECRET = "ek_test_Zm9yIGEgd2hpbGU"
WEBHOOK_SECRET = f"whsec_{base64.b64encode(b'of the web server').decode()}"
PROXY_PASSWORD = "s3cret/w@rd:%"
PROXY_LOGIN = f"ann:{quote(PROXY_PASSWORD, safe=':')}"  # as in a URL
PROXY_TOKEN = base64.b64encode(f"ann:{PROXY_PASSWORD}".encode()).decode()

# Any key, ephemeral secret or webhook secret, whatever a test calls it; and the proxy's password.
_SECRET = re.compile(rf"(?<![A-Za-z0-9])(?:sk-|ek_|whsec_)\w+|s3cret|{re.escape(PROXY_TOKEN)}")
_MARKS = ("sk-", "ek_", "whsec_", "s3cret", PROXY_TOKEN)
_OWN = "unsent"  # the user's own events, with megabytes of audio
_LOOKED_AT = 512  # bytes of an event that is sent: nearly all are shorter, but for audio


def secrets_in(text: str) -> list[str]:
    """The secrets that a text shows."""
    if not any(mark in text for mark in _MARKS):  # much quicker than the expression
        return []
    return _SECRET.findall(text)


def shown(error: BaseException) -> str:
    """All that an error shows: text, repr and attributes, and those of the errors behind it."""
    parts: list[str] = []
    for link in _chain(error):
        parts.append(repr(link.args))  # of which the text may redact what is known to be a secret
        with contextlib.suppress(AttributeError):  # its own __init__ failed
            parts += [str(link), repr(link)]
        if isinstance(link, rt.RealtimeError):
            parts.append(repr({name: value for name, value in vars(link).items() if name != _OWN}))
    return "\n".join(parts)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that a traceback would show with it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _of_record(record: logging.LogRecord) -> str:
    """A log record as handlers may write it: some write the arguments apart."""
    text = f"{record.getMessage()}\n{record.args!r}"
    if record.exc_info and record.exc_info[1] is not None:
        text += f"\n{shown(record.exc_info[1])}"
    return text


class Watch:
    """Looks at what is shown, in any thread, and keeps what it should not have seen.

    Attributes:
        leaks: What was shown where, and the test that was running when it was made.
    """

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._errors: dict[int, tuple[weakref.ref[BaseException], str]] = {}

    def look(self, what: str, text: str, test: str | None = None) -> None:
        if found := secrets_in(text):
            self.leaks.append(f"{test or _running()}: {what} shows {found[0]!r}: {text[:500]}")

    def take(self) -> list[str]:
        """The leaks so far, which are forgotten here."""
        leaks, self.leaks = self.leaks, []
        return leaks

    def look_at_living_errors(self) -> None:
        """Look at the errors whose life has not ended."""
        for reference, test in list(self._errors.values()):
            if (error := reference()) is not None:
                self.look(type(error).__name__, shown(error), test)

    # --- Where it looks --------------------------------------------------------------------------

    def install(self) -> None:
        """Begin, for the rest of the process."""
        logger = logging.getLogger("realtime_sync")
        logger.setLevel(logging.INFO)
        logger.addHandler(_Handler(self))
        self._watch_errors()
        for kind, name in ((rt.Client, "__init__"), (rt.Session, "__init__"), (rt.Session, "close")):
            _after(kind, name, lambda owner: self.look(type(owner).__name__, repr(owner)))
        _after(HttpAnswer, "__init__", self._look_at_answer)
        _before(Transport, "enqueue", lambda _, payload, *rest: self._look_at_frame(payload))

    def _watch_errors(self) -> None:
        """Look at each error when it dies: only then has it its attributes and its cause."""

        def born(error: rt.RealtimeError, *args: object) -> None:
            super(rt.RealtimeError, error).__init__(*args)
            self._errors[id(error)] = (weakref.ref(error), _running())

        def dies(error: rt.RealtimeError) -> None:
            _, test = self._errors.pop(id(error), (None, None))
            self.look(type(error).__name__, shown(error), test)

        for name, method in (("__init__", born), ("__del__", dies)):
            assert name not in vars(rt.RealtimeError)
            setattr(rt.RealtimeError, name, method)

    def _look_at_answer(self, answer: HttpAnswer) -> None:
        if answer.status >= 400:
            text = f"{answer.headers} {answer.body.decode('utf-8', 'replace')}"
            self.look("an error of the local server", text)

    def _look_at_frame(self, payload: bytes) -> None:
        self.look("a sent event", payload[:_LOOKED_AT].decode("utf-8", "replace"))


class _Handler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.look(f"the log ({record.levelname})", _of_record(record))


def _running() -> str:
    """The test that is running."""
    return os.environ.get("PYTEST_CURRENT_TEST", "between tests")


def _after(kind: type, name: str, look: Callable[[Any], None]) -> None:
    """Have ``look`` called with the object after each call of a method that ended well."""
    method = getattr(kind, name)

    @functools.wraps(method)
    def watched(self: Any, *args: Any, **options: Any) -> Any:
        result = method(self, *args, **options)
        look(self)
        return result

    setattr(kind, name, watched)


def _before(kind: type, name: str, look: Callable[..., None]) -> None:
    """Have ``look`` called with the object and the arguments before each call of a method."""
    method = getattr(kind, name)

    @functools.wraps(method)
    def watched(self: Any, *args: Any, **options: Any) -> Any:
        look(self, *args, **options)
        return method(self, *args, **options)

    setattr(kind, name, watched)


watch = Watch()
"""The one that `conftest` installs."""


def complain_of_leaks() -> None:
    """Fail if a secret was shown since the last time."""
    if leaks := watch.take():
        pytest.fail("secrets were shown:\n" + "\n".join(leaks), pytrace=False)
